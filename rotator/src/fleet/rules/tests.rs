use super::*;
use crate::config::Config;
use crate::config::tests::GOOD;
use crate::fleet::host::Place;
use imprint_core::aws::ec2::{Instance, Life};
use imprint_core::second::Second;
use imprint_core::settings::Problems;
use proptest::prelude::*;
use std::collections::BTreeMap;
use zeroize::Zeroizing;

const HOUR: Duration = Duration::from_secs(3600);

pub(in crate::fleet) const NOW: i64 = 1_800_000_000;

/// The factories first, app/web and web (whose hosts lie where those of app/web do).
fn config() -> Config {
    let more = "[[factory]]\nid = \"first\"\nhosts_branch = \"first/hosts\"\n\
                [[factory]]\nid = \"web\"\nhosts_branch = \"app/hosts\"\n";
    Config::parse(&format!("{GOOD}{more}"), &|_| Ok(Zeroizing::default())).unwrap()
}

pub(in crate::fleet) fn rules(text: &str) -> Rules {
    Rules::parse(text, &config().factories).unwrap_or_else(|problems| panic!("{problems}\n{text}"))
}

/// A rule for app/web with these settings.
pub(in crate::fleet) fn rule(settings: &str) -> String {
    format!("[[rule]]\nname = \"one\"\nfactory = \"app/web\"\n{settings}\n")
}

pub(in crate::fleet) fn place() -> Place {
    Place { account_id: "123456789012".to_owned(), region: "eu-west-1".to_owned() }
}

/// An instance of which everything is known, for two hours.
pub(in crate::fleet) fn instance() -> Instance {
    let tags = [("Layer", "web"), ("Stage", "prod"), ("Empty", ""), ("aws:autoscaling:groupName", "web")];
    Instance {
        id: "i-1".parse().unwrap(),
        account_id: "123456789012".to_owned(),
        life: Life::Running,
        ami: Some("ami-0123456789abcdef0".to_owned()),
        subnet: Some("subnet-0123456789abcdef0".to_owned()),
        vpc: Some("vpc-01234567".to_owned()),
        instance_profile: Some("arn:aws:iam::123456789012:instance-profile/apps/web".to_owned()),
        addresses: vec!["10.0.0.1".parse().unwrap()],
        attached_at: Some(Second::from_unix(NOW).minus(2 * HOUR)),
        tags: tags.map(|(key, value)| (key.to_owned(), value.to_owned())).into(),
    }
}

fn matches(rules: &Rules, instance: &Instance) -> bool {
    let factory = "app/web".parse().unwrap();
    rules.judge(&factory, instance, &place(), Second::from_unix(NOW)).rule().is_some()
}

/// Conditions that all hold for `instance()`, each beside one that does not.
const CONDITIONS: [(&str, &str); 12] = [
    ("account = [\"123456789012\"]", "account = [\"210987654321\"]"),
    ("region = [\"us-gov-west-1\", \"eu-west-1\"]", "region = [\"eu-west-2\"]"),
    ("ami = [\"ami-00000000\", \"ami-0123456789abcdef0\"]", "ami = [\"ami-00000000\"]"),
    ("subnet = [\"subnet-0123456789abcdef0\"]", "subnet = [\"subnet-0123456789abcdef1\"]"),
    ("vpc = [\"vpc-01234567\"]", "vpc = [\"vpc-01234568\"]"),
    ("instance_profile = [\"web\"]", "instance_profile = [\"apps\", \"we\", \"eb\"]"),
    (
        "instance_profile = [\"arn:aws:iam::123456789012:instance-profile/apps/web\"]",
        "instance_profile = [\"arn:aws:iam::123456789012:instance-profile/web\"]",
    ),
    ("tags.Layer = [\"db\", \"web\"]", "tags.Layer = \"WEB\""),
    ("tags = { Stage = \"prod\", Layer = \"web\" }", "tags = { Stage = \"prod\", Layer = \"db\" }"),
    ("tags.Empty = \"\"", "tags.Absent = \"\""),
    ("younger_than = \"2h1s\"", "younger_than = \"2h\""),
    ("older_than = \"2h\"", "older_than = \"2h1s\""),
];

