#!/bin/sh
# compare, fork and rescore on a real run: a fork without changes goes the way the run went, costs and counts are those of
# the journal, every JSON has the contract's keys, mistakes give exit status 2 and leave nothing behind.
set -eu
aira=$1/bin/aira
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }
# refused TEXT COMMAND...: exit status 2 and TEXT in the output
refused() {
    text=$1 status=0
    shift
    output=$("$@" 2>&1) || status=$?
    [ "$status" = 2 ] || fail "$*: exit status $status, not 2: $output"
    case $output in *"$text"*) ;; *) fail "$*: no '$text' in: $output" ;; esac
}
cat >"$work/study.yaml" <<END
study: trio
task: {file: $2/configs/tasks/quickstart.yaml}
searches:
  - {agent: {use: mutate}, scaffold: {use: greedy, drafts: 2}, seeds: [1, 2], budget: {candidates: 6}}
  - {agent: {use: mutate}, scaffold: {use: one_shot}, seeds: [3, 4, 5], label: "<script>one & shot</script>"}
budget: {candidates: 15}
baselines: {base: "2mA 2M"}
final: {seeds: 1, of: submissions}
device: {use: cpu, threads: 1}
executor: {use: local, workers: 2}
END
"$aira" run "$work/study.yaml" task.proxies.0.recipe.steps=4 task.proxies.0.recipe.eval_rows=128 --run-dir "$work/run" \
    --quiet >/dev/null

"$aira" compare "$work/run" --reference Published=0.5 --out "$work/c.html" --csv "$work/c.csv" --json >"$work/c.json"
"$aira" compare "$work/run" | grep -q "mutate/greedy" || fail "the table names no player"
"$aira" fork "$work/run" --node 1:2 --run-dir "$work/fork" --json >"$work/fork.json"
"$aira" resume "$work/fork" --quiet >/dev/null
"$aira" replay "$work/fork" >/dev/null || fail "the fork's tree cannot be replayed"
"$aira" fork "$work/run" --node 1:2 --run-dir "$work/other" 'searches.0.scaffold={use: greedy, drafts: 6}' --quiet >/dev/null
"$aira" resume "$work/other" --quiet >/dev/null
"$aira" replay "$work/other" >/dev/null || fail "a fork under another scaffold cannot be replayed"
"$aira" fork "$work/run" --node 2:0 --run-dir "$work/all" --all --quiet >/dev/null
"$aira" resume "$work/all" --quiet >/dev/null
cat >"$work/task.yaml" <<END
extends: $2/configs/tasks/quickstart.yaml
task: narrower
candidate: {backbone: {width: 16}}
END
"$aira" rescore "$work/run" --task "$work/task.yaml" --top 4 --run-dir "$work/rescored" --json --quiet \
    task.proxies.0.recipe.steps=4 task.proxies.0.recipe.eval_rows=128 >"$work/r.json"
"$aira" rescore "$work/run" --task "$work/task.yaml" --run-dir "$work/rescored" --json --quiet >"$work/again.json"
cmp "$work/r.json" "$work/again.json" || fail "asking a finished rescoring again gives another answer"
"$aira" compare "$work/run" "$work/rescored" --json >"$work/two.json"

python3 - "$work" <<'PYTHON' || fail "not what the contract says"
import csv, json, sqlite3, sys
work = sys.argv[1]
load = lambda name: json.load(open(f"{work}/{name}"))
db = lambda name: sqlite3.connect(f"{work}/{name}/journal.db")
nodes = lambda name, search: db(name).execute(
    "SELECT idx, operator, parent, architecture, status, search_score, selection_score FROM node WHERE search = ?", (search,)).fetchall()

c = load("c.json")
assert set(c) == {"players", "tasks", "scores", "anytime", "runs", "bootstrap", "notes", "report"}, set(c)
assert set(c["players"][0]) == {"player", "reference", "agent", "scaffold", "runs", "valid", "valid_rate", "elo", "normalised",
                                "normalised_linear", "costs"}
assert all(set(p[k]) == {"value", "low", "median", "high"} for p in c["players"] for k in ("elo", "normalised", "normalised_linear"))
players = {p["player"]: p for p in c["players"]}
assert set(players) == {"mutate/greedy", "<script>one & shot</script>", "Published", "base"}, set(players)
assert players["base"]["reference"] and players["base"]["runs"] == 1
assert [players[k]["runs"] for k in ("mutate/greedy", "<script>one & shot</script>", "Published")] == [2, 3, 1]
assert players["Published"]["reference"] and players["Published"]["costs"] is None
assert abs(sum(p["elo"]["value"] for p in c["players"]) - 4000) < 1e-6
assert c["players"][0]["player"] == "Published", "four steps do not reach 0.5"
task = c["tasks"][0]
assert task["scores"] == "test", "every submission was scored on the test split"
assert task["scale"] == {"worst": 1 / 128, "best": 0.999, "optimum": 1} and task["metric"] == "accuracy", task
run = db("run")
cost = players["mutate/greedy"]["costs"]
assert cost["nodes"] == run.execute("SELECT count(*) FROM node WHERE search <= 2").fetchone()[0] == 12
assert cost["calls"] == run.execute("SELECT count(*) FROM call WHERE search <= 2").fetchone()[0]
wanted = run.execute("SELECT count(*) FROM evaluation WHERE purpose = 'search' AND (hash, seed) IN "
                     "(SELECT hash, seed FROM node_row WHERE search <= 2)").fetchone()[0]
