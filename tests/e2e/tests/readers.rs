//! The files that `imprint enroll` writes, read by code that this project did not write.

use crate::{Place, published};
use imprint_e2e::peers::Peers;
use imprint_e2e::{Machine, Ran};

/// A machine of layer web with an identity.
fn enrolled(site: &Place) -> Machine {
    let machine = site.machine("web");
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    machine
}

/// The reader gives the layer's secret; with a wrong key, half a file or no file it gives none, and
/// shows no key.
fn check(read: impl Fn(&Peers, &Machine, &str) -> Ran) {
    let Some(peers) = Peers::here() else { return };
    let site = published();
    let machine = enrolled(&site);
    let variable = site.stack.variable("web");
    let ran = read(&peers, &machine, &variable).expect(0);
    assert_eq!(ran.out, format!("{}\n", site.stack.secret("web")));

    let good = machine.identity_text().unwrap();
    let (_, key) = machine.identity();
    let reversed: String = key.chars().rev().collect();
    let half = good.split_inclusive('\n').take(2).collect::<String>();
    for damaged in [good.replace(&key, &reversed), half] {
        imprint_e2e::write(&machine.path("etc/conjur.identity"), 0o600, &damaged);
        let ran = read(&peers, &machine, &variable);
        assert!(ran.code != 0, "{damaged:?} was taken: {}", ran.out);
        for text in [&ran.out, &ran.err] {
            assert!(!text.contains(site.stack.secret("web")) && !text.contains(&reversed), "{text}");
        }
    }

    // The agent mends it, and the reader reads again.
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    let ran = read(&peers, &machine, &variable).expect(0);
    assert_eq!(ran.out, format!("{}\n", site.stack.secret("web")));
}

#[test]
fn the_official_python_sdk_with_netrc() {
    check(Peers::read_with_sdk);
}

#[test]
fn the_lookup_of_ansible() {
    check(Peers::read_with_ansible);
}

// Not of Ansible's lookup: it would ask again for 40 seconds.
#[test]
fn the_secret_of_another_layer_is_not_to_be_had() {
    let Some(peers) = Peers::here() else { return };
    let site = published();
    let machine = enrolled(&site);
    let ran = peers.read_with_sdk(&machine, &site.stack.variable("db"));
    assert!(ran.code != 0, "{}", ran.out);
    assert!(!ran.out.contains(site.stack.secret("db")) && !ran.err.contains(site.stack.secret("db")));
}

#[test]
fn without_the_peers_a_test_fails_with_the_command_that_makes_them() {
    let nothing = crate::folder();
    assert_eq!(
        Peers::below(nothing.path(), false).err().as_deref(),
        Some("target/peers/venv is missing: run `make peers`")
    );
    assert!(Peers::below(nothing.path(), true).unwrap().is_none());
}
