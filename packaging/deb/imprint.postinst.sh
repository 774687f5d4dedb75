#!/bin/sh
# After the package is unpacked. It enrolls nothing, starts nothing, and touches neither identity nor state:
# the next boot does that, or a person who starts imprint.service.
set -eu

# Units that can be enabled, and those that are from the start, as the preset says.
units="@UNITS@"
enabled="@ENABLED@"

is_enabled_at_first() { # is_enabled_at_first UNIT
    case " $enabled " in *" $1 "*) return 0 ;; *) return 1 ;; esac
}

case $1 in
configure | abort-upgrade | abort-deconfigure | abort-remove)
    if [ -d /usr/lib/sysusers.d ] && command -v systemd-sysusers >/dev/null; then
        systemd-sysusers imprint.conf || true
    fi
    if [ -d /usr/lib/tmpfiles.d ] && command -v systemd-tmpfiles >/dev/null; then
        systemd-tmpfiles --create imprint.conf || true
    fi
    for unit in $units; do
        deb-systemd-helper unmask "$unit" >/dev/null || true
        # What somebody disabled, or enabled, stays so.
        if deb-systemd-helper debian-installed "$unit" || is_enabled_at_first "$unit"; then
            if deb-systemd-helper --quiet was-enabled "$unit"; then
                deb-systemd-helper enable "$unit" >/dev/null || true
            fi
        fi
        deb-systemd-helper update-state "$unit" >/dev/null || true
    done
    if [ -d /run/systemd/system ]; then
        systemctl --system daemon-reload >/dev/null || true
    fi
    ;;
esac
