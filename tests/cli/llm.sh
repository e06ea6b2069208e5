#!/bin/sh
# Everything that can go wrong between an agent and a model server ends in an answer, a failure with its reason, or a held
# search: tests/llm/server.py misbehaves, tests/tools/llm_cases.c judges, and prints a table with times. Then proxies and
# certificates, as users of libcurl expect them.
set -eu
cases=$1/tests/llm_cases
work=$(mktemp -d)
fail() { echo "FAILED: $*"; exit 1; }
# serve NAME OPTION...: a server, its port in $port; it ends with descriptor 9, however this script ends
mkfifo "$work/end"
serve() {
    name=$1
    shift
    python3 "$source/tests/llm/server.py" "$@" <"$work/end" >"$work/$name" 2>/dev/null 9>&- &
    n=0
    until [ -s "$work/$name" ]; do
        n=$((n + 1))
        [ $n -lt 200 ] || fail "the server did not start"
        sleep 0.05
    done
    port=$(cat "$work/$name")
}
source=$2
unset http_proxy https_proxy all_proxy no_proxy HTTPS_PROXY ALL_PROXY NO_PROXY CURL_CA_BUNDLE SSL_CERT_FILE SSL_CERT_DIR
exec 9<>"$work/end" # opened for both, it waits for nobody
trap 'exec 9>&-; rm -rf "$work"' EXIT
serve plain
"$cases" "http://127.0.0.1:$port/v1" together

for agent in openai anthropic; do # the plugins keep their promises
    "$1/bin/aira" check $agent --config "{model: ok, base_url: \"http://127.0.0.1:$port/v1\"}" >"$work/out" || fail "$(cat "$work/out")"
done
! "$1/bin/aira" check openai --config '{model: ok, base_url: "http://127.0.0.1:1/v1", retry_for: 1s}' >"$work/out" 2>&1 || fail "nobody answers"
grep -q "cannot be reached" "$work/out" || fail "nobody answers: $(cat "$work/out")"

http_proxy=http://127.0.0.1:$port "$cases" http://model.invalid/v1 ok || fail "http_proxy"
# past the proxy there is no such host
! http_proxy=http://127.0.0.1:$port no_proxy=model.invalid timeout 3 "$cases" http://model.invalid/v1 ok >/dev/null 2>&1 || fail "no_proxy"

if command -v openssl >/dev/null; then
    openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost \
        -keyout "$work/key.pem" -out "$work/cert.pem" 2>/dev/null
    cat "$work/key.pem" "$work/cert.pem" >"$work/both.pem"
    serve tls --tls "$work/both.pem"
    SSL_CERT_FILE=$work/cert.pem "$cases" "https://localhost:$port/v1" ok || fail "SSL_CERT_FILE"
    CURL_CA_BUNDLE=$work/cert.pem "$cases" "https://localhost:$port/v1" cut || fail "CURL_CA_BUNDLE"
    ! "$cases" "https://localhost:$port/v1" ok >"$work/out" 2>&1 || fail "an unknown certificate is accepted"
    grep -qi "certificate" "$work/out" || fail "an unknown certificate is not called one: $(cat "$work/out")"
fi
