#!/bin/sh
# Timing does not decide: an agent that answers after 0 to 50 random ms, by every byte of its question; one worker, two
# workers, two workers that train two at once each, and kills (-9) with resume give byte-equal trees, calls and evaluations.
set -eu
build=$1 source=$2
aira=$build/bin/aira
study=$source/tests/cli/studies/timing.yaml
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }
PATH=$build/tests:$PATH
export PATH

tree() {
    python3 - "$1" <<'PYTHON'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1] + "/journal.db")
for sql in ("SELECT * FROM node",
            "SELECT search, idx, duplicate_of, note, cause, view, seeds, spread, standing, plan, analysis FROM node_row ORDER BY search, idx",
            "SELECT search, idx, operator, attempt, request_hash, answer, state FROM call ORDER BY search, idx, operator, attempt",
            "SELECT hash, seed, purpose, status, search_score, selection_score, curve FROM evaluation ORDER BY hash, seed, purpose"):
    for row in db.execute(sql): print(row)
PYTHON
}

"$aira" run "$study" executor.workers=1 --run-dir "$work/one" >/dev/null 2>"$work/log" || fail "$(cat "$work/log")"
tree "$work/one" >"$work/one.tree"
for word in "'analyse'" "'answer'" "'failed'" "'good'"; do
    grep -q "$word" "$work/one.tree" || fail "the study does not meet $word; the test proves less than it says"
done
began=$(date +%s%N)
"$aira" run "$study" executor.workers=2 executor.batch=2 --run-dir "$work/two" >/dev/null 2>"$work/log" || fail "$(cat "$work/log")"
two=$((($(date +%s%N) - began) / 1000000))
tree "$work/two" >"$work/two.tree"
cmp "$work/one.tree" "$work/two.tree" || { diff "$work/one.tree" "$work/two.tree" | head; fail "two workers give another tree"; }
"$aira" replay "$work/two" >"$work/replay" || fail "replay differs: $(cat "$work/replay")"

"$aira" run "$study" executor.workers=2 executor.at_once=2 --run-dir "$work/four" >/dev/null 2>"$work/log" || fail "$(cat "$work/log")"
tree "$work/four" >"$work/four.tree"
cmp "$work/one.tree" "$work/four.tree" || { diff "$work/one.tree" "$work/four.tree" | head; fail "four at once give another tree"; }

# A machine that was busy a moment ago may be quick now: where too few kills hit, once more with shorter waits.
kills=0
for part in 1 3 9 27; do
    [ $kills -lt 3 ] || break
    kills=0
    rm -rf "$work/killed"
    "$aira" run "$study" executor.at_once=2 --run-dir "$work/killed" >/dev/null 2>"$work/log" &
    pid=$!
    while [ $kills -lt 6 ]; do
        sleep "$(awk -v seed="$$$kills" -v ms="$two" -v part="$part" \
            'BEGIN { srand(seed); printf "%.3f", ms * (0.06 + 0.12 * rand()) / 1000 / part }')"
        kill -9 $pid 2>/dev/null || break
        wait $pid 2>/dev/null || true
        kills=$((kills + 1))
        if "$aira" status "$work/killed" >/dev/null 2>&1; then
            "$aira" resume "$work/killed" >/dev/null 2>"$work/log" &
        else
            rm -rf "$work/killed"
            "$aira" run "$study" executor.at_once=2 --run-dir "$work/killed" >/dev/null 2>"$work/log" &
        fi
        pid=$!
    done
    wait $pid || fail "$(tail -3 "$work/log")"
done
[ $kills -ge 3 ] || fail "only $kills kills hit the run; the test proves nothing"
tree "$work/killed" >"$work/killed.tree"
cmp "$work/one.tree" "$work/killed.tree" || { diff "$work/one.tree" "$work/killed.tree" | head; fail "after $kills kills the run differs"; }
echo "$(wc -l <"$work/one.tree") rows are the same: one worker, two workers, four at once, $kills kills"
