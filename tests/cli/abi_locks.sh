#!/bin/sh
# tests/cli/abi_locks.sh - the lock of every released minor is present, unchanged, and holds for today's headers; and the
# check itself fails closed: each damage below must be noticed. Arguments: build folder, source folder.
set -u
source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# check FOLDER: prints what is wrong with include/ and tests/abi/ below it, and fails then.
check() {
    minor=$(sed -n 's/^#define AIRA_ABI_MINOR \([0-9]*\)$/\1/p' "$1/include/aira/abi.h")
    [ -n "$minor" ] || { echo "abi.h names no minor"; return 1; }
    m=0
    while [ "$m" -le "$minor" ]; do
        lock=$1/tests/abi/v1_$m.c
        [ -f "$lock" ] || { echo "the lock of ABI 1.$m is missing"; return 1; }
        want=$(sed -n "s/^v1_$m\.c \([0-9a-f]\{64\}\)\$/\1/p" "$1/tests/abi/released.txt" 2>/dev/null)
        [ -n "$want" ] || { echo "released.txt does not record v1_$m.c"; return 1; }
        [ "$(sha256sum <"$lock" | cut -c1-64)" = "$want" ] || { echo "v1_$m.c was edited"; return 1; }
        for cc in gcc clang; do
            command -v $cc >/dev/null || continue
            $cc -std=c11 -fsyntax-only -I"$1/include" "$lock" 2>"$work/log" && continue
            grep -m3 error "$work/log"
            return 1
        done
        m=$((m + 1))
    done
}

# expect ok|bad TITLE SED-SCRIPT FILE: applies the edit to a copy of the tree and checks it.
expect() {
    rm -rf "$work/tree"
    mkdir -p "$work/tree/tests"
    cp -r "$source/include" "$work/tree/include"
    cp -r "$source/tests/abi" "$work/tree/tests/abi"
    [ -z "$3" ] || sed -i "$3" "$work/tree/$4"
    [ -z "$3" ] || ! cmp -s "$work/tree/$4" "$source/$4" || { echo "FAIL: $2: the edit changed nothing"; failures=1; }
    if said=$(check "$work/tree"); then got=ok; else got=bad; fi
    [ "$got" = "$1" ] && echo "pass: $2${said:+: $(echo "$said" | head -1)}" && return
    echo "FAIL: $2: expected $1, got $got: $said"
    failures=1
}

expect ok "today's headers" "" ""
expect ok "a slot appended to aira_host" 's/^    const void \*(\*service).*$/&\n    void (*later)(void);/' include/aira/plugin.h
expect ok "a slot appended to aira_primitive" 's/^    int64_t (\*kv_elements_per_token).*$/&\n    void (*later)(void);/' include/aira/primitive.h
expect bad "a slot inserted" 's/^    void (\*release)(const aira_host.*$/    void (*inserted)(void);\n&/' include/aira/plugin.h
expect bad "an argument of another type" 's/(\*log)(const aira_host \*host, int32_t level/(*log)(const aira_host *host, int64_t level/' include/aira/plugin.h
expect bad "another result" 's/aira_status (\*fail)(const aira_host/int64_t (*fail)(const aira_host/' include/aira/plugin.h
expect bad "a slot removed" '/^    void (\*log)(const aira_host/d' include/aira/plugin.h
expect bad "a frozen struct grown" 's/^    uint32_t rank;$/&\n    uint64_t more;/' include/aira/abi.h
expect bad "a constant changed" 's/^#define AIRA_BF16 3u/#define AIRA_BF16 5u/' include/aira/abi.h
expect bad "an operation renumbered" 's/X(MATMUL, 64,/X(MATMUL, 65,/' include/aira/op_table.h
expect bad "a lock edited" 's/^SLOT(aira_plugin, table, .*$//' tests/abi/v1_0.c
expect bad "a lock not recorded" '/^v1_0/d' tests/abi/released.txt
expect bad "a minor raised without its lock" 's/^#define AIRA_ABI_MINOR .*/#define AIRA_ABI_MINOR 7/' include/aira/abi.h
rm "$work/tree/tests/abi/v1_0.c"
check "$work/tree" >/dev/null && { echo "FAIL: a lock removed"; failures=1; }

if command -v python3 >/dev/null; then
    python3 "$source/tools/abi-lock.py" --check || failures=1
fi
exit $failures
