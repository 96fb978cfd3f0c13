/* SPDX-License-Identifier: MIT */
/* The kinds of units that there are. */
#include <arch/iommu.h>

const struct iommu_backend *const iommu_backends[] = {&vtd_backend, &amdvi_backend, NULL};
