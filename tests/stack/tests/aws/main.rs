//! The AWS stand-ins over real sockets, asked by a client and a signer that share no code with them.
#![expect(clippy::unwrap_used, reason = "the helpers of a test fail as a test does")]

mod client;
mod imds;
mod kms;
mod s3;
mod stack;
