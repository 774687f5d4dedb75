//! Events of instances that begin, and what they get.

use super::*;
use imprint_core::sealed::SealedToken;

/// Every instance of the emulator's region.
const RULES: &str =
    "[[rule]]\nname = \"all\"\nfactory = \"web/factory\"\nregion = [\"us-east-1\"]\nevery_instance = true\n";

fn change(id: &str, state: &str) -> Value {
    json!({
        "version": "0", "source": "aws.ec2", "detail-type": "EC2 Instance State-change Notification",
        "account": "123456789012", "region": "us-east-1", "detail": {"instance-id": id, "state": state},
    })
}

fn batch(events: &[(&str, &str)]) -> Value {
    let record = |(n, (id, state)): (usize, &(&str, &str))| json!({"eventSource": "aws:sqs", "messageId": format!("m-{n}"), "body": change(id, state).to_string()});
    json!({"Records": events.iter().enumerate().map(record).collect::<Vec<_>>()})
}

#[test]
fn the_instances_function_mints_for_what_begins_and_once() {
    let Some(peers) = Peers::here() else { return };
    let site = site();
    site.set_rules(RULES);
    let cloud = Cloud::start(peers, &site);
    let file = site.folder().join("rotator.toml").display().to_string();
    // What is published is kept for half of its life, however long this takes.
    let text = std::fs::read_to_string(&file).unwrap();
    write(file.as_ref(), 0o644, &text.replace("[instances]\n", "[instances]\nlife = \"1h\"\n"));
    let environment = json!({"IMPRINT_ROTATOR_CONFIG": file});
    cloud.function("instances", &cloud.role("instances"), &programs().rotator, &environment);
    let ids = cloud.instances(2);
    let [one, two] = [0, 1].map(|at| ids[at].as_str());

    let first = invoke(&site, &cloud, "instances", &change(one, "pending"));
    assert!(!first.failed, "{first:?}");
    let told = &first.reply["instances"][0];
    assert_eq!([&told["result"], &told["factory"], &told["rule"]], ["published", "web/factory", "all"]);
    let metrics = cloud.metrics(&first.log);
    assert_eq!(
        (metrics.len(), &metrics[0]["InstanceTokensPublished"], &metrics[0]["Failed"]),
        (1, &json!(1), &json!(0))
    );
    let all = lines(&first.log);
    let event = all.iter().find(|line| line["event"] == "instance token published").expect("an event");
    assert_eq!((&event["instance"], &event["fingerprint"]), (&json!(one), &told["fingerprint"]));

    // Twice in a batch, with others, one of whom EC2 does not know: only that record comes again, and what is no event.
    let events = [
        (one, "running"),
        (two, "pending"),
        ("i-0fedcba9876543210", "running"),
        (two, "running"),
        (one, "stopped"),
    ];
    let mut events = batch(&events);
    let strange = json!({"eventSource": "aws:sqs", "messageId": "m-strange", "body": "{}"});
    events["Records"].as_array_mut().unwrap().push(strange);
    let some = invoke(&site, &cloud, "instances", &events);
    assert!(!some.failed, "{some:?}");
    assert_eq!(
        some.reply["batchItemFailures"],
        json!([{"itemIdentifier": "m-2"}, {"itemIdentifier": "m-strange"}]),
        "{some:?}"
    );
    let rows = some.reply["instances"].as_array().unwrap();
    let result =
        |id: &str| rows.iter().find(|row| row["instance"] == id).unwrap()["result"].as_str().unwrap();
    assert_eq!([result(one), result(two), result("i-0fedcba9876543210")], ["kept", "published", "failed"]);
    assert_eq!(cloud.metrics(&some.log)[0]["Failed"], json!(1));
    assert_eq!(
        site.stack.conjur.service().live_tokens("web/factory"),
        2,
        "one for each, however often it was told"
    );

    // An unknown one alone fails the invocation, which Lambda repeats.
    let unknown = invoke(&site, &cloud, "instances", &change("i-0fedcba9876543210", "running"));
    let report = failed(&unknown, "transient");
    assert_eq!(report["instances"][0]["instance"], "i-0fedcba9876543210", "{report}");
    let asked = invoke(&site, &cloud, "instances", &json!({"command": "mint", "instances": [one, two]}));
    assert!(!asked.failed && asked.reply["instances"][1]["result"] == "kept", "{asked:?}");
    let free = json!({"command": "mint", "instances": [one], "factories": ["db/factory"]});
    let _refused = failed(&invoke(&site, &cloud, "instances", &free), "refused");

    // The role seals for instances, and nothing else: neither a rotation nor another's object.
    let report = failed(&invoke(&site, &cloud, "instances", &json!({"now": true})), "refused");
    assert_eq!(report["failed"], json!(2), "{report}");
    cloud.function("fleet", &cloud.role("fleet"), &programs().rotator, &environment);
    let _refused = failed(&invoke(&site, &cloud, "fleet", &change(one, "running")), "refused");
    // What lies there is for this very instance.
    let folder = site.folder().join("object");
    let key = format!("s3://imprint-tokens/instances/{one}/web/factory.json");
    cloud.aws_as("instances", &["s3", "cp", &key, &folder.display().to_string()]);
    let sealed = SealedToken::parse(&std::fs::read(folder).unwrap()).unwrap();
    assert_eq!(sealed.binding().context()["imprint:instance_arn"].rsplit('/').next(), Some(one));
}
