use super::*;
use crate::error::Class;

#[derive(Debug, thiserror::Error)]
#[error("no")]
struct No(Class, Option<Duration>, bool);

impl Classified for No {
    fn class(&self) -> Class {
        self.0
    }

    fn retry_after(&self) -> Option<Duration> {
        self.1
    }

    fn is_pushback(&self) -> bool {
        self.2
    }

    fn given_up(self) -> Self {
        Self(Class::Refused, self.1, self.2)
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
const TRANSIENT: fn() -> No = || No(Class::Transient, None, false);

#[test]
fn repeats_until_it_works() {
    let (calls, ok, _) = check(|| Retry::new(HOUR, 10), 4, TRANSIENT);
    assert_eq!((calls, ok), (5, true));
}

#[test]
fn what_is_waited_for_no_longer_is_what_it_is_then() {
    let check = |within, budget, failing: Class| {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let end = runtime.block_on(Retry::new(within, budget).run(
            "it",
            |e: &No| e.class() == Class::Transient,
            async || Err::<(), _>(No(failing, None, false)),
        ));
        assert_eq!(end.unwrap_err().class(), Class::Refused, "{within:?} {budget}");
    };
    check(HOUR, 3, Class::Transient);
    check(Duration::from_secs(1), u32::MAX, Class::Transient);
    check(HOUR, 3, Class::Config);
}

#[test]
fn stops_at_the_budget_at_the_deadline_and_at_a_no() {
    let (calls, ok, _) = check(|| Retry::new(HOUR, 3), 99, TRANSIENT);
    assert_eq!((calls, ok), (4, false));
    let (_, ok, took) = check(|| Retry::new(Duration::from_secs(30), u32::MAX), 9999, TRANSIENT);
    assert!(!ok && took <= Duration::from_secs(30), "{took:?}");
    let (calls, ok, _) = check(|| Retry::new(HOUR, 3), 99, || No(Class::Refused, None, false));
    assert_eq!((calls, ok), (1, false));
}

#[test]
fn a_part_ends_before_the_run_and_spends_its_budget() {
    let seconds = Duration::from_secs;
    let part = || Retry::new(HOUR, u32::MAX).part(seconds(30));
    let (calls, ok, took) = check(part, 9999, TRANSIENT);
    assert!(!ok && calls > 2 && took <= seconds(30), "{calls} {took:?}");
    let (_, ok, took) = check(|| Retry::new(seconds(10), u32::MAX).part(HOUR), 9999, TRANSIENT);
    assert!(!ok && took <= seconds(10), "{took:?}");
    let run = Retry::new(HOUR, 5);
    for wanted in [4, 3, 1] {
        let (calls, ok, _) = check(|| run.part(HOUR), 3, TRANSIENT);
        assert_eq!((calls, ok), (wanted, wanted == 4));
    }
}

#[test]
fn pauses_are_spread_bounded_and_as_long_as_the_server_asked() {
    let pauses: Vec<Duration> =
        (0..200).map(|i| Retry::new(HOUR, 1).back_off(i % 40 + 1, MOST, None)).collect();
    assert!(pauses.iter().all(|p| *p <= MOST));
    assert!(pauses.iter().any(|p| *p > MOST / 2) && pauses.iter().any(|p| *p < FIRST));
    let asked = |seconds| Retry::new(HOUR, 1).back_off(1, MOST, Some(Duration::from_secs(seconds)));
    assert!((Duration::from_secs(10)..=Duration::from_secs(10) + FIRST).contains(&asked(10)));
    assert!(asked(1_000_000_000) <= LONGEST_ASKED + FIRST);
    assert!(asked(0) <= FIRST);
}

#[test]
fn a_pushback_is_answered_in_the_next_window() {
    let seconds = Duration::from_secs;
    let check = |window, pushbacks, run, left, asked: Option<u64>, least, most| {
        let seen = Seen { pushbacks, run: seconds(run), left: seconds(left) };
        let pause = |drawn| pushed_back(seconds(window), &seen, asked.map(seconds), drawn);
        assert_eq!((pause(0.0), pause(1.0)), (seconds(least), seconds(most)), "{window} {seen:?} {asked:?}");
    };
    // After the window in which it was, before the end of one ten times as wide; counted from the start.
    check(60, 1, 50, 850, None, 10, 550);
    check(6, 2, 70, 830, None, 0, 530);
    // No further than the widest, nor than nine tenths of the run, and never all at once again.
    check(60, 2, 610, 2990, None, 0, 170);
    check(600, 1, 300, 3300, None, 300, 480);
    check(60, 2, 610, 290, None, 0, 170);
    check(600, 1, 300, 400, None, 300, 330);
    check(600, 9, 810, 90, None, 0, 15);
    // After the widest window, within a sixth of the time until then: a server was away.
    check(60, 3, 1800, 1800, None, 0, 300);
    check(60, 3, 1800, 180, None, 0, 30);
    check(3600, 1, 3720, 83_000, None, 0, 620);
    // No window is configured: a minute, then ten, then the widest.
    check(0, 1, 0, 900, None, 6, 60);
    check(0, 2, 60, 840, None, 0, 540);
    check(0, 3, 600, 300, None, 0, 180);
    // What the server asks for, within bounds, and spread from there on.
    check(60, 1, 0, 900, Some(30), 90, 630);
    check(60, 1, 0, 900, Some(86_400), 120, 660);
    check(60, 1, 890, 10, Some(0), 0, 9);
    check(60, u32::MAX, 0, 0, None, 0, 0);
}

proptest::proptest! {
    /// A pause that the deadline leaves room for ends before it, unless the server asked for more.
    #[test]
    fn a_spread_pause_never_outlasts_the_run(
        window in 0_u64..100_000, pushbacks: u32, run in 0_u64..100_000, left in 1_u64..100_000,
        asked in proptest::option::of(0_u64..1_000_000), drawn in 0.0..1.0_f64,
    ) {
        let seconds = Duration::from_secs;
        let seen = Seen { pushbacks, run: seconds(run), left: seconds(left) };
        let pause = pushed_back(seconds(window), &seen, asked.map(seconds), drawn);
        let asked = seconds(asked.unwrap_or(0)).min(LONGEST_ASKED);
        proptest::prop_assert!(pause >= asked && (pause < seen.left || asked >= seen.left), "{pause:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn from_a_server_that_is_away_pauses_grow_with_the_age_of_the_run() {
    let retry = Retry::new(HOUR, 1);
    let check = async |after, attempt, least: Duration, most: Duration| {
        sleep(Duration::from_secs(after)).await;
        let drawn: Vec<Duration> = (0..200).map(|_| retry.back_off_from_one_away(attempt, None)).collect();
        assert!(drawn.iter().all(|pause| (least..=most).contains(pause)), "{attempt} {drawn:?}");
        assert!(drawn.iter().max().unwrap().saturating_sub(*drawn.iter().min().unwrap()) > most / 3);
    };
    let seconds = Duration::from_secs;
    check(0, 1, FIRST / 2, FIRST).await;
    check(0, 5, seconds(2), seconds(4)).await;
    check(0, 40, MOST / 2, MOST).await;
    // Twenty minutes on, a quarter of that; and a new failure begins small.
    check(1200, 40, seconds(150), seconds(300)).await;
    check(0, 1, FIRST / 2, FIRST).await;
    let asked = retry.back_off_from_one_away(1, Some(seconds(10)));
    assert!((seconds(10)..=seconds(10) + FIRST).contains(&asked), "{asked:?}");
}
