//! From the TOML text of a rules file to [`Rules`], checked against the factories of the configuration. All
//! problems are told at once, each with its line.

use super::{Condition, Rule, Rules};
use crate::config::Factory;
use imprint_core::name::FactoryId;
use imprint_core::settings::{self, Problems, Read, Table, Value, duration, flag, list, text};
use std::collections::BTreeSet;
use std::time::Duration;

/// The largest file that is read, in bytes.
pub const LARGEST: usize = 256 * 1024;

/// The most rules of one file: each may cost a listing of instances.
const MOST_RULES: usize = 500;

/// The most values of one condition: a filter of EC2 takes as many.
const MOST_VALUES: usize = imprint_core::aws::ec2::MOST_VALUES;

/// The most tags that EC2 keeps of one instance.
const MOST_TAGS: usize = 50;

impl Rules {
    /// Reads a text.
    ///
    /// # Errors
    /// With everything that is wrong with it.
    pub fn parse(text: &str, factories: &[Factory]) -> Result<Self, Problems> {
        if text.len() > LARGEST {
            let text = format!("it has {} bytes; at most {LARGEST} are read", text.len());
            return Err(Problems(vec![settings::Problem { line: None, text }]));
        }
        settings::read(text, |root| {
            let mut sections = root.sections("rule");
            if !root.has("rule") {
                root.missing("rule");
            } else if sections.is_empty() && root.is_list("rule") {
                root.problem("rule", "is empty, so that nobody may have anything; leave rules_file out");
            }
            if sections.len() > MOST_RULES {
                let say = format!("there are {}; at most {MOST_RULES} are taken", sections.len());
                root.problem("rule", say);
            }
            let mut before: Vec<Option<Rule>> = Vec::new();
            for section in &mut sections {
                let rule = rule(section, factories);
                if let Some(rule) = &rule {
                    beside_others(section, rule, before.iter().flatten());
                }
                before.push(rule);
            }
            before.into_iter().collect::<Option<Vec<_>>>().map(Self)
        })
    }
}

fn rule(section: &mut Table<'_>, factories: &[Factory]) -> Option<Rule> {
    let name = section.required("name", name);
    let configured = |value: &Value<'_>| {
        let id: FactoryId = text(value)?;
        let known = factories.iter().any(|factory| factory.id == id);
        if known { Ok(id) } else { Err(vec![format!("{id} is no [[factory]] of the configuration")]) }
    };
    let factory = section.required("factory", configured);
    let promote_from = section.or("promote_from", |value| configured(value).map(Some), None);
    if let (Some(to), Some(Some(from))) = (&factory, &promote_from)
        && let Some(why) = no_promotion(from, to, factories)
    {
        section.problem("promote_from", why);
    }
    let pin = section.or("pin", flag, false);
    let conditions = conditions(section);
    let every = section.or("every_instance", flag, false);
    if let (Some(every), Some(conditions)) = (every, &conditions) {
        let tells = conditions.iter().any(Condition::tells_one_from_another);
        match (tells, every) {
            (false, false) => section.problem(
                "every_instance",
                "nothing says which instances the rule is for: ami, subnet, vpc, instance_profile or tags; if it is really for all of them, say every_instance = true",
            ),
            (true, true) => section.problem(
                "every_instance",
                "stands beside what tells instances from others (ami, subnet, vpc, instance_profile, tags)",
            ),
            (true, false) | (false, true) => {}
        }
    }
    Some(Rule {
        name: name?,
        factory: factory?,
        promote_from: promote_from?,
        pin: pin?,
        conditions: conditions?,
    })
}

