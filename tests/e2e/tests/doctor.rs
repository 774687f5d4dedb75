//! `imprint doctor`: a healthy machine has no failure, and each broken world is named by its own check and
//! by no other.

use crate::bad_token::sealed;
use crate::{Place, no_secret, published, site};
use imprint_core::second::Second;
use imprint_e2e::{Machine, Ran};
use imprint_stack::aws::Policy;
use imprint_stack::conjur::Health;
use imprint_stack::fault::{Fault, FaultKind};
use imprint_stack::kms;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, SystemTime};

/// A site and a machine of its layer `web` that is enrolled.
fn enrolled() -> (Place, Machine) {
    let site = published();
    let machine = site.machine("web");
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    (site, machine)
}

/// What the doctor says, by the checks' names, and its exit code.
#[track_caller]
fn examined(
    site: &Place,
    machine: &Machine,
    arguments: &[&str],
    more: &[(&str, &str)],
) -> (BTreeMap<String, Value>, i32) {
    let before = everything(machine);
    let mut command = machine.imprint(&["doctor", "--json"]);
    let ran = Ran::of(command.args(arguments).envs(more.iter().copied()));
    no_secret(site, &[&ran.out, &ran.err]);
    assert_eq!(everything(machine), before, "the doctor has changed something");
    let json: Value =
        serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}{}", ran.out, ran.err));
    assert_eq!(json["schema"], 1);
    let checks = json["checks"].as_array().unwrap().iter();
    let checks: BTreeMap<String, Value> =
        checks.map(|check| (check["name"].as_str().unwrap().to_owned(), check.clone())).collect();
    assert!(checks.len() >= 40, "{}", checks.len());
    // One table for both forms, one exit code for the worst.
    let classes: Vec<&str> = checks.values().filter_map(|check| check["class"].as_str()).collect();
    assert_eq!(json["worst"].is_null(), classes.is_empty());
    assert_eq!(ran.code == 0, classes.is_empty(), "{}", ran.out);
    (checks, ran.code)
}

/// Every file of the machine, with its content and the time of its last change.
fn everything(machine: &Machine) -> BTreeMap<String, (Vec<u8>, SystemTime)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![machine.path("etc"), machine.path("var")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            let state = fs::symlink_metadata(&path).unwrap();
            let content = if state.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            found.insert(path.display().to_string(), (content, state.modified().unwrap()));
            if state.is_dir() {
                folders.push(path);
            }
        }
    }
    found
}

fn names<'a>(checks: &'a BTreeMap<String, Value>, outcome: &str) -> Vec<&'a str> {
    let of = |check: &&Value| check["outcome"] == outcome;
    checks.values().filter(of).map(|check| check["name"].as_str().unwrap()).collect()
}

/// Exactly these checks fail, the first of them with these words; the exit code is `code`.
#[track_caller]
fn fails(site: &Place, machine: &Machine, env: &[(&str, &str)], failing: &[&str], code: i32, say: &str) {
    let (checks, ended) = examined(site, machine, &[], env);
    let mut expected = failing.to_vec();
    expected.sort_unstable();
    assert_eq!(names(&checks, "failure"), expected, "{checks:#?}");
    assert_eq!(ended, code);
    let check = &checks[failing[0]];
    let text =
        format!("{}; {}", check["detail"].as_str().unwrap(), check["hint"].as_str().unwrap_or_default());
    assert!(text.contains(say), "should say {say:?}: {text}");
    assert!(check["hint"].is_string(), "{check}");
}

/// An enrolled machine, then spoiled.
#[track_caller]
fn spoiled(spoil: impl Fn(&Place, &Machine), failing: &[&str], code: i32, say: &str) {
    let (site, machine) = enrolled();
    spoil(&site, &machine);
    fails(&site, &machine, &[], failing, code, say);
}

fn put(site: &Place, object: impl Into<bytes::Bytes>) {
    let _version = site.stack.s3.service().put_raw("imprint-tokens", &site.stack.object_key("web"), object);
}

