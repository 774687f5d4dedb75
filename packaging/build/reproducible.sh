#!/usr/bin/env bash
# Makes everything that is handed out twice and compares it, byte by byte: reproducible.sh [ARCH...]
#
# Of the last commit, in two folders whose names differ in length, with nothing compiled before, at two
# times, in two time zones and languages, with two umasks. Takes two full builds.
set -euo pipefail
cd "$(dirname "$0")/../.."

git diff --quiet HEAD || echo "What is not committed is not looked at." >&2
place=$(mktemp -d "${TMPDIR:-/tmp}/imprint-twice-XXXXXX")
trap 'rm -rf "$place"' EXIT

build() { # build FOLDER UMASK TZ LC_ALL ARCH...: leaves FOLDER.out
    local folder=$1 mask=$2 zone=$3 language=$4
    shift 4
    git clone --quiet "file://$PWD" "$folder"
    (
        umask "$mask"
        cd "$folder"
        export TZ=$zone LC_ALL=$language
        unset SOURCE_DATE_EPOCH
        env CARGO_TARGET_DIR="$folder/made-here" make package ARCHES="$*"
        mv target/package "$folder.out"
    )
    # Two at once would take twice the space.
    rm -rf "$folder"
}

build "$place/one" 022 UTC C "$@"
build "$place/another-with-a-longer-name" 077 Asia/Kathmandu C.UTF-8 "$@"

diff --recursive --brief "$place/one.out" "$place/another-with-a-longer-name.out"
echo "Both builds have made the same bytes:"
cat "$place/one.out/SHA256SUMS"
