//! Where log lines go: structured to systemd's journal when there is one, and to standard error
//! unless that leads to the journal as well.
//!
//! A journal that stops reading must not stop an enrollment, and its socket blocks for ever once it
//! is full. So lines go through a bounded queue to a thread of its own: what does not fit is counted
//! and said later, and the end of the program waits a fifth of a second for the rest, no longer.

use imprint_core::caller::RunId;
use log::{Level, LevelFilter, Log, Metadata, Record, kv};
use std::io::Write as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::time::Duration;
use systemd_journal_logger::JournalLog;

/// Message ids of the journal: one for each event that a person or a rule may want to find.
pub mod event {
    /// An enrollment came to its end.
    pub const ENROLLED: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d40";
    /// An enrollment failed.
    pub const FAILED: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d41";
    /// There was nothing to do.
    pub const NOTHING_TO_DO: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d42";
    /// The image was cloned: the parent's identity was removed.
    pub const PARENTS_IDENTITY_REMOVED: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d43";
    /// A source gives no token, and the next one is tried.
    pub const NEXT_SOURCE: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d4e";
    /// Something about the token is odd, and no reason to refuse it.
    pub const DOUBT: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d44";
    /// A redeem replaced the key of a host that existed.
    pub const KEY_REPLACED: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d45";
    /// A good identity is kept although nobody could tell which instance this is.
    pub const KEPT_WITHOUT_ANSWER: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d46";
    /// The identity on disk does not authenticate.
    pub const VERIFY_FAILED: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d47";
    /// The identity on disk authenticates.
    pub const VERIFIED: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d48";
    /// Conjur does not take the key any more.
    pub const KEY_DIED: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d4a";
    /// A key that died is replaced without a person: the one time of a day.
    pub const RE_ENROLLING: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d4b";
    /// The key was rotated.
    pub const KEY_ROTATED: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d4c";
    /// A rotation lost the new key on its way; the host is redeemed.
    pub const ROTATED_KEY_LOST: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d4d";
    /// The host was promoted.
    pub const PROMOTED: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d62";
    /// The id that the host is promoted to belongs to something else.
    pub const PROMOTION_SQUATTED: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d63";
    /// The identity of a promoted host is of no use any more: the instance enrolls without its privileges.
    pub const DEMOTED: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d64";
    /// All that an enrollment left was removed: the end of an image's bake.
    pub const FORGOTTEN: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d60";
    /// The identity file had another owner, group or mode than it shall have.
    pub const ACCESS_MENDED: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d49";
    /// A configured place is read-only, so files are in the fallback directory.
    pub const FALLBACK: &str = "6f1ed8a3c2b74e0c9d1f3a5b7c9e2d61";
}

/// How many lines may wait for the journal.
const QUEUE: usize = 256;

/// The longest that the end of the program waits for the journal.
const FLUSH: Duration = Duration::from_millis(200);

/// Where systemd's journal listens. Source: systemd's "Native Journal Protocol".
const SOCKET: &str = "/run/systemd/journal/socket";

/// Starts logging, at `level` and above; every line in the journal names this run, as servers see it. Where there is neither a journal nor a standard error,
/// lines are lost.
pub fn start(level: LevelFilter, attempt: &RunId) {
    // Opened on the thread that feeds it: the logger sends something to try the socket, and that too waits
    // for ever when nobody reads.
    let is_there = std::fs::symlink_metadata(SOCKET).is_ok_and(|file| file.file_type().is_socket());
    let open = || Some(JournalLog::new().ok()?.with_syslog_identifier("imprint".to_owned()));
    let journal = is_there.then(|| Queued::start(attempt.as_str(), open).ok()).flatten();
    let outlets = Outlets { stderr: journal.is_none() || !is_under_systemd(), journal };
    if log::set_boxed_logger(Box::new(outlets)).is_ok() {
        log::set_max_level(level);
    }
}

/// Whether standard error leads to the journal, so that a person's lines there would come twice.
#[must_use]
pub fn is_under_systemd() -> bool {
    std::env::var("JOURNAL_STREAM").is_ok_and(|stream| is_stderr(&stream))
}

/// `JOURNAL_STREAM` is inherited by programs whose standard error was led elsewhere; device and
/// inode tell. Source: systemd.exec(5).
fn is_stderr(stream: &str) -> bool {
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|fd| stream == format!("{}:{}", fd.dev(), fd.ino()))
}

