#!/bin/sh
# tests/cli/plugin_pack.sh - examples/plugin-pack against the installed SDK: built by find_package, by pkg-config and by one
# bare cc line, each loaded, checked and traced by the installed program; then its study. Arguments: build, source.
set -eu
build=$1 source=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HOME="$work/home" XDG_CACHE_HOME="$work/cache"
unset AIRA_PLUGIN_PATH 2>/dev/null || true
mkdir "$work/home"

# Installed by DESTDIR, then moved: nothing may remember where it was built or installed.
DESTDIR="$work/stage" cmake --install "$build" --prefix /opt/aira >/dev/null
mv "$work/stage/opt/aira" "$work/sdk"
rm -rf "$work/stage"
# (as a path of its own: a source folder /aira is no part of include/aira)
if grep -rlIE "(^|[^A-Za-z0-9_./}-])($build|$source)(/|[^A-Za-z0-9_.-]|\$)" "$work/sdk" | grep .; then
    echo "FAIL: an installed file names the build or the source folder"
    exit 1
fi
cp -r "$source/examples/plugin-pack" "$work/pack"
cd "$work/pack"
cc=${CC:-cc}
sdk=$work/sdk
strict="-O2 -std=c11 -Wall -Wextra -Werror"

mkdir by-cmake by-pkg-config by-hand
cmake -S . -B by-cmake -G Ninja -DCMAKE_PREFIX_PATH="$sdk" -DCMAKE_C_COMPILER="$cc" -DCMAKE_BUILD_TYPE=Release >cmake.log 2>&1 || { cat cmake.log; exit 1; }
cmake --build by-cmake >cmake.log 2>&1 || { cat cmake.log; exit 1; }
if command -v pkg-config >/dev/null; then
    PKG_CONFIG_PATH="$sdk/lib/pkgconfig" sh -c "$cc $strict \$(pkg-config --cflags aira-sdk) moe.c \$(pkg-config --libs aira-sdk) -o by-pkg-config/moe.so"
else
    rmdir by-pkg-config
fi
$cc $strict -fPIC -shared -fvisibility=hidden -I "$sdk/include" moe.c -lm -o by-hand/moe.so

for way in by-*; do
    exports=$(nm -D --defined-only "$way/moe.so" | awk '{print $NF}' | tr '\n' ' ')
    [ "$exports" = "aira_plugin_v1 " ] || { echo "FAIL: $way exports $exports"; exit 1; }
    "$sdk/bin/aira" check "$way/moe.so" >check.log 2>&1 || { cat check.log; exit 1; }
    echo "pass: $way: $(grep cost check.log)"
done
"$sdk/bin/aira" check --config '{activation: swiglu, top_k: 1, experts: 3, hidden: 24}' by-hand/moe.so >check.log 2>&1 || { cat check.log; exit 1; }

export AIRA_PLUGIN_PATH="$work/pack/by-hand"
"$sdk/bin/aira" validate task.yaml
"$sdk/bin/aira" evaluate --quiet --arch "mA MoE Mb MoE" --task task.yaml --json >evaluate.json
grep -q '"architecture":"mA MoE Mb MoE"' evaluate.json || { cat evaluate.json; exit 1; }
if "$sdk/bin/aira" help 2>/dev/null | grep -q '^  run ' || "$sdk/bin/aira" 2>/dev/null | grep -q '^  run '; then
    "$sdk/bin/aira" run --quiet study.yaml --run-dir "$work/run" --json budget.candidates=5 task.proxies.0.recipe.steps=5 >run.json
    grep -q '"aggregated"' run.json || { cat run.json; exit 1; }
    echo "pass: study: $(cut -c1-200 run.json)"
fi
