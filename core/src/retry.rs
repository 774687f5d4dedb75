//! [`Retry`]: one deadline and one budget of repeats for a whole run, with full jitter.
//!
//! Whether an operation may be repeated is not decided here. Each call passes its own `again` and
//! says in a comment why, since redeem and rotate are not neutral.
//!
//! A server that a whole fleet asks at once is called through [`Retry::turn`] and
//! [`Retry::run_spread`]: there a pushback is answered by a wait for the next window, each ten times as wide as
//! the one before, and the back-off from a server that is away grows with the time that it is away.

use crate::error::{Classified, chain};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// The first pause is drawn from zero to this.
const FIRST: Duration = Duration::from_millis(250);

/// No pause is drawn from more than zero to this, but of a spread call.
const MOST: Duration = Duration::from_secs(20);

/// The longest that a server's `Retry-After` is believed.
const LONGEST_ASKED: Duration = Duration::from_secs(60);

/// What counts as the window where none is configured, or a shorter one: a first pushback is then spread over
/// a minute.
const NARROWEST: Duration = Duration::from_secs(6);

/// What each pushback multiplies the window by. A small factor would have a fleet whose window is far too short
/// ask again and again until it is wide enough; a large one keeps a small fleet waiting.
const WIDENS: u32 = 10;

/// As far as a window widens: 100,000 hosts at a Conjur that makes 140 a second take 12 minutes.
const WIDEST: Duration = Duration::from_secs(13 * 60);

/// Pauses are never drawn from less than this, nor a part of a window that is shorter taken for one.
const SHORTEST: Duration = Duration::from_secs(15);

/// After the widest window a pushback is spread over this part of the time that the run has taken, or has left
/// if that is less: some tries must fit into the rest.
const LATE: u32 = 6;

/// Whoever finds nobody there comes again within this part of the time that the run has taken or has left: after
/// an outage, hosts come spread over a part of its length.
const AWAY: u32 = 4;

