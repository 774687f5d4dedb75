//! Where the files are when the configured places are on a read-only file system: all of them in one
//! directory, such as `/run/imprint`, when an operator has named one. What is there is gone with the next
//! boot, which enrolls anew.

use crate::config::Files;
use crate::journal::event;
use crate::store::{self, Disk, Target};
use rustix::fs::{Mode, StatVfsMountFlags, fsync, mkdirat, statvfs};
use rustix::io::{Errno, retry_on_intr};
use std::path::{Path, PathBuf};

/// What was seen of the configured places.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Observed {
    /// The file system of one of the files is read-only.
    pub files: bool,
    /// That of the state is.
    pub state: bool,
}

/// The files as they are to be used now: as configured, or in the fallback directory. Changes nothing.
#[must_use]
pub fn settled(files: Files) -> Files {
    if files.fallback_dir.is_none() {
        return files;
    }
    let observed = observe(&files);
    decide(files, observed)
}

/// Looks at the places.
#[must_use]
pub fn observe(files: &Files) -> Observed {
    let all =
        [Some(&files.identity), Some(&files.conf), Some(&files.pem), files.env.as_ref(), files.json.as_ref()];
    Observed {
        files: all.into_iter().flatten().any(|target| is_read_only(&target.path)),
        // In a sandbox it can be the one place of its file system that is not.
        state: is_read_only(&files.state_dir.join("state.json")),
    }
}

/// Where each file goes, given what was seen: none of them moves, or all do; the state by itself.
#[must_use]
pub fn decide(files: Files, observed: Observed) -> Files {
    let Some(dir) = files.fallback_dir.clone() else { return files };
    let state_dir = if observed.state { dir.join("state") } else { files.state_dir.clone() };
    let moved = if observed.files { all_in(&dir, &files) } else { files };
    Files { state_dir, ..moved }
}

/// Makes the fallback directory when it is in use, and says so. Everybody may look into it, as conf and pem
/// are for everybody; only its owner may write in it.
///
/// # Errors
/// When it cannot be made.
pub fn prepare(files: &Files) -> Result<(), store::Error> {
    let Some(dir) = files.fallback_dir.as_deref().filter(|dir| is_used(files, dir)) else { return Ok(()) };
    let call = |errno| store::Error::Call { action: "cannot make", path: dir.to_owned(), errno };
    let (Some(parent), Some(name)) = (dir.parent(), dir.file_name()) else { return Err(call(Errno::EXIST)) };
    let parent = store::Folders::new(&store::Real).folder(parent)?;
    match mkdirat(parent.dir(), name, Mode::from_raw_mode(0o755)) {
        // The umask has taken from it what it needs.
        Ok(()) => {
            let made = store::Folders::new(&store::Real).folder(dir)?;
            rustix::fs::fchmod(made.dir(), Mode::from_raw_mode(0o755)).map_err(call)?;
            // The place need not be one that goes with a boot.
            retry_on_intr(|| fsync(parent.dir())).map_err(call)?;
        }
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(call(errno)),
    }
    let path = dir.display();
    log::warn!(target: "imprint", MESSAGE_ID = event::FALLBACK; "a configured place is read-only: what is there is kept in {path} until the next boot");
    Ok(())
}

/// Removes what an earlier run has left in the fallback directory when it is not in use any more, and
/// holds a key.
///
/// # Errors
/// When it cannot be removed.
pub fn remove_left(disk: &impl Disk, files: &Files) -> Result<(), store::Error> {
    let Some(dir) = files.fallback_dir.as_deref().filter(|dir| !files.identity.path.starts_with(dir)) else {
        return Ok(());
    };
    let left = all_in(dir, files);
    for target in [Some(left.identity), left.env, left.json].into_iter().flatten() {
        if target.path.symlink_metadata().is_ok() {
            store::remove(disk, &target.path)?;
        }
    }
    Ok(())
}

/// Whether a file or the state is in the directory.
fn is_used(files: &Files, dir: &Path) -> bool {
    files.identity.path.starts_with(dir) || files.state_dir.starts_with(dir)
}

fn all_in(dir: &Path, files: &Files) -> Files {
    let at = |name: &str, target: &Target| Target { path: dir.join(name), ..target.clone() };
    Files {
        identity: at("conjur.identity", &files.identity),
        conf: at("conjur.conf", &files.conf),
        pem: at("conjur.pem", &files.pem),
        env: files.env.as_ref().map(|target| at("conjur.env", target)),
        json: files.json.as_ref().map(|target| at("conjur.json", target)),
        ..files.clone()
    }
}

/// Whether nothing can be written beside a path: judged by the first directory above it that is there.
fn is_read_only(path: &Path) -> bool {
    let above = path.ancestors().skip(1).map(PathBuf::from);
    above
        .filter_map(|dir| match statvfs(&dir) {
            Ok(state) => Some(state.f_flag.contains(StatVfsMountFlags::RDONLY)),
            Err(_) => None,
        })
        .next()
        .unwrap_or(false)
}

#[cfg(test)]
mod tests;
