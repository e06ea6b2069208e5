"""Values for tests/unit/compare_statistics.c, worked out without any code of this project: needs numpy and PyTorch.

Ratings are fitted game by game by PyTorch's L-BFGS in double precision; percentiles are numpy's; normalised scores follow
their formula. Usage: python3 make_compare.py > compare.json
"""

import json
import math

import numpy
import torch

SEED = 20261
rng = numpy.random.default_rng(SEED)
names = ["a", "b", "c", "d", "reference"]
# scores[task][player]: one per seed; None is an invalid run. Task 1 is a loss: lower is better.
scores = [
    [list(rng.normal(0.70, 0.1, 6)), list(rng.normal(0.65, 0.1, 5)), list(rng.normal(0.5, 0.2, 4)), [None, 0.4, None], [0.8] * 10],
    [list(rng.normal(2.1, 0.2, 3)), list(rng.normal(2.0, 0.2, 4)), [2.05, 2.05, None], [None, None], []],
]
scores[0][1][0] = scores[0][0][0] + 5e-7  # a tie
higher = [True, False]


def outcome(x, y, up):
    if x is None or y is None:
        return 0.5 if x is None and y is None else (1.0 if y is None else 0.0)
    if abs(x - y) <= 1e-6:
        return 0.5
    return 1.0 if (x > y) == up else 0.0


first, second, won = [], [], []
for task, up in zip(scores, higher):
    for i, xs in enumerate(task):
        for k, ys in enumerate(task):
            if i == k:
                continue
            for x in xs:
                for y in ys:
                    first.append(i)
                    second.append(k)
                    won.append(outcome(x, y, up))
w = torch.zeros(len(names), dtype=torch.float64, requires_grad=True)
i, k, y = torch.tensor(first), torch.tensor(second), torch.tensor(won, dtype=torch.float64)
optimizer = torch.optim.LBFGS([w], max_iter=2000, tolerance_grad=1e-13, tolerance_change=1e-16, line_search_fn="strong_wolfe")


def closure():
    optimizer.zero_grad()
    logits = math.log(10) * (w[i] - w[k])
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, y, reduction="sum") + 0.5 * (w * w).sum()
    loss.backward()
    return loss


for _ in range(20):
    optimizer.step(closure)
ratings = [1000 + 400 * v for v in w.detach().tolist()]

values = rng.normal(0, 1, 37)
at = [0, 2.5, 25, 50, 75, 97.5, 100]


def normalised(s, worst, best, optimum):
    phi = lambda v: -math.log10(abs(v - optimum))
    return max(0.0, (phi(s) - phi(worst)) / (phi(best) - phi(worst)))


scales = [(True, 0.125, 0.999, 1.0), (True, 0.1, 0.6, 1.0), (False, 10.8, 1.08, 0.0), (False, 8.0, 1.2, 0.5)]
cases = []
for up, worst, best, optimum in scales:
    for part in (-0.3, 0.0, 0.2, 0.7, 0.95, 1.0):
        s = worst + part * (best - worst)
        cases.append([up, worst, best, optimum, s, normalised(s, worst, best, optimum), max(0.0, (s - worst) / (best - worst))])

a = rng.integers(0, 12, 25).astype(float)  # with ties
b = a + rng.normal(0, 4, 25)
b[3] = b[7]


def ranks(x):
    order = numpy.sort(x)
    return (numpy.searchsorted(order, x, "left") + numpy.searchsorted(order, x, "right") + 1) / 2


spearman = float(numpy.corrcoef(ranks(a), ranks(b))[0, 1])

print(json.dumps({"made_by": f"numpy {numpy.__version__}, torch {torch.__version__}", "scores": scores, "higher": higher,
                  "ratings": ratings, "values": list(values), "percentiles": [[p, float(numpy.percentile(values, p))] for p in at],
                  "normalised": cases,
                  "ranked": {"a": list(a), "b": list(b), "spearman": spearman}}, indent=1))
