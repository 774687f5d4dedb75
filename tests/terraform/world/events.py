"""EventBridge: rules and schedules."""

from .kind import Kind, client, given, one


class Rule(Kind):
    """Which events are taken."""

    replaced_by = ("name",)

    def create(self, config):  # noqa: D102
        made = client("events").put_rule(
            Name=config["name"],
            **given(EventPattern=config["event_pattern"], Description=config["description"]),
        )
        return {"id": config["name"], "arn": made["RuleArn"]}

    def seen(self, state):  # noqa: D102
        client("events").describe_rule(Name=state["name"])
        return {}

    def delete(self, prior):  # noqa: D102
        client("events").delete_rule(Name=prior["name"])


class Target(Kind):
    """Where a rule's events go."""

    replaced_by = ("rule", "target_id")

    def create(self, config):  # noqa: D102
        wanted = {"Id": config["target_id"], "Arn": config["arn"]}
        client("events").put_targets(Rule=config["rule"], Targets=[wanted])
        return {"id": f"{config['rule']}-{config['target_id']}"}

    def delete(self, prior):  # noqa: D102
        client("events").remove_targets(Rule=prior["rule"], Ids=[prior["target_id"]])


class Schedule(Kind):
    """What EventBridge Scheduler invokes, and when."""

    replaced_by = ("name", "group_name")

    def settings(self, config):
        """What creating and changing have in common."""
        target, window = one(config["target"]), one(config["flexible_time_window"])
        retry, dead = one(target["retry_policy"]), one(target["dead_letter_config"])
        wanted = given(Arn=target["arn"], RoleArn=target["role_arn"], Input=target["input"])
        if retry:
            wanted["RetryPolicy"] = {
                "MaximumEventAgeInSeconds": retry["maximum_event_age_in_seconds"],
                "MaximumRetryAttempts": retry["maximum_retry_attempts"],
            }
        if dead:
            wanted["DeadLetterConfig"] = {"Arn": dead["arn"]}
        return {
            "Name": config["name"],
            "ScheduleExpression": config["schedule_expression"],
            "State": config["state"] or "ENABLED",
            "FlexibleTimeWindow": given(
                Mode=window["mode"], MaximumWindowInMinutes=window["maximum_window_in_minutes"]
            ),
            "Target": wanted,
        }

    def create(self, config):  # noqa: D102
        made = client("scheduler").create_schedule(**self.settings(config))
        return {"id": f"default/{config['name']}", "arn": made["ScheduleArn"]}

    def update(self, prior, planned):  # noqa: D102
        client("scheduler").update_schedule(**self.settings(planned))
        return {}

    def seen(self, state):  # noqa: D102
        found = client("scheduler").get_schedule(Name=state["name"])
        return {"schedule_expression": found["ScheduleExpression"]}

    def delete(self, prior):  # noqa: D102
        client("scheduler").delete_schedule(Name=prior["name"])


KINDS = {
    "aws_cloudwatch_event_rule": Rule(),
    "aws_cloudwatch_event_target": Target(),
    "aws_scheduler_schedule": Schedule(),
}
