//! Whether a token may be redeemed: its binding against the agent's own configuration.
//!
//! KMS has proved that the rotator (or whoever may encrypt with the key) wrote the binding. Here it is
//! proved to be meant for this agent, before a byte of it goes to Conjur.

use crate::config::Config;
use crate::facts::Here;
use imprint_core::door::CaBundle;
use imprint_core::name::{Branch, HostId};
use imprint_core::sealed::{Binding, Scope};
use imprint_core::second::Second;
use imprint_core::settings::written;
use imprint_core::token::{Fingerprint, Token};
use imprint_core::{Class, Classified};
use std::net::IpAddr;

/// Why a token is not for this agent.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Error {
    /// No certificate of the binding is in the agent's own CA file.
    #[error("the token was sealed for another CA: no certificate in common with ca_file")]
    Ca,
    /// Its time is over.
    #[error("the token {fingerprint} expired at {at}, {} ago", written(*ago))]
    Expired {
        /// The token.
        fingerprint: Fingerprint,
        /// When.
        at: Second,
        /// How long ago, by this machine's clock.
        ago: std::time::Duration,
    },
    /// What was unsealed is not the token that the binding names.
    #[error("the token is not the one that its binding names ({0})")]
    Fingerprint(Fingerprint),
    /// It is for one other instance.
    #[error("the token is for {0}")]
    Instance(String),
    /// It is for a whole layer, and lay under the key of one instance.
    #[error("the token is of scope layer, and lay where only one for this instance may lie")]
    Layer,
    /// It is for somebody else.
    #[error("the token's {field} is {is}, not {own}")]
    Other {
        /// Which field.
        field: &'static str,
        /// What the binding says.
        is: String,
        /// What the configuration says.
        own: String,
    },
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Expired { .. } => Class::Absent,
            Self::Ca | Self::Fingerprint(_) | Self::Instance(_) | Self::Layer | Self::Other { .. } => {
                Class::Tampered
            }
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Ca => Some("give rotator and agent the same CA; while it changes, a bundle with both"),
            Self::Expired { .. } => Some(
                "the rotator has not run for long: see its alarm and logs; then check this machine's clock",
            ),
            Self::Fingerprint(_) | Self::Instance(_) | Self::Layer => {
                Some("something other than the rotator wrote this object: see who may put it")
            }
            Self::Other { .. } => Some(
                "compare the configurations of rotator and agent; if they agree, see who may put the object",
            ),
        }
    }
}

/// Which scopes a token may have at the place where it was found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Scopes {
    /// A layer's, or this instance's.
    Any,
    /// This instance's alone: whoever may put could else lay the layer's token in its place.
    Instance,
}

/// Compares every field that the agent has an opinion of, before unsealing and before any talk to
/// Conjur.
///
/// # Errors
/// With the first that differs, or when the token's time is over at `now`.
pub fn check(
    binding: &Binding,
    config: &Config,
    here: Here<'_>,
    scopes: Scopes,
    now: Second,
) -> Result<(), Error> {
    let same = |field, is: &str, own: &str| {
        if is == own { Ok(()) } else { Err(Error::Other { field, is: is.to_owned(), own: own.to_owned() }) }
    };
    same("account", binding.account.as_str(), config.account.as_str())?;
    same("host_factory", binding.host_factory.as_str(), config.host_factory.as_str())?;
    same("appliance_url", binding.appliance_url.as_str(), config.appliance_url.as_str())?;
    same("leader_url", binding.leader_url.as_str(), config.leader_url.as_str())?;
    if !ca_in_common(&binding.ca_sha256, config.ca.as_ref()) {
        return Err(Error::Ca);
    }
    match &binding.scope {
        Scope::Instance { arn } if !here.is(arn) => return Err(Error::Instance(arn.clone())),
        Scope::Layer if scopes == Scopes::Instance => return Err(Error::Layer),
        Scope::Instance { .. } | Scope::Layer => {}
    }
    if binding.expires_at <= now {
        let (at, ago) = (binding.expires_at, now.since(binding.expires_at));
        return Err(Error::Expired { fingerprint: binding.fingerprint.clone(), at, ago });
    }
    Ok(())
}

/// Whether the host lies where the binding says that the factory's hosts do. A doubt elsewhere; a promoted host
/// is one that others pin and remove, below that branch.
///
/// # Errors
/// When it does not.
pub fn check_branch(binding: &Binding, host: &HostId) -> Result<(), Error> {
    if is_below(host, &binding.hosts_branch) {
        return Ok(());
    }
    let (is, own) = (binding.hosts_branch.to_string(), host.to_string());
    Err(Error::Other { field: "hosts_branch", is, own })
}

/// Whether the unsealed token is the one that the binding names.
///
/// # Errors
/// When it is not.
pub fn check_token(binding: &Binding, token: &Token) -> Result<(), Error> {
    if token.fingerprint() == binding.fingerprint {
        Ok(())
    } else {
        Err(Error::Fingerprint(binding.fingerprint.clone()))
    }
}

/// What is worth an event but no refusal, in words.
#[must_use]
pub fn doubts(
    binding: &Binding,
    host: &HostId,
    address: Option<IpAddr>,
    last_issued_at: Option<Second>,
) -> Vec<String> {
    let mut doubts = Vec::new();
    if let Some(address) = address
        && !binding.cidr.is_empty()
        && !binding.cidr.iter().any(|net| net.contains(&address))
    {
        // Behind NAT or a load balancer, Conjur sees another address than ours.
        doubts.push(format!("the token's networks do not hold this instance's address {address}"));
    }
    if let Some(last) = last_issued_at
        && binding.issued_at < last
    {
        let at = binding.issued_at;
        doubts.push(format!("the token was sealed at {at}, before the last one that was used here ({last})"));
    }
    if !is_below(host, &binding.hosts_branch) {
        let branch = &binding.hosts_branch;
        doubts.push(format!(
            "the host id lies outside the rotator's hosts branch {branch}, where nobody would remove it"
        ));
    }
    doubts
}

fn is_below(host: &HostId, branch: &Branch) -> bool {
    host.as_str().strip_prefix(branch.as_str()).is_some_and(|rest| rest.starts_with('/'))
}

/// A binding without certificates goes with public roots alone.
fn ca_in_common(bound: &[String], own: Option<&CaBundle>) -> bool {
    match own {
        None => bound.is_empty(),
        Some(own) => own.digests().iter().any(|digest| bound.contains(digest)),
    }
}

#[cfg(test)]
pub(crate) mod tests;
