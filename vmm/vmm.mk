# SPDX-License-Identifier: MIT
# The VMM in the image.
#
#   make run [ENGINE=auto|kvm|qemu|bochs|uefi] [CPUS=n] [MEM=MiB]     boots the image, which shows a guest
#   make debug [CMDLINE=program=...]                                  the image under QEMU, waiting for gdb

# its own headers, for it and for what connects it to the image
BOOT_CFLAGS_vmm_           := -Ivmm/include
BOOT_CFLAGS_boot_programs_ := -Ivmm/include

run_arguments = $(foreach name,CPUS MEM CPU TIMEOUT LOG,$(if $($(name)),$(name)=$($(name))))

.PHONY: run debug
run: $(KERNEL) $(if $(filter uefi,$(ENGINE)),$(EFI))
	$(Q)vmm/run.sh $(or $(ENGINE),auto) KERNEL=$(KERNEL) EFI=$(EFI) CMDLINE='$(CMDLINE)' $(run_arguments)

debug: $(KERNEL)
	@echo "debug: in another terminal: gdb $(KERNEL) -ex 'target remote :1234' -ex 'hbreak kernel_main' -ex continue"
	$(Q)boot/run.sh ENGINE=qemu KERNEL=$(KERNEL) CMDLINE='$(CMDLINE)' TIMEOUT=86400 $(run_arguments) -- -s -S
