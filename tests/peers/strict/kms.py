"""KMS: real authenticated encryption, bound to the encryption context.

ministack mixes a pad into the plaintext, so a flipped bit goes unnoticed. Here a ciphertext is
AES-256-GCM with the encryption context as associated data: a changed bit, another context and
another key fail as in AWS. Limits and error codes follow the KMS API reference of Encrypt and
Decrypt.
"""

import base64
import binascii
import json
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from ministack.core import iam_actions
from ministack.core.responses import error_response_json, json_response
from ministack.services import kms

PLAINTEXT_LIMIT = 4096  # bytes that Encrypt takes with a symmetric key
CONTEXT_LIMIT = 8192  # characters of the encryption context as JSON

# A ciphertext is: key id, marker, nonce, sealed bytes. The emulator finds the key for its policy
# check in the first 36 bytes, so they stay where it looks.
KEY_ID_SIZE = 36
MARKER = b"\x01" * 32
NONCE_SIZE = 12
HEADER_SIZE = KEY_ID_SIZE + len(MARKER) + NONCE_SIZE
TAG_SIZE = 16


def install():
    """Replaces Encrypt and Decrypt, and lets an alias be authorized as the key behind it."""
    plain_encrypt, plain_decrypt = kms._encrypt, kms._decrypt
    kms._encrypt = lambda request: encrypt(request, plain_encrypt)
    kms._decrypt = lambda request: decrypt(request, plain_decrypt)
    plain_arn = iam_actions.extract_resource_arn
    iam_actions.extract_resource_arn = lambda *a, **k: key_behind_alias(plain_arn(*a, **k))


def encrypt(request, plain_encrypt):
    """Encrypt; asymmetric keys and keys that cannot be used are the emulator's business."""
    if refusal := context_refusal(request):
        return refusal
    plaintext = base64.b64decode(request.get("Plaintext", ""))
    if not 1 <= len(plaintext) <= PLAINTEXT_LIMIT:
        return validation_error(f"Member must have length between 1 and {PLAINTEXT_LIMIT}")
    key = kms._resolve_key(request.get("KeyId", ""))
    if not key or "_symmetric_key" not in key or kms._check_key_state(key):
        return plain_encrypt(request)
    nonce = os.urandom(NONCE_SIZE)
    sealed = cipher_of(key).encrypt(nonce, plaintext, associated_data(request))
    blob = key["KeyId"].encode() + MARKER + nonce + sealed
    return json_response(
        {
            "KeyId": key["Arn"],
            "CiphertextBlob": base64.b64encode(blob).decode(),
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }
    )


def decrypt(request, plain_decrypt):
    """Decrypt; with a KeyId, only a ciphertext of that very key opens."""
    if refusal := context_refusal(request):
        return refusal
    try:
        blob = base64.b64decode(request.get("CiphertextBlob", ""))
    except (binascii.Error, ValueError):
        return invalid_ciphertext()
    named = request.get("KeyId")
    wanted = kms._resolve_key(named) if named else None
    if named and not wanted:
        return error_response_json("NotFoundException", f"Key '{named}' does not exist", 400)
    if wanted and "_symmetric_key" not in wanted:
        return plain_decrypt(request)
    key = kms._resolve_key(blob[:KEY_ID_SIZE].decode("utf-8", "ignore"))
    marker = blob[KEY_ID_SIZE : KEY_ID_SIZE + len(MARKER)]
    if len(blob) <= HEADER_SIZE + TAG_SIZE or not key or marker != MARKER:
        return invalid_ciphertext()
    if wanted and wanted["KeyId"] != key["KeyId"]:
        message = "The key ID in the request does not identify a CMK that can perform this operation."
        return error_response_json("IncorrectKeyException", message, 400)
    if refusal := kms._check_key_state(key):
        return refusal
    nonce, sealed = blob[HEADER_SIZE - NONCE_SIZE : HEADER_SIZE], blob[HEADER_SIZE:]
    try:
        plaintext = cipher_of(key).decrypt(nonce, sealed, associated_data(request))
    except InvalidTag:
        return invalid_ciphertext()
    return json_response(
        {
            "KeyId": key["Arn"],
            "Plaintext": base64.b64encode(plaintext).decode(),
            "EncryptionAlgorithm": "SYMMETRIC_DEFAULT",
        }
    )


def context_refusal(request):
    """The reply to an encryption context that KMS would not take, else None."""
    context = request.get("EncryptionContext") or {}
    if not all(isinstance(value, str) for value in context.values()):
        return error_response_json("SerializationException", "Expected a string value", 400)
    if len(json.dumps(context, ensure_ascii=False)) > CONTEXT_LIMIT:
        return validation_error(f"The encryption context is over {CONTEXT_LIMIT} characters")
    return None


def associated_data(request):
    """The context in one spelling: KMS takes its pairs in any order."""
    context = request.get("EncryptionContext") or {}
    return json.dumps(context, sort_keys=True, separators=(",", ":")).encode()


def cipher_of(key):
    """The cipher under a key record's own material."""
    return AESGCM(key["_symmetric_key"][:32])


def key_behind_alias(arn):
    """KMS authorizes a call by alias on the ARN of the key that the alias names."""
    if arn.startswith("arn:aws:kms:") and ":alias/" in arn and (key := kms._resolve_key(arn)):
        return key["Arn"]
    return arn


def invalid_ciphertext():
    """AWS gives no reason with this one."""
    return error_response_json("InvalidCiphertextException", "", 400)


def validation_error(message):
    """A request that breaks a documented constraint."""
    return error_response_json("ValidationException", f"1 validation error detected: {message}", 400)
