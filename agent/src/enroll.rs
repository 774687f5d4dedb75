//! The enrollment, from top to bottom: lock, facts, next step, write check, note, a try with what an
//! earlier run left, fetch, unseal, binding, redeem, reply, store, authenticate with the bytes on disk,
//! record.
//!
//! It may be started at any moment, any number of times, and killed at any point: the next run comes
//! to the same end. What may be asked of the world is [`Effects`], what is written goes through
//! [`Disk`]; both can be scripted.

mod adopt;
mod dry_run;
mod error;
mod ground;
mod issuing;
mod promote;
mod promoted;
mod prove;
mod redeem;
mod rotate_key;
mod token;

pub use dry_run::{Rehearsed, dry_run};
pub use error::Error;
pub use issuing::PREFIX as ISSUING;
pub use promote::{Promoted, promote};
pub use rotate_key::{Rotated, rotate_key};

use crate::bake;
use crate::config::Config;
use crate::effects::Effects;
use crate::facts::InstanceId;
use crate::files;
use crate::journal::event;
use crate::lock::Lock;
use crate::state::{self, Failure, Found, MadeFor, Phase, Replaced, State, Verified};
use crate::step::{self, OnDisk, Step, Why, Wishes};
use crate::store::{self, Disk};
use ground::{Ground, Job};
use imprint_core::door::beside;
use imprint_core::name::{ApplianceUrl, HostId};
use imprint_core::retry::Retry;
use std::cell::{Cell, OnceCell};
use std::time::Duration;
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
pub async fn enroll(
    config: &Config,
    wishes: Wishes,
    on: &impl Effects,
    disk: &impl Disk,
) -> Result<Outcome, Error> {
    let run = Run::new(config, wishes, on, disk);
    files::fallback::prepare(&config.files)?;
    let _lock = Lock::take(&config.files.state_dir, run.retry.remaining()).await?;
    let ahead = async {
        run.decided.notified().await;
        on.open_ahead().await;
    };
    // Boxed: it is large, and every layer that takes it by value would hold it twice.
    let end = beside(ahead, Box::pin(run.under_lock())).await;
    if let Err(error) = &end {
        run.remember(error);
    }
    end
}

struct Run<'a, E, D> {
    config: &'a Config,
    wishes: Wishes,
    on: &'a E,
    disk: &'a D,
    retry: Retry,
    /// Redeems that may have been carried out.
    redeems: Cell<u32>,
    /// The Conjur that an identity of ours in a shared file was made for before.
    former: OnceCell<ApplianceUrl>,
    /// Told once something is to be done, so that connections are opened ahead.
    decided: Notify,
    /// Over how long a fleet that Conjur pushed back comes again: what the token's binding says.
    spread: Cell<Duration>,
}

fn retry(within: Duration) -> Retry {
    Retry::new(within, REPEATS)
}

impl<'a, E: Effects, D: Disk> Run<'a, E, D> {
    fn new(config: &'a Config, wishes: Wishes, on: &'a E, disk: &'a D) -> Self {
        let retry = retry(config.deadline);
        Self {
            config,
            wishes,
            on,
            disk,
            retry,
            redeems: Cell::new(0),
            former: OnceCell::new(),
            decided: Notify::new(),
            spread: Cell::new(Duration::ZERO),
        }
    }

    async fn under_lock(&self) -> Result<Outcome, Error> {
        let mut ground = self.ground().await?;
        let mut next = step::next_step(&ground.known());
        if next.shows_promoted() {
            self.decided.notify_one();
            if self.show_promoted(&mut ground).await? {
                return self.nothing_to_do(&ground);
            }
            next = step::next_step(&ground.known());
        }
        match (&next, &ground.here) {
            (Step::Nothing | Step::ShowPromoted, _) => return self.nothing_to_do(&ground),
            (Step::Refuse(refusal), _) => return Err(refusal.clone().into()),
            (Step::Enroll(why), _) => {
                let attempt = self.on.attempt();
                log::info!(target: "imprint", reason = why.as_str(); "enrolling, attempt {attempt}: {}", why.as_str());
                self.tell_demotion(&ground, *why);
            }
            (Step::EnrollAsOneself { parent }, here) => self.forget_parent(&ground, parent, here.as_ref())?,
        }
        self.decided.notify_one();
        let job = self.job(&mut ground, &next).await?;

        // From here on something is changed: first all that can be proved is.
        let proofs = files::prove_writable(self.disk, self.config)?;
        let mut note = self.note(&ground, &next, &job);
        note.write(self.disk, &self.config.files.state_dir)?;
        proofs.into_iter().try_for_each(store::Writable::release)?;
        if ground.baked_on.is_some() {
            // The image is made, and this instance is made from it.
            bake::remove(self.disk, &self.config.files.state_dir)?;
        }

        if !self.adopt(&next, &ground.known(), &job.host).await? {
            if matches!(next, Step::Enroll(Why::Asked | Why::KeyDied | Why::PromotedKeyDied)) {
                self.note_re_enrollment(&mut note)?;
            }
            let end = self.until_it_authenticates(&job, note.token_issued_at).await;
            if let Err(Error::NeverAuthenticates { .. }) = &end {
                // Whoever kills our keys that fast must not make us redeem at every run.
                note.key_died_at = Some(self.on.now());
                note.write(self.disk, &self.config.files.state_dir)?;
            }
            end?.note_in(&mut note);
        }
        note.must_redeem = false;
        note.replaces = None;
        note.phase = Phase::Enrolled;
        note.since = self.on.now();
        note.last_verify = Some(Verified { at: note.since, outcome: "ok".to_owned() });
        note.write(self.disk, &self.config.files.state_dir)?;
        let host = job.host;
        log::info!(
            target: "imprint", MESSAGE_ID = event::ENROLLED, host_id = host.as_str(),
            instance_id = note.instance_id.as_str(), token = note.token.as_deref().unwrap_or_default();
            "enrolled as {}", host.login()
        );
        Ok(Outcome::Enrolled(host))
    }

