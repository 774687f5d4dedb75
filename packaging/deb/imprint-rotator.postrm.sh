#!/bin/sh
# After the package is removed, or purged.
set -eu

if [ "$1" = purge ]; then
    rm -f /etc/imprint/rotator.toml /etc/imprint/rules.toml
    rmdir /etc/imprint 2>/dev/null || true
fi
