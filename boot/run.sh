#!/bin/bash
# SPDX-License-Identifier: MIT
# Runs the image in an emulator without a window, prints its console as it comes, and exits with the status the image
# ended with.
#
#   boot/run.sh [NAME=VALUE ...] [-- extra emulator arguments]
#
#   ENGINE   qemu (GRUB, TCG) | uefi (OVMF, TCG) | kvm (GRUB, KVM) | bochs      [qemu]
#   CPUS     how many                                                        [2]
#   SPARE    1: with ENGINE=qemu or uefi one more CPU, which is left alone   []
#   TICKS    1: a tick of the TSC is an instruction, on one CPU: not with    []
#            ENGINE=kvm; with ENGINE=bochs it always is
#   MEM      MiB                                                             [1024]
#   TIMEOUT  seconds until the run is given up; 0: never                     [120]
#   CPU      the engine's CPU model                                          [max | host | corei7_icelake_u]
#   BIOS     the machine's firmware, with ENGINE=bochs                       [Bochs' own]
#   CMDLINE  the kernel's command line: program=NAME ...                     []
#   MODULES  PATH:STRING ... ("," in STRING stands for a space)              []
#   IOMMU    none | intel | amd: of the machine; not with ENGINE=bochs       [none]
#            (amd: what is behind ports is on bus 0 for QEMU 7.2)
#   INTREMAP on | off: whether that IOMMU remaps interrupts                  [on]
#   DEVICES  more devices of QEMU's, WORD ...: each is a -device, or, as     []
#            drive:..., netdev:..., chardev:... or object:..., one of these
#   DEBUGGER with ENGINE=bochs: a file with commands for its debugger        [c]
#   EXPECT   the exit status that counts as success                          [0]
#   KERNEL   the image                                                       [build/barewhp.elf]
#   EFI      the same with its loader, for ENGINE=uefi                       [BOOTX64.EFI beside KERNEL]
#   ISO      a ready ISO: CMDLINE and MODULES are then what it was made with []
#   LOG      where to keep the console's text                                []
#   INPUT    1: standard input goes to the machine's serial line; a terminal []
#            is in raw mode meanwhile: every key is the machine's
#   AFTER    with INPUT: input that is no terminal's waits for this text,    []
#            and its end becomes ^D
#
# Exit status: 0 when the image ended with EXPECT, else the image's own (1 when that was 0), 124 after TIMEOUT,
# 125 when the emulator ended without the image having said so, 126 when something needed is missing.
# shellcheck disable=SC2054 # the commas are QEMU's
# shellcheck disable=SC2317 # engine_* are called by name
set -u

ENGINE=qemu CPUS=2 MEM=1024 TIMEOUT=120 CPU='' SPARE='' TICKS='' DEBUGGER='' CMDLINE='' MODULES='' EXPECT=0 ISO='' LOG='' INPUT='' AFTER='' IOMMU=none INTREMAP=on DEVICES='' command=()
KERNEL=build/barewhp.elf EFI='' BIOS=/usr/share/bochs/BIOS-bochs-latest
here=$(dirname "$0")

fail() {
    echo "run.sh: $*" >&2
    exit 126
}

while [ $# -gt 0 ]; do
    case $1 in
    --)
        shift
        break
        ;;
    ENGINE=* | CPUS=* | MEM=* | TIMEOUT=* | CPU=* | SPARE=* | TICKS=* | DEBUGGER=* | CMDLINE=* | MODULES=* | EXPECT=* | IOMMU=* | INTREMAP=* | DEVICES=* | ISO=* | LOG=* | INPUT=* | AFTER=* | KERNEL=* | EFI=* | BIOS=*)
        declare "${1%%=*}=${1#*=}"
        ;;
    *)
        fail "unknown argument $1 (see the top of $0)"
        ;;
    esac
    shift
done
EFI=${EFI:-$(dirname "$KERNEL")/BOOTX64.EFI}

scratch=$(mktemp -d "${TMPDIR:-/tmp}/barewhp-run.XXXXXX") || exit 126
terminal=
[ "$INPUT" != 1 ] || [ ! -t 0 ] || terminal=$(stty -g)
# console.py puts the terminal back too, but may have been killed
trap '[ -z "$terminal" ] || stty "$terminal"; rm -rf "$scratch"' EXIT
trap 'exit 130' INT TERM

need() {
    command -v "$1" >/dev/null || fail "$1 is missing: make deps installs it"
}

