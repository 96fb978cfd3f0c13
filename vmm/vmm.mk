# SPDX-License-Identifier: MIT
# The VMM in the image, and its guest.
#
#   make run [ENGINE=auto|kvm|qemu|uefi|bochs] [CPUS=n] [MEM=MiB]      Linux of Debian's in the guest, a shell on the terminal
#            [GUEST_SMP=n] [GUEST_MEM=MiB] [GUEST_CMDLINE=words] [GUEST_HYPERV=on|nocalls|off]
#            [GUEST_KERNEL=file [GUEST_INITRD=file]]                   another Linux bzImage or a multiboot kernel
#            [PASSTHROUGH=nvme,net,SSSS:BB:DD.F [IOMMU=intel|amd|none] [INTREMAP=off] [DISK=file]]   devices of the machine that are the guest's
#   make demo [ENGINE=auto|kvm|qemu|uefi|bochs]                      a small guest of our own
#   make guest-files                                                  what `make run` boots: build/guest/vmlinuz, initrd
#   make debug [CMDLINE=program=...]                                  the image under QEMU, waiting for gdb

# its own headers, for it and for what connects it to the image
BOOT_CFLAGS_vmm_           := -Ivmm/include
BOOT_CFLAGS_boot_programs_ := -Ivmm/include

GUEST_DIR := $(BUILD)/guest

# A kernel of one's own comes without our RAM disk.
ifndef GUEST_KERNEL
GUEST_KERNEL   = $(GUEST_DIR)/vmlinuz
GUEST_INITRD  ?= $(GUEST_DIR)/initrd
# without the self-tests of the kernel's cryptography, a third of the time to its shell
GUEST_CMDLINE ?= console=ttyS0 panic=-1 cryptomgr.notests
endif

$(GUEST_DIR)/vmlinuz: vmm/guest/fetch.sh
	$(Q)vmm/guest/fetch.sh $(GUEST_DIR)
	@touch $@

$(GUEST_DIR)/initrd: $(GUEST_DIR)/vmlinuz vmm/guest/initramfs.sh vmm/guest/init
	$(call say,CPIO,$@)
	$(Q)vmm/guest/initramfs.sh $@ $(GUEST_DIR) vmm/guest/init

run_arguments   = $(foreach name,CPUS MEM CPU TIMEOUT LOG,$(if $($(name)),$(name)=$($(name))))
guest_arguments = GUEST_KERNEL='$(GUEST_KERNEL)' GUEST_INITRD='$(GUEST_INITRD)' GUEST_CMDLINE='$(subst ','\'',$(GUEST_CMDLINE))' \
                  $(foreach name,GUEST_SMP GUEST_MEM GUESTS GUEST_HYPERV PASSTHROUGH IOMMU INTREMAP DISK,$(if $($(name)),$(name)='$($(name))'))

.PHONY: run demo debug guest-files
guest-files: $(GUEST_DIR)/vmlinuz $(GUEST_DIR)/initrd

run: $(call image_of,$(ENGINE)) $(filter $(GUEST_DIR)/%,$(GUEST_KERNEL) $(GUEST_INITRD))
	$(Q)vmm/run.sh $(or $(ENGINE),auto) KERNEL=$(KERNEL) CMDLINE='$(CMDLINE)' $(run_arguments) $(guest_arguments)

demo: $(call image_of,$(ENGINE))
	$(Q)vmm/run.sh $(or $(ENGINE),auto) KERNEL=$(KERNEL) CMDLINE='program=demo $(CMDLINE)' $(run_arguments) </dev/null

debug: $(KERNEL)
	@echo "debug: in another terminal: gdb $(KERNEL) -ex 'target remote :1234' -ex 'hbreak kernel_main' -ex continue"
	$(Q)boot/run.sh ENGINE=qemu KERNEL=$(KERNEL) CMDLINE='$(CMDLINE)' TIMEOUT=86400 $(run_arguments) -- -s -S

include vmm/acpi.mk
