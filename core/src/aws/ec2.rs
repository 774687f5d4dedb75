//! EC2 instances, as `ec2:DescribeInstances` tells of them.
//!
//! The call is a signed query of our own, since the SDK's crate for EC2 needs 7.7 GB of memory to compile.
//! It always asks by filter: a call that names ids fails as a whole when EC2 does not know one of them, and
//! it does not know an instance for some moments after its launch, nor an hour after its end.
//!
//! Source: the EC2 API reference, `DescribeInstances` and `Instance`, version 2016-11-15.

pub mod reply;

use super::Error;
use super::query::Query;
use crate::name::InstanceId;
use crate::second::Second;
use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

/// The version of EC2's interface.
const VERSION: &str = "2016-11-15";

/// How many instances one page shall have. EC2 takes 5 to 1,000.
const PAGE: usize = 200;

/// The most pages that are read: no region has so many instances.
const MOST_PAGES: usize = 10_000;

/// The most values that a filter takes.
pub const MOST_VALUES: usize = 200;

/// Which instances to tell of: those of which what `name` says is one of `values`.
///
/// EC2 takes `*` and `?` in a value for any text and any character, and `\` makes the next one plain.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Filter {
    /// EC2's name of it, such as `instance-state-name`.
    pub name: String,
    /// 1 to [`MOST_VALUES`].
    pub values: Vec<String>,
}

impl Filter {
    /// Those of these instances that EC2 knows.
    #[must_use]
    pub fn ids(ids: &[InstanceId]) -> Self {
        Self { name: "instance-id".to_owned(), values: ids.iter().map(InstanceId::to_string).collect() }
    }

    /// Instances in these states.
    #[must_use]
    pub fn lives(lives: &[Life]) -> Self {
        let values = lives.iter().map(|life| life.as_str().to_owned()).collect();
        Self { name: "instance-state-name".to_owned(), values }
    }
}

/// EC2, in one region.
#[derive(Clone, Debug)]
pub struct Ec2(Query);

impl Ec2 {
    pub(super) const fn new(query: Query) -> Self {
        Self(query)
    }

    /// `ec2:DescribeInstances`: all instances that every one of these filters takes, page by page.
    ///
    /// # Errors
    /// See [`Error`]. Pages that were read are worth nothing when a later one fails: half a list would show
    /// living instances as missing.
    pub async fn instances(&self, filters: &[Filter]) -> Result<Vec<Instance>, Error> {
        let operation = "ec2:DescribeInstances";
        let mut parameters = vec![("MaxResults".to_owned(), PAGE.to_string())];
        for (at, Filter { name, values }) in (1..).zip(filters) {
            parameters.push((format!("Filter.{at}.Name"), name.clone()));
            let values =
                (1..).zip(values).map(|(n, value)| (format!("Filter.{at}.Value.{n}"), value.clone()));
            parameters.extend(values);
        }
        let mut all = Vec::new();
        let mut next = None;
        for _ in 0..MOST_PAGES {
            let page = next.take().map(|next| ("NextToken".to_owned(), next));
            let parameters: Vec<_> = parameters.iter().cloned().chain(page).collect();
            let body = self.0.call(operation, VERSION, &parameters).await?;
            let page = reply::instances(&body);
            let page = page.map_err(|source| Error::Strange { operation, source: source.into() })?;
            all.extend(page.instances);
            next = page.next;
            if next.is_none() {
                return Ok(all);
            }
        }
        Err(Error::Strange { operation, source: format!("it goes on after {MOST_PAGES} pages").into() })
    }
}

/// What EC2 says of one instance. A member that the reply does not have is `None`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Instance {
    /// Its id.
    pub id: InstanceId,
    /// The AWS account that owns it, twelve digits.
    pub account_id: String,
    /// Where its life is.
    pub life: Life,
    /// The image that it was made from.
    pub ami: Option<String>,
    /// The subnet of its primary interface.
    pub subnet: Option<String>,
    /// The VPC of that subnet.
    pub vpc: Option<String>,
    /// The ARN of its instance profile, which holds its role.
    pub instance_profile: Option<String>,
    /// Its private addresses: of the primary interface the primary IPv4 address first, then IPv6 ones.
    pub addresses: Vec<IpAddr>,
    /// When its primary interface was attached: the launch itself, whatever was stopped and started since.
    pub attached_at: Option<Second>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// The state of an instance, in EC2's own names.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Life {
    /// `pending`
    Pending,
    /// `running`
    Running,
    /// `shutting-down`: it ends and will not come back.
    ShuttingDown,
    /// `stopped`
    Stopped,
    /// `stopping`
    Stopping,
    /// `terminated`: shown for about an hour after the end.
    Terminated,
}

impl Life {
    /// EC2's name of it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::ShuttingDown => "shutting-down",
            Self::Stopped => "stopped",
            Self::Stopping => "stopping",
            Self::Terminated => "terminated",
        }
    }

    /// From EC2's name of it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        let all = [
            Self::Pending,
            Self::Running,
            Self::ShuttingDown,
            Self::Stopped,
            Self::Stopping,
            Self::Terminated,
        ];
        all.into_iter().find(|life| life.as_str() == name)
    }
}

impl fmt::Display for Life {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
