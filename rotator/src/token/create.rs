//! `token create`: tokens for a person or a tool, minted with the label of their kind, so that a run leaves
//! them alone and `token list` knows them. Everything that can be wrong is found before Conjur is asked.

use super::out::{Out, Screen};
use super::{Error, LONGEST};
use crate::config::Config;
use crate::label::{Kind, Label};
use crate::network::Networks;
use crate::rotate::chosen;
use crate::seal::Effects;
use imprint_core::conjur::{Mint, Minted};
use imprint_core::name::FactoryId;
use imprint_core::second::Second;
use imprint_core::token::{AccessToken, Fingerprint};
use ipnet::IpNet;
use serde_json::{Value, json};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

pub use super::out::is_standard;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

/// The most tokens of one command.
const MOST: i64 = 100;

/// What the command line asks for.
#[derive(clap::Args, Clone, Debug)]
pub struct Ask {
    /// The host factory, of the configuration
    #[arg(long, value_name = "ID")]
    pub factory: FactoryId,
    /// How long they live.
    #[command(flatten)]
    pub life: Life,
    /// From where they may be used.
    #[command(flatten)]
    pub networks: Networks,
    /// How many tokens, at most 100
    #[arg(long, default_value_t = 1, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..=MOST))]
    pub count: u32,
    /// A new file for the tokens, one a line, with mode 0600; - for standard output
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// With --out -, also onto a terminal
    #[arg(long)]
    pub reveal: bool,
    /// Tell what was made as one JSON object, which has no token
    #[arg(long)]
    pub json: bool,
}

/// How long a token lives: the sum of what is given, as in the official command line.
#[derive(clap::Args, Clone, Copy, Debug, Default)]
#[group(required = true, multiple = true)]
pub struct Life {
    /// How long the tokens live: so many days
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub duration_days: Option<u64>,
    /// and so many hours
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub duration_hours: Option<u64>,
    /// and so many minutes
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pub duration_minutes: Option<u64>,
}

impl Life {
    /// The sum.
    ///
    /// # Errors
    /// When it is nothing, or more than is taken.
    pub fn span(self) -> Result<Duration, Error> {
        let of = |count: Option<u64>, seconds: u64| count.unwrap_or_default().checked_mul(seconds);
        let parts =
            [of(self.duration_days, 86_400), of(self.duration_hours, 3600), of(self.duration_minutes, 60)];
        let sum =
            parts.into_iter().try_fold(0_u64, |sum, part| sum.checked_add(part?)).ok_or(Error::TooLong)?;
        match Duration::from_secs(sum) {
            Duration::ZERO => Err(Error::Zero),
            span if span > LONGEST => Err(Error::TooLong),
            span => Ok(span),
        }
    }
}

/// What was made.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Created {
    /// The factory.
    pub factory: FactoryId,
    /// The tokens' names.
    pub fingerprints: Vec<Fingerprint>,
    /// When they end.
    pub expires_at: Second,
    /// From where they may be used; empty for anywhere.
    pub cidr: Vec<IpNet>,
    /// Where they are.
    pub out: PathBuf,
}

/// Mints tokens and hands them out.
///
/// # Errors
/// See [`Error`]. Then there is no file; tokens that were minted for it are revoked.
pub async fn create(
    config: &Config,
    ask: &Ask,
    on: &impl Effects,
    screen: &mut dyn Screen,
) -> Result<Created, Error> {
    let factories = chosen(config, std::slice::from_ref(&ask.factory))?;
    let [factory] = factories[..] else { return Err(Error::NotListed(ask.factory.to_string())) };
    let span = ask.life.span()?;
    let cidr = ask.networks.of(factory)?;
    if cidr.is_empty() && !ask.networks.any_address {
        return Err(Error::NoNetwork(factory.id.clone()));
    }
    if ask.json && is_standard(&ask.out) {
        return Err(Error::Together);
    }
    let mut out = Out::open(&ask.out, ask.reveal, screen)?;
    let minted = async {
        let session = on.authenticate().await?;
        // mint: not repeated, as with seal: a person waits. A lost reply leaves tokens that token list names.
        let now = on.now();
        let label = Label::new(config.deployment, now, Kind::ByHand, fastrand::u8(..));
        let (expires_at, networks) = (now.plus(span), label.beside(&cidr));
        let mint = Mint { factory: &factory.id, expires_at, cidr: &networks, count: ask.count, now };
        on.mint(&session, &mint).await.map(|tokens| (session, tokens, expires_at))
    };
    let (session, tokens, expires_at) = match minted.await {
        Ok(minted) => minted,
        Err(error) => {
            out.discard();
            return Err(error.into());
        }
    };
    if let Err(error) = out.put(tokens.iter().map(|minted| &minted.token)) {
        out.discard();
        take_back(config, on, &session, &tokens).await?;
        return Err(error);
    }
    let fingerprints = tokens.iter().map(|minted| minted.token.fingerprint()).collect();
    Ok(Created { factory: factory.id.clone(), fingerprints, expires_at, cidr, out: ask.out.clone() })
}

async fn take_back(
    config: &Config,
    on: &impl Effects,
    with: &AccessToken,
    tokens: &[Minted],
) -> Result<(), Error> {
    if !config.revoke {
        return Err(Error::Abandoned { left: tokens.len(), source: None });
    }
    let (mut left, mut last) = (0, None);
    for minted in tokens {
        if let Err(error) = on.revoke(with, &minted.token).await {
            (left, last) = (left + 1, Some(error));
        }
    }
    last.map_or(Ok(()), |source| Err(Error::Abandoned { left, source: Some(source) }))
}

impl Created {
    /// For a program; without the tokens.
    #[must_use]
    pub fn to_json(&self) -> Value {
        json!({
            "schema": SCHEMA,
            "factory": self.factory.as_str(),
            "fingerprints": self.fingerprints.iter().map(Fingerprint::as_str).collect::<Vec<_>>(),
            "expires_at": self.expires_at.to_string(),
            "cidr": self.cidr.iter().map(IpNet::to_string).collect::<Vec<_>>(),
            "file": self.out.display().to_string(),
        })
    }
}

impl fmt::Display for Created {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fingerprint in &self.fingerprints {
            writeln!(f, "token {fingerprint} of {} ends {}", self.factory, self.expires_at)?;
        }
        let from: Vec<String> = self.cidr.iter().map(IpNet::to_string).collect();
        let from = if from.is_empty() { "any address".to_owned() } else { from.join(", ") };
        let place = if is_standard(&self.out) {
            "on standard output".to_owned()
        } else {
            format!("in {}", self.out.display())
        };
        write!(f, "{} {place}; Conjur takes them from {from}", self.fingerprints.len())
    }
}
