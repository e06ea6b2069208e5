#!/usr/bin/env python3
"""Pairs of texts for the data set text_pairs, made from a folder of texts: two halves of one text belong together (1),
halves of different texts do not (0). A stand-in where the ACL Anthology Network's pairs are not at hand; scores on it say
nothing about Long Range Arena's Retrieval.
usage: pairs.py FOLDER OUT      writes OUT/new_aan_pairs.{train,eval,test}.tsv from 80, 10 and 10 % of the texts
"""
import hashlib
import pathlib
import sys


def halves(path):
    words = path.read_bytes().decode("utf-8", "replace").split()
    half = len(words) // 2
    return " ".join(words[:half]), " ".join(words[half:])


def main():
    folder, out = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    order = lambda path: hashlib.sha256(path.name.encode()).hexdigest()
    texts = sorted((p for p in folder.rglob("*.txt") if p.is_file()), key=order)
    if len(texts) < 40:
        sys.exit(f"{folder} holds {len(texts)} texts (*.txt); at least 40 are needed")
    out.mkdir(parents=True, exist_ok=True)
    tenth = len(texts) // 10
    parts = {"train": texts[: len(texts) - 2 * tenth], "eval": texts[-2 * tenth : -tenth], "test": texts[-tenth:]}
    for name, part in parts.items():
        with open(out / f"new_aan_pairs.{name}.tsv", "w", encoding="utf-8") as f:
            for k, path in enumerate(part):
                first, second = halves(path)
                other = part[(k + 1) % len(part)]
                f.write(f"1.0\t{k}\t{k}\t{first}\t{second}\n")
                f.write(f"0.0\t{k}\t{(k + 1) % len(part)}\t{first}\t{halves(other)[1]}\n")


if len(sys.argv) != 3:
    sys.exit(__doc__)
main()
