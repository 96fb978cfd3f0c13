# SPDX-License-Identifier: MIT
# make test-abi: include/whp against mingw-w64's headers and tests/abi/abi.csv, and clients in C and C++. TAP on stdout.

.PHONY: test-abi
test-abi:
	$(Q)rc=0; tests/abi/abi.py $(BUILD)/abi || rc=1; BUILD=$(BUILD) tests/abi/client.sh || rc=1; \
	BUILD=$(BUILD) tests/abi/selftest.sh || rc=1; exit $$rc
