#!/usr/bin/env bash
# Builds the fuzz targets with libFuzzer's coverage counters and runs each for SECONDS:
#
#     run.sh SECONDS [TARGET...]
#
# On the stable compiler and without cargo-fuzz: the code under test is safe Rust, so the address
# sanitizer, which needs a nightly one, has nothing to find. New inputs are kept in fuzz/corpus;
# an input that fails is written to fuzz/artifacts, and the run fails.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=$1
shift
targets=("$@")
if [ ${#targets[@]} -eq 0 ]; then
    for source in fuzz/targets/*.rs; do
        targets+=("$(basename "$source" .rs)")
    done
fi

host=$(rustc -vV | sed -n 's/^host: //p')
# What cargo-fuzz passes, without the sanitizer. Only for the host's target, not build scripts.
coverage="--cfg fuzzing -Cpasses=sancov-module"
for argument in level=4 inline-8bit-counters pc-table trace-compares; do
    coverage+=" -Cllvm-args=-sanitizer-coverage-$argument"
done
RUSTFLAGS=$coverage cargo build --locked --quiet --manifest-path fuzz/Cargo.toml \
    --target "$host" --target-dir target/fuzz --bins

for target in "${targets[@]}"; do
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    said=target/fuzz/$target.log
    if ! "target/fuzz/$host/debug/$target" -max_total_time="$seconds" -max_len=20000 \
        -rss_limit_mb=1024 -timeout=10 -print_final_stats=1 \
        -artifact_prefix="fuzz/artifacts/$target/" \
        "fuzz/corpus/$target" "fuzz/seeds/$target" >"$said" 2>&1; then
        tail -n 60 "$said"
        echo "fuzz $target failed; the input is in fuzz/artifacts/$target" >&2
        exit 1
    fi
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$said")
    covered=$(sed -n 's/.* cov: \([0-9]*\).*/\1/p' "$said" | tail -n 1)
    echo "fuzz $target: $runs inputs in $seconds s, $covered places of the code reached"
done
