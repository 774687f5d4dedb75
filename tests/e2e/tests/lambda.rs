//! The rotator as a Lambda function of the emulator: its own binary as `bootstrap`, with a session of
//! its role.

use crate::{Place, no_secret, programs, site};
use imprint_e2e::cloud::{Cloud, Invoked};
use imprint_e2e::peers::Peers;
use imprint_e2e::{Ran, write};
use serde_json::{Value, json};

/// An invocation, of which nothing secret is told.
fn invoke(site: &Place, cloud: &Cloud, name: &str, event: &Value) -> Invoked {
    let invoked = cloud.invoke(name, event);
    no_secret(site, &[&invoked.reply.to_string(), &invoked.log]);
    invoked
}

/// The outcome of each factory.
fn results(report: &Value) -> Vec<(&str, &str)> {
    let rows = report["factories"].as_array().expect("one outcome a factory");
    rows.iter().map(|row| (row["factory"].as_str().unwrap(), row["result"].as_str().unwrap())).collect()
}

/// Lambda's error: its type, and the report in its message.
#[track_caller]
fn failed(invoked: &Invoked, class: &str) -> Value {
    assert!(invoked.failed, "{invoked:?}");
    assert_eq!(invoked.reply["errorType"], class, "{invoked:?}");
    serde_json::from_str(invoked.reply["errorMessage"].as_str().unwrap()).expect("a report")
}

/// The site's configuration without its key file, and with this text at its end.
fn config(site: &Place, name: &str, more: &str) -> String {
    let text = site.rotator_config();
    let lines = text.lines().filter(|line| !line.starts_with("api_key_file"));
    let text: String = lines.map(|line| format!("{line}\n")).collect();
    let path = site.folder().join(name);
    write(&path, 0o644, &format!("{text}{more}"));
    path.display().to_string()
}

/// Makes the function with the rotator's key in its environment.
fn function(site: &Place, cloud: &Cloud, name: &str, role: &str, config: &str) {
    let key = site.stack.rotator_login().1;
    let environment = json!({"IMPRINT_ROTATOR_CONFIG": config, "IMPRINT_ROTATOR_API_KEY": key});
    cloud.function(name, &cloud.role(role), &programs().rotator, &environment);
}

#[test]
fn the_function_publishes_what_an_instance_enrolls_with() {
    let Some(peers) = Peers::here() else { return };
    let site = site();
    let cloud = Cloud::start(peers, &site);
    // Its key lies in a file, which its configuration names.
    let file = site.folder().join("rotator.toml").display().to_string();
    let environment = json!({"IMPRINT_ROTATOR_CONFIG": file});
    cloud.function("rotator", &cloud.role("rotator"), &programs().rotator, &environment);

    let scheduled = json!({"source": "aws.events", "detail-type": "Scheduled Event", "detail": {}});
    let first = invoke(&site, &cloud, "rotator", &scheduled);
    assert!(!first.failed, "{first:?}");
    assert_eq!(results(&first.reply), [("web/factory", "rotated"), ("db/factory", "rotated")]);
    assert!(first.log.contains("published token"), "{}", first.log);
    let again = invoke(&site, &cloud, "rotator", &scheduled);
    assert_eq!(results(&again.reply), [("web/factory", "kept"), ("db/factory", "kept")]);
    let asked = json!({"now": true, "factories": ["web/factory"]});
    let third = invoke(&site, &cloud, "rotator", &asked);
    assert_eq!(results(&third.reply), [("web/factory", "rotated")]);
    let conjur = site.stack.conjur.service();
    assert_eq!((conjur.live_tokens("web/factory"), conjur.live_tokens("db/factory")), (2, 1));

    let machine = cloud.machine(&site, "web", 0);
    let _said = Ran::of(&mut cloud.imprint(&machine, &["enroll"])).expect(0);
    assert!(machine.identity().0.starts_with("host/web/hosts/"));
}

#[test]
fn one_failure_fails_the_invocation_after_all_else_is_done() {
    let Some(peers) = Peers::here() else { return };
    let site = site();
    let cloud = Cloud::start(peers, &site);
    let ghost = "\n[[factory]]\nid = \"ghost/factory\"\nhosts_branch = \"ghost/hosts\"\n";
    function(&site, &cloud, "ghost", "rotator", &config(&site, "ghost.toml", ghost));
    let invoked = invoke(&site, &cloud, "ghost", &json!({}));
    let report = failed(&invoked, "refused");
    assert_eq!(
        results(&report),
        [("web/factory", "rotated"), ("db/factory", "rotated"), ("ghost/factory", "failed")]
    );
    assert_eq!((&report["failed"], &report["factories"][2]["class"]), (&json!(1), &json!("refused")));
    assert!(invoked.log.contains("ghost/factory"), "{}", invoked.log);
    let machine = cloud.machine(&site, "db", 0);
    let _said = Ran::of(&mut cloud.imprint(&machine, &["enroll"])).expect(0);

    let event = invoke(&site, &cloud, "ghost", &json!({"factory": "web/factory"}));
    let _report = failed(&event, "usage");

    // With the role of a layer it may do nothing, so it is the function's role that counts.
    function(&site, &cloud, "as-web", "web", &config(&site, "usual.toml", ""));
    let report = failed(&invoke(&site, &cloud, "as-web", &json!({"now": true})), "refused");
    assert_eq!(results(&report), [("web/factory", "failed"), ("db/factory", "failed")]);

    function(&site, &cloud, "lost", "rotator", "/nonexistent/rotator.toml");
    let report = failed(&invoke(&site, &cloud, "lost", &json!({})), "config");
    assert!(report["error"].as_str().unwrap().contains("/nonexistent/rotator.toml"), "{report}");
}
