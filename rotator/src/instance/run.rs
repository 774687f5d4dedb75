//! A run: log in, ask EC2 for all instances at once, then each of them by itself, several at a time.

use super::effects::Effects;
use super::judge::{Judge, Purpose};
use super::mint::Part;
use super::plan::{Seen, expired};
use super::report::{Done, Outcome, Report};
use crate::config::{Config, Factory};
use crate::effects;
use crate::fleet::host::Place;
use crate::rotate::{self, chosen};
use crate::session::{Kept, Session, is_transient};
use futures_util::{StreamExt as _, stream};
use imprint_core::aws::ec2::{Filter, Instance, Life, MOST_VALUES};
use imprint_core::caller::RunId;
use imprint_core::conjur::Minted;
use imprint_core::error::{Class, Classified, chain};
use imprint_core::name::{FactoryId, HostId, InstanceId};
use imprint_core::retry::Retry;
use imprint_core::sealed;
use imprint_core::token::AccessToken;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a run is asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ask {
    /// For these instances.
    pub instances: Vec<InstanceId>,
    /// Tokens of these of the configured factories; of all that the rules allow when empty.
    pub factories: Vec<FactoryId>,
}

/// Why a run, or one instance's part of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call failed.
    #[error(transparent)]
    Effect(#[from] effects::Error),
    /// EC2 shows no address of it, or not yet.
    #[error("EC2 shows no address of {0} yet")]
    NoAddress(InstanceId),
    /// The factory's tokens could be used from anywhere.
    #[error("{0} has no cidr, so a token for one instance could be used from anywhere")]
    NoNetwork(FactoryId),
    /// Nobody says from which factory's hosts to promote.
    #[error("no rule says from which factory's hosts to promote")]
    FromNowhere,
    /// The promoted host can have no id.
    #[error("the promoted hosts of {factory} can have no id")]
    NoId {
        /// The factory.
        factory: FactoryId,
        /// Why.
        #[source]
        source: imprint_core::name::Error,
    },
    /// It has no host to be promoted from, or not yet.
    #[error("{instance} has no host of {factory} to be promoted from")]
    NotEnrolled {
        /// The instance.
        instance: InstanceId,
        /// The factory to promote from.
        factory: FactoryId,
    },
    /// A host that was deleted is still listed.
    #[error("the old host of {instance}, {host}, was deleted and is still there")]
    StillThere {
        /// The instance.
        instance: InstanceId,
        /// The host.
        host: HostId,
    },
    /// The rules say no.
    #[error("{instance} gets no token of {factory}: {why}")]
    NotAllowed {
        /// The instance.
        instance: InstanceId,
        /// The factory.
        factory: FactoryId,
        /// What the rules say.
        why: String,
    },
    /// EC2 does not know it, or not yet.
    #[error("EC2 does not know {0} yet")]
    NotKnown(InstanceId),
    /// The factory's tokens are minted elsewhere.
    #[error("nothing is minted for {0}, since its section says mint = false")]
    NotMinted(FactoryId),
    /// It does not need a token.
    #[error("{instance} is {life}")]
    NotRunning {
        /// The instance.
        instance: InstanceId,
        /// What EC2 says.
        life: Life,
    },
    /// A call that all of them wait for failed.
    #[error("{why}")]
    Shared {
        /// Who must act.
        class: Class,
        /// What failed, and why.
        why: String,
        /// What to do.
        hint: Option<&'static str>,
    },
    /// Too little of the run was left.
    #[error("not begun, since the time of the run is over")]
    NoTime {
        /// The instance.
        instance: InstanceId,
    },
    /// What lies in S3 after a good put is not what was put.
    #[error("what was published for {instance} does not read back: {why}")]
    ReadBack {
        /// The instance.
        instance: InstanceId,
        /// What is different.
        why: &'static str,
    },
    /// The binding cannot be sealed.
    #[error("no sealed token can be made for {instance}")]
    Seal {
        /// The instance.
        instance: InstanceId,
        /// Why.
        #[source]
        source: sealed::Error,
    },
    /// Factories are asked for that the configuration does not have.
    #[error(transparent)]
    Unknown(rotate::Error),
    /// The factory is gone, or no privilege on it.
    #[error("{login} sees no host factory {factory}")]
    Unseen {
        /// The factory.
        factory: FactoryId,
        /// Who asked.
        login: String,
    },
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Effect(error) => error.class(),
            Self::NoAddress(_) | Self::NotKnown(_) | Self::NoTime { .. } => Class::Transient,
            Self::NoId { .. } | Self::NoNetwork(_) | Self::NotMinted(_) | Self::Seal { .. } => Class::Config,
            Self::FromNowhere => Class::Usage,
            Self::NotAllowed { .. } | Self::StillThere { .. } | Self::Unseen { .. } => Class::Refused,
            Self::NotEnrolled { .. } | Self::NotRunning { .. } => Class::Absent,
            Self::ReadBack { .. } => Class::Tampered,
            Self::Shared { class, .. } => *class,
            Self::Unknown(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Effect(error) => error.hint(),
            Self::NoAddress(_) | Self::NotKnown(_) => Some(
                "it shows an instance some moments after its launch: run it again; if it stays away, see whether region and role are those of the instance",
            ),
            Self::NoNetwork(_) => Some(
                "give the factory a cidr, set [instances] cidr = \"private-ip\" where Conjur sees the instances' own addresses, or any_address = true",
            ),
            Self::NotAllowed { .. } => {
                Some("change the rules, or ask for one factory with --without-rule, which the report tells")
            }
            Self::NotMinted(_) => Some("imprint-rotator publish is for such a factory"),
            Self::NotRunning { .. } => Some("only pending and running instances get tokens"),
            Self::FromNowhere => Some("write a rule with promote_from, or give --to and --from"),
            Self::NoId { .. } => Some("give the factory a shorter hosts_branch"),
            Self::NotEnrolled { .. } => Some(
                "an instance is promoted once it has enrolled; see imprint status on it, and the factory's layer",
            ),
            Self::StillThere { .. } => {
                Some("see whether hosts_branch is the branch that it lies under, and who may update it")
            }
            Self::NoTime { .. } => Some("give the function a longer time-out, or smaller batches"),
            Self::ReadBack { .. } => Some("see who else may put under instances/ in the bucket"),
            Self::Seal { source, .. } => source.hint(),
            Self::Shared { hint, .. } => *hint,
            Self::Unknown(error) => error.hint(),
            Self::Unseen { .. } => {
                Some("permit this login execute on the host factory (imprint-rotator policy prints it)")
            }
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        if let Self::Effect(error) = self { error.retry_after() } else { None }
    }
}

