#!/bin/sh
# The second compiler: program, tools and plugins build without a warning.
set -eu
cmake -S "$1" -B "$2" -G Ninja -DCMAKE_C_COMPILER=clang -DCMAKE_BUILD_TYPE=Debug -DAIRA_TESTS=OFF >/dev/null
ninja -C "$2" >"$2/ninja.log" || { tail -n 60 "$2/ninja.log"; exit 1; }
