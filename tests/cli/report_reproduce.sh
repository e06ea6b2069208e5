#!/bin/sh
# The command that a report gives for its winner works as it stands there and gives the winner's score; tables and JSON
# say what the journal says.
set -eu
PATH=$1/bin:$PATH
cd "$2"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }
aira run tests/cli/studies/tiny.yaml confirm.seeds=1 --run-dir "$work/run" --quiet >/dev/null
python3 - "$work/run" >"$work/command" <<'PYTHON'
import html, re, sys
page = open(sys.argv[1] + "/report.html").read()
print(next(html.unescape(line) for line in re.split(r"\n|<pre[^>]*>|</pre>", page) if line.startswith("aira evaluate ")))
PYTHON
sh -eu "$work/command" >"$work/said" 2>&1 || fail "$(cat "$work/command" "$work/said")"
printf '%s --json' "$(cat "$work/command")" >"$work/command"
sh -eu "$work/command" >"$work/again.json"
python3 - "$work/run/report.json" "$work/again.json" <<'PYTHON' || fail "the printed command gives another score"
import json, sys
report, again = json.load(open(sys.argv[1])), json.load(open(sys.argv[2]))
how, won = report["verdict"]["reproduce"], report["submitted"]
assert again["architecture"] == won["architecture"] and again["seed"] == how["seed"], (again, won)
assert abs(again["score"] - how["score"]) < 1e-9, (again["score"], how)
PYTHON
aira replay "$work/run" >/dev/null || fail "replay differs"

python3 - "$work/run" <<'PYTHON' || fail "tables, JSON and journal differ"
import csv, json, math, sqlite3, sys
run = sys.argv[1]
db = sqlite3.connect(run + "/journal.db")
report = json.load(open(run + "/report.json"))
same = lambda text, value: text == "" if value is None else math.isclose(float(text), value, rel_tol=1e-12)

rows = list(csv.DictReader(open(run + "/nodes.csv", newline="")))
nodes = list(db.execute("SELECT n.search, n.idx, n.operator, n.parent, n.status, c.architecture, n.search_score, "
                        "n.selection_score, n.seeds FROM node_row n LEFT JOIN candidate c ON c.hash = n.hash "
                        "ORDER BY n.search, n.idx"))
assert len(rows) == len(nodes) == report["cost"]["nodes"] > 0
for r, n in zip(rows, nodes):
    assert (int(r["search"]), int(r["idx"]), r["operator"], r["status"]) == (n[0], n[1], n[2], n[4]), (r, n)
    assert r["parent"] == ("" if n[3] is None else str(n[3])) and r["architecture"] == (n[5] or "")
    assert same(r["search_score"], n[6]) and same(r["selection_score"], n[7]) and same(r["seeds"], n[8]), (r, n)

calls = list(csv.DictReader(open(run + "/calls.csv", newline="")))
held = list(db.execute("SELECT search, idx, operator, attempt, state, answer FROM call ORDER BY search, idx, id"))
assert len(calls) == len(held) == report["cost"]["calls"]
for r, c in zip(calls, held):
    assert (int(r["search"]), int(r["idx"]), r["operator"], int(r["attempt"]), r["state"], r["answer"]) == c, (r, c)

one = lambda sql: db.execute(sql).fetchone()[0]
assert report["cost"]["evaluations"] == one("SELECT count(*) FROM evaluation")
assert math.isclose(report["cost"]["device_seconds"], one("SELECT sum(seconds) FROM evaluation"), rel_tol=1e-8)
assert math.isclose(report["cost"]["flops"], one("SELECT sum(flops) FROM evaluation"), rel_tol=1e-8)
for s in report["searches"]:
    of = " FROM node_row WHERE search = %d" % s["search"]
    assert s["nodes"] == one("SELECT count(*)" + of) and s["duplicates"] == one("SELECT count(duplicate_of)" + of)
    assert s["buggy"] == sum(s["failures"].values()) == one("SELECT count(*)" + of + " AND status = 'buggy'")
    assert sum(s["operators"].values()) == s["nodes"]
    best = one("SELECT max(search_score)" + of + " AND status = 'good'")
    assert math.isclose(s["best"]["search_score"], best, rel_tol=1e-8), (s["best"], best)
PYTHON
