#!/bin/sh
# Every fuzzer builds and runs a few seconds without a finding; longer by hand: tests/fuzz/run.sh 300.
exec sh "$1/tests/fuzz/run.sh" 3 "$2"
