//! From the unprivileged host to the promoted one, and what becomes of it: whatever fails or dies, the disk
//! has exactly one identity, and Conjur takes it.

use super::super::*;
use super::scene::*;
use crate::effects;
use crate::store::tests::Faulty;
use imprint_core::error::chain;
use imprint_core::sealed::{Binding, Scope};
use imprint_core::{Class, Classified as _};
use rustix::io::Errno;

const PROMOTION: &str = "[promotion]\nhost_factory = \"db/factory\"\nhosts_branch = \"db/hosts\"\nproof_variable = \"db/password\"\n";
const UNPRIVILEGED: &str = "app/hosts/123456789012/eu-west-1/i-0123456789abcdef0";
const PROMOTED: &str = "db/hosts/123456789012/eu-west-1/i-0123456789abcdef0";

fn waiting(b: &mut Binding) {
    b.host_factory = "db/factory".parse().unwrap();
    b.hosts_branch = "db/hosts".parse().unwrap();
    b.scope = Scope::Instance { arn: ARN.to_owned() };
}

/// Enrolled without privileges.
fn enrolled() -> Scene {
    let scene = Scene::with(PROMOTION);
    scene.run().unwrap();
    scene
}

/// The same, and a token for the promotion waits.
fn awaited() -> Scene {
    let scene = enrolled();
    scene.publish(waiting);
    scene
}

fn promoted() -> Scene {
    let scene = awaited();
    scene.promote().unwrap();
    scene
}

fn host(scene: &Scene) -> String {
    files::read_back(&scene.config).unwrap().host_id.to_string()
}

fn dies(scene: &Scene, host: &str) {
    *scene.key_of(host).borrow_mut() = Some("another".to_owned());
    scene.state_with(|state| state.key_died_at = Some(scene.now()));
}

#[test]
fn a_host_is_promoted_once() {
    let scene = enrolled();
    assert!(matches!(scene.promote(), Ok(Promoted::NothingWaits { why, .. }) if why.contains("NoSuchKey")));
    assert_eq!(*scene.calls.borrow(), ["facts", "fetch"]);
    scene.publish(waiting);
    let end = scene.promote().unwrap();
    assert_eq!(end, Promoted::Moved { from: UNPRIVILEGED.to_owned(), to: PROMOTED.parse().unwrap() });
    // Proved before the disk changes, and once more with what is on it.
    let calls = ["facts", "fetch", "unseal", "redeem", "authenticate", "may_read", "authenticate"];
    assert_eq!(*scene.calls.borrow(), calls);
    assert_eq!((host(&scene).as_str(), scene.asked.borrow().1.as_str()), (PROMOTED, "db/password"));
    let state = scene.state();
    assert_eq!((state.host_id.as_str(), state.promoted, state.promoting.clone()), (PROMOTED, true, None));
    assert_eq!(state.made_for.host_factory, "db/factory");
    // The old key is nobody's business here.
    assert!(scene.valid.borrow().is_some());

    assert_eq!(scene.promote().unwrap(), Promoted::Already(PROMOTED.to_owned()));
    assert!(scene.calls.borrow().is_empty(), "{:?}", scene.calls.borrow());
    // The next boot.
    assert_eq!(scene.run().unwrap(), Outcome::NothingToDo(PROMOTED.to_owned()));
    assert!(scene.calls.borrow().is_empty(), "{:?}", scene.calls.borrow());
}

#[test]
fn what_is_not_enrolled_is_not_promoted() {
    let check = |scene: &Scene, class: Class, say: &str| {
        let error = scene.promote().unwrap_err();
        assert_eq!((error.class(), chain(&error).contains(say)), (class, true), "{}", chain(&error));
        assert!(error.hint().is_some() && scene.count("fetch") == 0);
    };
    let scene = Scene::with(PROMOTION);
    scene.publish(waiting);
    check(&scene, Class::Absent, "is not enrolled");
    check(&Scene::new(), Class::Config, "has no [promotion]");
    let clone = awaited();
    clone.firmware("i-0fedcba9876543210");
    check(&clone, Class::Absent, "is not enrolled");
    let foreign = awaited();
    let text = foreign.identity().unwrap().replace("app/hosts", "app/others");
    foreign.write(&foreign.config.files.identity.path, &text);
    *foreign.valid.borrow_mut() =
        files::read_back(&foreign.config).ok().map(|i| i.api_key.expose().to_owned());
    check(&foreign, Class::Tampered, "app/others");
}

