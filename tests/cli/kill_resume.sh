#!/bin/sh
# A run that is killed (-9) at random instants and resumed ends with the same nodes, scores and result as one that was
# left alone; so do runs with other numbers of workers and of evaluations per lease.
set -eu
build=$1 source=$2
aira=$build/bin/aira
study=${3:-$source/tests/cli/studies/tiny.yaml} # any other study as the third argument
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

# What must not differ: the tree with its scores, and the result without times and paths.
tree() {
    python3 - "$1" <<'PYTHON'
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1] + "/journal.db")
for row in db.execute("SELECT * FROM node"): print(row)
for row in db.execute("SELECT search, idx, duplicate_of, note, cause, seeds, spread, standing, view FROM node_row ORDER BY search, idx"): print(row)
for row in db.execute("SELECT hash, seed, purpose, status, search_score, selection_score, test_score, curve FROM evaluation ORDER BY hash, seed, purpose"): print(row)
for row in db.execute("SELECT search, idx, text FROM event WHERE kind = 'standing' ORDER BY search, idx"): print(row)
for row in db.execute("SELECT text FROM event WHERE kind = 'test_opened'"): print(row)
for row in db.execute("SELECT search, idx, attempt, request_hash, answer, state FROM call ORDER BY search, idx, attempt"): print(row)
for kind, name, value in db.execute("SELECT kind, name, value FROM result ORDER BY kind, name"):
    value = json.loads(value)
    value.pop("model", None)
    if kind == "final": value["opened"].pop("time")
    print(kind, name, json.dumps(value, sort_keys=True))
PYTHON
}

began=$(date +%s%N)
"$aira" run "$study" --run-dir "$work/calm" --json >"$work/calm.json" 2>"$work/calm.log" || fail "$(cat "$work/calm.log")"
calm=$((($(date +%s%N) - began) / 1000000)) # ms
tree "$work/calm" >"$work/calm.tree"
grep -q "'good'" "$work/calm.tree" || fail "the undisturbed run has no good node"
grep -q "'confirm'" "$work/calm.tree" || fail "no contender was trained on further seeds"
[ "$(grep -c '^..final scoring of study' "$work/calm.tree")" = 1 ] || fail "the test split was not opened once"
"$aira" replay "$work/calm" >"$work/replay" || fail "replay differs: $(cat "$work/replay")"

"$aira" run "$study" executor.workers=1 executor.batch=3 --run-dir "$work/slow" >"$work/slow.log" 2>&1 ||
    fail "$(cat "$work/slow.log")"
tree "$work/slow" >"$work/slow.tree"
cmp "$work/calm.tree" "$work/slow.tree" || fail "one worker and leases of three give another tree"

kills=0 round=0
"$aira" run "$study" --run-dir "$work/killed" >/dev/null 2>"$work/killed.log" &
pid=$!
while [ $round -lt 40 ]; do
    round=$((round + 1))
    # between 2 and 16 % of the undisturbed run: at least five kills hit it, and every stage is met
    sleep "$(awk -v seed="$$$round" -v ms="$calm" 'BEGIN { srand(seed); printf "%.3f", ms * (0.02 + 0.14 * rand()) / 1000 }')"
    if ! kill -9 $pid 2>/dev/null; then
        wait $pid && break # it had come to its end
        grep -q "ended before it began" "$work/killed.log" || fail "$(tail -3 "$work/killed.log")"
    fi
    wait $pid 2>/dev/null || true
    kills=$((kills + 1))
    [ -f "$work/killed/journal.db" ] || { kills=0; rm -rf "$work/killed"; }
    if [ -d "$work/killed" ] && "$aira" status "$work/killed" --json >"$work/status.json" 2>/dev/null; then
        [ $kills -lt 12 ] || break # often enough; the rest runs through
        "$aira" resume "$work/killed" >/dev/null 2>"$work/killed.log" &
    else
        rm -rf "$work/killed" # killed before the study was in the journal
        "$aira" run "$study" --run-dir "$work/killed" >/dev/null 2>"$work/killed.log" &
    fi
    pid=$!
done
"$aira" resume "$work/killed" --json >"$work/killed.json" 2>"$work/killed.log" || fail "$(cat "$work/killed.log")"
tree "$work/killed" >"$work/killed.tree"
cmp "$work/calm.tree" "$work/killed.tree" || { diff "$work/calm.tree" "$work/killed.tree"; fail "after $kills kills the run differs"; }
[ $kills -ge 5 ] || fail "only $kills kills hit the run; the test proves nothing"
python3 - "$work/calm.json" "$work/killed.json" <<'PYTHON' || fail "the result differs"
import json, sys
def result(path):
    value = json.load(open(path))
    for key in ("report", "run_dir"): value.pop(key)
    value["final"]["opened"].pop("time")
    for account in [value["budget"]] + value["budget"]["searches"]:
        for key in ("seconds", "device_seconds"): account.pop(key)
    for e in value["extrapolated"]: e.pop("model")
    return value
a, b = result(sys.argv[1]), result(sys.argv[2])
if a != b: print(a, b, sep="\n")
sys.exit(a != b)
PYTHON
echo "same tree and result after $kills kills"
