//! Reading files, never more than a cap, never a FIFO, and a link only where an operator may have made one.

use super::{Error, Target};
use rustix::fs::{FileType, Mode, OFlags, Stat, fgetxattr_query, fstat, open};
use rustix::io::{Errno, retry_on_intr};
use std::io::Read as _;
use std::path::Path;

/// What is reserved for a file whose size the kernel does not tell, as those of /sys and /proc.
const LEAST: usize = 4096;

/// Who may use a file that was read.
#[derive(Clone, Copy, Debug)]
pub struct Looks {
    /// Owner, group and mode.
    pub stat: Stat,
    /// Whether an access list lets more users in than the mode tells.
    pub has_acl: bool,
}

impl Looks {
    /// Whether the file has the owner, group and mode that it shall have, and lets in nobody else.
    #[must_use]
    pub fn are_of(&self, target: &Target) -> bool {
        let owner = target.owner.unwrap_or_else(|| rustix::process::geteuid().as_raw());
        let group = target.group.unwrap_or_else(|| rustix::process::getegid().as_raw());
        let stat = &self.stat;
        stat.st_mode & 0o7777 == target.mode && stat.st_uid == owner && stat.st_gid == group && !self.has_acl
    }
}

/// Reads a plain file of at most `most` bytes; `None` when it is not there. Never waits for a FIFO
/// and never follows a link.
///
/// # Errors
/// When it is something else, larger, or cannot be read.
pub fn read(path: &Path, most: usize) -> Result<Option<Vec<u8>>, Error> {
    Ok(read_with_looks(path, most)?.map(|(bytes, _)| bytes))
}

/// The same, and who may use the file that was read.
///
/// # Errors
/// As [`read`].
pub fn read_with_looks(path: &Path, most: usize) -> Result<Option<(Vec<u8>, Looks)>, Error> {
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
    Ok(read_with(path, most, OFlags::empty())?.map(|(bytes, looks)| (bytes, looks.stat)))
}

fn read_with(path: &Path, most: usize, also: OFlags) -> Result<Option<(Vec<u8>, Looks)>, Error> {
    let call = |errno| Error::Call { action: "cannot read", path: path.to_owned(), errno };
    let target = |what| Error::Target { path: path.to_owned(), what };
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY | also;
    let file = match retry_on_intr(|| open(path, flags, Mode::empty())) {
        Ok(file) => file,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Err(target("a symbolic link")),
        Err(errno) => return Err(call(errno)),
    };
    let stat = fstat(&file).map_err(call)?;
    if let Some(what) = kind(&stat) {
        return Err(target(what));
    }
    let has_acl = match fgetxattr_query(&file, super::disk::ACL) {
        Ok(size) => size > 0,
        Err(Errno::NODATA | Errno::OPNOTSUPP | Errno::NOSYS) => false,
        Err(errno) => return Err(call(errno)),
    };
    // One more byte than the cap tells a file that is too large. Reserved at once, since growing would
    // leave copies of a secret behind; and no more than the file has, since all of it is wiped in the end.
    let has = usize::try_from(stat.st_size).unwrap_or_default().max(LEAST);
    let mut bytes = Vec::with_capacity(has.min(most).saturating_add(1));
    let most_read = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    std::fs::File::from(file)
        .take(most_read)
        .read_to_end(&mut bytes)
        .map_err(|e| call(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
    if bytes.len() > most {
        return Err(Error::Large { path: path.to_owned(), most });
    }
    Ok(Some((bytes, Looks { stat, has_acl })))
}

/// What it is, when it is not a plain file.
pub(super) fn kind(stat: &Stat) -> Option<&'static str> {
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
