//! A run over the fleet: log in, then each factory by itself, one after the other, since they load policy
//! and Conjur takes one load at a time.

use super::effects::Effects;
use super::host::Place;
use super::report::{Outcome, Report};
use super::rules::Verdict;
use crate::config::{Config, Factory, Fleet};
use crate::effects;
use crate::rotate::{self, chosen};
use crate::session::{Kept, Session, is_transient};
use imprint_core::aws::ec2::Instance;
use imprint_core::error::{Class, Classified};
use imprint_core::name::{FactoryId, HostId, InstanceId, LayerId};
use imprint_core::retry::Retry;
use imprint_core::second::Second;
use imprint_core::token::AccessToken;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::time::Duration;

/// What to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Deed {
    /// Remove hosts whose instances are gone.
    Decommission,
    /// Tie hosts to their instances' addresses.
    Pin,
}

/// What a run is asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ask {
    /// Only these of the configured factories; all when empty.
    pub factories: Vec<FactoryId>,
    /// Only the hosts of these instances; all when empty.
    pub instances: Vec<InstanceId>,
    /// Look and decide, and change nothing.
    pub dry_run: bool,
    /// Believe EC2 also when it knows not one of many instances.
    pub even_all: bool,
}

/// Why a run, or one factory's part of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call failed.
    #[error(transparent)]
    Effect(#[from] effects::Error),
    /// A host was removed in the very moment in which it was to be pinned, and Conjur made one of that name.
    #[error("{} did not exist any more, so Conjur made it anew, {}", list(.hosts), if .source.is_some() { "and it could not be deleted" } else { "and it was deleted at once" })]
    Made {
        /// The factory.
        factory: FactoryId,
        /// The hosts.
        hosts: Vec<HostId>,
        /// Why they live on, if they do.
        #[source]
        source: Option<Box<effects::Error>>,
    },
    /// Hosts are not known on which it depends what is to be seen of others.
    #[error("the hosts of {other} are not known, so nobody can tell who should have one here")]
    Beside {
        /// The factory.
        factory: FactoryId,
        /// The factory that rules promote to or from.
        other: FactoryId,
        /// Why that one was not seen.
        class: Class,
    },
    /// The configuration names no rules file.
    #[error("the configuration names no rules, so nobody may have anything")]
    NoRules,
    /// No factory's hosts are to be pinned.
    #[error("no [[factory]] section and no rule says pin = true, and none was named")]
    NonePins,
    /// EC2 and STS speak of different accounts.
    #[error(
        "EC2 tells of instances of another AWS account than {asked}, which STS says is this one's, so nobody was judged"
    )]
    OtherAccount {
        /// The account of the credentials.
        asked: String,
    },
    /// The time of the run is over.
    #[error("not begun, since the time of the run is over")]
    NoTime {
        /// The factory.
        factory: FactoryId,
    },
    /// Hosts that were deleted are still listed.
    #[error("{} were deleted and are still there", list(.hosts))]
    StillThere {
        /// The factory.
        factory: FactoryId,
        /// The hosts.
        hosts: Vec<HostId>,
    },
    /// A layer cannot be listed.
    #[error("{login} sees no layer {layer}")]
    Unseen {
        /// The factory.
        factory: FactoryId,
        /// Its layer.
        layer: LayerId,
        /// Who asked.
        login: String,
    },
    /// S3 refuses to read the object, which it does whether there is one or not when the role may not list
    /// the bucket.
    #[error("S3 does not let {key} be read, so it may be there or not")]
    Untold {
        /// The factory.
        factory: FactoryId,
        /// The object.
        key: String,
    },
    /// Factories are asked for that the configuration does not have.
    #[error(transparent)]
    Unknown(rotate::Error),
    /// EC2 knows not one instance.
    #[error("EC2 knows not one of the {hosts} instances that have hosts here, so none was removed")]
    Unlikely {
        /// The factory.
        factory: FactoryId,
        /// How many.
        hosts: usize,
    },
}

