//! An answer of the metadata service, or of what stands in its place: read as each kind, and what passes has the
//! form that goes on into paths, host ids and headers.

#![no_main]

use imprint_agent::imds::reply::{Role, credentials, document, line, role};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    if let Ok(facts) = document(bytes) {
        assert!(facts.account_id.is_some_and(|id| id.len() == 12 && id.bytes().all(|b| b.is_ascii_digit())));
        assert!(facts.region.is_some_and(|region| !region.contains(['/', '.', ':', '@'])));
        assert!(facts.instance_id.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'));
    }
    if let Ok(Some(name)) = role(bytes) {
        assert!(!name.is_empty() && name.len() <= 64 && !name.contains(['/', '?', '#', '%', ' ']));
        assert!(name != "." && name != "..");
    }
    if let Ok(line) = line(bytes) {
        assert!(!line.is_empty() && !line.contains(char::is_whitespace) && !line.contains(char::is_control));
    }
    match credentials(bytes) {
        Ok(Role::Credentials(held)) => {
            let visible = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_graphic());
            assert!(visible(&held.access_key_id) && visible(&held.secret_access_key));
            assert!(held.session_token.is_some_and(|token| visible(&token)) && held.expires_at.is_some());
        }
        // It is said in a log.
        Ok(Role::NotReady(code)) => {
            assert!(
                code == "no code" || (code.len() <= 64 && code.bytes().all(|b| b.is_ascii_alphanumeric()))
            );
        }
        Err(_) => {}
    }
});
