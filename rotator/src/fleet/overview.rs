//! Which instances have no host, which hosts no instance, who is not pinned and who not promoted: a pure function
//! of what Conjur lists, what EC2 says, what is remembered and what the rules ask for.
//!
//! A host is known by its id (see `host`), so instances whose agents are told to call them otherwise
//! look as if they had none.

use super::host::{Host, Place};
use super::memory::Memory;
use super::pins::{self, networks};
use super::rules::{Rules, Verdict};
use crate::config::Factory;
use imprint_core::aws::ec2::{Instance, Life};
use imprint_core::name::{FactoryId, HostId, InstanceId};
use imprint_core::second::Second;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long after its launch an instance may still be on its way: enrolling, waiting for a promotion or a pin.
pub const ON_ITS_WAY: Duration = Duration::from_secs(15 * 60);

/// How long a pin is taken for one: runs make it anew after [`pins::BELIEVED`], so none is much older while they run.
const PINNED: Duration = Duration::from_secs(pins::BELIEVED.as_secs() + 60 * 60);

/// What one factory's look showed.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Looked {
    /// Its hosts of instances of this place.
    pub hosts: Vec<Host>,
    /// How many other hosts its layer has.
    pub others: usize,
    /// What EC2 says of the instances of the hosts.
    pub instances: BTreeMap<InstanceId, Instance>,
    /// What is remembered of them.
    pub memory: Memory,
    with_host: BTreeSet<InstanceId>,
}

impl Looked {
    /// What a look showed, in the same order.
    #[must_use]
    pub fn new(
        hosts: Vec<Host>,
        others: usize,
        instances: BTreeMap<InstanceId, Instance>,
        memory: Memory,
    ) -> Self {
        let with_host = hosts.iter().map(|host| host.instance.clone()).collect();
        Self { hosts, others, instances, memory, with_host }
    }
}

/// All that an overview is made of. Hosts were listed before the instances: a host is made after its instance.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Where it was asked.
    pub place: &'a Place,
    /// What is asked for.
    pub rules: &'a Rules,
    /// The factories that the rules of this one speak of, and this one.
    pub looked: &'a BTreeMap<FactoryId, Looked>,
    /// Running instances that rules may mean.
    pub running: &'a BTreeMap<InstanceId, Instance>,
    /// When it is.
    pub now: Second,
}

/// What is to be seen of one factory. Lists are in the order of their ids.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Overview {
    /// How many hosts of instances of this place it has.
    pub hosts: usize,
    /// How many others its layer has, which are nobody's business here.
    pub others: usize,
    /// Running instances without a host that a rule wants one for, with its name; `None` where no rule says
    /// which instances should have one.
    pub without_host: Option<Vec<(InstanceId, String)>>,
    /// Hosts whose instance is terminated or not known, with the time since when it was missing in looks.
    pub without_instance: Vec<(Host, Option<Second>)>,
    /// Hosts that are to be pinned, and are not, or for too long not anew.
    pub unpinned: Vec<HostId>,
    /// Running instances that a rule promotes to this factory and that still have their first host, with the
    /// rule's name; `None` where no rule promotes to it.
    pub unpromoted: Option<Vec<(InstanceId, String)>>,
    /// How many of these are so young that they are on their way, and not counted among them.
    pub on_their_way: usize,
}

