#!/bin/sh
# tests/cli/design_answers.sh - a search that gets bad sources: each ends as a buggy node with cause and sentence, the next
# question carries them, good ones in between are scored, and a replay agrees. Arguments: build, source.
set -eu
build=$1 source=$2
aira=$build/bin/aira
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME="$work/cache"
fail() { echo "FAIL: $*"; exit 1; }

cp "$source/configs/prompts/design/example.c" "$work/example.c"
cat >"$work/agent.py" <<'PYTHON'
import json, sys
request = json.load(sys.stdin)
state, folder = request["state"], sys.argv[1]
example = open(folder + "/example.c").read()
node, attempt = state["node"], state["attempt"]
def block(tag, text): return "An idea.\n\n```%s\n%s```\n" % (tag, text)
build = "    int64_t C = o->dim(g, x, 2);\n"
answers = [
    ["No source today.", block("python", "pass\n"), block("c", "int x;\n") + block("c", "int y;\n"), block("c", example)],
    [block("c", example.replace("int64_t C =", "int64_t D ="))],                        # does not compile
    [block("c", example.replace(build, build + "    if (C) return o->error(g, \"of no use\");\n"))],  # build fails
    [block("c", example.replace("o->conv1d_causal(g, x, kernel, bias)",                 # looks ahead
        "o->add(g, o->conv1d_causal(g, x, kernel, bias), o->slice(g, o->pad(g, x, 1, 0, 1, 0), 1, 1, o->dim(g, x, 1)))"))],
    [block("c", example.replace(build, build + "    while (C) C |= 1;\n"))],            # never ends
    [block("c", "int main(void) { return 0; }\n")],                                     # no primitive
    [block("c", "/* %s */\n" % ("x" * 70000) + example), "", "", block("yaml", "a: 1\n")],  # too large, then nothing
    [block("diff", "@@ -1 +1 @@\n-/* no such line */\n+/* */\n"), block("diff", "@@\n-#define KERNEL 8\n+#define KERNEL 4\n")],
]
if node == 7: assert state["parent"]["source"] == example, "the parent's source is not shown"
sys.stdout.write(answers[node][min(attempt, len(answers[node]) - 1)])
PYTHON
cat >"$work/study.yaml" <<EOF2
study: answers
task: {file: $source/configs/tasks/design-small.yaml}
searches:
  - agent: {use: command, command: [python3, $work/agent.py, $work]}
    scaffold: {use: greedy, drafts: 7, debug_prob: 0}
    literature: notes
budget: {candidates: 8}
confirm: {seeds: 1}
final: {seeds: 2}
device: {use: cpu, threads: 1}
EOF2
mkdir -p "$work/notes/convolutions"
printf '# Long convolutions\n\nThey remember what the notes say.\n' >"$work/notes/convolutions/long.md"
"$aira" run --quiet "$work/study.yaml" task.proxies.0.recipe.steps=2 task.limits.cost_exponent=2 --run-dir "$work/run" --json >"$work/out" 2>"$work/log" || {
    grep 'confine' "$work/log" && exit 77
    cat "$work/log"
    fail run
}
python3 - "$work/run" <<'PYTHON' || { cat "$work/log"; fail "the journal"; }
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1] + "/journal.db")
rows = db.execute("SELECT idx, status, cause, note FROM node_row ORDER BY idx").fetchall()
for row in rows: print(row)
wanted = [(0, "good", None, None), (1, "buggy", "compile", "undeclared"), (2, "buggy", "trace", "of no use"),
          (3, "buggy", "check:causality", "causality"), (4, "buggy", "stopped", "it took more than"), (5, "buggy", "compile", ""),
          (6, "buggy", "answer", "no fenced block tagged c"), (7, "good", None, None)]
for row, want in zip(rows, wanted):
    assert row[:3] == want[:3] and (want[3] is None or want[3] in row[3]), (row, want)
