/* SPDX-License-Identifier: MIT */
/* The table of synthetic MSRs: see synthetic.h. */
#include "synthetic.h"
#include "tlfs.h"

struct synthetic_msr {
    uint32_t first, last;
    uint64_t feature; /* HV_SYNTH_* */
    synthetic_read_fn *read;
    synthetic_write_fn *write; /* NULL: always #GP */
};

/* Sorted. */
static const struct synthetic_msr msrs[] = {
    {0, 0, 0, NULL, NULL},
};

static const struct synthetic_msr *find(const struct hv_partition *p, uint32_t index)
{
    for (size_t i = 0; i < ARRAY_COUNT(msrs); i++)
        if (index - msrs[i].first <= msrs[i].last - msrs[i].first)
            return p->properties.synthetic_features & msrs[i].feature ? &msrs[i] : NULL;
    return NULL;
}

bool synthetic_has_msr(const struct hv_partition *p, uint32_t index)
{
    return find(p, index);
}

bool synthetic_read(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value)
{
    const struct synthetic_msr *msr = find(vp->partition, index);

    return msr && msr->read && msr->read(vp, index, by, value);
}

bool synthetic_write(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t value)
{
    const struct synthetic_msr *msr = find(vp->partition, index);

    return msr && msr->write && msr->write(vp, index, by, value);
}
