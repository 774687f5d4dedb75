//! What any source may hold: a clear token, one of KMS, one that is sealed with client data. What is read
//! writes back as the same bytes, its cost is bounded, and what is said holds nothing of it.

#![no_main]

use imprint_agent::source::{Held, told};
use imprint_core::client_data::{Fact, MOST_FACTS, MOST_MACHINES, Sealed};
use imprint_core::error::chain;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    if let Ok(sealed) = Sealed::parse(data) {
        let written = sealed.to_bytes();
        assert_eq!(written.strip_suffix(b"\n"), Some(data.strip_suffix(b"\n").unwrap_or(data)));
        assert!((1..=MOST_MACHINES).contains(&sealed.machines()));
        assert!((1..=MOST_FACTS).contains(&sealed.facts().len()));
        assert!(sealed.facts().iter().all(|fact| fact.to_string().parse::<Fact>().as_ref() == Ok(fact)));
    }
    match told(data, "there") {
        Ok(Held::Clear(token)) => assert_eq!(token.expose().as_bytes(), data.trim_ascii()),
        Ok(Held::ClientData(_) | Held::Kms(_)) => {}
        // One line that a log can hold, whatever was in it.
        Err(error) => {
            let words = chain(&error);
            assert!(words.len() < 1000 && !words.contains(char::is_control), "{words:?}");
        }
    }
});
