"""IAM."""

from .kind import Kind, client, given, same_document, tags


class Role(Kind):
    """A role and who may take it."""

    replaced_by = ("name", "path")

    def create(self, config):  # noqa: D102
        made = client("iam").create_role(
            RoleName=config["name"],
            AssumeRolePolicyDocument=config["assume_role_policy"],
            Tags=tags(config),
            **given(
                Path=config["path"],
                Description=config["description"],
                PermissionsBoundary=config["permissions_boundary"],
            ),
        )["Role"]
        return {"id": config["name"], "arn": made["Arn"], "unique_id": made["RoleId"]}

    def update(self, prior, planned):  # noqa: D102
        iam, name = client("iam"), planned["name"]
        iam.update_assume_role_policy(RoleName=name, PolicyDocument=planned["assume_role_policy"])
        return {}

    def seen(self, state):  # noqa: D102
        found = client("iam").get_role(RoleName=state["name"])["Role"]
        document = same_document(state["assume_role_policy"], found["AssumeRolePolicyDocument"])
        return {"arn": found["Arn"], "assume_role_policy": document}

    def delete(self, prior):  # noqa: D102
        client("iam").delete_role(RoleName=prior["name"])


class RolePolicy(Kind):
    """A policy inside of a role."""

    replaced_by = ("name", "role")

    def create(self, config):  # noqa: D102
        client("iam").put_role_policy(
            RoleName=config["role"], PolicyName=config["name"], PolicyDocument=config["policy"]
        )
        return {"id": f"{config['role']}:{config['name']}"}

    def seen(self, state):  # noqa: D102
        found = client("iam").get_role_policy(RoleName=state["role"], PolicyName=state["name"])
        return {"policy": same_document(state["policy"], found["PolicyDocument"])}

    def delete(self, prior):  # noqa: D102
        client("iam").delete_role_policy(RoleName=prior["role"], PolicyName=prior["name"])


class InstanceProfile(Kind):
    """What gives an instance its role."""

    replaced_by = ("name", "path", "role")

    def create(self, config):  # noqa: D102
        iam, name = client("iam"), config["name"]
        made = iam.create_instance_profile(InstanceProfileName=name, **given(Path=config["path"]))
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=config["role"])
        return {"id": name, "arn": made["InstanceProfile"]["Arn"]}

    def update(self, prior, planned):  # noqa: D102
        return {}

    def seen(self, state):  # noqa: D102
        client("iam").get_instance_profile(InstanceProfileName=state["name"])
        return {}

    def delete(self, prior):  # noqa: D102
        iam, name = client("iam"), prior["name"]
        iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=prior["role"])
        iam.delete_instance_profile(InstanceProfileName=name)


KINDS = {
    "aws_iam_instance_profile": InstanceProfile(),
    "aws_iam_role": Role(),
    "aws_iam_role_policy": RolePolicy(),
}
