//! What a key may go through: rotation with every loss on the way, death, a second death, a rehearsal.

use super::super::*;
use super::scene::*;
use crate::effects;
use crate::store::tests::Faulty;
use imprint_core::conjur;
use imprint_core::error::chain;
use imprint_core::{Class, Classified as _};
use rustix::io::Errno;

fn enrolled() -> Scene {
    let scene = Scene::new();
    scene.run().unwrap();
    scene
}

#[test]
fn a_key_is_rotated_and_proved() {
    let scene = enrolled();
    let before = scene.identity();
    assert!(matches!(scene.rotate(&store::Real), Ok(Rotated::ByItself(_))));
    assert_eq!(*scene.calls.borrow(), ["rotate_key", "authenticate"]);
    assert!(scene.is_enrolled() && scene.identity() != before);
    assert_eq!(scene.state().last_verify.map(|v| v.outcome).as_deref(), Some("ok"));
    assert!(matches!(scene.run(), Ok(Outcome::NothingToDo(_))));
}

#[test]
fn only_an_enrolled_host_has_a_key_to_rotate() {
    let check = |spoil: &dyn Fn(&Scene)| {
        let scene = enrolled();
        spoil(&scene);
        let before = scene.identity();
        let error = scene.rotate(&store::Real).unwrap_err();
        assert_eq!((error.class(), scene.count("rotate_key")), (Class::Absent, 0), "{}", chain(&error));
        assert!(error.hint().is_some_and(|hint| hint.contains("imprint enroll")));
        assert_eq!(scene.identity(), before);
    };
    check(&|s| std::fs::remove_file(&s.config.files.identity.path).unwrap());
    check(&|s| s.write(&s.config.files.identity.path, ""));
    check(&|s| s.write(&s.config.files.state_dir.join("state.json"), "x"));
    check(&|s| s.firmware("i-0fedcba9876543210"));
}

/// It may be a clone, and the key its parent's.
#[test]
fn where_nobody_tells_which_instance_this_is_no_key_is_rotated() {
    let scene = enrolled();
    std::fs::remove_dir_all(&scene.config.sys_root).unwrap();
    for _ in 0..=2 * REPEATS {
        scene.fail("facts", effects::Error::Imds(crate::imds::Error::Disabled));
    }
    assert!(matches!(scene.run(), Ok(Outcome::NothingToDo(_))));
    let before = scene.identity();
    let error = scene.rotate(&store::Real).unwrap_err();
    assert_eq!((error.class(), scene.count("rotate_key")), (Class::Config, 0), "{}", chain(&error));
    assert_eq!((scene.identity(), scene.state().phase), (before.clone(), Phase::Enrolled));

    // It answers after all: another instance, or this one.
    scene.script.borrow_mut().clear();
    scene.fail("facts", effects::Error::Imds(crate::imds::Error::Disabled));
    "i-0fedcba9876543210".clone_into(&mut scene.instance.borrow_mut());
    assert_eq!(scene.rotate(&store::Real).unwrap_err().class(), Class::Absent);
    assert_eq!((scene.count("rotate_key"), scene.identity()), (0, before));
    scene.fail("facts", effects::Error::Imds(crate::imds::Error::Disabled));
    HERE.clone_into(&mut scene.instance.borrow_mut());
    assert!(matches!(scene.rotate(&store::Real), Ok(Rotated::ByItself(_))));
    assert!(scene.is_enrolled());
}

#[test]
fn a_rotation_that_ends_in_a_redeem_keeps_the_host() {
    let mut scene = Scene::new();
    scene.config.host_id = "app/hosts/{hostname}".parse().unwrap();
    scene.run().unwrap();
    // The machine was renamed since.
    let mut state = scene.state();
    state.host_id = "app/hosts/web-0".to_owned();
    state.write(&store::Real, &scene.config.files.state_dir).unwrap();
    let identity = scene.identity().unwrap();
    scene.write(&scene.config.files.identity.path, &identity.replace("web-1", "web-0"));
    scene.fail("rotate_key", lost());
    let end = scene.rotate(&store::Real).unwrap();
    assert!(matches!(&end, Rotated::ByRedeem(host) if host.as_str() == "app/hosts/web-0"), "{end:?}");
    assert!(scene.is_enrolled() && scene.identity().unwrap().contains("login host/app/hosts/web-0\n"));
    assert!(matches!(scene.run(), Ok(Outcome::NothingToDo(_))));
}

