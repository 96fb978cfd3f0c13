#!/bin/bash
# SPDX-License-Identifier: MIT
# Chooses an engine, says which and why, and runs a guest, or another program of the image, on it.
#
#   vmm/run.sh ENGINE [NAME=VALUE ...]     ENGINE: auto | kvm | qemu | bochs | uefi
#
#   GUEST_KERNEL   the guest's kernel: a Linux bzImage, or a multiboot kernel []
#   GUEST_INITRD   its initial RAM disk                                       []
#   GUEST_CMDLINE  its command line                                           []
#   GUEST_SMP      how many processors it has                                 [2]
#   GUEST_MEM      MiB of its memory                                          [512]
#   GUESTS         how many guests, all alike, at the same time               [1]
#   GUEST_HYPERV   its Hyper-V interface: on, nocalls (no hypercalls for TLB
#                  flushes and IPIs) or off                                   [on]
#   PASSTHROUGH    devices of the machine that the first guest gets for       []
#                  itself, with commas between: nvme or net, which are put
#                  into an emulated machine for this, or addresses
#                  (SSSS:BB:DD.F) of devices that it has
#   IOMMU          intel, amd or none: of an emulated machine                 [intel with PASSTHROUGH]
#   DISK           with PASSTHROUGH=nvme: the disk's image                    [an empty one of 1 GiB]
#   GUEST_READY    what it prints when it takes input; input from a file      [A shell;]
#                  waits for that
#   MEM            MiB of the machine around it                               [what the guest needs]
#   others         as boot/run.sh has them
#
# Without GUEST_KERNEL there is no guest: the program that CMDLINE names runs.
# Exit status: the image's own.
set -u

boot=$(dirname "$0")/../boot
GUEST_KERNEL='' GUEST_INITRD='' GUEST_CMDLINE='' GUEST_SMP=2 GUEST_MEM=512 GUESTS=1 GUEST_HYPERV=on GUEST_READY='A shell;' PASSTHROUGH='' IOMMU='' DISK='' MEM='' CMDLINE=''
HOST_MEM=256 # MiB for the image itself
options=() extra=()
engine=${1:-}

fail() {
    echo "run: $*" >&2
    exit 126
}

[ $# -eq 0 ] || shift
for argument; do
    case $argument in
    GUEST_KERNEL=* | GUEST_INITRD=* | GUEST_CMDLINE=* | GUEST_SMP=* | GUEST_MEM=* | GUESTS=* | GUEST_HYPERV=* | GUEST_READY=* | PASSTHROUGH=* | IOMMU=* | DISK=* | MEM=* | CMDLINE=*)
        declare "${argument%%=*}=${argument#*=}"
        ;;
    *) options+=("$argument") ;;
    esac
done

choose_engine() {
    case $engine in
    '' | auto)
        if reason=$("$boot/kvm.sh"); then
            engine=kvm
        else
            engine=qemu reason="it emulates SVM; no KVM, as $reason"
        fi
        ;;
    kvm | qemu | bochs | uefi) reason="asked for" ;;
    *) fail "ENGINE=$engine is none of auto, kvm, bochs, qemu, uefi" ;;
    esac
}

# number NAME LEAST MOST
number() {
    case ${!1} in
    '' | *[!0-9]* | ??????????*) fail "$1=${!1} is no number" ;;
    esac
    if [ "${!1}" -lt "$2" ] || [ "${!1}" -gt "$3" ]; then
        fail "$1=${!1} is not between $2 and $3"
    fi
}

file() { # NAME
    [ -f "${!1}" ] || fail "$1=${!1}: there is no such file"
    [ -r "${!1}" ] || fail "$1=${!1} is not readable"
    case ${!1} in
    *[[:space:]:]*) fail "$1=${!1}: a path with a space or a colon cannot go into the image" ;;
    esac
}

size_mib() {
    echo $((($(stat -L -c %s "$1") + 1048575) / 1048576))
}

# All of the machine's memory: the guest's, the files that GRUB loads, the image's own.
choose_memory() {
    local needed=$((GUESTS * GUEST_MEM + $(size_mib "$GUEST_KERNEL") + HOST_MEM))

    [ -z "$GUEST_INITRD" ] || needed=$((needed + 2 * $(size_mib "$GUEST_INITRD")))
    [ -n "$MEM" ] || MEM=$needed
    number MEM 1 1048576
    [ "$MEM" -ge "$needed" ] || fail "MEM=$MEM is too little: GUEST_MEM=$GUEST_MEM needs $needed"
}

