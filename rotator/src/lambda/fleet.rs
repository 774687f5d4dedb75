//! The fleet's functions in Lambda: the same runs as the commands, with results, log lines and metrics.

use super::command::Fleet;
use super::failed::Failed;
use crate::config::Config;
use crate::fleet::real::Real;
use crate::fleet::report::Report;
use crate::fleet::run::{Ask, Deed, Error, Run};
use crate::fleet::status::HostStatus;
use crate::metrics;
use imprint_core::caller::Caller;
use imprint_core::error::{Class, Classified};
use imprint_core::name::{FactoryId, InstanceId};
use imprint_core::retry::Retry;
use serde_json::{Value, json};
use std::time::Duration;

/// A run, within what is left of the invocation.
pub(super) async fn run(
    config: &Config,
    caller: &Caller,
    deed: Deed,
    asked: Fleet,
    within: Duration,
) -> Result<Report, Failed> {
    let Fleet { factories, instances, dry_run, even_all } = asked;
    let ask = Ask { factories, instances, dry_run, even_all };
    let on = Real::new(config, caller).await.map_err(|e| Failed::of(&e))?;
    let repeats = 10 + 2 * u32::try_from(config.factories.len()).unwrap_or(u32::MAX / 4);
    let retry = Retry::new(within, repeats);
    let ran = async { Run::open(config, &ask, &on, &retry).await?.over_the_fleet(deed).await };
    ran.await.map_err(|error: Error| Failed::of(&error))
}

/// A look at the hosts, within what is left of the invocation.
pub(super) async fn status(
    config: &Config,
    caller: &Caller,
    factories: Vec<FactoryId>,
    within: Duration,
) -> Result<HostStatus, Failed> {
    let ask = Ask { factories, ..Ask::default() };
    let on = Real::new(config, caller).await.map_err(|e| Failed::of(&e))?;
    let repeats = 10 + 2 * u32::try_from(config.factories.len()).unwrap_or(u32::MAX / 4);
    let retry = Retry::new(within, repeats);
    let looked = async { Run::open(config, &ask, &on, &retry).await?.status().await };
    looked.await.map_err(|error: Error| Failed::of(&error))
}

/// The result of a run, or its failure; what happened to each factory was logged as it happened.
pub(super) fn summed_up(report: &Report) -> Result<Value, Failed> {
    let class = report.class();
    let metrics::FleetCounts { removed, waiting, held_back, pinned, failed } = report.counts();
    let level = if class.is_some() { log::Level::Error } else { log::Level::Info };
    log::log!(
        level, event = "fleet run ended", class = class.map_or("", Class::as_str),
        removed, waiting, held_back, pinned, failed;
        "{removed} hosts removed, {pinned} pinned, {failed} of {} factories failed", report.factories.len()
    );
    match class {
        None => Ok(report.to_json()),
        Some(class) => Err(Failed { class, report: summary(report) }),
    }
}

/// The first of the failures, and how many there are.
fn summary(report: &Report) -> Value {
    let mut failed = report.factories.iter().filter_map(|part| Some((part, part.result.as_ref().err()?)));
    let told = failed.clone().take(super::failed::MOST).map(|(part, error)| {
        let error_class = error.class().as_str();
        json!({
            "factory": part.factory.as_str(), "class": error_class,
            "error": super::failed::cut(&imprint_core::error::chain(error)), "hint": error.hint(),
        })
    });
    let factories: Vec<Value> = told.collect();
    let unnamed = failed.by_ref().count().saturating_sub(factories.len());
    let class = report.class().map(Class::as_str);
    let without_host: Vec<&str> =
        report.without_host.iter().take(super::failed::MOST).map(InstanceId::as_str).collect();
    json!({
        "class": class, "failed": factories.len() + unnamed, "unnamed": unnamed, "factories": factories,
        "without_host": without_host,
    })
}
