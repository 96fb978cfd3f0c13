# SPDX-License-Identifier: MIT
# The instruction decoder and emulator against libzydis and libunicorn: the same bytes, the same state, compared.
#
#   make test-oracle                 a million and more cases; ends without a difference that is not explained
#   make test-oracle SEED=123        with other random numbers
#   make test-oracle CASES=5000      so many cases of each mode

ORACLE_DIR    := $(BUILD)/oracle
ORACLE_CASES   = $(or $(CASES),400000)
ORACLE_COMMON := $(patsubst %.c,$(ORACLE_DIR)/%.o,$(filter-out tests/oracle/oracle_%.c,$(sort $(wildcard tests/oracle/*.c))))
ORACLE_LIB    := $(ORACLE_DIR)/liboracle.a
ORACLE_TESTS  := $(patsubst tests/oracle/%.c,$(ORACLE_DIR)/%,$(sort $(wildcard tests/oracle/oracle_*.c)))

$(ORACLE_DIR)/tests/%.o: tests/%.c tests/oracle.mk
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(UNIT_CFLAGS) -I. -MMD -MP -c $< -o $@

# An archive: the decoder's test does not need what runs instructions.
$(ORACLE_LIB): $(ORACLE_COMMON)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(ORACLE_DIR)/oracle_%: $(ORACLE_DIR)/tests/oracle/oracle_%.o $(ORACLE_LIB) $(UNIT_LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(UNIT_CFLAGS) $^ -lunicorn -lZydis -o $@

.PHONY: test-oracle
test-oracle: $(ORACLE_TESTS)
	$(Q)rc=0; for test in $(ORACLE_TESTS); do $$test $(ORACLE_CASES) $(SEED) || rc=1; done; exit $$rc

.SECONDARY: $(ORACLE_COMMON) $(ORACLE_TESTS:$(ORACLE_DIR)/%=$(ORACLE_DIR)/tests/oracle/%.o)
-include $(ORACLE_COMMON:.o=.d) $(ORACLE_TESTS:$(ORACLE_DIR)/%=$(ORACLE_DIR)/tests/oracle/%.d)
