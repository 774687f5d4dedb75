"""CloudWatch: logs, alarms, dashboards."""

from .kind import Kind, client, given


class LogGroup(Kind):
    """Where a function's log goes, and for how long."""

    replaced_by = ("name",)

    def create(self, config):  # noqa: D102
        logs = client("logs")
        logs.create_log_group(logGroupName=config["name"])
        logs.put_retention_policy(logGroupName=config["name"], retentionInDays=config["retention_in_days"])
        who = client("sts").get_caller_identity()["Account"]
        arn = f"arn:aws:logs:{logs.meta.region_name}:{who}:log-group:{config['name']}"
        return {"id": config["name"], "arn": arn}

    def update(self, prior, planned):  # noqa: D102
        days = planned["retention_in_days"]
        client("logs").put_retention_policy(logGroupName=planned["name"], retentionInDays=days)
        return {}

    def seen(self, state):  # noqa: D102
        found = client("logs").describe_log_groups(logGroupNamePrefix=state["name"])["logGroups"]
        return {"retention_in_days": found[0]["retentionInDays"]}

    def delete(self, prior):  # noqa: D102
        client("logs").delete_log_group(logGroupName=prior["name"])


class Alarm(Kind):
    """When somebody is told."""

    replaced_by = ("alarm_name",)

    def create(self, config):  # noqa: D102
        dimensions = [{"Name": key, "Value": value} for key, value in (config["dimensions"] or {}).items()]
        client("cloudwatch").put_metric_alarm(
            AlarmName=config["alarm_name"],
            AlarmDescription=config["alarm_description"],
            AlarmActions=config["alarm_actions"] or [],
            OKActions=config["ok_actions"] or [],
            Namespace=config["namespace"],
            MetricName=config["metric_name"],
            Statistic=config["statistic"],
            Dimensions=dimensions,
            Period=config["period"],
            EvaluationPeriods=config["evaluation_periods"],
            Threshold=config["threshold"],
            ComparisonOperator=config["comparison_operator"],
            **given(
                DatapointsToAlarm=config["datapoints_to_alarm"], TreatMissingData=config["treat_missing_data"]
            ),
        )
        return {"id": config["alarm_name"]}

    def seen(self, state):  # noqa: D102
        found = client("cloudwatch").describe_alarms(AlarmNames=[state["alarm_name"]])["MetricAlarms"]
        return {"threshold": found[0]["Threshold"]}

    def delete(self, prior):  # noqa: D102
        client("cloudwatch").delete_alarms(AlarmNames=[prior["alarm_name"]])


class Dashboard(Kind):
    """What is looked at."""

    replaced_by = ("dashboard_name",)

    def create(self, config):  # noqa: D102
        name, body = config["dashboard_name"], config["dashboard_body"]
        client("cloudwatch").put_dashboard(DashboardName=name, DashboardBody=body)
        return {"id": name}

    def delete(self, prior):  # noqa: D102
        client("cloudwatch").delete_dashboards(DashboardNames=[prior["dashboard_name"]])


KINDS = {
    "aws_cloudwatch_dashboard": Dashboard(),
    "aws_cloudwatch_log_group": LogGroup(),
    "aws_cloudwatch_metric_alarm": Alarm(),
}
