# SPDX-License-Identifier: MIT
# dsdt.asl, compiled by iasl into an array: $(DSDT_C), for the image and for the tests on the desk.

DSDT_C   := $(BUILD)/vmm/dsdt.c
DSDT_AML := $(BUILD)/vmm/dsdt.aml

$(DSDT_AML): vmm/dsdt.asl
	$(call say,IASL,$<)
	@mkdir -p $(@D)
	$(Q)iasl -we -p $(@:.aml=) $< >$(@:.aml=.log) 2>&1 || { cat $(@:.aml=.log) >&2; exit 1; }

$(DSDT_C): $(DSDT_AML) vmm/acpi.mk
	$(Q){ echo '#include <vmm/acpi.h>'; echo 'const uint8_t acpi_dsdt[] = {'; \
	      od -An -v -tx1 $< | sed 's/ \(..\)/ 0x\1,/g'; \
	      echo '};'; echo 'const size_t acpi_dsdt_size = sizeof(acpi_dsdt);'; } >$@

$(BUILD)/image/vmm/dsdt.o: $(DSDT_C) vmm/include/vmm/acpi.h
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(BOOT_CFLAGS) $(BOOT_CFLAGS_vmm_) -c $< -o $@

BOOT_OBJ  += $(BUILD)/image/vmm/dsdt.o
$(KERNEL): $(BUILD)/image/vmm/dsdt.o
