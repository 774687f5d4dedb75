#!/usr/bin/env bash
# Refuses a program that would not start on every machine that is meant, or tells of the one it was built on:
#
#     portable.sh PROGRAM
#
# It reads the file and runs nothing, so the architecture does not matter.
set -euo pipefail

program=$1
GLIBC=2.17

refuse() {
    echo "portable.sh: $program $1" >&2
    exit 1
}

# The symbols that the loader looks up, with their versions.
symbols=$(readelf --wide --dyn-syms "$program")
newest=$(grep -o 'GLIBC_[0-9.]*' <<<"$symbols" | sort --version-sort --unique | tail -n 1 || true)
[ -n "$newest" ] || refuse "names no version of glibc; was it linked as it should be?"
[ "$(printf '%s\n' "GLIBC_$GLIBC" "$newest" | sort --version-sort | tail -n 1)" = "GLIBC_$GLIBC" ] \
    || refuse "wants $newest; it would not start where glibc is $GLIBC"

# The system's C library, and nothing else of the system.
foreign=$(readelf --wide --dynamic "$program" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' \
    | grep --invert-match --extended-regexp '^(libc|libm|libdl|libpthread|librt|libutil)\.so\.[0-9]+$|^ld-linux-' || true)
[ -z "$foreign" ] || refuse "wants ${foreign//$'\n'/, } of the system"

# Looked for as bytes; what is found is a path that was not remapped.
for path in "$PWD" "${IMPRINT_BUILT:-$PWD}" "${CARGO_HOME:-$HOME/.cargo}"; do
    ! grep --quiet --fixed-strings --text "$path/" "$program" || refuse "holds the path $path"
done

sections=$(readelf --wide --sections "$program")
! grep --quiet --extended-regexp '\.(symtab|debug_info)' <<<"$sections" || refuse "is not stripped"

echo "$program: $(stat --format=%s "$program") bytes, needs $newest"
