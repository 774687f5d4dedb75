//! Whose instance is gone: a pure function of what Conjur lists, what EC2 says and what was missing before.
//!
//! EC2 may not know an instance for some moments after its launch, and shows a dead one for about an hour.
//! So an instance is gone when EC2 says `terminated`, or when it was missing in two looks that lie
//! [`Limits::missing_for`] apart, with none in between that saw it, and once more when it is asked for
//! again right before the end ([`Sweep::confirm`]): a run that saw it and then died has told nobody.
//! Nothing else is proof: no event, and no single look.

use super::host::Host;
use imprint_core::aws::ec2::Life;
use imprint_core::name::{HostId, InstanceId};
use imprint_core::second::Second;
use std::collections::BTreeMap;
use std::time::Duration;

/// When each host's instance was first missing, in looks since then without a break.
pub type Missing = BTreeMap<HostId, Second>;

/// How careful a sweep is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How far two looks must lie apart that both miss an instance.
    pub missing_for: Duration,
    /// The most hosts that one sweep removes.
    pub most: usize,
    /// Whether to believe EC2 when it knows not one of many instances.
    pub even_all: bool,
}

/// All that a sweep is decided on. The hosts were listed before the instances were asked for: a host is
/// made after its instance.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The hosts at Conjur.
    pub hosts: &'a [Host],
    /// What EC2 says of those instances that it knows.
    pub lives: &'a BTreeMap<InstanceId, Life>,
    /// What was missing before.
    pub missing: &'a Missing,
    /// How careful to be.
    pub limits: Limits,
}

/// Why a host is to be removed.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Why {
    /// EC2 says that its instance is terminated.
    Terminated,
    /// EC2 has not known its instance since then.
    Missing(Second),
}

/// What a sweep does.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Sweep {
    /// Hosts to remove, the terminated first, then those that were missing for longest.
    pub gone: Vec<(Host, Why)>,
    /// How many more are gone, for the next sweep.
    pub held_back: usize,
    /// Hosts whose instance is missing, but not for long enough.
    pub waiting: Vec<Host>,
    /// EC2 knows not one of so many instances that it is rather asked in the wrong place.
    pub unlikely: bool,
    /// What the next sweep must know.
    pub missing: Missing,
}

impl Sweep {
    /// The instances to ask for once more: those that were only missing.
    #[must_use]
    pub fn doubtful(&self) -> Vec<InstanceId> {
        let missing = self.gone.iter().filter(|(_, why)| matches!(why, Why::Missing(_)));
        missing.map(|(host, _)| host.instance.clone()).collect()
    }

    /// Spares those of them that EC2 now knows: whatever it says of them, the next sweep will judge.
    pub fn confirm(&mut self, lives: &BTreeMap<InstanceId, Life>) {
        let known = |host: &Host| lives.contains_key(&host.instance);
        for (host, _) in self.gone.extract_if(.., |(host, why)| matches!(why, Why::Missing(_)) && known(host))
        {
            self.missing.remove(&host.id);
        }
    }
}

/// With fewer hosts than this, all of them may well be gone at once.
const MANY: usize = 10;

/// Decides who is gone.
#[must_use]
pub fn sweep(facts: &Facts<'_>, now: Second) -> Sweep {
    let mut sweep = Sweep::default();
    for host in facts.hosts {
        match facts.lives.get(&host.instance) {
            Some(Life::Terminated) => sweep.gone.push((host.clone(), Why::Terminated)),
            // A stopped instance may be started again, and keeps its identity.
            Some(_) => {}
            None => {
                // A time that lies ahead was told by a wrong clock.
                let since = facts.missing.get(&host.id).copied().filter(|since| *since <= now).unwrap_or(now);
                sweep.missing.insert(host.id.clone(), since);
                if since < now && now.since(since) >= facts.limits.missing_for {
                    sweep.gone.push((host.clone(), Why::Missing(since)));
                } else {
                    sweep.waiting.push(host.clone());
                }
            }
        }
    }
    if facts.lives.is_empty() && facts.hosts.len() >= MANY && !facts.limits.even_all {
        sweep.unlikely = true;
        // Nothing of such a look is kept either.
        return Sweep {
            gone: Vec::new(),
            held_back: 0,
            waiting: Vec::new(),
            missing: facts.missing.clone(),
            ..sweep
        };
    }
    sweep.gone.sort_by(|(one, why), (other, its)| why.cmp(its).then_with(|| one.cmp(other)));
    sweep.held_back = sweep.gone.len().saturating_sub(facts.limits.most);
    sweep.gone.truncate(facts.limits.most);
    sweep
}

#[cfg(test)]
mod tests;
