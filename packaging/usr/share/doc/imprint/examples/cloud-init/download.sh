#!/bin/bash
# For an image without imprint, as user-data: installs the agent from a web server or bucket of yours, when it
# is the very package that was meant. Nothing is installed, and nothing started, when it is not.
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

version=0.1.0
from=https://packages.example.org/imprint/$version
if command -v dpkg >/dev/null; then
    case $(dpkg --print-architecture) in
    amd64) package=imprint_$version-1_amd64.deb sha256=0000000000000000000000000000000000000000000000000000000000000001 ;;
    arm64) package=imprint_$version-1_arm64.deb sha256=0000000000000000000000000000000000000000000000000000000000000002 ;;
    esac
else
    case $(uname -m) in
    x86_64) package=imprint-$version-1.x86_64.rpm sha256=0000000000000000000000000000000000000000000000000000000000000003 ;;
    aarch64) package=imprint-$version-1.aarch64.rpm sha256=0000000000000000000000000000000000000000000000000000000000000004 ;;
    esac
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
curl --fail --silent --show-error --location --proto =https --proto-redir =https \
    --retry 5 --retry-connrefused --max-time 300 --output "$package" "$from/$package"
echo "$sha256  $package" | sha256sum --check --strict --quiet
case $package in
# Files that user-data wrote are kept, whatever the package brings.
*.deb) DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Options::=--force-confold install "./$package" ;;
*.rpm) dnf -q -y install "./$package" ;;
esac

systemctl start --no-block imprint.service
