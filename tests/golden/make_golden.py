#!/usr/bin/env python3
"""Makes the golden files beside this script: small nets in PyTorch, from which aira's own must not differ.

For every net below: NAME.yaml is the model as `aira train` and `aira forward` take it, NAME.safetensors its initial
parameters, NAME.logits.npy the logits of the first batch, NAME.losses.npy the loss before each of 200 AdamW steps.
rows/ and rows_copy/ (targets are the inputs) hold 16 rows: four batches, used cyclically. first.npy is the first one.
provenance.json says what made them.

The nets are written here once more from their definitions, in plain tensor operations and with other formulas where
there is a choice (linear attention by the whole matrix of weights, state-space layers step by step), so that an error
has to be made twice to go unseen.

    python3 tests/golden/make_golden.py [NAME ...]        (needs torch, numpy, safetensors; about two minutes)
"""
import json
import math
import os
import sys

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

HERE = os.path.dirname(os.path.abspath(__file__))
B, T, V, BATCHES, STEPS = 4, 24, 24, 4, 200
ADAMW = dict(lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.1)


class Net:
    """Parameters by name, created on first use from one generator."""

    def __init__(self, seed):
        self.p, self.rng = {}, torch.Generator().manual_seed(seed)

    def make(self, name, value):
        if name not in self.p:
            self.p[name] = value().to(torch.float32).contiguous().requires_grad_()
        return self.p[name]

    def uniform(self, name, shape, bound):
        return self.make(name, lambda: (torch.rand(shape, generator=self.rng) * 2 - 1) * bound)

    def normal(self, name, shape, std=0.02):
        return self.make(name, lambda: torch.randn(shape, generator=self.rng) * std)

    def near_one(self, name, n):  # not exactly one, so that a forgotten weight shows
        return self.make(name, lambda: 1 + 0.1 * torch.randn(n, generator=self.rng))

    def linear(self, name, x, n_out, bias=True):
        w = self.uniform(name + ".weight", (n_out, x.shape[-1]), 1 / math.sqrt(x.shape[-1]))
        b = self.normal(name + ".bias", (n_out,), 0.05) if bias else None
        return F.linear(x, w, b)

    def norm(self, name, x, kind="rms", eps=1e-5):
        w = self.near_one(name + ".weight", x.shape[-1])
        if kind == "layer":
            return F.layer_norm(x, (x.shape[-1],), w, self.normal(name + ".bias", (x.shape[-1],), 0.05), eps)
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + eps) * w


