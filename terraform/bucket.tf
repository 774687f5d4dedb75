# The bucket: sealed tokens, the rotator's configuration, what reaper and minter remember, sealed logins.

# trivy:ignore:AVD-AWS-0089 who reads and puts is told by CloudTrail's data events
resource "aws_s3_bucket" "this" {
  # checkov:skip=CKV_AWS_18: who reads and puts is told by CloudTrail's data events, with the role's session
  # checkov:skip=CKV_AWS_144: a token lives for hours, and another region has a rotator of its own
  # checkov:skip=CKV_AWS_145: what is secret is sealed before it gets here, with a key that S3 is not allowed to use
  # checkov:skip=CKV2_AWS_61: it has a lifecycle, below; its bucket is named through the versioning, which must be there first
  # checkov:skip=CKV2_AWS_62: nobody waits for an object: agents ask when they boot
  bucket        = local.bucket
  force_destroy = var.bucket.force_destroy
  tags          = var.tags
}

resource "aws_s3_bucket_versioning" "this" {
  bucket = aws_s3_bucket.this.bucket

  versioning_configuration {
    status = "Enabled"
  }
}

resource "aws_s3_bucket_public_access_block" "this" {
  bucket = aws_s3_bucket.this.bucket

  block_public_acls       = true
  block_public_policy     = true
  ignore_public_acls      = true
  restrict_public_buckets = true
}

resource "aws_s3_bucket_ownership_controls" "this" {
  bucket = aws_s3_bucket.this.bucket

  rule {
    object_ownership = "BucketOwnerEnforced"
  }
}

# trivy:ignore:AVD-AWS-0132 what is secret is sealed before it gets here, with a key that S3 is not allowed to use
resource "aws_s3_bucket_server_side_encryption_configuration" "this" {
  bucket = aws_s3_bucket.this.bucket

  rule {
    apply_server_side_encryption_by_default {
      sse_algorithm = "AES256"
    }
  }
}

resource "aws_s3_bucket_lifecycle_configuration" "this" {
  bucket = aws_s3_bucket_versioning.this.bucket

  rule {
    id     = "old-versions"
    status = "Enabled"

    filter {
      prefix = ""
    }
    expiration {
      expired_object_delete_marker = true
    }
    noncurrent_version_expiration {
      noncurrent_days = var.bucket.version_days
    }
    abort_incomplete_multipart_upload {
      days_after_initiation = 1
    }
  }

  rule {
    id     = "sealed-for-one-instance"
    status = "Enabled"

    filter {
      prefix = local.folders.instances
    }
    expiration {
      days = var.bucket.instance_days
    }
  }
}

locals {
  # Who may put below which folder. Nobody may put anywhere else.
  writers = {
    config     = var.administrator_arns
    factories  = concat([local.function_roles["rotator"]], var.operator_arns)
    fleet      = compact([lookup(local.function_roles, "reaper", "")])
    instances  = concat(compact([lookup(local.function_roles, "minter", "")]), var.operator_arns)
    logins     = var.operator_arns
    promotions = concat(compact([lookup(local.function_roles, "minter", "")]), var.operator_arns)
  }

  bucket_policy = {
    Version = "2012-10-17"
    Statement = concat(
      [
        {
          Sid       = "OnlyEncryptedTransport"
          Effect    = "Deny"
          Principal = "*"
          Action    = "s3:*"
          Resource  = [local.bucket_arn, "${local.bucket_arn}/*"]
          Condition = { Bool = { "aws:SecureTransport" = "false" } }
        },
        {
          Sid       = "OnlyTls12AndNewer"
          Effect    = "Deny"
          Principal = "*"
          Action    = "s3:*"
          Resource  = [local.bucket_arn, "${local.bucket_arn}/*"]
          Condition = { NumericLessThan = { "s3:TlsVersion" = "1.2" } }
        },
        {
          Sid         = "NothingIsPutElsewhere"
          Effect      = "Deny"
          Principal   = "*"
          Action      = "s3:PutObject"
          NotResource = [for folder, writers in local.writers : "${local.bucket_arn}/${local.folders[folder]}*" if length(writers) > 0]
        },
        {
          Sid       = "OnlyAdministratorsDelete"
          Effect    = "Deny"
          Principal = "*"
          Action    = ["s3:DeleteObject", "s3:DeleteObjectVersion"]
          Resource  = "${local.bucket_arn}/*"
          Condition = { ArnNotEquals = { "aws:PrincipalArn" = var.administrator_arns } }
        },
      ],
      [
        for folder, writers in local.writers : {
          Sid       = "WhoPutsInto${title(folder)}"
          Effect    = "Deny"
          Principal = "*"
          Action    = "s3:PutObject"
          Resource  = "${local.bucket_arn}/${local.folders[folder]}*"
          Condition = { ArnNotEquals = { "aws:PrincipalArn" = writers } }
        } if length(writers) > 0
      ],
    )
  }
}

resource "aws_s3_bucket_policy" "this" {
  bucket = aws_s3_bucket_public_access_block.this.bucket
  policy = jsonencode(local.bucket_policy)
}
