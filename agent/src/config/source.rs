//! The `[source]` section, or several `[[source]]`: where a token comes from.
//!
//! Several are tried in their order. All of them must then be sealed ones: whoever can make the first
//! fail, which takes no more than a network, decides that the next is used, and must not gain by it.

mod s3;

pub use s3::{Kms, Object, S3};

use super::Outside;
use super::kinds::{AbsolutePath, CredentialName, InstanceFrom, KmsKey};
use imprint_core::name::{Account, FactoryId};
use imprint_core::settings::{Table, flag, text};
use std::convert::Infallible;
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// More would only hide which one is meant.
const MOST_SOURCES: usize = 8;

/// Where a token comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// A file that was sealed with facts of this machine.
    ClientData {
        /// The sealed token.
        file: PathBuf,
        /// What else opens it.
        opener: Opener,
    },
    /// A credential that systemd passes to the unit.
    Credential {
        /// Its name.
        name: String,
        /// systemd's directory of this unit's credentials; `None` when it passes none.
        directory: Option<PathBuf>,
        /// What opens a sealed one.
        opener: Opener,
    },
    /// A file that somebody put on the machine: in clear, or sealed.
    File {
        /// The file.
        file: PathBuf,
        /// Whether it is removed once the host is enrolled.
        remove: bool,
        /// What opens a sealed one.
        opener: Opener,
    },
    /// A bucket, sealed with KMS.
    S3(S3),
    /// Standard input: in clear, or sealed.
    Stdin {
        /// What opens a sealed one.
        opener: Opener,
    },
}

/// What opens a token that did not come from S3, if it is sealed.
#[derive(Clone, Debug, Default)]
pub struct Opener {
    /// For one that KMS sealed.
    pub kms: Option<Kms>,
    /// For one that is sealed with client data: what Ohai or Facter reported, where the machine itself
    /// does not tell.
    pub facts_file: Option<PathBuf>,
    /// For one that is sealed with client data and a secret: the file that holds it.
    pub secret_file: Option<PathBuf>,
}

/// What the root of a configuration says, as far as it is right, that its sources are read by.
#[derive(Clone, Copy)]
pub(super) struct Of<'a> {
    pub(super) account: Option<&'a Account>,
    pub(super) factory: Option<&'a FactoryId>,
    pub(super) instance: Option<InstanceFrom>,
}

/// What the command line may name in the place of the configured sources.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum TokenFrom {
    /// A credential that systemd passes.
    Credential(String),
    /// A file.
    File(PathBuf),
    /// Standard input.
    Stdin,
}

impl FromStr for TokenFrom {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            None if text == "stdin" => Ok(Self::Stdin),
            Some(("file", path)) => {
                path.parse::<AbsolutePath>().map(|path| Self::File(path.0)).map_err(str::to_owned)
            }
            Some(("credential", name)) => {
                name.parse::<CredentialName>().map(|name| Self::Credential(name.0)).map_err(str::to_owned)
            }
            Some(_) | None => {
                Err("must be stdin, file:PATH or credential:NAME; a token itself is never taken here"
                    .to_owned())
            }
        }
    }
}

impl TokenFrom {
    /// Reads a word of the command line. What is none is kept as what to say of it: the word may be a token
    /// that somebody put there by mistake, and must not be repeated in an error.
    ///
    /// # Errors
    /// Never.
    pub fn word(text: &str) -> Result<Result<Self, String>, Infallible> {
        Ok(text.parse())
    }
}

impl Source {
    /// What the command line names, opened as the configured sources would be.
    #[must_use]
    pub fn named(from: &TokenFrom, configured: &[Self], outside: &impl Outside) -> Self {
        let opener = configured.iter().map(Self::opener).fold(Opener::default(), |all, one| Opener {
            kms: all.kms.or(one.kms),
            facts_file: all.facts_file.or(one.facts_file),
            secret_file: all.secret_file.or(one.secret_file),
        });
        match from {
            TokenFrom::Credential(name) => {
                Self::Credential { name: name.clone(), directory: credentials(outside), opener }
            }
            TokenFrom::File(file) => Self::File { file: file.clone(), remove: false, opener },
            TokenFrom::Stdin => Self::Stdin { opener },
        }
    }

    /// Whether whoever fills this source needs nothing but write access to it.
    #[must_use]
    pub const fn takes_clear(&self) -> bool {
        match self {
            Self::Credential { .. } | Self::File { .. } | Self::Stdin { .. } => true,
            Self::ClientData { .. } | Self::S3(_) => false,
        }
    }

    fn opener(&self) -> Opener {
        match self {
            Self::ClientData { opener, .. }
            | Self::Credential { opener, .. }
            | Self::File { opener, .. }
            | Self::Stdin { opener } => opener.clone(),
            Self::S3(s3) => Opener { kms: Some(s3.kms.clone()), ..Opener::default() },
        }
    }

