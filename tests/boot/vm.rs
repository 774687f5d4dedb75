//! One slow boot on a whole emulated machine: Debian's own kernel, EC2's SMBIOS, and a cloud-init that finds
//! EC2 by itself. `boot vm` runs it; it takes minutes, so CI does not.

use crate::cases::{Boot, CASES, Case, Package};
use crate::guest::{Disk, until};
use crate::judge::{Judge, field};
use crate::world::{MAC, World, lay_cable, must};
use crate::{Failed, story};
use serde_json::Value;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// How long an emulated boot may take.
const WITHIN: Duration = Duration::from_secs(600);
const UUID: &str = "ec2e1916-9099-7caf-fd21-0123456789ab";

/// The case that is booted: the baked image, whose instance-id is told by the firmware itself.
fn case() -> Case {
    let [baked, ..] = CASES else { unreachable!("there are cases") };
    Case { name: "vm", own_firmware: true, boots: &[Boot::First], ..*baked }
}

/// Boots it, in the namespaces of this process; says what was wrong.
pub fn tell(made: &Path, evidence: &Path) -> Result<Vec<String>, Failed> {
    let case = case();
    let folder = evidence.join("world");
    fs::create_dir_all(&folder)?;
    let world = World::new(&case, &folder)?;
    lay_cable("tuntap add ec2 mode tap")?;
    let image = evidence.join("disk");
    must(Command::new("cp").arg("--sparse=always").arg(made.join("root.ext4")).arg(&image))?;
    let mounted = evidence.join("mounted");
    fs::create_dir_all(&mounted)?;
    let mount = |options: &str| must(Command::new("mount").args(["-o", options]).arg(&image).arg(&mounted));
    let disk = Disk { root: mounted.clone(), written: mounted.clone() };

    mount("loop")?;
    fs::copy(Package::Deb.file()?, disk.path("/tmp/package.deb"))?;
    must(Command::new("chroot").arg(&mounted).args(["dpkg", "-i", "/tmp/package.deb"]))?;
    fs::remove_file(disk.path("/tmp/package.deb"))?;
    story::dress(&case, &world, &disk)?;
    must(Command::new("umount").arg(&mounted))?;

    let from = Instant::now();
    run(&world, made, evidence)?;
    println!("the emulated machine ran for {} s", from.elapsed().as_secs());

    mount("loop,ro,noload")?;
    let seen = Command::new("journalctl")
        .arg("-D")
        .arg(disk.path("/var/log/journal"))
        .args(["-o", "json", "--all"])
        .output()?;
    fs::write(evidence.join("journal.json"), &seen.stdout)?;
    let journal: Vec<Value> = String::from_utf8_lossy(&seen.stdout)
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let console = fs::read_to_string(evidence.join("console"))?;
    let mut judge = Judge::new(&case, &world);
    judge.emulated(&journal, &console, &disk);
    let first = journal.first().map(micros).unwrap_or_default();
    let enrolled = journal.iter().find(|entry| field(entry, "MESSAGE_ID") == crate::judge::ENROLLED);
    if let Some(enrolled) = enrolled {
        println!("from the journal's first line to the identity: {:.1} s", (micros(enrolled) - first) / 1e6);
    }
    must(Command::new("umount").arg(&mounted))?;
    fs::remove_file(&image)?;
    Ok(judge.faults)
}

fn micros(entry: &Value) -> f64 {
    field(entry, "__REALTIME_TIMESTAMP").parse().unwrap_or_default()
}

/// The machine, from switching on until cloud-init has come to its end, and then off by its power button.
fn run(world: &World, made: &Path, evidence: &Path) -> Result<(), Failed> {
    let tools = made.join("tools");
    for (from, to) in [(evidence, "mnt"), (made, "media"), (Path::new("/dev"), "dev")] {
        must(Command::new("mount").arg("--bind").arg(from).arg(tools.join(to)))?;
    }
    let id = world.imds.service().instance().id;
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", "chroot"]).arg(&tools).arg("qemu-system-x86_64");
    command.args([
        "-machine",
        "q35",
        "-accel",
        "tcg,thread=multi,tb-size=512",
        "-cpu",
        "max",
        "-smp",
        "2",
        "-m",
        "768",
    ]);
    command.args([
        "-nodefaults",
        "-display",
        "none",
        "-no-reboot",
        "-kernel",
        "/media/vmlinuz",
        "-initrd",
        "/media/initrd",
    ]);
    command.args(["-append", "root=/dev/vda rw console=ttyS0 quiet net.ifnames=0", "-uuid", UUID]);
    for table in [
        "type=0,vendor=Amazon EC2,version=1.0".to_owned(),
        format!("type=1,manufacturer=Amazon EC2,product=t3.micro,serial={UUID},uuid={UUID}"),
        // Where Nitro tells the instance-id.
        format!("type=2,manufacturer=Amazon EC2,asset={id}"),
        "type=3,manufacturer=Amazon EC2,asset=Amazon EC2".to_owned(),
    ] {
        command.args(["-smbios", &table]);
    }
    command.args(["-drive", "file=/mnt/disk,format=raw,if=virtio,cache=unsafe"]);
    command.args(["-netdev", "tap,id=net,ifname=ec2,script=no,downscript=no"]);
    command.args([
        "-device",
        &format!("virtio-net-pci,netdev=net,mac={MAC},romfile="),
        "-device",
        "virtio-rng-pci",
    ]);
    command.args(["-serial", "file:/mnt/console", "-monitor", "stdio"]);
    let log = fs::File::create(evidence.join("qemu.log"))?;
    command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log);
    let mut machine = command.spawn()?;
    let mut monitor = machine.stdin.take().ok_or("a monitor")?;
    let console = evidence.join("console");
    let mut is_off = false;
    let booted = until(WITHIN, || {
        is_off = matches!(machine.try_wait(), Ok(Some(_)));
        let text = fs::read(&console).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let finished =
            text.lines().any(|line| line.contains("Cloud-init v.") && line.contains(" finished at "));
        is_off || finished
    });
    std::io::Write::write_all(&mut monitor, b"system_powerdown\n")?;
    let off = until(Duration::from_secs(120), || matches!(machine.try_wait(), Ok(Some(_))));
    if off.is_err() {
        let _gone = machine.kill();
        let _gone = machine.wait();
    }
    booted?;
    off?;
    if is_off { Err("the machine went off by itself; see qemu.log".into()) } else { Ok(()) }
}
