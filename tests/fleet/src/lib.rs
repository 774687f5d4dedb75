//! A wave of boots in virtual time: the agent's own retries and pacing against models of IMDS, S3, KMS and Conjur.
//!
//! [`wave`] runs a scenario, [`world`] is what the servers are, [`agents`] who asks them.

pub mod agents;
pub mod lanes;
pub mod machine;
pub mod report;
pub mod scenarios;
pub mod wave;
pub mod world;

#[cfg(test)]
mod tests;
