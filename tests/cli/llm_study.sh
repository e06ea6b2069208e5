#!/bin/sh
# Whole studies against tests/llm/server.py: what is refused before anything starts, what holds a search and how it goes on,
# what a call's row says, and a planted key that is searched for everywhere.
set -eu
aira=$1/bin/aira
source=$2
work=$(mktemp -d)
key=sk-planted-0123456789-abcdefghijklmnop
fail() { echo "FAILED: $*"; exit 1; }
# expect STATUS TEXT COMMAND...: exit status, and TEXT somewhere in the output
expect() {
    wanted=$1 text=$2 status=0
    shift 2
    output=$("$@" 2>&1) || status=$?
    printf '%s\n' "$output" >>"$work/said"
    [ "$status" = "$wanted" ] || fail "$*: exit status $status, not $wanted: $output"
    case $output in *"$text"*) ;; *) fail "$*: no '$text' in: $output" ;; esac
}
has() { case $output in *"$1"*) ;; *) fail "no '$1' in: $output" ;; esac; }
# query RUN SQL: the first column of the first row
query() { python3 -c 'import sqlite3, sys
print(sqlite3.connect(sys.argv[1]).execute(sys.argv[2]).fetchone()[0])' "$work/$1/journal.db" "$2"; }
is() { [ "$(query "$1" "$2")" = "$3" ] || fail "$1: $2 gives $(query "$1" "$2"), not $3"; }

mkfifo "$work/end"
python3 "$source/tests/llm/server.py" --key $key --log "$work/requests" <"$work/end" >"$work/port" &
exec 9>"$work/end" # the server ends when this is closed, however this script ends
trap 'exec 9>&-; rm -rf "$work"' EXIT
n=0
until [ -s "$work/port" ]; do
    n=$((n + 1))
    [ $n -lt 200 ] || fail "the server did not start"
    sleep 0.05
done
url=http://127.0.0.1:$(cat "$work/port")

cat >"$work/study.yaml" <<YAML
extends: $source/tests/cli/studies/tiny.yaml
study: llm
searches:
  - {agent: {use: openai, model: slow, base_url: $url/v1, api_key_env: AIRA_TEST_KEY}, scaffold: {use: greedy, drafts: 3}, parallel: 2}
  - {agent: {use: anthropic, model: ok, base_url: $url, api_key_env: AIRA_TEST_KEY}, scaffold: {use: one_shot}}
budget: {candidates: 6, money: 1 USD}
prices:
  - {model: "served-*", input: 1, cached_input: 0.1, cache_write: 1.25, output: 10, valid_from: 2020-01-01, source: test}
  - {model: "served-*", input: 1000, output: 1000, valid_from: 2999-01-01}
  - {model: "*", input: 2, output: 2}
aggregate: [{use: n0}]
YAML
unset AIRA_TEST_KEY

# Before anything starts: keys, names of keys, prices.
expect 0 "the variable AIRA_TEST_KEY, named by api_key_env, is not set" "$aira" validate "$work/study.yaml"
expect 2 "study.yaml:4:13: error: agent openai: the variable AIRA_TEST_KEY" "$aira" validate --data "$work/study.yaml"
has "agent anthropic"
expect 2 "the variable AIRA_TEST_KEY" "$aira" run "$work/study.yaml" --run-dir "$work/unset"
[ ! -e "$work/unset" ] || fail "a study without its key left a run directory"
expect 1 "key        bad" "$aira" doctor "$work/study.yaml"
expect 0 "AIRA_TEST_KEY is set" env AIRA_TEST_KEY=$key "$aira" doctor "$work/study.yaml"
case $output in *"$key"*) fail "doctor tells the key" ;; esac
expect 2 "not a key" "$aira" validate "$work/study.yaml" searches.0.agent.api_key_env=$key
case $output in *"$key"*) fail "a key given as a name is repeated: $output" ;; esac
expect 2 "wants a key" "$aira" validate "$work/study.yaml" 'searches.0.agent={use: openai, model: x}'
expect 2 "no user and no key" "$aira" validate "$work/study.yaml" 'searches.0.agent={use: openai, model: x, base_url: "http://a:b@localhost/v1"}'
expect 2 "no JSON object" "$aira" validate "$work/study.yaml" 'searches.0.agent.extra="[1]"'
expect 2 "no price is known for the model slow" "$aira" validate "$work/study.yaml" 'prices=[{model: ok, input: 1, output: 1}]'
expect 0 "no mistakes" "$aira" validate "$work/study.yaml" 'prices=[{model: ok, input: 1, output: 1}]' budget.allow_unpriced=true
expect 2 "a price needs \`output\`" "$aira" validate "$work/study.yaml" 'prices=[{model: ok, input: -1}]'
has "input is USD per million tokens"