is_linux() { # the mark of a bzImage's setup header
    [ "$(dd if="$1" bs=1 skip=514 count=4 2>/dev/null)" = HdrS ]
}

# QEMU's TCG gives all CPUs one TSC, but does not say so in CPUID. Linux would take the PM timer, which exits.
trust_tsc() {
    case " $GUEST_CMDLINE " in
    *" tsc="*) return ;;
    esac
    case $engine in
    qemu | uefi) ! is_linux "$GUEST_KERNEL" || GUEST_CMDLINE="${GUEST_CMDLINE:+$GUEST_CMDLINE }tsc=reliable" ;;
    esac
}

# A disk or a network card, behind a port of its own, so that it can be reset and told from the others. But QEMU's amd-iommu takes what
# is behind ports for devices of bus 0: there a disk, which can reset itself, is on bus 0, and a card behind a bridge to conventional PCI,
# in whose name its DMA goes.
add_device() { # NAME ARGUMENTS
    case $IOMMU-$1 in
    amd-nvme) devices+=" $2" ;;
    amd-*) devices+=" pci-bridge,id=port-$1,chassis_nr=$((++ports)),shpc=off $2,bus=port-$1" ;;
    *) devices+=" pcie-root-port,id=port-$1,chassis=$((++ports)),slot=$ports $2,bus=port-$1" ;;
    esac
}

passthrough() {
    local word devices='' ports=0

    [ "$engine" != bochs ] || fail "PASSTHROUGH=$PASSTHROUGH: ENGINE=bochs has no IOMMU"
    IOMMU=${IOMMU:-intel}
    for word in ${PASSTHROUGH//,/ }; do
        case $word in
        nvme)
            if [ -z "$DISK" ]; then
                DISK=$scratch/disk
                truncate -s 1G "$DISK"
            fi
            file DISK
            devices+=" drive:file=$DISK,if=none,id=disk,format=raw"
            add_device nvme nvme,drive=disk,serial=barewhp
            ;;
        net)
            devices+=" netdev:user,id=net"
            add_device net virtio-net-pci,netdev=net,iommu_platform=on,disable-legacy=on,romfile=
            ;;
        esac
    done
    CMDLINE="guest_pci=$PASSTHROUGH${CMDLINE:+ $CMDLINE}"
    options+=("DEVICES=${devices# }")
    extra=(-- -nic none) # else QEMU has a network card of its own choice
}

guest() {
    local modules

    file GUEST_KERNEL
    [ -z "$GUEST_INITRD" ] || file GUEST_INITRD
    number GUEST_SMP 1 64
    number GUEST_MEM 16 1048576
    number GUESTS 1 8
    trust_tsc
    choose_memory
    scratch=$(mktemp -d "${TMPDIR:-/tmp}/barewhp-guest.XXXXXX") || exit 126
    trap 'rm -rf "$scratch"' EXIT
    [ -z "$PASSTHROUGH" ] || passthrough
    # the command line is a file: it may hold any character
    printf '%s\n' "$GUEST_CMDLINE" >"$scratch/cmdline"
    modules="$GUEST_KERNEL:kernel $scratch/cmdline:cmdline${GUEST_INITRD:+ $GUEST_INITRD:initrd}"
    CMDLINE="program=vmm guest_smp=$GUEST_SMP guest_mem=$GUEST_MEM guest_hyperv=$GUEST_HYPERV guests=$GUESTS${CMDLINE:+ $CMDLINE}"
    options=(TIMEOUT="$([ -t 0 ] && echo 0 || echo 600)" INPUT=1 SPARE=1 "AFTER=$GUEST_READY" "MODULES=$modules" "${options[@]}")
}

choose_engine
[ -z "$GUEST_KERNEL" ] || guest
[ -z "$IOMMU" ] || options+=("IOMMU=$IOMMU")
[ -z "$MEM" ] || options+=("MEM=$MEM")

echo "run: ENGINE=$engine ($reason)"
[ -z "$GUEST_KERNEL" ] ||
    echo "run: $GUEST_KERNEL with $GUEST_SMP processors and $GUEST_MEM MiB, command line: $GUEST_CMDLINE"
"$boot/run.sh" "ENGINE=$engine" "CMDLINE=$CMDLINE" "${options[@]}" "${extra[@]}"
