//! The AWS stand-ins over real sockets, asked by a client and a signer that share no code with them.

mod client;
mod imds;
mod kms;
mod s3;
