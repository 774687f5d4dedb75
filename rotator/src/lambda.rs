//! The Lambda function: a scheduled event rotates what is due; a direct invoke names a command.
//!
//! The invocation fails when any factory did, after all others were done, so that Lambda's own error
//! metric, retries and alarms see it. What is asked for is in `command`, what a failure tells in `failed`;
//! each line of the log names the run and Lambda's request, and the metrics of a run are lines of it too.

pub mod command;
mod ec2;
mod failed;
mod fleet;
mod instance;
mod made;

use crate::fleet::run::Deed;
use crate::logging::{self, Form};
use crate::metrics;
use crate::outlook::Outlook;
use crate::rotate::{self, Ask, Report, Run};
use crate::session::LogIn as _;
use crate::status::Status;
use command::Command;
use ec2::Changes;
use failed::Failed;
use imprint_core::caller::RunId;
use imprint_core::error::Class;
use imprint_core::name::FactoryId;
use imprint_core::second::Second;
use lambda_runtime::{LambdaEvent, service_fn};
use log::LevelFilter;
use made::{Between, Made};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

/// Left over at the end for the answer itself, and for clocks that are cut to the second.
const MARGIN: Duration = Duration::from_secs(3);

/// Serves events until Lambda ends the process.
pub(crate) async fn run() -> ExitCode {
    logging::start(Form::Json, level(std::env::var("AWS_LAMBDA_LOG_LEVEL").ok().as_deref()));
    if let Some(wrong) = not_lambda(|name| std::env::var(name).ok()) {
        let (class, hint) = (
            Class::Config,
            "unset AWS_LAMBDA_RUNTIME_API to run a command: only Lambda sets it, with all the others",
        );
        log::error!(class = class.as_str(), hint; "AWS_LAMBDA_RUNTIME_API is set, and {wrong}");
        return ExitCode::from(class.exit_code());
    }
    // Made at the first event and not before: a configuration that is wrong then fails the
    // invocation with its reason, where a process that dies at start says nothing useful.
    let made = Between::default();
    let made = &made;
    let function = std::env::var("AWS_LAMBDA_FUNCTION_NAME").unwrap_or_else(|_| "imprint-rotator".to_owned());
    let function = function.as_str();
    let served = lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        let id = RunId::draw(Second::now());
        logging::each_line(&[("rotation_id", id.as_str()), ("request_id", &event.context.request_id)]);
        answer(made, event, &id, function).await
    }))
    .await;
    match served {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            log::error!("the runtime ended: {error}");
            ExitCode::from(Class::Bug.exit_code())
        }
    }
}

