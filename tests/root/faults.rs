//! The real program at a disk whose system calls fail, one after the other: strace makes them fail. It ends
//! with 73, each file is the old one or the new one, nothing is left beside them, and the next run ends well.

use crate::{Machine, Ran, no_secret, published};
use imprint_e2e::client;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// The places of a machine where files are written.
const PLACES: [&str; 6] = [
    "etc",
    "var/lib/imprint",
    "etc/.conjur.pem.imprint-draft",
    "etc/.conjur.conf.imprint-draft",
    "etc/.conjur.identity.imprint-draft",
    "var/lib/imprint/.state.json.imprint-draft",
];

/// An enrollment whose call number `at` of `call` fails, of those that touch the places above.
fn enroll(machine: &Machine, call: &str, error: &str, at: u32) -> Ran {
    let program = machine.imprint(&["enroll", "--deadline", "10s"]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
    strace.args(["-e", &format!("inject={call}:error={error}:when={at}")]);
    for place in PLACES {
        strace.arg("-P").arg(machine.path(place));
    }
    strace.arg(program.get_program()).args(program.get_args());
    strace.env_clear().envs(program.get_envs().filter_map(|(k, v)| Some((k, v?))));
    Ran::of(&mut strace)
}

/// Lets each call of one kind fail in turn, on machines with `before` as their identity file.
#[track_caller]
fn check(call: &str, errors: &[&str], before: Option<&str>) {
    check_with("", 3, call, errors, before);
}

/// The same with more settings of `[files]`, where at least so many calls can fail.
#[track_caller]
fn check_with(settings: &str, least: usize, call: &str, errors: &[&str], before: Option<&str>) {
    let site = published();
    let mut failed = 0;
    for at in 1.. {
        assert!(at < 60, "there is no end of {call}");
        let machine = site.machine("web");
        machine.set_config(&machine.config().replace("[files]\n", &format!("[files]\n{settings}")));
        // So that the path is there for strace to look for.
        fs::create_dir(machine.path("var/lib/imprint")).unwrap();
        fs::set_permissions(machine.path("var/lib/imprint"), PermissionsExt::from_mode(0o700)).unwrap();
        if let Some(text) = before {
            imprint_e2e::write(&machine.path("etc/conjur.identity"), 0o600, text);
        }
        let error = errors[failed % errors.len()];
        let ran = enroll(&machine, call, error, at);
        if ran.code == 0 {
            break;
        }
        failed += 1;
        let say = format!("{call} {at}: {error}\n{}", ran.err);
        assert_eq!(ran.code, 73, "{say}");
        assert!(ran.err.contains("os error") && ran.err.contains("hint"), "{say}");
        no_secret(&site, &[&ran.out, &ran.err]);
        for name in
            machine.etc().into_iter().chain(imprint_e2e::machine::names(&machine.path("var/lib/imprint")))
        {
            assert!(!name.contains("draft"), "{name} is left behind: {say}");
        }
        let text = machine.identity_text();
        if text.as_deref() != before {
            let text = text.unwrap();
            let (login, key) = client::netrc(text.strip_prefix(before.unwrap_or_default()).expect(&say));
            let host = login.strip_prefix("host/").unwrap();
            assert_eq!(site.stack.conjur.service().key_of(host), Some(key), "{say}");
        }
        let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
        let _said = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    }
    assert!(failed >= least, "{call} was made to fail {failed} times: is it what the program calls?");
}

const THEIRS: &str = "machine example.org login me password x\n";

#[test]
#[ignore = "needs root: make test-root"]
fn fsync_fails() {
    check("fsync", &["EIO", "ENOSPC", "EDQUOT", "EROFS"], None);
}

#[test]
#[ignore = "needs root: make test-root"]
fn write_fails() {
    check("write", &["ENOSPC", "EIO", "EDQUOT"], Some(THEIRS));
}

#[test]
#[ignore = "needs root: make test-root"]
fn taking_space_fails() {
    check("fallocate", &["ENOSPC", "EDQUOT", "EIO"], None);
}

#[test]
#[ignore = "needs root: make test-root"]
fn renaming_fails() {
    check("renameat,renameat2,rename", &["ENOSPC", "EIO", "EROFS", "EDQUOT"], Some(THEIRS));
}

#[test]
#[ignore = "needs root: make test-root"]
fn opening_fails() {
    check("openat", &["EMFILE", "ENOSPC", "EROFS", "EIO"], None);
}

#[test]
#[ignore = "needs root: make test-root"]
fn owner_and_mode_fail() {
    // Only where the owner is to be another one: of the identity and of what proves that it can be written.
    check_with("owner = \"65534\"\n", 2, "fchown", &["EROFS", "EIO", "EDQUOT"], None);
    check("fchmod", &["EROFS", "EIO"], None);
}

/// The state's new directory in the one above it, the note before the redeem, the files, the record after it:
/// each is flushed, and so is each directory.
#[test]
#[ignore = "needs root: make test-root"]
fn an_enrollment_flushes_no_more_than_it_must() {
    let site = published();
    let machine = site.machine("web");
    let log = machine.path("strace");
    let program = machine.imprint(&["enroll"]);
    let mut strace = Command::new("strace");
    strace.args(["-f", "-qq", "-y", "-e", "trace=fsync", "-o"]).arg(&log);
    strace.arg(program.get_program()).args(program.get_args());
    strace.env_clear().envs(program.get_envs().filter_map(|(k, v)| Some((k, v?))));
    let _said = Ran::of(&mut strace).expect(0);
    let calls = fs::read_to_string(&log).unwrap();
    let flushed: Vec<&str> =
        calls.lines().map(|line| line.rsplit_once(">)").unwrap().0.rsplit_once('/').unwrap().1).collect();
    let state = [".state.json.imprint-draft", "imprint"];
    let files =
        [".conjur.pem.imprint-draft", ".conjur.conf.imprint-draft", ".conjur.identity.imprint-draft", "etc"];
    assert_eq!(flushed, [&["lib"][..], &state, &files, &state].concat());
}
