//! What is published for each factory, when it will be replaced, and what Conjur has beside it. Reads only,
//! and names tokens by their fingerprints.

use crate::config::Config;
use crate::effects::Effects;
use crate::label::Kind;
use crate::plan::{Listed, Standing, Step, Why};
use crate::rotate::{Error, chosen, hints, worst};
use crate::survey::{Survey, Surveyed};
use crate::table;
use imprint_core::error::{Class, Classified, chain};
use imprint_core::name::FactoryId;
use imprint_core::second::Second;
use imprint_core::token::Fingerprint;
use serde_json::{Value, json};
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
    /// Whether its instances share a token.
    pub shared: bool,
    /// What is published, or why that is not known.
    pub published: Result<Option<Shown>, Error>,
    /// Why a run would replace it now; `None` when it would keep it, or could do nothing.
    pub replace: Option<Why>,
    /// When it falls due: now, where a run would replace it now; `None` when that is not known.
    pub due: Option<Second>,
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
    /// Live ones of ours, whatever they are.
    pub ours: usize,
    /// Of these, those that were published before, or may have been.
    pub superseded: usize,
    /// Of these, those that nobody can hold, and a run revokes.
    pub orphans: usize,
    /// Of these, those that were minted by `token create`.
    pub by_hand: usize,
    /// Of these, those that are sealed with client data.
    pub client_data: usize,
    /// Of these, those that are for one instance each.
    pub instance: usize,
    /// Expired ones of ours.
    pub expired: usize,
    /// Those of anybody else.
    pub foreign: usize,
}

impl Status {
    /// Asks Conjur once and S3 once a factory, of those named or of all.
    ///
    /// # Errors
    /// When a factory is not in the configuration, or Conjur cannot be asked at all.
    pub async fn ask(config: &Config, ids: &[FactoryId], on: &impl Effects) -> Result<Self, Error> {
        let factories = chosen(config, ids)?;
        let session = on.authenticate().await?;
        let survey = Survey::ask(config, on, &session, factories, false).await?;
        let now = survey.now;
        let factories = survey.factories.into_iter().map(|seen| state(config, seen, now)).collect();
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

fn state(config: &Config, seen: Surveyed<'_>, now: Second) -> State {
    let published = seen.binding().map(|binding| Shown {
        fingerprint: binding.fingerprint.clone(),
        issued_at: binding.issued_at,
        expires_at: binding.expires_at,
        listed: seen
            .tokens
            .as_ref()
            .ok()
            .map(|tokens| tokens.iter().any(|token| token.listed.fingerprint == binding.fingerprint)),
    });
    let (due, replace) = match seen.plan.as_ref().map(|plan| plan.step) {
        Some(Step::Keep { until }) => (Some(until), None),
        Some(Step::Mint(why)) => (Some(now), Some(why)),
        Some(Step::Unshared) | None => (None, None),
    };
    let at_conjur = seen.tokens.map(|tokens| {
        let tokens: Vec<_> = tokens.into_iter().map(|token| (token.listed, token.standing)).collect();
        count(config, &tokens, now)
    });
    let factory = seen.factory.id.clone();
    let shared = seen.factory.shared;
    State { factory, shared, published: seen.published.map(|_| published), replace, due, at_conjur }
}

fn count(config: &Config, tokens: &[(Listed, Option<Standing>)], now: Second) -> Counts {
    let mut counts = Counts::default();
    for (token, standing) in tokens {
        let Some(label) = token.label.filter(|_| token.is_ours(config.deployment)) else {
            counts.foreign += 1;
            continue;
        };
        if token.expires_at <= now {
            counts.expired += 1;
            continue;
        }
        counts.ours += 1;
        counts.by_hand += usize::from(label.kind == Kind::ByHand);
        counts.client_data += usize::from(label.kind == Kind::ClientData);
        counts.instance += usize::from(label.kind == Kind::Instance);
        counts.superseded += usize::from(*standing == Some(Standing::Superseded));
        counts.orphans += usize::from(*standing == Some(Standing::Orphan));
    }
    counts
}

impl fmt::Display for Counts {
    /// Only what there is: `2 ours (1 superseded), 1 expired`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = |parts: &[(usize, &str)]| {
            let there = parts.iter().filter(|(count, _)| *count > 0);
            there.map(|(count, name)| format!("{count} {name}")).collect::<Vec<_>>().join(", ")
        };
        let of_ours = named(&[
            (self.superseded, "superseded"),
            (self.orphans, "orphaned"),
            (self.by_hand, "by hand"),
            (self.client_data, "client data"),
            (self.instance, "for an instance"),
        ]);
        let others = named(&[(self.expired, "expired"), (self.foreign, "foreign")]);
        write!(f, "{} ours", self.ours)?;
        if !of_ours.is_empty() {
            write!(f, " ({of_ours})")?;
        }
        if !others.is_empty() {
            write!(f, ", {others}")?;
        }
        Ok(())
    }
}