def rotate(x, base):  # [B,T,H,D], first half with second
    D = x.shape[-1]
    angle = torch.arange(x.shape[1])[:, None] * base ** (-torch.arange(0, D, 2) / D)
    c, s = angle.cos()[None, :, None], angle.sin()[None, :, None]
    a, b = x[..., : D // 2], x[..., D // 2:]
    return torch.cat([a * c - b * s, a * s + b * c], -1)


def attention(net, at, x, heads=16, kv_heads=0, window=0, rope_base=10000.0, qk_norm=False, bias=True):
    n, t, C = x.shape
    H, G = heads, kv_heads or heads
    D = C // H
    q, k, v = net.linear(at + "qkv", x, (H + 2 * G) * D, bias).split([H * D, G * D, G * D], -1)
    q, k, v = q.view(n, t, H, D), k.view(n, t, G, D), v.view(n, t, G, D)
    if qk_norm:
        q, k = net.norm(at + "q_norm", q), net.norm(at + "k_norm", k)
    q, k = rotate(q, rope_base), rotate(k, rope_base)
    k, v = (z.repeat_interleave(H // G, dim=2) for z in (k, v))
    score = torch.einsum("bthd,bshd->bhts", q, k) / math.sqrt(D)
    i = torch.arange(t)
    seen = i[:, None] >= i[None]
    if window:
        seen &= i[:, None] - i[None] < window
    weight = score.masked_fill(~seen, -math.inf).softmax(-1)
    y = torch.einsum("bhts,bshd->bthd", weight, v).reshape(n, t, H * D)
    return net.linear(at + "out", y, C, bias)


def mlp(net, at, x, expansion=4, activation="gelu", bias=False):
    f = {"gelu": lambda u: F.gelu(u, approximate="tanh"), "gelu_exact": F.gelu, "relu": F.relu, "silu": F.silu}
    return net.linear(at + "down", f[activation](net.linear(at + "up", x, expansion * x.shape[-1], bias)), x.shape[-1],
                      bias)


def swiglu(net, at, x, hidden=0):
    C = x.shape[-1]
    hidden = hidden or -(-(8 * C // 3) // 16) * 16
    return net.linear(at + "down", F.silu(net.linear(at + "gate", x, hidden, False)) *
                      net.linear(at + "up", x, hidden, False), C, False)


def step_bias(net, n):  # inverse softplus of log-uniform steps in [1e-3, 0.1]
    dt = torch.exp(torch.rand(n, generator=net.rng) * math.log(100) + math.log(1e-3)).clamp(min=1e-4)
    return dt + torch.log(-torch.expm1(-dt))


def conv(net, at, x, K):
    c = x.shape[-1]
    w = net.uniform(at + "conv.weight", (c, K), 1 / math.sqrt(K))
    b = net.uniform(at + "conv.bias", (c,), 1 / math.sqrt(K))
    return F.conv1d(F.pad(x.transpose(1, 2), (K - 1, 0)), w[:, None], b, groups=c).transpose(1, 2)


def mamba(net, at, x, state=4, conv_taps=4, expand=2):
    n, t, C = x.shape
    I, N, R = expand * C, state, -(-C // 16)
    u, z = net.linear(at + "in_proj", x, 2 * I, False).chunk(2, -1)
    u = F.silu(conv(net, at, u, conv_taps))
    r, Bm, Cm = net.linear(at + "x_proj", u, R + 2 * N, False).split([R, N, N], -1)
    w = net.uniform(at + "dt_proj.weight", (I, R), R ** -0.5)
    dt = F.softplus(F.linear(r, w, net.make(at + "dt_proj.bias", lambda: step_bias(net, I))))
    A = -net.make(at + "A_log", lambda: torch.arange(1.0, N + 1).log().repeat(I, 1)).exp()
    D = net.near_one(at + "D", I)
    h, ys = x.new_zeros(n, I, N), []
    for s in range(t):
        h = h * torch.exp(dt[:, s, :, None] * A) + (dt[:, s] * u[:, s])[..., None] * Bm[:, s, None]
        ys.append((h * Cm[:, s, None]).sum(-1) + D * u[:, s])
    return net.linear(at + "out_proj", torch.stack(ys, 1) * F.silu(z), C, False)


def mamba2(net, at, x, expand=2, head_dim=64, state=128, groups=1, conv_taps=4):
    n, t, C = x.shape
    I, N, G, P = expand * C, state, groups, head_dim
    H = I // P
    z, u, dt = net.linear(at + "in_proj", x, 2 * I + 2 * G * N + H, False).split([I, I + 2 * G * N, H], -1)
    u, Bm, Cm = F.silu(conv(net, at, u, conv_taps)).split([I, G * N, G * N], -1)
    u = u.reshape(n, t, H, P)
    Bm, Cm = (m.reshape(n, t, G, N).repeat_interleave(H // G, dim=2) for m in (Bm, Cm))
    dt = F.softplus(dt + net.make(at + "dt_bias", lambda: step_bias(net, H)))
    A = -net.make(at + "A_log", lambda: (1 + 15 * torch.rand(H, generator=net.rng)).log()).exp()
    D = net.near_one(at + "D", H)
    h, ys = x.new_zeros(n, H, P, N), []
    for s in range(t):
        decay = torch.exp(dt[:, s] * A)[..., None, None]
        h = h * decay + (dt[:, s, :, None] * u[:, s])[..., None] * Bm[:, s, :, None]
        ys.append((h * Cm[:, s, :, None]).sum(-1) + D[:, None] * u[:, s])
    y = torch.stack(ys, 1).reshape(n, t, I) * F.silu(z)
    w = net.near_one(at + "norm.weight", I)
    y = y.reshape(n, t, G, I // G)
    y = (y * torch.rsqrt(y.pow(2).mean(-1, keepdim=True) + 1e-5)).reshape(n, t, I) * w
    return net.linear(at + "out_proj", y, C, False)


def linear_attention(net, at, x, heads=16, feature="elu", eps=1e-6, bias=False):
    n, t, C = x.shape
    q, k, v = (m.view(n, t, heads, C // heads) for m in net.linear(at + "qkv", x, 3 * C, bias).chunk(3, -1))
    f = (lambda u: F.elu(u) + 1) if feature == "elu" else F.relu
    weight = torch.einsum("bthd,bshd->bhts", f(q), f(k)).tril()
    y = torch.einsum("bhts,bshd->bthd", weight / (weight.sum(-1, keepdim=True) + eps), v)
    return net.linear(at + "out", y.reshape(n, t, C), C, bias)


PRIMITIVES = dict(attention=attention, mlp=mlp, swiglu=swiglu, mamba=mamba, mamba2=mamba2,
                  linear_attention=linear_attention)


def blocks(net, x, layers, norm):
    for i, layer in enumerate(layers):
        options = {("conv_taps" if k == "conv" else k): v for k, v in layer.items() if k not in ("use", "token")}
        at = f"layers.{i}."
        x = x + PRIMITIVES[layer["use"]](net, at + layer["token"] + ".", net.norm(at + "norm", x, norm), **options)
    return x


def forward(net, model, tokens):
    backbone, C = model["backbone"], model["backbone"]["width"]
    norm = backbone.get("norm", "rms")
    table = net.normal("embedding.weight", (V, C), 0.5)  # larger than the default: the nets have more to say
    x = blocks(net, table[tokens], model["layers"], norm)
    if backbone["use"] == "llama":
        x = net.norm("norm", x)
        head = table if backbone.get("tied", True) else net.uniform("head.weight", (V, C), C ** -0.5)
        return F.linear(x, head)
    if backbone["use"] == "mad_autoencoder":
        t = torch.arange(tokens.shape[1])[:, None] * torch.exp(-torch.arange(C // 2) * math.log(10000) / (C // 2 - 1))
        x = x[:, -1:] + torch.cat([t.sin(), t.cos()], -1)
        for i in range(2):
            x = F.gelu(net.linear(f"decoder.{i}.linear", net.norm(f"decoder.{i}.norm", x, norm), C))
    return net.linear("head", net.norm("norm", x, norm), V)


def layer(token, use, **options):
    return dict(token=token, use=use, **options)


mA, M = layer("mA", "attention", heads=4), layer("M", "mlp")
GQA = layer("A", "attention", heads=4, kv_heads=2, rope_base=500000.0, bias=False)
MODELS = {  # backbone, layers
    "attention": (dict(use="mad_lm", width=32), [mA, mA]),
    "attention_options": (dict(use="mad_lm", width=32), [layer("A", "attention", heads=4, kv_heads=2, window=6,
                                                               qk_norm=True, bias=False)] * 2),
    "mlp": (dict(use="mad_lm", width=32), [M, layer("Me", "mlp", expansion=2, activation="gelu_exact", bias=True)]),
    "swiglu": (dict(use="mad_lm", width=32), [layer("Sg", "swiglu"), layer("S", "swiglu", hidden=40)]),
    "mamba": (dict(use="mad_lm", width=32), [layer("Mb", "mamba")] * 2),
    "mamba2": (dict(use="mad_lm", width=32), [layer("Mb2", "mamba2", head_dim=16, state=16),
                                              layer("Mg", "mamba2", head_dim=8, state=8, groups=2)]),
    "linear_attention": (dict(use="mad_lm", width=32), [layer("Al", "linear_attention", heads=4),
                                                        layer("Ar", "linear_attention", heads=2, feature="relu",
                                                              eps=0.5, bias=True)]),  # a small eps makes relu chaotic
    "mad_lm_layer_norm": (dict(use="mad_lm", width=32, norm="layer"), [mA, M]),
    "mad_autoencoder": (dict(use="mad_autoencoder", width=32), [mA, layer("Mb", "mamba")]),
    "llama": (dict(use="llama", width=32), [GQA, layer("Sg", "swiglu", hidden=64)]),
    "llama_untied": (dict(use="llama", width=32, tied=False), [GQA, layer("Sg", "swiglu", hidden=64)]),
    "mix": (dict(use="mad_lm", width=64), [mA, M, layer("Mb", "mamba"), layer("Sg", "swiglu")]),
}


def write_yaml(name, model):
    """The model file: tokens are named by their primitive's configuration."""
    def flow(mapping):
        return json.dumps(mapping).replace('"', "")

    tokens = {x["token"]: {k: v for k, v in x.items() if k != "token"} for x in model["layers"]}
    copy = model["backbone"]["use"] == "mad_autoencoder"
    rows = "rows_copy" if copy else "rows"
    splits = ", ".join(f"{split}: {rows}" for split in ("train", "search", "selection", "test"))
    recipe = dict(steps=STEPS, batch=B, optimizer=dict(use="adamw", lr=ADAMW["lr"], decay_all=True,
                                                       weight_decay=ADAMW["weight_decay"]))
    with open(os.path.join(HERE, name + ".yaml"), "w") as out:
        out.write("# Made by make_golden.py.\n")
        out.write(f"model: {name}\narchitecture: \"{' '.join(x['token'] for x in model['layers'])}\"\ntokens:\n")
        for token, options in tokens.items():
            out.write(f"  {token}: {flow(options)}\n")
        out.write(f"backbone: {flow(model['backbone'])}\n")
        out.write(f"dataset: {{use: array, {splits}, vocab: {V}, classes: {V}, metric: loss}}\n")
        out.write(f"recipe: {flow(recipe)}\n")


def batches():
    rng = np.random.default_rng(15871)
    half = rng.integers(0, V, (BATCHES, B, T // 2))
    tokens = np.concatenate([half, half], -1)  # the second half repeats the first: there is something to learn
    targets = np.roll(tokens, -1, -1)
    targets[..., -1] = -100
    return tokens.astype("<i4"), targets.astype("<i4")


def run(name, seed, tokens, targets):
    model = dict(backbone=MODELS[name][0], layers=MODELS[name][1])
    net = Net(seed)
    x, y = torch.from_numpy(tokens).long(), torch.from_numpy(targets).long()
    if model["backbone"]["use"] == "mad_autoencoder":
        y = x
    logits = forward(net, model, x[0]).detach()
    save_file({k: p.detach() for k, p in net.p.items()}, os.path.join(HERE, name + ".safetensors"),
              {"step": "0"})
    write_yaml(name, model)
    np.save(os.path.join(HERE, name + ".logits.npy"), logits.numpy().astype("<f4"))
    optimizer, losses = torch.optim.AdamW(net.p.values(), **ADAMW), []
    for step in range(STEPS):
        loss = F.cross_entropy(forward(net, model, x[step % BATCHES]).reshape(-1, V), y[step % BATCHES].reshape(-1))
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    np.save(os.path.join(HERE, name + ".losses.npy"), np.array(losses, "<f4"))
    print(f"{name:20} {sum(p.numel() for p in net.p.values()):7} parameters, loss {losses[0]:.4f} -> {losses[-1]:.4f}",
          flush=True)


def main():
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    tokens, targets = batches()
    for folder, wanted in (("rows", targets), ("rows_copy", tokens)):
        os.makedirs(os.path.join(HERE, folder), exist_ok=True)
        np.save(os.path.join(HERE, folder, "inputs.npy"), tokens.reshape(-1, T))
        np.save(os.path.join(HERE, folder, "targets.npy"), wanted.reshape(-1, T))
    np.save(os.path.join(HERE, "first.npy"), tokens[0])
    for seed, name in enumerate(MODELS):
        if len(sys.argv) == 1 or name in sys.argv[1:]:
            run(name, seed, tokens, targets)
    with open(os.path.join(HERE, "provenance.json"), "w") as out:
        json.dump({"script": "tests/golden/make_golden.py", "torch": torch.__version__, "numpy": np.__version__,
                   "precision": "float32, CPU, one thread", "optimizer": {**ADAMW, "betas": list(ADAMW["betas"])},
                   "steps": STEPS, "nets": list(MODELS)}, out, indent=1)
        out.write("\n")


main()
