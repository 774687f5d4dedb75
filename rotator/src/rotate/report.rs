//! What came out of a run: for people, for machines, and as an exit code. No secret gets here.

use super::Error;
use crate::plan::Why;
use imprint_core::error::{Class, Classified as _, chain};
use imprint_core::name::FactoryId;
use imprint_core::second::Second;
use imprint_core::token::Fingerprint;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

/// A whole run.
#[derive(Debug)]
pub struct Report {
    /// The run's name in bindings and logs.
    pub rotation_id: String,
    /// One outcome a factory, in the configuration's order.
    pub factories: Vec<Outcome>,
}

/// What happened to one factory.
#[derive(Debug)]
pub struct Outcome {
    /// The factory.
    pub factory: FactoryId,
    /// How it ended.
    pub result: Result<Done, Error>,
    /// What somebody should know beside it.
    pub notes: Vec<String>,
    /// What agents find at its end.
    pub offered: Offered,
    /// Tokens of ours that were minted and never published.
    pub orphans: Swept,
    /// Older tokens of ours, when they were to be revoked.
    pub older: Option<Swept>,
}

/// What agents find under a factory's key, as far as a run knows.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Offered {
    /// No token that Conjur takes.
    Nothing,
    /// A token.
    Token {
        /// When it was sealed.
        issued_at: Second,
        /// When it ends.
        expires_at: Second,
    },
    /// It was not learned, or another run changed it meanwhile.
    Unknown,
}

/// How the factories of a run ended, and what became of orphans.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Counts {
    /// With a new token.
    pub rotated: usize,
    /// With the one that was there.
    pub kept: usize,
    /// With another run's.
    pub lost_races: usize,
    /// Not well.
    pub failed: usize,
    /// Orphans that were revoked, of all factories.
    pub orphans_revoked: usize,
    /// Orphans that live on, of all factories.
    pub orphans_left: usize,
}

/// Tokens that nobody needs: what became of them at Conjur.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Swept {
    /// Revoked, now or by somebody else just before.
    pub revoked: Vec<Fingerprint>,
    /// Alive yet.
    pub left: Vec<Fingerprint>,
}

impl Swept {
    fn to_json(&self) -> Value {
        let names = |tokens: &[Fingerprint]| tokens.iter().map(|t| t.as_str().into()).collect::<Vec<Value>>();
        json!({"revoked": names(&self.revoked), "left": names(&self.left)})
    }
}

/// A good end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Done {
    /// The published token is good and not due.
    Kept {
        /// The token.
        fingerprint: Fingerprint,
        /// When it ends.
        expires_at: Second,
        /// When it falls due.
        until: Second,
    },
    /// Another run published first; its token is as good as ours, which is revoked.
    LostRace {
        /// The token that was minted for nothing.
        fingerprint: Fingerprint,
    },
    /// A new token is published and was read back.
    Rotated {
        /// The token.
        fingerprint: Fingerprint,
        /// When it ends.
        expires_at: Second,
        /// Why it was minted.
        why: Why,
        /// The one before it, which lives until it expires.
        superseded: Option<Fingerprint>,
    },
    /// Its instances share no token: there is none to rotate.
    Unshared,
}

impl Report {
    /// The worst class of all failures; `None` when there is none.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        worst(self.factories.iter().filter_map(Outcome::class))
    }

    /// How it ended, in figures.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.factories.iter().fold(Counts::default(), |mut counts, outcome| {
            match &outcome.result {
                Ok(Done::Kept { .. }) => counts.kept += 1,
                Ok(Done::LostRace { .. }) => counts.lost_races += 1,
                Ok(Done::Rotated { .. }) => counts.rotated += 1,
                Ok(Done::Unshared) => {}
                Err(_) => counts.failed += 1,
            }
            counts.orphans_revoked += outcome.orphans.revoked.len();
            counts.orphans_left += outcome.orphans.left.len();
            counts
        })
    }

    /// The same as one JSON object, without the factories.
    #[must_use]
    pub fn summary(&self) -> Value {
        let Counts { rotated, kept, lost_races, failed, orphans_revoked, orphans_left } = self.counts();
        json!({
            "schema": SCHEMA,
            "rotation_id": self.rotation_id,
            "rotated": rotated,
            "kept": kept,
            "lost_races": lost_races,
            "failed": failed,
            "orphans_revoked": orphans_revoked,
            "orphans_left": orphans_left,
        })
    }

    /// The report as one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let mut report = self.summary();
        let factories: Vec<Value> = self.factories.iter().map(Outcome::to_json).collect();
        if let Some(members) = report.as_object_mut() {
            members.insert("factories".to_owned(), factories.into());
        }
        report
    }
}

