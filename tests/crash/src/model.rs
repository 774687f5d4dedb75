//! A file system that loses whatever it may lose.
//!
//! It is fed with the calls of a run and asked what a disk can hold when the power goes. What is legal:
//!
//! - POSIX promises nothing of what was not flushed: fsync(2) makes a file's bytes, size and mode last, and
//!   says in so many words that the entry in the directory is not among them; that wants an fsync of the
//!   directory.
//! - What file systems do beyond that, and do not, was measured by Pillai et al., "All File Systems Are Not
//!   Created Equal: On the Complexity of Crafting Crash-Consistent Applications" (OSDI 2014), whose abstract
//!   persistence model (ALICE) this follows: each unflushed change of a directory is there or not, by itself
//!   and in any order; an unflushed file has any prefix of what was written, or its full size with zeros
//!   (xfs, ext4 with delayed allocation) or with what lay there before (ext4 with data=writeback); its mode
//!   may be the one that it was made with.
//! - One rename is there or not, as a whole: ext4, xfs and btrfs keep it in one transaction, and no agent
//!   could do without. So is an exchange of two names.
//!
//! A journal is kinder: of the changes of names it keeps the first so many (`Loss::in_order`). Not in here:
//! owners, access lists and labels, which are given before the first byte and flushed with it.

use crate::image::{Image, Node};
use std::collections::{BTreeMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::path::{Path, PathBuf};

/// Of how many ways to lose something all are tried; of more, a sample.
const ALL_OF: usize = 1024;

/// What a disk may have in the place of bytes that were never flushed.
const STALE: u8 = 0xA5;

/// A change, or what makes one last.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Op {
    /// A new file of this mode.
    Create(PathBuf, u32),
    /// Two names lead to each other's files.
    Exchange(PathBuf, PathBuf),
    /// A new directory of this mode.
    MakeFolder(PathBuf, u32),
    /// A file gets this mode.
    Mode(PathBuf, u32),
    /// A directory goes.
    RemoveFolder(PathBuf),
    /// A file goes by another name.
    Rename(PathBuf, PathBuf),
    /// A file has at least so many bytes.
    Reserve(PathBuf, usize),
    /// A file or a directory is flushed.
    Sync(PathBuf),
    /// The program tells whoever called it that it has succeeded.
    Told,
    /// A name goes.
    Unlink(PathBuf),
    /// Bytes are written at this place of a file.
    Write(PathBuf, usize, Vec<u8>),
}

/// A file or directory, whatever it is called.
#[derive(Clone, Debug)]
struct Thing {
    /// As it was when it was last flushed, or made.
    flushed: Node,
    /// As it was after each change since then.
    since: Vec<Node>,
}

impl Thing {
    fn now(&self) -> &Node {
        self.since.last().unwrap_or(&self.flushed)
    }

    fn change(&mut self, change: impl FnOnce(&mut u32, &mut Vec<u8>)) {
        let mut now = self.now().clone();
        if let Node::File(mode, bytes) = &mut now {
            change(mode, bytes);
        }
        self.since.push(now);
    }

    /// All that may be found of it, as it is now first.
    fn may_be(&self) -> Vec<Node> {
        let mut all = vec![self.now().clone()];
        let mut add = |node| {
            if !all.contains(&node) {
                all.push(node);
            }
        };
        let steps: Vec<&Node> = std::iter::once(&self.flushed).chain(&self.since).collect();
        for node in &steps {
            add((*node).clone());
        }
        for (before, after) in steps.iter().zip(steps.iter().skip(1)) {
            let (Node::File(was, _), Node::File(mode, bytes)) = (before, after) else { continue };
            let old = before.bytes().unwrap_or_default();
            let kept = old.len().min(bytes.len());
            for end in [kept, kept + (bytes.len() - kept) / 2, bytes.len().saturating_sub(1)] {
                add(Node::File(*mode, bytes.get(..end).unwrap_or_default().to_vec()));
                for filler in [0, STALE] {
                    let mut full = bytes.clone();
                    full.iter_mut().skip(end).for_each(|byte| *byte = filler);
                    add(Node::File(*mode, full));
                }
            }
            add(Node::File(*was, bytes.clone()));
        }
        all
    }
}

