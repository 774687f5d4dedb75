//! Facts of a machine: their names, and the one form in which each is compared.
//!
//! What Ohai or Facter reported and what the agent reads on the machine itself must be the same bytes,
//! or the key that is derived from them is another one. So each name has a [`Form`], and every value
//! goes through [`Values::put`].

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroizing;

/// The longest value, in bytes: 32 MAC addresses are half of it.
const LONGEST_VALUE: usize = 1024;

/// The longest path into Ohai's or Facter's JSON, in bytes.
const LONGEST_PATH: usize = 128;

/// What firmware says that was never told its own: such a value is shared by thousands of machines.
const PLACEHOLDERS: [&str; 14] = [
    "0",
    "1234567890",
    "default string",
    "empty",
    "invalid",
    "n/a",
    "none",
    "not applicable",
    "not available",
    "not specified",
    "oem",
    "system serial number",
    "to be filled by o.e.m.",
    "unknown",
];

/// One fact that a key may be derived from.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Fact {
    /// The serial number of the main board, from DMI; root alone may read it.
    BoardSerial,
    /// The image of an EC2 instance, `ami-...`.
    ImageId,
    /// The id of an EC2 instance, `i-...`.
    InstanceId,
    /// `/etc/machine-id`.
    MachineId,
    /// The permanent addresses of all network interfaces that have a device.
    Macs,
    /// Whatever lies at a path of a tool's JSON.
    Path(Tool, String),
    /// The machine's serial number, from DMI; root alone may read it.
    ProductSerial,
    /// The machine's UUID, from DMI; root alone may read it.
    ProductUuid,
}

/// Who reports facts as JSON.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Tool {
    /// Puppet's.
    Facter,
    /// Chef's.
    Ohai,
}

/// How a value is spelled.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Form {
    /// 32 hex digits in lower case.
    Hex,
    /// A text as it is, a number or `true` and `false` as JSON writes them; trimmed.
    Json,
    /// Addresses such as `02:00:5e:00:53:01` in lower case, sorted, joined by commas.
    Macs,
    /// A text, trimmed.
    Text,
    /// `8-4-4-4-12` hex digits in lower case, in the byte order of sysfs and dmidecode.
    Uuid,
}

/// Why a text is not the name of a fact.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "must be board_serial, image_id, instance_id, machine_id, macs, product_serial, product_uuid, or a path such as ohai:dmi.system.version or facter:dmi.product.name"
)]
pub struct NotAFact;

/// Why a value cannot stand for a fact. Never holds the value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{fact} {why}")]
pub struct Unfit {
    /// The fact.
    pub fact: Fact,
    /// What is wrong with its value.
    pub why: &'static str,
}

impl Fact {
    /// The facts that have a name of their own, by name.
    pub const NAMED: [Self; 7] = [
        Self::BoardSerial,
        Self::ImageId,
        Self::InstanceId,
        Self::MachineId,
        Self::Macs,
        Self::ProductSerial,
        Self::ProductUuid,
    ];

    /// How its value is spelled.
    #[must_use]
    pub const fn form(&self) -> Form {
        match self {
            Self::BoardSerial | Self::ImageId | Self::InstanceId | Self::ProductSerial => Form::Text,
            Self::MachineId => Form::Hex,
            Self::Macs => Form::Macs,
            Self::Path(..) => Form::Json,
            Self::ProductUuid => Form::Uuid,
        }
    }

    /// Whether the kernel shows it to root alone. A path into a tool's JSON never counts: who may read
    /// that file is another matter.
    #[must_use]
    pub const fn is_for_root_alone(&self) -> bool {
        match self {
            Self::BoardSerial | Self::ProductSerial | Self::ProductUuid => true,
            Self::ImageId | Self::InstanceId | Self::MachineId | Self::Macs | Self::Path(..) => false,
        }
    }

    /// The path at which a tool reports this fact as it is; `None` where it reports none, or in
    /// another shape (`macs`).
    #[must_use]
    pub const fn path_in(&self, tool: Tool) -> Option<&str> {
        Some(match (self, tool) {
            (Self::BoardSerial, Tool::Facter) => "dmi.board.serial_number",
            (Self::BoardSerial, Tool::Ohai) => "dmi.base_board.serial_number",
            (Self::ImageId, Tool::Facter) => "ec2_metadata.ami-id",
            (Self::ImageId, Tool::Ohai) => "ec2.ami_id",
            (Self::InstanceId, Tool::Facter) => "ec2_metadata.instance-id",
            (Self::InstanceId, Tool::Ohai) => "ec2.instance_id",
            (Self::MachineId, Tool::Ohai) => "machine_id",
            (Self::ProductSerial, Tool::Facter) => "dmi.product.serial_number",
            (Self::ProductSerial, Tool::Ohai) => "dmi.system.serial_number",
            (Self::ProductUuid, Tool::Facter) => "dmi.product.uuid",
            (Self::ProductUuid, Tool::Ohai) => "dmi.system.uuid",
            (Self::MachineId, Tool::Facter) | (Self::Macs, _) => return None,
            (Self::Path(own, path), _) => {
                if !matches!((own, tool), (Tool::Facter, Tool::Facter) | (Tool::Ohai, Tool::Ohai)) {
                    return None;
                }
                path.as_str()
            }
        })
    }

