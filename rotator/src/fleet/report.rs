//! What came out of a run over the fleet, for people and for machines.

use super::pins::Pins;
use super::run::{Deed, Error};
use super::sweep::{Sweep, Why};
use crate::metrics::FleetCounts;
use crate::rotate::worst;
use imprint_core::error::{Class, Classified, chain};
use imprint_core::name::{FactoryId, InstanceId};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

/// One run.
#[derive(Debug)]
pub struct Report {
    /// What was to be done.
    pub deed: Deed,
    /// Whether nothing was changed, on purpose.
    pub dry_run: bool,
    /// One a factory, in the configuration's order.
    pub factories: Vec<Outcome>,
    /// Instances asked for that have no host of these factories; empty where a factory could not be looked at.
    pub without_host: BTreeSet<InstanceId>,
}

/// One factory's part.
#[derive(Debug)]
pub struct Outcome {
    /// The factory.
    pub factory: FactoryId,
    /// What was done, or in a dry run would be.
    pub result: Result<Done, Error>,
    /// What a person should know beside it.
    pub notes: Vec<String>,
}

/// What was done.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Done {
    /// Hosts whose instances are gone were removed.
    Swept(Sweep),
    /// Hosts were tied to their instances' addresses.
    Pinned(Pins),
}

impl Report {
    /// The worst of it. Whose host is not there is decommissioned, but not pinned.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        let failed = self.factories.iter().filter_map(|outcome| outcome.result.as_ref().err());
        let unpinned = (self.deed == Deed::Pin && !self.without_host.is_empty()).then_some(Class::Absent);
        worst(failed.map(Classified::class).chain(unpinned))
    }

    /// The sums of it.
    #[must_use]
    pub fn counts(&self) -> FleetCounts {
        let mut counts = FleetCounts::default();
        for outcome in &self.factories {
            match &outcome.result {
                Ok(Done::Swept(sweep)) => {
                    counts.removed += if self.dry_run { 0 } else { sweep.gone.len() };
                    counts.waiting += sweep.waiting.len();
                    counts.held_back += sweep.held_back;
                }
                Ok(Done::Pinned(pins)) => counts.pinned += if self.dry_run { 0 } else { pins.tie.len() },
                Err(_) => counts.failed += 1,
            }
        }
        counts
    }

    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let factories: Vec<Value> = self.factories.iter().map(Outcome::to_json).collect();
        let without_host: Vec<&str> = self.without_host.iter().map(InstanceId::as_str).collect();
        json!({
            "schema": SCHEMA, "dry_run": self.dry_run, "factories": factories, "without_host": without_host,
        })
    }

    /// Says which instances were asked for in vain: a person who mistypes one would think that it is done. Not for
    /// events, which tell of whatever anybody had.
    pub fn log_without_host(&self) {
        let looked_at: Vec<&str> = self.factories.iter().map(|outcome| outcome.factory.as_str()).collect();
        let (factories, hint) =
            (looked_at.join(", "), "imprint-rotator status --hosts lists whose hosts are there");
        for instance in self.without_host.iter().map(InstanceId::as_str) {
            log::warn!(instance, hint; "{instance} has no host of {factories}");
        }
    }
}

impl Outcome {
    fn to_json(&self) -> Value {
        let mut object = match &self.result {
            Ok(Done::Swept(sweep)) => {
                let gone: Vec<Value> = sweep
                    .gone
                    .iter()
                    .map(|(host, why)| {
                        let since = match why {
                            Why::Terminated => None,
                            Why::Missing(since) => Some(since.to_string()),
                        };
                        let (id, instance) = (host.id.as_str(), host.instance.as_str());
                        json!({"host": id, "instance": instance, "missing_since": since})
                    })
                    .collect();
                let waiting: Vec<&str> = sweep.waiting.iter().map(|host| host.id.as_str()).collect();
                json!({"removed": gone, "waiting": waiting, "held_back": sweep.held_back})
            }
            Ok(Done::Pinned(pins)) => {
                let nets = |nets: &[ipnet::IpNet]| nets.iter().map(ToString::to_string).collect::<Vec<_>>();
                let tied: Vec<Value> = pins
                    .tie
                    .iter()
                    .map(|(id, to)| json!({"host": id.as_str(), "restricted_to": nets(to)}))
                    .collect();
                let without: Vec<&str> = pins.without_address.iter().map(|id| id.as_str()).collect();
                json!({"pinned": tied, "already": pins.tied, "without_address": without})
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

    /// Says what failed, once, where people look first.
    pub(super) fn log(&self) {
        let factory = self.factory.as_str();
        for note in &self.notes {
            log::warn!(factory; "{factory}: {note}");
        }
        if let Err(error) = &self.result {
            let (class, hint) = (error.class().as_str(), error.hint().unwrap_or_default());
            log::error!(factory, class, hint; "{factory}: {}", chain(error));
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let factory = &self.factory;
        match &self.result {
            Ok(Done::Swept(sweep)) => {
                write!(f, "{factory}: {} gone, {} waiting", sweep.gone.len(), sweep.waiting.len())?;
                if sweep.held_back > 0 {
                    write!(f, ", {} more for the next run", sweep.held_back)?;
                }
                sweep.gone.iter().try_for_each(|(host, why)| write!(f, "\n  {}: {why}", host.id))
            }
            Ok(Done::Pinned(pins)) => {
                write!(f, "{factory}: {} to pin, {} pinned already", pins.tie.len(), pins.tied)?;
                if !pins.without_address.is_empty() {
                    write!(f, ", {} without an address", pins.without_address.len())?;
                }
                pins.tie.iter().try_for_each(|(id, networks)| {
                    let networks: Vec<String> = networks.iter().map(ToString::to_string).collect();
                    write!(f, "\n  {id}: {}", networks.join(" "))
                })
            }
            Err(error) => write!(f, "{factory}: failed: {}", chain(error)),
        }
    }
}
