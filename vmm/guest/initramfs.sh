#!/bin/sh
# SPDX-License-Identifier: MIT
# An initial RAM disk: busybox, the kernel modules, and files; the same input gives the same bytes.
#
#   vmm/guest/initramfs.sh OUT DIR INIT [FILE ...]
#
# DIR is what fetch.sh made. INIT becomes /init; the other files go to /bin.
set -eu

out=$1 dir=$2 init=$3
shift 3
command -v cpio >/dev/null || {
    echo "guest: cpio is missing: make deps installs it" >&2
    exit 1
}
tree=$(mktemp -d "${TMPDIR:-/tmp}/barewhp-initramfs.XXXXXX")
trap 'rm -rf "$tree"' EXIT

mkdir -p "$tree/bin" "$tree/dev" "$tree/proc" "$tree/sys" "$tree/tmp" "$tree/lib/modules"
cp "$dir/busybox" "$tree/bin/busybox"
cp "$init" "$tree/init"
chmod 755 "$tree/init" "$tree/bin/busybox"
ln -s busybox "$tree/bin/sh"
for file in "$dir"/modules/*.ko; do
    [ ! -e "$file" ] || cp "$file" "$tree/lib/modules/"
done
for file; do
    cp "$file" "$tree/bin/"
    chmod 755 "$tree/bin/${file##*/}"
done
find "$tree" -exec touch -h -d @0 {} +
(cd "$tree" && find . | LC_ALL=C sort | cpio --quiet -o -H newc -R 0:0 --reproducible) | gzip -9n >"$out.tmp"
mv "$out.tmp" "$out"
