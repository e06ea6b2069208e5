# train.sh - `aira train`, `forward`, `evaluate`: log, weights, kill and resume, mistakes. $1 build folder, $2 source folder
set -eu
aira=$1/bin/aira
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*" >&2; exit 1; }

i=0
while [ $i -lt 400 ]; do echo "the quick brown fox $i jumps over the lazy dog"; i=$((i + 1)); done >"$work/corpus.txt"
cat >"$work/model.yaml" <<'YAML'
model: small
architecture: "mA M"
tokens:
  mA: {use: attention, heads: 2}
  M:  {use: mlp}
backbone: {use: mad_lm, width: 16}
dataset: {use: text, path: corpus.txt, length: 16}
recipe: {optimizer: {use: adamw, lr: 3e-3}, steps: 200, batch: 4}
YAML

# whole, and in two parts: the same losses and the same weights
"$aira" train "$work/model.yaml" --quiet --steps 20 --log "$work/a.jsonl" --save "$work/a.safetensors" --json >"$work/a.json"
grep -q '"steps":20' "$work/a.json" || fail "train --json"
[ "$(wc -l <"$work/a.jsonl")" = 20 ] || fail "one line per step"
"$aira" train "$work/model.yaml" --quiet --steps 9 --log "$work/b.jsonl" --checkpoint "$work/c"
"$aira" train "$work/model.yaml" --quiet --steps 11 --resume "$work/c" --log "$work/b.jsonl" --save "$work/b.safetensors"
cmp "$work/a.safetensors" "$work/b.safetensors" || fail "resume changes the weights"
sed 's/,"seconds.*//' "$work/a.jsonl" >"$work/a.losses"
sed 's/,"seconds.*//' "$work/b.jsonl" >"$work/b.losses"
cmp "$work/a.losses" "$work/b.losses" || fail "resume changes the losses"

# killed at random instants while it writes a checkpoint at each step: the file is always whole
rm -f "$work/c"
for delay in 0.05 0.11 0.17 0.23 0.31; do
    resume=""
    [ -f "$work/c" ] && resume="--resume $work/c"
    "$aira" train "$work/model.yaml" --quiet --checkpoint "$work/c" --every 1 $resume &
    pid=$!
    sleep $delay
    kill -9 $pid 2>/dev/null || true
    wait $pid 2>/dev/null || true
    if [ -f "$work/c" ]; then "$aira" train "$work/model.yaml" --quiet --steps 1 --resume "$work/c" || fail "a torn checkpoint"; fi
done

# the same command again and again, killed at random instants: in the end the losses and weights of a run that nobody killed
"$aira" train "$work/model.yaml" --quiet --log "$work/whole.jsonl" --save "$work/whole.safetensors" recipe.steps=300 recipe.accumulate=2
rm -f "$work/c" "$work/slices.jsonl"
slices=0 code=1
while [ $code != 0 ]; do
    "$aira" train "$work/model.yaml" --quiet --checkpoint "$work/c" --every 7 --continue --log "$work/slices.jsonl" \
        --save "$work/slices.safetensors" recipe.steps=300 recipe.accumulate=2 &
    pid=$!
    sleep 0.$((2 + slices))
    kill -9 $pid 2>/dev/null || true
    code=0
    wait $pid || code=$?
    slices=$((slices + 1))
    [ $slices -lt 60 ] || fail "sixty time slices do not suffice"
done
[ $slices -gt 1 ] || fail "no time slice was cut short"
sed 's/,"seconds.*//' "$work/whole.jsonl" >"$work/whole.losses"
sed 's/,"seconds.*//' "$work/slices.jsonl" >"$work/slices.losses"
[ "$(wc -l <"$work/whole.losses")" = 300 ] || fail "one line per step"
cmp "$work/whole.losses" "$work/slices.losses" || fail "$slices time slices change the losses"
cmp "$work/whole.safetensors" "$work/slices.safetensors" || fail "$slices time slices change the weights"

