#!/usr/bin/env python3
"""The smallest agent for `use: command`: one JSON object on standard input, the answer on standard output.

A real one would send request["messages"] to a language model and print what comes back. This one takes the parent that it
is to improve (or the first token throughout) and replaces the layer whose turn it is by the next token.
"""
import json
import sys

request = json.load(sys.stdin)
state = request["state"]
tokens, parent = state["tokens"], state["parent"]


def expand(text):
    """"2mA M" -> ["mA", "mA", "M"]"""
    layers = []
    for part in text.split():
        digits = len(part) - len(part.lstrip("0123456789"))
        layers += [part[digits:]] * int(part[:digits] or 1)
    return layers


if parent and parent["architecture"]:
    layers = expand(parent["architecture"])
else:
    layers = [tokens[state["node"] % len(tokens)]] * state["layers"]
at = state["node"] % state["layers"]
layers[at] = tokens[(tokens.index(layers[at]) + 1) % len(tokens)]
print(f"I replace layer {at + 1}.\n\n```yaml\nlayers: \"{' '.join(layers)}\"\n```")
