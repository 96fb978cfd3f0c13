# SPDX-License-Identifier: MIT
# Tests on the desk: every tests/unit/test_*.c is a program of its own, linked with the fake host and the library as compiled for
# this machine, all of it with sanitizers. The headers of tests/fake/include stand before the library's own: privileged instructions
# are executed by the fake CPU.
#
#   make test-unit                   builds and runs them all
#   make test-unit UNIT=test_npt     only this one
#   make test-unit SEED=123          with another seed for the random ones

UNIT_DIR    := $(BUILD)/unit
UNIT_CFLAGS := -std=c11 -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer -Wall -Wextra -Werror \
               -Wmissing-prototypes -Wstrict-prototypes -Wundef -Wvla -Itests/fake/include -Iinclude -Iinclude/whp -Iarch/x86_64/include -Idrivers
UNIT_TEST_CFLAGS := -D_GNU_SOURCE -Itests/fake -Itests/unit -Ivmm/include -I. -Wno-missing-prototypes

UNIT_FAKE   := $(patsubst %.c,$(UNIT_DIR)/%.o,$(sort $(wildcard tests/fake/*.c)))
UNIT_OBJ    := $(patsubst %.c,$(UNIT_DIR)/%.o,$(LIB_C))
UNIT_LIB    := $(UNIT_DIR)/libbarewhp-host.a
# not the demo: its guest is assembly
UNIT_VMM_OBJ := $(patsubst %.c,$(UNIT_DIR)/%.o,$(filter-out vmm/demo.c,$(sort $(wildcard vmm/*.c))))
UNIT_VMM_OBJ += $(UNIT_DIR)/vmm/dsdt.o
UNIT_VMM    := $(UNIT_DIR)/libvmm-host.a
UNIT        ?= $(patsubst tests/unit/%.c,%,$(sort $(wildcard tests/unit/test_*.c)))
UNIT_TESTS  := $(UNIT:%=$(UNIT_DIR)/%)

# An archive: a test pulls in only what it uses. The assembly is not in it: the fake CPU has entry routines of its own.
$(UNIT_LIB): $(UNIT_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

# The VMM on the desk: its system is tests/fake/fake_system.c.
$(UNIT_VMM): $(UNIT_VMM_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(UNIT_DIR)/vmm/%.o: UNIT_CFLAGS += -Ivmm/include
$(UNIT_DIR)/vmm/dsdt.o: $(DSDT_C)
	@mkdir -p $(@D)
	$(Q)$(CC) $(UNIT_CFLAGS) -c $< -o $@

$(UNIT_DIR)/tests/%.o: tests/%.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(UNIT_CFLAGS) $(UNIT_TEST_CFLAGS) -MMD -MP -c $< -o $@

$(UNIT_DIR)/%.o: %.c tests/unit.mk
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(UNIT_CFLAGS) -MMD -MP -c $< -o $@

$(UNIT_DIR)/test_%: $(UNIT_DIR)/tests/unit/test_%.o $(UNIT_FAKE) $(UNIT_VMM) $(UNIT_LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(UNIT_CFLAGS) -no-pie $^ -lcmocka -lpthread -o $@

# TAP on the standard output; a program that dies without a "not ok" of its own gets one.
.PHONY: test-unit
test-unit: $(UNIT_TESTS)
	@failed=0; \
	for test in $(UNIT_TESTS); do \
	    echo "# $$(basename $$test)"; \
	    CMOCKA_MESSAGE_OUTPUT=TAP SEED=$(SEED) timeout 120 $$test >$$test.tap 2>&1; status=$$?; \
	    grep -v '^Expected assertion' $$test.tap; \
	    [ $$status = 0 ] && continue; \
	    failed=1; \
	    grep -q '^not ok' $$test.tap || echo "not ok - $$(basename $$test) ended with status $$status"; \
	done; \
	exit $$failed

.SECONDARY: $(UNIT_FAKE) $(UNIT_TESTS:$(UNIT_DIR)/%=$(UNIT_DIR)/tests/unit/%.o)
-include $(UNIT_OBJ:.o=.d) $(UNIT_VMM_OBJ:.o=.d) $(UNIT_FAKE:.o=.d) $(UNIT_TESTS:$(UNIT_DIR)/%=$(UNIT_DIR)/tests/unit/%.d)
