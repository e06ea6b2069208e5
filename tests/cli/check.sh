# check.sh - `aira check`: shipped plugins pass; a bad primitive fails with the right verdict, and never takes the program along.
set -u
build=$1 source=$2
aira=$build/bin/aira
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
failures=0
complain() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

for id in attention mlp swiglu mamba mamba2 linear_attention mad_lm mad_autoencoder llama adamw sgd n0 n1 n2 n_all \
    greedy one_shot random exhaustive evolution mcts bayes cpu mutate local; do
    out=$("$aira" check "$id" 2>&1) || complain "$id: $out"
done
for config in '{heads: 4, kv_heads: 2, window: 5, qk_norm: true, bias: false}' '{heads: 2, rope: false}'; do
    out=$("$aira" check attention --config "$config" 2>&1) || complain "attention $config: $out"
done
out=$("$aira" check mamba2 --config '{groups: 2, head_dim: 16, state: 8}' 2>&1) || complain "mamba2, two groups: $out"
out=$("$aira" check table --config "{path: $source/plugins/executors/table/example.csv}" 2>&1) || complain "table: $out"
out=$("$aira" check mad --config '{task: memorization}' 2>&1) || complain "mad: $out"

out=$("$aira" check command --config "{command: [python3, $source/examples/agents/cycle.py]}" 2>&1) ||
    complain "command with cycle.py: $out"
out=$("$aira" check command --config '{command: ["true"]}' 2>&1) && complain "an agent without an answer passes: $out"
case $out in
*"fail  drafts"*) ;;
*) complain "an agent without an answer: $out" ;;
esac

${CC:-cc} -std=c17 -shared -fPIC -fvisibility=hidden -I"$source/include" "$source/tests/check/bad_primitive.c" \
    -o "$dir/bad.so" || exit 1

# expect HOW VERDICT...: exactly these checks fail
expect() {
    how=$1
    shift
    out=$("$aira" check "$dir/bad.so" --config "{how: $how}" --seconds 10 2>&1)
    status=$?
    failed=$(printf '%s\n' "$out" | sed -n 's/^fail  \([a-z0-9]*\).*/\1/p' | tr '\n' ' ')
    [ "$failed" = "$*${*:+ }" ] || complain "$how: failed checks are '$failed', expected '$*': $out"
    if [ $# -eq 0 ]; then want=0; else want=1; fi
    [ $status -eq $want ] || complain "$how: exit status $status, expected $want"
}
expect good
expect dropout
expect stop
expect next_token causality
expect batch_mean batch
expect chunk causality
expect bf16 bf16
expect half reach
expect dead reach
expect flag causality
expect shape shapes
expect impure pure
expect crash survives
expect exit survives
expect nan gradient causality
expect constant reach
expect error shapes

out=$("$aira" check "$dir/bad.so" --config '{how: hang}' --seconds 2 2>&1)
case $out in
*"still busy after 2 s in check shapes"*) ;;
*) complain "hang: $out" ;;
esac

out=$("$aira" check "$dir/bad.so" --config '{how: stop}')
case $out in
*"skip  gradient "*stop_gradient*) ;;
*) complain "stop: $out" ;;
esac

json=$("$aira" check "$dir/bad.so" --config '{how: next_token}' --json) && complain "a failed check exits with 0"
case $json in
'{"path":"'*'"passed":false'*'"name":"causality","verdict":"fail"'*) ;;
*) complain "json: $json" ;;
esac
"$aira" check nosuch >"$dir/out" 2>&1
[ $? -eq 2 ] || complain "unknown plugin: $(cat "$dir/out")"
"$aira" check mlp --config '{expnsion: 3}' >"$dir/out" 2>&1
[ $? -eq 2 ] || complain "unknown key: $(cat "$dir/out")"
grep -q "did you mean 'expansion'" "$dir/out" || complain "no suggestion: $(cat "$dir/out")"
echo "not a plugin" >"$dir/text.so"
"$aira" check "$dir/text.so" >"$dir/out" 2>&1
[ $? -eq 1 ] || complain "text file: $(cat "$dir/out")"

[ $failures -eq 0 ] || exit 1
echo "all checks as expected"
