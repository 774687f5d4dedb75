use super::*;
use crate::config::tests::CA;
use crate::enroll::tests::scene::Scene;
use crate::identity::tests::{KEY, identity};
use crate::store::Real;
use crate::store::tests::Faulty;
use rustix::io::Errno;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

const URL: &str = "https://conjur.example.org";
const THEIRS: &str = "machine example.org login me password x\n";

/// A machine whose configuration asks for every file.
fn scene() -> Scene {
    let mut scene = Scene::new();
    let files = &mut scene.config.files;
    let at = |name: &str| Target { path: files.conf.path.with_file_name(name), ..files.identity.clone() };
    let (env, json) = (at("conjur.env"), at("conjur.json"));
    (files.env, files.json) = (Some(env), Some(json));
    scene
}

/// The text of each file, by name; the directory itself is left out of it.
fn found(config: &Config) -> Vec<(String, String)> {
    let etc = config.files.conf.path.parent().unwrap();
    let mut found: Vec<_> = std::fs::read_dir(etc)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let text = std::fs::read_to_string(entry.path()).unwrap();
            (entry.file_name().into_string().unwrap(), text.replace(etc.to_str().unwrap(), ""))
        })
        .collect();
    found.sort();
    found
}

fn names(found: &[(String, String)]) -> Vec<&str> {
    found.iter().map(|(name, _)| name.as_str()).collect()
}

const ALL: [&str; 5] = ["conjur.conf", "conjur.env", "conjur.identity", "conjur.json", "conjur.pem"];

#[test]
fn every_file_is_written_and_what_holds_the_key_looks_like_the_identity() {
    let scene = scene();
    let config = &scene.config;
    write(&Real, config, &identity(URL, "a/b", KEY), None).unwrap();
    assert_eq!(names(&found(config)), ALL);
    for (name, text) in found(config) {
        let secret = ["conjur.env", "conjur.identity", "conjur.json"].contains(&name.as_str());
        assert_eq!(text.contains(KEY), secret, "{name}");
        let path = config.files.conf.path.with_file_name(&name);
        assert_eq!(
            std::fs::metadata(path).unwrap().mode() & 0o777,
            if secret { 0o600 } else { 0o644 },
            "{name}"
        );
    }
    assert_eq!(std::fs::read_to_string(&config.files.pem.path).unwrap(), *CA);

    let env = &config.files.env.as_ref().unwrap().path;
    std::fs::set_permissions(env, std::fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!((mend_access(&Real, &config.files), mend_access(&Real, &config.files)), (Ok(true), Ok(false)));
    assert_eq!(std::fs::metadata(env).unwrap().mode() & 0o777, 0o600);

    let good = found(config);
    for damage in [None, Some("CONJUR_AUTHN_API_KEY=old\n")] {
        match damage {
            Some(text) => std::fs::write(env, text).unwrap(),
            None => std::fs::remove_file(env).unwrap(),
        }
        restore(&Real, config).unwrap();
        assert_eq!(found(config), good);
    }

    remove(&Real, config, None).unwrap();
    assert_eq!(names(&found(config)), ["conjur.conf", "conjur.pem"]);
    remove(&Real, config, None).unwrap();
    // What is not there holds no key to tell of.
    assert!(matches!(restore(&Real, config), Err(Error::Missing(_))));
}

#[test]
fn whichever_call_fails_all_files_are_old_or_all_are_new() {
    let begin = || {
        let scene = scene();
        std::fs::write(&scene.config.files.identity.path, THEIRS).unwrap();
        write(&Real, &scene.config, &identity(URL, "old/one", KEY), None).unwrap();
        scene
    };
    let new = identity(URL, "new/one", &KEY.replace('0', "1"));
    let scene = begin();
    let old = found(&scene.config);
    let count = Faulty::at(0, Errno::IO);
    write(&count, &scene.config, &new, None).unwrap();
    let expect = found(&scene.config);
    assert!(expect != old && names(&expect) == ALL && expect[2].1.starts_with(THEIRS));
    let calls = count.calls.get();
    assert!(calls > 60, "{calls}");
    for at in 1..=calls {
        let scene = begin();
        let error = write(&Faulty::at(at, Errno::NOSPC), &scene.config, &new, None).unwrap_err();
        assert_eq!(error.class(), Class::Storage, "call {at}");
        let is = found(&scene.config);
        // The last calls remove what was replaced, and flush.
        let done = at > calls - 5;
        assert_eq!(is == expect, done, "call {at} of {calls}: {is:?}");
        assert!(done || is == old, "call {at} of {calls}: {is:?}");
        write(&Real, &scene.config, &new, None).unwrap();
    }
}

#[test]
fn what_cannot_be_edited_or_is_too_large_is_left_alone() {
    let scene = scene();
    let path = &scene.config.files.identity.path;
    for (text, say) in [
        ("machine a login \"x\n".to_owned(), "cannot be edited: line 1 has quotes"),
        (format!("{THEIRS}machine {URL}/authn login admin password x\n"), "is not of a host"),
        (format!("{THEIRS}#{}\n", "x".repeat(identity::LARGEST)), "has more than 65536 bytes"),
    ] {
        std::fs::write(path, &text).unwrap();
        let OnDisk::Unusable(unusable) = on_disk(&scene.config).unwrap() else { panic!("{say}") };
        assert!(unusable.is_anothers(), "{unusable}");
        let error = write(&Real, &scene.config, &identity(URL, "a/b", KEY), None).unwrap_err();
        assert!(imprint_core::error::chain(&error).contains(say), "{}", imprint_core::error::chain(&error));
        assert!(error.hint().is_some() && !imprint_core::error::chain(&error).contains("admin"));
        assert_eq!(names(&found(&scene.config)), ["conjur.identity"]);
        assert_eq!(std::fs::read_to_string(path).unwrap(), text);
    }
    // One that is large already is refused before the redeem, not after it.
    std::fs::write(path, format!("{THEIRS}#{}\n", "x".repeat(identity::LARGEST - 1000))).unwrap();
    assert_eq!(on_disk(&scene.config), Ok(OnDisk::Missing));
    let error = prove_writable(&Real, &scene.config).map(|_| ()).unwrap_err();
    assert!(error.to_string().contains("has more than"), "{error}");
}
