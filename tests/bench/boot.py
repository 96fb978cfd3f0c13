#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
The instructions that Linux takes to its first process: as our guest, hypervisor and VMM included, and, with QEMU, on
the emulated machine itself, its firmware included. Held against ceilings.csv like the other figures.
"""

import os
import re
import subprocess
import sys
import time

sys.dont_write_bytecode = True
import bench  # noqa: E402

CMDLINE = "console=ttyS0 panic=-1 mitigations=off lsm=capability tsc=reliable"
MEMORY = 256
FIGURE = "linux-to-userspace"


def tsc_at_init(command, log):
    with open(log, "w") as file:
        subprocess.run(command, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, check=False)
    with open(log, errors="replace") as file:
        found = re.search(r"\btsc (\d{20})\b", file.read())
    if not found:
        raise RuntimeError(f"no first process: see {log}")
    return int(found[1])


def as_guest(options, directory):
    return tsc_at_init([
        "vmm/run.sh", options.engine, f"KERNEL={options.kernel}", f"GUEST_KERNEL={directory}/../guest/vmlinuz",
        f"GUEST_INITRD={directory}/initrd", f"GUEST_CMDLINE={CMDLINE}", "GUEST_SMP=1", f"GUEST_MEM={MEMORY}", "CPUS=1",
        "SPARE=", "INPUT=", f"TICKS={1 if options.engine == 'qemu' else ''}", f"TIMEOUT={options.timeout}",
    ], f"{options.build}/bench-linux-{options.engine}.log")


def on_machine(options, directory):
    return tsc_at_init([
        "timeout", "-k", "5", str(options.timeout), "qemu-system-x86_64", "-M", "q35", "-accel", "tcg", "-cpu", "max",
        "-icount", "shift=0,sleep=off", "-smp", "1", "-m", str(MEMORY), "-nodefaults", "-display", "none", "-no-reboot",
        "-serial", "stdio", "-kernel", f"{directory}/../guest/vmlinuz", "-initrd", f"{directory}/initrd", "-append", CMDLINE,
    ], f"{options.build}/bench-linux-machine.log")


def main():
    options, begin = bench.parse(), time.time()
    directory = os.path.join(options.build, "bench")
    report = bench.Report(options, bench.read_ceilings())
    try:
        if not options.tap:
            report.header()
            if options.engine == "qemu":
                print(f"# on the machine itself: {on_machine(options, directory)} instructions; as a guest:", flush=True)
        count = as_guest(options, directory)
    except RuntimeError as error:
        print(f"not ok 1 - bench {options.engine}: linux-to-userspace\n# {error}\n1..1" if options.tap else f"FAILED: {error}")
        return 1
    report.figure(FIGURE, count, None)
    if options.set:
        bench.set_ceilings(options, {FIGURE: count})
    if options.tap:
        print("1..1")
    else:
        print(f"1 figure in {time.time() - begin:.0f} s, {len(report.over)} above its ceiling, {len(report.missed)} goals not reached")
    return 1 if report.over else 0


if __name__ == "__main__":
    sys.exit(main())
