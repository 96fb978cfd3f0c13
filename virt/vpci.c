/* SPDX-License-Identifier: MIT */
/*
 * Devices of a partition. They are found by their ids without a lock; calls hold a reference, interrupts are raised
 * while readers are waited for (vpci_table.h).
 */
#include "vpci_dma.h"
#include "vpci_parts.h"
#include <hv/base/assert.h>
#include <hv/base/log.h>
#include <hv/base/memory.h>
#include <pci/config.h>

/* ----------------------------------------------------------------------------------- resources */

struct hv_vpci_resource {
    bool has_address;
    struct hv_pci_address address;
    uint32_t flags;
};

/* What it is that can not be passed on is said when somebody tries, but for what is known by now. */
static enum hv_status find_function(const struct hv_pci_address *a)
{
    const struct pci_device *pci;
    enum hv_status st = pci_scan();

    if (st != HV_OK)
        return st;
    pci = pci_find(a);
    if (pci && !pci->refused)
        return HV_OK;
    hv_log(HV_LOG_WARNING, "PCI %04x:%02x:%02x.%u: %s", a->segment, a->bdf >> 8, a->bdf >> 3 & 31, a->bdf & 7,
           pci ? pci->refused : "no such function");
    return HV_E_NOT_FOUND;
}

enum hv_status hv_vpci_resource_open(const struct hv_pci_address *address, uint32_t flags,
                                     struct hv_vpci_resource **out)
{
    struct hv_vpci_resource *r;
    enum hv_status st = HV_OK;

    if (flags & ~HV_VPCI_UNSAFE)
        return HV_E_INVALID;
    if (address)
        st = find_function(address);
    if (st != HV_OK)
        return st;
    r = hv_host_alloc(sizeof(*r));
    if (!r)
        return HV_E_NO_MEMORY;
    r->flags = flags;
    if (address) {
        r->has_address = true;
        r->address = *address;
    }
    *out = r;
    return HV_OK;
}

/* A device has a copy of what it says. */
void hv_vpci_resource_close(struct hv_vpci_resource *resource)
{
    hv_host_free(resource, sizeof(*resource));
}

/* ---------------------------------------------------------------------------------- references */

struct vpci_device *vpci_get(struct hv_partition *p, uint64_t id)
{
    uint64_t flags = vpci_read_begin();
    struct vpci_device *d = (struct vpci_device *)vpci_table_find(&p->vpci.devices, id);

    if (d)
        __atomic_fetch_add(&d->references, 1, __ATOMIC_ACQUIRE);
    vpci_read_end(flags);
    return d;
}

void vpci_put(struct vpci_device *d)
{
    if (__atomic_sub_fetch(&d->references, 1, __ATOMIC_RELEASE) == (VPCI_DYING | 1))
        hv_host_wake(&d->references); /* its end waits for this; an address is all that is left of it here */
}

/* ------------------------------------------------------------------------------- notifications */

void vpci_notify(struct vpci_device *d, enum hv_vpci_notification kind)
{
    __atomic_or_fetch(&d->notifications, 1u << kind, __ATOMIC_SEQ_CST);
    if (d->event)
        hv_host_event_signal(d->event);
}

static enum hv_vpci_notification next_notification(struct vpci_device *d)
{
    uint32_t queued = __atomic_load_n(&d->notifications, __ATOMIC_SEQ_CST);

    while (queued)
        if (__atomic_compare_exchange_n(&d->notifications, &queued, queued & (queued - 1), false, __ATOMIC_SEQ_CST,
                                        __ATOMIC_SEQ_CST))
            return (enum hv_vpci_notification)__builtin_ctz(queued);
    return HV_VPCI_NOTIFY_NONE;
}

enum hv_status hv_vpci_notification(struct hv_partition *p, uint64_t id, enum hv_vpci_notification *out)
{
    struct vpci_device *d = vpci_get(p, id);

    if (!d)
        return HV_E_DEVICE;
    *out = next_notification(d);
    vpci_put(d);
    return HV_OK;
}

/* A device that is not there any more reads as ones; then so does its vendor, which no device has. */
static void check_presence(struct vpci_device *d)
{
    if (pci_config_read(&passthrough_pci(d->pci)->address, 0, 2) != UINT16_MAX)
        return;
    if (!__atomic_exchange_n(&d->is_removed, 1, __ATOMIC_SEQ_CST))
        vpci_notify(d, HV_VPCI_NOTIFY_REMOVAL);
}

/* ---------------------------------------------------------------------------------------- life */

