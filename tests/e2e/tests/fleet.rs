//! The life of a fleet: hosts leave when their instances have left, and their keys are worth nothing
//! anywhere else.

use crate::{Place, json, no_secret, published};
use imprint_core::second::Second;
use imprint_e2e::{Machine, Ran};
use imprint_stack::ec2::Ec2Instance;
use serde_json::Value;
use std::process::Command;
use std::time::Duration;

/// An enrolled instance that EC2 knows, at an address from which Conjur sees its requests.
fn enrolled(site: &Place, layer: &str) -> Machine {
    let machine = site.machine(layer);
    site.stack.ec2.service().put(Ec2Instance::running(&machine.instance().id, "127.0.0.1"));
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    machine
}

/// What a run over the fleet says, as JSON.
#[track_caller]
fn fleet(site: &Place, arguments: &[&str], code: i32) -> Value {
    let ran = Ran::of(site.fleet(arguments).arg("--json")).expect(code);
    no_secret(site, &[&ran.out, &ran.err]);
    serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}\n{}", ran.out, ran.err))
}

/// One factory's part of it.
fn part<'a>(report: &'a Value, factory: &str) -> &'a Value {
    let all = report["factories"].as_array().unwrap();
    all.iter().find(|part| part["factory"] == factory).unwrap()
}

fn lives(site: &Place, machine: &Machine) -> bool {
    site.stack.conjur.service().hosts().iter().any(|host| host.ends_with(&machine.host_id()))
}

/// As if everything that was missing had been missed eleven minutes ago.
fn let_time_pass(site: &Place, factory: &str) {
    let (bucket, key) = ("imprint-tokens", format!("fleet/demo/{factory}/memory.json"));
    let s3 = site.stack.s3.service();
    let mut memory: Value = serde_json::from_slice(&s3.object(bucket, &key).unwrap()).unwrap();
    for since in memory["missing"].as_object_mut().unwrap().values_mut() {
        let at: Second = since.as_str().unwrap().parse().unwrap();
        *since = at.minus(Duration::from_secs(11 * 60)).to_string().into();
    }
    let _tag = s3.put_raw(bucket, &key, memory.to_string());
}

#[test]
fn a_host_leaves_when_its_instance_has_left_and_no_other() {
    let site = published();
    let [web, other, db] = ["web", "web", "db"].map(|layer| enrolled(&site, layer));
    let ec2 = site.stack.ec2.service();
    let stays = |report: &Value| {
        for factory in ["web/factory", "db/factory"] {
            let part = part(report, factory);
            assert_eq!((&part["removed"], &part["class"]), (&Value::Array(vec![]), &Value::Null), "{report}");
        }
    };
    stays(&fleet(&site, &["decommission"], 0));
    ec2.set_state(&web.instance().id, "shutting-down");
    ec2.set_state(&other.instance().id, "stopped");
    stays(&fleet(&site, &["decommission"], 0));

    // The end of one is seen; another is only missing.
    ec2.set_state(&web.instance().id, "terminated");
    let dry = fleet(&site, &["decommission", "--dry-run"], 0);
    json::check("imprint-rotator decommission --json", &dry.to_string());
    ec2.forget(&db.instance().id);
    assert_eq!(part(&dry, "web/factory")["removed"][0]["instance"], web.instance().id.as_str(), "{dry}");
    assert!(lives(&site, &web), "a dry run removes nobody");
    let first = fleet(&site, &["decommission"], 0);
    assert_eq!(part(&first, "web/factory")["removed"][0]["host"], web.host_id().as_str(), "{first}");
    assert_eq!(part(&first, "db/factory")["waiting"][0], db.host_id().as_str(), "{first}");
    assert_eq!([&web, &other, &db].map(|machine| lives(&site, machine)), [false, true, true]);
    let _gone = Ran::of(&mut web.imprint(&["verify"])).expect(77);
    let _proved = Ran::of(&mut other.imprint(&["verify"])).expect(0);

    // One that turns up again in between was never gone.
    let_time_pass(&site, "db/factory");
    ec2.put(Ec2Instance::running(&db.instance().id, "127.0.0.1"));
    stays(&fleet(&site, &["decommission"], 0));
    ec2.forget(&db.instance().id);
    stays(&fleet(&site, &["decommission"], 0));
    assert!(lives(&site, &db));
    let_time_pass(&site, "db/factory");
    let last = fleet(&site, &["decommission"], 0);
    assert_eq!(part(&last, "db/factory")["removed"][0]["host"], db.host_id().as_str(), "{last}");
    assert_eq!([&web, &other, &db].map(|machine| lives(&site, machine)), [false, true, false]);
}