fn conditions(section: &mut Table<'_>) -> Option<Vec<Condition>> {
    let account = any_of(section, "account", "an AWS account's 12 digits", is_account);
    let region = any_of(section, "region", "a region such as eu-west-1", is_region);
    let ami = any_of(section, "ami", "an image's id such as ami-0123456789abcdef0", |id| is_id(id, "ami-"));
    let subnet = any_of(section, "subnet", "a subnet's id such as subnet-0123456789abcdef0", |id| {
        is_id(id, "subnet-")
    });
    let vpc = any_of(section, "vpc", "a VPC's id such as vpc-0123456789abcdef0", |id| is_id(id, "vpc-"));
    let profile = any_of(
        section,
        "instance_profile",
        "an instance profile's name, or its ARN such as arn:aws:iam::123456789012:instance-profile/web",
        is_profile,
    );
    let tags = tags(section);
    let younger = age(section, "younger_than");
    let older = age(section, "older_than");
    if let (Some(Some(younger)), Some(Some(older))) = (younger, older)
        && older >= younger
    {
        section.problem("older_than", "must be shorter than younger_than, or no instance ever matches");
    }
    let all = [
        account?.map(Condition::Account),
        region?.map(Condition::Region),
        ami?.map(Condition::Ami),
        subnet?.map(Condition::Subnet),
        vpc?.map(Condition::Vpc),
        profile?.map(Condition::InstanceProfile),
    ];
    let ages = [younger?.map(Condition::YoungerThan), older?.map(Condition::OlderThan)];
    Some(all.into_iter().flatten().chain(tags?).chain(ages.into_iter().flatten()).collect())
}

/// How a rule goes together with those before it.
fn beside_others<'a>(section: &Table<'_>, rule: &Rule, before: impl Iterator<Item = &'a Rule> + Clone) {
    if before.clone().any(|other| other.name == rule.name) {
        section.problem("name", format!("a rule before is called {:?} too", rule.name));
    }
    let same = |other: &&Rule| other.factory == rule.factory && other.conditions == rule.conditions;
    if let Some(other) = before.clone().find(same) {
        section.problem("factory", format!("the rule {:?} has it for the very same instances", other.name));
    }
    // What a promotion begins with is what an instance was enrolled with at first.
    for other in before {
        let (from, to) = (rule.promote_from.as_ref(), other.promote_from.as_ref());
        if let Some(from) = from.filter(|from| to.is_some() && **from == other.factory) {
            let say = format!("the rule {:?} promotes to {from}; hosts are promoted once", other.name);
            section.problem("promote_from", say);
        }
        if to.is_some_and(|to| from.is_some() && *to == rule.factory) {
            let say =
                format!("the rule {:?} promotes from {}; hosts are promoted once", other.name, rule.factory);
            section.problem("factory", say);
        }
    }
}

/// Why hosts cannot be promoted so.
fn no_promotion(from: &FactoryId, to: &FactoryId, factories: &[Factory]) -> Option<String> {
    let of = |id: &FactoryId| factories.iter().find(|factory| factory.id == *id);
    let (first, then) = (of(from)?, of(to)?);
    if from == to {
        return Some(format!("is {to} itself; a host is promoted from another factory"));
    }
    (first.hosts_branch == then.hosts_branch).then(|| {
        let branch = &first.hosts_branch;
        format!("{from} and {to} have both hosts_branch {branch}, where a host can be of one of them alone")
    })
}

fn name(value: &Value<'_>) -> Read<String> {
    let name: String = text(value)?;
    let fits = (1..=80).contains(&name.chars().count()) && name.trim() == name;
    if fits && !name.contains(char::is_control) {
        Ok(name)
    } else {
        Err(vec!["must be 1 to 80 characters, without control characters or spaces at its ends".to_owned()])
    }
}

/// A list of values, any of which will do: `Some(None)` when it is left out, and `None` when it is wrong.
fn any_of(
    section: &mut Table<'_>,
    key: &'static str,
    what: &str,
    is: impl Fn(&str) -> bool,
) -> Option<Option<Vec<String>>> {
    let item = |value: &Value<'_>| {
        let one: String = text(value)?;
        if is(&one) { Ok(one) } else { Err(vec![format!("must be {what}")]) }
    };
    section.or(key, |value| distinct(list(item)(value)?).map(Some), None)
}

/// As many as a filter takes, at least one, and each once.
fn distinct(values: Vec<String>) -> Read<Vec<String>> {
    let mut wrongs = Vec::new();
    if values.is_empty() {
        wrongs.push("is empty, so that no instance ever matches".to_owned());
    }
    if values.len() > MOST_VALUES {
        wrongs.push(format!("has {} items; at most {MOST_VALUES} are taken", values.len()));
    }
    let mut seen = BTreeSet::new();
    for (at, value) in (1..).zip(&values) {
        if !seen.insert(value) {
            wrongs.push(format!("item {at}: is there twice"));
        }
    }
    if wrongs.is_empty() { Ok(values) } else { Err(wrongs) }
}

