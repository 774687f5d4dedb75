//! The power goes at every change that a run makes to the disk: what may be left is judged, and some of it is
//! put on a real disk, where the agent must come to a good end.

use crate::call::{Call, below};
use crate::image::Image;
use crate::model::{Disk, Loss, Op};
use crate::setting::{Broken, Setting as _};
use crate::tracer::{Stop, Then};
use crate::world::{IDENTITY, World};
use imprint_agent::identity::Identity;
use imprint_core::name::ApplianceUrl;
use imprint_stack::conjur::Backup;
use nix::libc;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::{Path, PathBuf};

/// One change, and Conjur as it was when it had been made.
pub struct Recorded {
    /// The change.
    pub op: Op,
    /// Conjur at that moment.
    pub conjur: Backup,
}

/// Records the changes that an undisturbed run makes to the disk.
///
/// # Errors
/// When the run does not end well.
pub fn recorded(world: &World) -> Result<Vec<Recorded>, Broken> {
    world.reset()?;
    let mut namer = world.namer();
    let mut recorder =
        Recorder { root: world.machine.path(""), written: BTreeMap::new(), there: world.before.clone() };
    let mut all = Vec::new();
    let ended = world.watched(&mut |stop| {
        let call = namer.name(stop);
        if let (Some(call), Some(returned @ 0..)) = (call, stop.returned) {
            for op in recorder.ops(&call, stop, returned) {
                all.push(Recorded { op, conjur: world.site.stack.conjur.service().backup() });
            }
        }
        Then::Go
    })?;
    if ended.code != Some(0) {
        return Err(format!("a watched run ends with {ended:?}"));
    }
    // What the model has at the end is what the disk has: nothing that changes it was overlooked.
    let mut model = Disk::new(&world.before);
    all.iter().for_each(|it| model.carry_out(&it.op));
    if model.now() == world.image()? {
        Ok(all)
    } else {
        Err("the model and the disk differ at the end".to_owned())
    }
}

struct Recorder {
    root: PathBuf,
    /// How much was written to each open file.
    written: BTreeMap<u64, usize>,
    there: Image,
}

impl Recorder {
    fn ops(&mut self, call: &Call, stop: &Stop, returned: i64) -> Vec<Op> {
        if call.name == "write" && call.subject == "stdout" {
            return vec![Op::Told];
        }
        let Some(path) = call.path.as_deref().and_then(|path| path.strip_prefix(&self.root).ok()) else {
            return vec![];
        };
        let path = path.to_owned();
        let [first, second, third, fourth, ..] = stop.arguments;
        let size = |number: u64| usize::try_from(number).unwrap_or_default();
        let mode = |number: u64| u32::try_from(number & 0o7777).unwrap_or_default();
        let ops = match call.name {
            "openat" | "open" => {
                self.written.insert(u64::try_from(returned).unwrap_or_default(), 0);
                let flags = if call.name == "open" { second } else { third };
                let creates = flags & u64::from(libc::O_CREAT.cast_unsigned()) != 0;
                if creates && !self.there.0.contains_key(&path) {
                    vec![Op::Create(path, mode(fourth) & !0o022)]
                } else {
                    vec![]
                }
            }
            "write" => {
                let bytes = stop.bytes(second, size(returned.cast_unsigned()));
                let at = self.written.entry(first).or_default();
                *at += bytes.len();
                vec![Op::Write(path, *at - bytes.len(), bytes)]
            }
            "pwrite64" => {
                vec![Op::Write(path, size(fourth), stop.bytes(second, size(returned.cast_unsigned())))]
            }
            "fallocate" => vec![Op::Reserve(path, size(third) + size(fourth))],
            "fchmod" => vec![Op::Mode(path, mode(second))],
            "fsync" | "fdatasync" => vec![Op::Sync(path)],
            "mkdirat" => vec![Op::MakeFolder(path, mode(third) & !0o022)],
            "mkdir" => vec![Op::MakeFolder(path, mode(second) & !0o022)],
            "rmdir" => vec![Op::RemoveFolder(path)],
            "unlink" | "unlinkat" => vec![Op::Unlink(path)],
            "rename" | "renameat" | "renameat2" => {
                let to = match call.name {
                    "rename" => Some(stop.text(second).into()),
                    _ => below(stop, third, fourth),
                };
                let to = to
                    .as_deref()
                    .and_then(|to| to.strip_prefix(&self.root).ok())
                    .unwrap_or(Path::new(""))
                    .to_owned();
                let exchanges =
                    call.name == "renameat2" && stop.arguments[4] & u64::from(libc::RENAME_EXCHANGE) != 0;
                vec![if exchanges { Op::Exchange(path, to) } else { Op::Rename(path, to) }]
            }
            _ => vec![],
        };
        let mut disk = Disk::new(&self.there);
        ops.iter().for_each(|op| disk.carry_out(op));
        self.there = disk.now();
        ops
    }
}

