//! `imprint-rotator seal-login`: the rotator's own API key, from standard input into the bucket.
//!
//! The key is shown to Conjur first: what does not log in is not sealed. Then it is sealed with KMS, put
//! under a condition, read back, opened and compared. The one who runs it is an operator, whose role may
//! put into `logins/*`; the rotator's own role only reads there.

use crate::config::{Config, LoginBy};
use crate::effects::{self, Context};
use crate::login;
use crate::login::sealed::{self, Clear, SealedLogin};
use imprint_core::aws::{Aws, Bucket, Encrypted, Kms, Object, Only, Sts};
use imprint_core::caller::Caller;
use imprint_core::conjur::{Conjur, ServiceId};
use imprint_core::door::{Door, Trust};
use imprint_core::error::{Class, Classified};
use imprint_core::second::Second;
use imprint_core::token::{self, AccessToken, ApiKey, Fingerprint, RoleProof};
use std::fmt;
use std::io::{self, IsTerminal as _, Read as _};
use zeroize::Zeroizing;

/// The largest standard input that is read, in bytes.
const LARGEST_INPUT: u64 = 4096;

/// What sealing a login may ask of the world beside what logging in may, in the order of the IAM policy.
#[expect(async_fn_in_trait, reason = "flows run on one thread and nothing is spawned, so no Send is needed")]
pub trait Effects: login::Effects {
    /// `kms:Encrypt` on the key.
    async fn encrypt(&self, key: &ApiKey, context: &Context) -> Result<Encrypted, effects::Error>;
    /// `s3:PutObject` on `logins/*`, always under a condition.
    async fn put(&self, key: &str, bytes: Vec<u8>, only: &Only) -> Result<(), effects::Error>;
    /// Standard input, which must be no terminal: it would show the key.
    fn given(&self) -> io::Result<Zeroizing<String>>;
    /// The wall clock.
    fn now(&self) -> Second;
}

/// What the command line asks for.
#[derive(clap::Args, Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Ask {
    /// Whose API key it is: the rotator's, or that of the login in the section fleet or instances
    #[arg(long, value_name = "WHO", value_enum, default_value_t)]
    pub of: Whose,
}

/// One of those who log in.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Whose {
    /// `login` of `[instances]`.
    Minter,
    /// `login` of `[fleet]`.
    Reaper,
    /// `login`.
    #[default]
    Rotator,
}

impl Ask {
    /// The configuration with the login of that one in the place of the rotator's.
    ///
    /// # Errors
    /// When that one has no login of its own.
    pub fn whose(self, config: &Config) -> Result<Config, Error> {
        match self.of {
            Whose::Minter if config.instances.login.is_none() => Err(Error::NoLogin("[instances]")),
            Whose::Reaper if config.fleet.login.is_none() => Err(Error::NoLogin("[fleet]")),
            Whose::Minter => Ok(config.clone().of_the_instances()),
            Whose::Reaper => Ok(config.clone().of_the_fleet()),
            Whose::Rotator => Ok(config.clone()),
        }
    }
}

/// What was done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    login: String,
    fingerprint: Fingerprint,
    url: String,
    /// Whether the configuration reads it from there.
    is_used: bool,
}

