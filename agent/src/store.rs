//! Durable and exact writes: a file is the old one or the new one, whole, and never wider open than
//! it shall be.
//!
//! [`put`] writes a temporary file beside the target, gives it owner, label and mode before the first
//! byte, flushes it, renames it over the target and flushes the directory. Whatever fails before the
//! rename, the target stays as it was and the temporary file goes; when the last flush fails, the new file
//! is there, whole, and may be the old one again after a power failure. [`put_all`] does it with several
//! files, all or none. The system calls are behind [`Disk`], so that a test can let any one of them fail.
//!
//! `place` judges where a file goes, `draft` is the temporary file, `read` reads.

pub mod disk;
mod draft;
mod place;
mod read;

pub use disk::{Disk, Real};
pub use draft::{Writable, draft_of};
pub use place::{Folder, Folders, judge};
pub use read::{Looks, read, read_following, read_with_looks, read_with_stat};

use draft::{Content, Draft};
use imprint_core::{Class, Classified};
use rustix::io::Errno;
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
                Errno::ROFS => Some(
                    "the file system is read-only: set [files] fallback_dir, such as /run/imprint, or other paths",
                ),
                Errno::ACCESS | Errno::PERM => {
                    Some("run as root, or set paths in [files] that this user may write")
                }
                Errno::LOOP => Some("its links lead in a circle: mend them, or set another path in [files]"),
                Errno::NOENT => Some("make the directory, or set another path in [files]"),
                Errno::IO => Some("the disk fails: see the kernel's log"),
                Errno::MFILE | Errno::NFILE => Some("too many files are open here: see ulimit -n"),
                Errno::NOLCK => Some(
                    "this file system gives no lock: set [files] state_dir to a directory on a local disk",
                ),
                Errno::OPNOTSUPP => Some(
                    "this file system does not take it: set other paths in [files], or leave out selinux_label",
                ),
                Errno::FBIG => Some("files may not be that large here: see ulimit -f"),
                Errno::ISDIR | Errno::NOTDIR => {
                    Some("something else stands there: remove it, or set another path in [files]")
                }
                _ => Some("see the file system that it is on, and the kernel's log"),
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
    put_all(disk, &[(target, bytes)])
}

/// Writes several files, all or none, each of them whole at every moment: first all of them beside their
/// targets and flushed, then renamed in this order. The last one is the one that leads readers to the
/// others, so it comes when they are there; when a rename fails, those before it are put back, as far as
/// the file system can exchange two names at once (ext4, xfs, btrfs and tmpfs can).
///
/// A directory is flushed once, after its last rename: journals keep the order of what was renamed in one
/// directory. Other directories than that of the last file are flushed before it is renamed.
///
/// # Errors
/// As [`put`]. When it was not the last flush or the removal of what was replaced, all is as it was.
pub fn put_all(disk: &impl Disk, files: &[(&Target, &[u8])]) -> Result<(), Error> {
    let mut folders = Folders::new(disk);
    let mut drafts = Vec::with_capacity(files.len());
    for (target, bytes) in files {
        drafts.push(Draft::new(folders.place(&target.path)?, target, Content::Bytes(bytes))?);
    }
    let Some((last, others)) = drafts.split_last_mut() else { return Ok(()) };
    let replaced = replace(last, others);
    if replaced.is_err() {
        others.iter_mut().rev().for_each(Draft::put_back);
    }
    replaced?;
    others.iter_mut().try_for_each(Draft::drop_old)?;
    last.sync_folder()
}

fn replace<D: Disk>(last: &mut Draft<'_, D>, others: &mut [Draft<'_, D>]) -> Result<(), Error> {
    others.iter_mut().try_for_each(Draft::exchange)?;
    let mut flushed = vec![last.folder()];
    for other in others {
        let folder = other.folder();
        if !flushed.iter().any(|seen| seen.is(&folder)) {
            other.sync_folder()?;
            flushed.push(folder);
        }
    }
    last.rename()
}

/// Does all that [`put`] does short of the rename, with as many bytes: what would fail later fails
/// now, while nothing is at stake. The bytes stay taken beside the target until the proof is released or
/// dropped, so that several targets can be proved to fit on one disk together.
///
/// # Errors
/// As [`put`].
pub fn prove_writable<'a, D: Disk>(
    disk: &'a D,
    target: &Target,
    size: usize,
) -> Result<Writable<'a, D>, Error> {
    let draft = Draft::new(Folders::new(disk).place(&target.path)?, target, Content::Space(size))?;
    Ok(Writable::new(draft))
}

/// The same for several targets. Space is taken without writing to it where the file system can, so one
/// file on each file system is flushed as well, to see that it takes what it is given; but not on
/// `flushed`, where the caller is about to flush something of its own.
///
/// # Errors
/// As [`put`].
pub fn prove_all<'a, D: Disk>(
    disk: &'a D,
    targets: &[(&Target, usize)],
    flushed: &Writable<'_, D>,
) -> Result<Vec<Writable<'a, D>>, Error> {
    let mut folders = Folders::new(disk);
    let mut devices = vec![flushed.device()];
    let mut proofs = Vec::with_capacity(targets.len());
    for (target, size) in targets {
        let draft = Draft::new(folders.place(&target.path)?, target, Content::Space(*size))?;
        if !devices.contains(&draft.device()) {
            draft.sync()?;
            devices.push(draft.device());
        }
        proofs.push(Writable::new(draft));
    }
    Ok(proofs)
}

/// Removes the draft that a killed run has left beside a file, if there is one. Says whether there was.
///
/// # Errors
/// When a system call fails, or the place is not fit for a file of ours.
pub fn remove_draft(disk: &impl Disk, path: &Path) -> Result<bool, Error> {
    if draft_of(path).is_none_or(|draft| draft.symlink_metadata().is_err()) {
        return Ok(false);
    }
    draft::remove_left(&Folders::new(disk).place(path)?)
}

/// Removes the file for good, and with it a draft that a crash may have left: it holds the same. One
/// that is not there is no error.
///
/// # Errors
/// When the target is no plain file, or a system call fails.
pub fn remove(disk: &impl Disk, path: &Path) -> Result<(), Error> {
    let place = match Folders::new(disk).place(path) {
        Err(Error::Call { errno: Errno::NOENT, .. }) => return Ok(()),
        place => place?,
    };
    draft::remove(&place)
}

#[cfg(test)]
pub(crate) mod tests;
