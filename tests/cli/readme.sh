#!/bin/sh
# Every command of README.md works as it stands there, one after the other, in a copy of the tree. The two ./bootstrap
# lines need root and a fresh machine; of them it is checked that ./bootstrap knows the command.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cp -r "$2/configs" "$2/include" "$2/examples" "$2/bootstrap" "$folder"
mkdir "$folder/build"
ln -s "$1/bin" "$1/lib" "$folder/build"
cd "$folder"
# Lines of the blocks that open with ```sh, or with more backquotes.
awk '
    inside && $0 == fence { inside = 0; next }
    inside { print; next }
    /^```+sh$/ { fence = $0; sub(/sh$/, "", fence); inside = 1 }
' "$2/README.md" >commands
grep '^\./bootstrap' commands | while read -r _ command; do
    ./bootstrap help | grep -q "^  ./bootstrap $command " || { echo "bootstrap does not know $command"; exit 1; }
done
grep -v '^\./bootstrap' commands >script
[ "$(grep -c '^aira' script)" -gt 10 ] || { echo "README.md has hardly any command"; exit 1; }
XDG_CACHE_HOME=$folder/cache sh -eux script >log 2>&1 || { tail -n 40 log; exit 1; }
for made in runs/first/report.html runs/mine/report.html log.jsonl tiny.safetensors logits.npy samples/targets.npy \
    question.json; do
    [ -s "$made" ] || { echo "$made was not made"; exit 1; }
done
