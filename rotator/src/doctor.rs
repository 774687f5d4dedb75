//! `imprint-rotator doctor`: looks at everything that a rotation needs, from the configuration to the privileges
//! of a mint, and says what it finds. Nothing is minted, published or revoked, and no secret is told.
//!
//! Each question is one that a run asks, but for these: the hours and certificates that servers show to anybody,
//! what Conjur says of a privilege, a key in S3 that nobody has, a put whose condition cannot hold, and a text
//! that is no token, sealed and unsealed with the key of KMS. The last leaves two lines in CloudTrail. The
//! parts are in the order in which a run would meet them.

mod aws;
mod conjur;
mod tokens;

use crate::config::{self, Config, Factory};
use crate::effects;
use crate::login;
use imprint_core::caller::{Caller, RunId};
use imprint_core::checks::{Check, Report};
use imprint_core::conjur::{Conjur, Factory as Listed, Health, Whoami};
use imprint_core::door::{self, Door, Trust};
use imprint_core::error::{Class, Classified};
use imprint_core::name::{ApplianceUrl, FactoryId};
use imprint_core::second::Second;
use imprint_core::settings::written;
use imprint_core::token::AccessToken;
use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

/// How long one question may take.
const ONE: Duration = Duration::from_secs(10);

/// Which of the configuration's servers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum At {
    /// Where agents log in.
    Appliance,
    /// Where the rotator itself speaks to Conjur, and agents redeem.
    Leader,
}

/// What the doctor asks of Conjur; a run asks for the first three of them.
#[expect(async_fn_in_trait, reason = "flows run on one thread and nothing is spawned, so no Send is needed")]
pub trait Effects {
    /// Conjur: the login itself.
    async fn authenticate(&self) -> Result<AccessToken, effects::Error>;
    /// Conjur: any privilege on a factory shows it with its tokens.
    async fn list_factories(&self, with: &AccessToken) -> Result<Vec<Listed>, effects::Error>;
    /// Conjur: the same of one factory; `None` when there is none, or no privilege on it.
    async fn show_factory(
        &self,
        with: &AccessToken,
        id: &FactoryId,
    ) -> Result<Option<Listed>, effects::Error>;
    /// Conjur: the login; whether it holds a privilege.
    async fn may(
        &self,
        with: &AccessToken,
        privilege: &str,
        factory: &FactoryId,
    ) -> Result<bool, effects::Error>;
    /// Conjur: the login; who it is, and from which address.
    async fn whoami(&self, with: &AccessToken) -> Result<Whoami, effects::Error>;
    /// Nothing: what a server says of its own health to anybody.
    async fn health(&self, at: At) -> Result<Option<Health>, effects::Error>;
    /// Nothing: the time that a server tells anybody.
    async fn date(&self, at: At) -> Option<Second>;
    /// Nothing: until when the certificate is good that a server shows anybody.
    async fn certificate_end(&self, at: At) -> Option<Second>;
}

/// When the configuration cannot be used, nothing else can be looked at.
#[must_use]
pub fn without_config(error: &config::Error, now: Second) -> Report {
    let mut checks = vec![Check::of("config", error)];
    let others = NAMES.iter().skip(1);
    checks.extend(others.map(|name| Check::skipped(name, "the configuration cannot be used")));
    Report { at: now, checks }
}

/// The names of all checks, in their order.
pub const NAMES: [&str; 23] = [
    "config",
    "windows",
    "revoke",
    "leader",
    "leader-certificate",
    "appliance",
    "appliance-certificate",
    "clock",
    "login",
    "whoami",
    "factories",
    "execute",
    "update",
    "region",
    "s3-object",
    "s3-list",
    "s3-put",
    "kms-encrypt",
    "kms-decrypt",
    "published",
    "kms-published",
    "orphans",
    "expired",
];

/// Examines what the configuration names, for these of its factories. `aws` is `Err` when its clients cannot be
/// made. `now`: the clock.
pub async fn examine<A: effects::Effects>(
    config: &Config,
    path: &Path,
    factories: &[&Factory],
    id: &RunId,
    on: &impl Effects,
    aws: Result<&A, &effects::Error>,
    now: impl Fn() -> Second,
) -> Report {
    let at = now();
    let mut checks = vec![Check::ok("config", path.display().to_string()), windows(config), revoke(config)];
    let asked = conjur::checks(config, factories, on, &now, &mut checks).await;
    aws::checks(config, factories, id, asked.as_ref(), aws, at, &mut checks).await;
    Report { at, checks }
}

fn windows(config: &Config) -> Check {
    let (policy, now) = (&config.policy, Second::from_unix(0));
    let lifetime = policy.lifetime();
    let period = policy.due(now.plus(lifetime)).since(now);
    let detail = format!(
        "tokens live {}, and a new one is minted after {}; a run takes {} at most",
        written(lifetime),
        written(period),
        written(policy.longest_run())
    );
    Check::ok("windows", detail)
}

