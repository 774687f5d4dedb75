//! docs/json.md against what the programs print: the same members, of the same kinds, and each of them
//! named in the text.

use crate::docs::document;
use crate::published;
use imprint_e2e::Ran;
use serde_json::Value;
use std::collections::BTreeMap;

/// Each command of the document, with its example and the text of its part.
fn documented() -> BTreeMap<String, (Value, String)> {
    let text = document("docs/json.md");
    let parts = text.split("\n## ").skip(1);
    let part = |part: &str| {
        let command = part.split('`').nth(1).unwrap().to_owned();
        let (_, rest) = part.split_once("```json\n").unwrap();
        let (example, rest) = rest.split_once("\n```\n").unwrap();
        let example = serde_json::from_str(example).unwrap_or_else(|e| panic!("{command}: {e}"));
        (command, (example, rest.to_owned()))
    };
    parts.map(part).collect()
}

/// The kinds of all members, by their paths; of a list that of its elements, which must agree. What is
/// null may be of any kind.
fn shape(value: &Value, at: &str, into: &mut BTreeMap<String, &'static str>) {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "flag",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(elements) => {
            elements.iter().for_each(|element| shape(element, &format!("{at}[]"), into));
            "list"
        }
        Value::Object(members) => {
            for (name, member) in members {
                shape(member, &format!("{at}/{name}"), into);
            }
            "object"
        }
    };
    let known = into.entry(at.to_owned()).or_insert(kind);
    if *known == "null" {
        *known = kind;
    }
    assert!(kind == "null" || *known == kind, "{at} is {known} and {kind}");
}

fn shape_of(value: &Value) -> BTreeMap<String, &'static str> {
    let mut found = BTreeMap::new();
    shape(value, "", &mut found);
    found
}

/// The example has the members that were printed, and the text names each of them.
#[track_caller]
pub(crate) fn check(command: &str, printed: &str) {
    let (example, text) =
        documented().remove(command).unwrap_or_else(|| panic!("{command} is not documented"));
    let printed: Value =
        serde_json::from_str(printed).unwrap_or_else(|e| panic!("{command}: {e}: {printed}"));
    assert_eq!(example["schema"], printed["schema"], "{command}");
    let (example, printed) = (shape_of(&example), shape_of(&printed));
    let names = |shape: &BTreeMap<String, &str>| shape.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&example), names(&printed), "{command}");
    for (path, kind) in &printed {
        let shown = example[path];
        assert!(
            *kind == "null" || shown == "null" || shown == *kind,
            "{command}: {path} is {kind}, shown {shown}"
        );
        let name = path.rsplit('/').next().unwrap().trim_end_matches("[]");
        let is_told =
            name.is_empty() || name == "*" || name == "schema" || text.contains(&format!("`{name}`"));
        assert!(is_told, "{command}: {path} is not explained");
    }
}

/// The table of checks has those that were printed, in their order.
#[track_caller]
fn check_table(command: &str, printed: &str) {
    let (_, text) = documented().remove(command).unwrap();
    let table = text.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | "));
    let listed: Vec<&str> = table.map(|(name, _)| name).skip_while(|name| *name != "config").collect();
    let printed: Value = serde_json::from_str(printed).unwrap();
    let named = printed["checks"].as_array().unwrap().iter().map(|check| check["name"].as_str().unwrap());
    assert_eq!(listed, named.collect::<Vec<_>>(), "{command}");
}

