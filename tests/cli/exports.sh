#!/bin/sh
# Every built plugin exports aira_plugin_v1 and nothing else.
set -eu
status=0 count=0
for plugin in "$1"/lib/aira/plugins/*.so; do
    count=$((count + 1))
    symbols=$(nm -D --defined-only "$plugin" | awk '{print $3}' | tr '\n' ' ')
    [ "$symbols" = "aira_plugin_v1 " ] || { echo "$plugin exports: $symbols"; status=1; }
done
[ "$count" -gt 0 ] || { echo "no plugins in $1/lib/aira/plugins"; exit 1; }
echo "$count plugins"
exit $status