impl Outcome {
    fn class(&self) -> Option<Class> {
        self.result.as_ref().err().map(imprint_core::Classified::class)
    }

    fn to_json(&self) -> Value {
        let mut object = match &self.result {
            Ok(Done::Kept { fingerprint, expires_at, until }) => json!({
                "result": "kept",
                "fingerprint": fingerprint.as_str(),
                "expires_at": expires_at.to_string(),
                "due_at": until.to_string(),
            }),
            Ok(Done::LostRace { fingerprint }) => {
                json!({"result": "lost the race", "fingerprint": fingerprint.as_str()})
            }
            Ok(Done::Rotated { fingerprint, expires_at, why, superseded }) => json!({
                "result": "rotated",
                "fingerprint": fingerprint.as_str(),
                "expires_at": expires_at.to_string(),
                "why": why.as_str(),
                "superseded": superseded.as_ref().map(Fingerprint::as_str),
            }),
            Ok(Done::Unshared) => json!({"result": "unshared"}),
            Err(error) => json!({
                "result": "failed",
                "class": error.class().as_str(),
                "error": chain(error),
                "hint": error.hint(),
            }),
        };
        if let Some(members) = object.as_object_mut() {
            members.insert("factory".to_owned(), self.factory.as_str().into());
            members.insert("notes".to_owned(), self.notes.clone().into());
            members.insert("orphans".to_owned(), self.orphans.to_json());
            if let Some(older) = &self.older {
                members.insert("older".to_owned(), older.to_json());
            }
        }
        object
    }

    /// One log line, and one for each note.
    pub(super) fn log(&self, rotation_id: &str) {
        let factory = self.factory.as_str();
        for note in &self.notes {
            log::warn!(factory, rotation_id; "{factory}: {note}");
        }
        self.log_end(rotation_id);
    }

    /// One log line.
    pub(super) fn log_end(&self, rotation_id: &str) {
        let factory = self.factory.as_str();
        match &self.result {
            Ok(done @ Done::Kept { fingerprint, .. }) => {
                log::debug!(factory, rotation_id, fingerprint = fingerprint.as_str(); "{factory}: {done}");
            }
            Ok(done @ (Done::LostRace { fingerprint } | Done::Rotated { fingerprint, .. })) => {
                log::info!(factory, rotation_id, fingerprint = fingerprint.as_str(); "{factory}: {done}");
            }
            Ok(done @ Done::Unshared) => log::debug!(factory, rotation_id; "{factory}: {done}"),
            Err(error) => {
                let (class, hint) = (error.class().as_str(), error.hint().unwrap_or_default());
                log::error!(factory, rotation_id, class, hint; "{factory}: {}", chain(error));
            }
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.result {
            Ok(done) => {
                write!(f, "{}: {done}", self.factory)?;
                match &self.older {
                    Some(older) => match older.revoked.len() {
                        1 => f.write_str("; revoked 1 older one"),
                        count => write!(f, "; revoked {count} older ones"),
                    },
                    None => Ok(()),
                }
            }
            Err(error) => write!(f, "{}: failed ({}): {}", self.factory, error.class(), chain(error)),
        }
    }
}

impl fmt::Display for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kept { fingerprint, expires_at, until } => {
                write!(f, "kept token {fingerprint}, which ends {expires_at} and falls due {until}")
            }
            Self::LostRace { fingerprint } => {
                write!(f, "another run published first; token {fingerprint} was not needed")
            }
            Self::Rotated { fingerprint, expires_at, why, superseded } => {
                write!(f, "published token {fingerprint}, which ends {expires_at} ({why}")?;
                match superseded {
                    Some(old) => write!(f, "; before it {old})"),
                    None => f.write_str(")"),
                }
            }
            Self::Unshared => f.write_str("no token is shared: each instance has one of its own"),
        }
    }
}

/// What to do about failures: each advice once, however many of a thousand factories need it.
#[must_use]
pub fn hints<'a>(errors: impl IntoIterator<Item = &'a Error>) -> BTreeSet<&'static str> {
    errors.into_iter().filter_map(imprint_core::Classified::hint).collect()
}

/// The class that asks for a person most urgently.
#[must_use]
pub fn worst(classes: impl IntoIterator<Item = Class>) -> Option<Class> {
    classes.into_iter().max_by_key(|class| match class {
        Class::Bug => 8,
        Class::Tampered => 7,
        Class::Config => 6,
        Class::Usage => 5,
        Class::Refused => 4,
        Class::Protocol => 3,
        Class::Storage => 2,
        Class::Absent => 1,
        Class::Transient => 0,
    })
}
