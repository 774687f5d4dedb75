//! The contract with Conjur: exchanges recorded from genuine servers, written down as cases in `cases/*.toml`, and a runner that
//! asks them of the stand-in that all other tests rely on, or of a genuine server. Where the recorded versions differ a case says
//! so. Nothing recorded is secret here: keys and tokens are placeholders, kept from the replies of the run itself.

mod case;
mod check;
mod clean;
mod client;
mod pattern;
mod runner;
mod target;
mod vars;

pub use client::Endpoint;
pub use imprint_stack::conjur::Version;
pub use runner::{Outcome, Verdict, run};
pub use target::Target;
