# SPDX-License-Identifier: MIT
# Fuzzers (libFuzzer with sanitizers) on the desk build of the library, which is compiled once more for them.
#
#   make fuzz                        all of them, a minute each
#   make fuzz SECONDS=600            longer
#   make fuzz FUZZ=fuzz_emulate      only this one
#
# Inputs that broke something are build/fuzz/NAME-crash-*; build/fuzz/NAME.corpus is what a fuzzer has learnt.

FUZZ_DIR     := $(BUILD)/fuzz
FUZZ_CFLAGS  := $(UNIT_CFLAGS) -fsanitize=fuzzer-no-link
FUZZ         ?= $(patsubst tests/fuzz/%.c,%,$(sort $(wildcard tests/fuzz/fuzz_*.c)))
FUZZ_TARGETS := $(FUZZ:%=$(FUZZ_DIR)/%)
FUZZ_OBJ     := $(patsubst %.c,$(FUZZ_DIR)/%.o,$(LIB_C))
FUZZ_LIB     := $(FUZZ_DIR)/libbarewhp-fuzz.a

$(FUZZ_LIB): $(FUZZ_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@ && $(AR) rcs $@ $^

$(FUZZ_DIR)/tests/%.o: tests/%.c tests/fuzz.mk
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(FUZZ_CFLAGS) -I. -MMD -MP -c $< -o $@

$(FUZZ_DIR)/%.o: %.c tests/fuzz.mk
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(FUZZ_CFLAGS) -MMD -MP -c $< -o $@

$(FUZZ_DIR)/fuzz_%: $(FUZZ_DIR)/tests/fuzz/fuzz_%.o $(UNIT_FAKE) $(FUZZ_LIB)
	$(call say,LINK,$@)
	$(Q)$(CC) $(UNIT_CFLAGS) -fsanitize=fuzzer -no-pie $^ -lpthread -o $@

.PHONY: fuzz
fuzz: $(FUZZ_TARGETS)
	$(Q)tests/fuzz/fuzz.sh $(or $(SECONDS),60) $^

.SECONDARY: $(FUZZ_TARGETS:$(FUZZ_DIR)/%=$(FUZZ_DIR)/tests/fuzz/%.o)
-include $(FUZZ_OBJ:.o=.d) $(FUZZ_TARGETS:$(FUZZ_DIR)/%=$(FUZZ_DIR)/tests/fuzz/%.d)
