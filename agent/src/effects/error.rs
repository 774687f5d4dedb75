//! What can go wrong with an effect, and what of it may pass in an instance's first minutes.

use crate::imds;
use imprint_core::door::certificate::Fault;
use imprint_core::{Class, Classified};
use imprint_core::{aws, conjur, door};
use std::time::Duration;

/// Why an effect failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// S3 or KMS.
    #[error(transparent)]
    Aws(#[from] aws::Error),
    /// Conjur.
    #[error(transparent)]
    Conjur(#[from] conjur::Error),
    /// No HTTP client can be made.
    #[error(transparent)]
    Door(#[from] door::Error),
    /// The metadata service.
    #[error(transparent)]
    Imds(#[from] imds::Error),
    /// Nothing tells which machine this is.
    #[error("this machine has no machine-id")]
    NoMachineId,
    /// Refused, as many things are in an instance's first minutes.
    #[error("{why}")]
    Unsettled {
        /// What may not be settled yet.
        why: &'static str,
        /// The refusal.
        #[source]
        source: Box<Self>,
    },
}

impl Error {
    /// Whether the same call may well succeed in a moment, or once somebody has published.
    #[must_use]
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Imds(error) => error.may_pass(),
            Self::Unsettled { .. } => true,
            Self::Aws(_) | Self::Conjur(_) | Self::Door(_) | Self::NoMachineId => {
                matches!(self.class(), Class::Transient | Class::Absent)
            }
        }
    }

    /// Conjur's 401.
    #[must_use]
    pub fn is_unauthorized(&self) -> bool {
        self.conjur().is_some_and(conjur::Error::is_unauthorized)
    }

    /// The call to Conjur that failed, if it was one.
    #[must_use]
    pub const fn conjur(&self) -> Option<&conjur::Error> {
        match self {
            Self::Conjur(error) => Some(error),
            Self::Unsettled { source, .. } => source.conjur(),
            Self::Aws(_) | Self::Door(_) | Self::Imds(_) | Self::NoMachineId => None,
        }
    }
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Aws(error) => error.class(),
            Self::Conjur(error) => error.class(),
            Self::Door(error) => error.class(),
            Self::Imds(error) => error.class(),
            Self::NoMachineId => Class::Config,
            Self::Unsettled { .. } => Class::Transient,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            // Said when waiting for IAM has not helped; see `unsettled`.
            Self::Aws(error) if error.is_unsettled() => Some(
                "if this instance is some minutes old, this is no delay of IAM: see the role, its policy and the key policy",
            ),
            Self::Aws(error) => error.hint(),
            Self::Conjur(error) => error.hint(),
            Self::Door(error) => error.hint(),
            Self::Imds(error) => error.hint(),
            Self::NoMachineId => Some("run systemd-machine-id-setup, or leave [instance] id at ec2"),
            Self::Unsettled { source, .. } => source.hint(),
        }
        .or_else(|| self.class().advice())
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Aws(error) => error.retry_after(),
            Self::Conjur(error) => error.retry_after(),
            Self::Door(error) => error.retry_after(),
            Self::Imds(error) => error.retry_after(),
            Self::NoMachineId => None,
            Self::Unsettled { source, .. } => source.retry_after(),
        }
    }

    fn is_pushback(&self) -> bool {
        match self {
            Self::Aws(error) => error.is_pushback(),
            Self::Conjur(error) => error.is_pushback(),
            Self::Door(error) => error.is_pushback(),
            Self::Imds(error) => error.is_pushback(),
            Self::NoMachineId => false,
            Self::Unsettled { source, .. } => source.is_pushback(),
        }
    }

    fn given_up(self) -> Self {
        match self {
            Self::Unsettled { source, .. } => source.given_up(),
            Self::Aws(_) | Self::Conjur(_) | Self::Door(_) | Self::Imds(_) | Self::NoMachineId => self,
        }
    }
}

/// This part of the deadline is waited for what may settle by itself: two and a half of 15 minutes.
const PATIENCE: u32 = 6;

