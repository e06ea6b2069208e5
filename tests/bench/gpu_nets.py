"""The nets of our plugins in PyTorch, as quick as plain PyTorch gets them; parameters carry our names.

Used by gpu_torch.py, gpu_curves.py and gpu_large_torch.py. Parameters are fp32 masters; `dtype` is the type of
activations and products: weights are cast where they are used, as autocast would. Norms, decays, softplus and the loss
are computed in fp32. The definitions are those of tests/golden/make_golden.py (mad-lab's layers), with quicker formulas
where there is a choice: SDPA, convolutions as shifted sums, Mamba-2 as masked products in one chunk, Mamba-1 as a scan
over chunks.
"""
import json
import math
import struct

import torch
import torch.nn.functional as F
from torch import nn

SCAN = "chunks"  # or "doubling": slower, but bounded for every time step


def shape_of(copies, *shape):
    return (copies, *shape) if copies > 1 else shape


class Linear(nn.Module):
    """x W^T + b; with copies K: x [K,...,in], W [K,out,in]."""

    def __init__(self, n_in, n_out, bias, copies=1):
        super().__init__()
        bound = n_in ** -0.5
        self.weight = nn.Parameter((torch.rand(shape_of(copies, n_out, n_in)) * 2 - 1) * bound)
        self.bias = nn.Parameter(torch.zeros(shape_of(copies, n_out))) if bias else None
        self.copies = copies

    def forward(self, x):
        w = self.weight.to(x.dtype)
        b = None if self.bias is None else self.bias.to(x.dtype)
        if self.copies == 1:
            return F.linear(x, w, b)
        flat = x.flatten(1, -2)
        y = torch.bmm(flat, w.mT) if b is None else torch.baddbmm(b[:, None], flat, w.mT)
        return y.view(*x.shape[:-1], w.shape[1])


class Norm(nn.Module):
    def __init__(self, width, copies=1):
        super().__init__()
        self.weight, self.copies = nn.Parameter(torch.ones(shape_of(copies, width))), copies

    def forward(self, x):
        if self.copies == 1:
            return F.rms_norm(x, x.shape[-1:], self.weight.to(x.dtype), 1e-5)
        return F.rms_norm(x, x.shape[-1:], None, 1e-5) * self.weight.to(x.dtype)[:, None, None]