/// What was tried, and what is to be put on a real disk.
#[derive(Default)]
pub struct Judged {
    /// Moments at which the power went.
    pub cuts: usize,
    /// What the disk may have held then, all different.
    pub states: usize,
    /// Of these, what a journal that keeps the order could have left.
    pub in_order: usize,
    /// What broke.
    pub broken: Vec<Broken>,
    /// Each different state, with the moment.
    pub left: Vec<(usize, Image)>,
}

/// Lets the power go after each operation, and judges whatever may be left. With `until_it_breaks`, no
/// further than to the first promise that is broken.
#[must_use]
pub fn judged(world: &World, ops: &[Op], random: &mut fastrand::Rng, until_it_breaks: bool) -> Judged {
    let mut model = Disk::new(&world.before);
    let mut judged = Judged::default();
    let mut judge = Judge {
        world,
        secrets: world.secrets(),
        has_been: BTreeSet::from([world.before.text(IDENTITY)]),
        told: None,
    };
    let mut seen = HashSet::new();
    for cut in 0..=ops.len() {
        let op = cut.checked_sub(1).and_then(|at| ops.get(at));
        op.into_iter().for_each(|op| model.carry_out(op));
        let now = model.now();
        judge.has_been.insert(now.text(IDENTITY));
        if judge.told.is_some() || op == Some(&Op::Told) {
            // From now on the same disk is judged otherwise.
            seen.clear();
            judge.told = Some(now);
        }
        judged.cuts += 1;
        for loss in model.losses(random, &mut seen) {
            judged.states += 1;
            judged.in_order += usize::from(loss.in_order);
            if let Err(why) = judge.judge(&loss) {
                let after = op.map_or("nothing".to_owned(), shown);
                judged.broken.push(format!("power lost after operation {cut} ({after}): {why}"));
                if until_it_breaks {
                    return judged;
                }
            }
            judged.left.push((cut, loss.disk));
        }
    }
    judged
}

fn shown(op: &Op) -> String {
    match op {
        Op::Write(path, at, bytes) => format!("{} bytes at {at} of {}", bytes.len(), path.display()),
        other => format!("{other:?}"),
    }
}

/// What of a machine must be there once success was told, and at once with a new identity.
const FILES: [&str; 5] =
    ["etc/conjur.identity", "etc/conjur.conf", "etc/conjur.pem", "etc/conjur.env", "etc/conjur.json"];

/// Where it says for which instance and host that is.
const STATE: &str = "var/lib/imprint/state.json";

/// What a disk is held against.
struct Judge<'a> {
    world: &'a World,
    secrets: Vec<String>,
    /// What the identity's file has been so far: a program that dies leaves one of these.
    has_been: BTreeSet<Option<String>>,
    /// The disk as programs saw it when success was told.
    told: Option<Image>,
}

impl Judge<'_> {
    fn judge(&self, loss: &Loss) -> Result<(), Broken> {
        let (left, before) = (&loss.disk, &self.world.before);
        let is = left.text(IDENTITY);
        if !self.has_been.contains(&is) {
            return Err("the identity is neither absent nor one that was there".to_owned());
        }
        let new = is.as_deref().filter(|_| is != before.text(IDENTITY));
        let url: ApplianceUrl =
            self.world.site.stack.conjur.url().parse().map_err(|_| "no URL".to_owned())?;
        if let Some(text) = new
            && !matches!(Identity::find(text.as_bytes(), &url), Ok(Some(_)))
        {
            return Err("the agent's own reader finds no identity in the new file".to_owned());
        }
        if let Some((path, mode)) = left.open_with(&self.secrets) {
            return Err(format!("{} has a secret in it and mode {mode:o}", path.display()));
        }
        if let Some(told) = &self.told {
            let lost = FILES.iter().chain([&STATE]).find(|path| left.text(path) != told.text(path));
            if let Some(path) = lost {
                return Err(format!("success was told, and {path} is not what it was then"));
            }
        } else if loss.in_order && new.is_some() {
            // Whoever sees the identity finds the others.
            let is_due = |path: &&&str| self.world.after.text(path).is_some() && left.text(path).is_none();
            if let Some(path) = FILES.iter().find(is_due) {
                return Err(format!("the new identity is there, and {path} is not"));
            }
        }
        Ok(())
    }
}

/// Puts one of the states on the disk, with Conjur as it was, and lets the agent go on from there.
///
/// # Errors
/// With what was not held.
pub fn goes_on(
    world: &World,
    recorded: &[Recorded],
    before: &Backup,
    (cut, disk): &(usize, Image),
) -> Result<(), Broken> {
    let conjur = cut.checked_sub(1).and_then(|at| recorded.get(at)).map_or(before, |it| &it.conjur);
    world.put(disk, conjur)?;
    world.is_whole(disk)?;
    world.ends_well()
}