#[test]
fn what_is_not_for_this_promotion_is_refused_before_the_redeem() {
    let check = |class: Option<Class>, change: &dyn Fn(&mut Binding), say: &str| {
        let scene = enrolled();
        scene.publish_as(Some("instances/i-0123456789abcdef0/db/factory.json"), |b| {
            waiting(b);
            change(b);
        });
        let before = scene.identity();
        let said = match scene.promote() {
            Ok(Promoted::NothingWaits { why, .. }) => (None, why),
            Err(error) => (Some(error.class()), chain(&error)),
            other => panic!("{other:?}"),
        };
        assert_eq!((said.0, said.1.contains(say)), (class, true), "{said:?}");
        assert_eq!((scene.count("redeem"), scene.identity() == before, scene.is_enrolled()), (0, true, true));
    };
    let tampered = Some(Class::Tampered);
    check(tampered, &|b| b.scope = Scope::Layer, "is of scope layer");
    check(tampered, &|b| b.scope = Scope::Instance { arn: ARN.replace("def0", "def1") }, "the token is for");
    check(
        tampered,
        &|b| b.host_factory = "app/web".parse().unwrap(),
        "host_factory is app/web, not db/factory",
    );
    check(
        tampered,
        &|b| b.hosts_branch = "app/hosts".parse().unwrap(),
        "hosts_branch is app/hosts, not db/hosts/",
    );
    check(tampered, &|b| b.appliance_url = "https://evil.example.org".parse().unwrap(), "appliance_url");
    check(tampered, &|b| b.ca_sha256 = vec![], "another CA");
    // One that is over is like none.
    check(None, &|b| b.expires_at = NOW.parse().unwrap(), "expired at");
}

#[test]
fn a_squatted_id_changes_nothing_and_is_tried_again() {
    let scene = awaited();
    let (before, key) = (scene.identity(), scene.valid.borrow().clone());
    scene.fail("redeem", status(403));
    let error = scene.promote().unwrap_err();
    assert_eq!((error.class(), scene.count("redeem")), (Class::Refused, 1));
    assert!(
        chain(&error).contains("is squatted") && error.hint().is_some_and(|hint| hint.contains("!delete"))
    );
    assert_eq!((scene.identity(), scene.valid.borrow().clone(), scene.is_enrolled()), (before, key, true));
    assert!(scene.state().last_failure.is_some());
    // The next boot is none the wiser; the next poll is.
    assert!(matches!(scene.run(), Ok(Outcome::NothingToDo(_))));
    assert!(matches!(scene.promote(), Ok(Promoted::Moved { .. })));
    assert_eq!(scene.state().last_failure, None);
}

#[test]
fn whichever_effect_fails_the_old_identity_stays_and_the_next_poll_ends_well() {
    for call in ["facts", "fetch", "unseal", "redeem", "authenticate", "may_read"] {
        for broken in
            [|| effects::Error::from(unexpected()), || effects::Error::from(lost()), || status(500).into()]
        {
            let scene = awaited();
            for _ in 0..=REPEATS {
                scene.fail(call, broken());
            }
            let error = scene.promote().unwrap_err();
            assert!(matches!(error.class(), Class::Protocol | Class::Transient), "{call}: {}", chain(&error));
            // One of the keys is of the enrollment.
            assert_eq!((host(&scene).as_str(), scene.keys.get() <= 4), (UNPRIVILEGED, true), "{call}");
            scene.script.borrow_mut().clear();
            assert!(matches!(scene.run(), Ok(Outcome::NothingToDo(_))), "{call}");
            scene.promote().unwrap();
            assert_eq!((host(&scene).as_str(), scene.is_enrolled()), (PROMOTED, true), "{call}");
        }
    }
    // The second login is with the bytes on the disk, which were proved before: they stay.
    let scene = awaited();
    scene.pass("authenticate");
    for _ in 0..=REPEATS {
        scene.fail("authenticate", status(500));
    }
    scene.promote().unwrap_err();
    scene.script.borrow_mut().clear();
    assert_eq!((host(&scene).as_str(), scene.state().promoted), (PROMOTED, false));
    assert_eq!(scene.run().unwrap(), Outcome::NothingToDo(PROMOTED.to_owned()));
    assert_eq!((scene.count("redeem"), scene.count("authenticate"), scene.state().promoted), (0, 1, true));
}

