//! From a request to the handler that answers it: the settings that stop everything, the source address, the filter for access
//! tokens with its exceptions, the router.

use std::net::IpAddr;

use http::Method;
use http::header::{ACCEPT, AUTHORIZATION};

use super::access::{self, Bearer};
use super::params::{self, Params};
use super::reply::{Answer, Reply};
use super::store::Store;
use super::{
    Conjur, Settings, Version, authn, authn_iam, factory, info, origin, policy, resources, roles, secrets,
};
use crate::server::{Request, Response};

/// One request on its way to a handler, with the store locked for it.
pub(super) struct Context<'a> {
    pub(super) conjur: &'a Conjur,
    pub(super) request: &'a Request,
    pub(super) settings: Settings,
    pub(super) store: &'a mut Store,
    pub(super) ip: IpAddr,
    pub(super) now_ms: i64,
    pub(super) bearer: Option<Bearer>,
}

impl Context<'_> {
    /// Seconds since 1970.
    pub(super) fn now(&self) -> i64 {
        self.now_ms.div_euclid(1000)
    }

    pub(super) fn version(&self) -> Version {
        self.conjur.version
    }

    /// A request header as text.
    pub(super) fn header(&self, name: impl http::header::AsHeaderName) -> Option<&str> {
        self.request.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// Query and body.
    pub(super) fn params(&self) -> Result<Params, Reply> {
        params::parse(&self.request.query, &self.request.headers, &self.request.body, self.version())
    }

    /// The query alone.
    pub(super) fn query(&self) -> Result<Params, Reply> {
        params::form(self.request.query.as_bytes())
    }

    /// The role that the access token speaks for; 403 when it has been deleted meanwhile.
    pub(super) fn role(&self) -> Result<String, Reply> {
        let login =
            self.bearer.as_ref().map(|bearer| bearer.login.as_str()).ok_or_else(|| Reply::head(401))?;
        let role = self.store.role_of_login(login);
        if self.store.roles.contains_key(&role) { Ok(role) } else { Err(Reply::head(403)) }
    }

    /// Whether the client prefers base64 bodies; it may say so in a list.
    pub(super) fn wants_base64(&self) -> bool {
        self.header("accept-encoding")
            .is_some_and(|value| value.split(',').any(|one| one.trim().eq_ignore_ascii_case("base64")))
    }
}

/// Answers one request.
pub(super) fn answer(conjur: &Conjur, request: &Request) -> Response {
    let id = match request.headers.get("x-request-id").and_then(|value| value.to_str().ok()) {
        Some(given) => given.to_owned(),
        None => format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            fastrand::u32(..),
            fastrand::u16(..),
            fastrand::u16(..4096),
            fastrand::u16(..4096),
            fastrand::u64(..1 << 48)
        ),
    };
    let mut reply = run(conjur, request).unwrap_or_else(|refused| refused);
    let v2 = "application/x.secretsmgr.v2beta+json";
    let asks_v2 = request.headers.get(ACCEPT).is_some_and(|accept| accept.as_bytes() == v2.as_bytes());
    if asks_v2 && conjur.version == Version::V1_24_0 && reply.content_type == Some("text/html") {
        reply.content_type = Some(v2);
    }
    if request.method == Method::HEAD {
        reply.body.clear();
    }
    reply.into_response(&id)
}

fn run(conjur: &Conjur, request: &Request) -> Answer {
    let settings = conjur.settings().clone();
    let path = request.path.as_str();
    if settings.database_down {
        return Err(info::outage(request));
    }
    // The appliance answers this one in front of the application.
    if let Some(health) =
        settings.health.as_ref().filter(|_| request.method == Method::GET && path == "/health")
    {
        return Ok(info::health(health));
    }
    let ip = origin::client_ip(request.peer.ip(), &request.headers, &settings.trusted_proxies)?;
    let now_ms = conjur.clock.now_ms();
    let bearer = filter(conjur, request, now_ms.div_euclid(1000))?;
    let segments = segments(path)?;
    let mut store = conjur.store();
    let mut context = Context { conjur, request, settings, store: &mut store, ip, now_ms, bearer };
    route(&mut context, &segments)
}

/// Decoded path segments; a trailing slash makes no difference to the router.
fn segments(path: &str) -> Result<Vec<String>, Reply> {
    path.split('/').filter(|one| !one.is_empty()).map(|one| params::decode(one.as_bytes(), false)).collect()
}

