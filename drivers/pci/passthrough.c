/* SPDX-License-Identifier: MIT */
/*
 * Who has which device: assigning and giving back, with the rules of groups, and where a device's DMA goes.
 *
 * While a device is assigned its group's functions reach only what their client has; those that nobody was given reach
 * nothing. A device that was given back still reaches nothing, until the IOMMU is switched off, to which one that could
 * not be reset does not agree.
 */
#include "config.h"
#include "passthrough_parts.h"
#include "pci_regs.h"
#include <hv/base/assert.h>
#include <hv/base/log.h>

static struct hv_mutex lock;
static struct passthrough_device *devices; /* all that are assigned, or about to be */

void passthrough_log(const struct pci_device *pci, enum hv_log_level level, const char *text)
{
    hv_log(level, "PCI %04x:%02x:%02x.%u: %s", pci->address.segment, pci->address.bdf >> 8, pci->address.bdf >> 3 & 31,
           pci->address.bdf & 7, text);
}

const struct pci_device *passthrough_pci(const struct passthrough_device *d)
{
    return d->pci;
}

struct passthrough_counts passthrough_counts(void)
{
    struct passthrough_counts counts = {0};

    hv_mutex_lock(&lock);
    for (const struct passthrough_device *d = devices; d; d = d->next)
        counts.devices++;
    hv_mutex_unlock(&lock);
    counts.vectors = passthrough_irq_active();
    counts.entries = passthrough_irq_entries();
    return counts;
}

/* ------------------------------------------------------------------------------------- groups */

static struct passthrough_device *assigned(const struct pci_device *pci)
{
    struct passthrough_device *d = devices;

    while (d && d->pci != pci)
        d = d->next;
    return d;
}

static bool is_host_using(const struct pci_device *pci)
{
    return pci_config_read(&pci->address, PCI_COMMAND, 2) & PCI_COMMAND_MASTER;
}

/* A function of the group that is not itself a bridge, after i. */
static const struct pci_device *next_peer(const struct pci_device *pci, const struct pci_device *i)
{
    for (i = i ? i->next : pci_first(); i; i = i->next)
        if (i != pci && i->header == 0 && pci_same_group(i, pci))
            return i;
    return NULL;
}

static enum hv_status check_group(const struct pci_device *pci, const void *client)
{
    const struct passthrough_device *d;

    if (assigned(pci)) {
        passthrough_log(pci, HV_LOG_ERROR, "it is assigned already");
        return HV_E_CONFLICT;
    }
    for (const struct pci_device *i = NULL; (i = next_peer(pci, i));) {
        d = assigned(i);
        if (d && d->client != client) {
            passthrough_log(i, HV_LOG_ERROR, "it is somebody else's, and can not be isolated from the one asked for");
            return HV_E_CONFLICT;
        }
        if (!d && is_host_using(i)) {
            passthrough_log(i, HV_LOG_ERROR, "the host uses it, and it can not be isolated from the one asked for");
            return HV_E_ACCESS_DENIED;
        }
    }
    return HV_OK;
}

static enum hv_status claim(struct passthrough_device *d)
{
    enum hv_status st;

    hv_mutex_lock(&lock);
    pci_isolate(d->pci);
    st = check_group(d->pci, d->client);
    if (st == HV_OK) {
        d->next = devices;
        devices = d;
    }
    hv_mutex_unlock(&lock);
    return st;
}

static void disown(struct passthrough_device *d)
{
    struct passthrough_device **at = &devices;

    hv_mutex_lock(&lock);
    while (*at != d)
        at = &(*at)->next;
    *at = d->next;
    hv_mutex_unlock(&lock);
}

/* ----------------------------------------------------------------------------- where DMA goes */

static bool is_requester(const struct pci_device *pci, const struct hv_pci_address *a)
{
    struct hv_pci_address names[PCI_REQUESTERS];
    uint32_t count = pci_requesters(pci, names);

    for (uint32_t i = 0; i < count; i++)
        if (names[i].segment == a->segment && names[i].bdf == a->bdf)
            return true;
    return false;
}

/* Another one that has this name as well, and somewhere to go. */
static const struct passthrough_device *sharer(const struct passthrough_device *d, const struct hv_pci_address *a)
{
    for (const struct passthrough_device *i = devices; i; i = i->next)
        if (i != d && i->domain && is_requester(i->pci, a))
            return i;
    return NULL;
}

static enum hv_status attach_names(const struct passthrough_device *d, struct iommu_domain *domain)
{
    struct hv_pci_address names[PCI_REQUESTERS];
    uint32_t count = pci_requesters(d->pci, names);
    enum hv_status st = HV_OK;

    for (uint32_t i = 0; i < count && st == HV_OK; i++)
        if (!sharer(d, &names[i]))
            st = iommu_attach(&names[i], domain);
    return st;
}

