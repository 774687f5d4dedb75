//! Proof of the role that this process has: GetCallerIdentity, signed here and sent by Conjur's
//! authn-iam, which asks STS whose signature it is.
//!
//! What Conjur takes, seen in its 1.22 and 1.24 servers' sources: five headers and no other, all of them
//! there and signed; the region from the host; the query as it stands below. STS itself refuses what is
//! older than 15 minutes.

use super::Aws;
use super::sign::{Unsigned, sign};
use crate::error::{Class, Classified};
use crate::token::RoleProof;
use aws_credential_types::provider::ProvideCredentials as _;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// Conjur sends exactly this.
const QUERY: &str = "Action=GetCallerIdentity&Version=2011-06-15";

/// The STS that Conjur shall ask.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Sts {
    /// `sts.amazonaws.com`, which is signed for as `us-east-1`.
    Global,
    /// `sts.<region>.amazonaws.com`
    Region(String),
}

/// Why there is no proof of a role.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// The chain has no credentials.
    #[error("there are no AWS credentials to prove a role with")]
    Credentials(#[source] aws_credential_types::provider::error::CredentialsError),
    /// Keys of a user.
    #[error("the AWS credentials have no session: they are long-lived keys, and Conjur takes roles alone")]
    LongLived,
    /// The region of the environment.
    #[error("no STS can be named for {region}")]
    Region {
        /// As it was found.
        region: String,
        /// What Conjur takes.
        #[source]
        source: NoSts,
    },
    /// The signature cannot be made.
    #[error("the request to STS cannot be signed")]
    Signing(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The text names no STS that Conjur asks.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "must be \"global\", or a region such as eu-west-1 or us-gov-west-1: Conjur's authn-iam asks no STS of China or of an isolated or sovereign partition"
)]
pub struct NoSts;

impl Classified for RoleError {
    fn class(&self) -> Class {
        match self {
            Self::Credentials(_) => Class::Transient,
            Self::LongLived | Self::Region { .. } => Class::Config,
            Self::Signing(_) => Class::Bug,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Credentials(_) => Some("see that the role's credentials are to be had where this runs"),
            Self::LongLived => Some(
                "run it with a role (a Lambda's, an instance's, or aws sts assume-role), or log in with an API key",
            ),
            Self::Region { .. } => Some("set sts in the configuration, or log in with an API key"),
            Self::Signing(_) => None,
        }
    }
}

impl Sts {
    fn host(&self) -> String {
        match self {
            Self::Global => "sts.amazonaws.com".to_owned(),
            Self::Region(region) => format!("sts.{region}.amazonaws.com"),
        }
    }

    fn region(&self) -> &str {
        match self {
            Self::Global => "us-east-1",
            Self::Region(region) => region,
        }
    }
}

impl FromStr for Sts {
    type Err = NoSts;

    /// `global`, or a region of Conjur's pattern `[a-z]{2}(-gov)?-[a-z]+-\d` whose STS is below
    /// `amazonaws.com`.
    fn from_str(text: &str) -> Result<Self, NoSts> {
        if text == "global" {
            return Ok(Self::Global);
        }
        let parts: Vec<&str> = text.split('-').collect();
        let (area, place, number) = match parts.as_slice() {
            [area, "gov", place, number] | [area, place, number] => (area, place, number),
            _ => return Err(NoSts),
        };
        let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase());
        let fits = area.len() == 2
            && is_word(area)
            && is_word(place)
            && place.len() <= 20
            && number.len() == 1
            && number.bytes().all(|b| b.is_ascii_digit());
        // The pattern takes China's regions, whose STS is elsewhere.
        if fits && *area != "cn" { Ok(Self::Region(text.to_owned())) } else { Err(NoSts) }
    }
}

impl fmt::Display for Sts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Region(region) => f.write_str(region),
        }
    }
}

impl Aws {
    /// Signs the question who this is, for this STS, or that of the region. Nothing is sent, and no
    /// permission is needed: STS answers everybody.
    ///
    /// # Errors
    /// See [`RoleError`].
    pub async fn role_proof(&self, sts: Option<&Sts>) -> Result<RoleProof, RoleError> {
        let keys = self.keys.provide_credentials().await.map_err(RoleError::Credentials)?;
        if keys.session_token().is_none() {
            return Err(RoleError::LongLived);
        }
        let sts = match sts {
            Some(sts) => sts.clone(),
            None => self
                .region
                .parse()
                .map_err(|source| RoleError::Region { region: self.region.clone(), source })?,
        };
        let host = sts.host();
        let request = Unsigned {
            method: "GET",
            uri: &format!("https://{host}/?{QUERY}"),
            headers: &[],
            body: &[],
            service: "sts",
            region: sts.region(),
            tells_digest: true,
        };
        let added = sign(&request, &keys, self.clock.now()).map_err(RoleError::Signing)?;
        let mut headers: BTreeMap<&str, &str> =
            added.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        headers.insert("host", &host);
        // Room for all of it at once: growing would leave copies behind.
        let mut json = Zeroizing::new(Vec::with_capacity(8 * 1024));
        serde_json::to_writer(&mut *json, &headers).map_err(|e| RoleError::Signing(e.into()))?;
        Ok(RoleProof::new(json))
    }
}

#[cfg(test)]
mod tests;
