//! The Lambda function: a scheduled event rotates what is due; a direct invoke may ask for more.
//!
//! The invocation fails when any factory did, after all others were done, so that Lambda's own error
//! metric, retries and alarms see it. The error type is the worst class, the message the report.

use crate::PROGRAM;
use crate::config::Config;
use crate::effects::{Effects as _, Real};
use crate::logging::{self, Form};
use crate::rotate::{self, Ask, Run};
use imprint_core::caller::{Caller, RunId};
use imprint_core::error::{Class, Classified, chain};
use imprint_core::second::Second;
use lambda_runtime::{Diagnostic, LambdaEvent, service_fn};
use log::LevelFilter;
use serde::Deserialize as _;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::OnceCell;

/// Left over at the end for the answer itself, and for clocks that are cut to the second.
const MARGIN: Duration = Duration::from_secs(3);

/// What is made once and serves every invocation of this process.
struct Made {
    config: Rc<Config>,
    caller: Caller,
    on: Real,
}

/// A failed invocation.
#[derive(Debug)]
struct Failed {
    class: Class,
    report: Value,
}

impl Failed {
    fn of(error: &dyn Classified) -> Self {
        let class = error.class();
        let report = json!({"class": class.as_str(), "error": words(error), "hint": error.hint()});
        Self { class, report }
    }
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

impl From<Failed> for Diagnostic {
    fn from(failed: Failed) -> Self {
        Self { error_type: failed.class.as_str().to_owned(), error_message: failed.report.to_string() }
    }
}

/// Serves events until Lambda ends the process.
pub(crate) async fn run() -> ExitCode {
    logging::start(Form::Json, level(std::env::var("AWS_LAMBDA_LOG_LEVEL").ok().as_deref()));
    // Made at the first event and not before: a configuration that is wrong then fails the
    // invocation with its reason, where a process that dies at start says nothing useful.
    let made = OnceCell::new();
    let made = &made;
    let served = lambda_runtime::run(service_fn(async |event: LambdaEvent<Value>| {
        answer(made, event).await.inspect_err(|failed| {
            let class = failed.class.as_str();
            log::error!(class; "the invocation fails: {}", failed.report);
        })
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

async fn answer(made: &OnceCell<Made>, event: LambdaEvent<Value>) -> Result<Value, Failed> {
    let ask = ask(&event.payload)?;
    let id = RunId::draw(Second::now());
    let made = made
        .get_or_try_init(async || {
            let config = Config::load(None, |name| std::env::var(name).ok()).map_err(|e| Failed::of(&e))?;
            let config = Rc::new(config);
            let caller = Caller::new(PROGRAM, "rotate", &id);
            let on = Real::new(Rc::clone(&config), &caller).await.map_err(|e| Failed::of(&e))?;
            Ok(Made { config, caller, on })
        })
        .await?;
    // The clients outlive a run; what they tell of it does not.
    made.caller.begin("rotate", &id);
    let within = left(event.context.deadline, made.on.now());
    let run = Run::new(&made.config, &ask, &id, Some(within), fastrand::Rng::new());
    let report = run.rotate(&made.on).await.map_err(|error: rotate::Error| Failed::of(&error))?;
    match report.class() {
        None => Ok(report.to_json()),
        Some(class) => Err(Failed { class, report: report.to_json() }),
    }
}

/// What an event asks for. EventBridge's events carry their source, and ask for what is due.
fn ask(event: &Value) -> Result<Ask, Failed> {
    if event.get("source").is_some_and(Value::is_string) && event.get("detail-type").is_some() {
        return Ok(Ask::default());
    }
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Invoke {
        #[serde(default)]
        factories: Vec<String>,
        #[serde(default)]
        now: bool,
        #[serde(default)]
        revoke_superseded: bool,
    }
    let refuse = |why: String| Failed {
        class: Class::Usage,
        report: json!({
            "class": Class::Usage.as_str(),
            "error": format!("the event is not understood: {why}"),
            "hint": "send {\"factories\": [\"id\", ...], \"now\": true, \"revoke_superseded\": true}, each optional, or a scheduled event",
        }),
    };
    let invoke = Invoke::deserialize(event).map_err(|e| refuse(e.to_string()))?;
    if invoke.revoke_superseded && !invoke.now {
        return Err(refuse("revoke_superseded needs now".to_owned()));
    }
    let factories = invoke.factories.iter().map(|id| id.parse()).collect::<Result<_, _>>();
    Ok(Ask {
        now: invoke.now,
        revoke_superseded: invoke.revoke_superseded,
        factories: factories.map_err(|e: imprint_core::name::Error| refuse(e.to_string()))?,
    })
}

/// What is left of an invocation that ends at `deadline`, in milliseconds since 1970.
fn left(deadline: u64, now: Second) -> Duration {
    let now = Duration::from_secs(now.unix().unsigned_abs());
    Duration::from_millis(deadline).saturating_sub(now).saturating_sub(MARGIN)
}

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
    fn events() {
        let check = |event: Value, now: bool, factories: Option<&[&str]>| {
            let asked = ask(&event).ok();
            let wanted = factories.map(|ids| Ask {
                now,
                factories: ids.iter().map(|id| id.parse().unwrap()).collect(),
                ..Ask::default()
            });
            assert_eq!(asked, wanted, "{event}");
        };
        check(
            json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}}),
            false,
            Some(&[]),
        );
        check(
            json!({"source": "aws.scheduler", "detail-type": "Scheduled Event", "id": "1"}),
            false,
            Some(&[]),
        );
        check(json!({}), false, Some(&[]));
        check(json!({"now": true}), true, Some(&[]));
        check(json!({"factories": ["app/web", "db"], "now": false}), false, Some(&["app/web", "db"]));
        check(json!({"factories": ["app/*"]}), false, None);
        check(json!({"revoke_superseded": true}), false, None);
        let incident = ask(&json!({"now": true, "revoke_superseded": true})).unwrap();
        assert!(incident.now && incident.revoke_superseded);
        check(json!({"factory": "app/web"}), false, None);
        check(json!({"factories": "app/web"}), false, None);
        check(json!({"now": "yes"}), false, None);
        check(json!({"Records": []}), false, None);
        check(json!([1]), false, None);
        check(json!(null), false, None);
    }

    #[test]
    fn what_lambda_is_told() {
        let failed = ask(&json!({"factories": ["a b"]})).unwrap_err();
        let told = Diagnostic::from(failed);
        assert_eq!(told.error_type, "usage");
        assert!(
            told.error_message.contains("host factory \\\"a b\\\" may have only"),
            "{}",
            told.error_message
        );
        let told = Diagnostic::from(Failed::of(&crate::config::Error::None));
        assert_eq!(told.error_type, "config");
        assert!(told.error_message.contains("IMPRINT_ROTATOR_CONFIG"), "{}", told.error_message);
    }

    #[test]
    fn time_left_and_log_levels() {
        let now = Second::from_unix(1_800_000_000);
        assert_eq!(left(1_800_000_060_000, now), Duration::from_secs(57));
        assert_eq!(left(0, now), Duration::ZERO);
        assert_eq!(level(Some("DEBUG")), LevelFilter::Debug);
        assert_eq!(level(None), LevelFilter::Info);
    }
}
