#!/usr/bin/env bash
# Runs the tests that need root, or namespaces of their own: run.sh [NAME...]
#
# They are built by whoever calls and run as root. Where that cannot be, nothing is tested, and the
# script fails and says so.
set -euo pipefail
cd "$(dirname "$0")/../.."

cannot() {
    echo "NOT TESTED: what needs root. $1" >&2
    exit 77
}

as_root=()
if [ "$(id -u)" != 0 ]; then
    as_root=(sudo -n -E)
    "${as_root[@]}" true 2>/dev/null || cannot "Run it as root, or let sudo ask for nothing."
fi
"${as_root[@]}" unshare --mount --net true \
    || cannot "This system gives no mount and network namespaces; a container needs --privileged."

runner=()
if [ ${#as_root[@]} -gt 0 ]; then
    runner=(--config "target.'cfg(unix)'.runner = ['sudo', '-n', '-E']")
fi
# Of the whole workspace, so that dependencies have the features that make test compiled them with.
"${CARGO:-cargo}" test --locked "${runner[@]}" --workspace --test root -- --ignored "$@"
