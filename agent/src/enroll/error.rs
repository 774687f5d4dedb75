//! What can end an enrollment.

use crate::{binding, effects, files, lock, source, step, store, template};
use imprint_core::name::{ApplianceUrl, HostId};
use imprint_core::token::Fingerprint;
use imprint_core::{Class, Classified, sealed, token};
use std::time::Duration;

/// Why an enrollment failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The token is not for this agent.
    #[error(transparent)]
    Binding(#[from] binding::Error),
    /// The identity that was just written is not the one on the disk.
    #[error("the identity on disk is not the one that was just written")]
    ChangedOnDisk,
    /// A call to AWS, Conjur or the metadata service.
    #[error(transparent)]
    Effect(#[from] effects::Error),
    /// The files cannot be read or written.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// The leader takes the new key, the follower does not.
    #[error("{url} does not take the new key, though the leader does{}", told(*behind))]
    Follower {
        /// The follower.
        url: ApplianceUrl,
        /// How many bytes it is behind the leader, if they tell.
        behind: Option<u64>,
        /// What it said last.
        #[source]
        source: effects::Error,
    },
    /// Another agent runs, or the state directory is not fit.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// Each redeem gave a key that the same server then refused.
    #[error("host {host} was redeemed {redeems} times, and no key authenticates")]
    NeverAuthenticates {
        /// The host.
        host: HostId,
        /// How often.
        redeems: u32,
    },
    /// The key that a rotation gave is not taken.
    #[error("the new key of host {0} does not authenticate")]
    NewKeyRefused(HostId),
    /// The configuration has no promotion.
    #[error("the configuration has no [promotion]")]
    NoPromotion,
    /// There is no good identity of this instance whose key could be replaced.
    #[error("this instance is not enrolled, so it has no key to rotate")]
    NotEnrolled,
    /// There is no good identity of this instance that could be promoted.
    #[error("this instance is not enrolled, so there is nothing to promote")]
    NotYetEnrolled,
    /// What was unsealed is no token.
    #[error("what was unsealed is no host factory token")]
    NotAToken(#[source] Option<token::Error>),
    /// The new key of a promoted host was lost, and no token is left to redeem.
    #[error("the new key of the promoted host {0} was lost on its way, and the old one is dead")]
    PromotedKeyLost(HostId),
    /// Somebody else owns the id.
    #[error("host {host} is owned by something other than the host factory")]
    Owned {
        /// The host.
        host: HostId,
        /// Conjur's answer.
        #[source]
        source: effects::Error,
    },
    /// The host may not read the variable that proves its layer.
    #[error("host {host} authenticates, but may not read variable {variable}")]
    Proof {
        /// The host.
        host: HostId,
        /// The variable.
        variable: String,
    },
    /// The redeem failed.
    #[error("cannot redeem for host {host}")]
    Redeem {
        /// The host.
        host: HostId,
        /// What failed.
        #[source]
        source: effects::Error,
    },
    /// What is on the disk forbids it.
    #[error(transparent)]
    Refusal(#[from] step::Refusal),
    /// No new key came.
    #[error("the key of host {host} could not be rotated")]
    Rotation {
        /// The host.
        host: HostId,
        /// What failed.
        #[source]
        source: effects::Error,
    },
    /// The object is not a sealed token.
    #[error(transparent)]
    Sealed(#[from] sealed::Error),
    /// What lies on the machine gives no token.
    #[error(transparent)]
    Source(#[from] source::Error),
    /// Somebody else owns the id that the host is promoted to.
    #[error(
        "host {host} is owned by something other than the host factory of [promotion], so its id is squatted"
    )]
    Squatted {
        /// The host.
        host: HostId,
        /// Conjur's answer.
        #[source]
        source: effects::Error,
    },
    /// The state cannot be read or written.
    #[error(transparent)]
    Storage(#[from] store::Error),
    /// Conjur answered for another host or another factory.
    #[error("Conjur's answer has {what} {is:?}, not {should:?}")]
    Stranger {
        /// `id` or `owner`.
        what: &'static str,
        /// What came.
        is: String,
        /// What should have come.
        should: String,
    },
    /// The template has no value here.
    #[error(transparent)]
    Template(#[from] template::Error),
    /// Conjur does not take the token.
    #[error("Conjur does not take the token {fingerprint}")]
    TokenRefused {
        /// The token.
        fingerprint: Fingerprint,
        /// Conjur's answer.
        #[source]
        source: effects::Error,
    },
    /// Firmware and metadata service name two instances.
    #[error("the firmware and the metadata service name different instances")]
    TwoInstances,
    /// Whether the stored identity authenticates could not be found out.
    #[error("host {host} is stored, but could not be proved")]
    Verify {
        /// The host.
        host: HostId,
        /// What failed.
        #[source]
        source: effects::Error,
    },
}

fn told(behind: Option<u64>) -> String {
    behind.map(|bytes| format!("; its replication is {bytes} bytes behind")).unwrap_or_default()
}

impl Error {
    /// A failed redeem that is no 401.
    pub(super) fn redeem(host: &HostId, source: effects::Error) -> Self {
        let host = host.clone();
        match source.conjur().and_then(imprint_core::conjur::Error::status) {
            Some(403) => Self::Owned { host, source },
            Some(_) | None => Self::Redeem { host, source },
        }
    }

    /// Whether fetching and unsealing again may mend it: a passing failure, or something absent that
    /// may be published in a moment.
    pub(super) fn may_pass(&self) -> bool {
        match self {
            Self::Effect(error) => error.may_pass(),
            Self::Binding(error) => error.class() == Class::Absent,
            Self::Source(error) => error.may_pass(),
            Self::ChangedOnDisk
            | Self::Files(_)
            | Self::Follower { .. }
            | Self::Lock(_)
            | Self::NeverAuthenticates { .. }
            | Self::NewKeyRefused(_)
            | Self::NoPromotion
            | Self::NotAToken(_)
            | Self::NotEnrolled
            | Self::NotYetEnrolled
            | Self::Owned { .. }
            | Self::PromotedKeyLost(_)
            | Self::Proof { .. }
            | Self::Redeem { .. }
            | Self::Refusal(_)
            | Self::Rotation { .. }
            | Self::Sealed(_)
            | Self::Squatted { .. }
            | Self::Storage(_)
            | Self::Stranger { .. }
            | Self::Template(_)
            | Self::TokenRefused { .. }
            | Self::TwoInstances
            | Self::Verify { .. } => false,
        }
    }
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Binding(error) => error.class(),
            Self::ChangedOnDisk | Self::NotAToken(_) | Self::Stranger { .. } | Self::TwoInstances => {
                Class::Tampered
            }
            Self::Effect(error)
            | Self::Redeem { source: error, .. }
            | Self::Rotation { source: error, .. }
            | Self::Verify { source: error, .. } => error.class(),
            Self::NoPromotion => Class::Config,
            Self::NotEnrolled | Self::NotYetEnrolled => Class::Absent,
            Self::Files(error) => error.class(),
            Self::Follower { .. } => Class::Transient,
            Self::Lock(error) => error.class(),
            Self::NeverAuthenticates { .. }
            | Self::NewKeyRefused(_)
            | Self::Owned { .. }
            | Self::PromotedKeyLost(_)
            | Self::Proof { .. }
            | Self::Squatted { .. }
            | Self::TokenRefused { .. } => Class::Refused,
            Self::Refusal(error) => error.class(),
            Self::Sealed(error) => error.class(),
            Self::Source(error) => error.class(),
            Self::Storage(error) => error.class(),
            Self::Template(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Binding(error) => error.hint(),
            Self::ChangedOnDisk => {
                Some("see what else writes this file: configuration management, another agent")
            }
            Self::Effect(error) | Self::Verify { source: error, .. } => error.hint(),
            Self::Redeem { source, .. } => {
                match source.conjur().and_then(imprint_core::conjur::Error::status) {
                    Some(404) => Some("check account and appliance_url: this server has no host factories"),
                    Some(422) => Some(
                        "Conjur does not take this host id or an annotation: check host_id and [annotations]",
                    ),
                    Some(_) | None => source.hint(),
                }
            }
            Self::Files(error) => error.hint(),
            Self::Follower { .. } => {
                Some("the follower lags or does not replicate: see its health, then run imprint verify")
            }
            Self::Lock(error) => error.hint(),
            Self::NeverAuthenticates { .. } => Some(
                "another party redeems the same host id, or the host is restricted to other addresses (restricted_to)",
            ),
            Self::NewKeyRefused(_) => Some(
                "another party has redeemed or rotated this host's key in the same moment: run imprint enroll, which judges that",
            ),
            Self::NoPromotion => Some("write a [promotion] into the configuration, or stop the timer"),
            Self::NotYetEnrolled => {
                Some("run imprint status, then imprint enroll; the next imprint promote asks again")
            }
            Self::PromotedKeyLost(_) => Some(
                "run imprint enroll: it enrolls without privileges, and the next promotion is waited for",
            ),
            Self::Squatted { .. } => Some(
                "nothing was changed here: find out who made that host (its annotations, Conjur's audit log), then !delete it; the next imprint promote tries again",
            ),
            Self::NotEnrolled => Some("run imprint status, then imprint enroll"),
            Self::Rotation { source, .. } if source.is_unauthorized() => Some(
                "another party has redeemed or rotated this host's key, or the host was removed: run imprint enroll",
            ),
            Self::Rotation { source, .. } => source.hint(),
            Self::NotAToken(_) => {
                Some("something other than the rotator sealed this object: see who may encrypt with the key")
            }
            Self::Owned { .. } => Some(
                "the id belongs to a policy or to another factory: !delete that host in Conjur's policy, or change host_id",
            ),
            Self::Proof { .. } => Some(
                "the host is not in the factory's layer (it may have been taken out by hand), or the layer may not read the variable",
            ),
            Self::Refusal(error) => error.hint(),
            Self::Sealed(error) => error.hint(),
            Self::Source(error) => error.hint(),
            Self::Storage(error) => error.hint(),
            Self::Stranger { .. } => Some(
                "the token belongs to another factory than the configured one: see who may seal and publish; the key was not stored",
            ),
            Self::Template(error) => error.hint(),
            Self::TokenRefused { .. } => Some(
                "Conjur does not say which: the token was revoked, or is not valid from this address (CIDR), or this is another server or account than the rotator's, or a clock is wrong",
            ),
            Self::TwoInstances => {
                Some("something else answers in the place of the metadata service: see the routes to it")
            }
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Effect(error) => error.retry_after(),
            Self::Binding(_)
            | Self::ChangedOnDisk
            | Self::Files(_)
            | Self::Follower { .. }
            | Self::Lock(_)
            | Self::NeverAuthenticates { .. }
            | Self::NewKeyRefused(_)
            | Self::NoPromotion
            | Self::NotAToken(_)
            | Self::NotEnrolled
            | Self::NotYetEnrolled
            | Self::Owned { .. }
            | Self::PromotedKeyLost(_)
            | Self::Proof { .. }
            | Self::Redeem { .. }
            | Self::Refusal(_)
            | Self::Rotation { .. }
            | Self::Sealed(_)
            | Self::Source(_)
            | Self::Squatted { .. }
            | Self::Storage(_)
            | Self::Stranger { .. }
            | Self::Template(_)
            | Self::TokenRefused { .. }
            | Self::TwoInstances
            | Self::Verify { .. } => None,
        }
    }
    fn given_up(self) -> Self {
        // What a call of its own repeats was given up there already.
        if let Self::Effect(error) = self { Self::Effect(error.given_up()) } else { self }
    }
}
