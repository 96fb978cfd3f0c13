/* SPDX-License-Identifier: MIT */
/* The local APIC's registers as a page, for clients. */
#include "assist.h"
#include "irq_parts.h"
#include "time.h"
#include "vpci.h"
#include <hv/base/memory.h>

static bool claim_apic(struct hv_vp *vp, enum hv_status *st)
{
    if (!vp->has_apic)
        *st = HV_E_STATE;
    else
        *st = vp_claim(vp) ? HV_OK : HV_E_VP_BUSY;
    return *st == HV_OK;
}

/* As Hyper-V does it: in the place of a vector that no interrupt can have. */
static void put_nmi(void *page)
{
    uint32_t irr;

    memcpy(&irr, (char *)page + APIC_IRR, sizeof(irr));
    irr |= LAPIC_PAGE_NMI;
    memcpy((char *)page + APIC_IRR, &irr, sizeof(irr));
}

enum hv_status hv_vp_get_apic(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written)
{
    enum hv_status st;

    if (written)
        *written = HV_APIC_STATE_SIZE;
    if (size < HV_APIC_STATE_SIZE)
        return HV_E_BUFFER_TOO_SMALL;
    if (!claim_apic(vp, &st))
        return st;
    vp_pin(vp);
    irq_take_requests(vp);
    irq_posted_take(vp);
    assist_settle(vp);
    lapic_get_page(&vp->lapic, time_ns(vp->partition), buffer);
    if (vp->nmi_pending)
        put_nmi(buffer);
    vp_unpin(vp);
    vp_release(vp);
    return HV_OK;
}

enum hv_status hv_vp_set_apic(struct hv_vp *vp, const void *buffer, uint32_t size)
{
    struct lapic_effect effect = {0};
    enum hv_status st;

    if (size < HV_APIC_STATE_SIZE)
        return HV_E_INVALID;
    if (!claim_apic(vp, &st))
        return st;
    vp_pin(vp);
    irq_take_requests(vp); /* what came before belongs to the state that is replaced */
    irq_posted_take(vp);
    assist_settle(vp);
    if (lapic_set_page(&vp->lapic, time_ns(vp->partition), buffer, &effect)) {
        vp->nmi_pending = 0;
        irq_registers_changed(vp);
    } else {
        st = HV_E_INVALID;
    }
    irq_apply(vp, &effect);
    vp_unpin(vp);
    vpci_follow_address(vp);
    vp_release(vp);
    return st;
}
