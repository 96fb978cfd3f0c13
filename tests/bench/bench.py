#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs the program `bench` in an emulator, and holds its figures against ceilings.csv. See README.md."""

import argparse
import csv
import itertools
import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

sys.dont_write_bytecode = True
import executed  # noqa: E402

HERE = os.path.dirname(os.path.abspath(__file__))
CEILINGS = os.path.join(HERE, "ceilings.csv")
TOLERANCE = 0.01  # two runs differ by no more than that,
SLACK = 0.1  # or that: of a few instructions the host's timer, once in 10,000 rounds, is a percent
APART = ("library-", "vmread-", "vmwrite-", "linux-")  # not from such a run
EXACT = ("qemu", "bochs")  # where a tick is an instruction


def read_ceilings():
    with open(CEILINGS, newline="") as file:
        rows = list(csv.DictReader(file))
    return {row["name"]: row for row in rows}


def number(row, column, engine):
    text = row.get(f"{column}_{engine}") if row else None
    return float(text) if text else None


def show(value):
    return "-" if value is None else f"{value:.2f}".rstrip("0").rstrip(".")


# enum bench_machine of bench.h
ONE_CPU, TWO_CPUS, DEVICE, DELIVERY = range(4)
ARGUMENTS = {
    ONE_CPU: ("CPUS=1",),
    TWO_CPUS: ("CPUS=2", "SPARE=1"),
    DEVICE: ("CPUS=1", "IOMMU=intel", "DEVICES=pcie-root-port,id=bridge,chassis=1 edu,dma_mask=0xffffffffffffffff,bus=bridge"),
    DELIVERY: ("CPUS=1",),
}


def machine_of(row):
    if row["name"].startswith(APART):
        return None
    if row["unit"] == "ticks":
        return TWO_CPUS
    return DEVICE if row["name"].startswith("device-") else DELIVERY if row["name"].endswith("-delivered") else ONE_CPU


def machines(options, ceilings):
    """Those that have a figure that is wanted."""
    there = {machine_of(row) for name, row in ceilings.items() if options.filter in name} - {None}
    there -= {"bochs": {DEVICE}, "qemu": {DELIVERY}, "kvm": {DEVICE, DELIVERY}}[options.engine]
    if options.tap:
        there -= {TWO_CPUS}
    return sorted(there)


class Run:
    """One run of the emulator: figures by name, what is absent by name with the reason, what failed."""

    def __init__(self, options, machine, on_figure):
        self.figures, self.absent, self.failed, self.ticks = {}, {}, [], 0
        self.on_figure = on_figure
        words = ["program=bench", f"machine={machine}"] + ([f"filter={options.filter}"] if options.filter else [])
        words += (["short"] if options.tap else []) + (["avoid=xsavec"] if machine == DELIVERY else [])
        command = [
            "boot/run.sh", f"ENGINE={options.engine}", f"KERNEL={options.kernel}", f"TIMEOUT={options.timeout}",
            f"TICKS={1 if options.engine == 'qemu' and machine != TWO_CPUS else ''}", *ARGUMENTS[machine],
            f"LOG={options.build}/bench-{options.engine}-{machine}.log", f"CMDLINE={' '.join(words)}",
        ]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, errors="replace") as process:
            for line in process.stdout:
                self.take(line.strip())
        if process.returncode and not self.failed:
            self.failed.append(f"the run itself (status {process.returncode})")

    def take(self, line):
        words = line.split(None, 2)
        if line.startswith("figure ") and len(words) == 3:
            self.figures[words[1]] = float(words[2])
            self.on_figure(words[1], float(words[2]), self)
        elif line.startswith("absent ") and len(words) == 3:
            self.absent[words[1]] = words[2]
            print(f"# {words[1]}: {words[2]}", flush=True)
        elif line.startswith("failed "):
            self.failed.append(words[1])
        elif line.startswith("ticks-per-second "):
            self.ticks = float(words[1])
        elif line.startswith(("#", "no hypervisor")):
            print("# " + line.lstrip("# "), flush=True)


