//! Imprint's agent: gives a new EC2 instance its Conjur identity at first boot.
//!
//! `enroll` is the story; `step` and `binding` decide, `effects` and `store` touch the world,
//! `identity` and `state` are what stays on the disk. The program is a library, so that tests and
//! benches run the real code.

pub mod bake;
pub mod binding;
pub mod cli;
pub mod config;
mod console;
pub mod doctor;
pub mod effects;
pub mod enroll;
pub mod facts;
pub mod files;
pub mod forget;
pub mod identity;
pub mod imds;
pub mod journal;
pub mod lock;
pub mod machine_facts;
pub mod netrc;
pub mod notify;
pub mod sinks;
pub mod source;
pub mod state;
pub mod status;
pub mod step;
pub mod store;
pub mod template;
pub mod verify;

/// Runs the program: the command line of this process.
pub fn main() -> std::process::ExitCode {
    cli::run()
}
