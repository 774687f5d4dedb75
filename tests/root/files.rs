//! What only root can do to files: labels, other users, a system whose `/etc` is read-only.

use crate::{Ran, in_namespace, no_secret, published};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::Path;
use std::process::Command;

const LABEL: &str = "system_u:object_r:etc_t:s0";

/// Sets a label, or tells it; a file system or kernel without labels fails the test, loudly.
fn label(path: &Path, set: Option<&str>) -> Option<String> {
    let code = match set {
        Some(_) => {
            "import os, sys; os.setxattr(sys.argv[1], 'security.selinux', sys.argv[2].encode() + b'\\0')"
        }
        None => "import os, sys; print(os.getxattr(sys.argv[1], 'security.selinux').rstrip(b'\\0').decode())",
    };
    let ran = Ran::of(Command::new("python3").args(["-c", code]).arg(path).args(set));
    assert!(ran.code == 0 || ran.err.contains("No data available"), "no label can be set here: {}", ran.err);
    (ran.code == 0).then(|| ran.out.trim().to_owned())
}

#[test]
#[ignore = "needs root: make test-root"]
fn a_label_is_carried_over_and_a_new_file_gets_the_configured_one() {
    let site = published();
    let machine = site.machine("web");
    let files = format!(
        "[files]\nselinux_label = {LABEL:?}\nowner = \"65534\"\ngroup = \"65534\"\nmode = \"0440\"\n"
    );
    machine.set_config(&machine.config().replace("[files]\n", &files));
    let identity = machine.path("etc/conjur.identity");
    fs::write(&identity, "").unwrap();
    let theirs = "system_u:object_r:conjur_secret_t:s0:c1,c2";
    label(&identity, Some(theirs));
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert_eq!(label(&identity, None).as_deref(), Some(theirs));
    for name in ["etc/conjur.conf", "etc/conjur.pem"] {
        assert_eq!(label(&machine.path(name), None).as_deref(), Some(LABEL), "{name}");
    }
    let looks = fs::metadata(&identity).unwrap();
    assert_eq!((looks.mode() & 0o7777, looks.uid(), looks.gid()), (0o440, 65534, 65534));
}

#[test]
#[ignore = "needs root: make test-root"]
fn a_read_only_etc_moves_all_files_until_it_can_be_written_again() {
    let site = published();
    site.may_tell("conjur.env");
    let machine = site.machine("web");
    let run = machine.path("run");
    fs::create_dir(&run).unwrap();
    let dir = run.join("imprint");
    let env = format!("[files]\nfallback_dir = {dir:?}\nenv = {:?}\n", machine.path("etc/conjur.env"));
    let plain = machine.config();
    let read_only = "mount --bind $root/etc $root/etc; mount -o remount,bind,ro $root/etc";
    let without =
        Ran::of(&mut in_namespace(&machine, read_only, &machine.imprint(&["enroll", "--deadline", "3s"])));
    assert!(without.expect(73).err.contains("fallback_dir"), "the hint names the setting");

    machine.set_config(&plain.replace("[files]\n", &env));
    // The doctor judges the place that will be used, and makes nothing.
    let doctor = Ran::of(&mut in_namespace(&machine, read_only, &machine.imprint(&["doctor", "--offline"])));
    assert!(
        doctor.out.contains("hint") && !doctor.out.contains("cannot open the directory"),
        "{}",
        doctor.out
    );
    assert!(!dir.exists() && !doctor.out.contains("read-only"), "{}", doctor.out);
    let ran = Ran::of(&mut in_namespace(&machine, read_only, &machine.imprint(&["enroll"]))).expect(0);
    assert!(ran.err.contains("is read-only: what is there is kept in"), "{}", ran.err);
    no_secret(&site, &[&ran.out, &ran.err]);
    assert_eq!(machine.etc(), ["imprint"]);
    let all = ["conjur.conf", "conjur.env", "conjur.identity", "conjur.pem"];
    assert_eq!(imprint_e2e::machine::names(&dir), all);
    let conf = fs::read_to_string(dir.join("conjur.conf")).unwrap();
    assert!(conf.contains(&format!("netrc_path: {}", dir.join("conjur.identity").display())), "{conf}");
    let looks = fs::metadata(&dir).unwrap();
    assert_eq!((looks.mode() & 0o7777, looks.uid()), (0o755, 0));
    for command in [&["verify"][..], &["enroll"]] {
        let redeems = site.stack.conjur.count("redeem");
        let _said = Ran::of(&mut in_namespace(&machine, read_only, &machine.imprint(command))).expect(0);
        assert_eq!(site.stack.conjur.count("redeem"), redeems);
    }

    // With the state there as well, and then with neither.
    let state = format!("{read_only}; mount --bind $root/var $root/var; mount -o remount,bind,ro $root/var");
    let _said = Ran::of(&mut in_namespace(&machine, &state, &machine.imprint(&["enroll"]))).expect(0);
    assert_eq!(fs::metadata(dir.join("state")).unwrap().mode() & 0o7777, 0o700);
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert_eq!(machine.etc(), ["conjur.conf", "conjur.env", "conjur.identity", "conjur.pem", "imprint"]);
    assert_eq!(
        imprint_e2e::machine::names(&dir),
        ["conjur.conf", "conjur.pem", "state"],
        "a key is left behind"
    );
}

#[test]
#[ignore = "needs root: make test-root"]
fn nobody_else_can_hold_the_lock_or_swap_the_files() {
    let site = published();
    let machine = site.machine("web");
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    let state = machine.path("var/lib/imprint");
    let looks = |path: &Path| fs::metadata(path).map(|m| (m.mode() & 0o7777, m.uid())).unwrap();
    assert_eq!((looks(&state), looks(&state.join("lock"))), ((0o700, 0), (0o600, 0)));
    // Another user reaches the folder of the tests, and no further.
    for path in site.folder().ancestors().take(1).chain([
        machine.path("").as_path(),
        &machine.path("var"),
        &machine.path("var/lib"),
    ]) {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    }
    let nobody = |command: &[&str]| {
        let mut run = Command::new("setpriv");
        run.args(["--reuid=65534", "--regid=65534", "--clear-groups", "--inh-caps=-all"]).args(command);
        Ran::of(&mut run)
    };
    let at = |path: &Path| path.to_str().unwrap().to_owned();
    let _reached = nobody(&["ls", &at(&machine.path("var/lib"))]).expect(0);
    for path in [state.clone(), state.join("lock")] {
        let _free = Ran::of(Command::new("flock").args(["--nonblock", &at(&path), "true"])).expect(0);
        for command in [&["flock", "--nonblock", &at(&path), "true"][..], &["ls", &at(&state.join("lock"))]] {
            let ran = nobody(command);
            assert!(ran.code != 0 && ran.err.contains("Permission denied"), "{command:?}: {}", ran.err);
        }
    }
    assert!(nobody(&["cat", &at(&machine.path("etc/conjur.identity"))]).err.contains("Permission denied"));

    // A directory of another user is refused, be it that of the state or one above it.
    for (path, say) in
        [(state.clone(), "belongs to another user"), (machine.path("var"), "belongs to another user")]
    {
        chown(&path, Some(65534), None).unwrap();
        let ran = Ran::of(&mut machine.imprint(&["enroll"])).expect(73);
        assert!(ran.err.contains(say) && ran.err.contains("hint"), "{}", ran.err);
        chown(&path, Some(0), None).unwrap();
    }
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
}
