//! How the rotator logs in at Conjur: with an API key of its own (from a file, from the environment, or
//! sealed in the bucket), or with the AWS role that it has.
//!
//! Which way is the configuration's word ([`LoginBy`]); there is no second one to fall back on. What a
//! sealed key looks like is in [`sealed`]; `seal-login`, which puts it there, in [`crate::seal_login`].

pub mod sealed;

use crate::config::{self, Config, LoginBy};
use crate::effects::{Context, Error};
use imprint_core::aws::{Aws, Bucket, Kms, Object, Sts};
use imprint_core::caller::Caller;
use imprint_core::conjur::{Conjur, ServiceId};
use imprint_core::token::{AccessToken, ApiKey, RoleProof};
use sealed::SealedLogin;
use zeroize::Zeroizing;

/// What logging in may ask of the world, in the order of the IAM policy.
#[expect(async_fn_in_trait, reason = "flows run on one thread and nothing is spawned, so no Send is needed")]
pub trait Effects {
    /// `kms:Decrypt` on the key, for a sealed API key.
    async fn decrypt(&self, ciphertext: &[u8], context: &Context) -> Result<Zeroizing<Vec<u8>>, Error>;
    /// `s3:GetObject` on `logins/*`.
    async fn fetch(&self, key: &str) -> Result<Object, Error>;
    /// AWS: no permission. The question to STS is signed, and nothing sent.
    async fn prove_role(&self, sts: Option<&Sts>) -> Result<RoleProof, Error>;
    /// The API key's file, or the environment.
    fn key(&self, config: &Config) -> Result<ApiKey, config::Error>;
    /// Conjur: the login itself.
    async fn authenticate(&self, login: &str, key: &ApiKey) -> Result<AccessToken, Error>;
    /// Conjur: `authenticate` on the webservice `conjur/authn-iam/<service>`.
    async fn authenticate_with_role(
        &self,
        service: &ServiceId,
        login: &str,
        proof: RoleProof,
    ) -> Result<AccessToken, Error>;
}

/// Logs in, once. It changes nothing, so whoever calls may repeat it.
///
/// # Errors
/// When there is no key or role to show, or Conjur does not take it.
pub async fn log_in(config: &Config, on: &impl Effects) -> Result<AccessToken, Error> {
    let login = config.login.as_str();
    match &config.login_by {
        LoginBy::KeyFile(_) | LoginBy::KeyVariable => on.authenticate(login, &on.key(config)?).await,
        LoginBy::Role { service, sts } => {
            let proof = on.prove_role(sts.as_ref()).await?;
            on.authenticate_with_role(service, login, proof).await
        }
        LoginBy::SealedKey => on.authenticate(login, &unsealed(config, on).await?).await,
    }
}

/// The sealed key. It is read for every login, since it may have been replaced meanwhile.
pub(crate) async fn unsealed(config: &Config, on: &impl Effects) -> Result<ApiKey, Error> {
    let key = sealed::object_key(config);
    let object = match on.fetch(&key).await {
        Err(Error::Aws(source)) if source.is_absent() => return Err(sealed::Error::Absent(source).into()),
        fetched => fetched?,
    };
    let sealed = SealedLogin::parse(&object.bytes)?;
    sealed.check(config)?;
    let text = on.decrypt(sealed.ciphertext(), &sealed.context()).await?;
    Ok(sealed.open(text)?)
}

/// The real Conjur and, where the way of logging in needs it, AWS.
pub struct Real {
    conjur: Conjur,
    aws: Option<Ours>,
}

struct Ours {
    aws: Aws,
    bucket: Bucket,
    kms: Kms,
    key: String,
}

impl Real {
    /// With the clients of a run, whose credentials are then the same.
    #[must_use]
    pub fn new(config: &Config, conjur: Conjur, aws: &Aws) -> Self {
        let bucket = aws.bucket(&config.aws.bucket, Some(&config.aws.bucket_owner));
        let ours = Ours { aws: aws.clone(), bucket, kms: aws.kms(), key: config.aws.key.clone() };
        Self { conjur, aws: Some(ours) }
    }

    /// For a command that needs nothing else of AWS: without it, unless the way of logging in wants it.
    ///
    /// # Errors
    /// When no region is known.
    pub async fn alone(config: &Config, conjur: Conjur, caller: &Caller) -> Result<Self, Error> {
        if !config.login_by.needs_aws() {
            return Ok(Self { conjur, aws: None });
        }
        Ok(Self::new(config, conjur, &config.aws.client(caller).await?))
    }

    pub(crate) const fn conjur(&self) -> &Conjur {
        &self.conjur
    }

    fn ours(&self) -> Result<&Ours, Error> {
        self.aws.as_ref().ok_or(Error::Aws(imprint_core::aws::Error::NoRegion))
    }
}

impl Effects for Real {
    async fn decrypt(&self, ciphertext: &[u8], context: &Context) -> Result<Zeroizing<Vec<u8>>, Error> {
        let ours = self.ours()?;
        Ok(ours.kms.decrypt(&ours.key, ciphertext, context).await?)
    }

    async fn fetch(&self, key: &str) -> Result<Object, Error> {
        Ok(self.ours()?.bucket.get(key, sealed::LARGEST_OBJECT).await?)
    }

    async fn prove_role(&self, sts: Option<&Sts>) -> Result<RoleProof, Error> {
        Ok(self.ours()?.aws.role_proof(sts).await?)
    }

    fn key(&self, config: &Config) -> Result<ApiKey, config::Error> {
        config.api_key(|name| std::env::var(name).ok())
    }

    async fn authenticate(&self, login: &str, key: &ApiKey) -> Result<AccessToken, Error> {
        Ok(self.conjur.authenticate(login, key).await?)
    }

    async fn authenticate_with_role(
        &self,
        service: &ServiceId,
        login: &str,
        proof: RoleProof,
    ) -> Result<AccessToken, Error> {
        Ok(self.conjur.authenticate_with_role(service, login, proof).await?)
    }
}
