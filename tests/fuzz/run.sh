#!/bin/sh
# run.sh SECONDS [BUILD] [NAME...]: builds the fuzzers with clang under ASan and UBSan and runs each for that long, from
# tests/fuzz/corpus/<name>/. New inputs stay in the build folder. Exit 1 on any finding.
set -eu
source=$(cd "$(dirname "$0")/../.." && pwd)
seconds=${1:?usage: run.sh SECONDS [BUILD] [NAME...]}
build=${2:-$source/build-fuzz}
shift; [ $# -eq 0 ] || shift
cmake -S "$source" -B "$build" -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=RelWithDebInfo -DAIRA_FUZZ=ON \
    -DAIRA_TESTS=OFF -DAIRA_SANITIZE=address,undefined >/dev/null
targets=
for file in "$source"/tests/fuzz/*.c; do targets="$targets fuzz_$(basename "$file" .c)"; done
# shellcheck disable=SC2086 # a list of words
ninja -C "$build" $targets >"$build/ninja.log" || { tail -n 40 "$build/ninja.log"; exit 1; }
status=0
for target in $targets; do
    name=${target#fuzz_}
    if [ $# -gt 0 ]; then case " $* " in *" $name "*) ;; *) continue ;; esac; fi
    found=$build/corpus/$name
    seeds=$source/tests/fuzz/corpus/$name
    mkdir -p "$found"
    [ -d "$seeds" ] || seeds=
    log=$build/$name.log
    # shellcheck disable=SC2086 # seeds may be empty
    if "$build/fuzz/$target" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout=20 -max_len=4096 -print_final_stats=1 \
        -artifact_prefix="$build/$name-" "$found" $seeds >"$log" 2>&1; then
        echo "$name: $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs, no finding"
    else
        echo "$name: FINDING, see $log"
        tail -n 25 "$log"
        status=1
    fi
done
exit $status
