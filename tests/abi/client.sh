#!/bin/sh
# SPDX-License-Identifier: MIT
# Compiles client.c against include/whp as outside projects would, and looks at what it would link with.
. "$(dirname "$0")/../check/tap.sh"

compile() { # NAME COMPILER...
    name=$1
    shift
    "$@" -Wall -Wextra -Werror -Iinclude/whp -c tests/abi/client.c -o "$WORK/client.o" 2>"$WORK/errors" || grep error "$WORK/errors" >>"$findings"
    # nothing but the API, unmangled; memset and memcpy are the compiler's own
    llvm-nm -u --format=just-symbols "$WORK/client.o" | grep -vxE 'WHv[A-Za-z0-9]+|mem(set|cpy)' | sed 's/$/: asked for by client.c/' >>"$findings"
    report "client: compiles as $name"
}

compile "C11, freestanding" clang -std=c11 --target=x86_64-unknown-none-elf -ffreestanding -Wundef
compile "C11 on Linux" clang -std=gnu11
compile "C17 by gcc" gcc -std=gnu17
compile "C++17, freestanding" clang++ -x c++ -std=c++17 --target=x86_64-unknown-none-elf -ffreestanding
compile "C++20 by g++" g++ -x c++ -std=gnu++20
compile "C11 with a 16-bit wchar_t" clang -std=c11 --target=x86_64-unknown-none-elf -ffreestanding -fshort-wchar
if [ -e /usr/share/mingw-w64/include/windows.h ]; then # our headers over the SDK's own types
    compile "C11 for Windows" clang -std=gnu11 --target=x86_64-w64-mingw32 -isystem /usr/share/mingw-w64/include -include windows.h
else
    skip "client: compiles as C11 for Windows" "install mingw-w64-x86-64-dev"
fi
exit $failed
