#!/bin/sh
# SPDX-License-Identifier: MIT
# Sees to it that everything the Makefile uses is installed: by apt-get on Debian and Ubuntu, elsewhere by saying what is
# missing.
# Quick when all is there: it only looks for one file of each package.
set -eu

# package: a command, or a file (several: any of them)
wanted() {
    cat <<'END'
clang                clang
clang-format         clang-format
clang-tidy           clang-tidy
lld                  ld.lld
lld                  lld-link
llvm                 llvm-objcopy
nasm                 nasm
gcc                  gcc
g++                  g++
python3              python3
make                 make
cpio                 cpio
gnu-efi              /usr/include/efi/efi.h
ovmf                 /usr/share/OVMF/OVMF_CODE_4M.fd /usr/share/OVMF/OVMF_CODE.fd
qemu-system-x86      qemu-system-x86_64
bochs                bochs
bochsbios            /usr/share/bochs/BIOS-bochs-latest
vgabios              /usr/share/bochs/VGABIOS-lgpl-latest /usr/share/vgabios/vgabios.bin
grub-common          grub-mkrescue
grub-pc-bin          /usr/lib/grub/i386-pc/multiboot2.mod
xorriso              xorriso
mtools               mformat
acpica-tools         iasl
mingw-w64-x86-64-dev /usr/share/mingw-w64/include/winhvplatform.h /usr/x86_64-w64-mingw32/include/winhvplatform.h
libzydis-dev         /usr/include/Zydis/Zydis.h
libunicorn-dev       /usr/include/unicorn/unicorn.h
libcmocka-dev        /usr/include/cmocka.h
libclang-rt-14-dev   /usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.asan-x86_64.a
END
}

have() {
    for thing; do
        case $thing in
        /*) [ ! -e "$thing" ] || return 0 ;;
        *) ! command -v "$thing" >/dev/null || return 0 ;;
        esac
    done
    return 1
}

missing=$(wanted | while read -r package things; do
    # shellcheck disable=SC2086 # a list, with wildcards
    have $things || echo "$package"
done | sort -u | tr '\n' ' ')
missing=${missing% }

[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "deps: please install (Debian's names): $missing" >&2
    exit 1
fi
if [ "$(id -u)" -eq 0 ]; then
    root=
elif command -v sudo >/dev/null; then
    root=sudo
else
    echo "deps: please install as root: apt-get install $missing" >&2
    exit 1
fi

echo "deps: installing by ${root:+sudo }apt-get: $missing"
export DEBIAN_FRONTEND=noninteractive
# shellcheck disable=SC2086 # a list of packages
install() {
    $root ${root:+DEBIAN_FRONTEND=noninteractive} apt-get install -y -qq --no-install-recommends $missing >"$log" 2>&1
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
install || { $root apt-get update -qq >>"$log" 2>&1 && install; } || {
    tail -n 5 "$log" >&2
    echo "deps: apt-get failed" >&2
    exit 1
}
