//! `imprint forget`: what an image is made from holds nothing of the machine that it was baked on.

use crate::{Place, no_secret, published};
use imprint_e2e::{Machine, Ran};
use std::fs;

fn enrolled() -> (Place, Machine) {
    let site = published();
    let machine = site.machine("web");
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    (site, machine)
}

#[test]
fn nothing_is_left_and_the_next_enroll_is_a_first_boot() {
    let (site, machine) = enrolled();
    let (_, key) = machine.identity();
    site.stack.clear_logs();
    machine.imds.clear_log();
    let ran = Ran::of(&mut machine.imprint(&["forget"])).expect(0);
    no_secret(&site, &[&ran.out, &ran.err]);
    assert!(ran.out.contains("conjur.identity") && ran.out.contains("state.json"), "{}", ran.out);
    assert_eq!(machine.etc(), ["imprint"]);
    assert_eq!(imprint_e2e::machine::names(&machine.path("var/lib")), [""; 0]);
    assert_eq!((site.stack.requests(), machine.imds.log().len()), (0, 0), "somebody was asked");

    let again = Ran::of(&mut machine.imprint(&["forget"])).expect(0);
    assert_eq!(again.out, "nothing was there to remove\n");

    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert_ne!(machine.identity().1, key);
    let _said = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
}

#[test]
fn where_an_image_is_baked_nothing_enrolls_but_what_is_made_from_it_does() {
    let (site, machine) = enrolled();
    let ran = Ran::of(&mut machine.imprint(&["forget", "--bake"])).expect(0);
    let id = machine.instance().id;
    assert!(
        ran.out.ends_with(&format!("an image is baked on {id}: imprint enroll refuses here from now on\n"))
    );
    site.stack.clear_logs();
    for again in [&["enroll"][..], &["enroll", "--again", "--take-over"], &["enroll", "--dry-run"]] {
        let ran = Ran::of(&mut machine.imprint(again)).expect(78);
        assert!(ran.err.contains(&format!("an image is being baked on {id}\n")), "{}", ran.err);
    }
    let said = Ran::of(&mut machine.imprint(&["status"])).expect(0);
    assert!(said.out.contains(&format!("would refuse: an image is being baked on {id}\n")), "{}", said.out);
    assert_eq!((site.stack.requests(), machine.identity_text()), (0, None));

    // The image boots as another instance.
    let clone = site.machine("web");
    let note = "var/lib/imprint/baked-on";
    fs::create_dir_all(clone.path("var/lib/imprint")).unwrap();
    fs::copy(machine.path(note), clone.path(note)).unwrap();
    let _said = Ran::of(&mut clone.imprint(&["enroll"])).expect(0);
    assert!(!clone.path(note).exists() && clone.identity_text().is_some());

    // This one stays after all.
    let _said = Ran::of(&mut machine.imprint(&["forget"])).expect(0);
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
}

#[test]
fn what_another_tool_wrote_stays_and_is_named() {
    let (_site, machine) = enrolled();
    fs::write(machine.path("etc/conjur.conf"), "account: other\n").unwrap();
    let ran = Ran::of(&mut machine.imprint(&["forget"])).expect(0);
    assert!(ran.out.contains("left alone ") && ran.out.contains("conjur.conf"), "{}", ran.out);
    assert_eq!(machine.etc(), ["conjur.conf", "imprint"]);
}

#[test]
fn what_is_left_is_an_error_that_names_it() {
    let (site, machine) = enrolled();
    site.may_tell("backup");
    fs::copy(machine.path("etc/conjur.identity"), machine.path("var/lib/imprint/backup")).unwrap();
    let ran = Ran::of(&mut machine.imprint(&["forget"])).expect(73);
    assert!(ran.err.contains("still there: ") && ran.err.contains("imprint/backup"), "{}", ran.err);
    assert!(ran.err.contains("hint: "), "{}", ran.err);
    assert!(machine.identity_text().is_none(), "what can be removed is removed");
}

#[test]
fn an_enrollment_under_way_is_not_pulled_away() {
    let (_site, machine) = enrolled();
    let lock = fs::File::open(machine.path("var/lib/imprint/lock")).unwrap();
    lock.lock().unwrap();
    let before = machine.identity_text();
    let ran = Ran::of(&mut machine.imprint(&["forget"])).expect(75);
    assert!(ran.err.contains("an enrollment is under way"), "{}", ran.err);
    assert!(before.is_some() && machine.identity_text() == before);
}
