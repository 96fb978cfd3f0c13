#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs an emulator and joins its console with ours: output as it comes, byte by byte, and input to its serial line.

    console.py [--line PATH [--after TEXT] [--ask SECONDS]] -- COMMAND ...

The command's standard output is passed on from the image's first line to its exit status: what the emulator itself
prints before and behind that is not. With --line, PATH becomes a link to a terminal device, the other end of the
machine's serial line: what is typed or piped into us arrives there; what the machine sends there is printed too. A
terminal is switched to raw mode meanwhile, so that each key reaches the machine. With --after, input that is no
terminal's waits until the machine has printed TEXT, and at its end the machine gets ^D, once a second, until it ends.
With --ask, a machine that is still there after so many seconds gets ^A i, to which the reference VMM answers with the
state of the guests' processors: ASKED times, for where each stands, and whether it moves.

Exit status: the command's, as a shell says it.
"""

import argparse
import ctypes
import os
import pty
import re
import selectors
import signal
import subprocess
import sys
import termios
import time
import tty

BEGIN = re.compile(rb"barewhp: (BareWHP|loader: )")
BEGIN_LONGEST = 32
END = b"barewhp: exit status"
END_OF_FILE = b"\x04"
SHOW_PROCESSORS = b"\x01i"
ASKED = 3
ASKED_EVERY = 2  # seconds
CHUNK = 65536
PENDING_MAX = 4096
PR_SET_PDEATHSIG = 1


def write_all(data):
    while data:
        data = data[os.write(1, data):]


class Output:
    """What is passed on: from the image's first words to its last line; of later text, only what another last line
    proves to be the image's, or that is still the last thing after a second."""

    def __init__(self, after):
        self.is_terminal = os.isatty(1)
        self.begun = False
        self.line = b""  # the current line's beginning, as long as END
        self.held = None  # behind END: text that may be the emulator's
        self.held_since = 0
        self.text = b""
        self.after = after
        self.seen = b""

    def feed(self, data):
        if not self.begun:
            self.text += data
            found = BEGIN.search(self.text)
            if not found:
                self.text = self.text[-BEGIN_LONGEST:]
                return
            self.begun, data = True, self.text[found.start():]
        self.look_for_after(data)
        while data:
            end = data.find(b"\n") + 1 or len(data)
            self.pass_on(data[:end])
            data = data[end:]

    def look_for_after(self, data):
        if self.after:
            self.seen += data
            if self.after in self.seen:
                self.after = None
            else:
                self.seen = self.seen[-len(self.after):]

    def pass_on(self, part):
        """A part of one line."""
        self.line = (self.line + part)[:len(END) + 1]
        is_last = self.line.startswith(END)
        if self.held is None:
            self.print(part)
        else:
            self.held += part
            if is_last:
                self.release()
        if part.endswith(b"\n"):
            self.line = b""
            if is_last:
                self.held, self.held_since = b"", time.monotonic()

    def release(self):
        if self.held is not None:
            self.print(self.held)
            self.held = None

    def tick(self):
        if self.held is not None and time.monotonic() - self.held_since > 1:
            self.release()

    def print(self, data):
        write_all(data if self.is_terminal else data.replace(b"\r\n", b"\n"))


class Line:
    """The machine's serial line: our standard input to it. A machine that is busy makes us wait, nothing is lost."""

    def __init__(self, path):
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)  # and kept open, so that it stays so
        os.set_blocking(self.master, False)
        os.symlink(os.ttyname(self.slave), path)
        self.pending = b""
        self.at_end = False
        self.next_end = 0
        self.questions = 0
        self.next_question = 0

    def ask_after(self, seconds):
        self.questions = ASKED
        self.next_question = time.monotonic() + seconds

    def ask(self):
        if self.questions and time.monotonic() >= self.next_question:
            self.pending += SHOW_PROCESSORS
            self.questions -= 1
            self.next_question += ASKED_EVERY

    def read_input(self):
        data = os.read(0, PENDING_MAX)
        self.pending += data
        self.at_end = not data

    def send(self):
        try:
            self.pending = self.pending[os.write(self.master, self.pending):]
        except BlockingIOError:
            pass

    def repeat_end(self):
        if self.at_end and not self.pending and time.monotonic() >= self.next_end:
            self.pending = END_OF_FILE
            self.next_end = time.monotonic() + 1


