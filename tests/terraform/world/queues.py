"""SQS and SNS."""

from .kind import Kind, client, same_document

ATTRIBUTES = {
    "message_retention_seconds": "MessageRetentionPeriod",
    "redrive_policy": "RedrivePolicy",
    "sqs_managed_sse_enabled": "SqsManagedSseEnabled",
    "visibility_timeout_seconds": "VisibilityTimeout",
}


class Queue(Kind):
    """A queue."""

    replaced_by = ("name",)

    def attributes(self, config):
        """Those that are set, in the API's words."""
        pairs = {theirs: config[ours] for ours, theirs in ATTRIBUTES.items() if config[ours] is not None}
        return {
            name: str(value).lower() if isinstance(value, bool) else str(value)
            for name, value in pairs.items()
        }

    def create(self, config):  # noqa: D102
        sqs = client("sqs")
        url = sqs.create_queue(QueueName=config["name"], Attributes=self.attributes(config))["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        return {"id": url, "url": url, "arn": arn}

    def update(self, prior, planned):  # noqa: D102
        client("sqs").set_queue_attributes(QueueUrl=prior["url"], Attributes=self.attributes(planned))
        return {}

    def seen(self, state):  # noqa: D102
        client("sqs").get_queue_attributes(QueueUrl=state["url"], AttributeNames=["QueueArn"])
        return {}

    def delete(self, prior):  # noqa: D102
        client("sqs").delete_queue(QueueUrl=prior["url"])


class QueuePolicy(Kind):
    """Who may send to it."""

    replaced_by = ("queue_url",)

    def create(self, config):  # noqa: D102
        client("sqs").set_queue_attributes(
            QueueUrl=config["queue_url"], Attributes={"Policy": config["policy"]}
        )
        return {"id": config["queue_url"]}

    def seen(self, state):  # noqa: D102
        asked = client("sqs").get_queue_attributes(QueueUrl=state["queue_url"], AttributeNames=["Policy"])
        return {"policy": same_document(state["policy"], asked["Attributes"]["Policy"])}

    def delete(self, prior):  # noqa: D102
        client("sqs").set_queue_attributes(QueueUrl=prior["queue_url"], Attributes={"Policy": ""})


class Topic(Kind):
    """Where alarms go."""

    replaced_by = ("name",)

    def create(self, config):  # noqa: D102
        arn = client("sns").create_topic(Name=config["name"])["TopicArn"]
        return {"id": arn, "arn": arn}

    def delete(self, prior):  # noqa: D102
        client("sns").delete_topic(TopicArn=prior["arn"])


KINDS = {"aws_sns_topic": Topic(), "aws_sqs_queue": Queue(), "aws_sqs_queue_policy": QueuePolicy()}
