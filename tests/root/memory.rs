//! What a program still has in its memory when it ends: it is held at its very last system call, by strace, and all
//! that it could write to is searched for every secret of the site, in every form. Its arguments and environment too,
//! and that it started no other program, whose memory nobody would have searched.

use crate::{Ran, no_secret, published};
use imprint_e2e::Site;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A system call, by its name and its number on this kind of machine.
struct Call(&'static str, &'static str);

/// The last of all.
const EXIT_GROUP: Call = Call("exit_group", if cfg!(target_arch = "x86_64") { "231" } else { "94" });

/// The first of these puts the state in its place, before the redeem; the next ones the identity files.
const RENAMEAT: Call = Call("renameat", if cfg!(target_arch = "x86_64") { "264" } else { "38" });

/// A program that is held at a system call; it goes when this goes.
struct Held {
    strace: Child,
    process: PathBuf,
}

impl Held {
    /// Runs the program up to its call of this number.
    fn at(program: &Command, call: &Call, number: u32) -> Self {
        let Call(name, code) = call;
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={name}")]);
        // Longer than any test waits.
        strace.args(["-e", &format!("inject={name}:delay_enter=600000000:when={number}")]);
        strace.arg(program.get_program()).args(program.get_args());
        strace.env_clear().envs(program.get_envs().filter_map(|(k, v)| Some((k, v?))));
        strace.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut held = Self { strace: strace.spawn().unwrap(), process: PathBuf::new() };
        let children = format!("/proc/{0}/task/{0}/children", held.strace.id());
        for _ in 0..6000 {
            let process = fs::read_to_string(&children).unwrap_or_default();
            if let Some(id) = process.split_whitespace().next() {
                held.process = Path::new("/proc").join(id);
                // Twice: an earlier call of the same name only passes through.
                if held.is_at(code) {
                    std::thread::sleep(Duration::from_millis(100));
                    if held.is_at(code) {
                        return held;
                    }
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{:?} did not come to {name} in a minute", program.get_program());
    }

    fn is_at(&self, code: &str) -> bool {
        let call = fs::read_to_string(self.process.join("syscall")).unwrap_or_default();
        call.split(' ').next() == Some(code)
    }

    /// Each part of its memory that it can write to, by its name.
    fn memory(&self) -> Vec<(String, Vec<u8>)> {
        let memory = File::open(self.process.join("mem")).unwrap();
        let maps = fs::read_to_string(self.process.join("maps")).unwrap();
        let writable =
            maps.lines().filter(|line| line.split(' ').nth(1).is_some_and(|may| may.starts_with("rw")));
        let read = |line: &str| {
            let (range, rest) = line.split_once(' ').unwrap();
            let (from, to) = range.split_once('-').unwrap();
            let [from, to] = [from, to].map(|at| u64::from_str_radix(at, 16).unwrap());
            let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
            memory.read_exact_at(&mut bytes, from).unwrap();
            (rest.to_owned(), bytes)
        };
        writable.map(read).collect()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // The program first: it would go on without strace.
        if let Some(id) = self.process.file_name() {
            let _killed = Command::new("kill").arg("-KILL").arg(id).status();
        }
        let _killed = self.strace.kill();
        let _waited = self.strace.wait();
    }
}

/// Nothing of the site's secrets is in what is left of the program, and what must be there is.
#[track_caller]
fn check(site: &Site, program: &Command, known: &str) {
    let held = Held::at(program, &EXIT_GROUP, 1);
    let memory = held.memory();
    let secrets = site.stack.secrets();
    for (part, bytes) in &memory {
        let found = secrets.count_in(bytes);
        assert!(found.is_empty(), "{part} still holds {found:?}");
    }
    // Else nothing was searched.
    let has =
        |text: &str| memory.iter().any(|(_, bytes)| bytes.windows(text.len()).any(|w| w == text.as_bytes()));
    assert!(has(known), "{known:?} is nowhere in {} parts of the memory", memory.len());
    for what in ["cmdline", "environ"] {
        no_secret(site, &[&String::from_utf8_lossy(&fs::read(held.process.join(what)).unwrap())]);
    }
}

#[test]
#[ignore = "needs root: make test-root"]
fn an_agent_that_ends_has_no_secret_in_its_memory() {
    let site = published();
    let machine = site.machine("web");
    let config = machine.path("etc/imprint/config.toml").display().to_string();
    check(&site, &machine.imprint(&["enroll"]), &config);
    assert!(machine.identity_text().is_some(), "it was held before it was done");
    check(&site, &machine.imprint(&["enroll"]), &config);
    check(&site, &machine.imprint(&["verify"]), &config);
    check(&site, &machine.imprint(&["rotate-key"]), &config);
    let _works = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    // One that fails at the very end, with all that it has learned.
    let late = site.machine("web");
    late.set_config(&late.config().replace("web/password", "db/password"));
    check(&site, &late.imprint(&["enroll", "--deadline", "2s"]), &late.path("etc").display().to_string());
}

/// What is searched is the memory, and what is looked for stands there as long as it is needed.
#[test]
#[ignore = "needs root: make test-root"]
fn an_agent_at_work_has_the_key_in_its_memory() {
    let site = published();
    let machine = site.machine("web");
    // Up to here it has redeemed, and no file has its name yet.
    site.may_tell(".conjur.identity.imprint-draft");
    let held = Held::at(&machine.imprint(&["enroll"]), &RENAMEAT, 2);
    let host = machine.host_id();
    assert!(site.stack.conjur.service().key_of(&host).is_some() && machine.identity_text().is_none());
    let secrets = site.stack.secrets();
    let found: Vec<_> = held
        .memory()
        .iter()
        .flat_map(|(_, bytes)| {
            secrets.count_in(bytes).into_iter().map(|(name, _)| name.to_owned()).collect::<Vec<_>>()
        })
        .collect();
    assert!(found.iter().any(|name| name.contains(&host)), "{found:?}");
}

#[test]
#[ignore = "needs root: make test-root"]
fn they_start_no_other_program() {
    let site = published();
    let machine = site.machine("web");
    let starts = |program: &Command| {
        let log = site.folder().join("starts");
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-e", "trace=execve,execveat", "-o"]).arg(&log);
        strace.arg(program.get_program()).args(program.get_args());
        strace.env_clear().envs(program.get_envs().filter_map(|(k, v)| Some((k, v?))));
        let _said = Ran::of(&mut strace).expect(0);
        fs::read_to_string(&log).unwrap().lines().filter(|line| line.contains("exec")).count()
    };
    for command in ["enroll", "verify", "rotate-key", "status", "doctor", "forget"] {
        assert_eq!(starts(&machine.imprint(&[command])), 1, "imprint {command}");
    }
    for command in ["rotate", "status", "plan"] {
        assert_eq!(starts(&site.rotator(&[command])), 1, "imprint-rotator {command}");
    }
}
