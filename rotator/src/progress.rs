//! What a person sees who waits at a terminal for longer than a second: one line on standard error that tells how
//! far it is, and is wiped at the end. Nothing of it gets into a pipe or a log.
//!
//! Flows know nothing of it. They log how many factories are done, and the retries log what will be tried again;
//! the logger hands both over to here instead of writing them.

use std::io::{IsTerminal as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// The target of records that tell how far a flow is: `done` of `of`.
pub(crate) const TARGET: &str = "imprint::progress";

/// The widest line: a terminal is rarely narrower, and a longer line could not be wiped.
const WIDEST: usize = 79;

/// Back to the first column, and away with what stands there.
const WIPE: &str = "\r\x1b[K";

/// The one line that there can be.
static LINE: Mutex<Option<Line>> = Mutex::new(None);

fn line() -> MutexGuard<'static, Option<Line>> {
    LINE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is known of a command that runs.
#[derive(Debug)]
struct Line {
    command: String,
    seconds: u64,
    done: Option<(u64, u64)>,
    note: Option<String>,
    drawn: bool,
}

impl Line {
    const fn new(command: String) -> Self {
        Self { command, seconds: 0, done: None, note: None, drawn: false }
    }

    /// What to write so that the line stands there; nothing in the first second.
    fn draw(&mut self) -> Option<String> {
        if self.seconds == 0 {
            return None;
        }
        self.drawn = true;
        let done = self.done.map(|(done, of)| format!(" {done} of {of} factories,")).unwrap_or_default();
        let note = self.note.as_ref().map(|note| format!("; {note}")).unwrap_or_default();
        let text = format!("{}:{done} {} s{note}", self.command, self.seconds);
        // A server's words come here too, and must not lead the terminal astray.
        let text: String = text.chars().filter(|c| !c.is_control()).take(WIDEST).collect();
        Some(format!("{WIPE}{text}"))
    }

    /// What to write so that nothing of it is left.
    const fn wipe(&mut self) -> Option<&'static str> {
        if !self.drawn {
            return None;
        }
        self.drawn = false;
        Some(WIPE)
    }
}

/// Runs a command, and shows the line while it lasts, where standard error is a terminal.
pub(crate) async fn beside<T>(command: &str, flow: impl Future<Output = T>) -> T {
    let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
    if dumb || !std::io::stderr().is_terminal() {
        return flow.await;
    }
    *line() = Some(Line::new(command.to_owned()));
    // So that the records come which the line is made of.
    crate::logging::let_through();
    let mut flow = std::pin::pin!(flow);
    let ended = loop {
        match tokio::time::timeout(Duration::from_secs(1), &mut flow).await {
            Ok(ended) => break ended,
            Err(_second) => {
                if let Some(line) = line().as_mut() {
                    line.seconds += 1;
                    write(line.draw().as_deref());
                }
            }
        }
    };
    finish();
    ended
}

/// Whether there is a line.
pub(crate) fn is_on() -> bool {
    line().is_some()
}

/// So many factories are done.
pub(crate) fn step(done: u64, of: u64) {
    if let Some(line) = line().as_mut() {
        line.done = Some((done, of));
        line.note = None;
    }
}

/// What is being waited for.
pub(crate) fn note(text: String) {
    if let Some(line) = line().as_mut() {
        line.note = Some(text);
        write(line.draw().as_deref());
    }
}

/// Wipes the line for something else on the terminal; the next second draws it again.
pub(crate) fn step_aside() {
    if let Some(line) = line().as_mut() {
        write(line.wipe());
    }
}

/// Wipes the line for good.
pub(crate) fn finish() {
    step_aside();
    *line() = None;
}

fn write(text: Option<&str>) {
    if let Some(text) = text {
        // Where the terminal has gone, there is nobody to tell.
        let _nobody = std::io::stderr().lock().write_all(text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_line_says() {
        let check = |seconds, done, note: Option<&str>, wanted: Option<&str>| {
            let mut line =
                Line { seconds, done, note: note.map(str::to_owned), ..Line::new("rotate".to_owned()) };
            let drawn = line.draw();
            assert_eq!(drawn.as_deref().map(|drawn| drawn.strip_prefix(WIPE).unwrap()), wanted);
            // Only what was drawn is wiped, and once.
            assert_eq!((line.wipe(), line.wipe()), (wanted.map(|_| WIPE), None));
        };
        check(0, Some((1, 2)), Some("x"), None);
        check(1, None, None, Some("rotate: 1 s"));
        check(12, Some((3, 300)), None, Some("rotate: 3 of 300 factories, 12 s"));
        check(
            2,
            Some((0, 2)),
            Some("mint will be tried again: it answered 503"),
            Some("rotate: 0 of 2 factories, 2 s; mint will be tried again: it answered 503"),
        );
        let hostile = "\r\n\u{1b}]0;x\u{7}\u{9b}y";
        check(1, None, Some(hostile), Some("rotate: 1 s; ]0;xy"));
        let long = "z".repeat(500);
        let mut line = Line { seconds: 1, note: Some(long), ..Line::new("rotate".to_owned()) };
        assert_eq!(line.draw().unwrap().chars().count(), WIPE.len() + WIDEST);
    }
}