async fn answer(
    made: &Between,
    event: LambdaEvent<Value>,
    id: &RunId,
    function: &str,
) -> Result<Value, Failed> {
    let command = Command::of(event.payload).map_err(|e| Failed::of(&e)).inspect_err(complain)?;
    let name = command.name();
    let arn = event.context.invoked_function_arn.as_str();
    let made = async || made.ready(arn, name, id).await;
    let (of, deadline) = ((function, id), event.context.deadline);
    match command {
        Command::Changed(mut changes) => {
            let strange = std::mem::take(&mut changes.strange);
            let served = changed(made().await, changes, &of, deadline).await;
            served.map(|reply| instance::with_strange(reply, strange))
        }
        Command::Decommission(ask) => {
            over_the_fleet(made().await, Deed::Decommission, ask, &of, deadline).await
        }
        Command::Mint(command::Mint { factories, instances }) => {
            let ask = instance::Ask::Mint(crate::instance::run::Ask { instances, factories });
            let made = made().await;
            minted(&made, &ask, &of, deadline).await.and_then(|report| instance::summed_up(&report))
        }
        Command::Nothing => Ok(nothing()),
        Command::Pin(ask) => over_the_fleet(made().await, Deed::Pin, ask, &of, deadline).await,
        Command::Plan(ask) => {
            let made = made().await.inspect_err(complain)?;
            let told = Outlook::ask(&made.config, &ask.factories, ask.now, &made.on).await;
            let told = told.map_err(|e| Failed::of(&e)).inspect_err(complain)?;
            Ok(judged(told.to_json(), told.class()))
        }
        Command::Promote(command::Promote { instances, to, dry_run }) => {
            let ask = crate::instance::Promote { instances, to, from: None, dry_run };
            let made = made().await;
            let ended = minted(&made, &instance::Ask::Promote(ask), &of, deadline).await;
            ended.and_then(|report| instance::summed_up(&report))
        }
        Command::Rotate(rotate) => {
            let ask = rotate.ask();
            let ended = match made().await {
                Ok(made) => rotated(&made, &ask, id, event.context.deadline).await,
                Err(failed) => Err((failed, ask.factories.len())),
            };
            let of = metrics::Of { function, rotation_id: id.as_str(), now: Second::now() };
            match ended {
                Ok(report) => {
                    publish(&of.run(&report));
                    summed_up(&report)
                }
                Err((failed, factories)) => {
                    complain(&failed);
                    // A person who asked for what there is not was told so; nothing failed.
                    if failed.class != Class::Usage {
                        publish(&[of.not_begun(failed.class, factories)]);
                    }
                    Err(failed)
                }
            }
        }
        Command::Status(ask) if ask.hosts => hosts(made().await, ask.factories, &of, deadline).await,
        Command::Status(ask) => {
            let made = made().await.inspect_err(complain)?;
            let told = Status::ask(&made.config, &ask.factories, &made.on).await;
            let told = told.map_err(|e| Failed::of(&e)).inspect_err(complain)?;
            Ok(judged(told.to_json(), told.class()))
        }
    }
}

fn nothing() -> Value {
    json!({"schema": 1, "nothing": "to do"})
}

/// What instances that began need, and what is left of others that ended. Of a batch whose instances failed for
/// themselves, only their records come again.
async fn changed(
    made: Result<Rc<Made>, Failed>,
    changes: Changes,
    of: &(&str, &RunId),
    deadline: u64,
) -> Result<Value, Failed> {
    // Without rules nobody may have anything, so that the function of those that end need not be told of others.
    let is_for_nobody = made.as_ref().is_ok_and(|made| made.config.fleet.rules.is_empty());
    let mut reply = nothing();
    let begins = !is_for_nobody && !changes.began.is_empty();
    if begins {
        let ask = crate::instance::run::Ask { instances: changes.began, factories: Vec::new() };
        let ask = instance::Ask::Mint(ask);
        let report = minted(&made, &ask, of, deadline).await?;
        reply = match &changes.records {
            Some(records) => instance::of_batch(&report, records),
            None => instance::summed_up(&report)?,
        };
    }
    if changes.ended.is_empty() {
        return Ok(reply);
    }
    let gone = command::Fleet { instances: changes.ended, ..command::Fleet::default() };
    let mut ended = over_the_fleet(made, Deed::Decommission, gone, of, deadline).await?;
    if let (true, Some(members)) = (begins, ended.as_object_mut()) {
        members.insert("batchItemFailures".to_owned(), reply["batchItemFailures"].clone());
        members.insert("instances".to_owned(), reply["instances"].clone());
    }
    Ok(ended)
}

/// A run that mints for single instances; it has published its metrics.
async fn minted(
    made: &Result<Rc<Made>, Failed>,
    ask: &instance::Ask,
    (function, id): &(&str, &RunId),
    deadline: u64,
) -> Result<crate::instance::report::Report, Failed> {
    let ended = match made {
        Ok(made) => instance::run(made, ask, id, left(deadline, made.on.now())).await,
        Err(failed) => Err(failed.clone()),
    };
    let of = metrics::Of { function, rotation_id: id.as_str(), now: Second::now() };
    match &ended {
        Ok(report) => publish(&[of.instances(&report.counts(), report.class())]),
        Err(failed) => {
            complain(failed);
            if failed.class != Class::Usage {
                let failures = ask.instances().len().max(1);
                let counts = crate::instance::report::Counts { failed: failures, ..Default::default() };
                publish(&[of.instances(&counts, Some(failed.class))]);
            }
        }
    }
    ended
}

