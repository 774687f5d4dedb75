//! What the machine may bring: first boots, damage, clones, other tools, a disk that fails.

use super::super::*;
use super::scene::*;
use crate::config::tests::CA;
use crate::effects;
use crate::store::tests::Faulty;
use imprint_core::token::Fingerprint;
use imprint_core::{Class, Classified as _};
use rustix::fs::StatxAttributes;
use rustix::io::Errno;

#[test]
fn first_boot_then_nothing() {
    let scene = Scene::new();
    let host = "app/hosts/123456789012/eu-west-1/i-0123456789abcdef0";
    assert_eq!(scene.run().unwrap(), Outcome::Enrolled(host.parse().unwrap()));
    assert_eq!(*scene.calls.borrow(), ["facts", "fetch", "unseal", "redeem", "authenticate"]);
    assert!(scene.is_enrolled());
    assert_eq!(std::fs::read_to_string(&scene.config.files.pem.path).unwrap(), *CA);
    let conf = std::fs::read_to_string(&scene.config.files.conf.path).unwrap();
    assert!(
        conf.starts_with("account: prod\nappliance_url: https://conjur.example.org\ncert_file: "),
        "{conf}"
    );
    let Ok(Found::Good(state)) = state::read(&scene.config.files.state_dir) else { panic!() };
    assert_eq!(state.token.as_deref(), Some(Fingerprint::of(TOKEN.as_bytes()).as_str()));

    assert_eq!(scene.opened.get(), 1);
    assert_eq!(scene.run().unwrap(), Outcome::NothingToDo(host.to_owned()));
    assert_eq!(scene.opened.get(), 1, "a connection was opened for nothing");
    assert!(scene.calls.borrow().is_empty(), "{:?}", scene.calls);
    // What is gone and holds no secret comes back without a request.
    std::fs::remove_file(&scene.config.files.conf.path).unwrap();
    std::fs::remove_file(&scene.config.files.pem.path).unwrap();
    scene.run().unwrap();
    assert!(
        scene.calls.borrow().is_empty()
            && scene.config.files.conf.path.exists()
            && scene.config.files.pem.path.exists()
    );
}

#[test]
fn a_new_ca_in_the_configuration_reaches_the_clients() {
    let scene = Scene::new();
    scene.run().unwrap();
    let new = rcgen::generate_simple_self_signed(vec!["new.example.org".into()]).unwrap().cert.pem();
    for pem in [format!("{}{new}", *CA), new] {
        let ca = imprint_core::door::CaBundle::from_pem(&pem).unwrap();
        let on = Config { ca: Some(ca), ..scene.config.clone() };
        crate::files::restore(&store::Real, &on).unwrap();
        assert_eq!(std::fs::read_to_string(&scene.config.files.pem.path).unwrap(), pem);
    }
    // By itself at the next enroll, without a request; what an operator linked there stays.
    assert!(matches!(scene.run(), Ok(Outcome::NothingToDo(_))) && scene.calls.borrow().is_empty());
    assert_eq!(std::fs::read_to_string(&scene.config.files.pem.path).unwrap(), *CA);
    std::fs::remove_file(&scene.config.files.pem.path).unwrap();
    std::os::unix::fs::symlink("/etc/ssl/certs", &scene.config.files.pem.path).unwrap();
    assert!(matches!(scene.run(), Ok(Outcome::NothingToDo(_))));
    assert!(scene.config.files.pem.path.is_symlink());
}

