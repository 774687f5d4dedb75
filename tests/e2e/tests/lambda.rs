//! The rotator as a Lambda function of the emulator: its own binary as `bootstrap`, with a session of
//! its role.

mod instances;

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

/// The lines of a log that are JSON, but for metrics.
fn lines(log: &str) -> Vec<Value> {
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(|line| line.get("_aws").is_none()).collect()
}

/// The metrics of a log: of the runs, and of each factory by its name.
fn metrics(cloud: &Cloud, log: &str) -> (Vec<Value>, Vec<(String, Value)>) {
    let all = cloud.metrics(log);
    let of = |line: &Value| line["factory"].as_str().map(str::to_owned);
    let runs = all.iter().filter(|line| of(line).is_none()).cloned().collect();
    (runs, all.iter().filter_map(|line| Some((of(line)?, line.clone()))).collect())
}

/// Rotated, kept and failed, as the metrics of a run have it.
fn counts(run: &Value) -> [u64; 3] {
    ["Rotated", "Kept", "Failed"].map(|name| run[name].as_u64().expect("a count"))
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
    let (runs, factories) = metrics(&cloud, &first.log);
    assert_eq!(runs.iter().map(counts).collect::<Vec<_>>(), [[2, 0, 0]], "{}", first.log);
    for (factory, line) in &factories {
        let (age, left) = (line["TokenAge"].as_u64().unwrap(), line["SecondsToExpiry"].as_u64().unwrap());
        assert!(age < 60 && (28_700..=28_800).contains(&left), "{factory}: {line}");
        assert_eq!(
            (&line["FunctionName"], &line["rotation_id"]),
            (&json!("rotator"), &first.reply["rotation_id"])
        );
    }
    assert_eq!(factories.len(), 2);
    // Who looks for a run or for one invocation finds every line of it.
    let log = lines(&first.log);
    let [id, request] = [&log[0]["rotation_id"], &log[0]["request_id"]];
    assert!(log.len() >= 3 && request.as_str().is_some_and(|id| id.len() == 36), "{log:?}");
    assert!(log.iter().all(|line| line["rotation_id"] == *id && line["request_id"] == *request), "{log:?}");
    assert_eq!((id, &log.last().unwrap()["event"]), (&first.reply["rotation_id"], &json!("run ended")));
    let again = invoke(&site, &cloud, "rotator", &scheduled);
    assert_eq!(results(&again.reply), [("web/factory", "kept"), ("db/factory", "kept")]);
    assert_ne!(again.reply["rotation_id"], first.reply["rotation_id"]);
    let plan = invoke(&site, &cloud, "rotator", &json!({"command": "plan", "now": true}));
    assert!(!plan.failed && plan.reply["worst"].is_null(), "{plan:?}");
    assert_eq!((plan.reply["factories"].as_array().unwrap().len(), plan.log.contains("_aws")), (2, false));
    let asked = json!({"command": "rotate", "now": true, "factories": ["web/factory"]});
    let third = invoke(&site, &cloud, "rotator", &asked);
    assert_eq!(results(&third.reply), [("web/factory", "rotated")]);
    let conjur = site.stack.conjur.service();
    assert_eq!((conjur.live_tokens("web/factory"), conjur.live_tokens("db/factory")), (2, 1));
    let status =
        invoke(&site, &cloud, "rotator", &json!({"command": "status", "factories": ["web/factory"]}));
    let (shown, published) = (&status.reply["factories"][0], &third.reply["factories"][0]);
    assert!(!status.failed && status.reply["worst"].is_null(), "{status:?}");
    assert_eq!(shown["published"]["fingerprint"], published["fingerprint"], "{status:?}");
    // The clients that the function keeps tell Conjur of each run by itself.
    let seen = site.stack.conjur.log();
    let told = |name: &str| {
        seen.iter().filter_map(|logged| logged.headers.get(name)?.to_str().ok()).collect::<Vec<_>>()
    };
    let [ids, agents] = ["x-request-id", "user-agent"].map(told);
    for ended in [&first, &again, &third] {
        assert!(ids.contains(&ended.reply["rotation_id"].as_str().unwrap()), "{ids:?}");
    }
    for command in ["rotate", "plan", "status"] {
        assert!(agents.iter().any(|agent| agent.contains(&format!(" {command}/"))), "{agents:?}");
    }

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
    crate::json::check("imprint-rotator", &report.to_string());
    // The others were done, which the next run shows; the message tells only of what failed.
    assert_eq!([&report["rotated"], &report["failed"]], [&json!(2), &json!(1)]);
    assert_eq!(
        (results(&report), &report["factories"][0]["class"]),
        (vec![("ghost/factory", "failed")], &json!("refused"))
    );
    let log = lines(&invoked.log);
    let of_ghost = log.iter().find(|line| line["factory"] == "ghost/factory").expect("a line of its failure");
    assert_eq!((&of_ghost["class"], &of_ghost["level"]), (&json!("refused"), &json!("error")));
    assert!(of_ghost["hint"].as_str().is_some_and(|hint| hint.contains("permit")), "{of_ghost}");
    let (runs, factories) = metrics(&cloud, &invoked.log);
    assert_eq!((counts(&runs[0]), &runs[0]["class"]), ([2, 0, 1], &json!("refused")));
    assert_eq!(factories.len(), 2, "of what is not seen nothing is known");
    let status = invoke(&site, &cloud, "ghost", &json!({"command": "status"}));
    assert_eq!((status.failed, &status.reply["worst"]), (false, &json!("refused")), "{status:?}");
    assert!(status.reply["factories"][0]["published"]["listed"] == true, "{status:?}");
    let machine = cloud.machine(&site, "db", 0);
    let _said = Ran::of(&mut cloud.imprint(&machine, &["enroll"])).expect(0);

    let event = invoke(&site, &cloud, "ghost", &json!({"factory": "web/factory"}));
    let _report = failed(&event, "usage");
    assert!(cloud.metrics(&event.log).is_empty(), "a slip of a person is no failed run");
    let unknown = invoke(&site, &cloud, "ghost", &json!({"command": "grant"}));
    let told = failed(&unknown, "usage")["error"].as_str().unwrap().to_owned();
    assert!(told.contains("grant") && told.contains("`status`"), "{told}");

    // With the role of a layer it may do nothing, so it is the function's role that counts.
    function(&site, &cloud, "as-web", "web", &config(&site, "usual.toml", ""));
    let report = failed(&invoke(&site, &cloud, "as-web", &json!({"now": true})), "refused");
    assert_eq!(results(&report), [("web/factory", "failed"), ("db/factory", "failed")]);

    function(&site, &cloud, "lost", "rotator", "/nonexistent/rotator.toml");
    let report = failed(&invoke(&site, &cloud, "lost", &json!({})), "config");
    assert!(report["error"].as_str().unwrap().contains("/nonexistent/rotator.toml"), "{report}");
}

