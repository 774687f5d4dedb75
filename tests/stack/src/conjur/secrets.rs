//! Values of variables, one at a time or several at once.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::reply::{Answer, Reply};
use super::routes::Context;

/// `GET /secrets/{account}/variable/{id}`: absent, without a value and invisible look the same.
pub(super) fn show(context: &mut Context<'_>, id: &str) -> Answer {
    let role = context.role()?;
    let roles = context.store.all_roles(&role);
    let Some(resource) = context.store.resources.get(id).filter(|_| context.store.visible(&roles, id)) else {
        return Err(absent(id));
    };
    if !context.store.allowed(&roles, "execute", id) {
        return Err(Reply::head(403));
    }
    let version = context
        .query()?
        .get("version")
        .and_then(Value::as_str)
        .map(|text| text.parse::<usize>().unwrap_or(0));
    let value = match version {
        Some(version) => version.checked_sub(1).and_then(|index| resource.secrets.get(index)),
        None => resource.secrets.last(),
    };
    value.map(|value| Reply::binary(value.clone())).ok_or_else(|| absent(id))
}

/// `POST /secrets/{account}/variable/{id}`: needs `update`; the body is the value.
pub(super) fn add(context: &mut Context<'_>, id: &str) -> Answer {
    let role = context.role()?;
    let roles = context.store.all_roles(&role);
    if !context.store.resources.contains_key(id) || !context.store.visible(&roles, id) {
        return Err(Reply::not_found(id));
    }
    if !context.store.allowed(&roles, "update", id) {
        return Err(Reply::head(403));
    }
    let value = context.request.body.to_vec();
    if value.iter().all(u8::is_ascii_whitespace) {
        return Err(Reply::argument("'value' may not be empty"));
    }
    if let Some(resource) = context.store.resources.get_mut(id) {
        resource.secrets.push(value);
    }
    Ok(Reply::head(201))
}

/// `GET /secrets?variable_ids=a,b`: all or nothing.
pub(super) fn batch(context: &mut Context<'_>) -> Answer {
    let query = context.query()?;
    let asked = query.get("variable_ids").and_then(Value::as_str).unwrap_or_default();
    let ids: Vec<&str> = asked.split(',').collect();
    if ids.iter().any(|id| id.is_empty()) {
        return Err(Reply::argument("variable_ids"));
    }
    let role = context.role()?;
    let roles = context.store.all_roles(&role);
    if let Some(id) = ids.iter().find(|id| !context.store.resources.contains_key(**id)) {
        return Err(absent(id));
    }
    let mut values = BTreeMap::new();
    for id in &ids {
        if values
            .insert(*id, context.store.resources.get(*id).and_then(|found| found.secrets.last()))
            .is_some()
        {
            // The same id twice: fewer rows than ids, and none that is missing.
            return Err(Reply::crash());
        }
    }
    if ids.iter().any(|id| !context.store.allowed(&roles, "execute", id)) {
        return Err(Reply::head(403));
    }
    let base64 = context.header("accept-encoding").is_some_and(|value| value.eq_ignore_ascii_case("base64"));
    let mut body = serde_json::Map::new();
    for (id, value) in values {
        let value = value.ok_or_else(|| absent(id))?;
        let text = if base64 {
            lines(value)
        } else {
            String::from_utf8(value.clone()).map_err(|_| unprintable())?
        };
        body.insert(id.to_owned(), Value::from(text));
    }
    let reply = Reply::json(200, &Value::Object(body));
    Ok(if base64 { reply.with("content-encoding", "base64") } else { reply })
}

/// Base64 in lines of 60, each with its line feed, as Ruby's `encode64` breaks it.
fn lines(value: &[u8]) -> String {
    let packed = STANDARD.encode(value);
    packed.as_bytes().chunks(60).map(|line| format!("{}\n", String::from_utf8_lossy(line))).collect()
}

fn absent(id: &str) -> Reply {
    let message = format!("CONJ00076E Variable {id} is empty or not found.");
    Reply::json(404, &json!({"error": {"code": "not_found", "message": message}}))
}

fn unprintable() -> Reply {
    Reply::error(
        406,
        "not_acceptable",
        "CONJ00074E Issue encoding secret into JSON format, try including 'Accept-Encoding: base64' header in request.",
    )
}
