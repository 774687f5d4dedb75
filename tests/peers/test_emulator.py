"""The emulator behaves as AWS does wherever Imprint's safety leans on AWS.

These tests are of the ground that the end-to-end tests stand on: if layer A's role could open
layer B's token here, an end-to-end test that passes would prove nothing.
"""

import json
import unittest

import provision
from botocore.exceptions import ClientError
from emulator import Emulator
from provision import HOST_FACTORY_KEY

LAYERS = {"web": "bootstrap/web", "db": "bootstrap/db"}
BUCKET = "imprint-tokens"
INSTANCE = "i-0123456789abcdef0"
INSTANCE_ARN = f"arn:aws:ec2:us-east-1:123456789012:instance/{INSTANCE}"

# A function that tells what it was given, or fails with the type it is asked for. It speaks the
# Runtime API as any binary on the OS-only runtime does.
BOOTSTRAP = """#!/usr/bin/env python3
import json, os, urllib.request
api = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
def post(path, value):
    urllib.request.urlopen(api + path, json.dumps(value).encode()).close()
while True:
    with urllib.request.urlopen(api + "next") as reply:
        call, event = reply.headers["Lambda-Runtime-Aws-Request-Id"], json.load(reply)
    if "fail" in event:
        print("asked to fail", flush=True)
        post(call + "/error", {"errorType": event["fail"], "errorMessage": "asked to"})
    else:
        names = ("GREETING", "AWS_ACCESS_KEY_ID", "AWS_ENDPOINT_URL", "AWS_REGION", "AWS_SESSION_TOKEN",
                 "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY")
        post(call + "/response", {name: os.environ.get(name) for name in names})
"""


def context(factory, **more):
    """An encryption context as a sealed token has one."""
    return {HOST_FACTORY_KEY: factory, "imprint:version": "1", **more}


