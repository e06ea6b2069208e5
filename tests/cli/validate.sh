#!/bin/sh
# `aira validate` tells every mistake with its place and exits with 2; `aira doctor` says what is here and what is not.
set -eu
aira=$1/bin/aira
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
fail() { echo "$*"; exit 1; }
cp -r "$2/configs" .
cat >bad.yaml <<'EOF'
extends: configs/tasks/quickstart.yaml
candidat: {}
tokens:
  Mx: {use: atention}
  mA: {heads: many}
EOF
status=0
"$aira" validate bad.yaml configs/studies/quickstart.yaml >out 2>err || status=$?
[ "$status" = 2 ] || fail "exit status $status: $(cat err)"
grep -q "^bad.yaml:2:1: error: unknown key 'candidat', did you mean 'candidate'?" err || fail "candidat: $(cat err)"
grep -q "^bad.yaml:4:[0-9]*: error: .*attention" err || fail "atention: $(cat err)"
grep -q "^bad.yaml:5:[0-9]*: error: 'heads' must be a whole number, not 'many'" err || fail "heads: $(cat err)"
grep -q "^configs/studies/quickstart.yaml: a study, no mistakes" out || fail "the study: $(cat out err)"
printf 'a: [1\n' >syntax.yaml
"$aira" validate --json syntax.yaml 2>/dev/null >out || status=$?
[ "$(cat out)" = '{"files":["syntax.yaml"],"errors":[{"file":"syntax.yaml","line":2,"column":1,"text":"did not find expected '\
"',' or ']' (while parsing a flow sequence that began at 1:4)\"}]}" ] || fail "$(cat out)"
printf 'name: x\n' >what.yaml
"$aira" validate what.yaml 2>err && fail "a file of no kind"
grep -q "^what.yaml:1:1: error: no key says what this is" err || fail "$(cat err)"

"$aira" doctor --json --run-dir . >out || fail "doctor: $(cat out)"
for name in program libraries compiler cpu gpu sandbox plugins run-dir; do
    grep -q "\"name\":\"$name\"" out || fail "doctor says nothing of $name"
done
mkdir plugins
printf 'not a plugin' >plugins/broken.so
"$aira" doctor --plugin-path plugins >out && fail "doctor finds nothing wrong with a broken plugin"
grep -q "^plugin *bad .*broken.so" out || fail "$(cat out)"
"$aira" doctor --run-dir nowhere >out && fail "doctor finds nothing wrong with a missing folder"
grep -q "^run-dir *bad *'nowhere': No such file" out || fail "$(cat out)"
