# SPDX-License-Identifier: MIT
# One Makefile without recursion; boot/boot.mk and tests/tests.mk add their parts to it.
#
#   make            the library, the bootable images
#   make run        boots the image, which boots Linux in a guest
#   make test       every test that this machine can run
#   make help       all commands

.DEFAULT_GOAL := all
MAKEFLAGS     += --no-builtin-rules
BUILD         := build
SHELL         := bash -o pipefail
Q             := $(if $(V),,@)
say            = @printf '  %-7s %s\n' $(1) $(2)

CC     := clang
LD     := ld.lld
AR     := llvm-ar
NASM   := nasm

# ---------------------------------------------------------------------------- the library

LIB_CFLAGS := -std=c11 --target=x86_64-unknown-none-elf -ffreestanding -fno-stack-protector -fno-pic -mcmodel=kernel -mno-red-zone \
              -mgeneral-regs-only -fomit-frame-pointer -fvisibility=hidden -O2 -g -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes \
              -Wundef -Wvla -Iinclude -Iinclude/whp -Iarch/x86_64/include -Idrivers
# Small functions in many files: the link-time optimiser puts them together again.
LIB_LTO    := -flto
LIB_C      := $(sort $(wildcard base/*.c arch/x86_64/*.c arch/x86_64/vmx/*.c arch/x86_64/svm/*.c arch/x86_64/iommu/*.c drivers/pci/*.c virt/*.c virt/whp/*.c))
LIB_C      := $(filter-out arch/x86_64/offsets.c,$(LIB_C))
LIB_ASM    := $(sort $(wildcard arch/x86_64/*.asm arch/x86_64/vmx/*.asm arch/x86_64/svm/*.asm))
LIB_OBJ    := $(LIB_C:%.c=$(BUILD)/lib/%.o)
LIB        := $(BUILD)/libbarewhp.a
OFFSETS    := $(BUILD)/lib/offsets.inc

# All of the library's C is optimised as one module, and becomes one object whose only global names are the API's: a host kernel may
# have a gpa_read or an fpu_reset of its own.
LIB_EXPORTS := 'hv_*' 'WHv*' 'Hdv*'
LIB_ROOTS   := '^(hv_|WHv|Hdv)'

$(BUILD)/lib/barewhp.c.o: $(LIB_C:%.c=$(BUILD)/lib/%.o)
	$(call say,LTO,$@)
	$(Q)llvm-link -o $@.bc $^ && llvm-nm -g --defined-only --format=just-symbols $@.bc | grep -E $(LIB_ROOTS) > $@.names && \
	    opt -internalize -internalize-public-api-file=$@.names $@.bc -o $@.in.bc && \
	    $(CC) $(LIB_CFLAGS) -Wno-unused-command-line-argument -x ir -c $@.in.bc -o $@ && rm $@.bc $@.in.bc $@.names

$(BUILD)/lib/barewhp.o: $(BUILD)/lib/barewhp.c.o $(LIB_ASM:%.asm=$(BUILD)/lib/%.asm.o)
	$(call say,LD,$@)
	$(Q)$(LD) -r -o $@.all $^ && llvm-objcopy -w $(foreach name,$(LIB_EXPORTS),--keep-global-symbol=$(name)) $@.all $@ && rm $@.all

$(LIB): $(BUILD)/lib/barewhp.o
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(BUILD)/lib/%.o: %.c Makefile
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LIB_CFLAGS) $(LIB_LTO) -MMD -MP -c $< -o $@

$(BUILD)/lib/%.asm.o: %.asm $(OFFSETS) arch/x86_64/gprs.inc
	$(call say,NASM,$<)
	@mkdir -p $(@D)
	$(Q)$(NASM) -f elf64 -g -F dwarf -I$(BUILD)/lib/ -Iarch/x86_64/ $< -o $@

# Structure offsets for assembly: the compiler prints them, sed turns them into nasm's %define.
$(OFFSETS): arch/x86_64/offsets.c
	$(call say,OFFSETS,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LIB_CFLAGS) -MMD -MP -MF $(@:.inc=.d) -MT $@ -S $< -o - | sed -n 's/^.*"->\([A-Za-z0-9_]*\) \(-\{0,1\}[0-9]*\)".*$$/%define \1 \2/p' > $@.tmp && mv $@.tmp $@

-include $(LIB_OBJ:.o=.d) $(OFFSETS:.inc=.d)

-include boot/boot.mk
-include vmm/vmm.mk
-include tests/tests.mk

# ---------------------------------------------------------------------------- commands

# These see to it first that what they use is installed, and build on all CPUs.
ifneq ($(filter run demo test test-linux test-passthrough,$(MAKECMDGOALS)),)
ifneq ($(shell boot/deps.sh >&2 && echo there),there)
$(error packages are missing)
endif
MAKEFLAGS += -j$(shell nproc)
endif

.PHONY: all clean help
all: $(LIB) $(ALL)

clean:
	$(Q)rm -rf $(BUILD)

help:
	@printf '%s\n' \
	    'make                    the library, the bootable images' \
	    'make run [ENGINE=E]     Linux in a guest, with a shell; E: auto, kvm, qemu, uefi, bochs; GUEST_KERNEL=, ...: vmm/vmm.mk' \
    'make demo [ENGINE=E]    a small guest of our own' \
	    'make test               every test that this machine can run' \
	    'make test-unit          on the desk, with sanitizers' \
	    'make test-oracle        the emulator against libunicorn and libzydis; SEED=n CASES=n' \
    'make fuzz SECONDS=60    fuzzers of the emulator; FUZZ=name for one of them' \
    'make test-kernel        in the kernel; ENGINE=qemu|uefi|bochs|kvm CPUS=n FILTER=text IOMMU=intel|amd' \
	    'make test-port          the library in a foreign kernel; ENGINE=qemu|bochs' \
    'make test-linux         Debian kernel in guests, checked from inside; ENGINE=E RUN="check four two reboot panic"' \
    'make test-passthrough   devices of the machine in a Linux guest; ENGINE=qemu IOMMU=intel|amd' \
    'make test-multiboot     a multiboot kernel of our own in a guest; ENGINE=E' \
    'make test-refused       machines that cannot run virtual processors' \
	    'make test-system        the demo, the boots' \
	    'make bench              costs, counted; ENGINE=qemu|bochs|kvm FILTER=text: tests/bench/README.md' \
	    'make bench-linux        what Linux as a guest takes to its first process' \
	    'make bench-profile      what a figure of it is spent on; FILTER=name ENGINE=qemu|bochs LINES=1' \
	    'make test-abi           the headers against the reference' \
	    'make check              layers, headers, sources, symbols' \
	    'make run-selftest       the host kernel alone' \
	    'make debug              the image under QEMU, waiting for gdb' \
	    'make deps               installs what is missing' \
	    'make format             clang-format'
