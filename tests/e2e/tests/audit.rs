//! One run found again wherever it was seen: in the user agent of every request to AWS, in the encryption
//! context, and in what Conjur logs. And the host that tells who made it.

use crate::{Place, no_secret, published, site};
use imprint_core::sealed::context_key;
use imprint_e2e::{Ran, write};
use imprint_stack::server::Logged;
use serde_json::Value;

/// The version that both programs have.
const VERSION: &str = env!("CARGO_PKG_VERSION");

fn json(ran: &Ran) -> Value {
    serde_json::from_str(&ran.out).expect("JSON")
}

fn header<'a>(logged: &'a Logged, name: &str) -> &'a str {
    logged.headers.get(name).map_or("", |value| value.to_str().unwrap())
}

/// What the three servers saw since the last call of this: at Conjur, S3 and KMS.
fn seen(site: &Place) -> [Vec<Logged>; 3] {
    let stack = &site.stack;
    let seen = [stack.conjur.log(), stack.s3.log(), stack.kms.log()];
    stack.conjur.clear_log();
    stack.s3.clear_log();
    stack.kms.clear_log();
    seen
}

/// Each of these requests is of this run, and says no secret of it. The counts are those of Conjur, S3
/// and KMS.
#[track_caller]
fn is_of(site: &Place, program: &str, command: &str, id: &str, requests: [usize; 3]) -> [Vec<Logged>; 3] {
    let all = seen(site);
    assert_eq!(all.each_ref().map(Vec::len), requests, "{all:?}");
    let own = format!("{program}/{VERSION} {command}/{id}");
    let [conjur, s3, kms] = &all;
    for logged in conjur {
        assert_eq!((header(logged, "user-agent"), header(logged, "x-request-id")), (own.as_str(), id));
    }
    for logged in s3.iter().chain(kms) {
        let agent = header(logged, "user-agent");
        assert!(agent.starts_with(&format!("{own} aws-sdk-rust/")), "{agent}");
        // What is not published yet is not found; a signature that does not hold would be refused.
        assert!(matches!(logged.status, Some(200 | 404)), "{logged:?}");
    }
    let agents: Vec<&str> = all.iter().flatten().map(|logged| header(logged, "user-agent")).collect();
    no_secret(site, &agents);
    all
}

#[test]
fn one_rotation_has_one_id_at_conjur_s3_and_kms() {
    let site = site();
    let mut ids = Vec::new();
    for words in [&["rotate", "--json"][..], &["rotate", "--json", "--now"]] {
        let rotated = Ran::of(&mut site.rotator(words)).expect(0);
        let id = json(&rotated)["rotation_id"].as_str().unwrap().to_owned();
        // Of two factories: login, list, two mints; get, put, get; encrypt, decrypt.
        let [_, _, kms] = is_of(&site, "imprint-rotator", "rotate", &id, [4, 6, 4]);
        for logged in &kms {
            let body: Value = serde_json::from_slice(&logged.body).unwrap();
            assert_eq!(body["EncryptionContext"][context_key::ROTATION_ID], id.as_str(), "{body}");
        }
        ids.push(id);
    }
    assert_ne!(ids[0], ids[1]);
}

#[test]
fn what_only_looks_or_seals_has_an_id_too() {
    let site = published();
    let _published = seen(&site);
    let _said = Ran::of(&mut site.rotator(&["status"])).expect(0);
    let [conjur, _, _] = seen(&site);
    let id = header(&conjur[0], "x-request-id").to_owned();
    let _said = Ran::of(&mut site.rotator(&["status"])).expect(0);
    let [again, s3, _] = seen(&site);
    let other = header(&again[0], "x-request-id");
    assert!(id != other && (again.len(), s3.len()) == (2, 2), "{id} {other}");
    for (words, command) in [(&["plan"][..], "plan"), (&["token", "list"], "token-list")] {
        let _said = Ran::of(&mut site.rotator(words)).expect(0);
        let [conjur, _, _] = seen(&site);
        let own = format!("imprint-rotator/{VERSION} {command}/{}", header(&conjur[0], "x-request-id"));
        assert!(conjur.iter().all(|logged| header(logged, "user-agent") == own), "{own}: {conjur:?}");
    }
    let agents = again.iter().chain(&s3).map(|logged| header(logged, "user-agent"));
    let own = format!("imprint-rotator/{VERSION} status/{other}");
    assert!(agents.into_iter().all(|agent| agent.starts_with(&own)));

    let [facts, out] =
        ["facts.json", "sealed.json"].map(|name| site.folder().join(name).display().to_string());
    let uuid =
        r#"{"facterversion":"4.10.0","dmi":{"product":{"uuid":"0f5a3c1e-7b2d-4e6f-8a90-1b2c3d4e5f60"}}}"#;
    write(facts.as_ref(), 0o600, uuid);
    let words =
        ["seal", "--client-data", &facts, "--factory", "web/factory", "--out", &out, "--memory", "19"];
    let _said = Ran::of(&mut site.rotator(&words)).expect(0);
    let sealed: Value = serde_json::from_str(&std::fs::read_to_string(&out).unwrap()).unwrap();
    let id = sealed["binding"]["rotation_id"].as_str().unwrap();
    let _login_and_mint = is_of(&site, "imprint-rotator", "seal", id, [2, 0, 0]);
}

