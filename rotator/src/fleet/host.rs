//! Which host belongs to which instance: the host's own id says it, since nobody who may remove hosts may
//! also see them.

use imprint_core::name::{Branch, HostId, InstanceId};
use std::collections::BTreeSet;

/// Where the instances are that these functions may judge: one account, one region.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Place {
    /// The AWS account, twelve digits.
    pub account_id: String,
    /// The region.
    pub region: String,
}

impl Place {
    /// The ARN of an instance of this place, as EC2 puts it into every request of that instance's role.
    #[must_use]
    pub fn arn(&self, instance: &InstanceId) -> String {
        let Self { account_id, region } = self;
        format!("arn:{}:ec2:{region}:{account_id}:instance/{instance}", partition(region))
    }
}

/// The partition of a region; source: the AWS General Reference, "AWS regional endpoints" of each partition.
fn partition(region: &str) -> &'static str {
    match region.split_once('-') {
        Some(("cn", _)) => "aws-cn",
        Some(("eusc", _)) => "aws-eusc",
        Some((_, rest)) if rest.starts_with("gov-") => "aws-us-gov",
        Some((_, rest)) if rest.starts_with("iso-") => "aws-iso",
        Some((_, rest)) if rest.starts_with("isob-") => "aws-iso-b",
        Some((_, rest)) if rest.starts_with("isoe-") => "aws-iso-e",
        Some((_, rest)) if rest.starts_with("isof-") => "aws-iso-f",
        Some(_) | None => "aws",
    }
}

/// A host that Imprint made for an instance of this place.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Host {
    /// Its id.
    pub id: HostId,
    /// Its instance.
    pub instance: InstanceId,
}

/// The hosts under `branch` whose ids are `<branch>/<account_id>/<region>/<instance-id>` of this place, as
/// the agent makes them unless it is told otherwise; and how many are called otherwise or live elsewhere,
/// which is nobody's business here.
#[must_use]
pub fn hosts_of(place: &Place, branch: &Branch, members: &BTreeSet<HostId>) -> (Vec<Host>, usize) {
    let prefix = format!("{branch}/{}/{}/", place.account_id, place.region);
    let ours = |id: &HostId| {
        let instance: InstanceId = id.as_str().strip_prefix(&prefix)?.parse().ok()?;
        // A machine elsewhere (m-...) has no account and no region, and EC2 could not know it.
        instance.as_str().starts_with("i-").then(|| Host { id: id.clone(), instance })
    };
    let hosts: Vec<Host> = members.iter().filter_map(ours).collect();
    let others = members.len() - hosts.len();
    (hosts, others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arn_of_an_instance() {
        let check = |region: &str, partition: &str| {
            let place = Place { account_id: "123456789012".to_owned(), region: region.to_owned() };
            let arn = format!("arn:{partition}:ec2:{region}:123456789012:instance/i-0abc");
            assert_eq!(place.arn(&"i-0abc".parse().unwrap()), arn);
        };
        check("eu-west-1", "aws");
        check("cn-north-1", "aws-cn");
        check("us-gov-west-1", "aws-us-gov");
        check("us-iso-east-1", "aws-iso");
        check("us-isob-east-1", "aws-iso-b");
        check("eu-isoe-west-1", "aws-iso-e");
        check("us-isof-south-1", "aws-iso-f");
        check("eusc-de-east-1", "aws-eusc");
    }

    #[test]
    fn only_ids_of_this_place_that_name_an_instance() {
        let place = Place { account_id: "123456789012".to_owned(), region: "eu-west-1".to_owned() };
        let branch = "app/hosts".parse().unwrap();
        let check = |id: &str, instance: Option<&str>| {
            let (hosts, others) = hosts_of(&place, &branch, &[id.parse().unwrap()].into());
            let found = hosts.first().map(|host| (host.id.as_str(), host.instance.as_str()));
            assert_eq!(found, instance.map(|instance| (id, instance)), "{id}");
            assert_eq!(others, usize::from(instance.is_none()), "{id}");
        };
        check("app/hosts/123456789012/eu-west-1/i-0abc", Some("i-0abc"));
        check("app/hosts/123456789012/eu-west-2/i-0abc", None);
        check("app/hosts/210987654321/eu-west-1/i-0abc", None);
        check("app/hosts/123456789012/eu-west-1/m-0abc", None);
        check("app/hosts/123456789012/eu-west-1/x/i-0abc", None);
        check("app/hosts/123456789012/eu-west-1/i-0ABC", None);
        check("app/hosts/i-0abc", None);
        check("app/hosts2/123456789012/eu-west-1/i-0abc", None);
        check("x/app/hosts/123456789012/eu-west-1/i-0abc", None);
        check("app/hosts/123456789012/eu-west-1", None);
    }
}
