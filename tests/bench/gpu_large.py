#!/usr/bin/env python3
"""Large models: tokens per second, MFU and memory, ours and PyTorch's, in one run on one GPU.

    python3 tests/bench/gpu_large.py [--build build] [--sections 350m,1b,1b-128k,hybrid,3b] [--batch N] [--steps 10]
        [--ours-only | --torch-only] [--orders fixed,any] [--eager] [--seconds 240] [key=value...]

Ours is `aira train` on a model of configs/models with random tokens; key=value goes to it. PyTorch's side is
gpu_large_torch.py (no figure for the hybrid, which is compared with our own 1b, nor for 3b unless --torch-3b). Ours runs
twice for 350m, 1b and 1b-128k: in a fixed order, with the same bits every time (the device's default), and in any
order, `deterministic: false`, as PyTorch runs (cuDNN's gradient of attention adds as its blocks finish). A step is
forward, backward, clipping and AdamW on batch x length tokens; the figure is the median after three. MFU: products
of 6 FLOP per weight and token (embedding not counted, head counted) and causal attention at half of 12 L T C, against
989 TFLOP/s (dense bf16 of an H100 SXM or H200). Memory: the largest that nvidia-smi reports while the process runs, of
the first GPU of CUDA_VISIBLE_DEVICES, or of --gpu.
"""
import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MODELS = os.path.join(HERE, "..", "..", "configs", "models")
PEAK = 989e12
SECTIONS = {  # model, length, vocabulary, rows of a step
    "350m": ("llama-350m", 2048, 32000, 16),
    "1b": ("llama-1b", 4096, 32000, 4),
    "1b-128k": ("llama-1b", 4096, 128256, 4),
    "hybrid": ("1b-hybrid", 4096, 32000, 4),
    "3b": ("llama-3b", 4096, 128256, 2),
}
TORCH = {  # width, pairs, heads, kv heads, hidden
    "llama-350m": (1536, 14, 24, 8, 4096),
    "llama-1b": (2048, 16, 32, 8, 8192),
    "llama-3b": (3072, 28, 24, 8, 8192),
}
ANY_ORDER = ("350m", "1b", "1b-128k")  # sections that are measured both ways


