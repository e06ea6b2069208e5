#!/bin/sh
# Keys about what agents are asked: mistakes are told where they are; own templates are tried before anything runs; answers
# that cannot be used are asked for again with the reason; what prompts share is stored once.
set -eu
build=$1 source=$2
aira=$build/bin/aira
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

study() { # keys of the search
    cat >"$work/study.yaml" <<YAML
extends: $source/tests/cli/studies/tiny.yaml
study: asked
searches: [{agent: {use: mutate}, scaffold: {use: greedy, drafts: 2}, $1}]
budget: {candidates: 3}
aggregate: [{use: n0}]
YAML
}
refused() { # keys, words
    study "$1"
    code=0
    "$aira" validate "$work/study.yaml" >"$work/out" 2>&1 || code=$?
    [ $code -eq 2 ] || fail "$1: exit status $code"
    grep -q "study.yaml:.*$2" "$work/out" || fail "$1: $(cat "$work/out")"
}
refused "memory: {draft: all}" "no memory .all.; choose none, simple, ancestral or sibling"
refused "memory: {drafts: simple}" "drafts"
refused "memory: simple" "memory is a mapping"
refused "memory_tokens: 10" "memory_tokens"
refused "analyse: true, analyst: {use: mutate}" "keep one of"
refused "complexity: often" "complexity"

# own templates
cp -r "$source/configs/prompts" "$work/prompts"
echo "{{no_such_name}}" >>"$work/prompts/improve.md"
study "seeds: [1]"
echo "prompts: $work/prompts" >>"$work/study.yaml"
if "$aira" validate "$work/study.yaml" >"$work/out" 2>&1; then fail "an undefined variable was not found"; fi
grep -q "improve.md:[0-9]*: error: undefined variable no_such_name" "$work/out" || fail "$(cat "$work/out")"

# answers without a block, with two, with prose alone: each asked again with a clear reason, and then given up
cat >"$work/agent.py" <<'PYTHON'
import json, sys
request = json.load(sys.stdin)
state = request["state"]
block = "```yaml\nlayers: \"%s\"\n```\n" % " ".join([state["tokens"][0]] * state["layers"])
bad = ["```python\nprint(1)\n```\n", block + "\n" + block, "I would rather not say.\n"]
if state["node"] == 3: print("Never.")
elif state["attempt"] == 0: print("An idea.\n\n" + bad[state["node"] % 3])
else: print("Sorry.\n\n" + block)
PYTHON
cat >"$work/study.yaml" <<YAML
extends: $source/tests/cli/studies/tiny.yaml
study: asked-again
searches: [{agent: {use: command, command: [python3, $work/agent.py]}, scaffold: {use: greedy, drafts: 4}}]
budget: {candidates: 4}
aggregate: [{use: n0}]
YAML
"$aira" run "$work/study.yaml" --run-dir "$work/run" >"$work/out" 2>&1 || fail "$(cat "$work/out")"
python3 - "$work/run/journal.db" <<'PYTHON' || fail "what was asked again is not as it should be"
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
def prompt(idx, attempt):
    body, = db.execute("SELECT t.body FROM call c JOIN text t ON t.hash = c.prompt WHERE c.idx = ? AND c.attempt = ?", (idx, attempt)).fetchone()
    join = lambda ids: "".join(db.execute("SELECT body FROM text WHERE id = ?", (i,)).fetchone()[0] for i in ids)
    return [(m[0], join(m[1:])) for m in json.loads(body)["parts"]]
reasons = ["holds no fenced block tagged yaml", "2 fenced yaml blocks hold `layers`; give exactly one", "holds no fenced block tagged yaml"]
for idx, reason in enumerate(reasons):
    messages = prompt(idx, 1)
    assert [role for role, _ in messages] == ["system", "user", "assistant", "user"], messages
    assert reason in messages[3][1], messages[3]
    assert prompt(idx, 0) == messages[:2]
assert db.execute("SELECT count(*) FROM call WHERE idx = 3").fetchone()[0] == 4, "a question and three times again"
status, cause, note, plan = db.execute("SELECT n.status, n.cause, n.note, t.body FROM node_row n JOIN text t ON t.hash = n.plan WHERE n.idx = 3").fetchone()
assert (status, cause, plan) == ("buggy", "answer", "Never."), (status, cause, plan)
assert "no fenced block" in note
# every system prompt is the same parts
system = {tuple(json.loads(b)["parts"][0]) for b, in db.execute("SELECT t.body FROM call c JOIN text t ON t.hash = c.prompt")}
assert len(system) == 1, system
PYTHON
echo "mistakes are told, answers asked for again, parts stored once"
