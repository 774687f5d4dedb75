//! STS for the one question that Conjur's authn-iam asks it: GetCallerIdentity, signed by somebody else.
//!
//! There is no socket: Conjur asks it on a way of its own. Sources: STS's API reference (every caller may
//! ask; the answer of a session is `arn:aws:sts::ACCOUNT:assumed-role/ROLE/SESSION`) and its endpoints'
//! page (the global one signs as us-east-1).

use super::{Credentials, sigv4};
use crate::server::Request;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use jiff::SignedDuration;
use std::collections::BTreeMap;

/// STS takes a signature for so long.
const WINDOW: SignedDuration = SignedDuration::from_mins(15);

/// What STS says of a caller.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Identity {
    /// The AWS account.
    pub account: String,
    /// The caller's ARN.
    pub arn: String,
}

/// `GET https://<host>/?<query>` with these headers, `host` among them. `Err`: STS says 4xx.
///
/// # Errors
/// In AWS's words, or words like it.
pub fn caller_identity(
    credentials: &Credentials,
    query: &str,
    headers: &BTreeMap<String, String>,
) -> Result<Identity, String> {
    let host = headers.get("host").map_or("", String::as_str);
    let region = match host.strip_prefix("sts.").and_then(|rest| rest.strip_suffix("amazonaws.com")) {
        Some("") => "us-east-1",
        Some(region) => region.trim_end_matches('.'),
        None => return Err(format!("{host} is no STS")),
    };
    let mut sent = HeaderMap::new();
    for (name, value) in headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|e| e.to_string())?;
        let value = HeaderValue::from_str(value).map_err(|e| e.to_string())?;
        sent.insert(name, value);
    }
    let request = Request {
        method: http::Method::GET,
        path: "/".to_owned(),
        query: query.to_owned(),
        headers: sent,
        body: Bytes::new(),
        peer: ([127, 0, 0, 1], 1).into(),
    };
    let caller = sigv4::verify(&request, credentials, region, "sts", WINDOW)
        .map_err(|refusal| format!("{refusal:?}"))?;
    Ok(Identity { account: credentials.account().to_owned(), arn: caller.arn })
}
