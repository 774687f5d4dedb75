//! Which files are taken, and every problem of the others, at its line.

use super::*;

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
