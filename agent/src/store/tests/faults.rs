//! Every system call fails in turn, with every error that a disk gives: what was there stays, whole, and
//! nothing is left beside it.

use super::*;

const ERRORS: [Errno; 6] = [Errno::NOSPC, Errno::DQUOT, Errno::IO, Errno::ROFS, Errno::MFILE, Errno::INTR];

/// Files in two directories, some of which are there already.
struct Scene {
    dir: tempfile::TempDir,
    targets: Vec<Target>,
}

impl Scene {
    fn new() -> Self {
        // Thousands of files are flushed here: in memory, where there is such a disk.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for below in ["a", "b"] {
            std::fs::create_dir(dir.path().join(below)).unwrap();
        }
        let targets = ["a/pem", "b/conf", "a/env", "b/identity"]
            .map(|name| Target { path: dir.path().join(name), ..target(dir.path(), 0o600) });
        let scene = Self { dir, targets: targets.to_vec() };
        for old in [0, 1, 3] {
            put(&Real, &scene.targets[old], b"old").unwrap();
        }
        scene
    }

    fn files(&self) -> Vec<(&Target, &[u8])> {
        self.targets.iter().map(|target| (target, b"new".as_slice())).collect()
    }

    fn sizes(&self) -> Vec<(&Target, usize)> {
        self.targets.iter().map(|target| (target, 3)).collect()
    }

    /// What stands at the targets, and whatever else there is.
    fn found(&self) -> (Vec<Option<Vec<u8>>>, Vec<String>) {
        let own: Vec<_> =
            self.targets.iter().map(|t| t.path.file_name().unwrap().to_str().unwrap()).collect();
        let mut litter = Vec::new();
        for below in ["a", "b"] {
            litter.extend(names(&self.dir.path().join(below)));
        }
        litter.retain(|name| !own.contains(&name.as_str()));
        (self.targets.iter().map(|t| read(&t.path, 10).unwrap()).collect(), litter)
    }
}

fn old() -> Vec<Option<Vec<u8>>> {
    let text = |text: &str| Some(text.as_bytes().to_vec());
    vec![text("old"), text("old"), None, text("old")]
}

fn new() -> Vec<Option<Vec<u8>>> {
    vec![Some(b"new".to_vec()); 4]
}

/// Fails each call of `work` with each error. `done` says what stands there when it fails after all has
/// been renamed: that may only be in its last `late` calls.
fn check(
    late: usize,
    done: &dyn Fn() -> Vec<Option<Vec<u8>>>,
    work: &dyn Fn(&Scene, &Faulty) -> Result<(), Error>,
) {
    let count = Faulty::at(0, Errno::IO);
    work(&Scene::new(), &count).unwrap();
    let calls = count.calls.get();
    assert!(calls > 10, "{calls}");
    for errno in ERRORS {
        for at in 1..=calls {
            for for_good in [false, true] {
                let scene = Scene::new();
                let error = work(&scene, &Faulty { for_good, ..Faulty::at(at, errno) }).unwrap_err();
                let say = format!("{errno:?} at {at} of {calls}: {}", imprint_core::error::chain(&error));
                assert_eq!(error.class(), Class::Storage, "{say}");
                assert!(
                    say.contains("os error") && say.contains(&scene.dir.path().display().to_string()),
                    "{say}"
                );
                assert!(error.hint().is_some() || errno == Errno::INTR, "{say}");
                let (found, litter) = scene.found();
                let expect = if at > calls - late { done() } else { old() };
                if for_good {
                    // Nothing can be put back or removed any more: each file is whole all the same.
                    for (is, (old, new)) in found.iter().zip(old().iter().zip(done().iter())) {
                        assert!(is == old || is == new, "{say}: {is:?}");
                    }
                } else {
                    assert_eq!((found, litter), (expect, vec![]), "{say}");
                }
                // The disk is well again.
                work(&scene, &Faulty::at(0, errno)).unwrap();
                assert_eq!(scene.found(), (done(), vec![]), "{say}");
            }
        }
    }
}

#[test]
fn one_file() {
    // Only the flush of the directory comes after the file is whole and in its place.
    let done = || vec![Some(b"new".to_vec()), old()[1].clone(), None, old()[3].clone()];
    check(1, &done, &|scene, disk| put(disk, &scene.targets[0], b"new"));
    let done = || vec![old()[0].clone(), old()[1].clone(), Some(b"new".to_vec()), old()[3].clone()];
    check(1, &done, &|scene, disk| put(disk, &scene.targets[2], b"new"));
}

#[test]
fn several_files() {
    // After the last rename, two old files are removed and a directory is flushed.
    check(3, &new, &|scene, disk| put_all(disk, &scene.files()));
}

#[test]
fn the_proof_that_they_can_be_written() {
    check(0, &old, &|scene, disk| {
        let state = prove_writable(disk, &scene.targets[3], 100)?;
        let proofs = prove_all(disk, &scene.sizes()[..3], &state)?;
        state.release()?;
        proofs.into_iter().try_for_each(Writable::release)
    });
}

#[test]
fn removal() {
    // What is gone when only the flush of the directory fails is gone.
    let done = || vec![None, old()[1].clone(), None, old()[3].clone()];
    check(1, &done, &|scene, disk| remove(disk, &scene.targets[0].path));
}

#[test]
fn a_file_system_that_can_neither_exchange_nor_reserve_serves_as_well() {
    let scene = Scene::new();
    let disk = Faulty { is_simple: true, ..Faulty::at(0, Errno::IO) };
    let proof = prove_writable(&disk, &scene.targets[3], 100).unwrap();
    let draft = scene.dir.path().join("b/.identity.imprint-draft");
    assert_eq!(std::fs::read(draft).unwrap(), vec![b'\n'; 100]);
    proof.release().unwrap();
    put_all(&disk, &scene.files()).unwrap();
    assert_eq!(scene.found(), (new(), vec![]));
}
