#!/bin/sh
# Ctrl-C once: what is under way is waited for and written down, nothing new starts, a sentence says how to resume, and the
# resumed run ends as an undisturbed one. Twice: the run ends at once, although its agent would answer much later.
set -eu
aira=$1/bin/aira
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }
cat >"$work/agent.py" <<'PYTHON'
import hashlib, json, os, sys, time
state = json.load(sys.stdin)["state"]
time.sleep(float(os.environ.get("AGENT_SECONDS", "0.4")))
digest = hashlib.sha256(b"%d/%d" % (state["node"], state["attempt"])).digest()
print("```yaml\nlayers: [%s]\n```" % ", ".join(("mA", "M", "Mb")[b % 3] for b in digest[: state["layers"]]))
PYTHON
cat >"$work/study.yaml" <<YAML
study: interrupt
task:
  task: tiny
  candidate: {kind: compose, layers: 3, backbone: {use: mad_lm, width: 8}}
  tokens: {mA: {use: attention, heads: 2}, M: {use: mlp}, Mb: {use: mamba}}
  proxies:
    - {dataset: {use: mad, task: memorization}, recipe: {steps: 3, batch: 4, eval_rows: 128}}
searches:
  - agent: {use: command, command: [python3, $work/agent.py], env: [AGENT_SECONDS]}
    scaffold: {use: greedy, drafts: 3}
    parallel: 2
budget: {candidates: 8}
device: {use: cpu, threads: 1}
executor: {use: local, workers: 2}
YAML
study() { exec "$aira" run "$work/study.yaml" --run-dir "$1" --json >"$1.json" 2>"$1.log"; }
nodes() {
    python3 - "$1" <<'PYTHON'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1] + "/journal.db")
for row in db.execute("SELECT idx, operator, parent, hash, status, search_score, selection_score, seeds, standing, view FROM node_row ORDER BY idx"): print(row)
for row in db.execute("SELECT hash, seed, purpose, test_score FROM evaluation ORDER BY 1, 2, 3"): print(row)
PYTHON
}
# Waits until the journal of run $1 gives something for query $2.
until_true() {
    python3 - "$1" "$2" <<'PYTHON'
import sqlite3, sys, time
for _ in range(600):
    try:
        if sqlite3.connect(sys.argv[1] + "/journal.db").execute(sys.argv[2]).fetchone()[0]: sys.exit(0)
    except (sqlite3.Error, TypeError): pass
    time.sleep(0.1)
sys.exit("waited a minute for: " + sys.argv[2])
PYTHON
}
(study "$work/calm") || fail "$(cat "$work/calm.log")"
nodes "$work/calm" >"$work/calm.nodes"

study "$work/once" &
pid=$!
until_true "$work/once" "SELECT count(*) > 2 AND sum(state = 'asked') > 0 FROM call"
kill -INT $pid
status=0
wait $pid || status=$?
[ $status = 1 ] || fail "exit status $status after Ctrl-C: $(cat "$work/once.log")"
grep -q "continue with .aira resume $work/once" "$work/once.log" || fail "no way to go on is told: $(cat "$work/once.log")"
python3 - "$work/once" <<'PYTHON' || fail "after Ctrl-C the journal is not as it should be"
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1] + "/journal.db")
def number(sql): return db.execute(sql).fetchone()[0]
assert number("SELECT count(*) FROM call WHERE state = 'asked'") == 0, "a call that was under way is not written down"
assert number("SELECT count(*) FROM event WHERE kind = 'interrupt'") == 1
assert number("SELECT count(*) FROM node_row") < 8, "it went on to the end"
assert os.listdir(sys.argv[1] + "/leases") == [], "a lease was left behind"
PYTHON
"$aira" resume "$work/once" --json >"$work/once.json" 2>"$work/once.log" || fail "$(cat "$work/once.log")"
[ "$(python3 -c "import sqlite3; print(sqlite3.connect('$work/once/journal.db').execute(\"SELECT count(*) FROM event WHERE kind = 'repeat'\").fetchone()[0])")" = 0 ] || fail "a paid call was made again"
nodes "$work/once" >"$work/once.nodes"
cmp "$work/calm.nodes" "$work/once.nodes" || fail "the resumed run ends differently"

# In the final scoring: what was opened stays, and is completed.
study "$work/late" &
pid=$!
until_true "$work/late" "SELECT count(*) FROM event WHERE kind = 'test_opened'"
kill -INT $pid 2>/dev/null || true
wait $pid || true
"$aira" resume "$work/late" --json >"$work/late.json" 2>"$work/late.log" || fail "$(cat "$work/late.log")"
nodes "$work/late" >"$work/late.nodes"
cmp "$work/calm.nodes" "$work/late.nodes" || fail "interrupted in the final scoring it ends differently"
[ "$(python3 -c "import sqlite3; print(sqlite3.connect('$work/late/journal.db').execute(\"SELECT count(*) FROM event WHERE kind = 'test_opened'\").fetchone()[0])")" = 1 ] || fail "the test split was opened again"

AGENT_SECONDS=60
export AGENT_SECONDS
study "$work/twice" &
pid=$!
until_true "$work/twice" "SELECT sum(state = 'asked') = 2 FROM call"
began=$(date +%s)
kill -INT $pid
sleep 0.5
kill -INT $pid 2>/dev/null || fail "one Ctrl-C did not wait for the answers"
wait $pid || true
[ $(($(date +%s) - began)) -lt 10 ] || fail "the second Ctrl-C did not end it at once"
"$aira" status "$work/twice" --json >"$work/status.json"
grep -q '"state": *"interrupted"' "$work/status.json" || fail "$(cat "$work/status.json")"
echo "interrupted once, in the final scoring, and twice"
