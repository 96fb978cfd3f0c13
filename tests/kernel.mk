# SPDX-License-Identifier: MIT
# Tests in the kernel: the program `tests` of the image (tests/kernel/), with its guests (tests/guests/), in an emulator.
#
#   make test-kernel                         SVM, on QEMU, with one CPU and with two
#   make test-kernel ENGINE=bochs            VMX, in the same way
#   make test-kernel ENGINE=uefi             SVM, started by UEFI
#   make test-kernel CPUS=1                  with one CPU only
#   make test-kernel FILTER=io               only the tests whose name contains that
#   make test-kernel IOMMU=intel FILTER=iommu     on a machine with an IOMMU (or amd, or none), and devices for its tests
#   make test-kernel IOMMU=intel FILTER=attack    of these: what hostile guests try with devices of theirs
#   make test-kernel IOMMU=intel INTREMAP=off FILTER=nvme     on one whose IOMMU remaps no interrupts
#   make test-storm [STORM=1000000]          storms of so many interrupts, doorbells and messages: takes its time
#   make test-storm IOMMU=intel [CYCLES=1000]     and of passed devices' interrupts; these given and taken back so often
#
# What is skipped, and why, is summed up at the end: what the CPU lacks, and what its emulator does not do as CPUs do it.
#   make test-apic                           the tests of local APICs on Bochs' CPUs with more and with less of APIC virtualization

GUEST_ASM := $(sort $(wildcard tests/guests/*.asm))
GUEST_OBJ := $(GUEST_ASM:%.asm=$(BUILD)/image/%.asm.o)
BOOT_OBJ  += $(GUEST_OBJ)

$(GUEST_OBJ): tests/guests/guest.inc
$(KERNEL): $(GUEST_OBJ)
-include $(GUEST_OBJ:.o=.d)

TEST_KERNEL_ENGINE  := $(or $(ENGINE),qemu)
TEST_KERNEL_CPUS    := $(or $(CPUS),1 2)
TEST_KERNEL_TIMEOUT ?= $(if $(IOMMU),380,240)
# QEMU's device for exercises, whose DMA can have any address: two on the root bus, which the host keeps, and one behind a bridge of its own,
# which can reset it: that one is given to guests, and what a guest has had is not trusted with the host's memory again. With
# amd-iommu that is a bridge to conventional PCI, which speaks for what is behind it: QEMU takes all else that is behind bridges for devices
# of bus 0.
TEST_KERNEL_EDU     := edu,dma_mask=0xffffffffffffffff
# And a disk that reads as zeros, for its interrupts, and for its DMA, which has no end.
TEST_KERNEL_DISK    := drive:if=none,id=zeros,driver=null-co,size=64M,read-zeroes=on nvme,serial=zeros,drive=zeros
TEST_KERNEL_intel   := $(TEST_KERNEL_EDU) $(TEST_KERNEL_EDU) pcie-root-port,id=bridge,chassis=1 $(TEST_KERNEL_EDU),bus=bridge $(TEST_KERNEL_DISK)
TEST_KERNEL_amd     := $(TEST_KERNEL_EDU) $(TEST_KERNEL_EDU) pci-bridge,id=bridge,chassis_nr=1 $(TEST_KERNEL_EDU),bus=bridge $(TEST_KERNEL_DISK)
TEST_KERNEL_none    := $(TEST_KERNEL_DISK)
TEST_KERNEL_DEVICES ?= $(TEST_KERNEL_$(IOMMU))

.PHONY: test-kernel
test-kernel: $(call image_of,$(ENGINE))
	@failed=0; \
	for cpus in $(TEST_KERNEL_CPUS); do \
	    echo "# tests in the kernel: ENGINE=$(TEST_KERNEL_ENGINE) CPUS=$$cpus"; \
	    boot/run.sh ENGINE=$(TEST_KERNEL_ENGINE) KERNEL=$(KERNEL) CPUS=$$cpus SPARE=1 TIMEOUT=$(TEST_KERNEL_TIMEOUT) \
	        IOMMU=$(or $(IOMMU),none) INTREMAP=$(or $(INTREMAP),on) DEVICES='$(TEST_KERNEL_DEVICES)' \
	        CMDLINE='program=tests$(if $(FILTER), filter=$(FILTER))$(if $(STORM), storm=$(STORM))$(if $(CYCLES), cycles=$(CYCLES))' LOG=$(BUILD)/test-kernel-$(TEST_KERNEL_ENGINE)$(IOMMU:%=-%)$(INTREMAP:%=-%)-$$cpus.log || failed=1; \
	done; \
	exit $$failed

.PHONY: test-storm
test-storm:
	$(Q)$(MAKE) --no-print-directory test-kernel FILTER=storm CPUS=$(or $(CPUS),2) STORM=$(or $(STORM),1000000) CYCLES=$(or $(CYCLES),1000) TEST_KERNEL_TIMEOUT=10000

# What the CPU does of a local APIC makes a difference: all of it (run.sh avoids interrupt delivery on Bochs, which is wrong there in a
# case that these tests do without), and nothing but the task priority.
.PHONY: test-apic
test-apic: $(KERNEL)
	@failed=0; \
	for cpu in "corei7_icelake_u xsavec" "corei7_skylake_x delivery,xsavec"; do \
	    echo "# local APICs: $${cpu% *} without $${cpu#* }"; \
	    boot/run.sh ENGINE=bochs KERNEL=$(KERNEL) CPU=$${cpu% *} TIMEOUT=$(TEST_KERNEL_TIMEOUT) CMDLINE="program=tests filter=apic storm=1280 avoid=$${cpu#* }" \
	        LOG=$(BUILD)/test-apic-$${cpu% *}.log || failed=1; \
	done; \
	exit $$failed