/// A mint that cannot be published any more would be an orphan: with too little time none is made.
#[test]
fn a_function_with_too_short_a_time_out_mints_nothing_and_says_so() {
    let Some(peers) = Peers::here() else { return };
    let site = site();
    let cloud = Cloud::start(peers, &site);
    let file = site.folder().join("rotator.toml").display().to_string();
    let environment = json!({"IMPRINT_ROTATOR_CONFIG": file});
    cloud.function_of("short", &cloud.role("rotator"), &programs().rotator, &environment, 60);
    let report = failed(&invoke(&site, &cloud, "short", &json!({})), "transient");
    assert_eq!(results(&report), [("web/factory", "failed"), ("db/factory", "failed")]);
    let first = &report["factories"][0];
    assert!(first["error"].as_str().unwrap().contains("less than 70 s of the run are left"), "{report}");
    assert!(first["hint"].as_str().unwrap().contains("a longer time-out"), "{report}");
    assert_eq!(site.stack.conjur.count("mint"), 0);
    cloud.function_of("longer", &cloud.role("rotator"), &programs().rotator, &environment, 90);
    let done = invoke(&site, &cloud, "longer", &json!({}));
    assert_eq!(results(&done.reply), [("web/factory", "rotated"), ("db/factory", "rotated")]);
}

