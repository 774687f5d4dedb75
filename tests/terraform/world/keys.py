"""KMS."""

from .kind import Kind, client, given, same_document, tags


class Key(Kind):
    """A key with its policy and rotation."""

    def create(self, config):  # noqa: D102
        kms = client("kms")
        made = kms.create_key(
            **given(
                Policy=config["policy"],
                Description=config["description"],
                Tags=[{"TagKey": tag["Key"], "TagValue": tag["Value"]} for tag in tags(config)],
            )
        )["KeyMetadata"]
        if config["enable_key_rotation"]:
            kms.enable_key_rotation(KeyId=made["KeyId"])
        return {"id": made["KeyId"], "key_id": made["KeyId"], "arn": made["Arn"]}

    def update(self, prior, planned):  # noqa: D102
        if prior["policy"] != planned["policy"]:
            client("kms").put_key_policy(KeyId=prior["id"], PolicyName="default", Policy=planned["policy"])
        return {}

    def seen(self, state):  # noqa: D102
        found = client("kms").get_key_policy(KeyId=state["id"], PolicyName="default")["Policy"]
        if client("kms").describe_key(KeyId=state["id"])["KeyMetadata"]["KeyState"] == "PendingDeletion":
            return {"policy": None}
        return {"policy": same_document(state["policy"], found)}

    def delete(self, prior):  # noqa: D102
        days = prior["deletion_window_in_days"] or 30
        client("kms").schedule_key_deletion(KeyId=prior["id"], PendingWindowInDays=days)


class Alias(Kind):
    """A name of a key."""

    replaced_by = ("name",)

    def create(self, config):  # noqa: D102
        client("kms").create_alias(AliasName=config["name"], TargetKeyId=config["target_key_id"])
        return {"id": config["name"]}

    def update(self, prior, planned):  # noqa: D102
        client("kms").update_alias(AliasName=planned["name"], TargetKeyId=planned["target_key_id"])
        return {}

    def delete(self, prior):  # noqa: D102
        client("kms").delete_alias(AliasName=prior["name"])


KINDS = {"aws_kms_alias": Alias(), "aws_kms_key": Key()}