#[test]
fn what_happened_to_the_files_is_mended() {
    let scene = Scene::new();
    scene.run().unwrap();
    let (identity, state) =
        (scene.config.files.identity.path.clone(), scene.config.files.state_dir.join("state.json"));
    let good = scene.identity().unwrap();
    for damage in [
        String::new(),
        good[..good.len() / 2].to_owned(),
        "garbage".to_owned(),
        good.replace("host/", "user/host "),
    ] {
        scene.write(&identity, &damage);
        if damage.contains("user/") {
            scene.fails(Class::Tampered, "has entries of another program, and cannot be edited: line 2");
            assert_eq!(scene.identity(), Some(damage));
            scene.write(&identity, &good);
        }
        let _either = scene.run().unwrap();
    }
    std::fs::remove_file(&identity).unwrap();
    assert!(matches!(scene.run(), Ok(Outcome::Enrolled(_))) && scene.is_enrolled());
    for damage in ["", "{", "{\"version\": 7}"] {
        scene.write(&state, damage);
        assert!(matches!(scene.run(), Ok(Outcome::Enrolled(_))) && scene.is_enrolled(), "{damage}");
        assert_eq!(scene.count("redeem"), 0);
    }
}

#[test]
fn what_is_on_the_disk_is_tried_before_a_redeem() {
    let interrupted = || {
        let scene = Scene::new();
        for _ in 0..=REPEATS {
            scene.fail("authenticate", status(503));
        }
        scene.fails(Class::Transient, "is stored, but could not be proved");
        scene.script.borrow_mut().clear();
        scene
    };
    let scene = interrupted();
    std::fs::remove_file(&scene.config.files.conf.path).unwrap();
    assert!(matches!(scene.run(), Ok(Outcome::Enrolled(_))));
    assert_eq!(*scene.calls.borrow(), ["facts", "authenticate"]);
    assert!(scene.is_enrolled() && scene.config.files.conf.path.exists());
    assert!(matches!(scene.run(), Ok(Outcome::NothingToDo(_))));

    // Only the leader's no costs a redeem; what is not known costs nothing.
    let scene = interrupted();
    *scene.valid.borrow_mut() = None;
    scene.run().unwrap();
    assert_eq!((scene.count("authenticate"), scene.count("redeem"), scene.is_enrolled()), (2, 1, true));
    let scene = interrupted();
    scene.fail("authenticate", status(403));
    scene.fails(Class::Refused, "could not be proved");
    for _ in 0..=REPEATS {
        scene.fail("authenticate", status(503));
    }
    scene.fails(Class::Transient, "could not be proved");
    assert_eq!(scene.count("redeem"), 0);

    // One that may not read the proof is not kept in silence.
    let scene = Scene::with("proof_variable = \"app/db/password\"\n");
    scene.may_read.set(false);
    for redeems in [1, 0] {
        scene.fails(Class::Refused, "may not read variable");
        assert_eq!(scene.count("redeem"), redeems);
    }

    // The identity of another factory authenticates too, and is not what the configuration asks for.
    let scene = Scene::new();
    scene.run().unwrap();
    let config = Config { host_factory: "app/db".parse().unwrap(), ..scene.config.clone() };
    let scene = Scene { config, ..scene };
    scene.publish(|b| b.host_factory = "app/db".parse().unwrap());
    "prod:host_factory:app/db".clone_into(&mut scene.owner.borrow_mut());
    for _ in 0..2 {
        scene.fail("redeem", status(403));
        scene.fails(Class::Refused, "is owned by");
        assert_eq!((scene.count("authenticate"), scene.count("redeem")), (0, 1));
    }
    scene.run().unwrap();
    assert!(scene.is_enrolled());
}

