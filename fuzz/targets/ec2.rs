//! An answer of EC2 or STS, or of what pretends to be it: a list is whole or refused.

#![no_main]

use imprint_core::aws::ec2::reply::{account, instances};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match instances(bytes) {
        Ok(page) => {
            assert!(page.next.is_none_or(|next| !next.is_empty()));
            for instance in page.instances {
                assert!(instance.account_id.len() == 12);
            }
        }
        Err(error) => assert!(error.to_string().len() < 200),
    }
    if let Ok(account) = account(bytes) {
        assert!(account.bytes().all(|b| b.is_ascii_digit()));
    }
});
