//! How the rotator logs in at Conjur: with its AWS role, or with an API key that it finds sealed in the
//! bucket. The real program, and a Conjur that recomputes signatures as STS would.

use crate::{Place, no_secret, site};
use imprint_e2e::{Ran, write};
use std::io::Write as _;
use std::process::{Command, Stdio};

/// The policy of a rotator that logs in as a role, as the README has it.
const BY_ROLE: &str = "\
- !policy
  id: conjur/authn-iam/prod
  body:
    - !webservice
- !policy
  id: imprint-by-role
  body:
    - !host 123456789012/rotator
- !permit
  role: !host imprint-by-role/123456789012/rotator
  privileges: [ authenticate ]
  resource: !webservice conjur/authn-iam/prod
- !permit
  role: !host imprint-by-role/123456789012/rotator
  privileges: [ execute, update ]
  resource: !host-factory web/factory
- !permit
  role: !host imprint-by-role/123456789012/rotator
  privileges: [ execute, update ]
  resource: !host-factory db/factory
";

/// The site's configuration with another way to log in.
fn log_in_by(site: &Place, login: Option<&str>, way: &str) {
    let text = site.rotator_config();
    let lines: Vec<String> = text
        .lines()
        .map(|line| match (line.split(" = ").next(), login) {
            (Some("api_key_file"), _) => way.to_owned(),
            (Some("login"), Some(login)) => format!("login = {login:?}"),
            _ => line.to_owned(),
        })
        .collect();
    write(&site.folder().join("rotator.toml"), 0o644, &lines.join("\n"));
}

const ROLE: &str = "host/imprint-by-role/123456789012/rotator";

fn by_role() -> Place {
    let site = site();
    let conjur = site.stack.conjur.service();
    let _made = conjur.load_policy("root", BY_ROLE).unwrap();
    conjur.configure(|settings| settings.authenticators.extend(["authn-iam/prod".to_owned()]));
    log_in_by(&site, Some(ROLE), "authn_iam = \"prod\"");
    site
}

/// Runs it; of the signed headers that Conjur was sent, nothing is told.
fn run(site: &Place, mut command: Command, code: i32) -> Ran {
    let ran = Ran::of(&mut command).expect(code);
    no_secret(site, &[&ran.out, &ran.err]);
    for logged in site.stack.conjur.log() {
        let body = String::from_utf8_lossy(&logged.body).into_owned();
        if let Some((_, signature)) = body.split_once("Signature=") {
            assert!(
                !ran.err.contains(&signature[..64]) && !ran.out.contains(&signature[..64]),
                "{}",
                ran.err
            );
        }
    }
    ran
}

#[test]
fn a_role_logs_in_without_any_secret_of_conjurs() {
    let site = by_role();
    let ran = run(&site, site.rotator(&["rotate", "--verbose"]), 0);
    assert!(ran.out.contains("web/factory") && ran.out.contains("db/factory"), "{}", ran.out);
    let conjur = &site.stack.conjur;
    assert_eq!((conjur.count("authenticate_with_role"), conjur.count("authenticate")), (1, 0));
    let _kept = run(&site, site.rotator(&["status"]), 0);

    // Each STS that may be named, and none that Conjur would not ask.
    for (sts, code) in [("global", 0), ("us-east-2", 0), ("cn-north-1", 78)] {
        log_in_by(&site, Some(ROLE), &format!("authn_iam = \"prod\"\nsts = {sts:?}"));
        let _said = run(&site, site.rotator(&["status"]), code);
    }
}

