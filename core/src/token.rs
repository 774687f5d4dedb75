//! The secrets: host factory tokens, API keys, access tokens, proofs of a role; and the fingerprint, the only
//! name that a token has in a log.
//!
//! None of them can be printed, cloned, compared or serialized by accident. The bytes leave
//! through one method, [`Token::expose`] and its siblings, so a review is a search for that word.
//! Our copies are zeroized here; copies that libraries make are wiped by the programs' allocator.

mod access;

pub use access::AccessToken;

use crate::error::{Class, Classified};
use sha2::{Digest, Sha256};
use std::fmt;
use zeroize::Zeroizing;

/// Conjur's own alphabet for tokens and API keys: Crockford base32 in lower case.
/// Length varies (49 to 56 characters were seen), so it is bounded and never fixed.
const ALPHABET: &[u8] = b"0123456789abcdefghjkmnpqrstvwxyz";
const LENGTH: std::ops::RangeInclusive<usize> = 16..=128;

/// A host factory token: whoever holds it can make hosts, and new keys for the factory's hosts.
pub struct Token(Zeroizing<String>);

/// A host's (or user's) API key.
pub struct ApiKey(Zeroizing<String>);

/// The signed headers of a question to STS, as one JSON object: whoever holds them is taken for the role
/// that signed them, for 15 minutes.
pub struct RoleProof(Zeroizing<Vec<u8>>);

/// The first six bytes of a token's SHA-256, in hex: names a token without giving it away.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Fingerprint(String);

/// Why bytes are not a secret of the kind asked for. Never holds the bytes.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// A character that the kind does not have; `at` counts bytes from 0.
    #[error("{what} has a character at byte {at} that Conjur never uses")]
    Alphabet {
        /// What was read.
        what: &'static str,
        /// Where the first foreign byte is.
        at: usize,
    },
    /// Too short or too long.
    #[error("{what} has {length} bytes; it must have {least} to {most}")]
    Length {
        /// What was read.
        what: &'static str,
        /// What it has.
        length: usize,
        /// The fewest that are taken.
        least: usize,
        /// The most that are taken.
        most: usize,
    },
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Alphabet { .. } | Self::Length { .. } => Class::Protocol,
        }
    }
}

impl Token {
    /// Takes a token's text.
    ///
    /// # Errors
    /// When it is not 16 to 128 characters of Conjur's alphabet. A newline at the end is such a
    /// character: trim where a person's input comes in, not here.
    pub fn new(text: Zeroizing<String>) -> Result<Self, Error> {
        of_alphabet("host factory token", text.as_bytes(), |b| ALPHABET.contains(&b))?;
        Ok(Self(text))
    }

    /// The secret itself: for a request's header, a ciphertext, and nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The token's name in logs.
    #[must_use]
    pub fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(self.0.as_bytes())
    }
}

impl ApiKey {
    /// Takes an API key's text.
    ///
    /// # Errors
    /// When it is not 16 to 128 letters and digits. Every reader of a netrc carries those; a space,
    /// quote, `#` or newline would break the file for some of them.
    pub fn new(text: Zeroizing<String>) -> Result<Self, Error> {
        of_alphabet("API key", text.as_bytes(), |b| b.is_ascii_alphanumeric())?;
        Ok(Self(text))
    }

    /// The secret itself: for the identity file and the authenticate call, and nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether both are the same key. Takes the same time for every pair of one length.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        let (a, b) = (self.0.as_bytes(), other.0.as_bytes());
        a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (x, y)| differ | (x ^ y)) == 0
    }
}

impl RoleProof {
    /// Takes the JSON of the headers.
    #[must_use]
    pub const fn new(json: Zeroizing<Vec<u8>>) -> Self {
        Self(json)
    }

    /// The JSON, for the body of Conjur's authn-iam and nothing else.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// The same bytes, for the one who sends them.
    pub(crate) fn into_bytes(self) -> Zeroizing<Vec<u8>> {
        self.0
    }
}

impl Fingerprint {
    /// Of a secret's bytes.
    #[must_use]
    pub fn of(secret: &[u8]) -> Self {
        Self(hex(&Sha256::digest(secret)[..6]))
    }

    /// Twelve hex digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Fingerprint {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let what = "fingerprint";
        if text.len() != 12 {
            return Err(Error::Length { what, length: text.len(), least: 12, most: 12 });
        }
        match text.bytes().position(|b| !matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
            Some(at) => Err(Error::Alphabet { what, at }),
            None => Ok(Self(text.to_owned())),
        }
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Lower-case hex, for digests.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        for nibble in [byte >> 4, byte & 15] {
            text.push(char::from_digit(nibble.into(), 16).unwrap_or_default());
        }
        text
    })
}

fn of_alphabet(what: &'static str, text: &[u8], known: impl Fn(u8) -> bool) -> Result<(), Error> {
    if !LENGTH.contains(&text.len()) {
        let (length, least, most) = (text.len(), *LENGTH.start(), *LENGTH.end());
        return Err(Error::Length { what, length, least, most });
    }
    match text.iter().position(|b| !known(*b)) {
        Some(at) => Err(Error::Alphabet { what, at }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefgh";

    fn check(text: &str, token: Option<Error>, key: Option<Error>) {
        let taken = |text: &str| Zeroizing::new(text.to_owned());
        assert_eq!(Token::new(taken(text)).err(), token, "token {text:?}");
        assert_eq!(ApiKey::new(taken(text)).err(), key, "key {text:?}");
    }

    #[test]
    fn what_is_a_token_and_what_is_a_key() {
        let bad = |what, at| Some(Error::Alphabet { what, at });
        let (token, key) = ("host factory token", "API key");
        check(GOOD, None, None);
        check(&GOOD.to_uppercase(), bad(token, 10), None);
        check(&format!("{GOOD}\n"), bad(token, 50), bad(key, 50));
        check(&format!(" {GOOD}"), bad(token, 0), bad(key, 0));
        check(&format!("{GOOD}\""), bad(token, 50), bad(key, 50));
        check(&format!("{GOOD}\u{e9}"), bad(token, 50), bad(key, 50));
        let length = |what, length| Some(Error::Length { what, length, least: 16, most: 128 });
        check("", length(token, 0), length(key, 0));
        check(&"a".repeat(129), length(token, 129), length(key, 129));
    }

    #[test]
    fn a_fingerprint_is_twelve_hex_digits_of_the_sha256() {
        // sha256("abc") = ba7816bf 8f01...
        assert_eq!(Fingerprint::of(b"abc").as_str(), "ba7816bf8f01");
        assert_eq!("ba7816bf8f01".parse(), Ok(Fingerprint::of(b"abc")));
        for bad in ["", "ba7816bf8f0", "BA7816BF8F01", "ba7816bf8f0g"] {
            assert!(bad.parse::<Fingerprint>().is_err(), "{bad}");
        }
    }

    #[test]
    fn keys_are_compared_whole() {
        let key = |text: &str| ApiKey::new(Zeroizing::new(text.to_owned())).unwrap();
        assert!(key(GOOD).same_as(&key(GOOD)));
        assert!(!key(GOOD).same_as(&key(&GOOD.replace('0', "1"))));
        assert!(!key(GOOD).same_as(&key(&GOOD[1..])));
    }
}
