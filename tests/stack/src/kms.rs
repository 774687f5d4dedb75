//! KMS: Encrypt, Decrypt and DescribeKey over JSON 1.1, with the encryption context as
//! associated data of AES-256-GCM.
//!
//! Source: the KMS API Reference; error names, statuses and texts as the genuine service gives
//! them (AccessDeniedException is a 400 there). One region, one account, symmetric keys.

mod blob;
mod error;
mod keys;

pub use error::failure;

use crate::aws::sigv4::{self, Refusal};
use crate::aws::{Caller, Credentials, Unknown, uuid};
use crate::clock::http_date;
use crate::server::{Request, Response, Service};
use base64::prelude::{BASE64_STANDARD, Engine as _};
use bytes::Bytes;
use error::Error;
use http::{HeaderValue, StatusCode, header};
use keys::{Key, Keys};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// The largest plaintext that Encrypt takes, in bytes.
const PLAINTEXT_LIMIT: usize = 4096;
/// The largest ciphertext that Decrypt takes, in bytes.
const CIPHERTEXT_LIMIT: usize = 6144;
/// The longest encryption context, in characters of its JSON.
const CONTEXT_LIMIT: usize = 8192;

/// The stand-in for KMS.
pub struct Kms {
    region: String,
    credentials: Credentials,
    keys: Keys,
}

/// The body of each of the three requests.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Input {
    key_id: Option<String>,
    plaintext: Option<String>,
    ciphertext_blob: Option<String>,
    #[serde(default)]
    encryption_context: BTreeMap<String, String>,
    encryption_algorithm: Option<String>,
}

impl Kms {
    /// A KMS of this region without keys, for the holders of these credentials.
    #[must_use]
    pub fn new(credentials: Credentials, region: &str) -> Self {
        let keys = Keys::new(region, credentials.account());
        Self { region: region.to_owned(), credentials, keys }
    }

    /// Makes a key; returns its ARN.
    pub fn add_key(&self) -> String {
        self.keys.add()
    }

    /// Makes or moves an alias (`alias/...`) to the key of this ARN.
    pub fn add_alias(&self, alias: &str, key: &str) {
        self.keys.alias(alias, key);
    }

    /// Disables or enables the key of this ARN.
    pub fn set_enabled(&self, key: &str, enabled: bool) {
        self.keys.change(key, |k| k.enabled = enabled);
    }

    /// Schedules the deletion of the key of this ARN, or cancels it.
    pub fn set_pending_deletion(&self, key: &str, pending: bool) {
        self.keys.change(key, |k| k.pending_deletion = pending);
    }

    /// The blob of this plaintext under this context, as if an all-powerful caller had asked Encrypt.
    ///
    /// # Panics
    /// If there is no such key.
    #[must_use]
    pub fn seal(&self, key: &str, plaintext: &[u8], context: &BTreeMap<String, String>) -> Vec<u8> {
        let key = self.keys.find(key).expect("a key of this KMS");
        blob::seal(&key, plaintext, context)
    }

    fn respond(&self, request: &Request) -> Result<Value, Error> {
        let caller =
            sigv4::verify(request, &self.credentials, &self.region, "kms", sigv4::WINDOW).map_err(refused)?;
        let input: Input = serde_json::from_slice(&request.body).map_err(|_| Error::serialization())?;
        if input.encryption_algorithm.as_deref().is_some_and(|a| a != "SYMMETRIC_DEFAULT") {
            return Err(Error::new("InvalidKeyUsageException", "the key takes SYMMETRIC_DEFAULT alone"));
        }
        match target(request) {
            Some("Encrypt") => self.encrypt(&caller, &input),
            Some("Decrypt") => self.decrypt(&caller, &input),
            Some("DescribeKey") => self.describe(&caller, &input),
            Some(_) | None => Err(Error::unknown_operation()),
        }
    }

    fn encrypt(&self, caller: &Caller, input: &Input) -> Result<Value, Error> {
        let id = input.key_id.as_deref().ok_or_else(|| Error::null("keyId"))?;
        let plaintext = decoded(input.plaintext.as_deref(), "plaintext", PLAINTEXT_LIMIT)?;
        let context = context(input)?;
        let key = self.keys.find(id)?;
        allowed(caller, "kms:Encrypt", &key, context)?;
        key.usable()?;
        let blob = blob::seal(&key, &plaintext, context);
        Ok(json!({
            "CiphertextBlob": BASE64_STANDARD.encode(blob),
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "KeyId": key.arn,
        }))
    }

