//! Who may be at it at once: fifty agents on one host, a clone beside its parent, systemd waiting.

use crate::{no_secret, published};
use imprint_e2e::{Machine, Ran, Site};
use imprint_stack::fault::{Fault, FaultKind};
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Stdio};
use std::time::Duration;

fn start(machine: &Machine, arguments: &[&str]) -> Child {
    machine.imprint(arguments).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn redeems(site: &Site) -> usize {
    site.stack.conjur.count("redeem")
}

#[test]
fn fifty_agents_on_one_host_redeem_once() {
    let site = published();
    let machine = site.machine("web");
    let agents: Vec<Child> = (0..50).map(|_| start(&machine, &["enroll", "--deadline", "60s"])).collect();
    let mut enrolled = 0;
    for agent in agents {
        let output = agent.wait_with_output().unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{out}\n{err}");
        assert!(out.contains("is enrolled"), "{out}");
        enrolled += usize::from(!out.contains("already"));
        no_secret(&site, &[&out, &err]);
    }
    assert_eq!((enrolled, redeems(&site)), (1, 1));
    let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
}

#[test]
fn a_lock_dies_with_its_holder() {
    let site = published();
    let machine = site.machine("web");
    // Its redeem is not answered, so it holds the lock when it is killed.
    site.stack.conjur.inject(Fault::on("redeem", FaultKind::Hang));
    let mut first = start(&machine, &["enroll", "--deadline", "60s"]);
    while redeems(&site) == 0 {
        std::thread::yield_now();
    }
    let busy = Ran::of(&mut machine.imprint(&["enroll", "--deadline", "1s"])).expect(75);
    assert!(busy.err.contains("another imprint has held"), "{}", busy.err);
    first.kill().unwrap();
    let _killed = first.wait().unwrap();
    let _enrolled = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert!(machine.path("var/lib/imprint/lock").exists(), "its file stays, nobody reads a number from it");
    let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
}

/// What lies on the disk at the end authenticates, whatever became of the redeems on their way.
#[test]
fn what_became_of_a_redeem_does_not_decide_how_it_ends() {
    let check = |faults: &[FaultKind], sent: usize| {
        let site = published();
        let machine = site.machine("web");
        for kind in faults {
            site.stack.conjur.inject(Fault::on("redeem", kind.clone()));
        }
        let ran = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
        assert_eq!(redeems(&site), sent, "{faults:?}\n{}", ran.err);
        let (login, key) = machine.identity();
        assert_eq!(
            site.stack.conjur.service().key_of(login.trim_start_matches("host/")).as_deref(),
            Some(key.as_str())
        );
        let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    };
    let empty = |code| FaultKind::Status { code, headers: Vec::new(), body: "".into() };
    check(&[FaultKind::LostReply], 2);
    check(&[FaultKind::LostReply, FaultKind::LostReply], 3);
    // The first one is carried out after the second was answered: the key that came is dead at once.
    check(&[FaultKind::Overtaken], 3);
    // Two first redeems of one id: the loser of the race gets an empty 500, and nothing was made for it.
    check(&[empty(500)], 2);
    check(&[empty(500), FaultKind::LostReply], 3);
    check(&[empty(429), empty(503), empty(502)], 4);
    check(&[FaultKind::Reset, FaultKind::Close], 3);
}

#[test]
fn a_clone_enrolls_as_itself_and_its_parents_key_lives_on() {
    let site = published();
    let parent = site.machine("web");
    let _enrolled = Ran::of(&mut parent.imprint(&["enroll"])).expect(0);
    for what_the_image_keeps in
        [&["etc/conjur.identity", "var/lib/imprint/state.json"][..], &["etc/conjur.identity"]]
    {
        let clone = site.machine("web");
        for name in what_the_image_keeps {
            let text = std::fs::read_to_string(parent.path(name)).unwrap();
            let text = text.replace(parent.path("").to_str().unwrap(), clone.path("").to_str().unwrap());
            imprint_e2e::write(&clone.path(name), 0o600, &text);
        }
        let before = redeems(&site);
        let ran = Ran::of(&mut clone.imprint(&["enroll"])).expect(0);
        assert!(ran.err.contains("was made from an image of"), "{}", ran.err);
        assert_eq!(redeems(&site), before + 1);
        assert_eq!(clone.identity().0, format!("host/{}", clone.host_id()));
        let (_, parents_key) = parent.identity();
        for name in imprint_e2e::machine::names(&clone.path("etc")) {
            let text = std::fs::read_to_string(clone.path("etc").join(name)).unwrap_or_default();
            assert!(!text.contains(&parents_key), "a copy of the parent's key was kept");
        }
    }
    let _alive = Ran::of(&mut parent.imprint(&["verify"])).expect(0);
}

#[test]
fn systemd_is_told_that_it_takes_longer_and_that_it_is_done() {
    let site = published();
    let machine = site.machine("web");
    let path = site.folder().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let told = || {
        let mut bytes = [0; 4096];
        let length = socket.recv(&mut bytes).unwrap();
        String::from_utf8_lossy(&bytes[..length]).into_owned()
    };
    let _enrolled = Ran::of(machine.imprint(&["enroll"]).env("NOTIFY_SOCKET", &path)).expect(0);
    let first = told();
    assert!(first.starts_with("EXTEND_TIMEOUT_USEC="), "{first}");
    let last = told();
    assert!(last.contains("READY=1\n") && last.contains("STATUS=host/"), "{last}");
    no_secret(&site, &[&first, &last]);

    site.stack.conjur.inject(Fault::status("redeem", 403, ""));
    std::fs::remove_file(machine.path("etc/conjur.identity")).unwrap();
    let _refused = Ran::of(machine.imprint(&["enroll"]).env("NOTIFY_SOCKET", &path)).expect(77);
    assert!(told().starts_with("EXTEND_TIMEOUT_USEC="));
    let last = told();
    assert!(last.starts_with("STATUS=cannot enroll: ") && !last.contains("READY=1"), "{last}");
}
