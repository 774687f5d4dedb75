//! What to do for one factory: a pure function of what S3 holds, what Conjur lists, the
//! configuration and the time.
//!
//! The decision trusts Conjur's list more than the object in S3, whose clear fields anybody who may
//! put it could have written: a token counts only while Conjur lists it with our label and the same
//! end.

mod standing;

pub use standing::{Standing, standings};

use crate::config::{Config, Factory};
use crate::label::{Deployment, Kind, Label};
use crate::policy::{CLOCKS, Policy};
use imprint_core::conjur::Minted;
use imprint_core::sealed::Binding;
use imprint_core::second::Second;
use imprint_core::token::Fingerprint;
use ipnet::IpNet;
use std::fmt;

/// What lies under the factory's key in S3.
#[derive(Clone, Copy, Debug)]
pub enum Published<'a> {
    /// Nothing.
    Nothing,
    /// A sealed token.
    Sealed(&'a Binding),
    /// Something else.
    Unreadable,
}

/// A token as Conjur lists it, without the secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Listed {
    /// Its name.
    pub fingerprint: Fingerprint,
    /// When it ends.
    pub expires_at: Second,
    /// What its label says; `None` for a foreign one.
    pub label: Option<Label>,
}

impl Listed {
    /// What a decision may know of a token.
    #[must_use]
    pub fn of(token: &Minted) -> Self {
        Self::new(token.token.fingerprint(), token.expires_at, &token.cidr)
    }

    /// A token of this name, end and networks.
    #[must_use]
    pub fn new(fingerprint: Fingerprint, expires_at: Second, cidr: &[IpNet]) -> Self {
        Self { fingerprint, expires_at, label: Label::among(cidr) }
    }

    /// Whether this deployment minted it.
    #[must_use]
    pub fn is_ours(&self, deployment: Deployment) -> bool {
        self.label.is_some_and(|label| label.deployment == deployment)
    }

    /// Its label, if this deployment minted it for a layer.
    fn layers(&self, deployment: Deployment) -> Option<Label> {
        self.label.filter(|label| label.deployment == deployment && label.kind == Kind::Layer)
    }
}

/// Why a new token is minted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Why {
    /// An operator asked for it.
    Asked,
    /// The configuration no longer gives what is published: another URL, CA, network, window.
    Changed,
    /// Its period is over.
    Due,
    /// It has ended; agents have nothing to redeem.
    Expired,
    /// Nothing was published yet.
    Nothing,
    /// The rotator never wrote it: it names another factory, or another end than Conjur lists, or a
    /// token that Conjur lists without this deployment's label.
    Tampered,
    /// Conjur no longer lists it: revoked by hand, database restored, factory made anew.
    Unlisted,
    /// What is published is no sealed token.
    Unreadable,
}

impl Why {
    /// The name in logs and `--json` output.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Asked => "asked",
            Self::Changed => "changed",
            Self::Due => "due",
            Self::Expired => "expired",
            Self::Nothing => "nothing published",
            Self::Tampered => "tampered",
            Self::Unlisted => "unlisted",
            Self::Unreadable => "unreadable",
        }
    }

    /// The reason in words, for a person.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Asked => "it is asked for",
            Self::Changed => "the configuration no longer gives what is published",
            Self::Due => "its period is over",
            Self::Expired => "it has ended, and agents have nothing to redeem",
            Self::Nothing => "nothing is published",
            Self::Tampered => "the rotator never wrote what is published",
            Self::Unlisted => "Conjur no longer lists what is published",
            Self::Unreadable => "what is published is no sealed token",
        }
    }

    /// Whether somebody should look: a routine does not lead here.
    #[must_use]
    pub const fn is_event(self) -> bool {
        match self {
            Self::Expired | Self::Tampered | Self::Unlisted | Self::Unreadable => true,
            Self::Asked | Self::Changed | Self::Due | Self::Nothing => false,
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What to do about the published token.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Nothing until then.
    Keep {
        /// When it falls due.
        until: Second,
    },
    /// Mint, seal and publish a new one.
    Mint(Why),
    /// Nothing ever: no token is shared, each instance has one of its own.
    Unshared,
}

/// What to do for one factory.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Plan {
    /// About the published token.
    pub step: Step,
    /// Expired tokens of ours, oldest first: Conjur never purges them.
    pub expired: Vec<Fingerprint>,
    /// Live tokens of ours that were never published and never will be, oldest first.
    pub orphans: Vec<Fingerprint>,
}

