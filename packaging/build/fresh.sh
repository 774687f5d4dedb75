#!/usr/bin/env bash
# Whether target/package was made from the sources as they are now. Says what to do when it was not, and ends with 66:
#
#     fresh.sh            looks
#     fresh.sh sources    prints the digest of the sources
#     fresh.sh note SUM   writes down that target/package was made from sources with that digest
#
# The sources are what goes into a package, committed or not, and the compiler. A commit that changes nothing of
# them makes no package old.
set -euo pipefail
cd "$(dirname "$0")/../.."

SOURCES=(.cargo Cargo.lock Cargo.toml CHANGELOG.md LICENSE agent core packaging rotator)
noted=target/pack/made-from

sources() {
    local path
    git ls-files -z --cached --others --exclude-standard -- "${SOURCES[@]}" | sort --zero-terminated --unique \
        | while IFS= read -r -d '' path; do
            # One that is removed and still in the index is none.
            [ ! -f "$path" ] || sha256sum -- "$path"
        done | cat - <("${RUSTC:-rustc}" -vV) | sha256sum | cut -d' ' -f1
}

packages() { sha256sum <target/package/SHA256SUMS; }

stale() {
    echo "target/package $1: make package" >&2
    exit 66
}

case ${1:-} in
sources) sources ;;
note) printf '%s\n' "$2" "$(packages)" >"$noted" ;;
"")
    [ -f target/package/SHA256SUMS ] || stale "has no packages yet"
    [ -f "$noted" ] && [ "$(tail -n 1 "$noted")" = "$(packages)" ] || stale "does not say what it was made from"
    [ "$(head -n 1 "$noted")" = "$(sources)" ] || stale "was made from other sources than these"
    (cd target/package && sha256sum --check --status SHA256SUMS) || stale "is not what was made"
    ;;
*)
    echo "fresh.sh: unknown word '$1'" >&2
    exit 64
    ;;
esac
