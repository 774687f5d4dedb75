//! systemd's journal, played by a socket of ours under its name: it gets fields and message ids, and when
//! it stops reading nobody waits for it.

use crate::{Ran, in_namespace, no_secret, published};
use imprint_e2e::Machine;
use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

/// Puts the socket of the test in the place of the journal's.
const AS_JOURNAL: &str =
    "mount -t tmpfs none /run; mkdir -p /run/systemd/journal; touch /run/systemd/journal/socket
    mount --bind $root/journal /run/systemd/journal/socket
    set -- timeout 60 \"$@\"";

/// What the socket was told, each field as `KEY=value`.
fn read(socket: &UnixDatagram) -> String {
    let mut told = String::new();
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(length) = socket.recv(&mut bytes) {
        fields(&bytes[..length], &mut told);
    }
    told
}

/// Source: systemd's "Native Journal Protocol": `KEY=value`, or a key, the value's length in eight bytes,
/// and the value.
fn fields(mut bytes: &[u8], told: &mut String) {
    while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
        let (line, rest) = (&bytes[..end], &bytes[end + 1..]);
        if line.contains(&b'=') {
            told.push_str(&String::from_utf8_lossy(line));
            bytes = rest;
        } else {
            let (length, value) = rest.split_at(8);
            let length = usize::try_from(u64::from_le_bytes(length.try_into().unwrap())).unwrap();
            told.push_str(&format!(
                "{}={}",
                String::from_utf8_lossy(line),
                String::from_utf8_lossy(&value[..length])
            ));
            bytes = &value[length + 1..];
        }
        told.push('\n');
    }
}

/// The socket that is the journal of this machine.
fn journal_of(machine: &Machine) -> (PathBuf, UnixDatagram) {
    let path = machine.path("journal");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_nonblocking(true).unwrap();
    (path, socket)
}

fn run(machine: &Machine, arguments: &[&str]) -> Ran {
    Ran::of(&mut in_namespace(machine, AS_JOURNAL, &machine.imprint(arguments)))
}

#[test]
#[ignore = "needs root: make test-root"]
fn a_journal_gets_fields_and_one_that_stops_reading_holds_nothing_up() {
    let site = published();
    let machine = site.machine("web");
    let (path, socket) = journal_of(&machine);
    let run = |arguments: &[&str]| run(&machine, arguments);

    let enrolled = run(&["enroll"]).expect(0);
    let told = read(&socket);
    for field in [
        "MESSAGE_ID=6f1ed8a3c2b74e0c9d1f3a5b7c9e2d40\n",
        &format!("HOST_ID={}\n", machine.host_id()),
        "SYSLOG_IDENTIFIER=imprint\n",
        "PRIORITY=",
    ] {
        assert!(told.contains(field), "{field:?} is not in\n{told}");
    }
    std::fs::remove_file(machine.path("etc/conjur.identity")).unwrap();
    site.stack.conjur.inject(imprint_stack::fault::Fault::status("redeem", 403, ""));
    let refused = run(&["enroll"]).expect(77);
    let failed = read(&socket);
    for field in ["MESSAGE_ID=6f1ed8a3c2b74e0c9d1f3a5b7c9e2d41\n", "CLASS=refused\n", "HINT="] {
        assert!(failed.contains(field), "{field:?} is not in\n{failed}");
    }
    no_secret(&site, &[&told, &failed, &enrolled.err, &refused.err]);

    // Full, and nobody reads.
    let filler = UnixDatagram::unbound().unwrap();
    filler.set_nonblocking(true).unwrap();
    let full = loop {
        if let Err(error) = filler.send_to(b"MESSAGE=x\n", &path) {
            break error;
        }
    };
    assert_eq!(full.kind(), ErrorKind::WouldBlock);
    let stuck = run(&["enroll"]).expect(0);
    assert!(stuck.out.contains("is enrolled; its identity is in"), "{}", stuck.out);
    assert!(!read(&socket).contains("HOST_ID="), "somebody read after all");
}

#[test]
#[ignore = "needs root: make test-root"]
fn a_clone_and_a_dead_key_have_events_of_their_own() {
    let site = published();
    let machine = site.machine("web");
    let (_, socket) = journal_of(&machine);
    let told = |arguments: &[&str], code: i32| {
        let ran = run(&machine, arguments).expect(code);
        let told = read(&socket);
        no_secret(&site, &[&told, &ran.err]);
        told
    };
    let has = |told: &str, events: &[&str]| {
        for event in ["43", "4a", "4b"] {
            let is = told.contains(&format!("MESSAGE_ID=6f1ed8a3c2b74e0c9d1f3a5b7c9e2d{event}\n"));
            assert_eq!(is, events.contains(&event), "{event}: {told}");
        }
    };
    has(&told(&["enroll"], 0), &[]);

    // What an image of another instance would have brought.
    let (own, parent) = (machine.instance().id, "i-0aaaaaaaaaaaaaaa1");
    for file in ["var/lib/imprint/state.json", "etc/conjur.identity"] {
        let text = std::fs::read_to_string(machine.path(file)).unwrap();
        imprint_e2e::write(&machine.path(file), 0o600, &text.replace(&own, parent));
    }
    let clone = told(&["enroll"], 0);
    has(&clone, &["43"]);
    assert!(clone.contains(&format!("PARENT={parent}\n")), "{clone}");

    // The key of before a rotation is dead.
    let before = machine.identity_text().unwrap();
    has(&told(&["rotate-key"], 0), &[]);
    imprint_e2e::write(&machine.path("etc/conjur.identity"), 0o600, &before);
    has(&told(&["verify"], 77), &["4a"]);
    has(&told(&["enroll"], 0), &["4b"]);
}
