"""What the resources of all services share."""

import functools
import json
import os

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

# The codes by which the services say that something is not there.
ABSENT = ("NoSuch", "NotFound", "ResourceNotFound", "404", "NonExistentQueue", "InvalidLaunchTemplateId")


def region():
    """The region that the provider works in."""
    return os.environ.get("AWS_REGION", "us-east-1")


@functools.cache
def client(service):
    """A client with the caller's credentials. It never retries: an error is the test's to see."""
    settings = Config(retries={"total_max_attempts": 1}, s3={"addressing_style": "path"})
    return boto3.client(service, region_name=region(), config=settings)


class Kind:
    """A type of resource. A subclass has `create`, and what differs from putting the whole again."""

    # The arguments whose change the API cannot carry out in place.
    replaced_by = ()
    # The attributes that every change sets anew.
    told_anew = ()

    def create(self, config):
        """Makes it: its computed attributes."""
        raise NotImplementedError

    def update(self, prior, planned):
        """Changes it: the computed attributes that changed. Most APIs put the whole again."""
        return self.create(planned)

    def seen(self, state):
        """Attributes as the service tells them now; raises what the service raises when it is gone."""
        return {}

    def read(self, state):
        """The state after a look, None when it is gone."""
        try:
            return {**state, **self.seen(state)}
        except ClientError as problem:
            if any(name in problem.response["Error"]["Code"] for name in ABSENT):
                return None
            raise

    def delete(self, prior):
        """Removes it."""
        raise NotImplementedError


def same_document(ours, theirs):
    """Our text of a document while the service has an equal one, else the service's."""
    theirs = theirs if isinstance(theirs, str) else json.dumps(theirs)
    return ours if json.loads(ours) == json.loads(theirs) else theirs


def tags(config):
    """Tags in the form that most services take."""
    return [{"Key": key, "Value": value} for key, value in (config.get("tags") or {}).items()]


def one(blocks):
    """The one block of a list, or an empty one."""
    return blocks[0] if blocks else {}


def given(**arguments):
    """The arguments that are not null."""
    return {name: value for name, value in arguments.items() if value is not None}