static bool is_torn(const struct passthrough_device *d, const struct iommu_domain *domain)
{
    struct hv_pci_address names[PCI_REQUESTERS];
    uint32_t count = pci_requesters(d->pci, names);
    const struct passthrough_device *other;

    for (uint32_t i = 0; i < count; i++) {
        other = sharer(d, &names[i]);
        if (other && other->domain != domain)
            return true;
    }
    return false;
}

/* What can not be put back as it was is blocked, for which there is always memory once it was attached. */
static enum hv_status attach_locked(struct passthrough_device *d, struct iommu_domain *domain)
{
    enum hv_status st;

    if (domain && is_torn(d, domain)) {
        passthrough_log(d->pci, HV_LOG_ERROR, "its DMA can not be told from that of one in another domain");
        return HV_E_CONFLICT;
    }
    st = attach_names(d, domain);
    if (st == HV_OK)
        d->domain = domain;
    else if (attach_names(d, d->domain) != HV_OK)
        passthrough_log(d->pci, HV_LOG_ERROR, "its DMA may be cut off in part");
    return st;
}

enum hv_status passthrough_attach(struct passthrough_device *d, struct iommu_domain *domain)
{
    enum hv_status st;

    if (!d->is_confined)
        return HV_OK;
    hv_mutex_lock(&lock);
    st = attach_locked(d, domain);
    hv_mutex_unlock(&lock);
    return st;
}

static enum hv_status block_peers(const struct passthrough_device *d)
{
    enum hv_status st = HV_OK;

    for (const struct pci_device *i = NULL; st == HV_OK && (i = next_peer(d->pci, i));)
        if (!assigned(i) && !sharer(d, &i->address))
            st = iommu_attach(&i->address, NULL);
    return st;
}

/* Is this one of the names of a function that a guest has had, whoever else has it? */
static bool is_distrusted(const struct hv_pci_address *a)
{
    for (const struct pci_device *i = pci_first(); i; i = i->next)
        if (i->is_distrusted && is_requester(i, a))
            return true;
    return false;
}

static void release_peers(const struct passthrough_device *d)
{
    for (const struct pci_device *i = NULL; (i = next_peer(d->pci, i));)
        if (!is_requester(d->pci, &i->address) && !is_distrusted(&i->address))
            iommu_give_back(&i->address);
}

static enum hv_status block(struct passthrough_device *d)
{
    enum hv_status st;

    hv_mutex_lock(&lock);
    st = attach_names(d, NULL);
    if (st == HV_OK)
        st = block_peers(d);
    d->is_claimed = true;
    hv_mutex_unlock(&lock);
    return st;
}

static void give_names_back(const struct passthrough_device *d)
{
    struct hv_pci_address names[PCI_REQUESTERS];
    uint32_t count = pci_requesters(d->pci, names);

    for (uint32_t i = 0; i < count; i++)
        if (!sharer(d, &names[i]) && !is_distrusted(&names[i]))
            iommu_give_back(&names[i]);
}

static bool is_last_of_group(const struct passthrough_device *d)
{
    for (const struct pci_device *i = NULL; (i = next_peer(d->pci, i));)
        if (assigned(i))
            return false;
    return true;
}

/* What never was assigned is the host's again; what was stays blocked, also when the IOMMU has been off meanwhile. */
static void unblock(struct passthrough_device *d)
{
    hv_mutex_lock(&lock);
    if (attach_locked(d, NULL) != HV_OK)
        passthrough_log(d->pci, HV_LOG_ERROR, "its DMA could not be blocked");
    if (is_last_of_group(d)) {
        release_peers(d);
        give_names_back(d);
    }
    hv_mutex_unlock(&lock);
}

/* ------------------------------------------------------------------------------------- the IOMMU */

static void warn(const struct passthrough_device *d)
{
    if (!d->is_confined)
        passthrough_log(
            d->pci, HV_LOG_WARNING,
            "UNSAFE: no IOMMU translates its DMA: it goes to the host's memory, at the addresses that its guest gives");
    if (!d->is_remapped)
        passthrough_log(d->pci, HV_LOG_WARNING,
                        "UNSAFE: its interrupts are not remapped: its guest can raise any interrupt of the host's");
}

static enum hv_status refuse(const struct passthrough_device *d, const char *reason)
{
    hv_log(HV_LOG_ERROR, "PCI %04x:%02x:%02x.%u: not assigned, it could not be kept in its partition: %s",
           d->pci->address.segment, d->pci->address.bdf >> 8, d->pci->address.bdf >> 3 & 31, d->pci->address.bdf & 7,
           reason[0] ? reason : "the IOMMU does not work");
    return HV_E_NOT_PRESENT;
}

/* One that is there may turn out not to work. */
static enum hv_status use_iommu(struct passthrough_device *d, uint32_t flags)
{
    const struct hv_iommu_platform *platform = hv_iommu_platform();
    bool is_unsafe = flags & HV_VPCI_UNSAFE;
    enum hv_status st;

