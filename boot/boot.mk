# SPDX-License-Identifier: MIT
# The bootable images: build/barewhp.elf (multiboot2), build/barewhp.iso (BIOS, GRUB), build/BOOTX64.EFI (UEFI).
#
#   make MODULES="path:string ..." CMDLINE="program=NAME ..."    what the ISO starts; ":" separates a file from its module
#                                                                string, in which "," stands for a space
#   make run-selftest [ENGINE=qemu|bochs|uefi|kvm] [CPUS=n]      the host kernel's own test
#   make deps                                                    installs missing packages (Debian, Ubuntu)
#
# Programs for the image (boot/include/kernel/program.h): every .c and .asm file of PROGRAM_DIRS.

KERNEL       := $(BUILD)/barewhp.elf
ISO          := $(BUILD)/barewhp.iso
EFI          := $(BUILD)/BOOTX64.EFI
CMDLINE      ?=
MODULES      ?=
PROGRAM_DIRS ?= boot/programs vmm tests/kernel tests/bench

# With frame pointers, for backtraces
BOOT_CFLAGS  := $(filter-out -Iarch/% -fomit-frame-pointer,$(LIB_CFLAGS)) -fno-omit-frame-pointer -momit-leaf-frame-pointer -Iboot/include
BOOT_C       := $(sort $(wildcard boot/multiboot2/*.c boot/kernel/*.c $(PROGRAM_DIRS:%=%/*.c)))
BOOT_ASM     := $(sort $(wildcard boot/multiboot2/*.asm boot/kernel/*.asm $(PROGRAM_DIRS:%=%/*.asm)))
BOOT_OBJ     := $(BOOT_C:%.c=$(BUILD)/image/%.o) $(BOOT_ASM:%.asm=$(BUILD)/image/%.asm.o)

EFI_CFLAGS   := --target=x86_64-unknown-windows -std=c11 -ffreestanding -fshort-wchar -fno-stack-protector -mno-red-zone \
                -mgeneral-regs-only -mno-stack-arg-probe -O2 -g -gcodeview-ghash -Wall -Wextra -Werror -Wmissing-prototypes -Wno-pragma-pack \
                -isystem /usr/include/efi -isystem /usr/include/efi/x86_64 -Iboot/include
EFI_C        := $(sort $(wildcard boot/efi/*.c)) boot/kernel/string.c
EFI_OBJ      := $(EFI_C:%.c=$(BUILD)/efi/%.obj) $(BUILD)/efi/boot/efi/handoff.obj

ALL          += $(KERNEL) $(ISO) $(EFI)

# what boot/run.sh needs for this engine
image_of      = $(KERNEL) $(if $(filter uefi,$(1)),$(EFI))

$(KERNEL): $(BOOT_OBJ) $(LIB) linker.ld
	$(call say,LD,$@)
	$(Q)$(LD) -nostdlib -static -z max-page-size=4096 --no-dynamic-linker -T linker.ld -o $@ $(BOOT_OBJ) $(LIB)

$(BUILD)/image/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BOOT_CFLAGS) $(BOOT_CFLAGS_$(subst /,_,$(dir $<))) -MMD -MP -c $< -o $@

$(BUILD)/image/%.asm.o: %.asm
	$(call say,NASM,$<)
	@mkdir -p $(@D)
	$(Q)$(NASM) -f elf64 -g -F dwarf -I$(dir $<) -MD $(@:.o=.d) $< -o $@

# made anew when the command line or a module is another one
ISO_WORDS := $(CMDLINE) | $(MODULES)
$(BUILD)/iso.words: boot.always
	@mkdir -p $(@D)
	@echo '$(ISO_WORDS)' | cmp -s - $@ || echo '$(ISO_WORDS)' >$@

$(ISO): $(KERNEL) boot/iso.sh $(BUILD)/iso.words $(foreach m,$(MODULES),$(firstword $(subst :, ,$(m))))
	$(call say,ISO,$@)
	$(Q)boot/iso.sh $@ $(KERNEL) '$(CMDLINE)' $(MODULES)

$(BUILD)/efi/%.obj: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(EFI_CFLAGS) -MMD -MP -c $< -o $@

# the kernel goes into the loader: without its debug sections, which are most of the file
$(BUILD)/efi/boot/efi/handoff.obj: boot/efi/handoff.asm $(KERNEL)
	$(call say,NASM,$<)
	@mkdir -p $(@D)
	$(Q)llvm-objcopy --strip-all $(KERNEL) $(BUILD)/efi/barewhp.elf
	$(Q)$(NASM) -f win64 -DKERNEL_FILE='"$(BUILD)/efi/barewhp.elf"' $< -o $@

$(EFI): $(EFI_OBJ)
	$(call say,LD,$@)
	$(Q)lld-link /nologo /subsystem:efi_application /entry:efi_main /nodefaultlib /out:$@ $^

-include $(BOOT_OBJ:.o=.d) $(EFI_OBJ:.obj=.d)

.PHONY: run-selftest deps boot.always
run-selftest: $(call image_of,$(ENGINE))
	$(Q)boot/run.sh ENGINE=$(or $(ENGINE),qemu) KERNEL=$(KERNEL) CPUS=$(or $(CPUS),2) CMDLINE='program=selftest $(CMDLINE)'

deps:
	$(Q)boot/deps.sh
