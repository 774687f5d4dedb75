//! [`Effects`]: all that an enrollment may ask of the world beyond its own disk. The trait is the
//! program's permission list: one method for one IAM action or one thing that Conjur allows a host.
//!
//! Nothing here repeats a call: whether a repeat is right is argued where the call is made.

mod error;

pub use error::Error;

use crate::config::{Config, InstanceFrom, Kms, S3, Source};
use crate::facts::{self, Facts, Needs};
use crate::imds::Imds;
use crate::source;
use imprint_core::aws::{self, Aws, Clock};
use imprint_core::caller::{Caller, RunId};
use imprint_core::conjur::{Conjur, Health, Redeemed};
use imprint_core::door::{CaBundle, Door, Trust};
use imprint_core::name::{ApplianceUrl, HostId};
use imprint_core::sealed::{LARGEST_OBJECT, SealedToken};
use imprint_core::second::Second;
use imprint_core::token::{AccessToken, ApiKey, Token};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::io::Read as _;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify};
use tokio::time::Instant;
use zeroize::Zeroizing;

/// What servers are told of this program; see [`imprint_core::caller`].
const PROGRAM: &str = concat!(env!("CARGO_PKG_NAME"), "/", env!("CARGO_PKG_VERSION"));

/// Which Conjur server a call goes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum At {
    /// The one that the identity files name; it may be a follower.
    Appliance,
    /// The one that takes the redeem.
    Leader,
}

/// What an enrollment may do, in the order in which it does it.
#[expect(async_fn_in_trait, reason = "one thread runs everything; no future needs to be Send")]
pub trait Effects {
    /// The wall clock, corrected by what AWS says of the time when it refuses ours.
    fn now(&self) -> Second;

    /// The name under which servers see this run of the program.
    fn attempt(&self) -> &RunId;

    /// Opens connections to S3, KMS and Conjur for the requests that come, as far as it is known where
    /// they are. Nothing is asked and nothing fails here: what goes wrong shows again at the request.
    async fn open_ahead(&self);

    /// The instance metadata service: who this instance is. No permission.
    async fn facts(&self, needs: &Needs) -> Result<Facts, Error>;

    /// The image that this EC2 instance was made from, of the instance metadata service. No permission.
    async fn image(&self) -> Result<String, Error>;

    /// Standard input, of which there is one reading: what was read is given again.
    fn standard_input(&self) -> Result<Zeroizing<Vec<u8>>, source::Error>;

    /// `s3:GetObject` on a configured object, of the layer or of this instance, with the instance's role.
    async fn fetch(&self, from: &S3, key: &str) -> Result<Vec<u8>, Error>;

    /// `kms:Decrypt` with a configured key and the binding as encryption context.
    async fn unseal(&self, with: &Kms, sealed: &SealedToken) -> Result<Zeroizing<Vec<u8>>, Error>;

    /// Conjur `POST /host_factories/hosts` at the leader: the token allows it.
    async fn redeem(
        &self,
        token: &Token,
        host: &HostId,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Redeemed, Error>;

    /// Conjur `POST /authn/...`: every host may.
    async fn authenticate(&self, at: At, host: &HostId, key: &ApiKey) -> Result<AccessToken, Error>;

    /// Conjur `PUT /authn/.../api_key` at the leader: every host may, with its present key, which dies.
    async fn rotate_key(&self, host: &HostId, key: &ApiKey) -> Result<ApiKey, Error>;

    /// Conjur `GET /health`: anybody may; `None` where the server has no such page.
    async fn health(&self, at: At) -> Result<Option<Health>, Error>;

    /// Conjur `GET /resources/...?check=true`: whether the host may read a variable; the value is not
    /// asked for.
    async fn may_read(&self, with: &AccessToken, variable: &str) -> Result<bool, Error>;
}

/// The machine and the servers of its configuration.
pub struct Real<'a> {
    config: &'a Config,
    attempt: RunId,
    caller: Caller,
    start: Instant,
    clock: Clock,
    imds: Imds,
    appliance: Conjur,
    leader: Conjur,
    /// The region of the identity document, once it was read.
    region: RefCell<Option<String>>,
    region_told: Notify,
    /// The clients for S3 and KMS: one for each region, of which there is one in all but the worst case.
    aws: Mutex<Vec<Rc<Regional>>>,
    given: RefCell<Option<Zeroizing<Vec<u8>>>>,
}