    /// All of a configuration, in their order.
    pub(super) fn all(root: &mut Table<'_>, outside: &impl Outside, of: Of<'_>) -> Option<Vec<Self>> {
        if !root.is_list("source") {
            return Some(vec![Self::take(&mut root.section("source"), outside, of)?]);
        }
        let tables = root.sections("source");
        if !(1..=MOST_SOURCES).contains(&tables.len()) {
            root.problem("source", format_args!("must be 1 to {MOST_SOURCES} sections"));
        }
        let several = tables.len() > 1;
        let mut all = Vec::new();
        for mut table in tables {
            let source = Self::take(&mut table, outside, of);
            if several && source.as_ref().is_some_and(Self::takes_clear) {
                table.problem("kind", "must be s3 or client-data in a list: whoever makes the others fail decides that this one is used, and whoever writes it decides what is redeemed");
            }
            all.push(source);
        }
        all.into_iter().collect()
    }

    fn take(table: &mut Table<'_>, outside: &impl Outside, of: Of<'_>) -> Option<Self> {
        match table.or("kind", text::<Kind>, Kind::S3)? {
            Kind::ClientData => {
                let file = table.required("file", text::<AbsolutePath>);
                let opener = Opener::take(table, outside, false);
                Some(Self::ClientData { file: file?.0, opener: opener? })
            }
            Kind::Credential => {
                let name = table.required("name", text::<CredentialName>);
                let opener = Opener::take(table, outside, true);
                Some(Self::Credential { name: name?.0, directory: credentials(outside), opener: opener? })
            }
            Kind::File => {
                let file = table.required("file", text::<AbsolutePath>);
                let remove = table.or("remove", flag, false);
                let opener = Opener::take(table, outside, true);
                Some(Self::File { file: file?.0, remove: remove?, opener: opener? })
            }
            Kind::S3 => S3::take(table, outside, of).map(Self::S3),
            Kind::Stdin => Some(Self::Stdin { opener: Opener::take(table, outside, true)? }),
        }
    }
}

impl Opener {
    fn take(table: &mut Table<'_>, outside: &impl Outside, may_be_kms: bool) -> Option<Self> {
        let mut path = |key| table.optional(key, text::<AbsolutePath>).map(|path| path.0);
        let (facts_file, secret_file) = (path("facts_file"), path("secret_file"));
        let kms = if may_be_kms && table.has("kms_key") {
            let key = table.optional("kms_key", text::<KmsKey>);
            Some(Kms::take(table, outside, key)?)
        } else {
            None
        };
        Some(Self { kms, facts_file, secret_file })
    }
}

/// For a log line: which one it is, without what opens it.
impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ClientData { file, .. } | Self::File { file, .. } => write!(f, "{}", file.display()),
            Self::Credential { name, .. } => write!(f, "credential {name}"),
            Self::S3(s3) => s3.fmt(f),
            Self::Stdin { .. } => f.write_str("standard input"),
        }
    }
}

#[derive(Clone, Copy)]
enum Kind {
    ClientData,
    Credential,
    File,
    S3,
    Stdin,
}

impl FromStr for Kind {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        Ok(match text {
            "client-data" => Self::ClientData,
            "credential" => Self::Credential,
            "file" => Self::File,
            "s3" => Self::S3,
            "stdin" => Self::Stdin,
            _ => return Err("must be s3, file, stdin, credential or client-data"),
        })
    }
}

/// systemd.exec(5), `LoadCredential=`.
fn credentials(outside: &impl Outside) -> Option<PathBuf> {
    outside.env("CREDENTIALS_DIRECTORY").filter(|path| path.starts_with('/')).map(PathBuf::from)
}

#[cfg(test)]
mod tests {
    use super::super::tests::{GOOD, problems, read};
    use super::*;

    /// The usual configuration with these sources in the place of its own.
    fn with(sources: &str) -> String {
        let (before, after) = GOOD.split_once("[source]").unwrap();
        let after = after.split_once("\n[").map_or("", |(_, after)| after);
        let after = if after.is_empty() { String::new() } else { format!("[{after}") };
        format!("{before}{sources}\n{after}")
    }

    fn shown(sources: &str) -> Vec<String> {
        read(&with(sources)).unwrap().sources.iter().map(ToString::to_string).collect()
    }

    const S3: &str = "bucket = \"imprint-tokens\"\nkms_key = \"11111111-2222-3333-4444-555555555555\"\n";

