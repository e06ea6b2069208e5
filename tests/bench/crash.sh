#!/bin/sh
# crash.sh BUILD SOURCE [KILLS]: KILLS (100) kills (-9) of coordinators and workers at random instants, each followed by
# `aira resume`; every run must end with the tree, calls, evaluations and results of an undisturbed one. Prints how many
# kills hit whom. tests/cli/crash.sh runs it with a few.
set -eu
build=$1 source=$2 wanted=${3:-100}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PATH=$build/tests:$PATH
export PATH
python3 - "$build/bin/aira" "$source/tests/cli/studies" "$work" "$wanted" <<'PYTHON'
import json, os, random, shutil, signal, sqlite3, subprocess, sys, time

aira, studies, work, wanted = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
quiet = dict(stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
draw = random.Random(time.time_ns())

def rows(run):
    db = sqlite3.connect(run + "/journal.db")
    out = []
    for sql in ("SELECT * FROM node",
                "SELECT search, idx, duplicate_of, note, cause, view, seeds, spread, standing, plan, analysis FROM node_row ORDER BY search, idx",
                "SELECT search, idx, operator, attempt, request_hash, answer, state FROM call ORDER BY search, idx, operator, attempt",
                "SELECT hash, seed, purpose, status, search_score, selection_score, test_score, curve FROM evaluation ORDER BY hash, seed, purpose"):
        out += db.execute(sql).fetchall()
    for kind, name, value in db.execute("SELECT kind, name, value FROM result WHERE kind IN ('submitted', 'aggregate') ORDER BY kind, name"):
        out.append((kind, name, value))
    assert db.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    return out

def workers(pid):
    try:
        return [int(p) for p in open("/proc/%d/task/%d/children" % (pid, pid)).read().split()]
    except OSError:
        return []

def kill(pid):
    try:
        os.kill(pid, signal.SIGKILL)
        return True
    except ProcessLookupError:
        return False

hits = {"coordinator": 0, "worker": 0}
runs = 0
for study in ["tiny.yaml", "timing.yaml"]:
    calm = work + "/calm-" + study
    began = time.monotonic()
    subprocess.run([aira, "run", studies + "/" + study, "--run-dir", calm], check=True, **quiet)
    took, expected = time.monotonic() - began, rows(calm)
    goal = hits["coordinator"] + hits["worker"] + wanted // 2
    while hits["coordinator"] + hits["worker"] < goal:
        run, worker_hit = "%s/%d" % (work, runs), False
        runs += 1
        command = [aira, "run", studies + "/" + study, "--run-dir", run]
        for session in range(60):
            child = subprocess.Popen(command, **quiet)
            # after a dozen kills the run may come to its end
            end, killed = time.monotonic() + (took * draw.uniform(0.03, 0.4) if session < 12 else 1e9), False
            while not killed and child.poll() is None:
                if time.monotonic() < end:
                    time.sleep(0.002)
                    continue
                targets = workers(child.pid)
                if targets and not worker_hit: # once per run: an evaluation is repeated once
                    worker_hit = kill(draw.choice(targets))
                    hits["worker"] += worker_hit
                    end = time.monotonic() + took * draw.uniform(0, 0.3)
                else:
                    killed = kill(child.pid)
                    hits["coordinator"] += killed
            child.wait()
            if not killed: break
            known = subprocess.run([aira, "status", run], **quiet).returncode == 0
            if not known: shutil.rmtree(run, ignore_errors=True)
            command = [aira, "resume", run] if known else command
        last = subprocess.run([aira, "resume", run], capture_output=True, text=True)
        assert last.returncode == 0, last.stderr
        found = rows(run)
        if found != expected:
            print("run %d of %s differs after %s:" % (runs, study, hits))
            for a, b in zip(expected, found):
                if a != b: print("-", a, "\n+", b)
            print(len(expected), len(found))
            sys.exit(1)
        shutil.rmtree(run)
print("%d kills of the coordinator, %d of a worker, in %d runs: tree, scores and submissions as undisturbed, every time" % (hits["coordinator"], hits["worker"], runs))
PYTHON
