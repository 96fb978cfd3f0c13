# SPDX-License-Identifier: MIT
# Devices of the machine that are a Linux guest's, checked from inside and from outside: TAP on stdout.
#
#   make test-passthrough [ENGINE=qemu|kvm|uefi] [IOMMU=intel|amd] [RUN='disk net killed refused unsafe']

PASSTHROUGH_DIR    := $(BUILD)/tests/passthrough
PASSTHROUGH_INITRD := $(PASSTHROUGH_DIR)/initrd

$(PASSTHROUGH_INITRD): $(GUEST_DIR)/vmlinuz $(LINUX_DIR)/check tests/linux/init tests/passthrough/passthrough vmm/guest/initramfs.sh
	$(call say,CPIO,$@)
	@mkdir -p $(@D)
	$(Q)vmm/guest/initramfs.sh $@ $(GUEST_DIR) tests/linux/init $(LINUX_DIR)/check tests/passthrough/passthrough

test-linux-files: $(PASSTHROUGH_INITRD)

.PHONY: test-passthrough
test-passthrough: $(call image_of,$(ENGINE)) $(GUEST_DIR)/vmlinuz $(PASSTHROUGH_INITRD)
	$(Q)tests/passthrough/run.sh $(or $(ENGINE),qemu) $(or $(IOMMU),intel) $(KERNEL) $(GUEST_DIR)/vmlinuz $(PASSTHROUGH_INITRD) \
	    $(PASSTHROUGH_DIR)/$(or $(ENGINE),qemu)-$(or $(IOMMU),intel) $(RUN)
