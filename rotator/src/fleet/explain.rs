//! Why an instance matches a rule or does not (`rules --explain`). EC2 is asked, and nobody else.

use super::effects::Effects;
use super::host::Place;
use super::look::describe;
use super::rules::{Checked, Judged, Rules, Verdict};
use super::run::Error;
use crate::session::is_transient;
use crate::table;
use imprint_core::aws::ec2::{Instance, Life};
use imprint_core::error::Class;
use imprint_core::name::{FactoryId, InstanceId};
use imprint_core::retry::Retry;
use imprint_core::second::Second;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

/// What the rules say of some instances.
#[derive(Debug)]
pub struct Explained<'a> {
    rules: &'a Rules,
    asked: &'a [InstanceId],
    known: BTreeMap<InstanceId, Instance>,
    place: Place,
    now: Second,
}

impl<'a> Explained<'a> {
    /// Asks EC2 what these instances are.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn ask<E: Effects>(
        rules: &'a Rules,
        asked: &'a [InstanceId],
        on: &E,
        retry: &Retry,
    ) -> Result<Self, Error> {
        let place = retry.run("sts:GetCallerIdentity", is_transient, async || on.place().await).await?;
        let known = describe(on, retry, &place, asked).await?;
        Ok(Self { rules, asked, known, place, now: on.now() })
    }

    /// That an instance is not known to EC2. Whatever the rules say of the others is an answer.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        self.asked.iter().any(|id| !self.known.contains_key(id)).then_some(Class::Absent)
    }

    /// Each factory that a rule is for, with what its rules say.
    fn verdicts(&self, instance: &Instance) -> Vec<(&'a FactoryId, Verdict<'a>)> {
        let mut seen = BTreeSet::new();
        let factories = self.rules.iter().map(|rule| &rule.factory).filter(|id| seen.insert(*id));
        let factories: Vec<&FactoryId> = factories.collect();
        let judge = |factory| (factory, self.rules.judge(factory, instance, &self.place, self.now));
        factories.into_iter().map(judge).collect()
    }

    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let instances: Vec<Value> = self
            .asked
            .iter()
            .map(|id| {
                let known = self.known.get(id);
                let verdicts = known.map(|known| self.verdicts(known)).unwrap_or_default();
                let never = verdicts.first().and_then(|(_, verdict)| verdict.never);
                let factories: Vec<Value> = verdicts.iter().map(verdict_to_json).collect();
                json!({
                    "instance": id.as_str(),
                    "state": known.map(|known| known.life.as_str()),
                    "never": never.map(|never| never.to_string()),
                    "factories": factories,
                })
            })
            .collect();
        let Place { account_id, region } = &self.place;
        let now = self.now.to_string();
        json!({"schema": SCHEMA, "now": now, "account_id": account_id, "region": region, "instances": instances})
    }
}

fn verdict_to_json((factory, verdict): &(&FactoryId, Verdict<'_>)) -> Value {
    let condition = |one: &Checked<'_>| json!({"condition": one.condition.name(), "wanted": one.condition.wanted(), "found": one.found, "holds": one.holds});
    let rule = |judged: &Judged<'_>| {
        let conditions: Vec<Value> = judged.conditions.iter().map(condition).collect();
        json!({"rule": judged.rule.name, "matches": judged.matches(), "conditions": conditions})
    };
    let rules: Vec<Value> = verdict.rules.iter().map(rule).collect();
    json!({
        "factory": factory.as_str(),
        "may": verdict.rule().map(|rule| rule.name.as_str()),
        "rules": rules,
    })
}

/// A table of every condition, and a line for each instance and factory.
impl fmt::Display for Explained<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (mut rows, mut ends) = (Vec::new(), Vec::new());
        for id in self.asked {
            let Some(instance) = self.known.get(id) else {
                ends.push(format!("{id}: EC2 does not know it in {}", self.place.region));
                continue;
            };
            for (factory, verdict) in self.verdicts(instance) {
                for judged in &verdict.rules {
                    rows.extend(cells(id, judged));
                }
                ends.push(end(id, instance.life, factory, &verdict));
            }
        }
        if !rows.is_empty() {
            f.write_str(&table::of(
                ["INSTANCE", "FACTORY", "RULE", "WANTED", "FOUND", "HOLDS"],
                rows.into_iter(),
            ))?;
            f.write_str("\n")?;
        }
        f.write_str(&ends.join("\n"))
    }
}

fn cells(id: &InstanceId, judged: &Judged<'_>) -> Vec<[String; 6]> {
    let row = |wanted: String, found: String, holds: bool| {
        let holds = if holds { "yes" } else { "NO" }.to_owned();
        let rule = judged.rule;
        [id.to_string(), rule.factory.to_string(), rule.name.clone(), wanted, found, holds]
    };
    if judged.conditions.is_empty() {
        return vec![row("every instance".to_owned(), "-".to_owned(), true)];
    }
    let found = |one: &Checked<'_>| match &one.found {
        // An empty tag is not the same as none.
        Some(found) if found.is_empty() => "\"\"".to_owned(),
        Some(found) => shown(found),
        None => "-".to_owned(),
    };
    judged.conditions.iter().map(|one| row(one.condition.to_string(), found(one), one.holds)).collect()
}

/// Whoever writes tags has no say in what a terminal does.
fn shown(text: &str) -> String {
    let plain = |c: &char| "\"'\\".contains(*c);
    text.chars().map(|c| if plain(&c) { c.to_string() } else { c.escape_debug().to_string() }).collect()
}

fn end(id: &InstanceId, life: Life, factory: &FactoryId, verdict: &Verdict<'_>) -> String {
    match (verdict.rule(), verdict.never) {
        (Some(rule), _) => {
            let from = rule.promote_from.as_ref();
            let promoted = from.map(|from| format!(", promoted from {from}")).unwrap_or_default();
            let pinned = if verdict.pins() { ", pinned" } else { "" };
            format!("{id} ({life}): may have {factory}{promoted}{pinned}, by the rule {:?}", rule.name)
        }
        (None, Some(never)) => format!("{id} ({life}): may not have {factory}: {never}"),
        (None, None) => format!("{id} ({life}): may not have {factory}: no rule matches"),
    }
}

#[cfg(test)]
mod tests;
