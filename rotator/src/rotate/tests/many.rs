//! Many factories in one run: none holds up the others, and none is always the one that is left out.

use super::*;
use std::collections::BTreeSet;

fn config_of_many(count: usize) -> (Config, Vec<String>) {
    let ids: Vec<String> = (0..count).map(|i| format!("f{i}")).collect();
    (config_of(&ids.iter().map(String::as_str).collect::<Vec<_>>()), ids)
}

/// A world of which every call takes 20 ms.
fn distant(config: &Config) -> World {
    let mut world = World::new(config);
    world.pace = Box::new(|| [Duration::from_millis(10); 2]);
    world
}

/// Those that a run has rotated.
fn rotated(report: &Report) -> BTreeSet<String> {
    let good = report.factories.iter().filter(|o| matches!(o.result, Ok(Done::Rotated { .. })));
    good.map(|outcome| outcome.factory.to_string()).collect()
}

#[test]
fn one_factory_s_failure_stops_no_other() {
    blocking(async {
        let (config, ids) = config_of_many(20);
        let mut world = World::new(&config);
        // Conjur lists all but one; of the others, one mint is refused.
        world.state.borrow_mut().factories.retain(|id| id != "f7");
        let refused = Cell::new(false);
        world.fault =
            Box::new(move |_, name| (name == "mint" && !refused.replace(true)).then_some(Fault::Refused));
        let report = run(&config, &world, &due()).await.unwrap();
        assert_eq!(report.factories.iter().filter(|o| o.result.is_ok()).count(), 18);
        assert!(matches!(report.factories[7].result, Err(Error::Unseen { .. })));
        assert_eq!(report.class(), Some(Class::Refused));
        assert_eq!(report.to_json()["failed"], 2);
        let order: Vec<String> = report.factories.iter().map(|o| o.factory.to_string()).collect();
        assert_eq!(order, ids);
        assert_eq!(world.most_in_flight.get(), config.concurrency);
        // 2 shared; 6 for each that was rotated, a get and a mint of the refused one, a look for the other.
        assert_eq!(world.calls().len(), 2 + 18 * GOOD.len() + 2 + 1);
    });
}

#[test]
fn a_thousand_take_their_calls_and_no_longer() {
    blocking(async {
        let (config, _) = config_of_many(1000);
        let world = distant(&config);
        let start = tokio::time::Instant::now();
        let report = run(&config, &world, &due()).await.unwrap();
        assert_eq!((rotated(&report).len(), report.class()), (1000, None));
        let calls = world.calls().len();
        assert_eq!(calls, 2 + 1000 * GOOD.len());
        // 125 rounds of 8 at once, and the two shared calls.
        assert_eq!(start.elapsed(), Duration::from_millis(20 * (2 + 125 * 6)));
        run(&config, &world, &due()).await.unwrap();
        assert_eq!(world.calls().len(), 2 + 1000);
    });
}

#[test]
fn those_that_fail_for_ever_hold_up_nobody() {
    blocking(async {
        let (config, ids) = config_of_many(200);
        let mut world = distant(&config);
        // The first ones, so that they come first: more than are worked on at once.
        world.busy = ids[..20].to_vec();
        let within = Duration::from_secs(120);
        let start = tokio::time::Instant::now();
        let report = run_within(&config, &world, &due(), Some(within)).await.unwrap();
        assert_eq!(rotated(&report).len(), 180);
        assert!(start.elapsed() <= within - LEAST, "{:?}", start.elapsed());
        assert_eq!((report.class(), report.to_json()["failed"].as_u64()), (Some(Class::Transient), Some(20)));
        let tries = world.calls().iter().filter(|call| **call == "mint").count() - 180;
        assert!((40..400).contains(&tries), "each is tried again, while there is time: {tries}");
        assert!(report.factories[..20].iter().all(|o| o.result.is_err()));
    });
}

#[test]
fn a_run_that_is_too_short_leaves_out_others_the_next_time() {
    blocking(async {
        let (config, ids) = config_of_many(100);
        let world = distant(&config);
        let short = async || {
            let report = run_within(&config, &world, &asked(), Some(LEAST + Duration::from_secs(1))).await;
            let report = report.unwrap();
            let left = report.factories.iter().filter(|o| matches!(o.result, Err(Error::NoTime { .. })));
            assert_eq!(left.count() + rotated(&report).len(), 100);
            tokio::time::advance(HOUR).await;
            rotated(&report)
        };
        let (first, second) = (short().await, short().await);
        assert!((50..80).contains(&first.len()), "{}", first.len());
        assert_eq!(first.union(&second).count(), ids.len());
        // Then those whose token is the oldest.
        let third = short().await;
        assert!(first.difference(&second).all(|id| third.contains(id)));
        // What was not begun was not asked for, either.
        world.calls();
        let report = run_within(&config, &world, &due(), Some(LEAST)).await.unwrap();
        assert_eq!(world.calls(), ["authenticate", "list_factories"]);
        assert_eq!(report.to_json()["failed"], 100);
    });
}

#[test]
fn what_moved_from_page_to_page_is_asked_for_alone() {
    blocking(async {
        let config = config_of(&["web", "db"]);
        let world = World::new(&config);
        run(&config, &world, &due()).await.unwrap();
        world.state.borrow_mut().off_the_pages = vec!["web".to_owned()];
        world.calls();
        let kept = run(&config, &world, &due()).await.unwrap();
        assert!(kept.factories.iter().all(|o| matches!(o.result, Ok(Done::Kept { .. }))));
        let looks = |calls: &[&str]| calls.iter().filter(|call| **call == "show_factory").count();
        assert_eq!(looks(&world.calls()), 1);
        // An incident looks twice, and revokes what it saw there.
        let ask = Ask { revoke_superseded: true, ..asked() };
        let report = run(&config, &world, &ask).await.unwrap();
        assert_eq!((report.class(), looks(&world.calls())), (None, 2));
        assert!(
            report.factories.iter().all(|o| o.older.as_ref().is_some_and(|older| older.revoked.len() == 1))
        );
        // One that is gone is not looked for again and again, and what is published stays.
        let before = world.state.borrow().put.len();
        world.state.borrow_mut().factories.retain(|id| id != "web");
        let report = run(&config, &world, &asked()).await.unwrap();
        assert!(matches!(report.factories[0].result, Err(Error::Unseen { .. })));
        assert_eq!((looks(&world.calls()), world.state.borrow().put.len()), (1, before + 1));
    });
}
