#!/bin/sh
# tests/cli/abi_headers.sh - every public header compiles alone, as C and as C++, without a warning and without hidden
# padding; every plugin of this build exports exactly one symbol and uses none of the host. Arguments: build, source.
set -u
build=$1 source=$2
failures=0
strict="-fsyntax-only -Wall -Wextra -Wpedantic -Wpadded -Werror -I$source/include"

cd "$source/include" || exit 1
for standard in c11 c++11 c17 c++20; do
    case $standard in c1*) language=c compilers="gcc clang" ;; *) language=c++ compilers="g++ clang++" ;; esac
    for compiler in $compilers; do
        command -v $compiler >/dev/null || continue
        case $compiler$standard in # each alone by one compiler, all together by the others
        gcc*11 | g++*11) headers=$(echo aira/*.h aira/ext/*.h) ;;
        *) headers=$(echo aira/aira.h aira/ext/*.h) ;;
        esac
        for header in $headers; do
            $compiler -std=$standard $strict -x $language - <<EOF || { echo "FAIL: $header as $standard by $compiler"; failures=1; }
#include "$header"
EOF
        done
    done
done

cd "$build/lib/aira/plugins" || exit 1
sanitized=$(nm -D --undefined-only -- *.so | grep -c -E ' U __(asan|tsan|ubsan)_')
for plugin in *.so; do
    exports=$(nm -D --defined-only "$plugin" | awk '{print $NF}' | sed 's/@.*//' | grep -v -E '^(_init|_fini)$' | tr '\n' ' ')
    [ "$exports" = "aira_plugin_v1 " ] || [ "$sanitized" -gt 0 ] || { echo "FAIL: $plugin exports: $exports"; failures=1; }
    host=$(nm -D --undefined-only "$plugin" | awk '{print $NF}' | grep '^aira_')
    [ -z "$host" ] || { echo "FAIL: $plugin uses symbols of the host: $host"; failures=1; }
    bad=$(nm -D --undefined-only "$plugin" | awk '{print $NF}' | sed 's/@.*//' | grep -x -E 'exit|_exit|quick_exit|abort|atexit|longjmp|siglongjmp|signal|sigaction|fork|vfork|system|dlopen|__cxa_throw')
    # devices may use foreign libraries (docs/abi.md: the rules against them bind every other kind): cuda asks for NVRTC,
    # and nvcc registers its kernels in a constructor and keeps their handles
    foreign=0
    case $plugin in device_*) nm -D --undefined-only "$plugin" | grep -q __cudaRegisterFatBinary && foreign=1 ;; esac
    [ "$foreign" = 1 ] && bad=$(echo "$bad" | grep -v -x -E 'dlopen|atexit')
    [ -z "$bad" ] || { echo "FAIL: $plugin calls $bad"; failures=1; }
    [ "$sanitized" -gt 0 ] || [ "$foreign" = 1 ] || {
        changing=$(objdump -t "$plugin" | awk '$0 ~ /[.](bss|data|tbss|tdata)[ \t]/ {print $NF}' |
            grep -v -E '^(\.bss|\.data|completed\.0|__dso_handle|__TMC_END__)$')
        [ -z "$changing" ] || { echo "FAIL: $plugin has objects that may change: $changing"; failures=1; }
        starts=$(readelf -SW "$plugin" | sed -n 's/.* \.init_array *INIT_ARRAY *[0-9a-f]* [0-9a-f]* 0*\([0-9a-f]*\) .*/\1/p')
        [ "${starts:-8}" = 8 ] || { echo "FAIL: $plugin has a constructor"; failures=1; }
    }
    case $plugin in
    device_*) ;;
    *) ! nm -D --undefined-only "$plugin" | grep -q pthread_create || { echo "FAIL: $plugin starts threads"; failures=1; } ;;
    esac
done
exit $failures
