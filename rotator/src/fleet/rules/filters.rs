//! Which instances EC2 has to tell of, so that none that a rule means is missing and not all of a region is read.
//!
//! A filter only spares what no rule could take: whether an instance matches is always judged afterwards. So
//! where a condition has no filter that surely takes all of its instances, there is none.

use super::{Condition, Rule, Rules};
use crate::fleet::host::Place;
use imprint_core::aws::ec2::{Filter, Life};
use std::collections::BTreeSet;

impl Rules {
    /// One listing for each set of filters: the running instances of this place that these rules may mean.
    #[must_use]
    pub fn listings(&self, place: &Place, which: impl Fn(&Rule) -> bool) -> BTreeSet<Vec<Filter>> {
        let here = |rule: &&Rule| rule.conditions.iter().all(|condition| condition.may_be_in(place));
        let all: BTreeSet<Vec<Filter>> =
            self.iter().filter(|rule| which(rule)).filter(here).map(Rule::filters).collect();
        // Who reads all running instances has read those of the others.
        let everything = vec![Filter::lives(&[Life::Running])];
        if all.contains(&everything) { BTreeSet::from([everything]) } else { all }
    }
}

impl Rule {
    fn filters(&self) -> Vec<Filter> {
        let running = Filter::lives(&[Life::Running]);
        std::iter::once(running).chain(self.conditions.iter().filter_map(Condition::filter)).collect()
    }
}

impl Condition {
    fn may_be_in(&self, place: &Place) -> bool {
        match self {
            Self::Account(accounts) => accounts.contains(&place.account_id),
            Self::Region(regions) => regions.contains(&place.region),
            Self::Ami(_)
            | Self::Subnet(_)
            | Self::Vpc(_)
            | Self::InstanceProfile(_)
            | Self::Tag { .. }
            | Self::YoungerThan(_)
            | Self::OlderThan(_) => true,
        }
    }

    fn filter(&self) -> Option<Filter> {
        let (name, values) = match self {
            Self::Ami(ids) => ("image-id".to_owned(), ids),
            Self::Subnet(ids) => ("subnet-id".to_owned(), ids),
            Self::Vpc(ids) => ("vpc-id".to_owned(), ids),
            // There is a filter by ARN; a name may have any path.
            Self::InstanceProfile(arns) if arns.iter().all(|one| one.starts_with("arn:")) => {
                ("iam-instance-profile.arn".to_owned(), arns)
            }
            Self::Tag { key, values } if is_plain(key) && values.iter().all(|value| is_plain(value)) => {
                (format!("tag:{key}"), values)
            }
            Self::Account(_)
            | Self::InstanceProfile(_)
            | Self::OlderThan(_)
            | Self::Region(_)
            | Self::Tag { .. }
            | Self::YoungerThan(_) => return None,
        };
        Some(Filter { name, values: values.clone() })
    }
}

/// What EC2's filters take for itself: `*`, `?` and `\` mean more to them, and of an empty value nobody says
/// what it takes.
fn is_plain(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b" _.:/=+@-".contains(&b))
}
