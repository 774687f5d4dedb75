"""The example, applied into the emulator by an administrator: what the tests of `apply` stand on."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/peers"))

import provision  # noqa: E402
from emulator import Emulator  # noqa: E402

TERRAFORM = ROOT / "target/terraform/terraform"
EXAMPLE = "examples/complete"
# A certificate's form; nobody speaks to this Conjur.
CERTIFICATE = "-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n"
# Seconds that one run of Terraform may take.
LONGEST = 600


class Applied:
    """An emulator, a copy of the module, and an administrator who applies the example."""

    def __init__(self, **variables):
        """`variables` replace the example's usual ones."""
        self.more = variables
        # The secret keys that Terraform was run with.
        self.keys = []

    def __enter__(self):
        """Starts the emulator; nothing is applied yet."""
        with contextlib.ExitStack() as undo:
            self.emulator = undo.enter_context(Emulator())
            self.folder = pathlib.Path(undo.enter_context(tempfile.TemporaryDirectory()))
            self._undo = undo.pop_all()
        shutil.copytree(ROOT / "terraform", self.folder / "module")
        self.example = self.folder / "module" / EXAMPLE
        self.cloud = self.emulator.cloud
        everything = [provision.allow(["*"], "*")]
        self.administrator = self.cloud.role("platform", "ec2.amazonaws.com", everything)
        self.operator = self.cloud.role("operator", "ec2.amazonaws.com", everything)
        (self.folder / "ca.pem").write_text(CERTIFICATE)
        with zipfile.ZipFile(self.folder / "rotator.zip", "w") as package:
            package.writestr("bootstrap", "#!/bin/sh\nexit 1\n")
        self.variables = {
            "region": provision.REGION,
            "conjur_account": "prod",
            "conjur_url": "https://conjur.example.org",
            "conjur_ca_file": str(self.folder / "ca.pem"),
            "package": str(self.folder / "rotator.zip"),
            "administrator_arns": [self.administrator],
            "operator_arns": [self.operator],
            "image_id": "ami-0123456789abcdef0",
            "force_destroy": True,
            **self.more,
        }
        self.terraform("init", "-backend=false")
        return self

    def __exit__(self, *problem):
        """Stops the emulator and removes the folder."""
        self._undo.__exit__(*problem)

    def terraform(self, *arguments, codes=(0,)):
        """Runs Terraform on the example, with the administrator's credentials: what it says."""
        session = self.cloud.session(self.administrator)
        self.keys.append(session["AWS_SECRET_ACCESS_KEY"])
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.folder),
            "AWS_ENDPOINT_URL": self.emulator.url,
            "AWS_REGION": provision.REGION,
            **session,
        }
        (self.example / "terraform.tfvars.json").write_text(json.dumps(self.variables))
        command = [TERRAFORM, f"-chdir={self.example}", arguments[0], "-no-color", *arguments[1:]]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=LONGEST)
        if ran.returncode not in codes:
            raise AssertionError(f"terraform {arguments[0]}: {ran.returncode}\n{ran.stdout}\n{ran.stderr}")
        return ran.stdout

    def apply(self):
        """Applies; the module's outputs."""
        self.terraform("apply", "-auto-approve", "-input=false")
        return json.loads(self.terraform("output", "-json"))["imprint"]["value"]

    def changes(self):
        """What a plan would change: the addresses, with what would be done to each."""
        plan = self.folder / "plan"
        self.terraform("plan", "-input=false", f"-out={plan}")
        shown = json.loads(self.terraform("show", "-json", str(plan)))
        every = [(one["address"], one["change"]["actions"]) for one in shown["resource_changes"]]
        return {address: "+".join(actions) for address, actions in every if actions != ["no-op"]}

    def state(self):
        """The state's text."""
        return (self.example / "terraform.tfstate").read_text()

    def session(self, role, service):
        """A client with a session of a role."""
        return self.cloud.client(service, *self.cloud.session(role).values())

    def on_instance(self, number, role, service):
        """A client with the credentials that an instance with this role has."""
        self.emulator.control(instances={str(number): {"role": role}})
        return self.emulator.of_instance(number, service)
