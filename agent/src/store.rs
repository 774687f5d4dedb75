//! Durable and exact writes: a file is the old one or the new one, whole, and never wider open than
//! it shall be.
//!
//! [`put`] writes a temporary file beside the target, gives it owner and mode before the first byte,
//! flushes it, renames it over the target and flushes the directory. Whatever fails before the rename,
//! the target stays as it was and the temporary file goes; when the last flush fails, the new file is
//! there, whole, and may be the old one again after a power failure. The system calls are behind [`Disk`], so that a test can
//! let any one of them fail.

pub mod disk;

pub use disk::{Disk, Real};

use imprint_core::{Class, Classified};
use rustix::fs::{FileType, Mode, OFlags, Stat, StatxAttributes, fstat, open};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

/// Where a file goes, and how it looks there.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Target {
    /// The file.
    pub path: PathBuf,
    /// Permission bits.
    pub mode: u32,
    /// User id; `None` for the one that the program runs as.
    pub owner: Option<u32>,
    /// Group id; `None` for the one that the program runs as.
    pub group: Option<u32>,
    /// The SELinux label of a file that is new; `None` for what the kernel gives one of this directory.
    /// A file that is there keeps its label.
    pub label: Option<String>,
}

impl Target {
    /// Whether a file has the owner, group and mode that it shall have.
    #[must_use]
    pub fn is_met_by(&self, file: &Stat) -> bool {
        let owner = self.owner.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        let group = self.group.unwrap_or_else(|| rustix::process::getegid().as_raw());
        file.st_mode & 0o7777 == self.mode && file.st_uid == owner && file.st_gid == group
    }
}

/// Why a file could not be read or written.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// A system call failed.
    #[error("{action} {}", path.display())]
    Call {
        /// What was tried, such as `cannot write`.
        action: &'static str,
        /// On which file or directory.
        path: PathBuf,
        /// The system's answer.
        #[source]
        errno: Errno,
    },
    /// The directory lets others swap the file.
    #[error("{} {why}", path.display())]
    Directory {
        /// The directory.
        path: PathBuf,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The system would refuse to put another file in the target's place.
    #[error("{} is {by}", path.display())]
    Held {
        /// The file.
        path: PathBuf,
        /// What holds it there.
        by: Hold,
    },
    /// The file is larger than it can rightly be.
    #[error("{} has more than {most} bytes", path.display())]
    Large {
        /// The file.
        path: PathBuf,
        /// The cap, in bytes.
        most: usize,
    },
    /// What stands at the target is no file of ours to replace.
    #[error("{} is {what}, not a plain file", path.display())]
    Target {
        /// The file.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
}

/// What keeps a file in its place, also from root.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Hold {
    /// The attribute `a`.
    #[error("append-only")]
    AppendOnly,
    /// The attribute `i`.
    #[error("immutable")]
    Immutable,
    /// Something is mounted on it.
    #[error("a mount point")]
    MountPoint,
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Call { .. }
            | Self::Directory { .. }
            | Self::Held { .. }
            | Self::Large { .. }
            | Self::Target { .. } => Class::Storage,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Call { errno, .. } => match *errno {
                Errno::NOSPC | Errno::DQUOT => Some("free some space, then run imprint enroll again"),
                Errno::ROFS => {
                    Some("the file system is read-only: set other paths in [files], such as below /run")
                }
                Errno::ACCESS | Errno::PERM => {
                    Some("run as root, or set paths in [files] that this user may write")
                }
                Errno::NOENT => Some("make the directory, or set another path in [files]"),
                Errno::IO => Some("the disk fails: see the kernel's log"),
                _ => None,
            },
            Self::Directory { .. } => Some(
                "set a path in [files] whose directory belongs to root (or this user) and is writable by nobody else",
            ),
            Self::Held { by: Hold::AppendOnly, .. } => Some("take the attribute away with chattr -a"),
            Self::Held { by: Hold::Immutable, .. } => Some("take the attribute away with chattr -i"),
            Self::Held { by: Hold::MountPoint, .. } => {
                Some("mount the directory, not the single file: a mounted file cannot be replaced")
            }
            Self::Large { .. } => Some("something else wrote this file: look at it, then remove it"),
            Self::Target { .. } => Some("remove it, or set another path in [files]"),
        }
    }
}

/// Writes `bytes` to the target, so that a crash at any moment leaves the old file or the new one.
///
/// # Errors
/// When the target or its directory is not fit, or a system call fails. The target is then as it was,
/// but where flushing the directory is what failed.
pub fn put(disk: &impl Disk, target: &Target, bytes: &[u8]) -> Result<(), Error> {
    let place = Place::open(disk, &target.path)?;
    let draft = place.draft(target, bytes)?;
    disk.rename(&place.dir, &draft, &place.name).map_err(|errno| {
        place.forget(&draft);
        place.call("cannot replace")(errno)
    })?;
    disk.sync(&place.dir).map_err(place.call("cannot flush the directory of"))
}

