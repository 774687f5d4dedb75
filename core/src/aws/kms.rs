//! Seal and unseal: KMS Encrypt and Decrypt with the binding as encryption context.
//!
//! Decrypt always names the key: without it, KMS would open a blob of any key that the role may
//! use, a stranger's included.

use super::{Clock, Error, TIMEOUT};
use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use std::collections::{BTreeMap, HashMap};
use zeroize::Zeroizing;

/// KMS in one region.
#[derive(Clone, Debug)]
pub struct Kms {
    client: Client,
    clock: Clock,
}

/// What Encrypt made.
#[derive(Clone, Debug)]
pub struct Encrypted {
    /// The blob for Decrypt.
    pub ciphertext: Vec<u8>,
    /// The ARN of the key that was used, also when it was named by an alias.
    pub key_arn: String,
}

impl Kms {
    pub(super) const fn new(client: Client, clock: Clock) -> Self {
        Self { client, clock }
    }

    /// `kms:Encrypt` of at most 4,096 bytes.
    ///
    /// # Errors
    /// See [`Error`].
    pub async fn encrypt(
        &self,
        key: &str,
        plaintext: &[u8],
        context: &BTreeMap<String, String>,
    ) -> Result<Encrypted, Error> {
        let operation = "kms:Encrypt";
        let request = self
            .client
            .encrypt()
            .key_id(key)
            .plaintext(Blob::new(plaintext))
            .set_encryption_context(Some(unordered(context)));
        let call = self.clock.signed(operation, async || request.clone().send().await);
        let reply = tokio::time::timeout(TIMEOUT, call).await.map_err(|_| late(operation, key))?;
        let reply = reply.map_err(|e| Error::of(operation, key.to_owned(), e))?;
        let missing = |what| Error::Incomplete { operation, resource: key.to_owned(), what };
        Ok(Encrypted {
            ciphertext: reply.ciphertext_blob.ok_or_else(|| missing("CiphertextBlob"))?.into_inner(),
            key_arn: reply.key_id.ok_or_else(|| missing("KeyId"))?,
        })
    }

    /// `kms:Decrypt` with this key and no other.
    ///
    /// # Errors
    /// See [`Error`]. A context that differs in one byte is `InvalidCiphertextException`, hence
    /// [`crate::Class::Tampered`].
    pub async fn decrypt(
        &self,
        key: &str,
        ciphertext: &[u8],
        context: &BTreeMap<String, String>,
    ) -> Result<Zeroizing<Vec<u8>>, Error> {
        let operation = "kms:Decrypt";
        let request = self
            .client
            .decrypt()
            .key_id(key)
            .ciphertext_blob(Blob::new(ciphertext))
            .set_encryption_context(Some(unordered(context)));
        let call = self.clock.signed(operation, async || request.clone().send().await);
        let reply = tokio::time::timeout(TIMEOUT, call).await.map_err(|_| late(operation, key))?;
        let reply = reply.map_err(|e| Error::of(operation, key.to_owned(), e))?;
        let plaintext = reply.plaintext.map(|blob| Zeroizing::new(blob.into_inner()));
        plaintext.ok_or_else(|| Error::Incomplete { operation, resource: key.to_owned(), what: "Plaintext" })
    }
}

fn unordered(context: &BTreeMap<String, String>) -> HashMap<String, String> {
    context.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

fn late(operation: &'static str, key: &str) -> Error {
    Error::TimedOut { operation, resource: key.to_owned(), within: TIMEOUT }
}
