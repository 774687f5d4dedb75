//! A server's `Date`: what is read as a time is its one form, and no other text is.

#![no_main]

use imprint_core::second::Second;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(at) = Second::from_http_date(text) {
        assert!(text.len() == 29 && text.ends_with(" GMT"), "{text}");
        let iso = at.to_string();
        let [year, day, clock] = [&iso[..4], &iso[8..10], &iso[11..19]];
        assert_eq!((&text[12..16], &text[5..7], &text[17..25]), (year, day, clock), "{text}");
    }
});
