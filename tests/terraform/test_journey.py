"""What the module makes is enough: its function rotates, and instances of each layer enroll.

Conjur is the demo's; IMPRINT_PROGRAMS is the folder of the programs. The function is the package of
IMPRINT_LAMBDA_ZIP, or else the program of that folder. Whatever was secret on the way is looked for in
Terraform's state and plan.
"""

import base64
import json
import os
import pathlib
import re
import ssl
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

from applied import Applied, provision

PROGRAMS = pathlib.Path(os.environ.get("IMPRINT_PROGRAMS", "target/debug"))
# Seconds that one step may take.
PATIENCE = 60
ACCOUNT = "123456789012"
LAYERS = ("web", "db")


class Conjur:
    """The demo's servers, of which only Conjur is used."""

    def __init__(self, folder):
        """What they say is kept in the folder."""
        self.log = pathlib.Path(folder) / "demo.log"

    def __enter__(self):
        """Starts them, and reads where they are."""
        # They end with this process too, however it dies: the end of their input alone does not end them.
        command = ["setpriv", "--pdeathsig", "TERM", PROGRAMS / "demo", "up"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log)
        try:
            said = self.told("ends the servers")
            self.url = re.search(r"Conjur +(https://\S+)", said)[1]
            self.folder = pathlib.Path(re.search(r"IMPRINT_ROTATOR_CONFIG=(\S+)/rotator.toml", said)[1])
        except BaseException:
            self.__exit__()
            raise
        return self

    def told(self, wanted):
        """All that they said, once they said that."""
        until = time.monotonic() + PATIENCE
        while wanted not in (said := self.log.read_text()):
            if self.process.poll() is not None or time.monotonic() > until:
                raise AssertionError(f"the demo does not start: {said}")
            time.sleep(0.1)
        return said

    def __exit__(self, *_):
        """Ends them."""
        self.process.terminate()
        self.process.communicate(timeout=PATIENCE)

    def ask(self, path, body=None, **headers):
        """Gets, or posts a body: the status, and the reply if it is a good one."""
        asked = urllib.request.Request(self.url + path, body, headers)
        trust = ssl.create_default_context(cafile=str(self.folder / "conjur-ca.pem"))
        try:
            with urllib.request.urlopen(asked, timeout=PATIENCE, context=trust) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, ""

    def read(self, login, key, variable):
        """What a host reads that logs in with its key: the status, and the variable's value."""
        who, what = (urllib.parse.quote(name, safe="") for name in (login, variable))
        status, token = self.ask(f"/authn/demo/{who}/authenticate", key.encode())
        if status != 200:
            raise AssertionError(f"{login} cannot log in: {status}")
        header = f'Token token="{base64.b64encode(token.encode()).decode()}"'
        return self.ask(f"/secrets/demo/variable/{what}", Authorization=header)


def package(folder):
    """The function's zip."""
    if "IMPRINT_LAMBDA_ZIP" in os.environ:
        return os.environ["IMPRINT_LAMBDA_ZIP"]
    # Debug symbols alone are more than Lambda takes.
    stripped, zipped = pathlib.Path(folder) / "bootstrap", pathlib.Path(folder) / "rotator.zip"
    subprocess.run(["strip", "-o", stripped, PROGRAMS / "imprint-rotator"], check=True)
    zipped.write_bytes(provision.packed(stripped.read_bytes()))
    stripped.unlink()
    return str(zipped)


def forms(secret):
    """A secret as it is, and what it looks like inside of a longer text in base64, wherever it begins."""
    yield secret
    for before in range(3):
        encoded = base64.b64encode(b" " * before + secret.encode()).decode()
        # The first and the last group depend on the neighbors.
        yield encoded[4:-4]