/// What a large fleet's functions remember is more than any other object has.
#[test]
fn a_memory_of_some_megabytes_is_read() {
    let site = published();
    let host = |n: usize| format!("web/hosts/123456789012/eu-west-1/i-{n:017x}");
    let pin = serde_json::json!({"to": ["10.0.0.5/32"], "at": "2026-11-22T08:00:00Z"});
    let pinned: serde_json::Map<String, Value> = (0..30_000).map(|n| (host(n), pin.clone())).collect();
    let memory = serde_json::json!({"version": 1, "missing": {}, "pinned": pinned}).to_string();
    assert!(memory.len() > 3_000_000, "{}", memory.len());
    let (bucket, key, s3) = ("imprint-tokens", "fleet/demo/web/factory/memory.json", site.stack.s3.service());
    let _tag = s3.put_raw(bucket, key, memory);
    let report = fleet(&site, &["decommission"], 0);
    assert_eq!(part(&report, "web/factory")["notes"], Value::Array(vec![]), "{report}");
    // None of those hosts is there any more.
    assert!(s3.object(bucket, key).unwrap().len() < 100);
}

#[test]
fn nobody_else_is_touched_and_nothing_else_is_allowed() {
    let site = published();
    let web = enrolled(&site, "web");
    let more: String = (0..300)
        .map(|n| format!("- !host 123456789012/eu-west-1/i-{n:03}\n"))
        .chain(["- !host by-hand\n- !host 123456789012/us-east-1/i-9\n- !host 210987654321/eu-west-1/i-9\n"
            .into()])
        .collect();
    let conjur = site.stack.conjur.service();
    conjur.load_policy("web/hosts", &more).unwrap();
    let member = |id: &str| format!("- !grant {{ role: !layer nodes, member: !host hosts/{id} }}\n");
    let grants: String = (0..300)
        .map(|n| member(&format!("123456789012/eu-west-1/i-{n:03}")))
        .chain(["by-hand", "123456789012/us-east-1/i-9", "210987654321/eu-west-1/i-9"].map(member))
        .collect();
    conjur.load_policy("web", &grants).unwrap();
    for n in 0..300 {
        let mut gone = Ec2Instance::running(&format!("i-{n:03}"), "10.0.0.1");
        gone.state = if n < 120 { "terminated" } else { "running" }.to_owned();
        site.stack.ec2.service().put(gone);
    }
    let before = conjur.hosts().len();
    site.stack.clear_logs();
    let first = fleet(&site, &["decommission", "--factory", "web/factory"], 0);
    let part_of = part(&first, "web/factory");
    assert_eq!(
        (part_of["removed"].as_array().unwrap().len(), &part_of["held_back"]),
        (50, &70.into()),
        "{first}"
    );
    assert_eq!(conjur.hosts().len(), before - 50, "not more than so many at once");
    // Whose account; the instances in two batches.
    assert_eq!(site.stack.ec2.log().len(), 1 + 2);
    let patches = site.stack.conjur.log().into_iter().filter(|logged| logged.method == "PATCH").count();
    assert_eq!(patches, 1, "one load of policy for all of them");
    for _ in 0..2 {
        let _next = fleet(&site, &["decommission"], 0);
    }
    assert_eq!(conjur.hosts().len(), before - 120);
    assert!(lives(&site, &web));
    for kept in ["by-hand", "123456789012/us-east-1/i-9", "210987654321/eu-west-1/i-9"] {
        assert!(conjur.hosts().iter().any(|host| host.ends_with(kept)), "{kept}");
    }
    // With the rotator's role at AWS, the same command may do nothing.
    let ran = Ran::of(&mut site.rotator(&["decommission"])).expect(77);
    assert!(ran.err.contains("fleet/*"), "{}", ran.err);
    let ran = Ran::of(&mut site.fleet(&["pin"])).expect(64);
    assert!(ran.err.contains("pin = true"), "{}", ran.err);
    // And the fleet's role at AWS may not rotate.
    let ran = Ran::of(&mut site.fleet(&["rotate", "--now"])).expect(77);
    assert!(ran.err.contains("kms:Encrypt"), "{}", ran.err);
}

