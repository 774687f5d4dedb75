//! One look at the hosts of a factory: who is listed, what EC2 says of their instances, what is remembered.

use super::effects::Effects;
use super::host::{Host, Place, hosts_of};
use super::memory::{Memory, memory_key};
use super::run::{Error, Run};
use super::sweep::Missing;
use crate::config::Factory;
use crate::effects;
use crate::session::is_transient;
use imprint_core::aws::Only;
use imprint_core::aws::ec2::{Filter, Instance, Life, MOST_VALUES};
use imprint_core::name::{HostId, InstanceId};
use imprint_core::retry::Retry;
use std::collections::{BTreeMap, BTreeSet};

/// What a look shows.
pub(super) struct Look {
    /// The hosts that are judged: all, or those of the instances asked for.
    pub(super) hosts: Vec<Host>,
    /// All hosts of the layer that belong to instances of this place.
    pub(super) all: BTreeSet<HostId>,
    /// How many hosts of the layer are nobody's business here.
    pub(super) others: usize,
    /// What EC2 says of the instances of `hosts`.
    pub(super) instances: BTreeMap<InstanceId, Instance>,
    pub(super) memory: Memory,
    /// Under which condition the memory may be replaced.
    only: Only,
}

impl<E: Effects> Run<'_, E> {
    /// Looks at a factory's hosts. They are listed before EC2 is asked: a host is made after its instance.
    pub(super) async fn look(&self, factory: &Factory, notes: &mut Vec<String>) -> Result<Look, Error> {
        let (memory, only) = self.recall(factory, notes).await?;
        let members = self.members(factory).await?;
        let (mut hosts, others) = hosts_of(&self.place, &factory.hosts_branch, &members);
        let all = hosts.iter().map(|host| host.id.clone()).collect();
        if !self.ask.instances.is_empty() {
            hosts.retain(|host| self.ask.instances.contains(&host.instance));
            self.found.borrow_mut().extend(hosts.iter().map(|host| host.instance.clone()));
        }
        let ids: Vec<InstanceId> = hosts.iter().map(|host| host.instance.clone()).collect();
        let instances = self.describe(&ids).await?;
        Ok(Look { hosts, all, others, instances, memory, only })
    }

    pub(super) async fn members(&self, factory: &Factory) -> Result<BTreeSet<HostId>, Error> {
        let layer = &factory.layer;
        let members = self.with("list hosts", async |with| self.on.members(with, layer).await).await;
        members.map_err(|error| match &error {
            // Conjur says the same of a layer that is not there.
            effects::Error::Conjur(no) if no.status() == Some(404) => Error::Unseen {
                factory: factory.id.clone(),
                layer: layer.clone(),
                login: self.config.login_of_the_fleet().to_owned(),
            },
            _ => error.into(),
        })
    }

    /// What EC2 says of these instances; those that it does not know are not in the answer.
    pub(super) async fn describe(&self, ids: &[InstanceId]) -> Result<BTreeMap<InstanceId, Instance>, Error> {
        describe(self.on, self.retry, &self.place, ids).await
    }

    async fn recall(&self, factory: &Factory, notes: &mut Vec<String>) -> Result<(Memory, Only), Error> {
        let key = memory_key(&self.config.account, &factory.id);
        match self.again("s3:GetObject", async || self.on.fetch(&key).await).await {
            Ok(object) => {
                let memory = Memory::parse(&object.bytes).unwrap_or_else(|why| {
                    notes.push(format!("{key} is begun anew: {why}"));
                    Memory::default()
                });
                Ok((memory, Only::IfMatch(object.etag)))
            }
            Err(error) if error.is_surely_absent() => Ok((Memory::default(), Only::IfAbsent)),
            Err(error) if error.is_absent() => Err(Error::Untold { factory: factory.id.clone(), key }),
            Err(error) => Err(error.into()),
        }
    }

    /// Stores what the next look must know. Another run that stored first knows as much.
    pub(super) async fn remember(
        &self,
        factory: &Factory,
        look: &Look,
        memory: &Memory,
        notes: &mut Vec<String>,
    ) -> Result<(), Error> {
        if *memory == look.memory || self.ask.dry_run {
            return Ok(());
        }
        let key = memory_key(&self.config.account, &factory.id);
        match self.on.put(&key, memory.to_bytes(), &look.only).await {
            Ok(_etag) => Ok(()),
            Err(error) if error.is_conflict() => {
                notes
                    .push(format!("another run has stored {key} meanwhile; what this one saw is seen again"));
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }
}

impl Look {
    /// The life of each instance that EC2 knows.
    pub(super) fn lives(&self) -> BTreeMap<InstanceId, Life> {
        lives(&self.instances)
    }

    /// What was remembered of hosts that still are there, but for those whose instance EC2 knows.
    pub(super) fn still_missing(&self) -> Missing {
        let seen: BTreeSet<&HostId> = self
            .hosts
            .iter()
            .filter(|host| self.instances.contains_key(&host.instance))
            .map(|host| &host.id)
            .collect();
        let mut missing = self.memory.missing.clone();
        missing.retain(|id, _| self.all.contains(id) && !seen.contains(id));
        missing
    }

    /// What was remembered of hosts that still are there and were not judged now, and `judged` beside it.
    pub(super) fn missing(&self, judged: Missing) -> Missing {
        let now_judged: BTreeSet<&HostId> = self.hosts.iter().map(|host| &host.id).collect();
        let mut missing = self.memory.missing.clone();
        missing.retain(|id, _| self.all.contains(id) && !now_judged.contains(id));
        missing.extend(judged);
        missing
    }
}

/// What EC2 says of these instances; those that it does not know are not in the answer.
pub(super) async fn describe<E: Effects>(
    on: &E,
    retry: &Retry,
    place: &Place,
    ids: &[InstanceId],
) -> Result<BTreeMap<InstanceId, Instance>, Error> {
    let mut known = BTreeMap::new();
    for some in ids.chunks(MOST_VALUES) {
        let mut found = listed(on, retry, place, &[Filter::ids(some)]).await?;
        // What was not asked for is not listened to.
        found.retain(|id, _| some.contains(id));
        known.extend(found);
    }
    Ok(known)
}

/// The instances that all of these filters take.
pub(super) async fn listed<E: Effects>(
    on: &E,
    retry: &Retry,
    place: &Place,
    filters: &[Filter],
) -> Result<BTreeMap<InstanceId, Instance>, Error> {
    let call = async || on.describe(filters).await;
    let found = retry.run("ec2:DescribeInstances", is_transient, call).await?;
    if found.iter().any(|instance| instance.account_id != place.account_id) {
        // Whom this EC2 does not know may live all the same.
        return Err(Error::OtherAccount { asked: place.account_id.clone() });
    }
    Ok(found.into_iter().map(|instance| (instance.id.clone(), instance)).collect())
}

pub(super) fn lives(instances: &BTreeMap<InstanceId, Instance>) -> BTreeMap<InstanceId, Life> {
    instances.iter().map(|(id, instance)| (id.clone(), instance.life)).collect()
}
