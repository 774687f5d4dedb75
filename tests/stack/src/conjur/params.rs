//! Parameters as Rails gives them to Conjur's controllers: the query, and the body by its content type. A form is nested by
//! brackets as Rack does it, JSON is taken as it is, any other type is not read at all.

use http::HeaderMap;
use http::header::CONTENT_TYPE;
use serde_json::{Map, Value};

use super::Version;
use super::reply::Reply;

/// Parameters of one request.
pub(super) type Params = Map<String, Value>;

/// Query and body together; the body wins. 1.22.3 takes a body without a content type for nothing, 1.24.0 for a form.
pub(super) fn parse(
    query: &str,
    headers: &HeaderMap,
    body: &[u8],
    version: Version,
) -> Result<Params, Reply> {
    let mut params = form(query.as_bytes())?;
    let given =
        headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase());
    let kind = given.as_deref().map(|value| value.split(';').next().unwrap_or_default().trim());
    match (kind, version) {
        (Some("application/x-www-form-urlencoded"), _) | (None | Some(""), Version::V1_24_0) => {
            params.extend(form(body)?)
        }
        (Some("application/json"), _) if !body.is_empty() => {
            match serde_json::from_slice(body).map_err(|_| Reply::head(400))? {
                Value::Object(object) => params.extend(object),
                // Rails puts any other JSON under `_json`, where the parameter filter falls over it.
                Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                    return Err(Reply::crash());
                }
            }
        }
        _ => {}
    }
    Ok(params)
}

/// Rack's nested query: `a=1&b[]=2&c[d]=3`.
pub(super) fn form(text: &[u8]) -> Result<Params, Reply> {
    let mut params = Params::new();
    for pair in text.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
        let mut sides = pair.splitn(2, |byte| *byte == b'=');
        let key = decode(sides.next().unwrap_or_default(), true)?;
        let value =
            sides.next().map(|value| decode(value, true)).transpose()?.map_or(Value::Null, Value::from);
        insert(&mut params, &key, value);
    }
    Ok(params)
}

fn insert(params: &mut Params, key: &str, value: Value) {
    let Some(open) = key.find('[').filter(|at| *at > 0) else {
        params.insert(key.to_owned(), value);
        return;
    };
    let (base, rest) = key.split_at(open);
    let slot = params.entry(base.to_owned()).or_insert(Value::Null);
    nest(slot, rest, value);
}

fn nest(slot: &mut Value, rest: &str, value: Value) {
    let Some((name, rest)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) else {
        *slot = value;
        return;
    };
    if name.is_empty() {
        if !slot.is_array() {
            *slot = Value::Array(Vec::new());
        }
        if let Value::Array(items) = slot {
            items.push(value);
        }
    } else {
        if !slot.is_object() {
            *slot = Value::Object(Map::new());
        }
        if let Value::Object(object) = slot {
            nest(object.entry(name.to_owned()).or_insert(Value::Null), rest, value);
        }
    }
}

/// Percent-decoding; `+` means a space in forms and queries, and itself in paths.
pub(super) fn decode(text: &[u8], plus_is_space: bool) -> Result<String, Reply> {
    let spaced: Vec<u8> =
        text.iter().map(|byte| if plus_is_space && *byte == b'+' { b' ' } else { *byte }).collect();
    let bytes: Vec<u8> = percent_encoding::percent_decode(&spaced).collect();
    let text = String::from_utf8(bytes).map_err(|_| Reply::argument("invalid byte sequence in UTF-8"))?;
    if text.contains('\0') { Err(Reply::argument("string contains null byte")) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Value) {
        assert_eq!(Value::Object(form(text.as_bytes()).unwrap()), expected, "{text}");
    }

    #[test]
    fn brackets_nest() {
        check("id=a&id=b", serde_json::json!({"id": "b"}));
        check("cidr%5B%5D=10.0.0.0%2F8&cidr[]=::1", serde_json::json!({"cidr": ["10.0.0.0/8", "::1"]}));
        check(
            "annotations%5Bauthn%2Fapi-key%5D=true&annotations[a]=",
            serde_json::json!({"annotations": {"authn/api-key": "true", "a": ""}}),
        );
        check("members&member=x+y", serde_json::json!({"members": null, "member": "x y"}));
        check("", serde_json::json!({}));
    }

    #[test]
    fn broken_bytes_are_refused() {
        assert_eq!(form(b"id=%ff"), Err(Reply::argument("invalid byte sequence in UTF-8")));
        assert_eq!(form(b"id=a%00b"), Err(Reply::argument("string contains null byte")));
    }
}
