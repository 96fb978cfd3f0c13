/* SPDX-License-Identifier: MIT */
/*
 * Interrupts that devices post to VPs (arch/posted.h): when VPs run and wait, and what the core takes in for those
 * whose CPU does not. They are edges. The CPU counts none of those that it delivers by itself, and leaves TMR alone:
 * the EOI of a vector that was level-triggered before is told to the client until the core takes an edge of it in, and
 * no pin of an IOAPIC waits for that.
 */
#include "irq_parts.h"
#include <hv/base/bits.h>
#include <hv/pci.h>

static void on_posted(void *vp)
{
    vp_request(vp, VP_REQUEST_POSTED);
}

/* Does anybody post, and can the CPU take it? Else exits for the host's interrupts stay what they are. */
static bool is_posted_to(const struct hv_vp *vp)
{
    return vp->has_apic && vp->partition->properties.allow_device_assignment &&
           backend()->apic_features(VCPU_APIC_XAPIC) & VCPU_APIC_POSTED && hv_iommu_platform()->posts_interrupts;
}

void irq_posted_create(struct hv_vp *vp)
{
    if (is_posted_to(vp))
        vp->vcpu->posted = posted_create(on_posted, vp);
}

void irq_posted_destroy(struct hv_vp *vp)
{
    if (vp->vcpu->posted)
        posted_destroy(vp->vcpu->posted);
    vp->vcpu->posted = NULL;
}

/* Of those that were posted while nobody was to be notified. */
static void request(struct hv_vp *vp)
{
    __atomic_or_fetch(&vp->shared.requests, VP_REQUEST_POSTED, __ATOMIC_SEQ_CST);
}

void irq_posted_run(struct hv_vp *vp)
{
    if (vp->vcpu->posted && posted_run(vp->vcpu->posted))
        request(vp);
}

void irq_posted_wait(struct hv_vp *vp)
{
    if (vp->vcpu->posted && posted_wait(vp->vcpu->posted))
        request(vp);
}

void irq_posted_stop(struct hv_vp *vp)
{
    if (vp->vcpu->posted)
        posted_stop(vp->vcpu->posted);
}

hv_hpa_t irq_posted_to(const struct hv_vp *vp)
{
    uint32_t references = __atomic_load_n(&vp->shared.references, __ATOMIC_ACQUIRE);

    if (!references || references & VP_DYING || !vp->vcpu->posted ||
        !(__atomic_load_n(&vp->inbox.mode, __ATOMIC_RELAXED) & VP_APIC_ENABLED))
        return 0;
    return vp->vcpu->posted->pa;
}

void irq_posted_take(struct hv_vp *vp)
{
    uint64_t vectors[POSTED_WORDS];

    if (!vp->vcpu->posted || !posted_take(vp->vcpu->posted, vectors))
        return;
    for (unsigned i = 0; i < POSTED_WORDS; i++)
        for (; vectors[i]; vectors[i] &= vectors[i] - 1)
            irq_accept(vp, (uint8_t)(64 * i + (unsigned)__builtin_ctzll(vectors[i])), false);
}

void irq_posted_forget(struct hv_vp *vp)
{
    uint64_t vectors[POSTED_WORDS];

    if (vp->vcpu->posted)
        (void)posted_take(vp->vcpu->posted, vectors);
}
