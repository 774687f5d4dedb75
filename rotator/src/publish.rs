//! `imprint-rotator publish`: the long-lived pattern. A token that somebody minted elsewhere is sealed under its
//! factory's key and becomes what agents find.
//!
//! Conjur's list says when the token ends and from where it may be used, so nobody has to. A run neither mints nor
//! replaces anything for such a factory (`mint = false`): it keeps what is published while that is good, and fails
//! from the time on at which another is due. Nothing is repeated here: a person waits, and the same command again
//! goes on from whatever is there.

use crate::config::{Config, Factory};
use crate::effects::{self, Effects};
use crate::label::{Label, anywhere};
use crate::plan::Listed;
use crate::rotate::{self, chosen};
use crate::seal::TokenFrom;
use imprint_core::aws::Only;
use imprint_core::caller::RunId;
use imprint_core::conjur::Minted;
use imprint_core::error::{Class, Classified};
use imprint_core::name::FactoryId;
use imprint_core::sealed::{self, Binding, SealedToken, layer_key};
use imprint_core::second::Second;
use imprint_core::token::{self, Fingerprint, Token};
use ipnet::IpNet;
use serde_json::{Value, json};
use std::fmt;
use std::io;
use zeroize::Zeroizing;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

/// What the command line asks for.
#[derive(clap::Args, Clone, Debug)]
pub struct Ask {
    /// The host factory, of the configuration, with mint = false
    #[arg(long, value_name = "ID")]
    pub factory: FactoryId,
    /// Where the token comes from: standard input
    #[arg(long, value_name = "stdin", value_parser = TokenFrom::word)]
    pub token_from: TokenFrom,
    /// One JSON object instead of a line
    #[arg(long)]
    pub json: bool,
}

