//! The rotator's configuration: one TOML file, every problem of it told at once.
//!
//! No secret stands in it: with what the rotator logs in is [`LoginBy`]. How
//! the file is read is in `read`; where it lies is asked here, once, through a function, so that
//! tests never touch the process environment.

mod fleet;
mod instances;
mod login_by;
mod object;
mod place;
mod read;

pub use fleet::Fleet;
pub use instances::{Cidr, Instances};
pub use login_by::LoginBy;
pub use object::{Content, Object};
pub use place::Place;

use crate::label::Deployment;
use crate::policy::Policy;
use imprint_core::aws;
use imprint_core::caller::Caller;
use imprint_core::door::{CaBundle, Trust};
use imprint_core::error::{Class, Classified};
use imprint_core::name::{Account, ApplianceUrl, Branch, FactoryId, LayerId};
use imprint_core::sealed::{Binding, Scope};
use imprint_core::second::Second;
use imprint_core::settings::{LARGEST, Problems};
use imprint_core::token::{ApiKey, Fingerprint};
use ipnet::IpNet;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use zeroize::Zeroizing;

/// The environment variable that names the configuration file.
pub const FILE_VARIABLE: &str = "IMPRINT_ROTATOR_CONFIG";

/// The environment variable that says which AWS account must own the bucket of a configuration in S3.
pub const OWNER_VARIABLE: &str = "IMPRINT_ROTATOR_CONFIG_OWNER";

/// The environment variable that holds the rotator's own API key.
pub const KEY_VARIABLE: &str = "IMPRINT_ROTATOR_API_KEY";

/// The largest CA file and key file that are read, in bytes.
const LARGEST_FILE: u64 = 256 * 1024;

/// A checked configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// Conjur account.
    pub account: Account,
    /// Where agents send everything but the redeem.
    pub appliance_url: ApplianceUrl,
    /// Where the rotator itself speaks to Conjur, and agents redeem.
    pub leader_url: ApplianceUrl,
    /// Whom to trust as Conjur; the public roots when `None`.
    pub ca: Option<CaBundle>,
    /// The rotator's login, `host/...` or a user's name.
    pub login: String,
    /// With what it logs in.
    pub login_by: LoginBy,
    /// Which tokens are ours.
    pub deployment: Deployment,
    /// S3 and KMS.
    pub aws: Aws,
    /// The windows of a token's life.
    pub policy: Policy,
    /// Whether tokens of ours that nobody needs are revoked or deleted at Conjur, which needs `update` on the
    /// factory.
    pub revoke: bool,
    /// How many factories are worked on at once.
    pub concurrency: usize,
    /// For the functions that remove and pin hosts.
    pub fleet: Fleet,
    /// For the functions that mint for one instance and promote.
    pub instances: Instances,
    /// The host factories, by id.
    pub factories: Vec<Factory>,
}

/// Where sealed tokens go.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Aws {
    /// The region; the environment's or the profile's when `None`.
    pub region: Option<String>,
    /// The bucket.
    pub bucket: String,
    /// The account that must own it: a bucket of the same name elsewhere is refused.
    pub bucket_owner: String,
    /// The key: an id, an ARN or an alias.
    pub key: String,
    /// Roots beside the public ones: a proxy that opens TLS.
    pub ca: Option<CaBundle>,
}

impl Aws {
    /// The clients for S3 and KMS. Nothing is sent but what the credentials' chain needs.
    ///
    /// # Errors
    /// When no region is known, or the trust cannot be used.
    pub async fn client(&self, caller: &Caller) -> Result<aws::Aws, aws::Error> {
        let trust = self.ca.clone().map_or(Trust::Public, Trust::PublicAnd);
        aws::Aws::with_default_chain(self.region.as_deref(), &trust, caller).await
    }
}

/// One host factory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Factory {
    /// Its identifier without account and kind.
    pub id: FactoryId,
    /// The policy branch of its hosts.
    pub hosts_branch: Branch,
    /// The layer that its hosts are in, without account and kind.
    pub layer: LayerId,
    /// Whether its hosts are tied to their instances' addresses by every run over the fleet.
    pub pin: bool,
    /// Where its agents redeem.
    pub leader_url: ApplianceUrl,
    /// Networks that Conjur takes its tokens from; empty for any.
    pub cidr: Vec<IpNet>,
    /// Whether a run mints its tokens; else somebody mints them elsewhere and `publish` publishes them.
    pub mint: bool,
    /// Whether its instances share a token; else none is published for the layer, and each instance has one of
    /// its own.
    pub shared: bool,
    /// Over how long a wave of boots spreads its redeems.
    pub spread: Duration,
}

