//! A token that is sealed with client data: with facts of the machines that shall open it, and no cloud.
//!
//! One JSON object of format version 1. A data key, drawn for this object, encrypts the token; each
//! machine's facts ([`Values`]), and a configured [`Secret`] if there is one, give a key by Argon2id
//! that encrypts the data key. The object names the facts and the form of each, never a value, and does
//! not tell which sealed key is whose: the agent derives its key once and tries all. Everything clear
//! is authenticated by both encryptions, the sealed keys by that of the token.
//!
//! Reading is bounded and takes one spelling alone: the bytes that [`Sealed::to_bytes`] writes. Cost is
//! bounded too ([`Cost`]), since the object says what the agent shall spend. ARCHITECTURE.md has the
//! format byte for byte.

mod cost;
mod fact;
pub mod inventory;
mod wire;

pub use cost::Cost;
pub use fact::{Fact, Form, NotAFact, Tool, Unfit, Values};

use crate::error::{Class, Classified};
use crate::sealed::{self, Binding};
use crate::token::{self, Token};
use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

/// The format version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// What the member `kind` says, to tell this object from one that KMS sealed.
pub const KIND: &str = "client-data";

/// The largest object that is looked at, in bytes. One for three machines has about 1,500.
pub const LARGEST_OBJECT: usize = 16 * 1024;

/// For how many machines one object may be.
pub const MOST_MACHINES: usize = 64;

/// From how many facts a key may be derived.
pub const MOST_FACTS: usize = 16;

/// A tag of AES-GCM, in bytes.
const TAG_LEN: usize = 16;
const KEY_LEN: usize = 32;
const SALT_LEN: usize = 16;
const SEALED_KEY_LEN: usize = NONCE_LEN + KEY_LEN + TAG_LEN;

const SHORTEST_SECRET: usize = 16;
const LONGEST_SECRET: usize = 1024;

/// A token may have 128 characters.
const LARGEST_CIPHERTEXT: usize = NONCE_LEN + 128 + TAG_LEN;

/// A sealed token with all that is needed to open it, but the facts.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Sealed {
    binding: Binding,
    facts: Vec<Fact>,
    with_secret: bool,
    cost: Cost,
    salt: [u8; SALT_LEN],
    keys: Vec<Vec<u8>>,
    ciphertext: Vec<u8>,
}

/// A text that sealer and machine share beside the facts.
pub struct Secret(Zeroizing<String>);

/// Why bytes are not such a token, why it does not open, or why it cannot be made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// The binding in it.
    #[error(transparent)]
    Binding(#[from] sealed::Error),
    /// It asks for more work than is done for anybody.
    #[error(
        "the sealed token asks for {memory_kib} KiB, {passes} passes and {lanes} lanes of Argon2id; {} are the most",
        Cost::MOST
    )]
    Cost {
        /// Memory.
        memory_kib: u32,
        /// Passes over it.
        passes: u32,
        /// Lanes.
        lanes: u32,
    },
    /// Several machines cannot be told apart.
    #[error("two of the machines have the same {0}")]
    Duplicate(String),
    /// No bytes at all.
    #[error("the sealed token is empty")]
    Empty,
    /// Not a JSON object with the members of this version, in its one spelling.
    #[error("the sealed token is not of client data format version {VERSION}: {0}")]
    Form(String),
    /// The machine does not have the memory.
    #[error("there is no memory for Argon2id, which takes {0} KiB")]
    Memory(u32),
    /// This machine does not have a fact that is needed.
    #[error("this machine has no {0}, which the token is sealed with")]
    Missing(Fact),
    /// No sealed key opens.
    #[error("the token does not open with the facts of this machine")]
    NotThisMachine,
    /// What was opened is no token.
    #[error("what was sealed is no host factory token")]
    NotAToken(#[source] token::Error),
    /// Everybody on the machine could open it.
    #[error("the facts ({0}) can be read by every user, and there is no secret")]
    Public(String),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
    /// The secret is needed, or is of no use.
    #[error("the token is sealed {} a secret, and {} is configured", if *.sealed_with { "with" } else { "without" }, if *.sealed_with { "none" } else { "one" })]
    Secret {
        /// Whether it was sealed with one.
        sealed_with: bool,
    },
    /// A secret that is too short or too long.
    #[error("the secret has {0} bytes; it must have {SHORTEST_SECRET} to {LONGEST_SECRET}")]
    SecretLength(usize),
    /// More bytes than [`LARGEST_OBJECT`].
    #[error("the sealed token has {0} bytes; at most {LARGEST_OBJECT} are read")]
    TooLarge(usize),
    /// Its key opened, the token did not.
    #[error("the sealed token was changed after its key was sealed")]
    Torn,
    /// Another format version.
    #[error("the sealed token has client data format version {0}; this program reads version {VERSION}")]
    Version(u64),
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Binding(error) => error.class(),
            Self::Duplicate(_) | Self::Secret { .. } | Self::SecretLength(_) | Self::Version(_) => {
                Class::Config
            }
            Self::Cost { .. }
            | Self::Empty
            | Self::Form(_)
            | Self::NotAToken(_)
            | Self::Public(_)
            | Self::TooLarge(_)
            | Self::Torn => Class::Tampered,
            Self::Memory(_) => Class::Transient,
            // A token for other machines and one that was changed look the same from here, and the first
            // is what happens: somebody has to seal it for this machine.
            Self::Missing(_) | Self::NotThisMachine => Class::Refused,
            Self::Random => Class::Bug,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Binding(_)
            | Self::Cost { .. }
            | Self::Empty
            | Self::Form(_)
            | Self::TooLarge(_)
            | Self::Torn => {
                "something other than imprint-rotator wrote this file, or changed it: seal it again, and see who may write it"
            }
            Self::Duplicate(_) => "choose facts that differ, or give each machine's file once",
            Self::Memory(_) => "seal it with less memory (--memory), or give the machine more",
            Self::Missing(_) | Self::NotThisMachine => {
                "it was sealed for other machines, or a fact has changed since (imprint facts shows them), or the secret is another, or the file was changed: seal it anew with this machine's facts"
            }
            Self::NotAToken(_) => "seal a host factory token of Conjur",
            Self::Public(_) => {
                "seal it with product_uuid, product_serial or board_serial among the facts, or with a secret"
            }
            Self::Random => return None,
            Self::Secret { sealed_with: true } => {
                "set secret_file in [source]: the file that the sealer used"
            }
            Self::Secret { sealed_with: false } => {
                "take secret_file out of [source], or seal the token with that secret: one without it was not made by whoever knows it"
            }
            Self::SecretLength(_) => "draw one: openssl rand -hex 32",
            Self::Version(_) => "upgrade the older of agent and rotator",
        })
    }
}