/// The commands that look at the rules: what they say, of whom, and of whom EC2 knows nothing.
#[test]
fn rules_are_checked_and_explained() {
    let site = published();
    let ran = Ran::of(&mut site.fleet(&["rules"])).expect(78);
    assert!(ran.err.contains("names no rules") && ran.err.contains("rules_file"), "{}", ran.err);
    let rules = "[[rule]]\nname = \"web servers\"\nfactory = \"db/factory\"\npromote_from = \"web/factory\"\n\
                 instance_profile = [\"web\"]\ntags = { Layer = [\"web\"] }\nyounger_than = \"1h\"\n\
                 [[rule]]\nname = \"by tag\"\nfactory = \"web/factory\"\ntags = { Layer = [\"web\"] }\n";
    site.set_rules(&rules.replace("instance_profile", "role").replace("1h", "1"));
    let ran = Ran::of(&mut site.fleet(&["rules"])).expect(78);
    for say in [
        "rules.toml: line 5: rule.role is not a known setting",
        "rules.toml: line 7: rule.younger_than: must be a span",
    ] {
        assert!(ran.err.contains(say), "{say}: {}", ran.err);
    }
    site.set_rules(rules);
    let list = Ran::of(&mut site.fleet(&["rules"])).expect(0);
    assert!(list.out.contains("by tag: it rests on tags alone"), "{}", list.out);
    json::check("imprint-rotator rules --json", &fleet(&site, &["rules"], 0).to_string());

    let ec2 = site.stack.ec2.service();
    let now = Second::now();
    let launch = |id: &str, tag: &str, minutes: u64| {
        let mut instance = Ec2Instance::running(id, "10.0.0.1");
        instance.tags.insert("Layer".to_owned(), tag.to_owned());
        instance.attached_at = now.minus(Duration::from_secs(minutes * 60)).to_string();
        ec2.put(instance);
    };
    launch("i-1", "web", 5);
    launch("i-2", "db", 5);
    launch("i-3", "web", 90);
    let told = fleet(&site, &["rules", "--explain", "i-1", "i-2", "i-3"], 0);
    json::check("imprint-rotator rules --explain --json", &told.to_string());
    let may = |instance: usize| {
        let factories = told["instances"][instance]["factories"].as_array().unwrap();
        factories.iter().map(|one| one["may"].as_str().unwrap_or("-")).collect::<Vec<_>>()
    };
    assert_eq!([may(0), may(1), may(2)], [["web servers", "by tag"], ["-", "-"], ["-", "by tag"]], "{told}");
    ec2.set_state("i-1", "shutting-down");
    let ran = Ran::of(&mut site.fleet(&["rules", "--explain", "i-1", "i-9"])).expect(69);
    for say in
        ["i-1 (shutting-down): may not have db/factory: it is shutting-down", "i-9: EC2 does not know it"]
    {
        assert!(ran.out.contains(say), "{say}: {}", ran.out);
    }
    // The rotator's role may not ask EC2.
    let ran = Ran::of(&mut site.rotator(&["rules", "--explain", "i-1"])).expect(77);
    assert!(ran.err.contains("ec2:DescribeInstances"), "{}", ran.err);
}

