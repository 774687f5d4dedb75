//! Conjur, IMDS, S3, KMS and EC2 on real sockets, for the tests, the bench and the demo.
//!
//! Each stand-in is a [`server::Service`] behind a [`server::Server`]: its own thread, its own
//! port on 127.0.0.1, a log of every request and faults that a test injects. Nothing here
//! depends on the programs under test, so no mistake of theirs is repeated here.
#![expect(clippy::expect_used, reason = "a stand-in that cannot start must stop the test that wants it")]

pub mod aws;
pub mod ca;
pub mod clock;
pub mod conjur;
pub mod ec2;
pub mod fault;
pub mod imds;
pub mod kms;
pub mod s3;
pub mod secrets;
pub mod server;
pub mod stack;

pub use stack::{Options, Stack};

use std::sync::{Mutex, MutexGuard, PoisonError};

/// The lock, also when a failed test left it poisoned: the next assertion tells more.
pub(crate) fn hold<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
