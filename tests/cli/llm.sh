#!/bin/sh
# Everything that can go wrong between an agent and a model server ends in an answer, a failure with its reason, or a held
# search: tests/llm/server.py misbehaves, tests/tools/llm_cases.c judges, and prints a table with times.
set -eu
work=$(mktemp -d)
mkfifo "$work/end"
python3 "$2/tests/llm/server.py" <"$work/end" >"$work/port" &
exec 9>"$work/end" # the server ends when this is closed, however this script ends
trap 'exec 9>&-; rm -rf "$work"' EXIT
n=0
until [ -s "$work/port" ]; do
    n=$((n + 1))
    [ $n -lt 200 ] || { echo "FAILED: the server did not start"; exit 1; }
    sleep 0.05
done
"$1/tests/llm_cases" "http://127.0.0.1:$(cat "$work/port")/v1" together
