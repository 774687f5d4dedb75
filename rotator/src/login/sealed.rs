//! The rotator's own API key, sealed in the bucket: `logins/<account>/<login>.json`.
//!
//! One JSON object of format version 1, of which there is one spelling: the one that is written. Every
//! member but the last two is bound to the ciphertext as KMS encryption context. That context says
//! `imprint:kind` = `login`, which no token's has, and names no host factory, which every token's does:
//! neither opens as the other. ARCHITECTURE.md has the format byte for byte.

use crate::config::Config;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use imprint_core::aws::{self, Encrypted};
use imprint_core::error::{Class, Classified};
use imprint_core::second::Second;
use imprint_core::token::{self, ApiKey, Fingerprint};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use zeroize::Zeroizing;

/// The format version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// The largest object that is looked at, in bytes. A usual one has about 700.
pub const LARGEST_OBJECT: usize = 16 * 1024;

/// What stands in `kind`.
const KIND: &str = "login";

/// KMS makes about 200 bytes of a key.
const LARGEST_CIPHERTEXT: usize = 6144;

/// A sealed API key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SealedLogin {
    clear: Clear,
    ciphertext: Vec<u8>,
    key_arn: String,
}

/// What is told in clear, and bound to the ciphertext.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Clear {
    /// Conjur account.
    pub account: String,
    /// Whose key it is.
    pub login: String,
    /// The server that it is for.
    pub leader_url: String,
    /// When it was sealed.
    pub sealed_at: Second,
    /// The key's name.
    pub fingerprint: Fingerprint,
}

/// Why there is no API key in the bucket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing is there, or this role may not know.
    #[error("there is no sealed login")]
    Absent(#[source] aws::Error),
    /// It is for something else.
    #[error("the sealed login is of {field} {is}, not {want}")]
    Elsewhere {
        /// The member.
        field: &'static str,
        /// As it is sealed.
        is: String,
        /// As the configuration says.
        want: String,
    },
    /// Not an object of this format.
    #[error("the sealed login {0}")]
    Form(String),
    /// It opens, and holds no API key.
    #[error("what was sealed is no API key")]
    Key(#[source] token::Error),
    /// It opens, and holds another key than it says.
    #[error("the key that was sealed is not the one that the object names")]
    OtherKey,
    /// Another format version.
    #[error("the sealed login has format version {0}; this program reads version {VERSION}")]
    Version(u64),
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            // That it may be hidden is told by its own words.
            Self::Absent(_) => Class::Absent,
            Self::Elsewhere { .. } | Self::Form(_) | Self::Key(_) | Self::OtherKey => Class::Tampered,
            Self::Version(_) => Class::Config,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Absent(_) => {
                "run imprint-rotator seal-login, and allow this role s3:GetObject on logins/* and s3:ListBucket on the bucket"
            }
            Self::Elsewhere { .. } => {
                "if the configuration has changed, run imprint-rotator seal-login again; else see who may put into logins/*"
            }
            Self::Form(_) | Self::Key(_) | Self::OtherKey => {
                "something other than seal-login wrote this object: see who may put it, then run imprint-rotator seal-login"
            }
            Self::Version(_) => "upgrade the older of the two programs",
        })
    }
}

/// Where the configured login's key lies.
#[must_use]
pub fn object_key(config: &Config) -> String {
    format!("logins/{}/{}.json", config.account, config.login)
}

impl Clear {
    /// Of the configured login.
    #[must_use]
    pub fn new(config: &Config, fingerprint: Fingerprint, sealed_at: Second) -> Self {
        Self {
            account: config.account.to_string(),
            login: config.login.clone(),
            leader_url: config.leader_url.to_string(),
            sealed_at,
            fingerprint,
        }
    }

    /// The KMS encryption context.
    #[must_use]
    pub fn context(&self) -> BTreeMap<String, String> {
        let pairs = [
            ("imprint:kind", KIND.to_owned()),
            ("imprint:version", VERSION.to_string()),
            ("imprint:account", self.account.clone()),
            ("imprint:login", self.login.clone()),
            ("imprint:leader_url", self.leader_url.clone()),
            ("imprint:sealed_at", self.sealed_at.to_string()),
            ("imprint:fingerprint", self.fingerprint.to_string()),
        ];
        pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
}

impl SealedLogin {
    /// Joins what KMS made to what it was bound to.
    #[must_use]
    pub fn new(clear: Clear, encrypted: Encrypted) -> Self {
        Self { clear, ciphertext: encrypted.ciphertext, key_arn: encrypted.key_arn }
    }

