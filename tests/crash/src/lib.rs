//! What becomes of a machine when a program is stopped anywhere.
//!
//! `tracer` runs a program and stops it at every system call; `call` names the calls; `points` says which of
//! them are tried and judges each try; `world` is a machine that can be put back, with the questions that are
//! asked of it; `scenario` says what is interrupted. `suite` tries all of it.
#![expect(
    clippy::expect_used,
    reason = "scaffolding that cannot be put up must stop the suite that wants it"
)]

pub mod call;
pub mod image;
pub mod loss;
pub mod model;
pub mod points;
pub mod promotion;
pub mod report;
pub mod rotator;
pub mod scenario;
pub mod setting;
pub mod suite;
pub mod tracer;
pub mod world;