make_iso() {
    [ -z "$ISO" ] || return 0
    [ -r "$KERNEL" ] || fail "no $KERNEL: run make"
    need grub-mkrescue
    ISO=$scratch/barewhp.iso
    # shellcheck disable=SC2086 # MODULES is a list of words
    "$here/iso.sh" "$ISO" "$KERNEL" "$CMDLINE" $MODULES || fail "cannot make the ISO"
}

# On QEMU's TCG each FNINIT, FXRSTOR and XRSTOR of any CPU also writes flags of the first CPU (cpu_clear_ignne), by an
# instruction that is not atomic. Among them is whether addresses go through nested tables. A VMRUN or #VMEXIT of the first
# CPU at the same time is then half lost, and that CPU ends in a triple fault: seen in one of 20 runs with two busy guests.
# So none of our guests runs on the first CPU, which is there in addition. It also reminds CPUs that do run guests of
# interrupts of which TCG does not tell them: see remind_late in boot/kernel/sched.c.
spare_first() {
    [ "$SPARE" = 1 ] || return 0
    CPUS=$((CPUS + 1)) CMDLINE="${CMDLINE:+$CMDLINE }spare_first"
}
case $ENGINE in
qemu | uefi) spare_first ;;
esac

case $IOMMU in
none | '') IOMMU=none ;;
intel | amd) [ "$ENGINE" != bochs ] || fail "IOMMU=$IOMMU: ENGINE=bochs has none" ;;
*) fail "IOMMU=$IOMMU is none of none, intel, amd" ;;
esac
case $INTREMAP in
on | off) ;;
*) fail "INTREMAP=$INTREMAP is none of on, off" ;;
esac
[ -z "$DEVICES" ] || [ "$ENGINE" != bochs ] || fail "DEVICES are QEMU's: not with ENGINE=bochs"

# Interrupts can be remapped where QEMU has the IOAPIC, not KVM.
machine=q35
[ "$IOMMU" = none ] || [ "$ENGINE" != kvm ] || machine=q35,kernel-irqchip=split
qemu=(qemu-system-x86_64 -M "$machine" -smp "$CPUS" -m "$MEM" -display none -no-reboot -monitor none
    -device isa-debug-exit,iobase=0xf4,iosize=4 -device isa-debugcon,iobase=0xe9,chardev=console
    -chardev stdio,id=console,signal=off)
case $IOMMU in
intel) qemu+=(-device "intel-iommu,intremap=$INTREMAP,aw-bits=48") ;;
amd) qemu+=(-device "amd-iommu,intremap=$INTREMAP") ;;
esac
for word in $DEVICES; do
    case $word in
    drive:* | netdev:* | chardev:* | object:*) qemu+=("-${word%%:*}" "${word#*:}") ;;
    *) qemu+=(-device "$word") ;;
    esac
done
line=() # for console.py
if [ "$INPUT" = 1 ]; then
    line=(--line "$scratch/com1" --after "$AFTER")
    [ -t 0 ] || line+=(--ask $((TIMEOUT - 15))) # what a run that hangs is about
    qemu+=(-chardev "serial,id=line,path=$scratch/com1" -serial chardev:line)
else
    qemu+=(-serial none)
fi

# A thread for each CPU, where this machine's memory is ordered as x86's is; elsewhere QEMU knows better.
tcg=tcg
[ "$(uname -m)" != x86_64 ] || tcg=tcg,thread=multi
if [ "$TICKS" = 1 ]; then
    [ "$ENGINE" != kvm ] || fail "TICKS=1: not with ENGINE=kvm"
    tcg=tcg
    qemu+=(-icount "shift=0,sleep=off")
fi

engine_qemu() {
    need qemu-system-x86_64
    make_iso
    command=("${qemu[@]}" -accel "$tcg" -cpu "${CPU:-max}" -cdrom "$ISO" -boot d)
}

engine_kvm() {
    need qemu-system-x86_64
    [ -w /dev/kvm ] || fail "/dev/kvm is not usable"
    make_iso
    command=("${qemu[@]}" -accel kvm -cpu "${CPU:-host}" -cdrom "$ISO" -boot d)
}

engine_uefi() {
    local code=

    need qemu-system-x86_64
    [ -r "$EFI" ] || fail "no $EFI: run make"
    for code in /usr/share/OVMF/OVMF_CODE_4M.fd /usr/share/OVMF/OVMF_CODE.fd /usr/share/edk2/x64/OVMF_CODE.4m.fd; do
        [ ! -r "$code" ] || break
    done
    [ -r "$code" ] || fail "OVMF is missing: make deps installs it"
    # shellcheck disable=SC2086 # MODULES is a list of words
    "$here/esp.sh" "$scratch/esp" "$EFI" "$CMDLINE" $MODULES || fail "cannot make the ESP"
    command=("${qemu[@]}" -accel "$tcg" -cpu "${CPU:-max}" -net none
        -drive "if=pflash,format=raw,unit=0,readonly=on,file=$code" -drive "format=raw,file=fat:rw:$scratch/esp")
}

