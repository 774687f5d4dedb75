"""What the module makes is enough: its functions rotate, mint and decommission, and instances enroll.

Conjur is the stand-in of tests/stack, empty until the policy is loaded that the module's output prints.
IMPRINT_PROGRAMS is the folder of the programs. The functions are the package of IMPRINT_LAMBDA_ZIP, or
else the program of that folder. Whatever was secret on the way is looked for in Terraform's state and
plan, and in all logs.
"""

import base64
import json
import os
import pathlib
import re
import shlex
import ssl
import subprocess
import tempfile
import time
import unittest
import urllib.error
import urllib.parse
import urllib.request

from applied import Applied, provision
from botocore.exceptions import ClientError

PROGRAMS = pathlib.Path(os.environ.get("IMPRINT_PROGRAMS", "target/debug"))
# Seconds that one step may take.
PATIENCE = 120
ACCOUNT = "123456789012"
FUNCTIONS = f"arn:aws:iam::{ACCOUNT}:role/imprint/functions"
# The instances, by their number in the emulator and their layer.
WEB, DB = (0, "web"), (1, "db")
# What the owners of the two applications load beside the module's policy.
APPLICATIONS = """\
- !policy
  id: {layer}
  body:
    - !variable password
    - !permit
      role: !layer nodes
      privileges: [ read, execute ]
      resource: !variable password
"""


