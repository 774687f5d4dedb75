//! Whether an instance may have an identity of a factory, and why: a pure function of the rules and of what
//! EC2 says.
//!
//! A fact that EC2 does not tell matches nothing, so a short answer never grants more than a whole one.

use super::{Condition, Rule, Rules};
use crate::fleet::host::Place;
use imprint_core::aws::ec2::{Instance, Life};
use imprint_core::name::FactoryId;
use imprint_core::second::Second;
use imprint_core::settings::written;
use std::fmt;
use std::time::Duration;

/// What the rules of one factory say of one instance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict<'a> {
    /// Why no rule can match it, whatever the rules say.
    pub never: Option<Never>,
    /// Each rule of the factory, in the file's order.
    pub rules: Vec<Judged<'a>>,
}

/// Why an instance may have nothing at all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Never {
    /// It ends or has ended.
    Ended(Life),
    /// Another account owns it than the one that is asked, after which its host would be called.
    OfAnother,
}

/// What one rule says of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Judged<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// Each of its conditions.
    pub conditions: Vec<Checked<'a>>,
}

/// What one condition says of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Checked<'a> {
    /// The condition.
    pub condition: &'a Condition,
    /// What EC2 says; `None` when it does not say.
    pub found: Option<String>,
    /// Whether it is as it must be.
    pub holds: bool,
}

impl Rules {
    /// Whether this instance may have an identity of this factory.
    #[must_use]
    pub fn judge(&self, factory: &FactoryId, instance: &Instance, place: &Place, now: Second) -> Verdict<'_> {
        let never = match instance.life {
            Life::ShuttingDown | Life::Terminated => Some(Never::Ended(instance.life)),
            Life::Pending | Life::Running | Life::Stopped | Life::Stopping => {
                (instance.account_id != place.account_id).then_some(Never::OfAnother)
            }
        };
        let judged = |rule| {
            let check = |condition| check(condition, instance, place, now);
            Judged { rule, conditions: rule.conditions.iter().map(check).collect() }
        };
        Verdict { never, rules: self.of(factory).map(judged).collect() }
    }
}

impl<'a> Verdict<'a> {
    /// The first rule that matches; nobody may without one.
    #[must_use]
    pub fn rule(&self) -> Option<&'a Rule> {
        self.those(Judged::matches).next()
    }

    /// The rules that match or have matched: `younger_than` bounds what is granted, not what is looked after.
    pub fn rules_so_far(&self) -> impl Iterator<Item = &'a Rule> {
        self.those(Judged::has_matched)
    }

    /// Whether hosts of such an instance are to be tied to its addresses: where any rule says so that matches or has
    /// matched.
    #[must_use]
    pub fn pins(&self) -> bool {
        self.rules_so_far().any(|rule| rule.pin)
    }

    fn those(&self, which: impl Fn(&Judged<'a>) -> bool) -> impl Iterator<Item = &'a Rule> {
        let may = self.never.is_none();
        self.rules.iter().filter(move |judged| may && which(judged)).map(|judged| judged.rule)
    }
}

impl Judged<'_> {
    /// Whether all of its conditions hold.
    #[must_use]
    pub fn matches(&self) -> bool {
        self.conditions.iter().all(|checked| checked.holds)
    }

    /// Whether all of them hold, or would if it were younger.
    #[must_use]
    pub fn has_matched(&self) -> bool {
        let too_old =
            |one: &Checked<'_>| matches!(one.condition, Condition::YoungerThan(_)) && one.found.is_some();
        self.conditions.iter().all(|checked| checked.holds || too_old(checked))
    }
}

fn check<'a>(condition: &'a Condition, instance: &Instance, place: &Place, now: Second) -> Checked<'a> {
    let one_of = |wanted: &[String], found: Option<&str>| {
        let holds = found.is_some_and(|found| wanted.iter().any(|one| one == found));
        Checked { condition, found: found.map(str::to_owned), holds }
    };
    let age = || instance.attached_at.map(|attached| now.since(attached));
    let aged = |holds: &dyn Fn(Duration) -> bool| {
        let age = age();
        Checked { condition, found: age.map(written), holds: age.is_some_and(holds) }
    };
    match condition {
        Condition::Account(wanted) => one_of(wanted, Some(&instance.account_id)),
        Condition::Region(wanted) => one_of(wanted, Some(&place.region)),
        Condition::Ami(wanted) => one_of(wanted, instance.ami.as_deref()),
        Condition::Subnet(wanted) => one_of(wanted, instance.subnet.as_deref()),
        Condition::Vpc(wanted) => one_of(wanted, instance.vpc.as_deref()),
        Condition::InstanceProfile(wanted) => {
            let found = instance.instance_profile.as_deref();
            let holds = found.is_some_and(|arn| wanted.iter().any(|one| is_profile(one, arn)));
            Checked { condition, found: found.map(str::to_owned), holds }
        }
        Condition::Tag { key, values } => one_of(values, instance.tags.get(key).map(String::as_str)),
        // An attachment that lies ahead was told by a clock that is a little ahead of ours: it is new.
        Condition::YoungerThan(span) => aged(&|age| age < *span),
        Condition::OlderThan(span) => aged(&|age| age >= *span),
    }
}

/// Whether an instance profile of this ARN is the one that is wanted, by its ARN or by its name, of which an
/// account has one whatever its path.
fn is_profile(wanted: &str, arn: &str) -> bool {
    if wanted.starts_with("arn:") {
        return wanted == arn;
    }
    let path = arn.split_once(":instance-profile/").map(|(_, path)| path);
    path.and_then(|path| path.rsplit('/').next()) == Some(wanted)
}

impl fmt::Display for Never {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ended(life) => write!(f, "it is {life}"),
            Self::OfAnother => f.write_str("another account owns it than the one that is asked"),
        }
    }
}
