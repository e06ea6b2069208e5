#!/bin/sh
# Every scaffold on a tabular benchmark: nothing is trained, the same study gives the same tree, killed or not, and replays.
set -eu
aira=$1/bin/aira source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }
cat >"$work/study.yaml" <<YAML
study: table
task: {file: $source/configs/tasks/space64.yaml}
searches:
  - {agent: {use: mutate}, scaffold: {use: greedy}, seeds: [1]}
  - {agent: {use: mutate}, scaffold: {use: evolution}, seeds: [1], parallel: 2}
  - {agent: {use: mutate}, scaffold: {use: evolution, preset: regularised}, seeds: [1]}
  - {agent: {use: mutate}, scaffold: {use: mcts}, seeds: [1], parallel: 3}
  - {scaffold: {use: bayes}, seeds: [1], parallel: 2}
  - {scaffold: {use: random}, seeds: [1]}
  - {scaffold: {use: exhaustive, order: shuffled}, seeds: [2]}
budget: {candidates: 140}
executor: {use: table, path: $source/configs/tables/space64.csv, seeds: drawn, batch: 8}
YAML
tree() {
    python3 - "$1" <<'PYTHON'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1] + "/journal.db")
for row in db.execute("SELECT * FROM node"): print(row)
for row in db.execute("SELECT hash, seed, status, search_score FROM evaluation WHERE purpose = 'search' ORDER BY hash, seed"): print(row)
PYTHON
}
"$aira" run "$work/study.yaml" --run-dir "$work/calm" >"$work/log" 2>&1 || fail "$(cat "$work/log")"
tree "$work/calm" >"$work/calm.tree"
[ "$(grep -c "'good'" "$work/calm.tree")" = 140 ] || fail "not every node is good: $(grep buggy "$work/calm.tree" | head -3)"
"$aira" replay "$work/calm" >"$work/log" 2>&1 || fail "$(cat "$work/log")"
"$aira" run "$work/study.yaml" --run-dir "$work/killed" >"$work/log" 2>&1 &
pid=$!
sleep 0.3
kill -9 $pid 2>/dev/null || true
wait $pid 2>/dev/null || true
[ -f "$work/killed/journal.db" ] && "$aira" resume "$work/killed" >"$work/log" 2>&1 || {
    grep -q "ended before it began" "$work/log" || [ ! -f "$work/killed/journal.db" ] || fail "$(cat "$work/log")"
    rm -rf "$work/killed"
    "$aira" run "$work/study.yaml" --run-dir "$work/killed" >"$work/log" 2>&1 || fail "$(cat "$work/log")"
}
tree "$work/killed" >"$work/killed.tree"
cmp "$work/calm.tree" "$work/killed.tree" || fail "the killed run differs"
sed 's/seeds: drawn, //' "$work/study.yaml" >"$work/exact.yaml"
"$aira" run "$work/exact.yaml" confirm.seeds=1 --run-dir "$work/exact" >"$work/log" 2>&1 || fail "$(cat "$work/log")"
