#!/bin/sh
# The honesty bar: where labels are random no node is confirmed, the gain's interval covers zero, the test split is opened
# once. Runs the shipped study as it is; a third argument is the first of its three search seeds (many of them one after
# the other: tests/bench/null_rate.sh).
set -eu
aira=$1/bin/aira
seed=${3:-1}
cd "$2"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }
"$aira" run configs/studies/null.yaml "searches.0.seeds=[$seed, $((seed + 1)), $((seed + 2))]" --run-dir "$work/run" --json \
    >"$work/said.json" 2>"$work/log" || fail "$(tail -3 "$work/log")"
python3 - "$work" <<'PYTHON'
import json, sqlite3, sys
said = json.load(open(sys.argv[1] + "/said.json"))
db = sqlite3.connect(sys.argv[1] + "/run/journal.db")
def number(sql): return db.execute(sql).fetchone()[0]
confirmed, opened = number("SELECT count(*) FROM node_row WHERE standing = 'confirmed'"), number("SELECT count(*) FROM event WHERE kind = 'test_opened'")
tests = number("SELECT count(*) FROM event WHERE kind = 'standing'")
gain = said["final"]["gain"][0]
print("nodes %d, contenders tested %d, confirmed %d, test opened %d times, gain %+.5f in [%+.5f, %+.5f], as searched %s" % (
    said["nodes"], tests, confirmed, opened, gain["gain"], *gain["interval"], said["submitted"]["score"]))
assert said["nodes"] == 24 and number("SELECT count(*) FROM node_row WHERE seeds = 3") >= 3
assert tests > 0, "no contender was tested: the study proves nothing"
assert confirmed == 0, db.execute("SELECT text FROM event WHERE kind = 'standing' AND text LIKE 'confirmed%'").fetchall()
assert gain["covers_zero"] is True and gain["interval"][0] < 0 < gain["interval"][1]
assert opened == 1
assert number("SELECT count(*) FROM evaluation WHERE test_score IS NOT NULL AND purpose != 'final'") == 0
PYTHON
"$aira" resume "$work/run" --json >"$work/again.json" 2>>"$work/log" || fail "$(tail -3 "$work/log")"
"$aira" replay "$work/run" >/dev/null || fail "replay differs"
python3 - "$work" <<'PYTHON'
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1] + "/run/journal.db")
assert db.execute("SELECT count(*) FROM event WHERE kind = 'test_opened'").fetchone()[0] == 1, "a resumed run opened the test split again"
assert json.load(open(sys.argv[1] + "/said.json"))["final"] == json.load(open(sys.argv[1] + "/again.json"))["final"]
PYTHON

# A worker does not open the test split for anything but the final scoring, whatever a lease says.
for purpose in search final; do
    mkdir "$work/$purpose"
    python3 - "$work" $purpose <<'PYTHON'
import json, sys
study = json.load(open(sys.argv[1] + "/run/study.json"))
one = {"id": "x", "layers": ["M"] * 4, "options": [], "task": study["task"], "seed": 5, "purpose": sys.argv[2], "search": 0, "splits": ["test"]}
json.dump({"version": 1, "lease": "1", "device": study["device"], "plugin_paths": [], "evaluations": [one], "limits": {"seconds": 0, "memory_bytes": 0}},
          open(sys.argv[1] + "/" + sys.argv[2] + "/lease.json", "w"))
PYTHON
    "$aira" worker "$work/$purpose" || fail "the worker failed as a whole"
done
python3 - "$work" <<'PYTHON'
import json, sys
refused, done = (json.load(open(sys.argv[1] + "/" + p + "/x.json")) for p in ("search", "final"))
assert refused["status"] == "failed" and "test split is refused" in refused["error"] and refused["scores"]["test"] is None, refused
assert done["status"] == "ok" and 0 <= done["scores"]["test"] <= 1, done
PYTHON
