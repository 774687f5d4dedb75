//! Boots the package: a real systemd as PID 1, a real cloud-init, and servers that the guest reaches by name.
//!
//! `boot` runs every case of [`cases`] beside each other, `boot NAME...` some of them, `boot list` tells them.
//! Each is a process in a network and a mount namespace of its own, so that what it makes goes with it. What
//! a failed one saw stays below `target/boot/failed`.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a harness speaks to a person")]
#![expect(clippy::expect_used, reason = "scaffolding that cannot be put up must stop the case that wants it")]

mod cases;
mod dhcp;
mod example;
mod guest;
mod judge;
mod story;
mod vm;
mod world;

use cases::{CASES, Case, Package};
use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

type Failed = Box<dyn Error>;

/// How many boots run at once unless `IMPRINT_BOOT_JOBS` says otherwise: most of them wait most of the time.
const JOBS: usize = 4;

/// What every case starts from.
#[derive(Clone, Debug)]
struct Ground {
    /// The root file system without a package of ours.
    root: PathBuf,
    /// Where systemd-nspawn is.
    tools: PathBuf,
    /// What is made, and what a failed case leaves.
    folder: PathBuf,
}

impl Ground {
    fn layer(&self, package: Package) -> PathBuf {
        self.folder.join(format!("installed-{}", package.name()))
    }
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let end = match words.as_slice() {
        ["list"] => {
            CASES.iter().for_each(|case| println!("{:<22} {}", case.name, case.about));
            Ok(true)
        }
        ["--inside", name, root, tools, folder] => {
            let ground = Ground { root: root.into(), tools: tools.into(), folder: folder.into() };
            inside(name, &ground)
        }
        ["vm"] => slow(),
        ["--inside-vm", made, folder] => inside_vm(Path::new(made), Path::new(folder)),
        names => run(names),
    };
    match end {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("boot: {error}");
            ExitCode::FAILURE
        }
    }
}

fn named(name: &str) -> Result<&'static Case, Failed> {
    let case = CASES.iter().find(|case| case.name == name);
    case.ok_or_else(|| format!("there is no case {name}; boot list tells them").into())
}

/// All or some cases, and a table of them. Whether all passed.
fn run(names: &[&str]) -> Result<bool, Failed> {
    let mut todo: Vec<&Case> = match names {
        [] => CASES.iter().collect(),
        names => names.iter().map(|name| named(name)).collect::<Result<_, _>>()?,
    };
    // Those that wait longest begin first, and others run meanwhile.
    todo.sort_by_key(|case| std::cmp::Reverse(case.trouble.lasts()));
    let ground = prepare(&todo)?;
    let (from, total) = (Instant::now(), todo.len());
    let jobs = std::env::var("IMPRINT_BOOT_JOBS").ok().and_then(|n| n.parse().ok()).unwrap_or(JOBS);
    let (queue, rows) = (Mutex::new(todo.into_iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                loop {
                    let next = queue.lock().expect("no panic").next();
                    let Some(case) = next else { return };
                    let row = one(case, &ground);
                    eprintln!("{} {}", if row.faults.is_empty() { "passed" } else { "FAILED" }, case.name);
                    rows.lock().expect("no panic").push(row);
                }
            });
        }
    });
    let mut rows = rows.into_inner().expect("no panic");
    rows.sort_by_key(|row| CASES.iter().position(|case| case.name == row.name));
    println!("\n{:<22} {:<7} {:>6}  BOOT TO IDENTITY", "CASE", "", "TOOK");
    for row in &rows {
        let passed = if row.faults.is_empty() { "passed" } else { "FAILED" };
        println!("{:<22} {passed:<7} {:>4} s  {}", row.name, row.took.as_secs(), row.identity);
        row.faults.iter().for_each(|fault| println!("    {fault}"));
    }
    let failed = rows.iter().filter(|row| !row.faults.is_empty()).count();
    println!("{} passed, {failed} failed, in {} s", total - failed, from.elapsed().as_secs());
    if failed > 0 {
        println!("what they saw: {}", ground.folder.join("failed").display());
    }
    Ok(failed == 0 && rows.len() == total)
}

/// A line of the table.
struct Row {
    name: &'static str,
    took: Duration,
    /// How long each boot took to its identity.
    identity: String,
    faults: Vec<String>,
}

