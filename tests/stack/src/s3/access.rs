//! Who may do it: keys, session, time, bucket owner and role, in this order.

use super::store::Store;
use crate::aws::{Credentials, Unknown};
use jiff::{SignedDuration, Timestamp, civil, tz::TimeZone};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::{S3Auth, SecretKey};
use s3s::path::S3Path;
use s3s::{S3Result, s3_error};
use std::collections::BTreeMap;

/// How far a request's time may be from the server's.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// The secrets by which s3s checks signatures.
pub(super) struct Secrets(pub(super) Credentials);

#[async_trait::async_trait]
impl S3Auth for Secrets {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        match self.0.secret(access_key) {
            Some(secret) => Ok(SecretKey::from(secret)),
            None => Err(s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            )),
        }
    }
}

/// The check that comes after the signature.
pub(super) struct Access {
    pub(super) credentials: Credentials,
    pub(super) store: Store,
}

/// Whether the caller may know which keys exist: with it an absent object is 404, else 403.
#[derive(Clone, Copy)]
pub(super) struct MayList(pub(super) bool);

#[async_trait::async_trait]
impl S3Access for Access {
    async fn check(&self, cx: &mut S3AccessContext<'_>) -> S3Result<()> {
        let denied = || s3_error!(AccessDenied, "Access Denied");
        let header = |name: &str| cx.headers().get(name).and_then(|v| v.to_str().ok());
        let key = cx.credentials().ok_or_else(denied)?.access_key.clone();
        let caller = self.credentials.caller(&key, header("x-amz-security-token"));
        let caller = caller.map_err(|why| match why {
            Unknown::Expired => s3_error!(ExpiredToken, "The provided token has expired."),
            Unknown::Key => s3_error!(
                InvalidAccessKeyId,
                "The AWS Access Key Id you provided does not exist in our records."
            ),
            Unknown::Token => {
                s3_error!(InvalidToken, "The provided token is malformed or otherwise invalid.")
            }
        })?;
        let sent = header("x-amz-date").and_then(basic).ok_or_else(denied)?;
        if self.credentials.clock().now().duration_since(sent).abs() > WINDOW {
            return Err(s3_error!(
                RequestTimeTooSkewed,
                "The difference between the request time and the current time is too large."
            ));
        }
        let (bucket, object) = match cx.s3_path() {
            S3Path::Root => return Err(denied()),
            S3Path::Bucket { bucket } => (bucket, None),
            S3Path::Object { bucket, key } => (bucket, Some(key)),
        };
        let owner = self.store.owner(bucket);
        let owner = owner.ok_or_else(|| s3_error!(NoSuchBucket, "The specified bucket does not exist"))?;
        if header("x-amz-expected-bucket-owner").is_some_and(|expected| expected != owner) {
            return Err(denied());
        }
        let arn = format!("arn:aws:s3:::{bucket}");
        let resource = match object {
            Some(key) => format!("{arn}/{key}"),
            None => arn.clone(),
        };
        let versioned = cx.uri().query().is_some_and(|q| q.split('&').any(|p| p.starts_with("versionId=")));
        let mut needed = vec![action(cx.s3_op().name(), versioned)];
        if needed[0] == "s3:PutObject" && cx.headers().contains_key(http::header::IF_MATCH) {
            // To compare is to learn: S3 asks for both.
            needed.push("s3:GetObject".to_owned());
        }
        let none = BTreeMap::new();
        for action in needed {
            if !caller.policy.allows(&action, &resource, &none) {
                return Err(s3s::S3Error::with_message(
                    s3s::S3ErrorCode::AccessDenied,
                    format!(
                        "User: {} is not authorized to perform: {action} on resource: \"{resource}\" \
                         because no identity-based policy allows the {action} action",
                        caller.arn
                    ),
                ));
            }
        }
        let may_list = caller.policy.allows("s3:ListBucket", &arn, &none);
        cx.extensions_mut().insert(MayList(may_list));
        Ok(())
    }
}

/// The IAM action that an operation needs.
fn action(operation: &str, versioned: bool) -> String {
    match (operation, versioned) {
        ("GetObject" | "HeadObject", false) => "s3:GetObject".to_owned(),
        ("GetObject" | "HeadObject", true) => "s3:GetObjectVersion".to_owned(),
        ("DeleteObject", true) => "s3:DeleteObjectVersion".to_owned(),
        ("HeadBucket", _) => "s3:ListBucket".to_owned(),
        (other, _) => format!("s3:{other}"),
    }
}

/// A time in ISO 8601's basic format.
fn basic(text: &str) -> Option<Timestamp> {
    let time = civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
}
