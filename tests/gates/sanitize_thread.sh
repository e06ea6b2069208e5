#!/bin/sh
# The plain programs (threads, processes) under ThreadSanitizer; Criterion does not work under it.
set -eu
cmake -S "$1" -B "$2" -G Ninja -DCMAKE_BUILD_TYPE=RelWithDebInfo -DAIRA_SANITIZE=thread >/dev/null
ninja -C "$2" >"$2/ninja.log" || { tail -n 40 "$2/ninja.log"; exit 1; }
ctest --test-dir "$2" -L plain --output-on-failure --no-tests=error --timeout 300
