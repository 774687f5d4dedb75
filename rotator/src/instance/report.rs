//! What came out of a run, for people and for machines.

use super::run::Error;
use crate::plan::Why;
use crate::rotate::worst;
use imprint_core::error::{Class, Classified, chain};
use imprint_core::name::{FactoryId, HostId, InstanceId};
use imprint_core::second::Second;
use imprint_core::token::Fingerprint;
use ipnet::IpNet;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

/// One run.
#[derive(Debug)]
pub struct Report {
    /// The run.
    pub rotation_id: String,
    /// Whether nothing was changed, on purpose.
    pub dry_run: bool,
    /// One an instance and factory.
    pub instances: Vec<Outcome>,
}

/// One instance's part, of one factory.
#[derive(Debug)]
pub struct Outcome {
    /// The instance; `None` when it is about all of a factory.
    pub instance: Option<InstanceId>,
    /// The factory; `None` when it did not come to one.
    pub factory: Option<FactoryId>,
    /// What was done.
    pub result: Result<Done, Error>,
    /// What a person should know beside it.
    pub notes: Vec<String>,
    /// Whether somebody had taken the promoted host's id, which is cleared now.
    pub squatted: bool,
}

/// A good end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Done {
    /// What was published lives long enough.
    Kept {
        /// The token.
        fingerprint: Fingerprint,
        /// When it ends.
        expires_at: Second,
    },
    /// Nothing is for this instance.
    Nothing,
    /// The host that the instance was promoted from is removed.
    OldRemoved {
        /// The host.
        host: HostId,
    },
    /// It is promoted, and nothing is left to do.
    Promoted {
        /// The host that it is.
        host: HostId,
    },
    /// Nothing is done before that.
    Waits {
        /// When.
        until: Second,
    },
    /// A dry run would have offered a token.
    WouldOffer {
        /// Whether it would have cleared the promoted host's id before.
        clear: bool,
    },
    /// A token is published for it, and was read back.
    Published {
        /// The token.
        fingerprint: Fingerprint,
        /// When it ends.
        expires_at: Second,
        /// From where it may be used; empty for anywhere.
        cidr: Vec<IpNet>,
        /// Why another than was there.
        why: Why,
        /// The rule that allowed it.
        rule: String,
    },
}

/// How a run ended, in figures.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Tokens that were published.
    pub published: usize,
    /// Tokens that were good.
    pub kept: usize,
    /// Instances and factories whose part failed.
    pub failed: usize,
    /// Hosts that were removed, since their instances are promoted.
    pub old_removed: usize,
    /// Ids of promoted hosts that others had taken.
    pub squatted: usize,
}

impl Report {
    /// The worst of it.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        worst(self.errors().map(|(_, error)| error.class()))
    }

    /// The sums of it.
    #[must_use]
    pub fn counts(&self) -> Counts {
        let mut counts = Counts::default();
        for outcome in &self.instances {
            counts.squatted += usize::from(outcome.squatted);
            match &outcome.result {
                Ok(Done::OldRemoved { .. }) => counts.old_removed += usize::from(!self.dry_run),
                Ok(Done::Published { .. }) => counts.published += 1,
                Ok(Done::Kept { .. }) => counts.kept += 1,
                Ok(Done::Nothing | Done::Promoted { .. } | Done::Waits { .. } | Done::WouldOffer { .. }) => {}
                Err(_) => counts.failed += 1,
            }
        }
        counts
    }

    /// The instances with a failure. Each comes again, whatever its class: a person may have mended the cause by then,
    /// and a queue gives up in the end.
    #[must_use]
    pub fn again(&self) -> BTreeSet<&InstanceId> {
        self.errors().filter_map(|(outcome, _)| outcome.instance.as_ref()).collect()
    }

    /// What failed.
    pub fn errors(&self) -> impl Iterator<Item = (&Outcome, &Error)> {
        self.instances.iter().filter_map(|outcome| Some((outcome, outcome.result.as_ref().err()?)))
    }

    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let instances: Vec<Value> = self.instances.iter().map(Outcome::to_json).collect();
        json!({"schema": SCHEMA, "rotation_id": self.rotation_id, "dry_run": self.dry_run, "instances": instances})
    }
}

