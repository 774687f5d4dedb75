# The rotator's configuration, an object in the bucket that all functions read. No secret stands in it.

locals {
  login_by = var.login.authn_iam == null ? ["sealed_login = true"] : concat(
    ["authn_iam = ${jsonencode(var.login.authn_iam)}"],
    var.login.sts == null ? [] : ["sts = ${jsonencode(var.login.sts)}"],
  )
  # authn-iam finds the role in the host's id.
  logins = {
    for function, role in local.function_names : function =>
    var.login.authn_iam == null ? "host/${var.login.branch}/${function}" : "host/${var.login.branch}/${local.account}/${role}"
  }

  # What Terraform writes as JSON is a basic string, a number or an array of TOML as well.
  rotator_toml = join("\n", concat(
    [
      "# Written by the Terraform module of ${var.name}; changes are lost at its next apply.",
      "account = ${jsonencode(var.conjur.account)}",
      "appliance_url = ${jsonencode(var.conjur.appliance_url)}",
    ],
    var.conjur.leader_url == null ? [] : ["leader_url = ${jsonencode(var.conjur.leader_url)}"],
    var.conjur.ca_certificates == null ? [] : ["ca_file = \"ca.pem\""],
    ["login = ${jsonencode(local.logins["rotator"])}"],
    local.login_by,
    [
      "deployment = ${jsonencode(local.deployment)}",
      "revoke = ${var.revoke}",
      "",
      "[aws]",
      "region = ${jsonencode(local.region)}",
      "bucket = ${jsonencode(local.bucket)}",
      "bucket_owner = ${jsonencode(local.account)}",
      "key = ${jsonencode(aws_kms_key.this.arn)}",
      "",
      "[policy]",
      "period = \"${var.windows.period}m\"",
      "overlap = \"${var.windows.overlap}m\"",
      "boot_time = \"${var.windows.boot_time}m\"",
      "slack = \"${var.windows.slack}m\"",
      "# A run begins up to ${var.windows.flexible} minutes after its time.",
      "schedule = \"${var.windows.schedule + var.windows.flexible}m\"",
      "longest_run = \"${var.windows.longest_run}m\"",
    ],
    var.windows.lifetime == null ? [] : ["lifetime = \"${var.windows.lifetime}m\""],
    var.reaper.enabled || var.rules != null ? ["", "[fleet]"] : [],
    var.reaper.enabled ? concat(
      ["login = ${jsonencode(local.logins["reaper"])}"],
      local.login_by,
      ["missing_for = \"${var.reaper.missing_for}m\"", "most_removals = ${var.reaper.most_removals}"],
    ) : [],
    var.rules == null ? [] : ["rules_file = \"rules.toml\""],
    local.mints ? concat(
      ["", "[instances]", "login = ${jsonencode(local.logins["minter"])}"],
      local.login_by,
      [
        "life = \"${var.minter.life}m\"",
        "cidr = ${jsonencode(var.minter.cidr)}",
        "any_address = ${var.minter.any_address}",
        "settle = \"${var.minter.settle}m\"",
      ],
    ) : [],
    flatten([
      for name, layer in var.layers : concat(
        [
          "",
          "[[factory]]",
          "id = ${jsonencode(layer.host_factory)}",
          "hosts_branch = ${jsonencode(layer.hosts_branch)}",
        ],
        layer.layer == null ? [] : ["layer = ${jsonencode(layer.layer)}"],
        length(layer.cidr) == 0 ? [] : ["cidr = ${jsonencode(layer.cidr)}"],
        layer.pin ? ["pin = true"] : [],
        layer.mint ? [] : ["mint = false"],
        layer.scope == "layer" ? [] : ["scope = ${jsonencode(layer.scope)}"],
        layer.spread == 0 ? [] : ["spread = \"${layer.spread}s\""],
      )
    ]),
    [""],
  ))

  config_objects = merge(
    { "rotator.toml" = { content = local.rotator_toml, type = "application/toml" } },
    var.conjur.ca_certificates == null ? {} : { "ca.pem" = { content = var.conjur.ca_certificates, type = "application/x-pem-file" } },
    var.rules == null ? {} : { "rules.toml" = { content = var.rules, type = "application/toml" } },
  )
}

resource "aws_s3_object" "config" {
  for_each = local.config_objects

  bucket       = aws_s3_bucket_versioning.this.bucket
  key          = "${local.folders.config}${each.key}"
  content      = each.value.content
  content_type = each.value.type

  # Nobody reads it before it is safe from others.
  depends_on = [aws_s3_bucket_policy.this]
}