/// Names that change together; `None` for one that goes.
#[derive(Clone, Debug)]
struct Change {
    folder: PathBuf,
    names: Vec<(PathBuf, Option<usize>)>,
}

/// The file system: what is flushed, and what is not yet.
#[derive(Clone, Debug)]
pub struct Disk {
    things: Vec<Thing>,
    /// As programs see it.
    now: BTreeMap<PathBuf, usize>,
    flushed: BTreeMap<PathBuf, usize>,
    waiting: Vec<Change>,
}

/// One way in which the power may have gone.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Loss {
    /// What is on the disk.
    pub disk: Image,
    /// Whether a journal that keeps the order of changes could have left it.
    pub in_order: bool,
}

impl Disk {
    /// That holds this, all of it flushed.
    #[must_use]
    pub fn new(image: &Image) -> Self {
        let mut disk =
            Self { things: Vec::new(), now: BTreeMap::new(), flushed: BTreeMap::new(), waiting: Vec::new() };
        for (path, node) in &image.0 {
            disk.now.insert(path.clone(), disk.things.len());
            disk.things.push(Thing { flushed: node.clone(), since: Vec::new() });
        }
        disk.flushed = disk.now.clone();
        disk
    }

    /// As programs see it.
    #[must_use]
    pub fn now(&self) -> Image {
        let node = |id: &usize| self.things.get(*id).map(|thing| thing.now().clone());
        Image(self.now.iter().filter_map(|(path, id)| Some((path.clone(), node(id)?))).collect())
    }

    /// Carries out one operation.
    pub fn carry_out(&mut self, op: &Op) {
        match op {
            Op::Create(path, mode) => self.add(path, Node::File(*mode, Vec::new())),
            Op::MakeFolder(path, mode) => self.add(path, Node::Folder(*mode)),
            Op::Exchange(one, other) => {
                let (first, second) = (self.now.get(one).copied(), self.now.get(other).copied());
                self.rename(one, vec![(one.clone(), second), (other.clone(), first)]);
            }
            Op::Rename(from, to) => {
                let it = self.now.get(from).copied();
                self.rename(from, vec![(from.clone(), None), (to.clone(), it)]);
            }
            Op::Unlink(path) | Op::RemoveFolder(path) => self.rename(path, vec![(path.clone(), None)]),
            Op::Mode(path, to) => self.change(path, |mode, _| *mode = *to),
            Op::Reserve(path, size) => self.change(path, |_, bytes| {
                if bytes.len() < *size {
                    bytes.resize(*size, 0);
                }
            }),
            Op::Write(path, at, what) => self.change(path, |_, bytes| {
                if bytes.len() < at + what.len() {
                    bytes.resize(at + what.len(), 0);
                }
                bytes.iter_mut().skip(*at).zip(what).for_each(|(byte, new)| *byte = *new);
            }),
            Op::Sync(path) => self.sync(path),
            Op::Told => {}
        }
    }

    fn add(&mut self, path: &Path, node: Node) {
        self.things.push(Thing { flushed: node, since: Vec::new() });
        self.rename(path, vec![(path.to_owned(), Some(self.things.len() - 1))]);
    }

    fn rename(&mut self, at: &Path, names: Vec<(PathBuf, Option<usize>)>) {
        apply(&mut self.now, &names);
        let folder = at.parent().unwrap_or(at).to_owned();
        self.waiting.push(Change { folder, names });
    }

    fn change(&mut self, path: &Path, change: impl FnOnce(&mut u32, &mut Vec<u8>)) {
        if let Some(thing) = self.now.get(path).and_then(|id| self.things.get_mut(*id)) {
            thing.change(change);
        }
    }

    fn sync(&mut self, path: &Path) {
        let Some(thing) = self.now.get(path).and_then(|id| self.things.get_mut(*id)) else { return };
        thing.flushed = thing.now().clone();
        thing.since.clear();
        let (flushed, still): (Vec<Change>, _) =
            std::mem::take(&mut self.waiting).into_iter().partition(|change| change.folder == path);
        flushed.iter().for_each(|change| apply(&mut self.flushed, &change.names));
        self.waiting = still;
    }

