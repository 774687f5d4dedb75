//! What one enrollment costs: wall, CPU, memory, requests, connections; the agent beside what a user
//! would write instead, in the same run against the same servers. And what a thousand rotations cost.
//!
//! Medians of `RUNS` runs. CPU is user and system time of the process and its children, as the kernel
//! accounts it; the wall is that of this machine, with servers on loopback, so compare it only within
//! one run. `bench measure PROGRAM...` is the bench itself, run small, so that the memory that the
//! kernel ascribes to a child before its exec is not this program's.
#![expect(clippy::print_stdout, reason = "a bench speaks to a person")]
#![expect(clippy::expect_used, reason = "a bench that cannot go on must say where it stopped")]

mod goals;
mod lambda;
mod link;
mod many;
mod wave;

use goals::Row;
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
        [] => everything(),
        ["link"] => {
            link::measure()?.iter().for_each(|row| println!("{}", row.line()));
            Ok(ExitCode::SUCCESS)
        }
        ["many"] => {
            many::measure(&programs()?)?.iter().for_each(|row| println!("{}", row.line()));
            Ok(ExitCode::SUCCESS)
        }
        ["measure", program, rest @ ..] => measured(Command::new(program).args(rest)),
        ["servers", near, far] => link::servers(near, far),
        _ => Err("bench, bench link, bench many, bench measure PROGRAM...".into()),
    }
}

/// All figures, and the table of those that have a goal.
fn everything() -> Result<ExitCode, Failed> {
    let mut rows = link::measure()?;
    rows.extend(loopback()?);
    rows.extend(many::measure(&programs()?)?);
    rows.extend(wave::measure()?);
    println!("\n{:<44}{:<36}reached in this run\n", "what", "goal");
    rows.iter().for_each(|row| println!("{}", row.line()));
    Ok(ExitCode::SUCCESS)
}

/// Those that the environment names, or those beside this one.
fn programs() -> Result<Programs, Failed> {
    let own = std::env::current_exe()?;
    let built = own.parent().expect("a program lies in a folder");
    Ok(Programs::named().unwrap_or_else(|| Programs::shipped(built)))
}

/// What one enrollment costs with all servers on this machine.
fn loopback() -> Result<Vec<Row>, Failed> {
    let folder = std::env::current_exe()?.with_file_name("bench-site");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let programs = programs()?;
    let site = Site::new(&folder, programs.clone());
    let _said = Ran::of(&mut site.rotator(&["rotate"])).expect(0);

    println!(
        "\nOne enrollment, medians of {RUNS} runs ({} processors; load before it: {}):\n",
        std::thread::available_parallelism()?,
        fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default()
    );
    println!(
        "{:<28}{:>10}{:>12}{:>14}{:>10}{:>13}",
        "", "wall", "CPU", "peak memory", "requests", "connections"
    );
    let beside = |name: &str| Some(programs.agent.with_file_name(name)).filter(|path| path.exists());
    let script = |name| peers().join(name);
    let costs = contest(
        &site,
        [
            ("imprint enroll", &|machine| Some(machine.imprint(&["enroll"]))),
            ("  memory not wiped", &|machine| {
                let like = machine.imprint(&["enroll"]);
                let mut command = Command::new(beside("imprint-plain")?);
                command.args(like.get_args()).env_clear();
                command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
                Some(command)
            }),
            ("imprint enroll, once more", &|machine| {
                let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
                Some(machine.imprint(&["enroll"]))
            }),
            ("bare program", &|machine| {
                let mut command = Command::new(beside("imprint-bare")?);
                tell(&mut command, &site, machine);
                Some(command)
            }),
            ("with_curl.sh", &|machine| peer(&site, machine, &script("with_curl.sh"))),
            ("with_boto3.py", &|machine| peer(&site, machine, &script("with_boto3.py"))),
            ("with_awscli.sh", &|machine| peer(&site, machine, &script("with_awscli.sh"))),
        ],
    )?;
    println!();
    for program in [&programs.agent, &programs.rotator] {
        let name = program.file_name().unwrap_or_default().display();
        println!("{name:<28}{:>9.2} MB", fs::metadata(program)?.len() as f64 / 1e6);
    }
    let [own, _, again, bare, curl, _, awscli] = costs;
    let mut rows = figures(own, again, bare, curl, awscli);
    let binary = fs::metadata(&programs.agent)?.len() as f64 / 1e6;
    rows.push(Row::at_most("stripped binary", "at most 8 MB", binary, 8.0, format!("{binary:.2} MB")));
    rows.push(lambda::first_poll(&site, &programs)?);
    Ok(rows)
}

