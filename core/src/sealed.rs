//! The sealed token: the object in S3, and the only contract between rotator and agent.
//!
//! One JSON object of format version 1. The member `ciphertext` is base64 of what KMS Encrypt made
//! of the token's characters; `key_arn` is for people and is never used; every other member belongs
//! to the [`Binding`]. The binding *is* the KMS encryption context ([`Binding::context`]), so a
//! changed member, or a blob moved to another factory's place, does not open. ARCHITECTURE.md has
//! the format byte for byte.
//!
//! Reading is bounded ([`LARGEST_OBJECT`]) and strict: unknown or repeated members are refused, and
//! what was read writes back as the same value.

pub(crate) mod wire;

use crate::door::MOST_CERTIFICATES;
use crate::error::{Class, Classified};
use crate::name::{Account, ApplianceUrl, Branch, FactoryId};
use crate::second::Second;
use crate::token::Fingerprint;
use ipnet::IpNet;
use std::collections::BTreeMap;

/// The format version that is written, and the only one that is read.
pub const VERSION: u32 = 1;

/// The largest object that is looked at, in bytes. A usual one has about 1,200.
pub const LARGEST_OBJECT: usize = 16 * 1024;

/// The largest encryption context, keys and values together, in bytes. KMS takes about twice that.
pub const LARGEST_CONTEXT: usize = 4096;

/// KMS Encrypt takes 4,096 bytes of plaintext; its blob is a little larger.
const LARGEST_CIPHERTEXT: usize = 6144;

/// Names of the encryption context's keys. IAM and key policies name them as
/// `kms:EncryptionContext:<key>`; they are lower case, since IAM ignores case there.
pub mod context_key {
    /// Conjur account.
    pub const ACCOUNT: &str = "imprint:account";
    /// Where agents send everything but the redeem.
    pub const APPLIANCE_URL: &str = "imprint:appliance_url";
    /// SHA-256 of each certificate of the CA bundle, hex, joined by commas; absent when none.
    pub const CA_SHA256: &str = "imprint:ca_sha256";
    /// Networks that Conjur takes the token from, joined by commas; absent when any.
    pub const CIDR: &str = "imprint:cidr";
    /// When Conjur stops taking the token.
    pub const EXPIRES_AT: &str = "imprint:expires_at";
    /// The token's fingerprint.
    pub const FINGERPRINT: &str = "imprint:fingerprint";
    /// Host factory id, without account and kind: what a layer's role is limited to.
    pub const HOST_FACTORY: &str = "imprint:host_factory";
    /// The policy branch of the hosts.
    pub const HOSTS_BRANCH: &str = "imprint:hosts_branch";
    /// The instance that alone may unseal; absent in layer scope.
    pub const INSTANCE_ARN: &str = "imprint:instance_arn";
    /// When it was sealed.
    pub const ISSUED_AT: &str = "imprint:issued_at";
    /// Where agents send the redeem.
    pub const LEADER_URL: &str = "imprint:leader_url";
    /// The rotation that made it.
    pub const ROTATION_ID: &str = "imprint:rotation_id";
    /// `layer` or `instance`.
    pub const SCOPE: &str = "imprint:scope";
    /// Seconds over which a wave of boots spreads its redeems.
    pub const SPREAD_S: &str = "imprint:spread_s";
    /// Format version.
    pub const VERSION: &str = "imprint:version";
}

