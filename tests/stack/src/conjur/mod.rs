//! A stand-in for Conjur, faithful to recordings of genuine servers, 1.22.3 and 1.24.0: logins, access tokens, policy, host
//! factories, key rotation, resources, roles, secrets. It is a library for tests: what they may ask of it beside HTTP is in
//! this file. Not here: other authenticators than API keys and
//! authn-iam, the audit, rotators, public keys, policy factories.

mod access;
mod authn;
mod authn_iam;
mod calendar;
mod factory;
mod info;
mod origin;
mod params;
mod policy;
mod reply;
mod resources;
mod roles;
mod routes;
mod secrets;
mod store;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ipnet::IpNet;

use self::access::Signer;
use self::calendar::Clock;
use self::store::Store;
use crate::aws::Credentials;
use crate::server::{Request, Response, Service};

/// The server whose answers are given where the two differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// 1.22.3: mints what it should refuse, reads no body without a content type.
    V1_22_3,
    /// 1.24.0.
    V1_24_0,
}

impl Version {
    /// `1.22.3` or `1.24.0`.
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Self::V1_22_3 => "1.22.3",
            Self::V1_24_0 => "1.24.0",
        }
    }
}

/// What an operator of a genuine server sets by its configuration, and what may befall it.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The authenticators that are enabled beside that of API keys, such as `authn-iam/prod`.
    pub authenticators: BTreeSet<String>,
    /// Proxies beside 127.0.0.1 and ::1 whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// `false`: a new host needs the annotation `authn/api-key`.
    pub api_key_default: bool,
    /// `false`: the routes of host factories do not exist.
    pub host_factories_enabled: bool,
    /// `true`: every request is answered with 500.
    pub database_down: bool,
    /// What `/health` says: an Enterprise server. `None`: the open-source one, which has no such page.
    pub health: Option<Health>,
    /// Life of an access token of a host.
    pub host_token_ttl: Duration,
    /// Life of an access token of a user.
    pub user_token_ttl: Duration,
}

/// What an Enterprise server says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// Its position in its own log, and how far each of its followers is behind, in bytes.
    Leader {
        /// What it has written.
        position: u64,
        /// One for each follower.
        lags: Vec<u64>,
    },
    /// Its position in the leader's log.
    Follower {
        /// What it has replayed.
        position: u64,
    },
    /// Something is not well; said with 502.
    Unwell,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            authenticators: BTreeSet::new(),
            trusted_proxies: Vec::new(),
            api_key_default: true,
            host_factories_enabled: true,
            database_down: false,
            health: None,
            host_token_ttl: Duration::from_secs(480),
            user_token_ttl: Duration::from_secs(480),
        }
    }
}

/// One Conjur server with one account.
pub struct Conjur {
    version: Version,
    clock: Clock,
    signer: Signer,
    settings: Mutex<Settings>,
    sts: Mutex<Option<Credentials>>,
    store: Mutex<Store>,
}

/// The whole content of a server at one moment; see [`Conjur::restore`].
#[derive(Clone)]
pub struct Backup(Store);

/// A host factory token as the server keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenRow {
    /// The token itself.
    pub token: String,
    /// Seconds since 1970.
    pub expiration: i64,
    /// As listed.
    pub cidr: Vec<String>,
}

impl Conjur {
    /// An empty server of this version with one account, whose only role is `admin`.
    #[must_use]
    pub fn new(version: Version, account: &str) -> Self {
        let clock = Clock::default();
        let store = Store::new(account, clock.now_ms());
        Self {
            version,
            clock,
            signer: Signer::new(),
            settings: Mutex::default(),
            sts: Mutex::default(),
            store: Mutex::new(store),
        }
    }

    /// The version that it plays.
    #[must_use]
    pub fn version(&self) -> Version {
        self.version
    }

    /// The account.
    #[must_use]
    pub fn account(&self) -> String {
        self.store().account.clone()
    }

