/* SPDX-License-Identifier: MIT */
/* Which kind of units this machine has; switching them on and off. */
#include "iommu_parts.h"
#include <hv/base/assert.h>
#include <hv/base/log.h>

struct iommu iommu;

static struct hv_iommu_platform platform = {.name = "none", .reason = "not looked at yet"};
static bool probed; /* also read without the lock */
static bool is_hosts;

/* ------------------------------------------------------------------------------------- probing */

static const struct iommu_backend *find_backend(void)
{
    if (is_hosts)
        return iommu_host_backend.probe(&platform) ? &iommu_host_backend : NULL;
    for (const struct iommu_backend *const *b = iommu_backends; *b && !platform.reason[0]; b++) {
        if ((*b)->probe(&platform))
            return *b;
    }
    return NULL;
}

/* A machine has one kind at most: where there is one that can not be used, the reason is that one's. */
static void probe_locked(void)
{
    platform.reason[0] = '\0';
    iommu.backend = find_backend();
    platform.present = iommu.backend;
    if (iommu.backend) {
        platform.name = is_hosts ? platform.name : iommu.backend->name;
    } else {
        platform.name = "none";
        platform.remaps_interrupts = platform.posts_interrupts = false;
        if (!platform.reason[0])
            hv_format(platform.reason, sizeof(platform.reason), "ACPI tells of no IOMMU");
    }
    iommu.remaps_interrupts = platform.remaps_interrupts;
}

const struct hv_iommu_platform *hv_iommu_platform(void)
{
    if (__atomic_load_n(&probed, __ATOMIC_ACQUIRE))
        return &platform;
    hv_mutex_lock(&iommu.mutex);
    if (!probed) {
        probe_locked();
        __atomic_store_n(&probed, true, __ATOMIC_RELEASE);
    }
    hv_mutex_unlock(&iommu.mutex);
    return &platform;
}

bool iommu_is_there(void)
{
    return hv_iommu_platform()->present;
}

bool iommu_registers_at(hv_hpa_t pa, uint64_t size)
{
    hv_hpa_t start;
    uint64_t length;

    if (!iommu_is_there() || !iommu.backend->registers)
        return false;
    for (uint32_t n = 0; iommu.backend->registers(n, &start, &length); n++)
        if (pa < start + length && start < pa + size)
            return true;
    return false;
}

enum hv_status hv_iommu_use(const struct hv_iommu_ops *ops)
{
    enum hv_status st = HV_E_STATE;

    hv_mutex_lock(&iommu.mutex);
    if (!probed) {
        is_hosts = iommu_host_use(ops);
        st = is_hosts ? HV_OK : HV_E_INVALID;
    }
    hv_mutex_unlock(&iommu.mutex);
    return st;
}

/* ---------------------------------------------------------------------------------- on and off */

static enum hv_status turn_on(enum hv_status (*each)(iommu_found_fn *found))
{
    enum hv_status st = each ? each(iommu_found) : HV_OK;

    if (st == HV_OK)
        st = iommu_places_on();
    if (st == HV_OK)
        st = iommu.backend->on();
    if (st == HV_OK) {
        iommu.is_on = true;
        hv_log(HV_LOG_INFO, "%s is on%s", platform.name,
               !iommu.remaps_interrupts    ? ", without interrupt remapping"
               : platform.posts_interrupts ? ", and posts interrupts"
                                           : "");
        return HV_OK;
    }
    iommu.backend->off();
    iommu_places_off();
    return st;
}

static void turn_off(void)
{
    if (iommu.backend->poll)
        iommu.backend->poll();
    iommu_remap_off();
    iommu_irqs_off();
    iommu.is_on = false;
    iommu.backend->off();
    iommu_places_off();
    hv_log(HV_LOG_INFO, "%s is off", platform.name);
}

enum hv_status iommu_on(enum hv_status (*each)(iommu_found_fn *found))
{
    enum hv_status st = HV_OK;
    bool changed;

    if (!iommu_is_there()) {
        hv_log(HV_LOG_ERROR, "no IOMMU: %s", platform.reason);
        return HV_E_NOT_PRESENT;
    }
    hv_mutex_lock(&iommu.mutex);
    if (iommu.users == 0)
        st = turn_on(each);
    if (st == HV_OK)
        iommu.users++;
    changed = iommu.users == 1;
    hv_mutex_unlock(&iommu.mutex);
    if (st == HV_OK && changed)
        iommu_remap_changed();
    return st;
}

void iommu_off(void)
{
    bool changed;

    hv_mutex_lock(&iommu.mutex);
    HV_ASSERT(iommu.users);
    changed = --iommu.users == 0;
    if (changed)
        turn_off();
    hv_mutex_unlock(&iommu.mutex);
    if (changed)
        iommu_remap_changed();
}
