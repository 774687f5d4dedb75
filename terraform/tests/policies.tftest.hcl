# What the policies hold, and how large they are. Nothing is made: what is only known after apply is
# given here.

mock_provider "aws" {
  override_during = plan

  mock_data "aws_caller_identity" {
    defaults = { account_id = "123456789012" }
  }
  mock_data "aws_partition" {
    defaults = { partition = "aws" }
  }
  mock_data "aws_region" {
    defaults = { region = "eu-west-1" }
  }
  mock_resource "aws_kms_key" {
    defaults = { arn = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555" }
  }
  mock_resource "aws_lambda_function" {
    defaults = { arn = "arn:aws:lambda:eu-west-1:123456789012:function:imprint" }
  }
  mock_resource "aws_iam_role" {
    defaults = { arn = "arn:aws:iam::123456789012:role/imprint/made" }
  }
  mock_resource "aws_cloudwatch_log_group" {
    defaults = { arn = "arn:aws:logs:eu-west-1:123456789012:log-group:made" }
  }
  mock_resource "aws_cloudwatch_event_rule" {
    defaults = { arn = "arn:aws:events:eu-west-1:123456789012:rule/made" }
  }
  mock_resource "aws_sqs_queue" {
    defaults = {
      arn = "arn:aws:sqs:eu-west-1:123456789012:made"
      url = "https://sqs.eu-west-1.amazonaws.com/123456789012/made"
    }
  }
}

variables {
  conjur             = { account = "prod", appliance_url = "https://conjur.example.org" }
  package            = { s3_bucket = "artifacts", s3_key = "rotator.zip" }
  administrator_arns = ["arn:aws:iam::123456789012:role/platform"]
  layers = {
    web = { host_factory = "app/web", hosts_branch = "app/hosts", promotes_to = "db" }
    db  = { host_factory = "app/db", hosts_branch = "app/db-hosts", scope = "instance" }
    old = { host_factory = "app/old", hosts_branch = "app/old-hosts", existing_role_arn = "arn:aws:iam::123456789012:role/team/old" }
  }
  rules = "[[rule]]\nname = \"web\"\nfactory = \"app/db\"\npromote_from = \"app/web\"\ninstance_profile = [\"imprint-layer-web\"]\n"
}

run "a_layer_may_fetch_its_object_and_open_its_token_and_nothing_else" {
  command = plan

  assert {
    condition = jsonencode(local.layer_policies["old"]) == jsonencode({
      Version = "2012-10-17"
      Statement = [
        { Sid = "Fetch", Effect = "Allow", Action = "s3:GetObject",
        Resource = ["arn:aws:s3:::imprint-123456789012-eu-west-1/factories/prod/app/old/token.json"] },
        { Sid      = "SeeWhetherItIsThere", Effect = "Allow", Action = "s3:ListBucket",
          Resource = ["arn:aws:s3:::imprint-123456789012-eu-west-1"],
        Condition = { StringLike = { "s3:prefix" = ["factories/prod/app/old/token.json"] } } },
        { Sid      = "UnsealForTheLayer", Effect = "Allow", Action = "kms:Decrypt",
          Resource = ["arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"],
          Condition = { StringEquals = {
            "kms:EncryptionContext:imprint:account"      = "prod",
            "kms:EncryptionContext:imprint:host_factory" = "app/old",
            "kms:EncryptionContext:imprint:scope"        = "layer",
        } } },
        { Sid      = "NothingOfOtherLayers", Effect = "Deny", Action = "kms:Decrypt",
          Resource = ["arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"],
          Condition = {
            StringEquals    = { "kms:EncryptionContext:imprint:scope" = "layer" },
            StringNotEquals = { "kms:EncryptionContext:imprint:host_factory" = "app/old" },
        } },
        { Sid      = "NoOtherIdentity", Effect = "Deny", Action = "kms:Decrypt",
          Resource = ["arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"],
        Condition = { StringEquals = { "kms:EncryptionContext:imprint:scope" = "instance" } } },
      ]
    })
    error_message = "The policy of a layer: ${jsonencode(local.layer_policies["old"])}"
  }

  assert {
    condition = alltrue([
      for policy in values(aws_iam_role_policy.layer) :
      distinct(flatten([for statement in jsondecode(policy.policy).Statement : statement.Action if statement.Effect == "Allow"])) == tolist(["s3:GetObject", "s3:ListBucket", "kms:Decrypt"])
    ])
    error_message = "A layer's role is allowed something else than to get, to list and to decrypt."
  }

  # One that is sealed for an instance is opened by that instance alone.
  assert {
    condition = alltrue(flatten([
      for policy in concat(values(aws_iam_role_policy.layer)[*].policy, [aws_kms_key.this.policy]) : [
        for statement in jsondecode(policy).Statement :
        statement.Condition.StringEquals["kms:EncryptionContext:imprint:instance_arn"] == "$${ec2:SourceInstanceARN}"
        if statement.Sid == "UnsealForThisInstance"
      ]
    ]))
    error_message = "Another instance could open what was sealed for one."
  }
  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.layer["web"].policy).Statement : statement.Sid] == ["Fetch", "SeeWhetherItIsThere", "UnsealForTheLayer", "UnsealForThisInstance", "NothingOfOtherLayers", "NoOtherIdentity"]
    error_message = "web shares a token, and is promoted with one of its own."
  }
  assert {
    condition     = [for statement in jsondecode(aws_iam_role_policy.layer["db"].policy).Statement : statement.Sid] == ["Fetch", "SeeWhetherItIsThere", "UnsealForThisInstance", "NothingOfOtherLayers", "NoOtherIdentity"]
    error_message = "db has no shared token."
  }
  assert {
    condition     = jsondecode(aws_iam_role_policy.layer["web"].policy).Statement[3].Condition.StringEquals["kms:EncryptionContext:imprint:host_factory"] == ["app/db"]
    error_message = "web is promoted to another factory than db's."
  }
  assert {
    condition     = aws_iam_role_policy.layer["old"].role == "old" && keys(aws_iam_role.layer) == ["db", "web"] && keys(aws_iam_instance_profile.layer) == ["db", "web"]
    error_message = "A role that exists gets a policy, and neither a role nor a profile."
  }
}

