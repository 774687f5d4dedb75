//! `status --hosts`: what is to be seen of the hosts of each factory and of the instances that should have one.
//! Reads only.

use super::effects::Effects;
use super::host::{Host, Place};
use super::look::{Look, listed};
use super::overview::{Facts, Looked, ON_ITS_WAY, Overview, overview};
use super::run::{Error, Run};
use crate::config::Factory;
use crate::metrics::HostCounts;
use crate::rotate::{chosen, worst};
use crate::table;
use imprint_core::error::{Class, Classified, chain};
use imprint_core::name::{FactoryId, InstanceId};
use imprint_core::second::Second;
use imprint_core::settings::written;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

/// How many of a list a person is shown.
const SHOWN: usize = 20;

/// The state of the fleet.
#[derive(Debug)]
pub struct HostStatus {
    /// When it was asked.
    pub now: Second,
    /// Where.
    pub place: Place,
    /// One a factory, in the configuration's order.
    pub factories: Vec<Part>,
}

/// One factory's part.
#[derive(Debug)]
pub struct Part {
    /// The factory.
    pub factory: FactoryId,
    /// What is to be seen, or why that is not known.
    pub seen: Result<Overview, Error>,
    /// What a person should know beside it.
    pub notes: Vec<String>,
}

impl<E: Effects> Run<'_, E> {
    /// Looks at the factories asked for, and at those that the rules lead to or from.
    ///
    /// # Errors
    /// When factories are asked for that are not configured, or EC2 does not tell who runs.
    pub async fn status(&self) -> Result<HostStatus, Error> {
        let asked = chosen(self.config, &self.ask.factories).map_err(Error::Unknown)?;
        let rules = &self.limits.rules;
        let beside: BTreeMap<&FactoryId, BTreeSet<&FactoryId>> =
            asked.iter().map(|factory| (&factory.id, self.beside(&factory.id))).collect();
        let (mut looked, mut failed, mut notes) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        let is_needed = |factory: &&Factory| {
            beside.contains_key(&factory.id) || beside.values().any(|others| others.contains(&factory.id))
        };
        for factory in self.config.factories.iter().filter(is_needed) {
            let mut its = Vec::new();
            match self.look_within_time(factory, &mut its).await {
                Ok(look) => drop(looked.insert(factory.id.clone(), Looked::from(look))),
                Err(error) => drop(failed.insert(factory.id.clone(), error)),
            }
            notes.insert(factory.id.clone(), its);
        }
        // Who is launched meanwhile has no host yet, and is on its way.
        let mut running = BTreeMap::new();
        let speaks_of_them = |id: &FactoryId| beside.contains_key(id);
        for filters in rules.listings(&self.place, |rule| {
            speaks_of_them(&rule.factory) || rule.promote_from.as_ref().is_some_and(speaks_of_them)
        }) {
            running.extend(listed(self.on, self.retry, &self.place, &filters).await?);
        }
        let now = self.now();
        let facts = Facts { place: &self.place, rules, looked: &looked, running: &running, now };
        let classes: BTreeMap<FactoryId, Class> =
            failed.iter().map(|(id, error)| (id.clone(), error.class())).collect();
        let mut factories = Vec::new();
        for factory in asked {
            let others = beside.get(&factory.id).into_iter().flatten();
            let unseen = others.filter_map(|id| Some((*id, *classes.get(*id)?))).next();
            let unseen = unseen.map(|(other, class)| Error::Beside {
                factory: factory.id.clone(),
                other: other.clone(),
                class,
            });
            let seen = match (failed.remove(&factory.id).or(unseen), overview(factory, &facts)) {
                (None, Some(seen)) => Ok(seen),
                (Some(error), _) => Err(error),
                (None, None) => Err(Error::NoTime { factory: factory.id.clone() }),
            };
            let notes = notes.remove(&factory.id).unwrap_or_default();
            factories.push(Part { factory: factory.id.clone(), seen, notes });
        }
        Ok(HostStatus { now, place: self.place.clone(), factories })
    }

    /// The factories whose hosts tell something of those of this one: who is promoted there, or from there.
    fn beside(&self, id: &FactoryId) -> BTreeSet<&FactoryId> {
        let both =
            self.limits.rules.iter().filter_map(|rule| Some((&rule.factory, rule.promote_from.as_ref()?)));
        let others = both.filter_map(|(to, from)| match () {
            () if to == id => Some(from),
            () if from == id => Some(to),
            () => None,
        });
        others.collect()
    }

    async fn look_within_time(&self, factory: &Factory, notes: &mut Vec<String>) -> Result<Look, Error> {
        if self.retry.remaining().is_zero() {
            return Err(Error::NoTime { factory: factory.id.clone() });
        }
        self.look(factory, notes).await
    }
}

impl From<Look> for Looked {
    fn from(look: Look) -> Self {
        let Look { hosts, others, instances, memory, .. } = look;
        Self::new(hosts, others, instances, memory)
    }
}

