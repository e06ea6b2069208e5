#!/bin/sh
# extrapolate, aggregate and report as a script sees them: JSON keys and values, sentences, exit status.
set -eu
aira=$1/bin/aira
source=$2
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
fail() { echo "FAIL: $*"; exit 1; }

"$aira" extrapolate --arch "2mA 4M" --to 1B --by stack --json --out "$tmp/m.yaml" >"$tmp/e.json"
for part in '"to":"1B"' '"by":"stack"' '"layers":27' '"parameters_body":1000341504' '"tokens":{"mA":9,"M":18}' \
    '"kv_bytes_per_token":18432' '"llama":{' "\"model\":\"$tmp/m.yaml\""; do
    grep -qF "$part" "$tmp/e.json" || fail "no $part in $(cat "$tmp/e.json")"
done
"$aira" validate "$tmp/m.yaml" >/dev/null || fail "the written model is not valid"
"$aira" extrapolate --arch "2mA5M2mA3MmA3M" --to 1B | grep -q "^4mA 9M 4mA 5M 2mA 5M$" || fail "stretch"
"$aira" extrapolate --arch "mA Mb" --to 350M --by stack --task "$source/configs/tasks/in-context-recall.yaml" --json |
    grep -q '"Mb":' || fail "tokens of a task"

# refused NEEDLE STATUS command...: a sentence on standard error, nothing on standard output
refused() {
    needle=$1 want=$2
    shift 2
    status=0
    "$aira" "$@" >"$tmp/out" 2>"$tmp/err" || status=$?
    [ "$status" -eq "$want" ] || fail "$*: status $status, not $want"
    grep -qF "$needle" "$tmp/err" || fail "$*: $(cat "$tmp/err")"
    [ ! -s "$tmp/out" ] || fail "$*: wrote to standard output"
}
refused 'did you mean `mA`' 2 extrapolate --arch "2mX" --to 1B --json
refused '350M, 1B, 3B, 8B' 2 extrapolate --arch "2mA" --to 2T
refused 'stretch and stack' 2 extrapolate --arch "2mA" --to 1B --by fold
refused 'to SIZE is missing' 2 extrapolate --arch "2mA"
refused 'nowhere' 2 report "$tmp/nowhere"
refused 'nowhere' 2 aggregate "$tmp/nowhere" --json
refused 'n_all' 2 aggregate "$tmp" --by n_al
refused 'clusters' 2 aggregate "$tmp" --by n0 clusterz=3

# The later steps alone, on a small run.
cat >"$tmp/study.yaml" <<'YAML'
study: small
task:
  task: small
  candidate: {kind: compose, layers: 2, backbone: {use: mad_lm, width: 16}}
  tokens:
    mA: {use: attention, heads: 2, at_scale: {use: attention}}
    M: {use: mlp, at_scale: {use: swiglu}}
  proxies:
    - {dataset: {use: mad, task: memorization}, recipe: {optimizer: {use: adamw}, steps: 4, batch: 8, eval_rows: 16}}
searches: [{agent: {use: mutate}, scaffold: {use: greedy, drafts: 2}, seeds: [1]}]
budget: {candidates: 4}
device: {use: cpu}
YAML
"$aira" run "$tmp/study.yaml" --run-dir "$tmp/run" --quiet >/dev/null 2>"$tmp/err" || fail "run: $(cat "$tmp/err")"
for by in n0 n1 n2 n_all; do
    "$aira" aggregate "$tmp/run" --by $by --json >"$tmp/a.json" || fail "aggregate $by"
    for part in "\"by\":\"$by\"" '"architecture":"' '"support":[' '"cluster_size":' '"notes":['; do
        grep -qF "$part" "$tmp/a.json" || fail "no $part in $(cat "$tmp/a.json")"
    done
done
"$aira" aggregate "$tmp/run" "$tmp/run" --agents mutate weights=rank clusters=2 >/dev/null || fail "aggregate two runs"
refused 'no agent `gpt`' 2 aggregate "$tmp/run" --agents gpt
refused "did you mean 'clusters'" 2 aggregate "$tmp/run" clusterz=3
rm "$tmp/run/report.html"
[ "$("$aira" report "$tmp/run")" = "$tmp/run/report.html" ] || fail "report prints its path"
[ -s "$tmp/run/report.html" ] && [ -s "$tmp/run/nodes.csv" ] && [ -s "$tmp/run/report.json" ] || fail "a file is missing"
[ "$(wc -l <"$tmp/run/nodes.csv")" -eq 5 ] || fail "nodes.csv has one row per node"
