#!/usr/bin/env python3
"""Lays out the AWS side of Imprint in the emulator, as the Terraform module does in AWS.

    provision.py --url URL layout --account myorg --layer web=bootstrap/web --layer db=bootstrap/db
    provision.py --url URL function --role ARN --environment '{"NAME": "value"}' PROGRAM_OR_ZIP
    provision.py --url URL invoke [--payload JSON] NAME
    provision.py --url URL schedule --every 'rate(15 minutes)' NAME
    provision.py --url URL schedule --once --input JSON NAME
    provision.py --url URL log --of TEXT --count 2 NAME
    provision.py --url URL session ARN

`layout` makes a versioned bucket, a KMS key with rotation, one role per layer and the rotator's
role. A layer's role may get its one object and decrypt with its one factory in the encryption
context; nothing else is granted to it, not even to list the bucket. `function` makes a Lambda
function, `invoke` calls one and waits, `schedule` lets a rule or EventBridge Scheduler do it, `log`
waits for what it then logs, `session` gives temporary credentials of a role under the names of the
environment variables. Each prints one JSON object.
"""

import argparse
import base64
import io
import json
import pathlib
import stat
import time
import zipfile

import boto3
from botocore.config import Config

REGION = "us-east-1"
# Seconds: longer than any function that is invoked may take.
PATIENCE = 900
PREFIX = "factories"
# The key of the encryption context that names the host factory.
HOST_FACTORY_KEY = "imprint:host_factory"
# How long a function may take to log what is waited for.
LOG_SECONDS = 30


def main():
    """Reads the command line, does what it asks, prints what came of it."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("--url", required=True, help="endpoint of the emulator")
    commands = options.add_subparsers(dest="command", required=True)
    layout = commands.add_parser("layout", help="bucket, key and roles")
    layout.add_argument("--bucket", default="imprint-tokens")
    layout.add_argument("--account", default="myorg", help="the Conjur account")
    layout.add_argument("--layer", action="append", default=[], metavar="ROLE=FACTORY", type=pair)
    layout.add_argument("--context-key", default=HOST_FACTORY_KEY)
    function = commands.add_parser("function", help="a Lambda function of a program or a zip")
    function.add_argument("--name", default="imprint-rotator")
    function.add_argument("--role", required=True, metavar="ARN")
    function.add_argument("--environment", type=json.loads, default={}, metavar="JSON")
    function.add_argument("--seconds", default=120, type=int, help="its time-out")
    function.add_argument("program", type=pathlib.Path)
    invoke = commands.add_parser("invoke", help="calls a function and waits")
    invoke.add_argument("--payload", default="{}", metavar="JSON")
    invoke.add_argument("name")
    schedule = commands.add_parser("schedule", help="lets EventBridge call a function")
    schedule.add_argument("--every", default="", metavar="RATE", help="a rule's rate; none takes it away")
    schedule.add_argument("--once", action="store_true", help="EventBridge Scheduler, at once")
    schedule.add_argument("--input", default="", metavar="JSON", help="what it sends instead of its event")
    schedule.add_argument("name")
    log = commands.add_parser("log", help="waits for lines of a function's log")
    log.add_argument("--of", default="", metavar="TEXT")
    log.add_argument("--count", default=1, type=int)
    log.add_argument("name")
    instances = commands.add_parser("instances", help="starts EC2 instances")
    instances.add_argument("--count", default=1, type=int)
    terminate = commands.add_parser("terminate", help="ends EC2 instances")
    terminate.add_argument("instance", nargs="+")
    session = commands.add_parser("session", help="temporary credentials of a role")
    session.add_argument("role", metavar="ARN")
    print(json.dumps(run(options.parse_args()), indent=2))


def run(given):
    """One command."""
    cloud = Cloud(given.url)
    if given.command == "layout":
        return cloud.provision(given.bucket, given.account, dict(given.layer), given.context_key)
    if given.command == "function":
        zipped = packed(given.program.read_bytes())
        made = cloud.function(given.name, given.role, zipped, given.environment, given.seconds)
        return {"function_arn": made}
    if given.command == "invoke":
        return cloud.invoke(given.name, given.payload.encode())
    if given.command == "schedule":
        return cloud.once(given.name, given.input) if given.once else cloud.every(given.name, given.every)
    if given.command == "instances":
        return cloud.instances(given.count)
    if given.command == "terminate":
        return cloud.terminate(given.instance)
    if given.command == "log":
        return {"lines": cloud.log(given.name, given.of, given.count)}
    return cloud.session(given.role)


def pair(text):
    """`ROLE=FACTORY`."""
    role, equals, factory = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text} is not ROLE=FACTORY")
    return role, factory


def packed(program):
    """A deployment package: the bytes as they are when they are a zip, else with them as `bootstrap`."""
    buffer = io.BytesIO(program)
    if zipfile.is_zipfile(buffer):
        return program
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo("bootstrap")
        entry.external_attr = (stat.S_IFREG | 0o755) << 16
        archive.writestr(entry, program, zipfile.ZIP_DEFLATED)
    return zipped.getvalue()


def object_key(account, factory):
    """Where a factory's sealed token lies in the bucket."""
    return f"{PREFIX}/{account}/{factory}/token.json"