/// The first few, and how many more.
fn list(hosts: &[HostId]) -> String {
    let first: Vec<&str> = hosts.iter().take(3).map(HostId::as_str).collect();
    let more = hosts.len() - first.len();
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", first.join(", "))
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Beside { class, .. } => *class,
            Self::Effect(error) => error.class(),
            Self::Made { source: Some(source), .. } => source.class(),
            Self::Made { source: None, .. } | Self::NoTime { .. } => Class::Transient,
            Self::StillThere { .. } | Self::Unlikely { .. } | Self::Unseen { .. } | Self::Untold { .. } => {
                Class::Refused
            }
            Self::NonePins => Class::Usage,
            Self::NoRules | Self::OtherAccount { .. } => Class::Config,
            Self::Unknown(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Beside { .. } => {
                Some("mend what is wrong with the other factory, which rules promote to or from")
            }
            Self::Effect(error) => error.hint(),
            Self::Made { source: Some(_), .. } => {
                Some("delete these hosts: a PATCH of the hosts branch with !delete; nobody knows their keys")
            }
            Self::Made { source: None, .. } => Some("nothing is left to do; the next run pins the others"),
            Self::StillThere { .. } => {
                Some("see whether hosts_branch is the branch that they lie under, and who may update it")
            }
            Self::OtherAccount { .. } => {
                Some("see whether AWS_ENDPOINT_URL_EC2 or AWS_ENDPOINT_URL_STS leads elsewhere")
            }
            Self::NoRules => {
                Some("write them as rules.toml explains, and name the file as [fleet] rules_file")
            }
            Self::NoTime { .. } => Some("give the function a longer time-out"),
            Self::NonePins => Some(
                "name one with --factory, or set pin = true where Conjur sees the addresses of the instances",
            ),
            Self::Unknown(error) => error.hint(),
            Self::Unseen { .. } => Some(
                "set layer in the [[factory]] section, and permit this login read on the layer (imprint-rotator policy prints it)",
            ),
            Self::Untold { .. } => Some(
                "allow the role s3:GetObject and s3:PutObject on fleet/*, and s3:ListBucket on the bucket",
            ),
            Self::Unlikely { .. } => Some(
                "see whether region and role are those of the instances; if all of them are really gone, run it with --even-all",
            ),
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        if let Self::Effect(error) = self { error.retry_after() } else { None }
    }
}

/// One run: what all its factories share.
pub struct Run<'a, E> {
    pub(super) config: &'a Config,
    pub(super) limits: &'a Fleet,
    pub(super) ask: &'a Ask,
    pub(super) on: &'a E,
    pub(super) session: Session<'a, E>,
    pub(super) place: Place,
    pub(super) retry: &'a Retry,
    /// Instances asked for that have a host, as far as factories were looked at.
    pub(super) found: RefCell<BTreeSet<InstanceId>>,
}

impl<'a, E: Effects> Run<'a, E> {
    /// Logs in, and learns for which instances this login at AWS speaks.
    ///
    /// # Errors
    /// When neither can be done, so that nothing can be.
    pub async fn open(config: &'a Config, ask: &'a Ask, on: &'a E, retry: &'a Retry) -> Result<Self, Error> {
        let place = retry.run("sts:GetCallerIdentity", is_transient, async || on.place().await).await?;
        let session = Session::open(on, retry, &Kept::default()).await?;
        let found = RefCell::default();
        Ok(Self { config, limits: &config.fleet, ask, on, session, place, retry, found })
    }

    /// Does it for each factory. One's failure does not stop the others. Pinning is for those that are asked
    /// for by name, and else for those whose configuration says `pin = true`, or a rule for some of their hosts.
    ///
    /// # Errors
    /// When factories are asked for that are not configured.
    pub async fn over_the_fleet(&self, deed: Deed) -> Result<Report, Error> {
        let mut factories = Vec::new();
        let where_it_is_said = deed == Deed::Pin && self.ask.factories.is_empty();
        if where_it_is_said && !self.config.factories.iter().any(|factory| self.pins(factory)) {
            return Err(Error::NonePins);
        }
        for factory in chosen(self.config, &self.ask.factories).map_err(Error::Unknown)? {
            if where_it_is_said && !self.pins(factory) {
                continue;
            }
            let outcome = match deed {
                _ if self.retry.remaining().is_zero() => {
                    let result = Err(Error::NoTime { factory: factory.id.clone() });
                    Outcome { factory: factory.id.clone(), result, notes: Vec::new() }
                }
                Deed::Decommission => self.decommission(factory).await,
                Deed::Pin => self.pin(factory).await,
            };
            outcome.log();
            factories.push(outcome);
        }
        // What was not looked at may have a host.
        let is_known = factories.iter().all(|outcome| outcome.result.is_ok());
        let found = self.found.take();
        let hostless = self.ask.instances.iter().filter(|id| is_known && !found.contains(id));
        let without_host = hostless.cloned().collect();
        Ok(Report { deed, dry_run: self.ask.dry_run, factories, without_host })
    }

    /// Whether any of a factory's hosts are to be pinned.
    fn pins(&self, factory: &Factory) -> bool {
        factory.pin || self.limits.rules.of(&factory.id).any(|rule| rule.pin)
    }

    /// The time by which hosts are judged: Conjur's, since what is remembered is of runs on other machines too, whose
    /// clocks may be off by minutes.
    pub(super) fn now(&self) -> Second {
        self.session.now_at_conjur()
    }

    /// What the rules of a factory say of an instance.
    pub(super) fn judge(&self, factory: &Factory, instance: &Instance) -> Verdict<'a> {
        self.limits.rules.judge(&factory.id, instance, &self.place, self.now())
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
}

#[cfg(test)]
mod tests;