    if (!platform->remaps_interrupts && !is_unsafe)
        return refuse(d, platform->reason);
    st = platform->present ? hv_iommu_on() : HV_E_NOT_PRESENT;
    if (st == HV_E_NOT_PRESENT && !is_unsafe)
        return refuse(d, platform->reason);
    if (st != HV_OK && st != HV_E_NOT_PRESENT)
        return st;
    d->is_on = st == HV_OK;
    d->is_confined = d->is_on;
    d->is_remapped = d->is_on && platform->remaps_interrupts;
    warn(d);
    return HV_OK;
}

/* It takes its user back, and the one that is left from before, or leaves one. */
static void leave_iommu(struct passthrough_device *d)
{
    struct pci_device *pci = pci_find(&d->pci->address);
    uint32_t users = d->is_on;

    hv_mutex_lock(&lock);
    users += pci->keeps_iommu;
    pci->keeps_iommu = users && pci->is_distrusted && !d->is_at_rest;
    users -= pci->keeps_iommu;
    hv_mutex_unlock(&lock);
    if (pci->keeps_iommu)
        passthrough_log(pci, HV_LOG_WARNING, "it did not come to rest: the IOMMU stays on, to keep it off all memory");
    while (users--)
        hv_iommu_off();
}

/* ----------------------------------------------------------------------------------------- life */

/* Also where no IOMMU kept it off: one that is on later does. */
static void distrust(const struct passthrough_device *d)
{
    hv_mutex_lock(&lock);
    pci_find(&d->pci->address)->is_distrusted = true;
    hv_mutex_unlock(&lock);
}

/* Of whatever was there of it: also one whose assignment failed. */
static void release(struct passthrough_device *d)
{
    hv_mutex_lock(&d->lock);
    passthrough_irq_exit(d);
    passthrough_bar_exit(d);
    hv_mutex_unlock(&d->lock);
    if (d->is_assigned)
        distrust(d);
    if (d->is_claimed)
        unblock(d);
    leave_iommu(d);
    disown(d);
    hv_host_free(d, sizeof(*d));
}

static enum hv_status check_device(const struct pci_device *pci)
{
    const char *reason = pci_refusal(pci);

    if (!reason)
        return HV_OK;
    hv_log(HV_LOG_ERROR, "PCI %04x:%02x:%02x.%u: not assigned: %s", pci->address.segment, pci->address.bdf >> 8,
           pci->address.bdf >> 3 & 31, pci->address.bdf & 7, reason);
    return HV_E_UNSUPPORTED;
}

/* It is claimed. DMA is blocked before the reset, which may be what ends it. */
static enum hv_status take(struct passthrough_device *d, uint32_t flags)
{
    enum hv_status st = use_iommu(d, flags);

    if (st == HV_OK && d->is_confined)
        st = block(d);
    if (st == HV_OK) {
        st = pci_reset(d->pci);
        d->is_at_rest = st == HV_OK;
    }
    if (st == HV_OK)
        st = passthrough_config_init(d);
    if (st == HV_OK)
        passthrough_config_apply(d);
    if (st == HV_OK)
        st = passthrough_irq_init(d);
    if (st == HV_OK)
        passthrough_irq_mask_all(d);
    return st;
}

enum hv_status passthrough_assign(const struct pci_device *pci, uint32_t flags, const struct passthrough_ops *ops,
                                  const void *client, void *owner, struct passthrough_device **out)
{
    enum hv_status st = HV_OK;
    struct passthrough_device *d;

    d = hv_host_alloc(sizeof(*d));
    if (!d)
        return HV_E_NO_MEMORY;
    d->pci = pci;
    d->ops = ops;
    d->client = client;
    d->owner = owner;
    st = claim(d);
    if (st != HV_OK) {
        hv_host_free(d, sizeof(*d));
        return st;
    }
    d->is_at_rest = !pci->keeps_iommu;
    st = check_device(pci);
    if (st == HV_OK)
        st = take(d, flags);
    if (st != HV_OK) {
        release(d);
        return st;
    }
    d->is_assigned = true;
    *out = d;
    return HV_OK;
}

/* Bus mastering goes first, and DMA ends with the reset, before anything that it reaches does. */
void passthrough_unassign(struct passthrough_device *d)
{
    hv_mutex_lock(&d->lock);
    pci_quiesce(d->pci);
    if (d->mode != PASSTHROUGH_NO_INTERRUPTS)
        passthrough_irq_reset(d);
    d->is_at_rest = pci_reset(d->pci) == HV_OK;
    if (!d->is_at_rest)
        passthrough_log(d->pci, HV_LOG_ERROR, "it could not be reset when it was given back");
    hv_mutex_unlock(&d->lock);
    release(d);
}
