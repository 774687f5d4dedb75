//! A thousand host factories in one run of the rotator, each request held back for 20 ms: what a run takes, and
//! what is left when one in ten fails. `bench many` measures this alone.

use crate::Failed;
use crate::goals::Row;
use imprint_core::sealed::context_key;
use imprint_core::second::Second;
use imprint_e2e::{Programs, Ran, Site, write};
use imprint_rotator::label::{Kind, Label};
use imprint_stack::fault::{Fault, FaultKind};
use imprint_stack::{Options, Stack};
use serde_json::Value;
use std::fs;
use std::process::Command;
use std::time::Duration;

const FACTORIES: usize = 1000;

/// How long every request is held back.
const DELAY: Duration = Duration::from_millis(20);

/// How many are worked on at once by default.
const AT_ONCE: usize = 8;

/// What one run took.
struct Cost {
    wall: f64,
    cpu: f64,
    memory_mb: f64,
    requests: usize,
    connections: usize,
    failed: u64,
}

pub(crate) fn measure(programs: &Programs) -> Result<Vec<Row>, Failed> {
    let folder = std::env::current_exe()?.with_file_name("bench-many");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let layers: Vec<String> = (0..FACTORIES).map(|at| format!("l{at:03}")).collect();
    let stack = Stack::start(Options { layers, ..Options::new(context_key::HOST_FACTORY) });
    let site = Site::with(&folder, programs.clone(), stack);
    hold_back(&site.stack);
    println!(
        "\nOne run of the rotator, {FACTORIES} factories, every request held back for {} ms (load before it: {}):\n",
        DELAY.as_millis(),
        fs::read_to_string("/proc/loadavg").unwrap_or_default().split(' ').next().unwrap_or_default()
    );
    println!(
        "{:<40}{:>9}{:>10}{:>14}{:>10}{:>13}{:>8}",
        "", "wall", "CPU", "peak memory", "requests", "connections", "failed"
    );
    let first = run(&site, "nothing published yet", AT_ONCE, &[])?;
    let kept = run(&site, "nothing due", AT_ONCE, &[])?;
    expire(&site);
    let all = run(&site, "all replaced, an expired token each", AT_ONCE, &["--now"])?;
    for at_once in [16, 64] {
        expire(&site);
        run(&site, &format!("the same, {at_once} at once"), at_once, &["--now"])?;
    }
    let refused = |count, what| {
        expire(&site);
        deny(&site, count);
        run(&site, what, AT_ONCE, &["--now"])
    };
    let one = refused(1, "the same, one of them refused")?;
    let tenth = refused(FACTORIES / 10, "the same, one in ten refused")?;
    if (first.failed, kept.failed, one.failed, tenth.failed) != (0, 0, 1, FACTORIES as u64 / 10) {
        return Err("others failed than those that were made to fail".into());
    }
    Ok(rows(&kept, &all))
}

/// What has a goal.
fn rows(kept: &Cost, all: &Cost) -> Vec<Row> {
    // Those of the whole run are shared by all.
    let each = |cost: &Cost| (cost.requests as f64 / FACTORIES as f64).floor();
    let (least, most) = (FACTORIES as f64 * 7.0 * DELAY.as_secs_f64() / AT_ONCE as f64, 25.0);
    vec![
        Row::at_most(
            "1,000 factories: requests of each",
            "at most 7; 1 when nothing is due",
            each(all) + 10.0 * (each(kept) - 1.0),
            7.0,
            format!("{} and {} ({} and {} in all)", each(all), each(kept), all.requests, kept.requests),
        ),
        Row::at_most(
            "the same: wall at 20 ms a request",
            "at most 1.25x of the delays alone",
            all.wall / least,
            1.25,
            format!("{:.2}x ({:.1} s to {least:.1})", all.wall / least, all.wall),
        ),
        Row::at_most(
            "the same: peak resident memory",
            "at most 25 MB",
            all.memory_mb.max(kept.memory_mb),
            most,
            format!("{:.1} MB", all.memory_mb.max(kept.memory_mb)),
        ),
    ]
}

fn run(site: &Site, what: &str, at_once: usize, arguments: &[&str]) -> Result<Cost, Failed> {
    let stack = &site.stack;
    let config = format!("concurrency = {at_once}\n{}", site.rotator_config());
    write(&site.folder().join("rotator.toml"), 0o644, &config);
    let connections = || stack.conjur.connections() + stack.s3.connections() + stack.kms.connections();
    stack.clear_logs();
    let before = connections();
    let like = site.rotator(&[&["rotate", "--json"], arguments].concat());
    let mut small = Command::new(std::env::current_exe()?);
    small.arg("measure").arg(like.get_program()).args(like.get_args()).env_clear();
    small.envs(like.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ran = Ran::of(&mut small);
    let (report, last) = ran.out.trim_end().rsplit_once('\n').ok_or_else(|| ran.err.clone())?;
    let numbers: Vec<f64> = last.split(' ').map(str::parse).collect::<Result<_, _>>()?;
    let &[wall, cpu, memory] = numbers.as_slice() else { return Err("not three numbers".into()) };
    let report: Value = serde_json::from_str(report)?;
    let cost = Cost {
        wall: wall / 1e6,
        cpu: cpu / 1e6,
        memory_mb: memory * 1.024 / 1e3,
        requests: stack.requests(),
        connections: connections() - before,
        failed: report["failed"].as_u64().ok_or("no report")?,
    };
    println!(
        "{what:<40}{:>7.1} s{:>8.2} s{:>11.1} MB{:>10}{:>13}{:>8}",
        cost.wall, cost.cpu, cost.memory_mb, cost.requests, cost.connections, cost.failed
    );
    Ok(cost)
}

fn hold_back(stack: &Stack) {
    let late = |name: &str| Fault::on(name, FaultKind::Delay(DELAY)).forever();
    for name in ["authenticate", "list_factories", "mint", "resource", "revoke"] {
        stack.conjur.inject(late(name));
    }
    for name in ["s3:GetObject", "s3:PutObject"] {
        stack.s3.inject(late(name));
    }
    for name in ["kms:Encrypt", "kms:Decrypt"] {
        stack.kms.inject(late(name));
    }
}

/// Gives each factory an expired token of ours, so that a rotation has its seventh request.
fn expire(site: &Site) {
    let now = Second::now();
    if let Ok(deployment) = "1f2e3d4c".parse() {
        let cidr = Label::new(deployment, now, Kind::Layer, 1).beside(&[]);
        let end = now.minus(Duration::from_secs(3600)).unix();
        for layer in &site.stack.options().layers {
            let _token = site.stack.conjur.service().add_token(&site.stack.factory(layer), end, &cidr);
        }
    }
}

/// Takes the right to mint for so many of them away.
fn deny(site: &Site, count: usize) {
    let deny = |layer: &String| {
        format!(
            "- !deny {{ role: !host imprint/rotator, privileges: [ execute ], resource: !host-factory {layer}/factory }}\n"
        )
    };
    let text: String = site.stack.options().layers.iter().take(count).map(deny).collect();
    site.stack.conjur.service().patch_policy("root", &text).expect("a policy that this Conjur takes");
}
