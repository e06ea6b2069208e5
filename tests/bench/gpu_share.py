#!/usr/bin/env python3
"""What a launch of each kernel costs the card, from Nsight Compute's text.

    ncu --section SpeedOfLight --section LaunchStats --section Occupancy --section WarpStateStats --section InstructionStats \\
        --print-details all -c 60 build/bench/bench_gpu_profile --arch "mA M mA M" --steps 2 >ncu.txt
    python3 tests/bench/gpu_share.py ncu.txt [KERNEL]

A line per kernel and size of launch: microseconds alone, blocks, how many fit on a multiprocessor, and microseconds of
the whole card: alone x blocks / blocks that fit, at most alone. That is what counts when many candidates train at once.
KERNEL: also the largest stalls of its first launch, cycles per issued instruction and warp.
"""
import re
import sys

MULTIPROCESSORS = 132  # H100 SXM, H200


def launches(path):
    found = []
    with open(path, errors="replace") as lines:
        for line in lines:
            head = re.match(r"^  (\S.*?) \((\d+), (\d+), (\d+)\)x\((\d+), (\d+), (\d+)\)", line)
            value = re.match(r"^\s{4}(\S.*?)\s{2,}(\S*)\s+([\d.,]+)\s*$", line)
            if head:
                sizes = [int(x) for x in head.groups()[1:]]
                found.append({"kernel": head[1].split("(")[0], "blocks": sizes[0] * sizes[1] * sizes[2],
                              "threads": sizes[3] * sizes[4] * sizes[5]})
            elif value and found:
                found[-1].setdefault(value[1].strip(), float(value[3].replace(",", "")))
    return [x for x in found if "Duration" in x]


def main():
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    kinds = {}
    every = launches(sys.argv[1])
    for x in every:
        fit = min(int(x.get("Block Limit " + what, 32)) for what in ("Registers", "Shared Mem", "Warps", "Barriers", "SM"))
        share = x["Duration"] * min(1.0, x["blocks"] / (MULTIPROCESSORS * max(fit, 1)))
        kinds.setdefault((x["kernel"], x["blocks"], x["threads"], fit), []).append((x["Duration"], share))
    print(f"{'kernel':60} {'n':>3} {'blocks':>7} {'fit':>4} {'alone us':>9} {'of the card us':>15}")
    for (kernel, blocks, _, fit), times in sorted(kinds.items(), key=lambda k: -k[1][0][1]):
        alone, share = (sum(t[k] for t in times) / len(times) for k in (0, 1))
        print(f"{kernel[:60]:60} {len(times):3} {blocks:7} {fit:4} {alone:9.1f} {share:15.1f}")
    for x in [x for x in every if len(sys.argv) == 3 and sys.argv[2] in x["kernel"]][:1]:
        print(f"\n{x['kernel']}: {x.get('Instructions Executed', 0):.0f} warp instructions")
        stalls = sorted(((v, k) for k, v in x.items() if k.startswith("Stall ")), reverse=True)
        print(", ".join(f"{name[6:].lower()} {cycles:.2f}" for cycles, name in stalls[:8]))


if __name__ == "__main__":
    main()
