//! `imprint-rotator seal`: a token for machines without a cloud, sealed with facts that they alone have.
//!
//! Facts -> how hard they are to guess (`strength`) -> mint, or take the given token -> seal -> open it
//! again -> write the object. No KMS and no S3 are asked for it; Conjur only where the token is minted. What
//! the object is, is in `imprint_core::client_data`.

mod report;
mod strength;

pub use report::Report;

use crate::config::{Config, Factory};
use crate::effects;
use crate::label::{Kind, Label};
use crate::login;
use crate::network::{self, Networks};
use imprint_core::caller::{Caller, RunId};
use imprint_core::client_data::inventory::{self, Inventory};
use imprint_core::client_data::{self, Cost, Fact, Sealed, Secret, Values};
use imprint_core::conjur::{Conjur, Mint, Minted, Revoked};
use imprint_core::door::{Door, Trust};
use imprint_core::error::{Class, Classified};
use imprint_core::name::FactoryId;
use imprint_core::second::Second;
use imprint_core::settings::{Value, duration};
use imprint_core::token::{self, AccessToken, Token};
use ipnet::IpNet;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use strength::Strength;
use zeroize::Zeroizing;

/// The largest secret, and token on standard input, that is read, in bytes.
const LARGEST_SECRET: u64 = 4096;

/// What the command line asks for.
#[derive(clap::Args, Debug)]
pub struct Ask {
    /// What each machine reported: the JSON of ohai, of facter --json, or of imprint facts --json --reveal
    #[arg(long = "client-data", required = true, num_args = 1.., value_name = "FACTS.json")]
    pub machines: Vec<PathBuf>,
    /// The facts to seal with: names that imprint facts shows, or paths of Ohai or Facter, such as
    /// dmi.system.version
    #[arg(long, value_delimiter = ',', default_value = "product_uuid", value_name = "NAMES")]
    pub facts: Vec<String>,
    /// Seal with the content of this file as well; each machine needs the same as secret_file
    #[arg(long, value_name = "FILE")]
    pub secret_file: Option<PathBuf>,
    /// The host factory; may be left out when the configuration has one alone
    #[arg(long, value_name = "ID")]
    pub factory: Option<FactoryId>,
    /// How long the token lives, such as 2h; as the published ones if left out
    #[arg(long, value_name = "SPAN", value_parser = span)]
    pub lifetime: Option<Duration>,
    /// From where it may be used.
    #[command(flatten)]
    pub networks: Networks,
    /// Seal a given token instead of minting one: from standard input
    #[arg(long, value_name = "stdin", requires = "expires_at", conflicts_with = "lifetime", value_parser = TokenFrom::word)]
    pub token_from: Option<TokenFrom>,
    /// When the given token ends, such as 2026-11-22T08:00:00Z
    #[arg(long, value_name = "TIME", value_parser = Second::from_rfc3339, requires = "token_from")]
    pub expires_at: Option<Second>,
    /// Memory that one guess costs, and the agent once, in MiB
    #[arg(long, default_value_t = 64, value_name = "MIB", value_parser = clap::value_parser!(u32).range(19..=256))]
    pub memory: u32,
    /// Passes over that memory
    #[arg(long, default_value_t = 3, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(2..=10))]
    pub passes: u32,
    /// The file to write, with mode 0600
    #[arg(long, default_value = "imprint-token.json", value_name = "FILE")]
    pub out: PathBuf,
    /// One JSON object instead of lines
    #[arg(long)]
    pub json: bool,
}

/// Where a given token comes from. No argument and no variable may hold it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TokenFrom {
    /// Any other word. It is not kept: it may be a token that somebody put there by mistake, and must not
    /// be repeated in an error.
    Elsewhere,
    /// Standard input.
    Stdin,
}

impl TokenFrom {
    pub(crate) fn word(text: &str) -> Result<Self, std::convert::Infallible> {
        Ok(if text == "stdin" { Self::Stdin } else { Self::Elsewhere })
    }
}

