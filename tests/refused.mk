# SPDX-License-Identifier: MIT
# Machines that cannot run virtual processors, and what is said there: make test-refused. TAP on stdout.

.PHONY: test-refused
test-refused: $(KERNEL) $(MULTIBOOT_KERNEL)
	$(Q)tests/refused/run.sh $(KERNEL) $(MULTIBOOT_KERNEL) $(BUILD)/tests/refused
