//! The rules of a file, for people and for programs.

use super::{Condition, Rule, Rules};
use crate::table;
use serde_json::{Value, json};
use std::fmt;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

impl Rules {
    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let rules: Vec<Value> = self.iter().map(Rule::to_json).collect();
        json!({"schema": SCHEMA, "rules": rules})
    }
}

impl Rule {
    fn to_json(&self) -> Value {
        let conditions = self.conditions.iter();
        let conditions: Vec<Value> =
            conditions.map(|one| json!({"condition": one.name(), "wanted": one.wanted()})).collect();
        json!({
            "rule": self.name,
            "factory": self.factory.as_str(),
            "promote_from": self.promote_from.as_ref().map(|from| from.as_str()),
            "pin": self.pin,
            "conditions": conditions,
            "tags_alone": self.rests_on_tags_alone(),
        })
    }
}

/// A table, and what a person should know of some of them.
impl fmt::Display for Rules {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rows = self.iter().map(|rule| {
            let conditions: Vec<String> = rule.conditions.iter().map(Condition::to_string).collect();
            let from = rule.promote_from.as_ref().map_or("-".to_owned(), ToString::to_string);
            let whom = if rule.is_for_every_instance() { "every instance " } else { "" };
            let pin = if rule.pin { "yes" } else { "no" };
            let whom = format!("{whom}{}", conditions.join(", ")).trim_end().to_owned();
            [rule.factory.to_string(), rule.name.clone(), from, pin.to_owned(), whom]
        });
        f.write_str(&table::of(["FACTORY", "RULE", "PROMOTES FROM", "PIN", "INSTANCES"], rows))?;
        for rule in self.iter().filter(|rule| rule.rests_on_tags_alone()) {
            let (name, factory) = (&rule.name, &rule.factory);
            write!(
                f,
                "\n{name}: it rests on tags alone, so whoever may write tags (ec2:CreateTags) says who gets {factory}"
            )?;
        }
        for rule in self.iter().filter(|rule| rule.is_for_every_instance()) {
            write!(f, "\n{}: whoever may launch an instance gets {}", rule.name, rule.factory)?;
        }
        Ok(())
    }
}
