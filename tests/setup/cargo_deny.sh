#!/usr/bin/env bash
# Runs cargo-deny with the arguments given; builds the pinned version into target/tools if it is
# not there.
set -euo pipefail
cd "$(dirname "$0")/../.."

version=0.20.2
tools=$PWD/target/tools

of_version() { # of_version PROGRAM
    [ "$("$1" --version 2>/dev/null)" = "cargo-deny $version" ]
}

if of_version cargo-deny; then
    deny=cargo-deny
else
    deny=$tools/bin/cargo-deny
    of_version "$deny" || {
        echo "Building cargo-deny $version into $tools, once" >&2
        # Unoptimized and without its network features: built in a third of the time.
        CARGO_PROFILE_DEV_DEBUG=0 cargo install --quiet --debug --locked --no-default-features \
            --root "$tools" --version "$version" cargo-deny
    }
fi
exec "$deny" --locked --all-features "$@"
