#!/usr/bin/env python3
"""tools/abi-lock.py - writes tests/abi/v1_<minor>.c, the lock of everything that crosses the plugin boundary.

The lock states, for every public struct, its size and each member's offset and type, and the value of every public
constant. It is written once per released minor and compiled against the headers for ever: a member that moves or
changes its type stops the build, a member appended to the end does not.

  tools/abi-lock.py                writes the lock of the minor in abi.h and records its hash; never replaces one
  tools/abi-lock.py --unreleased   replaces it: only while this minor has not been released
  tools/abi-lock.py --check        fails when the lock of this minor is not what the headers give (says what to do)
"""
import hashlib
import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parent.parent
INCLUDE = ROOT / "include"
LOCKS = ROOT / "tests" / "abi"
RECORD = LOCKS / "released.txt"
NOT_CROSSING = {"rng.h"}  # static inline helpers: no struct of theirs is passed between host and plugin


def headers():
    found = sorted(INCLUDE.glob("aira/*.h")) + sorted(INCLUDE.glob("aira/ext/*.h"))
    return [h for h in found if h.name not in NOT_CROSSING]


def clean(text):
    """Comments away, continued lines joined."""
    text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
    return re.sub(r"\\\n", " ", text)


def structs(text):
    """(name, body) of every struct that is defined."""
    text = "\n".join(line for line in text.split("\n") if not line.lstrip().startswith("#"))
    for match in re.finditer(r"\bstruct\s+(aira_\w+)\s*\{", text):
        depth, at = 1, match.end()
        while depth:
            depth += {"{": 1, "}": -1}.get(text[at], 0)
            at += 1
        yield match.group(1), text[match.end():at - 1]


def split(text, separator):
    """At separators outside parentheses and brackets."""
    parts, depth, last = [], 0, 0
    for i, c in enumerate(text):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(c, 0)
        if c == separator and depth == 0:
            parts.append(text[last:i])
            last = i + 1
    return parts + [text[last:]]


def members(body):
    """(name, pointer-to-its-type) of every member."""
    for declaration in split(body, ";"):
        declaration = " ".join(declaration.split())
        if not declaration:
            continue
        first, *rest = split(declaration, ",")
        pointer = re.match(r"(.*?\(\*)(\w+)(\).*)$", declaration)
        if pointer and not rest:
            yield pointer.group(2), pointer.group(1) + "(*)" + pointer.group(3)
            continue
        base = re.match(r"((?:const |struct )*\w+)(.*)$", first)
        for declarator in [base.group(2)] + rest:
            parts = re.match(r"\s*([\s*]*(?:const\s*\*?\s*)*)(\w+)((?:\[\w+\])*)\s*$", declarator)
            if not parts:
                sys.exit(f"abi-lock: cannot read the member '{declaration}': teach tools/abi-lock.py its form")
            yield parts.group(2), f"{base.group(1)} {parts.group(1)}(*){parts.group(3)}".replace("  ", " ")


def collect():
    rows, constants = [], []
    for header in headers():
        text = clean(header.read_text())
        rows += [(name, list(members(body))) for name, body in structs(text)]
        for name, value in re.findall(r"^#define (AIRA_\w+) +(\(?-?[0-9][0-9A-Fa-fxX]*u?\)?)\s*$", text, flags=re.M):
            if name != "AIRA_ABI_MINOR":
                constants.append((name, value))
        constants += [("AIRA_OP_" + n, c) for n, c in re.findall(r"\bX\((\w+), (\d+),", text)]
    return rows, constants


def include_lines():
    return "\n".join(f'#include "{h.relative_to(INCLUDE)}"' for h in headers())


def measure(rows):
    """Sizes and offsets, from the compiler."""
    lines = [include_lines(), "#include <stddef.h>", "#include <stdio.h>", "int main(void) {"]
    for name, fields in rows:
        lines.append(f'printf("%zu\\n", sizeof({tag(name)}));')
        lines += [f'printf("%zu\\n", offsetof({tag(name)}, {field}));' for field, _ in fields]
    lines.append("return 0; }")
    with tempfile.TemporaryDirectory() as folder:
        source, program = pathlib.Path(folder, "measure.c"), pathlib.Path(folder, "measure")
        source.write_text("\n".join(lines))
        subprocess.run(["cc", "-std=c11", f"-I{INCLUDE}", str(source), "-o", str(program)], check=True)
        output = subprocess.run([str(program)], check=True, capture_output=True, text=True).stdout
    return iter(int(line) for line in output.split())


def tag(name):
    return f"struct {name}"


def generate(major, minor):
    rows, constants = collect()
    numbers = measure(rows)
    out = [f"/* tests/abi/v{major}_{minor}.c - everything that crosses the plugin boundary in ABI {major}.{minor}.",
           " *",
           " * Written by tools/abi-lock.py when this minor was released; never edited. Structs that begin with their size may",
           " * grow at the end; the others are frozen for the major. Valid on 64-bit machines.",
           " */",
           include_lines(),
           "",
           "#define GROWS(type, bytes) _Static_assert(sizeof(struct type) >= bytes, #type \" shrank\")",
           "#define FROZEN(type, bytes) _Static_assert(sizeof(struct type) == bytes, #type \" changed its size\")",
           "#define SLOT(type, member, place, ...)                                                                 \\",
           "    _Static_assert(offsetof(struct type, member) == place, #type \".\" #member \" moved\");              \\",
           "    _Static_assert(_Generic(&((struct type *)0)->member, __VA_ARGS__: 1, default: 0),                  \\",
           "                   #type \".\" #member \" changed its type\")",
           "#define VALUE(name, number) _Static_assert((name) == (number), #name \" changed its value\")",
           "",
           "_Static_assert(_Generic((aira_status *)0, int32_t *: 1, default: 0), \"aira_status changed its type\");"]
    for name, fields in rows:
        size = next(numbers)
        grows = fields[0][0] == "size" or name == "aira_field"
        out += ["", f"{'GROWS' if grows else 'FROZEN'}({name}, {size});"]
        out += [f"SLOT({name}, {field}, {next(numbers)}, {kind});" for field, kind in fields]
    out += [""] + [f"VALUE({name}, {value});" for name, value in constants] + [""]
    return "\n".join(out)


def main():
    abi = (INCLUDE / "aira" / "abi.h").read_text()
    major, minor = (int(re.search(rf"#define AIRA_ABI_{part} (\d+)", abi).group(1)) for part in ("MAJOR", "MINOR"))
    lock = LOCKS / f"v{major}_{minor}.c"
    text = generate(major, minor)
    mode = sys.argv[1] if len(sys.argv) > 1 else ""
    if mode == "--check":
        if not lock.exists() or lock.read_text() != text:
            sys.exit(f"abi-lock: {lock.name} is not what the headers give. A slot appended after the release of "
                     f"{major}.{minor}: raise AIRA_ABI_MINOR and run tools/abi-lock.py. Not released yet: run "
                     "tools/abi-lock.py --unreleased.")
        return
    if mode not in ("", "--unreleased"):
        sys.exit(__doc__)
    if lock.exists() and mode != "--unreleased":
        sys.exit(f"abi-lock: {lock.name} exists; the lock of a released minor is never replaced")
    lock.write_text(text)
    kept = [line for line in RECORD.read_text().splitlines() if line.split()[0] != lock.name] if RECORD.exists() else []
    RECORD.write_text("\n".join(kept + [f"{lock.name} {hashlib.sha256(text.encode()).hexdigest()}"]) + "\n")


if __name__ == "__main__":
    main()
