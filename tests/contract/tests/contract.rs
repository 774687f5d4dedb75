//! The suite against the stand-in, and the suite itself against servers that are wrong on purpose: each must be caught, by the
//! cases that name what is wrong.
#![expect(clippy::unwrap_used, reason = "a test that cannot start has failed")]

use std::collections::BTreeSet;
use std::sync::Arc;

use imprint_contract::{Outcome, Target, Verdict, Version, run};
use imprint_stack::ca::Ca;
use imprint_stack::conjur::Conjur;
use imprint_stack::fault::{Fault, FaultKind};
use imprint_stack::server::Server;

const BOTH: [Version; 2] = [Version::V1_22_3, Version::V1_24_0];

async fn ask(target: &Target) -> Vec<Outcome> {
    run(target, |_| {}).await.unwrap()
}

fn failed(outcomes: &[Outcome]) -> BTreeSet<&str> {
    let failed = outcomes.iter().filter(|outcome| matches!(outcome.verdict, Verdict::Failed(_)));
    failed.map(|outcome| outcome.name.as_str()).collect()
}

#[tokio::test]
async fn the_stand_in_answers_as_both_versions() {
    for version in BOTH {
        let target = Target::stand_in(version, version).unwrap();
        let outcomes = ask(&target).await;
        let wrong: Vec<_> = outcomes.iter().filter(|one| matches!(one.verdict, Verdict::Failed(_))).collect();
        assert!(wrong.is_empty(), "{version:?}: {wrong:#?}");
        let skipped: BTreeSet<_> = outcomes
            .iter()
            .filter_map(
                |one| if let Verdict::Skipped(why) = &one.verdict { Some(why.as_str()) } else { None },
            )
            .collect();
        match version {
            Version::V1_22_3 => assert_eq!(skipped, BTreeSet::from(["recorded on 1.24.0 alone"])),
            Version::V1_24_0 => assert!(skipped.is_empty(), "{skipped:?}"),
        }
        let passed = outcomes.iter().filter(|one| one.verdict == Verdict::Passed).count();
        assert!(passed >= 300, "{passed} cases");
    }
}

/// Runs as against a genuine server: named by the environment, over TLS, nothing of it ours to change.
#[tokio::test]
async fn a_named_server_is_asked_and_left_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let ca = Ca::new();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, ca.pem()).unwrap();
    let server = Arc::new(Server::start_tls(Conjur::new(Version::V1_24_0, "prod"), &ca));
    let conjur = server.service();
    let (url, key, file) = (server.url(), conjur.admin_key(), file.display().to_string());
    let var = |name: &str| match name {
        "IMPRINT_CONTRACT_URL" => Some(url.clone()),
        "IMPRINT_CONTRACT_ACCOUNT" => Some("prod".to_owned()),
        "IMPRINT_CONTRACT_ADMIN_KEY" => Some(key.clone()),
        "IMPRINT_CONTRACT_CA" => Some(file.clone()),
        _ => None,
    };
    let before = conjur.everything();
    let clock = Arc::clone(&server);
    let target = Target::from_env(var)
        .await
        .unwrap()
        .unwrap()
        .passing_time_by(move |span| clock.service().advance(span));
    assert!(target.label().contains("(Conjur 1.24.0, expected to answer as 1.24.0)"), "{}", target.label());
    let outcomes = ask(&target).await;
    assert_eq!(failed(&outcomes), BTreeSet::new());
    assert_eq!(conjur.everything(), before);
    let skipped: Vec<_> = outcomes.iter().filter(|one| matches!(one.verdict, Verdict::Skipped(_))).collect();
    assert!(skipped.iter().any(|one| one.name == "13l-dbdown-redeem"), "an outage is not ours to make");
    assert!(outcomes.len() - skipped.len() >= 300, "{} skipped", skipped.len());
}

/// One host of the suite cannot be named in policy, so it is asked for on the stand-in only, and only its empty role stays there.
#[tokio::test]
async fn a_run_leaves_nothing_in_the_stand_in() {
    let target = Target::stand_in(Version::V1_24_0, Version::V1_24_0).unwrap();
    let conjur = target.server().unwrap().service();
    let before = conjur.everything();
    ask(&target).await;
    let after: Vec<_> = conjur.everything().into_iter().filter(|id| !before.contains(id)).collect();
    assert!(
        matches!(after.as_slice(), [one] if one.starts_with("dev:host:/") && one.ends_with("/lead")),
        "{after:?}"
    );
    assert_eq!(conjur.hosts(), Vec::<String>::new());
}

#[test]
fn half_an_environment_is_refused() {
    let output = std::process::Command::new(env!("CARGO_BIN_EXE_imprint-contract"))
        .env("IMPRINT_CONTRACT_URL", "http://127.0.0.1:9")
        .env_remove("IMPRINT_CONTRACT_ACCOUNT")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "error: IMPRINT_CONTRACT_URL is set, IMPRINT_CONTRACT_ACCOUNT is not\n");
}

