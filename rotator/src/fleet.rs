//! The life of a fleet: hosts are tied to their instance, and leave when it leaves.
//!
//! Apart from rotation: with a login at Conjur, a role at AWS and a Lambda function of their own. Which
//! hosts belong to which instances is in [`host`]; who is gone in [`sweep`] and who is to be tied to what in
//! [`pins`], both pure functions; what is remembered between two looks in [`memory`]. A run is in [`run`],
//! its permissions are in [`effects`], and what comes out in [`report`].

mod decommission;
pub mod effects;
pub mod explain;
pub mod grant;
pub mod host;
mod look;
pub mod memory;
pub mod overview;
mod pin;
pub mod pins;
pub mod real;
pub mod report;
pub mod rules;
pub mod run;
pub mod status;
pub mod sweep;
