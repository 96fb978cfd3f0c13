# SPDX-License-Identifier: MIT
# Costs, counted, and held against what they may be at most: tests/bench/README.md.
#
#   make bench [ENGINE=qemu|bochs|kvm] [FILTER=text]        all figures, or those whose name contains that; twice, to compare
#   make bench-set ENGINE=qemu|bochs [FILTER=text] [RAISE=1]   the same, and keeps the values in tests/bench/ceilings.csv
#   make bench-profile FILTER=name [ENGINE=qemu|bochs] [STEPS=n] [LINES=1] [TRACE=FILE]     what a round's instructions are spent on
#   make bench-linux [ENGINE=qemu|bochs]                    the instructions that a Linux guest takes to its first process: some minutes
#   make test-bench-linux                                   that, as TAP
#   make test-bench [ENGINE=qemu|bochs]                     once, a tenth of the rounds, as TAP: fails above a ceiling

BENCH_ENGINE := $(or $(ENGINE),qemu)
bench         = tests/bench/bench.py --engine $(BENCH_ENGINE) --build $(BUILD) --kernel $(KERNEL) --filter '$(FILTER)'

BENCH_ASM    := $(sort $(wildcard tests/bench/*.asm))
$(BENCH_ASM:%.asm=$(BUILD)/image/%.asm.o): tests/bench/loop.inc tests/bench/apic.inc tests/guests/guest.inc

BENCH_DIR    := $(BUILD)/bench

$(BENCH_DIR)/init: tests/bench/init.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LINUX_CFLAGS) -o $@ $<

# without the kernel's modules
$(BENCH_DIR)/initrd: $(GUEST_DIR)/vmlinuz $(BENCH_DIR)/init vmm/guest/initramfs.sh
	$(call say,CPIO,$@)
	$(Q)mkdir -p $(BENCH_DIR)/files && cp $(GUEST_DIR)/busybox $(BENCH_DIR)/files/ && vmm/guest/initramfs.sh $@ $(BENCH_DIR)/files $(BENCH_DIR)/init

.PHONY: bench bench-set bench-profile bench-linux test-bench test-bench-linux
bench: $(KERNEL)
	$(Q)$(bench)

bench-set: $(KERNEL)
	$(Q)$(bench) --set $(if $(RAISE),--raise)

test-bench: $(KERNEL)
	$(Q)$(bench) --tap

bench-profile: $(KERNEL)
	$(Q)tests/bench/profile.py --engine $(BENCH_ENGINE) --kernel $(KERNEL) --filter '$(FILTER)' $(STEPS:%=--steps %) $(LINES:%=--lines) $(TRACE:%=--trace %)

bench_linux   = tests/bench/boot.py --engine $(BENCH_ENGINE) --build $(BUILD) --kernel $(KERNEL)

bench-linux: $(KERNEL) $(BENCH_DIR)/initrd
	$(Q)$(bench_linux) $(if $(SET),--set $(if $(RAISE),--raise))

test-bench-linux: $(KERNEL) $(BENCH_DIR)/initrd
	$(Q)$(bench_linux) --tap

test-linux-files: $(BENCH_DIR)/initrd
