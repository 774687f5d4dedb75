use super::*;
use crate::error::Class;
use std::rc::Rc;

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
fn a_pushback_is_answered_within_the_widening_window() {
    let seconds = Duration::from_secs;
    let check = |window, pushbacks, run, left, asked: Option<u64>, least, most| {
        let seen = Seen { pushbacks, run: seconds(run), left: seconds(left) };
        let pause = |drawn| pushed_back(seconds(window), &seen, asked.map(seconds), drawn);
        assert_eq!((pause(0.0), pause(1.0)), (seconds(least), seconds(most)), "{window} {seen:?} {asked:?}");
    };
    // The window widens fourfold, counted from the start of the run.
    check(60, 1, 50, 850, None, 0, 190);
    check(60, 2, 100, 800, None, 0, 710);
    // Not beyond nine tenths of the run, and never all at once again.
    check(600, 1, 300, 600, None, 0, 510);
    check(600, 9, 809, 91, None, 0, 15);
    // No window is configured: a minute, then more.
    check(0, 1, 0, 900, None, 0, 60);
    check(0, 2, 60, 840, None, 0, 180);
    // What the server asks for, within bounds, and spread from there on.
    check(60, 1, 0, 900, Some(30), 30, 270);
    check(60, 1, 0, 900, Some(86_400), 60, 300);
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

#[test]
fn what_is_no_pushback_backs_off_as_far_as_the_window() {
    let longest = |window| {
        let retry = Retry::new(HOUR, 1);
        let most = MOST.max(retry.within_reach(window));
        (0..200).map(|_| retry.back_off(20, most, None)).max().unwrap_or_default()
    };
    assert!(longest(Duration::ZERO) <= MOST);
    assert!(longest(HOUR) > HOUR / 10);
}

/// A Conjur that makes this many hosts a second and pushes back when more than 20 s of work wait.
struct Busy {
    a_second: f64,
    free_at: Cell<f64>,
    asked: Cell<u32>,
    start: Instant,
}

impl Busy {
    async fn redeem(&self) -> Result<(), No> {
        self.asked.set(self.asked.get() + 1);
        let now = self.start.elapsed().as_secs_f64();
        let begin = self.free_at.get().max(now);
        if begin - now > 20.0 {
            return Err(No(Class::Transient, None, true));
        }
        self.free_at.set(begin + 1.0 / self.a_second);
        sleep(Duration::from_secs_f64(self.free_at.get() - now)).await;
        Ok(())
    }
}

/// Boots that begin within 30 s, with this window; says how many in a hundred were enrolled, the
/// requests a host, and how long it took in units of the least that Conjur needs.
fn fleet(window: Duration) -> (u32, f64, f64) {
    const HOSTS: u32 = 7_000;
    const A_SECOND: f64 = 9.8; // as 100,000 hosts at 140 a second
    let run = async {
        let conjur = Rc::new(Busy {
            a_second: A_SECOND,
            free_at: Cell::new(0.0),
            asked: Cell::new(0),
            start: Instant::now(),
        });
        let mut boots = tokio::task::JoinSet::new();
        for host in 0..HOSTS {
            let conjur = Rc::clone(&conjur);
            boots.spawn_local(async move {
                let mut random = fastrand::Rng::with_seed(u64::from(host));
                sleep(Duration::from_secs_f64(random.f64() * 30.0)).await;
                let retry = Retry::with_random(Duration::from_secs(900), 200, random);
                retry.turn("the redeem", window).await;
                retry.run_spread("the redeem", window, No::is_pushback, async || conjur.redeem().await).await
            });
        }
        let mut enrolled = 0;
        while let Some(end) = boots.join_next().await {
            enrolled += u32::from(end.unwrap().is_ok());
        }
        let least = f64::from(HOSTS) / A_SECOND;
        let requests = f64::from(conjur.asked.get()) / f64::from(HOSTS);
        (enrolled * 100 / HOSTS, requests, conjur.free_at.get() / least)
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    tokio::task::LocalSet::new().block_on(&runtime.unwrap(), run)
}

#[test]
fn a_fleet_is_enrolled_whatever_its_window() {
    let check = |window, most_requests, most_span| {
        let (enrolled, requests, span) = fleet(Duration::from_secs(window));
        println!("window {window} s: {requests:.2} requests a host, {span:.2} of the least time");
        assert_eq!(enrolled, 100, "window {window}");
        assert!(requests <= most_requests && span <= most_span, "window {window}: {requests} {span}");
    };
    // The right window, and one that is a little short.
    check(714, 1.3, 1.25);
    check(600, 1.3, 1.25);
    // Far too short: of every hundred hosts 85 must be told so once. Drawn from 60 s again and again it
    // would be 10.8 requests a host.
    check(60, 3.0, 1.25);
    check(0, 5.0, 1.25);
}