/// Whatever else a rule needs to be one.
fn with_all_instances(condition: &str) -> String {
    let tells = ["ami", "subnet", "vpc", "instance_profile", "tags"];
    let every =
        if tells.iter().any(|name| condition.starts_with(name)) { "" } else { "every_instance = true\n" };
    rule(&format!("{every}{condition}"))
}

#[test]
fn each_condition() {
    for (holds, fails) in CONDITIONS {
        assert!(matches(&rules(&with_all_instances(holds)), &instance()), "{holds}");
        assert!(!matches(&rules(&with_all_instances(fails)), &instance()), "{fails}");
    }
    assert!(matches(&rules(&rule("every_instance = true")), &instance()));
}

#[test]
fn why_it_is_so() {
    let text = rule(
        "ami = [\"ami-0123456789abcdef0\"]\ntags = { Layer = [\"web\", \"db\"], No = \"x\" }\nyounger_than = \"1h\"",
    );
    let rules = rules(&text);
    let verdict = rules.judge(&"app/web".parse().unwrap(), &instance(), &place(), Second::from_unix(NOW));
    let said: Vec<String> = verdict.rules[0]
        .conditions
        .iter()
        .map(|one| format!("{}: {:?} {}", one.condition, one.found.as_deref(), one.holds))
        .collect();
    assert_eq!(
        said,
        [
            "ami ami-0123456789abcdef0: Some(\"ami-0123456789abcdef0\") true",
            "tags.Layer \"web\" or \"db\": Some(\"web\") true",
            "tags.No \"x\": None false",
            "younger_than 1h: Some(\"2h\") false",
        ]
    );
    assert!(verdict.rule().is_none() && verdict.never.is_none());
}

#[test]
fn who_never_may() {
    let every = rules(&rule("every_instance = true\npin = true"));
    let check = |change: fn(&mut Instance), never: Option<Never>| {
        let mut instance = instance();
        change(&mut instance);
        let (factory, now) = ("app/web".parse().unwrap(), Second::from_unix(NOW));
        let verdict = every.judge(&factory, &instance, &place(), now);
        assert_eq!(
            (verdict.never, verdict.rule().is_none(), verdict.pins()),
            (never, never.is_some(), never.is_none())
        );
    };
    check(|_| {}, None);
    check(|it| it.life = Life::Pending, None);
    check(|it| it.life = Life::Stopping, None);
    check(|it| it.life = Life::Stopped, None);
    check(|it| it.life = Life::ShuttingDown, Some(Never::Ended(Life::ShuttingDown)));
    check(|it| it.life = Life::Terminated, Some(Never::Ended(Life::Terminated)));
    check(|it| it.account_id = "210987654321".to_owned(), Some(Never::OfAnother));
    let nobody = Rules::default();
    assert!(nobody.is_empty() && !matches(&nobody, &instance()), "without rules nobody may");
    let (other, now) = ("first".parse().unwrap(), Second::from_unix(NOW));
    assert!(every.judge(&other, &instance(), &place(), now).rule().is_none(), "another factory's rule");
}

#[test]
fn the_first_that_matches() {
    let text = "[[rule]]\nname = \"no\"\nfactory = \"app/web\"\nvpc = [\"vpc-00000000\"]\npin = true\n\
                [[rule]]\nname = \"other\"\nfactory = \"first\"\nvpc = [\"vpc-01234567\"]\n\
                [[rule]]\nname = \"yes\"\nfactory = \"app/web\"\nvpc = [\"vpc-01234567\"]\n\
                [[rule]]\nname = \"too\"\nfactory = \"app/web\"\ntags.Layer = \"web\"\npromote_from = \"first\"\npin = true\n";
    let rules = rules(text);
    let verdict = rules.judge(&"app/web".parse().unwrap(), &instance(), &place(), Second::from_unix(NOW));
    assert_eq!(verdict.rules.iter().map(Judged::matches).collect::<Vec<_>>(), [false, true, true]);
    assert_eq!(verdict.rule().map(|rule| rule.name.as_str()), Some("yes"));
    assert!(verdict.pins(), "any rule that matches may pin");
    assert_eq!(verdict.rule_so_far(), verdict.rule());
    let alone: Vec<bool> = rules.iter().map(Rule::rests_on_tags_alone).collect();
    assert_eq!(alone, [false, false, false, true]);
}

