#!/usr/bin/env bash
# Makes what a whole emulated machine needs, once: vm.sh FOLDER. Prints a folder with vmlinuz, initrd,
# root.ext4 and tools, a root file system with qemu in it.
#
# qemu is not installed: it would bring other libraries to the machine that runs the tests.
set -euo pipefail
folder=$1
key=$(sha256sum "$0" | cut -c1-12)
made=$folder/vm-$key
if [ -e "$made/.complete" ]; then
    echo "$made"
    exit 0
fi
mkdir -p "$folder"
rm -rf "$folder"/vm-*
mkdir "$made"
echo "boot: making qemu and a disk with a kernel (a few minutes)" >&2
common=(--quiet --variant=minbase '--aptopt=APT::Install-Recommends "false"'
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*'
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/imprint/*')
mmdebstrap "${common[@]}" --include=qemu-system-x86,seabios,ipxe-qemu bookworm "$made/tools" >&2
packages=systemd,systemd-sysv,udev,dbus,libpam-systemd,cloud-init,ca-certificates,iproute2,openssh-server
packages+=,linux-image-cloud-amd64,initramfs-tools,zstd
# shellcheck disable=SC2016 # mmdebstrap's hooks are given the root as their own $1
mmdebstrap "${common[@]}" --include="$packages" \
    --essential-hook='mkdir -p "$1/etc/initramfs-tools/conf.d"' \
    --essential-hook='printf "MODULES=list\nCOMPRESS=gzip\nRESUME=none\n" >"$1/etc/initramfs-tools/conf.d/boot"' \
    --customize-hook='printf "virtio_pci\nvirtio_blk\nvirtio_net\next4\ncrc32c_generic\n" >>"$1/etc/initramfs-tools/modules"' \
    --customize-hook='chroot "$1" update-initramfs -u -k all' \
    --customize-hook='chroot "$1" systemctl -q enable systemd-networkd' \
    --customize-hook='chroot "$1" systemctl -q disable apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer' \
    --customize-hook='rm -rf "$1"/etc/machine-id "$1"/etc/resolv.conf "$1"/etc/ssh/ssh_host_* "$1"/var/cache/apt/*.bin "$1"/var/lib/apt/lists/*' \
    --customize-hook=': >"$1"/etc/machine-id; mkdir -p "$1"/var/log/journal; echo "/dev/vda / ext4 rw 0 0" >"$1"/etc/fstab' \
    bookworm "$made/root" >&2
cp -L "$made/root/vmlinuz" "$made/vmlinuz"
cp -L "$made/root/initrd.img" "$made/initrd"
truncate -s 2G "$made/root.ext4"
mke2fs -q -t ext4 -F -d "$made/root" "$made/root.ext4"
rm -rf "$made/root"
touch "$made/.complete"
echo "$made"
