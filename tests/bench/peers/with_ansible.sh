#!/usr/bin/env bash
# The role that Conjur's Ansible collection has for this, on the machine itself, with curl to get at the token.
# ANSIBLE is the `ansible-playbook` to run. Root, in a mount namespace of its own, since the role writes to /etc.
set -euo pipefail
if [ "${1:-}" != inside ]; then
    exec unshare --mount --propagation private "$0" inside
fi
umask 022
# shellcheck source-path=SCRIPTDIR
source "$(dirname "$0")/unsealed.sh"
mount -t tmpfs tmpfs /mnt
mkdir /mnt/{upper,work,home}
mount -t overlay overlay -o lowerdir=/etc,upperdir=/mnt/upper,workdir=/mnt/work /etc
export HOME=/mnt/home ANSIBLE_LOCALHOST_WARNING=false ANSIBLE_NOCOWS=1 TOKEN=$token
"$ANSIBLE" --inventory localhost, --connection local "$here/with_ansible.yml" >/mnt/said || {
    cat /mnt/said
    exit 1
}
cp /etc/conjur.identity "$OUT"
