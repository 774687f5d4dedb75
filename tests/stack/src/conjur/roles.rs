//! Roles: who is a member of what. Seen by whoever sees the resource of that name, changed by whoever may change the policy that
//! declared the role.

use serde_json::{Map, Value, json};

use super::calendar::with_millis;
use super::reply::{Answer, Reply, parts};
use super::resources::{add_policy, page};
use super::routes::Context;
use super::store::{Link, Membership};

/// `GET /roles/{account}/{kind}/{id}`, with `?all`, `?memberships` or `?members`.
pub(super) fn show(context: &mut Context<'_>, id: &str) -> Answer {
    let query = context.query()?;
    visible(context, id)?;
    let store = &*context.store;
    if query.contains_key("all") {
        let all: Vec<Value> = store.all_roles(id).into_iter().map(Value::from).collect();
        return Ok(Reply::json(
            200,
            &if query.contains_key("count") { json!({"count": all.len()}) } else { Value::Array(all) },
        ));
    }
    if query.contains_key("memberships") {
        let rows = store.memberships.iter().filter(|((member, _, _), _)| member == id);
        return Ok(Reply::json(200, &rows.map(|(link, membership)| row(link, membership)).collect()));
    }
    let members = store.memberships.iter().filter(|((_, role, _), _)| role == id);
    if query.contains_key("members") {
        let kinds: Vec<&str> = match query.get("kind") {
            Some(Value::Array(kinds)) => kinds.iter().filter_map(Value::as_str).collect(),
            Some(Value::String(kind)) => vec![kind],
            _ => Vec::new(),
        };
        let search = query.get("search").and_then(Value::as_str).unwrap_or_default();
        let rows: Vec<Value> = members
            .filter(|((member, _, _), _)| {
                (kinds.is_empty() || parts(member).1.is_some_and(|kind| kinds.contains(&kind)))
                    && member.contains(search)
            })
            .map(|(link, membership)| row(link, membership))
            .collect();
        if query.contains_key("count") {
            return Ok(Reply::json(200, &json!({"count": rows.len()})));
        }
        let paged = query.contains_key("limit") || query.contains_key("offset");
        let (offset, limit) = if paged { page(&query)? } else { (0, usize::MAX) };
        return Ok(Reply::json(200, &rows.into_iter().skip(offset).take(limit).collect()));
    }
    let created_ms = store.roles.get(id).map(|role| role.created_ms).unwrap_or_default();
    let mut body = Map::new();
    body.insert("created_at".to_owned(), Value::from(with_millis(created_ms)));
    body.insert("id".to_owned(), Value::from(id));
    add_policy(&mut body, &store.roles.get(id).and_then(|role| role.policy.clone()));
    body.insert("members".to_owned(), members.map(|(link, membership)| row(link, membership)).collect());
    Ok(Reply::json(200, &Value::Object(body)))
}

/// `POST` and `DELETE /roles/{account}/{kind}/{id}?members&member={id}`: 204.
pub(super) fn change(context: &mut Context<'_>, id: &str) -> Answer {
    let query = context.query()?;
    let adds = context.request.method == http::Method::POST;
    if !query.contains_key("members") {
        return Err(Reply::no_route());
    }
    let roles = visible(context, id)?;
    let policy = context
        .store
        .roles
        .get(id)
        .and_then(|role| role.policy.clone())
        .unwrap_or(context.store.id("policy", "root"));
    if !context.store.allowed(&roles, if adds { "create" } else { "update" }, &policy) {
        return Err(Reply::head(403));
    }
    let member = match query.get("member") {
        Some(Value::String(member)) if member.splitn(3, ':').count() == 3 => member.clone(),
        Some(Value::String(member)) => format!("{}:{member}", context.store.account),
        _ => return Err(Reply::argument("member")),
    };
    if !context.store.roles.contains_key(&member) {
        return Err(Reply::not_found(&member));
    }
    let link = (member.clone(), id.to_owned(), false);
    if adds {
        context.store.memberships.entry(link).or_insert(Membership { admin_option: false, policy: None });
    } else if context.store.memberships.remove(&link).is_none() {
        return Err(Reply::not_found(&member));
    }
    Ok(Reply::no_content())
}

/// All roles of the caller, if it sees this one.
fn visible(context: &Context<'_>, id: &str) -> Result<std::collections::BTreeSet<String>, Reply> {
    let caller = context.role()?;
    let roles = context.store.all_roles(&caller);
    let seen = context.store.roles.contains_key(id) && context.store.visible(&roles, id);
    if seen { Ok(roles) } else { Err(Reply::not_found(id)) }
}

fn row((member, role, ownership): &Link, membership: &Membership) -> Value {
    let mut row = Map::new();
    row.insert("admin_option".to_owned(), Value::from(membership.admin_option));
    row.insert("ownership".to_owned(), Value::from(*ownership));
    row.insert("role".to_owned(), Value::from(role.as_str()));
    row.insert("member".to_owned(), Value::from(member.as_str()));
    add_policy(&mut row, &membership.policy);
    Value::Object(row)
}
