#!/bin/sh
# The second compiler: everything builds without a warning.
set -eu
cmake -S "$1" -B "$2" -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug >/dev/null
ninja -C "$2" || exit 1
