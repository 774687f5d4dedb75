//! What becomes of keys, with the real binaries: rotated, killed in the middle of it, dead, dead again,
//! taken over.

use crate::{no_secret, published};
use imprint_e2e::{Machine, Ran, Site};
use imprint_stack::fault::{Fault, FaultKind};
use std::process::Stdio;

fn enrolled(site: &Site) -> Machine {
    let machine = site.machine("web");
    let _enrolled = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    machine
}

/// Another party redeems the machine's host id: its key dies.
fn another_party_redeems(site: &Site, machine: &Machine) {
    let other = site.machine("web");
    other.set_dmi(&machine.instance().id);
    other.imds.service().change(|instance| instance.id = machine.instance().id);
    let _enrolled = Ran::of(&mut other.imprint(&["enroll"])).expect(0);
    assert_eq!(other.identity().0, machine.identity().0);
}

fn redeems(site: &Site) -> usize {
    site.stack.conjur.count("redeem")
}

#[test]
fn a_key_is_rotated_whatever_becomes_of_the_replies() {
    let check = |fault: Option<FaultKind>, redeemed: usize| {
        let site = published();
        let machine = enrolled(&site);
        let before = machine.identity();
        if let Some(kind) = &fault {
            site.stack.conjur.inject(Fault::on("rotate_key", kind.clone()));
        }
        let ran = Ran::of(&mut machine.imprint(&["rotate-key"])).expect(0);
        let after = machine.identity();
        assert!(after.0 == before.0 && after.1 != before.1, "{fault:?}");
        assert_eq!(redeems(&site), 1 + redeemed, "{fault:?}");
        let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
        no_secret(&site, &[&ran.out, &ran.err]);
        assert!(!ran.err.contains(&before.1) && !ran.out.contains(&before.1));
    };
    check(None, 0);
    check(Some(FaultKind::Reset), 0);
    check(Some(FaultKind::LostReply), 1);
    // What comes late shows a key that is dead by then.
    check(Some(FaultKind::Overtaken), 0);
    check(Some(FaultKind::Status { code: 500, headers: Vec::new(), body: "".into() }), 0);
}

#[test]
fn a_rotation_that_is_killed_ends_with_an_identity_at_the_next_boot() {
    let site = published();
    let machine = enrolled(&site);
    // Carried out, and killed before the answer came: both keys are gone.
    for (fault, redeemed) in
        [(FaultKind::Hang, 0), (FaultKind::Delay(std::time::Duration::from_secs(600)), 0)]
    {
        site.stack.conjur.clear_log();
        site.stack.conjur.inject(Fault::on("rotate_key", fault));
        let mut child =
            machine.imprint(&["rotate-key"]).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let is_rotating = || {
            std::fs::read_to_string(machine.path("var/lib/imprint/state.json"))
                .unwrap()
                .contains("\"rotating\"")
        };
        while !is_rotating() {
            std::thread::yield_now();
        }
        child.kill().unwrap();
        let _killed = child.wait().unwrap();
        site.stack.conjur.clear_faults();
        let _enrolled = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
        assert_eq!(redeems(&site), redeemed);
        let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    }
    // Killed after Conjur had made the new key.
    let state = machine.path("var/lib/imprint/state.json");
    let text = std::fs::read_to_string(&state).unwrap();
    imprint_e2e::write(&state, 0o600, &text.replace("\"enrolled\"", "\"rotating\""));
    another_party_redeems(&site, &machine);
    site.stack.conjur.clear_log();
    let _enrolled = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert_eq!(redeems(&site), 1);
    let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
}

