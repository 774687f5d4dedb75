//! Somebody else acts on the same key, before, at or just after the put.

use super::*;

#[test]
fn two_runs_at_once_publish_one_token_and_revoke_the_other() {
    blocking(async {
        let config = config();
        let world = World::new(&config);
        for ask in [due(), asked()] {
            let (one, two) = (
                run_of(&config, &ask, &world, None, fastrand::Rng::with_seed(1)),
                run_of(&config, &ask, &world, None, fastrand::Rng::with_seed(2)),
            );
            let before = world.state.borrow().tokens.len();
            let (one, two) = futures_util::future::join(one.rotate(&world), two.rotate(&world)).await;
            let ends = [only(one), only(two)];
            let count = |wanted: fn(&Done) -> bool| {
                ends.iter().filter(|end| end.result.as_ref().is_ok_and(wanted)).count()
            };
            assert_eq!(count(|done| matches!(done, Done::Rotated { .. })), 1, "{ends:?}");
            assert_eq!(count(|done| matches!(done, Done::LostRace { .. })), 1, "{ends:?}");
            assert_eq!(world.state.borrow().tokens.len(), before + 1);
            assert!(world.is_usable("web"));
        }
    });
}

#[test]
fn somebody_else_publishes_first() {
    meanwhile(
        6,
        true,
        |world| overwrite(world, &others()),
        |world, end| {
            assert!(matches!(end.result, Ok(Done::LostRace { .. })), "{end}");
            assert!(world.state.borrow().tokens.is_empty(), "ours is revoked");
        },
    );
    meanwhile(
        6,
        false,
        |world| overwrite(world, &others()),
        |world, end| {
            assert!(matches!(end.result, Ok(Done::LostRace { .. })), "{end}");
            assert_eq!(world.state.borrow().tokens.len(), 1);
            assert!(end.notes[0].contains("lives on, since revoke = false"), "{:?}", end.notes);
        },
    );
}

#[test]
fn a_lost_race_whose_token_lives_on_is_a_failure() {
    blocking(async {
        let config = config();
        let mut world = World::new(&config);
        world.meanwhile = Some((6, Box::new(|world| overwrite(world, &others()))));
        world.fault = Box::new(|_, name| (name == "revoke").then_some(Fault::Refused));
        let report = run(&config, &world, &due()).await.unwrap();
        assert_eq!(report.class(), Some(Class::Refused));
        assert_eq!((&report.to_json()["failed"], world.state.borrow().tokens.len()), (&1.into(), 1));
        let error = report.factories[0].result.as_ref().unwrap_err();
        assert!(error.hint().unwrap_or_default().contains("permit the rotator's role update"), "{error}");
        check_nothing_leaked(&world, &[&Ok(report)], "a lost race");
    });
}

#[test]
fn somebody_else_publishes_just_after() {
    meanwhile(
        7,
        true,
        |world| overwrite(world, &others()),
        |world, end| {
            assert!(matches!(end.result, Ok(Done::Rotated { .. })), "{end}");
            // Agents may hold it: it lives until it expires.
            assert_eq!(world.state.borrow().tokens.len(), 1);
            assert!(end.notes[0].contains("superseded at once"), "{:?}", end.notes);
        },
    );
}

#[test]
fn what_does_not_read_back_is_revoked() {
    let check = |change: fn(&World), at: usize, say: &str| {
        let say = say.to_owned();
        meanwhile(at, true, change, move |world, end| {
            let error = end.result.unwrap_err();
            assert_eq!(error.class(), Class::Tampered, "{error}");
            assert!(error.to_string().contains(&say), "{error}");
            assert!(world.state.borrow().tokens.is_empty());
        });
    };
    check(|world| overwrite(world, b"garbage"), 7, "overwritten with something else");
    check(|world| world.state.borrow_mut().objects.clear(), 7, "it is gone");
    check(
        |world| {
            let text = String::from_utf8(world.state.borrow().put[0].clone()).unwrap();
            overwrite(world, text.replace("\"rotation_id\":\"", "\"rotation_id\":\"x").as_bytes());
        },
        7,
        "it was changed",
    );
    check(|world| world.state.borrow_mut().sealed.clear(), 8, "it does not open");
    check(|world| world.state.borrow_mut().sealed[0].0 = b"another".to_vec(), 8, "it opens to another token");
}