/// What sealing may ask of the world beside files; nothing of AWS.
#[expect(async_fn_in_trait, reason = "flows run on one thread and nothing is spawned, so no Send is needed")]
pub trait Effects {
    /// Conjur: the login itself.
    async fn authenticate(&self) -> Result<AccessToken, effects::Error>;
    /// Conjur: `execute` on the factory.
    async fn mint(&self, with: &AccessToken, ask: &Mint<'_>) -> Result<Vec<Minted>, effects::Error>;
    /// Conjur: `update` on the factory; only for a token that could not be sealed.
    async fn revoke(&self, with: &AccessToken, token: &Token) -> Result<Revoked, effects::Error>;
    /// Standard input, for a given token.
    fn given(&self) -> io::Result<Zeroizing<String>>;
    /// The wall clock.
    fn now(&self) -> Second;
}

/// Why nothing was sealed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It was minted, could not be written, and could not be revoked either.
    #[error(
        "token {fingerprint} was minted for nothing, and could not be revoked: it stays until it expires"
    )]
    Abandoned {
        /// The token's name.
        fingerprint: token::Fingerprint,
        /// Why it could not be revoked.
        #[source]
        source: effects::Error,
    },
    /// The facts and the format.
    #[error(transparent)]
    ClientData(#[from] client_data::Error),
    /// Conjur.
    #[error(transparent)]
    Effect(#[from] effects::Error),
    /// Not in the configuration.
    #[error("the configuration has no factory {0}")]
    Factory(FactoryId),
    /// A machine's facts.
    #[error("{}", path.display())]
    Facts {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: inventory::Error,
    },
    /// A file cannot be read or written.
    #[error("{action} {}", path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// What was given is no token.
    #[error("what standard input gave is no host factory token")]
    Given(#[source] token::Error),
    /// A network that is not taken.
    #[error(transparent)]
    Network(#[from] network::Error),
    /// No place that a token may come from.
    #[error("--token-from takes stdin alone; a token itself is never taken as an argument")]
    From,
    /// The given token is over already.
    #[error("the token ends at {0}, which is over")]
    Over(Second),
    /// Others may read the secret.
    #[error("{} can be read by other users: its mode is {mode:04o}", path.display())]
    SecretIsOpen {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The facts are too easy to guess.
    #[error("the facts of {} are too easy to guess: {strength}", machine.display())]
    Weak {
        /// The machine's file.
        machine: PathBuf,
        /// What was counted.
        strength: String,
    },
    /// Several factories are configured.
    #[error("the configuration has several factories")]
    WhichFactory,
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Abandoned { source, .. } => source.class(),
            Self::ClientData(error) => match error.class() {
                // Here it is the sealer's own input.
                Class::Tampered | Class::Refused => Class::Config,
                class => class,
            },
            Self::Effect(error) => error.class(),
            Self::Network(error) => error.class(),
            Self::Facts { source, .. } => source.class(),
            Self::File { .. } => Class::Storage,
            Self::Factory(_) | Self::From | Self::Given(_) | Self::Over(_) | Self::WhichFactory => {
                Class::Usage
            }
            Self::SecretIsOpen { .. } | Self::Weak { .. } => Class::Config,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Abandoned { .. } => Some("delete it at Conjur when it must not live that long"),
            Self::ClientData(error) => error.hint(),
            Self::Effect(error) => error.hint(),
            Self::Network(error) => error.hint(),
            Self::Factory(_) | Self::WhichFactory => Some("name one of the configuration's with --factory"),
            Self::Facts { source, .. } => source.hint(),
            Self::File { .. } => Some("see that it is there, and whose it is"),
            Self::From | Self::Given(_) => Some("give the token alone, on one line, on standard input"),
            Self::Over(_) => Some("give a token that lives, with the end that Conjur told"),
            Self::SecretIsOpen { .. } => Some("chmod 0600, and draw a new one if others may have read it"),
            Self::Weak { .. } => Some(
                "choose more facts that root alone may read, or give --secret-file (openssl rand -hex 32)",
            ),
        }
    }
}

/// Seals a token in a run of this id.
///
/// # Errors
/// See [`Error`]. Then there is no file, or the old one; a token that was minted for it is revoked.
pub async fn seal(config: &Config, ask: &Ask, id: &RunId, on: &impl Effects) -> Result<Report, Error> {
    let factory = factory(config, ask)?;
    let (facts, machines) = machines(ask)?;
    let secret = ask.secret_file.as_deref().map(secret).transpose()?;
    let strengths: Vec<Strength> =
        machines.iter().map(|values| Strength::of(values, &facts, secret.as_ref())).collect();
    for (machine, strength) in ask.machines.iter().zip(&strengths) {
        if !strength.suffices() {
            return Err(Error::Weak { machine: machine.clone(), strength: strength.to_string() });
        }
    }
    // The weakest machine is the one whose facts will be guessed.
    let weakest = strengths.into_iter().min_by_key(Strength::bits).unwrap_or_default();
    let cost = Cost::new(ask.memory * 1024, ask.passes, 1)?;

    let cidr = ask.networks.of(factory)?;
    let (token, expires_at, session) = match ask.token_from {
        Some(TokenFrom::Elsewhere) => return Err(Error::From),
        Some(TokenFrom::Stdin) => (given(on)?, ask.expires_at.unwrap_or_else(|| on.now()), None),
        None => {
            let session = on.authenticate().await?;
            let minted = mint(config, factory, ask, &cidr, &session, on).await?;
            (minted.token, minted.expires_at, Some(session))
        }
    };
    if expires_at <= on.now() {
        return Err(Error::Over(expires_at));
    }
    let mut binding = config.binding(factory, token.fingerprint(), id.as_str(), on.now(), expires_at);
    binding.cidr = cidr;
    let made = Sealed::seal(binding, &token, &facts, &machines, secret.as_ref(), cost)
        .and_then(|sealed| proved(sealed, &machines, secret.as_ref()))
        .map_err(Error::from)
        .and_then(|sealed| write(&ask.out, &sealed.to_bytes()).map(|()| sealed));
    match (made, session) {
        (Ok(sealed), _) => Ok(Report::new(&sealed, cost, weakest, on.now(), &ask.out)),
        (Err(error), Some(session)) if config.revoke => {
            let fingerprint = token.fingerprint();
            on.revoke(&session, &token).await.map_err(|source| Error::Abandoned { fingerprint, source })?;
            Err(error)
        }
        (Err(error), _) => Err(error),
    }
}

fn factory<'a>(config: &'a Config, ask: &Ask) -> Result<&'a Factory, Error> {
    match (&ask.factory, config.factories.as_slice()) {
        (Some(id), all) => {
            all.iter().find(|factory| factory.id == *id).ok_or_else(|| Error::Factory(id.clone()))
        }
        (None, [only]) => Ok(only),
        (None, _) => Err(Error::WhichFactory),
    }
}

