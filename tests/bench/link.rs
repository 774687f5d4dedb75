//! Round trips of one enrollment, measured: two network namespaces, between them a link that holds every
//! frame back, and the slope of the time over two delays. Names and the metadata service are not delayed.
//!
//! `bench link` makes the namespaces and starts itself once more in the distant one, where the servers
//! are; the contestants run in the near one.

use crate::Failed;
use crate::goals::Row;
use crate::peers::{peer, peers};
use imprint_core::sealed::context_key;
use imprint_e2e::{Machine, Programs, Ran, Site};
use imprint_stack::{Options, Stack};
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, SystemTime};

/// Round trips of the link, in milliseconds: long enough that no work of the machine hides one.
const DELAYS: [u32; 2] = [100, 200];

/// Runs of each contestant at each delay; the quickest counts.
const RUNS: usize = 10;

/// The delayed link: the machine's end, and the servers'.
const NEAR: &str = "10.231.7.1";
const FAR: &str = "10.231.7.2";

/// The link without delay, to the metadata service.
const NEAR_AT_ONCE: &str = "10.231.8.1";
const FAR_AT_ONCE: &str = "10.231.8.2";

/// Two namespaces and the link without delay; they go when this goes.
struct Namespaces {
    near: String,
    far: String,
}

/// The delayed link; it goes when this goes.
struct Link(Child);

/// What is needed and not there, if so.
fn lacking() -> Option<&'static str> {
    if fs::metadata("/dev/net/tun").is_err() {
        return Some("/dev/net/tun");
    }
    let mut tried = Command::new("unshare");
    tried.args(["--net", "ip", "link"]).stdout(Stdio::null()).stderr(Stdio::null());
    match tried.status() {
        Ok(status) if status.success() => None,
        _ => Some("root, unshare and ip, and leave to make network namespaces"),
    }
}

/// The contestants that have a goal.
const ON_DISK: &str = "imprint enroll, identity on disk";
const TO_ITS_END: &str = "imprint enroll, to its end";

/// Measures in the distant namespace, or says what is lacking.
pub(crate) fn measure() -> Result<Vec<Row>, Failed> {
    println!(
        "Round trips to the distant servers, by the slope between {} and {} ms:\n",
        DELAYS[0], DELAYS[1]
    );
    let told = if let Some(lacking) = lacking() {
        println!("NOT MEASURED: it needs {lacking}");
        Err(format!("it needs {lacking}"))
    } else {
        let namespaces = Namespaces::make()?;
        let mut far = inside(&namespaces.far, std::env::current_exe()?.as_ref());
        far.args(["servers", &namespaces.near, &namespaces.far]);
        let ran = Ran::of(&mut far);
        print!("{}", ran.out);
        if ran.code != 0 {
            return Err(format!("the round trips were not measured: {}", ran.err).into());
        }
        Ok(ran.out)
    };
    // The slope is a whole number and what other work of the machine adds to it.
    Ok([
        ("round trips to the identity on disk", "5", 5.5, ON_DISK),
        ("round trips to the end, with the verify", "6", 6.5, TO_ITS_END),
    ]
    .map(|(what, goal, most, name)| match told.as_ref().map(|told| slope(told, name)) {
        Ok(Some(is)) => Row::at_most(what, goal, is, most, format!("{is:.2}")),
        Ok(None) => Row::not_measured(what, goal, "it was not run"),
        Err(lacking) => Row::not_measured(what, goal, lacking),
    })
    .into())
}

/// The contestant's round trips, from what the other process printed.
fn slope(told: &str, name: &str) -> Option<f64> {
    told.lines().find_map(|line| line.strip_prefix(name))?.split_whitespace().next()?.parse().ok()
}

/// `bench servers NEAR FAR`, in the namespace FAR.
pub(crate) fn servers(near: &str, far: &str) -> Result<ExitCode, Failed> {
    let folder = std::env::current_exe()?.with_file_name("bench-link");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let contestants: [(&str, Contestant); 4] = [
        (ON_DISK, |_, machine| Some(machine.imprint(&["enroll"]))),
        (TO_ITS_END, |_, machine| Some(machine.imprint(&["enroll"]))),
        ("with_curl.sh", |site, machine| peer(site, machine, &peers().join("with_curl.sh"))),
        ("with_boto3.py", |site, machine| peer(site, machine, &peers().join("with_boto3.py"))),
    ];
    let mut walls = Vec::new();
    for delay in DELAYS {
        let _link = Link::make(near, far, f64::from(delay) / 2.0)?;
        let mut options = Options::new(context_key::HOST_FACTORY);
        options.address = FAR.parse()?;
        options.imds_address = FAR_AT_ONCE.parse()?;
        options.aws_names = vec![FAR.to_owned()];
        let programs = Programs::named().ok_or("IMPRINT_E2E_BIN_DIR is not set")?;
        let site = Site::with(&folder.join(delay.to_string()), programs, Stack::start(options));
        let ca = format!("ca_file = {:?}\n", site.ca_file());
        let rotator = site.rotator_config().replace("[aws]\n", &format!("[aws]\n{ca}"));
        imprint_e2e::write(&site.folder().join("rotator.toml"), 0o644, &rotator);
        let _said = Ran::of(&mut site.rotator(&["rotate"])).expect(0);
        walls.push(contestants.map(|(name, contestant)| quickest(&site, near, name, contestant)));
    }
    let [short, long] = walls.as_slice() else { return Err("not two delays".into()) };
    for (at, (name, _)) in contestants.iter().enumerate() {
        match (short[at], long[at]) {
            (Some(short), Some(long)) => println!(
                "{name:<36}{:>6.2} round trips   ({:.1} and {:.1} ms)",
                (long.as_secs_f64() - short.as_secs_f64()) * 1e3 / f64::from(DELAYS[1] - DELAYS[0]),
                short.as_secs_f64() * 1e3,
                long.as_secs_f64() * 1e3
            ),
            _ => println!("{name:<36}NOT RUN: curl, jq and `make peers` are needed"),
        }
    }
    Ok(ExitCode::SUCCESS)
}

