#!/usr/bin/env bash
# Tests the Terraform module: run.sh [plan | scan | apply]...; all of them when none is named.
#
# plan: formatting, validation, the module's own tests. scan: checkov and Trivy. apply: the example in an
# emulator that enforces IAM, what is denied there, and what a change touches.
set -euo pipefail
cd "$(dirname "$0")/../.."

bash tests/terraform/setup.sh
terraform=$PWD/target/terraform/terraform
work=$PWD/target/terraform/work

plan() {
    "$terraform" fmt -check -recursive -diff terraform
    # On a copy: what init writes is nobody's to commit.
    rm -rf "$work"
    cp -r terraform "$work"
    local folder
    for folder in "$work" "$work"/examples/*; do
        echo "-- ${folder#"$PWD"/target/terraform/}"
        "$terraform" -chdir="$folder" init -backend=false -no-color >/dev/null
        "$terraform" -chdir="$folder" validate -no-color
    done
    "$terraform" -chdir="$work" test -no-color
    python3 -B tests/terraform/documented.py
}

scan() {
    bash tests/setup/venv.sh scan tests/terraform/scan.txt
    target/scan/venv/bin/python -B tests/terraform/scan.py
}

apply() {
    bash tests/setup/venv.sh peers tests/peers/requirements.txt
    target/peers/venv/bin/python -B -m unittest discover --start-directory tests/terraform
}

[ $# -gt 0 ] || set -- plan scan apply
for part in "$@"; do
    "$part"
done