class Cloud:
    """The emulator, called as its root."""

    def __init__(self, url):
        """`url` is the endpoint of all services."""
        self.url = url

    def client(self, service, key="test", secret="test", token=None):
        """A client with the given credentials; root's when none are given. It never retries, and waits long.

        Its own 60 seconds are short for an invocation on a machine on which much else runs.
        """
        usual = Config(
            retries={"total_max_attempts": 1},
            connect_timeout=PATIENCE,
            read_timeout=PATIENCE,
            s3={"addressing_style": "path"},
        )
        return boto3.client(
            service,
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=key,
            aws_secret_access_key=secret,
            aws_session_token=token,
            config=usual,
        )

    def provision(self, bucket, account, layers, context_key=HOST_FACTORY_KEY):
        """Bucket, key and roles: their names and ARNs."""
        key_arn = self.key()
        objects = f"arn:aws:s3:::{bucket}/{PREFIX}/*"
        rotator = self.role(
            "imprint-rotator",
            "lambda.amazonaws.com",
            [
                allow(["s3:GetObject", "s3:PutObject"], objects),
                # With it a missing object answers 404, which tells the rotator to publish the first.
                allow(["s3:ListBucket"], f"arn:aws:s3:::{bucket}"),
                allow(["kms:Encrypt", "kms:Decrypt"], key_arn),
            ],
        )
        self.bucket(bucket, rotator)
        fleet = self.role(
            "imprint-fleet",
            "lambda.amazonaws.com",
            [
                allow(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{bucket}/fleet/*"),
                allow(["s3:ListBucket"], f"arn:aws:s3:::{bucket}"),
                allow(["ec2:DescribeInstances"], "*"),
            ],
        )
        instances = self.role(
            "imprint-instances",
            "lambda.amazonaws.com",
            [
                allow(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{bucket}/instances/*"),
                allow(["s3:GetObject", "s3:PutObject"], f"arn:aws:s3:::{bucket}/promotions/*"),
                allow(["s3:ListBucket"], f"arn:aws:s3:::{bucket}"),
                allow(
                    ["kms:Encrypt", "kms:Decrypt"],
                    key_arn,
                    {"StringEquals": {"kms:EncryptionContext:imprint:scope": "instance"}},
                ),
                allow(["ec2:DescribeInstances"], "*"),
            ],
        )
        roles = {
            name: self.role(
                name,
                "ec2.amazonaws.com",
                [
                    allow(["s3:GetObject"], f"arn:aws:s3:::{bucket}/{object_key(account, factory)}"),
                    allow(
                        ["kms:Decrypt"],
                        key_arn,
                        {"StringEquals": {f"kms:EncryptionContext:{context_key}": factory}},
                    ),
                ],
            )
            for name, factory in layers.items()
        }
        return {
            "bucket": bucket,
            "key_arn": key_arn,
            "rotator_role": rotator,
            "fleet_role": fleet,
            "instances_role": instances,
            "roles": roles,
            "objects": {name: object_key(account, factory) for name, factory in layers.items()},
        }

    def key(self):
        """A KMS key whose policy leaves the decision to IAM, as the default key policy does."""
        account = self.client("sts").get_caller_identity()["Account"]
        root = {"AWS": f"arn:aws:iam::{account}:root"}
        policy = document({**allow(["kms:*"], "*"), "Principal": root})
        kms = self.client("kms")
        made = kms.create_key(Policy=policy, Description="seals host factory tokens")["KeyMetadata"]
        kms.enable_key_rotation(KeyId=made["KeyId"])
        kms.create_alias(AliasName="alias/imprint", TargetKeyId=made["KeyId"])
        return made["Arn"]

    def bucket(self, name, rotator):
        """A versioned bucket in which nobody but the rotator may put a sealed token."""
        s3 = self.client("s3")
        s3.create_bucket(Bucket=name)
        s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
        sessions = rotator.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/*"
        s3.put_bucket_policy(
            Bucket=name,
            Policy=document(
                {
                    "Sid": "OnlyTheRotatorPublishes",
                    "Effect": "Deny",
                    "Principal": "*",
                    "Action": "s3:PutObject",
                    "Resource": f"arn:aws:s3:::{name}/{PREFIX}/*",
                    "Condition": {"ArnNotLike": {"aws:PrincipalArn": [rotator, sessions]}},
                }
            ),
        )

    def role(self, name, service, statements):
        """A role that `service` may assume, and the account's root for the tests' sake."""
        account = self.client("sts").get_caller_identity()["Account"]
        principal = {"Service": service, "AWS": f"arn:aws:iam::{account}:root"}
        trust = document({"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"})
        iam = self.client("iam")
        made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]
        iam.put_role_policy(RoleName=name, PolicyName="imprint", PolicyDocument=document(*statements))
        return made["Arn"]

    def function(self, name, role, zipped, environment, seconds=120):
        """A Lambda function on the OS-only runtime: the zip holds an executable `bootstrap`."""
        made = self.client("lambda").create_function(
            FunctionName=name,
            Runtime="provided.al2023",
            Handler="bootstrap",
            Role=role,
            Code={"ZipFile": zipped},
            Environment={"Variables": environment},
            MemorySize=128,
            Timeout=seconds,
            Architectures=["x86_64"],
        )
        return made["FunctionArn"]

    def invoke(self, name, payload):
        """Calls a function: its reply, the type of its error if it failed, the end of its log."""
        reply = self.client("lambda").invoke(FunctionName=name, Payload=payload, LogType="Tail")
        said = json.load(reply["Payload"])
        return {
            "failed": "FunctionError" in reply,
            "reply": said,
            "log": base64.b64decode(reply.get("LogResult", "")).decode(errors="replace"),
        }

    def every(self, name, rate):
        """Lets an EventBridge rule invoke the function; an empty rate takes the rule away."""
        events = self.client("events")
        if not rate:
            events.remove_targets(Rule=name, Ids=["function"])
            events.delete_rule(Name=name)
            return {}
        arn = self.client("lambda").get_function(FunctionName=name)["Configuration"]["FunctionArn"]
        made = events.put_rule(Name=name, ScheduleExpression=rate)
        events.put_targets(Rule=name, Targets=[{"Id": "function", "Arn": arn}])
        return {"arn": made["RuleArn"]}

    def once(self, name, payload):
        """Lets EventBridge Scheduler invoke the function at once and never again, with this input if any."""
        function = self.client("lambda").get_function(FunctionName=name)["Configuration"]
        target = {"Arn": function["FunctionArn"], "RoleArn": function["Role"]}
        made = self.client("scheduler").create_schedule(
            Name=name,
            ScheduleExpression=time.strftime("at(%Y-%m-%dT%H:%M:%S)", time.gmtime()),
            FlexibleTimeWindow={"Mode": "OFF"},
            Target={**target, "Input": payload} if payload else target,
        )
        return {"arn": made["ScheduleArn"]}

    def instances(self, count):
        """New EC2 instances: their ids."""
        made = self.client("ec2").run_instances(
            ImageId="ami-0123456789abcdef0", InstanceType="t3.micro", MinCount=count, MaxCount=count
        )
        return {"instances": [instance["InstanceId"] for instance in made["Instances"]]}

    def terminate(self, instances):
        """Ends them, until EC2 itself says so."""
        ec2 = self.client("ec2")
        ec2.terminate_instances(InstanceIds=instances)
        for _ in range(LOG_SECONDS * 5):
            found = ec2.describe_instances(InstanceIds=instances)["Reservations"]
            states = {one["State"]["Name"] for group in found for one in group["Instances"]}
            if states == {"terminated"}:
                return {}
            time.sleep(0.2)
        raise SystemExit(f"they never ended: {states}")

    def log(self, name, wanted, count):
        """The function's log in CloudWatch Logs, once so many of its lines have the wanted text."""
        logs = self.client("logs")
        for _ in range(LOG_SECONDS * 5):
            try:
                events = logs.filter_log_events(logGroupName=f"/aws/lambda/{name}")["events"]
            except logs.exceptions.ResourceNotFoundException:
                events = []
            lines = [event["message"] for event in events]
            if sum(wanted in line for line in lines) >= count:
                return lines
            time.sleep(0.2)
        raise SystemExit(f"{name} never logged {wanted} {count} times: {lines}")

    def session(self, role):
        """Credentials of a role for an hour, as the AWS SDKs read them from the environment."""
        given = self.client("sts").assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
        return {
            "AWS_ACCESS_KEY_ID": given["AccessKeyId"],
            "AWS_SECRET_ACCESS_KEY": given["SecretAccessKey"],
            "AWS_SESSION_TOKEN": given["SessionToken"],
        }


def allow(actions, resource, condition=None):
    """One statement that allows."""
    statement = {"Effect": "Allow", "Action": actions, "Resource": resource}
    return {**statement, "Condition": condition} if condition else statement


def document(*statements):
    """A policy document as JSON."""
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


if __name__ == "__main__":
    main()
