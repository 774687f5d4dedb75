"""IMDSv2 of several instances, each on its own port and with its own role.

ministack's answers with credentials that no service knows. Here they are a session of the
instance's role, so what the role may do is what its instance can do. The paths and refusals
follow the EC2 user guide, "Access instance metadata".
"""

import dataclasses
import time

from ministack.core.responses import get_account_id, get_region
from ministack.services import iam, imds, sts

TOKEN = "/latest/api/token"
CREDENTIALS = "/latest/meta-data/iam/security-credentials"
DOCUMENT = "/latest/dynamic/instance-identity/document"
TAGS = "/latest/meta-data/tags/instance"
META = "/latest/meta-data/"


@dataclasses.dataclass
class Instance:
    """One EC2 instance, as its own IMDS describes it. All but `sessions` can be set by a test."""

    instance_id: str
    role: str = ""  # "" is an instance without a profile
    credentials_seconds: int = 3600
    hostname: str = "ip-192-0-2-10.ec2.internal"
    private_ip: str = "192.0.2.10"
    image_id: str = "ami-0123456789abcdef0"
    tags: dict = dataclasses.field(default_factory=dict)
    user_data: str = ""
    sessions: dict = dataclasses.field(default_factory=dict, repr=False)

    def settings(self):
        """What a test may see: never the sessions, which hold keys."""
        shown = dataclasses.asdict(self)
        del shown["sessions"]
        return shown

    def set(self, values):
        """Takes new settings; a name that is none of them is an error of the test."""
        unknown = set(values) - set(self.settings())
        if unknown:
            raise ValueError(f"no such instance setting: {', '.join(sorted(unknown))}")
        for name, value in values.items():
            setattr(self, name, value)


async def answer(instance, method, path, headers):
    """One request to an instance's IMDS: (status, headers, body)."""
    path = path.rstrip("/")
    if path == TOKEN:
        return issue_token(method, headers)
    if not imds._check_token(headers):
        return imds._text("", 401)
    if method != "GET":
        return imds._text("", 405)
    found = lookup(instance, path)
    if found is None:
        return imds._not_found()
    return imds._json_resp(found) if isinstance(found, dict) else imds._text(found)


def issue_token(method, headers):
    """A token is given to a PUT that names its life and did not come through a proxy."""
    if method != "PUT":
        return imds._text("", 405)
    if "x-forwarded-for" in headers:
        return imds._text("", 403)
    if "x-aws-ec2-metadata-token-ttl-seconds" not in headers:
        return imds._text("", 400)
    return imds._issue_token(headers)


def lookup(instance, path):
    """The document or text at a path, or None."""
    if path == CREDENTIALS:
        return instance.role or None
    if path.startswith(CREDENTIALS + "/"):
        asked = path.rpartition("/")[2]
        return credentials(instance) if instance.role and asked == instance.role else None
    if path == DOCUMENT:
        return document(instance)
    if path == TAGS:
        return "\n".join(instance.tags) or None
    if path.startswith(TAGS + "/"):
        return instance.tags.get(path.rpartition("/")[2])
    if path == "/latest/user-data":
        return instance.user_data or None
    region = get_region()
    texts = {
        "ami-id": instance.image_id,
        "hostname": instance.hostname,
        "instance-id": instance.instance_id,
        "local-hostname": instance.hostname,
        "local-ipv4": instance.private_ip,
        "placement/availability-zone": f"{region}a",
        "placement/region": region,
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
    }
    return texts.get(path.removeprefix(META))


def document(instance):
    """The instance identity document. Nobody signs it here."""
    return {
        "accountId": get_account_id(),
        "architecture": "x86_64",
        "availabilityZone": f"{get_region()}a",
        "imageId": instance.image_id,
        "instanceId": instance.instance_id,
        "instanceType": "t3.micro",
        "pendingTime": "2026-01-01T00:00:00Z",
        "privateIp": instance.private_ip,
        "region": get_region(),
        "version": "2017-09-30",
    }


def credentials(instance):
    """A live session of the instance's role, renewed once half of its life is over."""
    now = time.time()
    life = instance.credentials_seconds
    session = instance.sessions.get((instance.role, life))
    if session is None or session["Expires"] - now < life / 2:
        session = instance.sessions[instance.role, life] = new_session(instance, now + life)
    return {
        "Code": "Success",
        "LastUpdated": timestamp(now),
        "Type": "AWS-HMAC",
        "AccessKeyId": session["AccessKeyId"],
        "SecretAccessKey": session["SecretAccessKey"],
        "Token": session["Token"],
        "Expiration": timestamp(session["Expires"]),
    }


def new_session(instance, expires):
    """Registers a session under the name that EC2 gives it: the instance id."""
    account = get_account_id()
    role = iam._roles.get_scoped(account, None, instance.role)
    if role is None:
        raise KeyError(f"the instance's role {instance.role} does not exist")
    access_key, secret_key = imds._gen_session_access_key(), imds._gen_secret()
    token = imds._gen_session_token()
    sts.register_session(
        access_key,
        {
            "AccountId": account,
            "Arn": f"arn:aws:sts::{account}:assumed-role/{instance.role}/{instance.instance_id}",
            "Expiration": expires,
            "PrincipalType": "AssumedRole",
            "SecretAccessKey": secret_key,
            "SessionPolicies": None,
            "SessionTags": [],
            "SessionToken": token,
            "UserId": f"{role['RoleId']}:{instance.instance_id}",
        },
    )
    return {"AccessKeyId": access_key, "SecretAccessKey": secret_key, "Token": token, "Expires": expires}


def timestamp(seconds):
    """RFC 3339 in UTC, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))
