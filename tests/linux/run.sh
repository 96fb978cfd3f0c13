#!/bin/bash
# SPDX-License-Identifier: MIT
# Boots Debian's Linux in guests and turns what they say into TAP on stdout.
# Usage: run.sh ENGINE KERNEL VMLINUZ INITRD DIR [RUN ...]     RUN: check four two panic wakeups plain; without: all
# of them, but on Bochs only those that do not need minutes there, or that another engine shows as well. WAKEUPS: seconds of the last two, 60 unless told
# JOBS runs at a time, 2 unless told.
# shellcheck disable=SC2317 # run_* are called by name
set -u
root=$(cd "$(dirname "$0")" && pwd)/../..
# shellcheck source=tests/linux/guests.sh
. "$root/tests/linux/guests.sh"
engine=$1 kernel=$2 vmlinuz=$3 initrd=$4 dir=$5
shift 5
if [ $# -eq 0 ]; then
    set -- two check
    case $engine in
    qemu | kvm) set -- wakeups plain four "$@" panic ;;
    uefi) set -- four "$@" panic ;;
    esac
fi
mkdir -p "$dir"
SHELL_SECONDS=30
slow=
[ "$engine" != bochs ] || slow=' parts=4'

# Each run_* says how many results it adds to those of its guests.

# boot RUN STATUS CMDLINE [NAME=VALUE ...]: one machine, with the guest's own results
boot() {
    local run=$1 wanted=$2 words=$3
    shift 3

    "$root/vmm/run.sh" "$engine" KERNEL="$kernel" TIMEOUT=600 EXPECT="$wanted" GUEST_KERNEL="$vmlinuz" GUEST_INITRD="$initrd" \
        GUEST_CMDLINE="console=ttyS0 panic=-1 cryptomgr.notests $words$slow" "$@" </dev/null >"$log" 2>&1
    status=$?
    guest_results
}

# Bochs emulates too slowly for this to be asked of it.
shell_in_time() {
    local seconds

    [ "$engine" != bochs ] || return 0
    seconds=$(sed -n 's/^vmm: time to userspace: \([0-9]*\)\..*/\1/p' "$log")
    [ -n "$seconds" ] && [ "$seconds" -lt "$SHELL_SECONDS" ]
}

# With what the kernel's own Hyper-V drivers make of the interface.
run_check() {
    echo 1..3
    boot check 0 "check=all,hyperv cpus=2" GUEST_SMP=2 GUEST_MEM=256
    [ "$(grep -c 'asks for VMBus version' "$log")" -ge 2 ]
    result "linux: the VMM hears of VMBus versions, newest first" $?
    result "linux: poweroff ends the run with status 0" "$status"
    shell_in_time
    result "linux: userspace within $SHELL_SECONDS seconds" $?
}

# More virtual processors than CPUs: their threads are preempted, and move.
run_four() {
    echo 1..1
    boot four 0 "check=all cpus=4" GUEST_SMP=4 GUEST_MEM=256 CPUS=2
    result "linux: four processors on two CPUs: poweroff ends the run with status 0" "$status"
}

# IPIs and TLB flushes by hypercalls (wakeups), and by the local APIC (plain).
wakeups() { # WORD for GUEST_HYPERV
    echo 1..1
    boot "$1" 0 "check=wakeups seconds=${WAKEUPS:-60} cpus=4" GUEST_SMP=4 GUEST_MEM=256 CPUS=2 GUEST_HYPERV="$1"
    result "linux: four processors under IPIs, Hyper-V $1: ends with status 0" "$status"
}

run_wakeups() {
    wakeups on
}

run_plain() {
    wakeups nocalls
}

run_panic() {
    echo 1..2
    boot panic 2 end=panic GUEST_SMP=1 GUEST_MEM=256
    grep -q 'Kernel panic - not syncing: sysrq triggered crash' "$log"
    result "linux: panics when told to" $?
    result "linux: a panic ends the run with status 2" "$status"
}

run_two() {
    echo 1..2
    boot two 0 "check=memory end=reboot" GUEST_SMP=1 GUEST_MEM=256 GUESTS=2
    [ "$(grep -c ': ok - linux: memory' "$log")" -eq 2 ]
    result "linux: two guests, each with numbers of its own in its memory" $?
    result "linux: two guests: reboots end the run with status 0" "$status"
}

# Each run writes a report of its own, which is shown whole.
one() { # RUN
    log=$dir/$1.log
    "run_$1" >"$dir/$1.tap"
}

for run; do
    while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-2}" ]; do
        wait -n
    done
    one "$run" &
done
wait

report "$@"
