//! Hosts leave when their instance has left.
//!
//! What was decided in `sweep` is carried out here: a few hosts at a time, and looked at afterwards, since
//! Conjur says the same of a host that it deleted and of one that it did not.

use super::effects::Effects;
use super::host::Host;
use super::look::{Look, lives};
use super::memory::Memory;
use super::report::{Done, Outcome};
use super::run::{Error, Run};
use super::sweep::{Facts, Limits, Sweep, Why, sweep};
use crate::config::Factory;
use imprint_core::conjur::MOST_STATEMENTS;
use imprint_core::name::HostId;
use std::collections::BTreeSet;

impl<E: Effects> Run<'_, E> {
    /// Removes the hosts of a factory whose instances are gone.
    pub(super) async fn decommission(&self, factory: &Factory) -> Outcome {
        let mut notes = Vec::new();
        let result = self.sweep(factory, &mut notes).await.map(Done::Swept);
        Outcome { factory: factory.id.clone(), result, notes }
    }

    async fn sweep(&self, factory: &Factory, notes: &mut Vec<String>) -> Result<Sweep, Error> {
        let look = self.look(factory, notes).await?;
        let limits = Limits {
            missing_for: self.limits.missing_for,
            most: self.limits.most_removals,
            even_all: self.ask.even_all,
        };
        let lives_now = look.lives();
        let facts = Facts { hosts: &look.hosts, lives: &lives_now, missing: &look.memory.missing, limits };
        let mut decided = sweep(&facts, self.now());
        if decided.unlikely {
            return Err(Error::Unlikely { factory: factory.id.clone(), hosts: look.hosts.len() });
        }
        decided.confirm(&lives(&self.describe(&decided.doubtful()).await?));
        if look.others > 0 {
            log::debug!(
                "{}: {} hosts of its layer belong to no instance of this place",
                factory.id,
                look.others
            );
        }
        if self.ask.dry_run {
            return Ok(decided);
        }
        let (removed, end) = self.remove(factory, &decided).await;
        let memory = after(&look, &decided, &removed);
        // What was missing is remembered although a removal failed.
        let remembered = self.remember(factory, &look, &memory, notes).await;
        for (Host { id, instance }, why) in decided.gone.iter().filter(|(host, _)| removed.contains(&host.id))
        {
            let (event, factory, why) = ("host removed", factory.id.as_str(), why.to_string());
            let (host, instance, why) = (id.as_str(), instance.as_str(), why.as_str());
            log::info!(event, factory, host, instance, why; "{factory}: {host} is removed: {why}");
        }
        end?;
        remembered?;
        let left: Vec<HostId> =
            decided.gone.iter().map(|(host, _)| host.id.clone()).filter(|id| !removed.contains(id)).collect();
        if left.is_empty() {
            Ok(decided)
        } else {
            Err(Error::StillThere { factory: factory.id.clone(), hosts: left })
        }
    }

    /// Deletes, then lists once more: the hosts that are gone now, and how it ended. Some may be gone although it
    /// failed.
    async fn remove(&self, factory: &Factory, decided: &Sweep) -> (BTreeSet<HostId>, Result<(), Error>) {
        let gone: Vec<HostId> = decided.gone.iter().map(|(host, _)| host.id.clone()).collect();
        if gone.is_empty() {
            return (BTreeSet::new(), Ok(()));
        }
        let mut end = Ok(());
        for some in gone.chunks(MOST_STATEMENTS) {
            let branch = &factory.hosts_branch;
            // Deleting what is deleted is well.
            let deleted =
                self.with("delete hosts", async |with| self.on.delete_hosts(with, branch, some).await);
            end = deleted.await.map_err(Error::from);
            if end.is_err() {
                break;
            }
        }
        match self.members(factory).await {
            Ok(left) => (gone.into_iter().filter(|id| !left.contains(id)).collect(), end),
            Err(error) => (BTreeSet::new(), end.and(Err(error))),
        }
    }
}

fn after(look: &Look, decided: &Sweep, removed: &BTreeSet<HostId>) -> Memory {
    let mut memory =
        Memory { missing: look.missing(decided.missing.clone()), pinned: look.memory.pinned.clone() };
    memory.missing.retain(|id, _| !removed.contains(id));
    memory.pinned.retain(|id, _| look.all.contains(id) && !removed.contains(id));
    memory
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Terminated => f.write_str("its instance is terminated"),
            Self::Missing(since) => write!(f, "EC2 has not known its instance since {since}"),
        }
    }
}
