"""S3."""

from .kind import Kind, client, given, one, same_document


class Bucket(Kind):
    """The bucket itself. With `force_destroy` all versions go with it."""

    replaced_by = ("bucket",)

    def create(self, config):  # noqa: D102
        client("s3").create_bucket(Bucket=config["bucket"])
        return {"id": config["bucket"], "arn": f"arn:aws:s3:::{config['bucket']}"}

    def update(self, prior, planned):  # noqa: D102
        return {}

    def seen(self, state):  # noqa: D102
        client("s3").head_bucket(Bucket=state["bucket"])
        return {}

    def delete(self, prior):  # noqa: D102
        s3, name = client("s3"), prior["bucket"]
        if prior["force_destroy"]:
            listed = s3.list_object_versions(Bucket=name)
            for version in listed.get("Versions", []) + listed.get("DeleteMarkers", []):
                s3.delete_object(Bucket=name, Key=version["Key"], VersionId=version["VersionId"])
        s3.delete_bucket(Bucket=name)


class Part(Kind):
    """A setting of a bucket."""

    replaced_by = ("bucket",)

    def delete(self, prior):
        """They end with the bucket."""


class Versioning(Part):
    """Versions of objects."""

    def create(self, config):  # noqa: D102
        status = one(config["versioning_configuration"])["status"]
        client("s3").put_bucket_versioning(
            Bucket=config["bucket"], VersioningConfiguration={"Status": status}
        )
        return {"id": config["bucket"]}

    def seen(self, state):  # noqa: D102
        status = client("s3").get_bucket_versioning(Bucket=state["bucket"]).get("Status", "Disabled")
        return {"versioning_configuration": [{**one(state["versioning_configuration"]), "status": status}]}


class Policy(Part):
    """Who may do what in it, whatever their own policies say."""

    def create(self, config):  # noqa: D102
        client("s3").put_bucket_policy(Bucket=config["bucket"], Policy=config["policy"])
        return {"id": config["bucket"]}

    def seen(self, state):  # noqa: D102
        found = client("s3").get_bucket_policy(Bucket=state["bucket"])["Policy"]
        return {"policy": same_document(state["policy"], found)}

    def delete(self, prior):  # noqa: D102
        client("s3").delete_bucket_policy(Bucket=prior["bucket"])


class PublicAccessBlock(Part):
    """Public access, blocked."""

    def create(self, config):  # noqa: D102
        wanted = {
            "BlockPublicAcls": config["block_public_acls"],
            "BlockPublicPolicy": config["block_public_policy"],
            "IgnorePublicAcls": config["ignore_public_acls"],
            "RestrictPublicBuckets": config["restrict_public_buckets"],
        }
        client("s3").put_public_access_block(
            Bucket=config["bucket"], PublicAccessBlockConfiguration={k: bool(v) for k, v in wanted.items()}
        )
        return {"id": config["bucket"]}


class Ownership(Part):
    """Whose the objects are."""

    def create(self, config):  # noqa: D102
        rules = [{"ObjectOwnership": one(config["rule"])["object_ownership"]}]
        client("s3").put_bucket_ownership_controls(
            Bucket=config["bucket"], OwnershipControls={"Rules": rules}
        )
        return {"id": config["bucket"]}


class Encryption(Part):
    """Encryption at rest."""

    def create(self, config):  # noqa: D102
        usual = one(one(config["rule"])["apply_server_side_encryption_by_default"])
        rules = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": usual["sse_algorithm"]}}]
        client("s3").put_bucket_encryption(
            Bucket=config["bucket"], ServerSideEncryptionConfiguration={"Rules": rules}
        )
        return {"id": config["bucket"]}


class Lifecycle(Part):
    """When versions and objects go."""

    def create(self, config):  # noqa: D102
        rules = []
        for rule in config["rule"]:
            expiry, old = one(rule["expiration"]), one(rule["noncurrent_version_expiration"])
            unfinished = one(rule["abort_incomplete_multipart_upload"])
            expiration = given(
                Days=expiry.get("days") or None,
                ExpiredObjectDeleteMarker=expiry.get("expired_object_delete_marker"),
            )
            rules.append(
                {
                    "ID": rule["id"],
                    "Status": rule["status"],
                    "Filter": {"Prefix": one(rule["filter"]).get("prefix") or ""},
                    **({"Expiration": expiration} if expiration else {}),
                    **(
                        {"NoncurrentVersionExpiration": {"NoncurrentDays": old["noncurrent_days"]}}
                        if old
                        else {}
                    ),
                    **(
                        {
                            "AbortIncompleteMultipartUpload": {
                                "DaysAfterInitiation": unfinished["days_after_initiation"]
                            }
                        }
                        if unfinished
                        else {}
                    ),
                }
            )
        client("s3").put_bucket_lifecycle_configuration(
            Bucket=config["bucket"], LifecycleConfiguration={"Rules": rules}
        )
        return {"id": config["bucket"]}


class Object(Kind):
    """An object with the content that is given."""

    replaced_by = ("bucket", "key")
    told_anew = ("etag", "version_id")

    def create(self, config):  # noqa: D102
        put = client("s3").put_object(
            Bucket=config["bucket"], Key=config["key"], Body=config["content"].encode(),
            **given(ContentType=config["content_type"]),
        )  # fmt: skip
        arn = f"arn:aws:s3:::{config['bucket']}/{config['key']}"
        return {
            "id": config["key"],
            "arn": arn,
            "etag": put["ETag"].strip('"'),
            "version_id": put.get("VersionId"),
        }

    def seen(self, state):  # noqa: D102
        found = client("s3").get_object(Bucket=state["bucket"], Key=state["key"])
        return {"content": found["Body"].read().decode()}

    def delete(self, prior):  # noqa: D102
        client("s3").delete_object(Bucket=prior["bucket"], Key=prior["key"])


KINDS = {
    "aws_s3_bucket": Bucket(),
    "aws_s3_bucket_lifecycle_configuration": Lifecycle(),
    "aws_s3_bucket_ownership_controls": Ownership(),
    "aws_s3_bucket_policy": Policy(),
    "aws_s3_bucket_public_access_block": PublicAccessBlock(),
    "aws_s3_bucket_server_side_encryption_configuration": Encryption(),
    "aws_s3_bucket_versioning": Versioning(),
    "aws_s3_object": Object(),
}
