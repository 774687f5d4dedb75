//! What can go wrong in a call to AWS, judged by the service's error code and never by its status:
//! KMS says `AccessDeniedException` with 400.

use crate::door;
use crate::door::certificate::Fault;
use crate::error::{Class, Classified};
use aws_sdk_s3::error::ProvideErrorMetadata;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::SdkError;
use std::time::Duration;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// Stands for the code of an answer that has none.
const NO_CODE: &str = "no error code";

/// Why a call to AWS failed. `operation` is IAM's name of it, such as `s3:GetObject`; `resource` what
/// it was asked of.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The service said no, in its own code.
    #[error("{operation} of {resource}: {code} (HTTP {status})")]
    Answered {
        /// IAM's name of the call.
        operation: &'static str,
        /// Bucket and key, or KMS key.
        resource: String,
        /// The service's error code.
        code: String,
        /// The HTTP status.
        status: u16,
    },
    /// The service's certificate was refused.
    #[error("{operation} of {resource}: {fault}")]
    Certificate {
        /// IAM's name of the call.
        operation: &'static str,
        /// Bucket and key, or KMS key.
        resource: String,
        /// Why.
        fault: Fault,
        /// What failed.
        #[source]
        source: Source,
    },
    /// The HTTP client cannot be made.
    #[error("no way to AWS")]
    Door(#[from] door::Error),
    /// The endpoint is one that is never spoken to.
    #[error("{operation} of {resource} is not sent")]
    Endpoint {
        /// IAM's name of the call.
        operation: &'static str,
        /// Bucket and key, or KMS key.
        resource: String,
        /// What is wrong with the endpoint.
        #[source]
        source: Source,
    },
    /// A good answer without what the call is for.
    #[error("{operation} of {resource}: the answer has no {what}")]
    Incomplete {
        /// IAM's name of the call.
        operation: &'static str,
        /// Bucket and key, or KMS key.
        resource: String,
        /// What is not there.
        what: &'static str,
    },
    /// Nothing names a region.
    #[error("no AWS region is set")]
    NoRegion,
    /// A good answer that is not what the call gives.
    #[error("{operation}: the answer is not understood")]
    Strange {
        /// IAM's name of the call.
        operation: &'static str,
        /// What is wrong with it, never a part of it.
        #[source]
        source: Source,
    },
    /// No answer in time.
    #[error("{operation} of {resource}: no answer within {} s", .within.as_secs())]
    TimedOut {
        /// IAM's name of the call.
        operation: &'static str,
        /// Bucket and key, or KMS key.
        resource: String,
        /// How long it was waited for.
        within: Duration,
    },
    /// The object is larger than one of its kind can be.
    #[error("{operation} of {resource}: it has more than {most} bytes")]
    TooLarge {
        /// IAM's name of the call.
        operation: &'static str,
        /// Bucket and key.
        resource: String,
        /// The cap.
        most: usize,
    },
    /// The request was not sent, or its answer not understood: credentials, network, TLS.
    #[error("{operation} of {resource} failed")]
    Unreachable {
        /// IAM's name of the call.
        operation: &'static str,
        /// Bucket and key, or KMS key.
        resource: String,
        /// What failed.
        #[source]
        source: Source,
    },
}

