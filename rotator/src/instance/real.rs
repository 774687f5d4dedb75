//! The effects on the real Conjur, EC2, STS, S3 and KMS.

use super::effects::{Effects, Promoting};
use super::memory;
use crate::config::Config;
use crate::effects::{Context, Error};
use crate::fleet::host::Place;
use crate::login;
use crate::session::LogIn;
use imprint_core::aws::ec2::{Ec2, Filter, Instance};
use imprint_core::aws::{Aws, Bucket, ETag, Encrypted, Kms, Object, Only};
use imprint_core::caller::Caller;
use imprint_core::conjur::{Conjur, Factory, Mint, Minted, Revoked};
use imprint_core::door::{Door, Trust};
use imprint_core::name::{Branch, FactoryId, HostId, LayerId};
use imprint_core::sealed::LARGEST_OBJECT;
use imprint_core::second::Second;
use imprint_core::token::{AccessToken, Token};
use std::collections::BTreeSet;
use zeroize::Zeroizing;

/// The clients of one configuration.
pub struct Real {
    config: Config,
    conjur: Conjur,
    login: login::Real,
    aws: Aws,
    bucket: Bucket,
    kms: Kms,
    ec2: Ec2,
}

impl Real {
    /// The clients of a configuration, with the login of its `[instances]`. Nothing is sent but what the
    /// credentials' chain needs.
    ///
    /// # Errors
    /// When a client cannot be made or no region is known.
    pub async fn new(config: &Config, caller: &Caller) -> Result<Self, Error> {
        let config = config.clone().of_the_instances();
        let trust = config.ca.clone().map_or(Trust::Public, Trust::Only);
        let door = Door::to(&config.leader_url, &trust)?;
        let conjur = Conjur::new(door, config.leader_url.clone(), config.account.clone(), caller.clone());
        let aws = config.aws.client(caller).await?;
        let login = login::Real::new(&config, conjur.clone(), &aws);
        let bucket = aws.bucket(&config.aws.bucket, Some(&config.aws.bucket_owner));
        let (kms, ec2) = (aws.kms(), aws.ec2());
        Ok(Self { config, conjur, login, aws, bucket, kms, ec2 })
    }
}

impl LogIn for Real {
    async fn authenticate(&self) -> Result<AccessToken, Error> {
        login::log_in(&self.config, &self.login).await
    }

    fn now(&self) -> Second {
        Second::now()
    }
}

impl Effects for Real {
    async fn place(&self) -> Result<Place, Error> {
        Ok(Place { account_id: self.aws.account().await?, region: self.aws.region().to_owned() })
    }

    async fn describe(&self, filters: &[Filter]) -> Result<Vec<Instance>, Error> {
        Ok(self.ec2.instances(filters).await?)
    }

    async fn encrypt(&self, token: &Token, context: &Context) -> Result<Encrypted, Error> {
        Ok(self.kms.encrypt(&self.config.aws.key, token.expose().as_bytes(), context).await?)
    }

    async fn decrypt(&self, ciphertext: &[u8], context: &Context) -> Result<Zeroizing<Vec<u8>>, Error> {
        Ok(self.kms.decrypt(&self.config.aws.key, ciphertext, context).await?)
    }

    async fn fetch(&self, key: &str) -> Result<Object, Error> {
        Ok(self.bucket.get(key, LARGEST_OBJECT).await?)
    }

    async fn put(&self, key: &str, bytes: Vec<u8>, only: &Only) -> Result<ETag, Error> {
        Ok(self.bucket.put(key, bytes, only).await?)
    }

    async fn show_factory(&self, with: &AccessToken, id: &FactoryId) -> Result<Option<Factory>, Error> {
        Ok(self.conjur.factory(with, id).await?)
    }

    async fn mint(&self, with: &AccessToken, ask: &Mint<'_>) -> Result<Vec<Minted>, Error> {
        Ok(self.conjur.mint(with, ask).await?)
    }

    async fn revoke(&self, with: &AccessToken, token: &Token) -> Result<Revoked, Error> {
        Ok(self.conjur.revoke(with, token).await?)
    }
}

impl Promoting for Real {
    async fn recall(&self, key: &str) -> Result<Object, Error> {
        Ok(self.bucket.get(key, memory::LARGEST).await?)
    }

    async fn remember(&self, key: &str, bytes: Vec<u8>, only: &Only) -> Result<ETag, Error> {
        Ok(self.bucket.put(key, bytes, only).await?)
    }

    async fn members(&self, with: &AccessToken, layer: &LayerId) -> Result<BTreeSet<HostId>, Error> {
        Ok(self.conjur.members(with, layer).await?)
    }

    async fn delete_hosts(&self, with: &AccessToken, branch: &Branch, hosts: &[HostId]) -> Result<(), Error> {
        Ok(self.conjur.delete_hosts(with, branch, hosts).await?)
    }
}
