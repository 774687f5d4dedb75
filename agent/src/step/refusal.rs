//! Why an enrollment stops before anything is changed, and what a person can do about it.

use crate::identity;
use imprint_core::second::Second;
use imprint_core::{Class, Classified};

/// Why nothing may be done.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Refusal {
    /// An image is being made from this instance: an identity here would go into it.
    #[error("an image is being baked on {instance}")]
    Bake {
        /// This instance.
        instance: String,
    },
    /// The file holds an identity that imprint did not make for this host.
    #[error("the identity file is of {found}, not of {own}")]
    Foreign {
        /// The host in the file.
        found: String,
        /// The host that it should be.
        own: String,
    },
    /// The key is dead, and the configuration leaves that to a person.
    #[error("Conjur does not take the key of {host} any more, since {since} at the latest")]
    KeyDead {
        /// The id.
        host: String,
        /// When it was seen.
        since: Second,
    },
    /// The host id is the one of the instance that this one was cloned from.
    #[error("the host id {host} is that of {parent}, from whose image this instance was made")]
    ParentsHost {
        /// The id.
        host: String,
        /// The other instance.
        parent: String,
    },
    /// The file holds something of another program, and is not ours to edit.
    #[error("the identity file is left alone: {0}")]
    Shared(identity::Error),
    /// The key died again within a day.
    #[error("two parties hold the host id {host}: its key died again after it was replaced at {replaced}")]
    TwoParties {
        /// The id.
        host: String,
        /// When imprint last replaced it.
        replaced: Second,
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
}

impl Classified for Refusal {
    fn class(&self) -> Class {
        match self {
            Self::Foreign { .. } | Self::Shared(_) | Self::TwoParties { .. } => Class::Tampered,
            Self::KeyDead { .. } => Class::Refused,
            Self::Bake { .. } | Self::ParentsHost { .. } | Self::Unclear { .. } => Class::Config,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Bake { .. } => {
                "instances that are made from the image enroll by themselves; if this one is to stay, run imprint forget, then imprint enroll"
            }
            Self::Foreign { .. } => {
                "if that identity is of no use any more, remove the file and run imprint enroll again"
            }
            Self::KeyDead { .. } => {
                "find out who redeemed or rotated it, or whether the host was removed; then run imprint enroll --again"
            }
            Self::ParentsHost { .. } => {
                "use {instance_id} in host_id; if the other instance is gone for good, run imprint enroll --take-over"
            }
            Self::Shared(_) => "set another path as [files] identity, or mend or remove the file",
            Self::TwoParties { .. } => {
                "find the other party: a clone, a copy of the token, a person; then run imprint enroll --again, or for a fleet set re_enroll_lifted_at"
            }
            Self::Unclear { .. } => {
                "if no other instance uses that host, run imprint enroll --take-over; with {instance_id} in host_id this can be told"
            }
        })
    }
}
