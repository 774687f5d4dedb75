//! Whom the cases are asked of: a stand-in that this process starts, or a genuine server that somebody names.

use std::path::PathBuf;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use imprint_stack::conjur::{Conjur, Version};
use imprint_stack::server::Server;
use ipnet::IpNet;
use serde::Deserialize;

use crate::client::{Endpoint, Outgoing};

/// Settings of the stand-in that a case changes while it runs.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    #[serde(default)]
    database_down: bool,
    api_key_default: Option<bool>,
    host_factories_enabled: Option<bool>,
    /// Seconds.
    host_token_ttl: Option<u64>,
    #[serde(default)]
    trusted_proxies: Vec<IpNet>,
}

/// How a server's clock is moved.
type Advance = Box<dyn Fn(Duration)>;

/// A server and the account to ask it in.
pub struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) account: String,
    pub(crate) login: String,
    pub(crate) key: String,
    /// Whose replies are expected where versions differ.
    pub(crate) version: Version,
    stand_in: Option<Server<Conjur>>,
    /// In place of sleeping before a genuine server: its way to let time pass, and the seconds that have passed by it.
    passing: Option<(Advance, AtomicI64)>,
    label: String,
}

impl Target {
    /// A fresh stand-in; with `expect` another version's replies are expected than it gives.
    pub fn stand_in(version: Version, expect: Version) -> Result<Self, String> {
        let account = "dev";
        let server = Server::start(Conjur::new(version, account));
        Ok(Self {
            endpoint: Endpoint::parse(&server.url(), None)?,
            account: account.to_owned(),
            login: "admin".to_owned(),
            key: server.service().admin_key(),
            version: expect,
            label: format!("the stand-in as Conjur {}", version.number()),
            stand_in: Some(server),
            passing: None,
        })
    }

    /// The stand-in's server, to plant faults in.
    #[must_use]
    pub fn server(&self) -> Option<&Server<Conjur>> {
        self.stand_in.as_ref()
    }

