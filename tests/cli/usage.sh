#!/bin/sh
# The program's own face: usage, version, exit status 2 and the nearest name for what it does not know.
set -eu
aira=$1/bin/aira
fail() { echo "$*"; exit 1; }
# expect STATUS TEXT COMMAND...: exit status, and TEXT somewhere in the output
expect() {
    wanted=$1 text=$2 status=0
    shift 2
    output=$("$@" 2>&1) || status=$?
    [ "$status" = "$wanted" ] || fail "$*: exit status $status, not $wanted: $output"
    case $output in *"$text"*) ;; *) fail "$*: no '$text' in: $output" ;; esac
}
expect 0 "usage: aira COMMAND" "$aira"
expect 0 "usage: aira COMMAND" "$aira" --help
expect 0 "aira 0." "$aira" --version
expect 2 "unknown command 'vaildate', did you mean 'validate'?" "$aira" vaildate
expect 2 "unknown option '--jsn', did you mean '--json'?" "$aira" --jsn
expect 2 "--plugin-path needs a value: DIR" "$aira" --plugin-path
expect 0 "usage: aira validate FILE" "$aira" validate --help
expect 2 "too few arguments" "$aira" validate
for command in compare fork rescore; do
    expect 0 "usage: aira $command DIR" "$aira" $command --help
    expect 2 "unknown option '--jsn', did you mean '--json'?" "$aira" $command --jsn
    case $("$aira") in *"  $command "*) ;; *) fail "aira alone does not list $command" ;; esac
done
expect 2 "unknown option '--jsno', did you mean '--json'?" "$aira" validate --jsno x.yaml
expect 2 "--json takes no value" "$aira" doctor --json=1
[ -e /dev/full ] || exit 0
status=0
"$aira" --version >/dev/full 2>/dev/null || status=$?
[ "$status" = 1 ] || fail "a full disk under standard output gives exit status $status"
