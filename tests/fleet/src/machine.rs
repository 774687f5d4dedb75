//! [`Machine`]: one instance, whose [`Effects`] ask the models of the [`World`].

use crate::world::{Ask, Fault, World};
use imprint_agent::config::{Kms, S3};
use imprint_agent::effects::{At, Effects, Error};
use imprint_agent::facts::{Facts, InstanceId, Needs};
use imprint_agent::{imds, source};
use imprint_core::caller::RunId;
use imprint_core::conjur::{Health, Redeemed};
use imprint_core::name::HostId;
use imprint_core::sealed::SealedToken;
use imprint_core::second::Second;
use imprint_core::token::{AccessToken, ApiKey, Token};
use imprint_core::{aws, conjur};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;
use zeroize::Zeroizing;

/// The token that every host redeems.
pub const TOKEN: &str = "1taken0000000000000000000000000000000000000000000";

/// When the virtual clock begins.
const NOW: i64 = 1_795_334_400; // 2026-11-22T08:00:00Z

/// What all machines of a fleet have in common.
pub struct Common {
    /// The servers.
    pub world: World,
    /// What is published.
    pub sealed: Vec<u8>,
    /// To make errors of, as the HTTP client has them.
    pub client: reqwest::Client,
    attempt: RunId,
}

impl Common {
    /// With this published.
    #[must_use]
    pub fn new(world: World, sealed: Vec<u8>, client: reqwest::Client) -> Self {
        Self { world, sealed, client, attempt: RunId::new(Second::from_unix(NOW), 1) }
    }
}

/// One instance.
pub struct Machine {
    common: Rc<Common>,
    /// Its id.
    pub instance: InstanceId,
    random: RefCell<fastrand::Rng>,
    /// Keys that Conjur made for it.
    keys: Cell<u32>,
    /// Requests to its metadata service.
    looked: Cell<u32>,
}

impl Machine {
    /// The instance of this number; its luck with the servers follows from number and seed.
    ///
    /// # Panics
    /// Never: every number makes an id.
    #[must_use]
    pub fn new(common: &Rc<Common>, number: u32, seed: u64) -> Self {
        let random = fastrand::Rng::with_seed(seed ^ (u64::from(number) << 20) ^ 0x1a2b);
        Self {
            common: Rc::clone(common),
            #[expect(clippy::unwrap_used, reason = "seventeen hex digits are an instance-id")]
            instance: format!("i-{number:017x}").parse().unwrap(),
            random: RefCell::new(random),
            keys: Cell::new(0),
            looked: Cell::new(0),
        }
    }

    /// As after an enrollment, without one: its key.
    ///
    /// # Errors
    /// Never: the key has the form of one.
    pub fn has_enrolled(&self) -> Result<ApiKey, imprint_core::token::Error> {
        self.keys.set(self.keys.get() + 1);
        ApiKey::new(Zeroizing::new(self.key()))
    }

    /// A restore of Conjur: the key that the machine has is not known there any more.
    pub fn key_dies(&self) {
        self.keys.set(self.keys.get() + 1);
    }

    /// How many keys Conjur made for it, dead ones included.
    #[must_use]
    pub const fn keys(&self) -> u32 {
        self.keys.get()
    }

    fn draw(&self) -> f64 {
        self.random.borrow_mut().f64()
    }

    fn key(&self) -> String {
        format!("key{:049}", self.keys.get())
    }

    fn conjur(&self, operation: &'static str, fault: Fault) -> Error {
        let server = "conjur.example.org".to_owned();
        // Any error of the HTTP client that is no time-out will do: it is judged by that alone.
        let source = || self.common.client.get("not a url").build().err();
        let error = match (fault, source()) {
            (Fault::Away, Some(source)) => conjur::Error::Unreachable { operation, server, source },
            (Fault::Broke, Some(source)) => conjur::Error::Interrupted { operation, server, source },
            (Fault::Status(status), _) => {
                conjur::Error::Status { operation, server, status, retry_after: None }
            }
            (Fault::Slow | Fault::Away | Fault::Broke, _) => {
                conjur::Error::Status { operation, server, status: 503, retry_after: None }
            }
        };
        error.into()
    }
}