/// What is known about one factory.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The windows.
    pub policy: &'a Policy,
    /// Which labels are ours.
    pub deployment: Deployment,
    /// What S3 holds, read no earlier than the time of the decision: a put that was under way when
    /// the time was read must not look like one that never was.
    pub published: Published<'a>,
    /// What a token published now would say, for comparison: its own fields (fingerprint, times,
    /// rotation) are not looked at.
    pub wanted: &'a Binding,
    /// What Conjur lists for the factory.
    pub listed: &'a [Listed],
    /// Whether the factory's tokens are minted elsewhere: they need no label, live as long as they do, and have
    /// networks of their own.
    pub given: bool,
    /// Whether the factory's instances share a token at all.
    pub shared: bool,
    /// Whether a new token is asked for in any case.
    pub asked: bool,
}

/// Which live tokens an incident ends, when `published` is what agents now find (`None`: nothing, since no token is
/// shared): all of ours but it,
/// those that were sealed with client data, for one instance or minted by hand, which no other token takes the place of, and
/// those that another run minted after it to take its place, since that run may be about to publish one.
#[must_use]
pub fn superseded(
    listed: &[Listed],
    published: Option<&Fingerprint>,
    deployment: Deployment,
    now: Second,
) -> Vec<Fingerprint> {
    let ours = || listed.iter().filter(|token| token.is_ours(deployment));
    let mut newer: Vec<&Listed> = ours().filter(|token| Some(&token.fingerprint) == published).collect();
    let since = newer.iter().filter_map(|token| token.label).map(|label| label.minted_at).min();
    let mut at = 0;
    while let Some(before) = newer.get(at) {
        at += 1;
        let comes_after = |token: &&Listed| {
            token.layers(deployment).is_some_and(|label| {
                // A mark is short: one of an older token that fits by chance does not save it.
                let in_time = since.is_some_and(|since| label.minted_at.plus(CLOCKS) >= since);
                label.before.is_of(&before.fingerprint) && in_time
            }) && !newer.contains(token)
        };
        let after: Vec<&Listed> = ours().filter(comes_after).collect();
        newer.extend(after);
    }
    let ends = |token: &&Listed| {
        let elsewhere = token
            .label
            .is_some_and(|label| matches!(label.kind, Kind::ByHand | Kind::ClientData | Kind::Instance));
        !elsewhere && !newer.contains(token) && token.expires_at.plus(CLOCKS) >= now
    };
    // Without the published one in the list nothing is sure.
    if published.is_some() && newer.is_empty() {
        Vec::new()
    } else {
        ours().filter(ends).map(|t| t.fingerprint.clone()).collect()
    }
}

/// What a binding of `factory` would say if it were published now, for [`Facts::wanted`].
#[must_use]
pub fn wanted(config: &Config, factory: &Factory, now: Second) -> Binding {
    config.binding(factory, Fingerprint::of(b""), "wanted", now, now)
}

/// Decides.
#[must_use]
pub fn plan(facts: &Facts<'_>, now: Second) -> Plan {
    let why = match facts.published {
        Published::Nothing => Some(Why::Nothing),
        Published::Unreadable => Some(Why::Unreadable),
        Published::Sealed(binding) => why_replace(facts, binding, now),
    };
    let published = match facts.published {
        Published::Sealed(binding) => Some(binding),
        Published::Nothing | Published::Unreadable => None,
    };
    let step = match (why, published) {
        // One that was published while they shared it is left to expire.
        _ if !facts.shared => Step::Unshared,
        // What is wrong with it is worth more than that somebody asked.
        (Some(why), _) => Step::Mint(why),
        (None, _) if facts.asked => Step::Mint(Why::Asked),
        (None, Some(binding)) => Step::Keep { until: facts.policy.due(binding.expires_at) },
        (None, None) => Step::Mint(Why::Nothing),
    };
    // Conjur judges the end by its own clock.
    let is_over = |token: &Listed| token.expires_at.plus(CLOCKS) < now;
    let named = |mut tokens: Vec<&Listed>| {
        tokens.sort_by_key(|token| token.expires_at);
        tokens.into_iter().map(|token| token.fingerprint.clone()).collect()
    };
    let ours = facts.listed.iter().filter(|token| token.is_ours(facts.deployment));
    let expired = named(ours.filter(|token| is_over(token)).collect());
    let orphans = named(orphans(facts, now).into_iter().filter(|token| !is_over(token)).collect());
    Plan { step, expired, orphans }
}