static void give_bars_back(struct vpci_device *d)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        if (d->withdrawn[i].size)
            gpa_give_back(d->partition, &d->withdrawn[i]);
        d->withdrawn[i].size = 0;
    }
}

/* Nobody finds it any more. */
static void free_device(struct vpci_device *d)
{
    if (d->pci) {
        if (d->ranges)
            passthrough_unmap(d->pci);
        passthrough_unassign(d->pci);
    }
    give_bars_back(d); /* the host's mappings have gone, by which the client had them */
    if (d->reaches_memory)
        vpci_dma_release(d->partition);
    vpci_free_interrupts(d);
    if (d->event)
        hv_host_event_put(d->event);
    hv_host_free(d, sizeof(*d));
}

/* Its DMA goes to the partition's memory. Without an IOMMU, which the client has said it knows of, it goes anywhere. */
static enum hv_status give_memory(struct vpci_device *d, const struct hv_vpci_resource *resource)
{
    struct iommu_domain *domain;
    enum hv_status st = vpci_dma_hold(d->partition, &domain);

    if (st == HV_E_NOT_PRESENT && resource->flags & HV_VPCI_UNSAFE)
        return HV_OK;
    if (st != HV_OK)
        return st;
    d->reaches_memory = true;
    return passthrough_attach(d->pci, domain);
}

static enum hv_status assign(struct vpci_device *d, const struct hv_vpci_resource *resource)
{
    const struct pci_device *pci = pci_find(&resource->address);
    enum hv_status st;

    if (!pci)
        return HV_E_NOT_FOUND;
    st = passthrough_assign(pci, resource->flags, &vpci_passthrough_ops, d->partition, d, &d->pci);
    return st == HV_OK ? give_memory(d, resource) : st;
}

/* With what a software device has, too. On failure it is for free_device. */
static enum hv_status fill_device(struct vpci_device *d, const struct hv_vpci_resource *resource, void *event)
{
    if (event) {
        d->event = hv_host_event_get(event);
        if (!d->event)
            return HV_E_INVALID;
    }
    return d->flags & HV_VPCI_PHYSICAL ? assign(d, resource) : HV_OK;
}

static enum hv_status create_locked(struct hv_partition *p, uint64_t id, const struct hv_vpci_resource *resource,
                                    uint32_t flags, void *event)
{
    struct vpci_device *d;
    enum hv_status st;

    if (vpci_table_find(&p->vpci.devices, id))
        return HV_E_CONFLICT;
    d = hv_host_alloc(sizeof(*d));
    if (!d)
        return HV_E_NO_MEMORY;
    d->entry.id = id;
    d->partition = p;
    d->flags = flags;
    d->references = 1;
    st = fill_device(d, resource, event);
    if (st == HV_OK)
        st = vpci_table_insert(&p->vpci.devices, &d->entry);
    if (st != HV_OK)
        free_device(d);
    return st;
}

static enum hv_status check(struct hv_partition *p, const struct hv_vpci_resource *resource, uint32_t flags)
{
    bool is_physical = flags & HV_VPCI_PHYSICAL;

    if (!__atomic_load_n(&p->is_set_up, __ATOMIC_ACQUIRE))
        return HV_E_STATE;
    if (flags & ~(HV_VPCI_PHYSICAL | HV_VPCI_LOGICAL_INTERRUPTS) || resource->has_address != is_physical)
        return HV_E_INVALID;
    return is_physical && !p->properties.allow_device_assignment ? HV_E_ACCESS_DENIED : HV_OK;
}

enum hv_status hv_vpci_create(struct hv_partition *p, uint64_t id, struct hv_vpci_resource *resource, uint32_t flags,
                              void *event)
{
    enum hv_status st = check(p, resource, flags);

    if (st != HV_OK)
        return st;
    hv_mutex_lock(&p->vpci.mutex);
    st = create_locked(p, id, resource, flags, event);
    hv_mutex_unlock(&p->vpci.mutex);
    return st;
}

/* Calls that have it end soon; nobody finds it any more. */
static void drain_references(struct vpci_device *d)
{
    uint32_t seen = __atomic_or_fetch(&d->references, VPCI_DYING, __ATOMIC_ACQ_REL);

    while (seen != (VPCI_DYING | 1)) {
        hv_host_wait(&d->references, seen, 0);
        seen = __atomic_load_n(&d->references, __ATOMIC_ACQUIRE);
    }
}

static void delete_locked(struct hv_partition *p, struct vpci_device *d)
{
    vpci_table_remove(&p->vpci.devices, &d->entry);
    drain_references(d);
    free_device(d);
}

