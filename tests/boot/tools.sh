#!/usr/bin/env bash
# Unpacks systemd-nspawn into a folder, once: tools.sh FOLDER. Prints its path.
#
# It is not installed: with it, apt would bring another systemd to the machine that runs the tests.
set -euo pipefail
tools=$1/nspawn
if [ ! -e "$tools/.complete" ]; then
    rm -rf "$tools"
    mkdir -p "$tools/debs"
    cd "$tools/debs"
    fetch() { apt-get -qq -o APT::Sandbox::User=root download systemd-container libsystemd-shared >&2; }
    fetch || { apt-get -qq update >&2 && fetch; }
    for deb in *.deb; do dpkg -x "$deb" "$tools"; done
    rm -rf "$tools/debs"
    touch "$tools/.complete"
fi
echo "$tools"