#[test]
fn what_rests_on_tags_alone() {
    let check = |settings: &str, alone: bool| {
        let rules = rules(&rule(settings));
        assert_eq!(rules.iter().map(Rule::rests_on_tags_alone).collect::<Vec<_>>(), [alone], "{settings}");
    };
    check("tags.Layer = \"web\"", true);
    check("tags.Layer = \"web\"\nyounger_than = \"1h\"\naccount = [\"123456789012\"]", true);
    check("tags.Layer = \"web\"\ninstance_profile = [\"web\"]", false);
    check("tags.\"aws:autoscaling:groupName\" = \"web\"", false);
    check("every_instance = true", false);
}

/// An instance that has grown too old for a rule is looked after all the same; one of no known age, or not old
/// enough yet, never was.
#[test]
fn what_has_matched_when_it_was_younger() {
    let check = |settings: &str, attached: Option<i64>, so_far: bool| {
        let rules = rules(&rule(&format!("pin = true\nvpc = [\"vpc-01234567\"]\n{settings}")));
        let attached_at = attached.map(|ago| Second::from_unix(NOW - ago));
        let instance = Instance { attached_at, ..instance() };
        let (factory, now) = ("app/web".parse().unwrap(), Second::from_unix(NOW));
        let verdict = rules.judge(&factory, &instance, &place(), now);
        assert_eq!((verdict.rule_so_far().is_some(), verdict.pins()), (so_far, so_far), "{settings}");
        assert!(verdict.rule().is_none(), "{settings}");
    };
    check("younger_than = \"1h\"", Some(7200), true);
    check("younger_than = \"1h\"", None, false);
    check("younger_than = \"1h\"\nami = [\"ami-00000000\"]", Some(7200), false);
    check("older_than = \"3h\"", Some(7200), false);
}

/// A clock that is a little ahead of ours, and one that has told nothing.
#[test]
fn ages() {
    let check = |attached: Option<i64>, younger: bool, older: bool| {
        let instance = Instance { attached_at: attached.map(|at| Second::from_unix(NOW - at)), ..instance() };
        let of = |setting: &str| rules(&rule(&format!("every_instance = true\n{setting} = \"1h\"")));
        assert_eq!(matches(&of("younger_than"), &instance), younger, "{attached:?}");
        assert_eq!(matches(&of("older_than"), &instance), older, "{attached:?}");
    };
    check(Some(3599), true, false);
    check(Some(3600), false, true);
    check(Some(0), true, false);
    check(Some(-30), true, false);
    check(None, false, false);
}

fn check(text: &str, problems: &[&str]) {
    let found = match Rules::parse(text, &config().factories) {
        Ok(_) => Vec::new(),
        Err(Problems(problems)) => problems.iter().map(ToString::to_string).collect(),
    };
    assert_eq!(found, problems, "{text}");
}

