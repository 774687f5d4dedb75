//! Puts that fail: which of them are plainly not done, and which may be done yet.

use super::*;

/// A run of which every put, or those of these numbers alone, fails; gives the end, and the world
/// after a put that was under way was carried out.
fn puts_fail(fault: fn(usize) -> Option<Fault>, before: bool, check: impl Fn(&World, &Outcome)) {
    blocking(async {
        let config = config();
        let mut world = World::new(&config);
        if before {
            only(run(&config, &world, &due()).await).result.unwrap();
            tokio::time::advance(4 * HOUR).await;
        }
        let puts = Cell::new(0);
        world.fault = Box::new(move |_, name| {
            puts.set(puts.get() + usize::from(name == "s3:PutObject"));
            if name == "s3:PutObject" { fault(puts.get()) } else { None }
        });
        let report = run(&config, &world, &due()).await;
        world.land();
        check_nothing_leaked(&world, &[&report], "puts fail");
        check(&world, &only(report));
    });
}

#[test]
fn a_put_that_may_still_be_carried_out_leaves_its_token_alive() {
    let left_alive = |fault: fn(usize) -> Option<Fault>, before: bool| {
        puts_fail(fault, before, |world, end| {
            let error = end.result.as_ref().unwrap_err();
            let Error::UnknownFate { fingerprint, .. } = error else { panic!("{end}") };
            assert_eq!(error.class(), Class::Transient);
            assert!(end.to_string().contains(fingerprint.as_str()), "{end}");
            assert!(!world.calls().contains(&"revoke"));
            assert_eq!(world.state.borrow().tokens.len(), 1 + usize::from(before));
        });
    };
    for before in [false, true] {
        left_alive(|_| Some(Fault::LandsLater), before);
        left_alive(|_| Some(Fault::NotDone), before);
        left_alive(|n| Some(if n == 1 { Fault::LandsLater } else { Fault::Refused }), before);
        left_alive(|n| Some(if n == 1 { Fault::LandsLater } else { Fault::Contended }), before);
    }
    // What landed in the end is what the error names, and what agents can use.
    puts_fail(
        |_| Some(Fault::LandsLater),
        true,
        |world, end| {
            let there = world.published("web").unwrap().binding().fingerprint.clone();
            assert!(end.to_string().contains(there.as_str()) && world.is_usable("web"), "{end}");
        },
    );
    // The second attempt is good, and the first then meets it.
    puts_fail(
        |n| (n == 1).then_some(Fault::LandsLater),
        true,
        |world, end| assert!(end.result.is_ok() && world.is_usable("web"), "{end}"),
    );
}

#[test]
fn a_put_that_was_plainly_not_done_is_taken_back() {
    let taken_back = |fault: fn(usize) -> Option<Fault>, before: bool, class: Class| {
        puts_fail(fault, before, |world, end| {
            assert_eq!(end.result.as_ref().unwrap_err().class(), class, "{end}");
            assert_eq!(world.state.borrow().tokens.len(), usize::from(before), "{end}");
        });
    };
    for before in [false, true] {
        taken_back(|_| Some(Fault::Refused), before, Class::Refused);
        // Nobody published: S3 was busy all the time.
        taken_back(|_| Some(Fault::Contended), before, Class::Transient);
        taken_back(|n| Some(if n == 1 { Fault::Contended } else { Fault::Refused }), before, Class::Refused);
        puts_fail(
            |n| (n < 4).then_some(Fault::Contended),
            before,
            |world, end| assert!(matches!(end.result, Ok(Done::Rotated { .. })) && world.is_usable("web")),
        );
    }
    // The object was removed under our If-Match: nobody published either.
    blocking(async {
        let config = config();
        let mut world = World::new(&config);
        overwrite(&world, b"garbage");
        world.meanwhile = Some((6, Box::new(|world| world.state.borrow_mut().objects.clear())));
        let outcome = only(run(&config, &world, &due()).await);
        assert_eq!(outcome.result.unwrap_err().class(), Class::Transient);
        assert!(world.state.borrow().tokens.is_empty());
    });
}

#[test]
fn a_process_that_was_frozen_between_two_puts_does_not_publish() {
    let frozen = |fault: Fault, tokens: usize, fits: fn(&Error) -> bool| {
        blocking(async {
            let config = config();
            let mut world = World::new(&config);
            world.meanwhile = Some((6, Box::new(|world| world.base.set(world.base.get().plus(HOUR)))));
            world.fault = Box::new(move |n, _| (n == 6).then_some(fault));
            let error = only(run(&config, &world, &due()).await).result.unwrap_err();
            assert!(fits(&error) && error.class() == Class::Transient, "{error}");
            assert_eq!(world.calls().iter().filter(|name| **name == "s3:PutObject").count(), 1);
            assert_eq!(world.state.borrow().tokens.len(), tokens);
        });
    };
    frozen(Fault::Contended, 0, |error| matches!(error, Error::TooLate { .. }));
    frozen(Fault::LandsLater, 1, |error| matches!(error, Error::UnknownFate { .. }));
}
