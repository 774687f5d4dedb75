//! A CA bundle from a disk: taken or refused, and one digest for each certificate that was taken.

#![no_main]

use imprint_core::door::{CaBundle, MOST_CERTIFICATES};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &str| {
    if let Ok(bundle) = CaBundle::from_pem(data) {
        assert_eq!(bundle.pem(), data);
        assert!((1..=MOST_CERTIFICATES).contains(&bundle.digests().len()));
    }
});