/// Why there is no configuration, or no API key.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An address that is none.
    #[error("{0} is no address of an object")]
    Address(String),
    /// Neither the command line nor the environment names a file.
    #[error("no configuration: give --config FILE or set {FILE_VARIABLE}")]
    None,
    /// No API key in file or environment.
    #[error("no API key for {login}: set api_key_file in the configuration, or {KEY_VARIABLE}")]
    NoKey {
        /// Whose.
        login: String,
    },
    /// Nobody says whose the configuration's bucket is.
    #[error("nobody says which AWS account owns the bucket of {0}")]
    NoOwner(String),
    /// The configuration's object.
    #[error("{url} cannot be read")]
    Object {
        /// The object.
        url: String,
        /// Why.
        #[source]
        source: Box<aws::Error>,
    },
    /// The owner of the configuration's bucket.
    #[error("the owner of the configuration's bucket must be an AWS account's 12 digits")]
    Owner,
    /// A key that is none.
    #[error("the API key of {from} cannot be used")]
    Key {
        /// File or variable.
        from: String,
        /// What is wrong with it, without it.
        #[source]
        source: imprint_core::token::Error,
    },
    /// A file cannot be read.
    #[error("{} cannot be read", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file's settings are wrong.
    #[error("{}", path.display())]
    Settings {
        /// The file.
        path: PathBuf,
        /// Everything that is wrong.
        #[source]
        source: Problems,
    },
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            // What is not there, or hidden, was named wrongly.
            Self::Object { source, .. } if source.is_absent() => Class::Config,
            Self::Object { source, .. } => source.class(),
            Self::Address(_)
            | Self::None
            | Self::NoOwner(_)
            | Self::Owner
            | Self::NoKey { .. }
            | Self::Key { .. }
            | Self::Read { .. }
            | Self::Settings { .. } => Class::Config,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Address(_) => Some("write it as s3://BUCKET/KEY, with letters, digits and . _ / -"),
            Self::NoOwner(_) | Self::Owner => Some(
                "give --config-owner, or set IMPRINT_ROTATOR_CONFIG_OWNER, to the 12 digits of that account",
            ),
            Self::Object { source, .. } if source.is_absent() => Some(
                "see that it is there, that this role may read it (s3:GetObject), and whose the bucket is (IMPRINT_ROTATOR_CONFIG_OWNER)",
            ),
            Self::Object { source, .. } => source.hint(),
            Self::None
            | Self::NoKey { .. }
            | Self::Key { .. }
            | Self::Read { .. }
            | Self::Settings { .. } => None,
        }
    }
}

/// What a relative path in a configuration means.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Beside {
    /// A file in the folder of the file.
    Files,
    /// An object beside the object.
    Objects,
}

impl Config {
    /// Reads a file.
    ///
    /// # Errors
    /// When it cannot be read, or anything in it is wrong.
    pub fn of_file(path: PathBuf) -> Result<Self, Error> {
        let text = read_file(&path, LARGEST as u64)?;
        // A path in the file is meant from where the file lies.
        let beside = path.parent().unwrap_or(Path::new("")).to_owned();
        Self::parse(&text, &|name| read_file(&beside.join(name), LARGEST_FILE))
            .map(|config| config.beside(&beside))
            .map_err(|source| Error::Settings { path, source })
    }

    /// The same configuration, whose relative key files lie in this folder.
    fn beside(self, folder: &Path) -> Self {
        let login = self.fleet.login.map(|(login, by)| (login, by.beside(folder)));
        let fleet = Fleet { login, ..self.fleet };
        let login = self.instances.login.map(|(login, by)| (login, by.beside(folder)));
        let instances = Instances { login, ..self.instances };
        Self { login_by: self.login_by.beside(folder), fleet, instances, ..self }
    }

    /// Reads a text; `file` gives the content of the files that it names.
    ///
    /// # Errors
    /// With everything that is wrong with it.
    pub fn parse(
        text: &str,
        file: &dyn Fn(&Path) -> Result<Zeroizing<String>, Error>,
    ) -> Result<Self, Problems> {
        read::config(text, file, Beside::Files)
    }