wanted += run.execute("SELECT count(*) FROM evaluation WHERE purpose <> 'search' AND search IN (1, 2)").fetchone()[0]
assert cost["evaluations"] == wanted, (cost, wanted)
for r in c["runs"]:
    if r["run_dir"]:
        value = run.execute("SELECT value FROM result WHERE kind = 'submitted' AND name = ?", ("%06d" % r["search"],)).fetchone()[0]
        assert r["selection_score"] == json.loads(value)["score"] and r["architecture"] == json.loads(value)["architecture"], (r, value)
        tested = run.execute("SELECT avg(e.test_score) FROM evaluation e JOIN candidate c ON c.hash = e.hash WHERE e.purpose = "
                             "'final' AND c.architecture = ?", (r["architecture"],)).fetchone()[0]
        assert r["score"] == r["test_score"] and abs(r["score"] - tested) < 1e-12, (r, tested)
base = [r for r in c["runs"] if r["player"] == "base"][0]
assert base["score"] == base["test_score"] and base["search"] == 0
rows = list(csv.DictReader(open(f"{work}/c.csv")))
assert len(rows) == 7 and {r["player"] for r in rows} == set(players)
page = open(f"{work}/c.html").read()
assert page.count("<script") == 0 and "&lt;script&gt;one &amp; shot" in page and page.count("http") == 1, page.count("http")
assert len(load("two.json")["tasks"]) == 2

assert set(load("fork.json")) == {"run_dir", "from", "search", "node", "nodes"}
assert nodes("fork", 1) == nodes("run", 1), "a fork without changes goes another way"
fork = db("fork")
assert fork.execute("SELECT origin FROM search").fetchone()[0].endswith("/run 1:2")
assert fork.execute("SELECT count(*) FROM search").fetchone()[0] == 1
assert nodes("other", 1)[:3] == nodes("run", 1)[:3]
assert [n[1] for n in nodes("other", 1)][3:] == ["draft"] * 3, nodes("other", 1)
assert [nodes("all", s) for s in (1, 2, 3, 4, 5)] == [nodes("run", s) for s in (1, 2, 3, 4, 5)]

r = load("r.json")
assert set(r) == {"run_dir", "from", "task", "task_hash", "old_metric", "new_metric", "candidates", "valid", "rank_correlation",
                  "best", "scores", "csv"}, set(r)
assert r["candidates"] == r["valid"] == 4 and r["task"] == "narrower"
assert [s["old_score"] for s in r["scores"]] == sorted((s["old_score"] for s in r["scores"]), reverse=True)
new = db("rescored")
assert new.execute("SELECT DISTINCT json_extract(agent, '$.use') FROM search").fetchall() == [("list",)]
for s in r["scores"]:
    assert new.execute("SELECT selection_score FROM node WHERE hash = ?", (s["hash"],)).fetchone()[0] == s["new_score"]
rank = lambda xs: [sum((y < x) + 0.5 * (y == x) for y in xs) for x in xs]
a, b = rank([s["old_score"] for s in r["scores"]]), rank([s["new_score"] for s in r["scores"]])
ma, mb = sum(a) / 4, sum(b) / 4
top = sum((x - ma) * (y - mb) for x, y in zip(a, b))
bottom = (sum((x - ma) ** 2 for x in a) * sum((y - mb) ** 2 for y in b)) ** 0.5
assert (r["rank_correlation"] is None) if bottom == 0 else abs(r["rank_correlation"] - top / bottom) < 1e-12
PYTHON

refused "there is no such run directory" "$aira" compare "$work/nothing"
refused "is named twice" "$aira" compare "$work/run" "$work/run"
refused "--reference is NAME=SCORE" "$aira" compare "$work/run" --reference Llama
refused "too few arguments" "$aira" compare
refused "--node SEARCH:IDX is missing" "$aira" fork "$work/run" --run-dir "$work/x"
refused "--node is SEARCH:IDX" "$aira" fork "$work/run" --node 7 --run-dir "$work/x"
refused "has no search 9" "$aira" fork "$work/run" --node 9:0 --run-dir "$work/x"
refused "the nodes 0 to 5 have ended" "$aira" fork "$work/run" --node 1:6 --run-dir "$work/x"
refused "exists already" "$aira" fork "$work/run" --node 1:1 --run-dir "$work/fork"
refused "a fork keeps its searches and their seeds" "$aira" fork "$work/run" --node 1:1 --run-dir "$work/x" 'searches.0.seeds=[9]'
refused "did you mean 'mutate'" "$aira" fork "$work/run" --node 1:1 --run-dir "$work/x" 'searches.0.agent={use: mutat}'
refused "it has 4 layers, the task wants 6" "$aira" rescore "$work/run" --task "$work/task.yaml" --run-dir "$work/x" \
    task.candidate.layers=6
refused "holds no rescoring of" "$aira" rescore "$work/fork" --task "$work/task.yaml" --run-dir "$work/rescored"
refused "there is no file" "$aira" rescore "$work/run" --task "$work/absent.yaml" --run-dir "$work/x"
[ ! -e "$work/x" ] || fail "a refused command left a folder"
