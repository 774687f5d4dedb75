//! An identity file found on the disk: read only in the form that is written, and written as read.

#![no_main]

use imprint_agent::identity::{Identity, LONGEST};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Ok(identity) = Identity::parse(data) else { return };
    let written = identity.to_netrc();
    assert!(written.len() <= LONGEST);
    let words: Vec<&str> = written.split_whitespace().collect();
    assert!(matches!(words[..], ["machine", _, "login", _, "password", _]));
    let again = Identity::parse(written.as_bytes()).expect("what is written can be read");
    assert_eq!(again.appliance_url, identity.appliance_url);
    assert_eq!(again.host_id, identity.host_id);
    assert!(again.api_key.same_as(&identity.api_key));
});
