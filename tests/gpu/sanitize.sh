#!/bin/sh
# compute-sanitizer over the GPU tests of our kernels, in parts side by side: it slows them a hundred times.
#
#     sh tests/gpu/sanitize.sh [BUILD] [racecheck|memcheck|synccheck] [PARTS] [SECONDS] [TESTS]
#
# BUILD: where the tests are (default: build). PARTS of every test run at once (default: 3), each for SECONDS at most
# (default: 500). TESTS: default below. A line per test: parts, errors found, results that the test compared. Exit status
# 0: all parts ended without an error; 1: not; 77: no GPU here, or no compute-sanitizer.
set -u
build=${1:-build} tool=${2:-racecheck} parts=${3:-3} seconds=${4:-500}
tests=${5:-merged mamba linear layers weights norms tied}
if ! command -v compute-sanitizer >/dev/null; then
    echo "skipped: there is no compute-sanitizer (it comes with the CUDA toolkit)"
    exit 77
fi
if ! nvidia-smi >/dev/null 2>&1; then
    echo "skipped: no GPU here"
    exit 77
fi
AIRA_BUILD_DIR=$(cd "$build" && pwd) || exit 1
export AIRA_BUILD_DIR
folder=$(mktemp -d) || exit 1
trap 'rm -rf "$folder"' EXIT
for test in $tests; do
    part=0
    while [ $part -lt "$parts" ]; do
        (
            AIRA_TEST_PART=$part/$parts timeout "$seconds" compute-sanitizer --tool "$tool" --print-limit 20 \
                "$build/tests/gpu_cuda_$test" >"$folder/$test.$part" 2>&1
            echo $? >"$folder/$test.$part.status"
        ) &
        part=$((part + 1))
    done
done
wait
bad=0
for test in $tests; do
    ended=0
    for status in "$folder/$test".*.status; do
        [ "$(cat "$status")" = 124 ] || ended=$((ended + 1))
    done
    clean=$(grep -l 'SUMMARY: 0 ' "$folder/$test".[0-9]* | wc -l)
    echo "$tool $test: $ended of $parts parts ended, $clean of them clean; $(grep -h 'compared\|failures$\|failed$' \
        "$folder/$test".[0-9]* | tr '\n' ';')"
    if [ "$clean" -lt "$parts" ]; then
        bad=1
        grep -h '^=========' "$folder/$test".[0-9]* | grep -v 'COMPUTE-SANITIZER\|SUMMARY: 0 ' | head -40
    fi
done
exit $bad
