//! Which instances may have what: the rules file.
//!
//! It is read in `read`, and decided on in `judge`, a pure function. Nobody may have
//! anything that no rule says, and what is not known of an instance grants nothing.
//! `packaging/etc/imprint/rules.toml` explains every setting.

mod filters;
mod judge;
mod list;
mod read;

pub use judge::{Checked, Judged, Never, Verdict};
pub use read::LARGEST;

use imprint_core::name::FactoryId;
use imprint_core::settings::written;
use std::fmt;
use std::time::Duration;

/// The rules of a file, in its order; none where the configuration names no file.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Rules(Vec<Rule>);

/// One `[[rule]]`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    /// What it is called, in the file and in every explanation.
    pub name: String,
    /// An instance that matches may have an identity of this factory.
    pub factory: FactoryId,
    /// The factory that such an instance was enrolled with at first, when this rule promotes it.
    pub promote_from: Option<FactoryId>,
    /// Whether the factory's hosts of such instances are tied to their addresses.
    pub pin: bool,
    /// What must be so of an instance, each of them. Empty for every instance, which the file must say.
    pub conditions: Vec<Condition>,
}

/// What must be so of an instance.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Condition {
    /// `account`: the AWS account that owns it is one of these.
    Account(Vec<String>),
    /// `region`: it is in one of these.
    Region(Vec<String>),
    /// `ami`: it was made from one of these images.
    Ami(Vec<String>),
    /// `subnet`: its primary interface is in one of these.
    Subnet(Vec<String>),
    /// `vpc`: its primary interface is in one of these.
    Vpc(Vec<String>),
    /// `instance_profile`: it has one of these, by name or by ARN.
    InstanceProfile(Vec<String>),
    /// `tags`: it has a tag of this key, with one of these values.
    Tag {
        /// The key, in EC2's own letters.
        key: String,
        /// Its values.
        values: Vec<String>,
    },
    /// `younger_than`: its primary interface was attached less than this ago.
    YoungerThan(Duration),
    /// `older_than`: its primary interface was attached this long ago, or longer.
    OlderThan(Duration),
}

impl Rules {
    /// All of them, in the file's order.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// Those of a factory, in the file's order.
    pub fn of<'a>(&'a self, factory: &FactoryId) -> impl Iterator<Item = &'a Rule> {
        self.0.iter().filter(move |rule| rule.factory == *factory)
    }

    /// Whether there is none, so that nobody may have anything.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Rule {
    /// Whether nothing but tags tells which instances it is for: whoever may write tags then says it.
    ///
    /// Tags that begin with `aws:` are written by AWS alone.
    #[must_use]
    pub fn rests_on_tags_alone(&self) -> bool {
        let others_write = |key: &str| !key.starts_with("aws:");
        let mut telling = self.conditions.iter().filter(|condition| condition.tells_one_from_another());
        !self.is_for_every_instance()
            && telling.all(|one| matches!(one, Condition::Tag { key, .. } if others_write(key)))
    }

    /// Whether it is for whatever instance there is, of an account, a region or an age.
    #[must_use]
    pub fn is_for_every_instance(&self) -> bool {
        !self.conditions.iter().any(Condition::tells_one_from_another)
    }
}

impl Condition {
    /// The setting that says it.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Account(_) => "account".to_owned(),
            Self::Region(_) => "region".to_owned(),
            Self::Ami(_) => "ami".to_owned(),
            Self::Subnet(_) => "subnet".to_owned(),
            Self::Vpc(_) => "vpc".to_owned(),
            Self::InstanceProfile(_) => "instance_profile".to_owned(),
            Self::Tag { key, .. } => format!("tags.{key}"),
            Self::YoungerThan(_) => "younger_than".to_owned(),
            Self::OlderThan(_) => "older_than".to_owned(),
        }
    }

    /// What it wants: any of these.
    #[must_use]
    pub fn wanted(&self) -> Vec<String> {
        match self {
            Self::Account(values)
            | Self::Region(values)
            | Self::Ami(values)
            | Self::Subnet(values)
            | Self::Vpc(values)
            | Self::InstanceProfile(values)
            | Self::Tag { values, .. } => values.clone(),
            Self::YoungerThan(span) | Self::OlderThan(span) => vec![written(*span)],
        }
    }

    /// Accounts, regions and ages are those of whatever anybody launches.
    const fn tells_one_from_another(&self) -> bool {
        match self {
            Self::Ami(_) | Self::Subnet(_) | Self::Vpc(_) | Self::InstanceProfile(_) | Self::Tag { .. } => {
                true
            }
            Self::Account(_) | Self::Region(_) | Self::YoungerThan(_) | Self::OlderThan(_) => false,
        }
    }
}

impl fmt::Display for Condition {
    /// `ami ami-1 or ami-2`, `tags.Stage "prod"`, `younger_than 1h`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let wanted = self.wanted();
        let quoted = |value: &String| {
            // A tag may have spaces, and none at all.
            if matches!(self, Self::Tag { .. }) { format!("{value:?}") } else { value.clone() }
        };
        let wanted: Vec<String> = wanted.iter().map(quoted).collect();
        write!(f, "{} {}", self.name(), wanted.join(" or "))
    }
}

#[cfg(test)]
pub(super) mod tests;