#[test]
fn the_identitys_owner_group_and_mode_are_kept() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
    let scene = Scene::new();
    scene.run().unwrap();
    let path = &scene.config.files.identity.path;
    let good = scene.identity();
    let looks = || std::fs::metadata(path).map(|m| (m.mode() & 0o7777, m.uid(), m.gid(), m.ino())).unwrap();
    let expect = looks();
    let check = |on: &Scene, mended: bool| {
        let before = looks();
        assert!(matches!(on.run(), Ok(Outcome::NothingToDo(_))));
        assert!(on.calls.borrow().is_empty(), "{:?}", on.calls);
        assert_eq!(on.identity(), good);
        assert_eq!(looks().3 != before.3, mended, "{before:?}");
    };
    check(&scene, false);
    for mode in [0o644, 0o666, 0o4600, 0o400] {
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        check(&scene, true);
        assert_eq!(looks().0, expect.0);
    }
    if rustix::process::geteuid().is_root() {
        for (owner, group) in [(Some(65534), None), (None, Some(50))] {
            chown(path, owner, group).unwrap();
            check(&scene, true);
            assert_eq!((looks().1, looks().2), (expect.1, expect.2));
        }
    }
    // Nor is it left as it was when the configuration says otherwise now.
    let mut config = scene.config.clone();
    config.files.identity.mode = 0o640;
    let path = config.files.identity.path.clone();
    let scene = Scene { config, ..scene };
    assert!(matches!(scene.run(), Ok(Outcome::NothingToDo(_))));
    assert_eq!(std::fs::metadata(path).unwrap().mode() & 0o7777, 0o640);
}

#[test]
fn a_clone_drops_its_parents_identity_and_enrolls_as_itself() {
    let scene = Scene::new();
    scene.run().unwrap();
    scene.firmware("i-0fedcba9876543210");
    // Even when it gets no further, the parent's identity is gone.
    scene.fail("facts", effects::Error::Imds(crate::imds::Error::Disabled));
    scene.fails(Class::Config, "refuses to give a session");
    assert_eq!(scene.identity(), None);
    assert!(
        matches!(scene.run(), Ok(Outcome::Enrolled(host)) if host.as_str().ends_with("i-0fedcba9876543210"))
    );
    assert!(scene.is_enrolled());

    let scene = Scene::new();
    let config = Config { host_id: "app/{hostname}".parse().unwrap(), ..scene.config.clone() };
    let scene = Scene { config, ..scene };
    scene.run().unwrap();
    scene.firmware("i-0fedcba9876543210");
    scene.fails(Class::Config, "is that of i-0123456789abcdef0, from whose image");
    assert_eq!((scene.identity(), scene.count("redeem")), (None, 0));
}

#[test]
fn another_tools_identity_is_never_overwritten() {
    let scene = Scene::new();
    let theirs = "machine https://conjur.example.org/authn\n    login host/theirs\n    password 0123456789abcdefghjk\n";
    let shared = "machine example.org login me password \"x\n";
    for (text, say) in [(theirs, "is of theirs at"), (shared, "cannot be edited: line 1 has quotes")] {
        scene.write(&scene.config.files.identity.path, text);
        scene.fails(Class::Tampered, say);
        assert_eq!((scene.identity().as_deref(), scene.count("redeem")), (Some(text), 0));
    }
}

#[test]
fn entries_of_others_stay_beside_ours() {
    let scene = Scene::new();
    let theirs = "# mine\nmachine example.org login me password x\ndefault login you password z\n";
    scene.write(&scene.config.files.identity.path, theirs);
    assert!(matches!(scene.run(), Ok(Outcome::Enrolled(_))) && scene.is_enrolled());
    let text = scene.identity().unwrap();
    let entry = files::read_back(&scene.config).unwrap().to_netrc();
    assert_eq!(text.replace(&*entry, ""), theirs);
    assert!(matches!(scene.run(), Ok(Outcome::NothingToDo(_))));
    // Of a clone, only ours goes.
    scene.firmware("i-0fedcba9876543210");
    scene.fail("facts", effects::Error::Imds(crate::imds::Error::Disabled));
    scene.fails(Class::Config, "");
    assert_eq!(scene.identity().as_deref(), Some(theirs));
    "i-0fedcba9876543210".clone_into(&mut scene.instance.borrow_mut());
    scene.run().unwrap();
    assert!(
        scene.is_enrolled() && scene.identity().unwrap().starts_with(theirs.split("default").next().unwrap())
    );
}

