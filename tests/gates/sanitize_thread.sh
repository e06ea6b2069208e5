#!/bin/sh
# The plain programs (threads, processes) under ThreadSanitizer; Criterion does not work under it.
set -eu
cmake -S "$1" -B "$2" -G Ninja -DCMAKE_BUILD_TYPE=Debug -DCMAKE_C_FLAGS_DEBUG='-O1 -g' -DAIRA_SANITIZE=thread >/dev/null
targets=$(ninja -C "$2" -t targets all | sed -n 's/^\(tests\/plain_[^:]*\|lib\/aira\/plugins\/[^:]*\|bin\/[^:]*\): .*LINKER.*/\1/p')
# shellcheck disable=SC2086 # a list of words
ninja -C "$2" $targets >"$2/ninja.log" || { tail -n 60 "$2/ninja.log"; exit 1; }
ctest --test-dir "$2" -L plain --output-on-failure --no-tests=error --timeout 300
