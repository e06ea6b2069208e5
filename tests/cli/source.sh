# source.sh - a C file as a primitive: checked, trained, searched with, refused where it cannot be confined.
set -u
build=$1 source=$2
aira=$build/bin/aira
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
XDG_CACHE_HOME=$dir/cache
export XDG_CACHE_HOME
failures=0
complain() {
    echo "FAILED: $*"
    failures=$((failures + 1))
}

case $("$aira" doctor) in
*"sandbox    ok "*) ;;
*"sandbox    off "*)
    "$aira" doctor | grep '^sandbox'
    exit 77
    ;;
*) complain "doctor: $("$aira" doctor | grep '^sandbox')" ;;
esac

# Checking: as the plugin that is built of the same file.
cp "$source/plugins/primitives/attention/attention.c" "$dir/mechanism.c"
out=$("$aira" check "$dir/mechanism.c" --config '{heads: 4, window: 5}' 2>&1) || complain "check: $out"
case $out in
*"pass  configures"*'"window":5'*) ;;
*) complain "check --config: $out" ;;
esac
"$aira" check "$dir/mechanism.c" --config '{heads: 4, window: 5}' | sed -n '/causality/,/cost/p' >"$dir/of_source"
"$aira" check attention --config '{heads: 4, window: 5}' | sed -n '/causality/,/cost/p' >"$dir/of_plugin"
cmp -s "$dir/of_source" "$dir/of_plugin" || complain "source and plugin: $(diff "$dir/of_source" "$dir/of_plugin")"

# Its author is told in lines of the source.
sed 's/o->linear(/o->liniar(/' "$dir/mechanism.c" >"$dir/typo.c"
out=$("$aira" check "$dir/typo.c" 2>&1) && complain "a typing error passes: $out"
case $out in
*"typo.c:"*"error:"*"liniar"*"|"*) ;;
*) complain "typing error: $out" ;;
esac
case $out in
*"/box/"* | *"/aira/"* | *"/tmp/"*"error:"*) complain "places that are not the author's: $out" ;;
esac
printf 'An idea first, then code.\n' >"$dir/prose.c"
out=$("$aira" check "$dir/prose.c" 2>&1) && complain "prose passes: $out"

# Training: the same score, bit for bit.
cat >"$dir/task.yaml" <<'END'
task: source
candidate: {kind: compose, layers: 2, backbone: {use: mad_lm, width: 32}}
tokens:
  A: {use: source, file: mechanism.c, config: {heads: 4}, at_scale: {use: source, file: mechanism.c, config: {kv_heads: 8}}}
  M: {use: mlp, at_scale: swiglu}
proxies:
  - {dataset: {use: mad, task: memorization}, recipe: {optimizer: {use: adamw, lr: 1e-3}, steps: 8, batch: 8}}
END
sed 's/^  A:.*/  A: {use: attention, heads: 4, at_scale: {use: attention, kv_heads: 8}}/' "$dir/task.yaml" >"$dir/plain.yaml"
score() {
    "$aira" evaluate --arch 'A M' --task "$1" --json | sed 's/.*"score":\([0-9.e-]*\).*"loss":\([0-9.e-]*\).*/\1 \2/'
}
a=$(score "$dir/task.yaml") b=$(score "$dir/plain.yaml")
[ -n "$a" ] && [ "$a" = "$b" ] || complain "scores: '$a' as a source, '$b' as a plugin"
a=$("$aira" extrapolate --arch 'A M' --to 350M --task "$dir/task.yaml") b=$("$aira" extrapolate --arch 'A M' --to 350M --task "$dir/plain.yaml")
[ "$a" = "$b" ] || complain "extrapolated: '$a' '$b'"

# A search by worker processes; its run folder holds the text, not the file.
cat >"$dir/study.yaml" <<'END'
study: source
task: {file: task.yaml}
searches:
  - {agent: {use: mutate}, scaffold: {use: greedy, drafts: 2}, seeds: [1]}
budget: {candidates: 3}
confirm: {seeds: 1}
final: {seeds: 0}
device: {use: cpu}
END
"$aira" run "$dir/study.yaml" --run-dir "$dir/run" --quiet >"$dir/out" 2>&1 || complain "run: $(cat "$dir/out")"
rm "$dir/mechanism.c"
"$aira" validate "$dir/run/task.yaml" >"$dir/out" 2>&1 || complain "the run's task: $(cat "$dir/out")"
a=$("$aira" evaluate --arch 'A M' --task "$dir/run/task.yaml" 2>&1) || complain "the run's task trains: $a"
out=$("$aira" validate "$dir/task.yaml" 2>&1) && complain "a source that is not there: $out"
case $out in
*"task.yaml:4:"*"mechanism.c"*) ;;
*) complain "a source that is not there: $out" ;;
esac
for keys in 'file: a.c, text: "int x;", sha256: 00' 'config: {}' 'file: a.c, colour: red' 'text: "int x;", config: 3'; do
    sed "s/^  A:.*/  A: {use: source, $keys}/" "$dir/task.yaml" >"$dir/bad.yaml"
    out=$("$aira" validate "$dir/bad.yaml" 2>&1) && complain "accepted: $keys"
    case $out in
    *"bad.yaml:4:"*) ;;
    *) complain "$keys: $out" ;;
    esac
done

# Where there are no name spaces: refused, unless somebody asks for it by name.
cp "$source/plugins/primitives/mlp/mlp.c" "$dir/mlp.c"
without() { unshare -U -r sh -c 'echo 0 >/proc/sys/user/max_user_namespaces || exit 99; exec "$@"' sh "$@"; }
if without true 2>/dev/null; then
    out=$(without "$aira" doctor) || complain "doctor without name spaces fails: $out"
    case $out in
    *"sandbox    off "*) ;;
    *) complain "doctor without name spaces: $out" ;;
    esac
    out=$(without "$aira" check "$dir/mlp.c" 2>&1) && complain "not refused: $out"
    case $out in
    *"refused on this machine"*unconfined*) ;;
    *) complain "refusal: $out" ;;
    esac
    out=$(without "$aira" run "$source/configs/studies/design-small.yaml" --run-dir "$dir/none" 2>&1) && complain "a design runs: $out"
    case $out in
    *"need the sandbox"*"cannot be confined here"*) ;;
    *) complain "a design without a sandbox: $out" ;;
    esac
    out=$(without "$aira" check --unconfined "$dir/mlp.c" 2>&1) || complain "--unconfined: $out"
    case $out in
    *"level limits"*) ;;
    *) complain "--unconfined does not say what it does: $out" ;;
    esac
fi

[ $failures -eq 0 ] || exit 1
echo "all as expected"
