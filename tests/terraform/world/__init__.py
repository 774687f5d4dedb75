"""What applying does: one class for each type of resource, which calls the emulator as AWS is called.

The caller's credentials are boto3's usual ones, so that whoever applies is held to its own
permissions. `kind(TYPE)` gives the class's one object; a type that is not here cannot be applied.
"""

import json
import os

from . import compute, events, identity, keys, queues, storage, watching
from .kind import client, region

KINDS = {
    name: made
    for module in (compute, events, identity, keys, queues, storage, watching)
    for name, made in module.KINDS.items()
}
ACCOUNT = "123456789012"
# Arguments that hold JSON, which the genuine provider looks at before it plans.
DOCUMENTS = ("policy", "assume_role_policy", "event_pattern", "dashboard_body", "input")


def is_there():
    """Whether there is an emulator to apply to."""
    return "AWS_ENDPOINT_URL" in os.environ


def kind(name):
    """What creates, reads, changes and deletes resources of a type."""
    if name not in KINDS:
        raise LookupError(f"{name} is not in tests/terraform/world")
    return KINDS[name]


def data(name):
    """What a data source tells."""
    if name == "aws_partition":
        return {
            "id": "aws",
            "partition": "aws",
            "dns_suffix": "amazonaws.com",
            "reverse_dns_prefix": "com.amazonaws",
        }
    if name == "aws_region":
        return {"id": region(), "name": region(), "region": region(), "description": "emulated"}
    if name == "aws_caller_identity":
        if not is_there():
            return {
                "id": ACCOUNT,
                "account_id": ACCOUNT,
                "arn": f"arn:aws:iam::{ACCOUNT}:root",
                "user_id": ACCOUNT,
            }
        who = client("sts").get_caller_identity()
        return {
            "id": who["Account"],
            "account_id": who["Account"],
            "arn": who["Arn"],
            "user_id": who["UserId"],
        }
    raise LookupError(f"data.{name} is not in tests/terraform/world")


def problems(name, config):
    """What the provider itself would refuse in a configuration: (summary, detail) of each."""
    for argument in DOCUMENTS:
        text = config.get(argument)
        if isinstance(text, str):
            try:
                json.loads(text)
            except ValueError as problem:
                yield f"{name}: {argument} is not JSON", str(problem)
