//! Configurations that cannot be: every problem at once, exit 78, nothing asked of anybody.

use crate::{published, site};
use imprint_e2e::Ran;

#[test]
fn the_agent_tells_every_problem_at_once() {
    let site = published();
    let machine = site.machine("web");
    let config = machine.config();
    let check = |text: &str, all: &[&str]| {
        machine.set_config(text);
        let ran = Ran::of(&mut machine.imprint(&["enroll"])).expect(78);
        for say in all {
            assert!(ran.err.contains(say), "should say {say:?}:\n{}", ran.err);
        }
        assert!(machine.imds.log().is_empty() && machine.identity_text().is_none());
    };
    let several = config
        .replace("account = \"demo\"", "account = 7\nacount = \"x\"")
        .replace("https://localhost", "http://conjur.example.org")
        .replace("deadline = \"20s\"", "deadline = \"soon\"")
        .replace("bucket_owner = \"123456789012\"", "bucket_owner = \"12\"");
    check(&several, &["account", "acount", "must be https", "deadline", "bucket_owner", "line "]);
    check("account = \n[x\n", &["line 1", "line 2"]);
    check("", &["account is missing", "appliance_url is missing", "bucket is missing"]);
    check(&format!("{config}\n{}", "#".repeat(70_000)), &["65536"]);
    check(&config.replace("hosts_branch = \"web/hosts\"", "host_id = \"web/{nothing}\""), &["nothing"]);
    check(
        &config.replace("hosts_branch = \"web/hosts\"", "host_id = \"web/a b-{instance_id}\""),
        &["host_id"],
    );
    check(&config.replace("kms_key = \"", "kms_key = \"alias/"), &["kms_key"]);
}

#[test]
fn the_rotator_tells_every_problem_at_once() {
    let site = site();
    let config = site.rotator_config();
    let check = |text: &str, all: &[&str]| {
        imprint_e2e::write(&site.folder().join("rotator.toml"), 0o644, text);
        let ran = Ran::of(&mut site.rotator(&["rotate"])).expect(78);
        for say in all {
            assert!(ran.err.contains(say), "should say {say:?}:\n{}", ran.err);
        }
        assert!(site.stack.conjur.log().is_empty());
    };
    check(
        &config.replace("deployment = \"1f2e3d4c\"", "deployment = 3\nx = 1"),
        &["deployment", "x is not a known setting"],
    );
    check(&config.replace("id = \"web/factory\"", "id = \"web/*\""), &["factory.id"]);
    check(&format!("{config}\n[policy]\nperiod = \"12h\"\nlifetime = \"1h\"\n"), &["lifetime"]);
    check("account = \n[x\n", &["line 1", "line 2"]);
}

#[test]
fn a_command_line_that_cannot_be_is_64() {
    let site = site();
    for arguments in [&["enrol"][..], &["enroll", "--token", "x"], &[]] {
        assert_eq!(Ran::of(&mut site.machine("web").imprint(arguments)).code, 64, "imprint {arguments:?}");
    }
    for arguments in [&["rotat"][..], &["rotate", "--factory", "a b"], &[]] {
        assert_eq!(Ran::of(&mut site.rotator(arguments)).code, 64, "imprint-rotator {arguments:?}");
    }
}

#[test]
fn half_of_lambdas_environment_is_told_and_ends_in_order() {
    let site = site();
    let mut command = site.rotator(&["status"]);
    command.env("AWS_LAMBDA_RUNTIME_API", "127.0.0.1:9");
    let ran = Ran::of(&mut command).expect(78);
    let said = format!("{}{}", ran.out, ran.err);
    assert!(
        said.contains("AWS_LAMBDA_FUNCTION_NAME is not") && said.contains("unset AWS_LAMBDA_RUNTIME_API"),
        "{said}"
    );
}

#[test]
fn a_key_in_the_environment_that_nobody_logs_in_with_is_told() {
    let site = crate::published();
    let (_, key) = site.stack.rotator_login();
    let ran = Ran::of(site.rotator(&["status"]).env("IMPRINT_ROTATOR_API_KEY", &key)).expect(0);
    assert!(ran.err.contains("IMPRINT_ROTATOR_API_KEY is set and not used"), "{}", ran.err);
    crate::no_secret(&site, &[&ran.out, &ran.err]);
    let ran = Ran::of(&mut site.rotator(&["status"])).expect(0);
    assert!(!ran.err.contains("not used"), "{}", ran.err);
}
