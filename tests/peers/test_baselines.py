"""The baselines of the benchmark do what the agent does: a benchmark of failures proves nothing."""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

import small_conjur
from emulator import Emulator

BASELINES = pathlib.Path(__file__).resolve().parents[1] / "bench/peers"
BUCKET, FACTORY = "imprint-tokens", "bootstrap/web"


def sealed_token(url, ciphertext, key_arn):
    """A sealed token of format version 1, and the encryption context that its members make."""
    members = {
        "version": 1,
        "account": "myorg",
        "host_factory": FACTORY,
        "appliance_url": url,
        "leader_url": url,
        "ca_sha256": ["0" * 64, "1" * 64],
        "issued_at": "2026-01-01T00:00:00Z",
        "expires_at": "2026-01-02T00:00:00Z",
        "cidr": [],
        "fingerprint": "0123456789ab",
        "rotation_id": "r1",
        "spread_s": 0,
        "scope": "layer",
        "hosts_branch": "app/hosts",
    }
    context = {f"imprint:{name}": str(value) for name, value in members.items() if value != []}
    context["imprint:ca_sha256"] = ",".join(members["ca_sha256"])
    return {**members, "ciphertext": ciphertext, "key_arn": key_arn}, context


class BaselinesTest(unittest.TestCase):
    """One instance, one sealed token, one Conjur."""

    @classmethod
    def setUpClass(cls):
        """What a baseline finds on its instance."""
        cls.scratch = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.url, cls.ca = cls.enterClassContext(small_conjur.running(cls.scratch))
        cls.aws = cls.enterClassContext(Emulator())
        made = cls.aws.cloud.provision(BUCKET, "myorg", {"web": FACTORY})
        cls.aws.control(instances={"0": {"role": "web"}})
        _, context = sealed_token(cls.url, "", "")
        sealed = cls.aws.cloud.client("kms").encrypt(
            KeyId=made["key_arn"], Plaintext=small_conjur.TOKEN.encode(), EncryptionContext=context
        )
        ciphertext = base64.b64encode(sealed["CiphertextBlob"]).decode()
        token, _ = sealed_token(cls.url, ciphertext, made["key_arn"])
        cls.object = made["objects"]["web"]
        cls.aws.cloud.client("s3").put_object(Bucket=BUCKET, Key=cls.object, Body=json.dumps(token))

    def check(self, *command):
        """A baseline ends well and leaves the identity file."""
        out = self.scratch / "conjur.identity"
        out.unlink(missing_ok=True)
        environment = {
            "AWS": str(pathlib.Path(sys.executable).parent / "aws"),
            "AWS_EC2_METADATA_SERVICE_ENDPOINT": self.aws.imds[0],
            "AWS_ENDPOINT_URL": self.aws.url,
            "AWS_REGION": "us-east-1",
            "BUCKET": BUCKET,
            "CONJUR": self.url,
            "CONJUR_CA": str(self.ca),
            "HOME": str(self.scratch),
            "HOST_ID": small_conjur.HOST,
            "OBJECT": self.object,
            "OUT": str(out),
            "PATH": os.environ["PATH"],
        }
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        self.assertEqual(done.returncode, 0, done.stderr)
        key, login = small_conjur.API_KEY, small_conjur.LOGIN
        expected = f"machine {self.url}/authn\n  login {login}\n  password {key}\n"
        self.assertEqual((out.read_text(), out.stat().st_mode & 0o777), (expected, 0o600))

    def test_boto3(self):
        """The script in Python."""
        self.check(sys.executable, BASELINES / "with_boto3.py")

    @unittest.skipUnless(shutil.which("curl") and shutil.which("jq"), "needs curl and jq")
    def test_awscli(self):
        """The script around the AWS command line."""
        self.check("bash", BASELINES / "with_awscli.sh")

    @unittest.skipUnless(shutil.which("curl") and shutil.which("jq"), "needs curl and jq")
    def test_curl(self):
        """The script around curl."""
        self.check("bash", BASELINES / "with_curl.sh")


if __name__ == "__main__":
    unittest.main()
