//! `imprint-rotator token`: tokens by hand. `create` mints some for a person or a tool, `list` shows all that
//! Conjur has for the configured factories, `revoke` ends some of them before their time.
//!
//! A token is shown by its fingerprint. Its text leaves the program in one place, `out`, and comes in by
//! standard input alone.

pub mod create;
pub mod list;
mod out;
pub mod revoke;

use crate::plan::Standing;
use crate::{effects, network, rotate};
use imprint_core::error::{Class, Classified};
use imprint_core::name::FactoryId;
use imprint_core::settings::written;
use imprint_core::token::{self, Fingerprint};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// The longest life that is asked for: ten years, as any span of the configuration.
pub const LONGEST: Duration = Duration::from_secs(3650 * 86_400);

/// Why nothing was done, or not all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// They were minted, could not be handed out, and could not be revoked either.
    #[error("{left} tokens were minted for nothing, and could not be revoked")]
    Abandoned {
        /// How many.
        left: usize,
        /// Why not; `None` with `revoke = false`.
        #[source]
        source: Option<effects::Error>,
    },
    /// A call failed.
    #[error(transparent)]
    Effect(#[from] effects::Error),
    /// The file is there.
    #[error("{} is there already", .0.display())]
    Exists(PathBuf),
    /// A file or standard output or input.
    #[error("{action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What was given is no token.
    #[error("what standard input gave is no host factory token")]
    Given(#[source] token::Error),
    /// No place that a token may come from.
    #[error("--token-from takes stdin alone; a token itself is never taken as an argument")]
    From,
    /// A network that is not taken.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// A word that is no fingerprint. It is not repeated: it may be a token.
    #[error("--fingerprint takes twelve hex digits, and no token")]
    NoFingerprint,
    /// Neither the command line nor the factory's configuration says from where.
    #[error("{0} has no cidr, so the token could be used from any address")]
    NoNetwork(FactoryId),
    /// Conjur lists no such tokens for these factories.
    #[error("Conjur lists no token {0} for these factories")]
    NotListed(String),
    /// A run, or the choice of factories.
    #[error(transparent)]
    Run(#[from] rotate::Error),
    /// Standard output is wanted for the tokens and for JSON.
    #[error("--json would stand among the tokens on standard output")]
    Together,
    /// Standard output is a terminal.
    #[error("standard output is a terminal, where a token would be seen and stay")]
    Terminal,
    /// More than is taken.
    #[error("the token would live longer than {}", written(LONGEST))]
    TooLong,
    /// Agents hold it, or will in a moment.
    #[error("token {fingerprint} of {factory} {}", in_use(*standing))]
    Used {
        /// The factory.
        factory: FactoryId,
        /// The token.
        fingerprint: Fingerprint,
        /// What it is.
        standing: Standing,
    },
    /// No time at all.
    #[error("the token would not live at all: its duration is zero")]
    Zero,
}

const fn in_use(standing: Standing) -> &'static str {
    match standing {
        Standing::Coming => "may be published by a run in this moment",
        _ => "is what agents find: they would be refused",
    }
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Abandoned { source: Some(source), .. } => source.class(),
            Self::Abandoned { source: None, .. } | Self::Exists(_) | Self::File { .. } => Class::Storage,
            Self::Effect(error) => error.class(),
            Self::Network(error) => error.class(),
            Self::Run(error) => error.class(),
            Self::From
            | Self::Given(_)
            | Self::NoFingerprint
            | Self::NoNetwork(_)
            | Self::NotListed(_)
            | Self::Terminal
            | Self::Together
            | Self::TooLong
            | Self::Used { .. }
            | Self::Zero => Class::Usage,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Abandoned { .. } => {
                Some("they end by themselves; imprint-rotator token list names them, token revoke ends them")
            }
            Self::Effect(error) => error.hint(),
            Self::Exists(_) => Some("name a new file: one that may hold a token is never overwritten"),
            Self::File { .. } => Some("see that the folder is there, and whose it is"),
            Self::From | Self::Given(_) => Some("give the token alone, on one line, on standard input"),
            Self::Network(error) => error.hint(),
            Self::NoNetwork(_) => Some("give --cidr, or say --any-address"),
            Self::NoFingerprint => {
                Some("imprint-rotator token list names tokens; a token itself goes to --token-from stdin")
            }
            Self::NotListed(_) => Some("compare with imprint-rotator token list; it may be over and deleted"),
            Self::Run(error) => error.hint(),
            Self::Terminal => Some("give --out FILE, pipe it to what needs it, or say --reveal"),
            Self::Together => Some("give --out FILE, or leave out --json"),
            Self::TooLong | Self::Zero => {
                Some("add up --duration-days, --duration-hours and --duration-minutes")
            }
            Self::Used { .. } => Some(
                "run imprint-rotator rotate --now --revoke-superseded, which publishes another first; or say --published",
            ),
        }
    }
}

#[cfg(test)]
mod tests;