def raw_terminal():
    """Every key is a byte for the machine; output stays as it is."""
    old = termios.tcgetattr(0)
    new = termios.tcgetattr(0)
    new[0] &= ~(termios.BRKINT | termios.ICRNL | termios.INLCR | termios.IGNCR | termios.INPCK | termios.ISTRIP |
                termios.IXON)
    new[3] &= ~(termios.ECHO | termios.ECHONL | termios.ICANON | termios.IEXTEN | termios.ISIG)
    new[6][termios.VMIN], new[6][termios.VTIME] = 1, 0
    termios.tcsetattr(0, termios.TCSADRAIN, new)
    return old


def start(command):
    def die_with_parent():
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=die_with_parent)


class Relay:
    def __init__(self, command, output, line):
        self.output, self.line = output, line
        self.is_terminal = os.isatty(0)
        self.follows_end = bool(output.after)  # ^D at the end of the input
        self.child = start(command)
        self.from_child = self.child.stdout.fileno()
        self.selector = selectors.DefaultSelector()
        self.selector.register(self.from_child, selectors.EVENT_READ)

    def watch(self, fd, events):
        """Watches for these events; 0: for none."""
        known = self.selector.get_map().get(fd)
        if known and known.events != events:
            self.selector.unregister(fd)
        if events and (not known or known.events != events):
            try:
                self.selector.register(fd, events)
            except PermissionError:  # a file: always readable
                if not self.line.pending:
                    self.line.read_input()

    def watch_line(self):
        line = self.line
        may_send = self.is_terminal or not self.output.after
        if may_send and self.follows_end and not self.is_terminal:
            line.repeat_end()
        self.watch(0, selectors.EVENT_READ if may_send and not line.at_end and len(line.pending) < PENDING_MAX else 0)
        self.watch(line.master, selectors.EVENT_READ | (selectors.EVENT_WRITE if line.pending else 0))

    def handle(self, fd, events):
        """False: the command's output has ended."""
        if fd == self.from_child:
            data = os.read(fd, CHUNK)
            self.output.feed(data)
            return bool(data)
        if fd == 0:
            self.line.read_input()
            return True
        if events & selectors.EVENT_READ:
            self.output.feed(os.read(fd, CHUNK))
        if events & selectors.EVENT_WRITE:
            self.line.send()
        return True

    def run(self):
        running = True
        while running:
            if self.line:
                self.line.ask()
                self.watch_line()
            for key, events in self.selector.select(0.5):
                running = self.handle(key.fd, events) and running
            self.output.tick()
        return self.child.wait()


def arguments():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--line")
    parser.add_argument("--after", default="")
    parser.add_argument("--ask", type=int, default=0)
    parser.add_argument("command", nargs="+")
    return parser.parse_args()


def main():
    args = arguments()
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, lambda number, frame: sys.exit(128 + number))
    relay = old = None
    try:
        line = Line(args.line) if args.line else None
        if line and args.ask > 0:
            line.ask_after(args.ask)
        relay = Relay(args.command, Output(args.after.encode()), line)
        if line and os.isatty(0):
            old = raw_terminal()
        status = relay.run()
    except BrokenPipeError:  # whoever read our output has left
        status = -signal.SIGPIPE
    finally:
        if old:
            termios.tcsetattr(0, termios.TCSADRAIN, old)
        if relay:
            relay.child.kill()
    return status if status >= 0 else 128 - status


sys.exit(main())