class Report:
    """Prints figures as they come, and knows which are too high."""

    def __init__(self, options, ceilings):
        self.options, self.ceilings = options, ceilings
        self.lines, self.over, self.missed, self.tap = [], [], [], 0

    def header(self):
        what = "a tick is an instruction" if self.options.engine in EXACT else "nanoseconds"
        print(f"# costs on {self.options.engine}: {what}; the peer is KVM of Linux 6.1 (README.md)")
        print(f"{'name':30} {'value':>12} {'unit':14} {'peer':>12} {'ratio':>6}", flush=True)

    def remark(self, name, value, ceiling, goal):
        if ceiling is not None and value > ceiling:
            self.over.append(name)
            return f"  ABOVE its ceiling of {show(ceiling)}"
        if goal is not None and value > goal:
            self.missed.append(name)
            return f"  the goal is {show(goal)}"
        return ""

    def figure(self, name, value, run):
        engine, row = self.options.engine, self.ceilings.get(name)
        unit = row["unit"] if row else "?"
        if engine == "kvm" and unit in ("instructions", "ticks"):
            value, unit = value * 1e9 / run.ticks, "ns"
        peer = number(row, "peer", engine)
        ratio = value / peer if peer else None
        ceiling, goal = number(row, "ceiling", engine), number(row, "goal", engine)
        remark = self.remark(name, value, ceiling, goal)
        self.lines.append((name, show(value), unit, show(peer), show(ratio)))
        if self.options.tap:
            self.tap += 1
            limit = f", ceiling {show(ceiling)}" if ceiling is not None else ""
            state = "not ok" if name in self.over else "ok"
            print(f"{state} {self.tap} - bench {engine}: {name} {show(value)} {unit}{limit}{remark}", flush=True)
        else:
            print(f"{name:30} {show(value):>12} {unit:14} {show(peer):>12} {show(ratio):>6}{remark}", flush=True)

    def write(self):
        path = f"{self.options.build}/bench-{self.options.engine}.csv"
        with open(path, "w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(("name", "value", "unit", "peer", "ratio"))
            writer.writerows([["" if field == "-" else field for field in line] for line in self.lines])
        return path


def library_sizes(options):
    """Figures that no emulator is needed for."""
    path = f"{options.build}/lib/barewhp.o"
    output = subprocess.run(("llvm-size", path), capture_output=True, text=True, check=True).stdout
    text, data, bss = (float(word) for word in output.splitlines()[1].split()[:3])
    for name, value in (("library-text", text), ("library-data", data + bss)):
        if options.filter in name:
            yield name, value


COUNTED = ("vmread-", "vmwrite-")


def counted_filter(text):
    """Of what is in a name behind one of these, for a filter that may begin in it."""
    if any(text in prefix for prefix in COUNTED):
        return ""
    return text[max(n for prefix in COUNTED for n in range(len(prefix) + 1) if text.startswith(prefix[len(prefix) - n:])):]


def vmcs_accesses(options):
    """VMREADs and VMWRITEs of a round, which no guest can see: on Bochs we look at what is executed."""
    if options.engine != "bochs":
        return
    scratch = tempfile.mkdtemp(prefix="barewhp-bench.")
    looked_at = argparse.Namespace(**{**vars(options), "filter": counted_filter(options.filter)})
    try:
        image = executed.Image(options.kernel)
        for (name, loop), steps in executed.debug_bochs(looked_at, image, scratch, 6, 40, 25000):
            rounds = executed.each_round([address for address, _ in steps], loop)
            for what in COUNTED if rounds and loop < 1 << 63 else ():  # only of the guest's loops
                if options.filter in what + name:
                    counts = [sum(mnemonic == what[:-1] for _, mnemonic in steps[begin:end]) for begin, end in rounds]
                    yield what + name, float(statistics.median_low(counts))  # the host's timer falls into one or another
    finally:
        shutil.rmtree(scratch)


def differences(first, second, ceilings):
    """What two runs do not agree on."""
    for name, value in first.items():
        again, row = second.get(name), ceilings.get(name)
        if again is None and row is None:  # counted by traces, which may end before a long round does
            continue
        if row and (machine_of(row) is None or row["unit"] == "ticks"):
            continue
        if again is None:
            yield f"{name}: only in the first run"
        elif abs(again - value) > max(SLACK, TOLERANCE * max(value, again)):
            yield f"{name}: {show(value)}, then {show(again)}"


def ceiling_of(row, value, goal):
    """The goal once it is reached, until then a little more than now. Of what is counted by hand, nothing more."""
    if goal is not None and value <= goal:
        return show(goal)
    margin = {"instructions": 1.02, "bytes": 1.1}.get(row["unit"], 1)
    return show(value if margin == 1 else math.ceil(value * margin) + 1)


def set_ceilings(options, figures):
    """Keeps the values; ceilings are not raised unless that is said."""
    engine = options.engine
    with open(CEILINGS, newline="") as file:
        reader = csv.DictReader(file)
        fields, rows = reader.fieldnames, list(reader)
    for row in rows:
        value, old = figures.get(row["name"]), number(row, "ceiling", engine)
        if value is None or row["unit"] == "ticks":
            continue
        new = ceiling_of(row, value, number(row, "goal", engine))
        if old is not None and float(new) > old and not options.raise_ceilings:
            if value > old:
                print(f"# {row['name']}: its ceiling would be {new}, stays {show(old)}: RAISE=1 raises it")
            continue
        row[f"set_{engine}"], row[f"ceiling_{engine}"] = show(value), new
    with open(CEILINGS, "w", newline="") as file:
        writer = csv.DictWriter(file, fields, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="qemu", choices=("qemu", "bochs", "kvm"))
    parser.add_argument("--filter", default="")
    parser.add_argument("--build", default="build")
    parser.add_argument("--kernel", default="build/barewhp.elf")
    parser.add_argument("--timeout", type=int, default=600)
    parser.add_argument("--tap", action="store_true", help="the short form: one run of a tenth of the rounds, TAP")
    parser.add_argument("--set", action="store_true", help="keeps the values in ceilings.csv")
    parser.add_argument("--raise", dest="raise_ceilings", action="store_true", help="with --set: higher ones, too")
    return parser.parse_args()


def measure(options, ceilings, on_figure):
    """One run after the other: their figures, and what failed."""
    figures, problems = {}, []
    for machine in machines(options, ceilings):
        run = Run(options, machine, on_figure)
        figures.update(run.figures)
        problems += [f"{name} failed" for name in run.failed]
    return figures, problems


def missing(options, ceilings, figures):
    """What has a ceiling here, and was not measured."""
    for name, row in ceilings.items():
        if options.filter in name and number(row, "ceiling", options.engine) is not None and name not in figures:
            if not name.startswith("linux-"):
                yield f"{name} was not measured"


def measure_again(options, ceilings, first):
    """What can be compared, once more."""
    print("# once more, to compare", flush=True)
    second, problems = {}, []
    for machine in machines(options, ceilings):
        if machine != TWO_CPUS:
            run = Run(options, machine, lambda name, value, run: None)
            second.update(run.figures)
            problems += [f"{name} failed" for name in run.failed]
    return problems + list(differences(first, second, ceilings))


def why_not(options):
    """Why there is no such engine here, or nothing."""
    if options.engine != "kvm":
        return None
    kvm = subprocess.run(("boot/kvm.sh",), capture_output=True, text=True, check=False)
    return kvm.stdout.strip() if kvm.returncode else None


def main():
    options, begin, ceilings = parse(), time.time(), read_ceilings()
    reason = why_not(options)
    if reason:
        print(f"ok 1 - bench kvm # SKIP {reason}\n1..1" if options.tap else f"no KVM here: {reason}")
        return 0 if options.tap else 1
    report = Report(options, ceilings)
    if not options.tap:
        report.header()
    figures, problems = measure(options, ceilings, report.figure)
    for name, value in itertools.chain(library_sizes(options), vmcs_accesses(options)):
        figures[name] = value
        report.figure(name, value, None)
    problems += list(missing(options, ceilings, figures))
    if not options.tap and not problems and options.engine in EXACT:
        problems += measure_again(options, ceilings, figures)
    if not figures:
        problems.append(f"no figure's name contains \"{options.filter}\"")
    if options.set and not problems:
        set_ceilings(options, figures)
    path = report.write()
    for problem in problems:
        report.tap += 1
        print(f"not ok {report.tap} - bench {options.engine}: {problem}" if options.tap else f"FAILED: {problem}")
    if options.tap:
        print(f"1..{report.tap}")
    else:
        print(f"{len(figures)} figures in {time.time() - begin:.0f} s, {len(report.over)} above their ceilings, "
              f"{len(report.missed)} goals not reached, {len(problems)} failures; {path}")
    return 1 if problems or report.over else 0


if __name__ == "__main__":
    sys.exit(main())
