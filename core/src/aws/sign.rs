//! Signature Version 4 for requests that no client of the SDK makes here: GET and POST of the query
//! protocol, which carry their action in the query or the body.
//!
//! Source: "Create a signed AWS API request" in the IAM User Guide.

use crate::second::Second;
use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, SignableBody, SignableRequest, SigningSettings, sign as sign_http,
};
use aws_sigv4::sign::v4::SigningParams;
use std::time::{Duration, SystemTime};
use zeroize::Zeroizing;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A request before it is signed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unsigned<'a> {
    /// `GET` or `POST`.
    pub(super) method: &'a str,
    /// Whole, and encoded as it will be sent; its host is always signed.
    pub(super) uri: &'a str,
    /// Headers that are signed as well, beside the host and those that signing adds.
    pub(super) headers: &'a [(&'a str, &'a str)],
    /// What will be sent.
    pub(super) body: &'a [u8],
    /// The service's name in scopes, such as `sts`.
    pub(super) service: &'a str,
    /// The region that it is signed for.
    pub(super) region: &'a str,
    /// Whether the body's digest gets a header of its own, `x-amz-content-sha256`.
    pub(super) tells_digest: bool,
}

/// What signing adds, under lower-case names: `authorization`, `x-amz-date`, with a session
/// `x-amz-security-token`, and on demand `x-amz-content-sha256`. The host is not among them.
pub(super) type Added = Vec<(String, Zeroizing<String>)>;

/// Signs with these keys as of this time.
///
/// # Errors
/// When the address or a header is none.
pub(super) fn sign(request: &Unsigned<'_>, keys: &Credentials, at: Second) -> Result<Added, Source> {
    let mut settings = SigningSettings::default();
    if request.tells_digest {
        settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
    }
    let identity = keys.clone().into();
    let since_1970 = Duration::from_secs(at.unix().unsigned_abs());
    let parameters = SigningParams::builder()
        .identity(&identity)
        .region(request.region)
        .name(request.service)
        .time(SystemTime::UNIX_EPOCH + since_1970)
        .settings(settings)
        .build()?
        .into();
    let body = SignableBody::Bytes(request.body);
    let signable = SignableRequest::new(request.method, request.uri, request.headers.iter().copied(), body)?;
    let (added, _signature) = sign_http(signable, &parameters)?.into_parts();
    let (headers, _no_query) = added.into_parts();
    Ok(headers.iter().map(|h| (h.name().to_owned(), Zeroizing::new(h.value().to_owned()))).collect())
}
