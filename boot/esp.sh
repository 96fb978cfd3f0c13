#!/bin/sh
# SPDX-License-Identifier: MIT
# usage: boot/esp.sh DIR EFI CMDLINE [PATH:STRING ...]
# Fills DIR as an EFI system partition: the loader, \barewhp.cfg, the modules. STRING as in boot/iso.sh.
set -euf

dir=$1 efi=$2 cmdline=$3
shift 3
mkdir -p "$dir/EFI/BOOT"
cp "$efi" "$dir/EFI/BOOT/BOOTX64.EFI"
{
    printf 'cmdline %s\n' "$cmdline"
    n=0
    for module; do
        path=${module%%:*}
        string=${module#"$path"}
        string=${string#:}
        [ -n "$string" ] || string=${path##*/}
        cp "$path" "$dir/module$n"
        printf 'module \\module%d %s\n' "$n" "$(printf %s "$string" | tr , ' ')"
        n=$((n + 1))
    done
} >"$dir/barewhp.cfg"