    /// What the next run has to know if this one does not come to its end.
    fn note(&self, ground: &Ground<'_>, next: &Step, job: &Job) -> State {
        let (host, now) = (&job.host, self.on.now());
        let mut note =
            State::enrolling(&job.facts.instance_id, host, ground.wanted.clone(), self.on.attempt(), now);
        note.must_redeem = *next == Step::Enroll(Why::ConfigChanged);
        if let Found::Good(before) = &ground.state {
            note.token_issued_at = before.token_issued_at;
            note.must_redeem |= before.must_redeem && *next == Step::Enroll(Why::Interrupted);
            // A promoted host's key and that of the host it was before are of one instance, and of one day.
            if before.instance_id == note.instance_id && (before.host_id == note.host_id || before.promoted) {
                note.re_enrolled_at = before.re_enrolled_at;
            }
        }
        note.replaces = replaced(ground, next);
        if let Some(url) = note.replaces.as_ref().and_then(|it| it.appliance_url.parse().ok()) {
            let _the_first = self.former.set(url);
        }
        note
    }

    /// Before the redeem: a run that dies now has used up the one of its day.
    fn note_re_enrollment(&self, note: &mut State) -> Result<(), Error> {
        note.re_enrolled_at = Some(self.on.now());
        note.write(self.disk, &self.config.files.state_dir)?;
        log::warn!(
            target: "imprint", MESSAGE_ID = event::RE_ENROLLING, host_id = note.host_id.as_str();
            "Conjur does not take the key any more: redeeming once for host/{}; when this one dies within a day too, two parties hold this id",
            note.host_id
        );
        Ok(())
    }

    /// The identity of a cloned image belongs to its parent: it goes, and no copy is kept.
    fn forget_parent(
        &self,
        ground: &Ground<'_>,
        parent: &str,
        here: Option<&InstanceId>,
    ) -> Result<(), Error> {
        let former = match &ground.state {
            Found::Good(state) => state.made_for.appliance_url.parse().ok(),
            Found::Missing | Found::Unreadable(_) => None,
        };
        files::remove(self.disk, self.config, former.as_ref())?;
        let here = here.map_or("this instance", InstanceId::as_str);
        log::warn!(
            target: "imprint", MESSAGE_ID = event::PARENTS_IDENTITY_REMOVED, parent, instance_id = here;
            "{here} was made from an image of {parent}: the identity of {parent} is removed"
        );
        Ok(())
    }

    fn nothing_to_do(&self, ground: &Ground<'_>) -> Result<Outcome, Error> {
        let host = ground.host();
        files::restore(self.disk, self.config)?;
        // A rotation or a promotion may have been killed before it changed anything, or with a key in drafts.
        let _only_tidied = files::tidy(self.disk, &self.config.files);
        if files::mend_access(self.disk, &self.config.files)? {
            let path = self.config.files.identity.path.display();
            log::warn!(target: "imprint", MESSAGE_ID = event::ACCESS_MENDED; "{path} had another owner, group or mode than it shall have: mended");
        }
        if let Found::Good(state) = &ground.state
            && (state.last_failure.is_some() || state.promoting.is_some())
        {
            let mut over = state.clone();
            over.last_failure = None;
            over.promoting = None;
            let _only_noted = over.write(self.disk, &self.config.files.state_dir);
        }
        log::info!(target: "imprint", MESSAGE_ID = event::NOTHING_TO_DO, host_id = host.as_str(); "host/{host} is enrolled; nothing to do");
        Ok(Outcome::NothingToDo(host))
    }

    /// Notes a failure for `status`. The error itself is what counts: if the disk is what failed, this
    /// fails too.
    fn remember(&self, error: &Error) {
        if let Ok(Found::Good(mut state)) = state::read(&self.config.files.state_dir) {
            state.last_failure = Some(Failure::of(error, self.on.attempt(), self.on.now()));
            let _told_already = state.write(self.disk, &self.config.files.state_dir);
        }
    }
}

/// The host whose identity is to be replaced: of the file, or in a file that others have a part in of an
/// earlier configuration, or what the run before was about to replace.
fn replaced(ground: &Ground<'_>, next: &Step) -> Option<Replaced> {
    if let OnDisk::Good { appliance_url, host_id } = &ground.identity {
        return Some(Replaced { appliance_url: appliance_url.clone(), host_id: host_id.clone() });
    }
    let Found::Good(before) = &ground.state else { return None };
    match next {
        Step::Enroll(Why::ConfigChanged) => Some(Replaced {
            appliance_url: before.made_for.appliance_url.clone(),
            host_id: before.host_id.clone(),
        }),
        Step::Enroll(Why::Interrupted) => before.replaces.clone(),
        Step::Enroll(
            Why::Asked
            | Why::FirstBoot
            | Why::IdentityLost
            | Why::KeyDied
            | Why::PromotedKeyDied
            | Why::RotationInterrupted
            | Why::StateLost,
        )
        | Step::EnrollAsOneself { .. }
        | Step::Nothing
        | Step::Refuse(_)
        | Step::ShowPromoted => None,
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
