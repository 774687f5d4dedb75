# The key that seals. Its policy does not grow with the layers: it says who can be allowed what at all,
# and each layer's role says which factory's tokens it opens.

locals {
  # Who seals what: the rotator for layers, the minter for single instances, operators both, and logins.
  sealing = merge(
    { ForLayers = { by = [local.function_roles["rotator"]], of = local.sealed_for_a_layer } },
    local.mints ? { ForInstances = { by = [local.function_roles["minter"]], of = local.sealed_for_an_instance } } : {},
    length(var.operator_arns) == 0 ? {} : { ByHand = { by = var.operator_arns, of = local.sealed_for_us } },
  )
  sealers   = distinct(flatten(values(local.sealing)[*].by))
  of_layers = concat(["${local.roles}layers/*"], [for layer in values(var.layers) : layer.existing_role_arn if layer.existing_role_arn != null])

  # Whatever is sealed names the Conjur account.
  sealed_for_us          = { "kms:EncryptionContext:imprint:account" = var.conjur.account }
  sealed_for_a_layer     = merge(local.sealed_for_us, { "kms:EncryptionContext:imprint:scope" = "layer" })
  sealed_for_an_instance = merge(local.sealed_for_us, { "kms:EncryptionContext:imprint:scope" = "instance" })

  key_policy = {
    Version = "2012-10-17"
    Statement = concat([
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
      ],
      [for what, sealing in local.sealing : {
        Sid       = "Seal${what}"
        Effect    = "Allow"
        Principal = { AWS = local.root_arn }
        Action    = ["kms:Encrypt", "kms:Decrypt"]
        Resource  = "*"
        Condition = {
          ArnEquals    = { "aws:PrincipalArn" = sealing.by }
          StringEquals = sealing.of
        }
      }],
      # Each function's role is allowed its own login alone.
      var.login.authn_iam != null ? [] : [{
        Sid       = "UnsealLogins"
        Effect    = "Allow"
        Principal = { AWS = local.root_arn }
        Action    = "kms:Decrypt"
        Resource  = "*"
        Condition = {
          ArnEquals    = { "aws:PrincipalArn" = values(local.function_roles) }
          StringEquals = merge(local.sealed_for_us, { "kms:EncryptionContext:imprint:login" = values(local.logins) })
        }
      }],
      [
        {
          Sid       = "UnsealForALayer"
          Effect    = "Allow"
          Principal = { AWS = local.root_arn }
          Action    = "kms:Decrypt"
          Resource  = "*"
          Condition = {
            ArnLike      = { "aws:PrincipalArn" = local.of_layers }
            StringEquals = local.sealed_for_a_layer
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
            StringEquals = merge(local.sealed_for_an_instance, {
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
    ])
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
