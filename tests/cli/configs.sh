#!/bin/sh
# Every shipped study, task and model file is without a mistake (data files may be absent), as text and as JSON.
set -eu
cd "$2"
files=$(find configs -name '*.yaml' | sort)
[ -n "$files" ] || { echo "no files in configs"; exit 1; }
# shellcheck disable=SC2086 # a list of words
"$1/bin/aira" validate $files
# shellcheck disable=SC2086
"$1/bin/aira" validate --json $files | grep -q '"errors":\[\]'
