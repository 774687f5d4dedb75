//! From statements to tables, in the order of a genuine load: deletions, the new rows, what a replacement leaves out, the merge,
//! restrictions, keys for new users and hosts. A row that another policy declared, or that no policy did, is left as it is.

use std::collections::{BTreeMap, BTreeSet};

use super::super::Settings;
use super::super::factory::API_KEY_REFUSAL;
use super::super::reply::{Reply, missing};
use super::super::store::{Grant, Link, Membership, Store};
use super::parse::{Record, Statement};
use super::{Verb, invalid};

/// Applies statements; on an error the store is left half changed, so give it a copy. Returns the keys of created users and hosts.
pub(super) fn apply(
    store: &mut Store,
    settings: &Settings,
    branch: &str,
    statements: &[Statement],
    verb: Verb,
    now_ms: i64,
) -> Result<BTreeMap<String, String>, Reply> {
    delete(store, branch, statements, verb)?;
    let rows = Rows::of(store, settings, statements)?;
    if verb == Verb::Put {
        remove_left_out(store, branch, &rows);
    }
    let created = merge_records(store, branch, &rows, verb, now_ms);
    merge_links(store, branch, &rows, verb);
    for record in &rows.records {
        if let Some(credentials) = store.credentials.get_mut(&record.id) {
            credentials.restricted_to = record.restricted_to.clone();
        }
    }
    Ok(created)
}

fn delete(store: &mut Store, branch: &str, statements: &[Statement], verb: Verb) -> Result<(), Reply> {
    let of_branch = |policy: Option<&str>| policy == Some(branch);
    for statement in statements {
        let deletes =
            matches!(statement, Statement::Delete { .. } | Statement::Deny { .. } | Statement::Revoke { .. });
        if deletes && verb == Verb::Post {
            return Err(deletion_in_post());
        }
        match statement {
            Statement::Delete { record } => {
                store.remove_resource(record);
                store.remove_role(record);
            }
            Statement::Deny { roles, privileges, resources } => {
                store.permissions.retain(|(resource, role, privilege), policy| {
                    !(resources.contains(resource)
                        && roles.contains(role)
                        && privileges.contains(privilege)
                        && of_branch(policy.as_deref()))
                });
            }
            // Only what this branch granted: a membership that a host factory made has no policy and stays.
            Statement::Revoke { roles, members } => {
                store.memberships.retain(|(member, role, _), membership| {
                    !(roles.contains(role)
                        && members.iter().any(|(id, _)| id == member)
                        && of_branch(membership.policy.as_deref()))
                });
            }
            Statement::Grant { .. } | Statement::Permit { .. } | Statement::Record(_) => {}
        }
    }
    Ok(())
}

fn deletion_in_post() -> Reply {
    let detail = "may not contain deletion statements";
    Reply::json(
        422,
        &serde_json::json!({"error": {"code": "validation_failed", "message": format!("policy_text {detail}"),
            "details": [{"code": "validation_failed", "target": "policy_text", "message": detail}]}}),
    )
}

/// The rows that a text declares, each reference checked.
struct Rows<'a> {
    records: Vec<&'a Record>,
    memberships: BTreeMap<Link, bool>,
    permissions: BTreeSet<Grant>,
}

impl<'a> Rows<'a> {
    fn of(store: &Store, settings: &Settings, statements: &'a [Statement]) -> Result<Self, Reply> {
        let records: Vec<&Record> = statements
            .iter()
            .filter_map(
                |statement| if let Statement::Record(record) = statement { Some(record) } else { None },
            )
            .collect();
        let declared: BTreeSet<&str> = records.iter().map(|record| record.id.as_str()).collect();
        let known = |id: &str| -> Result<(), Reply> {
            let there =
                declared.contains(id) || store.roles.contains_key(id) || store.resources.contains_key(id);
            if there { Ok(()) } else { Err(invalid(missing(id))) }
        };
        let mut memberships = BTreeMap::new();
        let mut permissions = BTreeSet::new();
        for record in &records {
            known(&record.owner)?;
            verify(settings, record)?;
            for layer in record.layers.iter().flatten().filter(|_| record.kind == "host_factory") {
                known(layer)?;
                memberships.insert((record.id.clone(), layer.clone(), false), false);
            }
        }
        for statement in statements {
            match statement {
                Statement::Grant { roles, members } => {
                    for (role, (member, admin)) in
                        roles.iter().flat_map(|role| members.iter().map(move |member| (role, member)))
                    {
                        known(role)?;
                        known(member)?;
                        memberships.insert((member.clone(), role.clone(), false), *admin);
                    }
                }
                Statement::Permit { roles, privileges, resources } => {
                    for (resource, role) in
                        resources.iter().flat_map(|one| roles.iter().map(move |role| (one, role)))
                    {
                        known(resource)?;
                        known(role)?;
                        permissions.extend(
                            privileges.iter().map(|one| (resource.clone(), role.clone(), one.clone())),
                        );
                    }
                }
                Statement::Delete { .. }
                | Statement::Deny { .. }
                | Statement::Record(_)
                | Statement::Revoke { .. } => {}
            }
        }
        Ok(Self { records, memberships, permissions })
    }
}

