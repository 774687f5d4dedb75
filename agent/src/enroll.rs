//! The enrollment, from top to bottom: lock, facts, next step, write check, note, a try with what an
//! earlier run left, fetch, unseal, binding, redeem, reply, store, authenticate with the bytes on disk,
//! record.
//!
//! It may be started at any moment, any number of times, and killed at any point: the next run comes
//! to the same end. What may be asked of the world is [`Effects`], what is written goes through
//! [`Disk`]; both can be scripted.

mod adopt;
mod error;
mod prove;
mod redeem;
mod token;

pub use error::Error;

use crate::config::Config;
use crate::effects::{self, Effects};
use crate::facts::{self, Facts, InstanceId, Needs};
use crate::files;
use crate::journal::event;
use crate::lock::Lock;
use crate::state::{self, Failure, Found, MadeFor, Phase, State, Verified};
use crate::step::{self, Known, Step, Why};
use crate::store::{self, Disk};
use imprint_core::door::beside;
use imprint_core::name::HostId;
use imprint_core::retry::Retry;
use std::cell::Cell;
use std::collections::BTreeMap;
use tokio::sync::Notify;

/// Repeats of all calls of a run together. Pauses grow to 20 s, so the deadline usually comes first.
const REPEATS: u32 = 200;

/// How an enrollment ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The host has a new identity, and it was proved.
    Enrolled(HostId),
    /// The identity that was there is good.
    NothingToDo(String),
}

/// Enrolls this instance, or finds that there is nothing to do.
///
/// # Errors
/// See [`Error`]. Then there is either the old identity, or none, or a new one that was not proved
/// yet; never a part of one.
pub async fn enroll(config: &Config, on: &impl Effects, disk: &impl Disk) -> Result<Outcome, Error> {
    let run = Run {
        config,
        on,
        disk,
        retry: Retry::new(config.deadline, REPEATS),
        redeems: Cell::new(0),
        decided: Notify::new(),
    };
    let _lock = Lock::take(&config.files.state_dir, run.retry.remaining()).await?;
    let ahead = async {
        run.decided.notified().await;
        on.open_ahead().await;
    };
    let end = beside(ahead, run.under_lock()).await;
    if let Err(error) = &end {
        run.remember(error);
    }
    end
}

struct Run<'a, E, D> {
    config: &'a Config,
    on: &'a E,
    disk: &'a D,
    retry: Retry,
    /// Redeems that may have been carried out.
    redeems: Cell<u32>,
    /// Told once something is to be done, so that connections are opened ahead.
    decided: Notify,
}

