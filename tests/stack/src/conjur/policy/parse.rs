//! From YAML to statements. Ids are made full here: relative ones get the branch in front, users the `@` notation, and an
//! absolute id is allowed only where Conjur allows it: owners, members, and the roles of permissions.

use std::collections::BTreeSet;

use ipnet::IpNet;
use serde_json::json;
use serde_yaml_ng::value::TaggedValue;
use serde_yaml_ng::{Mapping, Value};

use super::super::factory::parse_network;
use super::super::reply::Reply;
use super::invalid;

/// One statement; every id is full.
#[derive(Debug, PartialEq)]
pub(super) enum Statement {
    Delete { record: String },
    Deny { roles: Vec<String>, privileges: Vec<String>, resources: Vec<String> },
    Grant { roles: Vec<String>, members: Vec<(String, bool)> },
    Permit { roles: Vec<String>, privileges: Vec<String>, resources: Vec<String> },
    Record(Record),
    Revoke { roles: Vec<String>, members: Vec<(String, bool)> },
}

/// A declared role or resource.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Record {
    pub(super) id: String,
    pub(super) kind: &'static str,
    pub(super) owner: String,
    pub(super) annotations: Vec<(String, String)>,
    /// Of a host factory; `None` when the text names none.
    pub(super) layers: Option<Vec<String>>,
    pub(super) restricted_to: Vec<IpNet>,
}

const RECORDS: [(&str, &str); 8] = [
    ("group", "group"),
    ("host", "host"),
    ("host-factory", "host_factory"),
    ("layer", "layer"),
    ("policy", "policy"),
    ("user", "user"),
    ("variable", "variable"),
    ("webservice", "webservice"),
];

/// Where in the tree of policies a statement stands.
#[derive(Clone)]
struct Scope {
    namespace: Option<String>,
    owner: String,
}

struct Reader<'a> {
    account: &'a str,
    text: &'a str,
}

/// Reads a text that is loaded into `branch`. Records of the root belong to its owner, those of another branch to the branch.
pub(super) fn statements(
    account: &str,
    branch: &str,
    owner: &str,
    text: &str,
) -> Result<Vec<Statement>, Reply> {
    let value: Value =
        serde_yaml_ng::from_str(text).map_err(|error| invalid(without_places(&error.to_string())))?;
    let name = branch.splitn(3, ':').nth(2).unwrap_or_default();
    let scope = if name == "root" {
        Scope { namespace: None, owner: owner.to_owned() }
    } else {
        Scope { namespace: Some(name.to_owned()), owner: branch.to_owned() }
    };
    let mut found = Vec::new();
    Reader { account, text }.walk(&scope, &value, &mut found)?;
    let mut seen = BTreeSet::new();
    for statement in &found {
        if let Statement::Record(record) = statement
            && !seen.insert(&record.id)
        {
            let name = record.id.splitn(3, ':').nth(2).unwrap_or_default();
            return Err(invalid(format!(
                "{} '{name}' is declared more than once",
                record.kind.replace('_', " ")
            )));
        }
    }
    Ok(found)
}

