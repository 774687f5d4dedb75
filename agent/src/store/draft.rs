//! The file beside the target that takes its place when it is whole.
//!
//! Its name is always the same: what a crash left there is found and removed by the next run (runs never
//! overlap, see `lock`). Whatever happens, it goes with the [`Draft`].

use super::place::{Folder, Place};
use super::{Disk, Error, Target};
use rustix::io::Errno;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What a draft is filled with.
#[derive(Clone, Copy)]
pub(super) enum Content<'a> {
    /// These bytes, flushed.
    Bytes(&'a [u8]),
    /// The space for so many.
    Space(usize),
}

/// What stands under a draft's own name.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stands {
    /// The new file.
    New,
    /// The one that was replaced.
    Old,
    /// Nothing: it took the target's place, where nothing was.
    Nothing,
}

/// A file that is not yet in its place.
pub(super) struct Draft<'a, D: Disk> {
    place: Place<'a, D>,
    name: OsString,
    file: OwnedFd,
    stands: Stands,
    /// It may not be put back: it is in its place for good.
    settled: bool,
}

impl<'a, D: Disk> Draft<'a, D> {
    /// A finished file beside the target: owner, label and mode first, then what is in it.
    pub(super) fn new(place: Place<'a, D>, target: &Target, content: Content<'_>) -> Result<Self, Error> {
        remove_left(&place)?;
        let name = name(&place);
        let file =
            place.disk.create(place.dir(), &name).map_err(place.call("cannot create a file beside"))?;
        let draft = Self { place, name, file, stands: Stands::New, settled: false };
        draft.dress(target)?;
        draft.fill(content)?;
        Ok(draft)
    }

    /// While nobody but its owner can open it.
    fn dress(&self, target: &Target) -> Result<(), Error> {
        let (disk, place, file) = (self.place.disk, &self.place, &self.file);
        // A default list of the directory would let in more users as soon as the mode is set.
        disk.drop_acl(file).map_err(place.call("cannot drop the access list of"))?;
        // In a setgid directory the file would else get the directory's group.
        let group = target.group.unwrap_or_else(|| rustix::process::getegid().as_raw());
        // An owner that is right already needs no right to set one: a sandbox takes that away.
        let has = disk.look(file).map_err(place.call("cannot look at"))?;
        if has.st_gid != group || target.owner.is_some_and(|owner| owner != has.st_uid) {
            disk.set_owner(file, target.owner, Some(group)).map_err(place.call("cannot set the owner of"))?;
        }
        if let Some(label) = label(place, target) {
            // A label that is right already needs no right to set one.
            let has = disk.label(place.dir(), &self.name).map_err(place.call("cannot look at"))?;
            if has.as_deref().map(without_nul) != Some(without_nul(&label)) {
                disk.set_label(file, &label).map_err(place.call("cannot set the SELinux label of"))?;
            }
        }
        disk.set_mode(file, target.mode).map_err(place.call("cannot set the mode of"))
    }

    fn fill(&self, content: Content<'_>) -> Result<(), Error> {
        let (disk, place) = (self.place.disk, &self.place);
        let write = |bytes: &[u8]| {
            disk.write(&self.file, bytes).map_err(place.call("cannot write"))?;
            self.sync()
        };
        match content {
            Content::Bytes(bytes) => write(bytes),
            Content::Space(size) => match disk.reserve(&self.file, size) {
                Ok(()) => Ok(()),
                // NFS before 4.2, ext3 and others cannot promise space; they must be given the bytes.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => write(&vec![b'\n'; size]),
                Err(errno) => Err(place.call("cannot take the space for")(errno)),
            },
        }
    }

    pub(super) fn sync(&self) -> Result<(), Error> {
        self.place.disk.sync(&self.file).map_err(self.place.call("cannot flush"))
    }

    pub(super) fn folder(&self) -> Rc<Folder> {
        Rc::clone(&self.place.folder)
    }

    pub(super) fn device(&self) -> u64 {
        self.place.folder.device()
    }

    pub(super) fn sync_folder(&self) -> Result<(), Error> {
        self.place.disk.sync(self.place.dir()).map_err(self.place.call("cannot flush the directory of"))
    }

    /// Takes the target's place. What was there is gone.
    pub(super) fn rename(&mut self) -> Result<(), Error> {
        self.place
            .disk
            .rename(self.place.dir(), &self.name, &self.place.name)
            .map_err(self.place.call("cannot replace"))?;
        (self.stands, self.settled) = (Stands::Nothing, true);
        Ok(())
    }

