//! Whether a reply is the one that a case expects.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};
use serde_json::{Value, json};

use crate::case::{Host, Reply};
use crate::client::Incoming;
use crate::pattern::{self, Kept, unset};
use crate::vars::Vars;

/// Compares a reply; what it kept is returned, and an error says how the two differ.
pub(crate) fn check(expected: &Reply, found: &Incoming, vars: &Vars) -> Result<Kept, String> {
    if found.status != expected.status {
        let body: String = found.text().chars().take(200).collect();
        return Err(format!("status {}, expected {}; body: {body}", found.status, expected.status));
    }
    if let Some(wanted) = content_type(expected)
        && found.header("content-type") != Some(wanted)
    {
        return Err(format!("content type {:?}, expected {wanted}", found.header("content-type")));
    }
    for (name, wanted) in &expected.headers {
        let wanted = vars.expand(wanted).map_err(|missing| unset(&missing))?;
        if found.header(name) != Some(&wanted) {
            return Err(format!("header {name} {:?}, expected {wanted}", found.header(name)));
        }
    }
    let mut kept = Kept::new();
    if expected.empty && !found.body.is_empty() {
        return Err(format!("a body of {} bytes, expected none", found.body.len()));
    }
    if let Some(wanted) = &expected.text {
        let text = std::str::from_utf8(&found.body).map_err(|_| "a body that is no text".to_owned())?;
        pattern::matches(&Value::from(wanted.as_str()), &Value::from(text), vars, &mut kept)?;
    }
    if let Some(wanted) = &expected.contains
        && !found.text().contains(wanted)
    {
        return Err(format!("the body does not contain {wanted}"));
    }
    for wanted in patterns(expected)? {
        let body = serde_json::from_slice(&found.body)
            .map_err(|error| format!("a body that is no JSON: {error}"))?;
        pattern::matches(&wanted, &body, vars, &mut kept)?;
    }
    if let Some(login) = &expected.access_token {
        let login = vars.expand(login).map_err(|missing| unset(&missing))?;
        let packed = access_token(found, &login)?;
        kept.extend(expected.save.iter().map(|name| (format!("access.{name}"), packed.clone())));
    }
    Ok(kept)
}

const JSON: &str = "application/json; charset=utf-8";

fn content_type(expected: &Reply) -> Option<&str> {
    let base64 = expected.headers.get("content-encoding").is_some_and(|coding| coding == "base64");
    let json = expected.json.is_some()
        || expected.error.is_some()
        || expected.missing.is_some()
        || expected.host.is_some();
    match (&expected.content_type, &expected.access_token) {
        (Some(stated), _) => Some(stated),
        (None, Some(_)) => Some(if base64 { "text/plain; charset=utf-8" } else { JSON }),
        (None, None) => json.then_some(JSON),
    }
}

/// The patterns of JSON that a reply must fit, short forms written out.
fn patterns(expected: &Reply) -> Result<Vec<Value>, String> {
    let mut all = Vec::new();
    if let Some(text) = &expected.json {
        all.push(serde_json::from_str(text).map_err(|error| format!("the case's own JSON: {error}"))?);
    }
    if let Some((code, message)) = &expected.error {
        all.push(json!({"error": {"code": code, "message": message}}));
    }
    if let Some(id) = &expected.missing {
        let mut parts = id.splitn(3, ':');
        let (account, kind, identifier) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        let mut label = kind.to_owned();
        if let Some(first) = label.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        all.push(json!({"error": {"code": "not_found", "message": format!("{label} '{identifier}' not found in account '{account}'"),
            "target": kind, "details": {"code": "not_found", "target": "id", "message": id}}}));
    }
    all.extend(expected.host.as_ref().map(host));
    Ok(all)
}

fn host(host: &Host) -> Value {
    let annotations = host.annotations.iter().map(|one| one.split_once('=').unwrap_or((one, "")));
    let annotations: Vec<Value> =
        annotations.map(|(name, value)| json!({"name": name, "value": value})).collect();
    let key = host.key.as_ref().map_or_else(|| "<key>".to_owned(), |name| format!("<key:key.{name}>"));
    json!({"created_at": "<time>", "id": format!("${{account}}:host:{}", host.id),
        "owner": format!("${{account}}:host_factory:${{branch}}/{}", host.by),
        "permissions": [], "annotations": annotations, "restricted_to": [], "api_key": key})
}

/// Reads an access token, in JSON or packed, and returns it packed.
fn access_token(found: &Incoming, login: &str) -> Result<String, String> {
    let packed = found.header("content-encoding") == Some("base64");
    let text = if packed {
        STANDARD.decode(&found.body).map_err(|error| format!("an access token that is no base64: {error}"))?
    } else {
        found.body.clone()
    };
    let token: Value =
        serde_json::from_slice(&text).map_err(|error| format!("an access token that is no JSON: {error}"))?;
    let members = token
        .as_object()
        .map(|token| token.keys().map(String::as_str).collect::<Vec<_>>())
        .unwrap_or_default();
    if members.len() != 3 || !["protected", "payload", "signature"].iter().all(|name| members.contains(name))
    {
        return Err(format!("an access token of {members:?}"));
    }
    let part = |name: &str| -> Option<Value> {
        serde_json::from_slice(&URL_SAFE.decode(token.get(name)?.as_str()?).ok()?).ok()
    };
    let header = part("protected").ok_or("an access token with an unreadable header")?;
    let claims = part("payload").ok_or("an access token with an unreadable payload")?;
    if header.get("alg").and_then(Value::as_str) != Some("conjur.org/slosilo/v2") {
        return Err(format!("an access token of the algorithm {:?}", header.get("alg")));
    }
    if claims.get("sub").and_then(Value::as_str) != Some(login) {
        return Err(format!("an access token for {:?}, expected {login}", claims.get("sub")));
    }
    let number = |name: &str| claims.get(name).and_then(Value::as_i64);
    match (number("iat"), number("exp")) {
        (Some(issued), Some(expires)) if issued < expires => Ok(STANDARD.encode(text)),
        (issued, expires) => Err(format!("an access token from {issued:?} to {expires:?}")),
    }
}
