//! The judge of a row: one world, one run, every oracle.

use crate::row::{Left, MARK, Row, Run};
use crate::world::World;
use imprint_e2e::Ran;
use imprint_e2e::machine::names;
use imprint_stack::server::Logged;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, PoisonError};

/// How many rows are tried at once: most of a row is waiting.
pub const AT_ONCE: usize = 24;

static FREE: Mutex<usize> = Mutex::new(AT_ONCE);
static FREED: Condvar = Condvar::new();

/// Waits until there is room for one more row.
pub fn with_room<T>(work: impl FnOnce() -> T) -> T {
    /// Gives the room back, also when the work panics.
    struct Room;
    impl Drop for Room {
        fn drop(&mut self) {
            *FREE.lock().unwrap_or_else(PoisonError::into_inner) += 1;
            FREED.notify_one();
        }
    }
    let free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
    *FREED.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner) -= 1;
    let _room = Room;
    work()
}

/// Tries a row; what does not hold, in words, empty when all does.
pub fn check(row: &Row) -> String {
    let mut wrong = String::new();
    let mut world = World::of(row);
    if let Some(arrange) = &row.arrange {
        arrange(&mut world);
    }
    for (at, fault) in &row.faults {
        world.inject(*at, fault.clone());
    }
    let before = Before::of(&world);
    world.clear_logs();
    let ran = std::thread::scope(|scope| {
        let running = scope.spawn(|| Ran::of(&mut world.command(row)));
        if let Some(meanwhile) = &row.meanwhile {
            meanwhile(&world);
        }
        running.join().expect("a run that ends")
    });
    let mut say = |text: String| {
        let _always = writeln!(wrong, "  {text}");
    };
    if ran.code == 124 {
        say(format!("it did not end {} s after its deadline of {} s", 120, row.within));
    } else if ran.code != row.code && !row.or.contains(&ran.code) {
        say(format!("exit {} instead of {}", ran.code, row.code));
    }
    let missing = row.say.iter().filter(|words| !ran.err.contains(words.as_str()));
    missing.for_each(|words| say(format!("does not say {words:?}")));
    if row.code != 0 && !ran.err.contains("hint") {
        say("has no hint".to_owned());
    }
    let asked = world.requests();
    over_budget(row, &asked).into_iter().for_each(&mut say);
    let is_agent = matches!(row.run, Run::Agent(_) | Run::Enrolled(_));
    let left = if is_agent { identity(&world, &before, row.left) } else { object(&world, &before, row) };
    left.into_iter().for_each(&mut say);
    leaks(&world, &[&ran.out, &ran.err]).into_iter().for_each(&mut say);
    if let Some(after) = &row.after {
        after(&world).err().into_iter().for_each(&mut say);
    }
    for talk in world.talks.iter().filter(|talk| talk.is_trap && !talk.heard().is_empty()) {
        say(format!("a redirect was followed to port {}", talk.port()));
    }
    if !wrong.is_empty() {
        let said = format!("{}{}", ran.out, ran.err).replace('\n', "\n    ");
        let _always = writeln!(wrong, "  it said: {said}");
        let seen: Vec<String> = asked.into_iter().map(|request| request.name).collect();
        let _always = writeln!(wrong, "  it asked: {}", seen.join(" "));
    }
    wrong
}

/// What was there before the run.
struct Before {
    identity: Option<String>,
    etc: Vec<String>,
    object: Option<Vec<u8>>,
}

impl Before {
    fn of(world: &World) -> Self {
        Self {
            identity: world.machine.identity_text(),
            etc: world.machine.etc(),
            object: world.site.stack.published("web").map(|bytes| bytes.to_vec()),
        }
    }
}

/// The names of which there were more requests than there may be.
fn over_budget(row: &Row, seen: &[Logged]) -> Vec<String> {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for request in seen {
        *counts.entry(&request.name).or_default() += 1;
    }
    let most = |name: &str| row.most.iter().find(|(of, _)| *of == name).map_or(row.usual, |(_, most)| *most);
    let over = counts.into_iter().filter(|(name, count)| *count > most(name));
    over.map(|(name, count)| format!("{count} requests {name}, of which {} may be", most(name))).collect()
}

