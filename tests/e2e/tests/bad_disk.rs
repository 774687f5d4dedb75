//! Targets that cannot be written: found before anything is redeemed, and nothing is left behind.

use crate::{no_secret, published};
use imprint_e2e::{Machine, Ran};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::process::Command;

/// Spoils a machine's disk; the enrollment must end with 73 before a redeem, and leave `/etc` as it is.
#[track_caller]
fn check(spoil: impl Fn(&Machine), say: &str) {
    let site = published();
    let machine = site.machine("web");
    spoil(&machine);
    let before = machine.etc();
    let ran = Ran::of(&mut machine.imprint(&["enroll", "--deadline", "3s"])).expect(73);
    assert!(ran.err.contains(say), "should say {say:?}:\n{}", ran.err);
    assert!(ran.err.contains("hint"), "no hint:\n{}", ran.err);
    no_secret(&site, &[&ran.out, &ran.err]);
    assert_eq!(machine.etc(), before, "litter");
    assert_eq!(site.stack.conjur.count("redeem"), 0, "redeemed before it was known that it can be written");
}

#[test]
fn what_a_target_may_not_be() {
    check(|m| fs::create_dir(m.path("etc/conjur.identity")).unwrap(), "conjur.identity");
    check(|m| symlink("/etc/passwd", m.path("etc/conjur.identity")).unwrap(), "conjur.identity");
    check(|m| symlink(m.path("nowhere"), m.path("etc/conjur.conf")).unwrap(), "conjur.conf");
    check(
        |m| assert!(Command::new("mkfifo").arg(m.path("etc/conjur.identity")).status().unwrap().success()),
        "conjur.identity",
    );
    check(
        |m| {
            fs::write(m.path("etc/other"), "x").unwrap();
            fs::hard_link(m.path("etc/other"), m.path("etc/conjur.identity")).unwrap();
        },
        "conjur.identity",
    );
    check(|m| fs::set_permissions(m.path("etc"), fs::Permissions::from_mode(0o777)).unwrap(), "etc");
}

/// `unshare` into a mount namespace: root has one for the asking, anybody else with the root of a user
/// namespace.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    let own = fs::metadata("/proc/self").unwrap().uid() == 0;
    command.args(if own { &["--mount"][..] } else { &["--map-root-user", "--mount"] });
    command
}

/// Whether a disk can be mounted at all: in a container without the right, it cannot.
fn may_mount() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let mut probe = unshare();
    probe.args(["mount", "-t", "tmpfs", "none"]).arg(folder.path());
    probe.output().is_ok_and(|ended| ended.status.success())
}

/// Runs an enrollment with `mount` done in a mount namespace of its own.
#[track_caller]
fn mounted(mount: &str, code: i32, say: &str) {
    if !may_mount() {
        imprint_e2e::peers::aloud(
            "SKIPPED: no mount namespace is to be had here; run the tests as root, or where user namespaces are allowed",
        );
        return;
    }
    let site = published();
    let machine = site.machine("web");
    let program = machine.imprint(&["enroll", "--deadline", "3s"]);
    let script = format!("set -e; etc={:?}; {mount}; exec \"$@\"", machine.path("etc"));
    let mut command = unshare();
    command.args(["bash", "-c", &script, "bash"]).arg(program.get_program()).args(program.get_args());
    command.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command.envs(program.get_envs().filter_map(|(k, v)| Some((k, v?))).filter(|(k, _)| *k != "PATH"));
    let ran = Ran::of(&mut command).expect(code);
    assert!(ran.err.contains(say), "should say {say:?}:\n{}", ran.err);
    no_secret(&site, &[&ran.out, &ran.err]);
    assert_eq!(site.stack.conjur.count("redeem"), 0);
    assert_eq!(machine.etc(), ["imprint"], "litter");
}

#[test]
fn a_read_only_disk() {
    mounted("mount --bind \"$etc\" \"$etc\"; mount -o remount,bind,ro \"$etc\"", 73, "ead-only");
}

#[test]
fn a_full_disk() {
    // One page for the configuration that is copied into it, none for what comes.
    let full = "cp -r \"$etc\" \"$etc.copy\"; mount -t tmpfs -o size=64k,mode=755 none \"$etc\"; cp -r \"$etc.copy/.\" \"$etc\"; \
                dd if=/dev/zero of=\"$etc/fill\" bs=4k count=64 2>/dev/null || true";
    mounted(full, 73, "No space left");
}
