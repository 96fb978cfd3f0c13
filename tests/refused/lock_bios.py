#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Makes firmware that locks VMX off, out of Bochs' own, which locks it on: lock_bios.py FROM TO

On each CPU that BIOS does MOV ECX, 3AH; RDMSR; OR EAX, 5; WRMSR: IA32_FEATURE_CONTROL's lock and its VMX bit. TO sets
the lock alone. Exit status 1 when FROM has no such code.
"""

import re
import sys

SETS_FEATURE_CONTROL = re.compile(rb"(\xb9\x3a\x00\x00\x00\x0f\x32\x66?\x83\xc8)\x05(\x0f\x30)", re.DOTALL)

with open(sys.argv[1], "rb") as file:
    bios, count = SETS_FEATURE_CONTROL.subn(lambda found: found[1] + b"\x01" + found[2], file.read())
with open(sys.argv[2], "wb") as file:
    file.write(bios)
sys.exit(0 if count else 1)
