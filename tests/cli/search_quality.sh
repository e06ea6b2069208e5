#!/bin/sh
# The report on search quality, with few replays: every policy is in it, and what does not beat random is said to.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }
"$1/bench/bench_search_quality" --table "$2/configs/tables/space64.csv" --out "$work" --replays 40 >"$work/log" || fail "it failed"
[ "$(grep -c '^| bayes |' "$work/log")" = 3 ] || fail "$(cat "$work/log")"
[ "$(wc -l <"$work/search-quality.csv")" = $((1 + 7 * 3 * 48)) ] || fail "the table is not whole"
grep -q "does not beat random at" "$work/search-quality.html" || fail "40 replays cannot prove everything"
! grep -q "nan" "$work/search-quality.csv" "$work/search-quality.html" || fail "a figure is no number"
! grep -qE 'src=|href="http' "$work/search-quality.html" || fail "the page needs other files"
