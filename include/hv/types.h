/* SPDX-License-Identifier: MIT */
/* The scalar types that every other header of the project builds on. */
#ifndef HV_TYPES_H
#define HV_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t hv_gpa_t; /* guest-physical address: what the guest's page tables yield */
typedef uint64_t hv_gva_t; /* guest-virtual (linear) address */
typedef uint64_t hv_hpa_t; /* host-physical address */

#define HV_PAGE_SHIFT 12
#define HV_PAGE_SIZE  4096ull
#define HV_PAGE_MASK  (HV_PAGE_SIZE - 1)

#define HV_SIZE_2M (1ull << 21)
#define HV_SIZE_1G (1ull << 30)

/* "no such address": never a valid value of hv_hpa_t */
#define HV_HPA_NONE (~(hv_hpa_t)0)

/* "no CPU": never a valid CPU number */
#define HV_CPU_NONE (~(uint32_t)0)

#endif
