//! [`Disk`]: the system calls that change a file, or that judge where it goes, one method each.

use rustix::fs::{
    AtFlags, FallocateFlags, Gid, Mode, OFlags, RenameFlags, Stat, StatxAttributes, StatxFlags, Uid,
    XattrFlags,
};
use rustix::io::{Errno, Result, retry_on_intr};
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStringExt as _;
use std::path::PathBuf;

/// Where a file's access list is kept (acl(5)).
pub(super) const ACL: &str = "system.posix_acl_access";

/// Where a file's SELinux label is kept.
const LABEL: &str = "security.selinux";

/// The longest label that the kernel gives or takes: a page.
const LONGEST_LABEL: usize = 4096;

/// The system calls behind every write. All work within an open directory, so that nobody can move the
/// ground away meanwhile.
pub trait Disk {
    /// Opens the root directory, only to go on from there.
    ///
    /// # Errors
    /// As open(2).
    fn open_root(&self) -> Result<OwnedFd>;

    /// Opens what stands under a name, a link itself and not where it leads, only to look at it or to go on
    /// from there.
    ///
    /// # Errors
    /// As openat(2).
    fn open_below(&self, dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd>;

    /// Where a link leads.
    ///
    /// # Errors
    /// As readlinkat(2).
    fn read_link(&self, link: &OwnedFd) -> Result<PathBuf>;

    /// Whose it is, and who may write in it.
    ///
    /// # Errors
    /// As fstat(2).
    fn look(&self, at: &OwnedFd) -> Result<Stat>;

    /// Opens a directory to work in it.
    ///
    /// # Errors
    /// As openat(2).
    fn open_dir(&self, at: &OwnedFd) -> Result<OwnedFd>;

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

    /// A plain file's SELinux label; `None` when it has none, or is not there any more.
    ///
    /// # Errors
    /// As openat(2) and fgetxattr(2).
    fn label(&self, dir: &OwnedFd, name: &OsStr) -> Result<Option<Vec<u8>>>;

    /// Makes a new file that only its owner can open.
    ///
    /// # Errors
    /// As open(2); `EEXIST` when anything has the name.
    fn create(&self, dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd>;

    /// Takes a file's access list away, so that its mode is all that counts.
    ///
    /// # Errors
    /// As fremovexattr(2); none where there is no list.
    fn drop_acl(&self, file: &OwnedFd) -> Result<()>;

    /// Gives a file its owner and group; `None` leaves one as it is.
    ///
    /// # Errors
    /// As fchown(2).
    fn set_owner(&self, file: &OwnedFd, owner: Option<u32>, group: Option<u32>) -> Result<()>;

    /// Gives a file its SELinux label.
    ///
    /// # Errors
    /// As fsetxattr(2).
    fn set_label(&self, file: &OwnedFd, label: &[u8]) -> Result<()>;

    /// Gives a file its permission bits.
    ///
    /// # Errors
    /// As fchmod(2).
    fn set_mode(&self, file: &OwnedFd, mode: u32) -> Result<()>;

    /// Takes the space for so many bytes.
    ///
    /// # Errors
    /// As fallocate(2); `EOPNOTSUPP` where the file system cannot.
    fn reserve(&self, file: &OwnedFd, size: usize) -> Result<()>;

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

    /// Lets two files change their names, at once.
    ///
    /// # Errors
    /// As renameat2(2); `EINVAL` where the file system cannot.
    fn exchange(&self, dir: &OwnedFd, one: &OsStr, other: &OsStr) -> Result<()>;

    /// Removes a name.
    ///
    /// # Errors
    /// As unlinkat(2).
    fn remove(&self, dir: &OwnedFd, name: &OsStr) -> Result<()>;
}

/// The machine's disk. A call that a signal interrupted is made again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Real;

impl Disk for Real {
    fn open_root(&self) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::open("/", flags, Mode::empty()))
    }

    fn open_below(&self, dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::openat(dir, name, flags, Mode::empty()))
    }

    fn read_link(&self, link: &OwnedFd) -> Result<PathBuf> {
        let to = rustix::fs::readlinkat(link, "", Vec::new())?;
        Ok(OsString::from_vec(to.into_bytes()).into())
    }

    fn look(&self, at: &OwnedFd) -> Result<Stat> {
        rustix::fs::fstat(at)
    }

    fn open_dir(&self, at: &OwnedFd) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::openat(at, ".", flags, Mode::empty()))
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

    fn label(&self, dir: &OwnedFd, name: &OsStr) -> Result<Option<Vec<u8>>> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match retry_on_intr(|| rustix::fs::openat(dir, name, flags, Mode::empty())) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(errno),
        };
        let mut label = vec![0; LONGEST_LABEL];
        match rustix::fs::fgetxattr(&file, LABEL, label.as_mut_slice()) {
            Ok(size) => {
                label.truncate(size);
                Ok(Some(label))
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(None),
            Err(errno) => Err(errno),
        }
    }

    fn create(&self, dir: &OwnedFd, name: &OsStr) -> Result<OwnedFd> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        retry_on_intr(|| rustix::fs::openat(dir, name, flags, Mode::from_raw_mode(0o600)))
    }

    fn drop_acl(&self, file: &OwnedFd) -> Result<()> {
        match rustix::fs::fremovexattr(file, ACL) {
            Ok(()) | Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    fn set_owner(&self, file: &OwnedFd, owner: Option<u32>, group: Option<u32>) -> Result<()> {
        rustix::fs::fchown(file, owner.map(Uid::from_raw), group.map(Gid::from_raw))
    }

    fn set_label(&self, file: &OwnedFd, label: &[u8]) -> Result<()> {
        rustix::fs::fsetxattr(file, LABEL, label, XattrFlags::empty())
    }

    fn set_mode(&self, file: &OwnedFd, mode: u32) -> Result<()> {
        rustix::fs::fchmod(file, Mode::from_raw_mode(mode))
    }

    fn reserve(&self, file: &OwnedFd, size: usize) -> Result<()> {
        // A length of 0 is refused, and needs no space.
        let size = u64::try_from(size.max(1)).unwrap_or(u64::MAX);
        retry_on_intr(|| rustix::fs::fallocate(file, FallocateFlags::empty(), 0, size))
    }

    fn write(&self, file: &OwnedFd, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            match retry_on_intr(|| rustix::io::write(file, bytes))? {
                // A disk that takes nothing and says nothing.
                0 => return Err(Errno::IO),
                taken => bytes = bytes.get(taken..).unwrap_or_default(),
            }
        }
        Ok(())
    }

    fn sync(&self, file: &OwnedFd) -> Result<()> {
        retry_on_intr(|| rustix::fs::fsync(file))
    }

    fn rename(&self, dir: &OwnedFd, from: &OsStr, to: &OsStr) -> Result<()> {
        rustix::fs::renameat(dir, from, dir, to)
    }

    fn exchange(&self, dir: &OwnedFd, one: &OsStr, other: &OsStr) -> Result<()> {
        rustix::fs::renameat_with(dir, one, dir, other, RenameFlags::EXCHANGE)
    }

    fn remove(&self, dir: &OwnedFd, name: &OsStr) -> Result<()> {
        rustix::fs::unlinkat(dir, name, AtFlags::empty())
    }
}
