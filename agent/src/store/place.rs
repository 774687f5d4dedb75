//! Where a file goes: its directory, opened step by step from the root and judged at each step, and what
//! stands there already. [`judge`] asks the same without changing anything.
//!
//! Whoever may write in a directory can swap what is below it, so every directory on the way must belong
//! to root or to the user who runs this, and must be writable by nobody else. In one with the sticky bit,
//! such as `/tmp`, what is ours cannot be swapped by others; but a file must not lie directly in one,
//! since anybody may take the names that it needs.

use super::read::kind;
use super::{Disk, Error, Hold, Target};
use rustix::fs::{FileType, Stat, StatxAttributes};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

/// As many links as the kernel follows.
const LINKS: usize = 40;

/// Whether a target's place is fit for it, and why not.
///
/// # Errors
/// When it is not, or cannot be looked at.
pub fn judge(disk: &impl Disk, target: &Target) -> Result<(), Error> {
    Folders::new(disk).place(&target.path).map(drop)
}

/// A directory, opened and judged.
#[derive(Debug)]
pub struct Folder {
    pub(super) dir: OwnedFd,
    stat: Stat,
    path: PathBuf,
}

impl Folder {
    /// Whether both are the same directory.
    pub(super) const fn is(&self, other: &Self) -> bool {
        self.stat.st_dev == other.stat.st_dev && self.stat.st_ino == other.stat.st_ino
    }

    /// The file system that it is on.
    pub(super) const fn device(&self) -> u64 {
        self.stat.st_dev
    }

    /// The open directory.
    #[must_use]
    pub const fn dir(&self) -> &OwnedFd {
        &self.dir
    }

    /// What it is like.
    #[must_use]
    pub const fn stat(&self) -> &Stat {
        &self.stat
    }
}

/// The directories of several targets, each opened and judged once.
pub struct Folders<'a, D> {
    disk: &'a D,
    open: Vec<Rc<Folder>>,
}

impl<'a, D: Disk> Folders<'a, D> {
    /// None yet.
    pub const fn new(disk: &'a D) -> Self {
        Self { disk, open: Vec::new() }
    }

    /// Opens and judges a directory.
    ///
    /// # Errors
    /// When it cannot be opened, or somebody else could swap what is in it.
    pub fn folder(&mut self, path: &Path) -> Result<Rc<Folder>, Error> {
        if let Some(known) = self.open.iter().find(|folder| folder.path == path) {
            return Ok(Rc::clone(known));
        }
        let call = |errno| Error::Call { action: "cannot open the directory", path: path.to_owned(), errno };
        let (dir, stat) = Walk::to(self.disk, path)?;
        let dir = self.disk.open_dir(&dir).map_err(call)?;
        let folder = Rc::new(Folder { dir, stat, path: path.to_owned() });
        self.open.push(Rc::clone(&folder));
        Ok(folder)
    }

    /// Opens the directory of a file and judges both.
    pub(super) fn place(&mut self, path: &Path) -> Result<Place<'a, D>, Error> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(Error::Target { path: path.to_owned(), what: "a directory" });
        };
        let folder = self.folder(parent)?;
        let mut place =
            Place { disk: self.disk, folder, name: name.to_owned(), path: path.to_owned(), old: None };
        let look = |e| Error::Call { action: "cannot look at", path: path.to_owned(), errno: e };
        if let Some(there) = self.disk.stat(place.dir(), name).map_err(look)? {
            let attributes = self.disk.attributes(place.dir(), name).map_err(look)?;
            if let Some(by) = held(attributes) {
                return Err(Error::Held { path: path.to_owned(), by });
            }
            if let Some(what) = kind(&there).or_else(|| second_name(&there)) {
                return Err(Error::Target { path: path.to_owned(), what });
            }
            let label = self.disk.label(place.dir(), name).map_err(look)?;
            place.old = Some(Old { label });
        }
        Ok(place)
    }
}

/// What a file replaces.
pub(super) struct Old {
    /// Its SELinux label.
    pub(super) label: Option<Vec<u8>>,
}

