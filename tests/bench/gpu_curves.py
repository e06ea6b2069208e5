#!/usr/bin/env python3
"""Loss curves beside PyTorch: same initial parameters, same batches, 500 steps, in fp32 and bf16.

    python3 tests/bench/gpu_curves.py [--build build] [--nets attention,mlp,...] [--precisions fp32,bf16] [--spread]
        [--device cuda] [--torch-device cuda] [--steps 500] [--depth 4]

Each net is `depth` layers of one primitive, or a mix of them, at d = 128, batch 128, T = 127. Our parameters are saved
and read by PyTorch, the rows come from `aira data`, both sides take them in order. Printed per net and precision: the
largest relative difference of the loss at any step (fp32: must stay below 1 %), and of the mean over the last 50 steps
(bf16: below 0.5 %). --spread: beside it the same figures between PyTorch's eager and compiled runs.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
USES = {"mA": "attention", "M": "mlp", "Mb": "mamba", "Mb2": "mamba2", "Sg": "swiglu"}
NETS = {"attention": ["mA"], "mlp": ["M"], "swiglu": ["Sg"], "mamba": ["Mb"], "mamba2": ["Mb2"],
        "mix": ["mA", "M", "Mb2", "Sg", "Mb"]}


def layers_of(o, name):
    pattern = NETS[name]
    return (pattern * max(o.depth, len(pattern)))[:max(o.depth, len(pattern))]


def write_model(o, folder, name, precision):
    layers = layers_of(o, name)
    tokens = ", ".join(f"{t}: {{use: {USES[t]}}}" for t in sorted(set(layers)))
    splits = ", ".join(f"{s}: rows" for s in ("train", "search", "selection", "test"))
    path = os.path.join(folder, f"{name}-{precision}.yaml")
    with open(path, "w") as out:
        out.write(f"""model: {name}
architecture: "{' '.join(layers)}"
tokens: {{{tokens}}}
backbone: {{use: mad_lm, width: {o.width}}}
dataset: {{use: array, {splits}, vocab: 16, classes: 16, metric: loss}}
recipe: {{optimizer: {{use: adamw, lr: 5e-4}}, steps: {o.steps}, batch: {o.batch}, precision: {precision},
  eval_every: 10M}}
""")
    return path, layers


def aira(o, *arguments):
    subprocess.run([os.path.join(o.build, "bin", "aira"), *arguments], check=True, stdout=subprocess.DEVNULL)


def ours(o, folder, path, weights):
    log = os.path.join(folder, "log.jsonl")
    aira(o, "train", path, "--steps", "0", "--save", weights)
    aira(o, "train", path, "--weights", weights, "--device", o.device, "--log", log, "--quiet")
    with open(log) as lines:
        return [json.loads(line)["loss"] for line in lines]


class Batches:
    def __init__(self, o, folder, torch, numpy):
        rows = [torch.from_numpy(numpy.load(os.path.join(folder, "rows", f)).astype("int64"))
                for f in ("inputs.npy", "targets.npy")]
        self.rows, self.batch = [r.to(o.torch_device) for r in rows], o.batch
        self.per_epoch = len(rows[0]) // o.batch

    def of(self, step):
        first = step % self.per_epoch * self.batch
        return [r[first:first + self.batch] for r in self.rows]


def theirs(o, batches, layers, precision, weights, compiled):
    """The losses of PyTorch; on a GPU the step is captured once and replayed."""
    import torch
    import gpu_nets
    gpu_nets.SCAN = "doubling"
    torch.backends.cuda.matmul.allow_tf32 = False
    dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[precision]
    net = gpu_nets.Net(o.width, 16, [(t, USES[t], {}) for t in layers], dtype=dtype).to(o.torch_device)
    net.prepare(batches.rows[0].shape[1], o.torch_device)
    gpu_nets.load(net, weights)
    on_gpu = o.torch_device != "cpu"
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-4, weight_decay=0.0, fused=True, capturable=on_gpu)
    run, (tokens, targets) = torch.compile(net) if compiled else net, (x.clone() for x in batches.of(0))

    def step():
        loss = run(tokens, targets)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        return loss.detach()

    losses, graph = torch.zeros(o.steps, device=o.torch_device), None
    stream = torch.cuda.Stream() if on_gpu else None
    torch.cuda.synchronize() if on_gpu else None
    with torch.cuda.stream(stream):  # None: nothing changes
        for k in range(o.steps):
            for into, x in zip((tokens, targets), batches.of(k)):
                into.copy_(x)
            if on_gpu and k == 3:  # the first three warm up
                optimizer.zero_grad(set_to_none=True)
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, stream=stream):
                    captured = step()
            if graph is None:
                losses[k] = step()
            else:
                graph.replay()
                losses[k] = captured
    torch.cuda.synchronize() if on_gpu else None
    return losses.tolist()


def compare(a, b):
    """(largest relative difference at a step, the step, relative difference of the mean of the last 50)"""
    steps = [abs(x - y) / max(abs(y), 1e-12) for x, y in zip(a, b)]
    last = min(50, len(a))
    mean_a, mean_b = sum(a[-last:]) / last, sum(b[-last:]) / last
    return max(steps), steps.index(max(steps)), abs(mean_a - mean_b) / abs(mean_b)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--nets", default=",".join(NETS))
    parser.add_argument("--precisions", default="fp32,bf16")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--torch-device", default="cuda")
    parser.add_argument("--task", default="in-context-recall")
    parser.add_argument("--spread", action="store_true")
    for name, default in (("steps", 500), ("depth", 4), ("width", 128), ("batch", 128), ("length", 128),
                          ("rows", 12800)):
        parser.add_argument("--" + name, type=int, default=default)
    o = parser.parse_args()
    import numpy
    import torch
    rows, failed = [], 0
    with tempfile.TemporaryDirectory() as folder:
        aira(o, "data", "--dataset", f"{{use: mad, task: {o.task}, length: {o.length}, vocab: 16}}", "--split", "train",
             "--n", str(o.rows), "--out", os.path.join(folder, "rows"))
        batches = Batches(o, folder, torch, numpy)
        for name in o.nets.split(","):
            for precision in o.precisions.split(","):
                path, layers = write_model(o, folder, name, precision)
                weights = os.path.join(folder, "start.safetensors")
                own = ours(o, folder, path, weights)
                eager = theirs(o, batches, layers, precision, weights, False)
                worst, step, mean = compare(own, eager)
                good = worst < 0.01 if precision == "fp32" else mean < 0.005
                failed += not good
                text = (f"{name:10} {precision}  loss {own[0]:.4f} -> {own[-1]:.4f} (PyTorch {eager[-1]:.4f})  "
                        f"worst step {100 * worst:.4f} % (step {step})  last 50 {100 * mean:.4f} %  "
                        f"{'within' if good else 'NOT within'} the bar")
                if o.spread:
                    compiled = theirs(o, batches, layers, precision, weights, True)
                    worst, step, mean = compare(compiled, eager)
                    text += f"  PyTorch compiled: worst {100 * worst:.4f} %, last 50 {100 * mean:.4f} %"
                print(text, flush=True)
                rows.append(text)
    print("\n" + "\n".join(rows))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
