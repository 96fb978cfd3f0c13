#!/bin/bash
# SPDX-License-Identifier: MIT
# What `make demo` shows: on an engine with VMX the whole of it, on one without a clear refusal. TAP on stdout.
# Usage: demo.sh KERNEL
set -u
here=$(cd "$(dirname "$0")" && pwd)
root=$here/../..
kernel=$1
scratch=$(mktemp -d "${TMPDIR:-/tmp}/barewhp-demo.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
number=0 failed=0

# result NAME STATUS: one TAP line; what is in $scratch/why are its diagnostics
result() {
    number=$((number + 1))
    if [ "$2" -eq 0 ]; then
        echo "ok $number - $1"
    else
        failed=1
        sed 's/^/# /' "$scratch/why"
        echo "not ok $number - $1"
    fi
}

# Numbers that depend on the engine and the day are N.
normalise() {
    sed -n '/^demo:/p; /^guest:/p' | sed -E 's/after [0-9]+ us/after N us/; s/[0-9]+ MHz/N MHz/; s/of [0-9]+ bits/of N bits/'
}

echo 1..5

"$root/vmm/run.sh" bochs KERNEL="$kernel" CMDLINE=program=demo CPUS=2 TIMEOUT=60 </dev/null >"$scratch/bochs" 2>"$scratch/why"
status=$?
result "demo: ends with status 0 on Bochs" $status
grep -v '^demo: WHvGetCapability' "$scratch/bochs" | normalise | diff "$here/demo.expected" - >"$scratch/why"
result "demo: a guest in three modes, and its exits by reason" $?

# what the README says that it prints
sed -n -E 's/^    ((demo|guest): )/\1/p' "$root/README.md" | grep -vxFf "$scratch/bochs" >"$scratch/why"
[ ! -s "$scratch/why" ]
result "demo: prints what the README shows" $?

"$root/vmm/run.sh" qemu KERNEL="$kernel" CMDLINE=program=demo TIMEOUT=60 </dev/null >"$scratch/qemu" 2>"$scratch/why"
[ $? -eq 1 ]
result "demo: ends with status 1 on QEMU, which has no VMX" $?
cp "$scratch/qemu" "$scratch/why"
grep -q '^demo: no hypervisor on this machine: this CPU has no VMX' "$scratch/qemu"
result "demo: says why" $?
exit $failed
