//! Host factories: tokens are minted and revoked by roles with a privilege on the factory, and redeemed by whoever holds one.

use std::net::IpAddr;
use std::str::FromStr;

use http::header::AUTHORIZATION;
use ipnet::IpNet;
use serde_json::{Value, json};

use super::access::{quoted_token, random_key};
use super::params::Params;
use super::reply::{Answer, Reply, parts};
use super::routes::Context;
use super::store::{FactoryToken, Membership, Store};
use super::{Version, calendar, resources};

/// `POST /host_factory_tokens`: needs `execute`; 200, not 201.
pub(super) fn mint(context: &mut Context<'_>) -> Answer {
    let params = context.params()?;
    let factory = text(&params, "host_factory").ok_or_else(|| Reply::argument("host_factory"))?;
    let role = context.role()?;
    let roles = context.store.all_roles(&role);
    if !context.store.visible(&roles, &factory) {
        return Err(Reply::not_found(&factory));
    }
    match parts(&factory).1 {
        Some("host_factory") => {}
        kind => return Err(Reply::argument(format!("Invalid resource kind: {}", kind.unwrap_or_default()))),
    }
    if !context.store.allowed(&roles, "execute", &factory) {
        return Err(Reply::head(403));
    }
    let expiration = expiration(context, &params)?;
    let count = count(context.version(), &params)?;
    let cidr = cidr(&params)?;
    let mut minted = Vec::new();
    for _ in 0..count {
        let token =
            FactoryToken { token: random_key(), factory: factory.clone(), expiration, cidr: cidr.clone() };
        minted.push(row(&token));
        context.store.tokens.push(token);
    }
    Ok(Reply::json(200, &Value::Array(minted)))
}

/// Mints a token.
pub(super) fn add_token(store: &mut Store, factory: &str, expiration: i64, cidr: &[IpNet]) -> String {
    let token = random_key();
    let row =
        FactoryToken { token: token.clone(), factory: factory.to_owned(), expiration, cidr: cidr.to_vec() };
    store.tokens.push(row);
    token
}

/// A token as replies and listings show it.
pub(super) fn row(token: &FactoryToken) -> Value {
    json!({"expiration": calendar::zulu(token.expiration), "cidr": shown(&token.cidr), "token": token.token})
}

/// Networks as Conjur shows them, single addresses with their prefix length.
pub(super) fn shown(networks: &[IpNet]) -> Vec<String> {
    networks.iter().map(ToString::to_string).collect()
}

fn text(params: &Params, name: &str) -> Option<String> {
    match params.get(name) {
        Some(Value::String(value)) => Some(value.clone()),
        Some(Value::Number(value)) => Some(value.to_string()),
        Some(Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_)) | None => None,
    }
}

fn expiration(context: &Context<'_>, params: &Params) -> Result<i64, Reply> {
    let given = text(params, "expiration").ok_or_else(|| Reply::argument("expiration"))?;
    let refuse = || match context.version() {
        Version::V1_22_3 => Reply::error(422, "error", "invalid date"),
        Version::V1_24_0 => Reply::argument(format!("Input is invalid ISO8601 datetime string: {given}")),
    };
    let seconds = calendar::parse_iso8601(&given).ok_or_else(refuse)?;
    // 1.22.3 sells a token that is dead already.
    if context.version() == Version::V1_24_0 && seconds <= context.now() {
        let shown = calendar::with_offset(seconds);
        return Err(Reply::argument(format!(
            "Value for parameter expiration must be in the future: {shown}"
        )));
    }
    Ok(seconds)
}

fn count(version: Version, params: &Params) -> Result<u64, Reply> {
    let Some(given) = text(params, "count") else { return Ok(1) };
    match version {
        // Ruby's to_i: the leading digits, or nothing.
        Version::V1_22_3 => {
            let figures: String = given.trim_start().chars().take_while(char::is_ascii_digit).collect();
            Ok(figures.parse().unwrap_or(0))
        }
        Version::V1_24_0 => match given.parse() {
            Ok(count) if count > 0 && given.bytes().all(|byte| byte.is_ascii_digit()) => Ok(count),
            _ => Err(Reply::argument(format!("Invalid value for parameter 'count': {given}"))),
        },
    }
}

fn cidr(params: &Params) -> Result<Vec<IpNet>, Reply> {
    match params.get("cidr") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Array(items)) => items
            .iter()
            .map(|item| item.as_str().map_or_else(|| network(&item.to_string()), network))
            .collect(),
        // The validator lets a single text pass, and the column of the database refuses it.
        Some(Value::String(_) | Value::Number(_) | Value::Bool(_) | Value::Object(_)) => Err(Reply::crash()),
    }
}

fn network(text: &str) -> Result<IpNet, Reply> {
    parse_network(text).map_err(|message| Reply::error(422, "unprocessable_entity", message))
}

/// An address or a network without bits to the right of its mask, or the message of the refusal.
pub(super) fn parse_network(text: &str) -> Result<IpNet, String> {
    let invalid = || format!("Invalid IP address or CIDR range '{text}'");
    let net = match text.contains('/') {
        true => IpNet::from_str(text).map_err(|_| invalid())?,
        false => text.parse::<IpAddr>().map(IpNet::from).map_err(|_| invalid())?,
    };
    if net.addr() == net.network() {
        Ok(net)
    } else {
        Err(format!("{}: Value has bits set to right of mask. Did you mean '{}'?", invalid(), net.trunc()))
    }
}