#[test]
fn a_healthy_machine() {
    let (site, machine) = enrolled();
    site.stack.clear_logs();
    let (checks, code) = examined(&site, &machine, &[], &[]);
    let of_other_machines = ["client-data", "other-buckets", "promotion", "promotion-token"];
    let all_well = checks.iter().all(|(name, check)| {
        check["outcome"] == "ok" || name == "user" || of_other_machines.contains(&name.as_str())
    });
    assert!(all_well && code == 0, "{checks:#?}");
    assert_eq!(names(&checks, "skipped"), of_other_machines);
    assert_eq!(site.stack.conjur.count("redeem"), 0);

    let table = Ran::of(&mut machine.imprint(&["doctor"])).expect(0);
    assert!(table.out.lines().all(|line| !line.starts_with("failure")), "{}", table.out);
    assert!(table.out.contains(" checks: ") && table.out.contains("0 failures"), "{}", table.out);
}

#[test]
fn before_the_first_boot_there_is_only_no_identity() {
    let site = published();
    let machine = site.machine("web");
    let (checks, code) = examined(&site, &machine, &[], &[]);
    let warnings: Vec<&str> = names(&checks, "warning").into_iter().filter(|name| *name != "user").collect();
    assert_eq!((warnings, code), (vec!["identity"], 0));
}

#[test]
fn offline_nobody_is_asked() {
    let (site, machine) = enrolled();
    site.stack.clear_logs();
    machine.imds.clear_log();
    let (checks, code) = examined(&site, &machine, &["--offline"], &[]);
    assert_eq!((site.stack.requests(), machine.imds.log().len(), code), (0, 0, 0));
    assert!(names(&checks, "skipped").len() >= 20 && checks["identity"]["outcome"] == "ok");
}

#[test]
fn a_configuration_that_cannot_be_used() {
    let check = |text: &dyn Fn(&str) -> String, mode, say| {
        let (site, machine) = enrolled();
        machine.set_config(&text(&machine.config()));
        fs::set_permissions(machine.path("etc/imprint/config.toml"), fs::Permissions::from_mode(mode))
            .unwrap();
        fails(&site, &machine, &[], &["config"], 78, say);
    };
    check(&|text| text.replace("account = \"demo\"", "acount = 7"), 0o644, "account is missing");
    if is_root() {
        check(&ToString::to_string, 0o666, "writable by everybody");
    }
}

/// Only root refuses such a configuration outright.
fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt as _;
    fs::metadata("/proc/self").unwrap().uid() == 0
}

#[test]
fn the_files() {
    spoiled(
        |_, m| fs::write(m.path("etc/conjur.identity"), "garbage\n").unwrap(),
        &["identity"],
        65,
        "line 1",
    );
    spoiled(
        |_, m| {
            let text = m.identity_text().unwrap().replace("web/hosts", "web/other");
            fs::write(m.path("etc/conjur.identity"), text).unwrap();
        },
        &["next-enroll"],
        65,
        "the identity file is of web/other/",
    );
    spoiled(
        |_, m| fs::set_permissions(m.path("etc/conjur.identity"), fs::Permissions::from_mode(0o644)).unwrap(),
        &["identity-access"],
        65,
        "mode 0644",
    );
    spoiled(
        |_, m| fs::set_permissions(m.path("etc"), fs::Permissions::from_mode(0o777)).unwrap(),
        &["directories"],
        73,
        "world-writable",
    );
}

#[test]
fn the_metadata_service_and_the_role() {
    spoiled(|_, m| m.imds.pause(), &["imds"], 75, "does not answer");
    spoiled(|_, m| m.imds.service().change(|i| i.role = None), &["profile"], 78, "no role");
    spoiled(|_, m| m.set_dmi("i-0fedcba9876543210"), &["instance"], 65, "something else answers");
    let tag = |_: &Place, m: &Machine| {
        let template = "host_id = \"web/hosts/{tag:Role}/{instance_id}\"";
        m.set_config(&m.config().replace("hosts_branch = \"web/hosts\"", template));
    };
    spoiled(tag, &["host-id"], 78, "InstanceMetadataTags");
}

