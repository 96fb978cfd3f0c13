/* SPDX-License-Identifier: MIT */
/* How this kernel plays the library's host, for programs that want it otherwise. */
#ifndef KERNEL_HOST_H
#define KERNEL_HOST_H

#include <stdbool.h>
#include <stdint.h>

/* fn sees each line that the library logs, in whatever context it does. NULL: nobody. */
void host_log_watch(void (*fn)(const char *text));

/* What the kernel's devices may reach by DMA, as hv_host_dma_range; NULL: all of RAM. While the IOMMU is off. */
typedef bool host_dma_fn(uint16_t segment, uint16_t bdf, uint32_t n, uint64_t *start, uint64_t *size);
void host_dma_policy(host_dma_fn *fn);

#endif