#[test]
fn what_is_documented_is_what_is_printed() {
    let site = published();
    let machine = site.machine("web");
    let _said = Ran::of(&mut machine.imprint(&["enroll"])).expect(0);
    let status = Ran::of(&mut machine.imprint(&["status", "--json"])).expect(0);
    check("imprint status --json", &status.out);

    let config = machine.config();
    let promotion = "[promotion]\nhost_factory = \"db/factory\"\nhosts_branch = \"db/hosts\"\n\n[files]";
    machine.set_config(&config.replace("[files]", promotion));
    let promoted = Ran::of(&mut machine.imprint(&["promote", "--json"])).expect(0);
    check("imprint promote --json", &promoted.out);
    machine.set_config(&config);

    site.stack.s3.service().delete_raw("imprint-tokens", &site.stack.object_key("web"));
    let doctor = Ran::of(&mut machine.imprint(&["doctor", "--json"])).expect(69);
    check("imprint doctor --json", &doctor.out);
    check_table("imprint doctor --json", &doctor.out);

    let doctor = Ran::of(&mut site.rotator(&["doctor", "--json"])).expect(69);
    check("imprint-rotator doctor --json", &doctor.out);
    check_table("imprint-rotator doctor --json", &doctor.out);

    let rotated = Ran::of(&mut site.rotator(&["rotate", "--json", "--now"])).expect(0);
    check("imprint-rotator rotate --json", &rotated.out);
    let status = Ran::of(&mut site.rotator(&["status", "--json"])).expect(0);
    check("imprint-rotator status --json", &status.out);

    let plan = Ran::of(&mut site.rotator(&["plan", "--json", "--factory", "web/factory"])).expect(0);
    check("imprint-rotator plan --json", &plan.out);

    let out = site.folder().join("tokens").display().to_string();
    let words =
        ["--factory", "web/factory", "--duration-hours", "1", "--any-address", "--out", &out, "--json"];
    let created = Ran::of(&mut site.rotator(&[&["token", "create"], &words[..]].concat())).expect(0);
    check("imprint-rotator token create --json", &created.out);
    let listed = Ran::of(&mut site.rotator(&["token", "list", "--json"])).expect(0);
    check("imprint-rotator token list --json", &listed.out);
    let created: Value = serde_json::from_str(&created.out).unwrap();
    let name = created["fingerprints"][0].as_str().unwrap();
    let revoked = Ran::of(&mut site.rotator(&["token", "revoke", "--json", "--fingerprint", name])).expect(0);
    check("imprint-rotator token revoke --json", &revoked.out);

    // Which facts there are depends on the machine: one that was found stands for all.
    let facts = Ran::of(&mut machine.imprint(&["facts", "--json"])).expect(0);
    let mut facts: Value = serde_json::from_str(&facts.out).unwrap();
    let all = facts["facts"].as_object().unwrap();
    let one = all.values().find(|fact| fact["found"] == true).expect("a fact that is found").clone();
    let missing = all.values().find(|fact| fact["found"] == false);
    assert!(missing.is_none_or(|fact| fact["why"].is_string()), "{missing:?}");
    facts["facts"] = serde_json::json!({"product_uuid": one});
    check("imprint facts --json", &facts.to_string());

    let [facts, out] =
        ["facts.json", "sealed.json"].map(|name| site.folder().join(name).display().to_string());
    let uuid =
        r#"{"facterversion":"4.10.0","dmi":{"product":{"uuid":"0f5a3c1e-7b2d-4e6f-8a90-1b2c3d4e5f60"}}}"#;
    imprint_e2e::write(facts.as_ref(), 0o600, uuid);
    let words = [
        "seal",
        "--json",
        "--client-data",
        &facts,
        "--factory",
        "web/factory",
        "--out",
        &out,
        "--memory",
        "19",
    ];
    let sealed = Ran::of(&mut site.rotator(&words)).expect(0);
    check("imprint-rotator seal --json", &sealed.out);
}

#[test]
fn a_failure_has_the_members_that_are_told() {
    let site = published();
    let machine = site.machine("web");
    site.stack.conjur.service().drop_tokens("web/factory");
    let _said = Ran::of(&mut machine.imprint(&["enroll", "--deadline", "3s"])).expect(77);
    let status = Ran::of(&mut machine.imprint(&["status", "--json"])).expect(0);
    let json: Value = serde_json::from_str(&status.out).unwrap();
    let (_, text) = documented().remove("imprint status --json").unwrap();
    let failure = json["last_failure"].as_object().unwrap();
    for name in failure.keys() {
        assert!(text.contains(&format!("`{name}`")), "{name}");
    }
    assert_eq!(failure["class"], "refused");
}