/// What is to be seen of a factory; `None` when it was not looked at.
#[must_use]
pub fn overview(factory: &Factory, facts: &Facts<'_>) -> Option<Overview> {
    let looked = facts.looked.get(&factory.id)?;
    let mut seen = Overview { hosts: looked.hosts.len(), others: looked.others, ..Overview::default() };
    for host in &looked.hosts {
        match looked.instances.get(&host.instance) {
            Some(instance) if instance.life != Life::Terminated => {
                if is_unpinned(factory, host, instance, looked, facts) {
                    seen.tell_unless_young(instance, facts.now, |seen| seen.unpinned.push(host.id.clone()));
                }
            }
            gone => {
                let since = looked.memory.missing.get(&host.id).copied().filter(|_| gone.is_none());
                seen.without_instance.push((host.clone(), since));
            }
        }
    }
    let promotes = facts.rules.of(&factory.id).any(|rule| rule.promote_from.is_some());
    let first_of = |rule: &&super::rules::Rule| rule.promote_from.as_ref() == Some(&factory.id);
    if promotes {
        seen.unpromoted = Some(Vec::new());
    }
    if facts
        .rules
        .iter()
        .any(|rule| first_of(&rule) || (rule.factory == factory.id && rule.promote_from.is_none()))
    {
        seen.without_host = Some(Vec::new());
    }
    for (id, instance) in facts.running {
        if instance.life != Life::Running || facts.has_host(&factory.id, id) {
            continue;
        }
        if let Some((first, name)) = facts.wanted(factory, instance) {
            seen.tell_unless_young(instance, facts.now, |seen| {
                let list = if first { &mut seen.without_host } else { &mut seen.unpromoted };
                list.get_or_insert_default().push((id.clone(), name));
            });
        }
    }
    Some(seen)
}

impl Overview {
    fn tell_unless_young(&mut self, instance: &Instance, now: Second, tell: impl FnOnce(&mut Self)) {
        if instance.attached_at.is_some_and(|launched| now.since(launched) < ON_ITS_WAY) {
            self.on_their_way += 1;
        } else {
            tell(self);
        }
    }
}

impl Facts<'_> {
    fn has_host(&self, factory: &FactoryId, instance: &InstanceId) -> bool {
        self.looked.get(factory).is_some_and(|looked| looked.with_host.contains(instance))
    }

    fn judge(&self, factory: &FactoryId, instance: &Instance) -> Verdict<'_> {
        self.rules.judge(factory, instance, self.place, self.now)
    }

    /// Why an instance that has no host of this factory should have one, by the name of a rule: as its first
    /// (`true`), or by a promotion from the one that it has.
    fn wanted(&self, factory: &Factory, instance: &Instance) -> Option<(bool, String)> {
        // It was promoted, and its first host removed.
        let onward = |to: &FactoryId| self.has_host(to, &instance.id);
        let targets: BTreeSet<&FactoryId> = self
            .rules
            .iter()
            .filter(|rule| rule.promote_from.as_ref() == Some(&factory.id))
            .map(|rule| &rule.factory)
            .collect();
        if targets.iter().any(|to| onward(to)) {
            return None;
        }
        let verdict = self.judge(&factory.id, instance);
        if let Some(rule) = verdict.rules_so_far().find(|rule| rule.promote_from.is_none()) {
            return Some((true, rule.name.clone()));
        }
        let promoted = |from: &FactoryId| self.has_host(from, &instance.id);
        let mut promoting = verdict.rules_so_far();
        if let Some(rule) = promoting.find(|rule| rule.promote_from.as_ref().is_some_and(promoted)) {
            return Some((false, rule.name.clone()));
        }
        // Who is to be promoted must have enrolled first.
        targets.into_iter().find_map(|to| {
            let verdict = self.judge(to, instance);
            let rule = verdict.rules_so_far().find(|rule| rule.promote_from.as_ref() == Some(&factory.id))?;
            Some((true, rule.name.clone()))
        })
    }
}

fn is_unpinned(
    factory: &Factory,
    host: &Host,
    instance: &Instance,
    looked: &Looked,
    facts: &Facts<'_>,
) -> bool {
    let wanted = networks(instance);
    let asked_for = factory.pin || facts.judge(&factory.id, instance).pins();
    let is_pinned = looked
        .memory
        .pinned
        .get(&host.id)
        .is_some_and(|pin| pin.to == wanted && pin.at <= facts.now && facts.now.since(pin.at) < PINNED);
    // One that ends has no address to be pinned to.
    asked_for && !wanted.is_empty() && !is_pinned
}

#[cfg(test)]
mod tests;