/// Where a file goes, judged.
pub(super) struct Place<'a, D> {
    pub(super) disk: &'a D,
    pub(super) folder: Rc<Folder>,
    pub(super) name: OsString,
    pub(super) path: PathBuf,
    pub(super) old: Option<Old>,
}

impl<D> Place<'_, D> {
    pub(super) fn dir(&self) -> &OwnedFd {
        &self.folder.dir
    }

    pub(super) fn call(&self, action: &'static str) -> impl Fn(Errno) -> Error {
        let path = self.path.clone();
        move |errno| Error::Call { action, path: path.clone(), errno }
    }
}

/// The way from the root to a directory, as the kernel goes it, with a look at each step.
struct Walk<'a, D> {
    disk: &'a D,
    at: OwnedFd,
    stat: Stat,
    path: PathBuf,
    links: usize,
}

impl<'a, D: Disk> Walk<'a, D> {
    fn to(disk: &'a D, path: &Path) -> Result<(OwnedFd, Stat), Error> {
        let call = |errno| Error::Call { action: "cannot open the directory", path: path.to_owned(), errno };
        if !path.is_absolute() {
            return Err(Error::Directory { path: path.to_owned(), why: "is no absolute path" });
        }
        let at = disk.open_root().map_err(call)?;
        let stat = disk.look(&at).map_err(call)?;
        let mut walk = Self { disk, at, stat, path: "/".into(), links: 0 };
        walk.go(path, &call)?;
        walk.judge(true)?;
        Ok((walk.at, walk.stat))
    }

    fn go(&mut self, path: &Path, call: &impl Fn(Errno) -> Error) -> Result<(), Error> {
        for component in path.components() {
            match component {
                Component::RootDir => {
                    self.at = self.disk.open_root().map_err(call)?;
                    self.stat = self.disk.look(&self.at).map_err(call)?;
                    self.path = "/".into();
                }
                Component::CurDir | Component::Prefix(_) => {}
                Component::ParentDir => self.step(OsStr::new(".."), call)?,
                Component::Normal(name) => self.step(name, call)?,
            }
        }
        Ok(())
    }

    fn step(&mut self, name: &OsStr, call: &impl Fn(Errno) -> Error) -> Result<(), Error> {
        // Whoever may write here decides what the name is.
        self.judge(false)?;
        let next = self.disk.open_below(&self.at, name).map_err(call)?;
        let stat = self.disk.look(&next).map_err(call)?;
        let path = self.path.join(name);
        if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
            (self.at, self.stat, self.path) = (next, stat, path);
            return Ok(());
        }
        if !is_ours(&stat) {
            return Err(Error::Directory { path, why: "is a link of another user, who could turn it" });
        }
        self.links += 1;
        if self.links > LINKS {
            return Err(call(Errno::LOOP));
        }
        let to = self.disk.read_link(&next).map_err(call)?;
        self.go(&to, call)
    }

    fn judge(&self, holds_the_file: bool) -> Result<(), Error> {
        let groups = rustix::process::getegid().as_raw();
        match unfit(&self.stat, groups, holds_the_file) {
            Some(why) => Err(Error::Directory { path: self.path.clone(), why }),
            None => Ok(()),
        }
    }
}

/// Why others could swap what is in a directory.
pub(super) fn unfit(directory: &Stat, own_group: u32, holds_the_file: bool) -> Option<&'static str> {
    // There, only root and the owner of a file or of the directory may rename or remove it.
    let sticky = directory.st_mode & 0o1000 != 0 && !holds_the_file;
    if FileType::from_raw_mode(directory.st_mode) != FileType::Directory {
        Some("is not a directory")
    } else if !is_ours(directory) {
        Some("belongs to another user, who could swap the file")
    } else if sticky {
        None
    } else if directory.st_mode & 0o002 != 0 {
        Some("is world-writable: anybody could swap the file")
    } else if directory.st_mode & 0o020 != 0 && directory.st_gid != 0 && directory.st_gid != own_group {
        Some("is writable by its group, which could swap the file")
    } else {
        None
    }
}

fn is_ours(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw()
}

/// Writing to one of two names would part them, and the other may be where others can reach it.
fn second_name(stat: &Stat) -> Option<&'static str> {
    (stat.st_nlink > 1).then_some("a file with a second name (hard link)")
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
