//! The only place that names the AWS SDK: S3 objects, KMS, credentials, endpoints.
//!
//! The SDK rides on our [`Door`](crate::door::Door), so TLS roots, proxies and redirects are the same for everything
//! that leaves the machine. It makes no retries of its own; partitions, FIPS, dual-stack and endpoint
//! overrides are what `aws-config` reads from the environment and the profile (`AWS_ENDPOINT_URL_S3`,
//! `AWS_USE_FIPS_ENDPOINT`, ...), never changed here.

mod clock;
mod connector;
pub mod ec2;
mod error;
mod instance;
mod keys;
mod kms;
mod query;
mod role;
mod s3;
mod sign;

pub use clock::Clock;
pub use error::Error;
pub use kms::{Encrypted, Kms};
pub use role::{NoSts, RoleError, Sts};
pub use s3::{Bucket, ETag, Object, Only};

use crate::caller::Caller;
use crate::door::{Tls, Trust};
use crate::second::Second;
use aws_config::identity::IdentityCache;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_sdk_s3::config::StalledStreamProtectionConfig;
use aws_sdk_s3::config::retry::RetryConfig;
use connector::{Connector, asked_for};
use ec2::Ec2;
use instance::Held;
use keys::Kept;
use query::Query;
use std::time::Duration;
use zeroize::Zeroizing;

/// The longest that one request to AWS may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// One region, for S3 and KMS alike.
#[derive(Clone, Debug)]
pub struct Aws {
    s3: aws_sdk_s3::Client,
    kms: aws_sdk_kms::Client,
    /// What all clients are made of.
    config: SdkConfig,
    /// The ways of the two clients: each has connections of its own, that may be open ahead.
    ways: [Connector; 2],
    /// What an instance holds; nothing with the default chain.
    held: Held,
    /// Who signs; the same for both clients.
    keys: SharedCredentialsProvider,
    region: String,
    clock: Clock,
}

/// A role's temporary credentials, as the metadata service hands them out.
pub struct Credentials {
    /// `AccessKeyId`
    pub access_key_id: String,
    /// `SecretAccessKey`
    pub secret_access_key: Zeroizing<String>,
    /// `Token`
    pub session_token: Option<Zeroizing<String>>,
    /// `Expiration`
    pub expires_at: Option<Second>,
}

impl Aws {
    /// With whatever credentials the SDK's default chain finds: environment (a Lambda's), profile,
    /// container, instance. They are resolved once and cached until they expire.
    ///
    /// # Errors
    /// [`Error::NoRegion`] when neither `region` nor the environment or profile names one.
    pub async fn with_default_chain(
        region: Option<&str>,
        trust: &Trust,
        caller: &Caller,
    ) -> Result<Self, Error> {
        Self::load(region, trust, caller, Clock::default(), None).await
    }

    /// With the credentials that [`Aws::hold`] is given and no others: on an instance, whose own role is
    /// the point. Without any, nothing is sent.
    ///
    /// # Errors
    /// When the trust cannot be used.
    pub async fn on_instance(
        region: &str,
        trust: &Trust,
        caller: &Caller,
        clock: &Clock,
    ) -> Result<Self, Error> {
        Self::load(Some(region), trust, caller, clock.clone(), Some(Held::default())).await
    }

    /// Signs with these from now on. When they end is the caller's to judge: by a clock that is wrong,
    /// they look expired.
    pub fn hold(&self, credentials: &Credentials) {
        self.held.replace(credentials);
    }

    /// Where the SDK would send the requests for objects of this bucket, and those to KMS; nothing is sent.
    /// It is the SDK's own answer, with every setting that it heeds.
    pub async fn endpoints(&self, bucket: &str) -> [Option<String>; 2] {
        let s3 = asked_for(self.s3.get_object().bucket(bucket).key("endpoint").send());
        let kms = asked_for(self.kms.decrypt().key_id("endpoint").ciphertext_blob(vec![0].into()).send());
        // A future of the SDK is large.
        let (s3, kms) = (Box::pin(s3), Box::pin(kms));
        [s3.await, kms.await]
    }

