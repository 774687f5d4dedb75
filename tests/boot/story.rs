//! The story of one case: an image is made, the instance boots once or several times, and each boot is judged.

use crate::cases::{Boot, Case, Configured, Image, Trouble, UserData};
use crate::guest::{Disk, Guest, until};
use crate::judge::{Judge, Seen};
use crate::world::{World, names};
use crate::{Failed, Ground, example};
use imprint_e2e::Ran;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a boot may take beside the trouble that is made for it.
const WITHIN: Duration = Duration::from_secs(120);

/// Boots, and says what was wrong.
pub fn tell(case: &Case, ground: &Ground, evidence: &Path) -> Result<Vec<String>, Failed> {
    let folder = evidence.join("world");
    fs::create_dir_all(&folder)?;
    let world = World::new(case, &folder)?;
    // The disk lies in memory, at a place of this mount namespace alone.
    let memory = evidence.join("disk");
    fs::create_dir_all(&memory)?;
    let disk = Disk::new(case, ground, &memory)?;
    dress(case, &world, &disk)?;
    let mut judge = Judge::new(case, &world);
    let mut times = Vec::new();
    for (at, boot) in case.boots.iter().enumerate() {
        if [Boot::Cloned, Boot::Baked].contains(boot) {
            world.clone_instance();
        }
        write_firmware(&world, &disk);
        world.site.stack.clear_logs();
        world.imds.clear_log();
        let own = evidence.join(format!("boot-{}", at + 1));
        fs::create_dir_all(&own)?;
        let is_baked = case.boots.get(at + 1) == Some(&Boot::Baked);
        let (seen, clean) = watch(case, ground, &world, &disk, (*boot, is_baked), &own)?;
        times.push(judge.boot(*boot, &seen));
        if let Some(clean) = clean {
            judge.baked(&clean, &disk);
        }
    }
    judge.disk(&disk);
    fs::write(evidence.join("identity"), times.join(", "))?;
    if !judge.faults.is_empty() {
        keep(&disk, evidence);
    }
    Ok(judge.faults)
}

/// Makes the image: what a bake would have put there.
pub fn dress(case: &Case, world: &World, disk: &Disk) -> Result<(), Failed> {
    disk.write("/etc/hosts", &names());
    // A container shows no SMBIOS, so cloud-init is told where it is; a whole machine finds out by itself.
    let ec2 = "datasource_list: [ Ec2 ]\n";
    let cloud = format!(
        "{}datasource: {{Ec2: {{strict_id: true, timeout: 5, max_wait: 60}}}}\nlocale: C.UTF-8\nssh_genkeytypes: [ed25519]\n",
        if case.own_firmware { "" } else { ec2 }
    );
    disk.write("/etc/cloud/cloud.cfg.d/90_ec2.cfg", &cloud);
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../boot/guest");
    let read = |path: PathBuf| fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()));
    disk.write("/usr/local/lib/app.py", &read(own.join("app.py"))?);
    disk.write("/etc/systemd/system/app.service", &read(own.join("app.service"))?);
    // Whoever gets the package at boot has the drop-in from elsewhere.
    let examples = match case.package {
        Some(_) => disk.path("/usr/share/doc/imprint/examples/systemd"),
        None => example::folder().join("systemd"),
    };
    let needs = read(examples.join("app.service.d/identity.conf"))?;
    disk.write("/etc/systemd/system/app.service.d/identity.conf", &needs);
    disk.systemctl(&["enable", "app.service"])?;
    match case.image {
        Image::Group => {
            let group = read(examples.join("imprint.service.d/group.conf"))?;
            disk.write("/etc/systemd/system/imprint.service.d/group.conf", &group);
            let member = "[Service]\nUser=nobody\nSupplementaryGroups=imprint\n";
            disk.write("/etc/systemd/system/app.service.d/member.conf", member);
        }
        Image::ReadOnlyEtc => {
            disk.write("/etc/systemd/system/read-only.service", &read(own.join("read-only.service"))?);
            disk.systemctl(&["enable", "read-only.service"])?;
        }
        Image::Usual => {}
    }
    if !case.enabled {
        disk.systemctl(&["disable", "imprint.service"])?;
    }
    if case.configured == Configured::InImage {
        for (path, text) in configuration(case, world) {
            disk.write(path, &text);
        }
    }
    if let UserData::Example(_) = case.user_data {
        // Not in the examples, since AWS is where it is: what leads to this world's S3 and KMS.
        disk.write("/etc/imprint/environment", &world.environment());
        let trusted = disk.path("/etc/ssl/certs/ca-certificates.crt");
        let others = read(trusted)?;
        disk.write("/etc/ssl/certs/ca-certificates.crt", &(others + &world.site.stack.ca.pem()));
    }
    let user_data = user_data(case, world)?;
    world.imds.service().change(|instance| instance.user_data = user_data);
    Ok(())
}