    /// Says once that the environment has an API key that nobody logs in with: it is a secret for nothing.
    pub fn tell_of_an_unused_key(&self, environment: impl Fn(&str) -> Option<String>) {
        let fleets = self.fleet.login.as_ref().map(|(_, by)| by);
        let is_used = std::iter::once(&self.login_by).chain(fleets).any(|by| *by == LoginBy::KeyVariable);
        if !is_used && environment(KEY_VARIABLE).is_some_and(|value| !value.is_empty()) {
            log::warn!("{KEY_VARIABLE} is set and not used: the configuration says how to log in");
        }
    }

    /// The rotator's own API key: from its file, or else from the environment. It is read again for
    /// every run, since it may have been replaced meanwhile.
    ///
    /// # Errors
    /// When there is none or it is no API key.
    pub fn api_key(&self, environment: impl Fn(&str) -> Option<String>) -> Result<ApiKey, Error> {
        let (from, text) = match &self.login_by {
            LoginBy::KeyFile(path) => (path.display().to_string(), read_file(path, LARGEST_FILE)?),
            LoginBy::KeyVariable | LoginBy::Role { .. } | LoginBy::SealedKey => {
                let value = environment(KEY_VARIABLE).filter(|value| !value.is_empty());
                let value = value.ok_or_else(|| Error::NoKey { login: self.login.clone() })?;
                (KEY_VARIABLE.to_owned(), Zeroizing::new(value))
            }
        };
        // Editors and echo leave a newline, which would be part of the key.
        let key = Zeroizing::new(text.trim_ascii().to_owned());
        ApiKey::new(key).map_err(|source| Error::Key { from, source })
    }

    /// Who the fleet's functions are at Conjur.
    #[must_use]
    pub fn login_of_the_fleet(&self) -> &str {
        self.fleet.login.as_ref().map_or(&self.login, |(login, _)| login)
    }

    /// Whether the rotator's login mints this factory's tokens: for the layer, or, where nobody else does, for
    /// single instances.
    #[must_use]
    pub fn rotator_mints(&self, factory: &Factory) -> bool {
        let alone = self.instances.login.as_ref().is_none_or(|(login, _)| *login == self.login);
        factory.mint && (factory.shared || alone)
    }

    /// The same with the login of the fleet's functions in the place of the rotator's.
    #[must_use]
    pub fn of_the_fleet(mut self) -> Self {
        if let Some((login, by)) = self.fleet.login.take() {
            (self.login, self.login_by) = (login, by);
        }
        self
    }

    /// The same with the login of the functions that mint for one instance in the place of the rotator's.
    #[must_use]
    pub fn of_the_instances(mut self) -> Self {
        if let Some((login, by)) = self.instances.login.take() {
            (self.login, self.login_by) = (login, by);
        }
        self
    }

    /// The clear fields of a token of `factory` that is sealed now.
    #[must_use]
    pub fn binding(
        &self,
        factory: &Factory,
        fingerprint: Fingerprint,
        rotation_id: &str,
        issued_at: Second,
        expires_at: Second,
    ) -> Binding {
        Binding {
            account: self.account.clone(),
            host_factory: factory.id.clone(),
            appliance_url: self.appliance_url.clone(),
            leader_url: factory.leader_url.clone(),
            ca_sha256: self.ca.as_ref().map(CaBundle::digests).unwrap_or_default(),
            issued_at,
            expires_at,
            cidr: factory.cidr.clone(),
            fingerprint,
            rotation_id: rotation_id.to_owned(),
            spread_s: u32::try_from(factory.spread.as_secs()).unwrap_or(u32::MAX),
            scope: Scope::Layer,
            hosts_branch: factory.hosts_branch.clone(),
        }
    }
}

/// A bounded file's text, wiped when dropped: it may be a key.
fn read_file(path: &Path, most: u64) -> Result<Zeroizing<String>, Error> {
    let refuse = |source| Error::Read { path: path.to_owned(), source };
    let mut text = Zeroizing::new(String::new());
    let file = std::fs::File::open(path).map_err(refuse)?;
    // One byte more than the largest tells a file that is too large.
    let read = file.take(most + 1).read_to_string(&mut text).map_err(refuse)?;
    if read as u64 > most {
        let why = format!("it has more than {most} bytes");
        return Err(refuse(io::Error::new(io::ErrorKind::InvalidData, why)));
    }
    Ok(text)
}

#[cfg(test)]
pub(crate) mod tests;
