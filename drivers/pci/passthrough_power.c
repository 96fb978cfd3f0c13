/* SPDX-License-Identifier: MIT */
/*
 * Power of a passed device, and resets that its guest asks for. A device that is not in D0, whoever put it there, does
 * no DMA and does not answer in its BARs; physically it stays in D0, where it can be kept quiet.
 */
#include "passthrough_parts.h"
#include <hv/base/bits.h>

#define PM_CONTROL       4
#define PM_STATE         BITS32(1, 0)
#define PM_NO_SOFT_RESET BIT32(3)
#define D3               3u

static uint32_t guest_power(const struct passthrough_device *d)
{
    return d->pci->pm ? d->config.value[d->pci->pm + PM_CONTROL] & PM_STATE : 0;
}

bool passthrough_in_d0(const struct passthrough_device *d)
{
    return d->power == 0 && guest_power(d) == 0;
}

/* What is left when this fails does no DMA, and sends no interrupts. */
void passthrough_reset_function(struct passthrough_device *d)
{
    pci_quiesce(d->pci);
    passthrough_irq_reset(d);
    d->is_broken = pci_reset(d->pci) != HV_OK;
    if (!d->is_broken)
        passthrough_irq_mask_all(d);
    passthrough_config_reset(d);
    passthrough_config_apply(d);
}

static void go_quiet(struct passthrough_device *d)
{
    pci_quiesce(d->pci);
    passthrough_config_apply(d);
}

void passthrough_power_changed(struct passthrough_device *d, uint32_t before)
{
    uint32_t now = guest_power(d);
    bool is_kept = d->config.value[d->pci->pm + PM_CONTROL] & PM_NO_SOFT_RESET;

    if (now == before || d->power)
        return;
    if (now)
        go_quiet(d);
    else if (before == D3 && !is_kept)
        passthrough_reset_function(d);
    else
        passthrough_config_apply(d);
}

enum hv_status passthrough_set_power(struct passthrough_device *d, uint32_t state)
{
    uint32_t before;

    if (state > D3)
        return HV_E_INVALID;
    hv_mutex_lock(&d->lock);
    before = d->power;
    d->power = state;
    if (state && !before)
        go_quiet(d);
    else if (!state && before == D3)
        passthrough_reset_function(d);
    else if (!state && before)
        passthrough_config_apply(d);
    hv_mutex_unlock(&d->lock);
    return HV_OK;
}
