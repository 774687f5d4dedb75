//! What a run would do now for each factory, and why, without doing it.

use crate::config::Config;
use crate::effects::Effects;
use crate::plan::{Plan, Step};
use crate::rotate::{Error, chosen, hints, worst};
use crate::survey::{Survey, Surveyed};
use imprint_core::error::{Class, Classified, chain};
use imprint_core::name::FactoryId;
use imprint_core::second::Second;
use imprint_core::settings::written;
use imprint_core::token::Fingerprint;
use serde_json::{Value, json};
use std::fmt;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

/// What a run would do.
#[derive(Debug)]
pub struct Outlook {
    /// When it was asked.
    pub now: Second,
    /// One a factory, in the configuration's order.
    pub factories: Vec<Part>,
}

/// What it would do for one factory.
#[derive(Debug)]
pub struct Part {
    /// The factory.
    pub factory: FactoryId,
    /// The published token, when there is one.
    pub published: Option<Fingerprint>,
    /// The decision, or why there is none.
    pub ends: Result<Ends, Error>,
}

/// A decision about one factory, as far as the configuration lets a run carry it out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Ends {
    /// About the published token.
    pub step: Step,
    /// Orphans that are revoked.
    pub revoked: Vec<Fingerprint>,
    /// Expired tokens of ours that are deleted: one a run, the oldest.
    pub deleted: Vec<Fingerprint>,
    /// Orphans and expired tokens of ours that are left.
    pub left: Vec<Fingerprint>,
}

impl Outlook {
    /// Asks Conjur once and S3 once a factory; `now`: as `rotate --now` would.
    ///
    /// # Errors
    /// When a factory is not in the configuration, or Conjur cannot be asked at all.
    pub async fn ask(
        config: &Config,
        ids: &[FactoryId],
        now: bool,
        on: &impl Effects,
    ) -> Result<Self, Error> {
        let factories = chosen(config, ids)?;
        let session = on.authenticate().await?;
        let survey = Survey::ask(config, on, &session, factories, now).await?;
        let factories = survey.factories.into_iter().map(|seen| part(config, seen)).collect();
        Ok(Self { now: survey.now, factories })
    }

    /// The worst of what could not be learned; what a run would do is no failure.
    #[must_use]
    pub fn class(&self) -> Option<Class> {
        worst(self.factories.iter().filter_map(|part| part.ends.as_ref().err()).map(Classified::class))
    }

    /// As one JSON object.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let factories: Vec<Value> = self.factories.iter().map(|part| part.to_json(self.now)).collect();
        json!({"schema": SCHEMA, "now": self.now.to_string(), "factories": factories})
    }
}

fn part(config: &Config, seen: Surveyed<'_>) -> Part {
    let factory = seen.factory.id.clone();
    let published = seen.binding().map(|binding| binding.fingerprint.clone());
    let ends = match (seen.tokens, seen.published, seen.plan) {
        (Err(error), ..) | (Ok(_), Err(error), _) => Err(error),
        // It would fail, and so does this.
        (Ok(_), Ok(_), Some(Plan { step: Step::Mint(why), .. })) if !seen.factory.mint => {
            Err(Error::NotGiven { factory: factory.clone(), why })
        }
        (Ok(_), Ok(_), Some(plan)) => Ok(ends(config, plan)),
        // There is a plan whenever both are known.
        (Ok(_), Ok(_), None) => Err(Error::Unseen { factory: factory.clone(), login: config.login.clone() }),
    };
    Part { factory, published, ends }
}

fn ends(config: &Config, plan: Plan) -> Ends {
    let Plan { step, mut expired, orphans } = plan;
    if config.revoke {
        let left = expired.split_off(expired.len().min(1));
        Ends { step, revoked: orphans, deleted: expired, left }
    } else {
        Ends { step, revoked: Vec::new(), deleted: Vec::new(), left: [orphans, expired].concat() }
    }
}

impl Part {
    fn to_json(&self, now: Second) -> Value {
        let names = |all: &[Fingerprint]| all.iter().map(|one| one.as_str().into()).collect::<Vec<Value>>();
        let mut object = match &self.ends {
            Err(error) => json!({
                "step": null, "class": error.class().as_str(), "error": chain(error), "hint": error.hint(),
            }),
            Ok(ends) => {
                let (step, why, until) = match ends.step {
                    Step::Keep { until } => ("keep", None, Some(until)),
                    Step::Mint(why) => ("mint", Some(why.as_str()), None),
                    Step::Unshared => ("unshared", None, None),
                };
                json!({
                    "step": step,
                    "why": why,
                    "until": until.map(|until| until.to_string()),
                    "seconds": until.map(|until| until.since(now).as_secs()),
                    "revoke": names(&ends.revoked),
                    "delete": names(&ends.deleted),
                    "left": names(&ends.left),
                })
            }
        };
        if let Some(members) = object.as_object_mut() {
            members.insert("factory".to_owned(), self.factory.as_str().into());
            members.insert("published".to_owned(), self.published.as_ref().map(Fingerprint::as_str).into());
        }
        object
    }
}

/// A line for each thing that would be done.
impl fmt::Display for Outlook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut minted = 0;
        for Part { factory, published, ends } in &self.factories {
            let ends = match ends {
                Ok(ends) => ends,
                Err(error) => {
                    writeln!(f, "{factory}: not known: {}", chain(error))?;
                    continue;
                }
            };
            match (ends.step, published) {
                (Step::Keep { until }, Some(token)) => {
                    writeln!(
                        f,
                        "{factory}: keeps token {token} until {until}, for {}",
                        written(until.since(self.now))
                    )?;
                }
                // Nothing is kept where nothing is published.
                (Step::Keep { .. }, None) => {}
                (Step::Unshared, _) => {
                    writeln!(f, "{factory}: mints nothing, since each instance has a token of its own")?;
                }
                (Step::Mint(why), published) => {
                    minted += 1;
                    let place = published.as_ref().map(|token| format!(" in the place of {token}"));
                    let place = place.unwrap_or_default();
                    writeln!(
                        f,
                        "{factory}: mints, seals and publishes a token{place}, since {}",
                        why.meaning()
                    )?;
                }
            }
            for token in &ends.revoked {
                writeln!(f, "{factory}: revokes token {token}, which was minted and never published")?;
            }
            for token in &ends.deleted {
                writeln!(f, "{factory}: deletes token {token}, which has expired")?;
            }
            if !ends.left.is_empty() {
                let why = if ends.revoked.is_empty() && ends.deleted.is_empty() {
                    "since revoke = false"
                } else {
                    "to later runs, since one is deleted a run"
                };
                writeln!(f, "{factory}: leaves {} tokens {why}", ends.left.len())?;
            }
        }
        for hint in hints(self.factories.iter().filter_map(|part| part.ends.as_ref().err())) {
            writeln!(f, "hint: {hint}")?;
        }
        let unknown = self.factories.iter().filter(|part| part.ends.is_err()).count();
        write!(f, "{} factories: {minted} tokens to mint, {unknown} not known", self.factories.len())
    }
}

#[cfg(test)]
mod tests;