/// The filter in front of the application: most paths need an access token, a few look at one if it is there, some do not.
fn filter(conjur: &Conjur, request: &Request, now: i64) -> Result<Option<Bearer>, Reply> {
    let path = request.path.as_str();
    let login_or_token =
        path.starts_with("/authn") && (path.ends_with("/login") || path.ends_with("/authenticate"));
    if login_or_token
        || ["/", "/authenticators", "/host_factories/hosts"].contains(&path)
        || request.method == Method::OPTIONS
    {
        return Ok(None);
    }
    let header = request.headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok());
    match header.and_then(access::quoted_token) {
        Some(token) => conjur.signer.verify(token, now).map(Some),
        None if path.starts_with("/authn") || path.starts_with("/public_keys/") => Ok(None),
        None => Err(Reply::filter("Authorization missing")),
    }
}

fn route(context: &mut Context<'_>, segments: &[String]) -> Answer {
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    let method = context.request.method.as_str();
    let factories = context.settings.host_factories_enabled;
    match (method, segments.as_slice()) {
        ("GET" | "HEAD", []) => info::status(context),
        ("OPTIONS", _) => Ok(info::heartbeat()),
        ("GET", ["whoami"]) => info::whoami(context),
        ("GET", ["authenticators"]) => Ok(info::authenticators()),
        ("GET", ["public_keys", ..]) => Ok(Reply::text(200, "\n")),
        ("GET", ["authn", _, "status"]) => info::authenticator_status(context),
        ("GET", ["authn", account, "login"]) => authn::login(context, account),
        ("POST", ["authn", account, login, "authenticate"]) => authn::authenticate(context, account, login),
        ("POST", ["authn-iam", service, account, login, "authenticate"]) => {
            authn_iam::authenticate(context, service, account, login)
        }
        // Three segments name a service of the API key authenticator, which has none.
        ("POST", ["authn", _, _, _, "authenticate"]) => Err(Reply::head(401)),
        ("PUT", ["authn", account, "api_key"]) => authn::rotate(context, account),
        ("GET", ["authn", account, "api_key"]) if context.version() == Version::V1_24_0 => {
            authn::rotated(context, account)
        }
        ("POST", ["host_factory_tokens"]) if factories => factory::mint(context),
        ("DELETE", ["host_factory_tokens", token]) if factories => factory::revoke(context, token),
        ("POST", ["host_factories", "hosts"]) if factories => factory::redeem(context),
        ("POST" | "PUT" | "PATCH", ["policies", account, kind, rest @ ..]) if !rest.is_empty() => {
            policy::handle(context, &format!("{account}:{kind}:{}", rest.join("/")))
        }
        ("GET", ["resources"]) => resources::list(context, None, None),
        ("GET", ["resources", account]) => resources::list(context, Some(account), None),
        ("GET", ["resources", account, kind]) => resources::list(context, Some(account), Some(kind)),
        ("GET", ["resources", account, kind, rest @ ..]) => {
            resources::show(context, &full(account, kind, rest))
        }
        ("GET", ["roles", account, kind, rest @ ..]) if !rest.is_empty() => {
            roles::show(context, &full(account, kind, rest))
        }
        ("POST" | "DELETE", ["roles", account, kind, rest @ ..]) if !rest.is_empty() => {
            roles::change(context, &full(account, kind, rest))
        }
        ("GET", ["secrets"]) => secrets::batch(context),
        ("GET", ["secrets", account, kind, rest @ ..]) if !rest.is_empty() => {
            secrets::show(context, &full(account, kind, rest))
        }
        ("POST", ["secrets", account, kind, rest @ ..]) if !rest.is_empty() => {
            secrets::add(context, &full(account, kind, rest))
        }
        _ => Err(Reply::no_route()),
    }
}

fn full(account: &str, kind: &str, rest: &[&str]) -> String {
    format!("{account}:{kind}:{}", rest.join("/"))
}

/// The name under which a request is logged and matched by faults.
pub(super) fn name(request: &Request) -> &'static str {
    let path = request.path.as_str();
    let parts: Vec<&str> = path.split('/').filter(|one| !one.is_empty()).collect();
    match (request.method.as_str(), parts.as_slice()) {
        ("GET", ["authn", _, "login"]) => "login",
        ("POST", ["authn", .., "authenticate"]) => "authenticate",
        ("POST", ["authn-iam", .., "authenticate"]) => "authenticate_with_role",
        ("PUT", ["authn", _, "api_key"]) => "rotate_key",
        ("POST", ["host_factory_tokens"]) => "mint",
        ("DELETE", ["host_factory_tokens", _]) => "revoke",
        ("POST", ["host_factories", "hosts"]) => "redeem",
        (_, ["policies", ..]) => "policy",
        ("GET", ["resources", _, "host_factory"]) => "list_factories",
        ("GET", ["resources", ..]) => "resource",
        (_, ["roles", ..]) => "roles",
        (_, ["secrets"]) => "secrets_batch",
        (_, ["secrets", ..]) => "secret",
        ("GET", ["whoami"]) => "whoami",
        (_, ["health"]) => "health",
        (_, [] | ["authenticators" | "info"]) => "info",
        _ => "other",
    }
}