#[test]
fn a_run_that_cannot_begin_is_a_metric_too() {
    let Some(peers) = Peers::here() else { return };
    let site = site();
    let cloud = Cloud::start(peers, &site);
    let wrong = json!({
        "IMPRINT_ROTATOR_CONFIG": config(&site, "wrong.toml", ""),
        "IMPRINT_ROTATOR_API_KEY": "0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefgh",
    });
    cloud.function("no-login", &cloud.role("rotator"), &programs().rotator, &wrong);
    let none = json!({"IMPRINT_ROTATOR_CONFIG": "/nonexistent/rotator.toml"});
    cloud.function("no-config", &cloud.role("rotator"), &programs().rotator, &none);
    for (name, class, factories) in [("no-login", "refused", 2), ("no-config", "config", 1)] {
        let invoked = invoke(&site, &cloud, name, &json!({"command": "rotate"}));
        let report = failed(&invoked, class);
        let (runs, of_factories) = metrics(&cloud, &invoked.log);
        let seen: Vec<_> = runs.iter().map(|run| (counts(run), run["class"].as_str().unwrap())).collect();
        assert_eq!((seen, of_factories.len()), (vec![([0, 0, factories], class)], 0), "{}", invoked.log);
        let log = lines(&invoked.log);
        let line = log.iter().find(|line| line["event"] == "run failed").expect("a line that tells why");
        assert_eq!((&line["class"], &line["message"]), (&json!(class), &report["error"]));
        assert!(line["rotation_id"].is_string() && line["request_id"].is_string(), "{line}");
    }
}

#[test]
fn a_rule_and_a_schedule_rotate_what_is_due() {
    let Some(peers) = Peers::here() else { return };
    let site = site();
    let cloud = Cloud::start(peers, &site);
    function(&site, &cloud, "rotator", "rotator", &config(&site, "usual.toml", ""));
    cloud.every("rate(2 minutes)", "rotator");
    let log = cloud.log("rotator", "\"kept\":2", 1);
    cloud.every("", "rotator");
    no_secret(&site, &[&log]);
    let (runs, _) = metrics(&cloud, &log);
    // Where two invocations meet, each factory is rotated by one of them.
    let all = runs.iter().map(counts).fold([0; 3], |all, run| [0, 1, 2].map(|at| all[at] + run[at]));
    assert!(all[0] == 2 && all[1] >= 2 && all[2] == 0, "{all:?}: {log}");
    let machine = cloud.machine(&site, "web", 0);
    let _said = Ran::of(&mut cloud.imprint(&machine, &["enroll"])).expect(0);

    let asked = json!({"command": "rotate", "now": true, "factories": ["db/factory"]});
    function(&site, &cloud, "asked", "rotator", &config(&site, "usual.toml", ""));
    cloud.once("asked", Some(&asked));
    let (runs, _) = metrics(&cloud, &cloud.log("asked", "run ended", 1));
    assert_eq!(runs.iter().map(counts).collect::<Vec<_>>(), [[1, 0, 0]]);
    function(&site, &cloud, "due", "rotator", &config(&site, "usual.toml", ""));
    cloud.once("due", None);
    let (runs, _) = metrics(&cloud, &cloud.log("due", "run ended", 1));
    assert_eq!(runs.iter().map(counts).collect::<Vec<_>>(), [[0, 2, 0]]);
}

/// An instance that EC2 knows, with a host at Conjur; its id and the host's.
fn member(site: &Place, instance: &str) -> String {
    let host = format!("123456789012/us-east-1/{instance}");
    let conjur = site.stack.conjur.service();
    conjur.load_policy("web/hosts", &format!("- !host {host}\n")).unwrap();
    let grant = format!("- !grant {{ role: !layer nodes, member: !host hosts/{host} }}\n");
    conjur.load_policy("web", &grant).unwrap();
    format!("web/hosts/{host}")
}

