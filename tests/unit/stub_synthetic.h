/* SPDX-License-Identifier: MIT */
/*
 * Synthetic MSRs of which there is only one, for tests of who reaches them and how. Defines functions: to be included
 * by one file of a test program.
 */
#ifndef STUB_SYNTHETIC_H
#define STUB_SYNTHETIC_H

#include "virt/synthetic.h"

static struct {
    uint32_t index; /* of the one there is; 0: none */
    uint64_t value;
    enum synthetic_access by; /* of the last access */
} stub_synthetic;

bool synthetic_has_msr(const struct hv_partition *p, uint32_t index)
{
    (void)p;
    return stub_synthetic.index && index == stub_synthetic.index;
}

bool synthetic_read(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value)
{
    fake_require(fake_preempt_depth() > 0, "synthetic_read: not pinned");
    *value = stub_synthetic.value;
    stub_synthetic.by = by;
    return synthetic_has_msr(vp->partition, index);
}

bool synthetic_write(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t value)
{
    fake_require(fake_preempt_depth() > 0, "synthetic_write: not pinned");
    if (!synthetic_has_msr(vp->partition, index))
        return false;
    stub_synthetic.value = value;
    stub_synthetic.by = by;
    return true;
}

#endif
