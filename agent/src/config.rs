//! The agent's configuration: `/etc/imprint/config.toml`, read once and checked whole.
//!
//! The file is TOML; unknown settings are refused and every problem is told at once with its line
//! (see `imprint_core::settings`). What comes out of [`Config::read`] needs no further check: names
//! are names, the CA file is read, users have numbers. `packaging/etc/imprint/config.toml` explains
//! each setting.

mod files;
mod kinds;
mod promotion;
mod source;

pub use files::Files;
pub use kinds::{AbsolutePath, Endpoint, InstanceFrom, KmsKey, ReEnroll};
pub use promotion::Promotion;
pub use source::{Kms, Object, Opener, S3, Source, TokenFrom};

use crate::enroll::ISSUING;
use crate::store;
use crate::template::Template;
use imprint_core::door::CaBundle;
use imprint_core::name::{Account, ApplianceUrl, Branch, FactoryId};
use imprint_core::second::Second;
use imprint_core::settings::{self, Problems, Table, duration, text};
use imprint_core::{Class, Classified};
use kinds::VariableId;
use rustix::io::Errno;
use std::collections::BTreeMap;
use std::io;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where the configuration is when nothing else is said.
pub const DEFAULT_PATH: &str = "/etc/imprint/config.toml";

/// The largest file that is read, in bytes.
const LARGEST: usize = 64 * 1024;

/// How long one run may be told to try.
pub const DEADLINES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_secs(24 * 60 * 60);

/// How long an enrollment tries when nothing else is said.
const DEFAULT_DEADLINE: Duration = Duration::from_secs(15 * 60);

/// Everything that the agent is told.
#[derive(Clone, Debug)]
pub struct Config {
    /// Conjur account.
    pub account: Account,
    /// Where Conjur answers; goes into the files.
    pub appliance_url: ApplianceUrl,
    /// Where the redeem goes: the leader, when `appliance_url` is a follower.
    pub leader_url: ApplianceUrl,
    /// The only certificates that Conjur may show; `None` for the public ones.
    pub ca: Option<CaBundle>,
    /// The factory that the host comes from.
    pub host_factory: FactoryId,
    /// What the host is called.
    pub host_id: Template,
    /// What is written beside the host, by name.
    pub annotations: BTreeMap<String, Template>,
    /// A variable that the new host must be allowed to read.
    pub proof_variable: Option<String>,
    /// How long an enrollment tries.
    pub deadline: Duration,
    /// Whether a key that died is replaced without a person.
    pub re_enroll: ReEnroll,
    /// Re-enrollments before this do not count: an operator has lifted them.
    pub re_enroll_lifted_at: Option<Second>,
    /// What tells which instance this is.
    pub instance: InstanceFrom,
    /// Where the token comes from, in the order in which they are tried; one at least.
    pub sources: Vec<Source>,
    /// What the host becomes later; `None` when nothing.
    pub promotion: Option<Promotion>,
    /// What is written, and where.
    pub files: Files,
    /// The metadata service.
    pub imds: Endpoint,
    /// The root of sysfs.
    pub sys_root: PathBuf,
    /// The machine-id(5).
    pub machine_id: PathBuf,
    /// Where one line is written when an enrollment fails; `None` for nowhere.
    pub console: Option<PathBuf>,
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file is not there.
    #[error("there is no {}", .0.display())]
    Missing(PathBuf),
    /// Others than root may write it, while root reads it.
    #[error("{} is writable by {by}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Who may write it.
        by: &'static str,
    },
    /// Its problems, all of them.
    #[error("{}: {problems}", path.display())]
    Problems {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problems: Problems,
    },
    /// The file cannot be read.
    #[error("the configuration cannot be read")]
    Storage(#[source] store::Error),
    /// The file is not text.
    #[error("{} is not UTF-8", .0.display())]
    Text(PathBuf),
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Missing(_) | Self::Open { .. } | Self::Problems { .. } | Self::Text(_) => Class::Config,
            // Who may read it, and where it is, are settings too; a disk that fails is none.
            Self::Storage(store::Error::Call { errno, .. }) if !is_of_settings(*errno) => Class::Storage,
            Self::Storage(_) => Class::Config,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Missing(_) => Some("write it, or name another file with --config"),
            Self::Open { .. } => Some(
                "give it to root and take that away (chown root, chmod go-w): whoever may write it decides where secrets go",
            ),
            Self::Problems { .. } | Self::Text(_) => {
                Some("mend the file; the config.toml that comes with imprint explains every setting")
            }
            Self::Storage(error) => error.hint(),
        }
    }
}

/// Whether an operator's path or permission is what keeps a file from being read.
fn is_of_settings(errno: Errno) -> bool {
    matches!(errno, Errno::ACCESS | Errno::PERM | Errno::NOTDIR | Errno::LOOP | Errno::NAMETOOLONG)
}

