#!/usr/bin/env bash
# Makes everything that is handed out, into target/package:
#
#     package.sh [ARCH...]
#
# deb, rpm, a tarball and an SBOM of each program, the Lambda function's zip, and SHA256SUMS. Without
# ARCH: x86_64, and aarch64 where this machine's Rust has it.
set -euo pipefail
cd "$(dirname "$0")/../.."

# The time of all that is packed: when the sources were last changed, not when they were packed.
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct)}
# Messages of tools, orders of names and modes of files would differ from one person to the next.
export SOURCE_DATE_EPOCH LC_ALL=C TZ=UTC
umask 022

has_target() { # has_target ARCH
    [ -d "$(rustc --print sysroot)/lib/rustlib/$1-unknown-linux-gnu/lib" ]
}

arches=("$@")
if [ ${#arches[@]} = 0 ]; then
    arches=(x86_64)
    if has_target aarch64; then
        arches+=(aarch64)
    else
        echo "SKIPPED: aarch64, since this Rust has no standard library for it." \
            "Where one can be fetched: rustup target add aarch64-unknown-linux-gnu" >&2
    fi
fi

# Taken now: what changes while it is built makes it old.
sources=$(bash packaging/build/fresh.sh sources)

# What was made before may have other names.
rm -rf target/package target/pack/stage target/pack/made-from
mkdir -p target/package
for arch in "${arches[@]}"; do
    has_target "$arch" || {
        echo "package.sh: no standard library for $arch: rustup target add $arch-unknown-linux-gnu" >&2
        exit 69
    }
    bash packaging/build/programs.sh "$arch"
    target/pack/venv/bin/python packaging/build/pack.py "$arch"
done
(cd target/package && sha256sum -- * >../pack/SHA256SUMS && mv ../pack/SHA256SUMS .)
bash packaging/build/fresh.sh note "$sources"
rm -rf target/pack/stage
echo "All of it is in target/package."