impl Error {
    /// Of a call for many, as each of them is told.
    fn shared(error: &(impl Classified + 'static)) -> Self {
        Self::Shared { class: error.class(), why: chain(error), hint: error.hint() }
    }
}

/// One run: what all its instances share.
pub struct Run<'a, E> {
    pub(super) config: &'a Config,
    pub(super) judge: Judge<'a>,
    pub(super) id: &'a RunId,
    pub(super) on: &'a E,
    pub(super) retry: &'a Retry,
    pub(super) session: Session<'a, E>,
    pub(super) place: Place,
}

impl<'a, E: Effects> Run<'a, E> {
    /// Logs in, and learns for which instances this login at AWS speaks.
    ///
    /// # Errors
    /// When neither can be done, so that nothing can be.
    pub async fn open(
        config: &'a Config,
        judge: Judge<'a>,
        id: &'a RunId,
        on: &'a E,
        retry: &'a Retry,
    ) -> Result<Self, Error> {
        let place = retry.run("sts:GetCallerIdentity", is_transient, async || on.place().await).await?;
        let session = Session::open(on, retry, &Kept::default()).await?;
        Ok(Self { config, judge, id, on, retry, session, place })
    }

    /// Sees to it that each instance has a good token of each factory that is for it. One's failure does not stop
    /// the others. Where no factory is named, what the rules do not allow is no failure.
    ///
    /// # Errors
    /// When factories are asked for that are not configured.
    pub async fn mint(&self, ask: &Ask) -> Result<Report, Error> {
        let factories = chosen(self.config, &ask.factories).map_err(Error::Unknown)?;
        let is_named = !ask.factories.is_empty();
        let known = self.describe(&ask.instances).await;
        let mut outcomes = Vec::new();
        for id in &ask.instances {
            match &known {
                Ok(known) if known.contains_key(id) => {}
                Ok(_) => outcomes.push(Outcome::early(id, None, Err(Error::NotKnown(id.clone())))),
                // Each of them comes again.
                Err(error) => {
                    outcomes.push(Outcome::early(id, None, Err(Error::shared(error))));
                }
            }
        }
        for factory in factories {
            let mut parts = Vec::new();
            for instance in known.iter().flat_map(BTreeMap::values) {
                match Part::of(self, Purpose::Birth, factory, instance) {
                    Ok(part) => parts.push(part),
                    Err(Error::NotAllowed { .. } | Error::NotMinted(_) | Error::NotRunning { .. })
                        if !is_named => {}
                    Err(error) => outcomes.push(Outcome::early(&instance.id, Some(&factory.id), Err(error))),
                }
            }
            if !parts.is_empty() {
                outcomes.extend(self.of_factory(factory, parts).await);
            }
        }
        for id in &ask.instances {
            if !outcomes.iter().any(|outcome| outcome.instance.as_ref() == Some(id)) {
                outcomes.push(Outcome::early(id, None, Ok(Done::Nothing)));
            }
        }
        outcomes.sort_by(|one, other| (&one.instance, &one.factory).cmp(&(&other.instance, &other.factory)));
        outcomes.iter().for_each(Outcome::log);
        Ok(Report { rotation_id: self.id.to_string(), dry_run: false, instances: outcomes })
    }