struct Outlets {
    stderr: bool,
    journal: Option<Queued>,
}

impl Log for Outlets {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // What libraries log may hold headers or bodies.
        metadata.target().starts_with("imprint")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        if self.stderr {
            // With no standard error there is nobody left to tell.
            let _nobody = writeln!(std::io::stderr().lock(), "{}", plain(record));
        }
        if let Some(journal) = &self.journal {
            journal.log(record);
        }
    }

    fn flush(&self) {
        if let Some(journal) = &self.journal {
            journal.flush();
        }
    }
}

/// The field of a log line that says what to do now; a person gets it as a line of its own.
pub const HINT: &str = "hint";

/// The field of every log line that names the run.
const ATTEMPT: &str = "attempt_id";

/// A line for a person: `imprint: warning: text`.
fn plain(record: &Record<'_>) -> String {
    let level = match record.level() {
        Level::Error => "error: ",
        Level::Warn => "warning: ",
        Level::Info => "",
        Level::Debug | Level::Trace => "debug: ",
    };
    // What a tag or a server said must not lead a terminal astray.
    let text: String =
        record.args().to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let hint = record.key_values().get(kv::Key::from(HINT)).map(|hint| hint.to_string());
    let hint = hint.filter(|hint| !hint.is_empty()).map(|hint| format!("\nimprint: hint: {hint}"));
    format!("imprint: {level}{text}{}", hint.unwrap_or_default())
}

/// A log line on its way to the journal.
struct Line {
    level: Level,
    target: String,
    text: String,
    fields: Fields,
}

#[derive(Default)]
struct Fields(Vec<(String, String)>);

impl<'kvs> kv::VisitSource<'kvs> for Fields {
    fn visit_pair(&mut self, key: kv::Key<'kvs>, value: kv::Value<'kvs>) -> Result<(), kv::Error> {
        self.0.push((key.to_string(), value.to_string()));
        Ok(())
    }
}

enum Item {
    Flush(SyncSender<()>),
    Line(Line),
}

/// A logger behind a bounded queue.
struct Queued {
    attempt: String,
    to: SyncSender<Item>,
    lost: AtomicUsize,
}

impl Queued {
    /// `open` is called on the thread; without a sink, lines are lost.
    fn start<S: Log + 'static>(
        attempt: &str,
        open: impl FnOnce() -> Option<S> + Send + 'static,
    ) -> std::io::Result<Self> {
        let (to, from) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("journal".to_owned())
            .stack_size(128 * 1024)
            .spawn(move || open().map(|sink| drain(&sink, &from)))?;
        Ok(Self { attempt: attempt.to_owned(), to, lost: AtomicUsize::new(0) })
    }

    fn send(&self, line: Line) {
        if self.to.try_send(Item::Line(line)).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Log for Queued {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let lost = self.lost.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let text = format!("{lost} log lines were lost, since the journal did not take them");
            let line =
                Line { level: Level::Warn, target: "imprint".to_owned(), text, fields: Fields::default() };
            if self.to.try_send(Item::Line(line)).is_err() {
                self.lost.fetch_add(lost, Ordering::Relaxed);
            }
        }
        let mut fields = Fields(vec![(ATTEMPT.to_owned(), self.attempt.clone())]);
        // `Fields` takes every pair.
        let _always = record.key_values().visit(&mut fields);
        self.send(Line {
            level: record.level(),
            target: record.target().to_owned(),
            text: record.args().to_string(),
            fields,
        });
    }

    fn flush(&self) {
        let (done, wait) = sync_channel(1);
        let start = std::time::Instant::now();
        while start.elapsed() < FLUSH {
            match self.to.try_send(Item::Flush(done.clone())) {
                Ok(()) => {
                    let left = FLUSH.saturating_sub(start.elapsed());
                    match wait.recv_timeout(left) {
                        Ok(()) | Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => return,
                    }
                }
                Err(TrySendError::Full(_)) => std::thread::sleep(Duration::from_millis(2)),
                Err(TrySendError::Disconnected(_)) => return,
            }
        }
    }
}

