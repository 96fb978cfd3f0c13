#!/bin/sh
# SPDX-License-Identifier: MIT
# clang-tidy has nothing to say about the library's C sources (.clang-tidy lists what it looks for).
. "$(dirname "$0")/tap.sh"

files=$(for dir in $LIBRARY; do [ ! -d "$dir" ] || find "$dir" -name '*.c' ! -name offsets.c; done | LC_ALL=C sort)
FLAGS="-std=c11 --target=x86_64-unknown-none-elf -ffreestanding -mcmodel=kernel -mno-red-zone -mgeneral-regs-only \
-Iinclude -Iinclude/whp -Iarch/x86_64/include -Idrivers"
export FLAGS
# shellcheck disable=SC2016 # expanded by the inner shell
echo "$files" | xargs -n 1 -P 2 sh -c 'clang-tidy --quiet "$0" -- $FLAGS 2>/dev/null' |
    grep -E '(warning|error):' | sed "s|^$PWD/||" | LC_ALL=C sort -u >>"$findings"
report "tidy: $(echo "$files" | wc -l) files"
exit $failed