#[test]
fn the_hop_limit_of_the_metadata_service() {
    let (site, machine) = enrolled();
    machine.imds.inject(Fault::on("imds:token", FaultKind::Hang).forever());
    let (checks, code) = examined(&site, &machine, &[], &[]);
    assert_eq!(names(&checks, "failure"), ["imds"]);
    // In a container the silence has that reason; elsewhere it may pass.
    assert!(matches!(
        (checks["imds"]["class"].as_str(), code),
        (Some("config"), 78) | (Some("transient"), 75)
    ));
    assert!(
        checks["imds"]["hint"].as_str().unwrap().contains("HttpPutResponseHopLimit"),
        "{}",
        checks["imds"]
    );
    for skipped in ["profile", "s3-object", "kms"] {
        assert_eq!(checks[skipped]["outcome"], "skipped", "{skipped}");
    }
    assert_eq!(checks["login"]["outcome"], "ok");
}

#[test]
fn a_clone_of_an_enrolled_machine() {
    let (site, machine) = enrolled();
    machine.imds.service().change(|i| "i-0fedcba9876543210".clone_into(&mut i.id));
    machine.set_dmi("i-0fedcba9876543210");
    site.stack.conjur.clear_log();
    let (checks, code) = examined(&site, &machine, &[], &[]);
    assert_eq!((names(&checks, "failure"), code), (vec![], 0));
    assert_eq!(checks["next-enroll"]["outcome"], "warning");
    // The parent's key is shown to nobody.
    assert_eq!(
        (checks["login"]["outcome"].as_str(), site.stack.conjur.count("authenticate")),
        (Some("skipped"), 0)
    );
}

#[test]
fn s3() {
    // Nothing is published: with s3:ListBucket the role is told so, without it is not.
    let site = site();
    let machine = site.machine("web");
    fails(&site, &machine, &[], &["s3-object"], 69, "nothing is published yet");
    let bucket = "arn:aws:s3:::imprint-tokens";
    let all = Policy::none().allow(&["s3:*"], bucket).allow(&["s3:*"], &format!("{bucket}/*"));
    site.stack.credentials.set_policy(&site.stack.role("web"), all);
    fails(&site, &machine, &[], &["s3-object"], 69, "would be told of an object");

    spoiled(
        |_, m| {
            m.set_config(
                &m.config().replace("bucket_owner = \"123456789012\"", "bucket_owner = \"210987654321\""),
            )
        },
        &["bucket-owner"],
        78,
        "does not belong to 210987654321",
    );
    spoiled(
        |_, m| m.set_config(&m.config().replace("bucket = \"imprint-tokens\"", "bucket = \"another\"")),
        &["s3-object"],
        78,
        "NoSuchBucket",
    );
    let region = |site: &Place| {
        let fault = imprint_stack::s3::failure("PermanentRedirect");
        site.stack.s3.inject(Fault::on("s3:GetObject", fault).forever());
    };
    spoiled(|site, _| region(site), &["s3-object"], 78, "another region");
    spoiled(|site, _| site.stack.s3.pause(), &["s3-object"], 75, "s3:GetObject");
}

#[test]
fn the_sealed_token() {
    spoiled(|site, _| put(site, "garbage"), &["sealed-token"], 65, "not of format version 1");
    spoiled(
        |site, _| put(site, sealed(site, |b| b.account = "other".parse().unwrap())),
        &["binding"],
        65,
        "account is other, not demo",
    );
    spoiled(
        |site, _| put(site, sealed(site, |b| b.ca_sha256 = vec!["ab".repeat(32)])),
        &["ca"],
        65,
        "none in common",
    );
    let past = Second::now().minus(Duration::from_secs(60));
    spoiled(
        move |site, _| put(site, sealed(site, |b| b.expires_at = past)),
        &["token-expiry"],
        69,
        "it ended at ",
    );

    let (site, machine) = enrolled();
    put(&site, sealed(&site, |b| b.cidr = vec!["198.51.100.0/24".parse().unwrap()]));
    let (checks, code) = examined(&site, &machine, &[], &[]);
    assert_eq!((checks["cidr"]["outcome"].as_str(), code), (Some("warning"), 0));
    let detail = checks["cidr"]["detail"].as_str().unwrap();
    assert!(detail.contains(&machine.instance().private_ip), "{detail}");
}

