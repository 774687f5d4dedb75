//! A sealed login from anybody: what is read is what would be written, and a refusal is one line.

#![no_main]

use imprint_rotator::config::{Config, Error};
use imprint_rotator::login::sealed::SealedLogin;
use libfuzzer_sys::fuzz_target;
use std::sync::OnceLock;
use zeroize::Zeroizing;

static CONFIG: OnceLock<Config> = OnceLock::new();

fuzz_target!(|data: &[u8]| {
    let config = CONFIG.get_or_init(|| {
        let missing = |path: &std::path::Path| {
            Err(Error::Read { path: path.to_owned(), source: std::io::ErrorKind::NotFound.into() })
        };
        let text = include_str!("../seeds/rotator_config/sealed_login.toml");
        Config::parse(text, &missing).expect("a good configuration")
    });
    let words = match SealedLogin::parse(data) {
        Ok(sealed) => {
            assert_eq!(sealed.to_bytes(), data);
            let context = sealed.context();
            assert_eq!(context.get("imprint:kind").map(String::as_str), Some("login"));
            assert!(!context.contains_key("imprint:host_factory"));
            // Whatever opens, it is a key or a refusal.
            let opened = sealed.open(Zeroizing::new(data.to_vec()));
            assert!(opened.is_err(), "nothing holds its own digest");
            sealed.check(config).err()
        }
        Err(error) => Some(error),
    };
    // One line that a log can hold, whatever was in the object.
    if let Some(error) = words {
        let words = error.to_string();
        assert!(words.len() < 2000 && !words.contains(char::is_control), "{words:?}");
    }
});