# how fast, how much memory, and of what peak
grep -q '"tokens_per_second":[0-9.e+]*,"flops_per_token":[0-9.e+]*,"peak_tflops":null,"mfu":null' "$work/whole.jsonl" || fail "pace in the log: $(head -1 "$work/whole.jsonl")"
"$aira" train "$work/model.yaml" --quiet --steps 3 --peak 0.5 --json recipe.metrics_every=2 --log "$work/paced.jsonl" >"$work/paced.json"
grep -q '"peak_tflops":0.5,"mfu":0\.' "$work/paced.json" || fail "MFU: $(cat "$work/paced.json")"
grep -q '"memory":{"variables":[1-9][0-9]*,"activations":[1-9]' "$work/paced.json" || fail "predicted memory: $(cat "$work/paced.json")"
[ "$(wc -l <"$work/paced.jsonl")" = 2 ] || fail "metrics_every: a line per reading"

# initial weights alone; a step of another seed differs
"$aira" train "$work/model.yaml" --quiet --steps 0 --save "$work/i1.safetensors"
"$aira" train "$work/model.yaml" --quiet --steps 0 --save "$work/i2.safetensors" --seed 2
"$aira" train "$work/model.yaml" --quiet --steps 0 --save "$work/i3.safetensors" --weights "$work/i1.safetensors"
[ "$(tail -c 1000 "$work/i1.safetensors" | od -x)" = "$(tail -c 1000 "$work/i3.safetensors" | od -x)" ] || fail "weights in, weights out"
"$aira" train "$work/model.yaml" --quiet --steps 1 --log "$work/s1.jsonl"
"$aira" train "$work/model.yaml" --quiet --steps 1 --log "$work/s2.jsonl" --weights "$work/i1.safetensors"
[ "$(sed 's/,"seconds.*//' "$work/s1.jsonl")" = "$(sed 's/,"seconds.*//' "$work/s2.jsonl")" ] || fail "initial weights are not what a training starts from"
"$aira" train "$work/model.yaml" --quiet --steps 0 --save "$work/i4.safetensors" recipe.batch=100M
cmp "$work/i1.safetensors" "$work/i4.safetensors" >/dev/null || [ "$(tail -c 1000 "$work/i1.safetensors" | od -x)" = "$(tail -c 1000 "$work/i4.safetensors" | od -x)" ] || fail "initial weights depend on the batch"
cmp -s "$work/i1.safetensors" "$work/i2.safetensors" && fail "the seed changes nothing"

# logits: tokens [1, 4] as .npy, version 1, little-endian int32
{
    printf '\223NUMPY\001\000\166\000'
    printf '%-117s\n' "{'descr': '<i4', 'fortran_order': False, 'shape': (1, 4), }"
    printf '\001\000\000\000\002\000\000\000\003\000\000\000\004\000\000\000'
} >"$work/t.npy"
"$aira" forward "$work/model.yaml" --weights "$work/a.safetensors" --tokens "$work/t.npy" --out "$work/l.npy"
head -c 128 "$work/l.npy" | grep -q "(1, 4, 256)" || fail "shape of the logits"

# mistakes: status 2 for configuration, 1 for a failed run, a sentence each
expect() { # status, words, command...
    status=$1 words=$2
    shift 2
    set +e
    "$@" >"$work/out" 2>"$work/err"
    got=$?
    set -e
    [ $got = "$status" ] || fail "status $got, wanted $status: $* $(cat "$work/err")"
    grep -q -- "$words" "$work/err" || fail "no '$words' in: $(cat "$work/err")"
}
expect 2 "there is no" "$aira" train "$work/model.yaml" dataset.path=nowhere.txt
expect 2 "did you mean" "$aira" train "$work/model.yaml" recipe.stepps=3
expect 2 "architecture" "$aira" train "$work/model.yaml" architecture="mA Q"
expect 1 "another model" "$aira" train "$work/model.yaml" --weights "$work/a.safetensors" backbone.norm=layer
expect 1 "is not a checkpoint" "$aira" train "$work/model.yaml" --resume "$work/a.safetensors"
expect 2 "another model or recipe" "$aira" train "$work/model.yaml" --resume "$work/c" recipe.clip=3
expect 1 "not finite" "$aira" train "$work/model.yaml" recipe.optimizer.use=sgd recipe.optimizer.lr=1000
expect 1 "the device has" "$aira" train "$work/model.yaml" --steps 1 recipe.batch=100M
expect 2 "together with --checkpoint" "$aira" train "$work/model.yaml" --continue
expect 2 "not both" "$aira" train "$work/model.yaml" --continue --checkpoint "$work/c" --resume "$work/c"
expect 2 "such as 10m" "$aira" train "$work/model.yaml" --checkpoint "$work/c" --every soon
expect 2 "no 3 equal parts" "$aira" train "$work/model.yaml" recipe.accumulate=3
expect 1 "cannot be written" "$aira" train "$work/model.yaml" --steps 1 --log "$work/none/l.jsonl"
sed '/^dataset/d; /^recipe/d' "$work/model.yaml" >"$work/bare.yaml"
expect 2 "needs 'vocab'" "$aira" forward "$work/bare.yaml" --weights "$work/a.safetensors" --tokens "$work/t.npy" --out "$work/l.npy"
expect 2 "outside 0" "$aira" forward "$work/bare.yaml" vocab=3 --weights "$work/a.safetensors" --tokens "$work/t.npy" --out "$work/l.npy"

# evaluate: JSON alone on standard output, the same twice, whatever the threads
cat >"$work/task.yaml" <<'YAML'
task: small
candidate: {kind: compose, layers: 2, backbone: {use: mad_lm, width: 16}}
tokens: {mA: {use: attention, heads: 2}, M: {use: mlp}}
proxies: [{dataset: {use: mad, task: memorization, vocab: 16, length: 8, train_rows: 20, test_rows: 16}, recipe: {batch: 8, steps: 6}}]
YAML
"$aira" evaluate --arch "mA M" --task "$work/task.yaml" --json --threads 1 | sed 's/"seconds":[^,]*,//g' >"$work/e1"
"$aira" evaluate --arch "mAM" --task "$work/task.yaml" --json --threads 2 | sed 's/"seconds":[^,]*,//g' >"$work/e2"
cmp "$work/e1" "$work/e2" || fail "threads change an evaluation"
"$aira" evaluate --arch "mA M" --task "$work/task.yaml" --json --device '{use: cpu, threads: 1}' | sed 's/"seconds":[^,]*,//g' >"$work/e3"
cmp "$work/e1" "$work/e3" || fail "a device with keys gives another evaluation"
expect 2 "unknown key 'thread'" "$aira" evaluate --arch "mA M" --task "$work/task.yaml" --device '{use: cpu, thread: 1}'
grep -q '"architecture":"mA M","score":0\.' "$work/e1" || fail "evaluate --json: $(cat "$work/e1")"
expect 2 "wants 2" "$aira" evaluate --arch "2mA M" --task "$work/task.yaml"
expect 2 "search, selection or test" "$aira" evaluate --arch "mA M" --task "$work/task.yaml" --split train
expect 1 "allowed" "$aira" evaluate --arch "mA M" --task "$work/task.yaml" limits.memory=100KiB

# --score: what the model at the end scores, also of a resumed training that takes no step; the same as `evaluate`
cat >"$work/classifier.yaml" <<'YAML'
model: small
architecture: "mA"
tokens: {mA: {use: attention, heads: 2}}
backbone: {use: lra_classifier, width: 16}
dataset: {use: listops, min_length: 4, max_length: 24, max_depth: 3, train_rows: 40, test_rows: 50}
recipe: {optimizer: {use: adamw}, batch: 20, steps: 6, eval_every: 100}
YAML
cat >"$work/classifier-task.yaml" <<'YAML'
task: small
candidate: {kind: compose, layers: 1, backbone: {use: lra_classifier, width: 16}}
tokens: {mA: {use: attention, heads: 2}}
proxies:
  - dataset: {use: listops, min_length: 4, max_length: 24, max_depth: 3, train_rows: 40, test_rows: 50}
    recipe: {optimizer: {use: adamw}, batch: 20, steps: 6, eval_every: 100}
YAML
"$aira" train "$work/classifier.yaml" --quiet --json --score test --checkpoint "$work/k" >"$work/s1"
"$aira" train "$work/classifier.yaml" --quiet --json --score test --resume "$work/k" --steps 0 >"$work/s2"
"$aira" evaluate --arch mA --task "$work/classifier-task.yaml" --split test --quiet --json >"$work/s3"
scored=$(grep -o '"score":0\.[0-9]*' "$work/s1") || fail "train --score: $(cat "$work/s1")"
grep -q '"metric":"accuracy_pooled"' "$work/s1" || fail "train --score: $(cat "$work/s1")"
grep -q "$scored," "$work/s2" && grep -q "$scored," "$work/s3" || fail "scores differ: $(cat "$work/s1" "$work/s2" "$work/s3")"
expect 2 "search, selection or test" "$aira" train "$work/classifier.yaml" --score train
