//! What only root can show, or only a namespace: `make test-root` runs it. Every test here is ignored by
//! a plain `cargo test`, which must not need root; each subject has a file of its own.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what tests share fails as a test does"
)]

#[path = "../e2e/tests/place.rs"]
mod place;

mod crashes;
mod disks;
mod faults;
mod files;
mod journal;
mod memory;

use imprint_e2e::{Machine, Ran};
use place::{no_secret, published};
use std::process::Command;

/// A program of a machine, run by `unshare` in a mount namespace of its own, after `script`. What the
/// script sees: `$root`, the machine's root, and `$@`, the program.
fn in_namespace(machine: &Machine, script: &str, program: &Command) -> Command {
    let mut command = Command::new("unshare");
    let script = format!("set -e\nroot={:?}\n{script}\nexec \"$@\"", machine.path(""));
    command.args(["--mount", "bash", "-c", &script, "bash"]);
    command.arg(program.get_program()).args(program.get_args());
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.envs(program.get_envs().filter_map(|(k, v)| Some((k, v?))).filter(|(k, _)| *k != "PATH"));
    command
}