impl Secret {
    /// Takes a secret's text; blanks and newlines around it do not count.
    ///
    /// # Errors
    /// When it is too short to be one, or too long.
    pub fn new(text: &str) -> Result<Self, Error> {
        let text = Zeroizing::new(text.trim().to_owned());
        match text.len() {
            SHORTEST_SECRET..=LONGEST_SECRET => Ok(Self(text)),
            length => Err(Error::SecretLength(length)),
        }
    }

    /// The secret itself: for the derivation of a key, the estimate of its strength, and nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl Sealed {
    /// Seals a token for machines with these values of `facts`.
    ///
    /// # Errors
    /// When the facts do not suffice, two machines are alike, or a machine lacks a fact.
    pub fn seal(
        binding: Binding,
        token: &Token,
        facts: &[Fact],
        machines: &[Values],
        secret: Option<&Secret>,
        cost: Cost,
    ) -> Result<Self, Error> {
        let mut facts = facts.to_vec();
        facts.sort();
        facts.dedup();
        let mut sealed = Self {
            binding,
            facts,
            with_secret: secret.is_some(),
            cost,
            salt: random()?,
            keys: Vec::new(),
            ciphertext: Vec::new(),
        };
        let data_key = Zeroizing::new(random::<KEY_LEN>()?);
        let inputs: Vec<_> =
            machines.iter().map(|values| sealed.input(values, secret)).collect::<Result<_, _>>()?;
        if inputs.iter().enumerate().any(|(at, input)| inputs[..at].contains(input)) {
            return Err(Error::Duplicate(sealed.names()));
        }
        let header = sealed.header();
        for input in &inputs {
            let key = cost.derive(input, &sealed.salt)?;
            sealed.keys.push(encrypt(&key, &header, &data_key[..])?);
        }
        // The order in which the machines were given would tell which key is whose. Each key begins with
        // its random nonce, so this is a random order.
        sealed.keys.sort();
        sealed.ciphertext = encrypt(&data_key, &sealed.header(), token.expose().as_bytes())?;
        sealed.checked()
    }

