//! [`Effects`]: everything that the fleet's functions do to the world, which is also the list of permissions
//! that they need, apart from those of rotation.

use super::host::Place;
use crate::effects::Error;
use crate::session::LogIn;
use imprint_core::aws::ec2::{Filter, Instance};
use imprint_core::aws::{ETag, Object, Only};
use imprint_core::name::{Branch, HostId, LayerId};
use imprint_core::token::AccessToken;
use ipnet::IpNet;
use std::collections::{BTreeMap, BTreeSet};

/// One method for one IAM action or Conjur privilege. None of them repeats anything by itself.
#[expect(async_fn_in_trait, reason = "flows run on one thread and nothing is spawned, so no Send is needed")]
pub trait Effects: LogIn {
    /// `sts:GetCallerIdentity`, which needs no permission: the account that is asked, and the region.
    async fn place(&self) -> Result<Place, Error>;
    /// `ec2:DescribeInstances`: the instances that all of these filters take.
    async fn describe(&self, filters: &[Filter]) -> Result<Vec<Instance>, Error>;
    /// `s3:GetObject` on `fleet/*`; with `s3:ListBucket`, or an absent object looks forbidden.
    async fn fetch(&self, key: &str) -> Result<Object, Error>;
    /// `s3:PutObject` on `fleet/*`, always under a condition.
    async fn put(&self, key: &str, bytes: Vec<u8>, only: &Only) -> Result<ETag, Error>;
    /// Conjur: `read` on the layer.
    async fn members(&self, with: &AccessToken, layer: &LayerId) -> Result<BTreeSet<HostId>, Error>;
    /// Conjur: `read` and `update` on the hosts branch.
    async fn delete_hosts(&self, with: &AccessToken, branch: &Branch, hosts: &[HostId]) -> Result<(), Error>;
    /// Conjur: `read` and `update` on the hosts branch. Gives the hosts that it made by mistake.
    async fn restrict_hosts(
        &self,
        with: &AccessToken,
        branch: &Branch,
        hosts: &BTreeMap<HostId, Vec<IpNet>>,
    ) -> Result<Vec<HostId>, Error>;
}