class Conjur:
    """The stand-in alone, with nobody in it but `admin`."""

    def __init__(self, folder):
        """Its certificate and the key of `admin` are kept in the folder."""
        self.folder = pathlib.Path(folder)

    def __enter__(self):
        """Starts it; it ends with its standard input, however this process dies."""
        command = [PROGRAMS / "imprint-stack", "demo", self.folder]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            raise AssertionError("Conjur does not start")
        self.admin_key = (self.folder / "admin.key").read_text()
        return self

    def __exit__(self, *_):
        """Ends it."""
        self.process.stdin.close()
        self.process.wait(timeout=PATIENCE)
        self.process.stdout.close()

    def ask(self, path, body=None, **headers):
        """Gets, or posts a body: the status, and the reply."""
        asked = urllib.request.Request(self.url + path, body, headers)
        trust = ssl.create_default_context(cafile=str(self.folder / "conjur-ca.pem"))
        try:
            with urllib.request.urlopen(asked, timeout=PATIENCE, context=trust) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode(errors="replace")

    def log_in(self, login, key):
        """Whether Conjur takes the key, and what it answers: the header of further requests."""
        who = urllib.parse.quote(login, safe="")
        status, token = self.ask(f"/authn/demo/{who}/authenticate", key.encode())
        return status == 200, f'Token token="{base64.b64encode(token.encode()).decode()}"'

    def as_admin(self, path, body):
        """Posts as somebody who may do everything: the reply."""
        known, header = self.log_in("admin", self.admin_key)
        status, reply = self.ask(path, body.encode(), Authorization=header) if known else (401, "")
        if status not in (200, 201):
            raise AssertionError(f"{path}: {status} {reply}")
        return reply

    def load(self, policy):
        """Loads policy into root: the API keys of the hosts that it makes, by their logins."""
        made = json.loads(self.as_admin("/policies/demo/policy/root", policy))["created_roles"]
        return {name.removeprefix("demo:").replace(":", "/", 1): one["api_key"] for name, one in made.items()}

    def set(self, variable, value):
        """Gives a variable its value."""
        self.as_admin(f"/secrets/demo/variable/{urllib.parse.quote(variable, safe='')}", value)

    def read(self, login, key, variable):
        """What a host reads that logs in with its key: the status, and the variable's value."""
        known, header = self.log_in(login, key)
        if not known:
            raise AssertionError(f"{login} cannot log in")
        what = urllib.parse.quote(variable, safe="")
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
    """From an apply to hosts at Conjur, and to the end of one."""

    def setUp(self):
        """Applies the example for this Conjur."""
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.conjur = self.enterContext(Conjur(self.folder))
        self.site = self.enterContext(
            Applied(
                conjur_account="demo",
                conjur_url=self.conjur.url,
                conjur_ca_file=str(self.folder / "conjur-ca.pem"),
                cidr=["127.0.0.0/8"],
                package=package(self.folder),
            )
        )
        self.made = self.site.apply()
        # By what each is, and what programs and functions said.
        self.secrets = {"the API key of admin": self.conjur.admin_key}
        self.told = []
        self.instances = {}

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

    def as_operator(self, command, text=""):
        """A command line of the rotator with an operator's role."""
        session = self.site.cloud.session(self.site.operator)
        self.secrets[f"the operator's key for {command}"] = session["AWS_SECRET_ACCESS_KEY"]
        program, *arguments = shlex.split(command)
        code, said = self.run_program(program, arguments, session, text)
        self.assertEqual(code, 0, said)
        return said

    def with_policy(self):
        """Loads what the module's output prints and the applications' own; seals the functions' keys."""
        keys = self.conjur.load(self.as_operator(self.made["conjur_policy_command"]))
        self.told.pop()  # It is what is loaded, and no log.
        # Nobody else was made.
        self.assertEqual(sorted(keys), sorted(self.made["logins"].values()))
        for _, layer in (WEB, DB):
            self.conjur.load(APPLICATIONS.format(layer=layer))
            value = self.secrets[f"what {layer} reads"] = f"{layer}-{os.urandom(16).hex()}"
            self.conjur.set(f"{layer}/password", value)
        where = self.made["conjur_policy_command"].removeprefix("imprint-rotator policy ")
        for function, login in self.made["logins"].items():
            self.secrets[f"the API key of the {function}"] = keys[login]
            self.as_operator(f"imprint-rotator seal-login --of {function} {where}", keys[login])

    def rotate(self):
        """Invokes the function: the outcome of each factory."""
        event = b'{"command": "rotate"}'
        ran = self.site.cloud.invoke(self.made["function_names"]["rotator"], event)
        self.told.append(ran["log"])
        self.assertFalse(ran["failed"], ran)
        return {one["factory"]: one["result"] for one in ran["reply"]["factories"]}

    def launch(self, number, layer):
        """An instance as the layer's launch template has it, with a metadata service of this number."""
        ec2 = self.site.cloud.client("ec2")
        found = ec2.describe_launch_template_versions(LaunchTemplateName=f"imprint-{layer}")
        data = found["LaunchTemplateVersions"][-1]["LaunchTemplateData"]
        self.assertEqual(data["MetadataOptions"]["HttpTokens"], "required")
        # The emulator does not look into a template by itself.
        launched = {
            name: data[name] for name in ("ImageId", "InstanceType", "UserData", "IamInstanceProfile")
        }
        made = ec2.run_instances(MinCount=1, MaxCount=1, **launched)["Instances"][0]
        instance = {"instance_id": made["InstanceId"], "role": f"imprint-layer-{layer}"}
        self.site.emulator.control(instances={str(number): instance})
        self.instances[layer] = made["InstanceId"]

    def machine(self, number, layer, config):
        """The files of this instance, with the user-data of a layer: its folder."""
        root = self.folder / f"{layer}-{config}"
        for folder in ("etc/imprint", "var/lib", "sys/class/dmi/id"):
            (root / folder).mkdir(parents=True)
        (root / "sys/class/dmi/id/board_asset_tag").write_text(self.instances[layer] + "\n")
        files = {name: root / "etc" / f"conjur.{name}" for name in ("identity", "conf", "pem")}
        files["state_dir"] = root / "var/lib/imprint"
        written = json.loads(self.made["user_data"][config].removeprefix("#cloud-config\n"))["write_files"]
        texts = {file["path"]: file["content"] for file in written}
        self.assertEqual(texts["/etc/imprint/config.toml"], self.made["agent_configs"][config])
        (root / "etc/imprint/ca.pem").write_text(texts["/etc/imprint/ca.pem"])
        # Where settings of the top level belong: whoever is denied need not try for long.
        text = texts["/etc/imprint/config.toml"].replace("\n[source]", '\ndeadline = "20s"\n\n[source]', 1)
        text = text.replace("/etc/imprint/ca.pem", str(root / "etc/imprint/ca.pem"))
        for table, settings in (
            ("files", files),
            ("imds", {"endpoint": self.site.emulator.imds[number]}),
            ("system", {"sys_root": root / "sys"}),
        ):
            lines = [f"{name} = {json.dumps(str(value))}\n" for name, value in settings.items()]
            text += f"\n[{table}]\n" + "".join(lines)
        (root / "etc/imprint/config.toml").write_text(text)
        return root

    def agent(self, command, root):
        """The agent of that machine, with the credentials of its role: what it exits with and says."""
        return self.run_program("imprint", [command, "--config", root / "etc/imprint/config.toml"], {})

    def identity(self, root, layer, instance):
        """The login and key of a machine, which reads what its layer may, and nothing of the other one."""
        found = re.search(r"login (\S+)\s+password (\S+)", (root / "etc/conjur.identity").read_text())
        self.assertEqual(found[1], f"host/{layer}/hosts/{ACCOUNT}/{provision.REGION}/{instance}")
        self.secrets[f"the API key of {found[1]}"] = found[2]
        other = {"web": "db", "db": "web"}[layer]
        self.assertEqual(
            self.conjur.read(*found.groups(), f"{layer}/password"), (200, self.secrets[f"what {layer} reads"])
        )
        self.assertIn(self.conjur.read(*found.groups(), f"{other}/password")[0], (403, 404))
        return found.groups()

    def objects(self, folder):
        """The keys below a folder of the bucket."""
        listed = self.site.cloud.client("s3").list_objects_v2(Bucket=self.made["bucket"], Prefix=folder)
        return [one["Key"] for one in listed.get("Contents", [])]

    def wait(self, what, until):
        """Waits until it is so: schedules and queues come when they come."""
        end = time.monotonic() + PATIENCE
        while not until():
            if time.monotonic() > end:
                self.fail(f"{what} never came: {self.logs()}")
            time.sleep(0.2)

    def logs(self):
        """What the functions have logged."""
        logs = self.site.cloud.client("logs")
        groups = [f"/aws/lambda/{name}" for name in self.made["function_names"].values()]
        events = [event for group in groups for event in logs.filter_log_events(logGroupName=group)["events"]]
        return "\n".join(event["message"] for event in events)

    def sealed(self, key):
        """A sealed token as it lies in the bucket: the ciphertext, and its encryption context."""
        s3 = self.site.cloud.client("s3")
        sealed = json.load(s3.get_object(Bucket=self.made["bucket"], Key=key)["Body"])
        ciphertext = base64.b64decode(sealed.pop("ciphertext"))
        sealed.pop("key_arn")
        joined = {
            name: ",".join(value) if isinstance(value, list) else str(value) for name, value in sealed.items()
        }
        return ciphertext, {f"imprint:{name}": value for name, value in joined.items()}

    def opened(self, kms, key):
        """The token, opened by whose client this is."""
        ciphertext, context = self.sealed(key)
        opened = kms.decrypt(KeyId=self.made["key_arn"], CiphertextBlob=ciphertext, EncryptionContext=context)
        return opened["Plaintext"].decode()

    def test_from_an_apply_to_hosts_that_come_and_go(self):
        """The whole way."""
        self.with_policy()
        # The schedule may have come before.
        self.assertIn(self.rotate()["web/factory"], ("rotated", "kept"))
        self.assertEqual(self.rotate(), {"web/factory": "kept", "db/factory": "unshared"})
        self.assertEqual(self.objects("factories/"), ["factories/demo/web/factory/token.json"])
        rotator = self.site.session(f"{FUNCTIONS}/imprint-rotator", "kms")
        self.secrets["the token of web"] = self.opened(rotator, "factories/demo/web/factory/token.json")
        self.launch(*WEB)
        self.launch(*DB)

        self.a_shared_token()
        self.a_token_for_one_instance()
        self.a_promotion()
        self.an_end()
        self.nothing_of_it_stays()

    def a_shared_token(self):
        """An instance of web enrolls with the token of its layer."""
        # With its role, but the other layer's configuration: it comes to nothing.
        root = self.machine(*WEB, "db")
        code, said = self.agent("enroll", root)
        self.assertEqual((code, (root / "etc/conjur.identity").exists()), (69, False), said)
        # With what is meant for it.
        self.web = self.machine(*WEB, "web")
        code, said = self.agent("enroll", self.web)
        self.assertEqual(code, 0, said)
        self.identity(self.web, "web", self.instances["web"])

    def a_token_for_one_instance(self):
        """EC2's event lets the minter publish one for the instance of db, which nobody else can open."""
        number, layer = DB
        token = f"instances/{self.instances[layer]}/db/factory.json"
        self.wait("the token of the instance", lambda: self.objects("instances/"))
        self.assertEqual(self.objects("instances/"), [token])
        minter = self.site.session(f"{FUNCTIONS}/imprint-minter", "kms")
        self.secrets["the token of the instance of db"] = self.opened(minter, token)
        self.assertEqual(
            self.sealed(token)[1]["imprint:instance_arn"],
            f"arn:aws:ec2:{provision.REGION}:{ACCOUNT}:instance/{self.instances[layer]}",
        )
        # Another instance of its layer, one of the layer that is promoted to it, and the role itself.
        strangers = {
            role: [self.site.on_instance(WEB[0], role, service) for service in ("s3", "kms")]
            for role in ("imprint-layer-db", "imprint-layer-web")
        }
        role = self.made["roles"][layer]
        strangers["the role"] = [self.site.session(role, service) for service in ("s3", "kms")]
        for stranger, (s3, kms) in strangers.items():
            self.assertTrue(s3.get_object(Bucket=self.made["bucket"], Key=token)["Body"].read())
            with self.assertRaises(ClientError, msg=stranger) as denied:
                self.opened(kms, token)
            self.assertEqual(denied.exception.response["Error"]["Code"], "AccessDeniedException", stranger)

        root = self.machine(number, layer, layer)
        code, said = self.agent("enroll", root)
        self.assertEqual(code, 0, said)
        self.db = self.identity(root, layer, self.instances[layer])

    def a_promotion(self):
        """An instance of web that is tagged for it moves over to db; no other had a token to do so."""
        code, said = self.agent("promote", self.web)
        self.assertNotIn("db/hosts", (self.web / "etc/conjur.identity").read_text(), said)
        ec2 = self.site.cloud.client("ec2")
        ec2.create_tags(Resources=[self.instances["web"]], Tags=[{"Key": "Role", "Value": "database"}])
        token = f"instances/{self.instances['web']}/db/factory.json"
        self.wait("the token of the promotion", lambda: token in self.objects("instances/"))
        # The clients above have changed which role the metadata service gives.
        self.site.emulator.control(instances={str(WEB[0]): {"role": "imprint-layer-web"}})
        own = self.site.on_instance(WEB[0], "imprint-layer-web", "kms")
        self.secrets["the token of the promotion"] = self.opened(own, token)
        code, said = self.agent("promote", self.web)
        self.assertEqual(code, 0, said)
        self.promoted = self.identity(self.web, "db", self.instances["web"])

    def an_end(self):
        """The host of an instance that is terminated is removed; that of the other one stays."""
        self.site.cloud.terminate([self.instances["db"]])
        self.wait("the end of the host", lambda: not self.conjur.log_in(*self.db)[0])
        self.assertTrue(self.conjur.log_in(*self.promoted)[0])
        # The reaper counts too, for the alarms.
        self.wait("a count of hosts", lambda: '"HostsWithoutInstance":' in self.logs())

    def nothing_of_it_stays(self):
        """No secret is in Terraform's state, in a plan of a change, or in what anybody said."""
        self.told.append(self.logs())
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
