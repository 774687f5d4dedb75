#!/usr/bin/env python3
"""boto3 for AWS, the standard library for the rest."""

import base64
import json
import os
import ssl
import urllib.parse
import urllib.request

import boto3

CLEAR = {"ciphertext", "key_arn"}
REGION = os.environ["AWS_REGION"]


def text(value):
    """A member as the encryption context has it."""
    return ",".join(value) if isinstance(value, list) else str(value)


found = boto3.client("s3", REGION).get_object(Bucket=os.environ["BUCKET"], Key=os.environ["OBJECT"])
sealed = json.load(found["Body"])
context = {f"imprint:{k}": text(v) for k, v in sealed.items() if k not in CLEAR and v != []}
opened = boto3.client("kms", REGION).decrypt(
    CiphertextBlob=base64.b64decode(sealed["ciphertext"]), EncryptionContext=context
)
token = opened["Plaintext"].decode()

conjur, host, out = os.environ["CONJUR"], os.environ["HOST_ID"], os.environ["OUT"]
request = urllib.request.Request(
    f"{conjur}/host_factories/hosts",
    data=urllib.parse.urlencode({"id": host, "annotations[authn/api-key]": "true"}).encode(),
    headers={"Authorization": f'Token token="{token}"'},
)
trust = ssl.create_default_context(cafile=os.environ["CONJUR_CA"])
with urllib.request.urlopen(request, context=trust) as reply:
    key = json.load(reply)["api_key"]

descriptor = os.open(f"{out}.new", os.O_CREAT | os.O_WRONLY | os.O_TRUNC, 0o600)
os.write(descriptor, f"machine {conjur}/authn\n  login host/{host}\n  password {key}\n".encode())
os.close(descriptor)
os.rename(f"{out}.new", out)
