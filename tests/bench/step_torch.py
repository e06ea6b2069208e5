"""One training step of 8 x (mA M), d = 128, in PyTorch: mad-lab's layers, AdamW. Prints one JSON object of milliseconds.

    step_torch.py --threads 2 --steps 5 --layers 8 --batch 128 --length 128 --vocab 16

Modes: eager and torch.compile, each in fp32 and under bf16 autocast. A mode that fails is null, with the reason on
standard error. Started by bench_step, which prints both figures and the ratio.
"""
import argparse
import json
import os
import sys
import tempfile
import time

cache = tempfile.TemporaryDirectory()  # compiled code of an earlier run that was killed may be torn
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", cache.name)

import torch
import torch.nn.functional as F
from torch import nn


class Attention(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads, self.size = heads, width // heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)

    def forward(self, x, cos, sin):
        b, t, c = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, self.size).unbind(2)

        def rotate(y):
            first, second = y.chunk(2, -1)
            return torch.cat((first * cos - second * sin, second * cos + first * sin), -1).to(y.dtype)

        q, k, v = (y.transpose(1, 2) for y in (rotate(q), rotate(k), v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(b, t, c))


class MLP(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.up, self.down = nn.Linear(width, 4 * width, bias=False), nn.Linear(4 * width, width, bias=False)

    def forward(self, x, cos, sin):
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class Net(nn.Module):
    def __init__(self, pairs, vocab, width=128, heads=16):
        super().__init__()
        self.embedding = nn.Embedding(vocab, width)
        self.layers = nn.ModuleList([m for _ in range(pairs) for m in (Attention(width, heads), MLP(width))])
        self.norms = nn.ModuleList([nn.RMSNorm(width, eps=1e-5) for _ in range(2 * pairs + 1)])
        self.head, self.half = nn.Linear(width, vocab), width // heads // 2

    def forward(self, tokens, targets):
        rate = 10000.0 ** (-torch.arange(self.half, dtype=torch.float32) / self.half)
        angle = torch.arange(tokens.shape[1], dtype=torch.float32)[:, None] * rate
        cos, sin = angle.cos()[None, :, None, :], angle.sin()[None, :, None, :]
        x = self.embedding(tokens)
        for norm, layer in zip(self.norms, self.layers):
            x = x + layer(norm(x), cos, sin)
        logits = self.head(self.norms[-1](x))
        return F.cross_entropy(logits.flatten(0, 1).float(), targets.flatten())


def measure(options, compiled, bf16):
    torch.manual_seed(1)
    net = Net(options.layers, options.vocab)
    optimizer = torch.optim.AdamW(net.parameters(), lr=5e-4, weight_decay=0.0, fused=True)
    run = torch.compile(net) if compiled else net
    shape = (options.batch, options.length)
    tokens, targets = torch.randint(options.vocab, shape), torch.randint(options.vocab, shape)

    def step():
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            loss = run(tokens, targets)
        loss.backward()
        optimizer.step()
        return loss.item()

    for _ in range(2):
        step()
    times = []
    for _ in range(options.steps):
        start = time.perf_counter()
        step()
        times.append(1000 * (time.perf_counter() - start))
    return sorted(times)[len(times) // 2]


def main():
    parser = argparse.ArgumentParser()
    for name, default in (("threads", 2), ("steps", 5), ("layers", 8), ("batch", 128), ("length", 128), ("vocab", 16)):
        parser.add_argument("--" + name, type=int, default=default)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    result = {"torch": torch.__version__}
    for bf16 in (False, True):
        for compiled in (False, True):
            name = ("compile" if compiled else "eager") + ("_bf16" if bf16 else "_fp32")
            try:
                result[name] = measure(options, compiled, bf16)
            except Exception as reason:  # a mode that this machine does not have
                print(f"{name}: {reason}", file=sys.stderr)
                result[name] = None
    print(json.dumps(result))


if __name__ == "__main__":
    main()