    /// What the disk may hold if the power goes now: all ways, or a sample that `random` draws. What is in
    /// `seen` is left out, and what is not is added.
    pub fn losses(&self, random: &mut fastrand::Rng, seen: &mut HashSet<u64>) -> Vec<Loss> {
        let bits = u32::try_from(self.waiting.len()).unwrap_or(u32::MAX);
        let all = 1_usize.checked_shl(bits).filter(|all| *all <= ALL_OF);
        let kept: Vec<Vec<bool>> = match all {
            Some(all) => (0..all).map(|is| (0..bits).map(|bit| is >> bit & 1 == 1).collect()).collect(),
            None => {
                let some = (0..ALL_OF / 2).map(|_| (0..bits).map(|_| random.bool()).collect());
                (0..=bits).map(|end| (0..bits).map(|bit| bit < end).collect()).chain(some).collect()
            }
        };
        let may_be: Vec<Vec<(Node, u64)>> = self.things.iter().map(hashed).collect();
        let mut losses = Losses { may_be, seen, in_order: true, all: Vec::new() };
        for kept in kept {
            // No change that was kept comes after one that was lost.
            losses.in_order = kept.windows(2).all(|pair| !matches!(pair, [false, true]));
            let mut names = self.flushed.clone();
            for (change, _) in self.waiting.iter().zip(&kept).filter(|(_, kept)| **kept) {
                apply(&mut names, &change.names);
            }
            losses.with_these(&names, random);
        }
        losses.all
    }
}

/// What was found so far.
struct Losses<'a> {
    /// What each thing may be, as it is now first.
    may_be: Vec<Vec<(Node, u64)>>,
    seen: &'a mut HashSet<u64>,
    in_order: bool,
    all: Vec<Loss>,
}

impl Losses<'_> {
    /// Each file by itself as it may be, the others as they are; and some of all mixtures.
    fn with_these(&mut self, names: &BTreeMap<PathBuf, usize>, random: &mut fastrand::Rng) {
        // What lies in a directory whose own name is lost is lost with it.
        let is_reached = |path: &Path| {
            let mut above = path.ancestors().skip(1).filter(|above| !above.as_os_str().is_empty());
            above.all(|above| names.contains_key(above))
        };
        let there: Vec<(&PathBuf, usize)> =
            names.iter().filter(|(path, _)| is_reached(path)).map(|(path, id)| (path, *id)).collect();
        let ways = |id: usize, all: &Self| all.may_be.get(id).map_or(1, Vec::len);
        self.add(&there, &mut |_| 0);
        for (_, which) in &there {
            for way in 1..ways(*which, self) {
                self.add(&there, &mut |id| if id == *which { way } else { 0 });
            }
        }
        let unsure: Vec<usize> = there.iter().map(|(_, id)| *id).filter(|id| ways(*id, self) > 1).collect();
        if unsure.len() > 1 {
            for _ in 0..8 {
                let drawn: BTreeMap<usize, usize> =
                    unsure.iter().map(|id| (*id, random.usize(..ways(*id, self)))).collect();
                self.add(&there, &mut |id| drawn.get(&id).copied().unwrap_or_default());
            }
        }
    }

    fn add(&mut self, there: &[(&PathBuf, usize)], way: &mut dyn FnMut(usize) -> usize) {
        let chosen: Vec<(&PathBuf, &(Node, u64))> = there
            .iter()
            .filter_map(|(path, id)| Some((*path, self.may_be.get(*id)?.get(way(*id))?)))
            .collect();
        let hashes: Vec<(&PathBuf, u64)> = chosen.iter().map(|(path, (_, hash))| (*path, *hash)).collect();
        if self.seen.insert(hash_of(&(self.in_order, hashes))) {
            let disk = chosen.into_iter().map(|(path, (node, _))| (path.clone(), node.clone()));
            self.all.push(Loss { disk: Image(disk.collect()), in_order: self.in_order });
        }
    }
}

/// All that may be found of a thing, each with a hash.
fn hashed(thing: &Thing) -> Vec<(Node, u64)> {
    let with_hash = |node: Node| {
        let hash = hash_of(&(node.mode(), node.bytes()));
        (node, hash)
    };
    thing.may_be().into_iter().map(with_hash).collect()
}

fn hash_of(what: &impl Hash) -> u64 {
    let mut hash = DefaultHasher::new();
    what.hash(&mut hash);
    hash.finish()
}

