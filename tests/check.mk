# SPDX-License-Identifier: MIT
# make check: layers, headers, sources, formatting, clang-tidy, symbols of the library, and that these checks find what
# they look for. TAP on stdout.
# make check-tree: the same without the library, for a tree that does not build.

CHECK_TREE := layers headers source
run_checks  = rc=0; for check in $(1); do BUILD=$(BUILD) tests/check/$$check.sh || rc=1; done; exit $$rc

.PHONY: check check-tree check-format format
check: $(LIB)
	$(Q)$(call run_checks,$(CHECK_TREE) format tidy symbols selftest)

check-tree:
	$(Q)$(call run_checks,$(CHECK_TREE))

check-format:
	$(Q)$(call run_checks,format)

format:
	$(Q)BUILD=$(BUILD) tests/check/format.sh --fix
