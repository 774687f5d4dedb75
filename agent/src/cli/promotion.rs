//! What `imprint promote` says of its end: a line for a person, and a versioned form for a program.

use crate::config::Config;
use crate::enroll::Promoted;
use serde::Serialize;
use std::fmt;

/// The version of the JSON form; it grows when a member changes its meaning or goes.
const SCHEMA: u32 = 1;

/// How a promotion ended.
#[derive(Serialize)]
pub(super) struct Promotion {
    schema: u32,
    /// `already-promoted`, `nothing-waits` or `promoted`.
    outcome: &'static str,
    /// The host whose identity lies on the disk now.
    host_id: String,
    /// The host that it was before; null where nothing was changed.
    former_host_id: Option<String>,
    /// The privileged factory.
    host_factory: Option<String>,
    /// What S3 or the token said, where nothing waits.
    why: Option<String>,
}

impl Promotion {
    pub(super) fn new(config: &Config, end: &Promoted) -> Self {
        let (outcome, host_id, former_host_id, why) = match end {
            Promoted::Already(host) => ("already-promoted", host.clone(), None, None),
            Promoted::Moved { from, to } => ("promoted", to.to_string(), Some(from.clone()), None),
            Promoted::NothingWaits { host, why } => ("nothing-waits", host.clone(), None, Some(why.clone())),
        };
        let host_factory = config.promotion.as_ref().map(|to| to.host_factory.to_string());
        Self { schema: SCHEMA, outcome, host_id, former_host_id, host_factory, why }
    }

    /// As JSON, on several lines.
    pub(super) fn to_json(&self) -> String {
        // Texts and numbers always serialize.
        serde_json::to_string_pretty(self).unwrap_or_default()
    }
}

impl fmt::Display for Promotion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host = &self.host_id;
        match (&self.former_host_id, &self.why) {
            (Some(former), _) => write!(f, "host/{former} is promoted to host/{host}"),
            (None, Some(why)) => write!(f, "nothing waits for host/{host}: {why}"),
            (None, None) => write!(f, "host/{host} is promoted already"),
        }
    }
}
