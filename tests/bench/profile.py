#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Where the instructions of a figure's round go: executed instructions by function, inlined ones by their own names, and
those that cost much more than others on a CPU. Bochs' debugger or QEMU's log of executed addresses tell which.
"""

import argparse
import bisect
import collections
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time

COSTLY = re.compile(r"^(vm\w+|inv\w+|rdmsr|wrmsr|rdtscp?|cpuid|clgi|stgi|fx\w+|x(save|rstor|getbv|setbv)\w*|wbinvd|lock|"
                    r"in[bwl]?|out[bwl]?|lgdt|lidt|lldt|ltr|sgdt|sidt|pushf\w*|popf\w*|cli|sti|iret\w*|hlt|pause|swapgs|"
                    r"xchg\w*|lfence|mfence|div\w*|(rd|wr)[fg]sbase\w*)$")


def fail(text):
    sys.exit(f"profile.py: {text}")


class Image:
    """The kernel's symbols, source functions and instructions by address."""

    def __init__(self, path):
        self.path = path
        symbols = self.tool("llvm-nm", "-n", "--defined-only", path).splitlines()
        self.symbols = [(int(a, 16), n) for a, t, n in (s.split(None, 2) for s in symbols) if t in "tT"]
        self.starts = [a for a, _ in self.symbols]

    def tool(self, *command, text=None):
        return subprocess.run(command, input=text, capture_output=True, text=True, check=True).stdout

    def address(self, name):
        for address, symbol in self.symbols:
            if symbol == name:
                return address
        fail(f"no symbol {name} in {self.path}")

    def function(self, address):
        at = bisect.bisect_right(self.starts, address) - 1
        return self.symbols[at][1] if at >= 0 else "?"

    def sources(self, addresses):
        """address -> (function, inlined into it or itself)"""
        text = "".join(f"0x{a:x}\n" for a in addresses)
        blocks = self.tool("llvm-symbolizer", "--inlines", "--basenames", "-e", self.path, text=text).split("\n\n")
        names = {}
        for address, block in zip(addresses, blocks):
            lines = block.strip().splitlines()
            inner = lines[0] if lines and lines[0] != "??" else self.function(address)
            names[address] = (self.function(address), inner, lines[1] if len(lines) > 1 else "?")
        return names

    def mnemonics(self, addresses):
        """address -> what of it costs much"""
        costly, wanted = {}, set(addresses)
        for line in self.tool("llvm-objdump", "-d", "--no-show-raw-insn", "--no-leading-headers", self.path).splitlines():
            m = re.match(r"\s*([0-9a-f]+):\s+(\S+)\s*(.*)", line)
            if not m or int(m[1], 16) not in wanted:
                continue
            word = m[2].rstrip("l") if m[2] in ("vmreadl", "vmwritel") else m[2]
            if word.startswith("mov") and re.search(r"%(cr|dr)\d", m[3]):
                word = "mov " + re.search(r"%((cr|dr)\d)", m[3])[1]
            elif not COSTLY.match(word):
                continue
            costly[int(m[1], 16)] = {"vmreadq": "vmread", "vmwriteq": "vmwrite"}.get(word, word)
        return costly


# ---------------------------------------------------------------------------- traces: lists of addresses


def command_of(options, rounds, more):
    return ["boot/run.sh", f"ENGINE={options.engine}", f"KERNEL={options.kernel}", "CPUS=1", "TICKS=1", "TIMEOUT=300",
            f"CMDLINE=program=bench filter={options.filter} rounds={rounds}"] + more


def announced(line):
    m = re.match(r"profile (\S+) 0x([0-9a-f]+)", line)
    return (m[1], int(m[2], 16)) if m else None


def trace_bochs(options, image, scratch):
    """Stops at the mark, and steps from there."""
    script = os.path.join(scratch, "debugger")
    with open(script, "w") as file:
        file.write(f"lb 0x{image.address('bench_mark'):x}\nc\ntrace on\ns {options.steps}\nq\n")
    process = subprocess.Popen(command_of(options, 100000000, [f"DEBUGGER={script}"]), stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True, errors="replace")
    figure, addresses = None, []
    for line in process.stdout:
        figure = announced(line) or figure
        m = re.match(r"\(0\)\.\[\d+\] \[\w+\] [0-9a-f]{4}:([0-9a-f]{16}) ", line)
        if m:
            addresses.append(int(m[1], 16))
    process.wait()
    return figure, addresses