run "wildcards_are_where_aws_leaves_no_choice_and_nowhere_else" {
  command = plan

  variables {
    functions = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"] }
  }

  # No statement that allows has one in its action.
  assert {
    condition = !strcontains(join(" ", flatten([
      for policy in concat(values(aws_iam_role_policy.layer)[*].policy, values(aws_iam_role_policy.function)[*].policy, [aws_iam_role_policy.scheduler.policy, aws_kms_key.this.policy]) :
      [for statement in jsondecode(policy).Statement : statement.Action if statement.Effect == "Allow"]
    ])), "*")
    error_message = "An action with a wildcard is allowed."
  }
  # All resources with one, of roles.
  assert {
    condition = toset(flatten([
      for policy in concat(values(aws_iam_role_policy.layer)[*].policy, values(aws_iam_role_policy.function)[*].policy, [aws_iam_role_policy.scheduler.policy]) :
      [for statement in jsondecode(policy).Statement : [for resource in flatten([statement.Resource]) : "${statement.Sid} ${resource}" if strcontains(resource, "*")] if statement.Effect == "Allow"]
      ])) == toset([
      "Fetch arn:aws:s3:::imprint-123456789012-eu-west-1/instances/*/app/db.json",
      "Log arn:aws:logs:eu-west-1:123456789012:log-group:made:log-stream:*",
      "LookAtInstances *",
      "NetworkInterfaces *",
      "PublishAndReadBack arn:aws:s3:::imprint-123456789012-eu-west-1/factories/prod/*",
      "PublishAndReadBack arn:aws:s3:::imprint-123456789012-eu-west-1/instances/*",
      "Remember arn:aws:s3:::imprint-123456789012-eu-west-1/fleet/prod/*",
      "Remember arn:aws:s3:::imprint-123456789012-eu-west-1/promotions/prod/*",
    ])
    error_message = "A resource with a wildcard that nobody has given a reason for."
  }
  # The key's policy allows nobody without saying who.
  assert {
    condition     = alltrue([for statement in jsondecode(aws_kms_key.this.policy).Statement : can(statement.Condition.ArnEquals["aws:PrincipalArn"]) || can(statement.Condition.ArnLike["aws:PrincipalArn"]) if statement.Effect == "Allow"])
    error_message = "The key's policy allows something to the whole account."
  }
  # Who seals at all, and what.
  assert {
    condition = {
      for statement in jsondecode(aws_kms_key.this.policy).Statement :
      statement.Sid => [statement.Condition.ArnEquals["aws:PrincipalArn"], statement.Condition.StringEquals["kms:EncryptionContext:imprint:scope"]]
      if statement.Effect == "Allow" && contains(flatten([statement.Action]), "kms:Encrypt")
      } == {
      SealForLayers    = [["arn:aws:iam::123456789012:role/imprint/functions/imprint-rotator"], "layer"]
      SealForInstances = [["arn:aws:iam::123456789012:role/imprint/functions/imprint-minter"], "instance"]
    }
    error_message = "Somebody beside rotator and minter seals, or either seals what is the other's."
  }
  assert {
    condition = {
      for statement in jsondecode(aws_s3_bucket_policy.this.policy).Statement : statement.Sid => statement.Condition.ArnNotEquals["aws:PrincipalArn"] if startswith(statement.Sid, "WhoPutsInto")
      } == {
      WhoPutsIntoConfig     = ["arn:aws:iam::123456789012:role/platform"]
      WhoPutsIntoFactories  = ["arn:aws:iam::123456789012:role/imprint/functions/imprint-rotator"]
      WhoPutsIntoFleet      = ["arn:aws:iam::123456789012:role/imprint/functions/imprint-reaper"]
      WhoPutsIntoInstances  = ["arn:aws:iam::123456789012:role/imprint/functions/imprint-minter"]
      WhoPutsIntoPromotions = ["arn:aws:iam::123456789012:role/imprint/functions/imprint-minter"]
    }
    error_message = "Somebody puts where he has no business."
  }
  # The bucket's policy allows nobody anything.
  assert {
    condition     = distinct([for statement in jsondecode(aws_s3_bucket_policy.this.policy).Statement : statement.Effect]) == tolist(["Deny"])
    error_message = "The bucket's policy allows something."
  }
}

