#!/bin/sh
# How often a study without any difference says something false: runs configs/studies/null.yaml under N study seeds and
# prints, for each, whether a node was confirmed and whether the interval of the gain covers zero.
# usage: null_rate.sh BUILD SOURCE [N] [key=value...]
set -eu
aira=$1/bin/aira source=$2 n=${3:-20}
shift 2
[ $# -eq 0 ] || shift
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
i=0
while [ $i -lt "$n" ]; do
    i=$((i + 1))
    "$aira" run "$source/configs/studies/null.yaml" "searches.0.seeds=[${i}01, ${i}02, ${i}03]" "$@" --run-dir "$work/$i" --quiet --json >"$work/$i.json"
done
python3 - "$work" "$n" <<'PYTHON'
import json, sqlite3, sys
work, n = sys.argv[1], int(sys.argv[2])
confirmed = missed = tests = 0
for i in range(1, n + 1):
    said = json.load(open(f"{work}/{i}.json"))
    db = sqlite3.connect(f"{work}/{i}/journal.db")
    c = db.execute("SELECT count(*) FROM node_row WHERE standing = 'confirmed' AND duplicate_of IS NULL").fetchone()[0]
    t = db.execute("SELECT count(*) FROM event WHERE kind = 'standing'").fetchone()[0]
    gains = said["final"]["gain"]
    covers = all(g["covers_zero"] is not False for g in gains)
    confirmed += c > 0; missed += not covers; tests += t
    optimism = said["submitted"]["score"] - said["final"]["test"][0]["test"]["mean"]
    print("study %2d: %d tests, %d confirmed, gain %+.5f %s, covers zero: %s, score as searched minus on fresh seeds %+.5f" % (
        i, t, c, gains[0]["gain"], ["%+.5f" % x for x in gains[0]["interval"]], covers, optimism))
print("%d studies, %d tests: something confirmed in %d, interval missed zero in %d" % (n, tests, confirmed, missed))
PYTHON