class Journey(unittest.TestCase):
    """From an apply to two enrolled hosts."""

    def setUp(self):
        """Applies the example for the demo's Conjur."""
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.conjur = self.enterContext(Conjur(self.folder))
        self.site = self.enterContext(
            Applied(
                conjur_account="demo",
                conjur_url=self.conjur.url,
                conjur_ca_file=str(self.conjur.folder / "conjur-ca.pem"),
                cidr=["127.0.0.0/8"],
                package=package(self.folder),
            )
        )
        self.made = self.site.apply()
        # By what each is, and what programs and functions said.
        self.secrets, self.told = {}, []

    def run_program(self, name, arguments, session, text=""):
        """One of the programs, which sees the emulator as AWS: what it exits with and says."""
        environment = {
            "PATH": "/usr/bin:/bin",
            "AWS_ENDPOINT_URL": self.site.emulator.url,
            "AWS_REGION": provision.REGION,
            **session,
        }
        ran = subprocess.run(
            [PROGRAMS / name, *arguments],
            env=environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        )
        self.told.append(ran.stdout + ran.stderr)
        return ran.returncode, self.told[-1]

    def as_operator(self, arguments, text=""):
        """The rotator's command line with an operator's role and the configuration in the bucket."""
        session = self.site.cloud.session(self.site.operator)
        self.secrets[f"the operator's key for {arguments}"] = session["AWS_SECRET_ACCESS_KEY"]
        where = ["--config", self.made["rotator_config_url"], "--config-owner", ACCOUNT]
        code, said = self.run_program("imprint-rotator", [*arguments, *where], session, text)
        self.assertEqual(code, 0, said)
        return said

    def rotate(self):
        """Invokes the function: the outcome of each factory."""
        event = b'{"command": "rotate"}'
        ran = self.site.cloud.invoke(self.made["function_names"]["rotator"], event)
        self.told.append(ran["log"])
        self.assertFalse(ran["failed"], ran)
        return {one["factory"]: one["result"] for one in ran["reply"]["factories"]}

    def enroll(self, number, role, config):
        """The agent of an instance with a layer's role, and the module's configuration of any layer.

        What it exits with and says, its instance, and the file of its identity.
        """
        shown = self.site.emulator.control(instances={str(number): {"role": f"imprint-layer-{role}"}})
        instance = shown["instances"][number]["instance_id"]
        root = self.folder / f"{number}-{role}-{config}"
        for folder in ("etc/imprint", "var/lib", "sys/class/dmi/id"):
            (root / folder).mkdir(parents=True)
        (root / "sys/class/dmi/id/board_asset_tag").write_text(instance + "\n")
        files = {name: root / "etc" / f"conjur.{name}" for name in ("identity", "conf", "pem")}
        files["state_dir"] = root / "var/lib/imprint"
        text = self.made["agent_configs"][config]
        # Where settings of the top level belong: whoever is denied need not try for long.
        text = text.replace("\n[source]", '\ndeadline = "5s"\n\n[source]', 1)
        text = text.replace("/etc/imprint/ca.pem", str(self.conjur.folder / "conjur-ca.pem"))
        for table, settings in (
            ("files", files),
            ("imds", {"endpoint": self.site.emulator.imds[number]}),
            ("system", {"sys_root": root / "sys"}),
        ):
            lines = [f"{name} = {json.dumps(str(value))}\n" for name, value in settings.items()]
            text += f"\n[{table}]\n" + "".join(lines)
        written = root / "etc/imprint/config.toml"
        written.write_text(text)
        # No credentials: those of its role come from the metadata service.
        code, said = self.run_program("imprint", ["enroll", "--config", written], {})
        return code, said, instance, files["identity"]

    def token(self, layer):
        """A published token, opened as the rotator opens it."""
        role = f"arn:aws:iam::{ACCOUNT}:role/imprint/functions/imprint-rotator"
        s3, kms = (self.site.session(role, service) for service in ("s3", "kms"))
        key = f"factories/demo/{layer}/factory/token.json"
        sealed = json.load(s3.get_object(Bucket=self.made["bucket"], Key=key)["Body"])
        ciphertext = base64.b64decode(sealed.pop("ciphertext"))
        sealed.pop("key_arn")
        joined = {
            name: ",".join(value) if isinstance(value, list) else str(value) for name, value in sealed.items()
        }
        context = {f"imprint:{name}": value for name, value in joined.items()}
        opened = kms.decrypt(KeyId=self.made["key_arn"], CiphertextBlob=ciphertext, EncryptionContext=context)
        return opened["Plaintext"].decode()

    def test_two_layers_enroll_and_no_secret_stays_in_terraform(self):
        """The whole way."""
        policy = self.as_operator(["policy"])
        for layer in LAYERS:
            self.assertIn(f"!host-factory {layer}/factory", policy)
        for function in ("rotator", "reaper"):
            key = (self.conjur.folder / f"{function}.key").read_text().strip()
            self.secrets[f"the API key of the {function}"] = key
        self.as_operator(["seal-login"], self.secrets["the API key of the rotator"])
        self.assertEqual(self.rotate(), {"web/factory": "rotated", "db/factory": "rotated"})
        self.assertEqual(self.rotate(), {"web/factory": "kept", "db/factory": "kept"})
        for layer in LAYERS:
            self.secrets[f"the token of {layer}"] = self.token(layer)

        for number, (layer, other) in enumerate((LAYERS, LAYERS[::-1])):
            # With its role, but the other layer's configuration: it comes to nothing.
            code, said, _, identity = self.enroll(number, layer, other)
            self.assertEqual((code, identity.exists()), (69, False), said)
            self.assertIn("AccessDenied", said)
            # With what is meant for it.
            code, said, instance, identity = self.enroll(number, layer, layer)
            self.assertEqual(code, 0, said)
            login = f"host/{layer}/hosts/{ACCOUNT}/{provision.REGION}/{instance}"
            found = re.search(r"login (\S+)\s+password (\S+)", identity.read_text())
            self.assertEqual(found[1], login)
            self.secrets[f"the API key of an instance of {layer}"] = found[2]
            status, self.secrets[f"what {layer} reads"] = self.conjur.read(
                *found.groups(), f"{layer}/password"
            )
            self.assertEqual(status, 200)
            self.assertIn(self.conjur.read(*found.groups(), f"{other}/password")[0], (403, 404))

        self.nothing_of_it_stays()

    def nothing_of_it_stays(self):
        """No secret is in Terraform's state, in a plan of a change, or in what anybody said."""
        for number, key in enumerate(self.site.keys):
            self.secrets[f"the administrator's key {number}"] = key
        self.site.variables["period"] = 300
        self.assertEqual(len(self.site.changes()), 1)
        plan = self.site.terraform("show", "-json", str(self.site.folder / "plan"))
        texts = {"state": self.site.state(), "plan": plan, "what was said": "".join(self.told)}
        # What is known to be there is found, in both forms: so would a secret be.
        for text in (texts["state"], plan):
            self.assertIn(self.conjur.url, text)
            self.assertTrue(any(form in text for form in list(forms(self.conjur.url))[1:]))
        for what, secret in self.secrets.items():
            self.assertGreaterEqual(len(secret), 16, what)
            for where, text in texts.items():
                for form in forms(secret):
                    # What fails shows neither.
                    self.assertFalse(form in text, f"{what} is in {where}")


if __name__ == "__main__":
    unittest.main()