#[test]
fn in_a_shared_file_no_entry_of_a_former_conjur_is_left() {
    const THEIRS: &str = "machine example.org\n    login me\n    password secret\n";
    let shared = || {
        let scene = Scene::new();
        scene.write(&scene.config.files.identity.path, THEIRS);
        scene.run().unwrap();
        let text = scene.identity().unwrap();
        assert!(
            text.starts_with(THEIRS) && text.contains("machine https://conjur.example.org/authn"),
            "{text}"
        );
        let url: imprint_core::name::ApplianceUrl = "https://new.example.org".parse().unwrap();
        let config = Config { appliance_url: url.clone(), leader_url: url.clone(), ..scene.config.clone() };
        let scene = Scene { config, ..scene };
        scene.publish(|b| {
            b.appliance_url = url.clone();
            b.leader_url = url.clone();
        });
        scene
    };
    let check = |scene: &Scene| {
        let text = scene.identity().unwrap();
        assert!(text.starts_with(THEIRS) && text.contains("machine https://new.example.org/authn"), "{text}");
        assert!(!text.contains("machine https://conjur.example.org/authn"), "{text}");
        assert!(scene.is_enrolled());
    };
    let scene = shared();
    scene.run().unwrap();
    check(&scene);
    // After a run that was cut off, too.
    let scene = shared();
    scene.fail("redeem", status(403));
    scene.fails(Class::Refused, "is owned by");
    scene.run().unwrap();
    check(&scene);
    // A clone keeps no key of its parent, whichever Conjur it was for.
    let scene = shared();
    scene.firmware("i-0fedcba9876543210");
    scene.fail("facts", effects::Error::Imds(crate::imds::Error::Disabled));
    scene.fails(Class::Config, "refuses to give a session");
    assert_eq!(scene.identity().as_deref(), Some(THEIRS));
    scene.run().unwrap();
    check(&scene);
}

#[test]
fn without_firmware_the_metadata_service_tells() {
    let scene = Scene::new();
    std::fs::remove_dir_all(&scene.config.sys_root).unwrap();
    scene.run().unwrap();
    assert_eq!(scene.count("facts"), 1);
    assert!(matches!(scene.run(), Ok(Outcome::NothingToDo(_))));
    assert_eq!(*scene.calls.borrow(), ["facts"]);
    // One failed answer is asked for again; none at all costs no identity, and little time.
    let busy = || effects::Error::Imds(crate::imds::Error::Status { path: "/".to_owned(), status: 503 });
    scene.fail("facts", busy());
    assert!(matches!(scene.run(), Ok(Outcome::NothingToDo(_))));
    assert_eq!((scene.count("facts"), scene.is_enrolled()), (2, true));
    for _ in 0..=REPEATS {
        scene.fail("facts", busy());
    }
    assert!(matches!(scene.run(), Ok(Outcome::NothingToDo(_))));
    assert!((3..30).contains(&scene.count("facts")) && scene.is_enrolled(), "{}", scene.count("facts"));
    scene.script.borrow_mut().clear();
    // Two that disagree: somebody else answers.
    scene.firmware(HERE);
    std::fs::remove_file(&scene.config.files.identity.path).unwrap();
    "i-0fedcba9876543210".clone_into(&mut scene.instance.borrow_mut());
    scene.fails(Class::Tampered, "name different instances");
    assert_eq!(scene.count("redeem"), 0);
}

#[test]
fn what_cannot_be_carried_is_refused_before_anything_is_redeemed() {
    let scene = Scene::new();
    let config = Config { host_id: "app/{tag:Name}/{instance_id}".parse().unwrap(), ..scene.config.clone() };
    let scene = Scene { config, ..scene };
    scene.fails(Class::Config, "does not give a usable host id");
    assert_eq!(scene.count("fetch"), 0);
}

