//! The JSON of a token sealed with client data: members, their order, and the one spelling.

use super::{Cost, Error, Fact, KIND, LARGEST_OBJECT, MOST_FACTS, MOST_MACHINES, SALT_LEN, Sealed, VERSION};
use crate::sealed::Binding;
use crate::sealed::wire::{Clear, words};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde::{Deserialize, Serialize};

impl Sealed {
    /// Whether bytes claim to be such an object: what tells it from one that KMS sealed. Nothing else of
    /// it is judged.
    #[must_use]
    pub fn is_claimed_by(bytes: &[u8]) -> bool {
        bytes.len() <= LARGEST_OBJECT
            && serde_json::from_slice(bytes).is_ok_and(|peek: Peek| peek.kind == KIND)
    }

    /// Reads an object's bytes.
    ///
    /// # Errors
    /// When they are anything but one object of version [`VERSION`] as [`Self::to_bytes`] writes it.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.is_empty() {
            return Err(Error::Empty);
        }
        if bytes.len() > LARGEST_OBJECT {
            return Err(Error::TooLarge(bytes.len()));
        }
        // The version decides which members there must be, so it is read by itself first.
        let Peek { kind, version } = serde_json::from_slice(bytes).map_err(|e| Error::Form(words(&e)))?;
        if kind != KIND {
            return Err(Error::Form("it is of another kind".to_owned()));
        }
        if version != u64::from(VERSION) {
            return Err(Error::Version(version));
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(|e| Error::Form(words(&e)))?;
        let sealed = Self::try_from(wire)?;
        // What is authenticated is what would be written: so that is what must have been read.
        let written = sealed.to_bytes();
        if written.strip_suffix(b"\n") == Some(bytes.strip_suffix(b"\n").unwrap_or(bytes)) {
            Ok(sealed)
        } else {
            Err(Error::Form("it is spelled otherwise than imprint-rotator writes it".to_owned()))
        }
    }

    /// The object's bytes: JSON on one line, members in the order of the format, a newline.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and lists of them always serialize.
        let mut bytes = serde_json::to_vec(&Wire::from(self)).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

#[derive(Deserialize)]
struct Peek {
    kind: String,
    version: u64,
}

/// The members in the order in which they are written.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    kind: String,
    version: u32,
    binding: Clear,
    facts: Vec<WireFact>,
    secret: bool,
    argon2id: WireCost,
    salt: String,
    keys: Vec<String>,
    ciphertext: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WireFact {
    name: String,
    form: String,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WireCost {
    memory_kib: u32,
    passes: u32,
    lanes: u32,
}

impl From<&Sealed> for Wire {
    fn from(sealed: &Sealed) -> Self {
        let fact = |fact: &Fact| WireFact { name: fact.to_string(), form: fact.form().as_str().to_owned() };
        Self {
            kind: KIND.to_owned(),
            version: VERSION,
            binding: Clear::from(&sealed.binding),
            facts: sealed.facts.iter().map(fact).collect(),
            secret: sealed.with_secret,
            argon2id: WireCost {
                memory_kib: sealed.cost.memory_kib(),
                passes: sealed.cost.passes(),
                lanes: sealed.cost.lanes(),
            },
            salt: BASE64.encode(sealed.salt),
            keys: sealed.keys.iter().map(|key| BASE64.encode(key)).collect(),
            ciphertext: BASE64.encode(&sealed.ciphertext),
        }
    }
}

impl TryFrom<Wire> for Sealed {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self, Error> {
        if wire.facts.len() > MOST_FACTS || wire.keys.len() > MOST_MACHINES {
            return Err(Error::Form("it has too many facts or keys".to_owned()));
        }
        let bytes = |what: &str, text: &str| {
            BASE64.decode(text).map_err(|_| Error::Form(format!("its {what} is not base64")))
        };
        let salt = bytes("salt", &wire.salt)?;
        Self {
            binding: Binding::try_from(wire.binding)?,
            facts: wire.facts.iter().map(known).collect::<Result<_, _>>()?,
            with_secret: wire.secret,
            cost: Cost::new(wire.argon2id.memory_kib, wire.argon2id.passes, wire.argon2id.lanes)?,
            salt: <[u8; SALT_LEN]>::try_from(salt)
                .map_err(|_| Error::Form("its salt has not the length of one".to_owned()))?,
            keys: wire.keys.iter().map(|key| bytes("keys", key)).collect::<Result<_, _>>()?,
            ciphertext: bytes("ciphertext", &wire.ciphertext)?,
        }
        .checked()
    }
}

fn known(fact: &WireFact) -> Result<Fact, Error> {
    let named: Result<Fact, _> = fact.name.parse();
    match named {
        Ok(named) if named.form().as_str() == fact.form => Ok(named),
        Ok(_) | Err(_) => {
            Err(Error::Form("it names a fact or form that this program does not know".to_owned()))
        }
    }
}