#[test]
fn everything_that_is_wrong_at_once() {
    check(
        "[[rule]]\nname = \" \"\nfactory = \"none\"\npromote_from = \"web\"\npin = 1\naccount = [\"12345\"]\nregion = [\"Europe\", \"eu-west\"]\n\
         ami = [\"ami-xyz\"]\nsubnet = \"subnet-0123456789abcdef0\"\nvpc = []\ninstance_profile = [\"a b\", \"arn:aws:iam::1:instance-profile/web\"]\n\
         tags = { \"\" = \"x\", Layer = [1] }\nyounger_than = \"0s\"\nolder_than = \"soon\"\nrole = \"web\"\n",
        &[
            "line 2: rule.name: must be 1 to 80 characters, without control characters or spaces at its ends",
            "line 3: rule.factory: none is no [[factory]] of the configuration",
            "line 5: rule.pin: must be true or false, not a whole number",
            "line 6: rule.account: item 1: must be an AWS account's 12 digits",
            "line 7: rule.region: item 1: must be a region such as eu-west-1",
            "line 7: rule.region: item 2: must be a region such as eu-west-1",
            "line 8: rule.ami: item 1: must be an image's id such as ami-0123456789abcdef0",
            "line 9: rule.subnet: must be a list in [ ], not a text",
            "line 10: rule.vpc: is empty, so that no instance ever matches",
            "line 11: rule.instance_profile: item 1: must be an instance profile's name, or its ARN such as arn:aws:iam::123456789012:instance-profile/web",
            "line 11: rule.instance_profile: item 2: must be an instance profile's name, or its ARN such as arn:aws:iam::123456789012:instance-profile/web",
            "line 12: rule.tags.: a tag's key must be 1 to 128 characters, without control characters",
            "line 12: rule.tags.Layer: item 1: must be a text in quotes, not a whole number",
            "line 13: rule.younger_than: must be longer than nothing",
            "line 14: rule.older_than: must be a span such as \"15m\" or \"1d12h\", of at most 3650d",
            "line 15: rule.role is not a known setting",
        ],
    );
}

#[test]
fn one_fault_each() {
    check("", &["rule is missing"]);
    check("rule = []\n", &["line 1: rule: is empty, so that nobody may have anything; leave rules_file out"]);
    check("[rule]\nname = \"x\"\n", &["line 1: rule: must be sections [[rule]], not a section"]);
    check(
        "more = 1\n[[rule]]\nname = \"a\"\nfactory = \"web\"\nevery_instance = true\n",
        &["line 1: more is not a known setting"],
    );
    let nothing = "rule.every_instance: nothing says which instances the rule is for: ami, subnet, vpc, instance_profile or tags; \
                   if it is really for all of them, say every_instance = true";
    check(&rule(""), &[&format!("line 1: {nothing}")]);
    check(&rule("younger_than = \"1h\"\nregion = [\"eu-west-1\"]"), &[&format!("line 1: {nothing}")]);
    check(&rule("every_instance = false"), &[&format!("line 4: {nothing}")]);
    check(
        &rule("every_instance = true\ntags.Layer = \"web\""),
        &[
            "line 4: rule.every_instance: stands beside what tells instances from others (ami, subnet, vpc, instance_profile, tags)",
        ],
    );
    check(&rule("ami = [\"ami-00000000\", \"ami-00000000\"]"), &["line 4: rule.ami: item 2: is there twice"]);
    check(&rule("tags.Layer = [\"a\", \"b\", \"a\"]"), &["line 4: rule.tags.Layer: item 3: is there twice"]);
    check(&rule("tags.Layer = []"), &["line 4: rule.tags.Layer: is empty, so that no instance ever matches"]);
    check(&rule("tags = {}"), &["line 4: rule.tags: is empty; leave it out"]);
    check(&rule("tags = 1"), &["line 4: rule.tags: must be a section [rule.tags], not a whole number"]);
    check(
        &rule("vpc = [\"vpc-00000000\"]\nyounger_than = \"1h\"\nolder_than = \"1h\""),
        &["line 6: rule.older_than: must be shorter than younger_than, or no instance ever matches"],
    );
    check(
        &rule("vpc = [\"vpc-00000000\"]\npromote_from = \"app/web\""),
        &["line 5: rule.promote_from: is app/web itself; a host is promoted from another factory"],
    );
    check(
        &rule("vpc = [\"vpc-00000000\"]\npromote_from = \"web\""),
        &[
            "line 5: rule.promote_from: web and app/web have both hosts_branch app/hosts, where a host can be of one of them alone",
        ],
    );
    let long = "x".repeat(257);
    check(
        &rule(&format!("tags.Layer = \"{long}\"")),
        &[
            "line 4: rule.tags.Layer: a tag's value must be at most 256 characters, without control characters",
        ],
    );
    let many: String = (0..51).map(|n| format!("tags.t{n} = \"\"\n")).collect();
    check(&rule(&many), &["line 4: rule.tags: has 51 tags; no instance has more than 50"]);
    let many: Vec<String> = (0..201).map(|n| format!("\"vpc-{n:08x}\"")).collect();
    check(
        &rule(&format!("vpc = [{}]", many.join(", "))),
        &["line 4: rule.vpc: has 201 items; at most 200 are taken"],
    );
}