    /// Opens a connection to each of the two for its next request. What goes wrong shows again there.
    pub async fn open(&self, bucket: &str) {
        let [s3, kms] = self.endpoints(bucket).await;
        let [to_s3, to_kms] = &self.ways;
        tokio::join!(to_s3.open(s3), to_kms.open(kms));
    }

    /// The region that requests go to and are signed for.
    #[must_use]
    pub fn region(&self) -> &str {
        &self.region
    }

    /// A bucket. With `owner`, a bucket of that name which another account owns is refused by S3
    /// itself: without it, a name that was freed and taken by a stranger would go unseen.
    #[must_use]
    pub fn bucket(&self, name: &str, owner: Option<&str>) -> Bucket {
        Bucket::new(self.s3.clone(), self.clock.clone(), name, owner)
    }

    /// The same for objects of at most so many bytes, where that is more than a megabyte.
    #[must_use]
    pub fn bucket_reading(&self, name: &str, owner: Option<&str>, most: usize) -> Bucket {
        let [way, _] = &self.ways;
        // An answer has a little more than its object.
        let way = way.another().reading(most.saturating_add(connector::LARGEST));
        let s3 = aws_sdk_s3::config::Builder::from(&self.config).http_client(way);
        let s3 = s3.credentials_provider(self.keys.clone()).build();
        Bucket::new(aws_sdk_s3::Client::from_conf(s3), self.clock.clone(), name, owner)
    }

    /// KMS.
    #[must_use]
    pub fn kms(&self) -> Kms {
        Kms::new(self.kms.clone(), self.clock.clone())
    }

    /// EC2.
    #[must_use]
    pub fn ec2(&self) -> Ec2 {
        Ec2::new(self.query("ec2", "EC2").reading(ec2::reply::LARGEST))
    }

    /// `sts:GetCallerIdentity`: the account that these credentials are of, twelve digits. No permission is
    /// needed for it, and none can forbid it.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn account(&self) -> Result<String, Error> {
        let operation = "sts:GetCallerIdentity";
        let body = self.query("sts", "STS").call(operation, "2011-06-15", &[]).await?;
        ec2::reply::account(&body).map_err(|source| Error::Strange { operation, source: source.into() })
    }

    /// A way of its own for a service whose client is not the SDK's.
    fn query(&self, service: &'static str, id: &'static str) -> Query {
        let [way, _] = &self.ways;
        Query::new(&self.config, (service, id), way.another(), self.keys.clone(), self.clock.clone())
    }

    async fn load(
        region: Option<&str>,
        trust: &Trust,
        caller: &Caller,
        clock: Clock,
        held: Option<Held>,
    ) -> Result<Self, Error> {
        let tls = Tls::new(trust)?;
        let ways = [Connector::new(&tls, caller), Connector::new(&tls, caller)];
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(Connector::new(&tls, caller))
            .retry_config(RetryConfig::disabled())
            // Objects and replies are small, and every call has a time-out.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(region) = region {
            loader = loader.region(Region::new(region.to_owned()));
        }
        if let Some(held) = &held {
            // They are held here already, and they change when ours say so.
            loader = loader.credentials_provider(held.clone()).identity_cache(IdentityCache::no_cache());
        }
        let config: SdkConfig = loader.load().await;
        let region = config.region().ok_or(Error::NoRegion)?.to_string();
        let chain =
            config.credentials_provider().unwrap_or_else(|| SharedCredentialsProvider::new(Held::default()));
        let keys = match &held {
            Some(_) => chain,
            None => SharedCredentialsProvider::new(Kept::new(chain, clock.clone())),
        };
        let held = held.unwrap_or_default();
        let [to_s3, to_kms] = ways.clone();
        let s3 = aws_sdk_s3::config::Builder::from(&config).http_client(to_s3);
        let s3 = s3.credentials_provider(keys.clone()).build();
        let kms = aws_sdk_kms::config::Builder::from(&config).http_client(to_kms);
        let kms = kms.credentials_provider(keys.clone()).build();
        let (s3, kms) = (aws_sdk_s3::Client::from_conf(s3), aws_sdk_kms::Client::from_conf(kms));
        Ok(Self { s3, kms, config, ways, held, keys, region, clock })
    }
}

#[cfg(test)]
mod tests;
