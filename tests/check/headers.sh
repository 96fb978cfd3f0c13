#!/bin/sh
# SPDX-License-Identifier: MIT
# Every header of include/ and arch/x86_64/include/ compiles alone and may be included twice. The headers are included from a file of one
# line: as the main file, clang would complain about their unused static inline functions.
. "$(dirname "$0")/tap.sh"

FLAGS="--target=x86_64-unknown-none-elf -ffreestanding -mgeneral-regs-only -Wall -Wextra -Werror -Wundef -fsyntax-only"
C="clang -std=c11 $FLAGS -Wstrict-prototypes -Wmissing-prototypes"
CXX="clang++ -std=c++17 $FLAGS -pedantic"

alone() { # HEADER NAME-IN-INCLUDE COMPILER...
    header=$1 name=$2
    shift 2
    printf '#include <%s>\n#include <%s>\n' "$name" "$name" >"$WORK/one.c"
    "$@" "$WORK/one.c" 2>"$WORK/errors" || grep -m1 -E 'error|fatal' "$WORK/errors" | sed "s|^|$header: |" >>"$findings"
}

count=0
for header in $(sources include arch/x86_64/include | grep '\.h$'); do
    name=${header#arch/x86_64/include/}
    alone "$header" "${name#include/}" $C -Iinclude -Iarch/x86_64/include
    count=$((count + 1))
done
report "headers: each of $count compiles alone as C11"

count=0
for header in $(sources include/whp | grep '\.h$'); do
    alone "$header" "${header#include/whp/}" $C -pedantic -Iinclude/whp
    alone "$header" "${header#include/whp/}" $CXX -x c++ -Iinclude/whp
    count=$((count + 1))
done
report "headers: each of $count in include/whp compiles with -Iinclude/whp as pedantic C11 and C++17"
exit $failed
