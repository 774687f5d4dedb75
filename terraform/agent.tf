# What instances are given: the agent's configuration, and user-data that writes it.

locals {
  agent_configs = {
    for name, layer in local.layers : name => join("\n", concat(
      [
        "# Written by the Terraform module of ${var.name}.",
        "account = ${jsonencode(var.conjur.account)}",
        "appliance_url = ${jsonencode(var.conjur.appliance_url)}",
      ],
      var.conjur.leader_url == null ? [] : ["leader_url = ${jsonencode(var.conjur.leader_url)}"],
      var.conjur.ca_certificates == null ? [] : ["ca_file = \"/etc/imprint/ca.pem\""],
      [
        "host_factory = ${jsonencode(layer.host_factory)}",
        "hosts_branch = ${jsonencode(layer.hosts_branch)}",
      ],
      layer.proof_variable == null ? [] : ["proof_variable = ${jsonencode(layer.proof_variable)}"],
      [
        "",
        "[source]",
        "bucket = ${jsonencode(local.bucket)}",
        "bucket_owner = ${jsonencode(local.account)}",
        "kms_key = ${jsonencode(aws_kms_key.this.arn)}",
        "region = ${jsonencode(local.region)}",
      ],
      layer.shared ? [] : ["scope = \"instance\""],
      layer.promotes_to == null ? [] : concat(
        [
          "",
          "[promotion]",
          "host_factory = ${jsonencode(var.layers[layer.promotes_to].host_factory)}",
          "hosts_branch = ${jsonencode(var.layers[layer.promotes_to].hosts_branch)}",
        ],
        var.layers[layer.promotes_to].proof_variable == null ? [] : ["proof_variable = ${jsonencode(var.layers[layer.promotes_to].proof_variable)}"],
      ),
      [""],
    ))
  }

  # The unit is started and not waited for: user-data runs inside a unit that others wait for, and this one
  # waits for them.
  cloud_configs = {
    for name, config in local.agent_configs : name => {
      write_files = concat(
        [{ path = "/etc/imprint/config.toml", content = config }],
        var.conjur.ca_certificates == null ? [] : [{ path = "/etc/imprint/ca.pem", content = var.conjur.ca_certificates }],
      )
      runcmd = [["systemctl", "start", "--no-block", "imprint.service"]]
    }
  }

  # JSON is YAML.
  user_data = { for name, config in local.cloud_configs : name => "#cloud-config\n${jsonencode(config)}\n" }
}
