//! The errors of KMS, in its own words.

use crate::fault::FaultKind;
use bytes::Bytes;
use serde_json::json;

/// One error reply. The status is always 400.
#[derive(Debug)]
pub(super) struct Error {
    code: &'static str,
    /// `None` where KMS says nothing at all.
    message: Option<String>,
    /// AccessDeniedException spells its message with a capital.
    capital: bool,
}

impl Error {
    pub(super) fn new(code: &'static str, message: &str) -> Self {
        Self { code, message: Some(message.to_owned()), capital: false }
    }

    pub(super) fn access_denied(message: &str) -> Self {
        Self { capital: true, ..Self::new("AccessDeniedException", message) }
    }

    pub(super) fn constraint(member: &str, rule: &str) -> Self {
        let message =
            format!("1 validation error detected: Value at '{member}' failed to satisfy constraint: {rule}");
        Self::new("ValidationException", &message)
    }

    pub(super) fn null(member: &str) -> Self {
        let message = format!(
            "1 validation error detected: Value null at '{member}' failed to satisfy constraint: \
             Member must not be null"
        );
        Self::new("ValidationException", &message)
    }

    pub(super) fn incorrect_key() -> Self {
        let message = "The key ID in the request does not identify a CMK that can perform this operation.";
        Self::new("IncorrectKeyException", message)
    }

    pub(super) fn invalid_ciphertext() -> Self {
        Self { code: "InvalidCiphertextException", message: None, capital: false }
    }

    pub(super) fn serialization() -> Self {
        Self { code: "SerializationException", message: None, capital: false }
    }

    pub(super) fn unknown_operation() -> Self {
        Self { code: "UnknownOperationException", message: None, capital: false }
    }

    /// The error as JSON.
    pub(super) fn body(&self) -> String {
        let mut body = json!({ "__type": self.code });
        if let Some(message) = &self.message {
            body[if self.capital { "Message" } else { "message" }] = json!(message);
        }
        body.to_string()
    }
}

/// KMS's answer with this error code (`ThrottlingException`, ...), for [`crate::fault::Fault`].
///
/// The status is 400, or 500 for a code that speaks of KMS's own trouble.
#[must_use]
pub fn failure(code: &str) -> FaultKind {
    let own = matches!(
        code,
        "DependencyTimeoutException"
            | "InternalFailure"
            | "KMSInternalException"
            | "KeyUnavailableException"
            | "ServiceUnavailable"
    );
    FaultKind::Status {
        code: if own { 500 } else { 400 },
        headers: vec![("content-type".to_owned(), "application/x-amz-json-1.1".to_owned())],
        body: Bytes::from(json!({ "__type": code, "message": "Injected." }).to_string()),
    }
}
