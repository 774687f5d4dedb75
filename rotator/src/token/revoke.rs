//! `token revoke`: ends tokens before their time. They are named by their fingerprints, or by what they are;
//! all that is asked for is looked at before the first is revoked.

use super::Error;
use crate::config::Config;
use crate::effects::{self, Effects};
use crate::plan::Standing;
use crate::rotate::{self, chosen, worst};
use crate::seal::TokenFrom;
use crate::session::{Kept, Session, is_transient};
use crate::survey::{Known, Survey, Surveyed};
use imprint_core::conjur::Minted;
use imprint_core::error::{Class, Classified, chain};
use imprint_core::name::FactoryId;
use imprint_core::retry::Retry;
use imprint_core::token::{Fingerprint, Token};
use serde_json::{Value, json};
use std::fmt;
use std::io;
use std::path::PathBuf;
use zeroize::Zeroizing;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

/// How often calls are repeated in all.
const REPEATS: u32 = 20;

/// What the command line asks for.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Ask {
    /// Which tokens.
    #[command(flatten)]
    pub which: Which,
    /// Only of this factory of the configuration; may be repeated
    #[arg(long = "factory", value_name = "ID")]
    pub factories: Vec<FactoryId>,
    /// Also one that is published, or that a run may be publishing: agents that fetch it are refused
    #[arg(long)]
    pub published: bool,
    /// One JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// Which tokens.
#[derive(clap::Args, Clone, Debug, Default)]
#[group(required = true, multiple = true)]
pub struct Which {
    /// The token of this name; may be repeated
    #[arg(long = "fingerprint", value_name = "FINGERPRINT", value_parser = Named::word)]
    pub fingerprints: Vec<Named>,
    /// A given token: from standard input
    #[arg(long, value_name = "stdin", value_parser = TokenFrom::word)]
    pub token_from: Option<TokenFrom>,
    /// Every orphan: tokens that were minted and never published
    #[arg(long)]
    pub orphans: bool,
    /// Every expired token of this deployment
    #[arg(long)]
    pub expired: bool,
    /// Every token that this deployment did not mint, live or expired; --factory must say where
    #[arg(long, requires = "factories")]
    pub foreign: bool,
}

/// A fingerprint of the command line; `None` for any other word. That is not kept: it may be a token that
/// somebody put there by mistake, and must not be repeated in an error.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Named(pub Option<Fingerprint>);

impl Named {
    fn word(text: &str) -> Result<Self, std::convert::Infallible> {
        Ok(Self(text.parse().ok()))
    }
}

impl Which {
    /// Whether a token of this standing is one of a kind that was asked for.
    fn takes(&self, standing: Option<Standing>) -> bool {
        match standing {
            Some(Standing::Orphan) => self.orphans,
            Some(Standing::Expired) => self.expired,
            Some(Standing::Foreign) => self.foreign,
            _ => false,
        }
    }

    const fn has_kinds(&self) -> bool {
        self.orphans || self.expired || self.foreign
    }
}

/// What became of the tokens.
#[derive(Debug)]
pub struct Revoked {
    /// One a token, in Conjur's order.
    pub tokens: Vec<One>,
}

/// What became of one.
#[derive(Debug)]
pub struct One {
    /// The factory.
    pub factory: FactoryId,
    /// The token's name.
    pub fingerprint: Fingerprint,
    /// What it was.
    pub standing: Option<Standing>,
    /// Whether it is gone.
    pub result: Result<(), effects::Error>,
}

/// Revokes what is asked for; `given` reads standard input.
///
/// # Errors
/// When nothing was revoked. What happened to single tokens is in the answer.
pub async fn revoke(
    config: &Config,
    ask: &Ask,
    on: &impl Effects,
    given: impl FnOnce() -> io::Result<Zeroizing<String>>,
) -> Result<Revoked, Error> {
    let factories = chosen(config, &ask.factories)?;
    if !config.revoke {
        return Err(rotate::Error::MayNotRevoke.into());
    }
    let names: Option<Vec<Fingerprint>> =
        ask.which.fingerprints.iter().map(|named| named.0.clone()).collect();
    let mut names = names.ok_or(Error::NoFingerprint)?;
    match ask.which.token_from {
        Some(TokenFrom::Elsewhere) => return Err(Error::From),
        Some(TokenFrom::Stdin) => names.push(read(given)?.fingerprint()),
        None => {}
    }
    let retry = Retry::new(config.policy.longest_run(), REPEATS);
    let session = Session::open(on, &retry, &Kept::default()).await?;
    let look = async |with: &_| Survey::ask(config, on, with, factories.clone(), false).await;
    let survey = session.with(&retry, "list host factories", is_transient, look).await?;
    let those = choose(ask, &names, survey)?;
    let mut tokens = Vec::new();
    for (factory, Known { minted: Minted { token, .. }, listed, standing }) in those {
        // revoke: to repeat it does nothing to a token that is gone.
        let call = async |with: &_| on.revoke(with, &token).await;
        let result = session.with(&retry, "revoke", is_transient, call).await.map(|_now_or_before| ());
        tokens.push(One { factory, fingerprint: listed.fingerprint, standing, result });
    }
    Ok(Revoked { tokens })
}

