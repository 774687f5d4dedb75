//! The facts that this machine tells of itself, for a token that is sealed with client data; and
//! `imprint facts`, which shows them.
//!
//! They come from sysfs, procfs and the machine-id(5), in the forms of `imprint_core::client_data`, so
//! that they are what Ohai and Facter report of the same machine. The image of an EC2 instance is the
//! one that only the metadata service tells.

mod shown;

pub use shown::Shown;

use crate::config::Config;
use crate::facts;
use crate::imds::Imds;
use crate::store;
use imprint_core::client_data::{Fact, Values};
use imprint_core::error::chain;
use std::fmt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// A file of sysfs is a page at most; what is longer is something else.
const PAGE: usize = 4096;

/// The type of an interface that has a MAC address of six bytes (`ARPHRD_ETHER`).
const ETHERNET: &str = "1";

/// Where the facts are.
#[derive(Clone, Debug)]
pub struct Roots {
    /// sysfs.
    pub sys: PathBuf,
    /// procfs.
    pub proc: PathBuf,
    /// The machine-id(5).
    pub machine_id: PathBuf,
}

/// What was found of one fact.
pub struct Found {
    /// The fact.
    pub fact: Fact,
    /// Its value as it was reported, or why there is none.
    pub value: Result<Zeroizing<String>, String>,
    /// Who may read it; `None` when that is not known.
    pub readers: Option<Readers>,
}

/// Who may read a fact on this machine.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Readers {
    /// Every user.
    Everybody,
    /// Its group too.
    Group,
    /// Root, or the user that imprint runs as.
    OwnerAlone,
}

impl Roots {
    /// Those of a configuration.
    #[must_use]
    pub fn of(config: &Config) -> Self {
        Self { sys: config.sys_root.clone(), machine_id: config.machine_id.clone(), ..Self::default() }
    }
}

impl Default for Roots {
    fn default() -> Self {
        Self { sys: "/sys".into(), proc: "/proc".into(), machine_id: "/etc/machine-id".into() }
    }
}

impl Readers {
    /// Of a file that was looked at.
    #[must_use]
    pub fn of(looks: &store::Looks) -> Self {
        let own = rustix::process::geteuid().as_raw();
        let stranger = looks.stat.st_uid != 0 && looks.stat.st_uid != own;
        if looks.stat.st_mode & 0o007 != 0 || stranger {
            Self::Everybody
        } else if looks.stat.st_mode & 0o070 != 0 || looks.has_acl {
            Self::Group
        } else {
            Self::OwnerAlone
        }
    }
}

impl fmt::Display for Readers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Everybody => "everybody",
            Self::Group => "group",
            Self::OwnerAlone => "root alone",
        })
    }
}

/// Every fact with a name of its own but the image, in the order of the names.
#[must_use]
pub fn read(roots: &Roots) -> Vec<Found> {
    let found = |fact: Fact| {
        let (value, readers) = match &fact {
            Fact::BoardSerial => firmware(roots, "board_serial"),
            Fact::ProductSerial => firmware(roots, "product_serial"),
            Fact::ProductUuid => firmware(roots, "product_uuid"),
            Fact::InstanceId => {
                let id = facts::offline(&roots.sys).map(|id| Zeroizing::new(id.to_string()));
                (id.ok_or_else(|| "the firmware does not tell one".to_owned()), Some(Readers::Everybody))
            }
            Fact::MachineId => match store::read_with_stat(&roots.machine_id, PAGE) {
                Ok(Some((bytes, _))) => (text(bytes), Some(Readers::Everybody)),
                Ok(None) => (Err(format!("there is no {}", roots.machine_id.display())), None),
                Err(error) => (Err(chain(&error)), None),
            },
            Fact::Macs => (macs(roots), Some(Readers::Everybody)),
            Fact::ImageId | Fact::Path(..) => return None,
        };
        // Whatever cannot be used in a key is as good as absent.
        let value = value.and_then(|value| {
            let mut values = Values::default();
            values.put(fact.clone(), &value).map(|()| value).map_err(|unfit| unfit.why.to_owned())
        });
        Some(Found { fact, value, readers })
    };
    Fact::NAMED.into_iter().filter_map(found).collect()
}

