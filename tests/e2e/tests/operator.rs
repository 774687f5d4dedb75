//! The rotator's doctor, and what a person at a terminal sees, with the real binary.

use crate::tokens::on_a_terminal;
use crate::{no_secret, published, site};
use imprint_e2e::{Ran, Site};
use imprint_stack::fault::{Fault, FaultKind};
use serde_json::Value;
use std::fs::File;
use std::io;
use std::process::Stdio;
use std::time::Duration;

/// The checks of the doctor by name: outcome and detail.
fn examined(site: &Site, code: i32) -> impl Fn(&str) -> (String, String) + use<> {
    let ran = Ran::of(&mut site.rotator(&["doctor", "--json"])).expect(code);
    no_secret(site, &[&ran.out, &ran.err]);
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    move |name| {
        let checks = told["checks"].as_array().unwrap();
        let check =
            checks.iter().find(|check| check["name"] == name).unwrap_or_else(|| panic!("{name}: {told}"));
        let text = |member: &str| check[member].as_str().unwrap_or_default().to_owned();
        (text("outcome"), text("detail"))
    }
}

#[test]
fn all_is_well_and_nothing_is_changed() {
    let site = published();
    let object = || site.stack.published("web").unwrap();
    let tokens = || site.stack.conjur.service().tokens("web/factory").len();
    let before = (object(), tokens());
    site.stack.clear_logs();
    let checks = examined(&site, 0);
    assert_eq!((object(), tokens()), before);
    let asked: Vec<String> = site.stack.conjur.log().into_iter().map(|request| request.name).collect();
    assert!(!asked.iter().any(|name| name == "mint" || name == "revoke" || name == "redeem"), "{asked:?}");
    let is = |name: &str, say: &str| {
        let (outcome, detail) = checks(name);
        assert_eq!(outcome, "ok", "{name}: {detail}");
        assert!(detail.contains(say), "{name}: {detail}");
    };
    is("leader", "no health page");
    is("leader-certificate", " days");
    is("clock", "within 2m");
    is("whoami", "from 127.0.0.1 as Conjur sees it");
    is("factories", "all ");
    is("execute", "to mint");
    is("update", "to revoke");
    is("s3-object", "can be read");
    is("s3-list", "is told of an object that is not there");
    is("s3-put", "keeps to the condition");
    is("kms-encrypt", "seals for web/factory");
    is("kms-decrypt", "unseals it again");
    is("published", "have a good token");
    is("kms-published", "opens");
    let table = Ran::of(&mut site.rotator(&["doctor"])).expect(0);
    assert!(
        table.out.contains("\nok       leader-certificate  ") && table.out.contains("0 failures"),
        "{}",
        table.out
    );
}

#[test]
fn what_is_wrong_is_named() {
    let fresh = site();
    let checks = examined(&fresh, 69);
    assert_eq!(checks("published").0, "failure");
    assert!(checks("s3-object").1.contains("not there yet"));

    let site = published();
    let login = site.stack.rotator_login().0;
    site.stack.conjur.service().rotate_key_of(login.strip_prefix("host/").unwrap());
    let checks = examined(&site, 77);
    assert_eq!((checks("login").0, checks("execute").0), ("failure".to_owned(), "skipped".to_owned()));
    assert_eq!(checks("kms-encrypt").0, "ok");

    let site = published();
    let mut command = site.rotator(&["doctor", "--json", "--config", "/nowhere"]);
    let ran = Ran::of(&mut command).expect(78);
    let told: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&told["checks"][0]["class"], &told["worst"]), (&"config".into(), &"config".into()));
}

/// A run that must wait for Conjur, which is busy for a while.
fn slow() -> crate::Place {
    let site = site();
    let slow = || Fault::on("list_factories", FaultKind::Delay(Duration::from_millis(2500)));
    site.stack.conjur.inject(slow());
    site
}

#[test]
fn a_terminal_shows_progress_and_is_left_clean() {
    let site = slow();
    let seen = on_a_terminal(&mut site.rotator(&["rotate"]));
    // The first second of it may be missed where much else runs.
    let shown = ["1 s", "2 s"].map(|time| seen.contains(&format!("\r\u{1b}[Krotate: {time}")));
    assert!(shown.contains(&true), "{seen:?}");
    // The last that is said of it is that it goes; then come the lines.
    let (_, after) = seen.rsplit_once("\r\u{1b}[K").unwrap();
    assert!(
        after.starts_with("web/factory: published token ") || after.starts_with("db/factory: "),
        "{seen:?}"
    );
    no_secret(&site, &[&seen]);
}

#[test]
fn a_pipe_gets_nothing_of_it() {
    let site = slow();
    let ran = Ran::of(&mut site.rotator(&["rotate"])).expect(0);
    assert!(!ran.err.contains("rotate: ") && !ran.err.contains('\u{1b}'), "{}", ran.err);
    assert!(!ran.out.contains('\u{1b}') && !ran.out.contains('\r'), "{}", ran.out);
}

#[test]
fn what_cannot_be_written_is_a_failure_and_a_reader_that_has_gone_is_none() {
    let site = published();
    for words in [&["policy"][..], &["status"], &["token", "list", "--json"], &["doctor"], &["rotate"]] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let ended = site.rotator(words).stdout(full).stderr(Stdio::piped()).output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert_eq!(
            (ended.status.code(), said.contains("standard output")),
            (Some(73), true),
            "{words:?}: {said}"
        );
        let (reader, gone) = io::pipe().unwrap();
        drop(reader);
        let ended = site.rotator(words).stdout(gone).output().unwrap();
        assert_eq!(ended.status.code(), Some(0), "{words:?}");
    }
}