#[test]
fn an_enrollment_is_found_by_its_attempt_and_its_host_tells_who_made_it() {
    let site = site();
    let rotated = json(&Ran::of(&mut site.rotator(&["rotate", "--json"])).expect(0));
    let _rotation = seen(&site);
    let machine = site.machine("web");
    let enrolled = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    let status = json(&Ran::of(&mut machine.imprint(&["status", "--json"])).expect(0));
    let attempt = status["attempt_id"].as_str().unwrap();
    assert!(enrolled.err.contains(attempt), "{}", enrolled.err);
    let _fetch_unseal_redeem_and_proof = is_of(&site, "imprint", "enroll", attempt, [3, 1, 1]);

    let (conjur, instance) = (site.stack.conjur.service(), machine.instance());
    let told = conjur.annotations_of(&machine.host_id());
    let wanted = [
        ("authn/api-key", "true"),
        ("imprint/account-id", instance.account.as_str()),
        ("imprint/agent-version", VERSION),
        ("imprint/attempt-id", attempt),
        ("imprint/image-id", "ami-0123456789abcdef0"),
        ("imprint/instance-id", instance.id.as_str()),
        ("imprint/region", instance.region.as_str()),
        ("imprint/rotation-id", rotated["rotation_id"].as_str().unwrap()),
        ("imprint/token", rotated["factories"][0]["fingerprint"].as_str().unwrap()),
    ];
    assert_eq!(told.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect::<Vec<_>>(), wanted);
    no_secret(&site, &[&format!("{told:?}"), &enrolled.err]);

    // Another run of the program is another attempt, also when it only asks.
    let _said = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    let [asked, _, _] = seen(&site);
    assert_ne!(header(&asked[0], "x-request-id"), attempt);
    assert!(header(&asked[0], "user-agent").starts_with(&format!("imprint/{VERSION} verify/")));

    // Who made it, and not who redeemed it last: Conjur writes annotations once.
    let _ = conjur.rotate_key_of(&machine.host_id());
    let _said = Ran::of(&mut machine.imprint(&["verify"])).expect(77);
    let _said = Ran::of(&mut machine.imprint(&["enroll", "--again"])).expect(0);
    let status = json(&Ran::of(&mut machine.imprint(&["status", "--json"])).expect(0));
    assert_ne!(status["attempt_id"], attempt);
    assert_eq!(conjur.annotations_of(&machine.host_id()), told);
}

#[test]
fn a_failed_attempt_is_found_too() {
    let site = published();
    let machine = site.machine("web");
    site.stack.conjur.service().drop_tokens("web/factory");
    let _published = seen(&site);
    let failed = Ran::of(&mut machine.imprint(&["enroll", "--deadline", "3s"])).expect(77);
    let status = json(&Ran::of(&mut machine.imprint(&["status", "--json"])).expect(0));
    let attempt = status["last_failure"]["attempt_id"].as_str().unwrap();
    assert!(failed.err.contains(attempt), "{}", failed.err);
    let [conjur, _, _] = seen(&site);
    let refused = conjur.iter().find(|logged| logged.status == Some(401)).expect("a redeem that was refused");
    assert_eq!(header(refused, "x-request-id"), attempt);
    // The doctor is a run of its own.
    let _said = Ran::of(&mut machine.imprint(&["doctor"]));
    let [conjur, s3, kms] = seen(&site);
    for logged in conjur.iter().chain(&s3).chain(&kms) {
        let agent = header(logged, "user-agent");
        assert!(
            agent.starts_with(&format!("imprint/{VERSION} doctor/")) && !agent.contains(attempt),
            "{agent}"
        );
    }
    assert!(!conjur.is_empty() && !s3.is_empty());
}