    fn decrypt(&self, caller: &Caller, input: &Input) -> Result<Value, Error> {
        let bytes = decoded(input.ciphertext_blob.as_deref(), "ciphertextBlob", CIPHERTEXT_LIMIT)?;
        let context = context(input)?;
        // Which key is asked for is known before whether the blob is any good.
        let wanted = input.key_id.as_deref().map(|id| self.keys.find(id)).transpose()?;
        let sealed_by = blob::key_id(&bytes).and_then(|id| self.keys.find(id).ok());
        let key = match (&wanted, &sealed_by) {
            (Some(key), _) | (None, Some(key)) => key,
            (None, None) => return Err(Error::invalid_ciphertext()),
        };
        allowed(caller, "kms:Decrypt", key, context)?;
        key.usable()?;
        match &sealed_by {
            None => return Err(Error::invalid_ciphertext()),
            Some(by) if by.arn != key.arn => return Err(Error::incorrect_key()),
            Some(_) => {}
        }
        let plaintext = blob::open(key, &bytes, context).ok_or_else(Error::invalid_ciphertext)?;
        Ok(json!({
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
            "KeyId": key.arn,
            "Plaintext": BASE64_STANDARD.encode(plaintext),
        }))
    }

    fn describe(&self, caller: &Caller, input: &Input) -> Result<Value, Error> {
        let id = input.key_id.as_deref().ok_or_else(|| Error::null("keyId"))?;
        let key = self.keys.find(id)?;
        allowed(caller, "kms:DescribeKey", &key, &BTreeMap::new())?;
        Ok(json!({ "KeyMetadata": {
            "AWSAccountId": self.credentials.account(),
            "Arn": key.arn,
            "CreationDate": 1_767_225_600.0,
            "CustomerMasterKeySpec": "SYMMETRIC_DEFAULT",
            "Description": "",
            "Enabled": key.usable().is_ok(),
            "EncryptionAlgorithms": ["SYMMETRIC_DEFAULT"],
            "KeyId": key.id,
            "KeyManager": "CUSTOMER",
            "KeySpec": "SYMMETRIC_DEFAULT",
            "KeyState": key.state(),
            "KeyUsage": "ENCRYPT_DECRYPT",
            "MultiRegion": false,
            "Origin": "AWS_KMS",
        }}))
    }
}

/// The operation that a request names.
fn target(request: &Request) -> Option<&str> {
    request.header("x-amz-target")?.strip_prefix("TrentService.")
}

/// The encryption context, if it is not too long.
fn context(input: &Input) -> Result<&BTreeMap<String, String>, Error> {
    let context = &input.encryption_context;
    let length = serde_json::to_string(context).map_or(0, |text| text.chars().count());
    if length > CONTEXT_LIMIT {
        return Err(Error::new(
            "ValidationException",
            "EncryptionContext exceeds the maximum length of 8192",
        ));
    }
    Ok(context)
}

/// A required member in base64, of 1 to `limit` bytes.
fn decoded(member: Option<&str>, name: &str, limit: usize) -> Result<Vec<u8>, Error> {
    let text = member.ok_or_else(|| Error::null(name))?;
    let bytes = BASE64_STANDARD.decode(text).map_err(|_| Error::serialization())?;
    if bytes.is_empty() {
        return Err(Error::constraint(name, "Member must have length greater than or equal to 1"));
    }
    if bytes.len() > limit {
        let rule = format!("Member must have length less than or equal to {limit}");
        return Err(Error::constraint(name, &rule));
    }
    Ok(bytes)
}

fn allowed(
    caller: &Caller,
    action: &str,
    key: &Key,
    context: &BTreeMap<String, String>,
) -> Result<(), Error> {
    if caller.policy.allows(action, &key.arn, context) {
        return Ok(());
    }
    Err(Error::access_denied(&format!(
        "User: {} is not authorized to perform: {action} on resource: {} because no identity-based policy \
         allows the {action} action",
        caller.arn, key.arn
    )))
}

fn refused(why: Refusal) -> Error {
    match why {
        Refusal::Incomplete(says) => Error::new("IncompleteSignatureException", &says),
        Refusal::Keys(Unknown::Expired) => {
            Error::new("ExpiredTokenException", "The security token included in the request is expired")
        }
        Refusal::Keys(Unknown::Key | Unknown::Token) => Error::new(
            "UnrecognizedClientException",
            "The security token included in the request is invalid.",
        ),
        Refusal::Missing => Error::new("MissingAuthenticationTokenException", "Missing Authentication Token"),
        Refusal::Signature(says) => Error::new("InvalidSignatureException", &says),
    }
}

impl Service for Kms {
    async fn answer(&self, request: Request) -> Response {
        let (status, body) = match self.respond(&request) {
            Ok(body) => (StatusCode::OK, body.to_string()),
            Err(error) => (StatusCode::BAD_REQUEST, error.body()),
        };
        let mut reply = Response::new(Bytes::from(body));
        *reply.status_mut() = status;
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-amz-json-1.1"));
        let date = http_date(self.credentials.clock().now());
        headers.insert(header::DATE, HeaderValue::try_from(date).expect("a date is ASCII"));
        headers.insert("x-amzn-requestid", HeaderValue::try_from(uuid()).expect("a UUID is ASCII"));
        reply
    }

    fn name_of(&self, request: &Request) -> String {
        format!("kms:{}", target(request).unwrap_or("other"))
    }
}
