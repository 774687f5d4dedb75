# What is wrong by itself is refused, one by one, before anything is planned; and what is just right is not.

mock_provider "aws" {}

variables {
  conjur             = { account = "prod", appliance_url = "https://conjur.example.org" }
  package            = { s3_bucket = "artifacts", s3_key = "rotator.zip" }
  administrator_arns = ["arn:aws:iam::123456789012:role/platform"]
  layers             = { web = { host_factory = "app/web", hosts_branch = "app/hosts" } }
}

run "windows_that_just_fit_are_taken" {
  command = plan

  variables {
    windows = { period = 18, overlap = 0, boot_time = 1, slack = 24, lifetime = 43 }
  }
}

run "a_name_with_capitals" {
  command         = plan
  expect_failures = [var.name]

  variables {
    name = "Imprint"
  }
}

run "a_name_that_is_too_long" {
  command         = plan
  expect_failures = [var.name]

  variables {
    name = "twenty-one-characters"
  }
}

run "an_account_with_a_slash" {
  command         = plan
  expect_failures = [var.conjur]

  variables {
    conjur = { account = "a/b", appliance_url = "https://conjur.example.org" }
  }
}

run "a_conjur_without_tls" {
  command         = plan
  expect_failures = [var.conjur]

  variables {
    conjur = { account = "prod", appliance_url = "http://conjur.example.org" }
  }
}

run "an_address_with_a_slash_at_its_end" {
  command         = plan
  expect_failures = [var.conjur]

  variables {
    conjur = { account = "prod", appliance_url = "https://conjur.example.org/" }
  }
}

run "a_leader_without_tls" {
  command         = plan
  expect_failures = [var.conjur]

  variables {
    conjur = { account = "prod", appliance_url = "https://conjur.example.org", leader_url = "http://leader.example.org" }
  }
}

run "certificates_that_are_none" {
  command         = plan
  expect_failures = [var.conjur]

  variables {
    conjur = { account = "prod", appliance_url = "https://conjur.example.org", ca_certificates = "none" }
  }
}

run "a_private_key_among_the_certificates" {
  command         = plan
  expect_failures = [var.conjur]

  variables {
    conjur = { account = "prod", appliance_url = "https://conjur.example.org", ca_certificates = "-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----" }
  }
}

run "a_branch_that_is_absolute" {
  command         = plan
  expect_failures = [var.login]

  variables {
    login = { branch = "/imprint" }
  }
}

run "a_service_with_its_kind" {
  command         = plan
  expect_failures = [var.login]

  variables {
    login = { authn_iam = "authn-iam/prod" }
  }
}

run "an_sts_without_authn_iam" {
  command         = plan
  expect_failures = [var.login]

  variables {
    login = { sts = "eu-west-1" }
  }
}

run "no_layer" {
  command         = plan
  expect_failures = [var.layers]

  variables {
    layers = {}
  }
}

run "a_layer_with_capitals" {
  command         = plan
  expect_failures = [var.layers]

  variables {
    layers = { Web = { host_factory = "app/web", hosts_branch = "app/hosts" } }
  }
}

run "a_factory_with_its_kind" {
  command         = plan
  expect_failures = [var.layers]

  variables {
    layers = { web = { host_factory = "prod:host_factory:app/web", hosts_branch = "app/hosts" } }
  }
}

run "a_branch_with_a_slash_at_its_end" {
  command         = plan
  expect_failures = [var.layers]

  variables {
    layers = { web = { host_factory = "app/web", hosts_branch = "app/hosts/" } }
  }
}

run "a_factory_of_two_layers" {
  command         = plan
  expect_failures = [var.layers]

  variables {
    layers = { a = { host_factory = "app/web", hosts_branch = "app/hosts" }, b = { host_factory = "app/web", hosts_branch = "app/hosts" } }
  }
}

run "a_role_with_a_wildcard" {
  command         = plan
  expect_failures = [var.layers]

  variables {
    layers = { web = { host_factory = "app/web", hosts_branch = "app/hosts", existing_role_arn = "arn:aws:iam::123456789012:role/*" } }
  }
}

run "a_role_of_two_layers" {
  command         = plan
  expect_failures = [var.layers]

  variables {
    layers = { a = { host_factory = "app/web", hosts_branch = "app/hosts", existing_role_arn = "arn:aws:iam::123456789012:role/r" }, b = { host_factory = "app/b", hosts_branch = "app/hosts", existing_role_arn = "arn:aws:iam::123456789012:role/r" } }
  }
}

run "more_roles_than_the_key_can_name" {
  command         = plan
  expect_failures = [var.layers]

  variables {
    layers = { for n in range(500) : "l${n}" => { host_factory = "app/${n}", hosts_branch = "app/hosts", existing_role_arn = "arn:aws:iam::123456789012:role/a-rather-long-name/${n}" } }
  }
}

