#!/bin/sh
# What a run shows while it runs: on a terminal a frame that fits it and goes away, elsewhere a line per node.
set -eu
PATH=$1/bin:$PATH
source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$source"
fail() { echo "FAILED: $*"; exit 1; }
study=tests/cli/studies/tiny.yaml

python3 -c 'import pty; pty.openpty()' 2>/dev/null || { echo "skipped: no pseudo-terminal on this machine"; exit 77; }
# Not a terminal, and a dumb one: the same lines, snapshot but for times and scores.
TERM=xterm aira run $study budget.candidates=5 --run-dir "$work/plain" >/dev/null 2>"$work/plain.txt"
TERM=dumb python3 tests/support/terminal.py 100 30 aira run $study budget.candidates=5 --run-dir "$work/dumb" >"$work/dumb.json"
for size in "100 30" "12 4"; do
    TERM=xterm LANG=C.UTF-8 NO_COLOR= python3 tests/support/terminal.py $size aira run $study budget.candidates=5 --run-dir "$work/tty" \
        >"$work/tty.json"
    rm -rf "$work/tty"
    python3 - "$work/tty.json" $size <<'PYTHON' || fail "a terminal of $size"
import json, sys
seen, columns, rows = json.load(open(sys.argv[1])), int(sys.argv[2]), int(sys.argv[3])
assert seen["status"] == 0
for frame in seen["frames"]:
    assert len(frame) <= min(rows, 21) and all(len(line) < columns for line in frame), frame
assert seen["frames"] and "tiny"[:columns - 1] in seen["frames"][0][0]
left = [line for line in seen["left"] if line and not line.startswith("aira: ")]
assert not left, left
PYTHON
done
python3 - "$work" <<'PYTHON' || fail "lines"
import json, re, sqlite3, sys
work = sys.argv[1]
nodes = {(s, i): (o, a) for s, i, o, a in
         sqlite3.connect(work + "/plain/journal.db").execute("SELECT search, idx, operator, architecture FROM node")}
line = re.compile(r" *\d+\.\d s  search (\d+) node (\d+)  (\w+) +(.+?)  (?:[-\d.e+]+|failed \([\w: ]+\): .*)"
                  r"(?: \(seen before\))?(?: \(best of this search\))?")
dumb = json.load(open(work + "/dumb.json"))
assert dumb["status"] == 0 and not dumb["frames"]
for lines in (open(work + "/plain.txt").read().splitlines(), dumb["left"]):
    found = {}
    for text in lines:
        if not text or text.startswith("aira: "):
            continue
        m = line.fullmatch(text)
        assert m, text
        found[int(m[1]), int(m[2])] = (m[3], m[4])
    assert {k: (o, a or "-") for k, (o, a) in nodes.items()} == found, (nodes, found)
PYTHON
