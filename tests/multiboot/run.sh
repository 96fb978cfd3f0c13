#!/bin/bash
# SPDX-License-Identifier: MIT
# Boots the multiboot kernel in a guest, with one processor and with more. TAP on stdout.
# Usage: run.sh ENGINE KERNEL GUEST_KERNEL DIR
set -u
root=$(cd "$(dirname "$0")" && pwd)/../..
engine=$1 kernel=$2 guest=$3 dir=$4
number=0 failed=0

result() { # NAME STATUS LOG
    number=$((number + 1))
    if [ "$2" -eq 0 ]; then
        echo "ok $number - $1"
    else
        failed=1
        tail -n 20 "$3" | sed 's/^/# /'
        echo "not ok $number - $1"
    fi
}

# The kernel ends with 20h + processors; as with QEMU's debug-exit port the status is twice that and one.
boot() { # CPUS CMDLINE
    local log=$dir/$1${2:+-$2}.log status

    "$root/vmm/run.sh" "$engine" KERNEL="$kernel" TIMEOUT=60 EXPECT=$(((0x20 + $1) * 2 + 1)) GUEST_KERNEL="$guest" \
        GUEST_INITRD="$dir/module" GUEST_CMDLINE="cpus=$1${2:+ $2}" GUEST_SMP="$1" GUEST_MEM=64 </dev/null >"$log" 2>&1
    status=$?
    result "multiboot: $1 processors${2:+, $2}: the guest's value is the run's status" $status "$log"
    grep -q '^multiboot: every other processor sent an interrupt' "$log"
    result "multiboot: $1 processors${2:+, $2}: its last line is there" $? "$log"
}

echo 1..6
mkdir -p "$dir"
echo "module of the test, from a file" >"$dir/module"
boot 1 ''
boot 2 ''
boot 2 x2apic
exit $failed
