#!/usr/bin/env bash
# A small Debian with systemd's programs to install packages into: root.sh SUITE
#
# Prints its folder. It is made once, from this file and the machine's package index, and never written
# again: whoever tests lays something over it.
set -euo pipefail
cd "$(dirname "$0")/../.."

suite=$1
key=$(sha256sum "$0" | cut -c1-12)
root=$PWD/target/roots/$suite-$key

if [ ! -e "$root.made" ]; then
    echo "Making a Debian of $suite in $root, once" >&2
    rm -rf "$root"
    mkdir -p "$root"
    # shellcheck disable=SC2016 # it is mmdebstrap's shell that knows $1, the new root
    mmdebstrap --quiet --variant=essential --include=systemd \
        --aptopt='APT::Install-Recommends "false"' \
        --customize-hook='rm -rf "$1"/etc/machine-id "$1"/var/cache/apt "$1"/var/lib/apt/lists' \
        "$suite" "$root" >&2
    touch "$root.made"
fi
echo "$root"
