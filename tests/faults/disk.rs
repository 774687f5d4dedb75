//! Section G: places that cannot be written, as far as that takes neither root nor an injected system call.

use crate::row::At::Conjur;
use crate::row::{Left, Row, Run, page, row};
use std::fs;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::os::unix::net::UnixListener;
use std::process::Command;

pub fn rows() -> Vec<Row> {
    [limits(), targets(), state(), present()].into_iter().flatten().collect()
}

/// Bytes and descriptors are used up: what a full disk or a quota does, without a disk of its own.
fn limits() -> Vec<Row> {
    let limited = |id, what: &str, shell| row(id, what).shell(shell);
    vec![
        limited("G78", "no file may have a byte", "trap '' XFSZ; ulimit -f 0").ends(73, "").never("redeem"),
        limited("G78", "files of a kilobyte at most", "trap '' XFSZ; ulimit -f 1")
            .ends(73, "")
            .never("redeem"),
        limited("G87", "six descriptors", "ulimit -n 6").ends_somehow(&[70, 73, 75, 78]).never("redeem"),
        limited("G83", "a creation mask that takes nothing away", "umask 000")
            .after(|world| modes(world, 0o600)),
        limited("G83", "a creation mask that takes all away", "umask 777").after(|world| modes(world, 0o600)),
        row("G78", "an enrolled machine may write nothing, and its key is rotated")
            .command(Run::Enrolled("rotate-key"))
            .shell("trap '' XFSZ; ulimit -f 0")
            .ends(73, "")
            .left(Left::Old)
            .never("rotate_key"),
        row("G78", "an enrolled machine may write nothing, and has nothing to do")
            .command(Run::Enrolled("enroll"))
            .shell("trap '' XFSZ; ulimit -f 0")
            .left(Left::Old),
    ]
}

fn modes(world: &crate::world::World, want: u32) -> Result<(), String> {
    let path = world.machine.path("etc/conjur.identity");
    let mode = fs::metadata(&path).map_err(|e| e.to_string())?.permissions().mode() & 0o777;
    if mode == want { Ok(()) } else { Err(format!("the identity has mode {mode:o}")) }
}

/// Where the files shall go.
fn targets() -> Vec<Row> {
    let at = |id, what: &str, to: String| {
        row(id, what)
            .arrange(move |world| {
                let usual = world.machine.path("etc/conjur.identity");
                let to = to.replace("ETC", &world.machine.path("etc").display().to_string());
                world.replace(&format!("identity = {usual:?}"), &format!("identity = {to:?}"));
            })
            .ends(73, "")
            .never("redeem")
    };
    let spoiled = |what: &str, spoil: fn(&imprint_e2e::Machine)| {
        row("G81", what).arrange(move |world| spoil(&world.machine)).ends(73, "").never("redeem")
    };
    vec![
        at("G87", "a name of 300 bytes", format!("ETC/{}", "n".repeat(300))).ends(78, "files.identity"),
        at("G87", "a path of 5,000 bytes", format!("ETC{}", "/folder".repeat(700)))
            .ends(78, "files.identity"),
        at("G80", "a file system that makes no files", "/proc/imprint.identity".to_owned()),
        at("G80", "another that makes none", "/sys/imprint.identity".to_owned()),
        at("G81", "a device", "/dev/full".to_owned()),
        at("G81", "below a file", "ETC/imprint/config.toml/identity".to_owned()),
        at("G81", "in a folder that is not there", "ETC/nowhere/identity".to_owned()),
        at("G81", "a folder that all may write", "/tmp/imprint-fault.identity".to_owned()),
        spoiled("a socket", |m| drop(UnixListener::bind(m.path("etc/conjur.pem")).expect("a socket"))),
        spoiled("a folder where the CA goes", |m| {
            fs::create_dir(m.path("etc/conjur.pem")).expect("a folder")
        }),
        spoiled("a link to itself", |m| {
            symlink(m.path("etc/conjur.conf"), m.path("etc/conjur.conf")).expect("a link");
        }),
    ]
}

