//! What goes to Conjur with the redeem: the annotations of the host that it makes, the configured ones and
//! the issuing facts.
//!
//! They answer, long after the instance is gone: which machine is this host, who gave it its token, and in
//! which runs of both programs. Conjur writes them when it makes the host and never again.

use super::ground::Job;
use super::token::Unsealed;
use imprint_core::caller::RunId;
use std::collections::BTreeMap;

/// What the names of the issuing facts begin with; no configured annotation may.
pub const PREFIX: &str = "imprint/";

/// All annotations of a host that is made with this token. What is not known is left out: a machine off EC2
/// has no account, a token that came in clear no rotation.
pub(super) fn annotations(job: &Job, with: &Unsealed, attempt: &RunId) -> BTreeMap<String, String> {
    let facts = &job.facts;
    let issuing = [
        ("account-id", facts.account_id.clone()),
        ("agent-version", Some(env!("CARGO_PKG_VERSION").to_owned())),
        ("attempt-id", Some(attempt.to_string())),
        ("image-id", facts.image_id.clone()),
        ("instance-id", Some(facts.instance_id.to_string())),
        ("region", facts.region.clone()),
        ("rotation-id", with.binding.as_ref().map(|binding| binding.rotation_id.clone())),
        ("token", Some(with.fingerprint().to_string())),
    ];
    let issuing = issuing.into_iter().filter_map(|(name, value)| Some((format!("{PREFIX}{name}"), value?)));
    job.annotations.clone().into_iter().chain(issuing).collect()
}
