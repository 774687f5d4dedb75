//! `token list`: every token that Conjur has for the configured factories, and what it is to us.

use crate::config::Config;
use crate::effects::Effects;
use crate::label::{Label, anywhere};
use crate::plan::Standing;
use crate::rotate::{Error, chosen, hints, worst};
use crate::survey::{Known, Survey};
use crate::table;
use imprint_core::error::{Class, Classified, chain};
use imprint_core::name::FactoryId;
use imprint_core::second::Second;
use imprint_core::token::Fingerprint;
use ipnet::IpNet;
use serde_json::{Value, json};
use std::fmt;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

/// The tokens of several factories.
#[derive(Debug)]
pub struct List {
    /// When it was asked.
    pub now: Second,
    /// One a token, by factory and end.
    pub tokens: Vec<Row>,
    /// What could not be learned, by factory.
    pub errors: Vec<(FactoryId, Error)>,
}

/// A token, without its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Row {
    /// The factory.
    pub factory: FactoryId,
    /// The token's name.
    pub fingerprint: Fingerprint,
    /// What it is; `None` while it is not known what is published.
    pub standing: Option<Standing>,
    /// When it was minted, if this deployment did.
    pub minted_at: Option<Second>,
    /// When it ends, or ended.
    pub expires_at: Second,
    /// From where it may be used, without a label; empty for anywhere.
    pub cidr: Vec<IpNet>,
}

impl List {
    /// Asks Conjur once and S3 once a factory, of those named or of all.
    ///
    /// # Errors
    /// When a factory is not in the configuration, or Conjur cannot be asked at all.
    pub async fn ask(config: &Config, ids: &[FactoryId], on: &impl Effects) -> Result<Self, Error> {
        let factories = chosen(config, ids)?;
        let session = on.authenticate().await?;
        let survey = Survey::ask(config, on, &session, factories, false).await?;
        let (mut tokens, mut errors) = (Vec::new(), Vec::new());
        for seen in survey.factories {
            let factory = &seen.factory.id;
            let mut rows: Vec<Row> =
                seen.tokens.iter().flatten().map(|known| row(config, factory, known)).collect();
            rows.sort_by_key(|row| row.expires_at);
            tokens.extend(rows);
            let failed = seen.tokens.err().into_iter().chain(seen.published.err());
            errors.extend(failed.map(|error| (factory.clone(), error)));
        }
        Ok(Self { now: survey.now, tokens, errors })
    }

    /// The worst of what could not be learned.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        worst(self.errors.iter().map(|(_, error)| error.class()))
    }

    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let token = |row: &Row| {
            json!({
                "factory": row.factory.as_str(),
                "fingerprint": row.fingerprint.as_str(),
                "standing": row.standing.map(Standing::as_str),
                "minted_at": row.minted_at.map(|at| at.to_string()),
                "expires_at": row.expires_at.to_string(),
                "seconds_left": row.expires_at.since(self.now).as_secs(),
                "cidr": row.cidr.iter().map(IpNet::to_string).collect::<Vec<_>>(),
            })
        };
        let error = |(factory, error): &(FactoryId, Error)| {
            json!({
                "factory": factory.as_str(), "class": error.class().as_str(), "error": chain(error),
                "hint": error.hint(),
            })
        };
        json!({
            "schema": SCHEMA,
            "now": self.now.to_string(),
            "tokens": self.tokens.iter().map(token).collect::<Vec<_>>(),
            "errors": self.errors.iter().map(error).collect::<Vec<_>>(),
        })
    }
}

fn row(config: &Config, factory: &FactoryId, Known { listed, standing, minted }: &Known) -> Row {
    let label = listed.label.filter(|label| label.deployment == config.deployment);
    let mut cidr: Vec<IpNet> =
        minted.cidr.iter().filter(|net| Label::parse(net).is_none()).copied().collect();
    if anywhere().iter().all(|net| cidr.contains(net)) {
        cidr.clear();
    }
    Row {
        factory: factory.clone(),
        fingerprint: listed.fingerprint.clone(),
        standing: *standing,
        minted_at: label.map(|label| label.minted_at),
        expires_at: listed.expires_at,
        cidr,
    }
}

impl fmt::Display for List {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = ["FACTORY", "TOKEN", "IS", "EXPIRES", "LEFT", "FROM"];
        let rows = self.tokens.iter().map(|row| {
            let left = row.expires_at.since(self.now);
            let from: Vec<String> = row.cidr.iter().map(IpNet::to_string).collect();
            [
                row.factory.to_string(),
                row.fingerprint.to_string(),
                row.standing.map_or("not known", Standing::as_str).to_owned(),
                row.expires_at.to_string(),
                if left.is_zero() { "over".to_owned() } else { table::span(left) },
                if from.is_empty() { "any address".to_owned() } else { from.join(", ") },
            ]
        });
        f.write_str(&table::of(head, rows))?;
        for (factory, error) in &self.errors {
            write!(f, "\n{factory}: {}", chain(error))?;
        }
        for hint in hints(self.errors.iter().map(|(_, error)| error)) {
            write!(f, "\nhint: {hint}")?;
        }
        Ok(())
    }
}