/// Does all that [`put`] does short of the rename, with as many bytes: what would fail later fails
/// now, while nothing is at stake. The bytes stay beside the target until the proof is released or
/// dropped, so that several targets can be proved to fit on one disk together.
///
/// # Errors
/// As [`put`].
pub fn prove_writable<'a, D: Disk>(
    disk: &'a D,
    target: &Target,
    size: usize,
) -> Result<Writable<'a, D>, Error> {
    let place = Place::open(disk, &target.path)?;
    let draft = place.draft(target, &vec![b'\n'; size])?;
    Ok(Writable { place, draft: Some(draft) })
}

/// The proof that a target can be written: the space that it needs, taken.
pub struct Writable<'a, D: Disk> {
    place: Place<'a, D>,
    draft: Option<OsString>,
}

impl<D: Disk> Writable<'_, D> {
    /// Gives the space back, for the file itself.
    ///
    /// # Errors
    /// When the draft cannot be removed: then [`put`] could not replace it either.
    pub fn release(mut self) -> Result<(), Error> {
        if let Some(draft) = &self.draft {
            self.place
                .disk
                .remove(&self.place.dir, draft)
                .map_err(self.place.call("cannot remove the draft of"))?;
            self.draft = None;
        }
        Ok(())
    }
}

impl<D: Disk> Drop for Writable<'_, D> {
    fn drop(&mut self) {
        if let Some(draft) = self.draft.take() {
            self.place.forget(&draft);
        }
    }
}

/// Removes the file for good, and with it a draft that a crash may have left: it holds the same. One
/// that is not there is no error.
///
/// # Errors
/// When the target is no plain file, or a system call fails.
pub fn remove(disk: &impl Disk, path: &Path) -> Result<(), Error> {
    let place = match Place::open(disk, path) {
        Err(Error::Call { errno: Errno::NOENT, .. }) => return Ok(()),
        place => place?,
    };
    for name in [&place.draft_name(), &place.name] {
        match disk.remove(&place.dir, name) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(place.call("cannot remove")(errno)),
        }
    }
    disk.sync(&place.dir).map_err(place.call("cannot flush the directory of"))
}

/// Reads a plain file of at most `most` bytes; `None` when it is not there. Never waits for a FIFO
/// and never follows a link.
///
/// # Errors
/// When it is something else, larger, or cannot be read.
pub fn read(path: &Path, most: usize) -> Result<Option<Vec<u8>>, Error> {
    Ok(read_own_with_stat(path, most)?.map(|(bytes, _)| bytes))
}

/// The same, and whose the file is that was read.
///
/// # Errors
/// As [`read`].
pub fn read_own_with_stat(path: &Path, most: usize) -> Result<Option<(Vec<u8>, Stat)>, Error> {
    read_with(path, most, OFlags::NOFOLLOW)
}

/// The same for a file of the operator's, which may well be a link.
///
/// # Errors
/// When it is no plain file, larger, or cannot be read.
pub fn read_following(path: &Path, most: usize) -> Result<Option<Vec<u8>>, Error> {
    Ok(read_with_stat(path, most)?.map(|(bytes, _)| bytes))
}

/// The same, and whose the file is that was read.
///
/// # Errors
/// As [`read_following`].
pub fn read_with_stat(path: &Path, most: usize) -> Result<Option<(Vec<u8>, Stat)>, Error> {
    read_with(path, most, OFlags::empty())
}

