//! What an enrollment has to do: pure functions of what is known.
//!
//! [`next_step`] decides on what lies on the disk and the instance-id, without asking anybody;
//! [`check_host`] judges the host id once the facts are known, before anything is redeemed.

use crate::facts::InstanceId;
use crate::identity;
use crate::state::{Found, MadeFor, Phase, State};
use imprint_core::name::HostId;
use imprint_core::{Class, Classified};

/// What stands in the place of the identity file, without its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum OnDisk {
    /// A good one, of this host at this Conjur.
    Good {
        /// The appliance URL.
        appliance_url: String,
        /// The host id.
        host_id: String,
    },
    /// Nothing.
    Missing,
    /// Something that no client could use.
    Unusable(identity::Error),
}

/// All that the first decision is made of.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// This instance; `None` when neither firmware nor metadata service told.
    pub here: Option<&'a InstanceId>,
    /// What the identity shall be made for.
    pub wanted: &'a MadeFor,
    /// What an earlier run left.
    pub state: &'a Found,
    /// What lies at the identity's path.
    pub identity: &'a OnDisk,
}

/// What to do.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// Redeem and store.
    Enroll(Why),
    /// The identity is another instance's: remove it, then enroll as oneself.
    EnrollAsOneself {
        /// The instance it was made for.
        parent: String,
    },
    /// All is well.
    Nothing,
    /// Stop before anything is changed.
    Refuse(Refusal),
}

/// Why an enrollment is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// The configuration asks for another host, factory, account or Conjur.
    ConfigChanged,
    /// Neither state nor identity.
    FirstBoot,
    /// The identity is gone or damaged.
    IdentityLost,
    /// An earlier run did not come to its end.
    Interrupted,
    /// The state is gone or damaged, so whose identity it is will be seen from its host id.
    StateLost,
}

/// Why nothing may be done.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// The file holds an identity that imprint did not make for this host.
    #[error("the identity file is of {found}, not of {own}")]
    Foreign {
        /// The host in the file.
        found: String,
        /// The host that it should be.
        own: String,
    },
    /// The host id is the one of the instance that this one was cloned from.
    #[error("the host id {host} is that of {parent}, from whose image this instance was made")]
    ParentsHost {
        /// The id.
        host: String,
        /// The other instance.
        parent: String,
    },
    /// Without a state, and with a host id that does not name the instance, the identity may as well be
    /// that of the instance that this one was cloned from.
    #[error(
        "nobody can tell whether the identity of {host} is this instance's or that of one it was cloned from"
    )]
    Unclear {
        /// The id.
        host: String,
    },
    /// The file holds entries of another program.
    #[error("the identity file has entries that imprint did not write")]
    Shared,
}

impl Classified for Refusal {
    fn class(&self) -> Class {
        match self {
            Self::Foreign { .. } | Self::Shared => Class::Tampered,
            Self::ParentsHost { .. } | Self::Unclear { .. } => Class::Config,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Foreign { .. } => {
                "if that identity is of no use any more, remove the file and run imprint enroll again"
            }
            Self::ParentsHost { .. } => "use {instance_id} in host_id, so that no two instances share a host",
            Self::Shared => "set another path as [files] identity, or remove the file",
            Self::Unclear { .. } => {
                "remove the identity file to enroll, if no other instance uses that host; with {instance_id} in host_id this can be told"
            }
        })
    }
}

impl Why {
    /// For a log line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ConfigChanged => "the configuration has changed",
            Self::FirstBoot => "first boot",
            Self::IdentityLost => "the identity is missing or damaged",
            Self::Interrupted => "an earlier run did not come to its end",
            Self::StateLost => "the state is missing or damaged",
        }
    }
}

