#!/bin/sh
# Shortened ListOps against its root-operator baseline: trains an architecture on three seeds and prints test accuracies
# beside what knowing only the operator in front scores.
# usage: listops_short.sh BUILD SOURCE [ARCH [aira evaluate's options and key=value...]]
set -eu
build=$1 source=$2 arch=${3:-2mA}
shift 2
[ $# -eq 0 ] || shift
AIRA_BUILD_DIR=$build
export AIRA_BUILD_DIR
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$build/bench/bench_listops" 100000 min_length=10 max_length=100 max_depth=5 >"$work/data"
cat "$work/data"
for seed in 1 2 3; do
    "$build/bin/aira" evaluate --arch "$arch" --task "$source/configs/tasks/lra/listops-short.yaml" --seed $seed --split test \
        --quiet --json "$@" >"$work/$seed.json"
done
python3 - "$work" "$arch" <<'PYTHON'
import json, re, sys
work, arch = sys.argv[1:]
base = float(re.search(r"root operator\s+([0-9.]+)", open(work + "/data").read()).group(1))
for seed in (1, 2, 3):
    said = json.load(open(f"{work}/{seed}.json"))
    score = 100 * said["score"]
    print("%s seed %d: %.2f %%, %+.2f points, %d parameters, %.0f s" % (arch, seed, score, score - base, said["parameters"], said["seconds"]))
PYTHON
