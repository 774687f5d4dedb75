#!/bin/bash
# For an image that has imprint: its configuration and the start of its unit, as user-data.
set -euo pipefail

# The configuration holds no secret.
umask 022
mkdir -p /etc/imprint
cat >/etc/imprint/ca.pem <<'EOF'
(the certificate of Conjur's CA, as PEM)
EOF
cat >/etc/imprint/config.toml <<'EOF'
account = "prod"
appliance_url = "https://conjur.example.org"
ca_file = "/etc/imprint/ca.pem"
host_factory = "app/web"
hosts_branch = "app/hosts"

[source]
bucket = "imprint-tokens-123456789012"
bucket_owner = "123456789012"
kms_key = "arn:aws:kms:eu-west-1:123456789012:key/11111111-2222-3333-4444-555555555555"
EOF

systemctl start --no-block imprint.service