/// A run of the fleet's functions.
async fn over_the_fleet(
    made: Result<Rc<Made>, Failed>,
    deed: Deed,
    ask: command::Fleet,
    of: &(&str, &RunId),
    deadline: u64,
) -> Result<Value, Failed> {
    let ended = match made {
        Ok(made) => fleet::run(&made.config, &made.caller, deed, ask, left(deadline, made.on.now())).await,
        Err(failed) => Err(failed),
    };
    let (function, id) = of;
    let of = metrics::Of { function, rotation_id: id.as_str(), now: Second::now() };
    match ended {
        Ok(report) => {
            publish(&[of.fleet(&report.counts(), report.class())]);
            fleet::summed_up(&report)
        }
        Err(failed) => {
            complain(&failed);
            if failed.class != Class::Usage {
                let counts = metrics::FleetCounts { failed: 1, ..metrics::FleetCounts::default() };
                publish(&[of.fleet(&counts, Some(failed.class))]);
            }
            Err(failed)
        }
    }
}

/// A look at the fleet's hosts. What could not be looked at is in the answer, and in the metrics.
async fn hosts(
    made: Result<Rc<Made>, Failed>,
    factories: Vec<FactoryId>,
    of: &(&str, &RunId),
    deadline: u64,
) -> Result<Value, Failed> {
    let ended = match made {
        Ok(made) => fleet::status(&made.config, &made.caller, factories, left(deadline, made.on.now())).await,
        Err(failed) => Err(failed),
    };
    let (function, id) = of;
    let of = metrics::Of { function, rotation_id: id.as_str(), now: Second::now() };
    match ended {
        Ok(status) => {
            publish(&[of.hosts(&status.counts(), status.class())]);
            Ok(judged(status.to_json(), status.class()))
        }
        Err(failed) => {
            complain(&failed);
            if failed.class != Class::Usage {
                publish(&[of.not_looked(failed.class)]);
            }
            Err(failed)
        }
    }
}

/// A rotation; when it could not begin, for how many factories.
async fn rotated(made: &Made, ask: &Ask, id: &RunId, deadline: u64) -> Result<Report, (Failed, usize)> {
    let within = left(deadline, made.on.now());
    let run = Run::new(&made.config, ask, id, Some(within), fastrand::Rng::new());
    let all = if ask.factories.is_empty() { made.config.factories.len() } else { ask.factories.len() };
    run.keeping(&made.kept).rotate(&made.on).await.map_err(|error: rotate::Error| (Failed::of(&error), all))
}

/// The result of a run, or its failure; what happened to each factory was logged as it happened.
fn summed_up(report: &Report) -> Result<Value, Failed> {
    let rotate::Counts { rotated, kept, lost_races, failed, orphans_revoked, orphans_left } = report.counts();
    let (event, all) = ("run ended", report.factories.len());
    match report.class() {
        None => {
            log::info!(
                event, rotated, kept, lost_races, failed, orphans_revoked, orphans_left;
                "of {all} factories {rotated} rotated, {kept} kept"
            );
            Ok(report.to_json())
        }
        Some(class) => {
            log::error!(
                event, class = class.as_str(), rotated, kept, lost_races, failed, orphans_revoked, orphans_left;
                "of {all} factories {failed} failed, {rotated} rotated, {kept} kept"
            );
            Err(Failed::of_run(class, report))
        }
    }
}

