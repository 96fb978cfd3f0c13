# SPDX-License-Identifier: MIT
# The tests' parts of the Makefile.

include tests/check.mk
include tests/abi.mk
-include tests/unit.mk
-include tests/oracle.mk
-include tests/fuzz.mk
-include tests/kernel.mk
-include tests/bench.mk
-include tests/port.mk
-include tests/linux.mk
-include tests/passthrough.mk
-include tests/multiboot.mk
-include tests/refused.mk
-include tests/system.mk
