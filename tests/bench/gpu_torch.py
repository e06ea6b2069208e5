"""What PyTorch needs for a training step of a small net on the same GPU: every way in which its users can run it.

    gpu_torch.py --layers "mA M mA M" [--length 128] [--modes eager,graph,...] [--steps 40] [--repeats 3]

Modes: eager; graph (the whole step captured by hand); graphN (N nets, N graphs on N streams, each captured on its own
stream, so each with its own cuBLAS workspace, replayed by N threads); stackN (N nets as one, batched products; only
attention and MLP), stackN_graph; and each of them after torch.compile: compile, compile_graph, compile_graphN,
compile_stackN_graph. fp32 masters, bf16 compute, fused AdamW. Data lies on the GPU; nothing is read back while timing.
Prints one JSON line per mode: ms per step and net (median), candidates per hour at 2,000 steps, seconds of preparation.
"""
import argparse
import json
import os
import re
import sys
import tempfile
import threading
import time

cache = tempfile.TemporaryDirectory()  # a compilation is timed from nothing
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", cache.name)
os.environ.setdefault("CUDA_DEVICE_MAX_CONNECTIONS", "32")

import torch

import gpu_nets

TOKENS = {"mA": ("attention", {}), "M": ("mlp", {}), "Mb": ("mamba", {}), "Mb2": ("mamba2", {}), "Sg": ("swiglu", {})}


class Candidate:
    """A net (or a stack of nets), its optimizer, its batch, and its step."""

    def __init__(self, o, seed, copies, compiled):
        torch.manual_seed(seed)
        layers = [(token, *TOKENS[token]) for token in o.layers.split()]
        dtype = {"bf16": torch.bfloat16, "fp32": torch.float32}[o.precision]
        self.net = gpu_nets.Net(o.width, o.vocab, layers, dtype=dtype, copies=copies).to(o.device)
        self.net.prepare(o.length, o.device)
        on_gpu = o.device != "cpu"
        self.optimizer = torch.optim.AdamW(self.net.parameters(), lr=5e-4, weight_decay=0.0, fused=True,
                                           capturable=on_gpu)
        shape = gpu_nets.shape_of(copies, o.batch, o.length)
        self.tokens = torch.randint(o.vocab, shape, device=o.device)
        self.targets = torch.randint(o.vocab, shape, device=o.device)
        self.loss_of = torch.compile(self.net, fullgraph=True) if compiled else self.net
        self.stream, self.graph, self.loss = torch.cuda.Stream() if on_gpu else None, None, None

    def step(self):
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss_of(self.tokens, self.targets)
        loss.backward()
        self.optimizer.step()
        self.loss = loss.detach()

    def capture(self):
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(3):
                self.step()
        torch.cuda.synchronize()
        self.optimizer.zero_grad(set_to_none=True)
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=self.stream):
            self.step()

    def run(self, steps):
        if self.graph is None:
            for _ in range(steps):
                self.step()
            return
        with torch.cuda.stream(self.stream):
            for _ in range(steps):
                self.graph.replay()


def synchronize(o):
    if o.device != "cpu":
        torch.cuda.synchronize()


def time_once(o, candidates):
    synchronize(o)
    start = time.perf_counter()
    if len(candidates) == 1:
        candidates[0].run(o.steps)
    else:
        threads = [threading.Thread(target=c.run, args=(o.steps,)) for c in candidates]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    synchronize(o)
    return time.perf_counter() - start


def measure(o, mode):
    parts = re.fullmatch(r"(compile_?)?(eager|graph\d*|stack\d+(?:_graph)?)?", mode)
    if parts is None:
        raise ValueError("there is no such mode")
    kind = parts[2] or "eager"
    copies = int(re.search(r"stack(\d+)", kind)[1]) if "stack" in kind else 1
    many = int(re.fullmatch(r"graph(\d+)", kind)[1]) if re.fullmatch(r"graph\d+", kind) else 1
    start = time.perf_counter()
    torch._dynamo.reset()
    candidates = [Candidate(o, seed, copies, parts[1] is not None) for seed in range(many)]
    for c in candidates:
        if "graph" in kind:
            c.capture()
        else:
            c.run(1)
    synchronize(o)
    prepared = time.perf_counter() - start
    for c in candidates:
        c.run(2)
    times = []
    while len(times) < o.repeats and (not times or time.perf_counter() - start < o.seconds):
        times.append(1000 * time_once(o, candidates) / (o.steps * many * copies))
    ms = sorted(times)[len(times) // 2]
    loss = float(candidates[0].loss) / copies
    return dict(mode=mode, ms=ms, ms_min=min(times), ms_max=max(times), per_hour=3.6e6 / (2000 * ms),
                prepared_seconds=prepared, loss=loss)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--layers", required=True)
    parser.add_argument("--modes", default="eager,graph,graph4")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--device", default="cuda")
    for name, default in (("length", 128), ("batch", 128), ("width", 128), ("vocab", 16), ("steps", 40),
                          ("repeats", 3), ("seconds", 60)):
        parser.add_argument("--" + name, type=int, default=default)
    o = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    for mode in o.modes.split(","):
        try:
            print(json.dumps(measure(o, mode)), flush=True)
        except Exception as reason:  # what this machine or this version does not have
            print(f"gpu_torch.py: {mode}: {type(reason).__name__}: {str(reason)[:400]}", file=sys.stderr, flush=True)
        if o.device != "cpu":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    main()