run "the_functions_may_do_no_more_than_their_permission_lists" {
  command = plan

  assert {
    condition = { for name, policy in aws_iam_role_policy.function : name => join(" ", sort(distinct(flatten([for statement in jsondecode(policy.policy).Statement : statement.Action])))) } == {
      rotator = "kms:Decrypt kms:Encrypt logs:CreateLogStream logs:PutLogEvents s3:GetObject s3:ListBucket s3:PutObject sqs:SendMessage"
      minter  = "ec2:DescribeInstances kms:Decrypt kms:Encrypt logs:CreateLogStream logs:PutLogEvents s3:GetObject s3:ListBucket s3:PutObject sqs:DeleteMessage sqs:GetQueueAttributes sqs:ReceiveMessage sqs:SendMessage"
      reaper  = "ec2:DescribeInstances kms:Decrypt logs:CreateLogStream logs:PutLogEvents s3:GetObject s3:ListBucket s3:PutObject sqs:DeleteMessage sqs:GetQueueAttributes sqs:ReceiveMessage sqs:SendMessage"
    }
    error_message = "A function may do more, or less, than it needs."
  }
  assert {
    condition = {
      for name, policy in aws_iam_role_policy.function : name =>
      [for statement in jsondecode(policy.policy).Statement : statement.Condition.StringEquals["kms:EncryptionContext:imprint:login"] if statement.Sid == "UnsealItsLogin"]
    } == { rotator = ["host/imprint/rotator"], minter = ["host/imprint/minter"], reaper = ["host/imprint/reaper"] }
    error_message = "A function opens another login than its own."
  }
  assert {
    condition = {
      for name, policy in aws_iam_role_policy.function : name =>
      [for statement in jsondecode(policy.policy).Statement : statement.Condition.StringEquals["kms:EncryptionContext:imprint:scope"] if statement.Sid == "SealAndReadBack"]
    } == { rotator = ["layer"], minter = ["instance"], reaper = [] }
    error_message = "The rotator seals for layers, the minter for single instances, and the reaper for nobody."
  }
}