    /// What lies at a path of a tool: a fact with a name of its own where there is one, so that the
    /// agent can read it without the tool.
    ///
    /// # Errors
    /// When it is no path.
    pub fn at(tool: Tool, path: &str) -> Result<Self, NotAFact> {
        if let Some(named) = Self::NAMED.iter().find(|fact| fact.path_in(tool) == Some(path)) {
            return Ok(named.clone());
        }
        let plain = |b: u8| b.is_ascii_graphic() && !matches!(b, b',' | b'"' | b'\\' | b'=');
        if path.is_empty() || path.len() > LONGEST_PATH || !path.bytes().all(plain) {
            return Err(NotAFact);
        }
        Ok(Self::Path(tool, path.to_owned()))
    }
}

impl FromStr for Fact {
    type Err = NotAFact;

    fn from_str(text: &str) -> Result<Self, NotAFact> {
        match text.split_once(':') {
            Some(("ohai", path)) => Self::at(Tool::Ohai, path),
            Some(("facter", path)) => Self::at(Tool::Facter, path),
            Some(_) | None => Self::NAMED.into_iter().find(|fact| fact.to_string() == text).ok_or(NotAFact),
        }
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::BoardSerial => "board_serial",
            Self::ImageId => "image_id",
            Self::InstanceId => "instance_id",
            Self::MachineId => "machine_id",
            Self::Macs => "macs",
            Self::Path(Tool::Facter, path) => return write!(f, "facter:{path}"),
            Self::Path(Tool::Ohai, path) => return write!(f, "ohai:{path}"),
            Self::ProductSerial => "product_serial",
            Self::ProductUuid => "product_uuid",
        })
    }
}

impl Form {
    /// Its name in a sealed token.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hex => "hex",
            Self::Json => "json",
            Self::Macs => "macs",
            Self::Text => "text",
            Self::Uuid => "uuid",
        }
    }
}

/// Values of one machine, each in its form. They are not secret one by one, yet together they open a
/// token: so they are wiped, and cannot be printed by accident.
#[derive(Default)]
pub struct Values(BTreeMap<Fact, Zeroizing<String>>);

impl Values {
    /// Takes a value, in whatever spelling it was reported.
    ///
    /// # Errors
    /// When it has not the form of its fact, or is what firmware says that has none.
    pub fn put(&mut self, fact: Fact, reported: &str) -> Result<(), Unfit> {
        match spelled(fact.form(), reported.trim()) {
            Ok(value) => {
                self.0.insert(fact, value);
                Ok(())
            }
            Err(why) => Err(Unfit { fact, why }),
        }
    }

    /// The value of a fact, in its form.
    #[must_use]
    pub fn expose(&self, fact: &Fact) -> Option<&str> {
        self.0.get(fact).map(|value| value.as_str())
    }

    /// Which facts there are.
    pub fn facts(&self) -> impl Iterator<Item = &Fact> {
        self.0.keys()
    }
}

fn spelled(form: Form, text: &str) -> Result<Zeroizing<String>, &'static str> {
    if text.is_empty() {
        return Err("is empty");
    }
    if text.len() > LONGEST_VALUE {
        return Err("is too long");
    }
    if text.chars().any(char::is_control) {
        return Err("has a control character");
    }
    let lower = Zeroizing::new(text.to_ascii_lowercase());
    match form {
        Form::Hex => {
            if lower.len() == 32 && lower.bytes().all(|b| b.is_ascii_hexdigit()) && !is_blank(&lower) {
                Ok(lower)
            } else {
                Err("is not 32 hex digits")
            }
        }
        Form::Json => Ok(Zeroizing::new(text.to_owned())),
        Form::Macs => macs(&lower),
        Form::Text => {
            if PLACEHOLDERS.contains(&lower.as_str()) || is_blank(&lower) {
                Err("was never set by the maker")
            } else {
                Ok(Zeroizing::new(text.to_owned()))
            }
        }
        Form::Uuid => uuid(lower),
    }
}