/// A deadline and a budget, shared by every operation of one run.
#[derive(Debug)]
pub struct Retry {
    start: Instant,
    deadline: Instant,
    repeats: Rc<Cell<u32>>,
    pushbacks: Cell<u32>,
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
        let start = Instant::now();
        let deadline = start.checked_add(within).unwrap_or(start + Duration::from_secs(31_536_000));
        let (pushbacks, random) = (Cell::new(0), RefCell::new(random));
        Self { start, deadline, repeats: Rc::new(Cell::new(repeats)), pushbacks, random }
    }

    /// For one of several pieces of work in this run: it ends `within` from now, and with the run at the
    /// latest; its repeats count in the run's budget.
    #[must_use]
    pub fn part(&self, within: Duration) -> Self {
        let random = self.random.borrow_mut().fork();
        let part = Self::with_random(within.min(self.remaining()), 0, random);
        Self { repeats: Rc::clone(&self.repeats), ..part }
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
        call: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        self.repeat(what, again, call, |attempt, error| self.back_off(attempt, MOST, error.retry_after()))
            .await
    }

    /// The same at a server that a whole fleet may be asking: after a pushback
    /// ([`Classified::is_pushback`]) the next try lies anywhere in the next window, and the back-off after
    /// other failures grows with the age of the run, so that a server which was away is not met by everybody
    /// at once.
    ///
    /// # Errors
    /// The last error of `call`.
    pub async fn run_spread<T, E: Classified>(
        &self,
        what: &str,
        window: Duration,
        again: impl Fn(&E) -> bool,
        call: impl AsyncFnMut() -> Result<T, E>,
    ) -> Result<T, E> {
        let pause = |attempt, error: &E| {
            if !error.is_pushback() {
                return self.back_off_from_one_away(attempt, error.retry_after());
            }
            self.pushbacks.set(self.pushbacks.get().saturating_add(1));
            let seen =
                Seen { pushbacks: self.pushbacks.get(), run: self.start.elapsed(), left: self.remaining() };
            pushed_back(window, &seen, error.retry_after(), self.random.borrow_mut().f64())
        };
        self.repeat(what, again, call, pause).await
    }

    /// Waits for this host's turn in a wave of boots: anywhere in the window. Once a run, before its
    /// first spread call; without a window it does not wait.
    pub async fn turn(&self, what: &str, window: Duration) {
        let pause = self.within_reach(window).mul_f64(self.random.borrow_mut().f64());
        if pause > Duration::ZERO {
            log::info!(
                target: "imprint::retry", window_s = window.as_secs(), pause_ms = pause.as_millis() as u64;
                "{what} waits {} s for its turn in a window of {} s", pause.as_secs(), window.as_secs()
            );
            sleep(pause).await;
        }
    }

    async fn repeat<T, E: Classified>(
        &self,
        what: &str,
        again: impl Fn(&E) -> bool,
        mut call: impl AsyncFnMut() -> Result<T, E>,
        pause: impl Fn(u32, &E) -> Duration,
    ) -> Result<T, E> {
        let mut attempt = 0;
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            attempt += 1;
            if !again(&error) {
                return Err(error.given_up());
            }
            let pause = pause(attempt, &error);
            // Sleeping through the deadline would only make the answer late.
            if pause >= self.remaining() || !self.spend() {
                return Err(error.given_up());
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
    fn back_off(&self, attempt: u32, most: Duration, asked: Option<Duration>) -> Duration {
        let drawn = doubled(attempt, most).mul_f64(self.random.borrow_mut().f64());
        asked.map_or(drawn, |asked| asked.min(LONGEST_ASKED) + drawn)
    }

    /// The same for a spread call, with jitter over the later half of the span. A fleet that asks a dead server
    /// again and again comes evenly when it is back; with full jitter more than twice as many would
    /// come first.
    fn back_off_from_one_away(&self, attempt: u32, asked: Option<Duration>) -> Duration {
        let aged = self.start.elapsed().min(self.remaining()) / AWAY;
        let half = doubled(attempt, MOST.max(aged)) / 2;
        let drawn = half + half.mul_f64(self.random.borrow_mut().f64());
        asked.map_or(drawn, |asked| asked.min(LONGEST_ASKED) + drawn)
    }

    /// A window may be longer than a run; what comes after the wait needs time as well.
    fn within_reach(&self, window: Duration) -> Duration {
        window.min(self.remaining() / 10 * 9)
    }

    fn spend(&self) -> bool {
        let left = self.repeats.get();
        self.repeats.set(left.saturating_sub(1));
        left > 0
    }
}

/// What a run has seen when it is pushed back.
#[derive(Clone, Copy, Debug)]
struct Seen {
    /// How often, this time included.
    pushbacks: u32,
    /// How long it has been running.
    run: Duration,
    /// How long it may go on.
    left: Duration,
}

/// The span that doubles with each attempt, up to this.
fn doubled(attempt: u32, most: Duration) -> Duration {
    FIRST.saturating_mul(1 << attempt.saturating_sub(1).min(16)).min(most)
}

/// How long to wait after a pushback; `drawn` is from 0 to 1.
///
/// Windows are counted from the start of the run, not from now: the hosts of one wave started together, so all
/// of them then end together. Whoever is pushed back comes after the window in which that was, since those
/// whose turn it is have more than Conjur can do, and before the next one ends. After the widest window, or a
/// server that was away for long, the next try lies within a part of the run's age. No window ends later than a
/// tenth of the run before the deadline.
fn pushed_back(window: Duration, seen: &Seen, asked: Option<Duration>, drawn: f64) -> Duration {
    let end = |pushbacks| {
        let wide = window.max(NARROWEST).saturating_mul(WIDENS.saturating_pow(pushbacks));
        wide.min(WIDEST.max(window)).min((seen.run + seen.left) / 10 * 9)
    };
    // What the server asked for counts first; then the span goes on from there, as far as there is room.
    let asked = asked.unwrap_or_default().min(LONGEST_ASKED);
    let room = seen.left.saturating_sub(asked) / 10 * 9;
    let from = end(seen.pushbacks.saturating_sub(1)).max(seen.run);
    let span = end(seen.pushbacks).saturating_sub(from);
    if span >= SHORTEST {
        return asked + (from.saturating_sub(seen.run) + span.mul_f64(drawn)).min(room);
    }
    asked + (seen.run.min(seen.left) / LATE).max(SHORTEST).min(room).mul_f64(drawn)
}

#[cfg(test)]
mod tests;
