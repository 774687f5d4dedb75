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

# As portable.sh holds it.
GLIBC=2.17
# Bytes: the agent is fetched by every boot of a fleet.
LARGEST_AGENT=8000000

# The crates have to be there before their folder can be named.
${CARGO:-cargo} fetch --quiet --locked --target "$target"

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

mkdir -p "$out"
for program in imprint imprint-rotator; do
    install -m 0755 "$built/$target/release/$program" "$out/$program"
    IMPRINT_BUILT=$built bash packaging/build/portable.sh "$out/$program"
done

size=$(stat --format=%s "$out/imprint")
[ "$size" -le $LARGEST_AGENT ] || {
    echo "programs.sh: imprint has $size bytes; at most $LARGEST_AGENT are allowed" >&2
    exit 1
}
