//! How a request is put together and its answer read: encoding, headers, caps, time-outs.

use super::reply::Reply;
use super::{Conjur, Error};
use crate::door::certificate::Fault;
use crate::token::{AccessToken, ApiKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Method;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, USER_AGENT};
use std::time::Duration;
use zeroize::{Zeroize, Zeroizing};

/// From the first byte of the request to the last of the answer. A Conjur under a boot wave was
/// seen to take seconds; one that takes this long is not going to answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The largest answer of a call about one thing.
const LARGEST: usize = 64 * 1024;

/// The largest page of factories, and the largest single one: some 16,000 tokens.
const LARGEST_PAGE: usize = 4 * 1024 * 1024;

/// Everything but RFC 3986's unreserved characters. Not `application/x-www-form-urlencoded`'s set:
/// Conjur does not read `+` as a space in a path.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A request's body. Server 1.22.3 ignores a body without a Content-Type, so each kind has one.
pub(super) enum Body {
    /// `text/plain`, of bytes that are wiped.
    Bytes(Zeroizing<Vec<u8>>),
    /// No body.
    None,
    /// `application/x-www-form-urlencoded`, as Rack's nested query.
    Form(Vec<(String, String)>),
    /// `application/x-yaml`: statements of policy.
    Policy(String),
    /// `text/plain`, byte for byte.
    Text(Zeroizing<String>),
}

/// One path segment, or one part of a query: a slash becomes `%2F`.
pub(super) fn encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// `Token token="..."` around a host factory token as it is. The scheme's capital and the quotes are
/// required: without them the answer is 401.
pub(super) fn quoted(token: &str) -> HeaderValue {
    secret_header(&[b"Token token=\"", token.as_bytes(), b"\""])
}

/// `Token token="..."` around an access token in base64.
pub(super) fn session(token: &AccessToken) -> HeaderValue {
    let encoded = Zeroizing::new(BASE64.encode(token.expose()));
    secret_header(&[b"Token token=\"", encoded.as_bytes(), b"\""])
}

/// `Basic ...` of a login and its key. A login of ours has no colon.
pub(super) fn basic(login: &str, key: &ApiKey) -> HeaderValue {
    let pair = Zeroizing::new(format!("{login}:{}", key.expose()));
    let encoded = Zeroizing::new(BASE64.encode(pair.as_bytes()));
    secret_header(&[b"Basic ", encoded.as_bytes()])
}

/// Bytes that are wiped when the last that holds them lets go.
struct Owner<T: Zeroize>(Zeroizing<T>);

impl<T: Zeroize + AsRef<[u8]>> AsRef<[u8]> for Owner<T> {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref()
    }
}

/// A header whose bytes are wiped with their last owner and which no one prints.
fn secret_header(parts: &[&[u8]]) -> HeaderValue {
    // Room for all of it at once: growing would leave copies behind.
    let mut text = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
    parts.iter().for_each(|part| text.extend_from_slice(part));
    let mut header = HeaderValue::from_maybe_shared(Bytes::from_owner(Owner(text)))
        // Tokens and base64 are always legal in a header.
        .unwrap_or_else(|_| HeaderValue::from_static(""));
    header.set_sensitive(true);
    header
}

impl Conjur {
    /// One request, and its whole answer if it is not too large.
    pub(super) async fn send(
        &self,
        operation: &'static str,
        method: Method,
        path: &str,
        authorization: Option<HeaderValue>,
        body: Body,
    ) -> Result<Reply, Error> {
        self.send_to(self.url().as_str(), operation, method, path, authorization, body).await
    }

