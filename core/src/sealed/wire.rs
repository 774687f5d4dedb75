//! The sealed token's JSON: members, their order, and how they become typed values.

use super::{Binding, Error, LARGEST_OBJECT, Scope, SealedToken, VERSION};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use ipnet::IpNet;
use serde::{Deserialize, Serialize};

impl SealedToken {
    /// Reads an object's bytes.
    ///
    /// # Errors
    /// When they are anything but one sealed token of version [`VERSION`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Error> {
        if bytes.is_empty() {
            return Err(Error::Empty);
        }
        if bytes.len() > LARGEST_OBJECT {
            return Err(Error::TooLarge(bytes.len()));
        }
        // The version decides which members there must be, so it is read by itself first.
        let Peek { version } = serde_json::from_slice(bytes).map_err(|e| Error::Form(words(&e)))?;
        if version != u64::from(VERSION) {
            return Err(Error::Version(version));
        }
        let wire: Wire = serde_json::from_slice(bytes).map_err(|e| Error::Form(words(&e)))?;
        wire.try_into()
    }

    /// The object's bytes: JSON on one line, members in the order of the format, a newline.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        // Strings, numbers and lists of strings always serialize.
        let mut bytes = serde_json::to_vec(&Wire::from(self)).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

#[derive(Deserialize)]
struct Peek {
    version: u64,
}

/// The members in the order in which they are written.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    version: u32,
    account: String,
    host_factory: String,
    appliance_url: String,
    leader_url: String,
    ca_sha256: Vec<String>,
    issued_at: String,
    expires_at: String,
    cidr: Vec<String>,
    fingerprint: String,
    rotation_id: String,
    spread_s: u32,
    scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance_arn: Option<String>,
    hosts_branch: String,
    ciphertext: String,
    key_arn: String,
}

/// The binding's members by themselves: what a token that is sealed otherwise carries too.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Clear {
    account: String,
    host_factory: String,
    appliance_url: String,
    leader_url: String,
    ca_sha256: Vec<String>,
    issued_at: String,
    expires_at: String,
    cidr: Vec<String>,
    fingerprint: String,
    rotation_id: String,
    spread_s: u32,
    scope: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    instance_arn: Option<String>,
    hosts_branch: String,
}

impl From<&Binding> for Clear {
    fn from(binding: &Binding) -> Self {
        let (scope, instance_arn) = match &binding.scope {
            Scope::Instance { arn } => ("instance", Some(arn.clone())),
            Scope::Layer => ("layer", None),
        };
        Self {
            account: binding.account.to_string(),
            host_factory: binding.host_factory.to_string(),
            appliance_url: binding.appliance_url.to_string(),
            leader_url: binding.leader_url.to_string(),
            ca_sha256: binding.ca_sha256.clone(),
            issued_at: binding.issued_at.to_string(),
            expires_at: binding.expires_at.to_string(),
            cidr: binding.cidr.iter().map(IpNet::to_string).collect(),
            fingerprint: binding.fingerprint.to_string(),
            rotation_id: binding.rotation_id.clone(),
            spread_s: binding.spread_s,
            scope: scope.to_owned(),
            instance_arn,
            hosts_branch: binding.hosts_branch.to_string(),
        }
    }
}

impl TryFrom<Clear> for Binding {
    type Error = Error;

    fn try_from(clear: Clear) -> Result<Self, Error> {
        let scope = match (clear.scope.as_str(), clear.instance_arn) {
            ("layer", None) => Scope::Layer,
            ("instance", Some(arn)) => Scope::Instance { arn },
            _ => {
                let why = "and instance_arn do not go together".to_owned();
                return Err(Error::Field { field: "scope", why });
            }
        };
        let binding = Self {
            account: field("account", &clear.account)?,
            host_factory: field("host_factory", &clear.host_factory)?,
            appliance_url: field("appliance_url", &clear.appliance_url)?,
            leader_url: field("leader_url", &clear.leader_url)?,
            ca_sha256: clear.ca_sha256,
            issued_at: field("issued_at", &clear.issued_at)?,
            expires_at: field("expires_at", &clear.expires_at)?,
            cidr: clear.cidr.iter().map(|net| field("cidr", net)).collect::<Result<_, _>>()?,
            fingerprint: field("fingerprint", &clear.fingerprint)?,
            rotation_id: clear.rotation_id,
            spread_s: clear.spread_s,
            scope,
            hosts_branch: field("hosts_branch", &clear.hosts_branch)?,
        };
        binding.check()?;
        Ok(binding)
    }
}

impl From<&SealedToken> for Wire {
    fn from(sealed: &SealedToken) -> Self {
        let clear = Clear::from(&sealed.binding);
        Self {
            version: VERSION,
            account: clear.account,
            host_factory: clear.host_factory,
            appliance_url: clear.appliance_url,
            leader_url: clear.leader_url,
            ca_sha256: clear.ca_sha256,
            issued_at: clear.issued_at,
            expires_at: clear.expires_at,
            cidr: clear.cidr,
            fingerprint: clear.fingerprint,
            rotation_id: clear.rotation_id,
            spread_s: clear.spread_s,
            scope: clear.scope,
            instance_arn: clear.instance_arn,
            hosts_branch: clear.hosts_branch,
            ciphertext: BASE64.encode(&sealed.ciphertext),
            key_arn: sealed.key_arn.clone(),
        }
    }
}

impl TryFrom<Wire> for SealedToken {
    type Error = Error;

    fn try_from(wire: Wire) -> Result<Self, Error> {
        let clear = Clear {
            account: wire.account,
            host_factory: wire.host_factory,
            appliance_url: wire.appliance_url,
            leader_url: wire.leader_url,
            ca_sha256: wire.ca_sha256,
            issued_at: wire.issued_at,
            expires_at: wire.expires_at,
            cidr: wire.cidr,
            fingerprint: wire.fingerprint,
            rotation_id: wire.rotation_id,
            spread_s: wire.spread_s,
            scope: wire.scope,
            instance_arn: wire.instance_arn,
            hosts_branch: wire.hosts_branch,
        };
        let binding = Binding::try_from(clear)?;
        let ciphertext = BASE64
            .decode(&wire.ciphertext)
            .map_err(|e| Error::Field { field: "ciphertext", why: format!("is not base64 ({e})") })?;
        Self::new(binding, ciphertext, wire.key_arn)
    }
}

/// A value in the one spelling in which it is written: a second spelling would be a change that no
/// context shows.
fn field<T>(field: &'static str, text: &str) -> Result<T, Error>
where
    T: std::str::FromStr<Err: std::fmt::Display> + std::fmt::Display,
{
    let value: T =
        text.parse().map_err(|e: T::Err| Error::Field { field, why: format!("is not taken: {e}") })?;
    if value.to_string() == text {
        return Ok(value);
    }
    Err(Error::Field { field, why: format!("is written otherwise than {value}") })
}

/// serde's reason without what a hostile object could put into a log line.
pub(crate) fn words(error: &serde_json::Error) -> String {
    error.to_string().chars().filter(|c| !c.is_control()).take(160).collect()
}
