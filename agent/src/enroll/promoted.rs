//! A promoted identity beside the ordinary run: it is shown to Conjur where its key may be dead or its
//! promotion was cut off, and told of when it is lost.

use super::ground::Ground;
use super::{Error, Run, made_for};
use crate::effects::Effects;
use crate::files;
use crate::journal::event;
use crate::state::{Found, Phase, Promoting, State, Verified};
use crate::step::{OnDisk, Step, Why};
use crate::store::Disk;
use imprint_core::Class;
use imprint_core::name::HostId;

impl<E: Effects, D: Disk> Run<'_, E, D> {
    /// Shows the promoted identity on the disk to Conjur, and notes what it says. Whether it is taken.
    /// Repeated, as every login: it changes nothing.
    pub(super) async fn show_promoted(&self, ground: &mut Ground<'_>) -> Result<bool, Error> {
        let Some((mut note, was_cut_off)) = self.promoted_note(ground) else { return Ok(false) };
        let host: HostId = note.host_id.parse().map_err(|_| Error::ChangedOnDisk)?;
        let lives = self.authenticates(&host).await?.is_some();
        if lives && was_cut_off {
            // The run that was lost may have ended between two files.
            files::write(self.disk, self.config, &files::read_back(self.config)?, None)?;
        }
        let now = self.on.now();
        note.phase = Phase::Enrolled;
        note.attempt_id = Some(self.on.attempt().to_string());
        note.key_died_at = if lives { None } else { note.key_died_at.or(Some(now)) };
        let outcome = if lives { "ok".to_owned() } else { Class::Refused.to_string() };
        note.last_verify = Some(Verified { at: now, outcome });
        note.write(self.disk, &self.config.files.state_dir)?;
        if lives && was_cut_off {
            self.tell_promoted(&note);
        }
        ground.state = Found::Good(Box::new(note));
        Ok(lives)
    }

    /// The state as it is once the identity on the disk counts as promoted, and whether it was not so before.
    fn promoted_note(&self, ground: &Ground<'_>) -> Option<(State, bool)> {
        let OnDisk::Good { appliance_url, host_id } = &ground.identity else { return None };
        let now = self.on.now();
        if let Found::Good(state) = &ground.state {
            let mut note: State = (**state).clone();
            let to = note.promoting.take_if(|to| to.host_id == *host_id);
            let was_cut_off = to.is_some();
            if let Some(to) = to {
                note.promote(to, now);
            }
            return (note.promoted && note.is_of(host_id, appliance_url)).then_some((note, was_cut_off));
        }
        // The state is lost; the host id is of the promotion's template and names this instance.
        let to = self.config.promoted()?;
        let host: HostId = host_id.parse().ok()?;
        let here = ground.here.as_ref()?;
        let mut note = State::enrolling(here, &host, made_for(&to), self.on.attempt(), now);
        note.promoted = true;
        Some((note, false))
    }

    /// An event of its own: what runs here loses the privileges that came with the promotion, until the next.
    pub(super) fn tell_demotion(&self, ground: &Ground<'_>, why: Why) {
        if let Found::Good(state) = &ground.state
            && state.promoted
        {
            log::warn!(
                target: "imprint", MESSAGE_ID = event::DEMOTED, host_id = state.host_id.as_str(), reason = why.as_str();
                "host/{} was promoted, and its identity is of no use any more ({}): enrolling without privileges, until the next promotion",
                state.host_id, why.as_str()
            );
        }
    }

    pub(super) fn tell_promoted(&self, note: &State) {
        log::info!(
            target: "imprint", MESSAGE_ID = event::PROMOTED, host_id = note.host_id.as_str(),
            instance_id = note.instance_id.as_str(), token = note.token.as_deref().unwrap_or_default();
            "promoted to host/{}", note.host_id
        );
    }
}

impl Step {
    /// Whether a promoted identity is shown to Conjur before anything else is done: it costs more to lose than
    /// any other.
    pub(super) const fn shows_promoted(&self) -> bool {
        matches!(self, Self::ShowPromoted | Self::Enroll(Why::PromotedKeyDied))
    }
}

impl Promoting {
    /// Of the host, with this token.
    pub(super) fn to(host: &HostId, made_for: crate::state::MadeFor, token: String) -> Self {
        Self { host_id: host.to_string(), made_for, token }
    }
}
