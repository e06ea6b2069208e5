#!/bin/sh
# tests/cli/design_kill_resume.sh - kill_resume.sh with a study whose candidates are sources. Arguments: build, source.
build=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME="$work/cache"
"$build/bin/aira" evaluate --quiet --source "$source/configs/prompts/design/example.c" --task "$source/configs/tasks/design-small.yaml" \
    proxies.0.recipe.steps=1 >"$work/log" 2>&1 || {
    grep -q 'sandbox\|confine' "$work/log" && { echo "foreign code cannot be confined here: $(tail -1 "$work/log")"; exit 77; }
    cat "$work/log"
    exit 1
}
# Once for the cache of compiled sources: kills are timed by the first run, and the others would be faster.
"$build/bin/aira" run --quiet "$source/tests/cli/studies/design.yaml" --run-dir "$work/warm" >"$work/log" 2>&1 || { cat "$work/log"; exit 1; }
sh "$source/tests/cli/kill_resume.sh" "$build" "$source" "$source/tests/cli/studies/design.yaml"
