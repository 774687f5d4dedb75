//! What promotions remember between two runs, as one small object in S3 a privileged factory.
//!
//! Nothing in it is a secret. Lost, it costs each promotion that is under way one more token and its time.

use super::promotion::Known;
use imprint_core::name::{Account, FactoryId, InstanceId};
use imprint_core::second::Second;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The largest object that is looked at, in bytes: some 40,000 promotions under way.
pub const LARGEST: usize = 8 * 1024 * 1024;

/// The format version that is written, and the only one that is read.
const VERSION: u32 = 1;

/// What is known of each instance whose promotion is under way.
pub type Memory = BTreeMap<InstanceId, Known>;

/// Why bytes are no memory.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Not a JSON object with the members of this version, each of its form.
    #[error("it is not of format version {VERSION} (line {line}, column {column})")]
    Form {
        /// Where, counted from 1.
        line: usize,
        /// Where in the line.
        column: usize,
    },
    /// A member that is not what it should be.
    #[error("{0:?} is none of what it remembers")]
    Member(String),
    /// More bytes than [`LARGEST`].
    #[error("it has {0} bytes; at most {LARGEST} are read")]
    TooLarge(usize),
}

/// `promotions/<account>/<host factory id>/memory.json`
#[must_use]
pub fn memory_key(account: &Account, factory: &FactoryId) -> String {
    format!("promotions/{account}/{factory}/memory.json")
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    version: u32,
    instances: BTreeMap<String, One>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct One {
    offered_at: String,
    over_at: String,
    tries: u32,
    member_since: Option<String>,
}

/// Reads an object of S3.
///
/// # Errors
/// When it is too large, or not what [`to_bytes`] writes.
pub fn parse(bytes: &[u8]) -> Result<Memory, Error> {
    if bytes.len() > LARGEST {
        return Err(Error::TooLarge(bytes.len()));
    }
    let form = |e: serde_json::Error| Error::Form { line: e.line(), column: e.column() };
    let wire: Wire = serde_json::from_slice(bytes).map_err(form)?;
    if wire.version != VERSION {
        return Err(Error::Member(wire.version.to_string()));
    }
    let bad = |text: &str| Error::Member(text.chars().take(80).collect());
    let at = |text: &String| text.parse::<Second>().map_err(|_| bad(text));
    let one = |(id, one): (&String, &One)| {
        let known = Known {
            offered_at: at(&one.offered_at)?,
            over_at: at(&one.over_at)?,
            tries: one.tries,
            member_since: one.member_since.as_ref().map(at).transpose()?,
        };
        Ok((id.parse::<InstanceId>().map_err(|_| bad(id))?, known))
    };
    wire.instances.iter().map(one).collect()
}

/// As an object of S3.
#[must_use]
pub fn to_bytes(memory: &Memory) -> Vec<u8> {
    let one = |known: &Known| One {
        offered_at: known.offered_at.to_string(),
        over_at: known.over_at.to_string(),
        tries: known.tries,
        member_since: known.member_since.map(|at| at.to_string()),
    };
    let instances = memory.iter().map(|(id, known)| (id.to_string(), one(known))).collect();
    // Maps of texts always serialize.
    serde_json::to_vec(&Wire { version: VERSION, instances }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = r#"{"version":1,"instances":{"i-1":{"offered_at":"2026-11-22T08:00:00Z","over_at":"2026-11-22T08:20:00Z","tries":2,"member_since":null}}}"#;

    #[test]
    fn what_is_taken_and_what_is_not() {
        assert_eq!(String::from_utf8(to_bytes(&parse(GOOD.as_bytes()).unwrap())).unwrap(), GOOD);
        let check = |from: &str, to: &str, say: &str| {
            assert!(GOOD.contains(from), "{from}");
            let error = parse(GOOD.replacen(from, to, 1).as_bytes()).unwrap_err().to_string();
            assert!(error.contains(say), "{to}: {error}");
        };
        check("\"version\":1", "\"version\":2", "\"2\" is none");
        check("null}", "null,\"more\":1}", "line 1");
        check("i-1", "i/1", "\"i/1\" is none");
        check("2026-11-22T08:20:00Z", "soon", "\"soon\" is none");
        check("null", "\"soon\"", "\"soon\" is none");
        check("\"tries\":2", "\"tries\":-1", "line 1");
        check(GOOD, "[]", "line 1");
        assert_eq!(parse(&vec![b' '; LARGEST + 1]), Err(Error::TooLarge(LARGEST + 1)));
    }

    proptest! {
        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _any = parse(&noise);
        }
    }
}
