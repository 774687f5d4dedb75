//! What each token that Conjur lists is to this deployment, for whoever looks at a list of them. Nothing is
//! decided here that `plan` does not decide: an orphan here is an orphan there.

use super::{Facts, Listed, Published, line, orphans};
use crate::label::Kind;
use imprint_core::second::Second;
use std::fmt;

/// What a token is.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Standing {
    /// Of ours, minted by `token create` for a person.
    ByHand,
    /// Of ours, sealed with facts of machines.
    ClientData,
    /// Of ours for a layer, and so young that a run may be about to publish it.
    Coming,
    /// Of ours, and over.
    Expired,
    /// Somebody else's, live or over.
    Foreign,
    /// Of ours, minted for one instance. It lives for minutes.
    Instance,
    /// Of ours for a layer, never published, and too old to be.
    Orphan,
    /// What agents find.
    Published,
    /// Of ours for a layer; published before, or perhaps. It lives until it ends, for those that hold it.
    Superseded,
    /// Of ours; what for cannot be told: what is published names no token, or a later version minted it.
    Unclear,
}

impl Standing {
    /// The name in tables and `--json` output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ByHand => "by hand",
            Self::ClientData => "client data",
            Self::Coming => "coming",
            Self::Expired => "expired",
            Self::Foreign => "foreign",
            Self::Instance => "instance",
            Self::Orphan => "orphan",
            Self::Published => "published",
            Self::Superseded => "superseded",
            Self::Unclear => "unclear",
        }
    }
}

impl fmt::Display for Standing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The standing of each token of `facts.listed`, in its order.
#[must_use]
pub fn standings(facts: &Facts<'_>, now: Second) -> Vec<Standing> {
    let (line, orphans) = (line(facts), orphans(facts, now));
    let published = match facts.published {
        Published::Sealed(binding) => Some(&binding.fingerprint),
        Published::Nothing | Published::Unreadable => None,
    };
    let standing = |token: &Listed| {
        let label = token.label.filter(|label| label.deployment == facts.deployment);
        let Some(label) = label.filter(|_| published != Some(&token.fingerprint)) else {
            // Whatever its label is: it is what agents redeem.
            return if published == Some(&token.fingerprint) {
                Standing::Published
            } else {
                Standing::Foreign
            };
        };
        match label.kind {
            _ if token.expires_at <= now => Standing::Expired,
            Kind::ByHand => Standing::ByHand,
            Kind::ClientData => Standing::ClientData,
            Kind::Instance => Standing::Instance,
            Kind::Layer if orphans.contains(&token) => Standing::Orphan,
            Kind::Layer if line.contains(&token) => Standing::Superseded,
            Kind::Layer if facts.policy.may_come(label.minted_at, now) => Standing::Coming,
            Kind::Layer if !line.is_empty() => Standing::Superseded,
            Kind::Layer | Kind::Other(_) => Standing::Unclear,
        }
    };
    facts.listed.iter().map(standing).collect()
}