/// A region's clients, and what they sign with.
struct Regional {
    region: String,
    trusted: Vec<String>,
    aws: Aws,
    role: Cell<Role>,
}

/// The role's credentials, as far as it matters here.
#[derive(Clone, Copy)]
enum Role {
    /// None are held, or those that are held were not taken.
    Unknown,
    /// They are held, and good until then.
    Held(Option<Second>),
}

impl<'a> Real<'a> {
    /// The effects of this configuration, for a run of this command. Nothing is sent yet.
    ///
    /// # Errors
    /// When no HTTP client can be made.
    pub fn new(config: &'a Config, command: &str, attempt: &RunId) -> Result<Self, Error> {
        let caller = Caller::new(PROGRAM, command, attempt);
        let trust = config.ca.clone().map_or(Trust::Public, Trust::Only);
        let door = Door::to(&config.appliance_url, &trust)?;
        let conjur =
            |door, url: &ApplianceUrl| Conjur::new(door, url.clone(), config.account.clone(), caller.clone());
        let appliance = conjur(door, &config.appliance_url);
        // Connections are shared only where the server is the same.
        let leader = if config.leader_url == config.appliance_url {
            appliance.clone()
        } else {
            conjur(Door::to(&config.leader_url, &trust)?, &config.leader_url)
        };
        let imds = Imds::new(&config.imds)?;
        Ok(Self {
            config,
            attempt: attempt.clone(),
            caller,
            start: Instant::now(),
            clock: Clock::default(),
            imds,
            appliance,
            leader,
            region: RefCell::default(),
            region_told: Notify::new(),
            aws: Mutex::default(),
            given: RefCell::default(),
        })
    }

    /// What servers are told of this run.
    pub(crate) const fn caller(&self) -> &Caller {
        &self.caller
    }

    const fn at(&self, at: At) -> &Conjur {
        match at {
            At::Appliance => &self.appliance,
            At::Leader => &self.leader,
        }
    }

    fn region(&self, kms: &Kms) -> Option<String> {
        kms.region.clone().or_else(|| self.region.borrow().clone())
    }

    /// The clients for S3 and KMS in a region, made once.
    async fn aws(&self, region: &str, kms: &Kms) -> Result<Rc<Regional>, Error> {
        let trusted = kms.ca.as_ref().map(CaBundle::digests).unwrap_or_default();
        let mut made = self.aws.lock().await;
        if let Some(one) = made.iter().find(|one| one.region == region && one.trusted == trusted) {
            return Ok(Rc::clone(one));
        }
        let trust = kms.ca.clone().map_or(Trust::Public, Trust::PublicAnd);
        let aws = Aws::on_instance(region, &trust, &self.caller, &self.clock).await?;
        let one =
            Rc::new(Regional { region: region.to_owned(), trusted, aws, role: Cell::new(Role::Unknown) });
        made.push(Rc::clone(&one));
        Ok(one)
    }

    /// The same with the role's credentials, which are asked for once, and again when they are about to
    /// expire or were not taken.
    async fn role(&self, kms: &Kms) -> Result<Rc<Regional>, Error> {
        const MARGIN: Duration = Duration::from_secs(60);
        let region = match self.region(kms) {
            Some(region) => region,
            None => self.facts(&Needs::default()).await?.region.ok_or(aws::Error::NoRegion)?,
        };
        let regional = self.aws(&region, kms).await?;
        let good = match regional.role.get() {
            Role::Unknown => false,
            Role::Held(until) => until.is_none_or(|until| until > self.now().plus(MARGIN)),
        };
        if !good {
            let credentials = self.imds.credentials().await?;
            regional.aws.hold(&credentials);
            regional.role.set(Role::Held(credentials.expires_at));
        }
        Ok(regional)
    }

    /// What a failure of AWS means at this point of the run.
    fn judged_of<T>(&self, role: &Regional, end: Result<T, aws::Error>) -> Result<T, Error> {
        let end = end.map_err(Error::from);
        if end.as_ref().is_err_and(error::wants_new_credentials) {
            role.role.set(Role::Unknown);
        }
        self.judged(end)
    }