impl Error {
    /// The service's error code, if it answered with one.
    #[must_use]
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Answered { code, .. } => Some(code),
            Self::Certificate { .. }
            | Self::Door(_)
            | Self::Endpoint { .. }
            | Self::Incomplete { .. }
            | Self::NoRegion
            | Self::Strange { .. }
            | Self::TimedOut { .. }
            | Self::TooLarge { .. }
            | Self::Unreachable { .. } => None,
        }
    }

    /// Whether the credentials themselves were not taken, so that others are needed.
    #[must_use]
    pub fn is_credentials(&self) -> bool {
        matches!(
            self.code(),
            Some(
                "ExpiredToken"
                    | "ExpiredTokenException"
                    | "InvalidAccessKeyId"
                    | "InvalidClientTokenId"
                    | "InvalidToken"
                    | "InvalidTokenException"
                    | "UnrecognizedClientException"
            )
        )
    }

    /// Whether it is what a new role or new credentials get until all of AWS knows them: seconds, at
    /// times minutes. Of S3's 403 nobody can tell, since it is also said of what is not there.
    #[must_use]
    pub fn is_unsettled(&self) -> bool {
        let denied = matches!(
            self,
            Self::Answered { operation, code, .. } if operation.starts_with("kms:") && code == "AccessDeniedException"
        );
        denied || self.is_credentials()
    }

    /// What was wrong with the service's certificate, if that was it.
    #[must_use]
    pub const fn certificate(&self) -> Option<Fault> {
        match self {
            Self::Certificate { fault, .. } => Some(*fault),
            Self::Answered { .. }
            | Self::Door(_)
            | Self::Endpoint { .. }
            | Self::Incomplete { .. }
            | Self::NoRegion
            | Self::Strange { .. }
            | Self::TimedOut { .. }
            | Self::TooLarge { .. }
            | Self::Unreachable { .. } => None,
        }
    }

    /// A conditional put that somebody else's put came before.
    #[must_use]
    pub fn is_conflict(&self) -> bool {
        let Self::Answered { operation: "s3:PutObject", code, .. } = self else { return false };
        // If-Match on a key that was deleted meanwhile is NoSuchKey.
        matches!(code.as_str(), "PreconditionFailed" | "ConditionalRequestConflict" | "NoSuchKey")
    }

    /// Nothing is there to read, or this role may not know.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        let Self::Answered { operation: "s3:GetObject", code, .. } = self else { return false };
        // Without s3:ListBucket, S3 says AccessDenied of a key that does not exist.
        matches!(code.as_str(), "NoSuchKey" | "AccessDenied" | "NotFound" | "Forbidden")
    }

    pub(super) fn of<E>(operation: &'static str, resource: String, error: SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + std::error::Error + Send + Sync + 'static,
    {
        if let Some(raw) = error.raw_response() {
            let status = raw.status().as_u16();
            let code = error.as_service_error().and_then(ProvideErrorMetadata::code);
            // A proxy's page, a truncated body: an error status without a code is named by itself.
            if code.is_some() || status >= 300 {
                let code = code.unwrap_or(NO_CODE).chars().filter(|c| !c.is_control()).take(64).collect();
                return Self::Answered { operation, resource, code, status };
            }
        }
        let is_ours = matches!(&error, SdkError::DispatchFailure(failure) if failure.is_user());
        let source = error.into_source().unwrap_or_else(|error| error.to_string().into());
        if is_ours {
            return Self::Endpoint { operation, resource, source };
        }
        if let Some(fault) = Fault::of(&*source) {
            return Self::Certificate { operation, resource, fault, source };
        }
        Self::Unreachable { operation, resource, source }
    }
}

impl Classified for Error {
    fn class(&self) -> Class {
        match self {
            Self::Answered { code, status, .. } => match code.as_str() {
                _ if self.is_absent() => Class::Absent,
                // What is there now is for the caller to look at; then it may work.
                _ if self.is_conflict() => Class::Transient,
                "InvalidCiphertextException" | "IncorrectKeyException" => Class::Tampered,
                "NoSuchBucket"
                | "NotFoundException"
                | "PermanentRedirect"
                | "AuthorizationHeaderMalformed"
                | "InvalidArnException"
                | "IllegalLocationConstraintException" => Class::Config,
                "SlowDown"
                | "Throttling"
                | "ThrottlingException"
                | "RequestLimitExceeded"
                | "Unavailable"
                | "InternalError"
                | "KMSInternalException"
                | "DependencyTimeoutException"
                | "KeyUnavailableException"
                | "ServiceUnavailable"
                | "RequestTimeout" => Class::Transient,
                // A session that expired under way: the next run gets a new one.
                "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => Class::Transient,
                _ if *status >= 500 || matches!(status, 408 | 429) => Class::Transient,
                _ if *status < 400 => Class::Protocol,
                // AWS never refuses without a code: something in between did, and nobody knows what it let through.
                NO_CODE => Class::Protocol,
                _ => Class::Refused,
            },
            // Waiting does not mend a certificate; a wrong clock has its own wait (see the agent's effects).
            Self::Certificate { .. } => Class::Refused,
            Self::Door(error) => error.class(),
            Self::Incomplete { .. } | Self::Strange { .. } => Class::Protocol,
            Self::Endpoint { .. } | Self::NoRegion => Class::Config,
            Self::TimedOut { .. } | Self::Unreachable { .. } => Class::Transient,
            Self::TooLarge { .. } => Class::Tampered,
        }
    }

    fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Answered { code, operation, .. } => match (*operation, code.as_str()) {
                ("s3:GetObject", "AccessDenied" | "Forbidden") => Some(
                    "either nothing is published yet, or this role may not read this key, or bucket_owner is not the bucket's owner",
                ),
                ("s3:GetObject", "NoSuchKey" | "NotFound") => Some(
                    "nothing is published yet: run imprint-rotator rotate, and compare account and host_factory on both sides",
                ),
                (_, "InvalidCiphertextException") => Some(
                    "the sealed token was changed, or moved from another factory's key: see who may put into the bucket",
                ),
                (_, "IncorrectKeyException") => {
                    Some("the token was sealed with another KMS key than the configured one")
                }
                ("ec2:DescribeInstances", "UnauthorizedOperation") => {
                    Some("allow the role ec2:DescribeInstances, which goes with no resource but *")
                }
                (_, "AccessDenied" | "AccessDeniedException") => Some(
                    "the role's policy, the key policy, the bucket policy or a VPC endpoint policy says no",
                ),
                (_, "InvalidArnException" | "NoSuchBucket" | "NotFoundException") => {
                    Some("check bucket, key and region in the configuration")
                }
                (
                    _,
                    "PermanentRedirect"
                    | "AuthorizationHeaderMalformed"
                    | "IllegalLocationConstraintException",
                ) => Some("the bucket is in another region: set region in the configuration"),
                (_, "DisabledException" | "KMSInvalidStateException") => {
                    Some("the KMS key is disabled or awaits deletion: enable it")
                }
                (
                    _,
                    "InvalidAccessKeyId"
                    | "InvalidClientTokenId"
                    | "InvalidToken"
                    | "UnrecognizedClientException",
                ) => Some("AWS does not know these credentials: was the role deleted and made again?"),
                (_, "RequestTimeTooSkewed" | "InvalidSignatureException" | "SignatureDoesNotMatch") => {
                    Some("check this machine's clock first, then its credentials")
                }
                _ => None,
            },
            Self::Certificate { fault, .. } if fault.is_time() => {
                Some("check this machine's clock first: set it, or see whether time is synchronized")
            }
            Self::Certificate { .. } => Some(
                "check the name of the endpoint, and that [source] ca_file has a TLS-opening proxy's authority",
            ),
            Self::Endpoint { .. } => Some("check the AWS_ENDPOINT_URL variables: they must be https"),
            Self::NoRegion => Some("set region in the configuration, or AWS_REGION"),
            Self::TimedOut { .. } | Self::Unreachable { .. } => {
                Some("check route, VPC endpoints and proxy settings, and that credentials are to be had")
            }
            Self::TooLarge { .. } => {
                Some("something other than the rotator wrote this object: see who may put it")
            }
            Self::Door(error) => error.hint(),
            Self::Incomplete { .. } | Self::Strange { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_and_classes() {
        let answered = |operation, code: &str, status| Error::Answered {
            operation,
            resource: "it".to_owned(),
            code: code.to_owned(),
            status,
        };
        let check = |operation, code, status, class| {
            assert_eq!(answered(operation, code, status).class(), class, "{operation} {code} {status}");
        };
        check("s3:GetObject", "NoSuchKey", 404, Class::Absent);
        check("s3:GetObject", "AccessDenied", 403, Class::Absent);
        check("s3:PutObject", "AccessDenied", 403, Class::Refused);
        check("s3:PutObject", "PreconditionFailed", 412, Class::Transient);
        check("s3:PutObject", "ConditionalRequestConflict", 409, Class::Transient);
        check("s3:PutObject", "NoSuchKey", 404, Class::Transient);
        check("s3:GetObject", "NoSuchBucket", 404, Class::Config);
        check("s3:GetObject", "SlowDown", 503, Class::Transient);
        check("s3:GetObject", "no error code", 502, Class::Transient);
        check("s3:GetObject", "no error code", 302, Class::Protocol);
        // Of a proxy in between.
        check("s3:GetObject", "no error code", 408, Class::Transient);
        check("s3:GetObject", "no error code", 403, Class::Protocol);
        check("kms:Decrypt", "no error code", 400, Class::Protocol);
        check("s3:GetObject", "RequestTimeTooSkewed", 403, Class::Refused);
        check("kms:Decrypt", "AccessDeniedException", 400, Class::Refused);
        check("kms:Decrypt", "InvalidCiphertextException", 400, Class::Tampered);
        check("kms:Decrypt", "IncorrectKeyException", 400, Class::Tampered);
        check("kms:Decrypt", "ThrottlingException", 400, Class::Transient);
        check("kms:Decrypt", "KeyUnavailableException", 400, Class::Transient);
        check("kms:Decrypt", "DisabledException", 400, Class::Refused);
        check("kms:Decrypt", "NotFoundException", 400, Class::Config);
        check("kms:Decrypt", "SomethingNew", 400, Class::Refused);

        assert!(answered("s3:PutObject", "PreconditionFailed", 412).is_conflict());
        assert!(answered("s3:PutObject", "NoSuchKey", 404).is_conflict());
        assert!(!answered("s3:GetObject", "NoSuchKey", 404).is_conflict());
        assert!(!answered("s3:PutObject", "AccessDenied", 403).is_absent());
    }
}
