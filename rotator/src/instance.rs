//! Tokens for one instance: minted after its facts were looked at, for minutes, sealed with its ARN, published
//! under its own key.
//!
//! Apart from rotation: with a login at Conjur, a role at AWS and a Lambda function of their own. What to do about
//! one instance's token is in [`plan`], a pure function; the story of one is in `mint`, that of a run in [`run`];
//! the permissions are in [`effects`], what comes out in [`report`].

pub mod effects;
pub mod judge;
mod mint;
pub mod plan;
pub mod real;
pub mod report;
pub mod run;
