"""IAM: the condition keys and policy variables by which a role is held to one factory.

Restored here: `kms:EncryptionContext:KEY` and `kms:EncryptionContextKeys`, policy variables in
Resource and Condition, `ec2:SourceInstanceARN` of an instance's session, `aws:PrincipalArn` of a role's
session, which is the role's ARN with its path and not the session's; and the two statuses
in which AWS hides or shows a denial: 403 for a missing object whose bucket the caller may not
list, 400 for a denial by KMS.
"""

import dataclasses
import json
import re

from ministack.core import iam_actions, iam_evaluator
from ministack.core.responses import get_region
from ministack.core.router import extract_access_key_id
from ministack.services import iam, s3

VARIABLE = re.compile(r"\$\{([^}]+)\}")
# ${*}, ${?} and ${$} stand for the characters themselves.
LITERALS = {"*": "*", "?": "?", "$": "$"}
INSTANCE_SESSION = re.compile(r":assumed-role/[^/]+/(i-[0-9a-f]+)$")
ROLE_SESSION = re.compile(r"arn:aws:sts::(\d{12}):assumed-role/([^/]+)/")


def install():
    """Adds the condition keys, the variables and the hidden 404 to the emulator's evaluation."""
    plain_context = iam_actions.request_tag_context
    plain_key = iam_evaluator._resolve_condition_key
    plain_evaluate = iam_evaluator.evaluate
    plain_s3 = s3.handle_request

    def request_context(service, action, body, params):
        context = plain_context(service, action, body, params)
        return {**context, **encryption_context_keys(body)} if service == "kms" else context

    def condition_key(key, context):
        if key.lower() == "ec2:sourceinstancearn":
            return source_instance(context)
        if key.lower() == "aws:principalarn":
            return role_behind(context.principal_arn)
        return plain_key(key, context)

    def evaluate(context, policies, *limits):
        layers = [substituted(layer, context) for layer in (policies, *limits)]
        return plain_evaluate(context, *layers)

    async def s3_request(method, path, headers, body, query, *rest, **more):
        reply = await plain_s3(method, path, headers, body, query, *rest, **more)
        if reply[0] == 404 and method in ("GET", "HEAD"):
            return hide_missing_object(path, headers, query, reply)
        return reply

    iam_actions.request_tag_context = request_context
    iam_evaluator._resolve_condition_key = condition_key
    iam_evaluator.evaluate = evaluate
    s3.handle_request = s3_request


def encryption_context_keys(body):
    """The condition keys that a KMS request's encryption context gives."""
    try:
        pairs = json.loads(body or b"{}").get("EncryptionContext") or {}
    except (ValueError, AttributeError):
        return {}
    keys = {f"kms:encryptioncontext:{name}": value for name, value in pairs.items()}
    return {**keys, "kms:encryptioncontextkeys": list(pairs)} if pairs else {}


def source_instance(context):
    """The instance whose role's session this is; AWS sets it for credentials from IMDS alone."""
    found = INSTANCE_SESSION.search(context.principal_arn or "")
    if not found:
        return None
    account = context.principal_account
    return f"arn:aws:ec2:{context.region or get_region()}:{account}:instance/{found[1]}"


def role_behind(principal):
    """The ARN of the role whose session this is; anybody else's as it is."""
    found = ROLE_SESSION.match(principal or "")
    role = iam._roles.get_scoped(found[1], None, found[2]) if found else None
    return role["Arn"] if role else principal


def substituted(layer, context):
    """A layer of policies with each variable replaced by what it stands for in this request."""
    return [
        [
            dataclasses.replace(
                statement,
                resources=with_variables(statement.resources, context),
                not_resources=with_variables(statement.not_resources, context),
                conditions=with_variables(statement.conditions, context),
            )
            for statement in policy
        ]
        for policy in layer
    ]


def with_variables(value, context):
    """One value of a policy, however deep. A variable without a value matches nothing."""
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: variable(found[1], context), value)
    if isinstance(value, list):
        return [with_variables(item, context) for item in value]
    if isinstance(value, dict):
        return {key: with_variables(item, context) for key, item in value.items()}
    return value


def variable(name, context):
    """`${NAME}` or `${NAME, 'default'}`."""
    if name in LITERALS:
        return LITERALS[name]
    key, _, default = name.partition(",")
    found = iam_evaluator._resolve_condition_key(key.strip(), context)
    return str(found or default.strip().strip("'") or "${unresolved}")


def hide_missing_object(path, headers, query, reply):
    """Without s3:ListBucket a caller is not told that an object is missing: 403, not 404."""
    bucket, _, key = path.lstrip("/").partition("/")
    if not key or b"NoSuchBucket" in reply[2]:
        return reply
    denied = iam_evaluator.enforce(
        extract_access_key_id(headers, query),
        "s3:ListBucket",
        "s3",
        get_region(),
        resource_arn=f"arn:aws:s3:::{bucket}",
    )
    if not denied:
        return reply
    text = "<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
    return 403, {"Content-Type": "application/xml"}, text.encode()


def status_of(service, status, body):
    """KMS denies with 400, as every JSON service does; the emulator says 403."""
    if service == "kms" and status == 403 and b"AccessDeniedException" in body:
        return 400
    return status
