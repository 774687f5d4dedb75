//! `imprint rotate-key`: a new API key for the host, asked for with the present one.
//!
//! Conjur kills the old key in the moment in which it makes the new one, so a reply that is lost takes
//! both. What cannot be avoided is noted beforehand: whoever finds the note tries the key on the disk, and
//! redeems when it is dead. No crash and no lost reply ends without an identity as long as a token is to
//! be had.

use super::ground::Job;
use super::{Error, Run};
use crate::config::Config;
use crate::effects::{self, Effects};
use crate::files;
use crate::identity::Identity;
use crate::journal::event;
use crate::lock::Lock;
use crate::state::{Found, Phase, State, Verified};
use crate::step::{self, Step, Why, Wishes};
use crate::store::{self, Disk};
use imprint_core::conjur;
use imprint_core::name::HostId;
use imprint_core::token::ApiKey;
use std::cell::Cell;
use std::time::Duration;

/// How often in one run a rotation may have been carried out.
const MOST_ROTATIONS: u32 = 3;

/// How the key was replaced.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rotated {
    /// By itself.
    ByItself(HostId),
    /// By a redeem, since the new key was lost on its way.
    ByRedeem(HostId),
}

/// Replaces the key of an enrolled host.
///
/// # Errors
/// See [`Error`]; [`Error::NotEnrolled`] when there is no good identity of this instance. Then there is
/// the old identity, or a new one that was not proved yet; the next run of [`super::enroll`] finds out.
pub async fn rotate_key(
    config: &Config,
    on: &impl Effects,
    disk: &impl Disk,
    within: Duration,
) -> Result<Rotated, Error> {
    let run = Run { retry: super::retry(within), ..Run::new(config, Wishes::default(), on, disk) };
    files::fallback::prepare(&config.files)?;
    let _lock = Lock::take(&config.files.state_dir, run.retry.remaining()).await?;
    let end = run.rotate().await;
    if let Err(error) = &end {
        run.remember(error);
    }
    end
}

/// How asking for a new key ended.
enum Asked {
    /// No key came. With a doubt, one may have been made, or may yet be.
    Failed { error: effects::Error, in_doubt: bool },
    /// The key was replaced, and the new one is lost.
    Lost,
    /// The new key, which the disk does not have yet.
    New(ApiKey),
}

