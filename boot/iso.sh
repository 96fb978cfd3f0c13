#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: boot/iso.sh ISO KERNEL CMDLINE [PATH:STRING ...]
# A GRUB ISO for BIOS machines. STRING is the module's name and arguments, with "," for a space; without it the file's
# name.
set -eu

iso=$1 kernel=$2 cmdline=$3
shift 3
scratch=$(mktemp -d "${TMPDIR:-/tmp}/barewhp-iso.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
tree=$scratch/tree

# GRUB's shell reads the words again: each in single quotes
quoted() {
    for word in $1; do
        printf " '%s'" "$(printf %s "$word" | sed "s/'/'\\\\''/g")"
    done
}

mkdir -p "$tree/boot/grub"
cp "$kernel" "$tree/boot/barewhp.elf"
set -f
{
    echo 'set timeout=0'
    echo 'menuentry "BareWHP" {'
    echo "    multiboot2 /boot/barewhp.elf$(quoted "$cmdline")"
    n=0
    for module; do
        path=${module%%:*}
        string=${module#"$path"}
        string=${string#:}
        [ -n "$string" ] || string=${path##*/}
        cp "$path" "$tree/boot/module$n"
        echo "    module2 /boot/module$n$(quoted "$(printf %s "$string" | tr , ' ')")"
        n=$((n + 1))
    done
    echo '}'
} >"$tree/boot/grub/grub.cfg"

grub-mkrescue -d "${GRUB_I386_PC:-/usr/lib/grub/i386-pc}" -o "$iso.tmp$$" "$tree" \
    --install-modules="normal multiboot2 iso9660 biosdisk part_msdos" --fonts= --locales= --themes= >"$scratch/log" 2>&1 || {
    sed 's/^/iso.sh: /' "$scratch/log" >&2
    rm -f "$iso.tmp$$"
    exit 1
}
mv "$iso.tmp$$" "$iso"
