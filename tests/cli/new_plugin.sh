#!/bin/sh
# tests/cli/new_plugin.sh - `aira new` for every kind it knows: what it writes builds with one cc line, passes `aira check`,
# and is found, listed and described; bad requests are refused. Arguments: build, source.
set -eu
build=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME="$work" XDG_CACHE_HOME="$work/cache" AIRA="$build/bin/aira" AIRA_INCLUDE="$2/include"
unset AIRA_PLUGIN_PATH 2>/dev/null || true
fail() {
    echo "FAIL: $*"
    exit 1
}

kinds="primitive dataset agent scaffold aggregator optimizer"
for kind in $kinds; do
    "$AIRA" new "$kind" "my_$kind" --dir "$work" >/dev/null
    cd "$work/my_$kind"
    [ "$(ls | tr '\n' ' ')" = "CMakeLists.txt my_$kind.c test.sh " ] || fail "$kind: $(ls)"
    if grep -q '@[A-Z]*@' ./*; then fail "$kind: a word was not filled in"; fi
    ./test.sh >log 2>&1 || { cat log; fail "$kind: test.sh"; }
    tail -1 log
    AIRA_PLUGIN_PATH=$PWD "$AIRA" plugins "$kind" | grep -q "^$kind  *my_$kind  *0.1.0  *loaded" || fail "$kind: not listed as loaded"
done

# The command line in each source's first comment works as it stands.
line=$(sed -n 's/^ \* Build it: //p' "$work/my_primitive/my_primitive.c")
cd "$work/my_primitive" && rm my_primitive.so && sh -c "$line" && [ -f my_primitive.so ] || fail "the line in the comment: $line"

export AIRA_PLUGIN_PATH="$work/my_primitive:$work/my_agent"
"$AIRA" describe my_primitive >log
grep -q 'token MyPrimitive, reads other positions' log || { cat log; fail describe; }
grep -q 'kernel  *int' log || { cat log; fail "describe: keys"; }
"$AIRA" describe primitive/my_primitive >/dev/null
"$AIRA" describe ./my_primitive.so --json | grep -q '"keys":\[{"key":"kernel","type":"int"' || fail "describe --json"
"$AIRA" plugins --json >log
grep -q '^\[{"id":"my_primitive","kind":"primitive","version":"0.1.0","path":"'"$work"'/my_primitive/my_primitive.so","state":"loaded","reason":""}' log || { cat log; fail "plugins --json"; }

# refuse STATUS WORDS COMMAND...
refuse() {
    want=$1 words=$2
    shift 2
    status=0
    "$AIRA" "$@" >out 2>err || status=$?
    [ "$status" = "$want" ] || { cat err; fail "aira $*: exit status $status, expected $want"; }
    grep -q -e "$words" err || { cat err; fail "aira $*: expected '$words'"; }
    [ ! -s out ] || fail "aira $*: wrote to standard output"
}
refuse 2 'File exists' new primitive my_primitive --dir "$work"
refuse 2 "no template for the kind 'device'" new device x --dir "$work"
refuse 2 "cannot be an id" new primitive Bad-Name --dir "$work"
refuse 1 'cannot make the folder' new primitive x --dir "$work/none"
refuse 2 "did you mean 'my_primitive'" describe my_primitve
refuse 2 "there is no kind 'prim'" plugins prim
refuse 2 "unknown primitive 'none'" describe primitive/none
refuse 1 'not a shared object' describe "$2/LICENSE"

# A bad file in a folder is listed with its reason and the listing succeeds.
echo text >bad.so
"$AIRA" plugins --plugin-path . | grep -q 'refused .*bad.so: not a shared object' || fail "bad file not listed"
"$AIRA" plugins >/dev/full 2>err && fail "a full disk was not noticed"
echo "pass"
