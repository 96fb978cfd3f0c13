# SPDX-License-Identifier: MIT
# A multiboot kernel in a guest: make test-multiboot [ENGINE=auto|qemu|uefi|bochs|kvm]. TAP on stdout.

MULTIBOOT_DIR    := $(BUILD)/tests/multiboot
MULTIBOOT_KERNEL := $(MULTIBOOT_DIR)/kernel.elf

$(MULTIBOOT_KERNEL): tests/multiboot/kernel.asm tests/multiboot/kernel.ld
	$(call say,NASM,$<)
	@mkdir -p $(@D)
	$(Q)$(NASM) -f elf32 -o $(@D)/kernel.o $<
	$(Q)$(LD) -m elf_i386 -nostdlib -static -T tests/multiboot/kernel.ld -o $@ $(@D)/kernel.o

.PHONY: test-multiboot
test-multiboot: $(call image_of,$(ENGINE)) $(MULTIBOOT_KERNEL)
	$(Q)tests/multiboot/run.sh $(or $(ENGINE),auto) $(KERNEL) $(MULTIBOOT_KERNEL) $(MULTIBOOT_DIR)/$(or $(ENGINE),auto)
