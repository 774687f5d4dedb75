//! `imprint promote`: from the unprivileged host to a host of a privileged factory, once a token for this
//! instance alone waits under the instance's own key.
//!
//! Nothing on the disk changes before Conjur takes the new key and the new host has proved its layer. Then
//! the identity is replaced in one step, noted before and after, so that whoever finds the disk knows which
//! of the two hosts lies there. The old host stays good at Conjur: to delete it is not the agent's business.

use super::ground::{Ground, Job};
use super::token::Unsealed;
use super::{Error, Run, made_for};
use crate::binding;
use crate::config::{Config, S3};
use crate::effects::Effects;
use crate::files;
use crate::identity::Identity;
use crate::journal::event;
use crate::lock::Lock;
use crate::state::{Found, Promoting, State, Verified};
use crate::step::{self, Step, Wishes};
use crate::store::{self, Disk};
use imprint_core::error::chain;
use imprint_core::name::HostId;
use imprint_core::{Class, Classified as _};
use std::time::Duration;

/// How a promotion ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Promoted {
    /// The host was promoted before.
    Already(String),
    /// It was promoted now.
    Moved {
        /// The host that it was.
        from: String,
        /// The host that it is.
        to: HostId,
    },
    /// Nothing waits for this instance.
    NothingWaits {
        /// The host that it stays.
        host: String,
        /// What was seen, in words.
        why: String,
    },
}

/// Promotes this instance's host, if a token for it waits.
///
/// # Errors
/// See [`Error`]. Then the disk has the old identity, or the new one, which Conjur took; never a part.
pub async fn promote(
    config: &Config,
    on: &impl Effects,
    disk: &impl Disk,
    within: Duration,
) -> Result<Promoted, Error> {
    let there = config.promoted().ok_or(Error::NoPromotion)?;
    let waits = there.s3().ok_or(Error::NoPromotion)?;
    let run = Run { retry: super::retry(within), ..Run::new(config, Wishes::default(), on, disk) };
    let there = Run { retry: super::retry(within), ..Run::new(&there, Wishes::default(), on, disk) };
    files::fallback::prepare(&config.files)?;
    let _lock = Lock::take(&config.files.state_dir, run.retry.remaining()).await?;
    let end = Box::pin(run.promote(&there, waits)).await;
    match &end {
        // Of the enrollment that did not come to its end, its own failure tells more.
        Ok(_) | Err(Error::NotYetEnrolled) => {}
        Err(error) => run.remember(error),
    }
    end
}

