//! Logins: an API key for an API key, an access token for an API key, a new API key for the old one or for the right over a role.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::AUTHORIZATION;
use serde_json::{Value, json};

use super::access;
use super::calendar::with_millis;
use super::reply::{Answer, Reply, parts};
use super::routes::Context;
use super::store::Store;

/// `GET /authn/{account}/login`: basic authentication, answered with the API key in plain text.
pub(super) fn login(context: &mut Context<'_>, account: &str) -> Answer {
    basic(context, account).map(|(_, key)| Reply::text(200, key))
}

/// `POST /authn/{account}/{login}/authenticate`: the body is the key to the byte.
pub(super) fn authenticate(context: &mut Context<'_>, account: &str, login: &str) -> Answer {
    let role = context.store.role_of_login(login);
    let key = String::from_utf8_lossy(&context.request.body).into_owned();
    let fits = account == context.store.account && context.store.key_fits(&role, &key);
    if !fits || !context.store.origin_fits(&role, context.ip) {
        return Err(Reply::head(401));
    }
    Ok(issued(context, &role))
}

/// An access token of this role, in the form that the client asks for.
pub(super) fn issued(context: &Context<'_>, role: &str) -> Reply {
    let ttl = match parts(role).1 {
        Some("host") => context.settings.host_token_ttl,
        _ => context.settings.user_token_ttl,
    };
    let ttl = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX);
    let token = context.conjur.signer.issue(&Store::login_of_role(role), context.now(), ttl);
    if context.wants_base64() {
        return Reply::text(200, STANDARD.encode(token)).with("content-encoding", "base64");
    }
    let mut reply = Reply::text(200, token);
    reply.content_type = Some("application/json; charset=utf-8");
    reply
}

/// `PUT /authn/{account}/api_key`: one's own key with the old one, another's with an access token and `update` on that role.
pub(super) fn rotate(context: &mut Context<'_>, account: &str) -> Answer {
    let target = target(context, account)?;
    let now_ms = context.now_ms;
    Ok(Reply::text(200, context.store.set_key(&target, now_ms)))
}

/// `GET /authn/{account}/api_key`, since 1.24.0: when the key was made.
pub(super) fn rotated(context: &mut Context<'_>, account: &str) -> Answer {
    let target = target(context, account)?;
    let found = context.store.credentials.get(&target).ok_or_else(|| Reply::head(403))?;
    Ok(Reply::json(200, &json!({"role": target, "timestamp": with_millis(found.rotated_ms)})))
}

/// The role whose key is meant, if the caller may touch it.
fn target(context: &Context<'_>, account: &str) -> Result<String, Reply> {
    let asked = match context.query()?.get("role") {
        Some(Value::String(role)) if !role.is_empty() => Some(role.clone()),
        _ => None,
    };
    let full = asked.as_deref().map(|role| match role.splitn(3, ':').count() {
        3 => role.to_owned(),
        _ => format!("{account}:{role}"),
    });
    if context.bearer.is_none() {
        let (role, _) = basic(context, account)?;
        return if full.is_none_or(|full| full == role) { Ok(role) } else { Err(Reply::head(401)) };
    }
    let caller = context.role()?;
    match (full, asked) {
        (Some(full), Some(asked)) if full != caller => other(context, &caller, full, &asked),
        _ => Err(Reply::error(401, "unauthorized", "Credential strength is insufficient")),
    }
}

/// Another's role, if the caller sees it and may update it.
fn other(context: &Context<'_>, caller: &str, full: String, asked: &str) -> Result<String, Reply> {
    let missing = |id: &str| {
        Reply::error(
            404,
            "not_found",
            format!("CONJ00123E Resource '{id}' requested by role '{caller}' not found"),
        )
    };
    if !context.store.resources.contains_key(&full) {
        return Err(missing(asked));
    }
    let roles = context.store.all_roles(caller);
    if !context.store.visible(&roles, &full) {
        return Err(missing(&full));
    }
    let has_key = matches!(parts(&full).1, Some("host" | "user"));
    if has_key && context.store.allowed(&roles, "update", &full) { Ok(full) } else { Err(Reply::head(403)) }
}

/// Role and key of a request with basic authentication.
fn basic(context: &Context<'_>, account: &str) -> Result<(String, String), Reply> {
    let given = context.header(AUTHORIZATION).and_then(access::basic);
    let (login, key) = given.ok_or_else(|| Reply::head(401))?;
    let role = context.store.role_of_login(&login);
    let fits = account == context.store.account && context.store.key_fits(&role, &key);
    if fits { Ok((role, key)) } else { Err(Reply::head(401)) }
}