impl Outcome {
    /// One without a story.
    pub(super) fn early(
        instance: &InstanceId,
        factory: Option<&FactoryId>,
        result: Result<Done, Error>,
    ) -> Self {
        let (instance, factory) = (Some(instance.clone()), factory.cloned());
        Self { instance, factory, result, notes: Vec::new(), squatted: false }
    }

    fn to_json(&self) -> Value {
        let mut object = match &self.result {
            Ok(Done::Kept { fingerprint, expires_at }) => {
                json!({"result": "kept", "fingerprint": fingerprint.as_str(), "expires_at": expires_at.to_string()})
            }
            Ok(Done::Nothing) => json!({"result": "nothing"}),
            Ok(Done::OldRemoved { host }) => json!({"result": "old host removed", "host": host.as_str()}),
            Ok(Done::Promoted { host }) => json!({"result": "promoted", "host": host.as_str()}),
            Ok(Done::Waits { until }) => json!({"result": "waits", "until": until.to_string()}),
            Ok(Done::WouldOffer { clear }) => json!({"result": "token due", "clears": clear}),
            Ok(Done::Published { fingerprint, expires_at, cidr, why, rule }) => json!({
                "result": "published",
                "fingerprint": fingerprint.as_str(),
                "expires_at": expires_at.to_string(),
                "cidr": cidr.iter().map(IpNet::to_string).collect::<Vec<_>>(),
                "why": why.as_str(),
                "rule": rule,
            }),
            Err(error) => json!({
                "result": "failed", "error": chain(error), "class": error.class().as_str(), "hint": error.hint(),
            }),
        };
        if let Some(members) = object.as_object_mut() {
            members.insert("instance".to_owned(), self.instance.as_ref().map(InstanceId::as_str).into());
            members.insert("factory".to_owned(), self.factory.as_ref().map(FactoryId::as_str).into());
            members.insert("notes".to_owned(), self.notes.clone().into());
        }
        object
    }

    /// One line a note and a failure.
    pub(super) fn log(&self) {
        let instance = self.instance.as_ref().map_or("", InstanceId::as_str);
        let factory = self.factory.as_ref().map_or("", FactoryId::as_str);
        for note in &self.notes {
            log::warn!(instance, factory; "{instance}: {note}");
        }
        if let Err(error) = &self.result {
            let (class, hint) = (error.class().as_str(), error.hint().unwrap_or_default());
            let whom = if instance.is_empty() { factory } else { instance };
            log::error!(instance, factory, class, hint; "{whom}: {}", chain(error));
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let factory = self.factory.as_ref().map_or("", FactoryId::as_str);
        let instance = self.instance.as_ref().map_or(factory, InstanceId::as_str);
        match &self.result {
            Ok(Done::Kept { fingerprint, expires_at }) => {
                write!(
                    f,
                    "{instance}: token {fingerprint} of {factory} is published already; it ends {expires_at}"
                )
            }
            Ok(Done::Nothing) => write!(f, "{instance}: no rule gives it a token"),
            Ok(Done::OldRemoved { host }) => write!(f, "{instance}: its old host {host} is removed"),
            Ok(Done::Promoted { host }) => write!(f, "{instance}: is promoted to {host}"),
            Ok(Done::Waits { until }) => write!(f, "{instance}: nothing is due before {until}"),
            Ok(Done::WouldOffer { clear: false }) => write!(f, "{instance}: a token of {factory} is due"),
            Ok(Done::WouldOffer { clear: true }) => {
                write!(
                    f,
                    "{instance}: a token of {factory} is due, and the id of its host is to be cleared before"
                )
            }
            Ok(Done::Published { fingerprint, expires_at, cidr, rule, .. }) => {
                let from: Vec<String> = cidr.iter().map(IpNet::to_string).collect();
                let from = if from.is_empty() { "any address".to_owned() } else { from.join(", ") };
                write!(
                    f,
                    "{instance}: token {fingerprint} of {factory} is published; it ends {expires_at}, Conjur takes it from {from}; rule: {rule}"
                )
            }
            Err(error) => write!(f, "{instance}: failed: {}", chain(error)),
        }
    }
}