/// What a configuration looks at beside its own text.
pub trait Outside {
    /// A variable of the environment.
    fn env(&self, name: &str) -> Option<String>;

    /// A file's bytes, of at most `most`.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    fn file(&self, path: &Path, most: usize) -> io::Result<Vec<u8>>;
}

/// The machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct Machine;

impl Outside for Machine {
    fn env(&self, name: &str) -> Option<String> {
        std::env::var(name).ok()
    }

    fn file(&self, path: &Path, most: usize) -> io::Result<Vec<u8>> {
        let (bytes, stat) = store::read_with_stat(path, most)
            .map_err(|e| io::Error::other(imprint_core::error::chain(&e)))?
            .ok_or(io::ErrorKind::NotFound)?;
        // What the configuration names decides as much as the configuration itself: the CA, say.
        match open_to(stat.st_mode, stat.st_uid, stat.st_gid) {
            Some(by) if rustix::process::geteuid().is_root() => {
                Err(io::Error::other(format!("it is writable by {by}")))
            }
            Some(_) | None => Ok(bytes),
        }
    }
}

impl Config {
    /// The source in a bucket that every boot of the layer can use, if there is one: the first of scope
    /// layer, else the first.
    #[must_use]
    pub fn s3(&self) -> Option<&S3> {
        let of_a_layer = self.buckets().find(|s3| matches!(s3.object, Object::Layer(_)));
        of_a_layer.or_else(|| self.buckets().next())
    }

    /// The other sources in a bucket.
    pub fn other_buckets(&self) -> impl Iterator<Item = &S3> {
        self.buckets().filter(|s3| !self.s3().is_some_and(|first| std::ptr::eq(*s3, first)))
    }

    fn buckets(&self) -> impl Iterator<Item = &S3> {
        self.sources.iter().filter_map(|source| if let Source::S3(s3) = source { Some(s3) } else { None })
    }

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// When it is not there, no text, or has problems.
    pub fn load(path: &Path, outside: &impl Outside) -> Result<Self, Error> {
        let (bytes, stat) = store::read_with_stat(path, LARGEST)
            .map_err(Error::Storage)?
            .ok_or_else(|| Error::Missing(path.to_owned()))?;
        if rustix::process::geteuid().is_root()
            && let Some(by) = open_to(stat.st_mode, stat.st_uid, stat.st_gid)
        {
            return Err(Error::Open { path: path.to_owned(), by });
        }
        let text = String::from_utf8(bytes).map_err(|_| Error::Text(path.to_owned()))?;
        Self::read(&text, outside).map_err(|problems| Error::Problems { path: path.to_owned(), problems })
    }

    /// Reads a configuration's text.
    ///
    /// # Errors
    /// With everything that is wrong with it.
    pub fn read(file: &str, outside: &impl Outside) -> Result<Self, Problems> {
        settings::read(file, |root| Self::take(root, outside))
    }

    fn take(root: &mut Table<'_>, outside: &impl Outside) -> Option<Self> {
        let account = root.required("account", text::<Account>);
        let appliance_url = root.required("appliance_url", text::<ApplianceUrl>);
        let leader_url = root.optional("leader_url", text::<ApplianceUrl>);
        let ca = bundle(root, outside);
        let host_factory = root.required("host_factory", text::<FactoryId>);
        let instance = root.section("instance").or("id", text::<InstanceFrom>, InstanceFrom::Ec2);
        let host_id = host_id(root, instance);
        let proof_variable = root.optional("proof_variable", text::<VariableId>);
        let deadline = root.or("deadline", duration, DEFAULT_DEADLINE);
        let re_enroll = root.or("re_enroll", text::<ReEnroll>, ReEnroll::Daily);
        let re_enroll_lifted_at = root.optional("re_enroll_lifted_at", text::<Second>);
        let annotations = annotations(root);
        let of = source::Of { account: account.as_ref(), factory: host_factory.as_ref(), instance };
        let sources = Source::all(root, outside, of);
        let promotion = Promotion::take(root, instance, host_factory.as_ref(), sources.as_deref());
        let files = Files::take(&mut root.section("files"), outside);
        let imds = imds(&mut root.section("imds"), outside);
        let mut system = root.section("system");
        let sys_root = system.or("sys_root", text, AbsolutePath::known("/sys"));
        let machine_id = system.or("machine_id", text, AbsolutePath::known("/etc/machine-id"));
        let console = system.optional("console", text::<AbsolutePath>);
        if deadline.is_some_and(|span| !DEADLINES.contains(&span)) {
            root.problem("deadline", "must be from 1s to 1d");
        }
        Some(Self {
            account: account?,
            leader_url: leader_url.or_else(|| appliance_url.clone())?,
            appliance_url: appliance_url?,
            ca: ca?,
            host_factory: host_factory?,
            host_id: host_id?,
            annotations: annotations?,
            proof_variable: proof_variable.map(|id| id.0),
            deadline: deadline?,
            re_enroll: re_enroll?,
            re_enroll_lifted_at,
            instance: instance?,
            sources: sources?,
            promotion: promotion?,
            files: files?,
            imds: imds?,
            sys_root: sys_root?.0,
            machine_id: machine_id?.0,
            console: console.map(|path| path.0),
        })
    }
}