#[test]
fn how_rules_go_together() {
    let two = |one: &str, other: &str| format!("{}[[rule]]\n{other}", rule(one));
    check(
        &two("vpc = [\"vpc-00000000\"]", "name = \"one\"\nfactory = \"first\"\nvpc = [\"vpc-00000000\"]\n"),
        &["line 6: rule.name: a rule before is called \"one\" too"],
    );
    check(
        &two(
            "vpc = [\"vpc-00000000\"]",
            "name = \"two\"\nfactory = \"app/web\"\nvpc = [\"vpc-00000000\"]\npin = true\n",
        ),
        &["line 7: rule.factory: the rule \"one\" has it for the very same instances"],
    );
    let first = "vpc = [\"vpc-00000000\"]\npromote_from = \"first\"";
    let back = "name = \"two\"\nfactory = \"first\"\npromote_from = \"app/web\"\nvpc = [\"vpc-00000001\"]\n";
    check(
        &two(first, back),
        &[
            "line 8: rule.factory: the rule \"one\" promotes from first; hosts are promoted once",
            "line 9: rule.promote_from: the rule \"one\" promotes to app/web; hosts are promoted once",
        ],
    );
    check(&two(first, "name = \"two\"\nfactory = \"first\"\nvpc = [\"vpc-00000001\"]\n"), &[]);
}

#[test]
fn so_large_and_no_larger() {
    let one = |n: usize| format!("[[rule]]\nname = \"{n}\"\nfactory = \"web\"\nvpc = [\"vpc-{n:08x}\"]\n");
    let many = |count: usize| (0..count).map(one).collect::<String>();
    assert_eq!(rules(&many(500)).iter().count(), 500);
    check(&many(501), &["line 1: rule: there are 501; at most 500 are taken"]);
    let large = " ".repeat(LARGEST + 1);
    check(&large, &[&format!("it has {} bytes; at most {LARGEST} are read", LARGEST + 1)]);
}

#[test]
fn the_file_that_the_configuration_names() {
    let named = format!("{}[fleet]\nrules_file = \"rules.toml\"\n", GOOD);
    let with = |text: &'static str| {
        Config::parse(&named, &move |path| {
            assert_eq!(path.to_str(), Some("rules.toml"));
            Ok(Zeroizing::new(text.to_owned()))
        })
    };
    let good = "[[rule]]\nname = \"one\"\nfactory = \"app/web\"\nvpc = [\"vpc-00000000\"]\n";
    assert_eq!(with(good).unwrap().fleet.rules.iter().count(), 1);
    let wrong = "[[rule]]\nname = \"one\"\nfactory = \"no\"\nami = [\"x\"]\n";
    let Problems(problems) = with(wrong).unwrap_err();
    assert_eq!(
        problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        [
            "line 14: fleet.rules_file: rules.toml: line 3: rule.factory: no is no [[factory]] of the configuration",
            "line 14: fleet.rules_file: rules.toml: line 4: rule.ami: item 1: must be an image's id such as ami-0123456789abcdef0",
        ]
    );
    assert!(Config::parse(GOOD, &|_| Ok(Zeroizing::default())).unwrap().fleet.rules.is_empty());
}

/// What may be known or not: each bit of `known` leaves a fact as it is.
fn partly(known: u8) -> Instance {
    let mut it = instance();
    let hide = |bit: u8| known & (1 << bit) == 0;
    it.ami = it.ami.filter(|_| !hide(0));
    it.subnet = it.subnet.filter(|_| !hide(1));
    it.vpc = it.vpc.filter(|_| !hide(2));
    it.instance_profile = it.instance_profile.filter(|_| !hide(3));
    it.attached_at = it.attached_at.filter(|_| !hide(4));
    if hide(5) {
        it.tags = BTreeMap::new();
    }
    it
}

