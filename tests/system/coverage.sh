#!/bin/sh
# SPDX-License-Identifier: MIT
# Every function of the API that the library has is in the tables of the tests of arguments: of handles, and of values. TAP on stdout.
# Usage: coverage.sh LIBRARY
cd "$(dirname "$0")/../.." || exit 1
tests="tests/kernel/arguments.c tests/kernel/arguments_values.c"
failed=0 number=0

functions=$(llvm-nm --defined-only --format=just-symbols "$1" 2>/dev/null | grep '^WHv' | LC_ALL=C sort)
[ -n "$functions" ] || { echo "not ok 1 - coverage: no functions in $1"; exit 1; }
echo "1..$(echo "$functions" | wc -l)"
for function in $functions; do
    number=$((number + 1))
    if grep -q "\"$function[\":]" $tests; then
        echo "ok $number - coverage: $function is called with bad arguments"
    else
        echo "not ok $number - coverage: $function is called with bad arguments"
        failed=1
    fi
done
exit $failed