/// What is wrong with the machine's identity.
fn identity(world: &World, before: &Before, left: Left) -> Vec<String> {
    let (machine, mut wrong) = (&world.machine, Vec::new());
    let now = machine.identity_text();
    match left {
        Left::None if now.is_some() => wrong.push("there is an identity".to_owned()),
        Left::Old if now != before.identity => wrong.push("the identity was changed".to_owned()),
        Left::New if now.is_none() || now == before.identity => wrong.push("no new identity".to_owned()),
        Left::New => wrong.extend(authenticates(world).err()),
        Left::None | Left::Old => {}
    }
    let mut etc = before.etc.clone();
    if left == Left::New {
        etc.extend(["conjur.conf", "conjur.identity", "conjur.pem"].map(str::to_owned));
        etc.sort();
        etc.dedup();
    }
    if machine.etc() != etc {
        wrong.push(format!("in /etc are {:?} instead of {etc:?}", machine.etc()));
    }
    wrong
}

/// Whether what is on the machine's disk is whole and the key that Conjur has.
pub fn authenticates(world: &World) -> Result<(), String> {
    let (login, key) = world.machine.identity();
    let host = login.trim_start_matches("host/");
    match world.site.stack.conjur.service().key_of(host) {
        Some(current) if current == key => Ok(()),
        Some(_) => Err("the key on the disk is not the one that Conjur takes".to_owned()),
        None => Err(format!("Conjur has no host {host}")),
    }
}

/// What is wrong with the factory's object and its tokens.
fn object(world: &World, before: &Before, row: &Row) -> Vec<String> {
    let (stack, mut wrong) = (&world.site.stack, Vec::new());
    let now = stack.published("web").map(|bytes| bytes.to_vec());
    match row.left {
        Left::None if now.is_some() => wrong.push("something is published".to_owned()),
        Left::Old if now != before.object => wrong.push("the object was changed".to_owned()),
        Left::New if now.is_none() || now == before.object => wrong.push("nothing new".to_owned()),
        Left::New | Left::None | Left::Old => {}
    }
    let published =
        usize::from(row.left != Left::None) + usize::from(row.left == Left::New && before.object.is_some());
    let live = stack.conjur.service().live_tokens("web/factory");
    if live > published + row.orphans {
        wrong.push(format!("{live} live tokens at Conjur, of which {} may be", published + row.orphans));
    }
    // Once the fault is gone, the next plain run ends well, and what is published serves.
    world.clear_faults();
    world.usual_rotator();
    let again = Ran::of(&mut world.bounded(&world.site.rotator(&["rotate"]), 60));
    let booted = Ran::of(&mut world.bounded(&world.machine.imprint(&["enroll"]), 60));
    for (what, ran) in [("the next rotation", again), ("a boot after it", booted)] {
        if ran.code != 0 {
            wrong.push(format!("{what} ends with {}: {}", ran.code, ran.err));
        }
    }
    wrong
}

/// Secrets, or parts of a fault's body, in these texts or in any file but the identity.
pub fn leaks(world: &World, texts: &[&str]) -> Vec<String> {
    let mut wrong = Vec::new();
    // A key that died on the way is one too.
    let dead = world.keys.iter().map(|key| ("a key that died".to_owned(), key.clone()));
    let secrets = world.site.stack.secrets().and(dead);
    let mut search = |what: &str, text: &str| {
        if let Some(found) = secrets.found_in(text.as_bytes()) {
            wrong.push(format!("{what} has {found}"));
        }
        if text.contains(MARK) {
            wrong.push(format!("{what} has a part of a server's answer"));
        }
    };
    texts.iter().for_each(|text| search("what was said", text));
    for file in files(&world.machine.path("")) {
        if !file.ends_with("etc/conjur.identity") {
            let bytes = std::fs::read(&file).unwrap_or_default();
            search(&file.display().to_string(), &String::from_utf8_lossy(&bytes));
        }
    }
    wrong
}

/// Every file below a folder; what is neither file nor folder is not read.
fn files(folder: &Path) -> Vec<PathBuf> {
    let below = names(folder).into_iter().map(|name| folder.join(name));
    let kind = |path: &Path| std::fs::symlink_metadata(path).map(|data| data.file_type());
    below
        .flat_map(|path| match kind(&path) {
            Ok(kind) if kind.is_dir() => files(&path),
            Ok(kind) if kind.is_file() => vec![path],
            Ok(_) | Err(_) => Vec::new(),
        })
        .collect()
}
