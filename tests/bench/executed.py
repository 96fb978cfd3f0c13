# SPDX-License-Identifier: MIT
"""What a figure's rounds execute, address by address, as Bochs' debugger and QEMU's log tell it."""

import bisect
import os
import re
import socket
import subprocess
import sys
import time

COSTLY = re.compile(r"^(vm\w+|inv\w+|rdmsr|wrmsr|rdtscp?|cpuid|clgi|stgi|fx\w+|x(save|rstor|getbv|setbv)\w*|wbinvd|lock|"
                    r"in[bwl]?|out[bwl]?|lgdt|lidt|lldt|ltr|sgdt|sidt|pushf\w*|popf\w*|cli|sti|iret\w*|hlt|pause|swapgs|"
                    r"xchg\w*|lfence|mfence|div\w*|(rd|wr)[fg]sbase\w*)$")


def fail(text):
    sys.exit(f"{os.path.basename(sys.argv[0])}: {text}")


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


STEP = re.compile(r"\(0\)\.\[\d+\] \[\w+\] [0-9a-f]{4}:([0-9a-f]{16}) \(.*?\): (\w+)")


def debug_bochs(options, image, scratch, rounds, figures, steps):
    """Stops at each figure's mark, and steps from there: (figure, loop), and (address, mnemonic) of each instruction."""
    script = os.path.join(scratch, "debugger")
    with open(script, "w") as file:
        file.write(f"lb 0x{image.address('bench_mark'):x}\n")
        file.write(f"c\ntrace on\ns {steps}\ntrace off\n" * figures + "q\n")
    process = subprocess.Popen(command_of(options, rounds, [f"DEBUGGER={script}"]), stdout=subprocess.PIPE,
                               stderr=subprocess.DEVNULL, text=True, errors="replace")
    figure, executed = None, []
    for line in process.stdout:
        if announced(line):
            if figure:
                yield figure, executed
            figure, executed = announced(line), []
        m = STEP.match(line)
        if m:
            executed.append((int(m[1], 16), m[2]))
    if figure:
        yield figure, executed
    process.wait()


def trace_bochs(options, image, scratch):
    for figure, executed in debug_bochs(options, image, scratch, 100000000, 1, options.steps):
        return figure, [address for address, _ in executed]
    return None, []


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


def each_round(addresses, loop):
    """Those that are whole, as (begin, end)."""
    heads = [i for i, address in enumerate(addresses) if address == loop]
    return list(zip(heads, heads[1:]))


def whole_rounds(addresses, loop):
    """The part that is whole rounds, as (begin, end), and how many."""
    rounds = each_round(addresses, loop)
    return (rounds[0][0], rounds[-1][1], len(rounds)) if rounds else (0, 0, 0)
