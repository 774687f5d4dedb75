#!/usr/bin/env bash
# Tests the Terraform module: run.sh [plan | scan | apply]...; all of them when none is named.
#
# plan: formatting, validation, the module's own tests. scan: checkov and Trivy. apply: the example in an
# emulator that enforces IAM, what is denied there, what a change touches, and the way from the function
# to enrolled instances.
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
    echo "-- what the README begins with"
    folder=$work/readme
    mkdir "$folder"
    python3 -B tests/terraform/documented.py --example >"$folder/main.tf"
    printf -- '-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n' >"$folder/conjur-ca.pem"
    echo "only its hash is asked for" >"$folder/imprint-rotator.zip"
    "$terraform" -chdir="$folder" init -backend=false -no-color >/dev/null
    "$terraform" -chdir="$folder" plan -input=false -no-color | grep "^Plan: "
    python3 -B tests/terraform/documented.py
}

scan() {
    bash tests/setup/venv.sh scan tests/terraform/scan.txt
    target/scan/venv/bin/python -B tests/terraform/scan.py
}

apply() {
    bash tests/setup/venv.sh peers tests/peers/requirements.txt
    # The journey's programs. The function is the package where there is one of these sources: in CI, the one just made.
    bash tests/setup/need.sh cc util-linux
    # Of the whole workspace, as the tests are compiled: nothing is compiled twice.
    "${CARGO:-cargo}" build --locked --workspace --bin imprint --bin imprint-rotator --bin imprint-stack
    export IMPRINT_PROGRAMS=${CARGO_TARGET_DIR:-$PWD/target}/debug
    local packages=("$PWD"/target/package/imprint-rotator-*-lambda-"$(uname -m)".zip)
    if [ -f "${packages[-1]}" ] && bash packaging/build/fresh.sh; then
        export IMPRINT_LAMBDA_ZIP=${packages[-1]}
    fi
    echo "-- the function is ${IMPRINT_LAMBDA_ZIP:-the program of $IMPRINT_PROGRAMS: there is no package of these sources}"
    # What hangs says where it does, and fails.
    timeout --signal=ABRT --kill-after=10 1500 \
        target/peers/venv/bin/python -B -X faulthandler -m unittest discover --start-directory tests/terraform
}

[ $# -gt 0 ] || set -- plan scan apply
for part in "$@"; do
    "$part"
done