fn read_with(path: &Path, most: usize, also: OFlags) -> Result<Option<(Vec<u8>, Stat)>, Error> {
    let call = |errno| Error::Call { action: "cannot read", path: path.to_owned(), errno };
    let target = |what| Error::Target { path: path.to_owned(), what };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY | also;
    let file = match open(path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(target("a symbolic link")),
        Err(errno) => return Err(call(errno)),
    };
    let stat = fstat(&file).map_err(call)?;
    if let Some(what) = kind(&stat) {
        return Err(target(what));
    }
    // One more byte than the cap tells a file that is too large. Reserved at once: growing would
    // leave copies of a secret behind.
    let mut bytes = Vec::with_capacity(most.saturating_add(1));
    let most_read = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::from(file)
        .take(most_read)
        .read_to_end(&mut bytes)
        .map_err(|e| call(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
    if bytes.len() > most {
        return Err(Error::Large { path: path.to_owned(), most });
    }
    Ok(Some((bytes, stat)))
}

/// A target's directory, opened and judged.
struct Place<'a, D> {
    disk: &'a D,
    dir: OwnedFd,
    name: OsString,
    path: PathBuf,
}

impl<'a, D: Disk> Place<'a, D> {
    fn open(disk: &'a D, path: &Path) -> Result<Self, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::Target { path: path.to_owned(), what: "a directory" });
        };
        let call =
            |errno| Error::Call { action: "cannot open the directory", path: parent.to_owned(), errno };
        let dir = disk.open_dir(parent).map_err(call)?;
        let state = disk.stat_dir(&dir).map_err(call)?;
        let unfit = |why| Err(Error::Directory { path: parent.to_owned(), why });
        if state.st_mode & 0o002 != 0 {
            return unfit("is world-writable: anybody could swap the file");
        }
        let own = rustix::process::geteuid().as_raw();
        if state.st_uid != 0 && state.st_uid != own {
            return unfit("belongs to another user, who could swap the file");
        }
        if others_may_write(&state, rustix::process::getegid().as_raw()) {
            return unfit("is writable by its group, which could swap the file");
        }
        let place = Self { disk, dir, name: name.to_owned(), path: path.to_owned() };
        if let Some(there) = disk.stat(&place.dir, name).map_err(place.call("cannot look at"))? {
            let attributes = disk.attributes(&place.dir, name).map_err(place.call("cannot look at"))?;
            if let Some(by) = held(attributes) {
                return Err(Error::Held { path: path.to_owned(), by });
            }
            if let Some(what) = kind(&there).or_else(|| second_name(&there)) {
                return Err(Error::Target { path: path.to_owned(), what });
            }
        }
        Ok(place)
    }

    /// A finished file beside the target, flushed, under a name that is always the same: what a
    /// crash left there is found and removed by the next run (runs never overlap, see `lock`).
    fn draft(&self, target: &Target, bytes: &[u8]) -> Result<OsString, Error> {
        let name = self.draft_name();
        match self.disk.remove(&self.dir, &name) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(self.call("cannot remove the old draft of")(errno)),
        }
        let file = self.disk.create(&self.dir, &name).map_err(self.call("cannot create a file beside"))?;
        let written = self.fill(&file, target, bytes);
        if written.is_err() {
            self.forget(&name);
        }
        written.map(|()| name)
    }

    fn draft_name(&self) -> OsString {
        let mut name = OsString::from(".");
        name.push(&self.name);
        name.push(".imprint-draft");
        name
    }

    fn fill(&self, file: &OwnedFd, target: &Target, bytes: &[u8]) -> Result<(), Error> {
        // In a setgid directory the file would else get the directory's group.
        let group = target.group.unwrap_or_else(|| rustix::process::getegid().as_raw());
        self.disk.set_owner(file, target.owner, Some(group)).map_err(self.call("cannot set the owner of"))?;
        self.disk.set_mode(file, target.mode).map_err(self.call("cannot set the mode of"))?;
        self.disk.write(file, bytes).map_err(self.call("cannot write"))?;
        self.disk.sync(file).map_err(self.call("cannot flush"))
    }

    /// Removes a draft on the way out; the error that led here is the one to tell.
    fn forget(&self, draft: &OsStr) {
        let _told_already = self.disk.remove(&self.dir, draft);
    }

    fn call(&self, action: &'static str) -> impl Fn(Errno) -> Error {
        let path = self.path.clone();
        move |errno| Error::Call { action, path: path.clone(), errno }
    }
}

/// Writing to one of two names would part them, and the other may be where others can reach it.
fn second_name(stat: &Stat) -> Option<&'static str> {
    (stat.st_nlink > 1).then_some("a file with a second name (hard link)")
}

/// Whether a group that is neither root's nor our own may write in a directory.
const fn others_may_write(directory: &Stat, own_group: u32) -> bool {
    directory.st_mode & 0o020 != 0 && directory.st_gid != 0 && directory.st_gid != own_group
}

/// A rename onto such a file fails, with a key in hand that has already replaced the one before.
fn held(attributes: StatxAttributes) -> Option<Hold> {
    [
        (StatxAttributes::IMMUTABLE, Hold::Immutable),
        (StatxAttributes::APPEND, Hold::AppendOnly),
        (StatxAttributes::MOUNT_ROOT, Hold::MountPoint),
    ]
    .into_iter()
    .find_map(|(attribute, hold)| attributes.contains(attribute).then_some(hold))
}

/// What it is, when it is not a plain file.
fn kind(stat: &Stat) -> Option<&'static str> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => None,
        FileType::Directory => Some("a directory"),
        FileType::Symlink => Some("a symbolic link"),
        FileType::Fifo => Some("a FIFO"),
        FileType::Socket => Some("a socket"),
        FileType::CharacterDevice | FileType::BlockDevice => Some("a device"),
        FileType::Unknown => Some("something unknown"),
    }
}

#[cfg(test)]
pub(crate) mod tests;
