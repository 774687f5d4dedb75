//! Signature Version 4, the checking side, for services whose whole body is hashed.
//!
//! Source: "Create a signed AWS API request" in the IAM User Guide. S3, whose bodies come in
//! signed chunks and whose paths are encoded once, is checked by s3s instead.

use super::{Caller, Credentials, Unknown};
use crate::server::Request;
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp, civil};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

/// How far a request's time may be from the server's, for JSON services.
pub(crate) const WINDOW: SignedDuration = SignedDuration::from_mins(5);

/// Why a request is refused before anybody looks at what it asks.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Refusal {
    /// The keys are unknown, or their session is wrong or over.
    Keys(Unknown),
    /// Something is missing or malformed in the header.
    Incomplete(String),
    /// There is no Authorization header.
    Missing,
    /// The signature, its scope or its time is wrong; the text is what AWS says.
    Signature(String),
}

const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. \
    Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";

/// Checks the signature of a request for this region and service, whose time may differ by `window`; tells
/// who signed it.
pub(crate) fn verify(
    request: &Request,
    credentials: &Credentials,
    region: &str,
    service: &str,
    window: SignedDuration,
) -> Result<Caller, Refusal> {
    let header = request.header("authorization").ok_or(Refusal::Missing)?;
    let fields = header
        .strip_prefix("AWS4-HMAC-SHA256 ")
        .ok_or_else(|| Refusal::Incomplete("Authorization header is not AWS4-HMAC-SHA256".to_owned()))?;
    let field = |name: &str| {
        fields
            .split(',')
            .find_map(|f| f.trim().strip_prefix(name)?.strip_prefix('='))
            .ok_or_else(|| Refusal::Incomplete(format!("Authorization header requires '{name}' parameter.")))
    };
    let (credential, signed, signature) =
        (field("Credential")?, field("SignedHeaders")?, field("Signature")?);
    let scope: Vec<&str> = credential.split('/').collect();
    let &[access_key, day, scope_region, scope_service, "aws4_request"] = scope.as_slice() else {
        return Err(Refusal::Incomplete(
            "Credential must have exactly 5 slash-delimited elements".to_owned(),
        ));
    };
    let date = request.header("x-amz-date").ok_or_else(|| {
        Refusal::Incomplete("Authorization header requires existence of 'X-Amz-Date'".to_owned())
    })?;
    let secret = credentials.secret(access_key).ok_or(Refusal::Keys(Unknown::Key))?;
    let caller =
        credentials.caller(access_key, request.header("x-amz-security-token")).map_err(Refusal::Keys)?;
    if scope_region != region {
        return Err(Refusal::Signature(format!(
            "Credential should be scoped to a valid region, not '{scope_region}'."
        )));
    }
    if scope_service != service {
        return Err(Refusal::Signature(format!(
            "Credential should be scoped to correct service: '{service}'."
        )));
    }
    if !date.starts_with(day) {
        return Err(Refusal::Signature(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{day}' != '{date}'."
        )));
    }
    in_time(date, credentials.clock().now(), window)?;
    let signed: Vec<&str> = signed.split(';').collect();
    if !signed.contains(&"host") {
        return Err(Refusal::Signature(
            "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".to_owned(),
        ));
    }
    // A header that AWS reads and nobody signed could have been added on the way.
    if let Some(loose) =
        request.headers.keys().find(|h| h.as_str().starts_with("x-amz-") && !signed.contains(&h.as_str()))
    {
        return Err(Refusal::Signature(format!(
            "'{loose}' must be a 'SignedHeader' in the AWS Authorization."
        )));
    }
    let canonical = canonical_request(request, &signed);
    let scope = format!("{day}/{region}/{service}/aws4_request");
    let to_sign = format!("AWS4-HMAC-SHA256\n{date}\n{scope}\n{}", hex(&Sha256::digest(canonical)));
    let mut key = hmac(format!("AWS4{secret}").as_bytes(), day);
    for part in [region, service, "aws4_request"] {
        key = hmac(&key, part);
    }
    if hex(&hmac(&key, &to_sign)) == signature {
        Ok(caller)
    } else {
        Err(Refusal::Signature(MISMATCH.to_owned()))
    }
}

/// Refuses a request that is too old or too early.
fn in_time(date: &str, now: Timestamp, window: SignedDuration) -> Result<(), Refusal> {
    let sent = civil::DateTime::strptime("%Y%m%dT%H%M%SZ", date)
        .and_then(|d| d.to_zoned(jiff::tz::TimeZone::UTC))
        .map_err(|_| Refusal::Incomplete("Date must be in ISO-8601 'basic format'.".to_owned()))?
        .timestamp();
    let basic = |at: Timestamp| at.strftime("%Y%m%dT%H%M%SZ").to_string();
    let minutes = window.as_mins();
    let late = now.duration_since(sent);
    if late > window {
        let edge = basic(now - window);
        return Err(Refusal::Signature(format!(
            "Signature expired: {date} is now earlier than {edge} ({} - {minutes} min.)",
            basic(now)
        )));
    }
    if late < -window {
        let edge = basic(now + window);
        return Err(Refusal::Signature(format!(
            "Signature not yet current: {date} is still later than {edge} ({} + {minutes} min.)",
            basic(now)
        )));
    }
    Ok(())
}

fn canonical_request(request: &Request, signed: &[&str]) -> String {
    let mut query: Vec<&str> = request.query.split('&').filter(|q| !q.is_empty()).collect();
    query.sort_unstable();
    let query: Vec<String> =
        query.into_iter().map(|q| if q.contains('=') { q.to_owned() } else { format!("{q}=") }).collect();
    // JSON and query services encode the path once more; theirs is "/", on which that does nothing.
    let mut text = format!("{}\n{}\n{}\n", request.method, request.path, query.join("&"));
    for &name in signed {
        let values: Vec<String> = request
            .headers
            .get_all(name)
            .iter()
            .map(|v| {
                let value = String::from_utf8_lossy(v.as_bytes());
                value.split_whitespace().collect::<Vec<_>>().join(" ")
            })
            .collect();
        text.push_str(&format!("{name}:{}\n", values.join(",")));
    }
    text.push_str(&format!("\n{}\n{}", signed.join(";"), hex(&Sha256::digest(&request.body))));
    text
}

fn hmac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

/// The bytes as lower-case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("writing to a String never fails");
        text
    })
}

#[cfg(test)]
mod tests;
