#!/bin/sh
# After the files are there; $1 is 1 for the first of them, 2 for an upgrade. It enrolls nothing, starts
# nothing, and touches neither identity nor state.
set -eu

units="@UNITS@"

if command -v systemd-sysusers >/dev/null; then
    systemd-sysusers imprint.conf || :
fi
if command -v systemd-tmpfiles >/dev/null; then
    systemd-tmpfiles --create imprint.conf || :
fi
if [ "$1" -eq 1 ] && [ -n "$units" ] && command -v systemctl >/dev/null; then
    # The preset decides which are enabled: ours, unless the machine has one that comes before it.
    # shellcheck disable=SC2086 # a list of names
    systemctl --no-reload preset $units || :
fi
if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
fi