type Contestant = fn(&Site, &Machine) -> Option<Command>;

/// The least of its walls, since whatever else this machine does only adds; `None` where it cannot be run.
fn quickest(site: &Site, near: &str, name: &str, contestant: Contestant) -> Option<Duration> {
    let mut least = Duration::MAX;
    for _ in 0..RUNS {
        let machine = site.machine("web");
        let ca = format!("[source]\nca_file = {:?}\n", site.ca_file());
        let proof = format!("proof_variable = {:?}\n", site.stack.variable("web"));
        machine.set_config(&machine.config().replace("[source]\n", &ca).replace(&proof, ""));
        let command = contestant(site, &machine)?;
        let mut there = inside(near, command.get_program().as_ref());
        there.args(command.get_args()).env_clear();
        there.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        there.env("PATH", std::env::var_os("PATH")?);
        there.env("CURL_CA_BUNDLE", site.ca_file()).env("AWS_CA_BUNDLE", site.ca_file());
        let start = written(&machine, "etc/imprint/config.toml")?;
        let ran = Ran::of(&mut there).expect(0);
        least = least.min(if name == ON_DISK {
            written(&machine, "etc/conjur.identity")?.duration_since(start).ok()?
        } else {
            ran.wall
        });
    }
    Some(least)
}

/// When a file of the machine was written: its configuration a moment before the start, its identity in
/// the end.
fn written(machine: &Machine, path: &str) -> Option<SystemTime> {
    fs::metadata(machine.path(path)).and_then(|file| file.modified()).ok()
}

fn inside(namespace: &str, program: &Path) -> Command {
    let mut command = Command::new("ip");
    command.args(["netns", "exec", namespace]).arg(program);
    command
}

fn ip(arguments: &str) -> Result<(), Failed> {
    let ran = Ran::of(Command::new("ip").args(arguments.split(' ')));
    if ran.code == 0 { Ok(()) } else { Err(format!("ip {arguments}: {}", ran.err).into()) }
}

impl Namespaces {
    fn make() -> Result<Self, Failed> {
        let id = std::process::id();
        let made = Self { near: format!("imprint-near-{id}"), far: format!("imprint-far-{id}") };
        let Self { near, far } = &made;
        for namespace in [near, far] {
            ip(&format!("netns add {namespace}"))?;
            ip(&format!("-n {namespace} link set lo up"))?;
        }
        ip(&format!("link add at-once netns {near} type veth peer name at-once netns {far}"))?;
        for (namespace, address) in [(near, NEAR_AT_ONCE), (far, FAR_AT_ONCE)] {
            ip(&format!("-n {namespace} address add {address}/30 dev at-once"))?;
            ip(&format!("-n {namespace} link set at-once up"))?;
        }
        Ok(made)
    }
}

impl Drop for Namespaces {
    fn drop(&mut self) {
        for namespace in [&self.near, &self.far] {
            if let Err(error) = ip(&format!("netns delete {namespace}")) {
                println!("left behind: {error}");
            }
        }
    }
}

impl Link {
    /// Holds back for so many milliseconds, each way.
    fn make(near: &str, far: &str, delay: f64) -> Result<Self, Failed> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bench/delaylink.py");
        let mut child = Command::new("python3")
            .arg(script)
            .args([format!("{near}:delayed"), format!("{far}:delayed"), delay.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let mut line = String::new();
        if let Some(said) = child.stdout.take() {
            BufReader::new(said).read_line(&mut line)?;
        }
        let link = Self(child);
        if line != "ready\n" {
            return Err("the delayed link could not be made".into());
        }
        for (namespace, address) in [(near, NEAR), (far, FAR)] {
            ip(&format!("-n {namespace} address add {address}/30 dev delayed"))?;
            ip(&format!("-n {namespace} link set delayed up"))?;
        }
        Ok(link)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        // It ends with its standard input.
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            println!("left behind: {error}");
        }
    }
}