#[test]
fn a_reply_that_is_lost_costs_no_identity() {
    // It was carried out: both keys are gone, and a redeem gives the next.
    let scene = enrolled();
    scene.fail("rotate_key", lost());
    assert!(matches!(scene.rotate(&store::Real), Ok(Rotated::ByRedeem(_))));
    assert_eq!((scene.count("rotate_key"), scene.count("redeem"), scene.is_enrolled()), (1, 1, true));

    // It was not: the key authenticates still, and the rotation is asked for again.
    for broken in [504, 500, 503] {
        let scene = enrolled();
        scene.fail("rotate_key", status(broken));
        assert!(matches!(scene.rotate(&store::Real), Ok(Rotated::ByItself(_))), "{broken}");
        assert_eq!((scene.count("rotate_key"), scene.count("redeem"), scene.is_enrolled()), (2, 0, true));
    }

    // A server that answers 500 after it has done it is found out by its next 401.
    let scene = enrolled();
    *scene.valid.borrow_mut() = None;
    scene.fail("rotate_key", status(500));
    assert!(matches!(scene.rotate(&store::Real), Ok(Rotated::ByRedeem(_))));
    assert!(scene.is_enrolled());

    // Another party was faster than the proof: that is no loss of ours to make good in silence.
    let scene = enrolled();
    scene.spoiled.set(1);
    let error = scene.rotate(&store::Real).unwrap_err();
    assert_eq!((error.class(), scene.count("redeem")), (Class::Refused, 0), "{}", chain(&error));
    assert!(scene.state().key_died_at.is_some() && error.hint().is_some());
    assert!(matches!(scene.run(), Ok(Outcome::Enrolled(_))));
    assert_eq!((scene.count("redeem"), scene.is_enrolled()), (1, true));

    // Nobody answers any more: the doubt is noted, and the next enroll finds out.
    let scene = enrolled();
    scene.fail("rotate_key", lost());
    for _ in 0..=REPEATS {
        scene.fail("authenticate", status(503));
    }
    let error = scene.rotate(&store::Real).unwrap_err();
    assert_eq!((error.class(), scene.state().phase), (Class::Transient, Phase::Rotating));
    scene.script.borrow_mut().clear();
    assert!(matches!(scene.run(), Ok(Outcome::Enrolled(_))));
    assert_eq!((scene.count("redeem"), scene.is_enrolled()), (1, true));
}

#[test]
fn a_refused_rotation_changes_nothing() {
    let scene = enrolled();
    let before = scene.identity();
    scene.fail("rotate_key", status(403));
    let error = scene.rotate(&store::Real).unwrap_err();
    assert_eq!(
        (error.class(), scene.identity() == before, scene.is_enrolled()),
        (Class::Refused, true, true)
    );
    for _ in 0..=REPEATS {
        scene.fail("rotate_key", conjur_away());
    }
    let error = scene.rotate(&store::Real).unwrap_err();
    assert_eq!((error.class(), scene.state().phase), (Class::Transient, Phase::Enrolled));
    scene.script.borrow_mut().clear();
    assert!(matches!(scene.run(), Ok(Outcome::NothingToDo(_))));

    // The key was dead before: that is noted, for enroll to judge.
    *scene.valid.borrow_mut() = None;
    let error = scene.rotate(&store::Real).unwrap_err();
    assert_eq!((error.class(), scene.count("redeem")), (Class::Refused, 0));
    assert!(scene.state().key_died_at.is_some());
}

/// No connection: nothing was sent.
fn conjur_away() -> conjur::Error {
    let conjur::Error::Interrupted { operation, server, source } = lost() else { panic!() };
    conjur::Error::Unreachable { operation, server, source }
}

#[test]
fn wherever_a_rotation_dies_the_next_run_ends_with_an_identity() {
    let count = Faulty::at(0, Errno::IO);
    enrolled().rotate(&count).unwrap();
    let calls = count.calls.get();
    assert!(calls > 20, "{calls}");
    for at in 1..=calls {
        let scene = enrolled();
        let before = scene.identity();
        let Err(error) = scene.rotate(&Faulty::at(at, Errno::IO)) else { panic!("call {at} of {calls}") };
        assert_eq!(error.class(), Class::Storage, "call {at}: {}", chain(&error));
        // As much as a crash there would have left.
        let end = scene.run().unwrap_or_else(|e| panic!("call {at}: {}", chain(&e)));
        assert!(scene.is_enrolled(), "call {at}: {end:?}");
        assert!(scene.keys.get() <= 3, "call {at}");
        if scene.keys.get() == 1 {
            assert_eq!(scene.identity(), before, "call {at}");
        }
    }
}

