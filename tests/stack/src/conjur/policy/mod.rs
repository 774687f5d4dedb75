//! Policy: the routes that load it. `parse` turns the text into statements with full ids, `apply` brings them into the tables;
//! a load that fails leaves nothing behind, since it works on a copy.

mod apply;
mod parse;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Settings;
use super::reply::{Answer, Reply};
use super::routes::Context;
use super::store::Store;

/// How a text is merged into what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    /// Add and update; deletions are allowed.
    Patch,
    /// Add only.
    Post,
    /// Replace: what the branch declared before and the text lacks is removed.
    Put,
}

/// What a load did.
pub(super) struct Loaded {
    /// API keys of created users and hosts, by full id.
    pub(super) created: BTreeMap<String, String>,
    /// Counts the loads of this branch.
    pub(super) version: usize,
}

/// `POST`, `PATCH` and `PUT /policies/{account}/policy/{id}`
pub(super) fn handle(context: &mut Context<'_>, id: &str) -> Answer {
    let (verb, privilege) = match context.request.method.as_str() {
        "PATCH" => (Verb::Patch, "update"),
        "PUT" => (Verb::Put, "update"),
        _ => (Verb::Post, "create"),
    };
    let role = context.role()?;
    let roles = context.store.all_roles(&role);
    if !context.store.resources.contains_key(id) || !context.store.visible(&roles, id) {
        return Err(Reply::not_found(id));
    }
    if !context.store.allowed(&roles, privilege, id) {
        return Err(Reply::head(403));
    }
    let text = String::from_utf8_lossy(&context.request.body).into_owned();
    if context.query()?.get("dryRun").and_then(Value::as_str) == Some("true") {
        load(&mut context.store.clone(), &context.settings, id, &text, verb, context.now_ms)?;
        return Ok(Reply::json(200, &json!({"status": "Valid YAML"})));
    }
    let loaded = load(context.store, &context.settings, id, &text, verb, context.now_ms)?;
    let created: Map<String, Value> =
        loaded.created.into_iter().map(|(id, key)| (id.clone(), json!({"id": id, "api_key": key}))).collect();
    Ok(Reply::json(201, &json!({"created_roles": created, "version": loaded.version})))
}

/// Loads a text into a branch (the full id of a policy that exists).
pub(super) fn load(
    store: &mut Store,
    settings: &Settings,
    branch: &str,
    text: &str,
    verb: Verb,
    now_ms: i64,
) -> Result<Loaded, Reply> {
    let owner = store.resources.get(branch).map(|found| found.owner.clone()).unwrap_or_default();
    let statements = parse::statements(&store.account, branch, &owner, text)?;
    let mut copy = store.clone();
    let created = apply::apply(&mut copy, settings, branch, &statements, verb, now_ms)?;
    let loads = copy.versions.entry(branch.to_owned()).or_default();
    loads.push(now_ms);
    let version = loads.len();
    *store = copy;
    Ok(Loaded { created, version })
}

/// 422 for a text that cannot be taken.
fn invalid(message: impl Into<String>) -> Reply {
    Reply::error(422, "policy_invalid", message)
}
