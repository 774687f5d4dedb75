//! Showing and listing resources: whoever owns one or holds any privilege on it sees it, with everything in it.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use super::calendar::with_millis;
use super::factory::{row, shown};
use super::params::Params;
use super::reply::{Answer, Reply, parts};
use super::routes::Context;
use super::store::{Origin, Store};

/// `GET /resources/{account}/{kind}/{id}`, with `?check=true&privilege=` and `?permitted_roles=true&privilege=`.
pub(super) fn show(context: &mut Context<'_>, id: &str) -> Answer {
    let query = context.query()?;
    let role = context.role()?;
    let roles = context.store.all_roles(&role);
    if !context.store.resources.contains_key(id) || !context.store.visible(&roles, id) {
        return Err(Reply::not_found(id));
    }
    let privilege = query.get("privilege").and_then(Value::as_str);
    if query.contains_key("check") {
        let privilege = privilege.ok_or_else(|| Reply::argument("privilege"))?;
        let asked = assumed(context, &query, roles)?;
        return if context.store.allowed(&asked, privilege, id) {
            Ok(Reply::no_content())
        } else {
            Err(Reply::head(404))
        };
    }
    if query.contains_key("permitted_roles") {
        let privilege = privilege.ok_or_else(|| Reply::argument("privilege"))?;
        let able = context
            .store
            .roles
            .keys()
            .filter(|role| context.store.allowed(&context.store.all_roles(role), privilege, id));
        return Ok(Reply::json(200, &able.cloned().collect()));
    }
    Ok(Reply::json(200, &body(context.store, id)))
}

/// `GET /resources[/{account}[/{kind}]]`
pub(super) fn list(context: &mut Context<'_>, account: Option<&str>, kind: Option<&str>) -> Answer {
    let query = context.query()?;
    let role = context.role()?;
    let roles = context.store.all_roles(&role);
    let roles = assumed(context, &query, roles)?;
    let store = &*context.store;
    let owner = match query.get("owner") {
        Some(Value::String(owner)) => {
            let owner = full(store, owner);
            if !store.roles.contains_key(&owner) {
                return Err(Reply::not_found(&owner));
            }
            Some(owner)
        }
        _ => None,
    };
    let words = query.get("search").and_then(Value::as_str).map(words).unwrap_or_default();
    let found: Vec<&String> = store
        .resources
        .iter()
        .filter(|(id, resource)| {
            let (its_account, its_kind, _) = parts(id);
            account.is_none_or(|account| account == its_account)
                && (kind.is_none() || kind == its_kind)
                && owner.as_ref().is_none_or(|owner| resource.owner == *owner)
                && words.is_subset(&text_of(store, id))
                && store.visible(&roles, id)
        })
        .map(|(id, _)| id)
        .collect();
    if query.get("count").and_then(Value::as_str) == Some("true") {
        return Ok(Reply::json(200, &json!({"count": found.len()})));
    }
    let (offset, limit) = page(&query)?;
    Ok(Reply::json(200, &found.into_iter().skip(offset).take(limit).map(|id| body(store, id)).collect()))
}

/// Offset and limit: 1000 rows when neither is given, 10 when only an offset is.
pub(super) fn page(query: &Params) -> Result<(usize, usize), Reply> {
    let number = |name: &str| match query.get(name).and_then(Value::as_str) {
        Some(text) => text.parse().map(Some).map_err(|_| {
            Reply::argument(format!(
                "'{name}' contains an invalid value. '{name}' must be a positive integer"
            ))
        }),
        None => Ok(None),
    };
    let offset: Option<usize> = number("offset")?;
    let limit: Option<usize> = number("limit")?;
    if limit.is_some_and(|limit| limit > 1000 && limit != 10_000) {
        return Err(Reply::argument("'limit' parameter must not exceed 1000"));
    }
    let default = if offset.is_some() { 10 } else { 1000 };
    Ok((offset.unwrap_or(0), limit.unwrap_or(default)))
}

