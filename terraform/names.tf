# What things are called. Every ARN that can be told before it exists is told here, so that policies
# refer to each other without a circle.

data "aws_caller_identity" "this" {}

data "aws_partition" "this" {}

data "aws_region" "this" {}

locals {
  account   = data.aws_caller_identity.this.account_id
  partition = data.aws_partition.this.partition
  region    = data.aws_region.this.region

  bucket     = coalesce(var.bucket.name, "${var.name}-${local.account}-${local.region}")
  bucket_arn = "arn:${local.partition}:s3:::${local.bucket}"
  deployment = coalesce(var.deployment, substr(sha256("${local.account}/${local.region}/${local.bucket}"), 0, 8))

  root_arn = "arn:${local.partition}:iam::${local.account}:root"
  roles    = "arn:${local.partition}:iam::${local.account}:role${var.role_path}"

  # The functions that there are: what each is called, by what it is.
  functions = toset(concat(["rotator"], local.mints ? ["minter"] : [], var.reaper.enabled ? ["reaper"] : []))

  # Without rules nobody may have a token of their own, and the minter would have nothing to do.
  mints    = var.minter.enabled && var.rules != null
  promotes = local.mints && can(regex("(?m)^\\s*promote_from\\s*=", var.rules))

  function_names = { for function in local.functions : function => "${var.name}-${function}" }
  function_roles = { for function in local.functions : function => "${local.roles}functions/${var.name}-${function}" }
  function_arns  = { for function, name in local.function_names : function => "arn:${local.partition}:lambda:${local.region}:${local.account}:function:${name}" }

  # Where each kind of object lies. The programs have the same words.
  folders = {
    config     = "config/"
    factories  = "factories/${var.conjur.account}/"
    fleet      = "fleet/${var.conjur.account}/"
    instances  = "instances/"
    logins     = "logins/${var.conjur.account}/"
    promotions = "promotions/${var.conjur.account}/"
  }
}
