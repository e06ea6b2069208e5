#!/bin/sh
# Does search help? Runs configs/studies/design-listops.yaml into OUT, or goes on with what OUT holds, and prints per seed: the
# greedy search's submission on fresh seeds against its first draft and against the best of as many random templates, then
# every baseline. Killed at any moment, also by `timeout`, the same command goes on where it was, on another machine too
# once OUT has been copied there; overrides count when the study begins. Without an end it prints how far it has come.
# usage: design_listops.sh BUILD OUT [key=value...]
# on a GPU: design_listops.sh build OUT 'device={use: cuda}' executor.workers=1 executor.at_once=10
set -eu
build=$1 out=$2
shift 2
source=$(cd "$(dirname "$0")/../.." && pwd)
AIRA_BUILD_DIR=$build
export AIRA_BUILD_DIR
mkdir -p "$out"
if [ -d "$out/run" ] && [ ! -s "$out/run/task.yaml" ]; then # killed before the study was written down
    rm -rf "$out/run"
fi
if [ -d "$out/run" ]; then
    "$build/bin/aira" resume "$out/run" >"$out/said.txt" || echo "aira resume: exit status $?"
else
    "$build/bin/aira" run "$source/configs/studies/design-listops.yaml" --run-dir "$out/run" "$@" >"$out/said.txt" ||
        echo "aira run: exit status $?"
fi
"$build/bin/aira" status "$out/run" --json >"$out/status.json"
python3 - "$out" <<'PYTHON' | tee "$out/table.txt"
import json, math, sqlite3, sys
out = sys.argv[1]
status = json.load(open(out + "/status.json"))
study = json.load(open(out + "/run/study.json"))
journal = sqlite3.connect(out + "/run/journal.db")
labels = [(s["search"], s["label"], c["seed"]) for s, c in zip(status["budget"]["searches"], study["searches"])]
ids = {(label, seed): n for n, label, seed in labels}


def one(sql, *values):
    return journal.execute(sql, values).fetchone()[0]


def trainings_of(n):
    """of its different candidates, further seeds included, whichever search they were done for"""
    return one("select coalesce(sum(s), 0) from (select max(coalesce(seeds, 1)) s from node_row where search = ? and hash is not null group by hash)", n)


def mean(v):
    return sum(v) / len(v)


def text(v, sign=False):
    """mean +- its standard error, in %"""
    if not v:
        return "failed"
    error = math.sqrt(sum((x - mean(v)) ** 2 for x in v) / (len(v) - 1) / len(v)) if len(v) > 1 else float("nan")
    return ("%+.2f +- %.2f" if sign else "%.2f +- %.2f") % (100 * mean(v), 100 * error)


def minus(a, b):
    return [x - y for x, y in zip(a, b)]


for n, label, seed in labels:
    good = one("select count(*) from node_row where search = ? and status = 'good'", n)
    nodes = one("select count(*) from node_row where search = ? and finished is not null", n)
    if not status["final"]:
        print("search %d, %s, seed %d: %d nodes, %d of them good, best search score %s" % (
            n, label, seed, nodes, good, one("select max(search_score) from node_row where search = ?", n)))
trainings = one("select count(*) from evaluation")
failed = journal.execute("select cause, count(*) from evaluation where status != 'ok' group by cause").fetchall()
print("%s: %d nodes, %d trainings of %.1f s each, %.0f s in all; failed: %s" % (
    status["state"], status["nodes"], trainings, one("select coalesce(avg(seconds), 0) from evaluation"),
    status["budget"]["seconds"], ", ".join("%s %d" % f for f in failed) or "none"))
if not status["final"]:
    sys.exit()
tests = {t["name"]: t for t in status["final"]["test"]}
scores = {name: [s[2] for s in t["scores"]] if t["error"] is None else [] for name, t in tests.items()}
proxy = study["task"]["proxies"][0]
print("\ntest accuracy in %% on %d expressions, mean over %d fresh seeds +- standard error; differences are paired" % (
    proxy["dataset"]["test_rows"], len(status["final"]["seeds"])))
print("%-5s %-15s %-15s %-15s %-15s %-15s %s" % ("seed", "greedy", "first draft", "difference", "best of random", "difference", "trainings"))
over_first, over_random, greedy = [], [], []
for seed in sorted({seed for _, _, seed in labels}):
    g, r = ids.get(("greedy", seed)), ids.get(("random", seed))
    a = scores.get("search %s" % g, [])
    first, random = scores.get("first of search %s" % g, []), scores.get("search %s" % r, [])
    print("%-5d %-15s %-15s %-15s %-15s %-15s %d, %d" % (seed, text(a), text(first), text(minus(a, first), True), text(random),
                                                        text(minus(a, random), True), trainings_of(g), trainings_of(r)))
    greedy += [mean(a)] if a else []
    over_first += [mean(minus(a, first))] if a and first else []
    over_random += [mean(minus(a, random))] if a and random else []
print("%-5s %-15s %-15s %-15s %-15s %-15s (+- over searches)" % ("all", text(greedy), "", text(over_first, True), "", text(over_random, True)))
print("\n%-12s %-15s %s" % ("baseline", "test", "greedy, all searches, minus it"))
for name, t in tests.items():
    if t["role"] == "baseline":
        print("%-12s %-15s %s" % (name, text(scores[name]), text([g - mean(scores[name]) for g in greedy], True) if scores[name] else ""))
print("\nsubmissions of the greedy searches, with their parameters:")
for seed in sorted({seed for _, _, seed in labels}):
    t = tests.get("search %s" % ids.get(("greedy", seed)))
    if t:
        p = journal.execute("select max(e.parameters) from evaluation e join candidate c on c.hash = e.hash where c.architecture = ?", (t["architecture"],)).fetchone()[0]
        print("  seed %d: %s (node %s), %s parameters" % (seed, t["architecture"], t["node"], p))
PYTHON
