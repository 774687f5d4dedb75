#!/usr/bin/env bash
# Installs, upgrades, removes and purges the packages of target/package, in roots of their own: run.sh [TEST...]
#
# As root, in a mount namespace: nothing outside of it is written but the cached roots.
set -euo pipefail
cd "$(dirname "$0")/../.."

bash packaging/build/fresh.sh
as_root=()
if [ "$(id -u)" != 0 ]; then
    as_root=(sudo -n -E)
    "${as_root[@]}" true 2>/dev/null || {
        echo "NOT TESTED: the packages. Run it as root, or let sudo ask for nothing." >&2
        exit 77
    }
fi
# Ubuntu's and Amazon's packages are not in Debian's index.
IMPRINT_ROOTS=$("${as_root[@]}" bash tests/packages/root.sh bookworm)
# The oldest that is meant. Debian moves what is old out of its index one day.
if oldest=$("${as_root[@]}" bash tests/packages/root.sh bullseye); then
    IMPRINT_ROOTS=$oldest:$IMPRINT_ROOTS
else
    echo "SKIPPED: Debian 11, which the package index does not have. All is tested on Debian 12 alone." >&2
fi
export IMPRINT_ROOTS
tests=("$@")
[ ${#tests[@]} -gt 0 ] || tests=(discover --start-directory tests/packages)
PYTHONPATH=tests/packages PYTHONDONTWRITEBYTECODE=1 \
    "${as_root[@]}" unshare --mount --fork "$(command -v python3)" -m unittest "${tests[@]}"