/// What may not be settled yet, where this failure says so and the run is still young. IAM tells its
/// services about a new role one after the other, and a clock is often set only after boot.
pub(super) fn unsettled(error: &Error, run: Duration, deadline: Duration) -> Option<&'static str> {
    if run >= deadline / PATIENCE {
        return None;
    }
    let certificate = match error {
        Error::Aws(error) if error.is_unsettled() => {
            return Some("not all of AWS may know this instance's role yet");
        }
        Error::Aws(error) => error.certificate(),
        Error::Conjur(error) => error.certificate(),
        Error::Door(_) | Error::Imds(_) | Error::NoMachineId | Error::Unsettled { .. } => None,
    };
    certificate.is_some_and(Fault::is_time).then_some("this machine's clock may not be set yet")
}

/// Whether the next try shall ask for the role's credentials anew.
pub(super) fn wants_new_credentials(error: &Error) -> bool {
    matches!(error, Error::Aws(error) if error.is_unsettled())
}

#[cfg(test)]
mod tests {
    use super::*;
    use imprint_core::second::Second;

    fn answered(operation: &'static str, code: &str) -> Error {
        Error::Aws(aws::Error::Answered {
            operation,
            resource: "it".to_owned(),
            code: code.to_owned(),
            status: 400,
        })
    }

    fn certificate(fault: Fault) -> Error {
        Error::Aws(aws::Error::Certificate {
            operation: "kms:Decrypt",
            resource: "it".to_owned(),
            fault,
            source: "no".into(),
        })
    }

    #[test]
    fn what_is_waited_for_and_for_how_long() {
        let check = |error: &Error, run, waited: bool| {
            let (run, deadline) = (Duration::from_secs(run), Duration::from_secs(900));
            assert_eq!(unsettled(error, run, deadline).is_some(), waited, "{error} after {run:?}");
        };
        for code in ["AccessDeniedException", "UnrecognizedClientException", "InvalidClientTokenId"] {
            check(&answered("kms:Decrypt", code), 0, true);
            check(&answered("kms:Decrypt", code), 149, true);
            check(&answered("kms:Decrypt", code), 150, false);
        }
        check(&answered("s3:GetObject", "InvalidAccessKeyId"), 0, true);
        check(&answered("s3:GetObject", "InvalidToken"), 0, true);
        check(&answered("s3:GetObject", "ExpiredToken"), 0, true);
        // Absent has its own wait, and what is tampered with never passes.
        check(&answered("s3:GetObject", "AccessDenied"), 0, false);
        check(&answered("kms:Decrypt", "InvalidCiphertextException"), 0, false);
        check(&answered("kms:Decrypt", "DisabledException"), 0, false);

        let second = Second::from_unix;
        check(&certificate(Fault::NotYetValid { from: second(9), clock: second(5) }), 149, true);
        check(&certificate(Fault::Expired { until: second(5), clock: second(9) }), 149, true);
        check(&certificate(Fault::Expired { until: second(5), clock: second(9) }), 150, false);
        check(&certificate(Fault::Other), 0, false);
    }

    #[test]
    fn while_it_is_waited_for_it_is_transient_and_tells_all() {
        let source = Box::new(answered("kms:Decrypt", "AccessDeniedException"));
        let error = Error::Unsettled { why: "wait", source };
        assert!(error.may_pass() && error.class() == Class::Transient);
        assert_eq!(
            imprint_core::error::chain(&error),
            "wait: kms:Decrypt of it: AccessDeniedException (HTTP 400)"
        );
        let last = error.given_up();
        assert_eq!((last.class(), last.may_pass()), (Class::Refused, false));
        assert!(last.hint().is_some_and(|hint| hint.contains("no delay of IAM")));
    }

    #[test]
    fn new_credentials_are_asked_for_when_these_are_not_taken() {
        let check = |error: &Error, want| assert_eq!(wants_new_credentials(error), want, "{error}");
        check(&answered("s3:GetObject", "ExpiredToken"), true);
        check(&answered("kms:Decrypt", "ExpiredTokenException"), true);
        check(&answered("kms:Decrypt", "UnrecognizedClientException"), true);
        check(&answered("kms:Decrypt", "ThrottlingException"), false);
        check(&answered("s3:GetObject", "NoSuchKey"), false);
    }
}
