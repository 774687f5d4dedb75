//! What to do about one instance's token: a pure function of what lies under its key in S3, what Conjur lists
//! and the time.
//!
//! As in rotation, Conjur's list is believed more than the object. Nothing is remembered elsewhere, and nothing
//! is revoked: a token that a run minted and did not come to publish is known by its label, and is what the next
//! run publishes. If none comes, it ends within minutes.

use crate::label::{Deployment, Kind, Label, anywhere};
use crate::plan::{Listed, Published, Why, is_as_wanted};
use crate::policy::CLOCKS;
use imprint_core::conjur::Minted;
use imprint_core::name::InstanceId;
use imprint_core::sealed::Binding;
use imprint_core::second::Second;
use imprint_core::token::Fingerprint;
use ipnet::IpNet;
use std::collections::BTreeSet;
use std::time::Duration;

/// A token as Conjur lists it, without the secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Its name, end and label.
    pub listed: Listed,
    /// Its networks without the label.
    pub cidr: BTreeSet<IpNet>,
}

impl Seen {
    /// What a decision may know of a token.
    #[must_use]
    pub fn of(token: &Minted) -> Self {
        let cidr = token.cidr.iter().filter(|net| Label::parse(net).is_none()).copied().collect();
        Self { listed: Listed::of(token), cidr }
    }
}

/// What is known about one instance and one factory.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Which labels are ours.
    pub deployment: Deployment,
    /// Whose token it is.
    pub instance: &'a InstanceId,
    /// How long a token lives.
    pub life: Duration,
    /// What lies under the instance's key.
    pub published: Published<'a>,
    /// What a token published now would say; its own fields are not looked at.
    pub wanted: &'a Binding,
    /// What Conjur lists for the factory.
    pub listed: &'a [Seen],
}

/// What to do about it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Step {
    /// What is published is good for long enough.
    Keep,
    /// Seal and publish one.
    Publish {
        /// One that was minted for this instance and never published; `None` to mint.
        minted: Option<Fingerprint>,
        /// Why.
        why: Why,
    },
}

impl Facts<'_> {
    /// Whether a token with this end is left as it is: half of its life is enough for whoever has been told of it.
    fn is_enough(&self, expires_at: Second, now: Second) -> bool {
        expires_at >= now.plus(self.life / 2) && expires_at <= now.plus(self.life).plus(CLOCKS)
    }
}

/// Decides.
#[must_use]
pub fn plan(facts: &Facts<'_>, now: Second) -> Step {
    let (published, why) = match facts.published {
        Published::Nothing => (None, Why::Nothing),
        Published::Unreadable => (None, Why::Unreadable),
        Published::Sealed(binding) => match why_replace(facts, binding, now) {
            None => return Step::Keep,
            Some(why) => (Some(&binding.fingerprint), why),
        },
    };
    let networks: BTreeSet<IpNet> = if facts.wanted.cidr.is_empty() {
        anywhere().into()
    } else {
        facts.wanted.cidr.iter().copied().collect()
    };
    let is_left = |seen: &&Seen| {
        let is_for = |label: Label| label.deployment == facts.deployment && label.is_for(facts.instance);
        seen.listed.label.is_some_and(is_for)
            && Some(&seen.listed.fingerprint) != published
            && facts.is_enough(seen.listed.expires_at, now)
            && seen.cidr == networks
    };
    let left = facts.listed.iter().filter(is_left).max_by_key(|seen| seen.listed.expires_at);
    Step::Publish { minted: left.map(|seen| seen.listed.fingerprint.clone()), why }
}

fn why_replace(facts: &Facts<'_>, binding: &Binding, now: Second) -> Option<Why> {
    let wanted = facts.wanted;
    if (&binding.account, &binding.host_factory, &binding.scope)
        != (&wanted.account, &wanted.host_factory, &wanted.scope)
    {
        return Some(Why::Tampered);
    }
    if binding.expires_at <= now {
        return Some(Why::Expired);
    }
    if !is_as_wanted(binding, wanted) {
        return Some(Why::Changed);
    }
    let Some(seen) = facts.listed.iter().find(|seen| seen.listed.fingerprint == binding.fingerprint) else {
        return Some(Why::Unlisted);
    };
    let is_for = |label: Label| label.deployment == facts.deployment && label.is_for(facts.instance);
    if !seen.listed.label.is_some_and(is_for) || seen.listed.expires_at != binding.expires_at {
        return Some(Why::Tampered);
    }
    (!facts.is_enough(binding.expires_at, now)).then_some(Why::Due)
}

/// Tokens for instances that are over, the oldest first: Conjur never deletes them.
#[must_use]
pub fn expired(listed: &[Seen], deployment: Deployment, now: Second) -> Vec<Fingerprint> {
    let is_over = |seen: &&Seen| {
        let is_ours = |label: Label| label.deployment == deployment && label.kind == Kind::Instance;
        seen.listed.label.is_some_and(is_ours) && seen.listed.expires_at.plus(CLOCKS) < now
    };
    let mut over: Vec<&Listed> = listed.iter().filter(is_over).map(|seen| &seen.listed).collect();
    over.sort_by_key(|token| token.expires_at);
    over.into_iter().map(|token| token.fingerprint.clone()).collect()
}

#[cfg(test)]
mod tests;
