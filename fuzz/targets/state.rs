//! A state file, or what lies in its place: it is read as it would be written, or refused in words of ours.

#![no_main]

use imprint_agent::state::{Found, found};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    match found(bytes) {
        Found::Good(state) => {
            let text = serde_json::to_vec(&state).expect("texts, numbers and times");
            assert_eq!(found(&text), Found::Good(state), "what is written is read again");
        }
        Found::Unreadable(why) => assert!(why.len() < 100 && why.starts_with("it "), "{why}"),
        Found::Missing => panic!("it is not missing"),
    }
});
