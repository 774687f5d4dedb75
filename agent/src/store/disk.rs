//! [`Disk`]: the system calls that change a file, one method each.

use rustix::fs::{AtFlags, Gid, Mode, OFlags, Stat, StatxAttributes, StatxFlags, Uid};
use rustix::io::{Errno, Result};
use std::ffi::OsStr;
use std::os::fd::OwnedFd;
use std::path::Path;

/// The system calls behind every write. All but the first work within an open directory, so that
/// nobody can move the ground away meanwhile.
pub trait Disk {
    /// Opens a directory.
    ///
    /// # Errors
    /// As open(2).
    fn open_dir(&self, path: &Path) -> Result<OwnedFd>;

    /// Whose it is, and who may write in it.
    ///
    /// # Errors
    /// As fstat(2).
    fn stat_dir(&self, dir: &OwnedFd) -> Result<Stat>;

    /// What stands under a name, links not followed; `None` when nothing.
    ///
    /// # Errors
    /// As fstatat(2).
    fn stat(&self, dir: &OwnedFd, name: &OsStr) -> Result<Option<Stat>>;

    /// What the file system says beside that: whether the file may be replaced at all. Empty where
    /// kernel or file system do not tell.
    ///
    /// # Errors
    /// As statx(2).
    fn attributes(&self, dir: &OwnedFd, name: &OsStr) -> Result<StatxAttributes>;

    /// Makes a new file that only its owner can open.
    ///
    /// # Errors
    /// As open(2); `EEXIST` when anything has the name.
    fn create(&self, dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd>;

    /// Gives a file its owner and group; `None` leaves one as it is.
    ///
    /// # Errors
    /// As fchown(2).
    fn set_owner(&self, file: &OwnedFd, owner: Option<u32>, group: Option<u32>) -> Result<()>;

    /// Gives a file its permission bits.
    ///
    /// # Errors
    /// As fchmod(2).
    fn set_mode(&self, file: &OwnedFd, mode: u32) -> Result<()>;

    /// Writes all bytes.
    ///
    /// # Errors
    /// As write(2).
    fn write(&self, file: &OwnedFd, bytes: &[u8]) -> Result<()>;

    /// Flushes a file or a directory to the disk.
    ///
    /// # Errors
    /// As fsync(2).
    fn sync(&self, file: &OwnedFd) -> Result<()>;

    /// Puts a file in the place of another, at once.
    ///
    /// # Errors
    /// As renameat(2).
    fn rename(&self, dir: &OwnedFd, from: &OsStr, to: &OsStr) -> Result<()>;

    /// Removes a name.
    ///
    /// # Errors
    /// As unlinkat(2).
    fn remove(&self, dir: &OwnedFd, name: &OsStr) -> Result<()>;
}

/// The machine's disk.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

impl Disk for Real {
    fn open_dir(&self, path: &Path) -> Result<OwnedFd> {
        rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
    }

    fn stat_dir(&self, dir: &OwnedFd) -> Result<Stat> {
        rustix::fs::fstat(dir)
    }

    fn stat(&self, dir: &OwnedFd, name: &OsStr) -> Result<Option<Stat>> {
        match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn attributes(&self, dir: &OwnedFd, name: &OsStr) -> Result<StatxAttributes> {
        match rustix::fs::statx(dir, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::empty()) {
            Ok(state) => Ok(state.stx_attributes),
            // A kernel or a sandbox without the call, or a file that is gone by now.
            Err(Errno::NOSYS | Errno::PERM | Errno::NOENT) => Ok(StatxAttributes::empty()),
            Err(errno) => Err(errno),
        }
    }

    fn create(&self, dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600))
    }

    fn set_owner(&self, file: &OwnedFd, owner: Option<u32>, group: Option<u32>) -> Result<()> {
        rustix::fs::fchown(file, owner.map(Uid::from_raw), group.map(Gid::from_raw))
    }

    fn set_mode(&self, file: &OwnedFd, mode: u32) -> Result<()> {
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))
    }

    fn write(&self, file: &OwnedFd, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match rustix::io::write(file, bytes) {
                // A disk that takes nothing and says nothing.
                Ok(0) => return Err(Errno::IO),
                Ok(taken) => bytes = bytes.get(taken..).unwrap_or_default(),
                Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(())
    }

    fn sync(&self, file: &OwnedFd) -> Result<()> {
        rustix::fs::fsync(file)
    }

    fn rename(&self, dir: &OwnedFd, from: &OsStr, to: &OsStr) -> Result<()> {
        rustix::fs::renameat(dir, from, dir, to)
    }

    fn remove(&self, dir: &OwnedFd, name: &OsStr) -> Result<()> {
        rustix::fs::unlinkat(dir, name, AtFlags::empty())
    }
}
