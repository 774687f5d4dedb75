//! Hosts are tied to the addresses of their instance.
//!
//! Only hosts that were listed a moment ago are named: Conjur would make one that is not there. One that it
//! made all the same, since the host was removed in that moment, is deleted at once. Conjur says once which it
//! made; where that reply was lost, the layer tells, to which such a host does not belong.

use super::effects::Effects;
use super::host::Host;
use super::look::Look;
use super::memory::{Memory, Pin};
use super::pins::{Pins, pins};
use super::report::{Done, Outcome};
use super::run::{Error, Run};
use crate::config::Factory;
use crate::effects;
use imprint_core::name::HostId;
use ipnet::IpNet;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

/// How many hosts one load of policy ties: each load holds a lock at Conjur.
const AT_ONCE: usize = 100;

/// No load is begun with less time left than one may take, with what is to be remembered after it.
const LEFT: Duration = Duration::from_secs(40);

impl<E: Effects> Run<'_, E> {
    /// Ties the hosts of a factory to their instances' addresses.
    pub(super) async fn pin(&self, factory: &Factory) -> Outcome {
        let mut notes = Vec::new();
        let result = self.tie(factory, &mut notes).await.map(Done::Pinned);
        Outcome { factory: factory.id.clone(), result, notes }
    }

    async fn tie(&self, factory: &Factory, notes: &mut Vec<String>) -> Result<Pins, Error> {
        let look = self.look(factory, notes).await?;
        let hosts = self.to_pin(factory, &look);
        if !self.ask.instances.is_empty() {
            for host in look.hosts.iter().filter(|host| !hosts.contains(host)) {
                notes.push(format!("no rule pins {}; --factory {} does", host.id, factory.id));
            }
        }
        let mut pins = pins(&hosts, &look.instances, &look.memory.pinned, self.now());
        if self.ask.dry_run {
            return Ok(pins);
        }
        let mut memory = Memory { missing: look.still_missing(), pinned: look.memory.pinned.clone() };
        memory.pinned.retain(|id, _| look.all.contains(id));
        let mut tied = BTreeMap::new();
        let mut end = Ok(());
        let hosts: Vec<(&HostId, &Vec<IpNet>)> = pins.tie.iter().collect();
        for some in hosts.chunks(AT_ONCE) {
            if self.retry.remaining() < LEFT {
                let left = hosts.len() - tied.len();
                notes.push(format!("{left} more are for the next run, since the time of this one is over"));
                break;
            }
            let some = some.iter().map(|(id, nets)| ((*id).clone(), (*nets).clone())).collect();
            if let Err(error) = self.tie_some(factory, &some).await {
                // What was tied before is remembered; the rest is for the next run.
                end = Err(error);
                break;
            }
            tell(factory, &some);
            let at = self.now();
            memory.pinned.extend(some.iter().map(|(id, to)| (id.clone(), Pin { to: to.clone(), at })));
            tied.extend(some);
        }
        let remembered = self.remember(factory, &look, &memory, notes).await;
        end?;
        remembered?;
        pins.tie = tied;
        Ok(pins)
    }

    /// All of those looked at, or those that a rule pins.
    fn to_pin(&self, factory: &Factory, look: &Look) -> Vec<Host> {
        let mut hosts = look.hosts.clone();
        if !factory.pin && self.ask.factories.is_empty() {
            hosts.retain(|host| {
                let instance = look.instances.get(&host.instance);
                instance.is_some_and(|instance| self.judge(factory, instance).pins())
            });
        }
        hosts
    }

    /// Ties hosts that this run has listed, whatever is remembered of them.
    pub(super) async fn tie_now(
        &self,
        factory: &Factory,
        hosts: BTreeMap<HostId, Vec<IpNet>>,
    ) -> Result<(), Error> {
        let hosts: Vec<(HostId, Vec<IpNet>)> = hosts.into_iter().collect();
        for some in hosts.chunks(AT_ONCE) {
            if self.retry.remaining() < LEFT {
                return Err(Error::NoTime { factory: factory.id.clone() });
            }
            let some = some.iter().cloned().collect();
            self.tie_some(factory, &some).await?;
            tell(factory, &some);
        }
        Ok(())
    }

    async fn tie_some(&self, factory: &Factory, some: &BTreeMap<HostId, Vec<IpNet>>) -> Result<(), Error> {
        let branch = &factory.hosts_branch;
        let lost = Cell::new(false);
        // Tying again to the same is neutral, but tells no more of a host that was made the first time.
        let tied = self.with("pin hosts", async |with| {
            let tied = self.on.restrict_hosts(with, branch, some).await;
            lost.set(lost.get() || tied.as_ref().is_err_and(effects::Error::is_unknown_outcome));
            tied
        });
        let tied = tied.await;
        let mut made = tied.as_ref().map_or_else(|_| Vec::new(), Clone::clone);
        if lost.get() {
            // Who has left the layer since it was listed was removed, or taken out of it by somebody who wants it
            // to do nothing any more: deleted, it does that as well.
            let members = self.members(factory).await?;
            made.extend(some.keys().filter(|id| !members.contains(id)).cloned());
            made.sort();
            made.dedup();
        }
        if made.is_empty() {
            return tied.map(drop).map_err(Error::from);
        }
        let deleted =
            self.with("delete hosts", async |with| self.on.delete_hosts(with, branch, &made).await).await;
        let source = deleted.err().map(Box::new);
        Err(Error::Made { factory: factory.id.clone(), hosts: made, source })
    }
}

fn tell(factory: &Factory, tied: &BTreeMap<HostId, Vec<IpNet>>) {
    for (host, networks) in tied {
        let (event, factory) = ("host pinned", factory.id.as_str());
        let networks = format!("{networks:?}");
        let (host, networks) = (host.as_str(), networks.as_str());
        log::info!(event, factory, host, networks; "{factory}: {host} is tied to {networks}");
    }
}
