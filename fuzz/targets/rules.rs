//! The rules file: any text ends in rules or in problems, each one line that points into the text. And an
//! instance of which EC2 tells nothing matches no rule that wants anything of it.

#![no_main]

use imprint_core::aws::ec2::{Instance, Life};
use imprint_core::second::Second;
use imprint_rotator::config::{Config, Factory};
use imprint_rotator::fleet::host::Place;
use imprint_rotator::fleet::rules::{Condition, Rules};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::LazyLock;
use zeroize::Zeroizing;

/// Those of the rotator's seed that its rules speak of.
static FACTORIES: LazyLock<Vec<Factory>> = LazyLock::new(|| {
    let text = include_str!("../seeds/rotator_config/shipped.toml").replace("ca_file", "# ca_file");
    let text = text + "\n[[factory]]\nid = \"db/factory\"\nhosts_branch = \"db/hosts\"\n";
    Config::parse(&text, &|_: &Path| Ok(Zeroizing::default()))
        .expect("the shipped configuration is good")
        .factories
});

fuzz_target!(|data: &str| {
    let lines = data.matches('\n').count() + 1;
    match Rules::parse(data, &FACTORIES) {
        Ok(rules) => {
            let (place, unknown) = unknown();
            for factory in FACTORIES.iter() {
                let verdict = rules.judge(&factory.id, &unknown, &place, Second::from_unix(1_800_000_000));
                if let Some(rule) = verdict.rule() {
                    let told = |one: &Condition| matches!(one, Condition::Account(_) | Condition::Region(_));
                    assert!(rule.is_for_every_instance() && rule.conditions.iter().all(told), "{rule:?}");
                }
            }
        }
        Err(problems) => {
            assert!(!problems.0.is_empty());
            for problem in &problems.0 {
                assert!(problem.line.is_none_or(|line| (1..=lines).contains(&line)), "{problem}");
                assert!(!problem.to_string().contains('\n'), "{problem}");
            }
        }
    }
});

fn unknown() -> (Place, Instance) {
    let account_id = "123456789012".to_owned();
    let place = Place { account_id: account_id.clone(), region: "eu-west-1".to_owned() };
    let instance = Instance {
        id: "i-0".parse().expect("it is an instance's id"),
        account_id,
        life: Life::Running,
        ami: None,
        subnet: None,
        vpc: None,
        instance_profile: None,
        addresses: Vec::new(),
        attached_at: None,
        tags: BTreeMap::new(),
    };
    (place, instance)
}
