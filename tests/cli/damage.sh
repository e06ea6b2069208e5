#!/bin/sh
# Journals that something happened to: every command says what is wrong in a sentence and what can be done, and
# `aira resume --salvage` saves what can be read and ends the study. A journal of version 1 is migrated.
set -eu
build=$1 source=$2
aira=$build/bin/aira
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }
db() { python3 - "$@"; }

"$aira" run "$source/tests/cli/studies/tiny.yaml" --run-dir "$work/good" >/dev/null 2>"$work/log" || fail "$(cat "$work/log")"
fresh() { rm -rf "$work/run"; cp -r "$work/good" "$work/run"; }

# $1 words that every command must say; exit status 1, no signal, one sentence.
says() {
    for command in status resume report replay; do
        code=0
        "$aira" $command "$work/run" >"$work/out" 2>"$work/err" || code=$?
        [ $code -eq 1 ] || [ $code -eq 2 ] || fail "$command: exit status $code: $(cat "$work/out" "$work/err")"
        grep -q "$1" "$work/err" || fail "$command does not say '$1': $(cat "$work/err")"
    done
}

# pages of the middle overwritten: the header and the beginning can be read
fresh
db "$work/run/journal.db" <<'PYTHON'
import sys
with open(sys.argv[1], "r+b") as f:
    size = f.seek(0, 2)
    f.seek(size // 2 // 4096 * 4096)
    f.write(b"\xa5" * 4096 * 3)
PYTHON
says "damaged"
"$aira" status "$work/run" 2>&1 | grep -q "can be read: .aira resume --salvage" || fail "status does not say what can be saved"
"$aira" resume --salvage "$work/run" >"$work/out" 2>"$work/err" || fail "salvage: $(cat "$work/err")"
grep -q "saved" "$work/err" || fail "salvage does not tell: $(cat "$work/err")"
"$aira" status "$work/run" --json >"$work/status.json" || fail "the saved journal is not good"
db "$work" <<'PYTHON'
import json, sqlite3, sys
status = json.load(open(sys.argv[1] + "/status.json"))
assert status["state"] == "done" and status["nodes"] == 14, status
saved = sqlite3.connect(sys.argv[1] + "/run/journal.db")
assert saved.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
assert saved.execute("SELECT count(*) FROM event WHERE kind = 'salvage'").fetchone()[0] == 1
PYTHON
[ -f "$work/run/journal.damaged.db" ] || fail "the damaged journal is gone"

# cut off
fresh
truncate -s 60000 "$work/run/journal.db"
says "damaged"
# nothing but zeros, nothing at all, something else
fresh
size=$(stat -c %s "$work/run/journal.db"); truncate -s 0 "$work/run/journal.db"; truncate -s "$size" "$work/run/journal.db"
says "damaged"
fresh
: >"$work/run/journal.db"
says "ended before it began"
fresh
echo "this is no database, and it is long enough to be taken for one by its size alone, or so one hopes" >"$work/run/journal.db"
says "damaged"
"$aira" status "$work/run" 2>&1 | grep -q "nothing of it can be read" || fail "status promises to save what cannot be read"
rm "$work/run/journal.db"
says "no journal"

# a flipped byte in a stored text: SQLite cannot see it, the text's hash can
fresh
db "$work/run/journal.db" <<'PYTHON'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.execute("UPDATE text SET body = 'X' || substr(body, 2) WHERE id = (SELECT max(id) FROM text)")
db.commit()
PYTHON
"$aira" resume --salvage "$work/run" >"$work/out" 2>"$work/err" || fail "salvage of a flipped byte: $(cat "$work/err")"
grep -q "saved" "$work/err" || fail "the flipped byte was not found: $(cat "$work/err")"

# killed, and the log beside the journal lost: the journal is as it was at an earlier moment, and goes on from there
rm -rf "$work/run"
"$aira" run "$source/tests/cli/studies/tiny.yaml" --run-dir "$work/run" >/dev/null 2>&1 &
pid=$!
while [ ! -f "$work/run/journal.db-wal" ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
sleep 0.3
kill -9 $pid 2>/dev/null || true
wait $pid 2>/dev/null || true
rm -f "$work/run/journal.db-wal" "$work/run/journal.db-shm"
"$aira" resume "$work/run" >"$work/out" 2>"$work/err" || grep -q "ended before it began" "$work/err" || fail "$(cat "$work/err")"

# a whole journal is left alone
fresh
"$aira" resume --salvage "$work/run" >"$work/out" 2>"$work/err" || fail "salvage of a whole journal: $(cat "$work/err")"
grep -q "nothing to rescue" "$work/err" || fail "$(cat "$work/err")"
[ ! -f "$work/run/journal.damaged.db" ] || fail "a whole journal was replaced"

# plugins that do not know the run's keys any more: nothing is trained, and nothing written down as failed
fresh
db "$work/run/journal.db" <<'PYTHON'
import json, sqlite3, sys
db = sqlite3.connect(sys.argv[1])
study = json.loads(db.execute("SELECT value FROM study WHERE key = 'config'").fetchone()[0])
study["task"]["proxies"][0]["recipe"]["optimizer"]["gone"] = 1
db.execute("UPDATE study SET value = ? WHERE key = 'config'", [json.dumps(study)])
db.execute("UPDATE study SET value = 'running' WHERE key = 'state'")
db.execute("DELETE FROM evaluation WHERE id > 3")
db.commit()
PYTHON
code=0
"$aira" resume "$work/run" >"$work/out" 2>"$work/err" || code=$?
[ $code -eq 2 ] || fail "resume with another build's keys: exit status $code: $(cat "$work/err")"
grep -q "cannot go on with the run.*unknown key 'gone'" "$work/err" || fail "the key is not named: $(cat "$work/err")"
db "$work/run/journal.db" <<'PYTHON'
import sqlite3, sys
assert sqlite3.connect(sys.argv[1]).execute("SELECT count(*) FROM evaluation").fetchone()[0] == 3
PYTHON

# version 1, complete and killed half-way
for state in done killed; do
    rm -rf "$work/run"
    mkdir "$work/run"
    db "$work/run/journal.db" "$source/tests/data/journal_v1_$state.sql" <<'PYTHON'
import sqlite3, sys
db = sqlite3.connect(sys.argv[1])
db.executescript(open(sys.argv[2]).read())
PYTHON
    "$aira" status "$work/run" 2>&1 | grep -q "version 1 is older" || fail "status of version 1 ($state)"
    "$aira" resume "$work/run" >"$work/out" 2>"$work/err" || fail "resume of version 1 ($state): $(cat "$work/err")"
    "$aira" status "$work/run" --json >"$work/status.json" || fail "status of a migrated journal ($state)"
    "$aira" report "$work/run" >/dev/null 2>"$work/err" || fail "report of a migrated journal ($state): $(cat "$work/err")"
    "$aira" replay "$work/run" >"$work/out" || fail "replay of a migrated journal ($state): $(cat "$work/out")"
    db "$work" <<'PYTHON'
import json, sqlite3, sys
status = json.load(open(sys.argv[1] + "/status.json"))
assert status["state"] == "done" and status["nodes"] == 14, status
db = sqlite3.connect(sys.argv[1] + "/run/journal.db")
assert db.execute("PRAGMA user_version").fetchone()[0] == 2
PYTHON
done
echo "damage is told, what can be read is saved, version 1 is migrated"
