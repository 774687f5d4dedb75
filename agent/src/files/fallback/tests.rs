use super::*;
use crate::config::Config;
use crate::enroll::tests::scene::Scene;
use crate::files;
use crate::identity::tests::{KEY, identity};
use crate::store::Real;

/// A machine that names a fallback directory.
fn scene() -> (Scene, PathBuf) {
    let mut scene = Scene::new();
    let files = &mut scene.config.files;
    let dir = files.conf.path.with_file_name("run");
    files.fallback_dir = Some(dir.clone());
    files.env = Some(Target { path: files.conf.path.with_file_name("env"), ..files.identity.clone() });
    (scene, dir)
}

#[test]
fn all_files_move_or_none_does() {
    let (scene, dir) = scene();
    let files = &scene.config.files;
    let check = |observed: Observed, moved: bool, state: bool| {
        let now = decide(files.clone(), observed);
        let all = [&now.identity, &now.conf, &now.pem, now.env.as_ref().unwrap()];
        assert_eq!(all.map(|target| target.path.starts_with(&dir)), [moved; 4], "{observed:?}");
        assert_eq!(now.state_dir.starts_with(&dir), state, "{observed:?}");
        assert!(all.iter().all(|target| moved || !target.path.starts_with(&dir)));
        assert_eq!((now.json, now.identity.mode), (None, files.identity.mode));
        // Nothing moves twice.
        let again = decide(decide(files.clone(), observed), observed);
        assert_eq!(again.identity.path, decide(files.clone(), observed).identity.path);
        // Nor without the setting.
        let without = Files { fallback_dir: None, ..files.clone() };
        assert_eq!(decide(without, observed).identity.path, files.identity.path);
    };
    check(Observed { files: false, state: false }, false, false);
    check(Observed { files: true, state: false }, true, false);
    check(Observed { files: false, state: true }, false, true);
    check(Observed { files: true, state: true }, true, true);
}

#[test]
fn a_place_is_judged_by_the_file_system_that_it_is_on() {
    let (scene, _) = scene();
    assert_eq!(observe(&scene.config.files), Observed::default());
    // No directory there yet: the nearest one above it tells.
    assert!(!is_read_only(Path::new("/no/such/dir/file")) || is_read_only(Path::new("/file")));
    assert_eq!(settled(scene.config.files.clone()).identity.path, scene.config.files.identity.path);
}

#[test]
fn what_is_written_there_goes_when_the_configured_places_serve_again() {
    use std::os::unix::fs::PermissionsExt as _;
    let (scene, dir) = scene();
    prepare(&scene.config.files).unwrap();
    assert!(!dir.exists(), "nothing is made that is not used");
    let observed = Observed { files: true, state: true };
    let moved = Config { files: decide(scene.config.files.clone(), observed), ..scene.config.clone() };
    for _ in 0..2 {
        prepare(&moved.files).unwrap();
        assert_eq!(std::fs::metadata(&dir).unwrap().permissions().mode() & 0o7777, 0o755);
    }
    files::write(&Real, &moved, &identity("https://conjur.example.org", "a/b", KEY), None).unwrap();
    let names = |dir: &Path| {
        let mut names: Vec<_> =
            std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&dir), ["conjur.conf", "conjur.env", "conjur.identity", "conjur.pem"]);
    let conf = std::fs::read_to_string(dir.join("conjur.conf")).unwrap();
    for name in ["cert_file: ", "netrc_path: "] {
        assert!(conf.contains(&format!("{name}{}", dir.display())), "{conf}");
    }
    files::write(&Real, &scene.config, &identity("https://conjur.example.org", "a/c", KEY), None).unwrap();
    assert_eq!(names(&dir), ["conjur.conf", "conjur.pem"], "keys are left behind");
    files::write(&Real, &moved, &identity("https://conjur.example.org", "a/b", KEY), None).unwrap();
    files::remove(&Real, &scene.config, None).unwrap();
    assert_eq!(names(&dir), ["conjur.conf", "conjur.pem"], "keys are left behind");
    // A directory that others may write is judged like any other.
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777)).unwrap();
    let error =
        files::write(&Real, &moved, &identity("https://conjur.example.org", "a/b", KEY), None).unwrap_err();
    assert!(error.to_string().contains("world-writable"), "{error}");
}