static enum hv_status withdraw(struct vpci_device *d, const struct pci_bar *bar, struct gpa_withdrawal *w)
{
    enum hv_status st;

    w->pa = bar->address;
    w->size = bar->size;
    st = gpa_withdraw(d->partition, w);
    if (st != HV_OK)
        w->size = 0;
    return st;
}

/*
 * The device may become somebody else's: the guest loses what the client has left of its registers in the memory map,
 * and no other thread of the client's puts them there again.
 */
static enum hv_status withdraw_bars(struct vpci_device *d)
{
    const struct pci_device *pci = d->pci ? passthrough_pci(d->pci) : NULL;
    enum hv_status st = HV_OK;

    for (unsigned i = 0; pci && i < PCI_BARS && st == HV_OK; i++)
        if (pci->bars[i].size && !pci->bars[i].is_io)
            st = withdraw(d, &pci->bars[i], &d->withdrawn[i]);
    if (st != HV_OK)
        give_bars_back(d);
    return st;
}

enum hv_status hv_vpci_delete(struct hv_partition *p, uint64_t id)
{
    enum hv_status st = HV_E_DEVICE;
    struct vpci_device *d;

    hv_mutex_lock(&p->vpci.mutex);
    d = (struct vpci_device *)vpci_table_find(&p->vpci.devices, id);
    if (d)
        st = withdraw_bars(d);
    if (st == HV_OK)
        delete_locked(p, d);
    hv_mutex_unlock(&p->vpci.mutex);
    return st;
}

/* The memory map is as good as gone. */
void vpci_free_all(struct hv_partition *p)
{
    struct vpci_entry *e;

    while ((e = vpci_table_any(&p->vpci.devices)))
        delete_locked(p, (struct vpci_device *)e);
}

/* --------------------------------------------------------------- what devices of the machine have */

/* *d is to be put, unless this fails. HV_E_INVALID: what is asked for is the client's to answer. */
static enum hv_status get_physical(struct hv_partition *p, uint64_t id, struct vpci_device **d)
{
    *d = vpci_get(p, id);
    if (!*d)
        return HV_E_DEVICE;
    if ((*d)->pci)
        return HV_OK;
    vpci_put(*d);
    return HV_E_INVALID;
}

enum hv_status hv_vpci_ids(struct hv_partition *p, uint64_t id, struct hv_vpci_ids *out)
{
    struct vpci_device *d;
    enum hv_status st = get_physical(p, id, &d);

    if (st != HV_OK)
        return st;
    *out = passthrough_pci(d->pci)->ids;
    vpci_put(d);
    return HV_OK;
}

enum hv_status hv_vpci_probed_bars(struct hv_partition *p, uint64_t id, uint32_t bars[6])
{
    struct vpci_device *d;
    enum hv_status st = get_physical(p, id, &d);

    if (st != HV_OK)
        return st;
    passthrough_probed_bars(d->pci, bars);
    vpci_put(d);
    return HV_OK;
}

static enum hv_status map_locked(struct vpci_device *d, struct hv_vpci_range **ranges, uint32_t *count)
{
    enum hv_status st = HV_OK;

    if (d->power)
        return HV_E_STATE;
    if (!d->ranges)
        st = passthrough_map(d->pci, &d->ranges, &d->range_count);
    if (st != HV_OK)
        return st;
    *ranges = d->ranges;
    *count = d->range_count;
    return HV_OK;
}

static void unmap_locked(struct vpci_device *d)
{
    if (!d->ranges)
        return;
    passthrough_unmap(d->pci);
    d->ranges = NULL;
    d->range_count = 0;
}

enum hv_status hv_vpci_map(struct hv_partition *p, uint64_t id, struct hv_vpci_range **ranges, uint32_t *count)
{
    struct vpci_device *d;
    enum hv_status st = get_physical(p, id, &d);

    if (st != HV_OK)
        return st;
    hv_mutex_lock(&d->mutex);
    st = map_locked(d, ranges, count);
    hv_mutex_unlock(&d->mutex);
    vpci_put(d);
    return st;
}

enum hv_status hv_vpci_unmap(struct hv_partition *p, uint64_t id)
{
    struct vpci_device *d;
    enum hv_status st = get_physical(p, id, &d);

    if (st != HV_OK)
        return st;
    hv_mutex_lock(&d->mutex);
    unmap_locked(d);
    hv_mutex_unlock(&d->mutex);
    vpci_put(d);
    return HV_OK;
}