/// The facts by name, and each machine's values of them.
fn machines(ask: &Ask) -> Result<(Vec<Fact>, Vec<Values>), Error> {
    let mut facts = Vec::new();
    let mut machines = Vec::new();
    for path in &ask.machines {
        let wrong = |source| Error::Facts { path: path.clone(), source };
        let inventory = Inventory::parse(&read(path, inventory::LARGEST as u64)?).map_err(wrong)?;
        if facts.is_empty() {
            let called: Result<Vec<Fact>, _> = ask.facts.iter().map(|text| inventory.called(text)).collect();
            facts = called.map_err(wrong)?;
        }
        let mut values = Values::default();
        facts.iter().try_for_each(|fact| inventory.take(fact, &mut values)).map_err(wrong)?;
        machines.push(values);
    }
    Ok((facts, machines))
}

fn secret(path: &Path) -> Result<Secret, Error> {
    let cannot = |source| Error::File { action: "cannot look at", path: path.to_owned(), source };
    let mode = fs::metadata(path).map_err(cannot)?.permissions().mode() & 0o7777;
    if mode & 0o077 != 0 {
        return Err(Error::SecretIsOpen { path: path.to_owned(), mode });
    }
    let bytes = read(path, LARGEST_SECRET)?;
    Ok(Secret::new(&String::from_utf8_lossy(&bytes))?)
}

fn given(on: &impl Effects) -> Result<Token, Error> {
    let path = PathBuf::from("standard input");
    let text = on.given().map_err(|source| Error::File { action: "cannot read", path, source })?;
    // Editors and echo leave a newline, which would be part of the token.
    Token::new(Zeroizing::new(text.trim().to_owned())).map_err(Error::Given)
}