    pub(super) async fn of_factory(
        &self,
        factory: &Factory,
        parts: Vec<(Part<'_, E>, String)>,
    ) -> Vec<Outcome> {
        let tokens = match self.tokens(factory).await {
            Ok(tokens) => tokens,
            Err(error) => {
                let failed = |part: &Part<'_, E>| {
                    Outcome::early(&part.instance.id, Some(&factory.id), Err(Error::shared(&error)))
                };
                return parts.iter().map(|(part, _)| failed(part)).collect();
            }
        };
        let most = 2 * parts.len() + 10;
        let outcomes = stream::iter(parts)
            .map(async |(part, rule)| {
                let result = part.serve(&tokens, rule).await;
                let notes = part.notes.take();
                Outcome {
                    instance: Some(part.instance.id.clone()),
                    factory: Some(factory.id.clone()),
                    result,
                    notes,
                    squatted: false,
                }
            })
            .buffer_unordered(self.config.concurrency)
            .collect()
            .await;
        self.tidy(factory, &tokens, most).await;
        outcomes
    }

    /// The factory's tokens: reading is neutral.
    pub(super) async fn tokens(&self, factory: &Factory) -> Result<Vec<Minted>, Error> {
        let call = async |with: &AccessToken| self.on.show_factory(with, &factory.id).await;
        let shown = self.session.with(self.retry, "show host factory", is_transient, call).await?;
        let unseen = || Error::Unseen { factory: factory.id.clone(), login: self.config.login.clone() };
        Ok(shown.ok_or_else(unseen)?.tokens)
    }

    /// Deletes expired tokens for instances, where it may: at least as many as there are new ones. No failure here
    /// is one of the mint.
    async fn tidy(&self, factory: &Factory, tokens: &[Minted], most: usize) {
        if !self.config.revoke {
            return;
        }
        let seen: Vec<Seen> = tokens.iter().map(Seen::of).collect();
        for name in expired(&seen, self.config.deployment, self.on.now()).into_iter().take(most) {
            let token = tokens.iter().find(|token| token.token.fingerprint() == name);
            let Some(token) = token.filter(|_| !self.is_over()) else { return };
            let call = async |with: &AccessToken| self.on.revoke(with, &token.token).await;
            // Deleting what is deleted is well.
            if let Err(error) = self.session.with(self.retry, "delete a token", is_transient, call).await {
                log::warn!("{}: expired token {name} was not deleted: {}", factory.id, chain(&error));
                return;
            }
        }
    }

    /// Those of these instances that EC2 knows, and that are of the account that is asked.
    pub(super) async fn describe(
        &self,
        ids: &[InstanceId],
    ) -> Result<BTreeMap<InstanceId, Instance>, effects::Error> {
        let mut known = BTreeMap::new();
        for some in ids.chunks(MOST_VALUES) {
            let filters = [Filter::ids(some)];
            let found =
                self.again("ec2:DescribeInstances", async || self.on.describe(&filters).await).await?;
            let ours = |one: &Instance| some.contains(&one.id) && one.account_id == self.place.account_id;
            known.extend(found.into_iter().filter(ours).map(|instance| (instance.id.clone(), instance)));
        }
        Ok(known)
    }

    /// A call that changes nothing, as often as the run allows.
    pub(super) async fn again<T>(
        &self,
        what: &str,
        call: impl AsyncFnMut() -> Result<T, effects::Error>,
    ) -> Result<T, effects::Error> {
        self.retry.run(what, is_transient, call).await
    }

    /// A call to Conjur that may be repeated without harm.
    pub(super) async fn with<T>(
        &self,
        what: &str,
        call: impl AsyncFnMut(&AccessToken) -> Result<T, effects::Error>,
    ) -> Result<T, effects::Error> {
        self.session.with(self.retry, what, is_transient, call).await
    }

    /// Whether nothing should be begun any more.
    pub(super) fn is_over(&self) -> bool {
        self.retry.remaining().is_zero()
    }
}

#[cfg(test)]
mod tests;