impl HostStatus {
    /// The worst of what could not be looked at. Whatever is to be seen is an answer.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        worst(self.errors().map(|(_, error)| error.class()))
    }

    /// The sums of it.
    #[must_use]
    pub fn counts(&self) -> HostCounts {
        let mut counts = HostCounts { failed: self.errors().count(), ..HostCounts::default() };
        for seen in self.factories.iter().filter_map(|part| part.seen.as_ref().ok()) {
            counts.without_instance += seen.without_instance.len();
            counts.unpinned += seen.unpinned.len();
            for (sum, list) in
                [(&mut counts.without_host, &seen.without_host), (&mut counts.unpromoted, &seen.unpromoted)]
            {
                if let Some(list) = list {
                    *sum = Some(sum.unwrap_or_default() + list.len());
                }
            }
        }
        counts
    }

    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let factories: Vec<Value> = self.factories.iter().map(Part::to_json).collect();
        let Place { account_id, region } = &self.place;
        let now = self.now.to_string();
        json!({"schema": SCHEMA, "now": now, "account_id": account_id, "region": region, "factories": factories})
    }

    fn errors(&self) -> impl Iterator<Item = (&FactoryId, &Error)> {
        self.factories.iter().filter_map(|part| Some((&part.factory, part.seen.as_ref().err()?)))
    }
}

impl Part {
    fn to_json(&self) -> Value {
        let mut object = match &self.seen {
            Ok(seen) => {
                let instances = |list: &Vec<(InstanceId, String)>| {
                    list.iter()
                        .map(|(id, rule)| json!({"instance": id.as_str(), "rule": rule}))
                        .collect::<Vec<Value>>()
                };
                let gone = |(Host { id, instance }, since): &(Host, Option<Second>)| {
                    let since = since.map(|since| since.to_string());
                    json!({"host": id.as_str(), "instance": instance.as_str(), "missing_since": since})
                };
                json!({
                    "hosts": seen.hosts,
                    "others": seen.others,
                    "without_host": seen.without_host.as_ref().map(instances),
                    "without_instance": seen.without_instance.iter().map(gone).collect::<Vec<_>>(),
                    "unpinned": seen.unpinned.iter().map(|id| id.as_str()).collect::<Vec<_>>(),
                    "unpromoted": seen.unpromoted.as_ref().map(instances),
                    "on_their_way": seen.on_their_way,
                })
            }
            Err(error) => {
                json!({"error": chain(error), "class": error.class().as_str(), "hint": error.hint()})
            }
        };
        if let Some(members) = object.as_object_mut() {
            members.insert("factory".to_owned(), self.factory.as_str().into());
            members.insert("notes".to_owned(), self.notes.clone().into());
        }
        object
    }
}

/// A table, the first of each list, and a line that sums it up.
impl fmt::Display for HostStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["FACTORY", "HOSTS", "NO HOST", "NO INSTANCE", "UNPINNED", "UNPROMOTED", "ON THEIR WAY"];
        f.write_str(&table::of(head, self.factories.iter().map(cells)))?;
        for (factory, seen) in
            self.factories.iter().filter_map(|part| Some((&part.factory, part.seen.as_ref().ok()?)))
        {
            let named = |(id, rule): &(InstanceId, String)| format!("{id} ({rule})");
            let gone = |(host, since): &(Host, Option<Second>)| match since {
                Some(since) => format!("{} (EC2 has not known {} since {since})", host.id, host.instance),
                None => host.id.to_string(),
            };
            let unpinned = seen.unpinned.iter().map(ToString::to_string);
            list(f, factory, "no host", seen.without_host.iter().flatten().map(named))?;
            list(f, factory, "no instance", seen.without_instance.iter().map(gone))?;
            list(f, factory, "not pinned", unpinned)?;
            list(f, factory, "not promoted", seen.unpromoted.iter().flatten().map(named))?;
        }
        for part in &self.factories {
            part.notes.iter().try_for_each(|note| write!(f, "\n{}: {note}", part.factory))?;
        }
        for (factory, error) in self.errors() {
            write!(f, "\n{factory}: {}", chain(error))?;
        }
        let hints: BTreeSet<&str> = self.errors().filter_map(|(_, error)| error.hint()).collect();
        hints.iter().try_for_each(|hint| write!(f, "\nhint: {hint}"))?;
        let counts = self.counts();
        if counts.without_host.is_none() {
            f.write_str("\nno rule tells which instances should have a host")?;
        }
        let all: usize = self.factories.iter().filter_map(|part| Some(part.seen.as_ref().ok()?.hosts)).sum();
        write!(
            f,
            "\n{} factories, {all} hosts of {} in {}; {} not known. On its way is what was launched less than {} ago",
            self.factories.len(),
            self.place.account_id,
            self.place.region,
            counts.failed,
            written(ON_ITS_WAY)
        )
    }
}

fn cells(part: &Part) -> [String; 7] {
    let of = |list: &Option<Vec<(InstanceId, String)>>| {
        list.as_ref().map_or("-".to_owned(), |list| list.len().to_string())
    };
    let rest = match &part.seen {
        Ok(seen) => [
            seen.hosts.to_string(),
            of(&seen.without_host),
            seen.without_instance.len().to_string(),
            seen.unpinned.len().to_string(),
            of(&seen.unpromoted),
            seen.on_their_way.to_string(),
        ],
        Err(_) => ["not known", "-", "-", "-", "-", "-"].map(str::to_owned),
    };
    let [hosts, no_host, gone, unpinned, unpromoted, coming] = rest;
    [part.factory.to_string(), hosts, no_host, gone, unpinned, unpromoted, coming]
}

fn list(
    f: &mut fmt::Formatter<'_>,
    factory: &FactoryId,
    what: &str,
    of: impl Iterator<Item = String>,
) -> fmt::Result {
    let mut more = 0_usize;
    for (at, one) in of.enumerate() {
        if at < SHOWN {
            write!(f, "\n{factory}: {what}: {one}")?;
        } else {
            more += 1;
        }
    }
    if more > 0 { write!(f, "\n{factory}: {what}: {more} more, which --json names") } else { Ok(()) }
}

#[cfg(test)]
mod tests;