/// The clear fields of a sealed token. All of them are authenticated by KMS.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Binding {
    /// Conjur account.
    pub account: Account,
    /// The factory that the token belongs to.
    pub host_factory: FactoryId,
    /// Where agents send everything but the redeem.
    pub appliance_url: ApplianceUrl,
    /// Where agents send the redeem; often the same.
    pub leader_url: ApplianceUrl,
    /// SHA-256 of each certificate (DER) of the CA bundle, lower-case hex; empty for public roots.
    pub ca_sha256: Vec<String>,
    /// When it was sealed, by the rotator's clock.
    pub issued_at: Second,
    /// When Conjur stops taking the token, as Conjur echoed it.
    pub expires_at: Second,
    /// Networks that Conjur takes the token from; empty for any.
    pub cidr: Vec<IpNet>,
    /// The token's name in logs.
    pub fingerprint: Fingerprint,
    /// The rotation that made it, 1 to 64 of `[a-z0-9-]`.
    pub rotation_id: String,
    /// Seconds over which a wave of boots spreads its redeems; 0 for at once.
    pub spread_s: u32,
    /// Who may unseal.
    pub scope: Scope,
    /// The policy branch of the hosts.
    pub hosts_branch: Branch,
}

/// Who a sealed token is for.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Scope {
    /// One instance alone.
    Instance {
        /// `arn:aws:ec2:region:account:instance/i-...`
        arn: String,
    },
    /// Every instance of the factory's layer.
    Layer,
}

/// A binding with its ciphertext: the object in S3.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SealedToken {
    binding: Binding,
    ciphertext: Vec<u8>,
    key_arn: String,
}

/// Why bytes are not a sealed token, or a binding cannot be sealed.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// No bytes at all.
    #[error("the sealed token is empty")]
    Empty,
    /// A member is not what the format asks for.
    #[error("the sealed token's {field} {why}")]
    Field {
        /// The member.
        field: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// Not a JSON object with the members of this version.
    #[error("the sealed token is not of format version {VERSION}: {0}")]
    Form(String),
    /// More bytes than [`LARGEST_OBJECT`].
    #[error("the sealed token has {0} bytes; at most {LARGEST_OBJECT} are read")]
    TooLarge(usize),
    /// Another format version.
    #[error("the sealed token has format version {0}; this program reads version {VERSION}")]
    Version(u64),
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Empty | Self::Field { .. } | Self::Form(_) | Self::TooLarge(_) => Class::Tampered,
            Self::Version(_) => Class::Config,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Empty | Self::Field { .. } | Self::Form(_) | Self::TooLarge(_) => {
                "something other than the rotator wrote this object: see who may put it, then run imprint-rotator rotate --now"
            }
            Self::Version(_) => "upgrade the older of agent and rotator",
        })
    }
}

impl Binding {
    /// The KMS encryption context: every field, as text. Two bindings that differ give two contexts
    /// that differ.
    #[must_use]
    pub fn context(&self) -> BTreeMap<String, String> {
        let mut context = BTreeMap::new();
        let mut put = |key: &str, value: String| {
            context.insert(key.to_owned(), value);
        };
        put(context_key::VERSION, VERSION.to_string());
        put(context_key::ACCOUNT, self.account.to_string());
        put(context_key::HOST_FACTORY, self.host_factory.to_string());
        put(context_key::APPLIANCE_URL, self.appliance_url.to_string());
        put(context_key::LEADER_URL, self.leader_url.to_string());
        put(context_key::ISSUED_AT, self.issued_at.to_string());
        put(context_key::EXPIRES_AT, self.expires_at.to_string());
        put(context_key::FINGERPRINT, self.fingerprint.to_string());
        put(context_key::ROTATION_ID, self.rotation_id.clone());
        put(context_key::SPREAD_S, self.spread_s.to_string());
        put(context_key::HOSTS_BRANCH, self.hosts_branch.to_string());
        // An empty value would be legal and easy to lose on the way: such a key is left out.
        if !self.ca_sha256.is_empty() {
            put(context_key::CA_SHA256, self.ca_sha256.join(","));
        }
        if !self.cidr.is_empty() {
            put(context_key::CIDR, self.cidr.iter().map(IpNet::to_string).collect::<Vec<_>>().join(","));
        }
        match &self.scope {
            Scope::Layer => put(context_key::SCOPE, "layer".to_owned()),
            Scope::Instance { arn } => {
                put(context_key::SCOPE, "instance".to_owned());
                put(context_key::INSTANCE_ARN, arn.clone());
            }
        }
        context
    }

