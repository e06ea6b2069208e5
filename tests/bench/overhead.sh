#!/bin/sh
# overhead.sh BUILD [NODES]: what the search itself costs, measured with evaluations that are looked up in a table and an
# agent that answers at once. One search of NODES (10,000) nodes, up to 8 in flight, drafts and improvements, questions with
# memory. Prints nodes per second, the coordinator's largest memory, and the time of status, of resume of the complete run,
# of a run that was killed half-way, of the report, and the journal's size. KEEP=1 keeps the folder.
set -eu
build=$1 nodes=${2:-10000}
aira=$build/bin/aira
work=$(mktemp -d)
[ "${KEEP:-}" ] || trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

python3 - "$work" "$nodes" <<'PYTHON'
import hashlib, itertools, sys
work, nodes = sys.argv[1], int(sys.argv[2])
layers = 7 if nodes <= 1500 else 9
with open(work + "/table.csv", "w") as table:
    table.write("architecture,seed,search,selection,test,seconds\n")
    for tokens in itertools.product(("mA", "M", "Mb"), repeat=layers):
        runs = " ".join((str(n) if n > 1 else "") + t for t, n in ((k, len(list(g))) for k, g in itertools.groupby(tokens)))
        h = int(hashlib.sha256(runs.encode()).hexdigest()[:12], 16)
        if h % 50 == 0: continue  # a missing row is an evaluation that fails
        table.write("%s,,%.6f,%.6f,%.6f,0.001\n" % (runs, h % 999983 / 1e6, h % 999979 / 1e6, h % 999961 / 1e6))
with open(work + "/study.yaml", "w") as study:
    study.write(f"""study: overhead
task:
  task: overhead
  candidate: {{kind: compose, layers: {layers}, backbone: {{use: mad_lm, width: 8}}}}
  tokens: {{mA: {{use: attention, heads: 2}}, M: {{use: mlp}}, Mb: {{use: mamba}}}}
  proxies: [{{dataset: {{use: mad, task: memorization}}, recipe: {{steps: 3, batch: 4, eval_rows: 128}}}}]
searches:
  - {{agent: {{use: mutate}}, scaffold: {{use: greedy, drafts: {nodes * 4 // 5}}}, parallel: 8}}
budget: {{candidates: {nodes}}}
executor: {{use: table, path: {work}/table.csv, batch: 8}}
""")
PYTHON

clock() { date +%s%N; }
since() { awk -v a="$1" -v b="$(clock)" 'BEGIN { printf "%.2f", (b - a) / 1e9 }'; }
tree() { python3 -c 'import sqlite3, sys
db = sqlite3.connect(sys.argv[1] + "/journal.db")
for row in db.execute("SELECT * FROM node"): print(row)
for row in db.execute("SELECT search, idx, request_hash, answer FROM call ORDER BY search, idx, attempt"): print(row)' "$1"; }

began=$(clock)
python3 - "$aira" "$work" >"$work/figures" <<'PYTHON' || fail "$(cat "$work/log")"
import os, resource, subprocess, sys, time
aira, work = sys.argv[1:]
began = time.monotonic()
with open(work + "/log", "w") as log:
    code = subprocess.run([aira, "run", work + "/study.yaml", "--run-dir", work + "/run"], stdout=log, stderr=log).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print("%.2f %d %.2f" % (time.monotonic() - began, used.ru_maxrss, used.ru_utime + used.ru_stime))
sys.exit(code)
PYTHON
read -r seconds memory cpu <"$work/figures"
found=$(python3 -c 'import sqlite3, sys
print(sqlite3.connect(sys.argv[1] + "/journal.db").execute("SELECT count(*) FROM node WHERE status != ?", ("pending",)).fetchone()[0])' "$work/run")
[ "$found" -eq "$nodes" ] || fail "$found nodes instead of $nodes"
awk -v n="$nodes" -v s="$seconds" -v m="$memory" -v c="$cpu" 'BEGIN {
    printf "run      %d nodes in %.1f s (start and report included): %.0f nodes/s, %.0f MiB\n", n, s, n / s, m / 1024
    printf "cpu      %.1f s, %.2f ms per node: %.0f nodes per second of processor time\n", c, 1000 * c / n, n / c }'
python3 -c 'import sqlite3, sys
a, b = sqlite3.connect(sys.argv[1] + "/journal.db").execute("SELECT min(created), max(finished) FROM node_row").fetchone()
print("search   %.1f s from the first decision to the last result: %.0f nodes/s" % (b - a, int(sys.argv[2]) / (b - a)))' "$work/run" "$nodes"
echo "journal  $(($(stat -c %s "$work/run/journal.db") / 1024)) KiB, texts $(python3 -c 'import sqlite3, sys
print("%d KiB in %d rows" % sqlite3.connect(sys.argv[1] + "/journal.db").execute("SELECT sum(length(body)) / 1024, count(*) FROM text").fetchone())' "$work/run")"

began=$(clock); "$aira" status "$work/run" >/dev/null; echo "status   $(since "$began") s"
began=$(clock); "$aira" resume "$work/run" >/dev/null 2>&1; echo "resume   $(since "$began") s, of the complete run"
began=$(clock); "$aira" report "$work/run" >/dev/null; echo "report   $(since "$began") s"
began=$(clock); "$aira" replay "$work/run" >"$work/replay" || fail "$(cat "$work/replay")"; echo "replay   $(since "$began") s: $(cat "$work/replay")"

# Killed half-way: how long resume takes until the first new node is there.
python3 - "$aira" "$work/half" "$nodes" <<'PYTHON'
import os, sqlite3, subprocess, sys, time
aira, run, half = sys.argv[1], sys.argv[2], int(sys.argv[3]) // 2
quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
def count():
    try: return db.execute("SELECT count(*) FROM node_row WHERE status != 'pending'").fetchone()[0]
    except sqlite3.OperationalError: return 0 # not there yet
child = subprocess.Popen([aira, "run", os.path.dirname(run) + "/study.yaml", "--run-dir", run], **quiet)
while not os.path.exists(run + "/journal.db") and child.poll() is None: time.sleep(0.005)
db = sqlite3.connect(run + "/journal.db")
while count() < half and child.poll() is None: time.sleep(0.005)
child.kill()
child.wait()
before, began = count(), time.monotonic()
child = subprocess.Popen([aira, "resume", run], **quiet)
while count() == before and child.poll() is None: time.sleep(0.005)
print("resume   %.2f s, of %d nodes, until the next one" % (time.monotonic() - began, before))
child.wait()
PYTHON
tree "$work/run" >"$work/run.tree"
tree "$work/half" >"$work/half.tree"
cmp "$work/run.tree" "$work/half.tree" || fail "the killed run differs"
echo "the run that was killed has the same $nodes nodes"
