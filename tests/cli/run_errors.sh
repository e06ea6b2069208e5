#!/bin/sh
# What `aira run` and its relatives say when something is wrong: a sentence with place and remedy, exit status 2 for
# configuration and 1 for a failed run, and nothing lost.
set -eu
aira=$1/bin/aira
tiny=$2/tests/cli/studies/tiny.yaml
work=$(mktemp -d)
mounted=
cleanup() { [ -z "$mounted" ] || umount "$work/small"; rm -rf "$work"; }
trap cleanup EXIT
fail() { echo "FAILED: $*"; exit 1; }
# expect STATUS TEXT COMMAND...: exit status, and TEXT somewhere in the output
expect() {
    wanted=$1 text=$2 status=0
    shift 2
    output=$("$@" 2>&1) || status=$?
    [ "$status" = "$wanted" ] || fail "$*: exit status $status, not $wanted: $output"
    case $output in *"$text"*) ;; *) fail "$*: no '$text' in: $output" ;; esac
}
has() { case $output in *"$1"*) ;; *) fail "no '$1' in: $output" ;; esac; }

# All mistakes of a study at once, each with its place.
cat >"$work/bad.yaml" <<'YAML'
study: bad name
task:
  task: bad
  candidate: {kind: compose, layers: 2, backbone: {use: mad_lm, width: 8}}
  tokens:
    mA: {use: attention, heads: 2}
  proxies:
    - {dataset: {use: mad, task: memorization}, recipe: {steps: 3}}
searches:
  - {agent: {use: mutat}, scaffold: {use: greedy, draft: 3}, seed: [1]}
budget: {candidates: 0}
aggregate: [{use: n0, agents: [nobody]}]
extrapolate: {to: [2B], by: [shrink]}
executer: {use: local}
YAML
expect 2 "bad.yaml:1:8" "$aira" run "$work/bad.yaml" --run-dir "$work/bad"
has "mutate"
has "did you mean 'drafts'"
has "did you mean 'seeds'"
has "candidates must be at least 1"
has "no search of this study has the agent or label"
has "2B"
has "shrink"
has "did you mean 'executor'"
[ ! -e "$work/bad" ] || fail "a study with mistakes left a run directory"
expect 2 "budgt" "$aira" run "$tiny" budgt.candidates=3 --run-dir "$work/bad"
expect 2 "no-such-study.yaml" "$aira" run "$work/no-such-study.yaml"

# Folders that are not there, not ours, or not writable.
expect 2 "there is no such run directory" "$aira" resume "$work/none"
expect 2 "there is no such run directory" "$aira" status "$work/none"
expect 2 "there is no such run directory" "$aira" replay "$work/none"
mkdir "$work/empty"
expect 2 "is this a run directory" "$aira" status "$work/empty"
expect 2 "exists already" "$aira" run "$tiny" --run-dir "$work/empty"
expect 1 "cannot be created" "$aira" run "$tiny" --run-dir /proc/aira-run

# One process per directory; Ctrl-C stops cleanly; resume goes on.
"$aira" run "$tiny" budget.candidates=40 --run-dir "$work/busy" >/dev/null 2>"$work/busy.log" &
pid=$!
n=0
until [ -e "$work/busy/lock" ]; do
    n=$((n + 1))
    [ $n -lt 300 ] || fail "the run did not begin: $(cat "$work/busy.log")"
    sleep 0.05
done
expect 1 "in use by process $pid on" "$aira" resume "$work/busy"
expect 0 '"state":"running"' "$aira" status "$work/busy" --json
kill -INT $pid
status=0
wait $pid || status=$?
[ $status = 1 ] || fail "Ctrl-C gives exit status $status"
grep -q "aira resume" "$work/busy.log" || fail "Ctrl-C does not say how to go on: $(cat "$work/busy.log")"
expect 0 '"state":"interrupted"' "$aira" status "$work/busy" --json
"$aira" resume "$work/busy" --json 2>/dev/null | python3 -c '
import json, sys
r = json.load(sys.stdin)
assert r["state"] == "done" and r["nodes"] == 40, r' || fail "the resumed run did not come to its end"

# An agent that fails: every node says so, the report is there, exit status 1.
cat >"$work/agent.yaml" <<YAML
extends: $tiny
study: agent
searches:
  - {agent: {use: command, command: [sh, -c, "cat >/dev/null; echo no idea; exit 3"]}, scaffold: {use: one_shot}}
