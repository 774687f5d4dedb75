//! What one enrollment costs: wall, CPU, memory, requests, connections; the agent beside what a user
//! would write instead, in the same run against the same servers. And what a thousand rotations cost.
//!
//! `bench measure PROGRAM...` is the bench itself, run small, so that the memory that the
//! kernel ascribes to a child before its exec is not this program's.
#![expect(clippy::print_stdout, reason = "a bench speaks to a person")]
#![expect(clippy::expect_used, reason = "a bench that cannot go on must say where it stopped")]

mod contest;
mod goals;
mod lambda;
mod link;
mod many;
mod peers;
mod wave;

use contest::{Contestant, Cost, RUNS, Runs};
use goals::Row;
use imprint_e2e::{Programs, Ran, Site};
use imprint_proof::Suite;
use peers::{peer, tell};
use std::error::Error;
use std::fs;
use std::process::{Command, ExitCode};

type Failed = Box<dyn Error>;

fn main() -> Result<ExitCode, Failed> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => everything(),
        ["link"] => said(&link::measure()?),
        ["loopback"] => said(&loopback()?),
        ["many"] => said(&many::measure(&programs()?)?),
        ["measure", program, rest @ ..] => contest::measured(Command::new(program).args(rest)),
        ["servers", near, far] => link::servers(near, far),
        _ => Err("bench, bench link, bench loopback, bench many, bench measure PROGRAM...".into()),
    }
}

/// A part of the figures.
fn said(rows: &[Row]) -> Result<ExitCode, Failed> {
    rows.iter().for_each(|row| println!("{}", row.line()));
    Ok(ExitCode::SUCCESS)
}

/// All figures, and the table of those that have a goal.
fn everything() -> Result<ExitCode, Failed> {
    let mut rows = link::measure()?;
    rows.extend(loopback()?);
    rows.extend(many::measure(&programs()?)?);
    rows.extend(wave::measure()?);
    println!("\n{:<44}{:<36}reached in this run\n", "what", "goal");
    rows.iter().for_each(|row| println!("{}", row.line()));
    let mut suite = Suite::named("bench");
    suite.figures = rows.iter().map(Row::figure).collect();
    let measured = suite.figures.iter().filter(|figure| figure.reached.is_some()).count() as u64;
    suite.row("figures that were measured", suite.figures.len() as u64, measured, "");
    suite.write()?;
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
    let script = |name| peers::peers().join(name);
    let root = nix::unistd::geteuid().is_root();
    let runs = contest::contest(
        &site,
        [
            Contestant::new("imprint enroll", &|machine| Some(machine.imprint(&["enroll"]))),
            Contestant::new("  memory not wiped", &|machine| {
                let like = machine.imprint(&["enroll"]);
                let mut command = Command::new(beside("imprint-plain")?);
                command.args(like.get_args()).env_clear();
                command.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
                Some(command)
            }),
            Contestant::new("imprint enroll, once more", &|machine| {
                let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
                Some(machine.imprint(&["enroll"]))
            }),
            Contestant::new("bare program", &|machine| {
                let mut command = Command::new(beside("imprint-bare")?);
                tell(&mut command, &site, machine);
                Some(command)
            }),
            Contestant::new("with_curl.sh", &|machine| peer(&site, machine, &script("with_curl.sh"))),
            Contestant::new("with_boto3.py", &|machine| peer(&site, machine, &script("with_boto3.py"))),
            Contestant::new("with_awscli.sh", &|machine| peer(&site, machine, &script("with_awscli.sh"))),
            Contestant::slow("with_ansible.sh", &|machine| {
                root.then(|| peer(&site, machine, &script("with_ansible.sh")))?
            }),
        ],
    )?;
    println!();
    for program in [&programs.agent, &programs.rotator] {
        let name = program.file_name().unwrap_or_default().display();
        println!("{name:<28}{:>9.2} MB", fs::metadata(program)?.len() as f64 / 1e6);
    }
    if let Some(folder) = imprint_proof::folder() {
        fs::write(folder.join("bench-raw.json"), serde_json::to_string_pretty(&runs)?)?;
    }
    let [own, _, again, bare, curl, _, awscli, _] = runs.each_ref().map(Runs::medians);
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