class Attention(nn.Module):
    def __init__(self, width, copies=1, heads=16, kv_heads=0, bias=True, rope_base=10000.0, backends=None, **_):
        super().__init__()
        self.h, self.g, self.d, self.backends = heads, kv_heads or heads, width // heads, backends
        self.qkv = Linear(width, (self.h + 2 * self.g) * self.d, bias, copies)
        self.out = Linear(self.h * self.d, width, bias, copies)
        self.base, self.cos, self.sin = rope_base, None, None

    def prepare(self, t, device):
        half = self.d // 2
        rate = self.base ** (-torch.arange(half, dtype=torch.float64, device="cpu") / half)
        angle = torch.arange(t, dtype=torch.float64, device="cpu")[:, None, None] * rate
        self.cos, self.sin = angle.cos().float().to(device), angle.sin().float().to(device)

    def forward(self, x):
        t, cos, sin = x.shape[-2], self.cos, self.sin

        def rotate(y):  # [...,T,H,D]
            a, b = y.chunk(2, -1)
            return torch.cat((a * cos - b * sin, b * cos + a * sin), -1).to(y.dtype)

        q, k, v = self.qkv(x).split([self.h * self.d, self.g * self.d, self.g * self.d], -1)
        q = rotate(q.view(*x.shape[:-1], self.h, self.d))
        k = rotate(k.view(*x.shape[:-1], self.g, self.d))
        v = v.view(*x.shape[:-1], self.g, self.d)
        q, k, v = (y.reshape(-1, t, y.shape[-2], self.d).transpose(1, 2) for y in (q, k, v))
        if self.g != self.h and self.backends is None:
            k, v = (y.repeat_interleave(self.h // self.g, 1) for y in (k, v))
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=q.shape[1] != k.shape[1])
        return self.out(y.transpose(1, 2).reshape(x.shape[:-1] + (self.h * self.d,)))


class MLP(nn.Module):
    def __init__(self, width, copies=1, expansion=4, **_):
        super().__init__()
        self.up = Linear(width, expansion * width, False, copies)
        self.down = Linear(expansion * width, width, False, copies)

    def forward(self, x):
        return self.down(F.gelu(self.up(x), approximate="tanh"))


class SwiGLU(nn.Module):
    def __init__(self, width, copies=1, hidden=0, **_):
        super().__init__()
        hidden = hidden or -(-(8 * width // 3) // 16) * 16
        self.gate, self.up = Linear(width, hidden, False, copies), Linear(width, hidden, False, copies)
        self.down = Linear(hidden, width, False, copies)

    def forward(self, x):
        return self.down(F.silu(self.gate(x)) * self.up(x))


class Conv(nn.Module):
    """Causal, depthwise, as a sum of shifted products: in training quicker than cuDNN's."""

    def __init__(self, channels, taps):
        super().__init__()
        bound = taps ** -0.5
        self.weight = nn.Parameter((torch.rand(channels, taps) * 2 - 1) * bound)
        self.bias = nn.Parameter((torch.rand(channels) * 2 - 1) * bound)

    def forward(self, x):
        w, taps, t = self.weight.to(x.dtype), self.weight.shape[1], x.shape[1]
        padded = F.pad(x, (0, 0, taps - 1, 0))
        y = self.bias.to(x.dtype)
        for k in range(taps):
            y = y + padded[:, k:k + t] * w[:, k]
        return y


def step_bias(n):
    dt = torch.exp(torch.rand(n) * math.log(100) + math.log(1e-3)).clamp(min=1e-4)
    return dt + torch.log(-torch.expm1(-dt))


def scan_by_chunks(rate, b, q=16):
    """h[t] = exp(rate[t]) h[t-1] + b[t] along axis 1; exact while the rates of a chunk add up to more than -80."""
    n, t = b.shape[:2]
    q = math.gcd(q, t)
    c = rate.view(n, t // q, q, *rate.shape[2:]).cumsum(2)
    decay = c.exp()
    local = decay * (b.view(c.shape) * (-c).exp()).cumsum(2)
    h, before = torch.zeros_like(local[:, 0, 0]), []
    for k in range(t // q):
        before.append(h)
        h = local[:, k, -1] + decay[:, k, -1] * h
    return (local + decay * torch.stack(before, 1)[:, :, None]).view(b.shape)


def scan_by_doubling(rate, b):
    a, t, step = rate.exp(), b.shape[1], 1
    while step < t:
        b = torch.cat((b[:, :step], b[:, step:] + a[:, step:] * b[:, :-step]), 1)
        a = torch.cat((a[:, :step], a[:, step:] * a[:, :-step]), 1)
        step *= 2
    return b


class Mamba(nn.Module):
    def __init__(self, width, copies=1, state=4, conv=4, expand=2, **_):
        super().__init__()
        self.i, self.n, self.r = expand * width, state, -(-width // 16)
        self.in_proj = Linear(width, 2 * self.i, False)
        self.conv = Conv(self.i, conv)
        self.x_proj = Linear(self.i, self.r + 2 * state, False)
        self.dt_proj = Linear(self.r, self.i, True)
        self.dt_proj.bias.data.copy_(step_bias(self.i))
        self.A_log = nn.Parameter(torch.arange(1.0, state + 1).log().repeat(self.i, 1))
        self.D = nn.Parameter(torch.ones(self.i))
        self.out_proj = Linear(self.i, width, False)

    def forward(self, x):
        u, z = self.in_proj(x).chunk(2, -1)
        u = F.silu(self.conv(u))
        r, b, c = self.x_proj(u).split([self.r, self.n, self.n], -1)
        dt, wide = F.softplus(self.dt_proj(r).float()), u.float()
        rate = dt[..., None] * -self.A_log.exp()
        scan = scan_by_chunks if SCAN == "chunks" else scan_by_doubling
        h = scan(rate, (dt * wide)[..., None] * b.float()[:, :, None])
        y = (h * c.float()[:, :, None]).sum(-1) + self.D * wide
        return self.out_proj((y.to(x.dtype)) * F.silu(z))


class Mamba2(nn.Module):
    def __init__(self, width, copies=1, expand=2, head_dim=64, state=128, conv=4, **_):
        super().__init__()
        self.i, self.n, self.p, self.h = expand * width, state, head_dim, expand * width // head_dim
        self.in_proj = Linear(width, 2 * self.i + 2 * state + self.h, False)
        self.conv = Conv(self.i + 2 * state, conv)
        self.dt_bias = nn.Parameter(step_bias(self.h))
        self.A_log = nn.Parameter((1 + 15 * torch.rand(self.h)).log())
        self.D = nn.Parameter(torch.ones(self.h))
        self.norm = Norm(self.i)
        self.out_proj = Linear(self.i, width, False)
        self.unseen = None

    def prepare(self, t, device):
        self.unseen = torch.ones(t, t, dtype=torch.bool, device=device).triu(1)

    def forward(self, x):
        n, t = x.shape[:2]
        z, u, dt = self.in_proj(x).split([self.i, self.i + 2 * self.n, self.h], -1)
        u, b, c = F.silu(self.conv(u)).split([self.i, self.n, self.n], -1)
        dt = F.softplus(dt.float() + self.dt_bias).transpose(1, 2)  # [B,H,T]
        total = (dt * -self.A_log.exp()[:, None]).cumsum(-1)
        decay = (total[..., None] - total[:, :, None]).masked_fill(self.unseen, -math.inf).exp()
        weight = torch.bmm(c, b.mT)[:, None] * (decay * dt[:, :, None]).to(x.dtype)  # [B,H,T,T]
        u = u.view(n, t, self.h, self.p).transpose(1, 2)
        y = weight @ u + self.D.to(x.dtype)[:, None, None] * u
        y = y.transpose(1, 2).reshape(n, t, self.i) * F.silu(z)
        return self.out_proj(self.norm(y))


PRIMITIVES = {"attention": Attention, "mlp": MLP, "swiglu": SwiGLU, "mamba": Mamba, "mamba2": Mamba2}


class Block(nn.Module):
    def __init__(self, width, token, use, copies, options):
        super().__init__()
        self.norm, self.token = Norm(width, copies), token
        self.add_module(token, PRIMITIVES[use](width, copies, **options))

    def forward(self, x):
        return x + getattr(self, self.token)(self.norm(x))


class Net(nn.Module):
    """layers: [(token, use, options)]; head: "bias" (mad_lm) or "tied" (llama). copies K: K nets at once."""

    def __init__(self, width, vocab, layers, head="bias", dtype=torch.bfloat16, copies=1):
        super().__init__()
        self.dtype, self.copies, self.vocab = dtype, copies, vocab
        self.embedding = nn.Module()
        self.embedding.weight = nn.Parameter(torch.randn(shape_of(copies, vocab, width)) * 0.02)
        self.layers = nn.ModuleList([Block(width, token, use, copies, options) for token, use, options in layers])
        self.norm = Norm(width, copies)
        self.head = Linear(width, vocab, True, copies) if head == "bias" else None

    def prepare(self, length, device):
        """Makes what depends on the length alone; once, before the first step."""
        for module in self.modules():
            if module is not self and hasattr(module, "prepare"):
                module.prepare(length, device)
        return self

    def hidden(self, tokens):
        table = self.embedding.weight
        if self.copies > 1:
            tokens = tokens + self.vocab * torch.arange(self.copies, device=tokens.device)[:, None, None]
        x = F.embedding(tokens, table.view(-1, table.shape[-1])).to(self.dtype)
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)

    def forward(self, tokens, targets):
        """The loss; of several copies the sum of their losses."""
        x = self.hidden(tokens)
        y = self.head(x) if self.head is not None else F.linear(x, self.embedding.weight.to(x.dtype))
        return self.copies * F.cross_entropy(y.flatten(0, -2).float(), targets.flatten(), ignore_index=-100)


def load(net, path):
    """Takes over the parameters of a .safetensors file; names must match one for one."""
    with open(path, "rb") as file:
        n = struct.unpack("<Q", file.read(8))[0]
        header, body = json.loads(file.read(n)), file.read()
    header.pop("__metadata__", None)
    own = dict(net.named_parameters())
    if set(own) != set(header):
        raise ValueError(f"{path}: parameters differ: {sorted(set(own) ^ set(header))[:8]}")
    with torch.no_grad():
        for name, entry in header.items():
            first, last = entry["data_offsets"]
            value = torch.frombuffer(bytearray(body[first:last]), dtype=torch.float32)
            own[name].copy_(value.view(entry["shape"]))