    /// Opens it with the facts of this machine. The binding is authenticated then, and not before; that
    /// the token is the one that it names is the caller's to check.
    ///
    /// # Errors
    /// [`Error::NotThisMachine`] for every fact and secret that is wrong, without telling which.
    pub fn open(&self, values: &Values, secret: Option<&Secret>) -> Result<Token, Error> {
        if self.with_secret != secret.is_some() {
            return Err(Error::Secret { sealed_with: self.with_secret });
        }
        let key = self.cost.derive(&self.input(values, secret)?, &self.salt)?;
        let header = Self { keys: Vec::new(), ..self.clone() }.header();
        let data_key = self.keys.iter().find_map(|sealed| decrypt(&key, &header, sealed));
        let data_key = data_key.ok_or(Error::NotThisMachine)?;
        let data_key = data_key.as_slice().try_into().map(Zeroizing::new).map_err(|_| Error::Torn)?;
        let text = decrypt(&data_key, &self.header(), &self.ciphertext).ok_or(Error::Torn)?;
        let text = std::str::from_utf8(&text).map_err(|_| Error::Torn)?;
        Token::new(Zeroizing::new(text.to_owned())).map_err(Error::NotAToken)
    }

    /// The clear fields: authenticated once it was opened, and not before.
    #[must_use]
    pub const fn binding(&self) -> &Binding {
        &self.binding
    }

    /// The facts that open it.
    #[must_use]
    pub fn facts(&self) -> &[Fact] {
        &self.facts
    }

    /// For how many machines it is.
    #[must_use]
    pub const fn machines(&self) -> usize {
        self.keys.len()
    }

    fn checked(self) -> Result<Self, Error> {
        if !self.with_secret && !self.facts.iter().any(Fact::is_for_root_alone) {
            return Err(Error::Public(self.names()));
        }
        let form = |why: &str| Err(Error::Form(why.to_owned()));
        if self.facts.is_empty() || self.facts.len() > MOST_FACTS {
            return form("it names no facts, or too many");
        }
        if !self.facts.is_sorted_by(|a, b| a < b) {
            return form("its facts are not in their order");
        }
        if self.keys.is_empty() || self.keys.len() > MOST_MACHINES {
            return form("it has no keys, or too many");
        }
        if self.keys.iter().any(|key| key.len() != SEALED_KEY_LEN) {
            return form("a key has not the length of one");
        }
        if !(NONCE_LEN + TAG_LEN + 1..=LARGEST_CIPHERTEXT).contains(&self.ciphertext.len()) {
            return form("its ciphertext has not the length of a token's");
        }
        Ok(self)
    }

    /// What a key is derived from: names, forms and values, each with its length in front, so that no two
    /// machines can be spelled alike.
    fn input(&self, values: &Values, secret: Option<&Secret>) -> Result<Zeroizing<Vec<u8>>, Error> {
        // Reserved at once: growing would leave copies behind.
        let mut input = Zeroizing::new(Vec::with_capacity(24 * 1024));
        let mut put = |part: &str| {
            input.extend_from_slice(&(part.len() as u64).to_be_bytes());
            input.extend_from_slice(part.as_bytes());
        };
        put("imprint client data 1");
        for fact in &self.facts {
            put(&fact.to_string());
            put(fact.form().as_str());
            put(values.expose(fact).ok_or_else(|| Error::Missing(fact.clone()))?);
        }
        put("secret");
        put(secret.map_or("", Secret::expose));
        Ok(input)
    }

    fn names(&self) -> String {
        self.facts.iter().map(Fact::to_string).collect::<Vec<_>>().join(", ")
    }

    /// What is authenticated: everything but the ciphertext.
    fn header(&self) -> Vec<u8> {
        Self { ciphertext: Vec::new(), ..self.clone() }.to_bytes()
    }
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    aws_lc_rs::rand::fill(&mut bytes).map_err(|_| Error::Random)?;
    Ok(bytes)
}

/// AES-256-GCM: a random nonce, the ciphertext, the tag.
fn encrypt(key: &[u8; KEY_LEN], header: &[u8], plain: &[u8]) -> Result<Vec<u8>, Error> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).map_err(|_| Error::Random)?;
    let mut text = Vec::with_capacity(plain.len() + TAG_LEN);
    text.extend_from_slice(plain);
    let nonce = key.seal_in_place_append_tag(Aad::from(header), &mut text).map_err(|_| Error::Random)?;
    Ok([&nonce.as_ref()[..], &text].concat())
}

fn decrypt(key: &[u8; KEY_LEN], header: &[u8], sealed: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let key = RandomizedNonceKey::new(&AES_256_GCM, key).ok()?;
    let (nonce, text) = sealed.split_at_checked(NONCE_LEN)?;
    let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
    let mut text = Zeroizing::new(text.to_vec());
    let length = key.open_in_place(nonce, Aad::from(header), &mut text).ok()?.len();
    text.truncate(length);
    Some(text)
}

#[cfg(test)]
mod tests;
