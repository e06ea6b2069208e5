#!/bin/sh
# clang-tidy with the subset of .clang-tidy over the core.
set -eu
command -v clang-tidy >/dev/null 2>&1 || { echo "clang-tidy is not installed"; exit 77; }
cmake -S "$1" -B "$2" -G Ninja -DCMAKE_C_COMPILER=clang -DAIRA_TESTS=OFF >/dev/null
find "$1/core" -path '*/templates' -prune -o -name '*.c' -print | xargs -P "$(nproc)" -n 8 clang-tidy -p "$2" --quiet --warnings-as-errors='*' 2>/dev/null
