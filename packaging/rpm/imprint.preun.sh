#!/bin/sh
# Before the files go; $1 is 0 when nothing of the package will be left, 1 for an upgrade.
set -eu

units="@UNITS@"
asked=/etc/imprint/forget-on-removal

[ "$1" -eq 0 ] || exit 0

if [ -n "$units" ] && command -v systemctl >/dev/null; then
    # shellcheck disable=SC2086 # a list of names
    systemctl --no-reload disable $units || :
    if [ -d /run/systemd/system ]; then
        # shellcheck disable=SC2086 # a list of names
        systemctl stop $units || :
    fi
fi

# Who wants identity and state to go as well says so by this file. The program knows where they are, and
# what in them is others'; after this script there is no program. If it fails, the package stays.
if [ -e $asked ]; then
    imprint forget || {
        echo "imprint: what it was to forget is not all gone, so the package stays. Mend what it says," >&2
        echo "imprint: or remove $asked to keep identity and state, and remove the package again." >&2
        exit 1
    }
    rm -f $asked
fi
