"""How cloud-init's units are ordered on the distributions that Imprint is for.

Only dependencies are here, as facts of those systems: what a unit of ours must not make a cycle with.
Sources: cloud-init 20.4 (Debian 11), 22.4.2 (Debian 12), 22.2.2 (Amazon Linux 2023), 23.4 (RHEL 8 and 9),
24.4 (Ubuntu 20.04 and 22.04, which keep the old names), 25.1 (Ubuntu 24.04, with one process for all stages).
"""

LOCAL = "cloud-init-local.service"


def local(early):
    """The stage before the network; on some systems before sysinit.target."""
    lines = "DefaultDependencies=no\nWants=network-pre.target\nAfter=systemd-remount-fs.service\n"
    lines += "Before=network-pre.target\nBefore=NetworkManager.service\nBefore=shutdown.target\n"
    lines += "Conflicts=shutdown.target\nRequiresMountsFor=/var/lib/cloud\n"
    return lines + ("Before=sysinit.target\n" if early else "")


def network(early, after):
    """The stage that asks the metadata service and writes files."""
    lines = f"DefaultDependencies=no\nWants={LOCAL} sshd-keygen.service sshd.service\nAfter={LOCAL}\n"
    lines += "".join(f"After={unit}\n" for unit in after)
    lines += "Before=network-online.target sshd-keygen.service sshd.service systemd-user-sessions.service\n"
    return lines + ("Before=sysinit.target shutdown.target\nConflicts=shutdown.target\n" if early else "")


def config():
    """The stage of packages and the like."""
    return (
        "After=network-online.target cloud-config.target\nWants=network-online.target cloud-config.target\n"
    )


def final(waits):
    """The stage of the user's scripts, which on some systems waits for all services."""
    lines = "After=network-online.target cloud-config.service rc-local.service\n"
    lines += "Wants=network-online.target cloud-config.service\nBefore=apt-daily.service\n"
    return lines + ("After=multi-user.target\n" if waits else "")


def units(early, waits, after, name="cloud-init.service"):
    """All units of one system, by name."""
    return {
        LOCAL: local(early),
        name: network(early, after),
        "cloud-config.service": config(),
        "cloud-final.service": final(waits),
        "cloud-config.target": f"Wants={LOCAL} {name}\nAfter={LOCAL} {name}\n",
        "cloud-init.target": "After=multi-user.target\n",
    }


NETWORKD = ["systemd-networkd-wait-online.service"]
DEBIAN = units(True, True, [*NETWORKD, "networking.service"])
MANAGER = ["NetworkManager.service", "NetworkManager-wait-online.service"]
SINGLE = "cloud-init-main.service"

DISTRIBUTIONS = {
    "Amazon Linux 2023": units(False, False, NETWORKD),
    "Debian 11": DEBIAN,
    "Debian 12": DEBIAN,
    "RHEL 8": units(False, False, ["network.service", *MANAGER]),
    "RHEL 9": units(False, False, MANAGER),
    "Ubuntu 20.04": DEBIAN,
    "Ubuntu 22.04": DEBIAN,
    "Ubuntu 24.04": units(True, True, ["networking.service"], "cloud-init-network.service")
    | {SINGLE: f"DefaultDependencies=no\nAfter=systemd-remount-fs.service\nBefore={LOCAL}\n"},
}