fn configuration(case: &Case, world: &World) -> [(&'static str, String); 3] {
    [
        ("/etc/imprint/config.toml", world.config(case)),
        ("/etc/imprint/ca.pem", world.site.stack.ca.pem()),
        ("/etc/imprint/environment", world.environment()),
    ]
}

fn user_data(case: &Case, world: &World) -> Result<Option<String>, Failed> {
    let files =
        if case.configured == Configured::ByUserData { configuration(case, world).to_vec() } else { vec![] };
    Ok(match case.user_data {
        UserData::Example(parts) => Some(example::user_data(parts, world)?),
        UserData::Script => {
            let mut text = "#!/bin/sh\nset -eu\numask 022\nmkdir -p /etc/imprint\n".to_owned();
            for (path, content) in files {
                text.push_str(&format!("cat >{path} <<'END'\n{content}END\n"));
            }
            text.push_str("systemctl start --no-block imprint.service imprint-identity.target app.service\n");
            Some(text)
        }
        UserData::Quiet if files.is_empty() => None,
        UserData::Quiet | UserData::Starts => {
            let mut text = "#cloud-config\nwrite_files:\n".to_owned();
            for (path, content) in files {
                let indented: String = content.lines().map(|line| format!("      {line}\n")).collect();
                text.push_str(&format!(
                    "  - path: {path}\n    permissions: '0644'\n    content: |\n{indented}"
                ));
            }
            if case.user_data == UserData::Starts {
                text.push_str("runcmd:\n  - [ systemctl, start, --no-block, imprint.service ]\n");
            }
            Some(text)
        }
    })
}

/// What the firmware tells, where it tells anything.
fn write_firmware(world: &World, disk: &Disk) {
    let id = world.imds.service().instance().id;
    disk.write("/etc/firmware/class/dmi/id/board_asset_tag", &format!("{id}\n"));
}

/// One boot, from switching on to switching off; with the end of a bake, if an image is made of its disk.
fn watch(
    case: &Case,
    ground: &Ground,
    world: &World,
    disk: &Disk,
    (boot, is_baked): (Boot, bool),
    evidence: &Path,
) -> Result<(Seen, Option<Ran>), Failed> {
    let trouble = if boot == Boot::First { case.trouble } else { Trouble::Nothing };
    world.begin(trouble);
    let console = evidence.join("console.log");
    let guest = Guest::boot(case, ground, disk, &console)?;
    let settled = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(trouble.lasts());
            world.end(trouble);
        });
        if trouble == Trouble::Crash {
            until(WITHIN, || world.site.stack.conjur.count("redeem") > 0)?;
            let _killed = guest.run(&["systemctl", "kill", "--signal=KILL", "imprint.service"]);
        }
        guest.settle(trouble.lasts() + WITHIN)
    });
    let seen = Seen::of(case, world, &guest, &console);
    fs::write(evidence.join("journal.json"), serde_json::to_vec(&seen.journal)?)?;
    fs::write(evidence.join("status.txt"), &seen.status)?;
    let clean = is_baked.then(|| guest.run(&["cloud-init", "clean", "--logs"]));
    guest.off()?;
    settled.map_err(|error| format!("the boot did not come to its end: {error}\n{}", seen.status))?;
    Ok((Seen { console: fs::read_to_string(&console).unwrap_or_default(), ..seen }, clean))
}

/// Keeps what the guest wrote, which would go with its memory; but for the keys.
fn keep(disk: &Disk, evidence: &Path) {
    let from = disk.written.display();
    let (to, _) = (evidence.join("written"), ());
    let copy = format!(
        "mkdir -p {0} && tar -C {from} --exclude=conjur.* -cf - etc var/log var/lib/imprint var/lib/cloud 2>/dev/null | tar -C {0} -xf -",
        to.display()
    );
    let _as_far_as_it_goes = std::process::Command::new("sh").args(["-c", &copy]).status();
}
