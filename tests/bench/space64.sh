#!/bin/sh
# Trains all 64 architectures of configs/tasks/space64.yaml under five seeds and writes their scores as a table for
# `executor: {use: table}`: sh tests/bench/space64.sh BUILD OUT.csv (minutes on two cores)
set -eu
build=$1 out=$2
source=$(cd "$(dirname "$0")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$build/bin/aira" run "$source/configs/studies/space64.yaml" --run-dir "$work/run" >"$work/log" 2>&1 || {
    cat "$work/log"
    exit 1
}
python3 - "$work/run/journal.db" "$out" <<'PYTHON'
import datetime, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
study = dict(db.execute("SELECT key, value FROM study"))
rows = db.execute("SELECT c.architecture, e.seed, e.search_score, e.selection_score, e.seconds FROM evaluation e "
                  "JOIN candidate c ON c.hash = e.hash WHERE e.purpose = 'search' AND e.status = 'ok' "
                  "ORDER BY c.architecture, e.seed").fetchall()
assert len(rows) == 320, f"{len(rows)} evaluations instead of 320"
with open(sys.argv[2], "w") as f:
    f.write("# All 64 six-layer nets of mA and M on configs/tasks/space64.yaml (accuracy, higher is better), five seeds.\n")
    f.write("# sh tests/bench/space64.sh build configs/tables/space64.csv\n")
    f.write(f"# program {study['program']}\n# task {study['task_hash']}\n# {datetime.date.today()}\n")
    f.write("architecture,seed,search,selection,seconds\n")
    for architecture, seed, search, selection, seconds in rows:
        f.write(f"{architecture},{seed},{search:.6g},{selection:.6g},{seconds:.3g}\n")
PYTHON