def monitor(path, *commands):
    """Says these to QEMU, each when the one before is done."""
    link = socket.socket(socket.AF_UNIX)
    link.connect(path)
    for command in ("",) + commands:
        if command:
            link.sendall(command.encode() + b"\n")
        text = b""
        while b"(qemu) " not in text:
            part = link.recv(4096)
            if not part:
                return
            text += part


def wait_for_size(path, size):
    for _ in range(600):
        if os.path.exists(path) and os.path.getsize(path) >= size:
            return
        time.sleep(0.1)


def trace_qemu(options, image, scratch):
    """Runs on for ever, and logs for a while."""
    log, link = os.path.join(scratch, "log"), os.path.join(scratch, "monitor")
    more = ["--", "-singlestep", "-D", log, "-monitor", f"unix:{link},server=on,wait=off"]
    process = subprocess.Popen(command_of(options, 100000000, more), stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True, errors="replace")
    figure = None
    for line in process.stdout:
        figure = announced(line)
        if figure:
            break
    if figure:
        time.sleep(1)
        monitor(link, "log exec,nochain")
        wait_for_size(log, options.steps * 80)
        monitor(link, "log none", "quit")
    process.stdout.read()
    process.wait()
    addresses = []
    if figure:
        with open(log, errors="replace") as file:
            for line in file:
                m = re.match(r"Trace \d+: \S+ \[[0-9a-f]+/([0-9a-f]+)/", line)
                if m:
                    addresses.append(int(m[1], 16))
    return figure, addresses


TRACES = {"bochs": trace_bochs, "qemu": trace_qemu}

# ------------------------------------------------------------------------------------------------ report


def whole_rounds(addresses, loop):
    heads = [i for i, address in enumerate(addresses) if address == loop]
    if len(heads) < 2:
        fail(f"{len(heads)} rounds in {len(addresses)} instructions: try more --steps")
    return addresses[heads[0]:heads[-1]], len(heads) - 1


def table(counts, rounds, least=0.05):
    for name, count in counts.most_common():
        if count / rounds >= least:
            print(f"{count / rounds:10.2f}  {name}")


def report(options, image, name, trace, rounds):
    host = [address for address in trace if address >= 1 << 63]
    unique = sorted(set(host))
    sources, costly = image.sources(unique), image.mnemonics(unique)
    print(f"{name} on {options.engine}: {len(trace) / rounds:.2f} instructions a round, {(len(trace) - len(host)) / rounds:.2f} "
          f"of them the guest's; {rounds} rounds")
    print("\nby function, as linked:")
    table(collections.Counter(sources[a][0] for a in host), rounds)
    print("\nby function, as written:")
    table(collections.Counter(f"{sources[a][1]:36} {sources[a][2].split(':')[0]}" for a in host), rounds)
    print("\nthat cost more than others:")
    table(collections.Counter(f"{costly[a]:10} {sources[a][1]}" for a in host if a in costly), rounds)
    if options.lines:
        print("\nby line:")
        table(collections.Counter(f"{':'.join(sources[a][2].split(':')[:2]):32} {sources[a][1]}" for a in host), rounds)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="qemu", choices=sorted(TRACES))
    parser.add_argument("--filter", required=True, help="the figure: the first whose name contains this")
    parser.add_argument("--kernel", default="build/barewhp.elf")
    parser.add_argument("--steps", type=int, default=60000, help="how many instructions to look at")
    parser.add_argument("--lines", action="store_true", help="by line of the source, too")
    parser.add_argument("--trace", help="keeps the addresses in this file, with their functions and lines")
    options = parser.parse_args()
    image, scratch = Image(options.kernel), tempfile.mkdtemp(prefix="barewhp-profile.")
    try:
        figure, addresses = TRACES[options.engine](options, image, scratch)
    finally:
        shutil.rmtree(scratch)
    if not figure:
        fail(f"no figure's name contains \"{options.filter}\"")
    trace, rounds = whole_rounds(addresses, figure[1])
    report(options, image, figure[0], trace, rounds)
    if options.trace:
        names = image.sources(sorted({a for a in trace if a >= 1 << 63}))
        with open(options.trace, "w") as file:
            for a in trace:
                file.write(f"0x{a:x} {' '.join(names.get(a, ('guest',)))}\n")


if __name__ == "__main__":
    main()