/// The roles in whose place the caller asks: its own, or with `role=` those of a role that it sees.
fn assumed(context: &Context<'_>, query: &Params, own: BTreeSet<String>) -> Result<BTreeSet<String>, Reply> {
    let asked = query
        .get("role")
        .or_else(|| query.get("acting_as"))
        .and_then(Value::as_str)
        .filter(|asked| !asked.is_empty());
    let Some(asked) = asked else { return Ok(own) };
    let asked = full(context.store, asked);
    if !own.contains(&asked) && !context.store.visible(&own, &asked) {
        return Err(Reply::head(403));
    }
    Ok(context.store.all_roles(&asked))
}

fn full(store: &Store, id: &str) -> String {
    if id.splitn(3, ':').count() == 3 { id.to_owned() } else { format!("{}:{id}", store.account) }
}

fn words(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(str::to_lowercase)
        .collect()
}

/// The words of the full text search: the identifier and the values of annotations.
fn text_of(store: &Store, id: &str) -> BTreeSet<String> {
    let annotations = store.resources.get(id).into_iter().flat_map(|found| found.annotations.values());
    annotations
        .map(|(value, _)| value.as_str())
        .chain([parts(id).2.unwrap_or_default()])
        .flat_map(words)
        .collect()
}

/// One resource as Conjur shows it.
pub(super) fn body(store: &Store, id: &str) -> Value {
    let Some(resource) = store.resources.get(id) else { return Value::Null };
    let mut body = Map::new();
    body.insert("created_at".to_owned(), Value::from(with_millis(resource.created_ms)));
    body.insert("id".to_owned(), Value::from(id));
    body.insert("owner".to_owned(), Value::from(resource.owner.as_str()));
    add_policy(&mut body, &resource.policy);
    let permissions = store.grants_on(id).map(|((_, role, privilege), policy)| {
        let mut row = Map::new();
        row.insert("privilege".to_owned(), Value::from(privilege.as_str()));
        row.insert("role".to_owned(), Value::from(role.as_str()));
        add_policy(&mut row, policy);
        Value::Object(row)
    });
    body.insert("permissions".to_owned(), permissions.collect());
    let annotations = resource.annotations.iter().map(|(name, (value, policy))| {
        let mut row = Map::new();
        row.insert("name".to_owned(), Value::from(name.as_str()));
        row.insert("value".to_owned(), Value::from(value.as_str()));
        add_policy(&mut row, policy);
        Value::Object(row)
    });
    body.insert("annotations".to_owned(), annotations.collect());
    match parts(id).1 {
        Some("host" | "user") => {
            let networks =
                store.credentials.get(id).map(|found| shown(&found.restricted_to)).unwrap_or_default();
            body.insert("restricted_to".to_owned(), Value::from(networks));
        }
        Some("host_factory") => {
            let tokens = store.tokens.iter().filter(|token| token.factory == id).map(row);
            body.insert("tokens".to_owned(), tokens.collect());
            let layers = store.roles_of(id).filter(|role| parts(role).1 == Some("layer"));
            body.insert("layers".to_owned(), layers.collect());
        }
        Some("variable") => {
            let versions =
                (1..=resource.secrets.len()).map(|version| json!({"version": version, "expires_at": null}));
            body.insert("secrets".to_owned(), versions.collect());
        }
        Some("policy") => {
            let loads = store.versions.get(id).into_iter().flatten().enumerate();
            let versions = loads.map(
                |(index, at_ms)| json!({"version": index + 1, "created_at": with_millis(*at_ms), "id": id}),
            );
            body.insert("policy_versions".to_owned(), versions.collect());
        }
        _ => {}
    }
    Value::Object(body)
}

/// Rows name the policy that declared them, and say nothing when none did.
pub(super) fn add_policy(row: &mut Map<String, Value>, policy: &Origin) {
    if let Some(policy) = policy {
        row.insert("policy".to_owned(), Value::from(policy.as_str()));
    }
}
