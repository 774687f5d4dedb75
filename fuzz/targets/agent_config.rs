//! The agent's configuration: any text ends in a configuration or in problems, each one line that
//! points into the text.

#![no_main]

use imprint_agent::config::{Config, Outside};
use libfuzzer_sys::fuzz_target;
use std::io;
use std::path::Path;

/// A machine with one certificate, two accounts and no environment.
struct Machine;

impl Outside for Machine {
    fn env(&self, _: &str) -> Option<String> {
        None
    }

    fn file(&self, path: &Path, _: usize) -> io::Result<Vec<u8>> {
        match path.to_str() {
            Some("/etc/imprint/ca.pem") => Ok(include_bytes!("../seeds/ca_bundle/one.pem").to_vec()),
            Some("/etc/passwd" | "/etc/group") => Ok(b"root:x:0:0::/root:/bin/sh\nconjur:x:998:\n".to_vec()),
            _ => Err(io::ErrorKind::NotFound.into()),
        }
    }
}

fuzz_target!(|data: &str| {
    let lines = data.matches('\n').count() + 1;
    match Config::read(data, &Machine) {
        Ok(config) => {
            assert!(config.files.identity.path.is_absolute());
            assert!(!config.host_id.is_fixed());
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            for problem in &problems.0 {
                assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem}");
            }
        }
    }
});