# Two things that Bochs 2.7 offers and gets wrong: an interrupt of the host's makes it deliver a virtual one even while
# the guest's RFLAGS.IF is clear (InterruptAcknowledge in its event.cc), and XSAVEC lays YMM state over the header of the
# area. CMDLINE can say avoid=nothing.
engine_bochs() {
    local com1="mode=file, dev=$scratch/serial.log" sync=none

    need bochs
    if [ "$INPUT" = 1 ]; then
        com1="mode=term, dev=$scratch/com1"
        [ -z "$terminal" ] || sync=slowdown # an idle machine's time passes no faster than that of who waits for it
    fi
    case " $CMDLINE " in
    *" avoid="*) ;;
    *) CMDLINE="${CMDLINE:+$CMDLINE }avoid=delivery,xsavec" ;;
    esac
    make_iso
    cat >"$scratch/bochsrc" <<END
display_library: rfb, options="timeout=0"
megs: $MEM
cpu: count=$CPUS, model=${CPU:-corei7_icelake_u}, ips=100000000, reset_on_triple_fault=0
romimage: file=$BIOS, options=fastboot
vgaromimage: file=/usr/share/bochs/VGABIOS-lgpl-latest
ata0-master: type=cdrom, path=$ISO, status=inserted
boot: cdrom
com1: enabled=1, $com1
port_e9_hack: enabled=1
clock: sync=$sync, time0=utc
speaker: enabled=0
sound: driver=dummy, waveoutdrv=dummy
log: $scratch/bochs.log
END
    cat "${DEBUGGER:-/dev/stdin}" >"$scratch/bochs.rc" <<<c
    # Bochs' remote display wants a TCP port and dies when another Bochs has it: each gets a network of its own, or its
    # turn.
    if unshare -rn true 2>/dev/null; then
        command=(unshare -rn)
    else
        exec 9>"${TMPDIR:-/tmp}/barewhp-bochs.lock"
        flock 9
    fi
    command+=(bochs -q -f "$scratch/bochsrc" -rc "$scratch/bochs.rc")
}

case $ENGINE in
qemu | kvm | uefi | bochs) "engine_$ENGINE" ;;
*) fail "ENGINE=$ENGINE is none of qemu, uefi, kvm, bochs" ;;
esac

need python3
# In the foreground, so that it may read the terminal.
timeout --foreground -k 5 "$TIMEOUT" "$here/console.py" "${line[@]}" -- "${command[@]}" "$@" 2>"$scratch/errors" |
    tee "$scratch/console"
ended=${PIPESTATUS[0]}
[ -z "$LOG" ] || cp "$scratch/console" "$LOG"

# Addresses of a dump with function, file and line, where llvm-symbolizer is there to tell.
explain() {
    local number address image=$KERNEL

    [ -r "$image" ] && command -v llvm-symbolizer >/dev/null || return 0
    grep -E '^  #[0-9]+ 0x' "$scratch/console" | while read -r number address _; do
        # all but the first are return addresses: the call is before them
        [ "$number" = '#0' ] || address=$(printf '0x%x' $((address - 1)))
        printf '  %-4s %s\n' "$number" "$(llvm-symbolizer --no-inlines --basenames -e "$image" "$address" | paste -s -d ' ')"
    done >&2
}

status=$(sed -n 's/^barewhp: exit status \(-\{0,1\}[0-9]*\).*/\1/p' "$scratch/console" | tail -n 1)
if [ -n "$status" ]; then
    [ "$status" != "$EXPECT" ] || exit 0
    explain
    echo "run.sh: $ENGINE: exit status $status, expected $EXPECT" >&2
    [ $((status & 255)) -ne 0 ] || exit 1
    exit $((status & 255))
fi
{
    grep -v -e '^0*i\[' -e '^ALSA' "$scratch/errors" | tail -n 5
    explain
    [ ! -r "$scratch/bochs.log" ] || grep -E 'PANIC|exception|triple' "$scratch/bochs.log" | tail -n 5
} >&2
if [ "$ended" -eq 124 ] || [ "$ended" -eq 137 ]; then
    echo "run.sh: $ENGINE: no end after $TIMEOUT seconds; the last line was: $(tail -n 1 "$scratch/console")" >&2
    exit 124
fi
echo "run.sh: $ENGINE ended (status $ended) before the image did; the last line was: $(tail -n 1 "$scratch/console")" >&2
exit 125