attempts = dict(db.execute("SELECT idx, count(*) FROM call GROUP BY idx"))
assert attempts[0] == 4 and attempts[1] == 1 and attempts[6] == 4 and attempts[7] == 2, attempts
kinds = db.execute("SELECT kind, canonical FROM candidate").fetchall()
assert len(kinds) == 7 and all(k == "design" and "source" in json.loads(c) for k, c in kinds)
metrics = json.loads(db.execute("SELECT e.metrics FROM evaluation e JOIN node_row n ON n.hash = e.hash WHERE n.idx = 3").fetchone()[0])
assert [c["name"] for c in metrics["checks"] if c["verdict"] == "fail"] == ["causality", "in place"], metrics
good = json.loads(db.execute("SELECT e.metrics FROM evaluation e JOIN node_row n ON n.hash = e.hash WHERE n.idx = 7").fetchone()[0])
assert any("trained layer" in c["name"] for c in good["checks"])
prompts = [b for (b,) in db.execute("SELECT body FROM text")]
assert any("They remember what the notes say" in p for p in prompts), "the notes are not shown"
for words in ("gated_conv", "} aira_ops;", "- `ssd`: Mamba-2",
              "- at most 200000 parameters in the whole model", "no faster than T^2"): assert any(words in p for p in prompts), words + " is not shown"
PYTHON
"$aira" status "$work/run" | grep -q '^failed      6 of 8 nodes: 2 compile, 1 answer, 1 check:causality, 1 stopped, 1 trace$' || {
    "$aira" status "$work/run"
    fail "status does not tell the failures"
}
"$aira" replay "$work/run" >"$work/replay" || fail "replay differs: $(cat "$work/replay")"
[ -f "$work/run/report.html" ] || fail "no report"

# A mechanism that is honest wherever it is measured alone, and lets rows see each other at the task's own length, or
# only in a batch as large as that which is scored.
cat >"$work/cheat.c" <<'C'
#include "aira/primitive.h"
#define ROWS 0
static aira_tensor *build(void *self, const aira_ops *o, aira_graph *g, aira_tensor *x) {
    (void)self;
    int64_t C = o->dim(g, x, 2);
    aira_param_info info = {.size = sizeof info, .init = "fan_in"};
    aira_tensor *y = o->linear(g, x, o->param(g, "w", &(aira_shape){{C, C}, 2, 0}, &info), NULL);
    const int32_t rows = 0;
    return o->dim(g, x, 1) > 600 && o->dim(g, x, 0) > ROWS ? o->add(g, y, o->mean(g, x, &rows, 1, 1)) : y;
}
static const aira_primitive table = {sizeof table, AIRA_PRIMITIVE_MIXES_TIME, "Ch", build, NULL};
static const aira_plugin plugin = {AIRA_PLUGIN_DESCRIPTOR("primitive", aira_primitive, &table, "cheat", "1.0.0", "not honest", NULL)};
AIRA_MANIFEST("primitive", "cheat", "1.0.0")
AIRA_EXPORT const aira_plugin *aira_plugin_v1(void) { return &plugin; }
C
# cheats LENGTH ROWS: its exit status and output.
cheats() {
    status=0
    sed "s/ROWS 0/ROWS $2/" "$work/cheat.c" >"$work/cheats.c"
    "$aira" evaluate --quiet --source "$work/cheats.c" --task "$source/configs/tasks/design-small.yaml" proxies.0.dataset.length=$1 \
        proxies.0.recipe.steps=1 proxies.0.recipe.batch=4 proxies.0.recipe.eval_rows=16 >"$work/out" 2>&1 || status=$?
}
cheats 320 0
[ $status = 0 ] || { cat "$work/out"; fail "an honest length is refused"; }
cheats 640 0
[ $status = 1 ] && grep -q 'in place: at batch [0-9]*, length 6[0-9]*, .* sequence [0-9]* moves when another one changes' "$work/out" ||
    { cat "$work/out"; fail "rows that see each other at length 640 pass"; }
cheats 640 10
[ $status = 1 ] && grep -q 'in place: at batch 16, length 6[0-9]*, .*, when it is scored, sequence [0-9]* moves' "$work/out" ||
    { cat "$work/out"; fail "rows that see each other when they are scored pass"; }
echo pass
