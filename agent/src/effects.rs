//! [`Effects`]: all that an enrollment may ask of the world beyond its own disk. The trait is the
//! program's permission list: one method for one IAM action or one thing that Conjur allows a host.
//!
//! Nothing here repeats a call: whether a repeat is right is argued where the call is made.

use crate::config::{Config, InstanceFrom};
use crate::facts::{self, Facts, Needs};
use crate::imds::{self, Imds};
use imprint_core::aws::{self, Aws, Bucket, Kms};
use imprint_core::conjur::{self, Conjur, Redeemed};
use imprint_core::door::{self, Door, Trust};
use imprint_core::name::HostId;
use imprint_core::sealed::SealedToken;
use imprint_core::second::Second;
use imprint_core::token::{AccessToken, ApiKey, Token};
use imprint_core::{Class, Classified};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;
use zeroize::Zeroizing;

/// Which Conjur server a call goes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum At {
    /// The one that the identity files name; it may be a follower.
    Appliance,
    /// The one that takes the redeem.
    Leader,
}

/// Why an effect failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// S3 or KMS.
    #[error(transparent)]
    Aws(#[from] aws::Error),
    /// Conjur.
    #[error(transparent)]
    Conjur(#[from] conjur::Error),
    /// No HTTP client can be made.
    #[error(transparent)]
    Door(#[from] door::Error),
    /// The metadata service.
    #[error(transparent)]
    Imds(#[from] imds::Error),
    /// Nothing tells which machine this is.
    #[error("this machine has no machine-id")]
    NoMachineId,
}

impl Error {
    /// Whether the same call may well succeed in a moment, or once somebody has published.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Imds(error) => error.may_pass(),
            Self::Aws(_) | Self::Conjur(_) | Self::Door(_) | Self::NoMachineId => {
                matches!(self.class(), Class::Transient | Class::Absent)
            }
        }
    }

    /// Conjur's 401.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        self.conjur().is_some_and(conjur::Error::is_unauthorized)
    }

    /// The call to Conjur that failed, if it was one.
    #[must_use]
    pub const fn conjur(&self) -> Option<&conjur::Error> {
        match self {
            Self::Conjur(error) => Some(error),
            Self::Aws(_) | Self::Door(_) | Self::Imds(_) | Self::NoMachineId => None,
        }
    }
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Aws(error) => error.class(),
            Self::Conjur(error) => error.class(),
            Self::Door(error) => error.class(),
            Self::Imds(error) => error.class(),
            Self::NoMachineId => Class::Config,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Aws(error) => error.hint(),
            Self::Conjur(error) => error.hint(),
            Self::Door(error) => error.hint(),
            Self::Imds(error) => error.hint(),
            Self::NoMachineId => Some("run systemd-machine-id-setup, or leave [instance] id at ec2"),
        }
        .or_else(|| general(self.class()))
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Aws(error) => error.retry_after(),
            Self::Conjur(error) => error.retry_after(),
            Self::Door(error) => error.retry_after(),
            Self::Imds(error) => error.retry_after(),
            Self::NoMachineId => None,
        }
    }

    fn is_pushback(&self) -> bool {
        match self {
            Self::Aws(error) => error.is_pushback(),
            Self::Conjur(error) => error.is_pushback(),
            Self::Door(error) => error.is_pushback(),
            Self::Imds(error) => error.is_pushback(),
            Self::NoMachineId => false,
        }
    }
}

/// What to do where the failure itself does not tell.
const fn general(class: Class) -> Option<&'static str> {
    match class {
        Class::Absent => Some("see whether the rotator runs and publishes"),
        Class::Bug | Class::Usage | Class::Storage | Class::Config | Class::Tampered => None,
        Class::Protocol => Some("see what answers at this address: a proxy, a portal, another service"),
        Class::Refused => {
            Some("see the log of the server that refused, and what this host or role may do there")
        }
        Class::Transient => Some("it was tried again until the deadline: see the health of that service"),
    }
}

/// What an enrollment may do, in the order in which it does it.
#[expect(async_fn_in_trait, reason = "one thread runs everything; no future needs to be Send")]
pub trait Effects {
    /// The wall clock.
    fn now(&self) -> Second;

    /// The instance metadata service: who this instance is. No permission.
    async fn facts(&self, needs: &Needs) -> Result<Facts, Error>;

    /// `s3:GetObject` on the configured object, with the instance's role.
    async fn fetch(&self) -> Result<Vec<u8>, Error>;

    /// `kms:Decrypt` with the configured key and the binding as encryption context.
    async fn unseal(&self, sealed: &SealedToken) -> Result<Zeroizing<Vec<u8>>, Error>;