#[test]
fn the_fleets_function_removes_and_pins_hosts() {
    let Some(peers) = Peers::here() else { return };
    let site = site();
    let cloud = Cloud::start(peers, &site);
    let file = site.folder().join("rotator.toml").display().to_string();
    let environment = json!({"IMPRINT_ROTATOR_CONFIG": file});
    cloud.function("fleet", &cloud.role("fleet"), &programs().rotator, &environment);
    let ids = cloud.instances(3);
    let hosts: Vec<String> = ids.iter().map(|id| member(&site, id)).collect();
    let alive = || {
        let all = site.stack.conjur.service().hosts();
        hosts.iter().map(|host| all.iter().any(|one| one.ends_with(host.as_str()))).collect::<Vec<_>>()
    };
    let change = |id: &str, state: &str| {
        json!({
            "version": "0", "source": "aws.ec2", "detail-type": "EC2 Instance State-change Notification",
            "account": "123456789012", "region": "us-east-1", "detail": {"instance-id": id, "state": state},
        })
    };

    // Whatever an event says, EC2 has the last word.
    let lied = invoke(&site, &cloud, "fleet", &change(&ids[0], "terminated"));
    assert!(!lied.failed && lied.reply["factories"][0]["removed"] == json!([]), "{lied:?}");
    assert_eq!(alive(), [true, true, true]);
    let nothing = invoke(&site, &cloud, "fleet", &change(&ids[0], "stopped"));
    assert_eq!(nothing.reply["nothing"], "to do", "{nothing:?}");

    cloud.terminate(&ids[0]);
    let record = |id: &str, state| json!({"eventSource": "aws:sqs", "messageId": id, "body": change(id, state).to_string()});
    let batch = json!({"Records": [record(&ids[1], "running"), record(&ids[0], "terminated")]});
    let gone = invoke(&site, &cloud, "fleet", &batch);
    assert!(!gone.failed, "{gone:?}");
    assert_eq!(gone.reply["factories"][0]["removed"][0]["host"], hosts[0].as_str(), "{gone:?}");
    assert_eq!(alive(), [false, true, true]);
    let told = cloud.metrics(&gone.log);
    assert_eq!((told.len(), &told[0]["HostsRemoved"], &told[0]["Failed"]), (1, &json!(1), &json!(0)));
    let all = lines(&gone.log);
    let removed = all.iter().find(|line| line["event"] == "host removed").expect("an event");
    assert_eq!((&removed["host"], &removed["instance"]), (&json!(hosts[0]), &json!(ids[0])));
    assert!(removed["rotation_id"].is_string() && removed["request_id"].is_string(), "{removed}");

    // The sweep that a schedule asks for, and a pin.
    let swept = invoke(&site, &cloud, "fleet", &json!({"command": "decommission"}));
    assert!(!swept.failed && swept.reply["factories"][0]["removed"] == json!([]), "{swept:?}");
    let pin = json!({"command": "pin", "factories": ["web/factory"]});
    let pinned = invoke(&site, &cloud, "fleet", &pin);
    assert_eq!(pinned.reply["factories"][0]["pinned"].as_array().unwrap().len(), 2, "{pinned:?}");
    assert_eq!(cloud.metrics(&pinned.log)[0]["HostsPinned"], json!(2));

    let look = json!({"command": "status", "hosts": true});
    let seen = invoke(&site, &cloud, "fleet", &look);
    let web = &seen.reply["factories"][0];
    assert_eq!(
        (&web["hosts"], &web["without_instance"], &seen.reply["worst"]),
        (&json!(2), &json!([]), &json!(null))
    );
    let told = cloud.metrics(&seen.log);
    assert_eq!((&told[0]["HostsWithoutInstance"], &told[0]["Failed"]), (&json!(0), &json!(0)), "{told:?}");
    assert_eq!(told[0]["InstancesWithoutHost"], json!(null), "no rule says who should have one");

    // With the rotator's role it may not look.
    cloud.function("not-fleet", &cloud.role("rotator"), &programs().rotator, &environment);
    let unseen = invoke(&site, &cloud, "not-fleet", &look);
    assert!(!unseen.failed && unseen.reply["worst"] == "refused", "{unseen:?}");
    assert_eq!(cloud.metrics(&unseen.log)[0]["Failed"], json!(2));
    let refused = invoke(&site, &cloud, "not-fleet", &json!({"command": "decommission"}));
    let report = failed(&refused, "refused");
    assert_eq!(
        (&report["failed"], &report["factories"][0]["class"]),
        (&json!(2), &json!("refused")),
        "{report}"
    );
    assert_eq!(alive(), [false, true, true]);
}