/// The state directory, and the lock in it.
fn state() -> Vec<Row> {
    let with = |what: &str, spoil: fn(&imprint_e2e::Machine)| {
        row("G81", what).arrange(move |world| spoil(&world.machine)).ends(73, "").never("redeem")
    };
    let enrolled = |what: &str, spoil: fn(&imprint_e2e::Machine)| {
        row("G81", what).command(Run::Enrolled("enroll")).arrange(move |world| spoil(&world.machine))
    };
    vec![
        with("a state directory that is a file", |m| fs::write(m.path(FOLDER), "x").expect("a file")),
        with("a state directory that is a link", |m| {
            fs::create_dir(m.path("var/elsewhere")).expect("a folder");
            symlink(m.path("var/elsewhere"), m.path(FOLDER)).expect("a link");
        }),
        with("a state directory that all may write", |m| {
            fs::create_dir(m.path(FOLDER)).expect("a folder");
            fs::set_permissions(m.path(FOLDER), fs::Permissions::from_mode(0o777)).expect("a mode");
        }),
        with("a lock that is a folder", |m| {
            fs::create_dir_all(m.path(FOLDER).join("lock")).expect("a folder")
        }),
        with("a lock that is a link", |m| {
            fs::create_dir(m.path(FOLDER)).expect("a folder");
            symlink("/etc/passwd", m.path(FOLDER).join("lock")).expect("a link");
        }),
        with("a lock that is a FIFO", |m| {
            fs::create_dir(m.path(FOLDER)).expect("a folder");
            fifo(&m.path(FOLDER).join("lock"));
        }),
        // The identity authenticates as the host that it should be: it is adopted.
        enrolled("a state of garbage", |m| fs::write(m.path(STATE), "\0\u{1}garbage").expect("a file"))
            .left(Left::Old),
        enrolled("an empty state", |m| fs::write(m.path(STATE), "").expect("a file")).left(Left::Old),
        enrolled("half a state", |m| {
            let text = fs::read_to_string(m.path(STATE)).expect("a state");
            fs::write(m.path(STATE), &text[..text.len() / 2]).expect("a file");
        })
        .left(Left::Old),
        enrolled("a state of ten megabytes", |m| {
            fs::write(m.path(STATE), vec![b' '; 10 << 20]).expect("a file")
        })
        .left(Left::Old),
        enrolled("a state of another format", |m| {
            fs::write(m.path(STATE), r#"{"version":99}"#).expect("a file");
        })
        .left(Left::Old),
    ]
}

const FOLDER: &str = "var/lib/imprint";
const STATE: &str = "var/lib/imprint/state.json";

fn fifo(path: &std::path::Path) {
    assert!(Command::new("mkfifo").arg(path).status().expect("mkfifo").success());
}

/// What was there before, and who else looks at it.
fn present() -> Vec<Row> {
    vec![
        row("G88", "somebody reads the old identity while it is replaced")
            .command(Run::Enrolled("rotate-key"))
            .arrange(|world| {
                let file = fs::File::open(world.machine.path("etc/conjur.identity")).expect("an identity");
                file.lock_shared().expect("a lock");
                world.held.push(file);
            })
            .most("rotate_key", 1),
        row("G83", "an identity that was too open is closed")
            .command(Run::Enrolled("enroll"))
            .arrange(|world| {
                let path = world.machine.path("etc/conjur.identity");
                fs::set_permissions(path, fs::Permissions::from_mode(0o644)).expect("a mode");
            })
            .left(Left::Old)
            .after(|world| modes(world, 0o600)),
        row("G85", "one of several files cannot be written: none is")
            .arrange(|world| fs::create_dir(world.machine.path("etc/conjur.conf")).expect("a folder"))
            .ends(73, "conjur.conf")
            .never("redeem"),
        row(
            "G79",
            "the proof fails after the files were stored: they stay, and the next run goes on from them",
        )
        .always(Conjur, "authenticate", page(500))
        .repeats(75, "is stored, but could not be proved")
        .left(Left::New)
        .after(|world| {
            world.clear_faults();
            let before = world.machine.identity();
            let ran = imprint_e2e::Ran::of(&mut world.machine.imprint(&["enroll"]));
            let same = world.machine.identity() == before;
            if ran.code == 0 && same { Ok(()) } else { Err(format!("then {}: {}", ran.code, ran.err)) }
        }),
    ]
}
