#!/usr/bin/env bash
# Unpacks Debian's cloud-init and ignition into target/examples/debian, beside the system: installed, cloud-init
# would take part in the machine's next boot. Does nothing when they are there. 69: they cannot be had here.
set -euo pipefail
cd "$(dirname "$0")/../.."

packages=(cloud-init ignition)
home=$PWD/target/examples
root=$home/debian

mkdir -p "$home"
exec 9>"$home/debian.lock"
flock 9
[ ! -e "$root/complete" ] || exit 0
if ! command -v apt-get >/dev/null; then
    echo "no apt-get, so cloud-init and ignition cannot be had" >&2
    exit 69
fi

rm -rf "$root" "$home/debs"
mkdir -p "$root" "$home/debs"
fetch() { (cd "$home/debs" && apt-get -q -y download "${packages[@]}") >&2; }
# The package lists may be missing or old; most often they are not.
fetch || { [ "$(id -u)" = 0 ] && apt-get -q update >&2 && fetch; } || {
    echo "apt-get cannot download ${packages[*]}; try apt-get update" >&2
    exit 69
}
for deb in "$home"/debs/*.deb; do
    dpkg-deb --extract "$deb" "$root"
done
rm -r "$home/debs"
touch "$root/complete"