#[test]
fn kms_says_no() {
    spoiled(
        |site, _| site.stack.kms.service().set_enabled(&site.stack.key, false),
        &["kms"],
        77,
        "DisabledException",
    );
    spoiled(
        |site, _| {
            let object = site.stack.published("web").unwrap();
            let text = String::from_utf8(object.to_vec()).unwrap();
            put(site, text.replacen("\"spread_s\":0", "\"spread_s\":1", 1));
        },
        &["kms"],
        65,
        "InvalidCiphertext",
    );
    let throttled = |site: &Place, _: &Machine| {
        site.stack.kms.inject(Fault::on("kms:Decrypt", kms::failure("ThrottlingException")).forever());
    };
    spoiled(throttled, &["kms"], 75, "Throttling");
    let elsewhere = |_: &Place, m: &Machine| {
        m.set_config(&m.config().replace("[source]\n", "[source]\nregion = \"eu-west-2\"\n"));
    };
    let (site, machine) = enrolled();
    elsewhere(&site, &machine);
    let (checks, code) = examined(&site, &machine, &[], &[]);
    assert_eq!((checks["region"]["outcome"].as_str(), code), (Some("failure"), 78), "{checks:#?}");
}

#[test]
fn the_clock() {
    // All servers are an hour ahead, or this machine an hour behind.
    spoiled(|site, _| site.stack.advance(Duration::from_secs(3600)), &["clock"], 78, "AWS says");
}

#[test]
fn conjur() {
    spoiled(|site, _| site.stack.conjur.pause(), &["conjur-connection"], 75, "takes no connection");
    spoiled(
        |_, m| m.set_config(&m.config().replace("https://localhost:", "https://conjur.invalid:")),
        &["conjur-name", "binding"],
        65,
        "cannot be resolved",
    );
    spoiled(
        |_, m| {
            let other = imprint_stack::ca::Ca::named("another").pem();
            fs::write(m.path("etc/other.pem"), other).unwrap();
            let config = m.config();
            let line = config.lines().find(|line| line.starts_with("ca_file")).unwrap().to_owned();
            m.set_config(&config.replace(&line, &format!("ca_file = {:?}", m.path("etc/other.pem"))));
        },
        &["conjur-tls", "ca"],
        65,
        "certificate",
    );
    spoiled(
        |site, _| site.stack.conjur.inject(Fault::status("health", 200, "<html>welcome</html>").forever()),
        &["conjur-health"],
        76,
        "health",
    );
    let health = |health: Health| {
        move |site: &Place, _: &Machine| {
            let health = Some(health.clone());
            site.stack.conjur.service().configure(|settings| settings.health = health);
        }
    };
    spoiled(health(Health::Unwell), &["conjur-health"], 75, "not well");
    spoiled(health(Health::Follower { position: 7 }), &["leader"], 78, "is a follower");
    let (site, machine) = enrolled();
    health(Health::Leader { position: 9, lags: vec![3] })(&site, &machine);
    let (checks, _) = examined(&site, &machine, &[], &[]);
    assert!(checks["leader"]["detail"].as_str().unwrap().contains("3 bytes behind"), "{}", checks["leader"]);
}

#[test]
fn the_identity_at_conjur() {
    let host = |m: &Machine| m.host_id();
    spoiled(
        |site, m| drop(site.stack.conjur.service().rotate_key_of(&host(m)).unwrap()),
        &["login"],
        77,
        "another party",
    );
    spoiled(
        |_, m| m.set_config(&m.config().replace("\"web/password\"", "\"db/password\"")),
        &["proof"],
        77,
        "may not read db/password",
    );
}

#[test]
fn the_environment() {
    let (site, machine) = enrolled();
    let plain = [("AWS_ENDPOINT_URL_S3", "http://198.51.100.1:9000")];
    fails(&site, &machine, &plain, &["aws-variables", "s3-object"], 78, "plain http");
    let (checks, code) = examined(&site, &machine, &[], &[("CONJUR_AUTHN_LOGIN", "host/other")]);
    assert_eq!((checks["client-variables"]["outcome"].as_str(), code), (Some("warning"), 0));

    // A proxy that nobody answers for; its password is not told.
    let proxy = [("HTTPS_PROXY", "http://me:planted@127.0.0.1:1")];
    let (checks, code) = examined(&site, &machine, &[], &proxy);
    assert_eq!((names(&checks, "failure"), code), (vec!["conjur-connection"], 75));
    let told = format!("{checks:?}");
    assert!(
        told.contains("through http://127.0.0.1:1, by HTTPS_PROXY") && !told.contains("planted"),
        "{told}"
    );
    let excepted = [proxy[0], ("NO_PROXY", "localhost")];
    let (checks, code) = examined(&site, &machine, &[], &excepted);
    assert_eq!(code, 0);
    assert!(checks["proxy"]["detail"].as_str().unwrap().contains("by NO_PROXY"), "{}", checks["proxy"]);
}

