//! Tokens that somebody put on the machine: by file, standard input or systemd credential, in clear or
//! sealed; and what opens one that is sealed with client data.
//!
//! A clear token has no binding: account, factory and URLs are the configuration's alone, and Conjur's
//! answer is what proves its factory. So its file must be root's, and closed to everybody else. What the
//! sources are is in `config::source`; which one is tried when, in `enroll::token`.

use crate::config::{Config, Opener};
use crate::facts::InstanceId;
use crate::machine_facts::{self, Readers, Roots};
use crate::store;
use imprint_core::client_data::inventory::{self, Inventory};
use imprint_core::client_data::{self, Fact, Sealed, Secret, Values};
use imprint_core::sealed::{self, SealedToken};
use imprint_core::token::{self, Token};
use imprint_core::{Class, Classified};
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// The largest clear token with its blanks, and the largest secret, in bytes.
const LARGEST_CLEAR: usize = 4096;

/// The largest that standard input, a file or a credential may hold: a sealed token.
pub const LARGEST: usize = sealed::LARGEST_OBJECT;

/// What was found at a source.
pub enum Held {
    /// A token as Conjur gave it.
    Clear(Token),
    /// One that is sealed with client data.
    ClientData(Sealed),
    /// One that KMS sealed.
    Kms(SealedToken),
}

/// Why a source gives no token.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there.
    #[error("there is no {}", .0.display())]
    Absent(PathBuf),
    /// What is sealed with client data cannot be read or opened.
    #[error(transparent)]
    ClientData(#[from] client_data::Error),
    /// Nothing came.
    #[error("{0} is empty")]
    Empty(String),
    /// Facts that Ohai or Facter reported.
    #[error("{}", path.display())]
    Facts {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: inventory::Error,
    },
    /// systemd does not pass this credential.
    #[error("systemd passes no credential {0} to this process")]
    NoCredential(String),
    /// No KMS key is configured for a token that KMS sealed.
    #[error("{0} holds a token that KMS sealed, and no kms_key is configured")]
    NoKmsKey(String),
    /// No source is configured.
    #[error("no source of a token is configured")]
    None,
    /// A token that came in clear is none.
    #[error("{from} holds no host factory token")]
    NotAToken {
        /// Where it was.
        from: String,
        /// What is wrong with it, without it.
        #[source]
        source: Option<token::Error>,
    },
    /// Others may read or write what must be root's alone.
    #[error("{} is open to others: {readers} may read it", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Who.
        readers: Readers,
    },
    /// The facts are closed by name, and not on this machine.
    #[error("every user of this machine may read the facts that the token is sealed with")]
    OpenFacts,
    /// A file cannot be read.
    #[error(transparent)]
    Storage(#[from] store::Error),
    /// Standard input cannot be read.
    #[error("standard input cannot be read")]
    Stdin(#[source] io::Error),
    /// What KMS sealed is not well formed.
    #[error(transparent)]
    Sealed(#[from] sealed::Error),
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Absent(_) => Class::Absent,
            Self::ClientData(error) => error.class(),
            Self::Empty(_)
            | Self::NoCredential(_)
            | Self::NoKmsKey(_)
            | Self::None
            | Self::NotAToken { .. }
            | Self::Open { .. }
            | Self::OpenFacts => Class::Config,
            Self::Facts { source, .. } => source.class(),
            Self::Sealed(error) => error.class(),
            Self::Storage(error) => error.class(),
            Self::Stdin(_) => Class::Storage,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Absent(_) => Some("put the token there, or look at [source] in the configuration"),
            Self::ClientData(error) => error.hint(),
            Self::Empty(_) | Self::NotAToken { .. } => {
                Some("it must be a host factory token alone on one line, or a sealed one as it was written")
            }
            Self::Facts { source, .. } => source.hint(),
            Self::NoCredential(_) => Some("add LoadCredential= to the unit, and let systemd start imprint"),
            Self::NoKmsKey(_) => Some("set kms_key in [source]"),
            Self::None => Some("write a [source] into the configuration"),
            Self::Open { .. } => {
                Some("chown root and chmod 0600; what others could read is spent: mint or seal anew")
            }
            Self::OpenFacts => Some(
                "somebody opened what the kernel shows to root alone (/sys/class/dmi/id): close it, or seal with a secret",
            ),
            Self::Sealed(error) => error.hint(),
            Self::Storage(error) => error.hint(),
            Self::Stdin(_) => {
                Some("give the token on standard input: imprint enroll --token-from stdin < FILE")
            }
        }
    }
}

impl Error {
    /// Whether it may be otherwise in a moment: a file that is still to come.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self.class(), Class::Absent | Class::Transient)
    }
}

