//! [`Effects`]: everything the rotator does to the world, which is also the list of permissions it
//! needs, in the order of its IAM policy and of its Conjur permits. [`Real`] does them.

use crate::config::{self, Config};
use crate::login;
use crate::session::LogIn;
use imprint_core::aws::{self, Bucket, ETag, Encrypted, Kms, Object, Only};
use imprint_core::caller::Caller;
use imprint_core::conjur::{self, Conjur, Factory, Mint, Minted, Revoked};
use imprint_core::door::{self, Door, Trust};
use imprint_core::error::{Class, Classified};
use imprint_core::name::FactoryId;
use imprint_core::sealed::LARGEST_OBJECT;
use imprint_core::second::Second;
use imprint_core::token::{AccessToken, Token};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;
use zeroize::Zeroizing;

/// One method for one IAM action or Conjur privilege. None of them repeats anything by itself.
#[expect(async_fn_in_trait, reason = "flows run on one thread and nothing is spawned, so no Send is needed")]
pub trait Effects: LogIn {
    /// `kms:Encrypt` on the key.
    async fn encrypt(&self, token: &Token, context: &Context) -> Result<Encrypted, Error>;
    /// `kms:Decrypt` on the key, for the read back.
    async fn decrypt(&self, ciphertext: &[u8], context: &Context) -> Result<Zeroizing<Vec<u8>>, Error>;
    /// `s3:GetObject` on `factories/*`; with `s3:ListBucket`, or an absent object looks forbidden.
    async fn fetch(&self, key: &str) -> Result<Object, Error>;
    /// `s3:PutObject` on `factories/*`, always under a condition.
    async fn put(&self, key: &str, bytes: Vec<u8>, only: &Only) -> Result<ETag, Error>;
    /// Conjur: any privilege on a factory shows it with its tokens. Of the configuration's factories, those
    /// that the pages show; one that is not among them may be there all the same.
    async fn list_factories(&self, with: &AccessToken) -> Result<Vec<Factory>, Error>;
    /// Conjur: the same of one factory; `None` when there is none, or no privilege on it.
    async fn show_factory(&self, with: &AccessToken, id: &FactoryId) -> Result<Option<Factory>, Error>;
    /// Conjur: `execute` on the factory.
    async fn mint(&self, with: &AccessToken, ask: &Mint<'_>) -> Result<Vec<Minted>, Error>;
    /// Conjur: `update` on the factory.
    async fn revoke(&self, with: &AccessToken, token: &Token) -> Result<Revoked, Error>;
}

/// A KMS encryption context.
pub type Context = BTreeMap<String, String>;

/// Why an effect failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// S3 or KMS.
    #[error(transparent)]
    Aws(#[from] aws::Error),
    /// The proof of the rotator's AWS role.
    #[error(transparent)]
    Role(#[from] aws::RoleError),
    /// The API key that is sealed in the bucket.
    #[error(transparent)]
    SealedLogin(#[from] login::sealed::Error),
    /// The rotator's own settings or key.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// Conjur.
    #[error(transparent)]
    Conjur(#[from] conjur::Error),
    /// No HTTP client could be made.
    #[error("no way to Conjur")]
    Door(#[from] door::Error),
}

impl Error {
    /// Conjur no longer takes the access token.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        matches!(self, Self::Conjur(error) if error.is_unauthorized())
    }

    /// Somebody else's put came first.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        matches!(self, Self::Aws(error) if error.is_conflict())
    }

    /// Two conditional puts met; this one was not done, and S3 asks to try it again.
    #[must_use]
    pub fn is_contended(&self) -> bool {
        matches!(self, Self::Aws(error) if error.is_conflict() && error.code() == Some("ConditionalRequestConflict"))
    }

    /// There is no such object, and it is not merely hidden from this role.
    #[must_use]
    pub fn is_surely_absent(&self) -> bool {
        matches!(self, Self::Aws(error) if error.is_absent() && matches!(error.code(), Some("NoSuchKey" | "NotFound")))
    }

    /// There is no such object, or this role may not know.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        matches!(self, Self::Aws(error) if error.is_absent())
    }

    /// Conjur may have done what it was asked for, although no good answer came.
    #[must_use]
    pub fn is_unknown_outcome(&self) -> bool {
        matches!(self, Self::Conjur(error) if error.is_unknown_outcome())
    }
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Aws(error) => error.class(),
            Self::Config(error) => error.class(),
            Self::Conjur(error) => error.class(),
            Self::Door(error) => error.class(),
            Self::Role(error) => error.class(),
            Self::SealedLogin(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Aws(error) => error.hint(),
            Self::Config(error) => error.hint(),
            Self::Conjur(conjur::Error::Status { operation, status, .. })
                if hint_of(operation, *status).is_some() =>
            {
                hint_of(operation, *status)
            }
            Self::Conjur(error) => error.hint(),
            Self::Door(error) => error.hint(),
            Self::Role(error) => error.hint(),
            Self::SealedLogin(error) => error.hint(),
        }
        .or_else(|| self.class().advice())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Aws(error) => error.retry_after(),
            Self::Conjur(error) => error.retry_after(),
            Self::Config(_) | Self::Door(_) | Self::Role(_) | Self::SealedLogin(_) => None,
        }
    }
}