impl Reader<'_> {
    fn walk(&self, scope: &Scope, value: &Value, found: &mut Vec<Statement>) -> Result<(), Reply> {
        match value {
            Value::Null => Ok(()),
            Value::Sequence(items) => items.iter().try_for_each(|item| self.walk(scope, item, found)),
            Value::Tagged(tagged) => self.statement(scope, tagged, found),
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Mapping(_) => {
                Err(invalid("YAML should be a sequence of records or statements, each with a type tag"))
            }
        }
    }

    fn statement(
        &self,
        scope: &Scope,
        tagged: &TaggedValue,
        found: &mut Vec<Statement>,
    ) -> Result<(), Reply> {
        let tag = tagged.tag.to_string();
        let name = tag.trim_start_matches('!');
        if let Some((_, kind)) = RECORDS.iter().find(|(known, _)| *known == name) {
            return self.record(scope, kind, &tagged.value, found);
        }
        let statement = match name {
            "delete" => {
                let fields = Fields::of(name, &tagged.value, &["record"])?;
                let records = self.references(scope, fields.get("record"), false)?;
                for record in records {
                    found.push(Statement::Delete { record });
                }
                return Ok(());
            }
            "deny" | "permit" => {
                let fields = Fields::of(name, &tagged.value, &["role", "privilege", "resource"])?;
                let roles = self.references(scope, fields.get("role"), true)?;
                let privileges = strings(fields.get("privilege"));
                let resources = self.references(scope, fields.get("resource"), false)?;
                if name == "permit" {
                    Statement::Permit { roles, privileges, resources }
                } else {
                    Statement::Deny { roles, privileges, resources }
                }
            }
            "grant" | "revoke" => {
                let fields = Fields::of(name, &tagged.value, &["role", "member"])?;
                let roles = self.references(scope, fields.get("role"), false)?;
                let members = self.members(scope, fields.get("member"))?;
                if name == "grant" {
                    Statement::Grant { roles, members }
                } else {
                    Statement::Revoke { roles, members }
                }
            }
            _ => return Err(self.unknown(&tag)),
        };
        found.push(statement);
        Ok(())
    }

    fn record(
        &self,
        scope: &Scope,
        kind: &'static str,
        value: &Value,
        found: &mut Vec<Statement>,
    ) -> Result<(), Reply> {
        let known = [
            "id",
            "owner",
            "annotations",
            "body",
            "layer",
            "restricted_to",
            "kind",
            "mime_type",
            "account",
            "public_key",
            "uidnumber",
            "gidnumber",
        ];
        let fields = match value {
            Value::Mapping(_) => Fields::of(kind, value, &known)?,
            Value::Null
            | Value::Bool(_)
            | Value::Number(_)
            | Value::String(_)
            | Value::Sequence(_)
            | Value::Tagged(_) => Fields { map: None },
        };
        let name = if fields.map.is_some() { fields.get("id").and_then(scalar) } else { scalar(value) };
        let identifier = resolve(scope, kind, name.as_deref().unwrap_or_default(), false)?;
        let owner =
            self.references(scope, fields.get("owner"), true)?.pop().unwrap_or_else(|| scope.owner.clone());
        let mut annotations: Vec<(String, String)> = match fields.get("annotations") {
            Some(Value::Mapping(map)) => map
                .iter()
                .filter_map(|(name, value)| Some((scalar(name)?, scalar(value).unwrap_or_default())))
                .collect(),
            _ => Vec::new(),
        };
        for (field, annotation) in [("kind", "conjur/kind"), ("mime_type", "conjur/mime_type")] {
            annotations
                .extend(fields.get(field).and_then(scalar).map(|value| (annotation.to_owned(), value)));
        }
        let layers =
            fields.get("layer").map(|layers| self.references(scope, Some(layers), false)).transpose()?;
        let restricted_to = strings(fields.get("restricted_to"))
            .iter()
            .map(|text| parse_network(text))
            .collect::<Result<_, _>>();
        let id = format!("{}:{kind}:{identifier}", self.account);
        let record = Record {
            id: id.clone(),
            kind,
            owner,
            annotations,
            layers,
            restricted_to: restricted_to.map_err(invalid)?,
        };
        found.push(Statement::Record(record));
        if let (Some(body), "policy") = (fields.get("body"), kind) {
            self.walk(&Scope { namespace: Some(identifier), owner: id }, body, found)?;
        }
        Ok(())
    }

    /// `!host x`, `!layer` (the branch itself), or a list of such.
    fn references(
        &self,
        scope: &Scope,
        value: Option<&Value>,
        may_be_absolute: bool,
    ) -> Result<Vec<String>, Reply> {
        match value {
            None | Some(Value::Null) => Ok(Vec::new()),
            Some(Value::Sequence(items)) => {
                let mut all = Vec::new();
                for item in items {
                    all.extend(self.references(scope, Some(item), may_be_absolute)?);
                }
                Ok(all)
            }
            Some(Value::Tagged(tagged)) => {
                let tag = tagged.tag.to_string();
                let name = tag.trim_start_matches('!');
                let kind = RECORDS.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind);
                let kind = kind.ok_or_else(|| self.unknown(&tag))?;
                let id = tagged.value.get("id").map_or_else(|| scalar(&tagged.value), scalar);
                let identifier = resolve(scope, kind, id.as_deref().unwrap_or_default(), may_be_absolute)?;
                Ok(vec![format!("{}:{kind}:{identifier}", self.account)])
            }
            Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Mapping(_)) => {
                Err(invalid("expected a reference with a type tag, such as !host web"))
            }
        }
    }

    fn members(&self, scope: &Scope, value: Option<&Value>) -> Result<Vec<(String, bool)>, Reply> {
        match value {
            Some(Value::Sequence(items)) => {
                let mut all = Vec::new();
                for item in items {
                    all.extend(self.members(scope, Some(item))?);
                }
                Ok(all)
            }
            Some(Value::Tagged(tagged)) if tagged.tag == "!member" => {
                let fields = Fields::of("member", &tagged.value, &["role", "admin"])?;
                let admin = fields.get("admin").and_then(Value::as_bool).unwrap_or(false);
                Ok(self
                    .references(scope, fields.get("role"), true)?
                    .into_iter()
                    .map(|role| (role, admin))
                    .collect())
            }
            other => Ok(self.references(scope, other, true)?.into_iter().map(|role| (role, false)).collect()),
        }
    }

    fn unknown(&self, tag: &str) -> Reply {
        let line = self.text.lines().position(|line| line.contains(tag)).map_or(1, |index| index + 1);
        let message = format!("Error at line {line}, column 0 in policy : Unrecognized data type '{tag}'");
        let inner = json!({"code": "policy_invalid", "filename": "policy", "line": line, "column": 0});
        Reply::json(
            422,
            &json!({"error": {"code": "policy_invalid", "message": message, "innererror": inner}}),
        )
    }
}

