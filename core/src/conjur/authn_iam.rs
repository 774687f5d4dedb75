//! Conjur's authn-iam: a login that shows a role of AWS in the place of a key.
//!
//! Conjur sends the signed question to STS itself, so it must reach STS. The host's id ends with
//! `<AWS account>/<role>`; whoever has the role is that host.

use super::wire::{Body, encode};
use super::{Conjur, Error};
use crate::error::{Class, Classified};
use crate::token::{AccessToken, RoleProof};
use reqwest::Method;
use std::fmt;
use std::str::FromStr;

/// The id of a webservice below `conjur/authn-iam/`, such as `prod`: `[A-Za-z0-9._-]+`, at most 64.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServiceId(String);

/// The text is no service's id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be the service's id alone, such as \"prod\": 1 to 64 letters, digits and . _ -")]
pub struct NoServiceId;

impl Classified for NoServiceId {
    fn class(&self) -> Class {
        Class::Config
    }
}

impl FromStr for ServiceId {
    type Err = NoServiceId;

    fn from_str(text: &str) -> Result<Self, NoServiceId> {
        let fits = (1..=64).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
            && text.bytes().any(|b| b != b'.');
        if fits { Ok(Self(text.to_owned())) } else { Err(NoServiceId) }
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Conjur {
    /// `POST /authn-iam/{service}/{account}/{login}/authenticate`: a role of AWS for an access token.
    ///
    /// 401 is everything but 403, which says that the host lacks `authenticate` on the webservice.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn authenticate_with_role(
        &self,
        service: &ServiceId,
        login: &str,
        proof: RoleProof,
    ) -> Result<AccessToken, Error> {
        let path = format!("/authn-iam/{service}/{}/{}/authenticate", self.account, encode(login));
        let body = Body::Bytes(proof.into_bytes());
        let reply = self.send("authenticate_with_role", Method::POST, &path, None, body).await?;
        reply.expect(200)?.access_token()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_a_services_id() {
        let check = |text: &str, ok: bool| assert_eq!(text.parse::<ServiceId>().is_ok(), ok, "{text:?}");
        check("prod", true);
        check("eu.prod_1-a", true);
        check(&"a".repeat(64), true);
        check(&"a".repeat(65), false);
        check("", false);
        check("..", false);
        check("conjur/authn-iam/prod", false);
        check("prod%2F", false);
        check("pr od", false);
        check("prod\n", false);
    }
}
