#!/bin/sh
# A few kills (-9) of coordinators and workers; tests/bench/crash.sh makes 100.
set -eu
exec sh "$2/tests/bench/crash.sh" "$1" "$2" 6
