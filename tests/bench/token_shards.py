#!/usr/bin/env python3
"""token_shards.py - token files for measuring large trainings where there is no corpus.

    python3 tests/bench/token_shards.py FOLDER [--vocab 32768] [--tokens 8000000] [--seed 1]

Writes FOLDER/train.npy and FOLDER/val.npy (a tenth): uint16 (uint32 above 65,536 ids), drawn by Zipf's law, so that a
model has something to learn. The same arguments give the same bytes; nothing but Python's own library is used.
"""
import argparse
import array
import pathlib
import random


def write(path, tokens, wide):
    head = f"{{'descr': '{'<u4' if wide else '<u2'}', 'fortran_order': False, 'shape': ({len(tokens)},), }}"
    head = head.ljust(117) + "\n"
    data = array.array("I" if wide else "H", tokens)
    with open(path, "wb") as file:
        file.write(b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head.encode())
        data.tofile(file)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--vocab", type=int, default=32768)
    parser.add_argument("--tokens", type=int, default=8_000_000)
    parser.add_argument("--seed", type=int, default=1)
    a = parser.parse_args()
    a.folder.mkdir(parents=True, exist_ok=True)
    draw = random.Random(a.seed)
    ids = list(range(a.vocab))
    draw.shuffle(ids)
    sums, total = [], 0.0
    for rank in range(a.vocab):
        total += 1 / (rank + 2.7)
        sums.append(total)
    for name, n in (("train", a.tokens), ("val", a.tokens // 10)):
        write(a.folder / f"{name}.npy", draw.choices(ids, cum_weights=sums, k=n), a.vocab > 65536)


main()
