#!/bin/sh
# After the package is removed, or purged.
set -eu

units="@UNITS@"
asked=/etc/imprint/forget-on-removal

if [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || true
fi

case $1 in
remove)
    # A unit that is started by hand now would run a program that is gone.
    if command -v deb-systemd-helper >/dev/null; then
        # shellcheck disable=SC2086 # a list of names
        [ -z "$units" ] || deb-systemd-helper mask $units >/dev/null || true
    fi
    ;;
purge)
    if command -v deb-systemd-helper >/dev/null && [ -n "$units" ]; then
        # shellcheck disable=SC2086 # a list of names
        deb-systemd-helper purge $units >/dev/null || true
        # shellcheck disable=SC2086 # a list of names
        deb-systemd-helper unmask $units >/dev/null || true
    fi
    # A machine's identity is more than its package: other programs live by it, and Conjur knows it.
    kept=
    for path in /etc/conjur.identity /var/lib/imprint; do
        [ ! -e $path ] || kept="$kept $path"
    done
    # What imprint forget has left in the identity file is others'.
    if [ -e $asked ] && [ ! -e /var/lib/imprint ]; then
        kept=
    fi
    if [ -n "$kept" ]; then
        echo "imprint: kept identity and state:$kept" >&2
        echo "imprint: what removes them too: touch $asked before the package is removed" >&2
    fi

    rm -f /etc/imprint/config.toml $asked
    rmdir /etc/imprint 2>/dev/null || true
    ;;
esac
