#!/bin/bash
# SPDX-License-Identifier: MIT
# Machines that cannot run virtual processors: what the API says there (the program `refused` of the image), and what the VMM and
# the demo print. TAP on stdout.
# Usage: run.sh KERNEL GUEST_KERNEL DIR
set -u
root=$(cd "$(dirname "$0")" && pwd)/../..
kernel=$1 guest=$2 dir=$3
bios=/usr/share/bochs/BIOS-bochs-latest
mkdir -p "$dir"

# What the machine is; its engine and CPU; words that the explanation has to contain, "." is any character: what is missing, and
# what to do. (VMX without EPT is a CPU of 2008. EPT without unrestricted guests is one of 2009.)
machines='
no-vmx-no-svm      qemu   qemu64,-svm          neither.VMX.nor.SVM
svm-without-npt    qemu   max,-npt             nested.paging.is.missing
vmx-without-ept    bochs  core2_penryn_t9600   EPT
vmx-without-ug     bochs  corei5_lynnfield_750 unrestricted.guest
vmx-locked-off     bochs  corei7_icelake_u     VMX.is.locked.off.in.IA32_FEATURE_CONTROL:.enable
svm-locked-off     qemu   max                  SVM.is.locked.off.in.VM_CR:.enable
'

number=0 planned=0 failed=0

# The TAP of a machine's program, numbered on.
relay() { # MACHINE
    local line

    while read -r line; do
        case $line in
        "ok "* | "not ok "*)
            number=$((number + 1))
            [[ $line = ok* ]] || failed=1
            sed -E "s/^(ok|not ok) [0-9]+ - refused:/\1 $number - refused: $1:/" <<<"$line"
            ;;
        1..*) planned=$((planned + ${line#1..})) ;;
        '#'*) echo "$line" ;;
        esac
    done <"$dir/$1.log"
}

result() { # NAME STATUS LOG
    number=$((number + 1)) planned=$((planned + 1))
    if [ "$2" -eq 0 ]; then
        echo "ok $number - refused: $1"
    else
        failed=1
        tail -n 15 "$3" | sed 's/^/# /'
        echo "not ok $number - refused: $1"
    fi
}

# options MACHINE: what boot/run.sh needs beside the engine and the CPU
options() {
    case $1 in
    vmx-locked-off) echo "BIOS=$dir/bios" ;;
    esac
}

# The program tells its machine and the reason in one line each; then nothing but the exit status.
program() { # MACHINE ENGINE CPU PROGRAM PREFIX
    local log=$dir/$1-$4.log status guest_arguments=()

    [ "$4" != vmm ] || guest_arguments=(GUEST_KERNEL="$guest" GUEST_SMP=1 GUEST_MEM=16)
    # shellcheck disable=SC2046 # words
    "$root/vmm/run.sh" "$2" KERNEL="$kernel" CPU="$3" TIMEOUT=60 EXPECT=1 CMDLINE="$([ "$4" = vmm ] || echo "program=$4")" \
        "${guest_arguments[@]}" $(options "$1") </dev/null >"$log" 2>&1
    status=$?
    result "$1: $4 ends with status 1" $status "$log"
    [ "$(grep -c "^$4: no hypervisor on this machine: .*$5" "$log")" -eq 1 ]
    result "$1: $4 says why, in one line" $? "$log"
}

[ ! -r "$bios" ] || "$root/tests/refused/lock_bios.py" "$bios" "$dir/bios" || rm -f "$dir/bios"

while read -r machine engine cpu says; do
    [ -n "$machine" ] || continue
    lock=
    [ "$machine" != svm-locked-off ] || lock=' lock'
    # shellcheck disable=SC2046 # words
    "$root/boot/run.sh" ENGINE="$engine" KERNEL="$kernel" CPU="$cpu" TIMEOUT=60 CMDLINE="program=refused says=$says$lock" \
        $(options "$machine") </dev/null >"$dir/$machine.log" 2>&1
    result "$machine: the image ends with status 0" $? "$dir/$machine.log"
    relay "$machine"
    # it is the test that locks SVM, not the firmware: other programs find it on
    [ "$machine" != svm-locked-off ] || continue
    program "$machine" "$engine" "$cpu" demo "$says"
    program "$machine" "$engine" "$cpu" vmm "$says"
done <<<"$machines"

echo "1..$planned"
exit $failed
