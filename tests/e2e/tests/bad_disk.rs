//! Targets that cannot be written: found before anything is redeemed, and nothing is left behind. Disks that
//! only root can make are in `tests/root`.

use crate::{no_secret, published};
use imprint_e2e::{Machine, Ran};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
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