#[test]
fn conjurs_no_to_a_role_says_what_to_look_at() {
    let site = by_role();
    let check = |command: Command, code: i32, say: &[&str], asked: usize| {
        site.stack.conjur.clear_log();
        let ran = run(&site, command, code);
        assert!(say.iter().all(|say| ran.err.contains(say)), "should say {say:?}:\n{}", ran.err);
        assert_eq!(site.stack.conjur.count("authenticate_with_role"), asked, "{}", ran.err);
    };
    let rotate = || site.rotator(&["rotate"]);
    // Long-lived keys of a user are refused before Conjur is asked.
    let mut as_user = rotate();
    let user = site.stack.credentials.user("rotator");
    as_user.env_remove("AWS_SESSION_TOKEN").envs(site.stack.environment(Some(&user)));
    check(as_user, 78, &["long-lived keys", "hint: run it with a role"], 0);
    // Another role has another host.
    let mut as_operator = rotate();
    as_operator.envs(site.stack.environment(Some(&site.stack.session("operator"))));
    check(as_operator, 77, &["answered 401", "login ends with this role's account and name"], 1);
    // A region that has no STS that Conjur asks, known only here.
    let mut elsewhere = rotate();
    elsewhere.env("AWS_REGION", "cn-north-1");
    check(elsewhere, 78, &["no STS can be named for cn-north-1", "hint: set sts"], 0);

    let conjur = site.stack.conjur.service();
    let _done = conjur.patch_policy("root", "- !deny\n  role: !host imprint-by-role/123456789012/rotator\n  privileges: [ authenticate ]\n  resource: !webservice conjur/authn-iam/prod\n").unwrap();
    check(rotate(), 77, &["answered 403", "permit the rotator's host authenticate on the webservice"], 1);
    conjur.configure(|settings| settings.authenticators.clear());
    check(rotate(), 77, &["answered 401", "see that it is enabled"], 1);
}

