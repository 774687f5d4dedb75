//! The facts of a machine as a tool reported them: the JSON of Ohai, of Facter, or of `imprint facts`.
//!
//! Ohai: `ohai`, or the node that Chef keeps of it (`knife node show -l -F json`, below `automatic`).
//! Facter: `facter --json`, `puppet facts show`, or what Puppet keeps (below `values`).

use super::fact::{Fact, NotAFact, Tool, Unfit, Values};
use crate::error::{Class, Classified};
use crate::sealed::wire::words;
use serde_json::Value;
use zeroize::Zeroizing;

/// The largest inventory that is read, in bytes. A large Ohai's has about 1 MB.
pub const LARGEST: usize = 8 * 1024 * 1024;

/// The member by which the JSON of `imprint facts` is known; its value is the form's version.
pub const OWN_MARK: &str = "imprint_facts";

/// Interfaces that a tool shows like any other, though there is no device behind them. Facter says
/// which are physical; Ohai does not, so there the name decides, as the kernel and the usual tools
/// give it.
const VIRTUAL: &[&str] = &[
    "bond",
    "br",
    "cni",
    "docker",
    "dummy",
    "erspan",
    "gre",
    "gretap",
    "ifb",
    "ip_vti",
    "ip6tnl",
    "lo",
    "macvlan",
    "macvtap",
    "nodelocaldns",
    "ovs-system",
    "sit",
    "tap",
    "team",
    "tun",
    "tunl",
    "vlan",
    "vxlan",
    "wg",
];

/// What one tool reported of one machine.
pub struct Inventory {
    kind: Kind,
    root: Value,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Kind {
    Own,
    Tool(Tool),
}

/// Why an inventory, or a fact of it, cannot be used. Never holds a value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// Not JSON.
    #[error("it is not JSON: {0}")]
    Form(String),
    /// JSON of something else.
    #[error("it is neither Ohai's nor Facter's JSON, nor that of imprint facts --json --reveal")]
    Kind,
    /// No such fact in it.
    #[error("it has no {0}")]
    Missing(Fact),
    /// Not the name of a fact.
    #[error("{text:?} {source}")]
    Name {
        /// What was given.
        text: String,
        /// What it should have been.
        source: NotAFact,
    },
    /// A list or an object where a single value is needed.
    #[error("{0} is not a single value")]
    Shape(Fact),
    /// More bytes than [`LARGEST`].
    #[error("it has {0} bytes; at most {LARGEST} are read")]
    TooLarge(usize),
    /// The value cannot be used.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Form(_)
            | Self::Kind
            | Self::Missing(_)
            | Self::Name { .. }
            | Self::Shape(_)
            | Self::TooLarge(_)
            | Self::Unfit(_) => Class::Config,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Form(_) | Self::Kind | Self::TooLarge(_) => {
                "write it with ohai, with facter --json, or with imprint facts --json --reveal, as root on the machine"
            }
            Self::Missing(_) | Self::Shape(_) => {
                "choose facts that every machine reports; DMI's are reported to root alone"
            }
            Self::Name { .. } => "see imprint facts for the names",
            Self::Unfit(_) => "choose other facts: this machine's firmware does not tell this one apart",
        })
    }
}