    #[test]
    fn each_kind() {
        assert_eq!(
            shown(&format!("[source]\n{S3}")),
            ["s3://imprint-tokens/factories/prod/app/web/token.json"]
        );
        assert_eq!(shown("[source]\nkind = \"stdin\""), ["standard input"]);
        assert_eq!(shown("[source]\nkind = \"file\"\nfile = \"/run/token\"\nremove = true"), ["/run/token"]);
        assert_eq!(
            shown("[source]\nkind = \"credential\"\nname = \"conjur-token\""),
            ["credential conjur-token"]
        );
        let opened = "[source]\nkind = \"client-data\"\nfile = \"/etc/imprint/token.json\"\nfacts_file = \"/run/facts.json\"\nsecret_file = \"/etc/imprint/secret\"";
        assert_eq!(shown(opened), ["/etc/imprint/token.json"]);
        let two = format!(
            "[[source]]\n{S3}region = \"eu-west-1\"\n[[source]]\nkind = \"s3\"\n{S3}region = \"eu-central-1\"\nobject = \"other\""
        );
        assert_eq!(
            shown(&two),
            ["s3://imprint-tokens/factories/prod/app/web/token.json", "s3://imprint-tokens/other"]
        );
    }

    /// The words for "first" and for "only".
    #[test]
    fn a_token_for_one_instance() {
        let own = "s3://imprint-tokens/instances/{instance_id}/app/web.json";
        let layer = "s3://imprint-tokens/factories/prod/app/web/token.json";
        let instance = format!("scope = \"instance\"\n{S3}");
        assert_eq!(shown(&format!("[source]\n{instance}")), [own]);
        assert_eq!(
            shown(&format!("[[source]]\n{instance}[[source]]\nscope = \"layer\"\n{S3}")),
            [own, layer]
        );
        let config = read(&with(&format!("[source]\n{instance}"))).unwrap();
        let here = "i-0123456789abcdef0".parse().unwrap();
        assert_eq!(config.s3().unwrap().object.key(&here), "instances/i-0123456789abcdef0/app/web.json");
    }

    #[test]
    fn every_problem_of_a_source() {
        let check = |sources: &str, wanted: &[&str]| {
            let found = problems(&with(sources));
            let found: Vec<&str> =
                found.iter().map(|p| p.split_once(": ").map_or(p.as_str(), |(_, p)| p)).collect();
            assert_eq!(found, wanted, "{sources}");
        };
        check(
            "[source]\nkind = \"ftp\"",
            &["source.kind: must be s3, file, stdin, credential or client-data"],
        );
        check(
            "[source]\nkind = \"file\"\nbucket = \"x\"",
            &["source.file is missing", "source.bucket is not a known setting"],
        );
        check(
            "[source]\nkind = \"credential\"\nname = \"../x\"",
            &["source.name: must be a name of letters, digits and . _ -"],
        );
        check(
            "[source]\nkind = \"client-data\"\nfile = \"token.json\"",
            &["source.file: must be a path from /, of letters, digits and . _ @ + = -"],
        );
        let clear = format!("[[source]]\n{S3}[[source]]\nkind = \"stdin\"");
        let problem = problems(&with(&clear));
        assert!(
            problem.len() == 1 && problem[0].contains("must be s3 or client-data in a list"),
            "{problem:?}"
        );
        let beside = format!("[source]\nscope = \"instance\"\nobject = \"x\"\n{S3}");
        check(&beside, &["source.object: is of no use beside scope = \"instance\", which names the key"]);
        check(&format!("[source]\nscope = \"host\"\n{S3}"), &["source.scope: must be layer or instance"]);
        check(
            &format!("[instance]\nid = \"machine\"\n[source]\nscope = \"instance\"\n{S3}"),
            &["source.scope: \"instance\" is for EC2 instances, and [instance] id is \"machine\""],
        );
        check("[source]\nkind = \"stdin\"\nscope = \"instance\"", &["source.scope is not a known setting"]);
        let nine = problems(&with(&format!("[[source]]\n{S3}").repeat(9)));
        assert!(nine.len() == 1 && nine[0].contains("1 to 8 sections"), "{nine:?}");
    }

    #[test]
    fn what_the_command_line_may_name() {
        let check = |text: &str, wanted: Option<TokenFrom>| assert_eq!(text.parse().ok(), wanted, "{text}");
        check("stdin", Some(TokenFrom::Stdin));
        check("file:/run/token", Some(TokenFrom::File("/run/token".into())));
        check("credential:token", Some(TokenFrom::Credential("token".to_owned())));
        for bad in [
            "",
            "file:",
            "file:token",
            "credential:a/b",
            "3q2kzdp1tgn5vx1mf7y5e3v8a9w3h0r2c1b6j4s8n7k5m2p0q",
            "s3:x",
        ] {
            check(bad, None);
        }
    }
}
