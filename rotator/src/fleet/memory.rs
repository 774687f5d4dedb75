//! What the fleet's functions remember between two looks, as one small object in S3 a factory.
//!
//! Nothing in it is a secret, and nothing a proof by itself. Lost, it costs one more look before a host is
//! removed, and one more load of policy that pins what is pinned already. So what cannot be read is as good
//! as lost, and told.

use super::sweep::Missing;
use imprint_core::name::{Account, FactoryId, HostId};
use imprint_core::second::Second;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The largest object that is looked at, in bytes: some 60,000 hosts, all of them pinned.
pub const LARGEST: usize = 8 * 1024 * 1024;

/// The format version that is written, and the only one that is read.
const VERSION: u32 = 1;

/// Which networks each host was last tied to, and when.
pub type Pinned = BTreeMap<HostId, Pin>;

/// What a host was tied to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Pin {
    /// The networks.
    pub to: Vec<IpNet>,
    /// When Conjur took it.
    pub at: Second,
}

/// What is known from earlier looks at one factory's hosts.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Memory {
    /// When each host's instance was first missing.
    pub missing: Missing,
    /// Which networks each host was last tied to.
    pub pinned: Pinned,
}

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

/// `fleet/<account>/<host factory id>/memory.json`
#[must_use]
pub fn memory_key(account: &Account, factory: &FactoryId) -> String {
    format!("fleet/{account}/{factory}/memory.json")
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    version: u32,
    missing: BTreeMap<String, String>,
    pinned: BTreeMap<String, WirePin>,
}

#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct WirePin {
    to: Vec<String>,
    at: String,
}

impl Memory {
    /// Reads an object of S3.
    ///
    /// # Errors
    /// When it is too large, or not what [`Memory::to_bytes`] writes.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > LARGEST {
            return Err(Error::TooLarge(bytes.len()));
        }
        let form = |e: serde_json::Error| Error::Form { line: e.line(), column: e.column() };
        let wire: Wire = serde_json::from_slice(bytes).map_err(form)?;
        if wire.version != VERSION {
            return Err(Error::Member(wire.version.to_string()));
        }
        let bad = |text: &str| Error::Member(text.chars().take(80).collect());
        let host = |id: &str| id.parse::<HostId>().map_err(|_| bad(id));
        let mut memory = Self::default();
        for (id, since) in &wire.missing {
            memory.missing.insert(host(id)?, since.parse::<Second>().map_err(|_| bad(since))?);
        }
        for (id, WirePin { to, at }) in &wire.pinned {
            let to = to.iter().map(|net| net.parse::<IpNet>().map_err(|_| bad(net)));
            let (to, at) = (to.collect::<Result<_, _>>()?, at.parse().map_err(|_| bad(at))?);
            memory.pinned.insert(host(id)?, Pin { to, at });
        }
        Ok(memory)
    }

    /// As an object of S3.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let pin = |(id, Pin { to, at }): (&HostId, &Pin)| {
            let to = to.iter().map(IpNet::to_string).collect();
            (id.to_string(), WirePin { to, at: at.to_string() })
        };
        let wire = Wire {
            version: VERSION,
            missing: self.missing.iter().map(|(id, since)| (id.to_string(), since.to_string())).collect(),
            pinned: self.pinned.iter().map(pin).collect(),
        };
        // Maps of texts always serialize.
        serde_json::to_vec(&wire).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const GOOD: &str = r#"{"version":1,"missing":{"app/hosts/1/eu/i-1":"2026-11-22T08:00:00Z"},"pinned":{"app/hosts/1/eu/i-2":{"to":["10.0.0.5/32"],"at":"2026-11-22T09:00:00Z"}}}"#;

    #[test]
    fn what_is_taken_and_what_is_not() {
        let memory = Memory::parse(GOOD.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(memory.to_bytes()).unwrap(), GOOD);
        let check = |from: &str, to: &str, say: &str| {
            assert!(GOOD.contains(from), "{from}");
            let error = Memory::parse(GOOD.replace(from, to).as_bytes()).unwrap_err().to_string();
            assert!(error.contains(say), "{to}: {error}");
        };
        check("\"version\":1", "\"version\":2", "\"2\" is none");
        check("\"version\":1,", "", "line 1");
        check("}}}", "}},\"more\":1}", "line 1");
        check("00Z\"}", "00Z\",\"by\":1}", "line 1");
        check("2026-11-22T09:00:00Z", "then", "\"then\" is none");
        check("app/hosts/1/eu/i-1", "app hosts", "\"app hosts\" is none");
        check("2026-11-22T08:00:00Z", "soon", "\"soon\" is none");
        check("10.0.0.5/32", "10.0.0.5/64", "\"10.0.0.5/64\" is none");
        check(GOOD, "", "line 1");
        check(GOOD, "[]", "line 1");
        let large = vec![b' '; LARGEST + 1];
        assert_eq!(Memory::parse(&large), Err(Error::TooLarge(LARGEST + 1)));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            missing in proptest::collection::btree_map("[a-z]{1,8}/i-[0-9a-f]{1,17}", 0_i64..5_000_000_000, 0..5),
            pinned in proptest::collection::btree_map("[a-z]{1,8}/i-[0-9a-f]{1,17}", any::<[u8; 4]>(), 0..5),
            at in 0_i64..5_000_000_000,
        ) {
            let at = Second::from_unix(at);
            let pin = |ip: [u8; 4]| Pin { to: vec![IpNet::from(std::net::IpAddr::from(ip))], at };
            let memory = Memory {
                missing: missing.iter().map(|(id, at)| (id.parse().unwrap(), Second::from_unix(*at))).collect(),
                pinned: pinned.iter().map(|(id, ip)| (id.parse().unwrap(), pin(*ip))).collect(),
            };
            prop_assert_eq!(Memory::parse(&memory.to_bytes()), Ok(memory));
        }

        #[test]
        fn noise_never_panics(noise in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _any = Memory::parse(&noise);
        }
    }
}