fn tags(section: &mut Table<'_>) -> Option<Vec<Condition>> {
    let there = section.has("tags");
    let mut table = section.section("tags");
    let wrong = std::cell::Cell::new(false);
    let tags = table.entries(|key, value| {
        let read = tag(key, value);
        wrong.set(wrong.get() || read.is_err());
        read
    });
    let is_table = table.is_there();
    drop(table);
    if wrong.get() || there != is_table {
        return None;
    }
    if there && tags.is_empty() {
        section.problem("tags", "is empty; leave it out");
        return None;
    }
    if tags.len() > MOST_TAGS {
        section.problem("tags", format!("has {} tags; no instance has more than {MOST_TAGS}", tags.len()));
    }
    Some(tags.into_iter().map(|(key, values)| Condition::Tag { key, values }).collect())
}

/// A tag's value or values, within EC2's limits.
fn tag(key: &str, value: &Value<'_>) -> Read<Vec<String>> {
    let mut wrongs = Vec::new();
    if !(1..=128).contains(&key.chars().count()) || key.contains(char::is_control) {
        wrongs.push("a tag's key must be 1 to 128 characters, without control characters".to_owned());
    }
    let item = |value: &Value<'_>| {
        let one: String = text(value)?;
        let fits = one.chars().count() <= 256 && !one.contains(char::is_control);
        let say =
            || vec!["a tag's value must be at most 256 characters, without control characters".to_owned()];
        if fits { Ok(one) } else { Err(say()) }
    };
    let values = match value {
        Value::String(_) => item(value).map(|one| vec![one]),
        _ => list(item)(value).and_then(distinct),
    };
    match values {
        Ok(values) if wrongs.is_empty() => Ok(values),
        Ok(_) => Err(wrongs),
        Err(more) => {
            wrongs.extend(more);
            Err(wrongs)
        }
    }
}

/// An age: `Some(None)` when it is left out, and `None` when it is wrong.
fn age(section: &mut Table<'_>, key: &'static str) -> Option<Option<Duration>> {
    let some = |value: &Value<'_>| match duration(value)? {
        Duration::ZERO => Err(vec!["must be longer than nothing".to_owned()]),
        span => Ok(Some(span)),
    };
    section.or(key, some, None)
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit())
}

/// `eu-west-1`, `us-gov-west-1`: words of letters, and a number.
fn is_region(text: &str) -> bool {
    let letters = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase());
    let parts: Vec<&str> = text.split('-').collect();
    let Some((number, words)) = parts.split_last() else { return false };
    let numbered = (1..=2).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
    text.len() <= 32 && numbered && words.len() >= 2 && words.iter().all(|word| letters(word))
}

/// EC2's ids: 17 hex digits, or 8 of the older ones.
fn is_id(text: &str, prefix: &str) -> bool {
    text.strip_prefix(prefix).is_some_and(|digits| {
        [8, 17].contains(&digits.len())
            && digits.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    })
}

/// A name of IAM's, or `arn:<partition>:iam::<account>:instance-profile/<path>/<name>`.
fn is_profile(text: &str) -> bool {
    let is_name = |name: &str| {
        (1..=128).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"+=,.@_-".contains(&b))
    };
    let Some(rest) = text.strip_prefix("arn:") else { return is_name(text) };
    let [partition, "iam", "", account, profile] = rest.splitn(5, ':').collect::<Vec<_>>()[..] else {
        return false;
    };
    let Some(path) = profile.strip_prefix("instance-profile/") else { return false };
    let (folders, name) = path.rsplit_once('/').unwrap_or(("", path));
    partition.starts_with("aws")
        && partition.bytes().all(|b| b.is_ascii_lowercase() || b == b'-')
        && is_account(account)
        && folders.len() <= 512
        && folders.bytes().all(|b| b.is_ascii_graphic())
        && is_name(name)
}
