#!/bin/sh
# kill_resume.sh with nodes that have no call: their scaffold proposed the candidate.
set -eu
exec sh "$(dirname "$0")/kill_resume.sh" "$1" "$2" "$2/tests/cli/studies/proposed.yaml"
