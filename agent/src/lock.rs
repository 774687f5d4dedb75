//! One agent at a time: a lock on a file in the state directory.
//!
//! The kernel holds it for the process and lets go when that ends, however it ends. Nobody else may
//! write in the directory or open the file, so that no other user can hold the lock against us.

use crate::store;
use imprint_core::{Class, Classified};
use rustix::fs::{FileType, FlockOperation, Mode, OFlags, flock, fstat, fsync, mkdirat, openat};
use rustix::io::{Errno, retry_on_intr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How often a lock that is held is asked for again: flock(2) knows no deadline.
const EVERY: Duration = Duration::from_millis(50);

/// The lock, held until this is dropped or the process ends.
#[derive(Debug)]
pub struct Lock {
    _held: OwnedFd,
}

/// Why the lock was not taken.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Another agent held it until the deadline.
    #[error("another imprint has held {} for {}", path.display(), imprint_core::settings::written(*waited))]
    Busy {
        /// The lock.
        path: PathBuf,
        /// How long it was waited for.
        waited: Duration,
    },
    /// The state directory is not fit to hold it.
    #[error("the state directory {} {why}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// A system call failed.
    #[error(transparent)]
    Storage(#[from] store::Error),
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Busy { .. } => Class::Transient,
            Self::Directory { .. } => Class::Storage,
            Self::Storage(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Busy { .. } => {
                Some("wait for the other one, or see what it waits for: journalctl -t imprint")
            }
            Self::Directory { .. } => Some(
                "it must be a directory of the user who runs imprint, and writable by nobody else: remove or mend it",
            ),
            Self::Storage(error) => error.hint(),
        }
    }
}

impl Lock {
    /// Takes the lock of `directory`, which is made when it is not there. Waits until `within` is
    /// over.
    ///
    /// # Errors
    /// When another agent holds it all that time, or the directory is not ours alone.
    pub async fn take(directory: &Path, within: Duration) -> Result<Self, Error> {
        let path = directory.join("lock");
        let mut file = prepare(directory, &path)?;
        let start = Instant::now();
        loop {
            // An interruption is no holder: `forget` asks once, and would take it for one.
            match retry_on_intr(|| flock(&file, FlockOperation::NonBlockingLockExclusive)) {
                Ok(()) if is_in_place(&file, &path)? => return Ok(Self { _held: file }),
                // Whoever held it removed it: the next one would make another, and hold that.
                Ok(()) => {
                    file = prepare(directory, &path)?;
                    continue;
                }
                Err(Errno::WOULDBLOCK) => {}
                Err(errno) => return Err(call("cannot lock", &path)(errno).into()),
            }
            let left = within.saturating_sub(start.elapsed());
            if left.is_zero() {
                return Err(Error::Busy { path, waited: start.elapsed() });
            }
            sleep(EVERY.min(left)).await;
        }
    }
}

/// Whether the file still has its name.
fn is_in_place(file: &OwnedFd, path: &Path) -> Result<bool, Error> {
    let stat = fstat(file).map_err(call("cannot look at", path))?;
    Ok(stat.st_nlink > 0)
}