#[test]
fn a_dead_key_is_replaced_once_a_day_and_the_second_time_two_parties_are_named() {
    let site = published();
    let machine = enrolled(&site);
    another_party_redeems(&site, &machine);
    let dead = Ran::of(&mut machine.imprint(&["verify"])).expect(77);
    assert!(dead.err.contains("does not authenticate"), "{}", dead.err);
    let status = Ran::of(&mut machine.imprint(&["status"])).expect(0);
    assert!(status.out.contains("would enroll: Conjur does not take the key any more"), "{}", status.out);
    let replaced = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert!(replaced.err.contains("redeeming once"), "{}", replaced.err);
    let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);

    another_party_redeems(&site, &machine);
    // The timer's form does both: it proves, and enrolls when it must.
    let before = redeems(&site);
    let stopped = Ran::of(&mut machine.imprint(&["verify", "--re-enroll"])).expect(65);
    assert!(stopped.err.contains("two parties hold the host id"), "{}", stopped.err);
    let still = Ran::of(&mut machine.imprint(&["enroll"])).expect(65);
    assert!(still.err.contains("--again"), "{}", still.err);
    assert_eq!(redeems(&site), before);
    let _lifted = Ran::of(&mut machine.imprint(&["enroll", "--again"])).expect(0);
    let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);

    // For a fleet: what lies before a moment does not count.
    another_party_redeems(&site, &machine);
    let _dead = Ran::of(&mut machine.imprint(&["verify"])).expect(77);
    let config = machine.config();
    machine.set_config(&format!("re_enroll_lifted_at = \"2100-01-01T00:00:00Z\"\n{config}"));
    let _lifted = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    // Or never without a person.
    another_party_redeems(&site, &machine);
    let _dead = Ran::of(&mut machine.imprint(&["verify"])).expect(77);
    machine.set_config(&format!("re_enroll = \"never\"\n{config}"));
    let never = Ran::of(&mut machine.imprint(&["enroll"])).expect(77);
    assert!(never.err.contains("does not take the key of") && never.err.contains("--again"), "{}", never.err);
    no_secret(&site, &[&dead.err, &replaced.err, &stopped.err, &still.err, &never.err]);
}

#[test]
fn a_clone_takes_its_parents_host_over_only_on_demand() {
    let site = published();
    let parent = site.machine("web");
    let named = |machine: &Machine| {
        machine
            .imds
            .service()
            .change(|instance| instance.tags = Some([("Name".to_owned(), "web-1".to_owned())].into()));
        let text = machine.config();
        let branch = text.lines().find(|line| line.starts_with("hosts_branch")).unwrap().to_owned();
        machine.set_config(&text.replace(&branch, "host_id = \"web/hosts/{tag:Name}\""));
    };
    named(&parent);
    let _enrolled = Ran::of(&mut parent.imprint(&["enroll"])).expect(0);
    let clone = site.machine("web");
    named(&clone);
    for name in ["etc/conjur.identity", "var/lib/imprint/state.json"] {
        imprint_e2e::write(&clone.path(name), 0o600, &std::fs::read_to_string(parent.path(name)).unwrap());
    }
    let before = redeems(&site);
    let refused = Ran::of(&mut clone.imprint(&["enroll"])).expect(78);
    assert!(refused.err.contains("--take-over"), "{}", refused.err);
    assert_eq!((redeems(&site), clone.identity_text()), (before, None));
    let _alive = Ran::of(&mut parent.imprint(&["verify"])).expect(0);
    let _taken = Ran::of(&mut clone.imprint(&["enroll", "--take-over"])).expect(0);
    let _dead = Ran::of(&mut parent.imprint(&["verify"])).expect(77);
    let _proved = Ran::of(&mut clone.imprint(&["verify"])).expect(0);
}

#[test]
fn a_rehearsal_tells_what_would_be_done_and_does_nothing() {
    let site = published();
    let machine = site.machine("web");
    let before = machine.etc();
    let ran = Ran::of(&mut machine.imprint(&["enroll", "--dry-run"])).expect(0);
    assert!(ran.out.contains("would redeem token") && ran.out.contains(&machine.host_id()), "{}", ran.out);
    assert_eq!((redeems(&site), machine.etc()), (0, before));
    assert!(!machine.path("var/lib/imprint/state.json").exists());
    no_secret(&site, &[&ran.out, &ran.err]);
    let _enrolled = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    let nothing = Ran::of(&mut machine.imprint(&["enroll", "--dry-run"])).expect(0);
    assert!(nothing.out.contains("nothing would be done"), "{}", nothing.out);
    // What would stop an enrollment stops a rehearsal, with the same exit code.
    std::fs::remove_file(machine.path("etc/conjur.identity")).unwrap();
    site.stack.conjur.pause();
    let away = Ran::of(&mut machine.imprint(&["enroll", "--dry-run", "--deadline", "2s"])).expect(75);
    assert!(away.err.contains("would not enroll"), "{}", away.err);
    site.stack.conjur.resume();
}