impl Inventory {
    /// Reads a tool's JSON.
    ///
    /// # Errors
    /// When it is something else.
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.len() > LARGEST {
            return Err(Error::TooLarge(bytes.len()));
        }
        let mut root: Value = serde_json::from_slice(bytes).map_err(|e| Error::Form(words(&e)))?;
        for (inner, tool) in [("automatic", Tool::Ohai), ("values", Tool::Facter)] {
            if let Some(Value::Object(_)) = root.get(inner)
                && root.get("name").is_some()
            {
                let root = root.get_mut(inner).map(Value::take).unwrap_or_default();
                return Ok(Self { kind: Kind::Tool(tool), root });
            }
        }
        let has = |key: &str| root.get(key).is_some();
        let kind = if has(OWN_MARK) {
            Kind::Own
        } else if has("facterversion") || has("networking") {
            Kind::Tool(Tool::Facter)
        } else if has("ohai_time") || has("network") || has("languages") {
            Kind::Tool(Tool::Ohai)
        } else {
            return Err(Error::Kind);
        };
        Ok(Self { kind, root })
    }

    /// What a person calls a fact: its name, a path with its tool in front, or a bare path of this
    /// inventory's own tool.
    ///
    /// # Errors
    /// When it is none of them.
    pub fn called(&self, text: &str) -> Result<Fact, Error> {
        let named = text.parse().or_else(|no| match self.kind {
            Kind::Tool(tool) if text.contains('.') => Fact::at(tool, text),
            Kind::Tool(_) | Kind::Own => Err(no),
        });
        let shown = || text.chars().take(80).collect();
        named.map_err(|source| Error::Name { text: shown(), source })
    }

    /// Adds a fact of this inventory to the values.
    ///
    /// # Errors
    /// When it is not there, or cannot be used.
    pub fn take(&self, fact: &Fact, values: &mut Values) -> Result<(), Error> {
        let missing = || Error::Missing(fact.clone());
        let text = match self.kind {
            Kind::Own => {
                let facts = self.root.get("facts").ok_or_else(missing)?;
                single(facts.get(fact.to_string()).and_then(|f| f.get("value")).ok_or_else(missing)?)
            }
            Kind::Tool(tool) if *fact == Fact::Macs => Some(macs(&self.root, tool).ok_or_else(missing)?),
            Kind::Tool(tool) => {
                let path = fact.path_in(tool).ok_or_else(missing)?;
                single(at(&self.root, path).ok_or_else(missing)?)
            }
        };
        Ok(values.put(fact.clone(), &text.ok_or_else(|| Error::Shape(fact.clone()))?)?)
    }

    /// Every fact with a name of its own that this inventory holds in a form that can be used.
    #[must_use]
    pub fn named(&self) -> Values {
        let mut values = Values::default();
        for fact in Fact::NAMED {
            let _unfit_or_missing = self.take(&fact, &mut values);
        }
        values
    }
}

/// What lies at a path. A name may hold dots itself (`eth0.100`): the longest one that fits is taken.
fn at<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    let inside = |key: &str| match path.strip_prefix(key)? {
        "" => Some(""),
        rest => rest.strip_prefix('.'),
    };
    let step = |found: &'a Value, rest: &str| if rest.is_empty() { Some(found) } else { at(found, rest) };
    match value {
        Value::Object(members) => {
            let mut fitting: Vec<&String> = members.keys().filter(|key| inside(key).is_some()).collect();
            fitting.sort_by_key(|key| std::cmp::Reverse(key.len()));
            fitting.into_iter().find_map(|key| step(members.get(key)?, inside(key)?))
        }
        Value::Array(items) => {
            let (index, rest) = path.split_once('.').unwrap_or((path, ""));
            step(items.get(index.parse::<usize>().ok()?)?, rest)
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn single(value: &Value) -> Option<Zeroizing<String>> {
    match value {
        Value::String(text) => Some(Zeroizing::new(text.clone())),
        Value::Number(_) | Value::Bool(_) => Some(Zeroizing::new(value.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// The addresses of the interfaces that have a device.
fn macs(root: &Value, tool: Tool) -> Option<Zeroizing<String>> {
    let interfaces = match tool {
        Tool::Facter => root.get("networking")?,
        Tool::Ohai => root.get("network")?,
    };
    let mut found: Vec<&str> = Vec::new();
    for (name, interface) in interfaces.get("interfaces")?.as_object()? {
        let has_device = match (tool, interface.get("physical").and_then(Value::as_bool)) {
            (Tool::Facter, Some(physical)) => physical,
            (Tool::Facter, None) => !is_virtual(name),
            (Tool::Ohai, _) => {
                interface.get("encapsulation").and_then(Value::as_str) == Some("Ethernet")
                    && !is_virtual(name)
            }
        };
        if !has_device {
            continue;
        }
        match tool {
            Tool::Facter => found.extend(interface.get("mac").and_then(Value::as_str)),
            Tool::Ohai => {
                let addresses = interface.get("addresses").and_then(Value::as_object);
                let of_link =
                    |(_, of): &(&String, &Value)| of.get("family").and_then(Value::as_str) == Some("lladdr");
                found.extend(
                    addresses.into_iter().flatten().filter(of_link).map(|(address, _)| address.as_str()),
                );
            }
        }
    }
    if found.is_empty() { None } else { Some(Zeroizing::new(found.join(","))) }
}

/// Whether an interface has a name that the kernel or a tool gives to one without a device: one of the
/// known words, alone or followed by a number or what the tool appends; or a VLAN's or an alias's.
fn is_virtual(name: &str) -> bool {
    let word = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let appended = ["br-", "cali", "cilium", "flannel", "kube", "lxc", "veth", "virbr"];
    name.contains(['.', ':', '@']) || VIRTUAL.contains(&word) || appended.iter().any(|a| name.starts_with(a))
}

#[cfg(test)]
mod tests;