budget: {candidates: 1}
aggregate: [{use: n0}]
YAML
expect 1 "none of 1 candidates was valid" "$aira" run "$work/agent.yaml" --run-dir "$work/agent"
has "ended with exit status 3"
[ -f "$work/agent/report.html" ] || fail "a run without a valid candidate has no report"
expect 1 "none of 1 candidates was valid" "$aira" run "$work/agent.yaml" --run-dir "$work/agent2" \
    'searches.0.agent.command=[sh, -c, "cat >/dev/null; echo no idea"]'
has "no fenced block tagged yaml"

# A command agent gets the variables that it names and no others; what it says is kept, the rest never comes near.
cat >"$work/secret.py" <<'PYTHON'
import json, os, sys
request = json.load(sys.stdin)
assert request["operator"] == "draft" and request["state"]["layers"] == 3, request
assert [m["role"] for m in request["messages"]] == ["system", "user"], request
print("named", "AIRA_TEST_NAMED" in os.environ, "other", "AIRA_TEST_OTHER" in os.environ)
print('```yaml\nlayers: "2M mA"\n```')
PYTHON
AIRA_TEST_NAMED=sesame AIRA_TEST_OTHER=poppy "$aira" run "$work/agent.yaml" --run-dir "$work/agent3" \
    "searches.0.agent.command=[python3, $work/secret.py]" 'searches.0.agent.env=[AIRA_TEST_NAMED]' >/dev/null 2>"$work/log" ||
    fail "$(cat "$work/log")"
python3 -c 'import sqlite3, sys
texts = [r[0] for r in sqlite3.connect(sys.argv[1]).execute("SELECT body FROM text")]
assert any("named True other False" in t for t in texts), texts' "$work/agent3/journal.db" || fail "the environment of the agent"
! grep -rqE "sesame|poppy" "$work/agent3" || fail "the value of a variable is in the run directory"

# A study that would never end is a mistake.
sed '/^budget/d; /^aggregate/d; /^extrapolate/d' "$tiny" >"$work/endless.yaml"
expect 2 "greedy does not stop by itself" "$aira" run "$work/endless.yaml" --run-dir "$work/endless"

# A scaffold that proposes asks no agent; every other one does.
proposed=$2/tests/cli/studies/proposed.yaml
expect 2 "random proposes architectures by itself" "$aira" validate "$proposed" 'searches=[{agent: {use: mutate}, scaffold: {use: random}}]'
expect 2 "names no agent" "$aira" validate "$proposed" 'searches=[{scaffold: {use: greedy}}]'

# A recorded run is repeated without its agent, node by node.
"$aira" run "$tiny" --run-dir "$work/first" >/dev/null 2>&1 || fail "the run to be recorded failed"
cat >"$work/recorded.yaml" <<YAML
extends: $tiny
searches:
  - {agent: {use: recorded, path: first}, scaffold: {use: greedy, drafts: 3}, seeds: [1, 2], parallel: 2}
  - {agent: {use: recorded, path: first}, scaffold: {use: one_shot}, seeds: [3], label: chance}
aggregate: [{use: n0}]
YAML
"$aira" run "$work/recorded.yaml" --run-dir "$work/second" >/dev/null 2>"$work/second.log" || fail "$(cat "$work/second.log")"
for run in first second; do
    python3 -c 'import sqlite3, sys
for row in sqlite3.connect(sys.argv[1]).execute("SELECT * FROM node"): print(row)' "$work/$run/journal.db" >"$work/$run.nodes"
done
cmp "$work/first.nodes" "$work/second.nodes" || fail "the recorded agent gives another tree"
expect 0 "the same tree" "$aira" replay "$work/second"
python3 -c 'import sqlite3, sys
db = sqlite3.connect(sys.argv[1]); db.execute("UPDATE node_row SET parent = (parent + 1) % 3 WHERE idx = 4 AND search = 1"); db.commit()' \
    "$work/second/journal.db"
expect 1 "search 1 node 4: parents were" "$aira" replay "$work/second"

# A full disk: a sentence, and after making room the run goes on.
mkdir "$work/small"
if mount -t tmpfs -o size=700k tmpfs "$work/small" 2>/dev/null; then
    mounted=1
    expect 1 "" "$aira" run "$tiny" budget.candidates=60 --run-dir "$work/small/run"
    case $output in
    *"disk is full"* | *"No space left"*) ;;
    *) fail "a full disk is not called one: $output" ;;
    esac
    mount -o remount,size=20m "$work/small"
    expect 0 '"state":"done"' "$aira" resume "$work/small/run" --json
else
    echo "not root: the test with a full disk is left out"
fi
