#!/usr/bin/env bash
# Boots a root file system with systemd as PID 1: nspawn.sh TOOLS ROOT ID UUID-FILE [WORD...]
#
# The calling network namespace has an eth0, which moves into the guest. Runs in a mount namespace of its
# own, and leaves nothing behind but the control groups called ID.
set -euo pipefail
tools=$1 root=$2 id=$3 uuid=$4
shift 4
cgroups=/sys/fs/cgroup
for hierarchy in unified systemd .; do
    if [ "$hierarchy" = . ]; then
        [ -e "$cgroups/cgroup.procs" ] || continue
    else
        [ -d "$cgroups/$hierarchy" ] || continue
    fi
    mkdir -p "$cgroups/$hierarchy/$id"
    echo $$ >"$cgroups/$hierarchy/$id/cgroup.procs"
done
# With a /sys that can be written, nspawn would wait for a udev that knows eth0.
mount --rbind /sys /sys
mount -o remount,bind,ro /sys
mount -t tmpfs run /run
export SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1
LD_LIBRARY_PATH=$(echo "$tools"/usr/lib/*/systemd)
export LD_LIBRARY_PATH
# ds-identify looks for EC2 in the firmware, which a container has none of, or here, as on the first EC2.
exec "$tools/usr/bin/systemd-nspawn" --quiet --directory="$root" --boot --machine="$id" \
    --uuid="$(cat /proc/sys/kernel/random/uuid)" --register=no --keep-unit --console=read-only \
    --network-interface=eth0 --link-journal=no --capability=CAP_BPF --system-call-filter=bpf \
    --resolv-conf=off --timezone=off --bind-ro="$uuid:/sys/hypervisor/uuid" "$@" \
    systemd.journald.forward_to_console=0