impl<E: Effects, D: Disk> Run<'_, E, D> {
    /// `there` is the same run with the configuration of the promoted host.
    async fn promote(&self, there: &Run<'_, E, D>, waits: &S3) -> Result<Promoted, Error> {
        let mut ground = self.ground().await?;
        let state = self.fit_to_promote(&mut ground).await?;
        if state.promoted && state.made_for == made_for(there.config) {
            let host = state.host_id;
            log::info!(target: "imprint", MESSAGE_ID = event::NOTHING_TO_DO, host_id = host.as_str(); "host/{host} is promoted; nothing to do");
            return Ok(Promoted::Already(host));
        }
        let facts = self.facts(&there.needs()).await?;
        if facts.instance_id.as_str() != state.instance_id {
            return Err(if ground.here.is_some() { Error::TwoInstances } else { Error::NotYetEnrolled });
        }
        let host = there.config.host_id.host_id(&facts)?;
        let job = Job { host, annotations: there.annotations(&facts)?, facts };

        let unsealed = match there.waiting(waits, &job).await {
            Ok(unsealed) => unsealed,
            Err(error) if error.class() == Class::Absent => {
                let why = chain(&error);
                log::info!(target: "imprint", "nothing waits at {waits}: {why}");
                return Ok(Promoted::NothingWaits { host: state.host_id, why });
            }
            Err(error) => return Err(error),
        };
        log::info!(target: "imprint", "host/{} is to become host/{}", state.host_id, job.host);
        let proofs = files::prove_writable(self.disk, self.config)?;
        proofs.into_iter().try_for_each(store::Writable::release)?;
        let identity = there.prove_elsewhere(&unsealed, &job).await?;
        self.move_over(there, state, &identity, &unsealed).await
    }

    /// The state of an instance that may be promoted: enrolled, with nothing left to do.
    async fn fit_to_promote(&self, ground: &mut Ground<'_>) -> Result<State, Error> {
        let mut next = step::next_step(&ground.known());
        if next == Step::ShowPromoted {
            let _taken = self.show_promoted(ground).await?;
            next = step::next_step(&ground.known());
        }
        match (next, &ground.state) {
            (Step::Nothing, Found::Good(state)) => Ok((**state).clone()),
            (Step::Refuse(refusal), _) => Err(refusal.into()),
            (Step::Enroll(_) | Step::EnrollAsOneself { .. } | Step::Nothing | Step::ShowPromoted, _) => {
                Err(Error::NotYetEnrolled)
            }
        }
    }

    /// The token that waits for this instance. What passes is repeated, and what is absent is not: the next
    /// poll is that.
    async fn waiting(&self, at: &S3, job: &Job) -> Result<Unsealed, Error> {
        let again = |error: &Error| error.may_pass() && error.class() != Class::Absent;
        let call = async || self.of_bucket(at, &job.facts).await;
        let unsealed = self.retry.run("asking for a promotion", again, call).await?;
        if let Some(binding) = &unsealed.binding {
            binding::check_branch(binding, &job.host)?;
            for doubt in binding::doubts(binding, &job.host, job.facts.private_ip, None) {
                log::warn!(target: "imprint", MESSAGE_ID = event::DOUBT, token = binding.fingerprint.as_str(); "{doubt}");
            }
        }
        Ok(unsealed)
    }

    /// Redeems until Conjur takes the key, which is in memory alone, and the host has proved its layer.
    async fn prove_elsewhere(&self, with: &Unsealed, job: &Job) -> Result<Identity, Error> {
        loop {
            let identity = self.redeem(with, job).await.map_err(|error| self.squatted(error))?;
            if let Some(session) = self.shown(&identity).await? {
                self.prove(&session, &job.host).await?;
                return Ok(identity);
            }
            self.may_redeem_again(&job.host)?;
        }
    }

    /// A 403 says that something else owns the id. A token of another factory can have made it, since a new
    /// id is anybody's: whoever may delete that host does, and the next poll tries again.
    fn squatted(&self, error: Error) -> Error {
        let Error::Owned { host, source } = error else { return error };
        log::error!(
            target: "imprint", MESSAGE_ID = event::PROMOTION_SQUATTED, host_id = host.as_str(), host_factory = self.config.host_factory.as_str();
            "{} exists, and {} does not own it: the id is squatted", host.login(), self.config.host_factory
        );
        Error::Squatted { host, source }
    }

    /// Puts the new identity in the place of the old one.
    async fn move_over(
        &self,
        there: &Run<'_, E, D>,
        mut note: State,
        identity: &Identity,
        with: &Unsealed,
    ) -> Result<Promoted, Error> {
        let (from, to) = (note.host_id.clone(), identity.host_id.clone());
        let promoting = Promoting::to(&to, made_for(there.config), with.fingerprint().to_string());
        let old = files::read_back(self.config)?;
        note.promoting = Some(promoting.clone());
        note.write(self.disk, &self.config.files.state_dir)?;
        files::write(self.disk, self.config, identity, None)?;
        if there.authenticates(&to).await?.is_none() {
            // It was taken a moment ago: another party is at it. The old key is still good.
            files::write(self.disk, self.config, &old, None)?;
            note.promoting = None;
            note.write(self.disk, &self.config.files.state_dir)?;
            return Err(Error::NewKeyRefused(to));
        }
        let now = self.on.now();
        note.promote(promoting, now);
        note.attempt_id = Some(self.on.attempt().to_string());
        note.last_verify = Some(Verified { at: now, outcome: "ok".to_owned() });
        note.last_failure = None;
        note.write(self.disk, &self.config.files.state_dir)?;
        self.tell_promoted(&note);
        Ok(Promoted::Moved { from, to })
    }
}