/// One case, in a process of its own.
fn one(case: &'static Case, ground: &Ground) -> Row {
    let from = Instant::now();
    let evidence = evidence(case, ground);
    let _not_there = fs::remove_dir_all(&evidence);
    fs::create_dir_all(&evidence).expect("a folder for the evidence");
    let log = fs::File::create(evidence.join("harness.log")).expect("a log");
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private"]);
    command.arg(std::env::current_exe().expect("this program")).args(["--inside", case.name]);
    command.args([&ground.root, &ground.tools, &ground.folder]);
    command.stdin(Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
    let ended = command.status().expect("unshare");
    let _ended = guest::remove_control_groups(case.name);
    let read = |name: &str| fs::read_to_string(evidence.join(name)).unwrap_or_default();
    let mut faults: Vec<String> = read("faults").lines().map(str::to_owned).collect();
    if !ended.success() && faults.is_empty() {
        faults.push(format!("the harness broke off: {}", read("harness.log").trim()));
    }
    let row = Row { name: case.name, took: from.elapsed(), identity: read("identity"), faults };
    if row.faults.is_empty() {
        let _only_tidied = fs::remove_dir_all(&evidence);
    }
    row
}

fn evidence(case: &Case, ground: &Ground) -> PathBuf {
    ground.folder.join("failed").join(case.name)
}

/// The same process, in its namespaces: boots, and notes what was wrong.
fn inside(name: &str, ground: &Ground) -> Result<bool, Failed> {
    let case = named(name)?;
    let evidence = evidence(case, ground);
    let faults = story::tell(case, ground, &evidence)?;
    fs::write(
        evidence.join("faults"),
        faults.iter().map(|f| format!("{}\n", f.replace('\n', " | "))).collect::<String>(),
    )?;
    Ok(faults.is_empty())
}

/// The one boot of a whole machine. What it saw stays, since it is run by hand.
fn slow() -> Result<bool, Failed> {
    let folder = folder()?;
    let (made, evidence) = (made("vm.sh", &folder)?, folder.join("vm"));
    let _not_there = fs::remove_dir_all(&evidence);
    fs::create_dir_all(&evidence)?;
    let mut command = Command::new("unshare");
    command.args(["--net", "--mount", "--propagation", "private"]).arg(std::env::current_exe()?);
    let ended = command.arg("--inside-vm").args([&made, &evidence]).stdin(Stdio::null()).status()?;
    println!("{}: {}", if ended.success() { "passed" } else { "FAILED" }, evidence.display());
    Ok(ended.success())
}

fn inside_vm(made: &Path, evidence: &Path) -> Result<bool, Failed> {
    let faults = vm::tell(made, evidence)?;
    faults.iter().for_each(|fault| println!("    {fault}"));
    Ok(faults.is_empty())
}

/// Where everything is made.
fn folder() -> Result<PathBuf, Failed> {
    let usual = || own().join("../../target/boot");
    let folder = std::env::var_os("IMPRINT_BOOT_FOLDER").map_or_else(usual, PathBuf::from);
    fs::create_dir_all(&folder)?;
    Ok(fs::canonicalize(folder)?)
}

/// The folder of this file.
fn own() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../boot")
}

/// What a script makes in a folder, unless it is there.
fn made(script: &str, folder: &Path) -> Result<PathBuf, Failed> {
    let ran = Command::new("bash").arg(own().join(script)).arg(folder).stderr(Stdio::inherit()).output()?;
    let path = String::from_utf8(ran.stdout)?.trim().to_owned();
    if ran.status.success() { Ok(path.into()) } else { Err(format!("{script} failed").into()) }
}

/// The root file system, the tools, and a layer with each package that is wanted.
fn prepare(todo: &[&Case]) -> Result<Ground, Failed> {
    let folder = folder()?;
    let (root, tools) = (made("rootfs.sh", &folder)?, made("tools.sh", &folder)?);
    let ground = Ground { root, tools, folder: folder.clone() };
    for package in [Package::Deb, Package::Rpm] {
        if !todo.iter().any(|case| case.package == Some(package)) {
            continue;
        }
        let file = package.file()?;
        eprintln!("boot: installing {}", file.display());
        let layer = ground.layer(package);
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "bash"]).arg(own().join("install.sh"));
        let ran = command.args([&ground.root, &file, &layer]).output()?;
        fs::write(folder.join(format!("install-{}.log", package.name())), &ran.stderr)?;
        if !ran.status.success() {
            return Err(format!("{}: {}", file.display(), String::from_utf8_lossy(&ran.stderr)).into());
        }
    }
    Ok(ground)
}
