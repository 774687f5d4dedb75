output "imprint" {
  description = "All outputs of the module."
  value       = module.imprint
}

output "launch_templates" {
  description = "The launch template of each layer."
  value       = { for name, template in aws_launch_template.layer : name => template.id }
}