run "ec2_tells_the_minter_of_beginnings_and_the_reaper_of_ends" {
  command = plan

  assert {
    condition     = { for name, rule in aws_cloudwatch_event_rule.instances : name => jsondecode(rule.event_pattern).detail.state } == { minter = ["pending", "running"], reaper = ["terminated"] }
    error_message = "A function is told of other states."
  }
  # What failed comes again, alone, and not before the function that may still work on it has ended.
  assert {
    condition     = alltrue([for mapping in values(aws_lambda_event_source_mapping.events) : toset(mapping.function_response_types) == toset(["ReportBatchItemFailures"])])
    error_message = "A batch of which a part failed would be lost, or come again as a whole."
  }
  assert {
    condition     = alltrue([for name, queue in aws_sqs_queue.events : queue.visibility_timeout_seconds >= aws_lambda_function.this[name].timeout && can(jsondecode(queue.redrive_policy).deadLetterTargetArn)])
    error_message = "An event comes again while the function works on it, or is lost."
  }
  assert {
    condition     = { for name, mapping in aws_lambda_event_source_mapping.events : name => mapping.maximum_batching_window_in_seconds } == { minter = 1, reaper = 20 }
    error_message = "An instance that boots waits for its token."
  }
  assert {
    condition     = { for name, schedule in aws_scheduler_schedule.this : name => "${schedule.schedule_expression} ${jsondecode(schedule.target[0].input).command}" } == { rotate = "rate(15 minutes) rotate", promote = "rate(5 minutes) promote", decommission = "rate(15 minutes) decommission", status = "rate(15 minutes) status" }
    error_message = "Something else runs by the clock."
  }
  assert {
    condition     = alltrue([for kind in ["failed", "errors", "throttled", "behind"] : contains(keys(aws_cloudwatch_metric_alarm.this), "minter-${kind}")]) && strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "InstanceTokensPublished")
    error_message = "Nobody hears of a minter that fails."
  }
  assert {
    condition     = alltrue(flatten([for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : [for metric in widget.properties.metrics : length(metric) == 5 && metric[2] == "FunctionName"]]))
    error_message = "CloudWatch would not take a graph of the dashboard."
  }
  assert {
    condition     = one([for rule in aws_s3_bucket_lifecycle_configuration.this.rule : rule.expiration[0].days if rule.filter[0].prefix == "instances/"]) == 1
    error_message = "What was sealed for an instance stays for ever."
  }
}