impl<E: Effects, D: Disk> Run<'_, E, D> {
    async fn under_lock(&self) -> Result<Outcome, Error> {
        let wanted = made_for(self.config);
        let state = state::read(&self.config.files.state_dir)?;
        let identity = files::on_disk(self.config)?;
        let mut known = Known { here: None, wanted: &wanted, state: &state, identity: &identity };

        // Told without a request, mostly; the metadata service is asked only where it must be.
        let (here, mut facts) = match facts::here(self.config) {
            Some(here) => (here, None),
            None => match self.whereabouts(&known).await? {
                Some(facts) => (facts.instance_id.clone(), Some(facts)),
                None => return self.nothing_to_do(&state),
            },
        };
        known.here = Some(&here);
        let next = step::next_step(&known);
        match &next {
            Step::Nothing => return self.nothing_to_do(&state),
            Step::Refuse(refusal) => return Err(refusal.clone().into()),
            Step::Enroll(why) => {
                log::info!(target: "imprint", reason = why.as_str(); "enrolling {here}: {}", why.as_str())
            }
            Step::EnrollAsOneself { parent } => self.forget_parent(parent, &here)?,
        }
        self.decided.notify_one();

        let needs = self.needs();
        if facts.is_none() || needs != Needs::default() {
            facts = Some(self.facts(&needs).await?);
        }
        let facts = facts.filter(|facts| facts.instance_id == here).ok_or(Error::TwoInstances)?;
        let host = self.config.host_id.host_id(&facts)?;
        let annotations = self.annotations(&facts)?;
        step::check_host(&next, &host, &known)?;

        // From here on something is changed: first all that can be proved is.
        let proofs = files::prove_writable(self.disk, self.config)?;
        let mut note = State::enrolling(&here, &host, wanted.clone(), self.on.now());
        note.must_redeem = next == Step::Enroll(Why::ConfigChanged);
        if let Found::Good(before) = &state {
            note.token_issued_at = before.token_issued_at;
            note.must_redeem |= before.must_redeem && next == Step::Enroll(Why::Interrupted);
        }
        note.write(self.disk, &self.config.files.state_dir)?;
        proofs.into_iter().try_for_each(store::Writable::release)?;

        if !self.adopt(&next, &known, &host).await? {
            let used = self.until_it_authenticates(&host, &facts, &annotations, note.token_issued_at).await?;
            note.token = Some(used.fingerprint().to_string());
            note.token_issued_at = used.binding.map(|binding| binding.issued_at).or(note.token_issued_at);
        }
        note.must_redeem = false;
        note.phase = Phase::Enrolled;
        note.since = self.on.now();
        note.last_verify = Some(Verified { at: note.since, outcome: "ok".to_owned() });
        note.write(self.disk, &self.config.files.state_dir)?;
        log::info!(
            target: "imprint", MESSAGE_ID = event::ENROLLED, host_id = host.as_str(), instance_id = here.as_str(),
            token = note.token.as_deref().unwrap_or_default();
            "enrolled as {}", host.login()
        );
        Ok(Outcome::Enrolled(host))
    }

    /// The facts that tell which instance this is. `None`: nobody told, and an identity is there that
    /// a missing answer must not cost.
    async fn whereabouts(&self, known: &Known<'_>) -> Result<Option<Facts>, Error> {
        if !step::is_kept_without_an_answer(known) {
            return self.facts(&self.needs()).await.map(Some);
        }
        match self.on.facts(&Needs::default()).await {
            Ok(facts) => Ok(Some(facts)),
            Err(error) => {
                log::warn!(
                    target: "imprint", MESSAGE_ID = event::KEPT_WITHOUT_ANSWER;
                    "the identity is kept, though nobody tells which instance this is: {}",
                    imprint_core::error::chain(&error)
                );
                Ok(None)
            }
        }
    }

    /// Repeated: a read without effect, which often fails in an instance's first seconds.
    async fn facts(&self, needs: &Needs) -> Result<Facts, Error> {
        let facts = self
            .retry
            .run("instance metadata", effects::Error::may_pass, async || self.on.facts(needs).await);
        Ok(facts.await?)
    }

    fn needs(&self) -> Needs {
        self.config.annotations.values().fold(self.config.host_id.needs(), |needs, t| needs.and(t.needs()))
    }

    fn annotations(&self, facts: &Facts) -> Result<BTreeMap<String, String>, Error> {
        let expand = |(name, template): (&String, &crate::template::Template)| {
            Ok((name.clone(), template.annotation(facts)?))
        };
        self.config.annotations.iter().map(expand).collect()
    }

    /// The identity of a cloned image belongs to its parent: it goes, and no copy is kept.
    fn forget_parent(&self, parent: &str, here: &InstanceId) -> Result<(), Error> {
        files::remove(self.disk, self.config)?;
        log::warn!(
            target: "imprint", MESSAGE_ID = event::PARENTS_IDENTITY_REMOVED, parent, instance_id = here.as_str();
            "{here} was made from an image of {parent}: its identity is removed"
        );
        Ok(())
    }

    fn nothing_to_do(&self, state: &Found) -> Result<Outcome, Error> {
        files::restore(self.disk, self.config)?;
        if files::mend_access(self.disk, &self.config.files)? {
            let path = self.config.files.identity.path.display();
            log::warn!(target: "imprint", MESSAGE_ID = event::ACCESS_MENDED; "{path} had another owner, group or mode than it shall have: mended");
        }
        let host = match state {
            Found::Good(state) => state.host_id.clone(),
            Found::Missing | Found::Unreadable(_) => String::new(),
        };
        log::info!(target: "imprint", MESSAGE_ID = event::NOTHING_TO_DO, host_id = host.as_str(); "host/{host} is enrolled; nothing to do");
        Ok(Outcome::NothingToDo(host))
    }

    /// Notes a failure for `status`. The error itself is what counts: if the disk is what failed, this
    /// fails too.
    fn remember(&self, error: &Error) {
        if let Ok(Found::Good(mut state)) = state::read(&self.config.files.state_dir) {
            state.last_failure = Some(Failure::of(error, self.on.now()));
            let _told_already = state.write(self.disk, &self.config.files.state_dir);
        }
    }
}

/// What an identity of this configuration is made for.
#[must_use]
pub fn made_for(config: &Config) -> MadeFor {
    MadeFor {
        account: config.account.to_string(),
        appliance_url: config.appliance_url.to_string(),
        host_factory: config.host_factory.to_string(),
        host_id: config.host_id.as_str().to_owned(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
