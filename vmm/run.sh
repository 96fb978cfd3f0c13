#!/bin/sh
# SPDX-License-Identifier: MIT
# Chooses an engine, says which and why, and runs the image on it.
#
#   vmm/run.sh ENGINE [NAME=VALUE ... of boot/run.sh]     ENGINE: auto | kvm | qemu | bochs | uefi
#
# Exit status: the image's own.
set -u

engine=$1
shift

# KVM gives a guest VMX only where the CPU has it and nesting is on; /dev/kvm alone proves nothing.
why_not_kvm() {
    if [ ! -e /dev/kvm ]; then
        echo "there is no /dev/kvm"
    elif ! (: <>/dev/kvm) 2>/dev/null; then
        echo "/dev/kvm does not open"
    elif ! grep -qw vmx /proc/cpuinfo; then
        echo "this CPU offers no VMX"
    elif ! grep -qs '[Y1]' /sys/module/kvm_intel/parameters/nested; then
        echo "kvm_intel has nesting off"
    fi
}

case $engine in
auto)
    reason=$(why_not_kvm)
    if [ -z "$reason" ]; then
        engine=kvm reason="/dev/kvm works and the CPU offers VMX"
    else
        engine=bochs reason="it emulates VMX; no KVM, as $reason"
    fi
    ;;
*) reason="asked for" ;;
esac

echo "run: ENGINE=$engine ($reason)"
exec "$(dirname "$0")/../boot/run.sh" "ENGINE=$engine" "$@" </dev/null
