#!/bin/sh
# Public headers alone and together, as every language version that a plugin may be written in, by two compilers,
# without a warning. -Wpadded: structs that cross the boundary have no hidden holes.
set -eu
mkdir -p "$2"
status=0
for header in "$1"/include/aira/*.h "$1"/include/aira/ext/*.h; do
    name=${header#"$1"/include/}
    printf '#include "%s"\n#include "%s"\n' "$name" "$name" >"$2/one.c"
    cp "$2/one.c" "$2/one.cc"
    for compiler in gcc clang; do
        for standard in c11 c17; do
            $compiler -std=$standard -I"$1/include" -Wall -Wextra -Wpedantic -Wpadded -Werror -fsyntax-only "$2/one.c" ||
                status=1
        done
    done
    for compiler in g++ clang++; do
        for standard in c++11 c++17 c++20; do
            $compiler -std=$standard -I"$1/include" -Wall -Wextra -Wpedantic -Wpadded -Werror -fsyntax-only "$2/one.cc" ||
                status=1
        done
    done
done
exit $status