# A wrong key: held at once, nothing recorded against the search, and resumed with the right one.
expect 1 "does not accept the key in the variable AIRA_TEST_KEY" env AIRA_TEST_KEY=wrong-$key "$aira" run "$work/study.yaml" --run-dir "$work/run"
has "aira resume $work/run"
case $output in *"$key"*) fail "the refused key is repeated: $output" ;; esac
is run "SELECT count(*) FROM node_row WHERE status != 'pending'" 0
is run "SELECT count(*) FROM event WHERE kind = 'held'" 2
expect 0 '"state":"interrupted"' "$aira" status "$work/run" --json
is run "SELECT count(*) FROM call WHERE state = 'asked'" 3

# The right one, watched: command lines, environments and limits of everything that runs.
cat >"$work/watch.py" <<'PYTHON'
"""watch.py PROGRAM RUN OUT: resumes RUN with the key in its environment and looks at all processes meanwhile."""
import os, resource, subprocess, sys, time
key = os.environ.pop("PLANTED").encode()
resource.setrlimit(resource.RLIMIT_CORE, (resource.getrlimit(resource.RLIMIT_CORE)[1],) * 2)
with open(sys.argv[3], "wb") as out:
    run = subprocess.Popen([sys.argv[1], "resume", sys.argv[2]], stdout=out, stderr=out,
                           env={**os.environ, "AIRA_TEST_KEY": key.decode()})

def read(path):
    try:
        with open(path, "rb") as f:
            return f.read()
    except OSError:
        return b""

limits, children, found = set(), set(), set()
while run.poll() is None:
    parents = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        stat = read(f"/proc/{pid}/stat")
        parents[int(pid)] = int(stat.rsplit(b") ", 1)[1].split()[1]) if b") " in stat else 0
        line = read(f"/proc/{pid}/cmdline")
        if key in line and b"server.py" not in line:  # the server was told the key
            found.add(f"cmdline of {line!r}")
    for pid in parents:
        at = parents[pid]
        while at not in (0, 1, run.pid):
            at = parents.get(at, 0)
        if at == run.pid:
            line = read(f"/proc/{pid}/cmdline")
            if not line or line == read(f"/proc/{run.pid}/cmdline"):
                continue  # not yet another program
            children.add(pid)
            if key in read(f"/proc/{pid}/environ"):
                found.add(f"environment of {line!r}")
    limits.update(line.split()[4] for line in read(f"/proc/{run.pid}/limits").decode().splitlines() if "core file" in line)
    time.sleep(0.01)
assert run.returncode == 0, read(sys.argv[3]).decode()
assert not found, found
assert children, "no child was seen"
assert "0" in limits, f"the core limit was {limits}"
PYTHON
PLANTED=$key python3 "$work/watch.py" "$aira" "$work/run" "$work/out" || fail "watching the run"
is run "SELECT count(*) FROM node_row WHERE status = 'good'" 6
is run "SELECT count(*) FROM call WHERE model NOT LIKE 'served-%' OR model IS NULL" 0
# openai: 40 plain, 60 cached, 40 out; anthropic: 20 plain, 60 cached, 20 written, 40 out; both with 100 in
is run "SELECT count(*) FROM call WHERE input_tokens != 100 OR cached_tokens != 60 OR output_tokens != 40 OR tries != 1" 0
is run "SELECT count(*) FROM call WHERE search = 1 AND abs(money_usd - (40 + 60 * 0.1 + 40 * 10) / 1e6) < 1e-12" 5
is run "SELECT count(*) FROM call WHERE search = 2 AND abs(money_usd - (20 + 60 * 0.1 + 20 * 1.25 + 40 * 10) / 1e6) < 1e-12" 1
is run "SELECT count(*) FROM call WHERE search = 2 AND cache_write_tokens = 20" 1
is run "SELECT count(*) FROM call WHERE search = 1 AND reasoning_tokens = 8" 5
expect 0 "the same tree" "$aira" replay "$work/run"

# Roles, and what is sent.
python3 - "$work/requests" <<'PYTHON' || fail "the requests are not as they should be"
import json, sys
requests = [json.loads(line) for line in open(sys.argv[1])]
for r in requests:
    body = r["body"]
    assert r["key"] and body["stream"] is True
    if r["path"].endswith("/chat/completions"):
        assert [m["role"] for m in body["messages"]][:2] == ["system", "user"] and body["stream_options"]["include_usage"]
        assert "temperature" not in body and "max_tokens" not in body, body
    else:
        assert r["version"] == "2023-06-01" and body["max_tokens"] == 8192
        assert body["system"][0]["cache_control"] == {"type": "ephemeral"} and body["messages"][0]["role"] == "user"
