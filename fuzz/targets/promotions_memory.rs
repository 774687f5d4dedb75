//! What promotions remember in S3, where others may put: what is read writes back as the same.

#![no_main]

use imprint_rotator::instance::memory::{parse, to_bytes};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(memory) = parse(bytes) {
        assert_eq!(parse(&to_bytes(&memory)), Ok(memory));
    }
});
