#!/usr/bin/env python3
"""A worker for tests of the evaluation queue: scores without training (docs/contract.md 4).

The score of an architecture is the share of its tokens that are "M"; where FOLDER/../../behaviour says so it misbehaves:
  crash   dies when it meets a first layer Mb, before anything is written for it
  nan     every evaluation fails as a training that became NaN, with the curve so far
  garble  writes half a result file
  slow    takes 0.2 s longer the fewer M there are, so that results arrive out of order
"""
import json, os, signal, sys, time

folder = sys.argv[2]
try:
    behaviour = open(os.path.join(folder, "..", "..", "behaviour")).read().strip()
except FileNotFoundError:
    behaviour = ""
lease = json.load(open(os.path.join(folder, "lease.json")))
for e in lease["evaluations"]:
    layers = e["layers"]
    score = layers.count("M") / len(layers)
    curve = [{"dataset": "fake", "score": score, "metrics": {}, "steps": 2, "seconds": 0, "curve": [[0, 3.0, None], [1, 2.5, score]]}]
    result = {"version": 1, "id": e["id"], "status": "ok", "scores": {"search": score + e["seed"] % 997 / 100000, "selection": score, "test": score - 0.1},
              "metrics": {}, "proxies": curve, "parameters": 10, "flops": 100.0, "seconds": 0.5, "steps": 2, "hashes": {}}
    path = os.path.join(folder, e["id"])
    if behaviour == "slow":
        time.sleep(0.2 * (1 - score))
    if behaviour == "crash" and layers[0] == "Mb":
        json.dump({"version": 1, "id": e["id"], "proxies": curve}, open(path + ".part.json", "w"))
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour == "nan":
        result.update(status="failed", cause="nan", error="the loss is not finite at step 1", scores={"search": None, "selection": None})
    text = json.dumps(result)
    with open(path + ".tmp", "w") as f:
        f.write(text[: len(text) // 2] if behaviour == "garble" else text)
    os.rename(path + ".tmp", path + ".json")