def flops_per_token(model, length, vocab):
    """6 per weight of a product, and attention; None where the model is no Llama."""
    if model not in TORCH:
        return None
    width, pairs, heads, kv_heads, hidden = TORCH[model]
    weights = pairs * (2 * width * width + 2 * width * width * kv_heads // heads + 3 * width * hidden)
    return 6 * (weights + width * vocab) + 6 * pairs * length * width


class Memory:
    """The largest use of the GPU's memory while a process runs, in MiB."""

    def __init__(self, gpu):
        self.most, self.gpu, self.over = 0, gpu, threading.Event()
        self.thread = threading.Thread(target=self.watch, daemon=True)

    def watch(self):
        command = ["nvidia-smi", "-i", str(self.gpu), "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
        while not self.over.wait(0.3):
            try:
                used = subprocess.run(command, capture_output=True, text=True).stdout
                self.most = max(self.most, int(used.split()[0]))
            except (OSError, ValueError, IndexError):
                return  # no nvidia-smi: nothing is said about memory

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.over.set()
        self.thread.join()


def run(command, seconds, gpu):
    start = time.perf_counter()
    with Memory(gpu) as memory:
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, timeout=seconds)
            code, out = done.returncode, done.stdout
        except subprocess.TimeoutExpired as late:
            code, out = -1, (late.stdout or b"").decode()
            print(f"  stopped after {seconds} s", flush=True)
    return code, out, memory.most, time.perf_counter() - start


def write_tokens(folder, vocab):
    """Random ids as the data set `tokens` wants them: a .npy of uint32."""
    import random
    import array
    rng, n = random.Random(1), 1 << 20
    header = f"{{'descr': '<u4', 'fortran_order': False, 'shape': ({n},), }}"
    header += " " * (-(len(header) + 11) % 64) + "\n"
    for name in ("train", "val"):
        with open(os.path.join(folder, name + ".npy"), "wb") as out:
            out.write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
            array.array("I", (int(rng.random() * vocab) for _ in range(n))).tofile(out)


def write_model(o, folder, model, length, vocab, batch):
    path = os.path.join(folder, "model.yaml")
    length_of_run = "steps: 100K" if model == "1b-hybrid" else "tokens: 1B"  # what the file it extends counts in
    base = os.path.relpath(os.path.join(MODELS, model + ".yaml"), folder)
    with open(path, "w") as out:
        out.write(f"""extends: {base}
model: bench
dataset: {{train: [{folder}/train.npy], validation: [{folder}/val.npy], vocab: {vocab}, length: {length}}}
recipe: {{batch: {batch}, {length_of_run}, eval_every: 10M, schedule: {{warmup: 10}}}}
""")
    return path


def device_of(o, order):
    """The device as `aira train` wants it; in any order: with a further key."""
    if order == "fixed":
        return o.device
    name = o.device.strip()
    return name[:-1] + ", deterministic: false}" if name.endswith("}") else f"{{use: {name}, deterministic: false}}"


def ours(o, order, model, length, vocab, batch):
    with tempfile.TemporaryDirectory() as folder:
        write_tokens(folder, vocab)
        log = os.path.join(folder, "log.jsonl")
        command = [os.path.join(o.build, "bin", "aira"), "train", write_model(o, folder, model, length, vocab, batch),
                   "--device", device_of(o, order), "--steps", str(o.steps + 3), "--log", log, "--json", *o.overrides]
        code, out, memory, wall = run(command, o.seconds, o.gpu)
        times, loss = [], None
        if os.path.exists(log):
            with open(log) as lines:
                entries = [json.loads(line) for line in lines if line.endswith("\n")]
            times, loss = [e["seconds"] for e in entries[3:]], entries[-1]["loss"] if entries else None
        if not times:
            print(f"  ours: no step was timed (exit status {code}) {out.strip()[-400:]}", flush=True)
            return None
        prepared = wall - sum(times)
        return dict(seconds=sorted(times)[len(times) // 2], loss=loss, memory=memory, prepared=prepared)


def theirs(o, model, length, vocab, batch):
    if model not in TORCH:
        return None
    width, pairs, heads, kv_heads, hidden = TORCH[model]
    command = [o.python, os.path.join(HERE, "gpu_large_torch.py"), "--seconds", str(int(o.seconds))]
    for name, value in (("width", width), ("pairs", pairs), ("heads", heads), ("kv-heads", kv_heads),
                        ("hidden", hidden), ("vocab", vocab), ("length", length), ("batch", batch),
                        ("steps", o.steps)):
        command += ["--" + name, str(value)]
    code, out, memory, _ = run(command + (["--eager"] if o.eager else []), o.seconds, o.gpu)
    for line in out.splitlines():
        if line.startswith("{"):
            return dict(json.loads(line), memory=memory)
    print(f"  PyTorch: no figure (exit status {code})", flush=True)
    return None


def cells(side, tokens, flops):
    if side is None:
        return f"{'-':>9} {'-':>6} {'-':>8}"
    rate = tokens / side["seconds"]
    mfu = f"{100 * rate * flops / PEAK:5.1f}%" if flops else "-"
    return f"{rate:9.0f} {mfu:>6} {side['memory'] / 1024:6.1f}Gi"


def say(who, side, tokens, flops):
    print(f"  {who:18} {cells(side, tokens, flops)}  loss {side['loss']:.3f}, {side['prepared']:.1f} s before", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", default="build")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--gpu", default=os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0] or "0",
                        help="whose memory nvidia-smi is asked for: a number or an id")
    parser.add_argument("--python", default=sys.executable, help="a Python with PyTorch")
    parser.add_argument("--sections", default="350m,1b,1b-128k,hybrid,3b")
    parser.add_argument("--orders", default="fixed,any", help="of sums on our side")
    parser.add_argument("--batch", type=int, default=0, help="rows of a step; 0: the section's")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--seconds", type=float, default=240, help="limit of each process")
    for flag in ("ours-only", "torch-only", "torch-3b", "eager"):
        parser.add_argument("--" + flag, action="store_true")
    parser.add_argument("overrides", nargs="*", help="key=value for `aira train`")
    o = parser.parse_args()
    os.environ["AIRA_BUILD_DIR"] = os.path.abspath(o.build)
    rows = []
    for name in o.sections.split(","):
        model, length, vocab, batch = SECTIONS[name]
        batch = o.batch or batch
        tokens, flops = batch * length, flops_per_token(model, length, vocab)
        print(f"{name}: {model}, T = {length}, V = {vocab}, {batch} rows", flush=True)
        mine = {}
        for order in [] if o.torch_only else o.orders.split(","):
            if order == "any" and name not in ANY_ORDER:
                continue
            mine[order] = ours(o, order, model, length, vocab, batch)
            if mine[order]:
                say(f"ours, {order} order", mine[order], tokens, flops)
        b = None if o.ours_only or (name == "3b" and not o.torch_3b) else theirs(o, model, length, vocab, batch)
        if b:
            say("PyTorch, any order", b, tokens, flops)
        rows += [(name, order, tokens, flops, a, b) for order, a in (mine or {"-": None}).items()]
    print(f"\n{'':10} {'order':>6} {'ours tok/s':>10} {'MFU':>6} {'memory':>8}   "
          f"{'PyTorch':>9} {'MFU':>6} {'memory':>8}   ratio")
    for name, order, tokens, flops, a, b in rows:
        ratio = f"{b['seconds'] / a['seconds']:.3f}" if a and b else "-"
        print(f"{name:10} {order:>6}  {cells(a, tokens, flops)}   {cells(b, tokens, flops)}   {ratio}")
    by_name = {(name, order): a for name, order, _, _, a, _ in rows}
    if by_name.get(("hybrid", "fixed")) and by_name.get(("1b", "fixed")):
        ratio = by_name["1b", "fixed"]["seconds"] / by_name["hybrid", "fixed"]["seconds"]
        print(f"hybrid against our own 1b, both in fixed order: {ratio:.2f}")


if __name__ == "__main__":
    main()
