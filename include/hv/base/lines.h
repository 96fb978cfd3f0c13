/* SPDX-License-Identifier: MIT */
/* Objects that begin with a cache line of their own: hv_host_alloc aligns to 16 bytes only. */
#ifndef HV_BASE_LINES_H
#define HV_BASE_LINES_H

#include <stddef.h>

#define HV_LINE_SIZE 64u

/* As hv_host_alloc and hv_host_free, aligned to HV_LINE_SIZE. */
void *hv_lines_alloc(size_t size);
void hv_lines_free(void *p, size_t size);

#endif