/// The fields of a statement, each under its singular or plural name; others are refused.
struct Fields<'a> {
    map: Option<&'a Mapping>,
}

impl<'a> Fields<'a> {
    fn of(kind: &str, value: &'a Value, known: &[&str]) -> Result<Self, Reply> {
        let Value::Mapping(map) = value else {
            return Err(invalid(format!("expected the fields of !{kind}")));
        };
        for key in map.keys() {
            let name = scalar(key).unwrap_or_default();
            if !known.iter().any(|known| name == *known || name == plural(known)) {
                return Err(invalid(format!("Unrecognized attribute '{name}' on type {kind}")));
            }
        }
        Ok(Self { map: Some(map) })
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        let map = self.map?;
        map.get(name).or_else(|| map.get(plural(name)))
    }
}

fn plural(name: &str) -> String {
    format!("{name}s")
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(flag) => Some(flag.to_string()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

fn strings(value: Option<&Value>) -> Vec<String> {
    match value {
        Some(Value::Sequence(items)) => items.iter().filter_map(scalar).collect(),
        Some(other) => scalar(other).into_iter().collect(),
        None => Vec::new(),
    }
}

/// The identifier that a relative or absolute name means here.
fn resolve(scope: &Scope, kind: &str, name: &str, may_be_absolute: bool) -> Result<String, Reply> {
    let joined = match (&scope.namespace, name) {
        (Some(namespace), "") => namespace.clone(),
        (None, "") => return Err(invalid(format!("{kind} has a blank id"))),
        (Some(namespace), relative) if !relative.starts_with('/') => format!("{namespace}/{relative}"),
        (_, name) => name.to_owned(),
    };
    let identifier = if may_be_absolute {
        without_dots(joined.strip_prefix('/').unwrap_or(&joined))?
    } else if joined.starts_with('/') {
        return Err(invalid(format!("Illegal absolute id: {joined}")));
    } else {
        joined
    };
    match identifier.rsplit_once('/') {
        Some((branch, login)) if kind == "user" => Ok(format!("{login}@{}", branch.replace('/', "-"))),
        _ => Ok(identifier),
    }
}

fn without_dots(path: &str) -> Result<String, Reply> {
    let mut kept: Vec<&str> = Vec::new();
    for token in path.split('/') {
        if token != ".." {
            kept.push(token);
        } else if kept.pop().is_none() {
            return Err(invalid(format!("Invalid relative reference: {path}")));
        }
    }
    Ok(kept.join("/"))
}

/// libyaml's message as Conjur repeats it, without the places that the Rust reader adds to it.
fn without_places(message: &str) -> String {
    let parts = message.split(", ").map(|part| part.split(" at line ").next().unwrap_or_default());
    parts.collect::<Vec<_>>().join(" ")
}
