# What the instances of a layer may do: fetch its object, and open what was sealed for it.

locals {
  # Conditions on where a request comes from, for everything that a layer's role may do.
  from = merge(
    length(var.instances_from.vpc_endpoint_ids) == 0 ? {} : { "aws:SourceVpce" = var.instances_from.vpc_endpoint_ids },
    length(var.instances_from.vpc_ids) == 0 ? {} : { "aws:EC2InstanceSourceVPC" = var.instances_from.vpc_ids },
  )

  # The factories whose tokens come sealed for one instance.
  sealed_for_one = {
    for name, layer in var.layers : name => concat(
      layer.scope == "instance" ? [layer.host_factory] : [],
      layer.promotes_to == null ? [] : [var.layers[layer.promotes_to].host_factory],
    )
  }

  layers = {
    for name, layer in var.layers : name => merge(layer, {
      role_name = layer.existing_role_arn == null ? "${var.name}-layer-${name}" : reverse(split("/", layer.existing_role_arn))[0]
      shared    = layer.scope == "layer"
      own       = local.sealed_for_one[name]
      objects = concat(
        layer.scope == "layer" ? ["${local.folders.factories}${layer.host_factory}/token.json"] : [],
        # No policy can take the instance's id out of its ARN; who may open it is decided by KMS.
        [for factory in local.sealed_for_one[name] : "${local.folders.instances}*/${factory}.json"],
      )
    })
  }

  layer_policies = {
    for name, layer in local.layers : name => {
      Version = "2012-10-17"
      Statement = concat(
        [
          merge(
            {
              Sid      = "Fetch"
              Effect   = "Allow"
              Action   = "s3:GetObject"
              Resource = [for object in layer.objects : "${local.bucket_arn}/${object}"]
            },
            length(local.from) == 0 ? {} : { Condition = { StringEquals = local.from } },
          ),
          {
            # What is not there is told from what is forbidden.
            Sid      = "SeeWhetherItIsThere"
            Effect   = "Allow"
            Action   = "s3:ListBucket"
            Resource = [local.bucket_arn]
            Condition = merge(
              { StringLike = { "s3:prefix" = layer.objects } },
              length(local.from) == 0 ? {} : { StringEquals = local.from },
            )
          },
        ],
        layer.shared ? [{
          Sid      = "UnsealForTheLayer"
          Effect   = "Allow"
          Action   = "kms:Decrypt"
          Resource = [aws_kms_key.this.arn]
          Condition = {
            StringEquals = merge(local.from, local.sealed_for_us, {
              "kms:EncryptionContext:imprint:host_factory" = layer.host_factory
              "kms:EncryptionContext:imprint:scope"        = "layer"
            })
          }
        }] : [],
        length(layer.own) == 0 ? [] : [{
          Sid      = "UnsealForThisInstance"
          Effect   = "Allow"
          Action   = "kms:Decrypt"
          Resource = [aws_kms_key.this.arn]
          Condition = {
            StringEquals = merge(local.from, local.sealed_for_us, {
              "kms:EncryptionContext:imprint:host_factory" = layer.own
              "kms:EncryptionContext:imprint:scope"        = "instance"
              "kms:EncryptionContext:imprint:instance_arn" = "$${ec2:SourceInstanceARN}"
            })
          }
        }],
        [
          # Also where other policies of the role would allow more. Who may open what was sealed for one
          # instance, the key's policy says for all roles.
          {
            Sid      = "NothingOfOtherLayers"
            Effect   = "Deny"
            Action   = "kms:Decrypt"
            Resource = [aws_kms_key.this.arn]
            Condition = merge(
              { StringEquals = { "kms:EncryptionContext:imprint:scope" = "layer" } },
              layer.shared ? { StringNotEquals = { "kms:EncryptionContext:imprint:host_factory" = layer.host_factory } } : {},
            )
          },
          {
            Sid      = "NoOtherIdentity"
            Effect   = "Deny"
            Action   = "kms:Decrypt"
            Resource = [aws_kms_key.this.arn]
            Condition = merge(
              { StringEquals = { "kms:EncryptionContext:imprint:scope" = "instance" } },
              length(layer.own) > 0 ? { StringNotEquals = { "kms:EncryptionContext:imprint:host_factory" = layer.own } } : {},
            )
          },
        ],
      )
    }
  }
}

resource "aws_iam_role" "layer" {
  for_each = { for name, layer in local.layers : name => layer if layer.existing_role_arn == null }

  name                 = each.value.role_name
  path                 = "${var.role_path}layers/"
  description          = "Instances of ${each.value.host_factory}: fetch and unseal its token"
  permissions_boundary = var.permissions_boundary_arn
  tags                 = var.tags

  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Principal = { Service = "ec2.amazonaws.com" }
      Action    = "sts:AssumeRole"
    }]
  })
}

resource "aws_iam_role_policy" "layer" {
  for_each = local.layers

  name   = "${var.name}-${each.key}"
  role   = each.value.existing_role_arn == null ? aws_iam_role.layer[each.key].name : each.value.role_name
  policy = jsonencode(local.layer_policies[each.key])

  lifecycle {
    # IAM takes the name of a role alone: another account's would become this account's role of that name.
    precondition {
      condition     = each.value.existing_role_arn == null ? true : split(":", each.value.existing_role_arn)[4] == local.account
      error_message = "The existing role of ${each.key} lies in another account than ${local.account}, where the module is applied."
    }
  }
}

resource "aws_iam_instance_profile" "layer" {
  for_each = aws_iam_role.layer

  name = each.value.name
  path = each.value.path
  role = each.value.name
  tags = var.tags
}
