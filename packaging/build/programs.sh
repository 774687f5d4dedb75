#!/usr/bin/env bash
# Builds imprint and imprint-rotator for one architecture (x86_64 or aarch64), to be handed out:
#
#     programs.sh ARCH
#
# They run on every Linux with glibc 2.17 or newer, are the same bytes wherever they are built with the
# same compiler, and lie in target/pack/ARCH. What does not hold is an error here, not on a customer's machine.
set -euo pipefail
cd "$(dirname "$0")/../.."

arch=$1
target=$arch-unknown-linux-gnu
built=${CARGO_TARGET_DIR:-$PWD/target}
[[ $built = /* ]] || built=$PWD/$built
out=target/pack/$arch

GLIBC=2.17
# Bytes: the agent is fetched by every boot of a fleet.
LARGEST_AGENT=8000000

# No path of this machine goes into the programs: of the sources, of the crates, of what is made.
flags=("--remap-path-prefix=$PWD=/imprint" "--remap-path-prefix=$built=/built")
for crates in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*/; do
    flags+=("--remap-path-prefix=${crates%/}=/crates")
done
CARGO_ENCODED_RUSTFLAGS=$(IFS=$'\x1f' && echo "${flags[*]}")
export CARGO_ENCODED_RUSTFLAGS

# Zig's compiler and its cache are in the project's folder, like everything that is made.
export PATH=$PWD/target/pack/venv/bin:$PATH
export CARGO_ZIGBUILD_CACHE_DIR=$built/zig ZIG_GLOBAL_CACHE_DIR=$built/zig/global ZIG_LOCAL_CACHE_DIR=$built/zig/local

# One at a time: built together, each would get the features that the other one wants.
for program in imprint imprint-rotator; do
    cargo-zigbuild zigbuild --locked --release --target "$target.$GLIBC" --package "$program" --bin "$program"
done

refuse() {
    echo "programs.sh: $1" >&2
    exit 1
}

mkdir -p "$out"
for program in imprint imprint-rotator; do
    made=$built/$target/release/$program

    # The symbols that the loader looks up, with their versions: readelf knows every architecture.
    symbols=$(readelf --wide --dyn-syms "$made")
    newest=$(grep -o 'GLIBC_[0-9.]*' <<<"$symbols" | sort --version-sort --unique | tail -n 1)
    [ -n "$newest" ] || refuse "$made names no version of glibc; was it linked as it should be?"
    [ "$(printf '%s\n' "GLIBC_$GLIBC" "$newest" | sort --version-sort | tail -n 1)" = "GLIBC_$GLIBC" ] \
        || refuse "$made wants $newest; it would not start where glibc is $GLIBC"

    # The system's C library, and nothing else of the system.
    foreign=$(readelf --wide --dynamic "$made" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' \
        | grep --invert-match --extended-regexp '^(libc|libm|libdl|libpthread|librt|libutil)\.so\.[0-9]+$|^ld-linux-' || true)
    [ -z "$foreign" ] || refuse "$made wants ${foreign//$'\n'/, } of the system"

    # Looked for as bytes; what is found is a path that was not remapped.
    for path in "$PWD" "$built" "${CARGO_HOME:-$HOME/.cargo}"; do
        ! grep --quiet --fixed-strings --text "$path/" "$made" || refuse "$made holds the path $path"
    done

    sections=$(readelf --wide --sections "$made")
    ! grep --quiet --extended-regexp '\.(symtab|debug_info)' <<<"$sections" || refuse "$made is not stripped"

    install -m 0755 "$made" "$out/$program"
    echo "$program for $arch: $(stat --format=%s "$made") bytes, needs $newest"
done

size=$(stat --format=%s "$out/imprint")
[ "$size" -le $LARGEST_AGENT ] || refuse "imprint has $size bytes; at most $LARGEST_AGENT are allowed"