fn apply(names: &mut BTreeMap<PathBuf, usize>, changes: &[(PathBuf, Option<usize>)]) {
    for (path, id) in changes {
        match id {
            Some(id) => drop(names.insert(path.clone(), *id)),
            None => drop(names.remove(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn path(name: &str) -> PathBuf {
        Path::new("etc").join(name)
    }

    /// What may lie under a name after these operations on a disk with an old file: its text, `-` for none.
    fn may_be(name: &str, ops: &[Op]) -> BTreeSet<String> {
        let old = Node::File(0o600, b"old".to_vec());
        let before = [("etc".into(), Node::Folder(0o755)), (path("file"), old)];
        let mut disk = Disk::new(&Image(BTreeMap::from(before)));
        ops.iter().for_each(|op| disk.carry_out(op));
        let losses = disk.losses(&mut fastrand::Rng::with_seed(1), &mut HashSet::new());
        let name = path(name);
        losses
            .iter()
            .map(|loss| loss.disk.text(name.to_str().unwrap()).unwrap_or_else(|| "-".to_owned()))
            .collect()
    }

    fn is(texts: &[&str]) -> BTreeSet<String> {
        texts.iter().map(|text| (*text).to_owned()).collect()
    }

    #[test]
    fn what_is_not_flushed_may_be_lost() {
        let create = || Op::Create(path("draft"), 0o600);
        let write = || Op::Write(path("draft"), 0, b"news".to_vec());
        let sync = || Op::Sync(path("draft"));
        let rename = || Op::Rename(path("draft"), path("file"));
        let all = || Op::Sync("etc".into());
        // The whole dance: the old one or the new one, and at last the new one.
        assert_eq!(may_be("file", &[create(), write(), sync(), rename()]), is(&["old", "news"]));
        assert_eq!(may_be("file", &[create(), write(), sync(), rename(), all()]), is(&["news"]));
        // Without the first flush, anything in between too.
        let torn = may_be("file", &[create(), write(), rename(), all()]);
        assert!(torn.is_superset(&is(&["", "ne", "new", "news", "\0\0\0\0", "ne\0\0"])), "{torn:?}");
        assert!(!torn.contains("old"));
        // Written in place, neither the old nor the new one is sure.
        let torn = may_be("file", &[Op::Write(path("file"), 0, b"NEWS".to_vec())]);
        assert!(torn.is_superset(&is(&["old", "NEW", "NEWS"])), "{torn:?}");
        // A name that goes may stay until its directory is flushed.
        assert_eq!(may_be("file", &[Op::Unlink(path("file"))]), is(&["old", "-"]));
        assert_eq!(may_be("file", &[Op::Unlink(path("file")), all()]), is(&["-"]));
        let swap = Op::Exchange(path("draft"), path("file"));
        let swapped = [create(), write(), sync(), swap, all()];
        assert_eq!(may_be("file", &swapped), is(&["news"]));
        assert_eq!(may_be("draft", &swapped), is(&["old"]));
    }

    #[test]
    fn a_new_directory_is_lost_with_all_that_is_in_it() {
        let made = [
            Op::MakeFolder(path("new"), 0o700),
            Op::Create(path("new/file"), 0o600),
            Op::Sync(path("new/file")),
            Op::Sync(path("new")),
        ];
        assert_eq!(may_be("new/file", &made), is(&["-", ""]));
        assert_eq!(may_be("new/file", &[&made[..], &[Op::Sync("etc".into())]].concat()), is(&[""]));
    }

    #[test]
    fn a_journal_keeps_the_order() {
        let before = Image(BTreeMap::from([("etc".into(), Node::Folder(0o755))]));
        let mut disk = Disk::new(&before);
        for name in ["one", "two"] {
            disk.carry_out(&Op::Create(path(name), 0o600));
        }
        let losses = disk.losses(&mut fastrand::Rng::with_seed(1), &mut HashSet::new());
        let only_two =
            |loss: &Loss| loss.disk.text("etc/two").is_some() && loss.disk.text("etc/one").is_none();
        assert!(losses.iter().any(only_two));
        assert!(!losses.iter().any(|loss| loss.in_order && only_two(loss)));
    }
}
