//! What is known of the instance: the facts that a template may name, and where the first of them,
//! the instance-id, can be read without asking anybody.
//!
//! Off EC2 there is no instance-id; a digest of the machine-id(5) stands for it. The machine-id itself
//! is never told to anybody, as its manual page asks.

pub use imprint_core::name::InstanceId;

use crate::config::{Config, InstanceFrom};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::Path;

/// What the instance metadata says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Facts {
    /// The AWS account, twelve digits; on EC2.
    pub account_id: Option<String>,
    /// The host name that EC2 gave, elsewhere the machine's own; only when [`Needs`] asked for it.
    pub hostname: Option<String>,
    /// The image that it was made from, such as `ami-0123456789abcdef0`; on EC2.
    pub image_id: Option<String>,
    /// The instance-id.
    pub instance_id: InstanceId,
    /// The primary private address.
    pub private_ip: Option<IpAddr>,
    /// The region, such as `eu-west-1`; on EC2.
    pub region: Option<String>,
    /// The instance tags that [`Needs`] asked for.
    pub tags: BTreeMap<String, String>,
}

/// Where this machine is, as far as it is known: what a token for one instance is compared with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Here<'a> {
    /// The instance.
    pub instance_id: &'a InstanceId,
    /// Its AWS account.
    pub account_id: Option<&'a str>,
    /// Its region.
    pub region: Option<&'a str>,
}

impl<'a> Here<'a> {
    /// When nothing but the instance-id is known.
    #[must_use]
    pub const fn by_id(instance_id: &'a InstanceId) -> Self {
        Self { instance_id, account_id: None, region: None }
    }

    /// Whether an instance's ARN (`arn:partition:ec2:region:account:instance/id`) is of this one, in all that
    /// is known here.
    #[must_use]
    pub fn is(&self, arn: &str) -> bool {
        let same = |own: Option<&str>, is: &str| own.is_none_or(|own| own == is);
        match arn.split(':').collect::<Vec<_>>().as_slice() {
            ["arn", _, "ec2", region, account, resource] => {
                same(self.region, region)
                    && same(self.account_id, account)
                    && resource.strip_prefix("instance/") == Some(self.instance_id.as_str())
            }
            _ => false,
        }
    }
}

impl Facts {
    /// What of it an instance's ARN names.
    #[must_use]
    pub fn here(&self) -> Here<'_> {
        Here {
            instance_id: &self.instance_id,
            account_id: self.account_id.as_deref(),
            region: self.region.as_deref(),
        }
    }
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

/// Which instance this is, as far as it can be told without asking anybody.
#[must_use]
pub fn here(config: &Config) -> Option<InstanceId> {
    match config.instance {
        InstanceFrom::Ec2 => offline(&config.sys_root),
        InstanceFrom::Machine => machine(&config.machine_id),
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

/// What a machine off EC2 tells of itself; its machine-id lies at `path`.
#[must_use]
pub fn of_machine(path: &Path, needs: &Needs) -> Option<Facts> {
    let name = || crate::store::read(Path::new("/proc/sys/kernel/hostname"), 4096).ok().flatten();
    let name = needs.hostname.then(name).flatten().and_then(|bytes| String::from_utf8(bytes).ok());
    Some(Facts {
        account_id: None,
        hostname: name.map(|name| name.trim_end().to_owned()),
        image_id: None,
        instance_id: machine(path)?,
        private_ip: None,
        region: None,
        tags: BTreeMap::new(),
    })
}

/// The id of a machine that is no EC2 instance, from the machine-id at `path` (usually
/// `/etc/machine-id`). `None` when there is none yet, or a `uninitialized` one.
///
/// Source: machine-id(5), which asks for a keyed digest where the id goes to others.
#[must_use]
pub fn machine(path: &Path) -> Option<InstanceId> {
    let bytes = crate::store::read_following(path, 4096).ok()??;
    let id = std::str::from_utf8(&bytes).ok()?.trim_end();
    let is_one = id.len() == 32 && id.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !is_one {
        return None;
    }
    let digest = Sha256::digest(format!("imprint instance of machine-id {id}"));
    let short: String = digest.iter().take(9).map(|byte| format!("{byte:02x}")).collect();
    format!("m-{}", short.get(..17)?).parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_arn_of_this_instance() {
        let id: InstanceId = "i-0123456789abcdef0".parse().unwrap();
        let known = Here { instance_id: &id, account_id: Some("123456789012"), region: Some("eu-west-1") };
        let check = |here: &Here<'_>, arn: &str, is: bool| assert_eq!(here.is(arn), is, "{here:?} {arn}");
        let own = "arn:aws:ec2:eu-west-1:123456789012:instance/i-0123456789abcdef0";
        check(&known, own, true);
        check(&known, &own.replace("arn:aws:", "arn:aws-cn:"), true);
        for other in [
            own.replace("eu-west-1", "eu-west-2"),
            own.replace("123456789012", "123456789013"),
            own.replace("def0", "def1"),
            own.replace("instance/", "volume/"),
            own.replace("instance/", "instance/x/"),
            own.replace("ec2", "ssm"),
            String::new(),
        ] {
            check(&known, &other, false);
        }
        // What is not known is not compared.
        let by_id = Here::by_id(&id);
        check(&by_id, &own.replace("eu-west-1", "eu-west-2").replace("123456789012", "123456789013"), true);
        check(&by_id, &own.replace("def0", "def1"), false);
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

    #[test]
    fn elsewhere_the_machine_id_tells() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("machine-id");
        let check = |text: &str, good: bool| {
            std::fs::write(&path, text).unwrap();
            let id = machine(&path);
            assert_eq!(id.is_some(), good, "{text:?}");
            if let Some(id) = &id {
                assert!(id.as_str().len() == 19 && !text.contains(&id.as_str()[2..]), "{id}");
            }
            id
        };
        assert_eq!(machine(&path), None);
        let first = check("0123456789abcdef0123456789abcdef\n", true);
        assert_eq!(check("0123456789abcdef0123456789abcdef", true), first);
        assert_ne!(check("0123456789abcdef0123456789abcdee\n", true), first);
        for bad in ["", "uninitialized\n", "0123456789abcdef", "0123456789ABCDEF0123456789ABCDEF\n"] {
            check(bad, false);
        }
    }
}