class EmulatorTest(unittest.TestCase):
    """One emulator for all; each test makes what it changes itself."""

    @classmethod
    def setUpClass(cls):
        """Two layers on two instances, and a sealed blob of each published by the rotator."""
        cls.aws = cls.enterClassContext(Emulator())
        cls.made = cls.aws.cloud.provision(BUCKET, "myorg", LAYERS)
        cls.aws.control(instances={"0": {"role": "web", "tags": {"Name": "web-1"}}, "1": {"role": "db"}})
        rotator_kms = cls.aws.of_role(cls.made["rotator_role"], "kms")
        rotator_s3 = cls.aws.of_role(cls.made["rotator_role"], "s3")
        for layer, factory in LAYERS.items():
            sealed = rotator_kms.encrypt(
                KeyId=cls.made["key_arn"],
                Plaintext=f"token of {layer}".encode(),
                EncryptionContext=context(factory),
            )
            rotator_s3.put_object(
                Bucket=BUCKET, Key=cls.made["objects"][layer], Body=sealed["CiphertextBlob"]
            )

    def setUp(self):
        """No fault of another test is left."""
        self.aws.control(faults=[], log=[])

    def check(self, code, status, call, **arguments):
        """A call fails with exactly this code and status."""
        with self.assertRaises(ClientError) as caught:
            call(**arguments)
        error = caught.exception.response
        self.assertEqual(
            (error["Error"]["Code"], error["ResponseMetadata"]["HTTPStatusCode"]),
            (code, status),
            error["Error"].get("Message"),
        )

    def fetch(self, number, layer):
        """An instance reads a layer's object."""
        client = self.aws.of_instance(number, "s3")
        return client.get_object(Bucket=BUCKET, Key=self.made["objects"][layer])["Body"].read()

    def sealed(self, layer):
        """A layer's object, read by the rotator, who may read all."""
        s3 = self.aws.of_role(self.made["rotator_role"], "s3")
        return s3.get_object(Bucket=BUCKET, Key=self.made["objects"][layer])["Body"].read()

    def test_each_layer_opens_its_own_token(self):
        """Fetch and unseal with the credentials of the instance."""
        for number, layer in enumerate(LAYERS):
            opened = self.aws.of_instance(number, "kms").decrypt(
                KeyId=self.made["key_arn"],
                CiphertextBlob=self.fetch(number, layer),
                EncryptionContext=context(LAYERS[layer]),
            )
            self.assertEqual(opened["Plaintext"], f"token of {layer}".encode())

    def test_no_layer_reads_or_opens_the_other(self):
        """Denied at S3, and with the ciphertext in hand denied at KMS."""
        for number, (own, other) in enumerate((("web", "db"), ("db", "web"))):
            self.check("AccessDenied", 403, self.fetch, number=number, layer=other)
            kms = self.aws.of_instance(number, "kms")
            blob = {"KeyId": self.made["key_arn"], "CiphertextBlob": self.sealed(other)}
            self.check(
                "AccessDeniedException", 400, kms.decrypt, **blob, EncryptionContext=context(LAYERS[other])
            )
            # Claiming to be one's own factory passes IAM, and the cipher refuses.
            self.check(
                "InvalidCiphertextException", 400, kms.decrypt, **blob, EncryptionContext=context(LAYERS[own])
            )

    def test_the_context_must_match_in_every_pair(self):
        """A pair added, changed or left out; none at all is IAM's to refuse."""
        kms = self.aws.of_instance(0, "kms")
        blob = {"KeyId": self.made["key_arn"], "CiphertextBlob": self.sealed("web")}
        right = context("bootstrap/web")
        for wrong in (
            {**right, "imprint:version": "2"},
            {**right, "more": "1"},
            {HOST_FACTORY_KEY: "bootstrap/web"},
        ):
            self.check("InvalidCiphertextException", 400, kms.decrypt, **blob, EncryptionContext=wrong)
        self.check("AccessDeniedException", 400, kms.decrypt, **blob)
        turned = dict(reversed(right.items()))
        self.assertEqual(kms.decrypt(**blob, EncryptionContext=turned)["Plaintext"], b"token of web")

    def test_a_changed_bit_is_refused(self):
        """Anywhere in the ciphertext: header, nonce, body, tag."""
        kms = self.aws.of_instance(0, "kms")
        good = self.sealed("web")
        for at in (36, 70, 85, len(good) - 1):
            bad = bytearray(good)
            bad[at] ^= 1
            self.check(
                "InvalidCiphertextException",
                400,
                kms.decrypt,
                KeyId=self.made["key_arn"],
                CiphertextBlob=bytes(bad),
                EncryptionContext=context("bootstrap/web"),
            )

    def test_another_key_is_refused(self):
        """The key of the request, not the one that the ciphertext names, decides."""
        root = self.aws.cloud.client("kms")
        other = root.create_key()["KeyMetadata"]["Arn"]
        arguments = {"CiphertextBlob": self.sealed("web"), "EncryptionContext": context("bootstrap/web")}
        self.check("IncorrectKeyException", 400, root.decrypt, KeyId=other, **arguments)
        self.check(
            "AccessDeniedException", 400, self.aws.of_instance(0, "kms").decrypt, KeyId=other, **arguments
        )
        root.disable_key(KeyId=other)
        self.check("DisabledException", 400, root.encrypt, KeyId=other, Plaintext=b"x")

    def test_a_plaintext_over_4_kib_is_refused(self):
        """The documented limit of Encrypt."""
        kms = self.aws.cloud.client("kms")
        kms.encrypt(KeyId="alias/imprint", Plaintext=b"x" * 4096)
        self.check("ValidationException", 400, kms.encrypt, KeyId="alias/imprint", Plaintext=b"x" * 4097)

    def test_only_the_rotator_publishes(self):
        """An instance may not put, and the bucket's own policy says so too."""
        key = self.made["objects"]["web"]
        self.check(
            "AccessDenied",
            403,
            self.aws.of_instance(0, "s3").put_object,
            Bucket=BUCKET,
            Key=key,
            Body=b"planted",
        )
        self.check(
            "AccessDeniedException",
            400,
            self.aws.of_instance(0, "kms").encrypt,
            KeyId=self.made["key_arn"],
            Plaintext=b"x",
            EncryptionContext=context("bootstrap/web"),
        )

    def test_publishing_is_conditional(self):
        """If-None-Match and If-Match, with the statuses that the rotator tells apart."""
        s3 = self.aws.of_role(self.made["rotator_role"], "s3")
        where = {"Bucket": BUCKET, "Key": "factories/myorg/bootstrap/new/token.json"}
        first = s3.put_object(**where, Body=b"1", IfNoneMatch="*")["ETag"]
        self.check("PreconditionFailed", 412, s3.put_object, **where, Body=b"2", IfNoneMatch="*")
        s3.put_object(**where, Body=b"3", IfMatch=first)
        self.check("PreconditionFailed", 412, s3.put_object, **where, Body=b"4", IfMatch=first)
        self.assertEqual(s3.get_object(**where)["Body"].read(), b"3")

    def test_a_missing_object_is_403_to_who_may_not_list(self):
        """AWS hides what is missing from a role without s3:ListBucket."""
        role = self.aws.cloud.role(
            "edge",
            "ec2.amazonaws.com",
            [{"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{BUCKET}/*"}],
        )
        nowhere = {"Bucket": BUCKET, "Key": "factories/myorg/nowhere/token.json"}
        self.check("AccessDenied", 403, self.aws.of_role(role, "s3").get_object, **nowhere)
        rotator = self.aws.of_role(self.made["rotator_role"], "s3")
        self.check("NoSuchKey", 404, rotator.get_object, **nowhere)

    def test_a_role_can_be_held_to_its_instance(self):
        """${ec2:SourceInstanceARN} in a policy is the instance that IMDS served."""
        role = self.aws.cloud.role(
            "own",
            "ec2.amazonaws.com",
            [
                {
                    "Effect": "Allow",
                    "Action": "s3:GetObject",
                    "Resource": f"arn:aws:s3:::{BUCKET}/instances/*",
                    "Condition": {"ArnEquals": {"ec2:SourceInstanceARN": INSTANCE_ARN}},
                }
            ],
        )
        self.aws.cloud.client("s3").put_object(Bucket=BUCKET, Key="instances/one", Body=b"mine")
        where = {"Bucket": BUCKET, "Key": "instances/one"}
        before = self.aws.control()["instances"][1]
        self.addCleanup(self.aws.control, instances={"1": before})
        self.aws.control(instances={"1": {"role": "own", "instance_id": INSTANCE}})
        self.assertEqual(self.aws.of_instance(1, "s3").get_object(**where)["Body"].read(), b"mine")
        self.check("AccessDenied", 403, self.aws.of_role(role, "s3").get_object, **where)

    def test_imds_answers_as_version_2(self):
        """Documents and tags with a token; refusals without one or through a proxy."""
        document = json.loads(self.aws.metadata(0, "dynamic/instance-identity/document"))
        self.assertEqual((document["accountId"], document["region"]), ("123456789012", "us-east-1"))
        self.assertEqual(self.aws.metadata(0, "meta-data/instance-id"), document["instanceId"])
        self.assertEqual(self.aws.metadata(0, "meta-data/tags/instance/Name"), "web-1")
        self.assertEqual(self.aws.metadata(1, "meta-data/tags/instance"), 404)
        self.assertEqual(self.aws.metadata(0, "meta-data/iam/security-credentials/db"), 404)
        self.assertEqual(
            self.aws.metadata(0, "meta-data/instance-id", **{"X-Forwarded-For": "192.0.2.1"}), 403
        )
        self.assertNotEqual(self.aws.metadata(1, "meta-data/instance-id"), document["instanceId"])

    def test_faults_are_used_up_and_logged(self):
        """As often as asked, then the truth again."""
        self.aws.control(
            faults=[
                {"match": "kms:Decrypt", "times": 2, "status": 400, "code": "ThrottlingException"},
                {"match": "s3:GET", "status": 503, "code": "SlowDown"},
            ]
        )
        kms = self.aws.of_instance(0, "kms")
        arguments = {
            "CiphertextBlob": self.sealed_after_fault(),
            "EncryptionContext": context("bootstrap/web"),
        }
        for _ in range(2):
            self.check("ThrottlingException", 400, kms.decrypt, **arguments)
        kms.decrypt(**arguments)
        log = [(entry["name"], entry["status"]) for entry in self.aws.control()["log"]]
        self.assertEqual([status for name, status in log if name == "kms:Decrypt"], [400, 400, 200])
        self.assertIn(("imds:PUT /latest/api/token", 200), log)

    def sealed_after_fault(self):
        """The first read meets the injected SlowDown, the second does not."""
        self.check("SlowDown", 503, self.sealed, layer="web")
        return self.sealed("web")

    def test_a_function_runs_with_its_role(self):
        """Response, error, environment, and credentials that are the role's own session."""
        zipped = provision.packed(BOOTSTRAP.encode())
        self.aws.cloud.function("probe", self.made["rotator_role"], zipped, {"GREETING": "hello"})
        called = self.aws.cloud.invoke("probe", b"{}")
        self.assertFalse(called["failed"], called)
        given = called["reply"]
        self.assertEqual(
            (given["GREETING"], given["AWS_REGION"], given["AWS_ENDPOINT_URL"], given["HTTPS_PROXY"]),
            ("hello", "us-east-1", self.aws.url, None),
        )
        session = (given["AWS_ACCESS_KEY_ID"], given["AWS_SECRET_ACCESS_KEY"], given["AWS_SESSION_TOKEN"])
        who = self.aws.cloud.client("sts", *session).get_caller_identity()["Arn"]
        self.assertEqual(who, "arn:aws:sts::123456789012:assumed-role/imprint-rotator/probe")

        failed = self.aws.cloud.invoke("probe", b'{"fail": "absent"}')
        self.assertEqual((failed["failed"], failed["reply"]["errorType"]), (True, "absent"))
        self.assertIn("asked to fail", failed["log"])


if __name__ == "__main__":
    unittest.main()
