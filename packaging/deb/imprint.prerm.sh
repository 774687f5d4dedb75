#!/bin/sh
# Before the package is removed. An upgrade does nothing here.
set -eu

units="@UNITS@"
asked=/etc/imprint/forget-on-removal

[ "$1" = remove ] || exit 0

if [ -d /run/systemd/system ]; then
    # shellcheck disable=SC2086 # a list of names
    [ -z "$units" ] || deb-systemd-invoke stop $units || true
fi

# Who wants identity and state to go as well says so by this file. The program knows where they are, and
# what in them is others'; after this script there is no program. If it fails, the package stays.
if [ -e $asked ]; then
    imprint forget || {
        echo "imprint: what it was to forget is not all gone, so the package stays. Mend what it says," >&2
        echo "imprint: or remove $asked to keep identity and state, and remove the package again." >&2
        exit 1
    }
fi
