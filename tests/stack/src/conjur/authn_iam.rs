//! authn-iam: whoever STS says has signed the headers in the body is let in, if the login ends with that
//! account and role.
//!
//! The order is the server's: the authenticator is enabled, its webservice is there, the role may use it
//! (403, the only refusal that is told apart), then the headers, then the address.

use std::collections::BTreeMap;

use serde_json::Value;

use super::authn::issued;
use super::reply::{Answer, Reply};
use super::routes::Context;
use crate::aws::{Credentials, Identity, caller_identity};

/// The query that the server itself sends; nothing of it comes from the client.
const QUERY: &str = "Action=GetCallerIdentity&Version=2011-06-15";

/// What may be signed, and must be there.
const HEADERS: [&str; 5] =
    ["authorization", "host", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"];

/// `POST /authn-iam/{service}/{account}/{login}/authenticate`
pub(super) fn authenticate(context: &mut Context<'_>, service: &str, account: &str, login: &str) -> Answer {
    let refused = || Reply::head(401);
    let name = format!("authn-iam/{service}");
    let webservice = context.store.id("webservice", &format!("conjur/{name}"));
    let enabled = context.settings.authenticators.contains(&name);
    let there = context.store.resources.contains_key(&webservice);
    let role = context.store.role_of_login(login);
    if account != context.store.account || !enabled || !there || !context.store.roles.contains_key(&role) {
        return Err(refused());
    }
    let roles = context.store.all_roles(&role);
    if !context.store.allowed(&roles, "authenticate", &webservice) {
        return Err(Reply::head(403));
    }
    let sts = context.conjur.sts().ok_or_else(refused)?;
    let who = identity(&sts, &context.request.body).map_err(|_told_to_nobody| refused())?;
    if !fits(login, &who) || !context.store.origin_fits(&role, context.ip) {
        return Err(refused());
    }
    Ok(issued(context, &role))
}

/// Whom STS knows by these headers.
fn identity(sts: &Credentials, body: &[u8]) -> Result<Identity, String> {
    let given: BTreeMap<String, Value> = serde_json::from_slice(body).map_err(|e| e.to_string())?;
    let mut headers = BTreeMap::new();
    for (name, value) in given {
        let value = value.as_str().ok_or("a header that is no text")?;
        headers.insert(name.to_lowercase(), value.to_owned());
    }
    headers.retain(|name, _| HEADERS.contains(&name.as_str()));
    if let Some(missing) = HEADERS.iter().find(|name| !headers.contains_key(**name)) {
        return Err(format!("no {missing}"));
    }
    let authorization = headers.get("authorization").map_or("", String::as_str);
    let signed = authorization.split("SignedHeaders=").nth(1).and_then(|rest| rest.split(',').next());
    let signed = signed.ok_or("no SignedHeaders")?;
    if let Some(other) = signed.split(';').find(|name| !HEADERS.contains(name)) {
        return Err(format!("{other} is signed"));
    }
    let region = headers.get("host").and_then(|host| region_of(host)).ok_or("no STS of a known region")?;
    let scope = authorization.split("Credential=").nth(1).and_then(|rest| rest.split('/').nth(2));
    if scope != Some(region) {
        return Err(format!("{scope:?} does not fit {region}"));
    }
    caller_identity(sts, QUERY, &headers)
}

/// The region of a host, by the server's pattern `[a-z]{2}(-gov)?-[a-z]+-\d`.
fn region_of(host: &str) -> Option<&str> {
    if host == "sts.amazonaws.com" {
        return Some("us-east-1");
    }
    let region = host.strip_prefix("sts.")?.strip_suffix(".amazonaws.com")?;
    let mut parts: Vec<&str> = region.split('-').collect();
    if parts.get(1) == Some(&"gov") {
        parts.remove(1);
    }
    let &[area, place, number] = parts.as_slice() else { return None };
    let lower = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase());
    let digit = number.len() == 1 && number.bytes().all(|b| b.is_ascii_digit());
    (area.len() == 2 && lower(area) && lower(place) && digit).then_some(region)
}

/// Whether a login's last two parts are the caller's account and role; its session's name does not count.
fn fits(login: &str, who: &Identity) -> bool {
    let role = who.arn.split(':').nth(5).and_then(|resource| resource.split('/').nth(1));
    let mut parts = login.rsplit('/');
    role.is_some() && parts.next() == role && parts.next() == Some(who.account.as_str())
}
