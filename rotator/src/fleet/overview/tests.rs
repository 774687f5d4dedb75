use super::*;
use crate::config::Config;
use crate::config::tests::GOOD;
use crate::fleet::memory::Pin;
use zeroize::Zeroizing;

const NOW: i64 = 1_800_000_000;

/// Of a factory that no rule speaks of.
const REST: &str = "lacks ?, waits ?";

/// `app/web` is enrolled with at first, `db` is promoted to from there, `alone` is nobody's.
const RULES: &str = "[[rule]]\nname = \"web\"\nfactory = \"app/web\"\nvpc = [\"vpc-00000001\"]\nyounger_than = \"1h\"\n\
                     [[rule]]\nname = \"db\"\nfactory = \"db\"\npromote_from = \"app/web\"\ntags.Layer = \"db\"\npin = true\n";

fn config(rules: &'static str) -> Config {
    let more = "[[factory]]\nid = \"db\"\nhosts_branch = \"db/hosts\"\n\
                [[factory]]\nid = \"alone\"\nhosts_branch = \"alone\"\npin = true\n[fleet]\n";
    let named = if rules.is_empty() { "" } else { "rules_file = \"rules.toml\"\n" };
    let text = format!("{GOOD}{more}{named}");
    Config::parse(&text, &|_| Ok(Zeroizing::new(rules.to_owned()))).unwrap()
}

fn place() -> Place {
    Place { account_id: "123456789012".to_owned(), region: "eu-west-1".to_owned() }
}

fn second(ago: i64) -> Second {
    Second::from_unix(NOW - ago)
}

/// One that runs for two hours, in the VPC that is enrolled in.
fn instance(name: &str) -> Instance {
    Instance {
        id: name.parse().unwrap(),
        account_id: "123456789012".to_owned(),
        life: Life::Running,
        ami: None,
        subnet: None,
        vpc: Some("vpc-00000001".to_owned()),
        instance_profile: None,
        addresses: vec!["10.0.0.5".parse().unwrap()],
        attached_at: Some(second(7200)),
        tags: BTreeMap::new(),
    }
}

fn db(name: &str) -> Instance {
    Instance { tags: [("Layer".to_owned(), "db".to_owned())].into(), ..instance(name) }
}

fn host(branch: &str, name: &str) -> Host {
    let id = format!("{branch}/123456789012/eu-west-1/{name}").parse().unwrap();
    Host { id, instance: name.parse().unwrap() }
}

/// What is seen, in words: of `app/web`, `db` and `alone`, each with the hosts of these instances.
fn check(rules: &'static str, hosts: [&[&str]; 3], known: &[Instance], memory: &Memory, wanted: [&str; 3]) {
    let config = config(rules);
    let known: BTreeMap<InstanceId, Instance> =
        known.iter().map(|one| (one.id.clone(), one.clone())).collect();
    let look = |(factory, names): (&Factory, &[&str])| {
        let branch = factory.hosts_branch.as_str();
        let hosts: Vec<Host> = names.iter().map(|name| host(branch, name)).collect();
        let its = |one: &&Instance| hosts.iter().any(|host| host.instance == one.id);
        let instances = known.values().filter(its).map(|one| (one.id.clone(), one.clone())).collect();
        (factory.id.clone(), Looked::new(hosts, 0, instances, memory.clone()))
    };
    let looked = config.factories.iter().zip(hosts).map(look).collect();
    let (place, rules) = (place(), &config.fleet.rules);
    let facts = Facts { place: &place, rules, looked: &looked, running: &known, now: second(0) };
    let said: Vec<String> =
        config.factories.iter().map(|factory| words(&overview(factory, &facts).unwrap())).collect();
    // No rule promotes to app/web, and none enrolls in db at first.
    let told = |said: &str, never: &str| said.replace(never, "").trim_matches([',', ' ']).replace(", ,", ",");
    let said = match (rules.is_empty(), said.as_slice()) {
        (false, [web, db, alone]) => [told(web, "waits ?"), told(db, "lacks ?"), alone.clone()].to_vec(),
        _ => said,
    };
    assert_eq!(said, wanted);
}

fn words(seen: &Overview) -> String {
    let by_rule = |list: &Option<Vec<(InstanceId, String)>>| match list {
        None => "?".to_owned(),
        Some(list) => list.iter().map(|(id, rule)| format!("{id}:{rule}")).collect::<Vec<_>>().join(" "),
    };
    let short = |id: &HostId| id.as_str().rsplit('/').next().unwrap_or_default().to_owned();
    let gone = seen.without_instance.iter().map(|(host, since)| {
        let since = since.map(|since| format!("@{}", NOW - since.unix())).unwrap_or_default();
        format!("{}{since}", short(&host.id))
    });
    let parts = [
        ("lacks", by_rule(&seen.without_host)),
        ("gone", gone.collect::<Vec<_>>().join(" ")),
        ("loose", seen.unpinned.iter().map(short).collect::<Vec<_>>().join(" ")),
        ("coming", if seen.on_their_way > 0 { seen.on_their_way.to_string() } else { String::new() }),
        ("waits", by_rule(&seen.unpromoted)),
    ];
    let there = parts.into_iter().filter(|(_, text)| !text.is_empty());
    there.map(|(name, text)| format!("{name} {text}")).collect::<Vec<_>>().join(", ")
}

