//! What can go wrong in a call to Conjur, without a byte of any body.

use crate::door::certificate::Fault;
use crate::error::{Class, Classified};
use std::time::Duration;

/// Why a call to Conjur failed. `operation` is the call's name, `server` the host asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server's certificate was refused: nothing was sent.
    #[error("{operation}: {server}: {fault}")]
    Certificate {
        /// The call.
        operation: &'static str,
        /// Host and port.
        server: String,
        /// Why.
        fault: Fault,
        /// What failed.
        #[source]
        source: reqwest::Error,
    },
    /// The connection was opened and then broke, or nothing came back in time: the server may have
    /// acted.
    #[error("{operation}: the connection to {server} broke before the answer was complete")]
    Interrupted {
        /// The call.
        operation: &'static str,
        /// Host and port.
        server: String,
        /// What broke.
        #[source]
        source: reqwest::Error,
    },
    /// An answer that the call cannot have: another status, or one of the 5xx.
    #[error("{operation}: {server} answered {status}")]
    Status {
        /// The call.
        operation: &'static str,
        /// Host and port.
        server: String,
        /// The HTTP status.
        status: u16,
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
    },
    /// A body larger than the call can have.
    #[error("{operation}: {server} answered more than {most} bytes")]
    TooLarge {
        /// The call.
        operation: &'static str,
        /// Host and port.
        server: String,
        /// The cap, in bytes.
        most: usize,
    },
    /// The right status and a body that is not what the call gives.
    #[error("{operation}: the answer of {server} {why}")]
    Unexpected {
        /// The call.
        operation: &'static str,
        /// Host and port.
        server: String,
        /// What is wrong with it, never a part of it.
        why: String,
    },
    /// No connection: nothing was sent.
    #[error("{operation}: {server} cannot be reached")]
    Unreachable {
        /// The call.
        operation: &'static str,
        /// Host and port.
        server: String,
        /// What failed: name, route, TLS.
        #[source]
        source: reqwest::Error,
    },
}

impl Error {
    /// The HTTP status, when the server answered one that the call cannot have.
    #[must_use]
    pub const fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            Self::Certificate { .. }
            | Self::Interrupted { .. }
            | Self::TooLarge { .. }
            | Self::Unexpected { .. }
            | Self::Unreachable { .. } => None,
        }
    }

    /// 401: what was shown (a key, a token, an address) is not taken.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        self.status() == Some(401)
    }

    /// Whether the server may have done what it was asked for, although no good answer came.
    #[must_use]
    pub fn is_unknown_outcome(&self) -> bool {
        match self {
            Self::Interrupted { .. } | Self::TooLarge { .. } | Self::Unexpected { .. } => true,
            Self::Status { status, .. } => *status >= 500 || *status == 408,
            Self::Certificate { .. } | Self::Unreachable { .. } => false,
        }
    }

    /// What was wrong with the server's certificate, if that was it.
    #[must_use]
    pub const fn certificate(&self) -> Option<Fault> {
        match self {
            Self::Certificate { fault, .. } => Some(*fault),
            Self::Interrupted { .. }
            | Self::Status { .. }
            | Self::TooLarge { .. }
            | Self::Unexpected { .. }
            | Self::Unreachable { .. } => None,
        }
    }
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Interrupted { .. } => Class::Transient,
            // Waiting does not mend a certificate; a wrong pin and a stranger in between look alike.
            Self::Certificate { .. } => Class::Refused,
            Self::Unreachable { .. } => Class::Transient,
            Self::TooLarge { .. } | Self::Unexpected { .. } => Class::Protocol,
            Self::Status { status, .. } => match status {
                408 | 409 | 429 | 500.. => Class::Transient,
                401 | 403 | 404 | 405 | 422 => Class::Refused,
                _ => Class::Protocol,
            },
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Certificate { fault, .. } if fault.is_time() => {
                Some("check this machine's clock first: set it, or see whether time is synchronized")
            }
            Self::Certificate { .. } => Some(
                "the server's certificate does not chain to ca_file: check the file, the server's name and this machine's clock",
            ),
            Self::Unreachable { .. } | Self::Interrupted { .. } => Some(
                "check the route, the security groups and the proxy settings between this machine and Conjur",
            ),
            Self::TooLarge { .. } | Self::Unexpected { .. } => {
                Some("check that appliance_url leads to Conjur itself, not to a proxy's or a portal's page")
            }
            Self::Status { status, .. } => match status {
                300..400 => {
                    Some("redirects are never followed: set appliance_url to where Conjur itself answers")
                }
                405 => Some("this server is read-only: set leader_url to the leader"),
                409 | 429 | 500.. => {
                    Some("Conjur or its database is busy or down: it is tried again within the deadline")
                }
                _ => None,
            },
        }
    }

    fn is_pushback(&self) -> bool {
        match self {
            // 504: whatever stands in front of Conjur gave up waiting for it.
            Self::Status { status, .. } => matches!(status, 429 | 503 | 504),
            Self::Interrupted { source, .. } | Self::Unreachable { source, .. } => source.is_timeout(),
            Self::Certificate { .. } | Self::TooLarge { .. } | Self::Unexpected { .. } => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            Self::Certificate { .. }
            | Self::Interrupted { .. }
            | Self::TooLarge { .. }
            | Self::Unexpected { .. }
            | Self::Unreachable { .. } => None,
        }
    }
}
