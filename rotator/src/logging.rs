//! Log lines on standard error: words for a person, JSON objects for Lambda's log stream.
//!
//! Only our own targets are written, so no library's idea of a useful line, with a header or a body
//! in it, ever gets out.

use crate::progress;
use imprint_core::second::Second;
use log::kv::{self, Key, Value, VisitSource};
use log::{LevelFilter, Log, Metadata, Record};
use serde_json::{Map, json};
use std::io::Write as _;
use std::sync::{Mutex, OnceLock, PoisonError};

/// The target of what will be tried again.
const RETRY: &str = "imprint::retry";

/// Which records are written. More may come while a progress line is shown.
static WRITTEN: OnceLock<LevelFilter> = OnceLock::new();

/// How lines look.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// One JSON object a line.
    Json,
    /// `level: message`
    Words,
}

struct Stderr(Form);

/// What each line has beside its own fields.
static EACH: Mutex<Vec<(&'static str, String)>> = Mutex::new(Vec::new());

/// Starts logging; later calls change nothing.
pub fn start(form: Form, level: LevelFilter) {
    static JSON: Stderr = Stderr(Form::Json);
    static WORDS: Stderr = Stderr(Form::Words);
    let logger = match form {
        Form::Json => &JSON,
        Form::Words => &WORDS,
    };
    if log::set_logger(logger).is_ok() {
        let _first = WRITTEN.set(level);
        log::set_max_level(level);
    }
}

/// From now on each JSON line has these fields too: those of the run that it is of.
pub fn each_line(fields: &[(&'static str, &str)]) {
    *EACH.lock().unwrap_or_else(PoisonError::into_inner) =
        fields.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
}

/// Lets the records come that a progress line is made of; no more are written than before.
pub fn let_through() {
    log::set_max_level(LevelFilter::Trace);
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("imprint")
    }

    fn log(&self, record: &Record<'_>) {
        if progress::is_on() {
            show(record);
        }
        let is_written = WRITTEN.get().is_some_and(|level| record.level() <= *level);
        if is_written && self.enabled(record.metadata()) {
            progress::step_aside();
            let line = match self.0 {
                Form::Json => {
                    json_line(record, Second::now(), &EACH.lock().unwrap_or_else(PoisonError::into_inner))
                }
                Form::Words => words_line(record),
            };
            // Where standard error is closed, there is nobody to tell.
            let _nobody = std::io::stderr().lock().write_all(line.as_bytes());
        }
    }

    fn flush(&self) {}
}

/// What a record tells whoever waits at a terminal.
fn show(record: &Record<'_>) {
    match record.target() {
        progress::TARGET => {
            let number = |key: &str| record.key_values().get(Key::from(key)).and_then(|value| value.to_u64());
            if let (Some(done), Some(of)) = (number("done"), number("of")) {
                progress::step(done, of);
            }
        }
        RETRY => progress::note(record.args().to_string()),
        _ => {}
    }
}

fn words_line(record: &Record<'_>) -> String {
    let hint = record.key_values().get(Key::from("hint")).map(|hint| hint.to_string());
    let hint = hint.filter(|hint| !hint.is_empty()).map(|hint| format!("\nhint: {hint}"));
    let level = record.level().as_str().to_ascii_lowercase();
    format!("{level}: {}{}\n", record.args(), hint.unwrap_or_default())
}

fn json_line(record: &Record<'_>, now: Second, each: &[(&str, String)]) -> String {
    let each = each.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into()));
    let mut fields = Fields(each.collect());
    // Our own sources never fail; what was collected until one does is still worth a line.
    let _partly = record.key_values().visit(&mut fields);
    let mut line = fields.0;
    // By this name Lambda takes it for the line's time; without one it would take no level either.
    line.insert("timestamp".to_owned(), now.to_string().into());
    line.insert("level".to_owned(), record.level().as_str().to_ascii_lowercase().into());
    line.insert("message".to_owned(), record.args().to_string().into());
    format!("{}\n", serde_json::Value::Object(line))
}

struct Fields(Map<String, serde_json::Value>);

impl<'kvs> VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: Key<'kvs>, value: Value<'kvs>) -> Result<(), kv::Error> {
        let json = match (value.to_u64(), value.to_i64(), value.to_bool()) {
            (Some(number), _, _) => json!(number),
            (None, Some(number), _) => json!(number),
            (None, None, Some(flag)) => json!(flag),
            (None, None, None) => json!(value.to_string()),
        };
        self.0.insert(key.to_string(), json);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use log::Level;

    #[test]
    fn lines() {
        let check = |target: &str, hint: &str, words: &str, json: &str| {
            let pairs = [("hint", Value::from(hint)), ("attempt", Value::from(2)), ("ok", Value::from(true))];
            let arguments = format_args!("no \"answer\"\nyet");
            let record = Record::builder()
                .args(arguments)
                .level(Level::Warn)
                .target(target)
                .key_values(&pairs)
                .build();
            assert_eq!(Stderr(Form::Json).enabled(record.metadata()), target.starts_with("imprint"));
            assert_eq!(words_line(&record), words);
            assert_eq!(json_line(&record, Second::from_unix(0), &[]), json);
            let each = [("hint", "of the run".to_owned()), ("request_id", "1-2".to_owned())];
            let line = json_line(&record, Second::from_unix(0), &each);
            // A line's own field says more than the run's.
            assert_eq!(line, json.replace("\"timestamp\"", "\"request_id\":\"1-2\",\"timestamp\""));
        };
        check(
            "imprint_rotator::rotate",
            "wait",
            "warn: no \"answer\"\nyet\nhint: wait\n",
            "{\"attempt\":2,\"hint\":\"wait\",\"level\":\"warn\",\"message\":\"no \\\"answer\\\"\\nyet\",\
             \"ok\":true,\"timestamp\":\"1970-01-01T00:00:00Z\"}\n",
        );
        check(
            "hyper_util::client",
            "",
            "warn: no \"answer\"\nyet\n",
            "{\"attempt\":2,\"hint\":\"\",\"level\":\"warn\",\"message\":\"no \\\"answer\\\"\\nyet\",\
             \"ok\":true,\"timestamp\":\"1970-01-01T00:00:00Z\"}\n",
        );
    }
}