    /// Takes the target's place. What was there is kept under the draft's name, to be put back.
    pub(super) fn exchange(&mut self) -> Result<(), Error> {
        let place = &self.place;
        if place.old.is_none() {
            place.disk.rename(place.dir(), &self.name, &place.name).map_err(place.call("cannot replace"))?;
            self.stands = Stands::Nothing;
            return Ok(());
        }
        match place.disk.exchange(place.dir(), &self.name, &place.name) {
            Ok(()) => {
                self.stands = Stands::Old;
                Ok(())
            }
            // A file system that cannot: then it cannot be put back either.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => self.rename(),
            Err(errno) => Err(place.call("cannot replace")(errno)),
        }
    }

    /// Undoes [`Self::exchange`], on the way out: the error that led here is the one to tell.
    pub(super) fn put_back(&mut self) {
        let place = &self.place;
        match self.stands {
            Stands::Old => {
                if place.disk.exchange(place.dir(), &self.name, &place.name).is_ok() {
                    self.stands = Stands::New;
                }
            }
            Stands::Nothing if !self.settled => {
                let _told_already = place.disk.remove(place.dir(), &place.name);
            }
            Stands::Nothing | Stands::New => {}
        }
    }

    /// Removes what was replaced.
    pub(super) fn drop_old(&mut self) -> Result<(), Error> {
        if self.stands == Stands::Old {
            self.remove()?;
        }
        Ok(())
    }

    fn remove(&mut self) -> Result<(), Error> {
        self.place
            .disk
            .remove(self.place.dir(), &self.name)
            .map_err(self.place.call("cannot remove the draft of"))?;
        self.stands = Stands::Nothing;
        Ok(())
    }
}

impl<D: Disk> Drop for Draft<'_, D> {
    fn drop(&mut self) {
        if self.stands != Stands::Nothing {
            let _told_already = self.place.disk.remove(self.place.dir(), &self.name);
        }
    }
}

/// The proof that a target can be written: the space that it needs, taken.
pub struct Writable<'a, D: Disk> {
    draft: Draft<'a, D>,
}

impl<'a, D: Disk> Writable<'a, D> {
    pub(super) const fn new(draft: Draft<'a, D>) -> Self {
        Self { draft }
    }

    pub(super) fn device(&self) -> u64 {
        self.draft.device()
    }

    /// Gives the space back, for the file itself.
    ///
    /// # Errors
    /// When the draft cannot be removed: then [`super::put`] could not replace it either.
    pub fn release(mut self) -> Result<(), Error> {
        self.draft.remove()
    }
}

/// Removes what a killed run has left under the draft's name. Says whether it had left something.
pub(super) fn remove_left<D: Disk>(place: &Place<'_, D>) -> Result<bool, Error> {
    match place.disk.remove(place.dir(), &name(place)) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(place.call("cannot remove the old draft of")(errno)),
    }
}

/// Removes a file and its draft, and flushes the directory.
pub(super) fn remove<D: Disk>(place: &Place<'_, D>) -> Result<(), Error> {
    for name in [&name(place), &place.name] {
        match place.disk.remove(place.dir(), name) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(place.call("cannot remove")(errno)),
        }
    }
    place.disk.sync(place.dir()).map_err(place.call("cannot flush the directory of"))
}

/// The label that a file shall have: that of the file it replaces, else the configured one, as libselinux
/// writes it. `None` leaves what the kernel gives a new file of the directory.
fn label<D>(place: &Place<'_, D>, target: &Target) -> Option<Vec<u8>> {
    let old = place.old.as_ref().and_then(|old| old.label.clone());
    old.or_else(|| target.label.as_ref().map(|label| [label.as_bytes(), b"\0"].concat()))
}

fn without_nul(label: &[u8]) -> &[u8] {
    label.strip_suffix(b"\0").unwrap_or(label)
}

/// Where the draft of a file lies until it is finished; a killed run may leave it there.
#[must_use]
pub fn draft_of(path: &Path) -> Option<PathBuf> {
    Some(path.with_file_name(name_of(path.file_name()?)))
}

fn name<D>(place: &Place<'_, D>) -> OsString {
    name_of(&place.name)
}

fn name_of(file: &OsStr) -> OsString {
    let mut name = OsString::from(".");
    name.push(file);
    name.push(".imprint-draft");
    name
}
