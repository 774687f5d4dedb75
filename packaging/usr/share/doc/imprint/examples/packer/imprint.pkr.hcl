# An image with the agent of Imprint in it, and no identity.
packer {
  required_plugins {
    amazon = {
      source  = "github.com/hashicorp/amazon"
      version = "~> 1"
    }
  }
}

variable "region" {
  type    = string
  default = "eu-west-1"
}

variable "package" {
  type        = string
  description = "The agent's package, a file"
  default     = "imprint_0.1.0-1_amd64.deb"
}

variable "sha256" {
  type        = string
  description = "The package's SHA-256"
}

source "amazon-ebs" "imprint" {
  region        = var.region
  instance_type = "t3.small"
  ssh_username  = "admin"
  ami_name      = "imprint-${formatdate("YYYYMMDD-hhmmss", timestamp())}"
  # In the new image's instances IMDSv1 is off too.
  imds_support = "v2.0"
  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }
  source_ami_filter {
    filters = {
      name                = "debian-12-amd64-*"
      root-device-type    = "ebs"
      virtualization-type = "hvm"
    }
    most_recent = true
    owners      = ["136693071363"]
  }
}

build {
  sources = ["source.amazon-ebs.imprint"]

  provisioner "file" {
    sources     = [var.package, "config.toml", "ca.pem"]
    destination = "/tmp/"
  }

  provisioner "shell" {
    environment_vars = ["PACKAGE=${basename(var.package)}", "SHA256=${var.sha256}"]
    execute_command  = "sudo env {{ .Vars }} bash -euo pipefail {{ .Path }}"
    inline = [
      "cd /tmp",
      "echo \"$SHA256  $PACKAGE\" | sha256sum --check --strict --quiet",
      "install -d -m 0755 /etc/imprint",
      "install -o root -g root -m 0644 config.toml ca.pem /etc/imprint/",
      "DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Options::=--force-confold install \"./$PACKAGE\"",
      "systemctl enable imprint.service",
      "imprint forget --bake",
      "rm -f \"$PACKAGE\" config.toml ca.pem",
    ]
  }

  # Whatever else the image needs comes here; it cannot enroll.

  provisioner "shell" {
    execute_command = "sudo bash -euo pipefail {{ .Path }}"
    inline = [
      "imprint forget --bake",
      "cloud-init clean --logs --machine-id",
      "test ! -e /etc/conjur.identity",
    ]
  }
}
