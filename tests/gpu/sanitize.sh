#!/bin/sh
# compute-sanitizer over the GPU tests of our kernels, in parts: it slows them a hundred times.
#
#     sh tests/gpu/sanitize.sh [BUILD] [racecheck|memcheck|synccheck] [AT_ONCE] [SECONDS] [TESTS] [FOLDER]
#
# BUILD: where the tests are (default: build). AT_ONCE: parts that run side by side (default: 3; each takes gigabytes of
# the card when it starts). SECONDS: for all of it (default: 1800). TESTS: names, with how many parts each has, such as
# `merged/8`, or one part of it, `merged:2/8` (default below). FOLDER: new, keeps what every part printed. A line per test:
# parts, cases begun, results that the test compared; then errors found. Exit status 0: all parts ended, without an error
# and with right results; 1: not; 77: no GPU here, or no compute-sanitizer.
set -u
build=${1:-build} tool=${2:-racecheck} at_once=${3:-3} seconds=${4:-1800}
tests=${5:-merged/8 mamba/4 layers/4 linear/4 weights/7 norms/1 tied/1}
if ! command -v compute-sanitizer >/dev/null; then
    echo "skipped: there is no compute-sanitizer (it comes with the CUDA toolkit)"
    exit 77
fi
if ! nvidia-smi >/dev/null 2>&1; then
    echo "skipped: no GPU here"
    exit 77
fi
AIRA_BUILD_DIR=$(cd "$build" && pwd) || exit 1
if [ $# -ge 6 ]; then
    folder=$6
    mkdir "$folder" || exit 1
else
    folder=$(mktemp -d) || exit 1
    trap 'rm -rf "$folder"' EXIT
fi
end=$(($(date +%s) + seconds))
export AIRA_BUILD_DIR tool folder end

# TEST I N each
for test in $tests; do
    case $test in
    *:*) echo "$test" | tr :/ '  ' ;;
    *) for part in $(seq 0 $((${test#*/} - 1))); do echo "${test%/*} $part ${test#*/}"; done ;;
    esac
done >"$folder/parts"

# Where the tool finds no room beside the others, it is started again.
# shellcheck disable=SC2016 # for the shell that xargs starts
xargs -L 1 -P "$at_once" sh -c '
    log=$folder/$0.$1.$2
    said=124
    while left=$((end - $(date +%s))) && [ $left -gt 5 ]; do
        AIRA_TEST_PART=$1/$2 timeout $left compute-sanitizer --tool $tool --print-limit 20 \
            "$AIRA_BUILD_DIR/tests/gpu_cuda_$0" >"$log" 2>&1
        said=$?
        grep -q "out of memory" "$log" || break
        said=124
        sleep 5
    done
    echo $said >"$log.status"' <"$folder/parts"

bad=0
for test in $(cut -d ' ' -f 1 "$folder/parts" | uniq); do
    ended=0 clean=0 all=0
    for status in "$folder/$test".*.status; do
        all=$((all + 1)) said=$(cat "$status") log=${status%.status}
        [ "$said" = 0 ] || bad=1
        [ "$said" = 124 ] || ended=$((ended + 1))
        grep -qs 'SUMMARY: 0 ' "$log" && clean=$((clean + 1))
    done
    cat "$folder/$test".*[0-9] >"$folder/all" 2>/dev/null
    echo "$tool $test: $ended of $all parts ended, $clean clean; $(grep -c '^case ' "$folder/all") cases begun;" \
        "$(grep 'compared\|failures$\|[0-9] failed' "$folder/all" | tr '\n' ';')"
    [ "$clean" = "$all" ] || bad=1
    grep '^=========' "$folder/all" | grep -v 'COMPUTE-SANITIZER\|SUMMARY: 0 ' | head -40
done
exit $bad