fn any_rules() -> impl Strategy<Value = Rules> {
    // Every condition from the file, read on its own, then put together at random.
    let pool: Vec<Condition> = CONDITIONS
        .iter()
        .flat_map(|(holds, fails)| [holds, fails])
        .flat_map(|one| rules(&with_all_instances(one)).0.remove(0).conditions)
        .collect();
    let conditions = proptest::collection::vec(proptest::sample::select(pool), 0..5);
    let rule = (conditions, any::<bool>()).prop_map(|(conditions, pin)| Rule {
        name: "any".to_owned(),
        factory: "app/web".parse().unwrap(),
        promote_from: None,
        pin,
        conditions,
    });
    proptest::collection::vec(rule, 0..5).prop_map(Rules)
}

fn any_life() -> impl Strategy<Value = Life> {
    let lives = ["pending", "running", "shutting-down", "stopped", "stopping", "terminated"];
    proptest::sample::select(lives.to_vec()).prop_map(|life| Life::named(life).unwrap())
}

proptest! {
    /// A fact that is missing never grants what the whole would not.
    #[test]
    fn knowing_less_never_grants(rules in any_rules(), known in any::<u8>(), less in any::<u8>(), life in any_life()) {
        let of = |known| Instance { life, ..partly(known) };
        let (more, less) = (of(known), of(known & less));
        prop_assert!(!matches(&rules, &less) || matches(&rules, &more));
    }

    /// One condition less, or one rule more, never takes a match away.
    #[test]
    fn asking_less_never_refuses(rules in any_rules(), known in any::<u8>(), which in any::<proptest::sample::Index>(), more in any_rules()) {
        let instance = partly(known);
        let before = matches(&rules, &instance);
        let mut fewer = rules.clone();
        for rule in &mut fewer.0 {
            if !rule.conditions.is_empty() {
                let at = which.index(rule.conditions.len());
                rule.conditions.remove(at);
            }
        }
        prop_assert!(!before || matches(&fewer, &instance));
        let both = Rules(rules.0.iter().chain(&more.0).cloned().collect());
        prop_assert_eq!(matches(&both, &instance), before || matches(&more, &instance));
    }

    /// Who is ending, or another account's, may nothing, whatever the rules say.
    #[test]
    fn the_dead_and_the_strange_never_match(rules in any_rules(), life in any_life(), other in any::<bool>()) {
        let account_id = if other { "210987654321" } else { "123456789012" }.to_owned();
        let gone = matches!(life, Life::ShuttingDown | Life::Terminated);
        let instance = Instance { life, account_id, ..instance() };
        prop_assert!(!(gone || other) || !matches(&rules, &instance));
    }

    /// A match is a rule all of whose conditions are met: told by `check` alone, one by one.
    #[test]
    fn a_match_explains_itself(rules in any_rules(), known in any::<u8>()) {
        let (factory, now) = ("app/web".parse().unwrap(), Second::from_unix(NOW));
        let instance = partly(known);
        let verdict = rules.judge(&factory, &instance, &place(), now);
        for judged in &verdict.rules {
            for one in &judged.conditions {
                prop_assert!(one.found.is_some() || !one.holds);
            }
        }
        let first = verdict.rules.iter().find(|judged| judged.conditions.iter().all(|one| one.holds));
        prop_assert_eq!(verdict.rule(), first.map(|judged| judged.rule));
    }

    #[test]
    fn noise_never_panics(noise in "\\PC{0,200}", setting in "[a-z_]{1,16} = (\"\\PC{0,20}\"|\\[\"\\PC{0,20}\"\\]|[0-9]{1,3}|\\{[a-z]{0,3}=[0-9]\\})") {
        let factories = config().factories;
        for text in [noise.clone(), rule(&noise), rule(&setting)] {
            if let Err(Problems(problems)) = Rules::parse(&text, &factories) {
                prop_assert!(!problems.is_empty());
            }
        }
    }
}