/// Who beside root and root's group may write a file.
const fn open_to(mode: u32, owner: u32, group: u32) -> Option<&'static str> {
    if owner != 0 {
        Some("its owner, who is not root")
    } else if mode & 0o002 != 0 {
        Some("everybody")
    } else if mode & 0o020 != 0 && group != 0 {
        Some("its group")
    } else {
        None
    }
}

fn host_id(root: &mut Table<'_>, instance: Option<InstanceFrom>) -> Option<Template> {
    let branch = root.optional("hosts_branch", text::<Branch>);
    let Some(template) = root.optional("host_id", text::<Template>) else {
        let Some(branch) = branch else {
            // A wrong one is told already.
            if !root.has("hosts_branch") && !root.has("host_id") {
                root.missing("hosts_branch");
            }
            return None;
        };
        return match instance? {
            InstanceFrom::Ec2 => format!("{branch}/{{account_id}}/{{region}}/{{instance_id}}").parse().ok(),
            InstanceFrom::Machine => format!("{branch}/{{instance_id}}").parse().ok(),
        };
    };
    if branch.is_some() {
        root.problem("hosts_branch", "is of no use beside host_id, which names the whole id");
    }
    if let Err(error) = template.check_host_id() {
        root.problem("host_id", error.to_string());
    }
    if template.is_fixed() {
        root.problem(
            "host_id",
            "has no placeholder: every instance would be the same host, and each enrollment would kill the key of the one before",
        );
    }
    Some(template)
}

fn annotations(root: &mut Table<'_>) -> Option<BTreeMap<String, Template>> {
    let mut found = BTreeMap::new();
    let mut wrong = Vec::new();
    for (name, value) in root.section("annotations").pairs() {
        // Conjur's form parser gives brackets a meaning of their own.
        let plain =
            name.len() <= 128 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._/-".contains(&b));
        if !plain || name.is_empty() {
            wrong.push("a name may have only letters, digits and . _ / -, at most 128 of them".to_owned());
        } else if name == "authn/api-key" {
            wrong.push("authn/api-key is always set to true by imprint itself".to_owned());
        } else if name.starts_with(ISSUING) {
            wrong.push(format!("{name}: what begins with {ISSUING} is written by imprint itself"));
        } else {
            match value.parse() {
                Ok(template) => {
                    found.insert(name, template);
                }
                Err(error) => wrong.push(format!("{name}: {error}")),
            }
        }
    }
    for wrong in &wrong {
        root.problem("annotations", wrong);
    }
    wrong.is_empty().then_some(found)
}

/// `ca_file`, read and checked. The outer `None` says that it is wrong.
fn bundle(table: &mut Table<'_>, outside: &impl Outside) -> Option<Option<CaBundle>> {
    let path = table.or("ca_file", |value| text::<AbsolutePath>(value).map(Some), None)?;
    let Some(AbsolutePath(path)) = path else { return Some(None) };
    let read =
        outside.file(&path, LARGEST * 4).map_err(|e| format!("{} cannot be read: {e}", path.display()));
    let bundle = read.and_then(|bytes| {
        let say = |why: String| format!("{}: {why}", path.display());
        let pem = String::from_utf8(bytes).map_err(|_| say("is not PEM".to_owned()))?;
        CaBundle::from_pem(&pem).map_err(|e| say(imprint_core::error::chain(&e)))
    });
    bundle.map_err(|what| table.problem("ca_file", what)).ok().map(Some)
}

/// The metadata service: from the file, else where the AWS SDKs look for it too.
fn imds(table: &mut Table<'_>, outside: &impl Outside) -> Option<Endpoint> {
    let set = table.or("endpoint", |value| text::<Endpoint>(value).map(Some), None)?;
    if set.is_some() {
        return set;
    }
    if let Some(url) = outside.env("AWS_EC2_METADATA_SERVICE_ENDPOINT").filter(|url| !url.is_empty()) {
        return url
            .parse()
            .map_err(|e| table.problem("endpoint", format_args!("AWS_EC2_METADATA_SERVICE_ENDPOINT {e}")))
            .ok();
    }
    match outside.env("AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE") {
        Some(mode) if mode.eq_ignore_ascii_case("ipv6") => Some(Endpoint::ipv6()),
        Some(_) | None => Some(Endpoint::ipv4()),
    }
}

#[cfg(test)]
pub(crate) mod tests;
