//! The ciphertext blob: header, key id, nonce, then AES-256-GCM.
//!
//! Genuine blobs are opaque; like them this one names its key, so that Decrypt needs no KeyId,
//! and begins with `AQICAH` in base64.

use super::keys::Key;
use aes_gcm::aead::{Aead as _, Payload};
use aes_gcm::{Aes256Gcm, KeyInit as _, Nonce};
use std::collections::BTreeMap;

const MAGIC: [u8; 5] = [0x01, 0x02, 0x02, 0x00, 0x78];
/// A UUID in text.
const ID: usize = 36;
const NONCE: usize = 12;

/// The blob of this plaintext.
pub(super) fn seal(key: &Key, plaintext: &[u8], context: &BTreeMap<String, String>) -> Vec<u8> {
    let nonce: [u8; NONCE] = std::array::from_fn(|_| fastrand::u8(..));
    let aad = associated(key, context);
    let sealed = Aes256Gcm::new(&key.material.into())
        .encrypt(&Nonce::from(nonce), Payload { msg: plaintext, aad: &aad })
        .expect("a plaintext of less than 64 GiB");
    [&MAGIC, key.id.as_bytes(), &nonce, sealed.as_slice()].concat()
}

/// The id of the key that sealed this blob, if it is a blob.
pub(super) fn key_id(blob: &[u8]) -> Option<&str> {
    std::str::from_utf8(blob.strip_prefix(&MAGIC)?.get(..ID)?).ok()
}

/// The plaintext of this blob, if key and context are those that sealed it.
pub(super) fn open(key: &Key, blob: &[u8], context: &BTreeMap<String, String>) -> Option<Vec<u8>> {
    let (nonce, sealed) = blob.get(MAGIC.len() + ID..)?.split_first_chunk::<NONCE>()?;
    let aad = associated(key, context);
    let payload = Payload { msg: sealed, aad: &aad };
    Aes256Gcm::new(&key.material.into()).decrypt(&Nonce::from(*nonce), payload).ok()
}

/// Key id and context, each text with its length, in the order of the keys.
fn associated(key: &Key, context: &BTreeMap<String, String>) -> Vec<u8> {
    let pairs = context.iter().flat_map(|(k, v)| [k, v]);
    let mut bytes = Vec::new();
    for text in std::iter::once(&key.id).chain(pairs) {
        bytes.extend_from_slice(&(text.len() as u64).to_be_bytes());
        bytes.extend_from_slice(text.as_bytes());
    }
    bytes
}