    /// The same below another URL of this server.
    pub(super) async fn send_to(
        &self,
        base: &str,
        operation: &'static str,
        method: Method,
        path: &str,
        authorization: Option<HeaderValue>,
        body: Body,
    ) -> Result<Reply, Error> {
        let server = self.server();
        let url = Zeroizing::new(format!("{base}{path}"));
        let mut request = self.door.client().request(method, url.as_str()).timeout(TIMEOUT);
        request = request.header(USER_AGENT, self.caller.user_agent());
        request = request.header("X-Request-Id", self.caller.request_id());
        if let Some(header) = authorization {
            request = request.header(AUTHORIZATION, header);
        }
        request = match body {
            Body::Bytes(bytes) => {
                request.header(CONTENT_TYPE, "text/plain").body(Bytes::from_owner(Owner(bytes)))
            }
            Body::None => request,
            Body::Form(pairs) => {
                request.header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form(&pairs))
            }
            Body::Policy(statements) => request.header(CONTENT_TYPE, "application/x-yaml").body(statements),
            Body::Text(text) => {
                request.header(CONTENT_TYPE, "text/plain").body(Bytes::from_owner(Owner(text)))
            }
        };
        // The URL of a revoke holds a token: errors go on without it.
        let broken = |source: reqwest::Error| {
            let (server, source) = (server.clone(), source.without_url());
            if let Some(fault) = Fault::of(&source) {
                Error::Certificate { operation, server, fault, source }
            } else if source.is_connect() || source.is_builder() {
                Error::Unreachable { operation, server, source }
            } else {
                Error::Interrupted { operation, server, source }
            }
        };
        let mut response = request.send().await.map_err(broken)?;
        let most = match operation {
            "list_factories" | "members" | "show_factory" => LARGEST_PAGE,
            _ => LARGEST,
        };
        let mut text = Zeroizing::new(Vec::new());
        while let Some(part) = response.chunk().await.map_err(broken)? {
            if text.len() + part.len() > most {
                return Err(Error::TooLarge { operation, server, most });
            }
            text.extend_from_slice(&part);
        }
        let retry_after = response.headers().get(RETRY_AFTER).and_then(seconds);
        Ok(Reply { operation, server, status: response.status().as_u16(), retry_after, text })
    }

    /// Scheme, host and port.
    pub(super) fn origin(&self) -> String {
        let scheme = self.url().as_str().split_once("://").map_or("https", |(scheme, _)| scheme);
        format!("{scheme}://{}", self.server())
    }

    /// Host and port, for messages.
    pub(super) fn server(&self) -> String {
        let rest = self.url().as_str().split_once("://").map_or("", |(_, rest)| rest);
        rest.split('/').next().unwrap_or_default().to_owned()
    }
}

fn form(pairs: &[(String, String)]) -> String {
    let encoded: Vec<String> = pairs.iter().map(|(k, v)| format!("{}={}", encode(k), encode(v))).collect();
    encoded.join("&")
}

/// `Retry-After` in seconds; its date form is as good as absent.
fn seconds(header: &HeaderValue) -> Option<Duration> {
    header.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_is_exact() {
        let check = |text, want| assert_eq!(encode(text), want);
        check("host/app/i-1", "host%2Fapp%2Fi-1");
        check("a b+c&d=e%f", "a%20b%2Bc%26d%3De%25f");
        check("é\n", "%C3%A9%0A");
        check("-._~", "-._~");
        let pairs = [
            ("annotations[authn/api-key]".to_owned(), "true".to_owned()),
            ("cidr[]".to_owned(), "10.0.0.0/8".to_owned()),
        ];
        assert_eq!(form(&pairs), "annotations%5Bauthn%2Fapi-key%5D=true&cidr%5B%5D=10.0.0.0%2F8");
    }

    #[test]
    fn secret_headers_are_exact_and_do_not_print() {
        let header = quoted("0123456789abcdef");
        assert_eq!(header.as_bytes(), b"Token token=\"0123456789abcdef\"");
        assert!(!format!("{header:?}").contains("0123"), "{header:?}");
        let access = AccessToken::new(Zeroizing::new(b"{\"payload\":\"x\"}".to_vec()));
        assert_eq!(session(&access).as_bytes(), b"Token token=\"eyJwYXlsb2FkIjoieCJ9\"");
        let key = ApiKey::new(Zeroizing::new("0123456789abcdef".to_owned())).unwrap();
        assert_eq!(basic("host/a/b", &key).as_bytes(), b"Basic aG9zdC9hL2I6MDEyMzQ1Njc4OWFiY2RlZg==");
    }

    #[test]
    fn retry_after() {
        let check = |text: &str, want: Option<u64>| {
            assert_eq!(
                seconds(&HeaderValue::from_str(text).unwrap()),
                want.map(Duration::from_secs),
                "{text}"
            );
        };
        check("8", Some(8));
        check(" 0 ", Some(0));
        check("1000000000", Some(1_000_000_000));
        check("-1", None);
        check("Sun, 22 Nov 2026 08:00:00 GMT", None);
        check("99999999999999999999999", None);
    }
}
