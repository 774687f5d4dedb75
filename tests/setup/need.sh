#!/usr/bin/env bash
# Makes sure that what the build and the tests call is there: need.sh NEED..., as they
# are listed below.
#
# On Debian and its kin it installs the missing packages when it may (root, or sudo that asks
# for nothing). Elsewhere, or when it may not, it prints the exact command and fails.
set -euo pipefail

# The names of the missing tools and the Debian packages that bring them.
missing=()
packages=()

lacks() { # lacks WHAT PACKAGE...
    missing+=("$1")
    shift
    packages+=("$@")
}

# A header of libc is looked for as well: Debian's gcc alone does not bring one.
compiles() { # compiles COMPILER LANGUAGE
    command -v "$1" >/dev/null && printf '#include <stdlib.h>\nint main(void){return 0;}\n' \
        | "$1" -x "$2" - -o /dev/null 2>/dev/null
}

has() { # has PROGRAM...: also where only root's PATH leads
    (PATH=$PATH:/usr/sbin:/sbin && for program in "$@"; do command -v "$program" >/dev/null || exit 1; done)
}

# The interpreter for the peers: 3.11 or newer, able to make a virtual environment with pip.
python_works() { # python_works INTERPRETER
    command -v "$1" >/dev/null \
        && "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

for need in "$@"; do
    case $need in
    cc) compiles "${CC:-cc}" c || lacks "a C compiler" gcc libc6-dev ;;
    cxx) compiles "${CXX:-c++}" c++ || lacks "a C++ compiler" g++ libc6-dev ;;
    curl | fish | jq | lintian | mmdebstrap | rpm | rpmlint | strace | zsh)
        command -v "$need" >/dev/null || lacks "$need" "$need"
        ;;
    e2fsprogs) has mkfs.ext4 chattr || lacks "chattr and mkfs.ext4" e2fsprogs ;;
    ip) has ip || lacks ip iproute2 ;;
    man) has man groff || lacks man man-db groff-base ;;
    systemd) has systemd-analyze systemd-sysusers journalctl || lacks "systemd's tools" systemd ;;
    util-linux) has unshare setpriv mount || lacks "unshare and setpriv" util-linux mount ;;
    python)
        python_works python3 || python_works /usr/bin/python3 \
            || lacks "Python 3.11 with venv" python3 python3-venv
        ;;
    *)
        echo "need.sh: unknown need '$need'; this file lists them" >&2
        exit 64
        ;;
    esac
done
[ ${#missing[@]} -gt 0 ] || exit 0

what=$(printf '%s, ' "${missing[@]}")
install="apt-get install -y --no-install-recommends ${packages[*]}"

if ! command -v apt-get >/dev/null; then
    echo "Missing: ${what%, }. Install it with this system's package manager" \
        "(on Debian: $install), then run the same command again." >&2
    exit 69
fi

if [ "$(id -u)" = 0 ]; then
    as_root=()
elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    as_root=(sudo -n)
else
    echo "Missing: ${what%, }. Run this, then the same command again:" >&2
    echo "    sudo sh -c 'apt-get update && $install'" >&2
    exit 77
fi

echo "Installing ${what%, } (${packages[*]})" >&2
apt() {
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -q -y --no-install-recommends "$@" >&2
}
# The package lists may be missing or old; most often they are not.
apt install "${packages[@]}" || { apt update && apt install "${packages[@]}"; }
