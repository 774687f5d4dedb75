//! The rotator: mints host factory tokens at Conjur, seals them with KMS and publishes them in S3.
//!
//! One program for a Lambda function and for a command line, which also serves cron and systemd
//! timers. The decision is in [`plan`], a pure function; the story is in [`rotate`], told over
//! [`effects::Effects`], which is also the list of permissions; [`config`], [`policy`] and [`label`]
//! say in which terms.

pub mod cli;
pub mod config;
pub mod conjur_policy;
pub mod doctor;
pub mod effects;
pub mod fleet;
pub mod instance;
pub mod label;
pub mod lambda;
mod logging;
pub mod login;
pub mod metrics;
pub mod network;
pub mod outlook;
pub mod plan;
pub mod policy;
mod progress;
pub mod publish;
pub mod rotate;
pub mod seal;
pub mod seal_login;
pub mod session;
pub mod status;
pub mod survey;
mod table;
pub mod token;
#[cfg(test)]
mod world;

use std::process::ExitCode;

/// What servers are told of this program; see [`imprint_core::caller`].
const PROGRAM: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Runs the program: as a Lambda function where Lambda's environment says so, else as a command.
#[must_use]
pub fn main() -> ExitCode {
    // Before anything is read that could be a secret. Where it is not allowed, a rotation is worth more.
    let _core_dumps_stay = imprint_core::process::close();
    // One thread is enough for work that waits for servers.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return cli::failed_to_start(&error),
    };
    if std::env::var_os("AWS_LAMBDA_RUNTIME_API").is_some() {
        runtime.block_on(lambda::run())
    } else {
        runtime.block_on(cli::run(std::env::args_os()))
    }
}
