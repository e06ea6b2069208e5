#!/bin/sh
# A recorded study needs no agent and no network: `aira replay` decides it again from the journal, and a study whose agent
# is `recorded` runs to the same tree. The recorded agent's program leaves a mark when it is started and opens a socket;
# neither may happen again. Where strace is there, every socket of the replay is looked at as well.
set -eu
build=$1 source=$2
aira=$build/bin/aira
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

cat >"$work/agent.py" <<PYTHON
import hashlib, json, socket, sys
question = sys.stdin.read()
open("$work/mark", "a").write("asked\n")
try: socket.create_connection(("127.0.0.1", 9), timeout=1)
except OSError: pass
state = json.loads(question)["state"]
digest = hashlib.sha256(question.encode()).digest()
layers = " ".join(state["tokens"][b % len(state["tokens"])] for b in digest[:state["layers"]])
print("An idea.\n\n\`\`\`yaml\nlayers: \"%s\"\n\`\`\`" % layers)
PYTHON
study() { # name, agent
    cat >"$work/$1.yaml" <<YAML
extends: $source/tests/cli/studies/tiny.yaml
study: $1
searches:
  - {agent: $2, scaffold: {use: greedy, drafts: 3}, seeds: [1, 2], parallel: 2, analyse: true}
budget: {candidates: 10}
aggregate: [{use: n0}]
YAML
}
tree() { python3 -c 'import sqlite3, sys
db = sqlite3.connect(sys.argv[1] + "/journal.db")
for row in db.execute("SELECT * FROM node"): print(row)
for row in db.execute("SELECT search, idx, operator, attempt, request_hash, answer, state FROM call ORDER BY 1, 2, 3, 4"): print(row)' "$1"; }
# Runs a command under strace, if there is one, and fails where it opened a socket of the internet.
traced() {
    if [ -n "$strace" ]; then
        strace -f -qq -e trace=socket,connect,sendto -o "$work/trace" "$@"
        if grep -E "AF_INET" "$work/trace" >"$work/found"; then fail "a socket was opened: $(head -3 "$work/found")"; fi
    else
        "$@"
    fi
}
strace=
if command -v strace >/dev/null && strace -f -qq -e trace=socket -o "$work/trace" true 2>/dev/null; then strace=yes; fi

study recorded_from "{use: command, command: [python3, $work/agent.py]}"
if [ -n "$strace" ]; then # the trace can find what it looks for
    strace -f -qq -e trace=socket,connect,sendto -o "$work/trace" "$aira" run "$work/recorded_from.yaml" --run-dir "$work/first" >/dev/null 2>"$work/log" || fail "$(cat "$work/log")"
    grep -q AF_INET "$work/trace" || fail "the trace does not see the agent's socket; the test proves nothing"
else
    "$aira" run "$work/recorded_from.yaml" --run-dir "$work/first" >/dev/null 2>"$work/log" || fail "$(cat "$work/log")"
fi
[ "$(wc -l <"$work/mark")" -ge 20 ] || fail "the agent was asked $(wc -l <"$work/mark") times; answers and analyses were expected"
rm "$work/mark"

traced "$aira" replay "$work/first" >"$work/out" 2>&1 || fail "replay: $(cat "$work/out")"
grep -q "10 nodes in 2 searches: the same tree" "$work/out" || fail "$(cat "$work/out")"

study again "{use: recorded, path: $work/first}"
traced "$aira" run "$work/again.yaml" --run-dir "$work/again" >/dev/null 2>"$work/log" || fail "$(cat "$work/log")"
[ ! -f "$work/mark" ] || fail "the agent's program was started"
tree "$work/first" >"$work/first.tree"
tree "$work/again" >"$work/again.tree"
cmp "$work/first.tree" "$work/again.tree" || { diff "$work/first.tree" "$work/again.tree" | head; fail "the repeated study has another tree"; }

# replay finds a difference when there is one
python3 -c 'import sqlite3, sys
db = sqlite3.connect(sys.argv[1] + "/journal.db")
db.execute("UPDATE node_row SET search_score = search_score + 0.5 WHERE search = 1 AND idx = 1")
db.commit()' "$work/again"
if "$aira" replay "$work/again" >"$work/out" 2>&1; then fail "replay does not notice another score"; fi
echo "the same tree from the record${strace:+, without a socket}"
