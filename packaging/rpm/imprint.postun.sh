#!/bin/sh
# After the files are gone, or replaced.
set -eu

if [ -d /run/systemd/system ]; then
    systemctl daemon-reload || :
fi
