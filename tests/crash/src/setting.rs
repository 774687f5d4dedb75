//! What a program is interrupted in, and the questions that are asked of it afterwards.

use crate::call::{Call, Namer};
use crate::tracer::{self, Ended, Stop, Then};
use std::process::Command;

/// Why a promise was not held.
pub type Broken = String;

/// Servers and disks that can be put back to how they were before the command.
pub trait Setting: Sync {
    /// Puts all of it back.
    ///
    /// # Errors
    /// When that cannot be done.
    fn reset(&self) -> Result<(), Broken>;

    /// The command that is interrupted.
    fn command(&self) -> Command;

    /// Names of the calls of one run here.
    fn namer(&self) -> Namer;

    /// All that must not be told.
    fn secrets(&self) -> Vec<String>;

    /// The exit codes with which a run may end in which this call fails.
    fn may_end_with(&self, call: &Call) -> &'static [i32];

    /// What must hold at once, whatever happened.
    ///
    /// # Errors
    /// With what does not.
    fn is_whole_now(&self) -> Result<(), Broken>;

    /// Runs what comes after an interruption, and sees that all is well.
    ///
    /// # Errors
    /// With what is not.
    fn ends_well(&self) -> Result<(), Broken>;

    /// Runs the command under a watch.
    ///
    /// # Errors
    /// When it cannot be traced.
    fn watched(&self, watch: &mut dyn FnMut(&Stop) -> Then) -> Result<Ended, Broken> {
        tracer::run(&self.command(), watch).map_err(|e| format!("it cannot be traced: {e}"))
    }

    /// Nothing that a run says has a secret in it.
    ///
    /// # Errors
    /// When it has.
    fn is_silent(&self, texts: &[&str]) -> Result<(), Broken> {
        let secrets = self.secrets();
        let told = texts.iter().any(|text| secrets.iter().any(|secret| text.contains(secret.as_str())));
        if told { Err("a secret is told".to_owned()) } else { Ok(()) }
    }
}