fn uuid(text: Zeroizing<String>) -> Result<Zeroizing<String>, &'static str> {
    // What boards are shipped with whose maker did not set one.
    const UNSET: &str = "03000200-0400-0500-0006-000700080009";
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    if lengths != [8, 4, 4, 4, 12] || !parts.concat().bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err("is not a UUID");
    }
    if text.as_str() == UNSET || is_blank(&parts.concat()) {
        return Err("was never set by the maker");
    }
    Ok(text)
}

fn macs(text: &str) -> Result<Zeroizing<String>, &'static str> {
    let mut all: Vec<&str> = text.split(',').map(str::trim).collect();
    let is_mac = |mac: &&str| {
        let mut parts = mac.split(':');
        mac.len() == 17 && parts.all(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()))
    };
    if !all.iter().all(is_mac) {
        return Err("has something that is no MAC address");
    }
    if all.iter().any(|mac| is_blank(&mac.replace(':', ""))) {
        return Err("has an address that was never set");
    }
    all.sort_unstable();
    all.dedup();
    Ok(Zeroizing::new(all.join(",")))
}

/// Whether it is one character over and over, such as zeros.
fn is_blank(text: &str) -> bool {
    let mut bytes = text.bytes();
    let first = bytes.next();
    bytes.all(|b| Some(b) == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(fact: &str, reported: &str, wanted: Result<&str, &str>) {
        let fact: Fact = fact.parse().unwrap();
        let mut values = Values::default();
        let end = values.put(fact.clone(), reported).map_err(|unfit| unfit.why);
        assert_eq!(end.map(|()| values.expose(&fact).unwrap()), wanted, "{fact} {reported:?}");
    }

    #[test]
    fn every_spelling_becomes_one() {
        let uuid = "0f5a3c1e-7b2d-4e6f-8a90-1b2c3d4e5f60";
        check("product_uuid", &uuid.to_uppercase(), Ok(uuid));
        check("product_uuid", &format!(" {uuid}\n"), Ok(uuid));
        check("product_uuid", &uuid.replace('-', ""), Err("is not a UUID"));
        check("product_uuid", "00000000-0000-0000-0000-000000000000", Err("was never set by the maker"));
        check("product_uuid", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", Err("was never set by the maker"));
        check("product_uuid", "03000200-0400-0500-0006-000700080009", Err("was never set by the maker"));
        check("product_serial", " CZC1234567\n", Ok("CZC1234567"));
        check("product_serial", "To Be Filled By O.E.M.", Err("was never set by the maker"));
        check("board_serial", "00000000", Err("was never set by the maker"));
        check("board_serial", "a\u{1b}[2J", Err("has a control character"));
        check("machine_id", &"AB".repeat(16), Ok(&"ab".repeat(16)));
        check("machine_id", "uninitialized", Err("is not 32 hex digits"));
        check(
            "macs",
            "52:54:00:AA:BB:02, 02:00:5e:00:53:01,52:54:00:aa:bb:02",
            Ok("02:00:5e:00:53:01,52:54:00:aa:bb:02"),
        );
        check("macs", "00:00:00:00:00:00", Err("has an address that was never set"));
        check("macs", "02-00-5e-00-53-01", Err("has something that is no MAC address"));
        check("ohai:cpu.total", " 4 ", Ok("4"));
        check("instance_id", "", Err("is empty"));
        check("instance_id", &"i".repeat(2000), Err("is too long"));
    }

    #[test]
    fn names() {
        let check = |text: &str, wanted: Option<&str>| {
            let fact = text.parse::<Fact>().ok();
            assert_eq!(fact.as_ref().map(Fact::to_string).as_deref(), wanted, "{text:?}");
            // What is written is read as the same.
            if let Some(fact) = fact {
                assert_eq!(fact.to_string().parse(), Ok(fact));
            }
        };
        for fact in Fact::NAMED {
            check(&fact.to_string(), Some(&fact.to_string()));
        }
        check("ohai:dmi.system.uuid", Some("product_uuid"));
        check("facter:dmi.product.uuid", Some("product_uuid"));
        check("facter:dmi.system.uuid", Some("facter:dmi.system.uuid"));
        check("facter:networking.interfaces.eth0.mac", Some("facter:networking.interfaces.eth0.mac"));
        for bad in
            ["", "uuid", "ohai:", "ohai:a b", "ohai:a,b", "chef:dmi", &format!("ohai:{}", "a".repeat(129))]
        {
            check(bad, None);
        }
    }
}
