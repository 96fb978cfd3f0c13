# SPDX-License-Identifier: MIT
# The VMM's own headers, for it and for what connects it to the image.

BOOT_CFLAGS_vmm_           := -Ivmm/include
BOOT_CFLAGS_boot_programs_ := -Ivmm/include