    /// The API key of `admin`.
    #[must_use]
    pub fn admin_key(&self) -> String {
        let store = self.store();
        store
            .credentials
            .get(&store.id("user", "admin"))
            .map(|found| found.api_key.clone())
            .unwrap_or_default()
    }

    /// Adds policy under a branch (`root` or an id) as the admin does with POST. Returns the API keys of created users and hosts
    /// by full id, or the message of the refusal.
    pub fn load_policy(&self, branch: &str, yaml: &str) -> Result<BTreeMap<String, String>, String> {
        self.apply(branch, yaml, policy::Verb::Post)
    }

    /// The same with PATCH, so that the text may delete and revoke.
    pub fn patch_policy(&self, branch: &str, yaml: &str) -> Result<BTreeMap<String, String>, String> {
        self.apply(branch, yaml, policy::Verb::Patch)
    }

    fn apply(
        &self,
        branch: &str,
        yaml: &str,
        verb: policy::Verb,
    ) -> Result<BTreeMap<String, String>, String> {
        let settings = self.settings().clone();
        let mut store = self.store();
        let id = store.id("policy", branch);
        if !store.resources.contains_key(&id) {
            return Err(reply::missing(&id));
        }
        policy::load(&mut store, &settings, &id, yaml, verb, self.clock.now_ms())
            .map(|loaded| loaded.created)
            .map_err(|refused| String::from_utf8_lossy(&refused.body).into_owned())
    }

    /// Adds a version of a variable (its id without account and kind). Returns whether the variable exists.
    pub fn set_secret(&self, variable: &str, value: &[u8]) -> bool {
        let mut store = self.store();
        let id = store.id("variable", variable);
        let found = store.resources.get_mut(&id);
        found.map(|resource| resource.secrets.push(value.to_vec())).is_some()
    }

    /// The tokens of a factory (its id without account and kind) as the server keeps them, expired ones too, oldest first.
    #[must_use]
    pub fn tokens(&self, factory: &str) -> Vec<TokenRow> {
        let store = self.store();
        let id = store.id("host_factory", factory);
        let rows = store.tokens.iter().filter(|token| token.factory == id);
        rows.map(|token| TokenRow {
            token: token.token.clone(),
            expiration: token.expiration,
            cidr: factory::shown(&token.cidr),
        })
        .collect()
    }

    /// Mints a token for these networks, or anywhere, behind everybody's back, good until then. `None`: no
    /// such factory.
    #[must_use]
    pub fn add_token(&self, factory: &str, expiration: i64, cidr: &[IpNet]) -> Option<String> {
        let mut store = self.store();
        let id = store.id("host_factory", factory);
        store.resources.contains_key(&id).then(|| factory::add_token(&mut store, &id, expiration, cidr))
    }

    /// Changes the networks of a factory's tokens behind everybody's back: a label in them says when a token was
    /// minted, so that is how one grows old without anybody sleeping.
    pub fn change_networks(&self, factory: &str, mut change: impl FnMut(&str, &mut Vec<IpNet>)) {
        let mut store = self.store();
        let id = store.id("host_factory", factory);
        let rows = store.tokens.iter_mut().filter(|token| token.factory == id);
        rows.for_each(|token| change(&token.token, &mut token.cidr));
    }

    /// How many tokens of a factory could be redeemed now.
    #[must_use]
    pub fn live_tokens(&self, factory: &str) -> usize {
        let now = self.now();
        self.tokens(factory).iter().filter(|token| now < token.expiration).count()
    }

    /// Takes every token of a factory away, as somebody may by hand. Returns how many there were.
    pub fn drop_tokens(&self, factory: &str) -> usize {
        let mut store = self.store();
        let id = store.id("host_factory", factory);
        let before = store.tokens.len();
        store.tokens.retain(|token| token.factory != id);
        before - store.tokens.len()
    }

    /// The ids of all hosts, without account and kind, sorted.
    #[must_use]
    pub fn hosts(&self) -> Vec<String> {
        let store = self.store();
        let prefix = store.id("host", "");
        store.resources.keys().filter_map(|id| id.strip_prefix(&prefix)).map(str::to_owned).collect()
    }

