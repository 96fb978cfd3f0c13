#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""
Where the instructions of a figure's round go: executed instructions by function, inlined ones by their own names, and
those that cost much more than others on a CPU. Bochs' debugger or QEMU's log of executed addresses tell which.
"""

import argparse
import collections
import shutil
import signal
import sys
import tempfile

sys.dont_write_bytecode = True
from executed import TRACES, Image, fail, whole_rounds

# ------------------------------------------------------------------------------------------------ report


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
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    image, scratch = Image(options.kernel), tempfile.mkdtemp(prefix="barewhp-profile.")
    try:
        figure, addresses = TRACES[options.engine](options, image, scratch)
    finally:
        shutil.rmtree(scratch)
    if not figure:
        fail(f"no figure's name contains \"{options.filter}\"")
    begin, end, rounds = whole_rounds(addresses, figure[1])
    if not rounds:
        fail(f"no whole round in {len(addresses)} instructions: try more steps")
    trace = addresses[begin:end]
    report(options, image, figure[0], trace, rounds)
    if options.trace:
        names = image.sources(sorted({a for a in trace if a >= 1 << 63}))
        with open(options.trace, "w") as file:
            for a in trace:
                file.write(f"0x{a:x} {' '.join(names.get(a, ('guest',)))}\n")


if __name__ == "__main__":
    main()