#[test]
fn a_key_that_never_authenticates_costs_nothing() {
    let scene = awaited();
    scene.spoiled.set(3);
    let error = scene.promote().unwrap_err();
    assert!(matches!(error, Error::NeverAuthenticates { redeems: 3, .. }), "{error:?}");
    assert_eq!((host(&scene).as_str(), scene.is_enrolled()), (UNPRIVILEGED, true));
    // One that dies between the proof and the look at the disk: the old one is put back.
    let scene = awaited();
    scene.pass("authenticate");
    scene.fail("authenticate", status(401));
    let error = scene.promote().unwrap_err();
    assert!(matches!(error, Error::NewKeyRefused(_)), "{error:?}");
    assert_eq!(
        (host(&scene).as_str(), scene.state().promoting.clone(), scene.is_enrolled()),
        (UNPRIVILEGED, None, true)
    );
    // A host that may not read what it was promoted for is no better than before.
    let scene = awaited();
    scene.may_read.set(false);
    assert!(matches!(scene.promote(), Err(Error::Proof { .. })));
    assert_eq!(host(&scene), UNPRIVILEGED);
}

#[test]
fn whichever_disk_call_fails_one_identity_is_there_and_the_next_poll_ends_well() {
    let count = Faulty::at(0, Errno::NOSPC);
    awaited().promote_on(&count).unwrap();
    let calls = count.calls.get();
    assert!(calls > 60, "{calls}");
    for at in 1..=calls {
        for for_good in [false, true] {
            let scene = awaited();
            // It fails, or from then on nothing is carried out, as when it is killed.
            let end = scene.promote_on(&Faulty { for_good, ..Faulty::at(at, Errno::IO) });
            assert!(end.is_err(), "call {at}: {end:?}");
            // Whichever of the next boot and the next poll comes first.
            if at % 2 == 0 {
                assert!(matches!(scene.boots(), Ok(Outcome::NothingToDo(_))), "call {at}");
                assert_eq!(scene.count("redeem"), 0, "call {at}");
                let draft = store::draft_of(&scene.config.files.identity.path).unwrap();
                let draft = std::fs::read_to_string(draft).unwrap_or_default();
                assert!(!draft.contains("key0"), "call {at} left a key behind");
            }
            scene.promote().unwrap_or_else(|e| panic!("call {at}: {}", chain(&e)));
            assert_eq!((host(&scene).as_str(), scene.is_enrolled()), (PROMOTED, true), "call {at}");
            assert!(
                scene.state().promoted && scene.keys.get() <= 3,
                "call {at}: {} redeems",
                scene.keys.get()
            );
        }
    }
}

#[test]
fn a_clone_of_a_promoted_instance_enrolls_as_itself_without_privileges() {
    for with_state in [true, false] {
        let scene = promoted();
        scene.firmware("i-0fedcba9876543210");
        if !with_state {
            std::fs::remove_file(scene.config.files.state_dir.join("state.json")).unwrap();
        }
        scene.run().unwrap();
        assert_eq!(host(&scene), UNPRIVILEGED.replace("i-0123456789abcdef0", "i-0fedcba9876543210"));
        assert!(!scene.state().promoted);
    }
    // The state alone is lost: the promoted key is shown, and kept.
    let scene = promoted();
    std::fs::remove_file(scene.config.files.state_dir.join("state.json")).unwrap();
    assert_eq!(scene.run().unwrap(), Outcome::NothingToDo(PROMOTED.to_owned()));
    assert_eq!((scene.count("authenticate"), scene.count("redeem"), scene.state().promoted), (1, 0, true));
}

#[test]
fn no_configuration_takes_a_promotion_away() {
    let mut scene = promoted();
    scene.config.promotion = None;
    assert_eq!(scene.run().unwrap(), Outcome::NothingToDo(PROMOTED.to_owned()));
    assert!(scene.calls.borrow().is_empty());
    let other =
        Scene::with(&PROMOTION.replace("db/factory", "cache/factory").replace("db/hosts", "db/cache"));
    scene.config.promotion = other.config.promotion;
    assert_eq!(scene.run().unwrap(), Outcome::NothingToDo(PROMOTED.to_owned()));
    // Another promotion is waited for.
    assert!(matches!(scene.promote(), Ok(Promoted::NothingWaits { host, .. }) if host == PROMOTED));
    scene.config.host_factory = "app/other".parse().unwrap();
    assert_eq!(scene.run().unwrap(), Outcome::NothingToDo(PROMOTED.to_owned()));
}

