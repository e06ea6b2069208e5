#!/bin/sh
# Unit and plugin tests under AddressSanitizer (with leaks) and UndefinedBehaviorSanitizer.
set -eu
cmake -S "$1" -B "$2" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG='-O1 -g' \
    -DAIRA_SANITIZE=address,undefined >/dev/null
ninja -C "$2" >"$2/ninja.log" || { tail -n 60 "$2/ninja.log"; exit 1; }
ctest --test-dir "$2" -L 'unit|plugin' --output-on-failure --no-tests=error -j "$(nproc)" --timeout 300
