//! The windows of a token's life, and which of them leave no hole.
//!
//! An agent may fetch the old token in the very moment before a new one is published, and then needs
//! `boot_time` to redeem it. The new one comes `period` after the old one, or later: runs come once a
//! `schedule`, take up to `longest_run`, and may fail and be repeated; `slack` pays for all that.
//! So a token must live `period + overlap + boot_time + slack`.

use imprint_core::second::Second;
use imprint_core::settings::written;
use std::time::Duration;

/// How far two clocks may differ before a time is judged by itself.
pub const CLOCKS: Duration = Duration::from_secs(300);

/// How long after the longest run a token may still be published; a token that was minted longer
/// ago never will be.
pub const AFTER_RUN: Duration = Duration::from_secs(60);

/// How long a put may be under way before it is carried out, or never will be.
pub const LONGEST_PUT: Duration = Duration::from_secs(20);

/// The longest run that can be configured: no Lambda function runs longer, and the longer a run may
/// be, the longer a token that it left behind must be taken for one that is still to be published.
pub const LONGEST_RUN: Duration = Duration::from_secs(900);

/// The windows of every token. Only [`Policy::new`] makes one, so there is no hole in it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Policy {
    windows: Windows,
    lifetime: Duration,
}

/// What an operator chooses.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Windows {
    /// How often a new token is minted.
    pub period: Duration,
    /// How long the old and the new token are both good in any case.
    pub overlap: Duration,
    /// The longest time from an agent's fetch to its redeem.
    pub boot_time: Duration,
    /// How late a new token may come.
    pub slack: Duration,
    /// How often the rotator runs.
    pub schedule: Duration,
    /// How long one run may take, at most [`LONGEST_RUN`]; the Lambda's time-out is this or shorter.
    pub longest_run: Duration,
    /// How long tokens live, when it is to be longer than the sum of the windows.
    pub lifetime: Option<Duration>,
}

impl Default for Windows {
    /// A token of eight hours, a new one every four; the rotator may be away for over two.
    fn default() -> Self {
        let minutes = |n: u64| Duration::from_secs(60 * n);
        Self {
            period: minutes(240),
            overlap: minutes(60),
            boot_time: minutes(30),
            slack: minutes(150),
            schedule: minutes(15),
            longest_run: minutes(5),
            lifetime: None,
        }
    }
}

/// A hole: the setting to change, and the inequality that does not hold.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Hole {
    /// Which setting is too small, or too large.
    pub setting: &'static str,
    /// The inequality, with its numbers.
    pub why: String,
}

impl Policy {
    /// Checks the windows.
    ///
    /// # Errors
    /// With every inequality that does not hold.
    pub fn new(windows: Windows) -> Result<Self, Vec<Hole>> {
        let mut holes = Vec::new();
        let mut at_least = |setting, value: Duration, terms: &[(&str, Duration)], because: &str| {
            let least: Duration = terms.iter().map(|(_, span)| *span).sum();
            if value < least {
                let sum: Vec<String> =
                    terms.iter().map(|(name, span)| format!("{name} ({})", written(*span))).collect();
                let total = if sum.len() > 1 { format!(" = {}", written(least)) } else { String::new() };
                let why = format!(
                    "{setting} ({}) must be at least {}{total}: {because}",
                    written(value),
                    sum.join(" + ")
                );
                holes.push(Hole { setting, why });
            }
        };
        let Windows { period, overlap, boot_time, slack, schedule, longest_run, lifetime } = windows;
        let second = ("one second", Duration::from_secs(1));
        at_least("boot_time", boot_time, &[second], "an agent needs time between its fetch and its redeem");
        at_least("schedule", schedule, &[second], "it is how often the rotator runs");
        at_least("longest_run", longest_run, &[second], "a run takes time");
        at_least(
            "period",
            period,
            &[("schedule", schedule)],
            "a token cannot be replaced more often than the rotator runs",
        );
        let run = [("schedule", schedule), ("longest_run", longest_run), ("a margin", AFTER_RUN)];
        at_least(
            "slack",
            slack,
            &run,
            "a token that falls due just after one run waits for the next one to end",
        );
        let parts = [("period", period), ("overlap", overlap), ("boot_time", boot_time), ("slack", slack)];
        let sum = parts.iter().map(|(_, span)| *span).sum();
        let lifetime = lifetime.unwrap_or(sum);
        at_least(
            "lifetime",
            lifetime,
            &parts,
            "or an instance that boots just before a rotation holds a dead token",
        );
        if longest_run > LONGEST_RUN {
            let (run, most) = (written(longest_run), written(LONGEST_RUN));
            let why = format!(
                "longest_run ({run}) must be at most {most}: no Lambda function runs longer than that"
            );
            holes.push(Hole { setting: "longest_run", why });
        }
        if holes.is_empty() {
            Ok(Self { windows: Windows { lifetime: None, ..windows }, lifetime })
        } else {
            Err(holes)
        }
    }

