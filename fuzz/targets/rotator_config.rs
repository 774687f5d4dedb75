//! The rotator's configuration: any text ends in a configuration or in problems, each one line that
//! points into the text.

#![no_main]

use imprint_rotator::config::{Config, Error};
use libfuzzer_sys::fuzz_target;
use std::path::Path;
use zeroize::Zeroizing;

fuzz_target!(|data: &str| {
    let lines = data.matches('\n').count() + 1;
    match Config::parse(data, &file) {
        Ok(config) => assert!(!config.factories.is_empty()),
        Err(problems) => {
            assert!(!problems.0.is_empty());
            for problem in &problems.0 {
                assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem}");
            }
        }
    }
});

/// One certificate, one file of rules, and nothing else.
fn file(path: &Path) -> Result<Zeroizing<String>, Error> {
    match path.to_str() {
        Some("ca.pem") => Ok(Zeroizing::new(include_str!("../seeds/ca_bundle/one.pem").to_owned())),
        Some("rules.toml") => Ok(Zeroizing::new(include_str!("../seeds/rules/all.toml").to_owned())),
        _ => Err(Error::Read { path: path.to_owned(), source: std::io::ErrorKind::NotFound.into() }),
    }
}
