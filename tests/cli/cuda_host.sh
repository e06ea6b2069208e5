#!/bin/sh
# tests/cli/cuda_host.sh - what the cuda device does on the host, with a CUDA runtime that does nothing (tests/stand_in):
# nets of the search and a language model are planned, merged, captured and "trained", with glibc's checks of the heap.
# With valgrind here, one of them under it. Arguments: build, source.
set -u
build=$1
[ -d "$build/tests/stand_in" ] || { echo "skipped: the cuda device is not built"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LD_LIBRARY_PATH="$build/tests/stand_in" AIRA_BUILD_DIR="$build" XDG_CACHE_HOME="$work" MALLOC_PERTURB_=165 MALLOC_CHECK_=3
profile="$build/bench/bench_gpu_profile"
failures=0
run() { # name, command
    name=$1
    shift
    "$@" >"$work/out" 2>&1 || { echo "FAIL: $name: exit status $?"; tail -5 "$work/out"; failures=1; }
    ! grep -q "Invalid \|uninitialised" "$work/out" || { echo "FAIL: $name"; head -20 "$work/out"; failures=1; }
}
for arch in "8mA 8M" "mA M mA M" "4M" "4Mb" "4S" "mA M S Mb Sg"; do
    run "$arch" "$profile" --arch "$arch" --steps 2 --rows 1
    run "$arch, short" "$profile" --arch "$arch" --length 32 --steps 2 --rows 1
    run "$arch, few rows" "$profile" --arch "$arch" --length 17 --batch 3 --steps 2 --rows 1
    run "$arch, fp32" "$profile" --arch "$arch" --length 32 --steps 2 --rows 1 --precision fp32
done
run "a language model" sh -c '"$0" train "$1" --device cuda --steps 2 --json dataset="{use: mad, task: compression, length: 64}" >"$2"' \
    "$build/bin/aira" "$2/configs/models/tiny-llama.yaml" "$work/json"
# what the device gave is what was planned and what its programs work in
grep -q "what the device works in, of 100.0 on" "$work/out" || { echo "FAIL: the device's memory is not told"; cat "$work/out"; failures=1; }
python3 - "$work/json" <<'END' || { echo "FAIL: memory taken"; cat "$work/json"; failures=1; }
import json, sys
memory = json.load(open(sys.argv[1]))["memory"]
planned = memory["variables"] + memory["activations"] + memory["io"]
sys.exit(not planned < memory["taken"] < 2 * planned + (64 << 20))
END
if command -v valgrind >/dev/null; then
    run "2mA 2M under valgrind" valgrind -q --error-exitcode=9 "$profile" --arch "2mA 2M" --steps 1 --rows 1
fi
exit $failures
