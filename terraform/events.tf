# What invokes the functions: schedules, and EC2's events through a queue.

locals {
  schedules = merge(
    { rotate = merge(local.by_windows, { function = "rotator", input = { command = "rotate" } }) },
    local.promotes ? { promote = { minutes = var.minter.promote, flexible = 0, function = "minter", input = { command = "promote" } } } : {},
    var.reaper.enabled ? { decommission = merge(local.by_windows, { function = "reaper", input = { command = "decommission" } }) } : {},
    local.pins ? { pin = merge(local.by_windows, { function = "reaper", input = { command = "pin" } }) } : {},
    local.counts ? { status = { minutes = var.reaper.counts_every, flexible = 0, function = "reaper", input = { command = "status", hosts = true } } } : {},
  )
  by_windows = { minutes = var.windows.schedule, flexible = var.windows.flexible }
  # A rule can say it too.
  pins = var.reaper.enabled && (anytrue([for layer in values(var.layers) : layer.pin]) || can(regex("(?m)^\\s*pin\\s*=\\s*true", var.rules)))

  # Who lacks a host, and which host lacks an instance.
  counts = var.reaper.enabled && var.reaper.counts_every > 0

  # Which states of instances each function is told of.
  states = merge(
    local.mints ? { minter = ["pending", "running"] } : {},
    var.reaper.enabled ? { reaper = ["terminated"] } : {},
  )
  # An instance that boots waits for its token, one that is gone waits for nothing. What failed comes again
  # after `again` seconds, which Lambda wants to be no shorter than the function may run.
  queues = {
    minter = { gather = 1, again = var.windows.longest_run * 60, late = var.minter.life * 30 }
    reaper = { gather = 20, again = var.windows.longest_run * 60 * 6, late = 3600 }
  }
}

resource "aws_scheduler_schedule" "this" {
  # checkov:skip=CKV_AWS_297: what it sends is the name of a command

  for_each = local.schedules

  name                = "${var.name}-${each.key}"
  description         = "Every ${each.value.minutes} minutes, begun within ${each.value.flexible}"
  schedule_expression = "rate(${each.value.minutes} ${each.value.minutes == 1 ? "minute" : "minutes"})"

  flexible_time_window {
    mode                      = each.value.flexible == 0 ? "OFF" : "FLEXIBLE"
    maximum_window_in_minutes = each.value.flexible == 0 ? null : each.value.flexible
  }

  target {
    arn      = aws_lambda_function.this[each.value.function].arn
    role_arn = aws_iam_role.scheduler.arn
    input    = jsonencode(each.value.input)

    retry_policy {
      maximum_event_age_in_seconds = max(60, each.value.minutes * 60)
      maximum_retry_attempts       = 3
    }
    dead_letter_config {
      arn = aws_sqs_queue.failed.arn
    }
  }

  depends_on = [aws_iam_role_policy.scheduler]
}

resource "aws_iam_role" "scheduler" {
  name                 = "${var.name}-scheduler"
  path                 = "${var.role_path}functions/"
  description          = "EventBridge Scheduler invokes the functions of ${var.name}"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "scheduler.amazonaws.com" }
      Action    = "sts:AssumeRole"
      Condition = { StringEquals = { "aws:SourceAccount" = local.account } }
    }]
  })
}

resource "aws_iam_role_policy" "scheduler" {
  name = "${var.name}-scheduler"
  role = aws_iam_role.scheduler.name

  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "Invoke"
        Effect   = "Allow"
        Action   = "lambda:InvokeFunction"
        Resource = values(local.function_arns)
      },
      {
        Sid      = "KeepWhatFailed"
        Effect   = "Allow"
        Action   = "sqs:SendMessage"
        Resource = [aws_sqs_queue.failed.arn]
      },
    ]
  })
}

# Events that came to nothing, with what the function said of them; there is no secret in them.
resource "aws_sqs_queue" "failed" {
  name                      = "${var.name}-failed"
  message_retention_seconds = 1209600
  sqs_managed_sse_enabled   = true
  tags                      = var.tags
}

resource "aws_sqs_queue" "events" {
  for_each = local.states

  name                       = "${var.name}-${each.key}-events"
  message_retention_seconds  = 14400
  visibility_timeout_seconds = local.queues[each.key].again
  sqs_managed_sse_enabled    = true
  tags                       = var.tags

  redrive_policy = jsonencode({
    deadLetterTargetArn = aws_sqs_queue.failed.arn
    maxReceiveCount     = 5
  })
}

resource "aws_cloudwatch_event_rule" "instances" {
  for_each = local.states

  name        = "${var.name}-${each.key}-events"
  description = "Instances become ${join(", ", each.value)}"
  tags        = var.tags

  event_pattern = jsonencode({
    source        = ["aws.ec2"]
    "detail-type" = ["EC2 Instance State-change Notification"]
    detail        = { state = each.value }
  })
}

resource "aws_cloudwatch_event_target" "instances" {
  for_each = local.states

  rule      = aws_cloudwatch_event_rule.instances[each.key].name
  target_id = "queue"
  arn       = aws_sqs_queue.events[each.key].arn
}

resource "aws_sqs_queue_policy" "events" {
  for_each = local.states

  queue_url = aws_sqs_queue.events[each.key].url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "EventsOfItsRule"
        Effect    = "Allow"
        Principal = { Service = "events.amazonaws.com" }
        Action    = "sqs:SendMessage"
        Resource  = aws_sqs_queue.events[each.key].arn
        Condition = { ArnEquals = { "aws:SourceArn" = aws_cloudwatch_event_rule.instances[each.key].arn } }
      },
      {
        Sid       = "OnlyEncryptedTransport"
        Effect    = "Deny"
        Principal = "*"
        Action    = "sqs:*"
        Resource  = aws_sqs_queue.events[each.key].arn
        Condition = { Bool = { "aws:SecureTransport" = "false" } }
      },
    ]
  })
}

resource "aws_sqs_queue_policy" "failed" {
  queue_url = aws_sqs_queue.failed.url
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Sid       = "OnlyEncryptedTransport"
      Effect    = "Deny"
      Principal = "*"
      Action    = "sqs:*"
      Resource  = aws_sqs_queue.failed.arn
      Condition = { Bool = { "aws:SecureTransport" = "false" } }
    }]
  })
}

resource "aws_lambda_event_source_mapping" "events" {
  for_each = local.states

  event_source_arn                   = aws_sqs_queue.events[each.key].arn
  function_name                      = aws_lambda_function.this[each.key].arn
  batch_size                         = 100
  maximum_batching_window_in_seconds = local.queues[each.key].gather
  function_response_types            = ["ReportBatchItemFailures"]

  # One at a time and a second beside it: what it does is limited by Conjur, not by Lambda.
  scaling_config {
    maximum_concurrency = 2
  }
}
