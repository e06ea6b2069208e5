#!/bin/sh
# Every shipped study that needs neither key nor data, cut short by overrides, runs to its end (of the small compose
# studies one: they differ in their tasks alone, which tests/cli/configs.sh reads); the command agent's answers are its own.
set -eu
aira=$1/bin/aira
cd "$2"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }
for study in configs/studies/*.yaml; do
    name=$(basename "$study" .yaml) more=
    case $name in
    compose-mad-2-small) more="task.proxies.1.recipe.steps=2 task.proxies.2.recipe.steps=2" ;;
    compose-* | mad-random) continue ;; # the last is for a GPU, and ends after eight minutes
    design-listops) more="budget.candidates=6 searches.0.seeds=1 searches.1.seeds=1 searches.0.budget.candidates=3
        searches.1.scaffold.drafts=3 final.seeds=2 task.proxies.0.dataset.search_rows=128" ;;
    esac
    # shellcheck disable=SC2086 # a list of words
    "$aira" run "$study" task.proxies.0.recipe.steps=2 task.proxies.0.recipe.eval_rows=128 $more --run-dir "$work/$name" --json \
        >"$work/$name.json" 2>"$work/$name.log" || { case $name in design-*) grep -q confine "$work/$name.log" && continue ;; esac; false; } ||
        fail "$study: $(tail -3 "$work/$name.log")"
    python3 - "$work/$name.json" <<'PYTHON' || fail "$study: not what the contract says"
import json, os, sys
r = json.load(open(sys.argv[1]))
keys = {"report", "run_dir", "state", "nodes", "failed", "evaluations", "best", "submitted", "final", "aggregated", "extrapolated", "budget"}
assert set(r) == keys, set(r) ^ keys
assert r["state"] == "done" and os.path.exists(r["report"])
assert set(r["best"]) == set(r["submitted"]) == {"architecture", "score", "node", "search", "standing", "seeds", "spread", "interval"}
assert set(r["final"]) == {"seeds", "of", "opened", "test", "gain"} and len(r["final"]["gain"]) >= 1
assert set(r["final"]["gain"][0]) == {"of", "over", "searched", "gain", "interval", "level", "covers_zero", "seeds"}
assert all(set(a) == {"by", "architecture", "support", "cluster_size"} for a in r["aggregated"]), r["aggregated"]
assert all(os.path.exists(e["model"]) for e in r["extrapolated"])
assert set(r["budget"]) == {"candidates", "evaluations", "seconds", "device_seconds", "flops", "tokens", "money_usd", "limits", "searches"}
PYTHON
    "$aira" replay "$work/$name" >/dev/null || fail "$study: replay differs"
done
python3 - "$work/command-agent" <<'PYTHON' || fail "the command agent's architectures are not in the journal"
import sqlite3, sys
db = sqlite3.connect(sys.argv[1] + "/journal.db")
assert [r[0] for r in db.execute("SELECT architecture FROM node WHERE operator = 'draft' ORDER BY idx")] == ["M 3mA", "M Mb 2M", "2Mb mA Mb"]
assert db.execute("SELECT count(*) FROM call WHERE state != 'answered'").fetchone()[0] == 0
PYTHON
