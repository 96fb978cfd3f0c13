#!/bin/bash
# SPDX-License-Identifier: MIT
# What `make demo` shows, on VMX and on SVM. TAP on stdout.
# Usage: demo.sh KERNEL
# shellcheck disable=SC2317 # expected_on_* are called by name
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

# What differs: the machine. The guest and its exits are the same everywhere.
expected_on_bochs() {
    cat <<'END'
demo: machine: Bochs, started by BIOS multiboot2, 2 CPUs
demo: hypervisor: VMX: EPT 4 levels 2M 1G A/D, VPID, virtual NMIs, TPR shadow, unrestricted guest, preemption timer, APIC registers
demo: processor: Intel, N MHz, guest-physical addresses of N bits
END
}

expected_on_qemu() {
    cat <<'END'
demo: machine: QEMU (TCG), started by BIOS multiboot2, 2 CPUs
demo: hypervisor: SVM: NPT 4 levels 2M 1G A/D, 16 ASIDs
demo: processor: AMD, N MHz, guest-physical addresses of N bits
END
}

echo 1..6

for engine in qemu bochs; do
    "$root/vmm/run.sh" $engine KERNEL="$kernel" CMDLINE=program=demo CPUS=2 TIMEOUT=60 </dev/null >"$scratch/$engine" 2>"$scratch/why"
    status=$?
    result "demo: ENGINE=$engine: ends with status 0" $status
    grep -v '^demo: WHvGetCapability' "$scratch/$engine" | normalise |
        diff <("expected_on_$engine" && cat "$here/demo.expected") - >"$scratch/why"
    result "demo: ENGINE=$engine: a guest in three modes, and its exits by reason" $?

    # what the README says that it prints
    sed -n -E 's/^    ((demo|guest): )/\1/p' "$root/README.md" | grep -vxFf "$scratch/$engine" >"$scratch/why"
    [ ! -s "$scratch/why" ]
    result "demo: ENGINE=$engine: prints what the README shows" $?
done
exit $failed
