#!/bin/sh
# No file in core/ has more than 700 lines: a longer one holds more than one idea.  check_lines.sh [SOURCE]
cd "${1:-.}" || exit 1
find core -name '*.[ch]' -exec wc -l {} + | awk '$2 != "total" && $1 > 700 { print $2 ": " $1 " lines"; bad = 1 } END { exit bad }'
