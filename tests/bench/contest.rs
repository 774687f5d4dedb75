//! Contestants run in turns, and what each run of them cost.
//!
//! CPU is user and system time of the process and its children, as the kernel accounts it; the wall is that of
//! this machine, with servers on loopback, so compare it only within one run.

use crate::Failed;
use imprint_e2e::{Machine, Ran, Site};
use nix::sys::resource::{UsageWho, getrusage};
use serde::Serialize;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

/// Runs of each contestant, but of one that takes seconds.
pub(crate) const RUNS: usize = 20;

/// Runs of one that takes seconds.
const FEW: usize = 5;

/// What one run cost.
#[derive(Clone, Copy, Debug, Default, Serialize)]
pub(crate) struct Cost {
    /// From start to end, in microseconds.
    pub(crate) wall_us: u64,
    /// In user and system mode, in microseconds.
    pub(crate) cpu_us: u64,
    /// Resident, at its peak.
    pub(crate) memory_kib: u64,
    /// To all servers.
    pub(crate) requests: u64,
    /// To all servers.
    pub(crate) connections: u64,
}

/// Who is measured.
pub(crate) struct Contestant<'a> {
    name: &'static str,
    runs: usize,
    start: Start<'a>,
}

/// How a contestant is run on a machine; `None` where it cannot be.
type Start<'a> = &'a dyn Fn(&Machine) -> Option<Command>;

impl<'a> Contestant<'a> {
    /// One that takes as long as a person does not notice.
    pub(crate) fn new(name: &'static str, start: Start<'a>) -> Self {
        Self { name, runs: RUNS, start }
    }

    /// One that takes seconds.
    pub(crate) fn slow(name: &'static str, start: Start<'a>) -> Self {
        Self { name, runs: FEW, start }
    }
}

/// What the runs of a contestant cost, each of them.
#[derive(Serialize)]
pub(crate) struct Runs {
    /// Whose.
    pub(crate) name: &'static str,
    /// In their order; empty when it could not be run.
    pub(crate) runs: Vec<Cost>,
}

/// Runs the contestants in turns, so that the machine's other work meets all of them, and says the medians.
pub(crate) fn contest<const N: usize>(
    site: &Site,
    contestants: [Contestant<'_>; N],
) -> Result<[Runs; N], Failed> {
    let mut all = contestants.each_ref().map(|one| Runs { name: one.name, runs: Vec::new() });
    for turn in 0..RUNS {
        for (one, costs) in contestants.iter().zip(&mut all).filter(|(one, _)| turn < one.runs) {
            let machine = site.machine("web");
            if let Some(command) = (one.start)(&machine) {
                costs.runs.push(once(site, &machine, &command)?);
            }
        }
    }
    for runs in &all {
        println!("{}", runs.line());
    }
    Ok(all)
}

impl Runs {
    /// The median of each cost for itself; `None` when it could not be run.
    pub(crate) fn medians(&self) -> Option<Cost> {
        let median = |of: fn(&Cost) -> u64| {
            let mut all: Vec<u64> = self.runs.iter().map(of).collect();
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

    /// For a person.
    fn line(&self) -> String {
        let name = self.name;
        let Some(cost) = self.medians() else {
            return format!("{name:<28}NOT RUN: not built, or curl, jq, root and `make peers` are needed");
        };
        format!(
            "{name:<28}{:>7.1} ms{:>9.2} ms{:>11.1} MB{:>10}{:>13}",
            cost.wall_us as f64 / 1e3,
            cost.cpu_us as f64 / 1e3,
            cost.memory_kib as f64 * 1.024 / 1e3,
            cost.requests,
            cost.connections,
        )
    }
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

/// `bench measure`: runs the command as the only child, and prints wall, CPU (both in microseconds) and peak memory (KiB).
pub(crate) fn measured(command: &mut Command) -> Result<ExitCode, Failed> {
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
