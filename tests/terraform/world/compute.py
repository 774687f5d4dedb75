"""Lambda and EC2."""

import pathlib

from .kind import Kind, client, given, one


class Function(Kind):
    """A function out of a package on this machine, or of an object."""

    replaced_by = ("function_name",)

    def settings(self, config):
        """What creating and changing have in common."""
        variables = one(config["environment"]).get("variables") or {}
        return {
            "FunctionName": config["function_name"],
            "Role": config["role"],
            "Timeout": config["timeout"],
            "MemorySize": config["memory_size"],
            "Environment": {"Variables": variables},
        }

    def code(self, config):
        """The package."""
        if config["filename"]:
            return {"ZipFile": pathlib.Path(config["filename"]).read_bytes()}
        return given(
            S3Bucket=config["s3_bucket"], S3Key=config["s3_key"], S3ObjectVersion=config["s3_object_version"]
        )

    def create(self, config):  # noqa: D102
        made = client("lambda").create_function(
            **self.settings(config),
            Runtime=config["runtime"],
            Handler=config["handler"],
            Architectures=config["architectures"],
            Code=self.code(config),
        )
        name, arn = config["function_name"], made["FunctionArn"]
        return {"id": name, "arn": arn, "version": made["Version"], "code_sha256": made["CodeSha256"]}

    def update(self, prior, planned):  # noqa: D102
        client("lambda").update_function_configuration(**self.settings(planned))
        if prior["source_code_hash"] != planned["source_code_hash"]:
            client("lambda").update_function_code(FunctionName=planned["function_name"], **self.code(planned))
        return {}

    def seen(self, state):  # noqa: D102
        found = client("lambda").get_function(FunctionName=state["function_name"])["Configuration"]
        return {"timeout": found["Timeout"], "role": found["Role"], "memory_size": found["MemorySize"]}

    def delete(self, prior):  # noqa: D102
        client("lambda").delete_function(FunctionName=prior["function_name"])


class InvokeConfig(Kind):
    """What becomes of asynchronous events."""

    replaced_by = ("function_name", "qualifier")

    def create(self, config):  # noqa: D102
        failed = one(one(config["destination_config"])["on_failure"])
        client("lambda").put_function_event_invoke_config(
            FunctionName=config["function_name"],
            MaximumEventAgeInSeconds=config["maximum_event_age_in_seconds"],
            MaximumRetryAttempts=config["maximum_retry_attempts"],
            DestinationConfig={"OnFailure": {"Destination": failed["destination"]}},
        )
        return {"id": config["function_name"]}

    def seen(self, state):  # noqa: D102
        found = client("lambda").get_function_event_invoke_config(FunctionName=state["function_name"])
        return {"maximum_event_age_in_seconds": found["MaximumEventAgeInSeconds"]}

    def delete(self, prior):  # noqa: D102
        client("lambda").delete_function_event_invoke_config(FunctionName=prior["function_name"])


class Mapping(Kind):
    """A queue that a function is fed from."""

    replaced_by = ("event_source_arn", "function_name")

    def create(self, config):  # noqa: D102
        most = one(config["scaling_config"]).get("maximum_concurrency")
        made = client("lambda").create_event_source_mapping(
            EventSourceArn=config["event_source_arn"],
            FunctionName=config["function_name"],
            **given(
                BatchSize=config["batch_size"],
                MaximumBatchingWindowInSeconds=config["maximum_batching_window_in_seconds"],
                FunctionResponseTypes=config["function_response_types"],
                ScalingConfig={"MaximumConcurrency": most} if most else None,
            ),
        )
        return {"id": made["UUID"], "uuid": made["UUID"], "arn": made.get("EventSourceMappingArn")}

    def update(self, prior, planned):  # noqa: D102
        client("lambda").update_event_source_mapping(UUID=prior["id"], BatchSize=planned["batch_size"])
        return {}

    def seen(self, state):  # noqa: D102
        client("lambda").get_event_source_mapping(UUID=state["id"])
        return {}

    def delete(self, prior):  # noqa: D102
        client("lambda").delete_event_source_mapping(UUID=prior["id"])


class LaunchTemplate(Kind):
    """How instances are launched."""

    replaced_by = ("name",)

    def create(self, config):  # noqa: D102
        metadata = one(config["metadata_options"])
        made = client("ec2").create_launch_template(
            LaunchTemplateName=config["name"],
            LaunchTemplateData=given(
                ImageId=config["image_id"],
                InstanceType=config["instance_type"],
                UserData=config["user_data"],
                IamInstanceProfile={"Arn": one(config["iam_instance_profile"])["arn"]},
                MetadataOptions={
                    "HttpTokens": metadata["http_tokens"],
                    "HttpPutResponseHopLimit": metadata["http_put_response_hop_limit"],
                },
            ),
        )["LaunchTemplate"]
        return {"id": made["LaunchTemplateId"], "latest_version": made["LatestVersionNumber"]}

    def update(self, prior, planned):  # noqa: D102
        raise NotImplementedError("a new version of a launch template")

    def delete(self, prior):  # noqa: D102
        client("ec2").delete_launch_template(LaunchTemplateId=prior["id"])


KINDS = {
    "aws_lambda_event_source_mapping": Mapping(),
    "aws_lambda_function": Function(),
    "aws_lambda_function_event_invoke_config": InvokeConfig(),
    "aws_launch_template": LaunchTemplate(),
}