/// A fleet in which something of everything is wrong, and then nothing any more.
#[test]
fn what_is_wrong_with_a_fleet_is_seen() {
    let site = published();
    site.set_rules(
        "[[rule]]\nname = \"web\"\nfactory = \"web/factory\"\ntags.Layer = [\"web\", \"db\"]\npin = true\n\
         [[rule]]\nname = \"db\"\nfactory = \"db/factory\"\npromote_from = \"web/factory\"\ntags.Layer = \"db\"\n",
    );
    let look = || {
        let seen = fleet(&site, &["status", "--hosts"], 0);
        let of = |factory: &str| {
            let part = part(&seen, factory);
            let lists = ["without_host", "without_instance", "unpinned", "unpromoted"];
            let length = |name| {
                part[name].as_array().map_or("-".to_owned(), |list: &Vec<Value>| list.len().to_string())
            };
            lists.map(length).join(" ")
        };
        (of("web/factory"), of("db/factory"), seen)
    };
    let ec2 = site.stack.ec2.service();
    let known = |id: &str, layer: &str| {
        let mut instance = Ec2Instance::running(id, "127.0.0.1");
        instance.tags.insert("Layer".to_owned(), layer.to_owned());
        instance.attached_at = Second::now().minus(Duration::from_secs(3600)).to_string();
        ec2.put(instance);
    };
    let [web, db, gone] = ["web"; 3].map(|layer| enrolled(&site, layer));
    known(&web.instance().id, "web");
    known(&db.instance().id, "db");
    ec2.forget(&gone.instance().id);
    known("i-0", "web");
    ec2.put(Ec2Instance::running("i-1", "10.0.0.9"));
    let (of_web, of_db, seen) = look();
    assert_eq!((of_web.as_str(), of_db.as_str()), ("1 1 2 -", "- 0 0 1"), "{seen}");
    json::check("imprint-rotator status --hosts --json", &seen.to_string());
    let part_of = part(&seen, "web/factory");
    assert_eq!(part_of["without_host"][0]["instance"], "i-0", "{seen}");
    assert_eq!(part_of["without_instance"][0]["host"], gone.host_id().as_str(), "{seen}");
    assert_eq!(part(&seen, "db/factory")["unpromoted"][0]["instance"], db.instance().id.as_str(), "{seen}");
    let table = Ran::of(&mut site.fleet(&["status", "--hosts", "--factory", "web/factory"])).expect(0);
    assert!(table.out.contains("web/factory: no host: i-0 (web)"), "{}", table.out);

    // By the rule alone, with no factory named: the one that is gone has no address to be tied to.
    let pinned = fleet(&site, &["pin"], 0);
    assert_eq!(pinned["factories"].as_array().unwrap().len(), 1, "{pinned}");
    assert_eq!(part(&pinned, "web/factory")["pinned"].as_array().unwrap().len(), 2, "{pinned}");
    ec2.set_state("i-0", "stopped");
    let _first = fleet(&site, &["decommission"], 0);
    let_time_pass(&site, "web/factory");
    let _second = fleet(&site, &["decommission"], 0);
    let mut only_web = Ec2Instance::running(&db.instance().id, "127.0.0.1");
    only_web.tags.insert("Layer".to_owned(), "web".to_owned());
    ec2.put(only_web);
    let (of_web, of_db, seen) = look();
    assert_eq!((of_web.as_str(), of_db.as_str()), ("0 0 0 -", "- 0 0 0"), "{seen}");

    // The rotator's role may not ask EC2.
    let ran = Ran::of(&mut site.rotator(&["status", "--hosts"])).expect(77);
    assert!(ran.err.contains("hint: allow the role ec2:DescribeInstances"), "{}", ran.err);
}