/// A report with the worst that it says, by which a command's exit code would go: a function that only
/// looks has done its work, whatever it saw.
fn judged(mut report: Value, worst: Option<Class>) -> Value {
    if let Some(members) = report.as_object_mut() {
        members.insert("worst".to_owned(), worst.map(Class::as_str).into());
    }
    report
}

/// The one line that tells why an invocation failed as a whole.
fn complain(failed: &Failed) {
    let text = |name: &str| failed.report.get(name).and_then(Value::as_str).unwrap_or_default();
    let (class, hint) = (failed.class.as_str(), text("hint"));
    log::error!(event = "run failed", class, hint; "{}", text("error"));
}

/// Metrics go the way that the format names for Lambda, standard output, whatever the level of the log.
fn publish(lines: &[String]) {
    let mut text = lines.join("\n");
    text.push('\n');
    // Where standard output is closed, there is nobody to tell.
    let _nobody = std::io::stdout().lock().write_all(text.as_bytes());
}

/// What is left of an invocation that ends at `deadline`, in milliseconds since 1970.
fn left(deadline: u64, now: Second) -> Duration {
    let now = Duration::from_secs(now.unix().unsigned_abs());
    Duration::from_millis(deadline).saturating_sub(now).saturating_sub(MARGIN)
}

/// What is wrong with an environment that is said to be Lambda's, if anything: the runtime's client ends the
/// process where one of these is missing.
fn not_lambda(variable: impl Fn(&str) -> Option<String>) -> Option<String> {
    let missing = ["AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", MEMORY]
        .into_iter()
        .find(|name| variable(name).is_none());
    if let Some(name) = missing {
        return Some(format!("{name} is not"));
    }
    variable(MEMORY)?.parse::<i32>().is_err().then(|| format!("{MEMORY} is no number"))
}

const MEMORY: &str = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE";

/// Lambda's own setting of the application's log level.
fn level(asked: Option<&str>) -> LevelFilter {
    match asked {
        Some("TRACE" | "DEBUG") => LevelFilter::Debug,
        Some("WARN") => LevelFilter::Warn,
        Some("ERROR" | "FATAL") => LevelFilter::Error,
        Some(_) | None => LevelFilter::Info,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_left_and_log_levels() {
        let now = Second::from_unix(1_800_000_000);
        assert_eq!(left(1_800_000_060_000, now), Duration::from_secs(57));
        assert_eq!(left(0, now), Duration::ZERO);
        assert_eq!(level(Some("DEBUG")), LevelFilter::Debug);
        assert_eq!(level(None), LevelFilter::Info);
    }

    #[test]
    fn an_environment_that_is_not_lambdas_is_told() {
        let check = |given: &[(&str, &str)], want: Option<&str>| {
            let variable =
                |name: &str| given.iter().find(|(key, _)| *key == name).map(|(_, v)| (*v).to_owned());
            assert_eq!(not_lambda(variable).as_deref(), want, "{given:?}");
        };
        let (name, version) = (("AWS_LAMBDA_FUNCTION_NAME", "rotator"), ("AWS_LAMBDA_FUNCTION_VERSION", "1"));
        check(&[name, version, (MEMORY, "128")], None);
        check(&[], Some("AWS_LAMBDA_FUNCTION_NAME is not"));
        check(&[name, (MEMORY, "128")], Some("AWS_LAMBDA_FUNCTION_VERSION is not"));
        check(&[name, version], Some("AWS_LAMBDA_FUNCTION_MEMORY_SIZE is not"));
        check(&[name, version, (MEMORY, "much")], Some("AWS_LAMBDA_FUNCTION_MEMORY_SIZE is no number"));
    }

    #[test]
    fn what_only_looks_says_the_worst_that_it_saw() {
        let told = |class| judged(serde_json::json!({"schema": 1}), class).to_string();
        assert_eq!(told(None), r#"{"schema":1,"worst":null}"#);
        assert_eq!(told(Some(Class::Absent)), r#"{"schema":1,"worst":"absent"}"#);
    }
}
