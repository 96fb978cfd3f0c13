#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs all suites, two at a time, and adds up their TAP: a line for each suite as it ends, with what failed, and at the very end
# "N passed, N failed, N skipped". Exit status 0 when nothing failed.
#
#   BUILD=build MAKE=make tests/collect.sh [SUITE ...]     logs: BUILD/test/SUITE.log
#
# A suite that dies, hangs, or says less than its plan counts as one more failure, and the end of its log is shown.
set -u

BUILD=${BUILD:-build}
logs=$BUILD/test
mkdir -p "$logs"
unset MAKEFLAGS MFLAGS MAKELEVEL

# name, seconds after which it hangs (several times what it takes), make's target and variables; the longest first
suites='
linux-bochs     900  test-linux ENGINE=bochs JOBS=1
linux-qemu      750  test-linux ENGINE=qemu JOBS=1
passthrough-intel 690  test-passthrough ENGINE=qemu IOMMU=intel
passthrough-amd 690  test-passthrough ENGINE=qemu IOMMU=amd
iommu-intel     600  test-kernel ENGINE=qemu CPUS=2 IOMMU=intel FILTER=iommu
iommu-amd       600  test-kernel ENGINE=qemu CPUS=2 IOMMU=amd FILTER=iommu
kernel-bochs-2  450  test-kernel ENGINE=bochs CPUS=2
kernel-qemu-2   450  test-kernel ENGINE=qemu CPUS=2
kernel-bochs-1  450  test-kernel ENGINE=bochs CPUS=1
kernel-uefi     450  test-kernel ENGINE=uefi CPUS=2 FILTER=exits
unit            450  test-unit
kernel-qemu-1   450  test-kernel ENGINE=qemu CPUS=1 FILTER=apic
check           540  check
linux-uefi      450  test-linux ENGINE=uefi RUN=check
oracle          480  test-oracle
refused         400  test-refused
abi             240  test-abi
nvme-intel      480  test-kernel ENGINE=qemu CPUS=2 IOMMU=intel FILTER=nvme
nvme-amd        480  test-kernel ENGINE=qemu CPUS=2 IOMMU=amd FILTER=nvme
nvme-none       240  test-kernel ENGINE=qemu CPUS=2 IOMMU=none FILTER=unsafe
nvme-intel-off  240  test-kernel ENGINE=qemu CPUS=2 IOMMU=intel INTREMAP=off FILTER=unsafe
nvme-amd-off    240  test-kernel ENGINE=qemu CPUS=2 IOMMU=amd INTREMAP=off FILTER=unsafe
multiboot-bochs 400  test-multiboot ENGINE=bochs
multiboot-qemu  400  test-multiboot ENGINE=qemu
bench-bochs     480  test-bench ENGINE=bochs
bench-qemu      480  test-bench ENGINE=qemu
bench-linux     480  test-bench-linux ENGINE=qemu
apic-bochs      450  test-apic
demo            300  test-demo
coverage         60  test-coverage
port-bochs      180  test-port ENGINE=bochs
port-qemu       180  test-port ENGINE=qemu
boot-bios-qemu  200  test-boot-qemu
boot-uefi-qemu  200  test-boot-uefi
boot-bios-bochs 200  test-boot-bochs
kernel-kvm      480  test-kernel ENGINE=kvm CPUS=2
'

# Why a suite cannot run on this machine; nothing when it can.
why_skip() {
    local reason

    case $1 in
    kernel-kvm) reason=$("$(dirname "$0")/../boot/kvm.sh") || echo "$reason" ;;
    esac
}

# passed, failed, skipped and planned of a log
tally() {
    awk '
    /^ok([ \t]|$)/     { if (tolower($0) ~ /#[ \t]*skip/) skipped++; else passed++ }
    /^not ok([ \t]|$)/ { failed++ }
    /^1\.\.[0-9]+/     { planned += substr($1, 4) }
    END { print passed + 0, failed + 0, skipped + 0, planned + 0 }' "$1"
}

# What failed: each "not ok" with the diagnostics before and behind it.
failures() {
    awk '
    /^#/      { if (after) print "      " $0; else diagnostics = diagnostics "      " $0 "\n"; next }
    /^not ok/ { printf "%s", diagnostics; print "    " $0; diagnostics = ""; after = 0; next }
              { diagnostics = ""; after = 0 }' "$1" | head -n 60
}

# Skipped tests by reason.
skips() {
    sed -n 's/^ok.*# *[Ss][Kk][Ii][Pp][A-Za-z]* */    skipped: /p' "$1" | sort | uniq -c | sed -E 's/^ *([0-9]+)     ?skipped:/    skipped \1:/'
}

run_suite() { # NAME SECONDS TARGET...
    local name=$1 limit=$2 log=$logs/$1.log start=$EPOCHREALTIME reason status=0 passed failed skipped planned trouble=
    shift 2

    reason=$(why_skip "$name")
    if [ -n "$reason" ]; then
        echo "ok - $name # SKIP $reason" >"$log"
    else
        timeout -k 5 "$limit" "${MAKE:-make}" -s --no-print-directory BUILD="$BUILD" "$@" >"$log" 2>&1 </dev/null
        status=$?
    fi
    read -r passed failed skipped planned < <(tally "$log")
    if [ $status -eq 124 ]; then
        trouble="no end after $limit seconds"
    elif [ $((passed + failed + skipped)) -eq 0 ]; then
        trouble="no results, exit status $status"
    elif [ $((passed + failed + skipped)) -lt "$planned" ]; then
        trouble="ended after $((passed + failed + skipped)) of $planned tests, exit status $status"
    elif [ $status -ne 0 ] && [ "$failed" -eq 0 ]; then
        trouble="exit status $status"
    fi
    [ -z "$trouble" ] || failed=$((failed + 1))
    echo "$passed $failed $skipped" >"$logs/$name.counts"
    {
        printf '%-16s %5d passed %4d failed %4d skipped %7.1f s\n' "$name" "$passed" "$failed" "$skipped" \
            "$(awk "BEGIN { print $EPOCHREALTIME - $start }")"
        skips "$log"
        failures "$log"
        if [ -n "$trouble" ]; then
            echo "    $trouble; the end of $log:"
            tail -n 20 "$log" | sed 's/^/      /'
        fi
    } >"$logs/$name.summary"
    cat "$logs/$name.summary"
}

total_passed=0 total_failed=0 total_skipped=0
begin=$SECONDS
names=()
rm -f "$logs"/*.counts
# Several suites want them, and would make them at the same time; what cannot be made is each suite's failure.
"${MAKE:-make}" -s --no-print-directory BUILD="$BUILD" test-linux-files >"$logs/files.log" 2>&1

while read -r name limit target; do
    [ -n "$name" ] || continue
    [ $# -eq 0 ] || [[ " $* " == *" $name "* ]] || continue
    names+=("$name")
    while [ "$(jobs -rp | wc -l)" -ge 2 ]; do
        wait -n
    done
    # shellcheck disable=SC2086 # words for make
    run_suite "$name" "$limit" $target &
done <<<"$suites"
wait

for name in "${names[@]}"; do
    passed=0 failed=1 skipped=0
    [ ! -r "$logs/$name.counts" ] || read -r passed failed skipped <"$logs/$name.counts"
    total_passed=$((total_passed + passed)) total_failed=$((total_failed + failed)) total_skipped=$((total_skipped + skipped))
done

echo
echo "${#names[@]} suites in $((SECONDS - begin)) seconds"
echo "$total_passed passed, $total_failed failed, $total_skipped skipped"
[ "$total_failed" -eq 0 ]