fn verify(settings: &Settings, record: &Record) -> Result<(), Reply> {
    if record.kind == "host_factory" && record.layers.as_ref().is_none_or(Vec::is_empty) {
        let name = record.id.splitn(3, ':').nth(2).unwrap_or_default();
        return Err(invalid(format!("Host factory '{name}' does not include any layers")));
    }
    let says =
        record.annotations.iter().find(|(name, _)| name == "authn/api-key").map(|(_, value)| value.as_str());
    if record.kind == "host"
        && !settings.api_key_default
        && says.is_none_or(|says| says.eq_ignore_ascii_case("false"))
    {
        return Err(invalid(API_KEY_REFUSAL));
    }
    Ok(())
}

/// PUT: whatever this branch declared before and the text does not name any more.
fn remove_left_out(store: &mut Store, branch: &str, rows: &Rows<'_>) {
    let kept: BTreeSet<&str> = rows.records.iter().map(|record| record.id.as_str()).collect();
    let of_branch = |policy: &Option<String>| policy.as_deref() == Some(branch);
    let gone = |id: &String| !kept.contains(id.as_str());
    let resources: Vec<String> = store
        .resources
        .iter()
        .filter(|(id, found)| of_branch(&found.policy) && gone(id))
        .map(|(id, _)| id.clone())
        .collect();
    let roles: Vec<String> = store
        .roles
        .iter()
        .filter(|(id, found)| of_branch(&found.policy) && gone(id))
        .map(|(id, _)| id.clone())
        .collect();
    roles.iter().for_each(|id| store.remove_role(id));
    resources.iter().for_each(|id| store.remove_resource(id));
    store.permissions.retain(|grant, policy| !of_branch(policy) || rows.permissions.contains(grant));
    store.memberships.retain(|link, membership| {
        !of_branch(&membership.policy) || link.2 || rows.memberships.contains_key(link)
    });
    let declared: BTreeSet<(&str, &str)> = rows
        .records
        .iter()
        .flat_map(|record| record.annotations.iter().map(|(name, _)| (record.id.as_str(), name.as_str())))
        .collect();
    for (id, resource) in &mut store.resources {
        resource.annotations.retain(|name, (_, policy)| {
            !of_branch(policy) || declared.contains(&(id.as_str(), name.as_str()))
        });
    }
}

fn merge_records(
    store: &mut Store,
    branch: &str,
    rows: &Rows<'_>,
    verb: Verb,
    now_ms: i64,
) -> BTreeMap<String, String> {
    let origin = Some(branch.to_owned());
    let mut created = BTreeMap::new();
    for record in rows.records.iter().filter(|record| !matches!(record.kind, "variable" | "webservice")) {
        if !store.roles.contains_key(&record.id) {
            store.add_role(&record.id, now_ms, origin.clone());
            if matches!(record.kind, "host" | "user") {
                created.insert(record.id.clone(), store.set_key(&record.id, now_ms));
            }
        }
    }
    for record in &rows.records {
        let existing = store
            .resources
            .get(&record.id)
            .map(|found| (found.policy == origin, found.owner != record.owner));
        match existing {
            None => store.add_resource(&record.id, &record.owner, now_ms, origin.clone()),
            Some((true, true)) if verb != Verb::Post => {
                if let Some(resource) = store.resources.get_mut(&record.id) {
                    resource.owner.clone_from(&record.owner);
                }
                store.link_owner(&record.id, &record.owner, origin.clone());
            }
            Some(_) => {}
        }
        let Some(resource) = store.resources.get_mut(&record.id) else { continue };
        for (name, value) in &record.annotations {
            match resource.annotations.get_mut(name) {
                None => {
                    resource.annotations.insert(name.clone(), (value.clone(), origin.clone()));
                }
                Some((old, policy)) if verb != Verb::Post && *policy == origin => old.clone_from(value),
                Some(_) => {}
            }
        }
    }
    created
}

fn merge_links(store: &mut Store, branch: &str, rows: &Rows<'_>, verb: Verb) {
    let origin = Some(branch.to_owned());
    for (link, admin) in &rows.memberships {
        let fresh = Membership { admin_option: *admin, policy: origin.clone() };
        let found = store.memberships.entry(link.clone()).or_insert(fresh);
        if verb != Verb::Post && found.policy == origin {
            found.admin_option = *admin;
        }
    }
    for grant in &rows.permissions {
        store.permissions.entry(grant.clone()).or_insert_with(|| origin.clone());
    }
}