/// What bytes of a source are: the first one tells a sealed token from a clear one.
///
/// # Errors
/// When they are none.
pub fn told(bytes: &[u8], from: &str) -> Result<Held, Error> {
    let text = bytes.trim_ascii();
    if text.is_empty() {
        return Err(Error::Empty(from.to_owned()));
    }
    if text.starts_with(b"{") {
        return Ok(if Sealed::is_claimed_by(bytes) {
            Held::ClientData(Sealed::parse(bytes)?)
        } else {
            Held::Kms(SealedToken::parse(bytes)?)
        });
    }
    let none = |source| Error::NotAToken { from: from.to_owned(), source };
    if bytes.len() > LARGEST_CLEAR {
        return Err(none(None));
    }
    let text = std::str::from_utf8(text).map_err(|_| none(None))?;
    Token::new(Zeroizing::new(text.to_owned())).map(Held::Clear).map_err(|error| none(Some(error)))
}

/// A file that is root's (or of whoever runs imprint) and closed to everybody else.
///
/// # Errors
/// When it is not there, open, or cannot be read.
pub fn closed(path: &Path, most: usize) -> Result<Zeroizing<Vec<u8>>, Error> {
    let (bytes, looks) = store::read_with_looks(path, most)?.ok_or_else(|| Error::Absent(path.to_owned()))?;
    let bytes = Zeroizing::new(bytes);
    match Readers::of(&looks) {
        Readers::OwnerAlone => Ok(bytes),
        readers @ (Readers::Everybody | Readers::Group) => {
            Err(Error::Open { path: path.to_owned(), readers })
        }
    }
}

/// A credential of this unit. systemd has closed its directory; what it passes is there from the start.
///
/// # Errors
/// When systemd passes none of this name.
pub fn credential(directory: Option<&Path>, name: &str) -> Result<Zeroizing<Vec<u8>>, Error> {
    let none = || Error::NoCredential(name.to_owned());
    let path = directory.ok_or_else(none)?.join(name);
    Ok(Zeroizing::new(store::read(&path, LARGEST)?.ok_or_else(none)?))
}

/// A file that is sealed with client data. Who may read or write it does not matter much: what was
/// changed does not open, and guessing is what the sealing side has made dear.
///
/// # Errors
/// When it is not there, or no such file.
pub fn client_data_file(path: &Path) -> Result<Sealed, Error> {
    let bytes = store::read_following(path, LARGEST)?.ok_or_else(|| Error::Absent(path.to_owned()))?;
    Ok(Sealed::parse(&bytes)?)
}

/// Opens a token with the facts of this machine; its binding has been judged.
///
/// # Errors
/// When a fact is missing, or it does not open.
pub fn open(
    sealed: &Sealed,
    opener: &Opener,
    config: &Config,
    here: &InstanceId,
    image: Option<&str>,
) -> Result<Token, Error> {
    let secret = opener.secret_file.as_deref().map(secret).transpose()?;
    let reported = opener.facts_file.as_deref().map(reported).transpose()?;
    let (values, is_closed) = values(sealed.facts(), config, here, image, reported.as_ref())?;
    let closed_by_name = values.facts().any(Fact::is_for_root_alone);
    if secret.is_none() && closed_by_name && !is_closed {
        return Err(Error::OpenFacts);
    }
    Ok(sealed.open(&values, secret.as_ref())?)
}

/// The values of these facts, and whether one of them is for root alone on this very machine. A fact that
/// is nowhere is left out: opening tells which.
fn values(
    facts: &[Fact],
    config: &Config,
    here: &InstanceId,
    image: Option<&str>,
    reported: Option<&(PathBuf, Inventory)>,
) -> Result<(Values, bool), Error> {
    let own = machine_facts::read(&Roots::of(config));
    let (mut values, mut is_closed) = (Values::default(), false);
    for fact in facts {
        let found = own.iter().find(|found| found.fact == *fact);
        let told = match fact {
            Fact::ImageId => image,
            // From DMI or the metadata service; off EC2 there is none.
            Fact::InstanceId => Some(here.as_str()).filter(|id| id.starts_with("i-")),
            _ => found.and_then(|found| found.value.as_ref().ok()).map(|value| value.as_str()),
        };
        // What cannot be used was left out already; what the metadata service told is judged here.
        if told.is_some_and(|told| values.put(fact.clone(), told).is_ok()) {
            let readers = found.and_then(|found| found.readers);
            is_closed |= fact.is_for_root_alone() && readers == Some(Readers::OwnerAlone);
        } else if let Some((path, inventory)) = reported {
            match inventory.take(fact, &mut values) {
                // The file is closed, as a token's would have to be.
                Ok(()) => is_closed |= fact.is_for_root_alone(),
                Err(inventory::Error::Missing(_)) => {}
                Err(source) => return Err(Error::Facts { path: path.clone(), source }),
            }
        }
    }
    Ok((values, is_closed))
}

fn secret(path: &Path) -> Result<Secret, Error> {
    let bytes = closed(path, LARGEST_CLEAR)?;
    let text = std::str::from_utf8(&bytes).map_err(|_| client_data::Error::SecretLength(bytes.len()))?;
    Ok(Secret::new(text)?)
}

fn reported(path: &Path) -> Result<(PathBuf, Inventory), Error> {
    let bytes = closed(path, inventory::LARGEST)?;
    let inventory = Inventory::parse(&bytes);
    Ok((path.to_owned(), inventory.map_err(|source| Error::Facts { path: path.to_owned(), source })?))
}

#[cfg(test)]
mod tests;