static enum hv_status set_power_locked(struct vpci_device *d, uint32_t state)
{
    enum hv_status st = passthrough_set_power(d->pci, state);

    if (st != HV_OK)
        return st;
    __atomic_store_n(&d->power, state, __ATOMIC_RELEASE);
    if (state)
        unmap_locked(d);
    return HV_OK;
}

#define POWER_STATES 4u

enum hv_status hv_vpci_set_power(struct hv_partition *p, uint64_t id, uint32_t state)
{
    struct vpci_device *d;
    enum hv_status st = get_physical(p, id, &d);

    if (st != HV_OK)
        return st;
    hv_mutex_lock(&d->mutex);
    st = state < POWER_STATES ? set_power_locked(d, state) : HV_E_INVALID;
    hv_mutex_unlock(&d->mutex);
    if (st != HV_OK)
        check_presence(d);
    vpci_put(d);
    return st;
}

/* -------------------------------------------------------------------------------- whom they interrupt */

static void follow(struct vpci_entry *e)
{
    const struct vpci_device *d = (struct vpci_device *)e;

    if (d->pci)
        passthrough_retarget(d->pci);
}

void vpci_follow_all(struct hv_partition *p)
{
    vpci_table_each(&p->vpci.devices, follow);
}

void vpci_follow(struct hv_vp *vp)
{
    struct hv_partition *p = vp->partition;

    __atomic_and_fetch(&vp->shared.requests, ~VP_REQUEST_ROUTES, __ATOMIC_SEQ_CST);
    hv_mutex_lock(&p->vpci.mutex);
    vpci_follow_all(p);
    hv_mutex_unlock(&p->vpci.mutex);
}

/* ----------------------------------------------------------------------------------- registers */

#define CONFIG_SIZE 4096u

static bool is_size(uint32_t size)
{
    return size == 1 || size == 2 || size == 4 || size == 8;
}

static enum hv_status check_register(const struct vpci_device *d, uint32_t space, uint64_t offset, uint32_t size)
{
    if (!is_size(size) || offset % size)
        return HV_E_INVALID;
    if (space == HV_VPCI_CONFIG)
        return size <= 4 && offset < CONFIG_SIZE ? HV_OK : HV_E_INVALID;
    if (space >= PCI_BARS)
        return HV_E_INVALID;
    return __atomic_load_n(&d->power, __ATOMIC_ACQUIRE) ? HV_E_STATE : HV_OK;
}

static enum hv_status read_register(struct vpci_device *d, uint32_t space, uint64_t offset, uint32_t size,
                                    uint64_t *value)
{
    enum hv_status st = check_register(d, space, offset, size);

    if (st != HV_OK)
        return st;
    if (space == HV_VPCI_CONFIG) {
        *value = passthrough_config_read(d->pci, (uint32_t)offset, size);
        return HV_OK;
    }
    st = passthrough_bar_read(d->pci, space, offset, size, value);
    if (st == HV_OK && *value == UINT64_MAX >> (64 - 8 * size))
        check_presence(d);
    return st;
}

static enum hv_status write_register(struct vpci_device *d, uint32_t space, uint64_t offset, uint32_t size,
                                     uint64_t value)
{
    enum hv_status st = check_register(d, space, offset, size);

    if (st != HV_OK)
        return st;
    if (space != HV_VPCI_CONFIG)
        return passthrough_bar_write(d->pci, space, offset, size, value);
    passthrough_config_write(d->pci, (uint32_t)offset, size, (uint32_t)value);
    return HV_OK;
}

enum hv_status hv_vpci_read(struct hv_partition *p, uint64_t id, uint32_t space, uint64_t offset, uint32_t size,
                            void *data)
{
    struct vpci_device *d;
    enum hv_status st = get_physical(p, id, &d);
    uint64_t value = 0;

    if (st != HV_OK)
        return st;
    st = read_register(d, space, offset, size, &value);
    vpci_put(d);
    if (st == HV_OK)
        memcpy(data, &value, size);
    return st;
}

enum hv_status hv_vpci_write(struct hv_partition *p, uint64_t id, uint32_t space, uint64_t offset, uint32_t size,
                             const void *data)
{
    struct vpci_device *d;
    enum hv_status st = get_physical(p, id, &d);
    uint64_t value = 0;

    if (st != HV_OK)
        return st;
    memcpy(&value, data, is_size(size) ? size : 0);
    st = write_register(d, space, offset, size, value);
    vpci_put(d);
    return st;
}
