"""Training steps of a Llama-like model in PyTorch: compiled per block, SDPA by cuDNN or flash, fused AdamW.

    gpu_large_torch.py --width 2048 --pairs 16 --heads 32 --kv-heads 8 --hidden 8192 --vocab 32000 --length 4096
        --batch 4 [--steps 10] [--attention cudnn,flash] [--eager] [--seconds 240]

fp32 masters, bf16 compute, gradients clipped to 1. Prints one JSON object: median seconds of a step, loss, the largest
number of bytes allocated, seconds until the third step was done.
"""
import argparse
import json
import os
import tempfile
import time

cache = tempfile.TemporaryDirectory()
os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", cache.name)
os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")

import torch
import torch.nn.functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import gpu_nets


def head_loss(x, weight, targets):
    y = F.linear(x, weight.to(x.dtype))
    return F.cross_entropy(y.float(), targets, reduction="sum")


def build(o):
    attention = dict(heads=o.heads, kv_heads=o.kv_heads, bias=False, rope_base=500000.0, backends=o.attention)
    layers = [("mA", "attention", attention), ("M", "swiglu", dict(hidden=o.hidden))] * o.pairs
    with torch.device(o.device):
        net = gpu_nets.Net(o.width, o.vocab, layers, head="tied")
    for p in net.parameters():
        if p.dim() > 1:
            torch.nn.init.normal_(p, std=0.02)
    return net.prepare(o.length, o.device)


def main():
    parser = argparse.ArgumentParser()
    for name, default in (("width", 2048), ("pairs", 16), ("heads", 32), ("kv-heads", 8), ("hidden", 8192),
                          ("vocab", 32000), ("length", 4096), ("batch", 4), ("steps", 10), ("seconds", 240),
                          ("head-chunks", 4)):
        parser.add_argument("--" + name, type=int, default=default)
    parser.add_argument("--attention", default="cudnn,flash")
    parser.add_argument("--eager", action="store_true")
    parser.add_argument("--device", default="cuda")
    o = parser.parse_args()
    start = time.perf_counter()
    torch.manual_seed(1)
    on_gpu = o.device != "cpu"
    net = build(o)
    head = head_loss if o.eager else torch.compile(head_loss)
    if not o.eager:
        for layer in net.layers:
            layer.compile()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4, betas=(0.9, 0.95), weight_decay=0.1, fused=True)
    shape = (o.batch, o.length)

    def step():  # on rows it has not seen, as ours are
        tokens, targets = (torch.randint(o.vocab, shape, device=o.device) for _ in range(2))
        optimizer.zero_grad(set_to_none=True)
        x = net.hidden(tokens).flatten(0, 1)
        parts = [head(a, net.embedding.weight, b)
                 for a, b in zip(x.chunk(o.head_chunks), targets.flatten().chunk(o.head_chunks))]
        loss = sum(parts) / targets.numel()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0, foreach=True)
        optimizer.step()
        return loss.detach()

    names = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash": SDPBackend.FLASH_ATTENTION, "math": SDPBackend.MATH}
    times = []
    with sdpa_kernel([names[n] for n in o.attention.split(",")], set_priority=True):
        for k in range(3 + o.steps):
            begin = time.perf_counter()
            loss = step().item()  # waits
            if k == 2:
                prepared = time.perf_counter() - start
            if k >= 3:
                times.append(time.perf_counter() - begin)
                if time.perf_counter() - start > o.seconds:
                    break
    print(json.dumps(dict(seconds=sorted(times)[len(times) // 2], steps=len(times), loss=loss, prepared=prepared,
                          bytes=torch.cuda.max_memory_allocated() if on_gpu else 0, torch=torch.__version__)))


if __name__ == "__main__":
    main()
