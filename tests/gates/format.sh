#!/bin/sh
# Every C file is laid out as .clang-format says.
set -eu
cd "$1"
find core include kernels plugins tests tools examples -path tests/abi -prune -o \( -name '*.c' -o -name '*.h' \) -print |
    xargs clang-format --dry-run -Werror
