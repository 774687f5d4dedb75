//! What the tests run and did not write: Python programs of the virtual environment that `make peers`
//! makes. The readers of identity files are here; the AWS emulator is in `cloud`.

use crate::{Machine, Ran, bare};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Set to 1, it lets the tests that need the environment pass without it, and say so.
pub const WITHOUT: &str = "IMPRINT_WITHOUT_PEERS";

/// A line on standard error that is seen also when the test passes: what the macros print is hidden.
///
/// # Panics
/// When standard error is closed.
pub fn aloud(line: &str) {
    std::io::stderr().write_all(format!("{line}\n").as_bytes()).expect("standard error");
}

/// The virtual environment, and the project's scripts for it.
#[derive(Clone, Debug)]
pub struct Peers {
    bin: PathBuf,
    scripts: PathBuf,
}

impl Peers {
    /// The environment; `None` when it is missing and [`WITHOUT`] says to go on.
    ///
    /// # Panics
    /// When it is missing.
    #[must_use]
    #[track_caller]
    pub fn here() -> Option<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let without = std::env::var(WITHOUT).is_ok_and(|value| value == "1");
        let peers = Self::below(&root, without).expect("the test peers");
        if peers.is_none() {
            let thread = std::thread::current();
            aloud(&format!("SKIPPED what needs the test peers: {}", thread.name().unwrap_or("a test")));
        }
        peers
    }

    /// The environment of a source tree; `None` when it is missing and that is all right.
    ///
    /// # Errors
    /// When it is missing and is wanted: one line with the command that makes it.
    pub fn below(root: &Path, without: bool) -> Result<Option<Self>, String> {
        let peers = Self { bin: root.join("target/peers/venv/bin"), scripts: root.join("tests/peers") };
        // The stamp comes last: what was cut off while it was installed is none.
        match root.join("target/peers/stamp").exists() {
            true => Ok(Some(peers)),
            false if without => Ok(None),
            false => Err("target/peers/venv is missing: run `make peers`".to_owned()),
        }
    }

    /// A Python script of `tests/peers`, with nothing in its environment.
    #[must_use]
    pub fn script(&self, name: &str) -> Command {
        let mut command = bare(&self.bin.join("python"));
        // No byte code is left in the source tree.
        command.arg("-B").arg(self.scripts.join(name));
        command
    }

    /// A program of the environment.
    #[must_use]
    pub fn program(&self, name: &str) -> Command {
        bare(&self.bin.join(name))
    }

    /// The official Python SDK, with the standard library's netrc, reads a variable with a machine's
    /// files.
    #[must_use]
    pub fn read_with_sdk(&self, machine: &Machine, variable: &str) -> Ran {
        let mut command = self.script("read_with_sdk.py");
        command.arg("--conf").arg(machine.path("etc/conjur.conf"));
        command.arg("--identity").arg(machine.path("etc/conjur.identity"));
        Ran::of_one_that_tells(command.arg(variable))
    }

    /// Ansible's lookup does.
    #[must_use]
    pub fn read_with_ansible(&self, machine: &Machine, variable: &str) -> Ran {
        let mut command = self.script("read_with_ansible.py");
        command.arg("--conf").arg(machine.path("etc/conjur.conf"));
        command.arg("--identity").arg(machine.path("etc/conjur.identity"));
        command.arg("--cert").arg(machine.path("etc/conjur.pem"));
        Ran::of_one_that_tells(command.arg(variable))
    }
}
