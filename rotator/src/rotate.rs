//! A run: log in, list once, then each factory by itself, several at a time.
//!
//! One factory's failure never stops the others. The story of one factory is in `factory`, the
//! put and the read back in `publish`, what is deleted afterwards in `sweep`, the end of an incident
//! in `incident`, whose turn it is in `turns`, the shared login in [`crate::session`], what comes out in `report`.

mod factory;
mod incident;
mod publish;
mod report;
mod sweep;
mod turns;

pub use report::{Counts, Done, Offered, Outcome, Report, Swept, hints, worst};

use crate::config::{Config, Factory};
use crate::effects::{self, Effects};
use crate::plan::Why;
use crate::progress;
use crate::session::{Kept, Session, is_transient};
use futures_util::{StreamExt as _, stream};
use imprint_core::caller::RunId;
use imprint_core::error::{Class, Classified};
use imprint_core::name::FactoryId;
use imprint_core::retry::Retry;
use imprint_core::sealed;
use imprint_core::token::{AccessToken, Fingerprint};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::Duration;
use turns::Tokens;

/// From the mint to the end of the put, when each call takes as long as its client allows: 30 s at
/// Conjur, 20 s each at KMS and S3. A run that is ended from outside begins no factory and repeats no
/// call with less than this left, or a token could be minted and neither published nor revoked.
pub const LEAST: Duration = Duration::from_secs(30 + 20 + 20);

/// What a run is asked for.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Ask {
    /// New tokens, whether due or not.
    pub now: bool,
    /// Revoke all older tokens once the new ones are published and read back.
    pub revoke_superseded: bool,
    /// Only these of the configured factories; all when empty.
    pub factories: Vec<FactoryId>,
}

/// Why a run, or one factory's part of it, failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A call failed.
    #[error(transparent)]
    Effect(#[from] effects::Error),
    /// Something is published, and this role may not read it.
    #[error("{key} is there, but S3 does not let it be read")]
    Hidden {
        /// The factory.
        factory: FactoryId,
        /// The object.
        key: String,
    },
    /// An incident's new token is not surely what agents find.
    #[error("no older token was revoked, since {why}")]
    InDoubt {
        /// The factory.
        factory: FactoryId,
        /// What is not sure.
        why: &'static str,
    },
    /// A lost race, whose token could not be revoked.
    #[error("another run published first, and token {fingerprint}, which nobody needs, lives on")]
    LivesOn {
        /// The factory.
        factory: FactoryId,
        /// The token.
        fingerprint: Fingerprint,
        /// Why it was not revoked.
        #[source]
        source: Box<Error>,
    },
    /// The configuration does not let it revoke.
    #[error("nothing was done, since the configuration says revoke = false")]
    MayNotRevoke,
    /// The factory's tokens are minted elsewhere, and another is needed.
    #[error("a token that is minted elsewhere is needed, since {}", why.meaning())]
    NotGiven {
        /// The factory.
        factory: FactoryId,
        /// Why.
        why: Why,
    },
    /// Too little of the run was left.
    #[error("not begun, since less than {} s of the run are left", LEAST.as_secs())]
    NoTime {
        /// The factory.
        factory: FactoryId,
    },
    /// What lies in S3 after a good put is not what was put.
    #[error("what was published does not read back: {why}")]
    ReadBack {
        /// The factory.
        factory: FactoryId,
        /// What is different.
        why: &'static str,
    },
    /// The binding cannot be sealed.
    #[error("no sealed token can be made")]
    Seal {
        /// The factory.
        factory: FactoryId,
        /// Why.
        #[source]
        source: sealed::Error,
    },
    /// An incident's older tokens could not all be revoked.
    #[error("{}, but {}", now(fingerprint.as_ref()), if *.left == 1 { "1 older one lives on".to_owned() } else { format!("{left} older ones live on") })]
    StillLive {
        /// The factory.
        factory: FactoryId,
        /// The new token; `None` where none is shared.
        fingerprint: Option<Fingerprint>,
        /// How many.
        left: usize,
        /// Why the last of them was not revoked; `None` when the time was over.
        #[source]
        source: Option<Box<effects::Error>>,
    },
    /// The process was held up between mint and put.
    #[error("token {fingerprint} was not published, since its mint is too long ago")]
    TooLate {
        /// The factory.
        factory: FactoryId,
        /// The token.
        fingerprint: Fingerprint,
    },
    /// Factories are asked for that the configuration does not have.
    #[error("not in the configuration: {0}")]
    Unknown(String),
    /// A put without a plain answer: it may have been carried out, or be carried out later.
    #[error("token {fingerprint} may be published yet, so it was left alive, an orphan of unknown fate")]
    UnknownFate {
        /// The factory.
        factory: FactoryId,
        /// The token.
        fingerprint: Fingerprint,
        /// How the last attempt ended.
        #[source]
        source: Box<Error>,
    },
    /// S3 refuses to read the object, which it does whether there is one or not when the role may not
    /// list the bucket.
    #[error("S3 does not let {key} be read, so it may be there or not")]
    Untold {
        /// The factory.
        factory: FactoryId,
        /// The object.
        key: String,
    },
    /// Conjur does not list the factory.
    #[error("{login} sees no such host factory")]
    Unseen {
        /// The factory.
        factory: FactoryId,
        /// The rotator's login.
        login: String,
    },
}