#[test]
fn who_should_have_a_host_and_has_none() {
    let nothing = Memory::default();
    let of = |hosts, known: &[Instance], wanted: [&str; 3]| check(RULES, hosts, known, &nothing, wanted);
    // Although it is too old for the rule by now: nobody else says that it failed.
    of([&[], &[], &[]], &[instance("i-1")], ["lacks i-1:web", "", REST]);
    of([&["i-1"], &[], &[]], &[instance("i-1")], ["", "", REST]);
    // Where it does not match, or does not run, nobody expects one.
    let elsewhere = Instance { vpc: Some("vpc-00000002".to_owned()), ..instance("i-1") };
    of([&[], &[], &[]], &[elsewhere], ["", "", REST]);
    let stopped = Instance { life: Life::Stopped, ..instance("i-1") };
    of([&[], &[], &[]], &[stopped], ["", "", REST]);
    // The young are on their way, until a quarter of an hour after their launch.
    let young = |ago| Instance { attached_at: Some(second(ago)), ..instance("i-1") };
    of([&[], &[], &[]], &[young(899)], ["coming 1", "", REST]);
    of([&[], &[], &[]], &[young(900)], ["lacks i-1:web", "", REST]);
}

#[test]
fn who_should_be_promoted_and_is_not() {
    let nothing = Memory::default();
    let of = |hosts, known: &[Instance], wanted: [&str; 3]| check(RULES, hosts, known, &nothing, wanted);
    of([&["i-1"], &[], &[]], &[db("i-1")], ["", "waits i-1:db", REST]);
    of([&[], &["i-1"], &[]], &[db("i-1")], ["", "loose i-1", REST]);
    // Nothing of it is left: it must enroll at first. It is told once.
    of([&[], &[], &[]], &[db("i-1")], ["lacks i-1:web", "", REST]);
    // The same where no rule but that of the promotion speaks of the first factory.
    let elsewhere = Instance { vpc: None, ..db("i-1") };
    of([&[], &[], &[]], &[elsewhere], ["lacks i-1:db", "", REST]);
}

#[test]
fn whose_instance_is_gone() {
    let mut memory = Memory::default();
    memory.missing.insert(host("app/hosts", "i-2").id, second(60));
    memory.missing.insert(host("app/hosts", "i-1").id, second(60));
    let gone = Instance { life: Life::Terminated, ..instance("i-1") };
    let ends = Instance { life: Life::ShuttingDown, ..instance("i-4") };
    let known = [gone, ends];
    check(
        RULES,
        [&["i-1", "i-2", "i-3", "i-4"], &[], &[]],
        &known,
        &memory,
        ["gone i-1 i-2@60 i-3", "", REST],
    );
}

#[test]
fn who_is_not_pinned_though_it_should_be() {
    let of = |pin: Option<(&str, i64)>, known: Instance, wanted: &str| {
        let mut memory = Memory::default();
        if let Some((to, ago)) = pin {
            let pin = Pin { to: vec![to.parse().unwrap()], at: second(ago) };
            memory.pinned =
                ["app/hosts", "db/hosts", "alone"].map(|at| (host(at, "i-1").id, pin.clone())).into();
        }
        let wanted =
            [String::new(), wanted.to_owned(), format!("lacks ?, {wanted}, waits ?").replace(", , ", ", ")];
        let hosts: [&[&str]; 3] = [&["i-1"], &["i-1"], &["i-1"]];
        check(RULES, hosts, &[known], &memory, wanted.each_ref().map(String::as_str));
    };
    // By a rule, and since the factory says so; app/web asks for no pin.
    of(None, db("i-1"), "loose i-1");
    of(Some(("10.0.0.5/32", 0)), db("i-1"), "");
    of(Some(("10.0.0.6/32", 0)), db("i-1"), "loose i-1");
    // Pinned anew every six hours, while anybody does; a time that lies ahead is none.
    of(Some(("10.0.0.5/32", 7 * 3600 - 1)), db("i-1"), "");
    of(Some(("10.0.0.5/32", 7 * 3600)), db("i-1"), "loose i-1");
    of(Some(("10.0.0.5/32", -60)), db("i-1"), "loose i-1");
    of(None, Instance { attached_at: Some(second(60)), ..db("i-1") }, "coming 1");
    of(None, Instance { life: Life::ShuttingDown, ..db("i-1") }, "");
}

#[test]
fn without_rules_only_hosts_are_looked_at() {
    let known = [instance("i-1"), instance("i-2")];
    check(
        "",
        [&["i-1", "i-9"], &[], &[]],
        &known,
        &Memory::default(),
        ["lacks ?, gone i-9, waits ?", REST, REST],
    );
}

#[test]
fn what_was_not_looked_at_is_not_told() {
    let (config, place, looked, running) = (config(RULES), place(), BTreeMap::new(), BTreeMap::new());
    let rules = &config.fleet.rules;
    let facts = Facts { place: &place, rules, looked: &looked, running: &running, now: second(0) };
    assert_eq!(overview(&config.factories[0], &facts), None);
}
