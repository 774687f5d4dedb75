#!/usr/bin/env bash
# Makes the disk of an instance before any package of ours, once: rootfs.sh FOLDER. Prints its path.
#
# Debian 12 with systemd and cloud-init as an image has them, and rpm to unpack ours. What it is called depends on this
# file's content, so that a change makes another; older ones are removed.
set -euo pipefail
folder=$1
key=$(sha256sum "$0" | cut -c1-12)
root=$folder/rootfs-$key
if [ -e "$root/.complete" ]; then
    echo "$root"
    exit 0
fi
mkdir -p "$folder"
rm -rf "$folder"/rootfs-*
packages=systemd,systemd-sysv,dbus,libpam-systemd,cloud-init,ca-certificates,curl,iproute2,openssh-server,libcap2-bin
echo "boot: making the root file system (a minute or two)" >&2
# shellcheck disable=SC2016 # mmdebstrap's hooks are given the root as their own $1
mmdebstrap --quiet --variant=minbase --include="$packages" --aptopt='APT::Install-Recommends "false"' \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/imprint/*' \
    --dpkgopt='path-include=/usr/share/man/*/imprint*' \
    --customize-hook='chroot "$1" systemctl -q enable systemd-networkd' \
    --customize-hook='chroot "$1" systemctl -q disable apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer' \
    --customize-hook='rm -rf "$1"/etc/machine-id "$1"/etc/resolv.conf "$1"/etc/ssh/ssh_host_* "$1"/var/cache/apt "$1"/var/lib/apt/lists' \
    --customize-hook=': >"$1"/etc/machine-id; mkdir -p "$1"/var/log/journal "$1"/var/lib/apt/lists "$1"/var/cache/apt/archives/partial' \
    bookworm "$root" >&2
touch "$root/.complete"
echo "$root"
