//! The kinds of value that only the agent's configuration has.

use std::path::PathBuf;
use std::str::FromStr;
use url::Url;

/// A path from the root, of characters that every reader of `conjur.conf` can carry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AbsolutePath(pub PathBuf);

/// The one KMS key that may unseal: its ARN or its id. An alias is refused, since it can be turned
/// to another key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KmsKey(String);

/// What tells which instance this is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum InstanceFrom {
    /// EC2: the firmware, else the metadata service.
    Ec2,
    /// The machine-id(5): anywhere else.
    Machine,
}

/// Whether a key that Conjur does not take any more is replaced without a person.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReEnroll {
    /// Once in 24 hours.
    Daily,
    /// Only when an operator says so.
    Never,
}

/// Where the metadata service answers, without a slash at the end.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Endpoint(String);

pub(super) struct AccountId(pub String);
pub(super) struct BucketName(pub String);
pub(super) struct CredentialName(pub String);
pub(super) struct FileMode(pub u32);
pub(super) struct Label(pub String);
pub(super) struct ObjectKey(pub String);
pub(super) struct Region(pub String);
pub(super) struct VariableId(pub String);

type Checked<T> = Result<T, &'static str>;

fn has_only(text: &str, also: &[u8]) -> bool {
    text.bytes().all(|b| b.is_ascii_alphanumeric() || also.contains(&b))
}

impl AbsolutePath {
    pub(super) fn known(path: &str) -> Self {
        Self(path.into())
    }
}

impl FromStr for AbsolutePath {
    type Err = &'static str;

    fn from_str(text: &str) -> Checked<Self> {
        if !text.starts_with('/') || text.len() > 1024 || !has_only(text, b"/._@+=-") {
            return Err("must be a path from /, of letters, digits and . _ @ + = -");
        }
        let mut parts = text.split('/').skip(1);
        if parts.any(|part| matches!(part, "" | "." | "..") || part.len() > 200) {
            return Err("must be a path without empty, . or .. parts");
        }
        Ok(Self(text.into()))
    }
}

impl KmsKey {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KmsKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Checked<Self> {
        let id = |id: &str| {
            let id = id.strip_prefix("mrk-").unwrap_or(id);
            (32..=36).contains(&id.len()) && id.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
        };
        let parts: Vec<&str> = text.split(':').collect();
        let good = match parts.as_slice() {
            [key] => id(key),
            ["arn", partition, "kms", region, account, key] => {
                partition.starts_with("aws")
                    && has_only(partition, b"-")
                    && !region.is_empty()
                    && has_only(region, b"-")
                    && account.parse::<AccountId>().is_ok()
                    && key.strip_prefix("key/").is_some_and(id)
            }
            _ => false,
        };
        if good {
            Ok(Self(text.to_owned()))
        } else {
            Err(
                "must be a key's ARN (arn:aws:kms:REGION:ACCOUNT:key/ID) or id; an alias is refused, since it can be turned to another key",
            )
        }
    }
}

impl Endpoint {
    pub(super) fn ipv4() -> Self {
        Self("http://169.254.169.254".to_owned())
    }

    pub(super) fn ipv6() -> Self {
        Self("http://[fd00:ec2::254]".to_owned())
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Endpoint {
    type Err = &'static str;

    fn from_str(text: &str) -> Checked<Self> {
        const WHY: &str = "must be a URL such as http://169.254.169.254 or http://[fd00:ec2::254]";
        let kept = text.trim_end_matches('/');
        let url = Url::parse(kept).map_err(|_| WHY)?;
        let plain = url.scheme() == "http"
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        if plain && url.has_host() && kept.len() <= 256 { Ok(Self(kept.to_owned())) } else { Err(WHY) }
    }
}

impl FromStr for AccountId {
    type Err = &'static str;

    fn from_str(text: &str) -> Checked<Self> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err("must be an AWS account id of twelve digits, in quotes")
        }
    }
}

impl FromStr for BucketName {
    type Err = &'static str;

    fn from_str(text: &str) -> Checked<Self> {
        let name = (3..=63).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b".-".contains(&b))
            && !text.starts_with(['.', '-'])
            && !text.ends_with(['.', '-'])
            && !text.contains("..");
        let arn = text.len() <= 256
            && text.starts_with("arn:aws")
            && text.contains(":s3:")
            && has_only(text, b":/-");
        if name || arn {
            Ok(Self(text.to_owned()))
        } else {
            Err("must be the name of a bucket or the ARN of an access point")
        }
    }
}

impl FromStr for CredentialName {
    type Err = &'static str;

    fn from_str(text: &str) -> Checked<Self> {
        if !matches!(text, "" | "." | "..") && text.len() <= 200 && has_only(text, b"._-") {
            Ok(Self(text.to_owned()))
        } else {
            Err("must be a name of letters, digits and . _ -")
        }
    }
}

impl FromStr for FileMode {
    type Err = &'static str;

    fn from_str(text: &str) -> Checked<Self> {
        let mode = u32::from_str_radix(text, 8).ok().filter(|_| text.len() == 4 && text.starts_with('0'));
        match mode {
            Some(mode) if mode & 0o400 != 0 && mode & !0o640 == 0 => Ok(Self(mode)),
            Some(_) | None => {
                Err("must be \"0600\", \"0640\", \"0400\" or \"0440\": the file holds the API key")
            }
        }
    }
}

impl FromStr for InstanceFrom {
    type Err = &'static str;

    fn from_str(text: &str) -> Checked<Self> {
        match text {
            "ec2" => Ok(Self::Ec2),
            "machine" => Ok(Self::Machine),
            _ => Err("must be \"ec2\" or \"machine\""),
        }
    }
}

impl FromStr for Label {
    type Err = &'static str;

    fn from_str(text: &str) -> Checked<Self> {
        let parts = text.split(':').filter(|part| !part.is_empty()).count();
        if text.len() <= 256 && parts >= 3 && has_only(text, b":._,-") {
            Ok(Self(text.to_owned()))
        } else {
            Err("must be a label such as system_u:object_r:etc_t:s0")
        }
    }
}

impl FromStr for ReEnroll {
    type Err = &'static str;

    fn from_str(text: &str) -> Checked<Self> {
        match text {
            "daily" => Ok(Self::Daily),
            "never" => Ok(Self::Never),
            _ => Err("must be \"daily\" or \"never\""),
        }
    }
}

impl FromStr for ObjectKey {
    type Err = &'static str;

    fn from_str(text: &str) -> Checked<Self> {
        if !text.is_empty() && text.len() <= 1024 && has_only(text, b"/._@+=-") && !text.starts_with('/') {
            Ok(Self(text.to_owned()))
        } else {
            Err("must be a key of letters, digits and / . _ @ + = -, without a / in front")
        }
    }
}

impl FromStr for Region {
    type Err = &'static str;

    fn from_str(text: &str) -> Checked<Self> {
        let plain = text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if plain && (1..=32).contains(&text.len()) {
            Ok(Self(text.to_owned()))
        } else {
            Err("must be a region such as eu-west-1")
        }
    }
}

impl FromStr for VariableId {
    type Err = &'static str;

    fn from_str(text: &str) -> Checked<Self> {
        if !text.is_empty() && text.len() <= 512 && !text.chars().any(char::is_control) {
            Ok(Self(text.to_owned()))
        } else {
            Err("must be the id of a variable, such as app/db/password")
        }
    }
}
