"""The example is applied, used within its limits and beyond them, changed, and destroyed.

Needs target/terraform/terraform (setup.sh) and the peers' virtual environment.
"""

import json
import re
import unittest

from applied import ROOT, Applied, provision
from botocore.exceptions import ClientError

ACCOUNT = "123456789012"
ROLES = f"arn:aws:iam::{ACCOUNT}:role/imprint"


def context(layer, scope="layer", **more):
    """An encryption context as the rotator's: the keys that policies look at."""
    named = {"account": "prod", "host_factory": f"{layer}/factory", "scope": scope, **more}
    return {f"imprint:{name}": value for name, value in named.items()}


class Applying(unittest.TestCase):
    """One apply for all of it, since it takes the longest."""

    @classmethod
    def setUpClass(cls):
        """Applies the example."""
        cls.site = cls.enterClassContext(Applied())
        # A second layer that shares a token, beside the example's two.
        cls.add_layer("api")
        cls.made = cls.site.apply()
        cls.key, cls.bucket = cls.made["key_arn"], cls.made["bucket"]

    @classmethod
    def add_layer(cls, name):
        """Adds a layer to the example; what the example was before."""
        example = cls.site.example / "main.tf"
        text = example.read_text()
        layer = f'{name} = {{ host_factory = "{name}/factory", hosts_branch = "{name}/hosts" }}\n    web = {{'
        example.write_text(text.replace("web = {", layer, 1))
        return text

    def allowed(self, what, call, *arguments, **named):
        """The call works."""
        try:
            return call(*arguments, **named)
        except ClientError as problem:
            self.fail(f"{what}: {problem}")

    def denied(self, what, call, *arguments, **named):
        """The call is denied, for want of a permission and for nothing else."""
        with self.assertRaises(ClientError, msg=what) as refused:
            call(*arguments, **named)
        code = refused.exception.response["Error"]["Code"]
        self.assertIn(code, ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation"), what)

    def function(self, name, service):
        """A client of a function's role."""
        return self.site.session(f"{ROLES}/functions/imprint-{name}", service)

    def rotator(self, service):
        """A client of the rotator's role."""
        return self.function("rotator", service)

    def put(self, key, body=b"sealed"):
        """The rotator puts an object."""
        return self.rotator("s3").put_object(Bucket=self.bucket, Key=key, Body=body)

    def seal(self, of):
        """The rotator seals for a layer, the minter for an instance."""
        kms = self.function({"layer": "rotator", "instance": "minter"}[of["imprint:scope"]], "kms")
        sealed = kms.encrypt(KeyId=self.key, Plaintext=b"token", EncryptionContext=of)
        return sealed["CiphertextBlob"]

    def test_a_layer_reads_and_unseals_its_own_and_nothing_else(self):
        """The matrix of two layers."""
        for layer in ("web", "api"):
            self.allowed("publish", self.put, f"factories/prod/{layer}/factory/token.json")
        sealed = {layer: self.seal(context(layer)) for layer in ("web", "api")}
        for number, (own, other) in enumerate((("web", "api"), ("api", "web"))):
            role = f"imprint-layer-{own}"
            s3, kms = (self.site.on_instance(number, role, service) for service in ("s3", "kms"))
            token = f"factories/prod/{own}/factory/token.json"
            stranger = f"factories/prod/{other}/factory/token.json"
            self.allowed("its own token", s3.get_object, Bucket=self.bucket, Key=token)
            self.denied("another's token", s3.get_object, Bucket=self.bucket, Key=stranger)
            self.denied("the configuration", s3.get_object, Bucket=self.bucket, Key="config/rotator.toml")
            self.denied("a put", s3.put_object, Bucket=self.bucket, Key=token, Body=b"")
            self.denied("a deletion", s3.delete_object, Bucket=self.bucket, Key=token)
            self.denied("the whole list", s3.list_objects_v2, Bucket=self.bucket)
            self.allowed("the list of its key", s3.list_objects_v2, Bucket=self.bucket, Prefix=token)
            self.denied("that of another's", s3.list_objects_v2, Bucket=self.bucket, Prefix=stranger)

            def unseal(blob, of, kms=kms):
                return kms.decrypt(KeyId=self.key, CiphertextBlob=blob, EncryptionContext=of)

            opened = self.allowed("its own", unseal, sealed[own], context(own))
            self.assertEqual(opened["Plaintext"], b"token")
            self.denied("another's", unseal, sealed[other], context(other))
            self.denied("another account's", unseal, sealed[own], {**context(own), "imprint:account": "x"})
            self.denied("without a context", kms.decrypt, KeyId=self.key, CiphertextBlob=sealed[own])
            without = {k: v for k, v in context(own).items() if k != "imprint:scope"}
            self.denied("without a scope", unseal, sealed[own], without)
            with self.assertRaises(ClientError) as refused:
                unseal(sealed[other], context(own))
            self.assertEqual(refused.exception.response["Error"]["Code"], "InvalidCiphertextException")
            for way in (
                lambda kms=kms, own=own: kms.encrypt(
                    KeyId=self.key, Plaintext=b"x", EncryptionContext=context(own)
                ),
                lambda kms=kms: kms.generate_data_key(KeyId=self.key, KeySpec="AES_256"),
                lambda kms=kms: kms.create_grant(
                    KeyId=self.key, GranteePrincipal=ROLES, Operations=["Decrypt"]
                ),
                lambda kms=kms: kms.get_key_policy(KeyId=self.key, PolicyName="default"),
            ):
                self.denied("sealing, or another way in", way)

    def test_what_is_sealed_for_one_instance_opens_there_alone(self):
        """Web is promoted to db with a token of its own."""
        shown = self.site.emulator.control()["instances"]
        mine, other = (f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/{one['instance_id']}" for one in shown)
        of = context("db", "instance", instance_arn=mine)
        blob = self.seal(of)

        def unseal(number, role, given):
            kms = self.site.on_instance(number, role, "kms")
            return kms.decrypt(KeyId=self.key, CiphertextBlob=blob, EncryptionContext=given)

        self.allowed("the instance itself", unseal, 0, "imprint-layer-web", of)
        self.denied("another of its layer", unseal, 1, "imprint-layer-web", of)
        self.denied(
            "one that lies",
            unseal,
            1,
            "imprint-layer-web",
            {**of, "imprint:instance_arn": other, "imprint:scope": "layer"},
        )
        self.allowed("the same, born in that layer", unseal, 0, "imprint-layer-db", of)
        self.denied("one that may not be promoted", unseal, 0, "imprint-layer-api", of)
        elsewhere = self.site.session(f"{ROLES}/layers/imprint-layer-web", "kms")
        self.denied(
            "the role, from no instance",
            elsewhere.decrypt,
            KeyId=self.key,
            CiphertextBlob=blob,
            EncryptionContext=of,
        )

    def test_a_layer_that_shares_no_token_may_have_none(self):
        """Whoever puts one there, or seals one for it."""
        self.put("factories/prod/db/factory/token.json")
        s3, kms = (self.site.on_instance(1, "imprint-layer-db", service) for service in ("s3", "kms"))
        token = {"Bucket": self.bucket, "Key": "factories/prod/db/factory/token.json"}
        self.denied("a shared token", s3.get_object, **token)
        blob, of = self.seal(context("db")), context("db")
        self.denied("to unseal it", kms.decrypt, KeyId=self.key, CiphertextBlob=blob, EncryptionContext=of)

    def test_a_role_with_more_permissions_opens_no_more(self):
        """As existing roles may have."""
        iam = self.site.cloud.client("iam")
        more = provision.document(provision.allow(["*"], "*"))
        iam.put_role_policy(RoleName="imprint-layer-web", PolicyName="more", PolicyDocument=more)
        self.addCleanup(iam.delete_role_policy, RoleName="imprint-layer-web", PolicyName="more")
        kms, s3 = (self.site.on_instance(0, "imprint-layer-web", service) for service in ("kms", "s3"))
        blob, of = self.seal(context("db")), context("db")
        self.denied("another's", kms.decrypt, KeyId=self.key, CiphertextBlob=blob, EncryptionContext=of)
        self.denied("no context", kms.decrypt, KeyId=self.key, CiphertextBlob=blob)
        self.denied("sealing", kms.encrypt, KeyId=self.key, Plaintext=b"x", EncryptionContext=context("web"))
        for folder in (
            "factories/prod/web/factory/token.json",
            "config/rotator.toml",
            "logins/prod/x.json",
            "x",
        ):
            self.denied(folder, s3.put_object, Bucket=self.bucket, Key=folder, Body=b"")
        self.denied("a deletion", s3.delete_object, Bucket=self.bucket, Key="config/rotator.toml")

    def test_functions_administrators_and_operators_may_do_what_they_are_for(self):
        """And no more."""
        s3, kms = self.rotator("s3"), self.rotator("kms")
        for key in (
            "config/rotator.toml",
            "logins/prod/host/imprint/rotator.json",
            "fleet/prod/x",
            "instances/i-1/x",
            "x",
        ):
            self.denied(key, s3.put_object, Bucket=self.bucket, Key=key, Body=b"")
        self.denied(
            "a deletion", s3.delete_object, Bucket=self.bucket, Key="factories/prod/web/factory/token.json"
        )
        self.allowed("configuration", s3.get_object, Bucket=self.bucket, Key="config/rotator.toml")
        self.denied("what the reaper keeps", s3.get_object, Bucket=self.bucket, Key="fleet/prod/x")
        self.denied(
            "another account",
            kms.encrypt,
            KeyId=self.key,
            Plaintext=b"x",
            EncryptionContext={"imprint:account": "x"},
        )
        self.denied("no context", kms.encrypt, KeyId=self.key, Plaintext=b"x")
        self.denied(
            "a grant", kms.create_grant, KeyId=self.key, GranteePrincipal=ROLES, Operations=["Decrypt"]
        )
        self.denied("instances", self.rotator("ec2").describe_instances)

        reaper = {name: self.function("reaper", name) for name in ("s3", "kms", "ec2")}
        self.allowed("instances", reaper["ec2"].describe_instances)
        self.allowed("its memory", reaper["s3"].put_object, Bucket=self.bucket, Key="fleet/prod/x", Body=b"")
        token = "factories/prod/web/factory/token.json"
        self.denied("a token", reaper["s3"].put_object, Bucket=self.bucket, Key=token, Body=b"")
        self.denied("ending one", reaper["ec2"].terminate_instances, InstanceIds=["i-0123456789abcdef0"])
        blob, of = self.seal(context("web")), context("web")
        self.denied(
            "a token", reaper["kms"].decrypt, KeyId=self.key, CiphertextBlob=blob, EncryptionContext=of
        )

        administrator, operator = (
            {name: self.site.session(role, name) for name in ("s3", "kms")}
            for role in (self.site.administrator, self.site.operator)
        )
        self.denied("a token", administrator["s3"].put_object, Bucket=self.bucket, Key=token, Body=b"")
        self.denied(
            "unsealing",
            administrator["kms"].decrypt,
            KeyId=self.key,
            CiphertextBlob=blob,
            EncryptionContext=of,
        )
        self.denied(
            "sealing", administrator["kms"].encrypt, KeyId=self.key, Plaintext=b"x", EncryptionContext=of
        )
        self.allowed(
            "the key's policy", administrator["kms"].get_key_policy, KeyId=self.key, PolicyName="default"
        )
        login = {"Bucket": self.bucket, "Key": "logins/prod/host/imprint/rotator.json", "Body": b"{}"}
        self.allowed("a login", operator["s3"].put_object, **login)
        self.denied("a login", administrator["s3"].put_object, **login)
        one = {**login, "Key": "instances/i-0123456789abcdef0/db/factory.json"}
        self.allowed("a token for one instance, by hand", operator["s3"].put_object, **one)
        self.denied("a token for one instance", administrator["s3"].put_object, **one)
        self.denied("configuration", operator["s3"].put_object, **{**login, "Key": "config/rotator.toml"})
        self.denied("the key's policy", operator["kms"].get_key_policy, KeyId=self.key, PolicyName="default")

    def test_the_minter_seals_for_single_instances_alone(self):
        """And the rotator, whatever else its role is allowed, for none."""
        s3, kms, ec2 = (self.function("minter", service) for service in ("s3", "kms", "ec2"))
        token = "instances/i-0123456789abcdef0/db/factory.json"
        memory = "promotions/prod/db/factory/memory.json"
        for key in (token, memory):
            self.allowed(key, s3.put_object, Bucket=self.bucket, Key=key, Body=b"")
            self.allowed(key, s3.get_object, Bucket=self.bucket, Key=key)
        for key in (
            "config/rotator.toml",
            "config/rules.toml",
            "factories/prod/db/factory/token.json",
            "fleet/prod/x",
            "logins/prod/host/imprint/minter.json",
            "promotions/other/x",
            "x",
        ):
            self.denied(key, s3.put_object, Bucket=self.bucket, Key=key, Body=b"")
        self.denied("a deletion", s3.delete_object, Bucket=self.bucket, Key=token)
        for key in ("config/rotator.toml", "config/rules.toml"):
            self.allowed(key, s3.get_object, Bucket=self.bucket, Key=key)
        self.allowed("instances", ec2.describe_instances)
        self.denied("ending one", ec2.terminate_instances, InstanceIds=["i-0123456789abcdef0"])

        arn = f"arn:aws:ec2:us-east-1:{ACCOUNT}:instance/i-0123456789abcdef0"
        own, layers = context("db", "instance", instance_arn=arn), context("db")

        def opens(kms, blob, of):
            return kms.decrypt(KeyId=self.key, CiphertextBlob=blob, EncryptionContext=of)

        def seals(kms, of):
            return kms.encrypt(KeyId=self.key, Plaintext=b"x", EncryptionContext=of)

        self.allowed("to read back", opens, kms, self.seal(own), own)
        self.denied("a layer's token", opens, kms, self.seal(layers), layers)
        self.denied("for a layer", seals, kms, layers)
        self.denied("for no scope", seals, kms, {"imprint:account": "prod"})
        self.denied("for another account", seals, kms, {**own, "imprint:account": "x"})
        login = {"imprint:account": "prod", "imprint:login": "host/imprint/rotator"}
        sealed = seals(self.site.session(self.site.operator, "kms"), login)["CiphertextBlob"]
        self.denied("the rotator's login", opens, kms, sealed, login)
        self.allowed("its own login", opens, self.rotator("kms"), sealed, login)

        # The key and the bucket say so too, whatever a role is allowed.
        iam = self.site.cloud.client("iam")
        more = provision.document(provision.allow(["*"], "*"))
        for name in ("rotator", "minter", "reaper"):
            role = {"RoleName": f"imprint-{name}", "PolicyName": "more"}
            iam.put_role_policy(**role, PolicyDocument=more)
            self.addCleanup(iam.delete_role_policy, **role)
        for name, service, what, call in (
            ("rotator", "kms", "for an instance", lambda kms: seals(kms, own)),
            ("rotator", "kms", "an instance's", lambda kms: opens(kms, self.seal(own), own)),
            ("reaper", "kms", "for an instance", lambda kms: seals(kms, own)),
            ("minter", "kms", "for a layer", lambda kms: seals(kms, layers)),
            ("minter", "kms", "a layer's", lambda kms: opens(kms, self.seal(layers), layers)),
        ):
            self.denied(f"{name}: {what}", call, self.function(name, service))
        for name, key in (
            ("rotator", token),
            ("rotator", memory),
            ("reaper", token),
            ("minter", "factories/prod/db/factory/token.json"),
            ("minter", "config/rules.toml"),
        ):
            s3 = self.function(name, "s3")
            self.denied(f"{name}: {key}", s3.put_object, Bucket=self.bucket, Key=key, Body=b"")

    def test_nothing_goes_over_unencrypted_transport(self):
        """Whoever asks."""
        s3 = self.rotator("s3")
        token = "factories/prod/web/factory/token.json"
        self.put(token)
        self.site.emulator.control(plain=True)
        self.addCleanup(self.site.emulator.control, plain=False)
        self.denied("a get", s3.get_object, Bucket=self.bucket, Key=token)
        self.denied("a put", s3.put_object, Bucket=self.bucket, Key=token, Body=b"")
        self.denied(
            "the administrator's",
            self.site.session(self.site.administrator, "s3").get_object,
            Bucket=self.bucket,
            Key=token,
        )

    def test_each_alarm_leads_to_a_section_of_the_runbook(self):
        """As it is applied, so that whoever is woken finds it."""
        alarms = self.site.cloud.client("cloudwatch").describe_alarms()["MetricAlarms"]
        self.assertGreater(len(alarms), 12)
        for alarm in alarms:
            found = re.search(r"\. Runbook: (\S+)#([a-z-]+)$", alarm["AlarmDescription"])
            self.assertTrue(found, alarm["AlarmDescription"])
            self.assertIn(f"\n### {found[2]}\n", (ROOT / found[1]).read_text(), alarm["AlarmName"])
            self.assertEqual(len(alarm["AlarmActions"]), 1)

    def test_a_change_touches_what_it_must(self):
        """And nothing changes by itself."""
        site = self.site
        self.assertEqual(site.changes(), {})
        module = "module.imprint"
        before = dict(site.variables)
        self.addCleanup(site.variables.update, before)
        config, late = (
            f'{module}.aws_s3_object.config["rotator.toml"]',
            f'{module}.aws_cloudwatch_metric_alarm.this["token-late"]',
        )
        site.variables["period"] = 300
        # The alarm's threshold is what a token has left when it is due, which the period does not change.
        self.assertEqual(site.changes(), {config: "update"})
        site.apply()
        self.assertEqual(site.changes(), {})
        found = self.site.session(site.administrator, "s3").get_object(
            Bucket=self.bucket, Key="config/rotator.toml"
        )
        self.assertIn('period = "300m"', found["Body"].read().decode())
        self.assertNotIn(late, site.changes())

        text = self.add_layer("new")
        example = site.example / "main.tf"
        self.addCleanup(example.write_text, text)
        touched = {
            config: "update",
            f'{module}.aws_iam_role.layer["new"]': "create",
            f'{module}.aws_iam_role_policy.layer["new"]': "create",
            f'{module}.aws_iam_instance_profile.layer["new"]': "create",
            'aws_launch_template.layer["new"]': "create",
        }
        self.assertEqual(site.changes(), touched)
        site.apply()
        self.assertEqual(site.changes(), {})
        example.write_text(text)
        gone = {address: "delete" if action == "create" else action for address, action in touched.items()}
        self.assertEqual(site.changes(), gone)
        site.apply()

        # Somebody widens a role by hand: the next plan says so.
        iam = site.cloud.client("iam")
        wide = provision.document(provision.allow(["s3:*"], "*"))
        name = {"RoleName": "imprint-layer-web", "PolicyName": "imprint-web"}
        iam.put_role_policy(**name, PolicyDocument=wide)
        self.assertEqual(site.changes(), {f'{module}.aws_iam_role_policy.layer["web"]': "update"})
        site.apply()
        self.assertEqual(site.changes(), {})


class Destroying(unittest.TestCase):
    """In a site of its own."""

    def test_nothing_stays_but_the_key_that_can_be_brought_back(self):
        """The bucket goes with what the rotator put."""
        with Applied() as site:
            made = site.apply()
            s3 = site.session(f"{ROLES}/functions/imprint-rotator", "s3")
            s3.put_object(Bucket=made["bucket"], Key="factories/prod/web/factory/token.json", Body=b"x")
            site.terraform("destroy", "-auto-approve", "-input=false")
            self.assertEqual(json.loads(site.state())["resources"], [])
            root = site.cloud.client
            self.assertEqual(root("s3").list_buckets()["Buckets"], [])
            self.assertEqual(
                [
                    role["RoleName"]
                    for role in root("iam").list_roles()["Roles"]
                    if "imprint" in role["RoleName"]
                ],
                [],
            )
            self.assertEqual(root("lambda").list_functions()["Functions"], [])
            state = root("kms").describe_key(KeyId=made["key_arn"])["KeyMetadata"]["KeyState"]
            self.assertEqual(state, "PendingDeletion")


if __name__ == "__main__":
    unittest.main()