run "a_network_that_is_none" {
  command         = plan
  expect_failures = [var.layers]

  variables {
    layers = { web = { host_factory = "app/web", hosts_branch = "app/hosts", cidr = ["10.0.0.0"] } }
  }
}

run "a_network_with_host_bits" {
  command         = plan
  expect_failures = [var.layers]

  variables {
    layers = { web = { host_factory = "app/web", hosts_branch = "app/hosts", cidr = ["10.0.0.1/16"] } }
  }
}

run "a_network_of_everybody" {
  command         = plan
  expect_failures = [var.layers]

  variables {
    layers = { web = { host_factory = "app/web", hosts_branch = "app/hosts", cidr = ["0.0.0.0/0"] } }
  }
}

run "another_scope" {
  command         = plan
  expect_failures = [var.layers]

  variables {
    layers = { web = { host_factory = "app/web", hosts_branch = "app/hosts", scope = "account" } }
  }
}

run "a_scope_for_which_nobody_mints" {
  command         = plan
  expect_failures = [var.minter]

  variables {
    layers = { web = { host_factory = "app/web", hosts_branch = "app/hosts", scope = "instance" } }
  }
}

run "tokens_for_single_instances_from_elsewhere" {
  command         = plan
  expect_failures = [var.layers]

  variables {
    layers = { web = { host_factory = "app/web", hosts_branch = "app/hosts", scope = "instance", mint = false } }
    rules  = "[[rule]]\n"
  }
}

run "counts_at_every_moment" {
  command         = plan
  expect_failures = [var.reaper]

  variables {
    reaper = { counts_every = 1 }
  }
}

run "a_promotion_to_nobody" {
  command         = plan
  expect_failures = [var.layers]

  variables {
    layers = { web = { host_factory = "app/web", hosts_branch = "app/hosts", promotes_to = "db" } }
  }
}

run "a_promotion_to_itself" {
  command         = plan
  expect_failures = [var.layers]

  variables {
    layers = { web = { host_factory = "app/web", hosts_branch = "app/hosts", promotes_to = "web" } }
  }
}

run "too_long_a_spread" {
  command         = plan
  expect_failures = [var.layers]

  variables {
    layers = { web = { host_factory = "app/web", hosts_branch = "app/hosts", spread = 601 } }
  }
}

run "half_a_minute" {
  command         = plan
  expect_failures = [var.windows]

  variables {
    windows = { overlap = 0.5 }
  }
}

run "a_run_that_is_too_short_to_begin" {
  command         = plan
  expect_failures = [var.windows]

  variables {
    windows = { longest_run = 1 }
  }
}

run "a_run_that_no_function_lasts" {
  command         = plan
  expect_failures = [var.windows]

  variables {
    windows = { longest_run = 16, slack = 300 }
  }
}

run "no_time_to_boot" {
  command         = plan
  expect_failures = [var.windows]

  variables {
    windows = { boot_time = 0 }
  }
}

run "a_period_shorter_than_the_schedule" {
  command         = plan
  expect_failures = [var.windows]

  variables {
    windows = { period = 17 }
  }
}

run "slack_that_one_late_run_uses_up" {
  command         = plan
  expect_failures = [var.windows]

  variables {
    windows = { slack = 23 }
  }
}

run "a_life_with_a_hole" {
  command         = plan
  expect_failures = [var.windows]

  variables {
    windows = { lifetime = 479 }
  }
}

run "a_window_longer_than_the_schedule" {
  command         = plan
  expect_failures = [var.windows]

  variables {
    windows = { flexible = 15, slack = 300 }
  }
}

run "a_deployment_that_is_no_hex" {
  command         = plan
  expect_failures = [var.deployment]

  variables {
    deployment = "imprint1"
  }
}

run "no_package" {
  command         = plan
  expect_failures = [var.package]

  variables {
    package = {}
  }
}

run "two_packages" {
  command         = plan
  expect_failures = [var.package]

  variables {
    package = { filename = "rotator.zip", s3_bucket = "artifacts", s3_key = "rotator.zip" }
  }
}

run "another_architecture" {
  command         = plan
  expect_failures = [var.package]

  variables {
    package = { s3_bucket = "artifacts", s3_key = "rotator.zip", architecture = "riscv64" }
  }
}

run "no_room_to_run" {
  command         = plan
  expect_failures = [var.functions]

  variables {
    functions = { reserved_concurrency = 0 }
  }
}

run "too_little_memory" {
  command         = plan
  expect_failures = [var.functions]

  variables {
    functions = { memory = 64 }
  }
}

run "subnets_without_groups" {
  command         = plan
  expect_failures = [var.functions]

  variables {
    functions = { subnet_ids = ["subnet-1"] }
  }
}

run "rules_without_a_rule" {
  command         = plan
  expect_failures = [var.rules]

  variables {
    rules = "nobody"
  }
}

run "rules_larger_than_the_rotator_reads" {
  command         = plan
  expect_failures = [var.rules]

  variables {
    rules = format("[[rule]]\n%262144s", "x")
  }
}