fn prepare(directory: &Path, path: &Path) -> Result<OwnedFd, Error> {
    let own = |mode| Mode::from_raw_mode(mode);
    let unfit = |why| Err(Error::Directory { path: directory.to_owned(), why });
    let (Some(parent), Some(name)) = (directory.parent(), directory.file_name()) else {
        return unfit("is no place of its own");
    };
    let parent = store::Folders::new(&store::Real).folder(parent)?;
    match mkdirat(parent.dir(), name, own(0o700)) {
        // The state that is about to be flushed into it must not be lost with its directory.
        Ok(()) => {
            retry_on_intr(|| fsync(parent.dir())).map_err(call("cannot flush the directory of", directory))?
        }
        Err(Errno::EXIST) => {}
        Err(errno) => return Err(call("cannot make", directory)(errno).into()),
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let dir = match retry_on_intr(|| openat(parent.dir(), name, flags, Mode::empty())) {
        Ok(dir) => dir,
        Err(Errno::NOTDIR | Errno::LOOP) => return unfit("is not a directory"),
        Err(errno) => return Err(call("cannot open", directory)(errno).into()),
    };
    let state = fstat(&dir).map_err(call("cannot look at", directory))?;
    if state.st_uid != rustix::process::geteuid().as_raw() {
        return unfit("belongs to another user");
    }
    if state.st_mode & 0o022 != 0 {
        return unfit("is writable by other users");
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file =
        retry_on_intr(|| openat(&dir, "lock", flags, own(0o600))).map_err(call("cannot open", path))?;
    let kind = fstat(&file).map_err(call("cannot look at", path))?;
    match FileType::from_raw_mode(kind.st_mode) {
        FileType::RegularFile => {
            // Whoever can open a lock can hold it.
            rustix::fs::fchmod(&file, own(0o600)).map_err(call("cannot set the mode of", path))?;
            Ok(file)
        }
        FileType::Directory
        | FileType::Symlink
        | FileType::Fifo
        | FileType::Socket
        | FileType::CharacterDevice
        | FileType::BlockDevice
        | FileType::Unknown => unfit("has a lock that is no file"),
    }
}

fn call(action: &'static str, path: &Path) -> impl Fn(Errno) -> store::Error {
    let path = path.to_owned();
    move |errno| store::Error::Call { action, path: path.clone(), errno }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[tokio::test(start_paused = true)]
    async fn one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let first = Lock::take(&state, Duration::ZERO).await.unwrap();
        assert_eq!(std::fs::metadata(&state).unwrap().permissions().mode() & 0o7777, 0o700);
        let start = Instant::now();
        let busy = Lock::take(&state, Duration::from_secs(90)).await.unwrap_err();
        assert_eq!(start.elapsed(), Duration::from_secs(90));
        assert_eq!(busy.class(), Class::Transient);
        assert!(busy.to_string().ends_with("/state/lock for 1m30s"), "{busy}");

        let second = Lock::take(&state, Duration::from_secs(90));
        let release = async {
            sleep(Duration::from_secs(30)).await;
            drop(first);
        };
        let (second, ()) = tokio::join!(second, release);
        drop(second.unwrap());
        assert!(start.elapsed() < Duration::from_secs(121));
    }

    #[tokio::test(start_paused = true)]
    async fn a_lock_that_was_removed_is_not_held_by_anybody() {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        let first = Lock::take(&state, Duration::ZERO).await.unwrap();
        let second = Lock::take(&state, Duration::from_secs(90));
        let forget = async {
            sleep(Duration::from_secs(30)).await;
            std::fs::remove_file(state.join("lock")).unwrap();
            std::fs::remove_dir(&state).unwrap();
            drop(first);
        };
        let (second, ()) = tokio::join!(second, forget);
        let second = second.unwrap();
        let busy = Lock::take(&state, Duration::from_secs(1)).await.unwrap_err();
        assert_eq!(busy.class(), Class::Transient);
        drop(second);
        drop(Lock::take(&state, Duration::ZERO).await.unwrap());
    }

    #[tokio::test(start_paused = true)]
    async fn a_directory_that_is_not_ours_alone_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let make = |name: &str, mode: u32| {
            std::fs::create_dir(at(name)).unwrap();
            std::fs::set_permissions(at(name), std::fs::Permissions::from_mode(mode)).unwrap();
        };
        make("open", 0o777);
        make("group", 0o770);
        make("readable", 0o755);
        std::fs::write(at("readable/lock"), "").unwrap();
        drop(Lock::take(&at("readable"), Duration::ZERO).await.unwrap());
        let lock = std::fs::metadata(at("readable/lock")).unwrap();
        assert_eq!(lock.permissions().mode() & 0o7777, 0o600);
        std::fs::write(at("file"), "").unwrap();
        std::fs::create_dir(at("real")).unwrap();
        std::os::unix::fs::symlink(at("real"), at("link")).unwrap();
        for (name, say) in [
            ("open", "is writable by other users"),
            ("group", "is writable by other users"),
            ("file", "is not a directory"),
            ("link", "is not a directory"),
            ("no/parent", "cannot open the directory"),
        ] {
            let error = Lock::take(&at(name), Duration::ZERO).await.unwrap_err();
            assert!(error.to_string().contains(say), "{error} should say {say:?}");
            assert_eq!(error.class(), Class::Storage);
            assert!(error.hint().is_some());
        }
    }
}
