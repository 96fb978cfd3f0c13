#!/bin/bash
# SPDX-License-Identifier: MIT
# Gives devices of the machine to guests and turns what they say into TAP on stdout.
# Usage: run.sh ENGINE IOMMU KERNEL VMLINUZ INITRD DIR [RUN ...]     RUN: disk net killed refused unsafe; without: all of them
# shellcheck disable=SC2317 # run_* are called by name
set -u
root=$(cd "$(dirname "$0")" && pwd)/../..
# shellcheck source=tests/linux/guests.sh
. "$root/tests/linux/guests.sh"
engine=$1 iommu=$2 kernel=$3 vmlinuz=$4 initrd=$5 dir=$6
shift 6
[ $# -gt 0 ] || set -- disk net killed refused unsafe
mkdir -p "$dir"
MIB=64 CPUS=2 intremap=on

# Each run_* says how many results it adds to those of its guest.

# boot RUN STATUS CMDLINE [NAME=VALUE ...]: one machine, with the guest's own results; standard input is the guest's
boot() {
    local run=$1 wanted=$2 words=$3
    shift 3

    log=$dir/$run.log
    "$root/vmm/run.sh" "$engine" IOMMU="$iommu" INTREMAP="$intremap" KERNEL="$kernel" TIMEOUT=300 EXPECT="$wanted" GUEST_KERNEL="$vmlinuz" GUEST_INITRD="$initrd" \
        GUEST_CMDLINE="console=ttyS0 panic=-1 cryptomgr.notests $words cpus=$CPUS" GUEST_SMP="$CPUS" GUEST_MEM=320 "$@" >"$log" 2>&1
    status=$?
    guest_results
}

disk() {
    rm -f "$dir/image.$1"
    truncate -s 256M "$dir/image.$1"
    echo "DISK=$dir/image.$1"
}

# A device that is stopped in time does nothing that has to be blocked.
nothing_blocked() {
    grep 'blocked' "$log" | sed 's/^/# /'
    ! grep -q 'blocked' "$log"
}

run_disk() {
    echo 1..3
    boot disk 0 "check=disk end=reboot" PASSTHROUGH=nvme "$(disk disk)" </dev/null
    result "passthrough: $iommu: disk: reboot ends the run with status 0" "$status"
    sum=$(sed -n "s/\r//; s/^# md5 of $MIB MiB: //p" "$log")
    [ -n "$sum" ] && [ "$(head -c $((MIB * 1048576)) "$dir/image.disk" | md5sum)" = "$sum  -" ]
    result "passthrough: $iommu: disk: the host finds the bytes in the image" $?
    nothing_blocked
    result "passthrough: $iommu: disk: nothing had to be blocked" $?
}

run_net() {
    echo 1..2
    boot net 0 check=net PASSTHROUGH=net </dev/null
    result "passthrough: $iommu: net: power-off ends the run with status 0" "$status"
    nothing_blocked
    result "passthrough: $iommu: net: nothing had to be blocked" $?
}

# Ctrl-A x, while the disk reads the guest's memory.
run_killed() {
    echo 1..3
    printf '\001x' | boot killed 0 check=load PASSTHROUGH=nvme "$(disk killed)" GUEST_READY='DMA runs'
    log=$dir/killed.log
    grep -q 'DMA runs' "$log" && grep -q 'vmm: .*ended from the terminal' "$log"
    result "passthrough: $iommu: killed: in the midst of DMA" $?
    grep -q '^barewhp: exit status 0' "$log"
    result "passthrough: $iommu: killed: the host goes on to its own end" $?
    nothing_blocked
    result "passthrough: $iommu: killed: nothing had to be blocked" $?
}

# is_refused RUN WHAT REASON: the machine has not what it takes
is_refused() {
    boot "$1" 1 check=disk PASSTHROUGH=nvme </dev/null
    result "passthrough: $2: the run ends with status 1" "$status"
    grep -E '^vmm: .*can not be passed on' "$log" | sed 's/^/# /'
    grep -qE "^vmm: guest_pci=nvme: .*can not be passed on: .*$3" "$log"
    result "passthrough: $2: one line says so" $?
}

run_refused() {
    local with=$iommu

    echo 1..4
    intremap=off
    is_refused refused-irq "$iommu without interrupt remapping" 'interrupts are not remapped|does not remap interrupts'
    intremap=on iommu=none
    is_refused refused "without an IOMMU" 'ACPI tells of no IOMMU'
    iommu=$with
}

# By the flag, where interrupts are not remapped; DMA is.
run_unsafe() {
    echo 1..4
    intremap=off
    boot unsafe 0 "check=disk end=reboot" PASSTHROUGH=nvme "$(disk unsafe)" CMDLINE=guest_pci_unsafe=on </dev/null
    intremap=on
    result "passthrough: $iommu: unsafe: reboot ends the run with status 0" "$status"
    grep 'UNSAFE' "$log" | sed 's/^/# /'
    grep -q 'warning: PCI .*: UNSAFE: its interrupts are not remapped' "$log"
    result "passthrough: $iommu: unsafe: a line warns of interrupts" $?
    ! grep -q 'UNSAFE:.*DMA' "$log"
    result "passthrough: $iommu: unsafe: DMA is confined" $?
    nothing_blocked
    result "passthrough: $iommu: unsafe: nothing had to be blocked" $?
}

for run; do
    "run_$run" >"$dir/$run.tap"
    rm -f "$dir"/image.*
done
report "$@"
