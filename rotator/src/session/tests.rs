use super::*;
use crate::config::Config;
use crate::effects::Effects as _;
use crate::world::{Fault, World};
use std::time::Duration;
use zeroize::Zeroizing;

fn blocking<T>(story: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(story)
}

fn world(life: Option<u64>) -> World {
    let text = crate::config::tests::GOOD;
    let config = Config::parse(text, &|_| Ok(Zeroizing::default())).unwrap();
    let mut world = World::new(&config);
    world.life = life;
    world
}

async fn list(session: &Session<'_, World>) -> Result<(), Error> {
    let call = async |with: &AccessToken| session.on.list_factories(with).await;
    session.with(session.retry, "list", is_transient, call).await.map(drop)
}

fn logins(world: &World) -> usize {
    world.calls().into_iter().filter(|call| *call == "authenticate").count()
}

/// Runs that begin so many seconds after the first; how often each logs in.
fn check(life: Option<u64>, starts: &[u64], wanted: &[usize]) {
    blocking(async {
        let world = world(life);
        let (kept, retry) = (Kept::default(), Retry::new(Duration::from_secs(60), 5));
        let mut found = Vec::new();
        let mut at = 0;
        for start in starts {
            tokio::time::advance(Duration::from_secs(start - at)).await;
            at = *start;
            let session = Session::open(&world, &retry, &kept).await.unwrap();
            list(&session).await.unwrap();
            found.push(logins(&world));
        }
        assert_eq!(found, wanted, "{life:?} {starts:?}");
    });
}

#[test]
fn a_login_serves_later_runs_until_it_is_about_to_end() {
    check(Some(480), &[0, 60, 419], &[1, 0, 0]);
    check(Some(480), &[0, 420, 480], &[1, 1, 0]);
    check(Some(480), &[0, 900], &[1, 1]);
    check(Some(40), &[0, 29, 30], &[1, 0, 1]);
    check(Some(4), &[0, 2, 3], &[1, 0, 1]);
    // What does not tell its end is used by one run alone.
    check(None, &[0, 1], &[1, 1]);
}

#[test]
fn what_is_over_at_once_is_not_asked_for_without_end() {
    // As a server's setting of 0 gives: a login for each run, and one for each call.
    check(Some(0), &[0, 1], &[2, 2]);
}

#[test]
fn a_long_run_renews_before_the_end() {
    blocking(async {
        let world = world(Some(480));
        let (kept, retry) = (Kept::default(), Retry::new(Duration::from_secs(900), 5));
        let session = Session::open(&world, &retry, &kept).await.unwrap();
        for (at, wanted) in [(0, 1), (419, 0), (421, 1), (800, 0), (842, 1)] {
            let past = world.now().since(world.base.get());
            tokio::time::advance(Duration::from_secs(at).saturating_sub(past)).await;
            list(&session).await.unwrap();
            assert_eq!(logins(&world), wanted, "after {at} s");
        }
    });
}

#[test]
fn a_renewal_that_fails_leaves_the_last_word_to_conjur() {
    blocking(async {
        let mut world = world(Some(480));
        world.fault = Box::new(|n, name| (n > 1 && name == "authenticate").then_some(Fault::NotDone));
        let (kept, retry) = (Kept::default(), Retry::new(Duration::from_secs(900), 5));
        let session = Session::open(&world, &retry, &kept).await.unwrap();
        tokio::time::advance(Duration::from_secs(430)).await;
        list(&session).await.unwrap();
        assert_eq!(world.calls(), ["authenticate", "authenticate", "list_factories"]);
    });
}

#[test]
fn conjurs_no_is_worth_one_login_in_a_run() {
    blocking(async {
        let check = async |refused: usize, calls: &[&str], ends: bool| {
            let mut world = world(Some(480));
            let (kept, retry) = (Kept::default(), Retry::new(Duration::from_secs(60), 5));
            let first = Session::open(&world, &retry, &kept).await.unwrap();
            list(&first).await.unwrap();
            let _first = world.calls();
            world.fault = Box::new(move |n, name| {
                (name == "list_factories" && n <= refused).then_some(Fault::Unauthorized)
            });
            // As after a restore of Conjur's keys: what is kept is not taken any more.
            let session = Session::open(&world, &retry, &kept).await.unwrap();
            let ended = list(&session).await;
            assert_eq!((world.calls().as_slice(), ended.is_ok()), (calls, ends), "{refused}");
        };
        check(0, &["list_factories"], true).await;
        check(1, &["list_factories", "authenticate", "list_factories"], true).await;
        check(9, &["list_factories", "authenticate", "list_factories"], false).await;
    });
}
