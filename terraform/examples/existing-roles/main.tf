# Instances that have roles already: the module adds a policy to each, and no instance profile. Functions
# run inside a VPC, and instances fetch and unseal from there alone.

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
  region = "eu-west-1"
}

module "imprint" {
  source = "../.."

  name   = "imprint-shop"
  conjur = { account = "prod", appliance_url = "https://conjur.example.org" }
  login  = { authn_iam = "prod", sts = "eu-west-1" }

  layers = {
    for name, role in var.roles : name => {
      host_factory      = "shop/${name}"
      hosts_branch      = "shop/hosts-of-${name}"
      existing_role_arn = role
      cidr              = ["10.20.0.0/16"]
    }
  }

  instances_from = {
    vpc_ids          = ["vpc-0123456789abcdef0"]
    vpc_endpoint_ids = ["vpce-0aaaaaaaaaaaaaaaa", "vpce-0bbbbbbbbbbbbbbbb"]
  }
  functions = {
    subnet_ids         = ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]
    security_group_ids = ["sg-0123456789abcdef0"]
  }

  package            = { s3_bucket = "artifacts-123456789012", s3_key = "imprint/rotator.zip" }
  administrator_arns = ["arn:aws:iam::123456789012:role/platform"]
}

variable "roles" {
  description = "The ARN of the role that each layer's instances have."
  type        = map(string)
  default = {
    checkout = "arn:aws:iam::123456789012:role/shop/checkout"
    catalog  = "arn:aws:iam::123456789012:role/shop/catalog"
  }
}

output "agent_configs" {
  description = "What goes into /etc/imprint/config.toml of each layer's instances."
  value       = module.imprint.agent_configs
}
