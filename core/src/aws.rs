//! The only place that names the AWS SDK: S3 objects, KMS, credentials, endpoints.
//!
//! The SDK rides on our [`Door`], so TLS roots, proxies and redirects are the same for everything
//! that leaves the machine. It makes no retries of its own; partitions, FIPS, dual-stack and endpoint
//! overrides are what `aws-config` reads from the environment and the profile (`AWS_ENDPOINT_URL_S3`,
//! `AWS_USE_FIPS_ENDPOINT`, ...), never changed here.

mod connector;
mod error;
mod kms;
mod s3;

pub use error::Error;
pub use kms::{Encrypted, Kms};
pub use s3::{Bucket, ETag, Object, Only};

use crate::door::{Door, Trust};
use crate::second::Second;
use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_sdk_s3::config::StalledStreamProtectionConfig;
use aws_sdk_s3::config::retry::RetryConfig;
use connector::Connector;
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

/// The longest that one request to AWS may take.
const TIMEOUT: Duration = Duration::from_secs(20);

/// One region with one set of credentials, for S3 and KMS alike.
#[derive(Clone, Debug)]
pub struct Aws {
    config: SdkConfig,
    region: String,
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
    pub async fn with_default_chain(region: Option<&str>, trust: &Trust) -> Result<Self, Error> {
        Self::load(region, trust, |loader| loader).await
    }

    /// With these credentials and no others: on an instance, whose own role is the point.
    ///
    /// # Errors
    /// When the trust cannot be used.
    pub async fn with_credentials(region: &str, with: &Credentials, trust: &Trust) -> Result<Self, Error> {
        let credentials = aws_credential_types::Credentials::new(
            with.access_key_id.clone(),
            with.secret_access_key.to_string(),
            with.session_token.as_ref().map(|token| token.to_string()),
            with.expires_at.map(time),
            "imprint",
        );
        Self::load(Some(region), trust, |loader| loader.credentials_provider(credentials)).await
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
        Bucket::new(aws_sdk_s3::Client::new(&self.config), name, owner)
    }

    /// KMS.
    #[must_use]
    pub fn kms(&self) -> Kms {
        Kms::new(aws_sdk_kms::Client::new(&self.config))
    }

    async fn load(
        region: Option<&str>,
        trust: &Trust,
        also: impl FnOnce(ConfigLoader) -> ConfigLoader,
    ) -> Result<Self, Error> {
        let connector = Connector::new(Door::new(trust)?, Door::direct(Duration::from_secs(1))?);
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .http_client(connector)
            .retry_config(RetryConfig::disabled())
            // Objects and replies are small, and every call has a time-out.
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
        if let Some(region) = region {
            loader = loader.region(Region::new(region.to_owned()));
        }
        let config = also(loader).load().await;
        let region = config.region().ok_or(Error::NoRegion)?.to_string();
        Ok(Self { config, region })
    }
}

fn time(second: Second) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(second.unix().unsigned_abs())
}
