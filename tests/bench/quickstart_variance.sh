#!/bin/sh
# quickstart_variance.sh BUILD [RUN_DIR]: is there something to find in the quickstart task?
# Trains 12 random architectures with 3 seeds each and prints the variance between architectures, the variance between
# seeds and their ratio (wanted: at least 5). With a finished run's directory, its submitted architecture is trained
# again with 3 seeds that the search has not used and compared with the median of the random ones.
set -eu
build=${1:?usage: quickstart_variance.sh BUILD [RUN_DIR]}
source=$(cd "$(dirname "$0")/../.." && pwd)
exec python3 - "$build/bin/aira" "$source/configs/tasks/quickstart.yaml" "${2:-}" <<'PYTHON'
import json, random, statistics, subprocess, sys
from concurrent.futures import ThreadPoolExecutor

aira, task, run_dir = sys.argv[1:4]

def score(job):
    architecture, seed = job
    out = subprocess.run([aira, "evaluate", "--arch", architecture, "--task", task, "--seed", str(seed), "--split",
                          "selection", "--quiet", "--json"], capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"{architecture}: {out.stderr}")
    return json.loads(out.stdout)["score"]

draw = random.Random(20)
architectures = []
while len(architectures) < 12:
    one = " ".join(draw.choice(["mA", "M", "Mb"]) for _ in range(4))
    if one not in architectures:
        architectures.append(one)
seeds = [1001, 1002, 1003]
with ThreadPoolExecutor(2) as pool:
    scores = list(pool.map(score, [(a, s) for a in architectures for s in seeds]))
rows = {a: scores[3 * i:3 * i + 3] for i, a in enumerate(architectures)}
for a, values in sorted(rows.items(), key=lambda r: statistics.mean(r[1])):
    print(f"{a:14} " + " ".join(f"{v:.4f}" for v in values))
within = statistics.mean(statistics.variance(v) for v in rows.values())
means = [statistics.mean(v) for v in rows.values()]
between = statistics.variance(means) - within / len(seeds)
print(f"variance between architectures {between:.6f}, between seeds {within:.6f}, ratio {between / within:.1f} (wanted >= 5)")
fine = between >= 5 * within
if run_dir:
    result = json.loads(subprocess.run([aira, "status", run_dir, "--json"], capture_output=True, text=True, check=True).stdout)
    winner = result["submitted"]["architecture"]
    with ThreadPoolExecutor(2) as pool:
        fresh = list(pool.map(score, [(winner, s) for s in (2001, 2002, 2003)]))
    median = statistics.median(means)
    print(f"winner {winner}: {statistics.mean(fresh):.4f} on 3 fresh seeds; median random architecture {median:.4f}")
    fine = fine and statistics.mean(fresh) > median
sys.exit(not fine)
PYTHON