#[test]
fn unfit_targets_are_found_before_anything_is_redeemed() {
    let check = |make: &dyn Fn(&Scene), say: &str| {
        let scene = Scene::new();
        make(&scene);
        scene.fails(Class::Storage, say);
        assert_eq!((scene.count("fetch"), scene.count("redeem")), (0, 0), "{say}");
    };
    check(
        &|s| std::fs::create_dir(&s.config.files.identity.path).unwrap(),
        "is a directory, not a plain file",
    );
    check(
        &|s| std::os::unix::fs::symlink("/dev/null", &s.config.files.identity.path).unwrap(),
        "is a symbolic link",
    );
    check(
        &|s| std::os::unix::fs::symlink("/dev/null", &s.config.files.conf.path).unwrap(),
        "is a symbolic link",
    );
    check(&|s| std::fs::create_dir(&s.config.files.pem.path).unwrap(), "is a directory");
    check(&|s| std::fs::remove_dir(s.dir.path().join("etc")).unwrap(), "cannot open the directory");
    check(&|s| std::fs::write(&s.config.files.state_dir, "").unwrap(), "is not a directory");
    check(
        &|s| {
            use std::os::unix::fs::PermissionsExt as _;
            let open = std::fs::Permissions::from_mode(0o777);
            std::fs::set_permissions(s.dir.path().join("etc"), open).unwrap();
        },
        "is world-writable",
    );
}

#[test]
fn the_write_check_takes_all_the_space_at_once() {
    let scene = Scene::new();
    let before = std::fs::read_dir(scene.dir.path().join("etc")).unwrap().count();
    std::fs::create_dir(&scene.config.files.state_dir).unwrap();
    // A chain of certificates may be much larger than one.
    let long = CA.repeat(16);
    let ca = imprint_core::door::CaBundle::from_pem(&long).unwrap();
    let expect = u64::try_from(ca.pem().len()).unwrap();
    let config = Config { ca: Some(ca), ..scene.config.clone() };
    let proofs = files::prove_writable(&store::Real, &config).unwrap();
    let sizes = [".conjur.pem", ".conjur.conf", ".conjur.identity"].map(|name| {
        let draft = scene.dir.path().join("etc").join(format!("{name}.imprint-draft"));
        std::fs::metadata(draft).unwrap().len()
    });
    assert!(sizes[0] == expect && expect > 8192 && sizes[1] > 100 && sizes[2] == 1300, "{sizes:?}");
    drop(proofs);
    assert_eq!(std::fs::read_dir(scene.dir.path().join("etc")).unwrap().count(), before);

    // A state that cannot be replaced is found before the redeem as well.
    let scene = Scene::new();
    scene.run().unwrap();
    std::fs::remove_file(&scene.config.files.identity.path).unwrap();
    for attributes in [StatxAttributes::IMMUTABLE, StatxAttributes::APPEND, StatxAttributes::MOUNT_ROOT] {
        let error = scene.run_on(&Faulty { attributes, ..Faulty::at(0, Errno::IO) }).unwrap_err();
        assert_eq!((error.class(), scene.count("fetch"), scene.count("redeem")), (Class::Storage, 0, 0));
    }
}

#[test]
fn a_failure_is_remembered_until_the_next_success() {
    let scene = Scene::new();
    scene.fail("redeem", status(403));
    scene.fails(Class::Refused, "is owned by");
    let failure = |scene: &Scene| match state::read(&scene.config.files.state_dir).unwrap() {
        Found::Good(state) => state.last_failure,
        other => panic!("{other:?}"),
    };
    let noted = failure(&scene).unwrap();
    assert_eq!((noted.class.as_str(), noted.at.to_string().as_str()), ("refused", NOW));
    assert!(noted.what.contains("is owned by") && noted.hint.unwrap().contains("!delete"));
    scene.run().unwrap();
    assert_eq!(failure(&scene), None);
}

#[test]
fn one_redeemer_at_a_time() {
    let scene = Scene::new();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let both = tokio::join!(
            enroll(&scene.config, Wishes::default(), &scene, &store::Real),
            enroll(&scene.config, Wishes::default(), &scene, &store::Real),
            enroll(&scene.config, Wishes::default(), &scene, &store::Real)
        );
        for end in [both.0, both.1, both.2] {
            end.unwrap();
        }
    });
    assert_eq!((scene.count("redeem"), scene.is_enrolled()), (1, true));
}
