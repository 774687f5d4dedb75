# The key that seals. Its policy does not grow with the layers: it says who can be allowed what at all,
# and each layer's role says which factory's tokens it opens.

locals {
  sealers   = concat([local.function_roles["rotator"]], var.operator_arns)
  unsealers = concat(local.sealers, compact([lookup(local.function_roles, "reaper", "")]))
  of_layers = concat(["${local.roles}layers/*"], [for layer in values(var.layers) : layer.existing_role_arn if layer.existing_role_arn != null])

  # Whatever is sealed names the Conjur account.
  sealed_for_us = { "kms:EncryptionContext:imprint:account" = var.conjur.account }

  key_policy = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "Administer"
        Effect    = "Allow"
        Principal = { AWS = local.root_arn }
        Action = [
          "kms:CancelKeyDeletion",
          "kms:CreateAlias",
          "kms:DeleteAlias",
          "kms:DescribeKey",
          "kms:DisableKey",
          "kms:DisableKeyRotation",
          "kms:EnableKey",
          "kms:EnableKeyRotation",
          "kms:GetKeyPolicy",
          "kms:GetKeyRotationStatus",
          "kms:ListAliases",
          "kms:ListGrants",
          "kms:ListKeyPolicies",
          "kms:ListKeyRotations",
          "kms:ListResourceTags",
          "kms:PutKeyPolicy",
          "kms:RevokeGrant",
          "kms:RotateKeyOnDemand",
          "kms:ScheduleKeyDeletion",
          "kms:TagResource",
          "kms:UntagResource",
          "kms:UpdateAlias",
          "kms:UpdateKeyDescription",
        ]
        Resource  = "*"
        Condition = { ArnEquals = { "aws:PrincipalArn" = var.administrator_arns } }
      },
      {
        Sid       = "Seal"
        Effect    = "Allow"
        Principal = { AWS = local.root_arn }
        Action    = "kms:Encrypt"
        Resource  = "*"
        Condition = {
          ArnEquals    = { "aws:PrincipalArn" = local.sealers }
          StringEquals = local.sealed_for_us
        }
      },
      {
        Sid       = "UnsealToReadBack"
        Effect    = "Allow"
        Principal = { AWS = local.root_arn }
        Action    = "kms:Decrypt"
        Resource  = "*"
        Condition = {
          ArnEquals    = { "aws:PrincipalArn" = local.unsealers }
          StringEquals = local.sealed_for_us
        }
      },
      {
        Sid       = "UnsealForALayer"
        Effect    = "Allow"
        Principal = { AWS = local.root_arn }
        Action    = "kms:Decrypt"
        Resource  = "*"
        Condition = {
          ArnLike      = { "aws:PrincipalArn" = local.of_layers }
          StringEquals = merge(local.sealed_for_us, { "kms:EncryptionContext:imprint:scope" = "layer" })
        }
      },
      {
        Sid       = "UnsealForThisInstance"
        Effect    = "Allow"
        Principal = { AWS = local.root_arn }
        Action    = "kms:Decrypt"
        Resource  = "*"
        Condition = {
          ArnLike = { "aws:PrincipalArn" = local.of_layers }
          StringEquals = merge(local.sealed_for_us, {
            "kms:EncryptionContext:imprint:scope"        = "instance"
            "kms:EncryptionContext:imprint:instance_arn" = "$${ec2:SourceInstanceARN}"
          })
        }
      },
      {
        Sid       = "NobodyElseSeals"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action    = "kms:Encrypt"
        Resource  = "*"
        Condition = { ArnNotEquals = { "aws:PrincipalArn" = local.sealers } }
      },
      {
        # Other ways to seal, and ways to let others in: nobody needs them.
        Sid       = "NoOtherWay"
        Effect    = "Deny"
        Principal = { AWS = "*" }
        Action = [
          "kms:CreateGrant",
          "kms:GenerateDataKey",
          "kms:GenerateDataKeyPair",
          "kms:GenerateDataKeyPairWithoutPlaintext",
          "kms:GenerateDataKeyWithoutPlaintext",
          "kms:ReEncryptFrom",
          "kms:ReEncryptTo",
        ]
        Resource = "*"
      },
    ]
  }
}

resource "aws_kms_key" "this" {
  description             = "${var.name}: seals Conjur host factory tokens"
  enable_key_rotation     = true
  deletion_window_in_days = var.key_deletion_days
  policy                  = jsonencode(local.key_policy)
  tags                    = var.tags

  lifecycle {
    precondition {
      condition     = length(jsonencode(local.key_policy)) <= 32768
      error_message = "The key's policy would be larger than KMS takes (32768 characters): fewer existing roles."
    }
  }
}

resource "aws_kms_alias" "this" {
  name          = "alias/${var.name}"
  target_key_id = aws_kms_key.this.key_id
}
