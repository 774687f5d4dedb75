//! What is known of the instance: the facts that a template may name, and where the first of them,
//! the instance-id, can be read without asking anybody.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::Path;
use std::str::FromStr;

/// The id of an EC2 instance: `i-` and 1 to 30 of `[0-9a-z]`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct InstanceId(String);

/// The text is not an instance-id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not an instance-id such as i-0123456789abcdef0")]
pub struct NotAnInstanceId;

impl InstanceId {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for InstanceId {
    type Err = NotAnInstanceId;

    fn from_str(text: &str) -> Result<Self, NotAnInstanceId> {
        match text.strip_prefix("i-") {
            Some(rest)
                if (1..=30).contains(&rest.len())
                    && rest.bytes().all(|b| b.is_ascii_digit() || b.is_ascii_lowercase()) =>
            {
                Ok(Self(text.to_owned()))
            }
            Some(_) | None => Err(NotAnInstanceId),
        }
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the instance metadata says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    /// The AWS account, twelve digits.
    pub account_id: String,
    /// The host name that EC2 gave; only when [`Needs`] asked for it.
    pub hostname: Option<String>,
    /// The instance-id.
    pub instance_id: InstanceId,
    /// The primary private address.
    pub private_ip: Option<IpAddr>,
    /// The region, such as `eu-west-1`.
    pub region: String,
    /// The instance tags that [`Needs`] asked for.
    pub tags: BTreeMap<String, String>,
}

/// Facts that cost a request of their own, asked for only when a template names them.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Needs {
    /// The host name.
    pub hostname: bool,
    /// These tags.
    pub tags: BTreeSet<String>,
}

impl Needs {
    /// Both.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.hostname |= other.hostname;
        self.tags.extend(other.tags);
        self
    }
}

/// The instance-id as a Nitro instance's firmware tells it, below `sys` (usually `/sys`). `None`
/// elsewhere: on Xen, in a container that hides it, on a laptop.
///
/// Source: EC2 user guide, "Identify EC2 instances using DMI".
#[must_use]
pub fn offline(sys: &Path) -> Option<InstanceId> {
    let tag = sys.join("class/dmi/id/board_asset_tag");
    // A file of sysfs is a page at most; what is longer is something else.
    let bytes = crate::store::read(&tag, 4096).ok()??;
    std::str::from_utf8(&bytes).ok()?.trim_end().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_ids() {
        let check = |text: &str, good: bool| assert_eq!(text.parse::<InstanceId>().is_ok(), good, "{text:?}");
        check("i-0123456789abcdef0", true);
        check("i-1a2b3c4d", true);
        for bad in
            ["", "i-", "i-0123 456", "i-../..", "i-0ABC", "mi-0abc", "i-0abc\n", &format!("i-{:031}", 0)]
        {
            check(bad, false);
        }
    }

    #[test]
    fn the_firmware_tells_the_instance_id() {
        let sys = tempfile::tempdir().unwrap();
        let check = |tag: Option<&str>, expect: Option<&str>| {
            let dir = sys.path().join("class/dmi/id");
            std::fs::create_dir_all(&dir).unwrap();
            let file = dir.join("board_asset_tag");
            match tag {
                Some(tag) => std::fs::write(&file, tag).unwrap(),
                None => std::fs::remove_file(&file).unwrap(),
            }
            assert_eq!(offline(sys.path()).as_ref().map(InstanceId::as_str), expect, "{tag:?}");
        };
        check(Some("i-0123456789abcdef0\n"), Some("i-0123456789abcdef0"));
        check(Some("Not Specified\n"), None);
        check(Some(""), None);
        check(Some(&"i".repeat(5000)), None);
        check(None, None);
    }
}
