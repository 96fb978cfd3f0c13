# SPDX-License-Identifier: MIT
# Debian's Linux in a guest, checked from inside: TAP on stdout.
#
#   make test-linux [ENGINE=auto|qemu|uefi|bochs|kvm] [RUN='check four two panic wakeups plain'] [JOBS=n]     JOBS: runs at a time

LINUX_DIR    := $(BUILD)/tests/linux
LINUX_INITRD := $(LINUX_DIR)/initrd

# For the guest's user mode; without vector instructions of the compiler's own: see check.c.
LINUX_CFLAGS := --target=x86_64-linux-gnu -std=c11 -O2 -ffreestanding -fno-stack-protector -mgeneral-regs-only -fno-pic -static -nostdlib \
                -fuse-ld=lld -Wall -Wextra -Werror -Wmissing-prototypes -Wstrict-prototypes

$(LINUX_DIR)/check: tests/linux/check.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(LINUX_CFLAGS) -o $@ $<

$(LINUX_INITRD): $(GUEST_DIR)/vmlinuz $(LINUX_DIR)/check tests/linux/init vmm/guest/initramfs.sh
	$(call say,CPIO,$@)
	$(Q)vmm/guest/initramfs.sh $@ $(GUEST_DIR) tests/linux/init $(LINUX_DIR)/check

.PHONY: test-linux test-linux-files
test-linux-files: $(GUEST_DIR)/vmlinuz $(LINUX_INITRD)

test-linux: $(call image_of,$(ENGINE)) $(GUEST_DIR)/vmlinuz $(LINUX_INITRD)
	$(Q)$(if $(JOBS),JOBS=$(JOBS) )tests/linux/run.sh $(or $(ENGINE),auto) $(KERNEL) $(GUEST_DIR)/vmlinuz $(LINUX_INITRD) $(LINUX_DIR)/$(or $(ENGINE),auto) $(RUN)