/// What agents find after an incident.
fn now(published: Option<&Fingerprint>) -> String {
    published.map_or_else(
        || "no token is shared any more".to_owned(),
        |fingerprint| format!("token {fingerprint} is published"),
    )
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Effect(error) => error.class(),
            Self::LivesOn { source, .. } => source.class(),
            Self::StillLive { source: Some(source), .. } => source.class(),
            Self::InDoubt { .. }
            | Self::NoTime { .. }
            | Self::StillLive { source: None, .. }
            | Self::TooLate { .. }
            | Self::UnknownFate { .. } => Class::Transient,
            Self::NotGiven { why, .. } => match why {
                Why::Tampered | Why::Unreadable => Class::Tampered,
                Why::Asked | Why::Changed | Why::Due | Why::Expired | Why::Nothing | Why::Unlisted => {
                    Class::Absent
                }
            },
            Self::ReadBack { .. } => Class::Tampered,
            Self::MayNotRevoke | Self::Seal { .. } => Class::Config,
            Self::Unknown(_) => Class::Usage,
            Self::Hidden { .. } | Self::Unseen { .. } | Self::Untold { .. } => Class::Refused,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Effect(error) => error.hint(),
            Self::LivesOn { source, .. } => source.hint(),
            Self::Hidden { .. } | Self::Untold { .. } => {
                Some("allow the rotator's role s3:GetObject on factories/* and s3:ListBucket on the bucket")
            }
            Self::InDoubt { .. } => Some("run the same command again"),
            Self::MayNotRevoke => {
                Some("permit the rotator's role update on the factories, and set revoke = true")
            }
            Self::StillLive { source: Some(source), .. } => source.hint(),
            Self::StillLive { source: None, .. } => Some("run the same command again"),
            Self::NotGiven { .. } => Some("mint one elsewhere, and give it to imprint-rotator publish"),
            Self::NoTime { .. } => Some("give the function a longer time-out, or raise concurrency"),
            Self::ReadBack { .. } => Some(
                "something other than the rotator writes into the bucket: see who may put; the next run replaces the token",
            ),
            Self::Seal { source, .. } => source.hint(),
            Self::TooLate { .. } => Some("the next run mints a new one"),
            Self::Unknown(_) => {
                Some("compare with the [[factory]] sections; ids have no account and no kind")
            }
            Self::UnknownFate { .. } => Some(
                "the next run keeps the token if it is published by then, or else mints another; a later one revokes this",
            ),
            Self::Unseen { .. } => {
                Some("load the host factory's policy, and permit the rotator execute and update on it")
            }
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        if let Self::Effect(error) = self { error.retry_after() } else { None }
    }
}

/// One run of the rotator: what all its factories share.
pub struct Run<'a> {
    config: &'a Config,
    ask: &'a Ask,
    id: RunId,
    retry: Retry,
    kept: Kept,
    /// Whether it is ended from outside, wherever it is.
    ends: bool,
    random: RefCell<fastrand::Rng>,
}

