#!/bin/sh
# SPDX-License-Identifier: MIT
# Can KVM run the image with guests of its own here? One line says why, or why not; exit status 0: it can.
#
#   boot/kvm.sh [ROOT]     ROOT: where /dev, /proc and /sys are, for tests of this script
#
# /dev/kvm alone proves nothing: KVM offers VMX or SVM to what it runs only where the CPU has it and nesting is on.
set -u
root=${1:-}

if [ ! -e "$root/dev/kvm" ]; then
    echo "there is no /dev/kvm"
    exit 1
fi
if ! (: <>"$root/dev/kvm") 2>/dev/null; then
    echo "/dev/kvm does not open"
    exit 1
fi
for pair in vmx:kvm_intel svm:kvm_amd; do
    flag=${pair%:*} module=${pair#*:}
    grep -qw "$flag" "$root/proc/cpuinfo" || continue
    if grep -qs '[Y1]' "$root/sys/module/$module/parameters/nested"; then
        echo "/dev/kvm works, the CPU has $flag, and $module offers it to guests"
        exit 0
    fi
    echo "$module has nesting off"
    exit 1
done
echo "this CPU has neither vmx nor svm"
exit 1