run "the_configuration_says_who_mints_and_by_which_rules" {
  command = plan

  variables {
    minter = { life = 10, cidr = "private-ip" }
  }
  assert {
    condition     = strcontains(aws_s3_object.config["rotator.toml"].content, "\nrules_file = \"rules.toml\"\n\n[instances]\nlogin = \"host/imprint/minter\"\nsealed_login = true\nlife = \"10m\"\ncidr = \"private-ip\"\nany_address = false\nsettle = \"30m\"\n")
    error_message = "The configuration: ${aws_s3_object.config["rotator.toml"].content}"
  }
  assert {
    condition     = aws_s3_object.config["rules.toml"].key == "config/rules.toml" && aws_s3_object.config["rules.toml"].content == var.rules
    error_message = "The rules do not lie beside the configuration."
  }
  assert {
    condition     = alltrue([for policy in values(aws_iam_role_policy.function) : contains(flatten([for statement in jsondecode(policy.policy).Statement : statement.Resource if statement.Sid == "ReadConfigurationAndLogin"]), "arn:aws:s3:::imprint-123456789012-eu-west-1/config/rules.toml")])
    error_message = "A function cannot read the rules, and with them its configuration."
  }
  # Whose instances have tokens of their own needs none that is shared.
  assert {
    condition     = [for section in slice(split("[[factory]]", aws_s3_object.config["rotator.toml"].content), 1, 4) : strcontains(section, "\nscope = \"instance\"\n")] == [true, false, false]
    error_message = "A token is shared that nobody fetches, or one is missing: ${aws_s3_object.config["rotator.toml"].content}"
  }
  # User-data never waits for what waits for it.
  assert {
    condition     = alltrue([for data in values(output.user_data) : startswith(data, "#cloud-config\n") && yamldecode(data).runcmd == [["systemctl", "start", "--no-block", "imprint.service"]]])
    error_message = "User-data does not start the unit."
  }
}

run "what_the_alarms_are_about" {
  command = plan

  variables {
    rules = "[[rule]]\nname = \"db\"\nfactory = \"app/db\"\npromote_from = \"app/web\"\npin = true\ninstance_profile = [\"web\"]\n"
  }
  assert {
    condition = toset(keys(aws_cloudwatch_metric_alarm.this)) == toset(concat(
      ["token-late", "token-ends", "failed-events", "instances-without-host", "hosts-without-instance", "hosts-unpinned", "instances-unpromoted", "minter-behind", "reaper-behind"],
      [for pair in setproduct(["rotator", "minter", "reaper"], ["failed", "errors", "throttled"]) : join("-", pair)],
    ))
    error_message = "Other alarms: ${join(" ", keys(aws_cloudwatch_metric_alarm.this))}"
  }
  # Of the same function that counts, as its program calls them, over long enough for four counts.
  assert {
    condition = { for name, alarm in aws_cloudwatch_metric_alarm.this : name => "${alarm.metric_name} of ${alarm.dimensions.FunctionName}: ${alarm.statistic} ${alarm.threshold} ${alarm.period} ${alarm.treat_missing_data}" if startswith(name, "hosts-") || startswith(name, "instances-") } == {
      "hosts-unpinned"         = "HostsUnpinned of imprint-reaper: Minimum 0 3600 notBreaching"
      "hosts-without-instance" = "HostsWithoutInstance of imprint-reaper: Minimum 0 3600 breaching"
      "instances-unpromoted"   = "InstancesUnpromoted of imprint-reaper: Minimum 0 3600 notBreaching"
      "instances-without-host" = "InstancesWithoutHost of imprint-reaper: Minimum 0 3600 notBreaching"
    }
    error_message = "Nobody hears of instances without a host, or of hosts without an instance."
  }
  assert {
    condition     = jsondecode(aws_scheduler_schedule.this["status"].target[0].input) == { command = "status", hosts = true } && strcontains(aws_cloudwatch_dashboard.this.dashboard_body, "HostsWithoutInstance")
    error_message = "Nobody counts, or shows what was counted."
  }
  assert {
    condition     = alltrue([for name, alarm in aws_cloudwatch_metric_alarm.this : strcontains(alarm.alarm_description, ". Runbook: docs/OPERATIONS.md#")])
    error_message = "An alarm says not what to do."
  }
}

