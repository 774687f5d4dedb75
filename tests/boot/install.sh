#!/usr/bin/env bash
# Installs a package over a root file system: install.sh ROOT PACKAGE LAYER. LAYER then holds what changed.
#
# A deb by the guest's own dpkg; an rpm, with its scripts, by rpm of this machine into the same root.
# Runs in a mount namespace of its own.
set -euo pipefail
root=$1 package=$2 layer=$3
work=$(mktemp -d)
mount -t tmpfs tmpfs "$work"
mkdir -p "$work"/{upper,work,merged}
mount -t overlay overlay -o "lowerdir=$root,upperdir=$work/upper,workdir=$work/work" "$work/merged"
case $package in
*.deb)
    cp "$package" "$work/merged/tmp/package.deb"
    chroot "$work/merged" env DEBIAN_FRONTEND=noninteractive PATH=/usr/sbin:/usr/bin:/sbin:/bin dpkg -i /tmp/package.deb >&2
    rm "$work/merged/tmp/package.deb"
    ;;
*.rpm)
    # Its dependencies are Red Hat's names of what Debian has as well.
    rpm --root "$work/merged" --dbpath /var/lib/rpm -i --nodeps "$package" >&2
    ;;
*)
    echo "install.sh: $package is neither a deb nor an rpm" >&2
    exit 64
    ;;
esac
rm -rf "$layer"
mkdir -p "$(dirname "$layer")"
cp -a "$work/upper" "$layer"
umount "$work/merged"
umount "$work"
rmdir "$work"
