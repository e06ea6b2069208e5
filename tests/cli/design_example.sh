#!/bin/sh
# tests/cli/design_example.sh - the mechanism that prompts of designs show compiles without a warning, passes aira check, is as
# short as it is said to be; and mistakes in design tasks and studies are told with their place. Arguments: build, source.
set -eu
build=$1 source=$2
aira=$build/bin/aira
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_CACHE_HOME="$work/cache"
fail() { echo "FAIL: $*"; exit 1; }
example=$source/configs/prompts/design/example.c
[ "$(wc -l <"$example")" -le 42 ] || fail "the example has grown to $(wc -l <"$example") lines"
${CC:-cc} -O2 -std=c17 -Wall -Wextra -Werror -fPIC -shared -fvisibility=hidden -I "$source/include" "$example" -lm -o "$work/example.so"
"$aira" check "$work/example.so" >"$work/log" 2>&1 || { cat "$work/log"; fail check; }

task=$source/configs/tasks/design-small.yaml
cat >"$work/base.yaml" <<EOF2
study: base
task: {file: $task}
searches:
  - {agent: {use: templates}, scaffold: {use: greedy}}
budget: {candidates: 2}
EOF2
"$aira" validate "$work/base.yaml" >/dev/null || fail "the study itself"
# refuse WORDS OVERRIDE...: `aira run` says so before anything runs.
refuse() {
    words=$1
    shift
    status=0
    "$aira" run --quiet "$work/base.yaml" --run-dir "$work/run" "$@" >"$work/out" 2>"$work/err" || status=$?
    [ "$status" = 2 ] || { cat "$work/err"; fail "$*: exit status $status"; }
    grep -q -e "$words" "$work/err" || { cat "$work/err"; fail "$*: expected '$words'"; }
    [ ! -e "$work/run" ] || fail "$*: a run directory was made"
}
refuse 'aggregate merges architectures' 'aggregate=[{use: n0}]'
refuse 'unknown token' 'baselines={attention: "2X"}'
refuse 'scaffold random proposes architectures' 'searches.0={scaffold: {use: random}}'
refuse 'the folder cannot be read' "searches.0.literature=$work/none"
refuse 'literature_tokens limits notes' 'searches.0.literature_tokens=500'
refuse 'X, which stands for the mechanism, is not in it' task.candidate.pattern=M
refuse 'names no number of this task' 'task.candidate.configurable={lr: {sets: recipe.lr, from: 0, to: 1}}'
mkdir "$work/none" && echo '# A note' >"$work/none/note.md"
refuse 'none of the prompt templates shows it' "searches.0={agent: {use: mutate}, scaffold: {use: greedy}, literature: $work/none}" \
    "task.file=$source/configs/tasks/quickstart.yaml"
for wrong in "--arch 2mA --source x.c" "" "--source $work/none.c" "--set width=3 --arch 2M"; do
    status=0
    # shellcheck disable=SC2086 # words
    "$aira" evaluate --task "$task" $wrong >"$work/out" 2>"$work/err" || status=$?
    [ "$status" != 0 ] && [ -s "$work/err" ] || fail "evaluate $wrong is accepted"
done
# limited OVERRIDE WORDS: `aira evaluate` refuses the example for exceeding what the task allows, and says where.
limited() {
    "$aira" evaluate --task "$task" --source "$example" --quiet "$1" >"$work/out" 2>"$work/err" && fail "$1 is not held to"
    grep 'cannot be confined here' "$work/err" && exit 77
    grep -q -e "$2" "$work/err" || { cat "$work/err"; fail "$1: expected '$2'"; }
}
limited limits.flops_per_token=10K 'limits: .* FLOPs per token .*, the task allows 1e+04 in the whole model; most are in MATMUL'
limited limits.flops_per_token=20K 'the model computes .* FLOPs per token .*, the task allows 2e+04'
limited limits.parameters=1000 '2336 parameters in 1 layer of it, the task allows 1000'
echo pass
