# SPDX-License-Identifier: MIT
# What the checks share: source it, append findings (one a line) to $findings, call report.

set -u
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.." || exit 1
BUILD=${BUILD:-build}
WORK=$BUILD/check/${here##*/}-$(basename "$0" .sh) # such as build/check/abi-client
mkdir -p "$WORK"
findings=$WORK/findings
: >"$findings"
number=0
failed=0

# report NAME: one TAP line; the findings so far are its diagnostics, and forgotten afterwards
report() {
    number=$((number + 1))
    if [ -s "$findings" ]; then
        failed=1
        echo "not ok $number - $1"
        sed 's/^/#   /' "$findings"
    else
        echo "ok $number - $1"
    fi
    : >"$findings"
}

# skip NAME REASON
skip() {
    number=$((number + 1))
    echo "ok $number - $1 # SKIP $2"
}

# The project's own C and assembly sources below the given folders.
sources() {
    for dir in "$@"; do
        if [ -d "$dir" ]; then find "$dir" -name '*.[ch]' -o -name '*.asm' -o -name '*.S' -o -name '*.inc'; fi
    done | LC_ALL=C sort
}

LIBRARY="base arch drivers virt"