    /// The server that the environment names: `IMPRINT_CONTRACT_URL`, `_ACCOUNT`, `_ADMIN_KEY`, and if given `_CA` (a PEM file),
    /// `_LOGIN` (default `admin`) and `_VERSION`. `None` when there is no URL.
    pub async fn from_env(var: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, String> {
        let get = |name: &str| var(&format!("IMPRINT_CONTRACT_{name}")).filter(|value| !value.is_empty());
        let need = |name: &str| {
            get(name).ok_or_else(|| format!("IMPRINT_CONTRACT_URL is set, IMPRINT_CONTRACT_{name} is not"))
        };
        let Some(url) = get("URL") else { return Ok(None) };
        let ca = get("CA").map(PathBuf::from);
        let mut target = Self {
            endpoint: Endpoint::parse(&url, ca.as_deref())?,
            account: need("ACCOUNT")?,
            login: get("LOGIN").unwrap_or_else(|| "admin".to_owned()),
            key: need("ADMIN_KEY")?,
            version: Version::V1_24_0,
            stand_in: None,
            passing: None,
            label: url.clone(),
        };
        let stated = match get("VERSION") {
            Some(stated) => stated,
            None => target.ask_version().await.map_err(|error| format!("{url}: {error}"))?,
        };
        target.version = expectations(&stated).ok_or_else(|| format!("{stated}: no version of Conjur"))?;
        target.label = format!("{url} (Conjur {stated}, expected to answer as {})", target.version.number());
        Ok(Some(target))
    }

    /// Lets time pass by moving the server's clock, for a server whose clock can be moved.
    #[must_use]
    pub fn passing_time_by(self, advance: impl Fn(Duration) + 'static) -> Self {
        Self { passing: Some((Box::new(advance), AtomicI64::new(0))), ..self }
    }

    /// What this is, for a reader.
    #[must_use]
    pub fn label(&self) -> &str {
        &self.label
    }

    async fn ask_version(&self) -> Result<String, String> {
        let accept = ("Accept".to_owned(), "application/json".to_owned());
        let request = Outgoing {
            method: "GET".into(),
            target: "/".into(),
            headers: vec![accept],
            ..Outgoing::default()
        };
        let reply = self.endpoint.exchange(&request).await.map_err(|error| error.to_string())?;
        let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap_or_default();
        let version = body.get("version").and_then(serde_json::Value::as_str).map(str::to_owned);
        version.ok_or_else(|| "the server does not tell its version: set IMPRINT_CONTRACT_VERSION".to_owned())
    }

    pub(crate) fn is_stand_in(&self) -> bool {
        self.stand_in.is_some()
    }

    /// Seconds since 1970 where the server is; a genuine one is taken to be on time.
    #[expect(clippy::disallowed_methods, reason = "a genuine server's time cannot be handed in")]
    pub(crate) fn now(&self) -> i64 {
        let passed = self.passing.as_ref().map_or(0, |(_, passed)| passed.load(Ordering::SeqCst));
        let own = || jiff::Timestamp::now().as_second() + passed;
        self.stand_in.as_ref().map_or_else(own, |server| server.service().now())
    }

    /// Lets time pass: for the stand-in by its clock, for a genuine server by waiting.
    pub(crate) async fn wait(&self, seconds: u64) {
        let span = Duration::from_secs(seconds);
        match (&self.stand_in, &self.passing) {
            (Some(server), _) => server.service().advance(span),
            (None, Some((advance, passed))) => {
                advance(span);
                passed.fetch_add(i64::try_from(seconds).unwrap_or(i64::MAX), Ordering::SeqCst);
            }
            (None, None) => tokio::time::sleep(span).await,
        }
    }

    /// Gives the stand-in these settings, or its own back.
    pub(crate) fn set(&self, settings: Option<&Settings>) {
        let Some(server) = &self.stand_in else { return };
        let settings = settings.cloned().unwrap_or_default();
        server.service().configure(|own| {
            *own = imprint_stack::conjur::Settings::default();
            own.database_down = settings.database_down;
            own.trusted_proxies = settings.trusted_proxies;
            own.api_key_default = settings.api_key_default.unwrap_or(own.api_key_default);
            own.host_factories_enabled =
                settings.host_factories_enabled.unwrap_or(own.host_factories_enabled);
            own.host_token_ttl = settings.host_token_ttl.map_or(own.host_token_ttl, Duration::from_secs);
        });
    }
}

/// Which of the two recorded servers a version is taken to be like: the older one up to 1.22, the newer one from 1.23 on.
fn expectations(version: &str) -> Option<Version> {
    let mut figures = version.trim_start_matches('v').split(['.', '-', '+']);
    let major: u32 = figures.next()?.parse().ok()?;
    let minor: u32 = figures.next()?.parse().ok()?;
    Some(if (major, minor) < (1, 23) { Version::V1_22_3 } else { Version::V1_24_0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_choose_their_expectations() {
        assert_eq!(expectations("1.22.3"), Some(Version::V1_22_3));
        assert_eq!(expectations("1.19.0-12"), Some(Version::V1_22_3));
        assert_eq!(expectations("1.24.0"), Some(Version::V1_24_0));
        assert_eq!(expectations("v2.0"), Some(Version::V1_24_0));
        assert_eq!(expectations("newest"), None);
    }

    #[tokio::test]
    async fn the_environment_is_all_or_nothing() {
        let none = Target::from_env(|_| None).await;
        assert!(matches!(none, Ok(None)));
        let url = |name: &str| (name == "IMPRINT_CONTRACT_URL").then(|| "http://127.0.0.1:9".to_owned());
        let error = Target::from_env(url).await.err().unwrap();
        assert_eq!(error, "IMPRINT_CONTRACT_URL is set, IMPRINT_CONTRACT_ACCOUNT is not");
    }
}
