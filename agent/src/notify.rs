//! What systemd is told while the program runs as a service of `Type=notify`: that it needs more time, as
//! long as it is still trying, and that it is ready. Without `NOTIFY_SOCKET` nobody is told anything.
//!
//! What may pass is tried again inside the process until the deadline, so that a unit which depends on
//! the identity does not fail with the first try; systemd's own start time-out must not cut that short.

use sd_notify::{NotifyState, notify};
use std::time::Duration;
use tokio::time::{MissedTickBehavior, interval};

/// How often more time is asked for.
const EVERY: Duration = Duration::from_secs(10);

/// For how long, each time: a few turns, in case the machine is busy.
const EXTENSION_US: u32 = 45_000_000;

/// The longest status, in bytes.
const LONGEST: usize = 500;

/// Runs the story to its end, and asks systemd for time meanwhile.
///
/// Source: `EXTEND_TIMEOUT_USEC` in sd_notify(3).
pub async fn while_running<T>(story: impl Future<Output = T>) -> T {
    let mut ticks = interval(EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(story);
    loop {
        tokio::select! {
            biased;
            end = &mut story => return end,
            _ = ticks.tick() => tell(&[NotifyState::ExtendTimeoutUsec(EXTENSION_US)]),
        }
    }
}

/// The identity is there.
pub fn ready(status: &str) {
    tell(&[NotifyState::Status(&one_line(status)), NotifyState::Ready]);
}

/// It is not, and why.
pub fn failed(status: &str) {
    tell(&[NotifyState::Status(&one_line(status))]);
}

/// A service manager that does not listen is no failure of ours.
fn tell(states: &[NotifyState<'_>]) {
    let _nobody_listens = notify(states);
}

/// A newline would begin another message.
fn one_line(text: &str) -> String {
    let mut line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    while line.len() > LONGEST {
        line.pop();
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_is_one_bounded_line() {
        assert_eq!(one_line("a\nREADY=1\r\tb"), "a READY=1  b");
        let long = one_line(&"é".repeat(1000));
        assert!(long.len() <= LONGEST && long.ends_with('é'));
    }
}
