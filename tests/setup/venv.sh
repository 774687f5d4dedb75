#!/usr/bin/env bash
# Makes target/NAME/venv, a Python virtual environment with exactly what REQUIREMENTS names:
#
#     venv.sh NAME REQUIREMENTS
#
# Does nothing when it is there and was made from the same requirements by the same interpreter.
# Needs a package index for pip the first time, and nothing else.
set -euo pipefail

name=$1
requirements=$2
home=target/$name
venv=$home/venv
stamp=$home/stamp

cd "$(dirname "$0")/../.."
bash tests/setup/need.sh python
python=python3
$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
    || python=/usr/bin/python3

# The place is part of the stamp: a virtual environment does not survive a move.
wanted=$(printf '%s\n%s\n' "$PWD" "$($python -VV)" | cat - "$requirements" | sha256sum | cut -d' ' -f1)

# Two runs at once (a test and a benchmark) must not build it over each other.
mkdir -p "$home"
exec 9>"$home/lock"
flock 9
if [ -x "$venv/bin/python" ] && [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
    exit 0
fi

echo "Installing $requirements into $venv, once" >&2
rm -rf "$venv" "$stamp"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check \
    --requirement "$requirements" >&2 || {
    echo "It could not be installed. Once pip can reach its index, run the same command again." >&2
    rm -rf "$venv"
    exit 69
}
echo "$wanted" >"$stamp"