impl<'a> Run<'a> {
    /// A run that repeats calls until the configuration's longest run is over. `id`: its name in bindings and
    /// logs, and at the servers that it asks. `within`: when it is ended from outside, as a Lambda's
    /// invocation is; a command is not.
    #[must_use]
    pub fn new(
        config: &'a Config,
        ask: &'a Ask,
        id: &RunId,
        within: Option<Duration>,
        mut random: fastrand::Rng,
    ) -> Self {
        let repeats = 10 + 2 * u32::try_from(config.factories.len()).unwrap_or(u32::MAX / 4);
        let ends = within.is_some();
        let longest = config.policy.longest_run();
        let within = within.map_or(longest, |within| within.saturating_sub(LEAST).min(longest));
        let retry = Retry::with_random(within, repeats, random.fork());
        let kept = Kept::default();
        Self { config, ask, id: id.clone(), retry, kept, ends, random: RefCell::new(random) }
    }

    /// The same with the login of earlier runs, and for later ones: of this configuration alone.
    #[must_use]
    pub fn keeping(self, kept: &Kept) -> Self {
        Self { kept: kept.clone(), ..self }
    }

    /// Rotates what is due.
    ///
    /// # Errors
    /// When nothing could be done for any factory: unknown factories, no login, no list. What
    /// happened to single factories is in the report.
    pub async fn rotate(&self, on: &impl Effects) -> Result<Report, Error> {
        let chosen = chosen(self.config, &self.ask.factories)?;
        if self.ask.revoke_superseded && !self.config.revoke {
            return Err(Error::MayNotRevoke);
        }
        let session = Session::open(on, &self.retry, &self.kept).await?;
        let listed = list(on, &session, &self.retry).await?;
        let turns = turns::by_urgency(chosen.clone(), &listed, self.config.deployment, on.now());
        let (waiting, done) = (Cell::new(turns.len()), Cell::new(0_usize));
        let part = |factory, retry| factory::Part { run: self, on, session: &session, factory, retry };
        let outcomes: Vec<Outcome> = stream::iter(turns)
            .map(async |factory| {
                // Its share is counted when its turn has come.
                let retry = self.retry.part(self.share(waiting.replace(waiting.get() - 1)));
                let outcome = part(factory, retry).rotate(listed.get(&factory.id).map(Vec::as_slice)).await;
                outcome.log(self.id.as_str());
                done.set(done.get() + 1);
                log::trace!(target: progress::TARGET, done = done.get(), of = chosen.len(); "factories");
                outcome
            })
            .buffer_unordered(self.config.concurrency)
            .collect()
            .await;
        let mut outcomes: BTreeMap<_, _> =
            outcomes.into_iter().map(|outcome| (outcome.factory.clone(), outcome)).collect();
        let mut factories: Vec<Outcome> =
            chosen.iter().filter_map(|factory| outcomes.remove(&factory.id)).collect();
        if self.ask.revoke_superseded {
            let retry = || self.retry.part(self.share(chosen.len()));
            let parts = chosen.iter().map(|factory| part(factory, retry())).collect();
            factories = incident::revoke_superseded(&session, parts, factories).await;
        }
        Ok(Report { rotation_id: self.id.to_string(), factories })
    }

    /// How long one of so many factories may repeat what fails.
    fn share(&self, waiting: usize) -> Duration {
        turns::share(self.retry.remaining(), self.config.concurrency, waiting)
    }

    /// Whether there is no time to mint, seal and publish any more.
    fn is_over(&self) -> bool {
        self.ends && self.retry.remaining().is_zero()
    }
}

/// These of the configured factories, in the configuration's order; all when none is named.
///
/// # Errors
/// When the configuration does not have all of them.
pub(crate) fn chosen<'a>(config: &'a Config, ids: &[FactoryId]) -> Result<Vec<&'a Factory>, Error> {
    let known = |id: &FactoryId| config.factories.iter().any(|factory| factory.id == *id);
    let unknown: Vec<&str> = ids.iter().filter(|id| !known(id)).map(FactoryId::as_str).collect();
    if !unknown.is_empty() {
        return Err(Error::Unknown(unknown.join(", ")));
    }
    let wanted = |factory: &&Factory| ids.is_empty() || ids.contains(&factory.id);
    Ok(config.factories.iter().filter(wanted).collect())
}

/// The configuration's factories as Conjur lists them: reading is neutral.
async fn list<E: Effects>(on: &E, session: &Session<'_, E>, retry: &Retry) -> Result<Tokens, effects::Error> {
    let call = async |with: &AccessToken| on.list_factories(with).await;
    let listed = session.with(retry, "list host factories", is_transient, call).await?;
    Ok(listed.into_iter().map(|factory| (factory.id, factory.tokens)).collect())
}

#[cfg(test)]
mod tests;