    /// What a failure means at this point of the run; see [`error::unsettled`].
    fn judged<T>(&self, end: Result<T, Error>) -> Result<T, Error> {
        end.map_err(|error| match error::unsettled(&error, self.start.elapsed(), self.config.deadline) {
            Some(why) => Error::Unsettled { why, source: Box::new(error) },
            None => error,
        })
    }
}

impl Effects for Real<'_> {
    fn now(&self) -> Second {
        self.clock.now()
    }

    fn attempt(&self) -> &RunId {
        &self.attempt
    }

    async fn open_ahead(&self) {
        let follower = async {
            if self.config.leader_url != self.config.appliance_url {
                self.appliance.open().await;
            }
        };
        let aws = async {
            // The source that is tried first; the others are for worse days.
            let Some(Source::S3(s3)) = self.config.sources.first() else { return };
            let region = loop {
                match self.region(&s3.kms) {
                    Some(region) => break region,
                    None => self.region_told.notified().await,
                }
            };
            if let Ok(regional) = self.aws(&region, &s3.kms).await {
                regional.aws.open(&s3.bucket).await;
            }
        };
        tokio::join!(self.leader.open(), follower, aws);
    }

    async fn facts(&self, needs: &Needs) -> Result<Facts, Error> {
        if self.config.instance == InstanceFrom::Machine {
            return facts::of_machine(&self.config.machine_id, needs).ok_or(Error::NoMachineId);
        }
        let facts = self.imds.facts(needs).await?;
        self.region.replace(facts.region.clone());
        self.region_told.notify_one();
        Ok(facts)
    }

    async fn image(&self) -> Result<String, Error> {
        Ok(self.imds.image().await?)
    }

    fn standard_input(&self) -> Result<Zeroizing<Vec<u8>>, source::Error> {
        if let Some(given) = &*self.given.borrow() {
            return Ok(given.clone());
        }
        // Reserved at once: growing would leave copies behind.
        let mut given = Zeroizing::new(Vec::with_capacity(source::LARGEST + 1));
        let most = u64::try_from(source::LARGEST).unwrap_or(u64::MAX).saturating_add(1);
        std::io::stdin().lock().take(most).read_to_end(&mut given).map_err(source::Error::Stdin)?;
        self.given.replace(Some(given.clone()));
        Ok(given)
    }

    async fn fetch(&self, from: &S3, key: &str) -> Result<Vec<u8>, Error> {
        let role = self.role(&from.kms).await?;
        let bucket = role.aws.bucket(&from.bucket, from.bucket_owner.as_deref());
        let got = bucket.get(key, LARGEST_OBJECT).await;
        self.judged_of(&role, got.map(|object| object.bytes))
    }

    async fn unseal(&self, with: &Kms, sealed: &SealedToken) -> Result<Zeroizing<Vec<u8>>, Error> {
        let role = self.role(with).await?;
        let opened =
            role.aws.kms().decrypt(with.key.as_str(), sealed.ciphertext(), &sealed.binding().context()).await;
        self.judged_of(&role, opened)
    }

    async fn redeem(
        &self,
        token: &Token,
        host: &HostId,
        annotations: &BTreeMap<String, String>,
    ) -> Result<Redeemed, Error> {
        self.judged(self.leader.redeem(token, host, annotations).await.map_err(Error::from))
    }

    async fn authenticate(&self, at: At, host: &HostId, key: &ApiKey) -> Result<AccessToken, Error> {
        self.judged(self.at(at).authenticate(&host.login(), key).await.map_err(Error::from))
    }

    async fn rotate_key(&self, host: &HostId, key: &ApiKey) -> Result<ApiKey, Error> {
        self.judged(self.leader.rotate_own_key(&host.login(), key).await.map_err(Error::from))
    }

    async fn health(&self, at: At) -> Result<Option<Health>, Error> {
        self.judged(self.at(at).health().await.map_err(Error::from))
    }

    async fn may_read(&self, with: &AccessToken, variable: &str) -> Result<bool, Error> {
        self.judged(self.leader.may(with, "execute", "variable", variable).await.map_err(Error::from))
    }
}
