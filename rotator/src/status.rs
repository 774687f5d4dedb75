//! What is published for each factory, and what Conjur says of it. Reads only, and names tokens by
//! their fingerprints.

use crate::config::{Config, Factory};
use crate::effects::{self, Effects};
use crate::plan::{Facts, Listed, Published, Step, Why, plan};
use crate::rotate::{Error, worst};
use futures_util::{StreamExt as _, stream};
use imprint_core::error::{Class, Classified, chain};
use imprint_core::name::FactoryId;
use imprint_core::sealed::{SealedToken, layer_key};
use imprint_core::second::Second;
use imprint_core::settings::written;
use imprint_core::token::Fingerprint;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

/// The state of every factory.
#[derive(Debug)]
pub struct Status {
    /// When it was asked.
    pub now: Second,
    /// One a factory, in the configuration's order.
    pub factories: Vec<State>,
}

/// The state of one factory.
#[derive(Debug)]
pub struct State {
    /// The factory.
    pub factory: FactoryId,
    /// What is published, or why that is not known.
    pub published: Result<Option<Shown>, Error>,
    /// Why a run would replace it now; `None` when it would keep it, or could do nothing.
    pub replace: Option<Why>,
    /// How many tokens Conjur lists; an error when it does not list the factory.
    pub at_conjur: Result<Counts, Error>,
}

/// A published token, without its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Shown {
    /// Its name.
    pub fingerprint: Fingerprint,
    /// When it was sealed.
    pub issued_at: Second,
    /// When it ends.
    pub expires_at: Second,
    /// Whether Conjur lists it; `None` when it does not list the factory.
    pub listed: Option<bool>,
}

/// A factory's tokens at Conjur.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// Live ones of ours, the published one among them.
    pub ours: usize,
    /// Expired ones of ours.
    pub expired: usize,
    /// Those of anybody else.
    pub foreign: usize,
}

impl Status {
    /// Asks Conjur once and S3 once a factory.
    ///
    /// # Errors
    /// When Conjur cannot be asked at all.
    pub async fn ask(config: &Config, on: &impl Effects) -> Result<Self, effects::Error> {
        let session = on.authenticate().await?;
        let listed: BTreeMap<_, _> = on
            .list_factories(&session)
            .await?
            .into_iter()
            .map(|factory| {
                let tokens: Vec<Listed> = factory
                    .tokens
                    .iter()
                    .map(|token| Listed::new(token.token.fingerprint(), token.expires_at, &token.cidr))
                    .collect();
                (factory.id, tokens)
            })
            .collect();
        let now = on.now();
        let factories = stream::iter(&config.factories)
            .map(|factory| state(config, on, factory, listed.get(&factory.id), now))
            .buffered(config.concurrency)
            .collect()
            .await;
        Ok(Self { now, factories })
    }

    /// The worst of it: what could not be read, or [`Class::Absent`] where an agent would find
    /// nothing to redeem.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        let replaced = self.factories.iter().filter_map(|state| match state.replace? {
            Why::Asked | Why::Changed | Why::Due => None,
            Why::Expired | Why::Nothing | Why::Unlisted => Some(Class::Absent),
            Why::Tampered | Why::Unreadable => Some(Class::Tampered),
        });
        worst(self.factories.iter().flat_map(State::errors).map(Classified::class).chain(replaced))
    }

    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let factories: Vec<Value> = self.factories.iter().map(|state| state.to_json(self.now)).collect();
        json!({"schema": SCHEMA, "now": self.now.to_string(), "factories": factories})
    }
}

async fn state(
    config: &Config,
    on: &impl Effects,
    factory: &Factory,
    listed: Option<&Vec<Listed>>,
    now: Second,
) -> State {
    let key = layer_key(&config.account, &factory.id);
    let id = || factory.id.clone();
    let fetched = match on.fetch(&key).await {
        Ok(object) => Ok(Some(SealedToken::parse(&object.bytes))),
        Err(error) if error.is_surely_absent() => Ok(None),
        Err(error) if error.is_absent() => Err(Error::Untold { factory: id(), key }),
        Err(error) => Err(error.into()),
    };
    let unseen = || Error::Unseen { factory: id(), login: config.login.clone() };
    let at_conjur = listed.map(|tokens| count(config, tokens, now)).ok_or_else(unseen);
    let state = |published, replace| State { factory: id(), published, replace, at_conjur };
    let sealed = match fetched {
        Err(error) => return state(Err(error), None),
        Ok(sealed) => sealed,
    };
    let (published, shown) = match &sealed {
        None => (Published::Nothing, None),
        Some(Err(_)) => (Published::Unreadable, None),
        Some(Ok(sealed)) => {
            let binding = sealed.binding();
            let shown = Shown {
                fingerprint: binding.fingerprint.clone(),
                issued_at: binding.issued_at,
                expires_at: binding.expires_at,
                listed: listed
                    .map(|tokens| tokens.iter().any(|token| token.fingerprint == binding.fingerprint)),
            };
            (Published::Sealed(binding), Some(shown))
        }
    };
    // A run does nothing for a factory that Conjur does not list.
    let Some(listed) = listed else { return state(Ok(shown), None) };
    let wanted = config.binding(factory, Fingerprint::of(b""), "status", now, now);
    let (policy, deployment) = (&config.policy, config.deployment);
    let facts = Facts { policy, deployment, published, wanted: &wanted, listed, asked: false };
    let replace = match plan(&facts, now).step {
        Step::Keep { .. } => None,
        Step::Mint(why) => Some(why),
    };
    state(Ok(shown), replace)
}