fn read(given: impl FnOnce() -> io::Result<Zeroizing<String>>) -> Result<Token, Error> {
    let path = PathBuf::from("standard input");
    let text = given().map_err(|source| Error::File { action: "cannot read", path, source })?;
    // Editors and echo leave a newline, which would be part of the token.
    Token::new(Zeroizing::new(text.trim().to_owned())).map_err(Error::Given)
}

/// Which tokens are to go.
///
/// # Errors
/// When one is not there or is needed, or not enough is known to tell.
fn choose(ask: &Ask, names: &[Fingerprint], survey: Survey<'_>) -> Result<Vec<(FactoryId, Known)>, Error> {
    let (mut chosen, mut errors) = (Vec::new(), Vec::new());
    for Surveyed { factory, published, tokens, .. } in survey.factories {
        let unread = published.err();
        match tokens {
            Err(error) => errors.push(error),
            Ok(tokens) => {
                let mut those: Vec<Known> = tokens
                    .into_iter()
                    .filter(|token| {
                        names.contains(&token.listed.fingerprint) || ask.which.takes(token.standing)
                    })
                    .collect();
                // Whether it is published is not known; with --published that does not matter.
                match unread {
                    Some(error) if !those.is_empty() && !ask.published => return Err(error.into()),
                    Some(error) => errors.push(error),
                    None => {}
                }
                chosen.extend(those.drain(..).map(|token| (factory.id.clone(), token)));
            }
        }
    }
    let missing: Vec<&str> = names
        .iter()
        .filter(|name| !chosen.iter().any(|(_, token)| token.listed.fingerprint == **name))
        .map(Fingerprint::as_str)
        .collect();
    if !missing.is_empty() || ask.which.has_kinds() {
        // It may be one of a factory that could not be seen.
        if let Some(error) = errors.into_iter().next() {
            return Err(error.into());
        }
    }
    if !missing.is_empty() {
        return Err(Error::NotListed(missing.join(", ")));
    }
    for (factory, Known { listed, standing, .. }) in chosen.iter().filter(|_| !ask.published) {
        if let Some(standing @ (Standing::Coming | Standing::Published)) = *standing {
            let fingerprint = listed.fingerprint.clone();
            return Err(Error::Used { factory: factory.clone(), fingerprint, standing });
        }
    }
    Ok(chosen)
}

impl Revoked {
    /// The worst class of those that live on.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        worst(self.tokens.iter().filter_map(|one| one.result.as_ref().err()).map(Classified::class))
    }

    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let one = |one: &One| {
            let error = one.result.as_ref().err();
            json!({
                "factory": one.factory.as_str(),
                "fingerprint": one.fingerprint.as_str(),
                "standing": one.standing.map(Standing::as_str),
                "revoked": error.is_none(),
                "class": error.map(|error| error.class().as_str()),
                "error": error.map(|error| chain(error)),
                "hint": error.and_then(Classified::hint),
            })
        };
        json!({"schema": SCHEMA, "tokens": self.tokens.iter().map(one).collect::<Vec<_>>()})
    }
}

impl fmt::Display for Revoked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for One { factory, fingerprint, standing, result } in &self.tokens {
            let what = standing.map(|standing| format!(" ({standing})")).unwrap_or_default();
            match result {
                Ok(()) => writeln!(f, "{factory}: revoked token {fingerprint}{what}")?,
                Err(error) => {
                    writeln!(f, "{factory}: token {fingerprint}{what} lives on: {}", chain(error))?;
                    if let Some(hint) = error.hint() {
                        writeln!(f, "hint: {hint}")?;
                    }
                }
            }
        }
        let revoked = self.tokens.iter().filter(|one| one.result.is_ok()).count();
        write!(f, "{revoked} of {} tokens revoked", self.tokens.len())
    }
}
