//! Conjur answers what it should not: the class, the reason without a byte of the body, and no
//! identity from it.

use crate::{no_secret, published, refused};
use imprint_e2e::Ran;
use imprint_stack::fault::{Fault, FaultKind};

const KEY: &str = "0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefgh";

/// Every redeem is answered with this fault; the enrollment must end with `code`.
#[track_caller]
fn check(kind: FaultKind, code: i32, say: &str) {
    let site = published();
    site.stack.conjur.inject(Fault::on("redeem", kind).forever());
    refused(&site, &site.machine("web"), code, say);
    // An answered 500 or 503 changed nothing and is asked again until the deadline; all else is not.
    let redeems = site.stack.conjur.count("redeem");
    assert!(
        code == 75 && say.starts_with("50") && say != "504" || redeems <= 3,
        "{redeems} redeems for {say}"
    );
}

/// The same of a fault after which nothing is asked again.
#[track_caller]
fn once(kind: FaultKind, code: i32, say: &str) {
    let site = published();
    site.stack.conjur.inject(Fault::on("redeem", kind).forever());
    refused(&site, &site.machine("web"), code, say);
    assert_eq!(site.stack.conjur.count("redeem"), 1, "asked again after {say}");
}

/// A 201 with this body.
fn created(body: &str) -> FaultKind {
    FaultKind::Status { code: 201, headers: vec![], body: body.to_owned().into() }
}

fn host(id: &str, owner: &str, key: &str) -> FaultKind {
    created(&format!(
        r#"{{"id":"{id}","owner":"{owner}","api_key":"{key}","permissions":[],"annotations":[]}}"#
    ))
}

#[test]
fn bodies() {
    check(created("<html>portal SECRET</html>"), 76, "not the JSON");
    check(created(""), 76, "not the JSON");
    check(created(&"x".repeat(100_000)), 76, "more than 65536 bytes");
    check(created(r#"{"id":"demo:host:x","owner":"y"}"#), 76, "not the JSON");
    check(host("demo:host:x", "demo:host_factory:web/factory", &format!("{KEY}\\n")), 76, "API key");
    check(host("demo:host:x", "demo:host_factory:web/factory", "short"), 76, "API key");
}

#[test]
fn another_host_or_another_owner_is_tampering() {
    check(host("demo:host:web/hosts/other", "demo:host_factory:web/factory", KEY), 65, "host");
    let site = published();
    let machine = site.machine("web");
    let id = format!("demo:host:{}", machine.host_id());
    site.stack.conjur.inject(Fault::on("redeem", host(&id, "demo:host_factory:db/factory", KEY)).forever());
    refused(&site, &machine, 65, "db/factory");
    assert_eq!(site.stack.conjur.count("redeem"), 1);
}

#[test]
fn statuses() {
    let status = |code| FaultKind::Status { code, headers: vec![], body: "<html>SECRET".into() };
    // The token may have been replaced since it was fetched: one more fetch, and no more redeems than that.
    check(status(401), 77, "401");
    once(status(403), 77, "403");
    once(status(422), 77, "422");
    once(status(302), 76, "302");
    check(status(500), 75, "500");
    check(status(503), 75, "503");
    check(status(504), 75, "504");
    check(FaultKind::Reset, 75, "broke");
}

#[test]
fn a_reply_lost_after_the_commit_is_made_good() {
    for kind in [FaultKind::LostReply, FaultKind::Truncate(60)] {
        let site = published();
        let machine = site.machine("web");
        site.stack.conjur.inject(Fault::on("redeem", kind));
        let ran = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
        assert_eq!(site.stack.conjur.count("redeem"), 2);
        assert_eq!(site.stack.conjur.service().key_of(&machine.host_id()), Some(machine.identity().1));
        no_secret(&site, &[&ran.out, &ran.err]);
    }
}

#[test]
fn an_id_that_somebody_else_owns() {
    let site = published();
    let machine = site.machine("web");
    let branch = machine.host_id();
    let (branch, name) = branch.split_once('/').unwrap();
    site.stack.conjur.service().load_policy(branch, &format!("- !host {name}\n")).unwrap();
    refused(&site, &machine, 77, "403");
    assert_eq!(site.stack.conjur.count("redeem"), 1, "a 403 is never repeated");
}

#[test]
fn a_revoked_token_is_fetched_anew_once() {
    let site = published();
    site.stack.conjur.service().drop_tokens("web/factory");
    site.stack.s3.clear_log();
    refused(&site, &site.machine("web"), 77, "401");
    assert_eq!(site.stack.s3.count("s3:GetObject"), 2, "the same token was found again");
    assert_eq!(site.stack.conjur.count("redeem"), 1, "a token that was refused is not sent twice");
    let machine = site.machine("web");
    let _said = Ran::of(&mut site.rotator(&["rotate"])).expect(0);
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
}

#[test]
fn a_server_with_another_certificate_never_sees_the_token() {
    let site = published();
    let machine = site.machine("web");
    let stranger = imprint_stack::ca::Ca::named("a stranger").pem();
    imprint_e2e::write(&site.ca_file(), 0o644, &stranger);
    // The binding was sealed with the right CA's digest, so the pin is broken there already.
    refused(&site, &machine, 65, "certificate");
    imprint_e2e::write(&site.folder().join("rotator.toml"), 0o644, &site.rotator_config());
    let ran = Ran::of(&mut site.rotator(&["rotate", "--now"]));
    assert_eq!(ran.code, 77, "{}", ran.err);
    assert!(ran.err.contains("ca_file"), "{}", ran.err);
    assert_eq!(site.stack.conjur.count("redeem"), 0);
}
