//! A sealed token from anybody: what is read writes back as the same value, and its context fits.

#![no_main]

use imprint_core::sealed::{LARGEST_CONTEXT, SealedToken};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    match SealedToken::parse(data) {
        Ok(sealed) => {
            let again = SealedToken::parse(&sealed.to_bytes());
            assert_eq!(again.as_ref(), Ok(&sealed));
            let context = sealed.binding().context();
            let size: usize = context.iter().map(|(key, value)| key.len() + value.len()).sum();
            assert!(size <= LARGEST_CONTEXT, "{size}");
            assert!(context.values().all(|value| !value.is_empty()), "{context:?}");
            let key = sealed.binding().object_key();
            assert!(!key.contains("..") && !key.contains("//") && !key.contains('*'), "{key}");
        }
        // One line that a log can hold, whatever was in the object.
        Err(error) => {
            let words = error.to_string();
            assert!(words.len() < 1000 && !words.contains(char::is_control), "{words:?}");
        }
    }
});
