//! Minting for single instances in Lambda: the same runs as the command's, with results, log lines and metrics.

use super::failed::{Failed, MOST, cut};
use super::made::Made;
use crate::instance::Promote;
use crate::instance::judge::Judge;
use crate::instance::real::Real;
use crate::instance::report::{Counts, Report};
use crate::instance::run::{Ask as Mint, Error, Run};
use imprint_core::caller::RunId;
use imprint_core::error::{Class, Classified, chain};
use imprint_core::name::{FactoryId, InstanceId};
use imprint_core::retry::Retry;
use serde_json::{Value, json};
use std::time::Duration;

/// What a run is for.
pub(super) enum Ask {
    Mint(Mint),
    Promote(Promote),
}

impl Ask {
    /// For whom; empty for all.
    pub(super) fn instances(&self) -> &[InstanceId] {
        match self {
            Self::Mint(ask) => &ask.instances,
            Self::Promote(ask) => &ask.instances,
        }
    }
}

/// A run, within what is left of the invocation.
pub(super) async fn run(made: &Made, ask: &Ask, id: &RunId, within: Duration) -> Result<Report, Failed> {
    let config = &made.config;
    let on = Real::new(config, &made.caller).await.map_err(|e| Failed::of(&e))?;
    let repeats =
        10 + 2 * u32::try_from(ask.instances().len() + config.factories.len()).unwrap_or(u32::MAX / 4);
    let retry = Retry::new(within, repeats);
    let judge = Judge::Rules(&config.fleet.rules);
    let ran = async {
        let run = Run::open(config, judge, id, &on, &retry).await?;
        match ask {
            Ask::Mint(ask) => run.mint(ask).await,
            Ask::Promote(ask) => run.promote(ask).await,
        }
    };
    ran.await.map_err(|error: Error| Failed::of(&error))
}

/// The result of a run, or its failure; what happened to each instance was logged as it happened.
pub(super) fn summed_up(report: &Report) -> Result<Value, Failed> {
    told(report);
    match report.class() {
        None => Ok(report.to_json()),
        Some(class) => Err(Failed { class, report: summary(report, class) }),
    }
}

/// The result of a run for a batch: Lambda gives those of its records that failed to the function again.
pub(super) fn of_batch(report: &Report, records: &[(String, InstanceId)]) -> Value {
    told(report);
    let again = report.again();
    let failed = records.iter().filter(|(_, instance)| again.contains(instance));
    let failed: Vec<Value> = failed.map(|(record, _)| json!({"itemIdentifier": record})).collect();
    let mut reply = report.to_json();
    if let Some(members) = reply.as_object_mut() {
        members.insert("batchItemFailures".to_owned(), failed.into());
    }
    reply
}

/// The same, with the records of the batch that are no events of EC2's.
pub(super) fn with_strange(mut reply: Value, strange: Vec<String>) -> Value {
    for record in &strange {
        let (event, record) = ("record not understood", record.as_str());
        log::error!(event, record; "record {record} of the batch is no state change of EC2's, and is given back");
    }
    if let (false, Some(members)) = (strange.is_empty(), reply.as_object_mut()) {
        let failures = members.entry("batchItemFailures").or_insert_with(|| Value::Array(Vec::new()));
        if let Some(failures) = failures.as_array_mut() {
            failures.extend(strange.into_iter().map(|record| json!({"itemIdentifier": record})));
        }
    }
    reply
}

fn told(report: &Report) {
    let class = report.class();
    let Counts { published, kept, failed, old_removed, squatted } = report.counts();
    let level = if class.is_some() { log::Level::Error } else { log::Level::Info };
    log::log!(
        level, event = "mint ended", class = class.map_or("", Class::as_str), published, kept, failed, old_removed, squatted;
        "{published} tokens for instances published, {kept} kept, {failed} failed"
    );
}

/// The first of the failures, and how many there are.
fn summary(report: &Report, class: Class) -> Value {
    let failed = report.errors().count();
    let first = report.errors().take(MOST).map(|(outcome, error)| {
        json!({
            "instance": outcome.instance.as_ref().map(InstanceId::as_str),
            "factory": outcome.factory.as_ref().map(FactoryId::as_str), "class": error.class().as_str(),
            "error": cut(&chain(error)), "hint": error.hint(),
        })
    });
    let instances: Vec<Value> = first.collect();
    let unnamed = failed.saturating_sub(instances.len());
    json!({"class": class.as_str(), "failed": failed, "unnamed": unnamed, "instances": instances})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_event_is_given_back_beside_what_failed() {
        let check = |reply: Value, strange: &[&str], want: Value| {
            let strange = strange.iter().map(|record| (*record).to_owned()).collect();
            assert_eq!(with_strange(reply, strange), want);
        };
        check(json!({"schema": 1}), &[], json!({"schema": 1}));
        check(
            json!({"schema": 1}),
            &["a"],
            json!({"schema": 1, "batchItemFailures": [{"itemIdentifier": "a"}]}),
        );
        check(
            json!({"batchItemFailures": [{"itemIdentifier": "a"}]}),
            &["b"],
            json!({"batchItemFailures": [{"itemIdentifier": "a"}, {"itemIdentifier": "b"}]}),
        );
    }
}
