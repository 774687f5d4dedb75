//! The guest: its disk, its boots, and what can be asked of it while it runs.

use crate::cases::Case;
use crate::world::{must, plug_in};
use crate::{Failed, Ground};
use imprint_e2e::Ran;
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant, SystemTime};

/// How long a boot may take to start its first program, and to end.
const SOON: Duration = Duration::from_secs(60);

/// The disk of an instance: what is written goes with this process's mount namespace.
pub struct Disk {
    /// The whole disk.
    pub root: PathBuf,
    /// What was written since the package was installed.
    pub written: PathBuf,
}

impl Disk {
    /// A disk with the case's package, if it has one.
    pub fn new(case: &Case, ground: &Ground, folder: &Path) -> Result<Self, Failed> {
        must(Command::new("mount").args(["-t", "tmpfs", "-o", "mode=0755", "boot"]).arg(folder))?;
        let at = |name: &str| folder.join(name);
        for name in ["written", "work", "root"] {
            fs::create_dir(at(name))?;
        }
        let installed = case.package.map(|package| format!("{}:", ground.layer(package).display()));
        let lower = format!("{}{}", installed.unwrap_or_default(), ground.root.display());
        let options =
            format!("lowerdir={lower},upperdir={},workdir={}", at("written").display(), at("work").display());
        must(Command::new("mount").args(["-t", "overlay", "overlay", "-o", &options]).arg(at("root")))?;
        Ok(Self { root: at("root"), written: at("written") })
    }

    /// A path on it, given from its root.
    pub fn path(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    pub fn write(&self, path: &str, text: &str) {
        imprint_e2e::write(&self.path(path), 0o644, text);
    }

    /// systemctl for a system that does not run.
    pub fn systemctl(&self, words: &[&str]) -> Result<(), Failed> {
        must(Command::new("chroot").arg(&self.root).arg("systemctl").arg("--quiet").args(words))
    }
}

/// A running guest.
pub struct Guest {
    nspawn: Child,
    leader: String,
    /// When it was switched on.
    pub since: SystemTime,
}

impl Guest {
    /// Switches it on. What it writes on its console goes to a file.
    pub fn boot(case: &Case, ground: &Ground, disk: &Disk, console: &Path) -> Result<Self, Failed> {
        plug_in()?;
        let uuid = disk.root.parent().ok_or("a folder")?.join("uuid");
        fs::write(&uuid, "ec2e1916-9099-7caf-fd21-0123456789ab\n")?;
        let output = fs::File::options().create(true).append(true).open(console)?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../boot/nspawn.sh");
        // The machine goes with its harness, however that ends.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "TERM", "unshare", "--mount", "--propagation", "private", "bash"]);
        command.arg(script).arg(&ground.tools).arg(&disk.root).arg(control_group(case.name)).arg(&uuid);
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
        // As the file system has it, a moment ago.
        let since = fs::metadata(&uuid)?.modified()?;
        let nspawn = command.spawn()?;
        let mut guest = Self { nspawn, leader: String::new(), since };
        let children = format!("/proc/{0}/task/{0}/children", guest.nspawn.id());
        until(SOON, || {
            let text = fs::read_to_string(&children).unwrap_or_default();
            let leader = text.split_whitespace().next().unwrap_or_default();
            guest.leader = leader.to_owned();
            let its_root = PathBuf::from(format!("/proc/{leader}/root"));
            !leader.is_empty() && its_root.join("run/systemd/private").exists()
        })?;
        Ok(guest)
    }

    /// Runs a program in it, as root with all rights.
    pub fn run(&self, words: &[&str]) -> Ran {
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.leader, "-m", "-u", "-i", "-n", "-p", "-C", "--"]).args(words);
        command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").stdin(Stdio::null());
        Ran::of(&mut command)
    }

    /// Waits until the boot is over and the unit is at its end, whichever that is.
    pub fn settle(&self, within: Duration) -> Result<(), Failed> {
        let settled = || {
            let state = self.run(&["systemctl", "is-system-running"]).out;
            let jobs = self.run(&["systemctl", "list-jobs", "--no-legend"]).out;
            let unit = self.property("imprint.service", "ActiveState");
            let busy = ["initializing", "starting"].contains(&state.trim()) || unit == "activating";
            !busy && (jobs.trim().is_empty() || jobs.contains("No jobs running"))
        };
        until(within, settled)?;
        Ok(())
    }

    /// A property of a unit.
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.run(&["systemctl", "show", "--value", "-p", name, unit]).out.trim().to_owned()
    }

    /// The journal of this boot, an entry each.
    pub fn journal(&self) -> Vec<Value> {
        let _written = self.run(&["journalctl", "--sync"]);
        let text = self.run(&["journalctl", "-b", "-o", "json", "--all", "--no-pager"]).out;
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Switches it off in good order.
    pub fn off(mut self) -> Result<(), Failed> {
        // SIGRTMIN+4 asks systemd as PID 1 to power off.
        must(Command::new("kill").args(["-s", "RTMIN+4", &self.leader]))?;
        until(SOON, || matches!(self.nspawn.try_wait(), Ok(Some(_))))?;
        Ok(())
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Ok(None) = self.nspawn.try_wait() {
            let _gone = Command::new("kill").arg(self.nspawn.id().to_string()).status();
            let _gone = until(Duration::from_secs(10), || matches!(self.nspawn.try_wait(), Ok(Some(_))));
            // With its PID 1 all of the guest goes, which nspawn's own end would leave running.
            if !self.leader.is_empty() {
                let _gone = Command::new("kill").args(["-s", "KILL", &self.leader]).status();
            }
            let _gone = self.nspawn.kill();
            let _gone = self.nspawn.wait();
        }
    }
}

fn control_group(case: &str) -> String {
    format!("imprint-boot-{case}")
}

/// The control groups of a case that has ended, which no namespace takes with it.
pub fn remove_control_groups(case: &str) -> std::io::Result<()> {
    fn remove(folder: &Path) -> std::io::Result<()> {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                remove(&entry.path())?;
            }
        }
        fs::remove_dir(folder)
    }
    for hierarchy in ["unified", "systemd", "."] {
        let folder = Path::new("/sys/fs/cgroup").join(hierarchy).join(control_group(case));
        if folder.is_dir() {
            remove(&folder)?;
        }
    }
    Ok(())
}

/// Asks until it is so. A guest tells nobody when it is.
pub fn until(within: Duration, mut is_so: impl FnMut() -> bool) -> Result<(), Failed> {
    let from = Instant::now();
    while !is_so() {
        if from.elapsed() > within {
            return Err(format!("not within {} s", within.as_secs()).into());
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}