#[test]
fn a_promoted_key_that_dies_leads_back_once_a_day() {
    let scene = promoted();
    dies(&scene, PROMOTED);
    assert_eq!(scene.run().unwrap(), Outcome::Enrolled(UNPRIVILEGED.parse().unwrap()));
    assert_eq!(
        (host(&scene).as_str(), scene.is_enrolled(), scene.state().promoted),
        (UNPRIVILEGED, true, false)
    );
    // Promoted anew, and dead again on the same day: two parties.
    scene.promote().unwrap();
    dies(&scene, PROMOTED);
    let error = scene.fails(Class::Tampered, "two parties hold the host id");
    assert!(error.hint().is_some_and(|hint| hint.contains("--again")));
    assert_eq!((host(&scene).as_str(), scene.count("redeem")), (PROMOTED, 0));
    scene.wishes.set(Wishes { again: true, take_over: false });
    scene.run().unwrap();
    assert_eq!(host(&scene), UNPRIVILEGED);

    // Asked for while it lives, or dead only to the eye: it is shown, and kept.
    let scene = promoted();
    let key = scene.promoted.borrow().clone();
    dies(&scene, PROMOTED);
    *scene.promoted.borrow_mut() = key;
    assert_eq!(scene.run().unwrap(), Outcome::NothingToDo(PROMOTED.to_owned()));
    assert_eq!((scene.count("authenticate"), scene.state().key_died_at), (1, None));
    scene.wishes.set(Wishes { again: true, take_over: false });
    assert_eq!(scene.run().unwrap(), Outcome::NothingToDo(PROMOTED.to_owned()));
    assert_eq!((scene.count("authenticate"), scene.count("redeem")), (1, 0));
}

#[test]
fn a_promoted_key_is_rotated_and_a_lost_one_leads_back() {
    let scene = promoted();
    assert!(matches!(scene.rotate(&store::Real), Ok(Rotated::ByItself(host)) if host.as_str() == PROMOTED));
    assert!(scene.state().promoted && scene.is_enrolled());
    scene.fail("rotate_key", lost());
    let error = scene.rotate(&store::Real).unwrap_err();
    assert!(matches!(error, Error::PromotedKeyLost(_)), "{error:?}");
    assert_eq!(scene.count("redeem"), 0);
    scene.run().unwrap();
    assert_eq!((host(&scene).as_str(), scene.is_enrolled()), (UNPRIVILEGED, true));
    // Cut off in the middle, with the old key still good.
    let scene = promoted();
    scene.state_with(|state| state.phase = Phase::Rotating);
    assert_eq!(scene.run().unwrap(), Outcome::NothingToDo(PROMOTED.to_owned()));
    assert_eq!((scene.state().phase, scene.count("authenticate")), (Phase::Enrolled, 1));
    // The file is gone: nothing is left of the promotion here.
    std::fs::remove_file(&scene.config.files.identity.path).unwrap();
    scene.run().unwrap();
    assert_eq!(host(&scene), UNPRIVILEGED);
}

#[test]
fn a_lost_file_does_not_lift_the_rule_of_once_a_day() {
    let scene = promoted();
    let at = scene.now();
    scene.state_with(|state| state.re_enrolled_at = Some(at));
    std::fs::remove_file(&scene.config.files.identity.path).unwrap();
    scene.run().unwrap();
    assert_eq!((host(&scene).as_str(), scene.state().re_enrolled_at), (UNPRIVILEGED, Some(at)));
}

#[test]
fn a_follower_that_lags_is_waited_for_before_the_disk_changes() {
    let lagging = || {
        let scene = Scene::with(&format!("leader_url = \"https://leader.example.org\"\n{PROMOTION}"));
        scene.run().unwrap();
        scene.publish(waiting);
        scene
    };
    let scene = lagging();
    for _ in 0..3 {
        scene.fail("authenticate at the appliance", status(401));
    }
    scene.promote().unwrap();
    assert_eq!((host(&scene).as_str(), scene.count("redeem")), (PROMOTED, 1));
    let scene = lagging();
    for _ in 0..=REPEATS {
        scene.fail("authenticate at the appliance", status(401));
    }
    let error = scene.promote().unwrap_err();
    assert!(matches!(error, Error::Follower { .. }), "{error:?}");
    assert_eq!((host(&scene).as_str(), scene.is_enrolled()), (UNPRIVILEGED, true));
}

#[test]
fn a_rehearsal_asks_nobody_about_a_promotion() {
    let scene = promoted();
    assert_eq!(scene.rehearse().unwrap(), Rehearsed::NothingToDo(PROMOTED.to_owned()));
    scene.state_with(|state| state.phase = Phase::Rotating);
    assert_eq!(scene.rehearse().unwrap(), Rehearsed::WouldShow(PROMOTED.to_owned()));
    assert!(scene.calls.borrow().is_empty());
}