/// `DELETE /host_factory_tokens/{token}`: needs `update`.
pub(super) fn revoke(context: &mut Context<'_>, token: &str) -> Answer {
    let role = context.role()?;
    let roles = context.store.all_roles(&role);
    let position = context.store.tokens.iter().position(|found| found.token == token);
    let Some(position) = position else {
        return Err(Reply::not_found(&format!("*:host_factory_token:{token}")));
    };
    let factory = context.store.tokens.get(position).map(|found| found.factory.clone()).unwrap_or_default();
    if !context.store.visible(&roles, &factory) {
        return Err(Reply::not_found(&factory));
    }
    if !context.store.allowed(&roles, "update", &factory) {
        return Err(Reply::head(403));
    }
    context.store.tokens.remove(position);
    Ok(Reply::no_content())
}

/// `POST /host_factories/hosts`: creates the host, or gives one that this factory made a new key; 201 both times.
pub(super) fn redeem(context: &mut Context<'_>) -> Answer {
    let params = context.params()?;
    let factory = holder(context)?;
    let id = match params.get("id") {
        None | Some(Value::Null) => return Err(missing_id(context.version(), &params)),
        Some(Value::String(id)) if id.trim().is_empty() => {
            return Err(missing_id(context.version(), &params));
        }
        Some(Value::String(id)) => id.clone(),
        Some(Value::Number(_) | Value::Bool(_) | Value::Array(_) | Value::Object(_)) => {
            return Err(Reply::crash());
        }
    };
    if id.starts_with("conjur/") || id.starts_with("/conjur/") {
        return Err(Reply::argument(format!("Invalid id: {id}")));
    }
    let host = context.store.id("host", &id);
    match context.store.resources.get(&host).map(|found| found.owner == factory) {
        Some(true) => {}
        Some(false) => return Err(Reply::head(403)),
        None if context.store.roles.contains_key(&host) => return Err(Reply::head(403)),
        None => create(context, &host, &factory, annotations(&params)?)?,
    }
    let now_ms = context.now_ms;
    let key = context.store.set_key(&host, now_ms);
    let mut body = resources::body(context.store, &host);
    if let Value::Object(body) = &mut body {
        body.insert("api_key".to_owned(), Value::from(key));
    }
    Ok(Reply::json(201, &body))
}

/// The factory of the token in the header, if that is alive and may be used from here. Every reason to refuse looks the same.
fn holder(context: &Context<'_>) -> Result<String, Reply> {
    let given = context.header(AUTHORIZATION).and_then(quoted_token);
    let now = context.now();
    let found = given.and_then(|given| context.store.tokens.iter().find(|token| token.token == given));
    let fits = |token: &&FactoryToken| {
        now < token.expiration
            && (token.cidr.is_empty() || token.cidr.iter().any(|net| net.contains(&context.ip)))
    };
    found.filter(fits).map(|token| token.factory.clone()).ok_or_else(|| Reply::head(401))
}

fn missing_id(version: Version, params: &Params) -> Reply {
    let mut message = "param is missing or the value is empty: id".to_owned();
    if version == Version::V1_22_3 {
        // Rails 6.1 adds what else there is.
        let known = params.keys().map(String::as_str).chain(["action", "controller"]);
        message.push_str("\nDid you mean?  ");
        message.push_str(&known.collect::<Vec<_>>().join("\n               "));
    }
    Reply::error(422, "parameter_missing", message)
}

fn annotations(params: &Params) -> Result<Vec<(String, String)>, Reply> {
    let text = |value: &Value| match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => value.to_string(),
    };
    match params.get("annotations") {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::Object(given)) => {
            Ok(given.iter().map(|(name, value)| (name.clone(), text(value))).collect())
        }
        // Each entry of a list becomes a name.
        Some(Value::Array(given)) => Ok(given.iter().map(|name| (text(name), String::new())).collect()),
        Some(Value::String(_) | Value::Number(_) | Value::Bool(_)) => Err(Reply::crash()),
    }
}

fn create(
    context: &mut Context<'_>,
    host: &str,
    factory: &str,
    annotations: Vec<(String, String)>,
) -> Result<(), Reply> {
    let says = annotations.iter().find(|(name, _)| name == "authn/api-key").map(|(_, value)| value.as_str());
    if !context.settings.api_key_default && says.is_none_or(|says| says.eq_ignore_ascii_case("false")) {
        return Err(Reply::error(422, "policy_invalid", API_KEY_REFUSAL));
    }
    let now_ms = context.now_ms;
    let layers: Vec<String> = context
        .store
        .roles_of(factory)
        .filter(|role| parts(role).1 == Some("layer"))
        .map(str::to_owned)
        .collect();
    context.store.add_role(host, now_ms, None);
    context.store.add_resource(host, factory, now_ms, None);
    if let Some(resource) = context.store.resources.get_mut(host) {
        resource.annotations = annotations.into_iter().map(|(name, value)| (name, (value, None))).collect();
    }
    for layer in layers {
        let link = (host.to_owned(), layer, false);
        context.store.memberships.insert(link, Membership { admin_option: false, policy: None });
    }
    Ok(())
}

/// What a server with `authn_api_key_default: false` says of a host without the annotation.
pub(super) const API_KEY_REFUSAL: &str = "API key authentication for hosts is disabled by default and will be removed in a future \
    release. Add the 'authn/api-key' annotation to this host with the value 'true' to ensure authentication works as expected for \
    this host in the future.";
