//! The main path against a Conjur of which only the address, the account, an administrator's key and
//! the certificate are known: nobody prepared anything in it, and nothing is left behind.
//!
//! The stand-in is treated so always. A genuine server is too when `IMPRINT_CONTRACT_URL`, `_ACCOUNT`
//! and `_ADMIN_KEY` (and, as it needs them, `_CA` and `_LOGIN`) name one. What a fleet relies on is in `drills`.

mod drills;
mod server;

use imprint_core::sealed::SealedToken;
use imprint_e2e::peers::Peers;
use imprint_e2e::{Ran, web};
use imprint_stack::conjur::Version;
use imprint_stack::fault::{Fault, FaultKind};
use server::{Scene, Server, stranger};
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The whole story at this server, with S3, KMS and metadata of a stack whose own Conjur stays idle.
fn journey(server: &Server) {
    let scene = Scene::load(server, &["web"]);
    let (site, layer) = (&scene.site, scene.layer("web"));
    let rotated = Ran::of(&mut site.rotator(&["rotate"])).expect(0);
    let published = site.stack.published(&layer).unwrap();
    let again = Ran::of(&mut site.rotator(&["rotate"])).expect(0);
    assert_eq!(site.stack.published(&layer).as_ref(), Some(&published), "nothing was due");
    assert_eq!(SealedToken::parse(&published).unwrap().binding().appliance_url.as_str(), server.url);
    let rotator_status = Ran::of(&mut site.rotator(&["status"])).expect(0);

    let machine = scene.machine("web");
    let enrolled = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    let (login, key) = machine.identity();
    assert_eq!(login, format!("host/{}", machine.host_id()));
    let verified = Ran::of(&mut machine.imprint(&["verify"])).expect(0);

    let token = server.authenticate(&login, &key).expect("the identity is good");
    let (variable, secret) = (site.stack.variable(&layer), scene.secret(&layer));
    let read = server.send("GET", &server.variable(&variable), Some(&token), "");
    assert_eq!(read, (200, secret.clone()));
    let peers = Peers::here().filter(|_| server.ca.is_some());
    if let Some(peers) = peers {
        assert_eq!(peers.read_with_sdk(&machine, &variable).expect(0).out, format!("{secret}\n"));
        let ran = peers.read_with_ansible(&machine, &variable).expect(0);
        assert_eq!(ran.out, format!("{secret}\n"));
    }

    let before = machine.identity_text();
    machine.imds.clear_log();
    site.stack.s3.clear_log();
    let nothing = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    assert_eq!(machine.identity_text(), before);
    assert_eq!((machine.imds.log().len(), site.stack.s3.log().len()), (0, 0), "a second enroll");

    assert_eq!(site.stack.conjur.log().len(), 0, "another Conjur was asked");
    for ran in [&rotated, &again, &rotator_status, &enrolled, &verified, &nothing] {
        for secret in [&key, &scene.rotator_key, &scene.reaper_key, &server.key, &secret] {
            assert!(!ran.out.contains(secret) && !ran.err.contains(secret), "a secret is told");
        }
    }
    // The reaper finds the host and removes it, and reaches nothing else.
    let reaper = server.authenticate(&format!("host/{}/reaper", scene.name), &scene.reaper_key).unwrap();
    let (account, id) = (&server.account, machine.host_id());
    let layer_id = web::part(&site.stack.nodes(&layer));
    let members = format!("/roles/{account}/layer/{layer_id}?members&kind[]=host");
    let (status, said) = server.send("GET", &members, Some(&reaper), "");
    assert!(status == 200 && said.contains(&id), "{status} {said}");
    let patch = |branch: &str, record: &str| {
        let path = format!("/policies/{account}/policy/{}", web::part(branch));
        server.send("PATCH", &path, Some(&reaper), &format!("- !delete\n  record: {record}\n")).0
    };
    assert_eq!(patch(&scene.name, "!host rotator"), 404);
    let (hosts, id) = (format!("{layer}/hosts"), id.as_str());
    assert_eq!(patch(&hosts, &format!("!host {}", id.strip_prefix(&format!("{hosts}/")).unwrap())), 201);
    assert!(server.authenticate(&login, &key).is_err(), "the host is still there");
    assert_eq!(scene.remove(), [], "left behind");
}

#[test]
fn the_journey_at_the_stand_in_as_1_24_0() {
    stranger(Version::V1_24_0, |server, _| journey(server));
}

#[test]
fn the_journey_at_the_stand_in_as_1_22_3() {
    stranger(Version::V1_22_3, |server, _| journey(server));
}

#[test]
fn a_journey_that_breaks_off_leaves_nothing_either() {
    stranger(Version::V1_24_0, |server, stand_in| {
        let no = FaultKind::Status { code: 403, headers: Vec::new(), body: "".into() };
        stand_in.inject(Fault::on("authenticate", no).skip(8));
        let ended = catch_unwind(AssertUnwindSafe(|| journey(server)));
        assert!(ended.is_err(), "the journey came to its end");
        assert!(stand_in.count("redeem") > 0, "it broke off before there was a host");
    });
}

#[test]
fn the_journey_at_the_server_that_the_environment_names() {
    if let Some(server) = Server::of_the_environment() {
        journey(&server);
    }
}

#[test]
fn the_environment_names_all_or_nothing() {
    let named = |given: &[&str]| {
        Server::named(|name| given.contains(&name).then(|| "https://conjur.example.org/".into()))
    };
    let (url, account) = ("IMPRINT_CONTRACT_URL", "IMPRINT_CONTRACT_ACCOUNT");
    assert!(named(&[]).unwrap().is_none() && named(&[account]).unwrap().is_none());
    assert_eq!(named(&[url]).unwrap_err(), "IMPRINT_CONTRACT_URL is set, IMPRINT_CONTRACT_ACCOUNT is not");
    assert!(named(&[url, account]).unwrap_err().ends_with("_ADMIN_KEY is not"));
    let server = named(&[url, account, "IMPRINT_CONTRACT_ADMIN_KEY"]).unwrap().unwrap();
    assert_eq!((server.url.as_str(), server.login.as_str()), ("https://conjur.example.org", "admin"));
}