PYTHON

# A key from a file: of mode 0600 only. Quirks of servers. A budget in money ends the study.
printf '%s\n' $key >"$work/key"
chmod 644 "$work/key"
file="searches.0.agent={use: openai, model: ok, base_url: $url/v1, api_key_file: $work/key, system_role: user, length_field: max_output, max_tokens: 1K, drop: [stream_options], extra: '{\"seed\": 5}'}"
expect 2 "may be read by others" "$aira" run "$work/study.yaml" "$file" --run-dir "$work/open"
chmod 600 "$work/key"
status=0 # 1 where the money was gone before the first candidate was trained
AIRA_TEST_KEY=$key "$aira" run "$work/study.yaml" "$file" budget.money=0.0015 --run-dir "$work/file" >"$work/out" 2>&1 || status=$?
[ $status -le 1 ] && grep -q "budget in money (USD) is used up" "$work/out" || fail "no end by money: $(cat "$work/out")"
is file "SELECT text LIKE 'the budget in money%' FROM event WHERE kind = 'budget'" 1
tail -n 20 "$work/requests" | python3 -c '
import json, sys
mine = [b for b in (json.loads(line)["body"] for line in sys.stdin) if b.get("seed") == 5]
assert mine, "no request with the extra member"
for body in mine:
    assert body["max_output"] == 1000 and "stream_options" not in body and body["messages"][0]["role"] == "user", body' || fail "quirks"

# Servers that refuse, and one that is not there: held, with the reason; one that only fails: nodes that say so.
one="searches=[{agent: {use: openai, model: MODEL, base_url: \"$url/v1\", api_key_file: $work/key, retry_for: 1s}, scaffold: {use: one_shot}}]"
for case in "404!:does not exist" "quota!:exceeded your current quota" "429s!:slow down"; do
    expect 1 "${case#*:}" "$aira" run "$work/study.yaml" "$(echo "$one" | sed "s/MODEL/${case%%:*}/")" --run-dir "$work/${case%%!*}"
    is "${case%%!*}" "SELECT count(*) FROM node_row WHERE status != 'pending'" 0
done
expect 1 "cannot be reached" "$aira" run "$work/study.yaml" "$(echo "$one" | sed "s#$url/v1#http://127.0.0.1:1/v1#; s/MODEL/ok/")" --run-dir "$work/nobody"
expect 1 "none of 1 candidates was valid" "$aira" run "$work/study.yaml" "$(echo "$one" | sed 's/MODEL/400!/')" budget.candidates=1 --run-dir "$work/refused"
has "text content is too long"
is refused "SELECT count(*) FROM call WHERE state = 'failed'" 4
expect 0 "done" "$aira" run "$work/study.yaml" "$(echo "$one" | sed 's/MODEL/drop/; s/retry_for: 1s/retry_for: 9s/')" budget.candidates=1 --run-dir "$work/drop"
is drop "SELECT t.body FROM call c JOIN text t ON t.hash = c.partial" "I think that"
is drop "SELECT notes LIKE 'the answer broke off after 12 bytes%' FROM call" 1
is drop "SELECT tries FROM call" 2

# Ctrl-C while a server is being waited for: at once, and nothing is held against the node.
"$aira" run "$work/study.yaml" "$(echo "$one" | sed 's/MODEL/500!/; s/retry_for: 1s/retry_for: 1h, retry_delay: 1h/')" --run-dir "$work/wait" >"$work/out" 2>&1 &
pid=$!
n=0
until grep -q "500!" "$work/requests"; do
    n=$((n + 1))
    [ $n -lt 200 ] || fail "no request: $(cat "$work/out")"
    sleep 0.05
done
sleep 4 # past three tries, in a pause of 4 s or more
begin=$(date +%s)
kill -INT $pid
status=0
wait $pid || status=$?
[ $status = 1 ] && [ $(($(date +%s) - begin)) -le 3 ] || fail "Ctrl-C in a pause: status $status after $(($(date +%s) - begin)) s"
is wait "SELECT count(*) FROM call WHERE state != 'asked'" 0
is wait "SELECT tries >= 3 AND notes LIKE '%something went wrong; again in%' FROM call" 1

# The key is nowhere. (Text in the journal would be found: the database is not compressed.)
rm -f "$work/key"
! grep -rl $key "$work" --exclude=requests || fail "the key is in a file"
! grep -q $key "$work/requests" || fail "the key was sent in a body"