    /// Reads an object's bytes.
    ///
    /// # Errors
    /// When they are anything but one sealed login of version [`VERSION`], as it is written.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        let form = |why: &str| Error::Form(why.to_owned());
        if bytes.len() > LARGEST_OBJECT {
            return Err(Error::Form(format!("has {} bytes; at most {LARGEST_OBJECT} are read", bytes.len())));
        }
        let json = |e: serde_json::Error| {
            // serde's own words may quote the object.
            Error::Form(format!("is not the JSON it should be (line {}, column {})", e.line(), e.column()))
        };
        // The version decides which members there must be, so it is read by itself first.
        let Peek { version } = serde_json::from_slice(bytes).map_err(json)?;
        if version != u64::from(VERSION) {
            return Err(Error::Version(version));
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(json)?;
        if wire.kind != KIND {
            return Err(form("is of another kind"));
        }
        let clear = Clear {
            account: wire.account,
            login: wire.login,
            leader_url: wire.leader_url,
            sealed_at: wire.sealed_at.parse().map_err(|_| form("does not say when it was sealed"))?,
            fingerprint: wire.fingerprint.parse().map_err(|_| form("names no key"))?,
        };
        let ciphertext =
            BASE64.decode(&wire.ciphertext).map_err(|_| form("has a ciphertext that is no base64"))?;
        if !(1..=LARGEST_CIPHERTEXT).contains(&ciphertext.len()) {
            return Err(form("has a ciphertext of a size that KMS never makes"));
        }
        let sealed = Self { clear, ciphertext, key_arn: wire.key_arn };
        // A second spelling would be a change that no context shows.
        if sealed.to_bytes() != bytes {
            return Err(form("is not spelled as it is written"));
        }
        Ok(sealed)
    }

    /// The object's bytes: JSON on one line, members in the order of the format, a newline.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings and a number always serialize.
        let mut bytes = serde_json::to_vec(&Wire::from(self)).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }

    /// Whether it is the configured login's, for the configured server: said before KMS is asked.
    ///
    /// # Errors
    /// With the first member that differs.
    pub fn check(&self, config: &Config) -> Result<(), Error> {
        let want = [
            ("account", &self.clear.account, config.account.as_str()),
            ("login", &self.clear.login, config.login.as_str()),
            ("leader_url", &self.clear.leader_url, config.leader_url.as_str()),
        ];
        match want.into_iter().find(|(_, is, want)| is != want) {
            None => Ok(()),
            Some((field, is, want)) => {
                // Bounded, and without what could lead a terminal astray.
                let is = is.chars().take(80).flat_map(char::escape_debug).collect();
                Err(Error::Elsewhere { field, is, want: want.to_owned() })
            }
        }
    }

    /// The KMS encryption context: every member but ciphertext and ARN.
    #[must_use]
    pub fn context(&self) -> BTreeMap<String, String> {
        self.clear.context()
    }

    /// What KMS made.
    #[must_use]
    pub fn ciphertext(&self) -> &[u8] {
        &self.ciphertext
    }

    /// The API key, of what KMS opened.
    ///
    /// # Errors
    /// When that is none, or another than the object names.
    pub fn open(&self, text: Zeroizing<Vec<u8>>) -> Result<ApiKey, Error> {
        let text = Zeroizing::new(String::from_utf8_lossy(&text).into_owned());
        let key = ApiKey::new(text).map_err(Error::Key)?;
        if Fingerprint::of(key.expose().as_bytes()) != self.clear.fingerprint {
            return Err(Error::OtherKey);
        }
        Ok(key)
    }
}

#[derive(Deserialize)]
struct Peek {
    version: u64,
}

/// The members in the order in which they are written.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    kind: String,
    version: u32,
    account: String,
    login: String,
    leader_url: String,
    sealed_at: String,
    fingerprint: String,
    ciphertext: String,
    key_arn: String,
}

impl From<&SealedLogin> for Wire {
    fn from(sealed: &SealedLogin) -> Self {
        let clear = sealed.clear.clone();
        Self {
            kind: KIND.to_owned(),
            version: VERSION,
            account: clear.account,
            login: clear.login,
            leader_url: clear.leader_url,
            sealed_at: clear.sealed_at.to_string(),
            fingerprint: clear.fingerprint.to_string(),
            ciphertext: BASE64.encode(&sealed.ciphertext),
            key_arn: sealed.key_arn.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
