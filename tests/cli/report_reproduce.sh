#!/bin/sh
# The command that a report gives for its winner works as it stands there and gives the winner's score.
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
won = report["submitted"]
assert again["architecture"] == won["architecture"], (again, won)
assert abs(again["score"] - won["selection_score"]) < 1e-9, (again["score"], won)
PYTHON
aira replay "$work/run" >/dev/null || fail "replay differs"