/// Why no key was sealed, or it is not sure.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call failed.
    #[error(transparent)]
    Effect(#[from] effects::Error),
    /// What was given is no key.
    #[error("what standard input gave is no API key")]
    Given(#[source] token::Error),
    /// It cannot be read.
    #[error("standard input cannot be read")]
    Input(#[source] io::Error),
    /// They use the rotator's.
    #[error("{0} of the configuration has no login of its own")]
    NoLogin(&'static str),
    /// The configuration logs in with a role.
    #[error("the configuration logs in with authn_iam, which has no API key")]
    ByRole,
    /// Another one was put at the same moment.
    #[error("{0} was changed meanwhile by somebody else, and left as it is")]
    Changed(String),
    /// What is there now is not what was put.
    #[error("{url} does not read back: {why}")]
    ReadBack {
        /// The object.
        url: String,
        /// What is different.
        why: &'static str,
    },
    /// There is a terminal, and no key.
    #[error("standard input is a terminal, which would show the API key")]
    Terminal,
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Effect(error) => error.class(),
            Self::Given(_) | Self::Terminal => Class::Usage,
            Self::Input(_) => Class::Storage,
            Self::ByRole | Self::NoLogin(_) => Class::Config,
            Self::Changed(_) => Class::Transient,
            Self::ReadBack { .. } => Class::Tampered,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Effect(error) => error.hint(),
            Self::Given(_) => Some("give the API key alone, on one line, on standard input"),
            Self::Input(_) => None,
            Self::ByRole => Some("nothing has to be sealed; take authn_iam out to log in with a key"),
            Self::NoLogin(_) => Some("it logs in as the rotator: leave --of out, or give it a login there"),
            Self::Changed(_) => Some("see who else runs this, then run it again"),
            Self::ReadBack { .. } => {
                Some("something else writes into the bucket: see who may put into logins/*, and run it again")
            }
            Self::Terminal => Some("pipe it in, as in: imprint-rotator seal-login < api-key"),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { login, fingerprint, url, is_used } = self;
        write!(f, "sealed API key {fingerprint} of {login}, which logs in, as {url}")?;
        if !is_used {
            f.write_str("\nthe configuration does not use it yet: set sealed_login = true in the place of api_key_file")?;
        }
        Ok(())
    }
}

/// Seals the key that standard input gives.
///
/// # Errors
/// See [`Error`]. But for [`Error::ReadBack`], what was there before is still there, or a put without an
/// answer took its place.
pub async fn seal_login(config: &Config, on: &impl Effects) -> Result<Report, Error> {
    if matches!(config.login_by, LoginBy::Role { .. }) {
        return Err(Error::ByRole);
    }
    let key = given(on)?;
    // Nothing here is repeated: a person waits, and can run it again.
    let _session: AccessToken = on.authenticate(&config.login, &key).await?;

    let place = sealed::object_key(config);
    let url = format!("s3://{}/{place}", config.aws.bucket);
    let only = match on.fetch(&place).await {
        Ok(Object { etag, .. }) => Only::IfMatch(etag),
        // Hidden from this role or not there: the condition holds in the second case alone.
        Err(error) if error.is_absent() => Only::IfAbsent,
        Err(error) => return Err(error.into()),
    };
    let fingerprint = Fingerprint::of(key.expose().as_bytes());
    let clear = Clear::new(config, fingerprint.clone(), on.now());
    let encrypted = on.encrypt(&key, &clear.context()).await?;
    let bytes = SealedLogin::new(clear, encrypted).to_bytes();
    match on.put(&place, bytes.clone(), &only).await {
        Err(error) if error.is_conflict() => return Err(Error::Changed(url)),
        ended => ended?,
    }

    let read_back = |why| Error::ReadBack { url: url.clone(), why };
    if on.fetch(&place).await?.bytes != bytes {
        return Err(read_back("it is another object"));
    }
    if !login::unsealed(config, on).await?.same_as(&key) {
        return Err(read_back("it opens as another key"));
    }
    let is_used = config.login_by == LoginBy::SealedKey;
    Ok(Report { login: config.login.clone(), fingerprint, url, is_used })
}

fn given(on: &impl Effects) -> Result<ApiKey, Error> {
    let text = on.given().map_err(|error| match error.kind() {
        io::ErrorKind::Unsupported => Error::Terminal,
        _ => Error::Input(error),
    })?;
    // Editors and echo leave a newline, which would be part of the key.
    ApiKey::new(Zeroizing::new(text.trim().to_owned())).map_err(Error::Given)
}

/// Conjur, AWS, standard input and the clock.
pub struct Real {
    login: login::Real,
    bucket: Bucket,
    kms: Kms,
    key: String,
}

impl Real {
    /// The clients of a configuration.
    ///
    /// # Errors
    /// When one cannot be made, or no region is known.
    pub async fn new(config: &Config, caller: &Caller) -> Result<Self, effects::Error> {
        let trust = config.ca.clone().map_or(Trust::Public, Trust::Only);
        let door = Door::to(&config.leader_url, &trust)?;
        let (url, account) = (config.leader_url.clone(), config.account.clone());
        let conjur = Conjur::new(door, url, account, caller.clone());
        let aws: Aws = config.aws.client(caller).await?;
        let bucket = aws.bucket(&config.aws.bucket, Some(&config.aws.bucket_owner));
        let login = login::Real::new(config, conjur, &aws);
        Ok(Self { login, bucket, kms: aws.kms(), key: config.aws.key.clone() })
    }
}

impl login::Effects for Real {
    async fn decrypt(
        &self,
        ciphertext: &[u8],
        context: &Context,
    ) -> Result<Zeroizing<Vec<u8>>, effects::Error> {
        self.login.decrypt(ciphertext, context).await
    }

    async fn fetch(&self, key: &str) -> Result<Object, effects::Error> {
        self.login.fetch(key).await
    }

    async fn prove_role(&self, sts: Option<&Sts>) -> Result<RoleProof, effects::Error> {
        self.login.prove_role(sts).await
    }

    fn key(&self, config: &Config) -> Result<ApiKey, crate::config::Error> {
        self.login.key(config)
    }

    async fn authenticate(&self, login: &str, key: &ApiKey) -> Result<AccessToken, effects::Error> {
        self.login.authenticate(login, key).await
    }

    async fn authenticate_with_role(
        &self,
        service: &ServiceId,
        login: &str,
        proof: RoleProof,
    ) -> Result<AccessToken, effects::Error> {
        self.login.authenticate_with_role(service, login, proof).await
    }
}

impl Effects for Real {
    async fn encrypt(&self, key: &ApiKey, context: &Context) -> Result<Encrypted, effects::Error> {
        Ok(self.kms.encrypt(&self.key, key.expose().as_bytes(), context).await?)
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, only: &Only) -> Result<(), effects::Error> {
        self.bucket.put(key, bytes, only).await?;
        Ok(())
    }

    fn given(&self) -> io::Result<Zeroizing<String>> {
        let input = io::stdin();
        if input.is_terminal() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let mut text = Zeroizing::new(String::with_capacity(8192));
        let _bytes = input.lock().take(LARGEST_INPUT).read_to_string(&mut text)?;
        Ok(text)
    }

    fn now(&self) -> Second {
        Second::now()
    }
}

#[cfg(test)]
mod tests;