impl<E: Effects, D: Disk> Run<'_, E, D> {
    async fn rotate(&self) -> Result<Rotated, Error> {
        let mut ground = self.ground().await?;
        let next = step::next_step(&ground.known());
        let (Step::Nothing, Found::Good(state)) = (&next, &ground.state) else {
            return Err(Error::NotEnrolled);
        };
        let mut note: State = (**state).clone();
        let host: HostId = note.host_id.parse().map_err(|_| Error::NotEnrolled)?;
        // A missing answer costs no identity, but it proves none either: the key that is shown here dies, and
        // it may be the parent's.
        let here = match &ground.here {
            Some(here) => here.clone(),
            None => self.facts(&self.needs()).await?.instance_id,
        };
        if here.as_str() != note.instance_id {
            return Err(Error::NotEnrolled);
        }
        ground.here = Some(here);
        let proofs = files::prove_writable(self.disk, self.config)?;
        note.phase = Phase::Rotating;
        note.attempt_id = Some(self.on.attempt().to_string());
        note.write(self.disk, &self.config.files.state_dir)?;
        proofs.into_iter().try_for_each(store::Writable::release)?;

        let present = files::read_back(self.config)?.api_key;
        let end = match self.ask_for_a_key(&host, &present).await {
            Asked::New(api_key) => {
                self.put(&host, api_key)?;
                // A duplicate of ours that is carried out late cannot be the reason: it shows the old key.
                if self.authenticates(&host).await?.is_none() {
                    note.phase = Phase::Enrolled;
                    note.key_died_at = Some(self.on.now());
                    note.write(self.disk, &self.config.files.state_dir)?;
                    return Err(Error::NewKeyRefused(host));
                }
                Rotated::ByItself(host)
            }
            // No token is left that could be redeemed for it.
            Asked::Lost if note.promoted => {
                note.phase = Phase::Enrolled;
                note.key_died_at = Some(self.on.now());
                note.write(self.disk, &self.config.files.state_dir)?;
                return Err(Error::PromotedKeyLost(host));
            }
            Asked::Lost => self.redeem_instead(&mut ground, &mut note, host).await?,
            Asked::Failed { error, in_doubt } => {
                if !in_doubt {
                    note.phase = Phase::Enrolled;
                    if error.is_unauthorized() {
                        note.key_died_at = note.key_died_at.or_else(|| Some(self.on.now()));
                    }
                    note.write(self.disk, &self.config.files.state_dir)?;
                }
                return Err(Error::Rotation { host, source: error });
            }
        };
        note.phase = Phase::Enrolled;
        note.key_died_at = None;
        note.last_failure = None;
        note.last_verify = Some(Verified { at: self.on.now(), outcome: "ok".to_owned() });
        note.write(self.disk, &self.config.files.state_dir)?;
        log::info!(target: "imprint", MESSAGE_ID = event::KEY_ROTATED, host_id = note.host_id.as_str(); "host/{} has a new key", note.host_id);
        Ok(end)
    }

    /// Asks for a new key until one comes, or it is known that one was made and lost. After a reply that
    /// was lost the present key tells: while it authenticates, nothing was carried out yet.
    async fn ask_for_a_key(&self, host: &HostId, present: &ApiKey) -> Asked {
        let (doubt, mut lost) = (Cell::new(false), 0);
        loop {
            // What a server of this chain answered may have been carried out behind it all the same.
            let again = |error: &effects::Error| {
                doubt.set(doubt.get() || error.conjur().is_some_and(conjur::Error::is_unknown_outcome));
                error.may_pass() && !is_lost(error)
            };
            let call = async || self.on.rotate_key(host, present).await;
            let end = self.retry.run_spread("the rotation of the key", self.spread.get(), again, call).await;
            let error = match end {
                Ok(new) => return Asked::New(new),
                Err(error) => error,
            };
            let in_doubt = doubt.get();
            if !in_doubt || !(is_lost(&error) || error.is_unauthorized()) {
                return Asked::Failed { error, in_doubt };
            }
            lost += 1;
            match self.leader_takes(host, present).await {
                Ok(false) => return Asked::Lost,
                Ok(true) if lost < MOST_ROTATIONS && !error.is_unauthorized() => {}
                Ok(true) => return Asked::Failed { error, in_doubt },
                Err(error) => return Asked::Failed { error, in_doubt },
            }
        }
    }

    /// Whether the leader takes this key. Repeated: it changes nothing.
    async fn leader_takes(&self, host: &HostId, key: &ApiKey) -> Result<bool, effects::Error> {
        let call = async || self.on.authenticate(effects::At::Leader, host, key).await;
        match self.retry.run("authenticating", effects::Error::may_pass, call).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_unauthorized() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn redeem_instead(
        &self,
        ground: &mut super::ground::Ground<'_>,
        note: &mut State,
        host: HostId,
    ) -> Result<Rotated, Error> {
        log::warn!(
            target: "imprint", MESSAGE_ID = event::ROTATED_KEY_LOST, host_id = host.as_str();
            "the new key of {} was lost on its way, and the old one is dead: redeeming", host.login()
        );
        // The host whose key it is, whatever a tag or a host name would make of it by now.
        let job = Job { host, ..self.job(ground, &Step::Enroll(Why::RotationInterrupted)).await? };
        let used = self.until_it_authenticates(&job, note.token_issued_at).await?;
        used.note_in(note);
        Ok(Rotated::ByRedeem(job.host))
    }

    fn put(&self, host: &HostId, api_key: ApiKey) -> Result<(), Error> {
        let identity =
            Identity { appliance_url: self.config.appliance_url.clone(), host_id: host.clone(), api_key };
        Ok(files::write(self.disk, self.config, &identity, None)?)
    }
}

/// Whether the answer got lost, between Conjur and us or between Conjur and a gateway that gave up.
fn is_lost(error: &effects::Error) -> bool {
    let lost = |e: &conjur::Error| e.is_unknown_outcome() && matches!(e.status(), None | Some(504));
    error.conjur().is_some_and(lost)
}
