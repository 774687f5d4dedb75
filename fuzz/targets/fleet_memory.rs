//! What the fleet's functions remember in S3, where others may put: what is read writes back as the same.

#![no_main]

use imprint_rotator::fleet::memory::Memory;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(memory) = Memory::parse(bytes) {
        assert_eq!(Memory::parse(&memory.to_bytes()), Ok(memory));
    }
});
