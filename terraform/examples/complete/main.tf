# Two layers with roles of their own, of which one shares a token and one does not, alarms to a topic, and a launch
# template for each layer.

terraform {
  required_version = ">= 1.9"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 6.0"
    }
  }
}

provider "aws" {
  region = var.region
}

module "imprint" {
  source = "../.."

  conjur = {
    account         = var.conjur_account
    appliance_url   = var.conjur_url
    ca_certificates = file(var.conjur_ca_file)
  }
  login = {
    branch    = "imprint"
    authn_iam = var.authn_iam
  }

  layers = {
    # Instances share a token, which is good from their networks alone.
    web = {
      host_factory   = "web/factory"
      hosts_branch   = "web/hosts"
      layer          = "web/nodes"
      cidr           = var.cidr
      proof_variable = "web/password"
      promotes_to    = "db"
    }
    # Each instance gets a token that only itself can open, and none is shared.
    db = {
      scope          = "instance"
      host_factory   = "db/factory"
      hosts_branch   = "db/hosts"
      layer          = "db/nodes"
      cidr           = var.cidr
      proof_variable = "db/password"
    }
  }
  # Who gets a token of db: whoever is launched with its instance profile, which only those can who may pass its role;
  # and who was born in web, once somebody who may tag it says so.
  rules = <<-EOT
    [[rule]]
    name = "databases"
    factory = "db/factory"
    instance_profile = ["imprint-layer-db"]

    [[rule]]
    name = "web servers that become databases"
    factory = "db/factory"
    promote_from = "web/factory"
    instance_profile = ["imprint-layer-web"]
    tags = { Role = "database" }
  EOT

  windows = {
    period = var.period
  }

  package            = { filename = var.package, architecture = var.architecture }
  administrator_arns = var.administrator_arns
  operator_arns      = var.operator_arns
  alarm_topic_arns   = [aws_sns_topic.alarms.arn]
  bucket             = { force_destroy = var.force_destroy }
  tags               = { application = "imprint" }
}

# trivy:ignore:AVD-AWS-0095 an alarm names a function and a number; CloudWatch cannot publish through SNS's own key
resource "aws_sns_topic" "alarms" {
  # checkov:skip=CKV_AWS_26: an alarm names a function and a number; CloudWatch cannot publish through SNS's own key

  name = "imprint-alarms"
}

# How an instance gets its role and its user-data. The metadata service asks for a token, and answers
# no further than the instance itself: a container behind a bridge does not reach it.
resource "aws_launch_template" "layer" {
  for_each = module.imprint.instance_profiles

  name          = "imprint-${each.key}"
  image_id      = var.image_id
  instance_type = "t3.micro"
  user_data     = base64encode(module.imprint.user_data[each.key])

  iam_instance_profile {
    arn = each.value
  }
  metadata_options {
    http_endpoint               = "enabled"
    http_tokens                 = "required"
    http_put_response_hop_limit = 1
  }
}
