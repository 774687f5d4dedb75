//! Patterns of JSON: the value itself, with placeholders where servers differ. `<key>` is an API key or token, `<key:name>` keeps
//! it, `<time>` a creation time, `<number>`, `<any>`. An array that starts with `<has>` lists what must be among the elements, one
//! that starts with `<each:50>` says how many elements there are and what each looks like. An object with the key `...` may have
//! further members.

use serde_json::Value;

use crate::vars::{Missing, Vars};

/// What a match kept, as names and values.
pub(crate) type Kept = Vec<(String, String)>;

/// Compares; the error says where and how they differ.
pub(crate) fn matches(pattern: &Value, found: &Value, vars: &Vars, kept: &mut Kept) -> Result<(), String> {
    compare(pattern, found, vars, kept, "$")
}

fn compare(pattern: &Value, found: &Value, vars: &Vars, kept: &mut Kept, at: &str) -> Result<(), String> {
    match (pattern, found) {
        (Value::String(text), _) => compare_text(text, found, vars, kept, at),
        (Value::Array(wanted), Value::Array(items)) => compare_items(wanted, items, vars, kept, at),
        (Value::Object(wanted), Value::Object(members)) => {
            let mut open = false;
            let mut named = Vec::new();
            for (name, pattern) in wanted {
                if name == "..." {
                    open = true;
                    continue;
                }
                let name = vars.expand(name).map_err(|missing| unset(&missing))?;
                let found = members.get(&name).ok_or_else(|| format!("{at} lacks {name}"))?;
                compare(pattern, found, vars, kept, &format!("{at}.{name}"))?;
                named.push(name);
            }
            match members.keys().find(|name| !open && !named.contains(name)) {
                Some(extra) => Err(format!("{at} has {extra}, which was not expected")),
                None => Ok(()),
            }
        }
        _ if pattern == found => Ok(()),
        _ => Err(format!("{at} is {found}, expected {pattern}")),
    }
}

fn compare_items(
    wanted: &[Value],
    items: &[Value],
    vars: &Vars,
    kept: &mut Kept,
    at: &str,
) -> Result<(), String> {
    let how = wanted.first().and_then(Value::as_str).unwrap_or_default();
    if how == "<has>" {
        for pattern in wanted.iter().skip(1) {
            let found = items.iter().any(|item| {
                let mut own = Vec::new();
                let same = compare(pattern, item, vars, &mut own, at).is_ok();
                if same {
                    kept.append(&mut own);
                }
                same
            });
            if !found {
                let shown = pattern.to_string();
                return Err(format!("{at} has no element like {}", vars.expand(&shown).unwrap_or(shown)));
            }
        }
        return Ok(());
    }
    if let Some(count) = how.strip_prefix("<each:").and_then(|rest| rest.strip_suffix('>')) {
        if count.parse() != Ok(items.len()) {
            return Err(format!("{at} has {} elements, expected {count}", items.len()));
        }
        let pattern = wanted.get(1).unwrap_or(&Value::Null);
        return items
            .iter()
            .enumerate()
            .try_for_each(|(n, item)| compare(pattern, item, vars, kept, &format!("{at}[{n}]")));
    }
    if wanted.len() != items.len() {
        return Err(format!("{at} has {} elements, expected {}", items.len(), wanted.len()));
    }
    let pairs = wanted.iter().zip(items).enumerate();
    pairs
        .into_iter()
        .try_for_each(|(n, (pattern, item))| compare(pattern, item, vars, kept, &format!("{at}[{n}]")))
}

fn compare_text(text: &str, found: &Value, vars: &Vars, kept: &mut Kept, at: &str) -> Result<(), String> {
    let ok = match (text, found) {
        ("<any>", _) => true,
        ("<number>", Value::Number(_)) => true,
        ("<time>", Value::String(found)) => is_time(found),
        ("<key>", Value::String(found)) => is_key(found),
        (name, Value::String(found)) if name.starts_with("<key:") => {
            let name = name.trim_start_matches("<key:").trim_end_matches('>');
            kept.push((name.to_owned(), found.clone()));
            is_key(found)
        }
        (text, Value::String(found)) => vars.expand(text).map_err(|missing| unset(&missing))? == *found,
        _ => false,
    };
    if ok {
        Ok(())
    } else {
        Err(format!("{at} is {found}, expected {}", vars.expand(text).unwrap_or_else(|_| text.to_owned())))
    }
}

/// Why a text could not be completed, in words.
pub(crate) fn unset(missing: &Missing) -> String {
    match missing {
        Missing::Access(name) | Missing::Value(name) => {
            format!("nothing is known as {name}: an earlier case failed")
        }
    }
}

/// Whether this looks like an API key or a host factory token.
pub(crate) fn is_key(text: &str) -> bool {
    (45..=56).contains(&text.len()) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'h' | b'j' | b'k' | b'm' | b'n' | b'p'..=b't' | b'v'..=b'z'))
}

/// Whether this looks like `2026-11-22T04:55:35.089+00:00`.
fn is_time(text: &str) -> bool {
    let shape = "dddd-dd-ddTdd:dd:dd.ddd+00:00";
    text.len() == shape.len()
        && text
            .bytes()
            .zip(shape.bytes())
            .all(|(byte, want)| if want == b'd' { byte.is_ascii_digit() } else { byte == want })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KEY: &str = "0123456789abcdefghjkmnpqrstvwxyz0123456789abcdefghj";

    #[track_caller]
    fn check(pattern: Value, found: Value, expected: Result<(), &str>) {
        let mut vars = Vars::default();
        vars.set("branch", "b");
        let result = matches(&pattern, &found, &vars, &mut Vec::new());
        match expected {
            Ok(()) => assert_eq!(result, Ok(()), "{pattern}"),
            Err(part) => {
                assert!(result.clone().is_err_and(|error| error.contains(part)), "{pattern}: {result:?}")
            }
        }
    }

    #[test]
    fn what_fits_and_what_does_not() {
        check(json!({"a": "${branch}/x"}), json!({"a": "b/x"}), Ok(()));
        check(json!({"a": "${branch}/x"}), json!({"a": "c/x"}), Err("$.a is \"c/x\", expected b/x"));
        check(json!({"a": 1}), json!({"a": 1, "b": 2}), Err("has b"));
        check(json!({"a": 1, "...": 0}), json!({"a": 1, "b": 2}), Ok(()));
        check(json!({"a": 1}), json!({}), Err("lacks a"));
        check(json!(["<has>", 2]), json!([1, 2]), Ok(()));
        check(json!(["<has>", 3]), json!([1, 2]), Err("no element"));
        check(json!(["<each:2>", "<number>"]), json!([1, 2]), Ok(()));
        check(json!(["<each:2>", "<number>"]), json!([1]), Err("1 elements"));
        check(json!([]), json!([1]), Err("1 elements"));
        check(json!("<key>"), json!(KEY), Ok(()));
        check(json!("<key>"), json!(KEY.to_uppercase()), Err("$ is"));
        check(json!("<time>"), json!("2026-11-22T04:55:35.089+00:00"), Ok(()));
        check(json!("<time>"), json!("2026-11-22T04:55:35Z"), Err("$ is"));
        check(json!(true), json!(false), Err("expected true"));
        check(json!("${nope}"), json!("x"), Err("nothing is known as nope"));
    }

    #[test]
    fn keys_are_kept() {
        let mut kept = Vec::new();
        matches(&json!([{"token": "<key:hf.a>"}]), &json!([{"token": KEY}]), &Vars::default(), &mut kept)
            .unwrap();
        assert_eq!(kept, [("hf.a".to_owned(), KEY.to_owned())]);
    }
}
