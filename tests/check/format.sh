#!/bin/sh
# SPDX-License-Identifier: MIT
# All C sources are formatted as .clang-format says. Usage: format.sh [--fix]
. "$(dirname "$0")/tap.sh"

files=$(git ls-files '*.c' '*.h')
if [ "${1:-}" = --fix ]; then
    clang-format -i $files
    exit
fi
count=0
for file in $files; do
    [ -e "$file" ] || continue
    clang-format --dry-run -Werror "$file" 2>"$WORK/errors" ||
        echo "$file: $(grep -c 'error:' "$WORK/errors") places, first at line $(grep -m1 'error:' "$WORK/errors" | cut -d: -f2)" >>"$findings"
    count=$((count + 1))
done
report "format: $count files (make format)"
exit $failed
