/* SPDX-License-Identifier: MIT */
/* EOI assist: see assist.h. */
#include "assist.h"
#include "irq.h"
#include <hv/base/memory.h>

#define NO_EOI_REQUIRED BIT32(0) /* of the page's first word */

static uint32_t *word_of(const struct hv_vp *vp)
{
    return vp->assist_page;
}

/* The guest sees the core's page, by its own wish. */
static bool is_shown(const struct hv_vp *vp)
{
    return vp->assist_enabled && vp->assist.is_placed;
}

void assist_take_back(struct hv_vp *vp)
{
    uint32_t before = __atomic_fetch_and(word_of(vp), ~NO_EOI_REQUIRED, __ATOMIC_ACQ_REL);
    struct lapic_effect effect = {0};

    vp->assist_offered = false;
    if (before & NO_EOI_REQUIRED)
        return;
    lapic_eoi(&vp->lapic, &effect);
    irq_apply(vp, &effect);
}

/* -1: none, or more than one. */
static int only_one_in_service(const struct lapic *l)
{
    unsigned count = 0;

    for (uint32_t i = 0; i < 8; i++)
        count += (unsigned)__builtin_popcount(lapic_get(l, APIC_ISR + i * 16));
    return count == 1 ? lapic_highest_isr(l) : -1;
}

void assist_offer(struct hv_vp *vp)
{
    int vector;

    if (!is_shown(vp) || vp->lapic.delivers || lapic_highest_irr(&vp->lapic) >= 0)
        return;
    vector = only_one_in_service(&vp->lapic);
    if (vector < 0 || lapic_is_level(&vp->lapic, (uint8_t)vector))
        return;
    vp->assist_offered = true;
    __atomic_or_fetch(word_of(vp), NO_EOI_REQUIRED, __ATOMIC_RELEASE);
}

void assist_reset(struct hv_vp *vp)
{
    vp->assist_offered = false;
    if (vp->assist_page)
        memset(vp->assist_page, 0, HV_PAGE_SIZE);
}
