# SPDX-License-Identifier: MIT
# Costs, counted, and held against what they may be at most: tests/bench/README.md.
#
#   make bench [ENGINE=qemu|bochs|kvm] [FILTER=text]        all figures, or those whose name contains that; twice, to compare
#   make bench-set ENGINE=qemu|bochs [FILTER=text] [RAISE=1]   the same, and keeps the values in tests/bench/ceilings.csv
#   make bench-profile FILTER=name [ENGINE=qemu|bochs] [STEPS=n] [LINES=1] [TRACE=FILE]     what a round's instructions are spent on
#   make test-bench [ENGINE=qemu|bochs]                     once, a tenth of the rounds, as TAP: fails above a ceiling

BENCH_ENGINE := $(or $(ENGINE),qemu)
bench         = tests/bench/bench.py --engine $(BENCH_ENGINE) --build $(BUILD) --kernel $(KERNEL) --filter '$(FILTER)'

BENCH_ASM    := $(sort $(wildcard tests/bench/*.asm))
$(BENCH_ASM:%.asm=$(BUILD)/image/%.asm.o): tests/bench/loop.inc tests/guests/guest.inc

.PHONY: bench bench-set bench-profile test-bench
bench: $(KERNEL)
	$(Q)$(bench)

bench-set: $(KERNEL)
	$(Q)$(bench) --set $(if $(RAISE),--raise)

test-bench: $(KERNEL)
	$(Q)$(bench) --tap

bench-profile: $(KERNEL)
	$(Q)tests/bench/profile.py --engine $(BENCH_ENGINE) --kernel $(KERNEL) --filter '$(FILTER)' $(STEPS:%=--steps %) $(LINES:%=--lines) $(TRACE:%=--trace %)