/// Why nothing was published, or not surely.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call failed.
    #[error(transparent)]
    Effect(#[from] effects::Error),
    /// No place that a token may come from.
    #[error("--token-from takes stdin alone; a token itself is never taken as an argument")]
    From,
    /// What was given is no token.
    #[error("what standard input gave is no host factory token")]
    Given(#[source] token::Error),
    /// Standard input.
    #[error("cannot read standard input")]
    Input(#[source] io::Error),
    /// Runs would replace it.
    #[error("runs mint the tokens of {0}, and would replace a given one")]
    Minted(FactoryId),
    /// No agent would look for it.
    #[error("the instances of {0} share no token: each has one of its own")]
    Unshared(FactoryId),
    /// Conjur does not list it for the factory.
    #[error("Conjur lists no token {fingerprint} for {factory}")]
    NotListed {
        /// The factory.
        factory: FactoryId,
        /// The token.
        fingerprint: Fingerprint,
    },
    /// It ends too soon to be of use.
    #[error("token {0} is due to be replaced already: it ends at {1}")]
    Over(Fingerprint, Second),
    /// The choice of the factory, and what a run says too.
    #[error(transparent)]
    Run(#[from] rotate::Error),
    /// The binding cannot be sealed.
    #[error("no sealed token can be made")]
    Seal(#[source] sealed::Error),
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Effect(error) => error.class(),
            Self::From | Self::Given(_) | Self::NotListed { .. } | Self::Over(..) => Class::Usage,
            Self::Input(_) => Class::Storage,
            Self::Minted(_) | Self::Seal(_) | Self::Unshared(_) => Class::Config,
            Self::Run(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Effect(error) if error.is_conflict() => {
                Some("somebody else published in this moment: run it again")
            }
            Self::Effect(error) => error.hint(),
            Self::From | Self::Given(_) | Self::Input(_) => {
                Some("give the token alone, on one line, on standard input")
            }
            Self::Unshared(_) => Some("imprint-rotator mint gives an instance its token"),
            Self::Minted(_) => Some("set mint = false in its section, where the rotator shall not mint"),
            Self::NotListed { .. } => {
                Some("compare with imprint-rotator token list: it may be another factory's, or over")
            }
            Self::Over(..) => Some("mint one that lives longer"),
            Self::Run(error) => error.hint(),
            Self::Seal(error) => error.hint(),
        }
    }
}

/// What is published now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Published {
    binding: Binding,
    due: Second,
    before: Option<Fingerprint>,
}

/// Seals the given token and publishes it; `given` reads standard input.
///
/// # Errors
/// See [`Error`]. What was published before is there yet, but when the read back failed.
pub async fn publish(
    config: &Config,
    ask: &Ask,
    id: &RunId,
    on: &impl Effects,
    given: impl FnOnce() -> io::Result<Zeroizing<String>>,
) -> Result<Published, Error> {
    let factories = chosen(config, std::slice::from_ref(&ask.factory))?;
    let Some(factory) = factories.first().filter(|factory| !factory.mint) else {
        let unshared = factories.first().is_some_and(|factory| !factory.shared);
        let why = if unshared { Error::Unshared } else { Error::Minted };
        return Err(why(ask.factory.clone()));
    };
    let token = match ask.token_from {
        TokenFrom::Elsewhere => return Err(Error::From),
        TokenFrom::Stdin => given().map_err(Error::Input)?,
    };
    // Editors and echo leave a newline, which would be part of the token.
    let token = Token::new(Zeroizing::new(token.trim().to_owned())).map_err(Error::Given)?;
    let minted = listed(config, factory, &token, on).await?;
    let (now, fingerprint) = (on.now(), token.fingerprint());
    let due = config.policy.due(minted.expires_at);
    if due <= now {
        return Err(Error::Over(fingerprint, minted.expires_at));
    }
    let mut binding = config.binding(factory, fingerprint, id.as_str(), now, minted.expires_at);
    binding.cidr = networks(&minted.cidr);

    let key = layer_key(&config.account, &factory.id);
    let (before, only) = match on.fetch(&key).await {
        Ok(object) => (SealedToken::parse(&object.bytes).ok(), Only::IfMatch(object.etag)),
        Err(error) if error.is_absent() => (None, Only::IfAbsent),
        Err(error) => return Err(error.into()),
    };
    let before = before.map(|before| before.binding().fingerprint.clone());
    let context = binding.context();
    let encrypted = on.encrypt(&token, &context).await?;
    let sealed =
        SealedToken::new(binding.clone(), encrypted.ciphertext, encrypted.key_arn).map_err(Error::Seal)?;
    on.put(&key, sealed.to_bytes(), &only).await?;

    let there = on.fetch(&key).await?;
    let wrong = |why| Error::Run(rotate::Error::ReadBack { factory: factory.id.clone(), why });
    if SealedToken::parse(&there.bytes).ok().as_ref() != Some(&sealed) {
        return Err(wrong("it was changed"));
    }
    if on.decrypt(sealed.ciphertext(), &context).await?.as_slice() != token.expose().as_bytes() {
        return Err(wrong("it opens to another token"));
    }
    Ok(Published { binding, due, before })
}

/// The token as Conjur knows it.
async fn listed(
    config: &Config,
    factory: &Factory,
    token: &Token,
    on: &impl Effects,
) -> Result<Minted, Error> {
    let session = on.authenticate().await?;
    let (id, fingerprint) = (factory.id.clone(), token.fingerprint());
    let Some(shown) = on.show_factory(&session, &factory.id).await? else {
        return Err(rotate::Error::Unseen { factory: id, login: config.login.clone() }.into());
    };
    let found = shown.tokens.into_iter().find(|token| Listed::of(token).fingerprint == fingerprint);
    found.ok_or(Error::NotListed { factory: id, fingerprint })
}

/// Without labels; empty for anywhere.
fn networks(cidr: &[IpNet]) -> Vec<IpNet> {
    let own: Vec<IpNet> = cidr.iter().filter(|net| Label::parse(net).is_none()).copied().collect();
    if anywhere().iter().all(|net| own.contains(net)) { Vec::new() } else { own }
}

impl Published {
    /// For a program.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "schema": SCHEMA,
            "factory": self.binding.host_factory.as_str(),
            "fingerprint": self.binding.fingerprint.as_str(),
            "expires_at": self.binding.expires_at.to_string(),
            "due_at": self.due.to_string(),
            "cidr": self.binding.cidr.iter().map(IpNet::to_string).collect::<Vec<_>>(),
            "superseded": self.before.as_ref().map(Fingerprint::as_str),
        })
    }
}

impl fmt::Display for Published {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Binding { host_factory, fingerprint, expires_at, .. } = &self.binding;
        let before = self.before.as_ref().map(|before| format!("; before it {before}")).unwrap_or_default();
        write!(
            f,
            "{host_factory}: published token {fingerprint}, which ends {expires_at}; another is due {}{before}",
            self.due
        )
    }
}

#[cfg(test)]
mod tests;
