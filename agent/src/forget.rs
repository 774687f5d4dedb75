//! `imprint forget`, for the end of an image's bake: removes the identity, what was written beside it, the
//! state and what a killed run may have left, then looks again. What is still there is an error.
//!
//! It asks nobody: the host stays in Conjur. `conf` and `pem` go when they are what imprint writes; else
//! another tool has a hand in them, and they hold no secret: they stay, and are named. So does a file that
//! somebody put there for imprint to read, such as a token.

use crate::bake;
use crate::config::{Config, Source};
use crate::facts::{self, InstanceId};
use crate::files;
use crate::journal::event;
use crate::lock::{self, Lock};
use crate::state::{self, Found};
use crate::step::OnDisk;
use crate::store::{self, Disk};
use imprint_core::{Class, Classified};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What was done.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Forgotten {
    /// What was there and is gone.
    pub removed: Vec<PathBuf>,
    /// What somebody else wrote, and what it is.
    pub left_alone: Vec<(PathBuf, &'static str)>,
    /// The instance that will not enroll any more, since an image is made from it.
    pub baked_on: Option<InstanceId>,
}

/// Why something may be left.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// An image is to be made, and nobody tells from which instance.
    #[error(
        "neither firmware nor machine-id tells which instance this is, so it cannot be kept from enrolling"
    )]
    Anonymous,
    /// The identity cannot be removed.
    #[error(transparent)]
    Files(#[from] files::Error),
    /// What is still there.
    #[error("still there: {}", shown(.0))]
    Left(Vec<PathBuf>),
    /// An enrollment is under way, or the state directory is not fit.
    #[error(transparent)]
    Lock(#[from] lock::Error),
    /// Something cannot be removed.
    #[error(transparent)]
    Storage(#[from] store::Error),
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Anonymous => Class::Config,
            Self::Files(error) => error.class(),
            Self::Left(_) => Class::Storage,
            Self::Lock(error) => error.class(),
            Self::Storage(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Anonymous => Some(
                "run systemctl mask imprint.service for the time of the bake; unmask it and run imprint forget at its end",
            ),
            Self::Files(error) => error.hint(),
            Self::Left(_) => Some("look at it and remove it by hand; no image may be made before"),
            Self::Lock(lock::Error::Busy { .. }) => {
                Some("an enrollment is under way: stop what starts it, then run imprint forget again")
            }
            Self::Lock(error) => error.hint(),
            Self::Storage(error) => error.hint(),
        }
    }
}

/// Removes all that an enrollment leaves. May be repeated: what is not there is as good as removed. With
/// `bake`, this instance is kept from enrolling from then on.
///
/// # Errors
/// See [`Error`]. Some of it may then be gone.
pub async fn forget(config: &Config, bake: bool, disk: &impl Disk) -> Result<Forgotten, Error> {
    let state_dir = &config.files.state_dir;
    let baked_on = bake.then(|| facts::here(config).ok_or(Error::Anonymous)).transpose()?;
    // Where there is no state directory, nobody holds a lock in it.
    let lock = match state_dir.symlink_metadata() {
        Err(_) if baked_on.is_none() => None,
        Ok(_) | Err(_) => Some(Lock::take(state_dir, Duration::ZERO).await?),
    };
    if let Some(here) = &baked_on {
        // First of all, so that no other enrollment begins in between.
        bake::note(disk, state_dir, here)?;
    }
    let mut all = everything(config);
    all.retain(|path| baked_on.is_none() || *path != bake::path(state_dir));
    let mut done = Forgotten { baked_on, ..Forgotten::default() };
    let there: Vec<PathBuf> = all.iter().filter(|path| is_there(path)).cloned().collect();

    let had_identity = !matches!(files::on_disk(config), Ok(OnDisk::Missing));
    remove_identity(disk, config)?;
    for (path, should) in copies(config) {
        match store::read(&path, LARGEST_COPY) {
            Ok(Some(is)) if is == should => store::remove(disk, &path)?,
            Ok(None) => {}
            Ok(Some(_)) | Err(_) => {
                done.left_alone.push((path, "it is not what imprint writes, and holds no key"))
            }
        }
    }
    let others: Vec<PathBuf> = done.left_alone.iter().map(|(path, _)| path.clone()).collect();
    for path in all.iter().filter(|path| !others.contains(path) && **path != config.files.identity.path) {
        if is_there(path) {
            store::remove(disk, path)?;
        }
    }
    for directory in directories(config) {
        // One that is not empty, or where something is mounted, is looked at below.
        let _seen_below = std::fs::remove_dir(directory);
    }
    drop(lock);

    let kept = done.baked_on.as_ref().map(|_| bake::path(state_dir));
    let left = left(config, &[others, kept.into_iter().collect()].concat())?;
    if !left.is_empty() {
        return Err(Error::Left(left));
    }
    done.left_alone.extend(inputs(config).into_iter().filter(|(path, _)| is_there(path)));
    // The identity's file may stay, with what others have in it.
    let is_gone = |path: &PathBuf| !is_there(path) || had_identity && *path == config.files.identity.path;
    done.removed = there.into_iter().filter(is_gone).collect();
    log::info!(
        target: "imprint", MESSAGE_ID = event::FORGOTTEN;
        "{} files of this machine's enrollment are removed", done.removed.len()
    );
    Ok(done)
}

/// The largest `conf` or `pem` that is compared.
const LARGEST_COPY: usize = 1024 * 1024;

/// The identity that the configuration names, and that of an earlier one for another Conjur, in a file
/// that others may have a part in.
fn remove_identity(disk: &impl Disk, config: &Config) -> Result<(), Error> {
    let former = match state::read(&config.files.state_dir) {
        Ok(Found::Good(state)) => state.made_for.appliance_url.parse().ok(),
        Ok(Found::Missing | Found::Unreadable(_)) | Err(_) => None,
    };
    Ok(files::remove(disk, config, former.as_ref())?)
}

/// Every path that an enrollment of this configuration may have written, drafts among them.
fn everything(config: &Config) -> Vec<PathBuf> {
    let files = &config.files;
    let mut all = vec![files.identity.path.clone(), files.conf.path.clone()];
    // Without a CA of its own, imprint writes none.
    all.extend(config.ca.is_some().then(|| files.pem.path.clone()));
    all.extend([&files.env, &files.json].into_iter().flatten().map(|target| target.path.clone()));
    all.extend(["state.json", "lock"].map(|name| files.state_dir.join(name)));
    all.push(bake::path(&files.state_dir));
    if let Some(dir) = &files.fallback_dir {
        let names = ["conjur.identity", "conjur.conf", "conjur.pem", "conjur.env", "conjur.json"];
        all.extend(names.map(|name| dir.join(name)));
        all.extend(["state/state.json", "state/lock"].map(|name| dir.join(name)));
    }
    all.extend(all.clone().iter().filter_map(|path| store::draft_of(path)));
    all.sort();
    all.dedup();
    all
}

/// Directories that an enrollment makes, the inner ones first.
fn directories(config: &Config) -> Vec<PathBuf> {
    let files = &config.files;
    let fallback = files.fallback_dir.iter().flat_map(|dir| [dir.join("state"), dir.clone()]);
    std::iter::once(files.state_dir.clone()).chain(fallback).collect()
}

/// conf and pem, with what imprint writes into them.
fn copies(config: &Config) -> Vec<(PathBuf, Vec<u8>)> {
    let mut all = vec![(config.files.conf.path.clone(), files::conf(config).into_bytes())];
    all.extend(config.ca.as_ref().map(|ca| (config.files.pem.path.clone(), ca.pem().as_bytes().to_vec())));
    all
}

/// Secrets that somebody else put on the machine for imprint to read.
fn inputs(config: &Config) -> Vec<(PathBuf, &'static str)> {
    let mut found = Vec::new();
    for source in &config.sources {
        let opener = match source {
            Source::ClientData { file, opener } | Source::File { file, opener, .. } => {
                found.push((
                    file.clone(),
                    "it is a token that the configuration names: no image should have it",
                ));
                opener
            }
            Source::Credential { opener, .. } | Source::Stdin { opener } => opener,
            Source::S3(_) => continue,
        };
        let secret = opener.secret_file.clone();
        found.extend(
            secret.map(|file| (file, "it is a secret that the configuration names: no image should have it")),
        );
    }
    found
}

/// What a second look finds.
fn left(config: &Config, left_alone: &[PathBuf]) -> Result<Vec<PathBuf>, Error> {
    let identity = &config.files.identity.path;
    let mut left: Vec<PathBuf> = everything(config)
        .into_iter()
        .filter(|path| path != identity && !left_alone.contains(path) && is_there(path))
        .collect();
    // Others may have a part in that file, which stays.
    if files::on_disk(config)? != OnDisk::Missing {
        left.push(identity.clone());
    }
    for directory in directories(config) {
        let entries = std::fs::read_dir(&directory).into_iter().flatten().flatten();
        let inside = entries.map(|entry| entry.path());
        let inside: Vec<PathBuf> =
            inside.filter(|path| !left.contains(path) && !left_alone.contains(path)).collect();
        left.extend(inside);
    }
    Ok(left)
}

/// What cannot be looked at may well be there: only the word that it is not counts.
fn is_there(path: &Path) -> bool {
    path.symlink_metadata().map_or_else(|e| e.kind() != ErrorKind::NotFound, |_| true)
}

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enroll::tests::scene::Scene;
    use crate::store::{Real, Target};

    fn run(scene: &Scene) -> Result<Forgotten, Error> {
        run_for(scene, false)
    }

    fn run_for(scene: &Scene, bake: bool) -> Result<Forgotten, Error> {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(forget(&scene.config, bake, &Real))
    }

    fn enrolled() -> Scene {
        let scene = Scene::new();
        scene.run().unwrap();
        scene
    }

    /// Everything below the scene's places but what a test put there.
    fn left(scene: &Scene) -> Vec<String> {
        let etc = scene.config.files.conf.path.parent().unwrap().to_owned();
        let mut names: Vec<String> = std::fs::read_dir(etc)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn nothing_is_left_and_a_second_time_changes_nothing() {
        let scene = enrolled();
        let draft = store::draft_of(&scene.config.files.identity.path).unwrap();
        std::fs::write(&draft, "a key").unwrap();
        let done = run(&scene).unwrap();
        for path in [
            &scene.config.files.identity.path,
            &scene.config.files.conf.path,
            &scene.config.files.pem.path,
            &draft,
        ] {
            assert!(done.removed.contains(path), "{path:?} of {done:?}");
        }
        assert!(done.left_alone.is_empty() && !scene.config.files.state_dir.exists());
        assert_eq!(left(&scene), [""; 0]);
        assert_eq!(run(&scene).unwrap(), Forgotten::default());
        // The machine enrolls again as on its first boot.
        scene.run().unwrap();
    }

    #[test]
    fn where_an_image_is_baked_only_the_note_is_left() {
        let scene = enrolled();
        let note = bake::path(&scene.config.files.state_dir);
        for _ in 0..2 {
            let done = run_for(&scene, true).unwrap();
            assert_eq!(done.baked_on, facts::here(&scene.config));
            assert!(done.baked_on.is_some() && !done.removed.contains(&note), "{done:?}");
            let names: Vec<_> = std::fs::read_dir(&scene.config.files.state_dir).unwrap().collect();
            assert_eq!((names.len(), note.exists(), left(&scene).len()), (1, true, 0), "{names:?}");
            assert_eq!(scene.run().unwrap_err().class(), Class::Config);
        }
        // Without the flag it goes like the rest, and the machine may enroll.
        assert!(run(&scene).unwrap().removed.contains(&note));
        scene.run().unwrap();

        // What is made from the image enrolls, and the note goes.
        run_for(&scene, true).unwrap();
        let other = "i-0fedcba9876543210".parse().unwrap();
        bake::note(&Real, &scene.config.files.state_dir, &other).unwrap();
        scene.run().unwrap();
        assert!(!note.exists());
    }

    #[test]
    fn a_machine_that_nobody_knows_cannot_be_kept_from_enrolling() {
        let mut scene = enrolled();
        scene.config.sys_root = "/nonexistent".into();
        let error = run_for(&scene, true).unwrap_err();
        assert_eq!(error.class(), Class::Config);
        assert!(error.hint().is_some_and(|hint| hint.contains("systemctl mask imprint.service")));
        assert!(scene.config.files.identity.path.exists(), "nothing was changed");
        run(&scene).unwrap();
    }

    #[test]
    fn what_another_tool_wrote_stays_and_is_named() {
        let scene = enrolled();
        let conf = &scene.config.files.conf.path;
        std::fs::write(conf, "account: other\n").unwrap();
        let done = run(&scene).unwrap();
        assert_eq!(done.left_alone, [(conf.clone(), "it is not what imprint writes, and holds no key")]);
        assert_eq!(left(&scene), ["conjur.conf"]);
        assert_eq!(std::fs::read_to_string(conf).unwrap(), "account: other\n");
    }

    #[test]
    fn everything_that_holds_the_key_goes_and_entries_of_others_stay() {
        let mut scene = Scene::new();
        let etc = scene.config.files.conf.path.parent().unwrap().to_owned();
        let more = etc.with_file_name("more");
        std::fs::create_dir(&more).unwrap();
        let at = |name: &str| Target { path: more.join(name), ..scene.config.files.identity.clone() };
        let (env, json) = (at("conjur.env"), at("conjur.json"));
        (scene.config.files.env, scene.config.files.json) = (Some(env.clone()), Some(json.clone()));
        let token = more.join("token");
        std::fs::write(&token, "a token").unwrap();
        scene.config.sources.push(Source::File {
            file: token.clone(),
            remove: false,
            opener: crate::config::Opener::default(),
        });
        let others = "machine github.com\n    login me\n    password secret\n";
        std::fs::write(&scene.config.files.identity.path, others).unwrap();
        scene.run().unwrap();
        assert!(env.path.exists() && json.path.exists());

        let done = run(&scene).unwrap();
        assert_eq!(std::fs::read_to_string(&scene.config.files.identity.path).unwrap(), others);
        assert_eq!(left(&scene), ["conjur.identity"]);
        assert!(!env.path.exists() && !json.path.exists() && token.exists());
        assert!(done.removed.contains(&scene.config.files.identity.path), "the entry: {done:?}");
        assert_eq!(done.left_alone.iter().map(|(path, _)| path.clone()).collect::<Vec<_>>(), [token]);
        // Once more there is nothing of ours.
        assert_eq!(run(&scene).unwrap().removed, Vec::<PathBuf>::new());
    }

    #[test]
    fn what_lies_in_the_fallback_directory_goes_with_it() {
        let mut scene = Scene::new();
        let dir = scene.config.files.conf.path.parent().unwrap().join("fallback");
        scene.config.files.fallback_dir = Some(dir.clone());
        std::fs::create_dir_all(dir.join("state")).unwrap();
        for name in ["conjur.identity", "conjur.conf", "state/state.json", "state/lock"] {
            std::fs::write(dir.join(name), "a key").unwrap();
        }
        run(&scene).unwrap();
        assert!(!dir.exists());
        std::fs::create_dir(&dir).unwrap();
        std::fs::write(dir.join("copy"), "a key").unwrap();
        assert!(matches!(run(&scene).unwrap_err(), Error::Left(left) if left == [dir.join("copy")]));
    }

    #[test]
    fn what_is_left_is_an_error() {
        let scene = enrolled();
        let other = scene.config.files.state_dir.join("copy-of-the-identity");
        std::fs::write(&other, "x").unwrap();
        let error = run(&scene).unwrap_err();
        assert!(matches!(&error, Error::Left(left) if *left == [other.clone()]), "{error}");
        assert_eq!((error.class(), error.hint().is_some()), (Class::Storage, true));
        assert!(!scene.config.files.identity.path.exists());
        std::fs::remove_file(other).unwrap();
        run(&scene).unwrap();

        // A directory in the place of a file is nothing that imprint removes.
        let scene = enrolled();
        std::fs::remove_file(&scene.config.files.identity.path).unwrap();
        std::fs::create_dir(&scene.config.files.identity.path).unwrap();
        assert_eq!(run(&scene).unwrap_err().class(), Class::Storage);
    }

    #[test]
    fn an_enrollment_under_way_is_not_pulled_away() {
        let scene = enrolled();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let held = runtime.block_on(Lock::take(&scene.config.files.state_dir, Duration::ZERO)).unwrap();
        let error = run(&scene).unwrap_err();
        assert_eq!(error.class(), Class::Transient);
        assert!(error.hint().is_some_and(|hint| hint.contains("imprint forget again")));
        assert!(scene.config.files.identity.path.exists());
        drop(held);
        run(&scene).unwrap();
    }
}
