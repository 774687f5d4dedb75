# What instances, operators and Conjur are to be given.

output "bucket" {
  description = "The bucket's name."
  value       = aws_s3_bucket.this.bucket
}

output "key_arn" {
  description = "The ARN of the key that seals."
  value       = aws_kms_key.this.arn
}

output "roles" {
  description = "The role of each layer's instances, by the layer's name."
  value       = { for name, layer in local.layers : name => layer.existing_role_arn == null ? aws_iam_role.layer[name].arn : layer.existing_role_arn }
}

output "instance_profiles" {
  description = "The ARN of the instance profile of each layer whose role the module makes."
  value       = { for name, profile in aws_iam_instance_profile.layer : name => profile.arn }
}

output "function_names" {
  description = "The functions' names: rotator and, where there are any, minter and reaper."
  value       = { for function, made in aws_lambda_function.this : function => made.function_name }
}

output "logins" {
  description = "Who each function is at Conjur."
  value       = local.logins
}

output "rotator_config" {
  description = "The rotator's configuration, as it lies in the bucket. `terraform output -raw rotator_config > rotator.toml`, with the CA's certificates as ca.pem beside it, is what `imprint-rotator policy` prints the Conjur policy from; so is --config with rotator_config_url."
  value       = local.rotator_toml
}

output "rotator_config_url" {
  description = "Where the rotator's configuration lies."
  value       = "s3://${local.bucket}/${aws_s3_object.config["rotator.toml"].key}"
}

output "conjur_policy_command" {
  description = "What prints the Conjur policy to load: the layers, the factories, the functions' hosts and their permits."
  value       = "imprint-rotator policy --config s3://${local.bucket}/${aws_s3_object.config["rotator.toml"].key} --config-owner ${local.account}"
}

output "agent_configs" {
  description = "The agent's /etc/imprint/config.toml for each layer. There is no secret in it."
  value       = local.agent_configs
}

output "user_data" {
  description = "User-data for each layer, as cloud-config: the agent's configuration, the CA, and the start of `imprint.service`. The image must have the agent's package."
  value       = local.user_data
}