    /// Conjur `POST /host_factories/hosts` at the leader: the token allows it.
    async fn redeem(
        &self,
        token: &Token,
        host: &HostId,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Redeemed, Error>;

    /// Conjur `POST /authn/...`: every host may.
    async fn authenticate(&self, at: At, host: &HostId, key: &ApiKey) -> Result<AccessToken, Error>;

    /// Conjur `GET /resources/...?check=true`: whether the host may read a variable; the value is not
    /// asked for.
    async fn may_read(&self, with: &AccessToken, variable: &str) -> Result<bool, Error>;
}

/// The machine and the servers of its configuration.
pub struct Real<'a> {
    config: &'a Config,
    imds: Imds,
    appliance: Conjur,
    leader: Conjur,
    /// The region of the identity document, once it was read.
    region: RefCell<Option<String>>,
    role: RefCell<Option<Role>>,
}

/// Clients that carry the role's credentials.
#[derive(Clone)]
struct Role {
    bucket: Bucket,
    kms: Kms,
    until: Option<Second>,
}

impl<'a> Real<'a> {
    /// The effects of this configuration. Nothing is sent yet.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(config: &'a Config) -> Result<Self, Error> {
        let trust = config.ca.clone().map_or(Trust::Public, Trust::Only);
        let door = Door::to(&config.appliance_url, &trust)?;
        let appliance = Conjur::new(door, config.appliance_url.clone(), config.account.clone());
        // Connections are shared only where the server is the same.
        let leader = if config.leader_url == config.appliance_url {
            appliance.clone()
        } else {
            Conjur::new(
                Door::to(&config.leader_url, &trust)?,
                config.leader_url.clone(),
                config.account.clone(),
            )
        };
        let imds = Imds::new(&config.imds)?;
        Ok(Self { config, imds, appliance, leader, region: RefCell::default(), role: RefCell::default() })
    }

    const fn at(&self, at: At) -> &Conjur {
        match at {
            At::Appliance => &self.appliance,
            At::Leader => &self.leader,
        }
    }

    /// The clients for S3 and KMS; the role's credentials are asked for once, and again when they
    /// are about to expire.
    async fn role(&self) -> Result<Role, Error> {
        const MARGIN: Duration = Duration::from_secs(60);
        let known = self.role.borrow().clone();
        if let Some(role) =
            known.filter(|role| role.until.is_none_or(|until| until > self.now().plus(MARGIN)))
        {
            return Ok(role);
        }
        let source = &self.config.source;
        let known = source.region.clone().or_else(|| self.region.borrow().clone());
        let region = match known {
            Some(region) => region,
            None => self.facts(&Needs::default()).await?.region.ok_or(aws::Error::NoRegion)?,
        };
        let credentials = self.imds.credentials().await?;
        let trust = source.ca.clone().map_or(Trust::Public, Trust::PublicAnd);
        let aws = Aws::with_credentials(&region, &credentials, &trust).await?;
        let bucket = aws.bucket(&source.bucket, source.bucket_owner.as_deref());
        let role = Role { bucket, kms: aws.kms(), until: credentials.expires_at };
        self.role.replace(Some(role.clone()));
        Ok(role)
    }
}

impl Effects for Real<'_> {
    fn now(&self) -> Second {
        Second::now()
    }

    async fn facts(&self, needs: &Needs) -> Result<Facts, Error> {
        if self.config.instance == InstanceFrom::Machine {
            return facts::of_machine(&self.config.machine_id, needs).ok_or(Error::NoMachineId);
        }
        let facts = self.imds.facts(needs).await?;
        self.region.replace(facts.region.clone());
        Ok(facts)
    }

    async fn fetch(&self) -> Result<Vec<u8>, Error> {
        Ok(self.role().await?.bucket.get(&self.config.source.object).await?.bytes)
    }

    async fn unseal(&self, sealed: &SealedToken) -> Result<Zeroizing<Vec<u8>>, Error> {
        let (key, context) = (self.config.source.kms_key.as_str(), sealed.binding().context());
        Ok(self.role().await?.kms.decrypt(key, sealed.ciphertext(), &context).await?)
    }

    async fn redeem(
        &self,
        token: &Token,
        host: &HostId,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Redeemed, Error> {
        Ok(self.leader.redeem(token, host, annotations).await?)
    }

    async fn authenticate(&self, at: At, host: &HostId, key: &ApiKey) -> Result<AccessToken, Error> {
        Ok(self.at(at).authenticate(&host.login(), key).await?)
    }

    async fn may_read(&self, with: &AccessToken, variable: &str) -> Result<bool, Error> {
        Ok(self.leader.may(with, "execute", "variable", variable).await?)
    }
}
