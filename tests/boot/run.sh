#!/usr/bin/env bash
# Boots what is in target/package: run.sh [NAME...], all cases unless some are named.
#
# The harness is built by whoever calls and runs as root. Where that cannot be, nothing is tested, and the
# script fails and says so.
set -euo pipefail
cd "$(dirname "$0")/../.."
bash tests/boot/can.sh
# Whoever names other packages boots those.
if [ -z "${IMPRINT_BOOT_DEB:-}${IMPRINT_BOOT_RPM:-}" ]; then
    bash packaging/build/fresh.sh
fi
"${CARGO:-cargo}" build --locked --quiet --workspace --bin imprint-rotator --bin boot
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo -n -E)
"${as_root[@]}" "${CARGO_TARGET_DIR:-target}/debug/boot" "$@"
