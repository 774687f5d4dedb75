# Alarms and a dashboard. Each alarm names the section of the runbook that says what to do.

locals {
  lifetime = coalesce(var.windows.lifetime, var.windows.period + var.windows.overlap + var.windows.boot_time + var.windows.slack)
  # Long enough for some runs to fall into it.
  while_running = max(3600, var.windows.schedule * 240)

  # Where no layer shares a token there is none that could come late; the rotator only tidies.
  shared = anytrue([for layer in values(var.layers) : layer.scope == "layer"])
  # Long enough for some counts, and for a host to wait for its removal.
  while_counting = min(86400, max(3600, var.reaper.counts_every * 120, (var.reaper.missing_for + var.windows.schedule * 2) * 60))

  counted = local.counts ? merge(
    {
      # The one of them that tells when nobody counts.
      "hosts-without-instance" = {
        says = "Hosts stay whose instances are gone, or nobody counts them", metric = "HostsWithoutInstance", missing = "breaching"
      }
    },
    var.rules == null ? {} : {
      "instances-without-host" = {
        says = "Instances run that rules mean and that have no host", metric = "InstancesWithoutHost", missing = "notBreaching"
      }
    },
    !local.pins ? {} : {
      "hosts-unpinned" = {
        says = "Hosts are not pinned that are to be", metric = "HostsUnpinned", missing = "notBreaching"
      }
    },
    !local.promotes ? {} : {
      "instances-unpromoted" = {
        says = "Instances are not promoted that are to be", metric = "InstancesUnpromoted", missing = "notBreaching"
      }
    },
  ) : {}

  alarms = merge(
    !local.shared ? {} : {
      "token-late" = {
        says      = "A token was not replaced in time, or the rotator does not run at all"
        namespace = "Imprint", metric = "SecondsToExpiry", statistic = "Minimum", dimensions = { FunctionName = local.function_names["rotator"] }
        below     = true, threshold = (local.lifetime - var.windows.period) * 60
        period    = local.while_running, times = 1, missing = "breaching"
      }
      "token-ends" = {
        says      = "A token ends soon, and new instances will not enroll"
        namespace = "Imprint", metric = "SecondsToExpiry", statistic = "Minimum", dimensions = { FunctionName = local.function_names["rotator"] }
        below     = true, threshold = (var.windows.overlap + var.windows.boot_time) * 60
        period    = var.windows.schedule * 60, times = 1, missing = "ignore"
      }
    },
    { for alarm, counted in local.counted : alarm => merge(counted, {
      # The lowest of them: somebody, if not always the same, lacks it all the time.
      namespace = "Imprint", statistic = "Minimum", dimensions = { FunctionName = local.function_names["reaper"] }
      below     = false, threshold = 0
      period    = local.while_counting, times = 1
    }) },
    {
      "failed-events" = {
        says      = "Events came to nothing and wait to be looked at"
        namespace = "AWS/SQS", metric = "ApproximateNumberOfMessagesVisible", statistic = "Maximum", dimensions = { QueueName = "${var.name}-failed" }
        below     = false, threshold = 0
        period    = 300, times = 1, missing = "notBreaching"
      }
    },
    { for function, name in local.function_names : "${function}-failed" => {
      says      = "Runs of ${name} fail for some factory"
      namespace = "Imprint", metric = "Failed", statistic = "Maximum", dimensions = { FunctionName = name }
      below     = false, threshold = 0
      period    = var.windows.schedule * 60, times = 3, missing = "notBreaching"
    } },
    { for function, name in local.function_names : "${function}-errors" => {
      says      = "Invocations of ${name} fail, also before they can say why"
      namespace = "AWS/Lambda", metric = "Errors", statistic = "Sum", dimensions = { FunctionName = name }
      below     = false, threshold = 0
      period    = var.windows.schedule * 60, times = 3, missing = "notBreaching"
    } },
    { for function, name in local.function_names : "${function}-throttled" => {
      says      = "Lambda has no room for ${name}"
      namespace = "AWS/Lambda", metric = "Throttles", statistic = "Sum", dimensions = { FunctionName = name }
      below     = false, threshold = 0
      period    = var.windows.schedule * 60, times = 2, missing = "notBreaching"
    } },
    { for function, states in local.states : "${function}-behind" => {
      says      = "Events wait for ${local.function_names[function]}"
      namespace = "AWS/SQS", metric = "ApproximateAgeOfOldestMessage", statistic = "Maximum", dimensions = { QueueName = "${var.name}-${function}-events" }
      below     = false, threshold = local.queues[function].late
      period    = 300, times = 3, missing = "notBreaching"
    } },
  )

  # The section of the runbook: the same for all functions.
  sections = { for alarm in keys(local.alarms) : alarm => replace(alarm, "/^(rotator|minter|reaper)-(failed|errors|throttled|behind)$/", "function-$2") }
}

resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = "${each.value.says}. Runbook: ${var.runbook_url}#${local.sections[each.key]}"
  namespace           = each.value.namespace
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  comparison_operator = each.value.below ? "LessThanThreshold" : "GreaterThanThreshold"
  threshold           = each.value.threshold
  period              = each.value.period
  evaluation_periods  = each.value.times
  datapoints_to_alarm = each.value.times
  treat_missing_data  = each.value.missing
  alarm_actions       = var.alarm_topic_arns
  ok_actions          = var.alarm_topic_arns
  tags                = var.tags
}

locals {
  graphs = concat(
    [
      { title = "Shortest time until a token ends", of = [["Imprint", "SecondsToExpiry", "FunctionName", local.function_names["rotator"], { stat = "Minimum" }]] },
      { title = "Oldest token", of = [["Imprint", "TokenAge", "FunctionName", local.function_names["rotator"], { stat = "Maximum" }]] },
      { title = "Rotations", of = [for metric in ["Rotated", "Kept", "LostRaces", "Failed"] : ["Imprint", metric, "FunctionName", local.function_names["rotator"], { stat = "Sum" }]] },
    ],
    [for function in setintersection(local.functions, ["minter"]) : {
      title = "Single instances", of = [for metric in ["InstanceTokensPublished", "InstanceTokensKept", "OldHostsRemoved", "SquattedIds", "Failed"] : ["Imprint", metric, "FunctionName", local.function_names[function], { stat = "Sum" }]]
    }],
    [for function in setintersection(local.functions, ["reaper"]) : {
      title = "Hosts", of = [for metric in ["HostsRemoved", "HostsWaiting", "HostsHeldBack", "HostsPinned", "Failed"] : ["Imprint", metric, "FunctionName", local.function_names[function], { stat = "Sum" }]]
    }],
    [for function in setintersection(local.counts ? local.functions : [], ["reaper"]) : {
      title = "Hosts and instances that lack each other", of = [for metric in ["InstancesWithoutHost", "HostsWithoutInstance", "HostsUnpinned", "InstancesUnpromoted"] : ["Imprint", metric, "FunctionName", local.function_names[function], { stat = "Maximum" }]]
    }],
    [
      { title = "Errors and throttles", of = [for pair in setproduct(values(local.function_names), ["Errors", "Throttles"]) : ["AWS/Lambda", pair[1], "FunctionName", pair[0], { stat = "Sum" }]] },
      { title = "Duration", of = [for name in values(local.function_names) : ["AWS/Lambda", "Duration", "FunctionName", name, { stat = "Maximum" }]] },
    ],
  )
}

resource "aws_cloudwatch_dashboard" "this" {
  dashboard_name = var.name
  dashboard_body = jsonencode({
    widgets = [
      for at, graph in local.graphs : {
        type   = "metric"
        x      = (at % 2) * 12
        y      = floor(at / 2) * 6
        width  = 12
        height = 6
        properties = {
          title   = graph.title
          region  = local.region
          view    = "timeSeries"
          period  = max(300, var.windows.schedule * 60)
          metrics = graph.of
        }
      }
    ]
  })
}