/// What has a goal.
fn figures(
    own: Option<Cost>,
    again: Option<Cost>,
    bare: Option<Cost>,
    curl: Option<Cost>,
    awscli: Option<Cost>,
) -> Vec<Row> {
    let ratio =
        |of: fn(&Cost) -> u64, a: Option<Cost>, b: Option<Cost>| Some(of(&a?) as f64 / of(&b?).max(1) as f64);
    let cpu = |a, b| ratio(|c| c.cpu_us, a, b);
    let mut rows = Vec::new();
    let (what, goal) = ("wall over a bare program", "at most 1.5x");
    rows.push(match (ratio(|c| c.wall_us, own, bare), cpu(own, bare)) {
        (Some(is), Some(cpu)) => {
            Row::at_most(what, goal, is, 1.5, format!("{is:.2}x (and {cpu:.2}x of its CPU)"))
        }
        _ => Row::not_measured(what, goal, "imprint-bare is not built"),
    });
    for (what, goal, least, theirs) in [
        ("CPU of the script around awscli", "at least 100x of ours", 100.0, awscli),
        ("CPU of the script around curl", "at least 10x of ours", 10.0, curl),
    ] {
        rows.push(match cpu(theirs, own) {
            Some(is) => Row::at_least(what, goal, is, least, format!("{is:.0}x")),
            None => Row::not_measured(what, goal, "curl, jq and `make peers` are needed"),
        });
    }
    if let (Some(own), Some(again)) = (own, again) {
        let ms = own.cpu_us as f64 / 1e3;
        rows.push(Row::at_most("CPU of one enrollment", "at most 5 ms", ms, 5.0, format!("{ms:.1} ms")));
        let mb = own.memory_kib as f64 * 1.024 / 1e3;
        rows.push(Row::at_most("peak resident memory", "at most 10 MB", mb, 10.0, format!("{mb:.1} MB")));
        let ms = again.wall_us as f64 / 1e3;
        let said = format!("{ms:.1} ms of wall, {} requests", again.requests);
        let is = if again.requests == 0 { ms } else { f64::INFINITY };
        rows.push(Row::at_most("a second `enroll`", "at most 5 ms, 0 requests", is, 5.0, said));
    }
    rows
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

/// How a contestant is run on a machine; `None` where it cannot be.
type Start<'a> = &'a dyn Fn(&Machine) -> Option<Command>;

/// Runs the contestants in turns, so that the machine's other work meets all of them; says and returns
/// the medians.
fn contest<const N: usize>(
    site: &Site,
    contestants: [(&str, Start<'_>); N],
) -> Result<[Option<Cost>; N], Failed> {
    let mut costs: [Vec<Cost>; N] = std::array::from_fn(|_| Vec::with_capacity(RUNS));
    for _ in 0..RUNS {
        for ((_, start), costs) in contestants.iter().zip(&mut costs) {
            let machine = site.machine("web");
            if let Some(command) = start(&machine) {
                costs.push(once(site, &machine, &command)?);
            }
        }
    }
    let medians = costs.map(|costs| medians(&costs));
    for ((name, _), cost) in contestants.iter().zip(&medians) {
        match cost {
            Some(cost) => println!(
                "{name:<28}{:>7.1} ms{:>9.2} ms{:>11.1} MB{:>10}{:>13}",
                cost.wall_us as f64 / 1e3,
                cost.cpu_us as f64 / 1e3,
                cost.memory_kib as f64 * 1.024 / 1e3,
                cost.requests,
                cost.connections,
            ),
            None => println!("{name:<28}NOT RUN: not built, or curl, jq and `make peers` are needed"),
        }
    }
    Ok(medians)
}

fn medians(costs: &[Cost]) -> Option<Cost> {
    let median = |of: fn(&Cost) -> u64| {
        let mut all: Vec<u64> = costs.iter().map(of).collect();
        all.sort_unstable();
        all.get(all.len() / 2).copied()
    };
    Some(Cost {
        wall_us: median(|c| c.wall_us)?,
        cpu_us: median(|c| c.cpu_us)?,
        memory_kib: median(|c| c.memory_kib)?,
        requests: median(|c| c.requests)?,
        connections: median(|c| c.connections)?,
    })
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
    command.arg(script).env("PATH", std::env::var_os("PATH")?).env("HOME", site.folder()).env("AWS", aws);
    tell(&mut command, site, machine);
    Some(command)
}

/// Tells a contestant that has no configuration of the site and the machine.
fn tell(command: &mut Command, site: &Site, machine: &Machine) {
    let (stack, options) = (&site.stack, site.stack.options());
    command.envs(stack.environment(None)).env("AWS_EC2_METADATA_SERVICE_ENDPOINT", machine.imds.url());
    command.env("BUCKET", &options.bucket).env("OBJECT", stack.object_key("web"));
    command.env("ACCOUNT", &options.account).env("VARIABLE", stack.variable("web"));
    command.env("CONJUR", stack.conjur.url()).env("CONJUR_CA", site.ca_file());
    command.env("HOST_ID", machine.host_id()).env("OUT", machine.path("etc/conjur.identity"));
}
