//! What a server says about itself and about the caller.

use http::header::{ACCEPT, USER_AGENT};
use serde_json::json;

use super::Health;
use super::calendar::with_millis;
use super::reply::{Answer, Reply};
use super::routes::Context;
use crate::server::Request;

/// `GET /`: a page for people, or the version for programs.
pub(super) fn status(context: &Context<'_>) -> Answer {
    match context.header(ACCEPT) {
        Some("application/json") => Ok(Reply::json(200, &json!({"version": context.version().number()}))),
        Some("text/plain") => Err(Reply::crash()),
        _ => Ok(Reply::html(
            200,
            "<!DOCTYPE html>\n<html>\n  <head>\n    <title>Conjur Status</title>\n  </head>\n  <body>\n    \
             <p class=\"status-text\">Your Conjur server is running!</p>\n  </body>\n</html>\n",
        )),
    }
}

/// `GET /whoami`: answered from the access token alone, also when its role is gone.
pub(super) fn whoami(context: &Context<'_>) -> Answer {
    let bearer = context.bearer.as_ref().ok_or_else(|| Reply::head(401))?;
    Ok(Reply::json(
        200,
        &json!({
            "client_ip": context.ip,
            "user_agent": context.header(USER_AGENT),
            "account": context.store.account,
            "username": bearer.login,
            "token_issued_at": with_millis(bearer.issued_at * 1000),
        }),
    ))
}

/// `GET /authenticators`
pub(super) fn authenticators() -> Reply {
    let installed = [
        "authn",
        "authn-azure",
        "authn-gcp",
        "authn-iam",
        "authn-jwt",
        "authn-k8s",
        "authn-ldap",
        "authn-oidc",
    ];
    Reply::json(200, &json!({"installed": installed, "configured": ["authn"], "enabled": ["authn"]}))
}

/// `GET /authn/{account}/status`: the API key authenticator has none to tell.
pub(super) fn authenticator_status(context: &Context<'_>) -> Answer {
    if context.bearer.is_none() {
        return Err(Reply::crash());
    }
    let error = "#<Errors::Authentication::StatusNotSupported: CONJ00056E Status check not supported for authenticator 'authn'>";
    Err(Reply::json(501, &json!({"status": "error", "error": error})))
}

/// `GET /health` of an Enterprise server.
pub(super) fn health(health: &Health) -> Reply {
    let services = json!({"possum": "ok", "ui": "ok", "ok": true});
    let page = |replication: serde_json::Value| {
        let database = json!({"ok": true, "connect": {"main": "ok"}, "replication_status": replication});
        Reply::json(200, &json!({"services": services, "database": database, "ok": true}))
    };
    match health {
        Health::Leader { position, lags } => page(json!({
            "pg_stat_replication": lags
                .iter()
                .map(|lag| json!({"application_name": "follower", "state": "streaming", "replication_lag_bytes": lag}))
                .collect::<Vec<_>>(),
            "pg_current_xlog_location": format!("0/{position:X}"),
            "pg_current_xlog_location_bytes": position,
        })),
        Health::Follower { position } => page(json!({
            "pg_last_xlog_replay_location": format!("0/{position:X}"),
            "pg_last_xlog_replay_location_bytes": position,
        })),
        Health::Unwell => {
            let services = json!({"possum": "error", "ui": "ok", "ok": false});
            Reply::json(502, &json!({"services": services, "ok": false}))
        }
    }
}

/// `OPTIONS`, as load balancers ask.
pub(super) fn heartbeat() -> Reply {
    let mut reply = Reply::text(200, "OK").with("allow", "HEAD,GET,PUT,DELETE,OPTIONS");
    reply.content_type = Some("text/plain");
    reply
}

/// Any request while the database is away.
pub(super) fn outage(request: &Request) -> Reply {
    let json = request.headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes() == b"application/json");
    if json {
        Reply::json(500, &json!({"status": 500, "error": "Internal Server Error"}))
    } else {
        Reply::crash()
    }
}