/// `seal-login` as an operator, with this on standard input.
fn seal(site: &Place, role: &str, key: &str) -> Ran {
    let mut command = site.rotator(&["seal-login"]);
    command.envs(site.stack.environment(Some(&site.stack.session(role))));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(key.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let (out, err) = (text(output.stdout), text(output.stderr));
    no_secret(site, &[&out, &err]);
    assert!(key.len() < 20 || !(out.contains(&key[..20]) || err.contains(&key[..20])));
    Ran { code: output.status.code().unwrap_or(-1), out, err, wall: std::time::Duration::ZERO }
}

const OBJECT: &str = "logins/demo/host/imprint/rotator.json";

fn object(site: &Place) -> Option<String> {
    let bytes = site.stack.s3.service().object(&site.stack.options().bucket, OBJECT)?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

#[test]
fn a_key_is_sealed_by_an_operator_and_used_by_the_rotator() {
    let site = site();
    let key = site.stack.rotator_login().1;
    let sealed = seal(&site, "operator", &format!("{key}\n")).expect(0);
    assert!(sealed.out.contains(&format!("s3://imprint-tokens/{OBJECT}")), "{}", sealed.out);
    assert!(sealed.out.contains("set sealed_login = true"), "{}", sealed.out);
    assert!(!object(&site).unwrap().contains(&key), "it is sealed");

    std::fs::remove_file(site.folder().join("rotator.key")).unwrap();
    log_in_by(&site, None, "sealed_login = true");
    let _said = run(&site, site.rotator(&["rotate"]), 0);
    assert!(site.stack.published("web").is_some());

    // The key is replaced at Conjur: the old one is told, the new one sealed over it.
    let conjur = site.stack.conjur.service();
    let new = conjur.rotate_key_of("imprint/rotator").unwrap();
    let ran = run(&site, site.rotator(&["rotate"]), 77);
    assert!(ran.err.contains("answered 401"), "{}", ran.err);
    let before = object(&site);
    let refused = seal(&site, "operator", &key).expect(77);
    assert!(refused.err.contains("401") && object(&site) == before, "{}", refused.err);
    let _sealed = seal(&site, "operator", &new).expect(0);
    let _said = run(&site, site.rotator(&["rotate"]), 0);
}

#[test]
fn what_stands_in_the_way_of_a_sealed_key() {
    let site = site();
    let key = site.stack.rotator_login().1;
    log_in_by(&site, None, "sealed_login = true");
    let ran = run(&site, site.rotator(&["rotate"]), 69);
    assert!(
        ran.err.contains("no sealed login") && ran.err.contains("run imprint-rotator seal-login"),
        "{}",
        ran.err
    );
    // The rotator reads there, and may not put.
    let refused = seal(&site, "rotator", &key).expect(77);
    assert!(refused.err.contains("s3:PutObject") && object(&site).is_none(), "{}", refused.err);
    let usage = seal(&site, "operator", "no key at all\n").expect(64);
    assert!(usage.err.contains("no API key") && !usage.err.contains("no key at all"), "{}", usage.err);
    let _sealed = seal(&site, "operator", &key).expect(0);

    // A layer's role may open what was sealed for its factory, and no login.
    let as_layer = |role: &str| {
        let mut command = site.rotator(&["rotate"]);
        command.envs(site.stack.environment(Some(&site.stack.session(role))));
        command
    };
    let ran = run(&site, as_layer("instance-web"), 69);
    assert!(ran.err.contains("s3:GetObject"), "{}", ran.err);
    let bucket = format!("arn:aws:s3:::{}", site.stack.options().bucket);
    let reads = imprint_stack::aws::Policy::none()
        .allow(&["s3:GetObject"], &format!("{bucket}/*"))
        .allow(&["kms:Decrypt"], &site.stack.key)
        .when(&site.stack.options().factory_context_key, "web/factory");
    site.stack.credentials.set_policy("instance-web", reads);
    let ran = run(&site, as_layer("instance-web"), 77);
    assert!(ran.err.contains("kms:Decrypt") && ran.err.contains("AccessDenied"), "{}", ran.err);

    // Somebody changes it: in clear, where KMS has sealed it in, or for another server.
    let good = object(&site).unwrap();
    let put = |text: &str| {
        let name = &site.stack.options().bucket;
        let _version = site.stack.s3.service().put_raw(name, OBJECT, text.as_bytes().to_vec());
    };
    let check = |text: String, code: i32, say: &str| {
        assert_ne!(text, good, "{say}");
        put(&text);
        site.stack.conjur.clear_log();
        let ran = run(&site, site.rotator(&["rotate"]), code);
        assert!(ran.err.contains(say) && ran.err.contains("hint: "), "{say}:\n{}", ran.err);
        assert_eq!(site.stack.conjur.log().len(), 0, "Conjur was asked");
    };
    check(good.replace("imprint/rotator", "imprint/other"), 65, "is of login host/imprint/other");
    check(
        good.replace(&site.stack.conjur.url(), "https://evil.example.org"),
        65,
        "is of leader_url https://evil",
    );
    let at = good.find("sealed_at\":\"").unwrap() + 12;
    check(format!("{}1999{}", &good[..at], &good[at + 4..]), 65, "InvalidCiphertextException");
    check(good.replace("\"version\":1", "\"version\":2"), 78, "format version 2");
    check(good.trim_end().to_owned(), 65, "not spelled as it is written");
    check(String::new(), 65, "not the JSON");
    put(&good);
    let _said = run(&site, site.rotator(&["rotate"]), 0);
}

#[test]
fn one_run_logs_in_once_and_again_when_conjur_forgets() {
    let site = site();
    let conjur = &site.stack.conjur;
    let _said = run(&site, site.rotator(&["rotate", "--now"]), 0);
    assert_eq!(conjur.count("authenticate"), 1);
    conjur.clear_log();
    // A token that is over before it is used: each call finds that out, and one more login helps nobody.
    conjur.service().configure(|settings| settings.host_token_ttl = std::time::Duration::ZERO);
    let ran = run(&site, site.rotator(&["rotate"]), 77);
    assert!(ran.err.contains("401") && conjur.count("authenticate") <= 3, "{}", ran.err);
}
