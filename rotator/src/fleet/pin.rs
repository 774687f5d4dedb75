//! Hosts are tied to the addresses of their instance.
//!
//! Only hosts that were listed a moment ago are named: Conjur would make one that is not there. One that it
//! made all the same, since the host was removed in that moment, is deleted at once.

use super::effects::Effects;
use super::memory::Memory;
use super::pins::{Pins, pins};
use super::report::{Done, Outcome};
use super::run::{Error, Run};
use crate::config::Factory;
use imprint_core::name::HostId;
use ipnet::IpNet;
use std::collections::BTreeMap;

/// How many hosts one load of policy ties: each load holds a lock at Conjur.
const AT_ONCE: usize = 100;

impl<E: Effects> Run<'_, E> {
    /// Ties the hosts of a factory to their instances' addresses.
    pub(super) async fn pin(&self, factory: &Factory) -> Outcome {
        let mut notes = Vec::new();
        let result = self.tie(factory, &mut notes).await.map(Done::Pinned);
        Outcome { factory: factory.id.clone(), result, notes }
    }

    async fn tie(&self, factory: &Factory, notes: &mut Vec<String>) -> Result<Pins, Error> {
        let look = self.look(factory, notes).await?;
        let pins = pins(&look.hosts, &look.instances, &look.memory.pinned);
        if self.ask.dry_run {
            return Ok(pins);
        }
        let mut memory = Memory { missing: look.memory.missing.clone(), pinned: look.memory.pinned.clone() };
        memory.pinned.retain(|id, _| look.all.contains(id));
        let hosts: Vec<(&HostId, &Vec<IpNet>)> = pins.tie.iter().collect();
        let mut end = Ok(());
        for some in hosts.chunks(AT_ONCE) {
            let some = some.iter().map(|(id, nets)| ((*id).clone(), (*nets).clone())).collect();
            match self.tie_some(factory, &some).await {
                Ok(()) => memory.pinned.extend(some),
                Err(error) => {
                    // What was tied before is remembered; the rest is for the next run.
                    end = Err(error);
                    break;
                }
            }
        }
        let remembered = self.remember(factory, &look, &memory, notes).await;
        end?;
        remembered?;
        for (host, networks) in &pins.tie {
            let (event, factory) = ("host pinned", factory.id.as_str());
            let networks = format!("{networks:?}");
            let (host, networks) = (host.as_str(), networks.as_str());
            log::info!(event, factory, host, networks; "{factory}: {host} is tied to {networks}");
        }
        Ok(pins)
    }

    async fn tie_some(&self, factory: &Factory, some: &BTreeMap<HostId, Vec<IpNet>>) -> Result<(), Error> {
        let branch = &factory.hosts_branch;
        // Tying again to the same is neutral.
        let tied =
            self.with("pin hosts", async |with| self.on.restrict_hosts(with, branch, some).await).await;
        let made = tied?;
        if made.is_empty() {
            return Ok(());
        }
        let deleted =
            self.with("delete hosts", async |with| self.on.delete_hosts(with, branch, &made).await).await;
        let source = deleted.err().map(Box::new);
        Err(Error::Made { factory: factory.id.clone(), hosts: made, source })
    }
}