    /// The full ids of all resources and roles, sorted: what a backup of the server would hold.
    #[must_use]
    pub fn everything(&self) -> Vec<String> {
        let store = self.store();
        let all: BTreeSet<&String> = store.resources.keys().chain(store.roles.keys()).collect();
        all.into_iter().cloned().collect()
    }

    /// The current API key of a host (its id without account and kind).
    #[must_use]
    pub fn key_of(&self, host: &str) -> Option<String> {
        let store = self.store();
        store.credentials.get(&store.id("host", host)).map(|found| found.api_key.clone())
    }

    /// Every host factory token and every API key that there is, each with whose it is.
    #[must_use]
    pub fn secrets(&self) -> Vec<(String, String)> {
        let store = self.store();
        let tokens =
            store.tokens.iter().map(|row| (format!("a token of {}", row.factory), row.token.clone()));
        let keys =
            store.credentials.iter().map(|(id, found)| (format!("the key of {id}"), found.api_key.clone()));
        tokens.chain(keys).collect()
    }

    /// The annotations of a host.
    #[must_use]
    pub fn annotations_of(&self, host: &str) -> BTreeMap<String, String> {
        let store = self.store();
        let found = store.resources.get(&store.id("host", host));
        found
            .into_iter()
            .flat_map(|host| &host.annotations)
            .map(|(name, (value, _))| (name.clone(), value.clone()))
            .collect()
    }

    /// The ids of the layers that a host is a direct member of, without account and kind.
    #[must_use]
    pub fn layers_of(&self, host: &str) -> Vec<String> {
        let store = self.store();
        let prefix = store.id("layer", "");
        store
            .roles_of(&store.id("host", host))
            .filter_map(|role| role.strip_prefix(&prefix))
            .map(str::to_owned)
            .collect()
    }

    /// Gives a host a new key behind the back of whoever has the old one, and returns it. `None` when there is no such host.
    pub fn rotate_key_of(&self, host: &str) -> Option<String> {
        let now_ms = self.clock.now_ms();
        let mut store = self.store();
        let id = store.id("host", host);
        store.resources.contains_key(&id).then(|| store.set_key(&id, now_ms))
    }

    /// Moves the server's clock forward: tokens expire without anybody sleeping.
    pub fn advance(&self, by: Duration) {
        self.clock.shift(i64::try_from(by.as_millis()).unwrap_or(i64::MAX));
    }

    /// Moves the server's clock by seconds, back if negative.
    pub fn shift(&self, seconds: i64) {
        self.clock.shift(seconds.saturating_mul(1000));
    }

    /// Seconds since 1970 by the server's clock.
    #[must_use]
    pub fn now(&self) -> i64 {
        self.clock.now_ms().div_euclid(1000)
    }

    /// Shows it the way to an STS that knows these credentials; without one, authn-iam lets nobody in.
    pub fn ask_sts_of(&self, credentials: Credentials) {
        *self.sts.lock().unwrap_or_else(PoisonError::into_inner) = Some(credentials);
    }

    /// Changes the settings.
    pub fn configure(&self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings());
    }

    /// A copy of everything that the database holds.
    #[must_use]
    pub fn backup(&self) -> Backup {
        Backup(self.store().clone())
    }

    /// Puts an old copy back, as after the restore of a database.
    pub fn restore(&self, backup: &Backup) {
        *self.store() = backup.0.clone();
    }

    /// Answers one request; the socket is the server's business.
    #[must_use]
    pub fn reply(&self, request: &Request) -> Response {
        routes::answer(self, request)
    }

    fn sts(&self) -> Option<Credentials> {
        self.sts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn store(&self) -> MutexGuard<'_, Store> {
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn settings(&self) -> MutexGuard<'_, Settings> {
        self.settings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Service for Conjur {
    fn answer(&self, request: Request) -> impl Future<Output = Response> + Send {
        std::future::ready(self.reply(&request))
    }

    fn name_of(&self, request: &Request) -> String {
        routes::name(request).to_owned()
    }
}
