#!/bin/sh
# Byte-level classification of a folder of labelled texts against bag of bytes, fold by fold: prints both accuracies, the
# mean difference and its 95 % interval (Student's, over folds). Of nltk's movie_reviews: unpack movie_reviews.zip.
# usage: [OUT=DIR] [JOBS=N] [GPUS="0 1 2 3"] reviews.sh BUILD SOURCE FOLDER [FOLDS [ARCH [aira evaluate's options and key=value...]]]
# OUT keeps a file per fold: what is there is not trained again, so a run that was stopped goes on. JOBS folds are trained
# beside each other (one per GPU, or one); GPUS deals them over these GPUs, without --device.
set -eu
build=$1 source=$2 folder=$(realpath "$3") folds=${4:-10} arch=${5:-2S4}
shift 3
[ $# -eq 0 ] || shift
[ $# -eq 0 ] || shift
gpus=${GPUS:-}
# shellcheck disable=SC2086 # words
n_gpus=$(set -- $gpus && echo $#)
jobs=${JOBS:-$n_gpus}
[ "$jobs" -gt 0 ] || jobs=1
AIRA_BUILD_DIR=$build
export AIRA_BUILD_DIR
work=${OUT:-$(mktemp -d)}
[ -n "${OUT:-}" ] || trap 'rm -rf "$work"' EXIT
mkdir -p "$work"
what="$folder $folds $arch $*"
[ -e "$work/what" ] || echo "$what" >"$work/what"
[ "$(cat "$work/what")" = "$what" ] || { echo "$work holds folds of: $(cat "$work/what")" >&2; exit 2; }
[ -s "$work/bag" ] || { "$build/bench/bench_bag_of_bytes" "$folder" "$folds" >"$work/bag.part" && mv "$work/bag.part" "$work/bag"; }
cat "$work/bag"

# The folds SLOT, SLOT + jobs, ... one after another, on one GPU.
train() {
    slot=$1
    shift
    # shellcheck disable=SC2086 # words
    [ -z "$gpus" ] || set -- --device "{use: cuda, gpu: $(set -- $gpus && shift $((slot % n_gpus)) && echo "$1")}" "$@"
    fold=$slot
    while [ "$fold" -lt "$folds" ]; do
        [ -s "$work/$fold.json" ] || "$build/bin/aira" evaluate --arch "$arch" --task "$source/configs/tasks/lra/reviews.yaml" \
            --split test --quiet --json "proxies.0.dataset.path=$folder" "proxies.0.dataset.folds=$folds" \
            "proxies.0.dataset.fold=$fold" "$@" >"$work/$fold.part" || return 1
        [ -s "$work/$fold.json" ] || mv "$work/$fold.part" "$work/$fold.json"
        fold=$((fold + jobs))
    done
}
slot=0 pids=
trap 'for p in $pids; do kill "$p" 2>/dev/null || true; done; exit 130' INT TERM
while [ $slot -lt "$jobs" ]; do
    train $slot "$@" &
    pids="$pids $!"
    slot=$((slot + 1))
done
failed=0
for p in $pids; do wait "$p" || failed=1; done
[ $failed = 0 ] || { echo "not every fold was trained${OUT:+; the others are in $work}" >&2; exit 1; }
python3 - "$work" "$folds" "$arch" <<'PYTHON'
import json, math, re, sys
work, folds, arch = sys.argv[1], int(sys.argv[2]), sys.argv[3]
bag = [float(x) for x in re.findall(r"^fold +\d+ +([0-9.]+)", open(work + "/bag").read(), re.M)]
said = [json.load(open(f"{work}/{k}.json")) for k in range(folds)]
ours = [s["score"] for s in said]
for k in range(folds):
    print("fold %2d          bag of bytes %.4f, %s %.4f, %.0f s" % (k, bag[k], arch, ours[k], said[k]["seconds"]))
gain = [100 * (a - b) for a, b in zip(ours, bag)]
mean = sum(gain) / folds
t = {2: 12.706, 3: 4.303, 4: 3.182, 5: 2.776, 6: 2.571, 7: 2.447, 8: 2.365, 9: 2.306, 10: 2.262}[folds]
half = t * math.sqrt(sum((g - mean) ** 2 for g in gain) / (folds - 1) / folds)
print("%s %.4f, bag of bytes %.4f: %+.2f points, 95 %% interval [%+.2f, %+.2f], %d parameters" % (
    arch, sum(ours) / folds, sum(bag) / folds, mean, mean - half, mean + half, said[0]["parameters"]))
PYTHON