/// mint: not repeated. A person waits, and a lost reply leaves a token that nobody knows, which ends by
/// itself.
async fn mint(
    config: &Config,
    factory: &Factory,
    ask: &Ask,
    cidr: &[IpNet],
    session: &AccessToken,
    on: &impl Effects,
) -> Result<Minted, Error> {
    let now = on.now();
    let label = Label::new(config.deployment, now, Kind::ClientData, fastrand::u8(..));
    let expires_at = now.plus(ask.lifetime.unwrap_or_else(|| config.policy.lifetime()));
    let cidr = label.beside(cidr);
    let ask = Mint { factory: &factory.id, expires_at, cidr: &cidr, count: 1, now };
    let mut minted = on.mint(session, &ask).await?;
    // The reply's count was checked against what was asked.
    minted.pop().ok_or_else(|| Error::Factory(factory.id.clone()))
}

/// As the first machine will do it, before the token is believed to be sealed.
fn proved(
    sealed: Sealed,
    machines: &[Values],
    secret: Option<&Secret>,
) -> Result<Sealed, client_data::Error> {
    let sealed = Sealed::parse(&sealed.to_bytes())?;
    if let Some(first) = machines.first() {
        let _opened = sealed.open(first, secret)?;
    }
    Ok(sealed)
}

/// A bounded file, wiped when dropped.
fn read(path: &Path, most: u64) -> Result<Zeroizing<Vec<u8>>, Error> {
    let cannot = |source| Error::File { action: "cannot read", path: path.to_owned(), source };
    let mut bytes = Zeroizing::new(Vec::new());
    let file = fs::File::open(path).map_err(cannot)?;
    // One byte more than the largest tells a file that is too large.
    let read = file.take(most + 1).read_to_end(&mut bytes).map_err(cannot)?;
    if read as u64 > most {
        let why = format!("it has more than {most} bytes");
        return Err(cannot(io::Error::new(io::ErrorKind::InvalidData, why)));
    }
    Ok(bytes)
}

/// Writes the object in one step: there is the old file or the new one, and never one that others may
/// read.
fn write(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let cannot = |source| Error::File { action: "cannot write", path: path.to_owned(), source };
    let name = path.file_name().ok_or_else(|| cannot(io::ErrorKind::IsADirectory.into()))?;
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut draft = std::ffi::OsString::from(".");
    draft.push(name);
    draft.push(format!(".{:08x}", fastrand::u32(..)));
    let draft = folder.join(draft);
    let written = (|| {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&draft, path)?;
        fs::File::open(folder)?.sync_all()
    })();
    written.map_err(|error| {
        let _told_already = fs::remove_file(&draft);
        cannot(error)
    })
}

fn span(text: &str) -> Result<Duration, String> {
    let span = duration(&Value::String(text.into())).map_err(|wrongs| wrongs.join("; "))?;
    if span.is_zero() { Err("must be more than nothing".to_owned()) } else { Ok(span) }
}

/// A token that a person or a program gives on standard input: bounded, and wiped when dropped.
pub(crate) fn standard_input() -> io::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::with_capacity(8192));
    let _bytes = io::stdin().lock().take(LARGEST_SECRET).read_to_string(&mut text)?;
    Ok(text)
}

/// Conjur, standard input and the clock.
pub struct Real<'a> {
    config: &'a Config,
    login: login::Real,
}

impl<'a> Real<'a> {
    /// The client of a configuration, which says that it asks for this caller. Nothing is sent yet.
    ///
    /// # Errors
    /// When it cannot be made.
    pub async fn new(config: &'a Config, caller: &Caller) -> Result<Self, Error> {
        let trust = config.ca.clone().map_or(Trust::Public, Trust::Only);
        let door = Door::to(&config.leader_url, &trust).map_err(effects::Error::from)?;
        let (url, account) = (config.leader_url.clone(), config.account.clone());
        let conjur = Conjur::new(door, url, account, caller.clone());
        Ok(Self { config, login: login::Real::alone(config, conjur, caller).await? })
    }
}

impl Effects for Real<'_> {
    async fn authenticate(&self) -> Result<AccessToken, effects::Error> {
        login::log_in(self.config, &self.login).await
    }

    async fn mint(&self, with: &AccessToken, ask: &Mint<'_>) -> Result<Vec<Minted>, effects::Error> {
        Ok(self.login.conjur().mint(with, ask).await?)
    }

    async fn revoke(&self, with: &AccessToken, token: &Token) -> Result<Revoked, effects::Error> {
        Ok(self.login.conjur().revoke(with, token).await?)
    }

    fn given(&self) -> io::Result<Zeroizing<String>> {
        standard_input()
    }

    fn now(&self) -> Second {
        Second::now()
    }
}

#[cfg(test)]
mod tests;
