//! What one enrollment costs: wall, CPU, memory, requests, connections; the agent beside what a user
//! would write instead, in the same run against the same servers.
//!
//! Medians of `RUNS` runs. CPU is user and system time of the process and its children, as the kernel
//! accounts it; the wall is that of this machine, with servers on loopback, so compare it only within
//! one run. `bench measure PROGRAM...` is the bench itself, run small, so that the memory that the
//! kernel ascribes to a child before its exec is not this program's.
#![expect(clippy::print_stdout, reason = "a bench speaks to a person")]
#![expect(clippy::expect_used, reason = "a bench that cannot go on must say where it stopped")]

mod lambda;
mod link;

use imprint_e2e::{Machine, Programs, Ran, Site};
use nix::sys::resource::{UsageWho, getrusage};
use std::error::Error;
use std::fs;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// Runs of each contestant.
const RUNS: usize = 20;

type Failed = Box<dyn Error>;

fn main() -> Result<ExitCode, Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => loopback().and_then(|_| link::measure()),
        ["link"] => link::measure(),
        ["measure", program, rest @ ..] => measured(Command::new(program).args(rest)),
        ["servers", near, far] => link::servers(near, far),
        _ => Err("bench, bench link, bench measure PROGRAM...".into()),
    }
}

/// What one enrollment costs with all servers on this machine.
fn loopback() -> Result<ExitCode, Failed> {
    let own = std::env::current_exe()?;
    let built = own.parent().expect("a program lies in a folder");
    let folder = built.join("bench-site");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let programs = Programs::named().unwrap_or_else(|| Programs::shipped(built));
    let site = Site::new(&folder, programs.clone());
    let _said = Ran::of(&mut site.rotator(&["rotate"])).expect(0);

    println!(
        "One enrollment, medians of {RUNS} runs ({} processors):\n",
        std::thread::available_parallelism()?
    );
    println!(
        "{:<28}{:>10}{:>12}{:>14}{:>10}{:>13}",
        "", "wall", "CPU", "peak memory", "requests", "connections"
    );
    let own = contest(&site, "imprint enroll", |machine| Some(machine.imprint(&["enroll"])))?;
    contest(&site, "imprint enroll, once more", |machine| {
        let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
        Some(machine.imprint(&["enroll"]))
    })?;
    let plain = programs.agent.with_file_name("imprint-plain");
    let wiped_not = contest(&site, "  memory not wiped", |machine| {
        let like = machine.imprint(&["enroll"]);
        let mut command = Command::new(Some(&plain).filter(|plain| plain.exists())?);
        command.args(like.get_args()).env_clear();
        command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
        Some(command)
    })?;
    if wiped_not.is_none() {
        println!("{:<28}NOT RUN: {} is not built", "  memory not wiped", plain.display());
    }
    let peers = peers();
    for (name, script) in ["with_curl.sh", "with_boto3.py", "with_awscli.sh"].map(|n| (n, peers.join(n))) {
        match contest(&site, name, |machine| peer(&site, machine, &script))? {
            Some(theirs) => ratio(name, own.as_ref(), &theirs),
            None => println!("{name:<28}NOT RUN: curl, jq and `make peers` are needed"),
        }
    }
    println!();
    for program in [&programs.agent, &programs.rotator] {
        let name = program.file_name().unwrap_or_default().display();
        println!("{name:<28}{:>9.2} MB", fs::metadata(program)?.len() as f64 / 1e6);
    }
    lambda::first_poll(&site, &programs)?;
    Ok(ExitCode::SUCCESS)
}

/// What one run cost.
#[derive(Clone, Copy, Debug, Default)]
struct Cost {
    wall_us: u64,
    cpu_us: u64,
    memory_kib: u64,
    requests: u64,
    connections: u64,
}

