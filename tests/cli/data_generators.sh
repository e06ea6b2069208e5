# aira data: the six MAD tasks as files, checked by a program that shares no code with the generators; then the command's
# own promises: same request same bytes, task files, refusals, nothing half-written.
set -eu
build=$1
source=$2
aira=$build/bin/aira
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"

fail() {
    echo "data_generators: $*" >&2
    exit 1
}
# expect STATUS WORDS COMMAND...: the command must end so and say so on standard error.
expect() {
    wanted=$1 words=$2
    shift 2
    status=0
    "$@" >out.txt 2>err.txt || status=$?
    [ "$status" = "$wanted" ] || fail "status $status, not $wanted: $* : $(cat err.txt)"
    grep -q -- "$words" err.txt || fail "'$words' is not said: $* : $(cat err.txt)"
}

for task in in-context-recall noisy-in-context-recall fuzzy-in-context-recall memorization compression \
    selective-copying; do
    "$aira" data --dataset "{use: mad, task: $task}" --split test --n 1280 --out "$task" --seed 5 >/dev/null
    "$build/tests/mad_values" "$task" evaluation "$task" || fail "$task, test"
    n=1280
    [ "$task" = memorization ] && n=256
    "$aira" data --dataset "{use: mad, task: $task}" --split train --n $n --out "$task-train" --seed 5 >/dev/null
    "$build/tests/mad_values" "$task" train "$task-train" || fail "$task, train"
done
# the checker can say no
"$aira" data --dataset '{use: mad, task: in-context-recall}' --split test --out other --seed 6 >/dev/null
cp other/targets.npy in-context-recall/targets.npy
if "$build/tests/mad_values" in-context-recall evaluation in-context-recall 2>/dev/null; then fail "the checker accepts all"; fi

# the same request gives the same bytes; a shorter one the first rows; another seed others
"$aira" data --dataset '{use: mad, task: compression}' --split test --out again --seed 5 >/dev/null
cmp -s compression/inputs.npy again/inputs.npy || fail "two runs differ"
"$aira" data --dataset '{use: mad, task: compression}' --split test --out other --seed 6 >/dev/null
cmp -s compression/inputs.npy other/inputs.npy && fail "the seed changes nothing"
"$aira" data --dataset '{use: mad, task: compression}' --split search --out other --seed 5 >/dev/null
cmp -s compression/inputs.npy other/inputs.npy && fail "search and test are one draw"

# task files: the proxy is chosen, overrides count, a lone data set works too
cat >task.yaml <<'Y'
task: two
proxies:
  - {dataset: {use: mad, task: memorization}, recipe: {steps: 1}}
  - {dataset: {use: mad, task: compression}, recipe: {steps: 1}}
Y
echo 'dataset: {use: mad, task: compression}' >lone.yaml
"$aira" data task.yaml --proxy 1 --split test --seed 5 --out byfile --json >result.json
cmp -s compression/inputs.npy byfile/inputs.npy || fail "proxy 1 is not compression"
grep -q '"rows":1280,"input_shape":\[1280,32\],"target_shape":\[1280,32\]' result.json || fail "$(cat result.json)"
"$aira" data lone.yaml --split test --seed 5 --out byfile >/dev/null
cmp -s compression/targets.npy byfile/targets.npy || fail "a lone data set differs"
"$aira" data task.yaml --proxy 0 --split test --n 3 --out byfile --json proxies.0.dataset.length=64 >result.json
grep -q '"input_shape":\[3,64\]' result.json || fail "the override does not count: $(cat result.json)"

# what array reads is what was written
mkdir rows
cp -r compression-train rows/train
cp -r compression rows/test
"$aira" data --dataset '{use: array, path: rows, holdout: 100}' --split test --out byarray >/dev/null
cmp -s compression/inputs.npy byarray/inputs.npy || fail "array changes inputs"
cmp -s compression/targets.npy byarray/targets.npy || fail "array changes targets"

# every example beside a plugin works, given the files it names
mkdir -p shards mad
yes 'to be or not to be' | head -n 2000 >tinyshakespeare.txt
for part in train val; do # 100,000 zeros as an llm.c shard
    { printf '\210\330\064\001\001\000\000\000\240\206\001\000'; head -c 201012 /dev/zero; } >shards/stories_${part}_000001.bin
done
"$aira" data --dataset '{use: mad, task: in-context-recall}' --split train --out mad/train >/dev/null
"$aira" data --dataset '{use: mad, task: in-context-recall}' --split test --out mad/test >/dev/null
for n in 1 2 3; do
    for class in neg pos; do
        for part in train test; do mkdir -p reviews/$part/$class && for k in $(seq 40); do echo "$n $k" >reviews/$part/$class/$n$k.txt; done; done
    done
done
mkdir -p pairs
for part in train eval test; do
    for k in $(seq 20); do printf '%d.0\t%s\tb\ta text\tanother\n' $((k % 2)) "$k"; done >pairs/new_aan_pairs.$part.tsv
done
for id in mad text tokens array listops labelled_text text_pairs; do
    "$aira" data --dataset "$(cat "$source/plugins/datasets/$id/example.yaml")" --split search --n 3 --out example >/dev/null ||
        fail "plugins/datasets/$id/example.yaml"
    "$aira" check "dataset/$id" --config "$(grep -v '^#' "$source/plugins/datasets/$id/example.yaml")" >check.txt ||
        fail "aira check dataset/$id: $(cat check.txt)"
done

expect 2 "choose one with --proxy 0 to --proxy 1" "$aira" data task.yaml --split test --out no
expect 2 "there is no proxy 2" "$aira" data task.yaml --proxy 2 --split test --out no
expect 2 "train, search, selection or test" "$aira" data lone.yaml --split tests --out no
expect 2 "test split has 1280 rows" "$aira" data lone.yaml --split test --n 1281 --out no
expect 2 "give either" "$aira" data --split test --out no
expect 2 "accepted are 2 to" "$aira" data --dataset '{use: mad, task: compression, vocab: 1}' --split test --out no
expect 2 "lengthh" "$aira" data --dataset '{use: mad, task: compression, lengthh: 8}' --split test --out no
expect 2 "task" "$aira" data --dataset '{use: mad}' --split test --out no
expect 1 "there is no '.*missing.txt'" "$aira" data --dataset '{use: text, path: missing.txt}' --split test --out no
yes 'a line of text' 2>/dev/null | head -n 4000 >lines.txt
expect 2 "say how many rows" "$aira" data --dataset '{use: text, path: lines.txt}' --split train --out no
[ ! -e no ] || fail "a refused request leaves a folder"
expect 1 "byarray" "$aira" data lone.yaml --split test --out byarray/inputs.npy
"$aira" data --dataset '{use: text, path: lines.txt, length: 32}' --split test --out bytext --json >result.json
grep -q '"metric":"bits_per_byte","best":null,"worst":8.0' result.json || fail "$(cat result.json)"
