#!/usr/bin/env bash
# Whether this machine can boot guests for tests: says why not, and ends with 77.
#
# What is merely not installed is another matter: need.sh sees to that.
set -euo pipefail

cannot() {
    echo "NOT TESTED: the boots. $1" >&2
    exit 77
}

as_root=()
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null || cannot "Run it as root."
    as_root=(sudo -n)
    "${as_root[@]}" true 2>/dev/null || cannot "Run it as root, or let sudo ask for nothing."
fi
grep --quiet --no-messages --extended-regexp '^ID(_LIKE)?=.*debian' /etc/os-release \
    || cannot "Its root file system is made with Debian's tools, which this system does not have."
"${as_root[@]}" unshare --mount --net true \
    || cannot "This system gives no mount and network namespaces; a container needs --privileged."
# A boot wants what mount namespaces alone do not show: an overlay, a cable, a control group.
# shellcheck disable=SC2016 # what is in quotes is for the inner shell
"${as_root[@]}" unshare --mount --net --propagation private bash -c '
    set -e
    mount -t tmpfs tmpfs /mnt
    mkdir /mnt/{lower,upper,work,merged}
    mount -t overlay overlay -o lowerdir=/mnt/lower,upperdir=/mnt/upper,workdir=/mnt/work /mnt/merged
    for groups in /sys/fs/cgroup/unified /sys/fs/cgroup; do
        if [ -e "$groups/cgroup.procs" ]; then
            mkdir "$groups/imprint-boot-can" && rmdir "$groups/imprint-boot-can"
            exit 0
        fi
    done
    exit 1' 2>/dev/null || cannot "This system gives no overlay or no control groups; a container needs --privileged."
