# SPDX-License-Identifier: MIT
# The image as a whole, and everything together.
#
#   make test           every test that this machine can run; ends with "N passed, N failed, N skipped"
#   make test-system    the demo, what tests cover, the host kernel's selftest by BIOS and by UEFI

.PHONY: test test-system test-demo test-coverage test-boot-qemu test-boot-uefi test-boot-bochs

test-demo: $(KERNEL)
	$(Q)tests/system/demo.sh $(KERNEL)

test-coverage: $(LIB)
	$(Q)tests/system/coverage.sh $(LIB)

test-boot-qemu test-boot-bochs: test-boot-%: $(KERNEL)
	$(Q)boot/run.sh ENGINE=$* KERNEL=$(KERNEL) CMDLINE=program=selftest TIMEOUT=90

test-boot-uefi: $(EFI)
	$(Q)boot/run.sh ENGINE=uefi KERNEL=$(KERNEL) CMDLINE=program=selftest TIMEOUT=90

test-system: test-demo test-coverage test-boot-qemu test-boot-uefi test-boot-bochs

test: all $(PORT) $(MULTIBOOT_KERNEL) $(UNIT_TESTS) $(ORACLE_TESTS)
	$(Q)BUILD=$(BUILD) MAKE='$(MAKE)' tests/collect.sh