#[test]
fn a_dead_key_is_replaced_once_a_day() {
    let scene = enrolled();
    let dies = |scene: &Scene| {
        *scene.valid.borrow_mut() = None;
        let mut state = scene.state();
        state.key_died_at = Some(scene.now.get());
        state.write(&store::Real, &scene.config.files.state_dir).unwrap();
    };
    dies(&scene);
    assert!(matches!(scene.run(), Ok(Outcome::Enrolled(_))));
    assert_eq!((scene.count("redeem"), scene.is_enrolled()), (1, true));
    let state = scene.state();
    assert_eq!((state.key_died_at, state.re_enrolled_at), (None, Some(scene.now.get())));

    // The second time within a day it stops, and the dead key stays as it is.
    dies(&scene);
    let before = scene.identity();
    scene.fails(Class::Tampered, "two parties hold the host id");
    assert_eq!((scene.count("redeem"), scene.identity()), (0, before));
    scene.wishes.set(Wishes { again: true, take_over: false });
    assert!(matches!(scene.run(), Ok(Outcome::Enrolled(_))) && scene.is_enrolled());
    scene.wishes.set(Wishes::default());

    dies(&scene);
    scene.now.set(scene.now.get().plus(Duration::from_secs(24 * 60 * 60)));
    scene.publish(|b| b.expires_at = scene.now.get().plus(Duration::from_secs(60)));
    assert!(matches!(scene.run(), Ok(Outcome::Enrolled(_))) && scene.is_enrolled());

    // A false alarm costs neither a redeem nor the one of the day.
    let scene = enrolled();
    let key = scene.valid.borrow().clone();
    dies(&scene);
    *scene.valid.borrow_mut() = key;
    assert!(matches!(scene.run(), Ok(Outcome::Enrolled(_))));
    assert_eq!((scene.count("redeem"), scene.state().re_enrolled_at), (0, None));

    // One that dies on the way has used up the one of its day, and goes on where it was.
    let scene = enrolled();
    dies(&scene);
    scene.fail("redeem", status(403));
    scene.fails(Class::Refused, "is owned by");
    assert_eq!(scene.state().re_enrolled_at, Some(scene.now.get()));
    assert!(matches!(scene.run(), Ok(Outcome::Enrolled(_))) && scene.is_enrolled());
    dies(&scene);
    scene.fails(Class::Tampered, "two parties hold the host id");
}

#[test]
fn who_kills_every_key_at_once_is_not_redeemed_against_for_ever() {
    let scene = Scene::new();
    let fails = || {
        scene.spoiled.set(9);
        scene.fails(Class::Refused, "was redeemed 3 times, and no key authenticates");
        assert_eq!(scene.count("redeem"), 3);
    };
    fails();
    // Once in a day by itself, as with any key that died.
    fails();
    let before = scene.identity();
    for _ in 0..3 {
        scene.fails(Class::Tampered, "two parties hold the host id");
        assert_eq!((scene.count("redeem"), scene.identity()), (0, before.clone()));
    }
    scene.spoiled.set(0);
    scene.wishes.set(Wishes { again: true, take_over: false });
    assert!(matches!(scene.run(), Ok(Outcome::Enrolled(_))) && scene.is_enrolled());
    assert_eq!(scene.state().key_died_at, None);

    // It may have been a restriction that was lifted since: then the key is as good as any.
    let scene = Scene::new();
    scene.spoiled.set(9);
    scene.fails(Class::Refused, "no key authenticates");
    *scene.valid.borrow_mut() = files::read_back(&scene.config).ok().map(|i| i.api_key.expose().to_owned());
    assert!(matches!(scene.run(), Ok(Outcome::Enrolled(_))) && scene.is_enrolled());
    assert_eq!((scene.count("redeem"), scene.state().re_enrolled_at), (0, None));

    let scene = Scene::with("re_enroll = \"never\"\n");
    scene.spoiled.set(9);
    scene.fails(Class::Refused, "no key authenticates");
    scene.fails(Class::Refused, "does not take the key of");
    assert_eq!(scene.count("redeem"), 0);
}

#[test]
fn a_rehearsal_does_all_but_redeem_and_changes_nothing() {
    let scene = Scene::new();
    let Ok(Rehearsed::WouldRedeem { host, why, until, .. }) = scene.rehearse() else { panic!() };
    assert_eq!(*scene.calls.borrow(), ["facts", "fetch", "unseal", "health"]);
    assert!(host.as_str().ends_with(HERE) && why == "first boot" && until.is_some());
    assert!(scene.identity().is_none() && !scene.config.files.state_dir.join("state.json").exists());

    let check = |spoil: &dyn Fn(&Scene), class: Class| {
        let scene = Scene::new();
        spoil(&scene);
        let error = scene.rehearse().unwrap_err();
        assert_eq!((error.class(), scene.count("redeem")), (class, 0), "{}", chain(&error));
        assert!(scene.identity().is_none());
    };
    check(&|s| s.publish(|b| b.account = "dev".parse().unwrap()), Class::Tampered);
    check(
        &|s| {
            s.fail(
                "health",
                conjur::Error::Unexpected {
                    operation: "health",
                    server: "x".to_owned(),
                    why: "is HTML".to_owned(),
                },
            )
        },
        Class::Protocol,
    );
    check(&|s| std::fs::create_dir(&s.config.files.identity.path).unwrap(), Class::Storage);
    check(&|s| s.fail("facts", effects::Error::Imds(crate::imds::Error::Disabled)), Class::Config);

    // A clone: nothing is removed before it is meant.
    let scene = enrolled();
    assert!(matches!(scene.rehearse(), Ok(Rehearsed::NothingToDo(_))));
    scene.firmware("i-0fedcba9876543210");
    let before = scene.identity();
    let Ok(Rehearsed::WouldRedeem { why, .. }) = scene.rehearse() else { panic!() };
    assert!(why.contains(HERE) && scene.identity() == before && before.is_some());
}
