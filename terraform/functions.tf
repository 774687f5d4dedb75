# One package, one function for each job, and a role of its own for each.

locals {
  package_hash = var.package.filename == null ? var.package.sha256 : filebase64sha256(var.package.filename)

  function_descriptions = {
    rotator = "Mints, seals and publishes Conjur host factory tokens"
    minter  = "Mints tokens for single instances, and promotes, as the rules say"
    reaper  = "Removes the Conjur hosts of instances that are gone"
  }

  # What each function's role may do, beside its log and its failures.
  function_statements = {
    rotator = [
      {
        Sid       = "SealAndReadBack"
        Effect    = "Allow"
        Action    = ["kms:Encrypt", "kms:Decrypt"]
        Resource  = [aws_kms_key.this.arn]
        Condition = { StringEquals = local.sealed_for_a_layer }
      },
      {
        Sid      = "PublishAndReadBack"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject"]
        Resource = ["${local.bucket_arn}/${local.folders.factories}*"]
      },
    ]
    minter = [
      local.look_at_instances,
      {
        Sid       = "SealAndReadBack"
        Effect    = "Allow"
        Action    = ["kms:Encrypt", "kms:Decrypt"]
        Resource  = [aws_kms_key.this.arn]
        Condition = { StringEquals = local.sealed_for_an_instance }
      },
      {
        Sid      = "PublishAndReadBack"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject"]
        Resource = ["${local.bucket_arn}/${local.folders.instances}*"]
      },
      {
        Sid      = "Remember"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject"]
        Resource = ["${local.bucket_arn}/${local.folders.promotions}*"]
      },
    ]
    reaper = [
      local.look_at_instances,
      {
        Sid      = "Remember"
        Effect   = "Allow"
        Action   = ["s3:GetObject", "s3:PutObject"]
        Resource = ["${local.bucket_arn}/${local.folders.fleet}*"]
      },
    ]
  }

  look_at_instances = {
    Sid    = "LookAtInstances"
    Effect = "Allow"
    Action = "ec2:DescribeInstances"
    # EC2 knows no narrower one.
    Resource = ["*"]
  }

  function_policies = {
    for function in local.functions : function => {
      Version = "2012-10-17"
      Statement = concat(
        local.function_statements[function],
        [
          {
            Sid    = "ReadConfigurationAndLogin"
            Effect = "Allow"
            Action = "s3:GetObject"
            Resource = concat(
              [for object in values(aws_s3_object.config) : "${local.bucket_arn}/${object.key}"],
              var.login.authn_iam != null ? [] : ["${local.bucket_arn}/${local.folders.logins}${local.logins[function]}.json"],
            )
          },
          {
            # Without it an absent object looks forbidden.
            Sid      = "SeeWhatIsThere"
            Effect   = "Allow"
            Action   = "s3:ListBucket"
            Resource = [local.bucket_arn]
          },
          {
            Sid      = "Log"
            Effect   = "Allow"
            Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
            Resource = ["${aws_cloudwatch_log_group.function[function].arn}:log-stream:*"]
          },
          {
            Sid      = "KeepWhatFailed"
            Effect   = "Allow"
            Action   = "sqs:SendMessage"
            Resource = [aws_sqs_queue.failed.arn]
          },
        ],
        var.login.authn_iam != null ? [] : [{
          Sid       = "UnsealItsLogin"
          Effect    = "Allow"
          Action    = "kms:Decrypt"
          Resource  = [aws_kms_key.this.arn]
          Condition = { StringEquals = merge(local.sealed_for_us, { "kms:EncryptionContext:imprint:login" = local.logins[function] }) }
        }],
        contains(keys(aws_sqs_queue.events), function) ? [{
          Sid      = "TakeEvents"
          Effect   = "Allow"
          Action   = ["sqs:DeleteMessage", "sqs:GetQueueAttributes", "sqs:ReceiveMessage"]
          Resource = [aws_sqs_queue.events[function].arn]
        }] : [],
        length(var.functions.subnet_ids) == 0 ? [] : local.inside_a_vpc[function],
      )
    }
  }

  # Lambda itself makes the network interfaces, with the function's role; the function's code may not.
  network_actions = ["ec2:AssignPrivateIpAddresses", "ec2:CreateNetworkInterface", "ec2:DeleteNetworkInterface", "ec2:DescribeNetworkInterfaces", "ec2:DescribeSubnets", "ec2:UnassignPrivateIpAddresses"]
  inside_a_vpc = {
    for function in local.functions : function => [
      {
        Sid       = "NetworkInterfaces"
        Effect    = "Allow"
        Action    = local.network_actions
        Resource  = ["*"]
        Condition = {}
      },
      {
        Sid       = "NotForTheCodeItself"
        Effect    = "Deny"
        Action    = local.network_actions
        Resource  = ["*"]
        Condition = { ArnEquals = { "lambda:SourceFunctionArn" = local.function_arns[function] } }
      },
    ]
  }
}