fn drain(sink: &dyn Log, from: &Receiver<Item>) {
    for item in from {
        match item {
            Item::Flush(done) => {
                // Whoever waited may have given up.
                let _late = done.try_send(());
            }
            Item::Line(line) => sink.log(
                &Record::builder()
                    .level(line.level)
                    .target(&line.target)
                    .key_values(&line.fields.0)
                    .args(format_args!("{}", line.text))
                    .build(),
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// A journal that takes lines only while its gate is open.
    #[derive(Clone, Default)]
    struct Gated(Arc<Mutex<Vec<String>>>);

    impl Log for Gated {
        fn enabled(&self, _: &Metadata<'_>) -> bool {
            true
        }

        fn log(&self, record: &Record<'_>) {
            let mut fields = Fields::default();
            record.key_values().visit(&mut fields).unwrap();
            self.0.lock().unwrap().push(format!("{} {:?}", record.args(), fields.0));
        }

        fn flush(&self) {}
    }

    fn started(gated: &Gated) -> std::io::Result<Queued> {
        let sink = gated.clone();
        Queued::start("6a1-1", move || Some(sink))
    }

    fn say(to: &dyn Log, target: &str, text: &str) {
        let fields = [("MESSAGE_ID", "x"), ("host_id", "app/web")];
        let record = |args| to.log(&Record::builder().target(target).key_values(&fields).args(args).build());
        record(format_args!("{text}"));
    }

    #[test]
    fn lines_arrive_in_order_with_their_fields() {
        let gated = Gated::default();
        let queued = started(&gated).unwrap();
        for n in 0..200 {
            say(&queued, "imprint", &n.to_string());
        }
        queued.flush();
        let lines = gated.0.lock().unwrap();
        assert_eq!(lines.len(), 200);
        assert_eq!(
            lines[7],
            "7 [(\"attempt_id\", \"6a1-1\"), (\"MESSAGE_ID\", \"x\"), (\"host_id\", \"app/web\")]"
        );
    }

    #[test]
    fn a_journal_that_stops_reading_blocks_nobody_and_what_is_lost_is_said() {
        let gated = Gated::default();
        let queued = started(&gated).unwrap();
        let closed = gated.0.lock().unwrap();
        // At most a queue and a line in the thread's hands are taken, the rest is lost; no call waits.
        for n in 0..2 * QUEUE {
            say(&queued, "imprint", &n.to_string());
        }
        queued.flush();
        assert!(queued.lost.load(Ordering::Relaxed) > 0);
        drop(closed);
        let until = |done: &dyn Fn(&[String]) -> bool| {
            // A flush gives up soon, which on a busy machine may be too soon.
            (0..100).any(|_| {
                queued.flush();
                done(&gated.0.lock().unwrap())
            })
        };
        assert!(until(&|lines| lines.len() >= QUEUE));
        say(&queued, "imprint", "after");
        assert!(until(&|lines| lines.last().is_some_and(|line| line.starts_with("after"))));
        let lines = gated.0.lock().unwrap();
        let lost = |line: &String| line.split_once(" log lines were lost")?.0.parse::<usize>().ok();
        let said: usize = lines.iter().filter_map(lost).sum();
        let came = lines.iter().filter(|line| lost(line).is_none()).count();
        // Every line came or is counted, and the last one with them.
        assert!(said > 0 && said + came == 2 * QUEUE + 1, "{said} {came}");
    }

    #[test]
    fn every_event_has_an_id_of_its_own() {
        let source = include_str!("journal.rs");
        let mut ids: Vec<&str> = source
            .lines()
            .filter_map(|line| line.strip_prefix("    pub const ")?.split_once(": &str = \""))
            .filter_map(|(_, id)| id.strip_suffix("\";"))
            .collect();
        let all = ids.len();
        assert!(all > 15 && ids.iter().all(|id| id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())));
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }

    #[test]
    fn only_our_own_lines_and_no_control_characters() {
        let outlets = Outlets { stderr: false, journal: None };
        let enabled = |target| outlets.enabled(&Metadata::builder().target(target).build());
        assert!(enabled("imprint_agent::enroll") && enabled("imprint::retry"));
        assert!(!enabled("reqwest::connect") && !enabled("aws_config") && !enabled(""));
        let line = plain(&Record::builder().level(Level::Warn).args(format_args!("a\u{1b}[2J\nb")).build());
        assert_eq!(line, "imprint: warning: a [2J b");
        let fields = [(HINT, "look there")];
        let failed =
            Record::builder().level(Level::Error).args(format_args!("x")).key_values(&fields).build();
        assert_eq!(plain(&failed), "imprint: error: x\nimprint: hint: look there");
        assert!(!is_stderr("1:2") && !is_stderr(""));
    }
}
