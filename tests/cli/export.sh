#!/bin/sh
# tests/cli/export.sh - a mechanism that a search found leaves the run: as a folder that the installed SDK alone builds, by
# hand and by cmake, that checks, and that scores as the node did; as a source that scores so too. Arguments: build, source.
set -eu
build=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME="$work/home" XDG_CACHE_HOME="$work/cache"
unset AIRA_PLUGIN_PATH 2>/dev/null || true
mkdir "$work/home"
fail() { echo "FAIL: $*"; exit 1; }

"$build/bin/aira" run --quiet "$source/tests/cli/studies/design.yaml" budget.candidates=4 task.limits.cost_exponent=2 --run-dir "$work/run" --json >"$work/run.json" 2>"$work/log" || {
    grep 'confine' "$work/log" && exit 77
    cat "$work/log"
    fail run
}
DESTDIR="$work/stage" cmake --install "$build" --prefix /opt/aira >/dev/null
mv "$work/stage/opt/aira" "$work/sdk"
aira=$work/sdk/bin/aira
"$aira" export "$work/run" submitted --out "$work/pack" --json >"$work/export.json" || fail export
[ "$(ls "$work/pack" | wc -l)" = 5 ] || fail "$(ls "$work/pack")"
id=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["id"])' "$work/export.json")
node=$(python3 -c 'import json, sys; e = json.load(open(sys.argv[1])); print("%d:%d" % (e["search"], e["node"]))' "$work/export.json")
cd "$work/pack"
AIRA=$aira AIRA_INCLUDE=$work/sdk/include ./test.sh >"$work/log" 2>&1 || { cat "$work/log"; fail test.sh; }
cmake -S . -B by-cmake -G Ninja -DCMAKE_PREFIX_PATH="$work/sdk" -DCMAKE_BUILD_TYPE=Release >"$work/log" 2>&1 || { cat "$work/log"; fail cmake; }
cmake --build by-cmake >"$work/log" 2>&1 || { cat "$work/log"; fail "cmake --build"; }
[ "$(nm -D --defined-only "by-cmake/$id.so" | awk '{print $NF}')" = aira_plugin_v1 ] || fail "exports of $id.so"

"$aira" evaluate --quiet --plugin-path "$PWD" --task task.yaml --arch "X M" --seed "$(python3 - "$work/run" "$node" <<'PYTHON'
import sqlite3, sys
db, (search, idx) = sqlite3.connect(sys.argv[1] + "/journal.db"), sys.argv[2].split(":")
print(db.execute("SELECT seed FROM node_row WHERE search = ? AND idx = ?", (search, idx)).fetchone()[0])
PYTHON
)" --json >"$work/plugin.json" 2>"$work/log" || { cat "$work/log"; fail evaluate; }
"$aira" report "$work/run" --json >"$work/report.json" 2>/dev/null || "$aira" report "$work/run" >/dev/null || fail report
cd "$work"
line=$(python3 -c 'import json, sys; print(json.load(open(sys.argv[1]))["verdict"]["reproduce"]["evaluate"])' "$work/run/report.json") || fail "report.json has no line to reproduce the winner"
PATH="$work/sdk/bin:$PATH" sh -c "$line --json --quiet" >"$work/source.txt" 2>"$work/log" || { cat "$work/log"; fail "$line"; }
python3 - "$work" "$node" <<'PYTHON' || fail scores
import json, sqlite3, sys
work, (search, idx) = sys.argv[1], sys.argv[2].split(":")
db = sqlite3.connect(work + "/run/journal.db")
was = db.execute("SELECT e.search_score, e.selection_score FROM evaluation e JOIN node_row n ON n.hash = e.hash AND n.seed = e.seed "
                 "WHERE n.search = ? AND n.idx = ? AND e.purpose = 'search'", (search, idx)).fetchone()
plugin = json.load(open(work + "/plugin.json"))["score"]
source = json.loads(open(work + "/source.txt").read().strip().split("\n")[-1])["score"]
assert plugin == was[0], (plugin, was)
assert source in was, (source, was)
page = open(work + "/run/report.html").read()
for words in ("changes against its parent", "#include \\\"aira/primitive.h\\\"", "trained layer 0"): assert words in page, words
print("pass: %s scores %.6g as source and as plugin" % (sys.argv[2], plugin))
PYTHON
cd "$work"
# refuse STATUS WORDS COMMAND...
refuse() {
    want=$1 words=$2
    shift 2
    status=0
    "$aira" "$@" >out 2>err || status=$?
    [ "$status" = "$want" ] || { cat err; fail "aira $*: exit status $status, expected $want"; }
    grep -q -e "$words" err || { cat err; fail "aira $*: expected '$words'"; }
}
refuse 2 'File exists' export run submitted --out pack
refuse 2 'has no node 1:99' export run 1:99 --out other
refuse 2 'a node is SEARCH:IDX' export run seven --out other
refuse 2 'no such run directory' export nowhere 1:0 --out other
refuse 2 'plugin or source' export run 1:0 --out other --as model