resource "aws_cloudwatch_log_group" "function" {
  for_each = local.functions

  name              = "/aws/lambda/${local.function_names[each.key]}"
  retention_in_days = var.logs.retention_days
  kms_key_id        = var.logs.kms_key_arn
  tags              = var.tags
}

resource "aws_iam_role" "function" {
  for_each = local.functions

  name                 = local.function_names[each.key]
  path                 = "${var.role_path}functions/"
  description          = "The function ${local.function_names[each.key]}"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "lambda.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "function" {
  for_each = local.functions

  name   = local.function_names[each.key]
  role   = aws_iam_role.function[each.key].name
  policy = jsonencode(local.function_policies[each.key])
}

# trivy:ignore:AVD-AWS-0066 no request passes through several services; each line of the log names its run
resource "aws_lambda_function" "this" {
  # checkov:skip=CKV_AWS_50: no request passes through several services; each line of the log names its run
  # checkov:skip=CKV_AWS_116: what failed goes to a queue with the function's answer (on_failure, below), which a dead-letter queue does not keep
  # checkov:skip=CKV_AWS_173: the variables say where the configuration lies, and no secret
  for_each = local.functions

  function_name = local.function_names[each.key]
  description   = local.function_descriptions[each.key]
  role          = aws_iam_role.function[each.key].arn
  runtime       = "provided.al2023"
  handler       = "bootstrap"
  architectures = [var.package.architecture]
  memory_size   = var.functions.memory
  timeout       = var.windows.longest_run * 60
  tags          = var.tags

  filename                       = var.package.filename
  s3_bucket                      = var.package.s3_bucket
  s3_key                         = var.package.s3_key
  s3_object_version              = var.package.s3_object_version
  source_code_hash               = local.package_hash
  code_signing_config_arn        = var.package.code_signing_config_arn
  reserved_concurrent_executions = each.key == "rotator" ? var.functions.reserved_concurrency : null

  environment {
    variables = {
      IMPRINT_ROTATOR_CONFIG       = "s3://${local.bucket}/${aws_s3_object.config["rotator.toml"].key}"
      IMPRINT_ROTATOR_CONFIG_OWNER = local.account
    }
  }

  dynamic "vpc_config" {
    for_each = length(var.functions.subnet_ids) == 0 ? [] : [var.functions]

    content {
      subnet_ids         = vpc_config.value.subnet_ids
      security_group_ids = vpc_config.value.security_group_ids
    }
  }

  # A function whose role may not yet log makes a log group of its own, which is kept for ever.
  depends_on = [aws_cloudwatch_log_group.function, aws_iam_role_policy.function]
}

# An event that comes too late is worth nothing: the next one is under way.
resource "aws_lambda_function_event_invoke_config" "this" {
  for_each = local.functions

  function_name                = aws_lambda_function.this[each.key].function_name
  maximum_event_age_in_seconds = max(60, min(var.windows.schedule * 60, 21600))
  maximum_retry_attempts       = 1

  destination_config {
    on_failure {
      destination = aws_sqs_queue.failed.arn
    }
  }
}