    /// The key in S3 under which a token of this binding is published.
    #[must_use]
    pub fn object_key(&self) -> String {
        match &self.scope {
            Scope::Layer => layer_key(&self.account, &self.host_factory),
            Scope::Instance { arn } => {
                instance_key(arn.rsplit('/').next().unwrap_or_default(), &self.host_factory)
            }
        }
    }

    fn check(&self) -> Result<(), Error> {
        let field = |field, why: &str| Err(Error::Field { field, why: why.to_owned() });
        if self.ca_sha256.len() > MOST_CERTIFICATES {
            return field("ca_sha256", "names too many certificates");
        }
        let digest = |d: &String| d.len() == 64 && d.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !self.ca_sha256.iter().all(digest) {
            return field("ca_sha256", "has something that is no SHA-256 in lower-case hex");
        }
        if self.cidr.iter().any(|net| net.trunc() != *net) {
            return field("cidr", "has a network with host bits set");
        }
        if self.rotation_id.is_empty()
            || self.rotation_id.len() > 64
            || !self.rotation_id.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-'))
        {
            return field("rotation_id", "is not 1 to 64 of a-z, 0-9 and -");
        }
        if let Scope::Instance { arn } = &self.scope
            && !is_instance_arn(arn)
        {
            return field("instance_arn", "is not the ARN of an EC2 instance");
        }
        let size: usize = self.context().iter().map(|(key, value)| key.len() + value.len()).sum();
        if size > LARGEST_CONTEXT {
            return Err(Error::Field {
                field: "binding",
                why: format!("has {size} bytes; at most {LARGEST_CONTEXT} fit an encryption context"),
            });
        }
        Ok(())
    }
}

/// `factories/<account>/<host factory id>/token.json`: one key per layer, one line of IAM.
#[must_use]
pub fn layer_key(account: &Account, factory: &FactoryId) -> String {
    format!("factories/{account}/{factory}/token.json")
}

/// `instances/<instance-id>/<host factory id>.json`: one key per instance and factory.
#[must_use]
pub fn instance_key(instance_id: &str, factory: &FactoryId) -> String {
    format!("instances/{instance_id}/{factory}.json")
}

impl SealedToken {
    /// Joins a binding and what KMS made of the token under [`Binding::context`].
    ///
    /// # Errors
    /// When the binding is larger than a context may be, or a field has not its form.
    pub fn new(binding: Binding, ciphertext: Vec<u8>, key_arn: String) -> Result<Self, Error> {
        binding.check()?;
        let field = |field, why: &str| Err(Error::Field { field, why: why.to_owned() });
        if ciphertext.is_empty() || ciphertext.len() > LARGEST_CIPHERTEXT {
            return field("ciphertext", "is empty or larger than KMS makes one");
        }
        if key_arn.len() > 256 || !key_arn.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b'"' | b'\\'))
        {
            return field("key_arn", "is not an ARN");
        }
        Ok(Self { binding, ciphertext, key_arn })
    }

    /// The clear fields: authenticated once [`Self::ciphertext`] was opened under their context, and
    /// not before.
    #[must_use]
    pub const fn binding(&self) -> &Binding {
        &self.binding
    }

    /// What KMS Decrypt takes.
    #[must_use]
    pub fn ciphertext(&self) -> &[u8] {
        &self.ciphertext
    }

    /// The key's ARN as the rotator saw it: for people only, since it is not authenticated.
    #[must_use]
    pub fn key_arn(&self) -> &str {
        &self.key_arn
    }
}

fn is_instance_arn(arn: &str) -> bool {
    let parts: Vec<&str> = arn.split(':').collect();
    let plain = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    match parts.as_slice() {
        ["arn", partition, "ec2", region, account, resource] => {
            plain(partition)
                && plain(region)
                && account.len() == 12
                && account.bytes().all(|b| b.is_ascii_digit())
                && resource
                    .strip_prefix("instance/")
                    .is_some_and(|id| id.starts_with("i-") && plain(id) && id.len() <= 32)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
