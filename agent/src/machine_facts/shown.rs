//! What `imprint facts` prints: which facts there are and who may read each; their values on request
//! alone.

use super::{Found, Readers};
use imprint_core::client_data::Fact;
use imprint_core::client_data::inventory::OWN_MARK;
use serde_json::{Map, Value, json};
use std::fmt;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

/// The facts of this machine, to be shown.
pub struct Shown {
    found: Vec<Found>,
    reveal: bool,
}

impl Shown {
    /// These, with their values if `reveal` says so.
    #[must_use]
    pub fn new(mut found: Vec<Found>, reveal: bool) -> Self {
        found.sort_by_key(|one| one.fact.to_string());
        Self { found, reveal }
    }

    /// For a program; with the values it is what `imprint-rotator seal --client-data` takes.
    #[must_use]
    pub fn to_json(&self) -> String {
        let mut facts = Map::new();
        for Found { fact, value, readers } in &self.found {
            let mut one = json!({
                "form": fact.form().as_str(),
                "found": value.is_ok(),
                "readable_by": readers.map(Readers::as_str),
                "counts": counts(fact, *readers),
            });
            match value {
                Ok(value) if self.reveal => one["value"] = Value::from(value.as_str()),
                Ok(_) => {}
                Err(why) => one["why"] = Value::from(why.as_str()),
            }
            facts.insert(fact.to_string(), one);
        }
        format!("{:#}", json!({OWN_MARK: SCHEMA, "schema": SCHEMA, "facts": facts}))
    }
}

impl Readers {
    /// For programs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Everybody => "everybody",
            Self::Group => "group",
            Self::OwnerAlone => "root",
        }
    }
}

/// Whether it makes a token safe from the other users of this machine.
fn counts(fact: &Fact, readers: Option<Readers>) -> bool {
    fact.is_for_root_alone() && readers == Some(Readers::OwnerAlone)
}

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<16}{:<13}{}", "FACT", "READABLE BY", if self.reveal { "VALUE" } else { "FOUND" })?;
        for Found { fact, value, readers } in &self.found {
            let readers = readers.map(|readers| readers.to_string()).unwrap_or_else(|| "-".to_owned());
            write!(f, "\n{:<16}{readers:<13}", fact.to_string())?;
            match value {
                Ok(value) if self.reveal => write!(f, "{}", value.as_str())?,
                Ok(_) => f.write_str("yes")?,
                Err(why) => write!(f, "no: {why}")?,
            }
        }
        if !self.found.iter().any(|one| one.value.is_ok() && counts(&one.fact, one.readers)) {
            f.write_str(
                "\nNone of them is for root alone: a token that is sealed with them needs a secret too.",
            )?;
        }
        Ok(())
    }
}