run "who_counts_nothing_has_no_alarm_of_it" {
  command = plan

  variables {
    reaper = { counts_every = 0 }
  }
  assert {
    condition     = length([for name in keys(aws_cloudwatch_metric_alarm.this) : name if startswith(name, "hosts-") || startswith(name, "instances-")]) == 0 && !contains(keys(aws_scheduler_schedule.this), "status")
    error_message = "An alarm waits for a count that never comes."
  }
  assert {
    condition     = alltrue([for widget in jsondecode(aws_cloudwatch_dashboard.this.dashboard_body).widgets : length(widget.properties.metrics) > 0])
    error_message = "CloudWatch takes no graph without a metric."
  }
}

run "a_host_that_may_wait_long_for_its_removal_is_no_alarm" {
  command = plan

  variables {
    reaper = { missing_for = 600 }
  }
  assert {
    condition     = aws_cloudwatch_metric_alarm.this["hosts-without-instance"].period == 37800
    error_message = "The alarm goes off while everything is as it was asked for."
  }
}

run "where_no_token_is_shared_none_comes_late" {
  command = plan

  variables {
    layers = { db = { host_factory = "app/db", hosts_branch = "app/hosts", scope = "instance" } }
    rules  = "[[rule]]\nname = \"db\"\nfactory = \"app/db\"\ninstance_profile = [\"db\"]\n"
  }
  assert {
    condition     = !contains(keys(aws_cloudwatch_metric_alarm.this), "token-late") && !contains(keys(aws_cloudwatch_metric_alarm.this), "token-ends") && contains(keys(aws_cloudwatch_metric_alarm.this), "rotator-failed")
    error_message = "An alarm waits for a token that nobody mints."
  }
}

run "without_rules_nobody_mints_for_an_instance" {
  command = plan

  variables {
    rules  = null
    layers = { web = { host_factory = "app/web", hosts_branch = "app/hosts" } }
  }
  assert {
    condition     = keys(aws_lambda_function.this) == ["reaper", "rotator"] && keys(aws_sqs_queue.events) == ["reaper"] && !contains(keys(aws_scheduler_schedule.this), "promote") && keys(aws_s3_object.config) == ["rotator.toml"]
    error_message = "There is a minter that has nothing to do."
  }
  assert {
    condition     = !strcontains(aws_kms_key.this.policy, "SealForInstances") && !strcontains(aws_s3_bucket_policy.this.policy, "/instances/") && !strcontains(aws_s3_object.config["rotator.toml"].content, "[instances]")
    error_message = "Somebody may mint for an instance."
  }
}

run "rules_that_promote_nobody_need_no_schedule_and_those_that_pin_do" {
  command = plan

  variables {
    rules = "[[rule]]\nname = \"db\"\nfactory = \"app/db\"\npin = true\ninstance_profile = [\"db\"]\n"
  }
  assert {
    condition     = keys(aws_scheduler_schedule.this) == ["decommission", "pin", "rotate", "status"]
    error_message = "What runs by the clock does not follow from the rules."
  }
}

run "with_authn_iam_no_function_opens_a_login" {
  command = plan

  variables {
    login = { authn_iam = "prod" }
  }
  assert {
    condition     = !strcontains(join(" ", values(aws_iam_role_policy.function)[*].policy), "logins/") && !strcontains(aws_iam_role_policy.function["reaper"].policy, "kms:") && !strcontains(join(" ", concat(values(aws_iam_role_policy.function)[*].policy, [aws_kms_key.this.policy])), "imprint:login")
    error_message = "A login is read that there is not."
  }
  assert {
    condition     = local.logins == { rotator = "host/imprint/123456789012/imprint-rotator", minter = "host/imprint/123456789012/imprint-minter", reaper = "host/imprint/123456789012/imprint-reaper" }
    error_message = "A host's id must end with the account and the name of its role."
  }
}