#[tokio::test]
async fn the_wrong_version_is_told_by_the_cases_where_versions_differ() {
    let differ = [
        "03g-count-0",
        "03h-count-negative",
        "03i-count-garbage",
        "03i2-count-2.5",
        "03l-empty-expiration",
        "03m-bad-expiration",
        "03n-unix-expiration",
        "03q-past-expiration",
        "03z4-no-content-type",
        "04f-redeem-empty",
        "04f2-redeem-no-id",
        "04f3-redeem-blank",
        "04r-redeem-text-plain",
        "04s-redeem-no-content-type",
        "14i2-redeem-accept-v2",
        "14k-redeem-multipart",
    ];
    for (played, expected) in [(Version::V1_22_3, Version::V1_24_0), (Version::V1_24_0, Version::V1_22_3)] {
        let target = Target::stand_in(played, expected).unwrap();
        let outcomes = ask(&target).await;
        assert_eq!(failed(&outcomes), BTreeSet::from(differ), "{played:?} taken for {expected:?}");
    }
}

/// Plants one fault in the stand-in and names cases that must fail by it, and cases that have nothing to do with it.
async fn check(fault: Fault, wrong: &[&str], right: &[&str]) {
    let target = Target::stand_in(Version::V1_24_0, Version::V1_24_0).unwrap();
    let server = target.server().unwrap();
    let name = fault.matches.clone();
    server.inject(fault);
    let outcomes = ask(&target).await;
    let failed = failed(&outcomes);
    for case in wrong {
        assert!(failed.contains(case), "{name}: {case} did not notice");
    }
    for case in right {
        assert!(!failed.contains(case), "{name}: {case} failed for nothing");
    }
}

#[tokio::test]
async fn a_wrong_status_is_caught() {
    check(
        Fault::status("mint", 201, "[]").forever(),
        &["03a-token-create", "03w-onlooker", "14l-mint-far-count"],
        &["02a-policy-post-root", "99-nothing-left"],
    )
    .await;
    check(
        Fault::status("revoke", 200, "").forever(),
        &["05a-revoke-by-rotator", "05b-revoke-ok", "05c-revoke-second-time"],
        &["04a-redeem-new", "99-nothing-left"],
    )
    .await;
    check(
        Fault::status("whoami", 401, "").forever(),
        &["10-whoami-token", "07k-old-access-token-after-rotation"],
        &["05b-revoke-ok", "99-nothing-left"],
    )
    .await;
    check(
        Fault::status("policy", 500, "").skip(1).times(1),
        &["02b-policy-post-root-again"],
        &["02a-policy-post-root", "99-nothing-left"],
    )
    .await;
}

#[tokio::test]
async fn the_right_status_with_a_wrong_body_is_caught() {
    let body = |text: &str| FaultKind::Body(text.to_owned().into());
    check(
        Fault::on("redeem", body("{}")).forever(),
        &["04a-redeem-new", "04b-redeem-same-id", "12b-50-same-new"],
        &["03a-token-create"],
    )
    .await;
    check(
        Fault::on("authenticate", body("{}")).times(1),
        &["01e-authenticate-json"],
        &["01f-authenticate-base64"],
    )
    .await;
    check(
        Fault::on("resource", body("{}")).forever(),
        &["08a-show-host-factory", "08k-host-sees-itself"],
        &["08h-host-memberships"],
    )
    .await;
    check(
        Fault::on("roles", body("[]")).forever(),
        &["08h-host-memberships", "15j-members"],
        &["09a6-memberships-after-rest-delete"],
    )
    .await;
    check(
        Fault::on("secret", body("other")).forever(),
        &["11b-get-secret", "11l-get-never-set"],
        &["11c-batch"],
    )
    .await;
    check(
        Fault::on("info", body("{}")).forever(),
        &["10-root-json", "10-root-noauth", "10-info-noauth"],
        &["10-whoami-token"],
    )
    .await;
}

#[tokio::test]
async fn a_server_that_breaks_off_is_caught() {
    check(
        Fault::on("rotate_key", FaultKind::Reset).times(1),
        &["07a-rotate-own-basic", "07b2-new-key"],
        &["07g-rotate-no-auth"],
    )
    .await;
    check(Fault::on("secrets_batch", FaultKind::Truncate(3)).times(1), &["11c-batch"], &["11d-batch-base64"])
        .await;
}

#[test]
fn the_cases_hold_no_secrets() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("cases");
    let mut files = 0;
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let longest = text.split(|c: char| !c.is_ascii_alphanumeric()).map(str::len).max().unwrap();
        assert!(longest < 40, "{}: a word of {longest} characters", path.display());
        files += 1;
    }
    assert!(files >= 13, "{files} files");
}