/// Tokens of ours for a layer that no agent can hold: not published, not published before, and too
/// old to be published yet.
///
/// What was published before is known from the labels: each names the token in whose place it was
/// minted, and the put that published it was conditional on just that one. Where that line ends,
/// since nothing was there before, or Conjur no longer lists what was, older tokens may have been
/// published too; agents may redeem them until the overlap and a boot are over. What an untrusted
/// object names, or none, tells nothing, and all are left alone.
fn orphans<'a>(facts: &Facts<'a>, now: Second) -> Vec<&'a Listed> {
    let known = line(facts);
    let labels = known
        .iter()
        .filter_map(|token| token.label)
        .filter(|label| !matches!(label.kind, Kind::ByHand | Kind::ClientData | Kind::Instance));
    let Some(oldest) = labels.map(|label| label.minted_at).min() else { return Vec::new() };
    let is_orphan = |token: &&Listed| {
        let Some(Label { minted_at, .. }) = token.layers(facts.deployment) else { return false };
        let never_published = minted_at > oldest || !facts.policy.may_redeem_before(oldest, now);
        never_published && !known.contains(token) && !facts.policy.may_come(minted_at, now)
    };
    facts.listed.iter().filter(|token| token.is_ours(facts.deployment)).filter(is_orphan).collect()
}

/// The published token, if Conjur lists it, and those that were published before it, one by one back; empty
/// where the object cannot be trusted to name it.
fn line<'a>(facts: &Facts<'a>) -> Vec<&'a Listed> {
    let Published::Sealed(binding) = facts.published else { return Vec::new() };
    let is_published =
        |token: &&Listed| token.fingerprint == binding.fingerprint && token.expires_at == binding.expires_at;
    let ours = || facts.listed.iter().filter(|token| token.is_ours(facts.deployment));
    let mut known: Vec<&Listed> = ours().filter(is_published).collect();
    let mut at = 0;
    while let Some(token) = known.get(at) {
        at += 1;
        let Some(label) = token.layers(facts.deployment) else { continue };
        let before = |token: &&Listed| label.before.is_of(&token.fingerprint) && !known.contains(token);
        let before: Vec<&Listed> = ours().filter(before).collect();
        known.extend(before);
    }
    known
}

fn why_replace(facts: &Facts<'_>, binding: &Binding, now: Second) -> Option<Why> {
    let wanted = facts.wanted;
    // The rotator never writes one factory's token under another's key.
    if (&binding.account, &binding.host_factory, &binding.scope)
        != (&wanted.account, &wanted.host_factory, &wanted.scope)
    {
        return Some(Why::Tampered);
    }
    let cidr = if facts.given { binding.cidr.clone() } else { wanted.cidr.clone() };
    if !is_as_wanted(binding, &Binding { cidr, ..wanted.clone() }) {
        return Some(Why::Changed);
    }
    let Some(listed) = facts.listed.iter().find(|token| token.fingerprint == binding.fingerprint) else {
        // Conjur keeps expired tokens, but another run, or a person, may have deleted it.
        return Some(if binding.expires_at <= now { Why::Expired } else { Why::Unlisted });
    };
    // No rotator of this deployment ever published a token without its label.
    if !(facts.given || listed.is_ours(facts.deployment)) || listed.expires_at != binding.expires_at {
        return Some(Why::Tampered);
    }
    if binding.expires_at <= now {
        return Some(Why::Expired);
    }
    // The lifetime was made shorter: what is out lives longer than the operator wants.
    if !facts.given && binding.expires_at > now.plus(facts.policy.lifetime()).plus(CLOCKS) {
        return Some(Why::Changed);
    }
    (facts.policy.due(binding.expires_at) <= now).then_some(Why::Due)
}

/// Whether all that the configuration decides is the same.
pub(crate) fn is_as_wanted(published: &Binding, wanted: &Binding) -> bool {
    *published
        == Binding {
            fingerprint: published.fingerprint.clone(),
            rotation_id: published.rotation_id.clone(),
            issued_at: published.issued_at,
            expires_at: published.expires_at,
            ..wanted.clone()
        }
}

#[cfg(test)]
mod tests;
