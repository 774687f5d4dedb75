//! Variables of a run: `${name}` in requests and expectations, with filters as in `${access.admin|spaced}`. Some are given
//! (`account`, `branch`, `in_1h`), some are kept from replies (`key.web-01`, `hf.web`, `access.rotator`).

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

/// Everything but what RFC 3986 calls unreserved.
pub(crate) const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The variables of one run.
#[derive(Debug, Default)]
pub(crate) struct Vars(BTreeMap<String, String>);

/// Why a text could not be completed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Missing {
    /// An access token of this name has not been fetched yet.
    Access(String),
    /// No case has kept a value under this name.
    Value(String),
}

impl Vars {
    pub(crate) fn set(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.0.insert(name.into(), value.into());
    }

    pub(crate) fn get(&self, name: &str) -> Result<&str, Missing> {
        self.0.get(name).map(String::as_str).ok_or_else(|| match name.strip_prefix("access.") {
            Some(login) => Missing::Access(login.to_owned()),
            None => Missing::Value(name.to_owned()),
        })
    }

    /// The text with every `${..}` replaced.
    pub(crate) fn expand(&self, text: &str) -> Result<String, Missing> {
        let mut done = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("${") {
            let (inner, after) = after.split_once('}').ok_or_else(|| Missing::Value(after.to_owned()))?;
            done.push_str(before);
            done.push_str(&self.value(inner)?);
            rest = after;
        }
        done.push_str(rest);
        Ok(done)
    }

    fn value(&self, inner: &str) -> Result<String, Missing> {
        let mut parts = inner.split('|');
        let name = parts.next().unwrap_or_default();
        let mut value = match name.split_once('*').map(|(text, times)| (text, times.parse())) {
            Some((text, Ok(times))) => text.repeat(times),
            _ => self.get(name)?.to_owned(),
        };
        for filter in parts {
            value = filtered(filter, &value).ok_or_else(|| Missing::Value(inner.to_owned()))?;
        }
        Ok(value)
    }
}

/// What a filter makes of a value; `None` when there is no such filter or the value does not suit it.
fn filtered(filter: &str, value: &str) -> Option<String> {
    match filter {
        "enc" => Some(utf8_percent_encode(value, RESERVED).to_string()),
        "upper" => Some(value.to_uppercase()),
        // The JSON behind an access token.
        "raw" => String::from_utf8(STANDARD.decode(value).ok()?).ok(),
        "spaced" => Some(format!(" {} {} ", value.get(..9)?, value.get(9..)?)),
        // The same access token with one figure of its signature changed.
        "damaged" => {
            let mut token: serde_json::Value = serde_json::from_slice(&STANDARD.decode(value).ok()?).ok()?;
            let signature = token.get("signature")?.as_str()?;
            let first = if signature.starts_with('A') { "B" } else { "A" };
            let changed = format!("{first}{}", signature.get(1..)?);
            token.as_object_mut()?.insert("signature".to_owned(), changed.into());
            Some(STANDARD.encode(token.to_string()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Result<&str, Missing>) {
        let mut vars = Vars::default();
        vars.set("branch", "b/1");
        vars.set("key", "abc");
        assert_eq!(vars.expand(text), expected.map(str::to_owned), "{text}");
    }

    #[test]
    fn names_filters_and_repetition() {
        check("x ${branch}/y", Ok("x b/1/y"));
        check("${branch|enc}${key|upper}", Ok("b%2F1ABC"));
        check("${x*3}", Ok("xxx"));
        check("no variable $ {", Ok("no variable $ {"));
        check("${access.web}", Err(Missing::Access("web".into())));
        check("${nope}", Err(Missing::Value("nope".into())));
        check("${key|nope}", Err(Missing::Value("key|nope".into())));
        check("${key", Err(Missing::Value("key".into())));
    }

    #[test]
    fn a_damaged_token_differs_in_its_signature_alone() {
        let token = serde_json::json!({"protected": "p", "payload": "q", "signature": "Axyz"});
        let damaged = filtered("damaged", &STANDARD.encode(token.to_string())).unwrap();
        let damaged: serde_json::Value = serde_json::from_slice(&STANDARD.decode(damaged).unwrap()).unwrap();
        assert_eq!(damaged, serde_json::json!({"protected": "p", "payload": "q", "signature": "Bxyz"}));
    }
}