/// Runs a contestant; says and returns its medians, or `None` where it cannot be run.
fn contest(
    site: &Site,
    name: &str,
    command: impl Fn(&Machine) -> Option<Command>,
) -> Result<Option<Cost>, Failed> {
    let mut costs = Vec::with_capacity(RUNS);
    for _ in 0..RUNS {
        let machine = site.machine("web");
        let Some(command) = command(&machine) else { return Ok(None) };
        costs.push(once(site, &machine, &command)?);
    }
    let median = |of: fn(&Cost) -> u64| {
        let mut all: Vec<u64> = costs.iter().map(of).collect();
        all.sort_unstable();
        all[all.len() / 2]
    };
    let cost = Cost {
        wall_us: median(|c| c.wall_us),
        cpu_us: median(|c| c.cpu_us),
        memory_kib: median(|c| c.memory_kib),
        requests: median(|c| c.requests),
        connections: median(|c| c.connections),
    };
    println!(
        "{name:<28}{:>7.1} ms{:>9.2} ms{:>11.1} MB{:>10}{:>13}",
        cost.wall_us as f64 / 1e3,
        cost.cpu_us as f64 / 1e3,
        cost.memory_kib as f64 * 1.024 / 1e3,
        cost.requests,
        cost.connections,
    );
    Ok(Some(cost))
}

fn once(site: &Site, machine: &Machine, command: &Command) -> Result<Cost, Failed> {
    let stack = &site.stack;
    let connections = || {
        stack.conjur.connections()
            + stack.s3.connections()
            + stack.kms.connections()
            + machine.imds.connections()
    };
    stack.clear_logs();
    machine.imds.clear_log();
    let before = connections();
    let mut small = Command::new(std::env::current_exe()?);
    small.arg("measure").arg(command.get_program()).args(command.get_args()).env_clear();
    small.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = Ran::of(&mut small);
    if ran.code != 0 {
        return Err(format!("{}: {}{}", command.get_program().display(), ran.out, ran.err).into());
    }
    let last = ran.out.lines().last().ok_or("nothing was measured")?;
    let numbers: Vec<u64> = last.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let &[wall_us, cpu_us, memory_kib] = numbers.as_slice() else { return Err("not three numbers".into()) };
    let requests = stack.requests() + machine.imds.log().len();
    Ok(Cost {
        wall_us,
        cpu_us,
        memory_kib,
        requests: requests as u64,
        connections: (connections() - before) as u64,
    })
}

/// Runs the command as the only child, and prints wall, CPU (both in microseconds) and peak memory (KiB).
fn measured(command: &mut Command) -> Result<ExitCode, Failed> {
    let from = Instant::now();
    let status = command.stdin(Stdio::null()).status()?;
    let wall = from.elapsed().as_micros();
    let used = getrusage(UsageWho::RUSAGE_CHILDREN)?;
    let cpu = [used.user_time(), used.system_time()]
        .map(|t| t.tv_sec() * 1_000_000 + t.tv_usec())
        .iter()
        .sum::<i64>();
    println!("{wall} {cpu} {}", used.max_rss());
    Ok(ExitCode::from(u8::try_from(status.code().or(status.signal()).unwrap_or(1)).unwrap_or(1)))
}

fn ratio(name: &str, own: Option<&Cost>, theirs: &Cost) {
    if let Some(own) = own.filter(|own| own.cpu_us > 0) {
        println!(
            "{:<28}{:>22.0}x of imprint's CPU",
            format!("  {name}"),
            theirs.cpu_us as f64 / own.cpu_us as f64
        );
    }
}

/// The scripts, beside this file.
fn peers() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/peers")
}

/// One of the scripts, told of the site and the machine.
fn peer(site: &Site, machine: &Machine, script: &Path) -> Option<Command> {
    let found = |name: &str| {
        std::env::split_paths(&std::env::var_os("PATH")?).map(|d| d.join(name)).find(|p| p.exists())
    };
    let venv = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/peers/venv/bin");
    found("curl").and(found("jq"))?;
    let mut command = if script.extension()? == "py" {
        Command::new(Some(venv.join("python")).filter(|p| p.exists())?)
    } else {
        Command::new("/usr/bin/bash")
    };
    let aws = Some(venv.join("aws")).filter(|p| p.exists())?;
    let (stack, options) = (&site.stack, site.stack.options());
    command.arg(script).env("PATH", std::env::var_os("PATH")?).env("HOME", site.folder()).env("AWS", aws);
    command.envs(stack.environment(None)).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine.imds.url());
    command.env("BUCKET", &options.bucket).env("OBJECT", stack.object_key("web"));
    command.env("CONJUR", stack.conjur.url()).env("CONJUR_CA", site.ca_file());
    command.env("HOST_ID", machine.host_id()).env("OUT", machine.path("etc/conjur.identity"));
    Some(command)
}
