//! What the rules say of which instance. What a file of them may hold is in `reading`.

mod reading;

use super::*;
use crate::config::Config;
use crate::config::tests::GOOD;
use crate::fleet::host::Place;
use imprint_core::aws::ec2::{Filter, Instance, Life};
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
    assert_eq!(verdict.rules_so_far().next(), verdict.rule());
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
        assert_eq!((verdict.rules_so_far().next().is_some(), verdict.pins()), (so_far, so_far), "{settings}");
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

/// EC2's filters, to the letter: no more and no less than these are made.
fn takes(filter: &Filter, instance: &Instance) -> bool {
    let found = match filter.name.as_str() {
        "instance-state-name" => Some(instance.life.as_str()),
        "image-id" => instance.ami.as_deref(),
        "subnet-id" => instance.subnet.as_deref(),
        "vpc-id" => instance.vpc.as_deref(),
        "iam-instance-profile.arn" => instance.instance_profile.as_deref(),
        tag => instance.tags.get(tag.strip_prefix("tag:").unwrap()).map(String::as_str),
    };
    assert!(
        filter.values.iter().all(|value| !value.is_empty() && !value.contains(['*', '?', '\\'])),
        "{filter:?}"
    );
    found.is_some_and(|found| filter.values.iter().any(|value| value == found))
}

#[test]
fn what_ec2_is_asked_for() {
    let text = "[[rule]]\nname = \"1\"\nfactory = \"web\"\nvpc = [\"vpc-00000001\"]\ntags = { Layer = \"web\", Odd = \"*\" }\nyounger_than = \"1h\"\n\
                [[rule]]\nname = \"2\"\nfactory = \"first\"\nvpc = [\"vpc-00000001\"]\ntags.Layer = \"web\"\n\
                [[rule]]\nname = \"3\"\nfactory = \"web\"\nami = [\"ami-00000001\"]\nregion = [\"eu-west-2\"]\n\
                [[rule]]\nname = \"4\"\nfactory = \"first\"\ninstance_profile = [\"web\"]\n";
    let asked = |which: &[&str]| {
        let words = |filter: &Filter| format!("{}={}", filter.name, filter.values.join("|"));
        let listings = rules(text).listings(&place(), |rule| which.contains(&rule.name.as_str()));
        let lists = listings.iter().map(|filters| filters.iter().map(words).collect::<Vec<_>>().join(" "));
        lists.collect::<Vec<_>>()
    };
    // Two that mean the same are asked for once, and those of another region not at all.
    assert_eq!(asked(&["1", "2", "3"]), ["instance-state-name=running vpc-id=vpc-00000001 tag:Layer=web"]);
    assert_eq!(asked(&["1", "4"]), ["instance-state-name=running"], "who reads all has read them");
    assert!(asked(&["3"]).is_empty());
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

    /// Nobody whom a rule means is missing from what EC2 is asked for.
    #[test]
    fn a_listing_lacks_nobody_who_matches(rules in any_rules(), known in any::<u8>()) {
        let instance = partly(known);
        let listings = rules.listings(&place(), |_| true);
        let listed = listings.iter().any(|filters| filters.iter().all(|filter| takes(filter, &instance)));
        prop_assert!(listed || !matches(&rules, &instance), "{listings:?}");
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
