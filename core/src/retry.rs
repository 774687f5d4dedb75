//! [`Retry`]: one deadline and one budget of repeats for a whole run, with full jitter.
//!
//! Whether an operation may be repeated is not decided here. Each call passes its own `again` and
//! says in a comment why, since redeem and rotate are not neutral.

use crate::error::{Classified, chain};
use std::cell::{Cell, RefCell};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The first pause is drawn from zero to this.
const FIRST: Duration = Duration::from_millis(250);

/// No pause is drawn from more than zero to this.
const MOST: Duration = Duration::from_secs(20);

/// The longest that a server's `Retry-After` is believed.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// A deadline and a budget, shared by every operation of one run.
#[derive(Debug)]
pub struct Retry {
    deadline: Instant,
    repeats: Cell<u32>,
    random: RefCell<fastrand::Rng>,
}

impl Retry {
    /// Ends `within` from now, after at most `repeats` repeats of anything.
    #[must_use]
    pub fn new(within: Duration, repeats: u32) -> Self {
        Self::with_random(within, repeats, fastrand::Rng::new())
    }

    /// The same with a source of randomness of the caller's, for tests and simulations.
    #[must_use]
    pub fn with_random(within: Duration, repeats: u32, random: fastrand::Rng) -> Self {
        // A deadline beyond what the clock can say is as good as a year away.
        let now = Instant::now();
        let deadline = now.checked_add(within).unwrap_or(now + Duration::from_secs(31_536_000));
        Self { deadline, repeats: Cell::new(repeats), random: RefCell::new(random) }
    }

    /// What is left until the deadline.
    #[must_use]
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Calls `call` until it succeeds, `again` says no, or the deadline or the budget is reached;
    /// then gives the last error. A call under way is not cut off: clients have time-outs of their own.
    ///
    /// # Errors
    /// The last error of `call`.
    pub async fn run<T, E: Classified>(
        &self,
        what: &str,
        again: impl Fn(&E) -> bool,
        mut call: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let mut attempt = 0;
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            attempt += 1;
            if !again(&error) {
                return Err(error);
            }
            let pause = self.pause(attempt, error.retry_after());
            // Sleeping through the deadline would only make the answer late.
            if pause >= self.remaining() || !self.spend() {
                return Err(error);
            }
            log::info!(
                target: "imprint::retry", attempt, class = error.class().as_str(), pause_ms = pause.as_millis() as u64;
                "{what} will be tried again: {}", chain(&error)
            );
            sleep(pause).await;
        }
    }

    /// Full jitter over a doubling span; at least what the server asked for, with jitter on top, so
    /// that a fleet told "60 s" does not come back as one.
    fn pause(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let span = FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(MOST);
        let drawn = span.mul_f64(self.random.borrow_mut().f64());
        asked.map_or(drawn, |asked| asked.min(LONGEST_ASKED) + drawn)
    }

    fn spend(&self) -> bool {
        let left = self.repeats.get();
        self.repeats.set(left.saturating_sub(1));
        left > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Class;

    #[derive(Debug, thiserror::Error)]
    #[error("no")]
    struct No(Class, Option<Duration>);

    impl Classified for No {
        fn class(&self) -> Class {
            self.0
        }

        fn retry_after(&self) -> Option<Duration> {
            self.1
        }
    }

    /// Runs a call that fails `failures` times; says how often it was called, how it ended and how
    /// much virtual time went by.
    fn check(retry: impl Fn() -> Retry, failures: u32, error: impl Fn() -> No) -> (u32, bool, Duration) {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let (retry, start, mut calls) = (retry(), Instant::now(), 0);
            let end = retry
                .run(
                    "it",
                    |e: &No| e.class() == Class::Transient,
                    async || {
                        calls += 1;
                        if calls <= failures { Err(error()) } else { Ok(()) }
                    },
                )
                .await;
            (calls, end.is_ok(), start.elapsed())
        })
    }

    const HOUR: Duration = Duration::from_secs(3600);
    const TRANSIENT: fn() -> No = || No(Class::Transient, None);

    #[test]
    fn repeats_until_it_works() {
        let (calls, ok, _) = check(|| Retry::new(HOUR, 10), 4, TRANSIENT);
        assert_eq!((calls, ok), (5, true));
    }

    #[test]
    fn stops_at_the_budget_at_the_deadline_and_at_a_no() {
        let (calls, ok, _) = check(|| Retry::new(HOUR, 3), 99, TRANSIENT);
        assert_eq!((calls, ok), (4, false));
        let (_, ok, took) = check(|| Retry::new(Duration::from_secs(30), u32::MAX), 9999, TRANSIENT);
        assert!(!ok && took <= Duration::from_secs(30), "{took:?}");
        let (calls, ok, _) = check(|| Retry::new(HOUR, 3), 99, || No(Class::Refused, None));
        assert_eq!((calls, ok), (1, false));
    }

    #[test]
    fn pauses_are_spread_bounded_and_as_long_as_the_server_asked() {
        let pauses: Vec<Duration> = (0..200).map(|i| Retry::new(HOUR, 1).pause(i % 40 + 1, None)).collect();
        assert!(pauses.iter().all(|p| *p <= MOST));
        assert!(pauses.iter().any(|p| *p > MOST / 2) && pauses.iter().any(|p| *p < FIRST));
        let asked = |seconds| Retry::new(HOUR, 1).pause(1, Some(Duration::from_secs(seconds)));
        assert!((Duration::from_secs(10)..=Duration::from_secs(10) + FIRST).contains(&asked(10)));
        assert!(asked(1_000_000_000) <= LONGEST_ASKED + FIRST);
        assert!(asked(0) <= FIRST);
    }
}