/// What a person can do about a refusal, seen from the rotator.
fn hint_of(operation: &str, status: u16) -> Option<&'static str> {
    match (operation, status) {
        ("mint", 403) => Some("permit the rotator's role execute on this host factory"),
        ("mint", 404) => {
            Some("the host factory is gone, or the rotator's role has no privilege on it any more")
        }
        ("revoke", 403) => {
            Some("permit the rotator's role update on this host factory, or set revoke = false")
        }
        ("authenticate_with_role", 401) => Some(
            "authn-iam says 401 to everything: see that it is enabled, that login ends with this role's account and name, that Conjur reaches STS, and this machine's clock",
        ),
        ("authenticate_with_role", 403) => {
            Some("permit the rotator's host authenticate on the webservice conjur/authn-iam/<authn_iam>")
        }
        (_, 401) => Some(
            "Conjur does not take the rotator's login: check login, its API key, and from where the host may log in (restricted_to)",
        ),
        _ => None,
    }
}

/// The effects on the real Conjur, S3 and KMS.
pub struct Real {
    config: Rc<Config>,
    conjur: Conjur,
    login: login::Real,
    bucket: Bucket,
    kms: Kms,
}

impl Real {
    /// The clients of a configuration, all of which say that they ask for this caller. Nothing is sent but
    /// what the credentials' chain needs.
    ///
    /// # Errors
    /// When a client cannot be made or no region is known.
    pub async fn new(config: Rc<Config>, caller: &Caller) -> Result<Self, Error> {
        // With a CA file, Conjur is whoever it vouches for, and nobody else.
        let conjur = config.ca.clone().map_or(Trust::Public, Trust::Only);
        let conjur = Conjur::new(
            Door::to(&config.leader_url, &conjur)?,
            config.leader_url.clone(),
            config.account.clone(),
            caller.clone(),
        );
        let aws = config.aws.client(caller).await?;
        let bucket = aws.bucket(&config.aws.bucket, Some(&config.aws.bucket_owner));
        let login = login::Real::new(&config, conjur.clone(), &aws);
        Ok(Self { config, conjur, login, bucket, kms: aws.kms() })
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

    async fn list_factories(&self, with: &AccessToken) -> Result<Vec<Factory>, Error> {
        let ours: BTreeSet<&FactoryId> = self.config.factories.iter().map(|factory| &factory.id).collect();
        Ok(self.conjur.list_factories(with, |id| ours.contains(id)).await?)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_error_means_to_the_flow() {
        let aws = |operation, code: &str, status| -> Error {
            let (resource, code) = ("it".to_owned(), code.to_owned());
            aws::Error::Answered { operation, resource, code, status }.into()
        };
        let conjur = |operation, status| -> Error {
            conjur::Error::Status { operation, server: "it".into(), status, retry_after: None }.into()
        };
        let check = |error: &Error, marks: &str, class: Class, hint: &str| {
            let is = |mark: &'static str, yes: bool| if yes { mark } else { "" };
            let found = [
                is("401 ", error.is_unauthorized()),
                is("conflict ", error.is_conflict()),
                is("contended ", error.is_contended()),
                is("absent ", error.is_absent()),
                is("surely ", error.is_surely_absent()),
                is("unknown ", error.is_unknown_outcome()),
            ];
            assert_eq!(found.concat().trim_end(), marks, "{error}");
            assert_eq!(error.class(), class, "{error}");
            assert!(error.hint().unwrap_or_default().contains(hint), "{error}: {:?}", error.hint());
        };
        check(&aws("s3:GetObject", "NoSuchKey", 404), "absent surely", Class::Absent, "");
        check(&aws("s3:GetObject", "AccessDenied", 403), "absent", Class::Absent, "");
        check(&aws("s3:PutObject", "PreconditionFailed", 412), "conflict", Class::Transient, "");
        check(
            &aws("s3:PutObject", "ConditionalRequestConflict", 409),
            "conflict contended",
            Class::Transient,
            "",
        );
        check(&aws("s3:PutObject", "AccessDenied", 403), "", Class::Refused, "policy");
        check(&conjur("mint", 401), "401", Class::Refused, "login");
        check(&conjur("mint", 403), "", Class::Refused, "execute");
        check(&conjur("revoke", 403), "", Class::Refused, "update");
        check(&conjur("mint", 500), "unknown", Class::Transient, "");
        check(&config::Error::None.into(), "", Class::Config, "");
    }
}