run "a_life_too_short_for_an_event" {
  command         = plan
  expect_failures = [var.minter]

  variables {
    minter = { life = 5 }
  }
}

run "a_life_for_which_nobody_waits" {
  command         = plan
  expect_failures = [var.minter]

  variables {
    minter = { life = 61 }
  }
}

run "a_life_shorter_than_a_wave_of_boots" {
  command         = plan
  expect_failures = [var.minter]

  variables {
    minter = { life = 9 }
    layers = { web = { host_factory = "app/web", hosts_branch = "app/hosts", spread = 300 } }
  }
}

run "networks_in_the_place_of_a_word" {
  command         = plan
  expect_failures = [var.minter]

  variables {
    minter = { cidr = "10.0.0.0/8" }
  }
}

run "an_own_address_that_is_any" {
  command         = plan
  expect_failures = [var.minter]

  variables {
    minter = { cidr = "private-ip", any_address = true }
  }
}

run "promotions_at_every_moment" {
  command         = plan
  expect_failures = [var.minter]

  variables {
    minter = { promote = 0 }
  }
}

run "an_old_host_that_goes_too_early" {
  command         = plan
  expect_failures = [var.minter]

  variables {
    minter = { settle = 14 }
  }
}

run "a_reaper_in_a_hurry" {
  command         = plan
  expect_failures = [var.reaper]

  variables {
    reaper = { missing_for = 1 }
  }
}

run "a_reaper_that_removes_nobody" {
  command         = plan
  expect_failures = [var.reaper]

  variables {
    reaper = { most_removals = 0 }
  }
}

run "hosts_to_pin_and_nobody_who_does" {
  command         = plan
  expect_failures = [var.reaper]

  variables {
    reaper = { enabled = false }
    layers = { web = { host_factory = "app/web", hosts_branch = "app/hosts", pin = true } }
  }
}

run "an_endpoint_that_is_none" {
  command         = plan
  expect_failures = [var.instances_from]

  variables {
    instances_from = { vpc_endpoint_ids = ["vpc-1"] }
  }
}

run "a_vpc_that_is_none" {
  command         = plan
  expect_failures = [var.instances_from]

  variables {
    instances_from = { vpc_ids = ["*"] }
  }
}

run "no_administrator" {
  command         = plan
  expect_failures = [var.administrator_arns]

  variables {
    administrator_arns = []
  }
}

run "an_administrator_with_a_wildcard" {
  command         = plan
  expect_failures = [var.administrator_arns]

  variables {
    administrator_arns = ["arn:aws:iam::123456789012:role/*"]
  }
}

run "the_root_as_administrator" {
  command         = plan
  expect_failures = [var.administrator_arns]

  variables {
    administrator_arns = ["arn:aws:iam::123456789012:root"]
  }
}

run "an_operator_with_a_wildcard" {
  command         = plan
  expect_failures = [var.operator_arns]

  variables {
    operator_arns = ["*"]
  }
}

run "a_path_of_everybody" {
  command         = plan
  expect_failures = [var.role_path]

  variables {
    role_path = "/"
  }
}

run "a_bucket_with_capitals" {
  command         = plan
  expect_failures = [var.bucket]

  variables {
    bucket = { name = "Imprint" }
  }
}

run "versions_that_never_were" {
  command         = plan
  expect_failures = [var.bucket]

  variables {
    bucket = { version_days = 0 }
  }
}

run "a_key_that_is_gone_tomorrow" {
  command         = plan
  expect_failures = [var.key_deletion_days]

  variables {
    key_deletion_days = 1
  }
}

run "a_retention_that_cloudwatch_does_not_have" {
  command         = plan
  expect_failures = [var.logs]

  variables {
    logs = { retention_days = 10 }
  }
}

run "a_topic_that_is_none" {
  command         = plan
  expect_failures = [var.alarm_topic_arns]

  variables {
    alarm_topic_arns = ["ops@example.org"]
  }
}

run "a_proof_that_is_no_id" {
  command         = plan
  expect_failures = [var.layers]

  variables {
    layers = { web = { host_factory = "app/web", hosts_branch = "app/hosts", proof_variable = "a\nb" } }
  }
}

run "a_boundary_that_is_a_role" {
  command         = plan
  expect_failures = [var.permissions_boundary_arn]

  variables {
    permissions_boundary_arn = "arn:aws:iam::123456789012:role/boundary"
  }
}

run "a_runbook_with_a_section" {
  command         = plan
  expect_failures = [var.runbook_url]

  variables {
    runbook_url = "https://wiki.example.org/runbook#alarms"
  }
}

run "tags_of_aws" {
  command         = plan
  expect_failures = [var.tags]

  variables {
    tags = { "aws:name" = "x" }
  }
}

run "an_alias_for_the_logs" {
  command         = plan
  expect_failures = [var.logs]

  variables {
    logs = { kms_key_arn = "arn:aws:kms:eu-west-1:123456789012:alias/logs" }
  }
}