run "where_instances_may_ask_from_is_in_each_statement_that_allows" {
  command = plan

  variables {
    instances_from = { vpc_ids = ["vpc-1"], vpc_endpoint_ids = ["vpce-1", "vpce-2"] }
  }
  assert {
    condition = alltrue(flatten([
      for policy in values(aws_iam_role_policy.layer) : [
        for statement in jsondecode(policy.policy).Statement :
        statement.Condition.StringEquals["aws:SourceVpce"] == ["vpce-1", "vpce-2"] && statement.Condition.StringEquals["aws:EC2InstanceSourceVPC"] == ["vpc-1"]
        if statement.Effect == "Allow"
      ]
    ]))
    error_message = "Something is allowed from elsewhere."
  }
}

# AWS's quotas: 10,240 characters for all inline policies of a role, without blanks; 2,048 for who may take
# it; 32,768 for a key's policy; 20,480 bytes for a bucket's; 1,000 roles in an account, unless it is raised.
#
# Of as many existing roles as are taken, since the key's policy names each, and of roles to make. (Of these
# alone it would take a minute: Terraform's graph has an edge from each policy to each role.)
run "five_hundred_layers_fit" {
  command = plan

  variables {
    layers = {
      for n in range(500) : format("layer-%03d-%s", n, join("", [for i in range(20) : "x"])) => {
        host_factory      = format("department/of/things-%03d/%s/factory", n, join("", [for i in range(180) : "f"]))
        hosts_branch      = format("department/of/things-%03d/hosts", n)
        existing_role_arn = n < 340 ? format("arn:aws:iam::123456789012:role/r%03d", n) : null
        scope             = "instance"
        promotes_to       = n == 0 ? null : format("layer-%03d-%s", n - 1, join("", [for i in range(20) : "x"]))
      }
    }
  }
  assert {
    condition     = length(aws_iam_role_policy.layer) == 500 && max([for policy in values(aws_iam_role_policy.layer) : length(policy.policy)]...) < 4096
    error_message = "A layer's policy leaves a role little room for others."
  }
  assert {
    condition     = max([for policy in values(aws_iam_role_policy.function) : length(policy.policy)]...) < 4096
    error_message = "A function's policy grows with the layers."
  }
  assert {
    condition     = length(aws_kms_key.this.policy) < 32768 && length(aws_s3_bucket_policy.this.policy) < 4096
    error_message = "The policy of the key or of the bucket is too large: ${length(aws_kms_key.this.policy)}, ${length(aws_s3_bucket_policy.this.policy)}."
  }
  assert {
    condition     = length(aws_s3_object.config["rotator.toml"].content) < 1048576 && length(aws_cloudwatch_dashboard.this.dashboard_body) < 65536
    error_message = "The configuration is larger than the rotator reads."
  }
}

run "roles_that_the_module_makes_are_not_in_the_policies_of_key_and_bucket" {
  command = plan

  variables {
    name   = "twenty-characters-xx"
    layers = { for n in range(30) : format("layer-%02d-%s", n, join("", [for i in range(27) : "x"])) => { host_factory = "app/${n}", hosts_branch = "app/hosts" } }
  }
  assert {
    condition     = length(aws_kms_key.this.policy) < 4096 && length(aws_s3_bucket_policy.this.policy) < 4096 && !strcontains("${aws_kms_key.this.policy}${aws_s3_bucket_policy.this.policy}", "layer-")
    error_message = "The policy of the key or of the bucket grows with the layers."
  }
  assert {
    condition     = max([for role in concat(values(aws_iam_role.layer), values(aws_iam_role.function)) : length(role.name)]...) <= 64
    error_message = "A role's name is longer than IAM takes."
  }
}

run "a_role_of_another_account_is_no_role_of_this_one" {
  command         = plan
  expect_failures = [aws_iam_role_policy.layer["web"]]

  variables {
    rules  = null
    layers = { web = { host_factory = "app/web", hosts_branch = "app/hosts", existing_role_arn = "arn:aws:iam::999999999999:role/web" } }
  }
}