/// What Conjur answers to somebody at this address, and the answer's body.
pub(crate) fn from(site: &Place, address: &str, arguments: &[&str]) -> (String, String) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--write-out", "\n%{http_code}", "--cacert"]);
    curl.arg(site.ca_file()).args(arguments);
    if !address.is_empty() {
        curl.args(["--header", &format!("X-Forwarded-For: {address}")]);
    }
    // A thief reads what there is to read.
    let said = Ran::of_one_that_tells(&mut curl).expect(0).out;
    let (body, status) = said.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

/// A stranger has a token of the factory: he can take the host, and cannot use it.
#[test]
fn a_key_that_a_token_thief_rotated_logs_in_from_nowhere_else() {
    let site = published();
    let machine = enrolled(&site, "web");
    let url = site.stack.conjur.url();
    let host = machine.host_id();
    let login = format!("{url}/authn/demo/{}/authenticate", format!("host/{host}").replace('/', "%2F"));
    let log_in = |address: &str, key: &str| from(&site, address, &["--data-raw", key, &login]).0;
    let token = site.stack.conjur.service().tokens("web/factory")[0].token.clone();
    let steal = || {
        let header = format!("Authorization: Token token=\"{token}\"");
        let redeem = format!("{url}/host_factories/hosts");
        let asked = ["--header", &header, "--data-urlencode", &format!("id={host}"), &redeem];
        let (status, body) = from(&site, "203.0.113.7", &asked);
        assert_eq!(status, "201", "{body}");
        let reply: Value = serde_json::from_str(&body).unwrap();
        reply["api_key"].as_str().unwrap().to_owned()
    };
    assert_eq!(log_in("203.0.113.7", &steal()), "200", "without a pin the thief is the host");
    let _mine_again = Ran::of(&mut machine.imprint(&["enroll", "--again"])).expect(0);

    let dry = fleet(&site, &["pin", "--factory", "web/factory", "--dry-run"], 0);
    assert_eq!(part(&dry, "web/factory")["pinned"][0]["restricted_to"][0], "127.0.0.1/32", "{dry}");
    json::check("imprint-rotator pin --json", &dry.to_string());
    let pinned = fleet(&site, &["pin", "--factory", "web/factory"], 0);
    assert_eq!(part(&pinned, "web/factory")["pinned"][0]["host"], host.as_str(), "{pinned}");
    let _proved = Ran::of(&mut machine.imprint(&["verify"])).expect(0);
    let key = steal();
    assert_eq!(log_in("203.0.113.7", &key), "401", "with it, not from elsewhere");
    assert_eq!(log_in("", &key), "200", "and the key itself is a good one");
    let again = fleet(&site, &["pin", "--factory", "web/factory"], 0);
    assert_eq!(
        (&part(&again, "web/factory")["pinned"], &part(&again, "web/factory")["already"]),
        (&Value::Array(vec![]), &1.into())
    );

    // Its address changes: it is pinned anew, and loses nothing.
    let _mine_again = Ran::of(&mut machine.imprint(&["enroll", "--again"])).expect(0);
    site.stack.ec2.service().put(Ec2Instance::running(&machine.instance().id, "203.0.113.7"));
    let nobody = "i-0123456789abcdef9";
    let refused = Ran::of(&mut site.fleet(&["pin", "--factory", "web/factory", nobody])).expect(69);
    assert!(refused.err.contains(&format!("{nobody} has no host of web/factory")), "{}", refused.err);
    let moved = fleet(&site, &["pin", "--factory", "web/factory", &machine.instance().id], 0);
    assert_eq!(part(&moved, "web/factory")["pinned"][0]["restricted_to"][0], "203.0.113.7/32", "{moved}");
    assert_eq!(log_in("", &machine.identity().1), "401");
    assert_eq!(log_in("203.0.113.7", &machine.identity().1), "200");
}
