"""For the Python tests: the emulator as a context, and clients of its instances."""

import json
import pathlib
import subprocess
import sys
import urllib.error
import urllib.request

import provision

HERE = pathlib.Path(__file__).resolve().parent
# Seconds within which it answers.
PATIENCE = 60


class Emulator:
    """ministack with the patches of `strict/`, from `with` to the end of its block."""

    def __enter__(self):
        """Starts it and waits until it answers."""
        command = [sys.executable, HERE / "ministack_strict.py", "--instances", "2"]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        said = json.loads(self.process.stdout.readline())
        self.url, self.imds = said["url"], said["imds"]
        self.cloud = provision.Cloud(self.url)
        return self

    def __exit__(self, *_):
        """Closing the pipe is all it takes."""
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()

    def control(self, **wanted):
        """Posts to the control path and gives back what it shows."""
        body = json.dumps(wanted).encode()
        with urllib.request.urlopen(self.url + "/_strict", body, timeout=PATIENCE) as reply:
            return json.load(reply)

    def metadata(self, number, path, **headers):
        """A document of an instance's IMDS, asked for as an agent does; the status if refused."""
        base = self.imds[number]
        put = urllib.request.Request(
            base + "/latest/api/token",
            method="PUT",
            headers={"X-aws-ec2-metadata-token-ttl-seconds": "60", **headers},
        )
        try:
            with urllib.request.urlopen(put, timeout=PATIENCE) as reply:
                token = reply.read().decode()
            ask = urllib.request.Request(f"{base}/latest/{path}", headers={"X-aws-ec2-metadata-token": token})
            with urllib.request.urlopen(ask, timeout=PATIENCE) as reply:
                return reply.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code

    def of_instance(self, number, service):
        """A client with the credentials that an instance's IMDS hands out."""
        path = "meta-data/iam/security-credentials/"
        role = self.metadata(number, path)
        given = json.loads(self.metadata(number, path + role))
        return self.cloud.client(service, given["AccessKeyId"], given["SecretAccessKey"], given["Token"])

    def of_role(self, arn, service):
        """A client with a session of a role."""
        return self.cloud.client(service, *self.cloud.session(arn).values())