fn revoke(config: &Config) -> Check {
    if config.revoke {
        return Check::ok("revoke", "orphans and expired tokens of ours are deleted");
    }
    Check::warning(
        "revoke",
        "revoke = false: orphans live until they end, and Conjur keeps expired tokens for ever",
        "permit the rotator's role update on the factories, and set revoke = true",
    )
}

/// What a question gives; one that takes too long fails as transient.
async fn asked<T>(question: impl Future<Output = Result<T, effects::Error>>) -> Result<T, Trouble> {
    match tokio::time::timeout(ONE, question).await {
        Ok(answer) => answer.map_err(Trouble::Effect),
        Err(_) => Err(Trouble::Late),
    }
}

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
enum Trouble {
    #[error(transparent)]
    Effect(effects::Error),
    #[error("no answer within {}", written(ONE))]
    Late,
}

impl Classified for Trouble {
    fn class(&self) -> Class {
        match self {
            Self::Effect(error) => error.class(),
            Self::Late => Class::Transient,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Effect(error) => error.hint(),
            Self::Late => Some("check route, security groups and proxy between this machine and that server"),
        }
    }
}

/// Some of many names, for one line.
fn some(names: &[&str]) -> String {
    let more = names.len().saturating_sub(5);
    let shown = names.iter().take(5).copied().collect::<Vec<_>>().join(", ");
    if more == 0 { shown } else { format!("{shown} and {more} more") }
}

/// Conjur's two servers.
pub struct Real<'a> {
    config: &'a Config,
    trust: Trust,
    /// `None` where it needs AWS, and no region is known.
    login: Option<login::Real>,
    leader: Conjur,
    appliance: Conjur,
    caller: Caller,
}

impl<'a> Real<'a> {
    /// The clients of a configuration. Nothing is sent yet.
    ///
    /// # Errors
    /// When one cannot be made.
    pub async fn new(config: &'a Config, caller: &Caller) -> Result<Self, effects::Error> {
        let trust = config.ca.clone().map_or(Trust::Public, Trust::Only);
        let client = |url: &ApplianceUrl| {
            let door = Door::to(url, &trust)?;
            Ok::<_, door::Error>(Conjur::new(door, url.clone(), config.account.clone(), caller.clone()))
        };
        let (leader, appliance) = (client(&config.leader_url)?, client(&config.appliance_url)?);
        let login = login::Real::alone(config, leader.clone(), caller).await.ok();
        Ok(Self { config, trust, login, leader, appliance, caller: caller.clone() })
    }

    const fn url(&self, at: At) -> &ApplianceUrl {
        match at {
            At::Appliance => &self.config.appliance_url,
            At::Leader => &self.config.leader_url,
        }
    }
}

impl Effects for Real<'_> {
    async fn authenticate(&self) -> Result<AccessToken, effects::Error> {
        match &self.login {
            Some(login) => login::log_in(self.config, login).await,
            None => Err(imprint_core::aws::Error::NoRegion.into()),
        }
    }

    async fn list_factories(&self, with: &AccessToken) -> Result<Vec<Listed>, effects::Error> {
        let ours: BTreeSet<&FactoryId> = self.config.factories.iter().map(|factory| &factory.id).collect();
        Ok(self.leader.list_factories(with, |id| ours.contains(id)).await?)
    }

    async fn show_factory(
        &self,
        with: &AccessToken,
        id: &FactoryId,
    ) -> Result<Option<Listed>, effects::Error> {
        Ok(self.leader.factory(with, id).await?)
    }

    async fn may(
        &self,
        with: &AccessToken,
        privilege: &str,
        factory: &FactoryId,
    ) -> Result<bool, effects::Error> {
        Ok(self.leader.may(with, privilege, "host_factory", factory.as_str()).await?)
    }

    async fn whoami(&self, with: &AccessToken) -> Result<Whoami, effects::Error> {
        Ok(self.leader.whoami(with).await?)
    }

    async fn health(&self, at: At) -> Result<Option<Health>, effects::Error> {
        let conjur = match at {
            At::Appliance => &self.appliance,
            At::Leader => &self.leader,
        };
        Ok(conjur.health().await?)
    }

    async fn date(&self, at: At) -> Option<Second> {
        Door::to(self.url(at), &self.trust).ok()?.date(self.url(at), &self.caller).await
    }

    async fn certificate_end(&self, at: At) -> Option<Second> {
        door::certificate_end(self.url(at), &self.trust, &self.caller).await.ok()?
    }
}

#[cfg(test)]
mod tests;
