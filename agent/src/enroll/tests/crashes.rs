//! A disk or a server that fails at any call, and a death at any call: nothing is ever partial, and the
//! next run ends well.

use super::super::*;
use super::scene::*;
use crate::effects;
use crate::identity::Identity;
use crate::store::tests::Faulty;
use imprint_core::error::chain;
use imprint_core::{Class, Classified as _};
use rustix::io::Errno;

#[test]
fn whichever_disk_call_fails_nothing_is_partial_and_the_next_run_ends_well() {
    let count = Faulty::at(0, Errno::NOSPC);
    let scene = Scene::new();
    scene.run_on(&count).unwrap();
    let calls = count.calls.get();
    assert!(calls > 60, "{calls}");
    for at in 1..=calls {
        let scene = Scene::new();
        let error = match scene.run_on(&Faulty::at(at, Errno::NOSPC)) {
            Err(error) => error,
            Ok(outcome) => panic!("call {at}: {outcome:?}"),
        };
        assert_eq!(error.class(), Class::Storage, "call {at}: {}", chain(&error));
        assert!(error.hint().is_some());
        if let Some(text) = scene.identity() {
            assert!(Identity::parse(text.as_bytes()).is_ok(), "call {at} left {text:?}");
        }
        scene.run().unwrap();
        assert!(scene.is_enrolled(), "call {at}");
        assert!(scene.keys.get() <= 2, "call {at}");
    }
}

#[test]
fn wherever_it_is_killed_the_next_run_ends_well_and_leaves_nothing_behind() {
    let enrolled = || {
        let scene = Scene::new();
        scene.run().unwrap();
        scene
    };
    let cloned = || {
        let scene = enrolled();
        scene.firmware("i-0fedcba9876543210");
        scene
    };
    let damaged = || {
        let scene = enrolled();
        scene.write(&scene.config.files.identity.path, "");
        scene
    };
    for (what, machine) in
        [("first boot", &Scene::new as &dyn Fn() -> Scene), ("clone", &cloned), ("damage", &damaged)]
    {
        let count = Faulty::at(0, Errno::IO);
        machine().run_on(&count).unwrap();
        let calls = count.calls.get();
        assert!(calls > 40, "{what}: {calls}");
        for at in 1..=calls {
            let scene = machine();
            let before = (scene.identity(), scene.keys.get());
            let _killed = scene.dies_on(&Faulty { for_good: true, ..Faulty::at(at, Errno::IO) });
            if let Some(text) = scene.identity().filter(|_| scene.identity() != before.0) {
                assert!(Identity::parse(text.as_bytes()).is_ok(), "{what}, call {at} left {text:?}");
            }
            // What is left besides, drafts among it, goes with the next run.
            scene.run().unwrap_or_else(|e| panic!("{what}, call {at}: {}", chain(&e)));
            assert!(scene.is_enrolled(), "{what}, call {at}");
            assert!(scene.keys.get() - before.1 <= 2, "{what}, call {at}: {} redeems", scene.keys.get());
        }
    }
}

#[test]
fn whichever_effect_fails_nothing_is_partial_and_the_next_run_ends_well() {
    for call in ["facts", "fetch", "unseal", "redeem", "authenticate", "may_read"] {
        for broken in
            [|| effects::Error::from(unexpected()), || effects::Error::from(lost()), || status(500).into()]
        {
            let scene = Scene::with("proof_variable = \"app/db/password\"\n");
            for _ in 0..=REPEATS {
                scene.fail(call, broken());
            }
            let error = scene.run().unwrap_err();
            assert!(matches!(error.class(), Class::Protocol | Class::Transient), "{call}: {}", chain(&error));
            let stored = matches!(call, "authenticate" | "may_read");
            assert_eq!(scene.identity().is_some(), stored, "{call}");
            scene.script.borrow_mut().clear();
            scene.run().unwrap();
            assert!(scene.is_enrolled(), "{call}");
        }
    }
}
