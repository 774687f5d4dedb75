//! What a doctor of either program says: a list of checks, as a table for people and as JSON for programs.

use crate::error::{Class, Classified, chain};
use crate::second::Second;
use serde_json::{Value, json};
use std::fmt;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

/// How a check ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It must be mended, by whom this class says.
    Failure(Class),
    /// As it should be.
    Ok,
    /// It could not be looked at; the detail says why.
    Skipped,
    /// The program would go on; somebody should know.
    Warning,
}

/// One check.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Check {
    /// Its name, which never changes its meaning.
    pub name: &'static str,
    /// How it ended.
    pub outcome: Outcome,
    /// What was seen.
    pub detail: String,
    /// What to do now.
    pub hint: Option<String>,
}

/// All checks, in the order in which the program would meet what they look at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Report {
    /// When, by this machine's clock.
    pub at: Second,
    /// The checks.
    pub checks: Vec<Check>,
}

impl Outcome {
    /// The name in JSON and in the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Failure(_) => "failure",
            Self::Ok => "ok",
            Self::Skipped => "skipped",
            Self::Warning => "warning",
        }
    }
}

impl Check {
    /// As it should be.
    #[must_use]
    pub fn ok(name: &'static str, detail: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, detail: detail.into(), hint: None }
    }

    /// It could not be looked at, because of this.
    #[must_use]
    pub fn skipped(name: &'static str, because: &str) -> Self {
        Self { name, outcome: Outcome::Skipped, detail: format!("because {because}"), hint: None }
    }

    /// Somebody should know.
    #[must_use]
    pub fn warning(name: &'static str, detail: impl Into<String>, hint: &str) -> Self {
        Self { name, outcome: Outcome::Warning, detail: detail.into(), hint: Some(hint.to_owned()) }
    }

    /// It must be mended.
    #[must_use]
    pub fn failure(name: &'static str, class: Class, detail: impl Into<String>, hint: &str) -> Self {
        Self { name, outcome: Outcome::Failure(class), detail: detail.into(), hint: Some(hint.to_owned()) }
    }

    /// An error, with its class and hint.
    #[must_use]
    pub fn of(name: &'static str, error: &impl Classified) -> Self {
        Self {
            name,
            outcome: Outcome::Failure(error.class()),
            detail: chain(error),
            hint: error.hint().map(str::to_owned),
        }
    }
}

impl Report {
    /// The class of the worst failure; `None` when there is none.
    #[must_use]
    pub fn worst(&self) -> Option<Class> {
        let failures = self.checks.iter().filter_map(|check| match check.outcome {
            Outcome::Failure(class) => Some(class),
            Outcome::Ok | Outcome::Skipped | Outcome::Warning => None,
        });
        // What waiting may mend comes last; what somebody did to us comes first.
        failures.max_by_key(|class| match class {
            Class::Bug => 8,
            Class::Tampered => 7,
            Class::Config => 6,
            Class::Usage => 5,
            Class::Storage => 4,
            Class::Refused => 3,
            Class::Protocol => 2,
            Class::Absent => 1,
            Class::Transient => 0,
        })
    }

    /// As JSON, on several lines.
    #[must_use]
    pub fn to_json(&self) -> String {
        let check = |check: &Check| {
            let class = match check.outcome {
                Outcome::Failure(class) => Some(class.as_str()),
                Outcome::Ok | Outcome::Skipped | Outcome::Warning => None,
            };
            json!({
                "name": check.name, "outcome": check.outcome.as_str(), "class": class,
                "detail": check.detail, "hint": check.hint,
            })
        };
        let report = json!({
            "schema": SCHEMA,
            "at": self.at.to_string(),
            "worst": self.worst().map(Class::as_str),
            "checks": self.checks.iter().map(check).collect::<Vec<Value>>(),
        });
        format!("{report:#}")
    }

    fn count(&self, outcome: &str) -> usize {
        self.checks.iter().filter(|check| check.outcome.as_str() == outcome).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or_default();
        for check in &self.checks {
            let class = match check.outcome {
                Outcome::Failure(class) => format!(" ({class})"),
                Outcome::Ok | Outcome::Skipped | Outcome::Warning => String::new(),
            };
            writeln!(f, "{:7}  {:width$}  {}{class}", check.outcome.as_str(), check.name, check.detail)?;
            if let Some(hint) = &check.hint {
                writeln!(f, "{:7}  {:width$}  hint: {hint}", "", "")?;
            }
        }
        write!(
            f,
            "{} checks: {} ok, {} warnings, {} failures, {} skipped",
            self.checks.len(),
            self.count("ok"),
            self.count("warning"),
            self.count("failure"),
            self.count("skipped")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(outcomes: &[Outcome]) -> Report {
        let check = |outcome: &Outcome| Check {
            name: "it",
            outcome: *outcome,
            detail: "so it is".to_owned(),
            hint: (*outcome != Outcome::Ok).then(|| "do this".to_owned()),
        };
        Report { at: Second::from_unix(1_795_334_400), checks: outcomes.iter().map(check).collect() }
    }

    #[test]
    fn the_worst_decides() {
        let check = |outcomes: &[Outcome], worst| assert_eq!(report(outcomes).worst(), worst, "{outcomes:?}");
        check(&[], None);
        check(&[Outcome::Ok, Outcome::Warning, Outcome::Skipped], None);
        check(
            &[Outcome::Failure(Class::Transient), Outcome::Failure(Class::Absent), Outcome::Ok],
            Some(Class::Absent),
        );
        check(&[Outcome::Failure(Class::Tampered), Outcome::Failure(Class::Config)], Some(Class::Tampered));
    }

    #[test]
    fn both_forms() {
        let report = report(&[Outcome::Ok, Outcome::Failure(Class::Config)]);
        assert_eq!(
            report.to_string(),
            "ok       it  so it is\nfailure  it  so it is (config)\n             hint: do this\n\
             2 checks: 1 ok, 0 warnings, 1 failures, 0 skipped"
        );
        let json: Value = serde_json::from_str(&report.to_json()).unwrap();
        assert_eq!((&json["schema"], &json["worst"]), (&json!(1), &json!("config")));
        assert_eq!(json["at"], "2026-11-22T08:00:00Z");
        assert_eq!(
            json["checks"][1],
            json!({"name": "it", "outcome": "failure", "class": "config", "detail": "so it is", "hint": "do this"})
        );
        assert_eq!(json["checks"][0]["class"], Value::Null);
    }
}
