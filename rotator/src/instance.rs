//! Tokens for one instance: minted after its facts were looked at, for minutes, sealed with its ARN, published
//! under its own key.
//!
//! Apart from rotation: with a login at Conjur, a role at AWS and a Lambda function of their own. What to do about
//! one instance's token is in [`plan`], a pure function; the story of one is in `mint`, that of a run in [`run`];
//! the permissions are in [`effects`], what comes out in [`report`]. Whose promotion is offered, and when the old
//! host goes, is decided in [`promotion`], carried out in `promote` and remembered in [`memory`].

pub mod effects;
pub mod judge;
pub mod memory;
mod mint;
pub mod plan;
mod promote;
pub mod promotion;
pub mod real;
pub mod report;
pub mod run;

pub use promote::Ask as Promote;