/// The same with the image, for which the metadata service of an EC2 instance is asked once.
pub async fn asked(config: Option<&Config>) -> Vec<Found> {
    let mut all = read(&config.map(Roots::of).unwrap_or_default());
    let on_ec2 = all.iter().any(|found| found.fact == Fact::InstanceId && found.value.is_ok());
    let value = match config {
        Some(config) if on_ec2 => match Imds::new(&config.imds) {
            Ok(imds) => imds.image().await.map(Zeroizing::new).map_err(|e| chain(&e)),
            Err(error) => Err(chain(&error)),
        },
        Some(_) => Err("this is no EC2 instance whose firmware says so".to_owned()),
        None => Err("there is no configuration that leads to the metadata service".to_owned()),
    };
    all.push(Found { fact: Fact::ImageId, value, readers: Some(Readers::Everybody) });
    all
}

fn firmware(roots: &Roots, name: &str) -> (Result<Zeroizing<String>, String>, Option<Readers>) {
    let path = roots.sys.join("class/dmi/id").join(name);
    match store::read_with_looks(&path, PAGE) {
        Ok(Some((bytes, looks))) => (text(bytes), Some(Readers::of(&looks))),
        Ok(None) => (Err("the firmware does not tell one".to_owned()), None),
        Err(error) => (Err(chain(&error)), None),
    }
}

/// The permanent addresses of the interfaces that have a device. A bond gives its own to those in it;
/// only the bonding driver still tells theirs.
fn macs(roots: &Roots) -> Result<Zeroizing<String>, String> {
    let net = roots.sys.join("class/net");
    let names = std::fs::read_dir(&net).map_err(|e| format!("{} cannot be read: {e}", net.display()))?;
    let permanent = in_bonds(&roots.proc);
    let mut all = Vec::new();
    for name in names.flatten().map(|entry| entry.file_name()) {
        let line = |file: &str| {
            let bytes = store::read(&net.join(&name).join(file), PAGE).ok().flatten()?;
            Some(std::str::from_utf8(&bytes).ok()?.trim().to_owned())
        };
        if !net.join(&name).join("device").exists() || line("type").as_deref() != Some(ETHERNET) {
            continue;
        }
        let bonded = permanent.iter().find(|(bonded, _)| name == bonded.as_str());
        all.extend(bonded.map(|(_, address)| address.clone()).or_else(|| line("address")));
    }
    if all.is_empty() {
        return Err("no interface has a device".to_owned());
    }
    Ok(Zeroizing::new(all.join(",")))
}

/// Interfaces in a bond, with their permanent addresses.
///
/// Source: the kernel's Documentation/networking/bonding.rst.
fn in_bonds(proc: &Path) -> Vec<(String, String)> {
    let Ok(bonds) = std::fs::read_dir(proc.join("net/bonding")) else { return Vec::new() };
    let mut found = Vec::new();
    for bond in bonds.flatten() {
        let text = store::read(&bond.path(), 64 * 1024).ok().flatten().unwrap_or_default();
        let mut interface = None;
        for line in String::from_utf8_lossy(&text).lines() {
            if let Some(name) = line.strip_prefix("Slave Interface: ") {
                interface = Some(name.trim().to_owned());
            } else if let Some(address) = line.strip_prefix("Permanent HW addr: ") {
                found.extend(interface.take().map(|name| (name, address.trim().to_owned())));
            }
        }
    }
    found
}

fn text(bytes: Vec<u8>) -> Result<Zeroizing<String>, String> {
    let bytes = Zeroizing::new(bytes);
    match std::str::from_utf8(&bytes) {
        Ok(text) => Ok(Zeroizing::new(text.trim().to_owned())),
        Err(_) => Err("is no text".to_owned()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