impl State {
    /// What could not be learned, the worse first.
    fn errors(&self) -> impl Iterator<Item = &Error> {
        self.at_conjur.as_ref().err().into_iter().chain(self.published.as_ref().err())
    }

    fn to_json(&self, now: Second) -> Value {
        let mut object = json!({
            "factory": self.factory.as_str(),
            "shared": self.shared,
            "replace": self.replace.map(Why::as_str),
            "next_rotation": self.due.map(|due| json!({
                "at": due.to_string(),
                "seconds": due.since(now).as_secs(),
            })),
        });
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
                    "age_seconds": now.since(shown.issued_at).as_secs(),
                    "expires_at": shown.expires_at.to_string(),
                    "seconds_left": shown.expires_at.since(now).as_secs(),
                    "listed": shown.listed,
                }),
            ),
            Ok(None) => add("published", Value::Null),
            // There is no telling, which is not the same as nothing.
            Err(_) => {}
        }
        add("at_conjur", self.at_conjur.as_ref().map_or(Value::Null, |counts| counts.to_json()));
        let errors: Vec<&Error> = self.errors().collect();
        if let Some(class) = worst(errors.iter().map(|error| error.class())) {
            let words: Vec<String> = errors.iter().map(|error| chain(*error)).collect();
            add("error", words.join("; ").into());
            add("class", class.as_str().into());
            add("hint", errors.iter().find_map(|error| error.hint()).into());
        }
        object
    }
}

impl Counts {
    fn to_json(self) -> Value {
        let Self { ours, superseded, orphans, by_hand, client_data, instance, expired, foreign } = self;
        json!({
            "ours": ours, "superseded": superseded, "orphans": orphans, "by_hand": by_hand,
            "client_data": client_data, "instance": instance, "expired": expired, "foreign": foreign,
        })
    }
}

/// The status as a table, and a line that sums it up: of a thousand rows nobody reads all.
pub struct Table<'a>(pub &'a Status);

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Status { now, factories } = self.0;
        let head = ["FACTORY", "TOKEN", "AGE", "EXPIRES", "LEFT", "DUE", "IN", "NEXT RUN", "AT CONJUR"];
        f.write_str(&table::of(head, factories.iter().map(|state| cells(state, *now))))?;
        for state in factories {
            for error in state.errors() {
                write!(f, "\n{}: {}", state.factory, chain(error))?;
            }
        }
        for hint in hints(factories.iter().flat_map(State::errors)) {
            write!(f, "\nhint: {hint}")?;
        }
        let replaced = factories.iter().filter(|state| state.replace.is_some()).count();
        let unknown = factories.iter().filter(|state| state.errors().next().is_some()).count();
        let orphans: usize =
            factories.iter().filter_map(|state| state.at_conjur.as_ref().ok()).map(|it| it.orphans).sum();
        let kept = factories.iter().filter(|state| state.replace.is_none() && state.due.is_some()).count();
        write!(
            f,
            "\n{} factories: the next run keeps {kept} tokens and replaces {replaced}; {unknown} not known; {orphans} orphans",
            factories.len()
        )
    }
}

fn cells(state: &State, now: Second) -> [String; 9] {
    let dash = || "-".to_owned();
    let [token, age, expires, left] = match &state.published {
        Ok(Some(shown)) => [
            shown.fingerprint.to_string(),
            table::span(now.since(shown.issued_at)),
            shown.expires_at.to_string(),
            table::span(shown.expires_at.since(now)),
        ],
        Ok(None) => [dash(), dash(), dash(), dash()],
        Err(_) => ["not known".to_owned(), dash(), dash(), dash()],
    };
    let [due, in_] = match state.due {
        Some(due) if due > now => [due.to_string(), table::span(due.since(now))],
        Some(_) => ["now".to_owned(), dash()],
        None => [dash(), dash()],
    };
    let next = match (state.replace, state.due) {
        (Some(why), _) => format!("replaces it ({why})"),
        (None, Some(_)) => "keeps it".to_owned(),
        (None, None) if !state.shared => "none is shared".to_owned(),
        (None, None) => dash(),
    };
    let at_conjur = state.at_conjur.as_ref().map_or_else(|_| "unseen".to_owned(), Counts::to_string);
    [state.factory.to_string(), token, age, expires, left, due, in_, next, at_conjur]
}

#[cfg(test)]
mod tests;