fn aws(operation: &'static str, slow: (&str, u16), fault: Fault) -> Error {
    let (code, status) = match fault {
        Fault::Slow => slow,
        Fault::Status(_) | Fault::Away | Fault::Broke => ("InternalError", 500),
    };
    aws::Error::Answered { operation, resource: "it".to_owned(), code: code.to_owned(), status }.into()
}

impl Effects for Machine {
    fn now(&self) -> Second {
        Second::from_unix(NOW).plus(Duration::from_secs_f64(self.common.world.now()))
    }

    fn attempt(&self) -> &RunId {
        &self.common.attempt
    }

    async fn open_ahead(&self) {}

    async fn facts(&self, _: &Needs) -> Result<Facts, Error> {
        let is_first = self.looked.replace(self.looked.get() + 1) == 0;
        self.common
            .world
            .imds(is_first, self.draw())
            .await
            .map_err(|_| imds::Error::Status { path: "the session".to_owned(), status: 404 })?;
        Ok(Facts {
            account_id: Some("123456789012".to_owned()),
            hostname: None,
            image_id: None,
            instance_id: self.instance.clone(),
            private_ip: None,
            region: Some("eu-west-1".to_owned()),
            tags: BTreeMap::new(),
        })
    }

    async fn image(&self) -> Result<String, Error> {
        Err(Error::NoMachineId)
    }

    fn standard_input(&self) -> Result<Zeroizing<Vec<u8>>, source::Error> {
        Err(source::Error::None)
    }

    async fn fetch(&self, _: &S3, _: &str) -> Result<Vec<u8>, Error> {
        let end = self.common.world.s3(self.draw()).await;
        end.map_err(|fault| aws("s3:GetObject", ("SlowDown", 503), fault))?;
        Ok(self.common.sealed.clone())
    }

    async fn unseal(&self, _: &Kms, _: &SealedToken) -> Result<Zeroizing<Vec<u8>>, Error> {
        let end = self.common.world.kms(self.draw()).await;
        end.map_err(|fault| aws("kms:Decrypt", ("ThrottlingException", 400), fault))?;
        Ok(Zeroizing::new(TOKEN.as_bytes().to_vec()))
    }

    async fn redeem(
        &self,
        _: &Token,
        host: &HostId,
        _: &BTreeMap<String, String>,
    ) -> Result<Redeemed, Error> {
        let done = || self.keys.set(self.keys.get() + 1);
        let end = self.common.world.conjur(Ask::Redeem, self.draw(), done).await;
        end.map_err(|fault| self.conjur("redeem", fault))?;
        let api_key = ApiKey::new(Zeroizing::new(self.key())).map_err(|_| Error::NoMachineId)?;
        Ok(Redeemed {
            id: format!("prod:host:{host}"),
            owner: "prod:host_factory:app/web".to_owned(),
            api_key,
            created_at: None,
        })
    }

    async fn authenticate(&self, _: At, _: &HostId, key: &ApiKey) -> Result<AccessToken, Error> {
        let end = self.common.world.conjur(Ask::Login, self.draw(), || {}).await;
        end.map_err(|fault| self.conjur("authenticate", fault))?;
        if key.expose() == self.key() {
            Ok(AccessToken::new(Zeroizing::new(b"{}".to_vec())))
        } else {
            Err(self.conjur("authenticate", Fault::Status(401)))
        }
    }

    async fn may_read(&self, _: &AccessToken, _: &str) -> Result<bool, Error> {
        Ok(true)
    }

    async fn rotate_key(&self, _: &HostId, _: &ApiKey) -> Result<ApiKey, Error> {
        Err(Error::NoMachineId)
    }

    async fn health(&self, _: At) -> Result<Option<Health>, Error> {
        Ok(None)
    }
}
