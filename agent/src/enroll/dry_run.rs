//! `imprint enroll --dry-run`: the whole enrollment but for the redeem. Nothing is changed.

use super::ground::{Ground, Job};
use super::{Error, Run};
use crate::binding;
use crate::config::Config;
use crate::effects::{At, Effects};
use crate::files;
use crate::lock::Lock;
use crate::state::Found;
use crate::step::{self, OnDisk, Step, Wishes};
use crate::store::{Disk, Writable};
use imprint_core::name::HostId;
use imprint_core::second::Second;
use imprint_core::token::Fingerprint;

/// What an enrollment would do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rehearsed {
    /// Nothing: the identity is good.
    NothingToDo(String),
    /// Show this promoted host's identity to Conjur, and keep it when it is taken.
    WouldShow(String),
    /// Redeem this token for this host.
    WouldRedeem {
        /// The host.
        host: HostId,
        /// Why, in words.
        why: String,
        /// The token.
        token: Fingerprint,
        /// When it ends; `None` for one that came without a binding.
        until: Option<Second>,
    },
}

/// Does all that [`super::enroll`] does short of the redeem, and finds whether it would come that far:
/// the files could be written, the token opens and is meant for this agent, the leader answers.
///
/// # Errors
/// As [`super::enroll`].
pub async fn dry_run(
    config: &Config,
    wishes: Wishes,
    on: &impl Effects,
    disk: &impl Disk,
) -> Result<Rehearsed, Error> {
    let run = Run::new(config, wishes, on, disk);
    files::fallback::prepare(&config.files)?;
    let _lock = Lock::take(&config.files.state_dir, run.retry.remaining()).await?;
    run.rehearse().await
}

/// The host whose identity lies on the disk.
fn on_disk(ground: &Ground<'_>) -> String {
    match &ground.identity {
        OnDisk::Good { host_id, .. } => host_id.clone(),
        OnDisk::Missing | OnDisk::Unusable(_) => String::new(),
    }
}

impl<E: Effects, D: Disk> Run<'_, E, D> {
    async fn rehearse(&self) -> Result<Rehearsed, Error> {
        let mut ground = self.ground().await?;
        let next = step::next_step(&ground.known());
        let why = match &next {
            Step::Nothing => return Ok(Rehearsed::NothingToDo(ground.host())),
            Step::ShowPromoted => return Ok(Rehearsed::WouldShow(on_disk(&ground))),
            Step::Refuse(refusal) => return Err(refusal.clone().into()),
            Step::Enroll(why) => why.as_str().to_owned(),
            Step::EnrollAsOneself { parent } => format!("this instance was made from an image of {parent}"),
        };
        let Job { host, facts, .. } = self.job(&mut ground, &next).await?;
        files::prove_writable(self.disk, self.config)?.into_iter().try_for_each(Writable::release)?;
        let unsealed = self.token(&facts).await?;
        if let Some(binding) = &unsealed.binding {
            let last = match &ground.state {
                Found::Good(state) => state.token_issued_at,
                Found::Missing | Found::Unreadable(_) => None,
            };
            for doubt in binding::doubts(binding, &host, facts.private_ip, last) {
                log::warn!(target: "imprint", "{doubt}");
            }
        }
        // Any answer will do: it says that name, route, TLS and server are there.
        self.on.health(At::Leader).await?;
        Ok(Rehearsed::WouldRedeem {
            host,
            why,
            token: unsealed.fingerprint(),
            until: unsealed.binding.map(|binding| binding.expires_at),
        })
    }
}