/// Decides what to do.
#[must_use]
pub fn next_step(known: &Known<'_>) -> Step {
    // Another program's entries are never overwritten, whatever we remember.
    if matches!(known.identity, OnDisk::Unusable(identity::Error::Others)) {
        return Step::Refuse(Refusal::Shared);
    }
    let state = match known.state {
        Found::Good(state) => state,
        Found::Missing | Found::Unreadable(_) => {
            return Step::Enroll(match (known.identity, known.state) {
                (OnDisk::Good { .. }, _) | (_, Found::Unreadable(_)) => Why::StateLost,
                (OnDisk::Missing, _) => Why::FirstBoot,
                (OnDisk::Unusable(_), _) => Why::IdentityLost,
            });
        }
    };
    if let Some(here) = known.here
        && here.as_str() != state.instance_id
    {
        return Step::EnrollAsOneself { parent: state.instance_id.clone() };
    }
    if state.made_for != *known.wanted {
        return Step::Enroll(Why::ConfigChanged);
    }
    match (state.phase, known.identity) {
        (Phase::Enrolling, _) => Step::Enroll(Why::Interrupted),
        (Phase::Enrolled, OnDisk::Missing | OnDisk::Unusable(_)) => Step::Enroll(Why::IdentityLost),
        (Phase::Enrolled, OnDisk::Good { appliance_url, host_id }) => {
            if *host_id == state.host_id && *appliance_url == state.made_for.appliance_url {
                Step::Nothing
            } else {
                Step::Refuse(foreign(host_id, appliance_url, &state.host_id, &state.made_for.appliance_url))
            }
        }
    }
}

/// Judges the host id that the facts give, against what lies on the disk.
///
/// # Errors
/// When it is the cloned image's parent's, or the identity on disk is somebody else's.
pub fn check_host(step: &Step, own: &HostId, known: &Known<'_>) -> Result<(), Refusal> {
    match step {
        Step::EnrollAsOneself { parent } => match known.state {
            Found::Good(state) if state.host_id == own.as_str() => {
                Err(Refusal::ParentsHost { host: own.to_string(), parent: parent.clone() })
            }
            Found::Good(_) | Found::Missing | Found::Unreadable(_) => Ok(()),
        },
        Step::Enroll(Why::StateLost) => match known.identity {
            OnDisk::Good { appliance_url, host_id }
                if host_id != own.as_str() || *appliance_url != known.wanted.appliance_url =>
            {
                Err(foreign(host_id, appliance_url, own.as_str(), &known.wanted.appliance_url))
            }
            OnDisk::Good { .. } if !known.wanted.host_id.contains("{instance_id}") => {
                Err(Refusal::Unclear { host: own.to_string() })
            }
            OnDisk::Good { .. } | OnDisk::Missing | OnDisk::Unusable(_) => Ok(()),
        },
        Step::Enroll(Why::ConfigChanged | Why::FirstBoot | Why::IdentityLost | Why::Interrupted)
        | Step::Nothing
        | Step::Refuse(_) => Ok(()),
    }
}

/// Whether the identity on the disk may be kept if it authenticates: it is of exactly this host, and an
/// earlier run may have come far enough to store it. Asked after [`check_host`], which refuses what may
/// be a parent's.
#[must_use]
pub fn may_be_adopted(step: &Step, known: &Known<'_>, own: &HostId) -> bool {
    let is_own = matches!(
        known.identity,
        OnDisk::Good { appliance_url, host_id }
            if host_id == own.as_str() && *appliance_url == known.wanted.appliance_url
    );
    let must_redeem = matches!(known.state, Found::Good(state) if state.must_redeem);
    match step {
        Step::Enroll(Why::Interrupted | Why::StateLost) => is_own && !must_redeem,
        Step::Enroll(Why::ConfigChanged | Why::FirstBoot | Why::IdentityLost)
        | Step::EnrollAsOneself { .. }
        | Step::Nothing
        | Step::Refuse(_) => false,
    }
}

/// Whether an identity is there that a missing answer must not cost.
#[must_use]
pub fn is_kept_without_an_answer(known: &Known<'_>) -> bool {
    let enrolled = |state: &State| state.phase == Phase::Enrolled;
    matches!(known.state, Found::Good(state) if enrolled(state)) && next_step(known) == Step::Nothing
}

fn foreign(found: &str, at: &str, own: &str, own_at: &str) -> Refusal {
    Refusal::Foreign { found: format!("{found} at {at}"), own: format!("{own} at {own_at}") }
}

#[cfg(test)]
mod tests;