#[test]
fn a_refused_token_is_ranked_and_nothing_is_claimed() {
    let site = published();
    let machine = site.machine("web");
    let _gone = site.stack.conjur.service().drop_tokens("web/factory");
    let _said = Ran::of(&mut machine.imprint(&["enroll", "--deadline", "3s"])).expect(77);
    let ranked = |site: &Place| {
        let (checks, code) = examined(site, &machine, &[], &[]);
        assert_eq!((checks["last-failure"]["outcome"].as_str(), code), (Some("warning"), 0), "{checks:#?}");
        checks["last-failure"]["hint"].as_str().unwrap().to_owned()
    };
    let hint = ranked(&site);
    assert!(hint.starts_with("Conjur does not say why; possible, the most likely first: it is still published, so it may have been revoked"), "{hint}");
    let _said = Ran::of(&mut site.rotator(&["rotate"])).expect(0);
    assert!(ranked(&site).contains("first: another token, "), "{}", ranked(&site));
}

#[test]
fn a_lock_that_is_held() {
    let (site, machine) = enrolled();
    let file = fs::File::open(machine.path("var/lib/imprint/lock")).unwrap();
    file.lock().unwrap();
    let (checks, code) = examined(&site, &machine, &[], &[]);
    assert_eq!((checks["lock"]["outcome"].as_str(), code), (Some("warning"), 0));
    assert!(checks["lock"]["detail"].as_str().unwrap().contains(&format!("process {}", std::process::id())));
}

#[test]
fn a_token_that_does_not_come_from_a_bucket() {
    let site = published();
    let machine = site.machine("web");
    let file = machine.path("etc/imprint/token");
    let config = machine.config();
    let (before, _) = config.split_once("[source]\n").unwrap();
    let (_, after) = config.split_once("[files]\n").unwrap();
    machine.set_config(&format!("{before}[source]\nkind = \"file\"\nfile = {file:?}\n\n[files]\n{after}"));
    fails(&site, &machine, &[], &["token-files"], 69, "is not there");
    imprint_e2e::write(&file, 0o600, "sealed elsewhere");
    let (checks, code) = examined(&site, &machine, &[], &[]);
    assert_eq!((names(&checks, "failure"), code), (vec![], 0));
    assert_eq!(checks["s3-object"]["outcome"], "skipped");
    assert!(!format!("{checks:?}").contains("sealed elsewhere"));
    imprint_e2e::write(&file, 0o644, "sealed elsewhere");
    let (checks, _) = examined(&site, &machine, &[], &[]);
    assert_eq!(checks["token-files"]["outcome"], "warning");
}

#[test]
fn the_buckets_beside_the_first_are_asked_too() {
    let (site, machine) = enrolled();
    let usual = machine.config();
    let (before, rest) = usual.split_once("[source]").unwrap();
    let (source, after) = rest.split_once("[files]").unwrap();
    let with = |second: &str| {
        machine.set_config(&format!("{before}[[source]]{source}\n[[source]]{second}\n[files]{after}"));
        let (checks, code) = examined(&site, &machine, &[], &[]);
        assert_eq!(code, 0, "the first bucket is as good as before");
        checks["other-buckets"].clone()
    };
    let check = with(source);
    assert_eq!(check["outcome"], "ok", "{check}");
    assert!(check["detail"].as_str().unwrap().contains("good until "), "{check}");
    let check = with(&source.replace("imprint-tokens", "imprint-tokens-elsewhere"));
    assert_eq!(check["outcome"], "warning", "{check}");
    assert!(check["detail"].as_str().unwrap().starts_with("s3://imprint-tokens-elsewhere/"), "{check}");
    machine.set_config(&usual);
}
