/* SPDX-License-Identifier: MIT */
/* Partitions: from their creation to their end. */
#include "partition.h"
#include "doorbell.h"
#include "gpa.h"
#include "overlay.h"
#include "port.h"
#include "synthetic.h"
#include "time.h"
#include "trigger.h"
#include "vpci.h"

const struct hv_platform *hv_platform(void)
{
    return backend_probe();
}

enum hv_status hv_partition_create(struct hv_partition **out)
{
    struct hv_partition *p;

    if (!backend_probe()->present)
        return HV_E_NOT_PRESENT;
    p = hv_host_alloc(sizeof(*p));
    if (!p)
        return HV_E_NO_MEMORY;
    properties_init(&p->properties);
    p->apic_access_pa = HV_HPA_NONE;
    time_init(p);
    *out = p;
    return HV_OK;
}

static enum hv_status setup_locked(struct hv_partition *p)
{
    enum hv_status st;

    if (p->is_set_up)
        return HV_E_STATE;
    if (p->properties.processor_count == 0)
        return HV_E_CONFIG;
    st = properties_seal(&p->properties);
    if (st != HV_OK)
        return st;
    st = backend_on();
    if (st != HV_OK)
        goto out_unseal;
    st = npt_init(&p->npt, backend()->npt_format());
    if (st != HV_OK)
        goto out_off;
    st = time_start(p);
    if (st != HV_OK)
        goto out_npt;
    st = synthetic_create(p);
    if (st != HV_OK)
        goto out_time;
    st = gpa_map_apic(p);
    if (st != HV_OK)
        goto out_synthetic;
    p->is_set_up = true;
    return HV_OK;

out_synthetic:
    synthetic_destroy(p);
out_time:
    time_end(p);
out_npt:
    npt_destroy(&p->npt);
out_off:
    backend_off();
out_unseal:
    properties_unseal(&p->properties);
    return st;
}

enum hv_status hv_partition_setup(struct hv_partition *p)
{
    enum hv_status st;

    hv_mutex_lock(&p->mutex);
    st = setup_locked(p);
    hv_mutex_unlock(&p->mutex);
    return st;
}

static enum hv_status reset_locked(struct hv_partition *p)
{
    if (!p->is_set_up)
        return HV_E_STATE;
    if (!partition_claim_all(p))
        return HV_E_VP_BUSY;
    time_reset(p);
    for (uint32_t i = 0; i < p->properties.processor_count; i++)
        if (p->vps[i] && p->vps[i]->vcpu)
            vp_reset(p->vps[i]);
    partition_release_all(p);
    return HV_OK;
}

enum hv_status hv_partition_reset(struct hv_partition *p)
{
    enum hv_status st;

    hv_mutex_lock(&p->mutex);
    st = reset_locked(p);
    hv_mutex_unlock(&p->mutex);
    return st;
}

static void free_partition(struct hv_partition *p)
{
    trigger_free_all(p);
    vpci_free_all(p);
    port_free_all(p);
    overlay_forget(p);
    doorbell_free_all(p);
    for (uint32_t i = 0; i < p->properties.processor_count; i++)
        if (p->vps[i])
            vp_free(p->vps[i]);
    if (p->is_set_up) {
        npt_destroy(&p->npt);
        if (p->apic_access)
            hv_host_page_free(p->apic_access);
        synthetic_destroy(p);
        time_end(p);
        backend_off();
    }
    properties_free(&p->properties);
    hv_host_free(p, sizeof(*p));
}

enum hv_status hv_partition_delete(struct hv_partition *p)
{
    hv_mutex_lock(&p->mutex);
    if (!partition_claim_all(p)) {
        hv_mutex_unlock(&p->mutex);
        return HV_E_VP_BUSY;
    }
    hv_mutex_unlock(&p->mutex);
    free_partition(p); /* all VPs stay claimed: nothing can begin on them */
    return HV_OK;
}