    /// How long a token lives from its mint.
    #[must_use]
    pub const fn lifetime(&self) -> Duration {
        self.lifetime
    }

    /// How long one run may take.
    #[must_use]
    pub const fn longest_run(&self) -> Duration {
        self.windows.longest_run
    }

    /// When a token that ends at `expires_at` is due to be replaced: `period` after its mint.
    #[must_use]
    pub fn due(&self, expires_at: Second) -> Second {
        expires_at.minus(self.lifetime - self.windows.period)
    }

    /// Whether a run may still begin to publish a token that was minted at `minted_at`.
    #[must_use]
    pub fn may_publish(&self, minted_at: Second, now: Second) -> bool {
        now.since(minted_at) <= self.windows.longest_run + AFTER_RUN
    }

    /// Whether a token that was minted at `minted_at` may still come to be published: a run may, or
    /// its put may be under way.
    #[must_use]
    pub fn may_come(&self, minted_at: Second, now: Second) -> bool {
        now.since(minted_at) <= self.windows.longest_run + AFTER_RUN + LONGEST_PUT
    }

    /// Whether an agent may still redeem what a token minted at `minted_at` took the place of, or
    /// was promised to be able to.
    #[must_use]
    pub fn may_redeem_before(&self, minted_at: Second, now: Second) -> bool {
        self.may_come(minted_at, now.minus(self.windows.overlap + self.windows.boot_time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The least time that a token lives on when the next one takes its place, over 300 runs; each
    /// number is one run's luck: whether it is missed, and when it mints and publishes.
    fn least_left(policy: &Policy, missed: u64, luck: &[u64]) -> Duration {
        let Windows { schedule, longest_run, .. } = policy.windows;
        let longest = (longest_run + AFTER_RUN).as_secs();
        let start = Second::from_unix(1_800_000_000);
        let (mut ends, mut busy_until, mut in_a_row) = (start.plus(policy.lifetime), start, 0);
        let mut least = policy.lifetime;
        for (run, luck) in (1..=300).zip(luck.iter().cycle()) {
            let begins = start.plus(schedule * run);
            if begins < busy_until {
                continue;
            }
            if in_a_row < missed && luck % 3 != 0 {
                in_a_row += 1;
                continue;
            }
            in_a_row = 0;
            if policy.due(ends) <= begins {
                let published = luck / 3 % (longest + 1);
                let minted = luck / 1000 % (published + 1);
                busy_until = begins.plus(Duration::from_secs(published));
                least = least.min(ends.since(busy_until));
                ends = begins.plus(Duration::from_secs(minted)).plus(policy.lifetime);
            }
        }
        least
    }

    proptest! {
        #[test]
        fn whoever_boots_at_any_instant_finds_a_token_that_lives_through_its_boot(
            (schedule, longest_run, missed) in (1..3600_u64, 1..=900_u64, 0..20_u64),
            (period, overlap, boot_time) in (0..40_000_u64, 0..10_000_u64, 1..7200_u64),
            (slack, lifetime) in (0..5000_u64, proptest::option::of(0..10_000_u64)),
            luck in proptest::collection::vec(any::<u64>(), 1..60),
        ) {
            let [schedule, longest_run, period, overlap, boot_time, slack] =
                [schedule, longest_run, period, overlap, boot_time, slack].map(Duration::from_secs);
            // The slack that pays for so many missed runs in a row, and some more.
            let slack = schedule * u32::try_from(missed + 1).unwrap() + longest_run + AFTER_RUN + slack;
            let period = schedule + period;
            let lifetime = lifetime.map(|more| period + overlap + boot_time + slack + Duration::from_secs(more));
            let windows = Windows { period, overlap, boot_time, slack, schedule, longest_run, lifetime };
            let policy = Policy::new(windows).unwrap();
            let left = least_left(&policy, missed, &luck);
            prop_assert!(left >= boot_time + overlap, "{left:?} left, {windows:?}");
            // One second less in any of them is a hole, and is told with its inequality.
            let second = Duration::from_secs(1);
            let sum = period + overlap + boot_time + slack;
            let short = Windows { lifetime: Some(sum.checked_sub(second).unwrap()), ..windows };
            let tight = Windows { slack: (schedule + longest_run + AFTER_RUN).checked_sub(second).unwrap(), ..windows };
            let often = Windows { period: schedule.checked_sub(second).unwrap(), ..windows };
            for (setting, windows) in [("lifetime", short), ("slack", tight), ("period", often)] {
                let holes = Policy::new(Windows { lifetime: windows.lifetime.filter(|_| setting == "lifetime"), ..windows });
                let [Hole { setting: named, why }] = &holes.unwrap_err()[..] else { panic!("{setting}: {windows:?}") };
                prop_assert!(*named == setting && why.starts_with(&format!("{setting} (")) && why.contains(") must be at least "), "{why}");
            }
        }
    }

    #[test]
    fn a_policy_with_a_hole_would_be_found_out() {
        // Due one second after a run began; one run is missed, the next takes its time.
        let windows = Windows { overlap: Duration::ZERO, slack: minutes(36), ..Windows::default() };
        let good = Policy::new(windows).unwrap();
        let late = least_left(&good, 1, &[1, 3 * 360]);
        assert!(late >= windows.boot_time && late < windows.boot_time + windows.schedule, "{late:?}");
        let hole = Policy { windows, lifetime: good.lifetime - windows.schedule };
        assert!(least_left(&hole, 1, &[1, 3 * 360]) < windows.boot_time);
    }

    fn check(change: impl Fn(&mut Windows), holes: &[&str]) {
        let mut windows = Windows::default();
        change(&mut windows);
        let found: Vec<String> =
            Policy::new(windows).err().unwrap_or_default().into_iter().map(|hole| hole.why).collect();
        assert_eq!(found, holes, "{windows:?}");
    }

    const fn minutes(n: u64) -> Duration {
        Duration::from_secs(60 * n)
    }

    #[test]
    fn windows_without_a_hole() {
        check(|_| (), &[]);
        check(|w| w.overlap = Duration::ZERO, &[]);
        check(|w| w.slack = minutes(21), &[]);
        check(|w| w.longest_run = minutes(15), &[]);
        check(|w| w.lifetime = Some(minutes(480)), &[]);
        check(|w| w.lifetime = Some(minutes(9999)), &[]);
    }

    #[test]
    fn each_hole_with_its_inequality() {
        check(
            |w| w.lifetime = Some(minutes(479)),
            &[
                "lifetime (7h59m) must be at least period (4h) + overlap (1h) + boot_time (30m) + slack (2h30m) = 8h: \
               or an instance that boots just before a rotation holds a dead token",
            ],
        );
        check(
            |w| w.slack = minutes(20),
            &["slack (20m) must be at least schedule (15m) + longest_run (5m) + a margin (1m) = 21m: \
               a token that falls due just after one run waits for the next one to end"],
        );
        check(
            |w| w.longest_run = minutes(16),
            &["longest_run (16m) must be at most 15m: no Lambda function runs longer than that"],
        );
        check(
            |w| (w.period, w.boot_time) = (minutes(5), Duration::ZERO),
            &[
                "boot_time (0s) must be at least one second (1s): an agent needs time between its fetch and its redeem",
                "period (5m) must be at least schedule (15m): a token cannot be replaced more often than the rotator runs",
            ],
        );
    }

    #[test]
    fn when_a_token_is_due_and_until_when_it_may_be_published() {
        let policy = Policy::new(Windows::default()).unwrap();
        let minted = Second::from_unix(1_800_000_000);
        assert_eq!(policy.lifetime(), minutes(480));
        assert_eq!(policy.due(minted.plus(policy.lifetime())), minted.plus(minutes(240)));
        assert!(policy.may_publish(minted, minted.plus(minutes(6))));
        assert!(!policy.may_publish(minted, minted.plus(minutes(6)).plus(Duration::from_secs(1))));
        let (put, second) = (minutes(6).saturating_add(LONGEST_PUT), Duration::from_secs(1));
        assert!(policy.may_come(minted, minted.plus(put)));
        assert!(!policy.may_come(minted, minted.plus(put + second)));
        // The old token is good for its overlap of an hour and half an hour of boot after the put.
        assert!(policy.may_redeem_before(minted, minted.plus(put + minutes(90))));
        assert!(!policy.may_redeem_before(minted, minted.plus(put + minutes(90) + second)));
        // A clock that was set back tells nothing about a mint.
        assert!(policy.may_publish(minted, minted.minus(minutes(60))));
    }
}
