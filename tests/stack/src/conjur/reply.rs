//! The shapes in which Conjur answers: JSON with Rails' escapes, errors of the v1 form, empty pages with the content type of a
//! refusal by a controller or by the router, plain text from the token filter.

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Response, StatusCode};
use serde_json::Value;

/// An answer, refused or given.
pub(super) type Answer = Result<Reply, Reply>;

/// One reply before it becomes an HTTP response.
#[derive(Debug, PartialEq)]
pub(super) struct Reply {
    pub(super) status: u16,
    pub(super) content_type: Option<&'static str>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) body: Vec<u8>,
}

const JSON: &str = "application/json; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

impl Reply {
    fn new(status: u16, content_type: Option<&'static str>, body: impl Into<Vec<u8>>) -> Self {
        Self { status, content_type, headers: Vec::new(), body: body.into() }
    }

    /// Any JSON text, with `&`, `<`, `>` and the line separators escaped as Rails escapes them.
    pub(super) fn json(status: u16, value: &Value) -> Self {
        let mut text = value.to_string();
        for (raw, escaped) in [
            ("&", "\\u0026"),
            ("<", "\\u003c"),
            (">", "\\u003e"),
            ("\u{2028}", "\\u2028"),
            ("\u{2029}", "\\u2029"),
        ] {
            if text.contains(raw) {
                text = text.replace(raw, escaped);
            }
        }
        Self::new(status, Some(JSON), text)
    }

    /// Plain text, as keys are sent.
    pub(super) fn text(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Self::new(status, Some(TEXT), body)
    }

    /// Raw bytes of a secret.
    pub(super) fn binary(body: Vec<u8>) -> Self {
        Self::new(200, Some("application/octet-stream"), body)
    }

    /// A page.
    pub(super) fn html(status: u16, body: &str) -> Self {
        Self::new(status, Some("text/html; charset=utf-8"), body)
    }

    /// An empty reply of a controller (`head :unauthorized` and its like).
    pub(super) fn head(status: u16) -> Self {
        Self::new(status, Some("text/html"), "")
    }

    /// 204.
    pub(super) fn no_content() -> Self {
        Self::new(204, None, "")
    }

    /// What the router says of a path that it does not know: 404, an empty page.
    pub(super) fn no_route() -> Self {
        Self::html(404, "")
    }

    /// The empty page of an exception that nobody rescued.
    pub(super) fn crash() -> Self {
        Self::html(500, "")
    }

    /// A failure below the application: not even a content type.
    pub(super) fn bare_crash() -> Self {
        Self::new(500, None, "")
    }

    /// What the token filter says before any controller is asked.
    pub(super) fn filter(message: &str) -> Self {
        Self::new(401, Some("text/plain"), message)
    }

    /// `{"error":{"code":..,"message":..}}`
    pub(super) fn error(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self::json(status, &serde_json::json!({"error": {"code": code, "message": message.into()}}))
    }

    /// 422 for an argument of the request.
    pub(super) fn argument(message: impl Into<String>) -> Self {
        Self::error(422, "argument_error", message)
    }

    /// 404 for a record that is absent, or that the caller may not see.
    pub(super) fn not_found(id: &str) -> Self {
        let (_, kind, _) = parts(id);
        let target = kind.map_or(Value::Null, Value::from);
        Self::json(
            404,
            &serde_json::json!({"error": {"code": "not_found", "message": missing(id), "target": target,
                "details": {"code": "not_found", "target": "id", "message": id}}}),
        )
    }

    /// Adds a header.
    pub(super) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The HTTP response, with the request id that every Rails reply carries.
    pub(super) fn into_response(self, request_id: &str) -> Response<Bytes> {
        let mut response = Response::new(Bytes::from(self.body));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        if let Some(content_type) = self.content_type {
            response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        }
        let own = [("x-request-id", request_id.to_owned())];
        for (name, value) in self.headers.into_iter().chain(own) {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                response.headers_mut().insert(name, value);
            }
        }
        response
    }
}

/// `Host_factory 'nope' not found in account 'dev'`.
pub(super) fn missing(id: &str) -> String {
    let (account, kind, identifier) = parts(id);
    let label = kind.map_or_else(|| "Unknown kind".to_owned(), capitalised);
    format!("{label} '{}' not found in account '{account}'", identifier.unwrap_or_default())
}

/// Account, kind and identifier of a full id; the identifier may hold colons.
pub(super) fn parts(id: &str) -> (&str, Option<&str>, Option<&str>) {
    let mut all = id.splitn(3, ':');
    (all.next().unwrap_or_default(), all.next(), all.next())
}

fn capitalised(kind: &str) -> String {
    let mut chars = kind.chars();
    chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_name_kind_and_account() {
        assert_eq!(missing("dev:host_factory:nope"), "Host_factory 'nope' not found in account 'dev'");
        assert_eq!(missing("bootstrap/web"), "Unknown kind '' not found in account 'bootstrap/web'");
        assert_eq!(parts("dev:host:a:b"), ("dev", Some("host"), Some("a:b")));
    }

    #[test]
    fn markup_is_escaped_in_json() {
        let reply = Reply::json(200, &serde_json::json!(["a&b<c>"]));
        assert_eq!(reply.body, br#"["a\u0026b\u003cc\u003e"]"#);
    }
}
