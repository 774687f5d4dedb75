//! A failed invocation, as Lambda and whoever invoked are told of it: the error type is the class, the
//! message a JSON object of bounded size.

use crate::rotate::{Outcome, Report};
use imprint_core::error::{Class, Classified, chain};
use lambda_runtime::Diagnostic;
use serde_json::{Value, json};

/// The most failed factories that a message names. All of them are in the log, a line each.
pub(super) const MOST: usize = 20;

/// The longest text of one error, in characters. Of a configuration it names every problem.
const LONGEST: usize = 2_000;

/// Why an invocation failed.
#[derive(Clone, Debug)]
pub(super) struct Failed {
    pub(super) class: Class,
    /// What is told: an object of fewer than 64 KiB. Lambda keeps no more than a quarter of a megabyte of an
    /// error that it records for an asynchronous invocation.
    pub(super) report: Value,
}

impl Failed {
    pub(super) fn new(class: Class, error: &str, hint: Option<&str>) -> Self {
        let report = json!({"class": class.as_str(), "error": cut(error), "hint": hint});
        Self { class, report }
    }

    pub(super) fn of(error: &dyn Classified) -> Self {
        Self::new(error.class(), &words(error), error.hint())
    }

    /// A run in which factories failed, when all others were done.
    pub(super) fn of_run(class: Class, report: &Report) -> Self {
        let failed = report.factories.iter().filter(|outcome| outcome.result.is_err());
        let factories: Vec<Value> = failed.clone().take(MOST).map(told).collect();
        let mut summary = report.summary();
        if let Some(members) = summary.as_object_mut() {
            members.insert("class".to_owned(), class.as_str().into());
            members.insert("unnamed".to_owned(), failed.count().saturating_sub(MOST).into());
            members.insert("factories".to_owned(), factories.into());
        }
        Self { class, report: summary }
    }
}

/// A failed factory, without what it did beside.
fn told(outcome: &Outcome) -> Value {
    let mut told = json!({"factory": outcome.factory.as_str(), "result": "failed"});
    if let (Err(error), Some(members)) = (&outcome.result, told.as_object_mut()) {
        members.insert("class".to_owned(), error.class().as_str().into());
        members.insert("error".to_owned(), cut(&chain(error)).into());
        members.insert("hint".to_owned(), error.hint().into());
    }
    told
}

/// `chain` for an error that is known by what it can do alone.
fn words(error: &dyn Classified) -> String {
    let mut text = error.to_string();
    if let Some(source) = error.source() {
        text.push_str(": ");
        text.push_str(&chain(source));
    }
    text
}

pub(super) fn cut(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((at, _)) => format!("{} ...", text.get(..at).unwrap_or_default()),
        None => text.to_owned(),
    }
}

impl From<Failed> for Diagnostic {
    fn from(failed: Failed) -> Self {
        Self { error_type: failed.class.as_str().to_owned(), error_message: failed.report.to_string() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rotate::{Error, Offered, Swept};

    fn outcome(id: String, result: Result<crate::rotate::Done, Error>) -> Outcome {
        let factory = id.parse().unwrap();
        Outcome {
            factory,
            result,
            notes: vec!["n".repeat(200); 5],
            offered: Offered::Unknown,
            orphans: Swept::default(),
            older: None,
        }
    }

    #[test]
    fn what_lambda_is_told() {
        let told = Diagnostic::from(Failed::of(&crate::config::Error::None));
        assert_eq!(told.error_type, "config");
        assert!(told.error_message.contains("IMPRINT_ROTATOR_CONFIG"), "{}", told.error_message);
        let told = Failed::new(Class::Usage, &"é".repeat(100_000), None).report.to_string();
        assert!(told.len() < 2 * LONGEST + 100 && told.contains("é ...\""), "{}", told.len());
    }

    #[test]
    fn a_thousand_failures_make_no_endless_message() {
        let no_time = |n: usize| Err(Error::NoTime { factory: format!("f{n}").parse().unwrap() });
        let outcomes = |count: usize| (0..count).map(|n| outcome(format!("{:0>250}", n), no_time(n)));
        let mut factories: Vec<Outcome> = outcomes(1000).collect();
        factories.push(outcome("good".to_owned(), Ok(done())));
        let report = Report { rotation_id: "r-1".to_owned(), factories };
        let failed = Failed::of_run(Class::Transient, &report);
        let told = failed.report.to_string();
        assert!(told.len() < 64 * 1024, "{}", told.len());
        assert_eq!(
            [&failed.report["failed"], &failed.report["rotated"], &failed.report["unnamed"]],
            [&json!(1000), &json!(1), &json!(1000 - MOST)]
        );
        let named = failed.report["factories"].as_array().unwrap();
        assert!(
            named.len() == MOST
                && named.iter().all(|it| it["class"] == "transient" && it["hint"].is_string())
        );
        let few = Report { rotation_id: "r-1".to_owned(), factories: outcomes(2).collect() };
        let few = Failed::of_run(Class::Transient, &few).report;
        assert_eq!((few["factories"].as_array().unwrap().len(), &few["unnamed"]), (2, &json!(0)));
    }

    #[test]
    fn a_thousand_good_ends_are_answered_whole() {
        let factories = (0..1000).map(|n| outcome(format!("{:0>250}", n), Ok(done()))).collect();
        let report = Report { rotation_id: "r-1".to_owned(), factories };
        // What Lambda takes as a reply is 6 MB.
        assert!(report.to_json().to_string().len() < 6_000_000);
    }

    fn done() -> crate::rotate::Done {
        crate::rotate::Done::Rotated {
            fingerprint: imprint_core::token::Fingerprint::of(b"x"),
            expires_at: imprint_core::second::Second::from_unix(0),
            why: crate::plan::Why::Due,
            superseded: None,
        }
    }
}
