#!/bin/sh
# A small run of tests/bench/overhead.sh: 300 nodes answered from a table; killed half-way and resumed they are the same,
# and status, resume, report and replay work on them.
set -eu
exec sh "$2/tests/bench/overhead.sh" "$1" 300
