//! What the AWS stand-ins share: who may do what, and whether a request is signed by whom it says.

mod credentials;
mod policy;
pub(crate) mod sigv4;
mod sts;

pub use credentials::{Credentials, Keys};
pub use policy::Policy;
pub use sts::{Identity, caller_identity};

pub(crate) use credentials::{Caller, Unknown};

/// `length` random characters of the alphabet.
pub(crate) fn random(alphabet: &[u8], length: usize) -> String {
    (0..length).map(|_| char::from(alphabet[fastrand::usize(..alphabet.len())])).collect()
}

/// A random UUID.
pub(crate) fn uuid() -> String {
    let hex = |length| random(b"0123456789abcdef", length);
    format!("{}-{}-4{}-a{}-{}", hex(8), hex(4), hex(3), hex(3), hex(12))
}
