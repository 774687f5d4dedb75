//! [`Effects`]: everything that minting for one instance does to the world, which is also the list of
//! permissions that it needs, apart from those of rotation and of the fleet.

use crate::effects::{Context, Error};
use crate::fleet::host::Place;
use crate::session::LogIn;
use imprint_core::aws::ec2::{Filter, Instance};
use imprint_core::aws::{ETag, Encrypted, Object, Only};
use imprint_core::conjur::{Factory, Mint, Minted, Revoked};
use imprint_core::name::{Branch, FactoryId, HostId, LayerId};
use imprint_core::token::{AccessToken, Token};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// One method for one IAM action or Conjur privilege. None of them repeats anything by itself.
#[expect(async_fn_in_trait, reason = "flows run on one thread and nothing is spawned, so no Send is needed")]
pub trait Effects: LogIn {
    /// `sts:GetCallerIdentity`, which needs no permission: the account that is asked, and the region.
    async fn place(&self) -> Result<Place, Error>;
    /// `ec2:DescribeInstances`: the instances that all of these filters take.
    async fn describe(&self, filters: &[Filter]) -> Result<Vec<Instance>, Error>;
    /// `kms:Encrypt` on the key, with `imprint:scope` = `instance` in the context.
    async fn encrypt(&self, token: &Token, context: &Context) -> Result<Encrypted, Error>;
    /// `kms:Decrypt` on the key, with `imprint:scope` = `instance` in the context, for the read back.
    async fn decrypt(&self, ciphertext: &[u8], context: &Context) -> Result<Zeroizing<Vec<u8>>, Error>;
    /// `s3:GetObject` on `instances/*`; with `s3:ListBucket`, or an absent object looks forbidden.
    async fn fetch(&self, key: &str) -> Result<Object, Error>;
    /// `s3:PutObject` on `instances/*`, always under a condition.
    async fn put(&self, key: &str, bytes: Vec<u8>, only: &Only) -> Result<ETag, Error>;
    /// Conjur: any privilege on a factory shows it with its tokens; `None` when there is none.
    async fn show_factory(&self, with: &AccessToken, id: &FactoryId) -> Result<Option<Factory>, Error>;
    /// Conjur: `execute` on the factory.
    async fn mint(&self, with: &AccessToken, ask: &Mint<'_>) -> Result<Vec<Minted>, Error>;
    /// Conjur: `update` on the factory. Expired tokens alone.
    async fn revoke(&self, with: &AccessToken, token: &Token) -> Result<Revoked, Error>;
}

/// What promoting needs beside.
#[expect(async_fn_in_trait, reason = "flows run on one thread and nothing is spawned, so no Send is needed")]
pub trait Promoting: Effects {
    /// `s3:GetObject` on `promotions/*`; with `s3:ListBucket`, or an absent object looks forbidden.
    async fn recall(&self, key: &str) -> Result<Object, Error>;
    /// `s3:PutObject` on `promotions/*`, always under a condition.
    async fn remember(&self, key: &str, bytes: Vec<u8>, only: &Only) -> Result<ETag, Error>;
    /// Conjur: `read` on the layers of both factories.
    async fn members(&self, with: &AccessToken, layer: &LayerId) -> Result<BTreeSet<HostId>, Error>;
    /// Conjur: `read` and `update` on the hosts branches of both factories.
    async fn delete_hosts(&self, with: &AccessToken, branch: &Branch, hosts: &[HostId]) -> Result<(), Error>;
}