fn count(config: &Config, tokens: &[Listed], now: Second) -> Counts {
    tokens.iter().fold(Counts::default(), |counts, token| {
        match (token.is_ours(config.deployment), token.expires_at <= now) {
            (true, false) => Counts { ours: counts.ours + 1, ..counts },
            (true, true) => Counts { expired: counts.expired + 1, ..counts },
            (false, _) => Counts { foreign: counts.foreign + 1, ..counts },
        }
    })
}

impl State {
    /// What could not be learned, the worse first.
    fn errors(&self) -> impl Iterator<Item = &Error> {
        self.at_conjur.as_ref().err().into_iter().chain(self.published.as_ref().err())
    }

    fn to_json(&self, now: Second) -> Value {
        let mut object = json!({"factory": self.factory.as_str(), "replace": self.replace.map(Why::as_str)});
        let mut add = |name: &str, value: Value| {
            if let Some(members) = object.as_object_mut() {
                members.insert(name.to_owned(), value);
            }
        };
        match &self.published {
            Ok(Some(shown)) => add(
                "published",
                json!({
                    "fingerprint": shown.fingerprint.as_str(),
                    "issued_at": shown.issued_at.to_string(),
                    "expires_at": shown.expires_at.to_string(),
                    "seconds_left": shown.expires_at.since(now).as_secs(),
                    "listed": shown.listed,
                }),
            ),
            Ok(None) => add("published", Value::Null),
            // There is no telling, which is not the same as nothing.
            Err(_) => {}
        }
        match self.at_conjur {
            Ok(Counts { ours, expired, foreign }) => {
                add("at_conjur", json!({"ours": ours, "expired": expired, "foreign": foreign}));
            }
            Err(_) => add("at_conjur", Value::Null),
        }
        let errors: Vec<&Error> = self.errors().collect();
        if let Some(class) = worst(errors.iter().map(|error| error.class())) {
            let words: Vec<String> = errors.iter().map(|error| chain(*error)).collect();
            add("error", words.join("; ").into());
            add("class", class.as_str().into());
        }
        object
    }
}

/// The status as a table.
pub struct Table<'a>(pub &'a Status);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = [
            "FACTORY",
            "TOKEN",
            "ISSUED",
            "EXPIRES",
            "LEFT",
            "AT CONJUR",
            "OURS",
            "EXPIRED",
            "FOREIGN",
            "NEXT RUN",
        ];
        let mut rows = vec![head.map(str::to_owned)];
        rows.extend(self.0.factories.iter().map(|state| cells(state, self.0.now)));
        let widths: Vec<usize> = (0..head.len())
            .map(|at| rows.iter().filter_map(|r| r.get(at)).map(String::len).max().unwrap_or(0))
            .collect();
        for (at, row) in rows.iter().enumerate() {
            let line: Vec<String> =
                row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
            let end = if at + 1 == rows.len() { "" } else { "\n" };
            write!(f, "{}{end}", line.join("  ").trim_end())?;
        }
        for state in &self.0.factories {
            for error in state.errors() {
                write!(f, "\n{}: {}", state.factory, chain(error))?;
            }
        }
        Ok(())
    }
}

fn cells(state: &State, now: Second) -> [String; 10] {
    let dash = || "-".to_owned();
    let [token, issued, expires, left] = match &state.published {
        Ok(Some(shown)) => [
            shown.fingerprint.to_string(),
            shown.issued_at.to_string(),
            shown.expires_at.to_string(),
            written(shown.expires_at.since(now)),
        ],
        Ok(None) => [dash(), dash(), dash(), dash()],
        Err(_) => ["not known".to_owned(), dash(), dash(), dash()],
    };
    let listed = match (&state.at_conjur, &state.published) {
        (Err(_), _) => "unseen".to_owned(),
        (Ok(_), Ok(Some(shown))) => {
            if shown.listed == Some(true) { "listed" } else { "not listed" }.to_owned()
        }
        (Ok(_), Ok(None) | Err(_)) => dash(),
    };
    let [ours, expired, foreign] = match state.at_conjur {
        Ok(counts) => [counts.ours, counts.expired, counts.foreign].map(|count| count.to_string()),
        Err(_) => [dash(), dash(), dash()],
    };
    let next = match state.replace {
        Some(why) => format!("replaces it ({why})"),
        None if state.errors().next().is_some() => dash(),
        None => "keeps it".to_owned(),
    };
    [state.factory.to_string(), token, issued, expires, left, listed, ours, expired, foreign, next]
}

#[cfg(test)]
mod tests;
