"""EC2: EventBridge is told of every change of an instance's state.

ministack takes no event of AWS's own from anybody, and sends none when instances begin and end. Here
RunInstances and TerminateInstances send "EC2 Instance State-change Notification" for each state on the
way, as the EC2 user guide has it, "Automate Amazon EC2 using EventBridge". The instance itself is at the
end of its way at once.
"""

import json
import re

from ministack.core.responses import get_account_id, get_region
from ministack.services import ec2, eventbridge

INSTANCE = re.compile(rb"<instanceId>(i-[0-9a-f]+)</instanceId>")
# The states on the way, by what was asked for.
STATES = {"RunInstances": ("pending", "running"), "TerminateInstances": ("shutting-down", "terminated")}


def install():
    """Lets both actions tell of their instances once they were carried out."""
    for action, states in STATES.items():
        ec2._ACTION_MAP[action] = telling(ec2._ACTION_MAP[action], states)


def telling(plain, states):
    """The action with its events."""

    def told(params):
        reply = plain(params)
        status, _, body = reply
        if status == 200:
            text = body if isinstance(body, bytes) else body.encode()
            for instance in dict.fromkeys(INSTANCE.findall(text)):
                for state in states:
                    tell(instance.decode(), state)
        return reply

    return told


def tell(instance, state):
    """One event on the default bus."""
    arn = f"arn:aws:ec2:{get_region()}:{get_account_id()}:instance/{instance}"
    entry = {
        "Source": "aws.ec2",
        "DetailType": "EC2 Instance State-change Notification",
        "Detail": json.dumps({"instance-id": instance, "state": state}),
        "Resources": [arn],
    }
    eventbridge._put_events({"Entries": [entry]}, allow_aws_source=True)
