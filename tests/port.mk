# SPDX-License-Identifier: MIT
# make test-port [ENGINE=qemu|bochs]: the library in a foreign kernel (tests/port). TAP on stdout.

PORT        := $(BUILD)/port.elf
PORT_OBJ    := $(BUILD)/port/kernel.o $(BUILD)/port/guest.o $(BUILD)/port/entry.asm.o
PORT_CFLAGS := $(filter-out -Iarch/%,$(LIB_CFLAGS))

$(BUILD)/port/%.o: tests/port/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(PORT_CFLAGS) -MMD -MP -c $< -o $@

$(BUILD)/port/%.asm.o: tests/port/%.asm
	$(call say,NASM,$<)
	@mkdir -p $(@D)
	$(Q)$(NASM) -f elf64 -g -F dwarf $< -o $@

$(PORT): $(PORT_OBJ) $(LIB) tests/port/port.ld
	$(call say,LD,$@)
	$(Q)$(LD) -nostdlib -static -z max-page-size=4096 -T tests/port/port.ld -o $@ $(PORT_OBJ) $(LIB)

-include $(PORT_OBJ:.o=.d)

.PHONY: test-port
test-port: $(PORT)
	$(Q)boot/run.sh ENGINE=$(or $(ENGINE),qemu) KERNEL=$(PORT) CPUS=1 TIMEOUT=60 LOG=$(BUILD)/test-port.log
