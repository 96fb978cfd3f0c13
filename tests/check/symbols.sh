#!/bin/sh
# SPDX-License-Identifier: MIT
# The library, linked as a whole, asks for exactly what include/hv/host.h declares, beside memcpy, memmove, memset and memcmp.
# Usage: symbols.sh [LIBRARY]
. "$(dirname "$0")/tap.sh"
library=${1:-$BUILD/libbarewhp.a}

if [ ! -e "$library" ]; then
    echo "$library is not there: make it first" >>"$findings"
    report "symbols: the library"
    exit 1
fi

# The preprocessor drops the comments, which mention functions too.
clang -E -P -ffreestanding -Iinclude include/hv/host.h | grep -oE 'hv_host_[a-z0-9_]+ *\(' | tr -d ' (' | LC_ALL=C sort -u >"$WORK/declared"
if ld.lld -r --whole-archive "$library" -o "$WORK/whole.o" 2>"$WORK/errors"; then
    llvm-nm -u --format=just-symbols "$WORK/whole.o" | grep -vxE 'mem(cpy|move|set|cmp)' | LC_ALL=C sort -u >"$WORK/undefined"
    LC_ALL=C comm -13 "$WORK/declared" "$WORK/undefined" | sed 's/$/: undefined in the library, not a function of host.h/' >>"$findings"
    LC_ALL=C comm -23 "$WORK/declared" "$WORK/undefined" | sed 's/$/: declared in host.h, not used by the library/' >>"$findings"
else
    head -20 "$WORK/errors" >>"$findings"
fi
report "symbols: the library asks for the $(wc -l <"$WORK/declared") functions of host.h and nothing else"
exit $failed
