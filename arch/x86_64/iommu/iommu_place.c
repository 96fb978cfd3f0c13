/* SPDX-License-Identifier: MIT */
/*
 * Domains, and in which place each requester is. Requesters that the host keeps share a domain with all those for which
 * it wants the same memory.
 */
#include "iommu_parts.h"
#include <hv/base/assert.h>
#include <hv/base/bitmap.h>
#include <hv/base/bits.h>
#include <hv/base/log.h>
#include <hv/base/memory.h>

#define DOMAINS_MAX   4096u
#define RANGES_MAX    128u  /* that do not touch one another */
#define QUESTIONS_MAX 4096u /* to the host, about one requester */

static uint64_t ids[HV_BITMAP_WORDS(DOMAINS_MAX)];

/* ------------------------------------------------------------------------------------- domains */

static uint16_t id_take(void)
{
    uint32_t count = HV_MIN(iommu.backend->domain_ids(), DOMAINS_MAX), id = hv_bitmap_find_clear(ids, count, 1);

    if (id >= count)
        return 0;
    hv_bitmap_set(ids, id);
    return (uint16_t)id;
}

static enum hv_status domain_init(struct iommu_domain *d)
{
    enum hv_status st = npt_init(&d->npt, iommu.backend->format());

    if (st == HV_OK) {
        d->id = id_take();
        st = d->id ? HV_OK : HV_E_NO_MEMORY;
    }
    if (st == HV_OK && iommu.backend->domain_create) {
        st = iommu.backend->domain_create(d);
        if (st != HV_OK)
            hv_bitmap_clear(ids, d->id);
    }
    if (st != HV_OK)
        npt_destroy(&d->npt);
    return st;
}

static void domain_exit(struct iommu_domain *d)
{
    if (iommu.backend->domain_destroy)
        iommu.backend->domain_destroy(d);
    hv_bitmap_clear(ids, d->id);
    npt_destroy(&d->npt);
}

/* --------------------------------------------------------------------------- the host's wishes */

struct range {
    hv_hpa_t start, end;
};

/* What some of the host's requesters may reach. No ranges: nothing. */
struct policy {
    struct policy *next;
    uint32_t users, count;
    struct iommu_domain domain; /* count is not 0 */
    struct range ranges[];      /* sorted, with gaps between them */
};
static struct policy *policies;

struct ranges {
    uint32_t count;
    struct range list[RANGES_MAX];
};
static struct ranges wanted;

/* False: too many. */
static bool ranges_add(struct ranges *r, struct range new)
{
    uint32_t first = 0, end;

    while (first < r->count && r->list[first].end < new.start)
        first++;
    for (end = first; end < r->count && r->list[end].start <= new.end; end++) {
        new.start = HV_MIN(new.start, r->list[end].start);
        new.end = HV_MAX(new.end, r->list[end].end);
    }
    if (end == first && r->count == RANGES_MAX)
        return false;
    memmove(&r->list[first + 1], &r->list[end], (r->count - end) * sizeof(new));
    r->count = r->count - (end - first) + 1;
    r->list[first] = new;
    return true;
}

static bool ranges_add_pages(struct ranges *r, hv_hpa_t start, uint64_t size)
{
    hv_hpa_t last = start + size - 1;

    if (!size)
        return true;
    if (last < start || last >= ALIGN_DOWN(HV_HPA_NONE, HV_PAGE_SIZE))
        last = ALIGN_DOWN(HV_HPA_NONE, HV_PAGE_SIZE) - 1;
    return ranges_add(r,
                      (struct range){ALIGN_DOWN(start, HV_PAGE_SIZE), ALIGN_DOWN(last, HV_PAGE_SIZE) + HV_PAGE_SIZE});
}

static bool reserved(const struct hv_pci_address *a, uint32_t n, hv_hpa_t *start, uint64_t *size)
{
    return iommu.backend->reserved && iommu.backend->reserved(a, n, start, size);
}

static bool ask(struct ranges *r, const struct hv_pci_address *a)
{
    hv_hpa_t start;
    uint64_t size;
    bool fits = true;

    r->count = 0;
    for (uint32_t n = 0; fits && n < QUESTIONS_MAX && hv_host_dma_range(a->segment, a->bdf, n, &start, &size); n++)
        fits = ranges_add_pages(r, start, size);
    for (uint32_t n = 0; fits && n < QUESTIONS_MAX && reserved(a, n, &start, &size); n++)
        fits = ranges_add_pages(r, start, size);
    return fits;
}

static hv_hpa_t same_address(void *arg, uint64_t offset, uint64_t *size)
{
    (void)size; /* all of it */
    return *(const hv_hpa_t *)arg + offset;
}

/* What no table of these units can say is left out. */
static enum hv_status map_same(struct iommu_domain *d, struct range range)
{
    hv_hpa_t end = HV_MIN(range.end, npt_limit(&d->npt));
    enum hv_status st = HV_E_INVALID;

    if (range.start < end)
        st = npt_map(&d->npt, range.start, end - range.start, same_address, &range.start, NPT_READ | NPT_WRITE);
    if (st == HV_E_INVALID || end != range.end)
        hv_log(HV_LOG_WARNING, "%s: the host's devices do not reach all of 0x%llx to 0x%llx", iommu.backend->name,
               (unsigned long long)range.start, (unsigned long long)range.end);
    return st == HV_E_INVALID ? HV_OK : st;
}

static void policy_free(struct policy *p)
{
    if (p->count)
        domain_exit(&p->domain);
    hv_host_free(p, sizeof(*p) + p->count * sizeof(p->ranges[0]));
}

static enum hv_status policy_fill(struct policy *p)
{
    enum hv_status st = HV_OK;

    for (uint32_t i = 0; i < p->count && st == HV_OK; i++)
        st = map_same(&p->domain, p->ranges[i]);
    if (st == HV_OK && p->count && iommu.is_on)
        iommu.backend->flush(&p->domain, 0, npt_limit(&p->domain.npt));
    return st;
}

static struct policy *policy_new(const struct ranges *r)
{
    size_t size = sizeof(struct policy) + r->count * sizeof(r->list[0]);
    struct policy *p = hv_host_alloc(size);

    if (!p)
        return NULL;
    if (r->count && domain_init(&p->domain) != HV_OK) {
        hv_host_free(p, size);
        return NULL;
    }
    p->count = r->count;
    memcpy(p->ranges, r->list, r->count * sizeof(r->list[0]));
    if (policy_fill(p) != HV_OK) {
        policy_free(p);
        return NULL;
    }
    p->next = policies;
    return policies = p;
}

static struct policy *policy_get(const struct hv_pci_address *a)
{
    struct policy *p = policies;

    if (!ask(&wanted, a)) {
        hv_log(HV_LOG_ERROR, "%s: more than %u ranges of memory for a device of the host's", iommu.backend->name,
               RANGES_MAX);
        return NULL;
    }
    while (p && (p->count != wanted.count || memcmp(p->ranges, wanted.list, p->count * sizeof(p->ranges[0])) != 0))
        p = p->next;
    if (!p)
        p = policy_new(&wanted);
    if (p)
        p->users++;
    return p;
}

static void policy_put(struct policy *p)
{
    struct policy **at = &policies;

    if (!p || --p->users)
        return;
    while (*at != p)
        at = &(*at)->next;
    *at = p->next;
    policy_free(p);
}

/* ---------------------------------------------------------------------------------- requesters */

enum place { PLACE_HOST, PLACE_BLOCKED, PLACE_DOMAIN };

struct requester {
    struct requester *next;
    struct hv_pci_address address;
    enum place place;
    struct iommu_domain *domain; /* PLACE_DOMAIN */
    struct policy *policy;       /* while units are on, and they are not the host's own */
};
static struct requester *requesters;

static struct requester *find(const struct hv_pci_address *a)
{
    struct requester *r = requesters;

    while (r && (r->address.segment != a->segment || r->address.bdf != a->bdf))
        r = r->next;
    return r;
}

/* It is the host's. NULL: no memory. */
static struct requester *add(const struct hv_pci_address *a)
{
    struct requester *r = hv_host_alloc(sizeof(*r));

    if (!r)
        return NULL;
    *r = (struct requester){.next = requesters, .address = *a};
    return requesters = r;
}

static void drop(struct requester *r)
{
    struct requester **at = &requesters;

    while (*at != r)
        at = &(*at)->next;
    *at = r->next;
    policy_put(r->policy);
    hv_host_free(r, sizeof(*r));
}

static bool want_policy(struct requester *r)
{
    if (r->policy || iommu.backend->give_back)
        return true;
    r->policy = policy_get(&r->address);
    return r->policy;
}

/* While units are on each requester has its policy at hand, so that going back to the host takes no memory. */
static struct requester *find_or_add(const struct hv_pci_address *a)
{
    struct requester *r = find(a);

    if (r)
        return r;
    r = add(a);
    if (r && iommu.is_on && !want_policy(r)) {
        drop(r);
        return NULL;
    }
    return r;
}

static enum hv_status attach_to_host(struct requester *r)
{
    enum hv_status st = HV_OK;

    if (iommu.backend->give_back)
        iommu.backend->give_back(&r->address);
    else
        st = iommu.backend->attach(&r->address, r->policy->count ? &r->policy->domain : NULL);
    return st;
}

static enum hv_status program(struct requester *r)
{
    enum hv_status st = r->place == PLACE_HOST ? attach_to_host(r) : iommu.backend->attach(&r->address, r->domain);

    return st == HV_E_NOT_PRESENT && r->place != PLACE_DOMAIN ? HV_OK : st; /* it goes past all units */
}

enum hv_status iommu_found(const struct hv_pci_address *requester, bool is_blocked)
{
    struct requester *r = find_or_add(requester);

    if (!r)
        return HV_E_NO_MEMORY;
    if (is_blocked && r->place == PLACE_HOST)
        r->place = PLACE_BLOCKED;
    return HV_OK;
}

enum hv_status iommu_places_on(void)
{
    enum hv_status st = HV_OK;

    for (struct requester *r = requesters; r && st == HV_OK; r = r->next)
        st = want_policy(r) ? program(r) : HV_E_NO_MEMORY;
    return st;
}

void iommu_places_off(void)
{
    struct requester *next;

    for (struct requester *r = requesters; r; r = next) {
        next = r->next;
        policy_put(r->policy);
        r->policy = NULL;
        if (r->place != PLACE_DOMAIN)
            drop(r);
    }
}

/* ------------------------------------------------------------------------------- the contract */

static enum hv_status attach_locked(const struct hv_pci_address *a, struct iommu_domain *d)
{
    struct requester *r;
    enum hv_status st;
    hv_hpa_t start;
    uint64_t size;

    if (reserved(a, 0, &start, &size)) {
        hv_log(HV_LOG_ERROR, "%04x:%02x:%02x.%u: firmware wants it to reach 0x%llx for good: it stays the host's",
               a->segment, a->bdf >> 8, a->bdf >> 3 & 0x1f, a->bdf & 7, (unsigned long long)start);
        return HV_E_UNSUPPORTED;
    }
    r = find_or_add(a);
    if (!r)
        return HV_E_NO_MEMORY;
    st = iommu.backend->attach(a, d);
    if (st == HV_OK) {
        r->place = d ? PLACE_DOMAIN : PLACE_BLOCKED;
        r->domain = d;
    } else if (r->place == PLACE_HOST && !iommu.is_on) {
        drop(r);
    }
    return st;
}

enum hv_status iommu_attach(const struct hv_pci_address *requester, struct iommu_domain *d)
{
    enum hv_status st;

    if (!iommu_is_there())
        return HV_E_NOT_PRESENT;
    hv_mutex_lock(&iommu.mutex);
    if (iommu.is_on && iommu.backend->poll)
        iommu.backend->poll();
    st = attach_locked(requester, d);
    hv_mutex_unlock(&iommu.mutex);
    return st;
}

/* Units that are off keep what was attached, until nothing is: of this one nothing, as its domain may go. */
static void give_back_off(struct requester *r)
{
    enum hv_status st = HV_OK;

    if (iommu.backend->give_back)
        iommu.backend->give_back(&r->address);
    else
        st = iommu.backend->attach(&r->address, NULL);
    HV_ASSERT(st == HV_OK || r->place != PLACE_DOMAIN);
    drop(r);
    if (!requesters)
        iommu.backend->off();
}

static void give_back_on(struct requester *r)
{
    enum hv_status st;

    r->place = PLACE_HOST;
    r->domain = NULL;
    st = program(r);
    if (st == HV_OK)
        return;
    hv_log(HV_LOG_ERROR, "%04x:%02x:%02x.%u: no memory to give it back to the host: it reaches nothing",
           r->address.segment, r->address.bdf >> 8, r->address.bdf >> 3 & 0x1f, r->address.bdf & 7);
    st = iommu.backend->attach(&r->address, NULL);
    HV_ASSERT(st == HV_OK); /* else it would reach a domain that is about to go */
}

void iommu_give_back(const struct hv_pci_address *requester)
{
    struct requester *r;

    if (!iommu_is_there())
        return;
    hv_mutex_lock(&iommu.mutex);
    r = iommu.is_on ? find_or_add(requester) : find(requester);
    if (r && iommu.is_on)
        give_back_on(r);
    else if (r)
        give_back_off(r);
    hv_mutex_unlock(&iommu.mutex);
}

enum hv_status iommu_domain_create(struct iommu_domain **out)
{
    struct iommu_domain *d;
    enum hv_status st;

    if (!iommu_is_there())
        return HV_E_NOT_PRESENT;
    d = hv_host_alloc(sizeof(*d));
    if (!d)
        return HV_E_NO_MEMORY;
    hv_mutex_lock(&iommu.mutex);
    st = domain_init(d);
    hv_mutex_unlock(&iommu.mutex);
    if (st != HV_OK) {
        hv_host_free(d, sizeof(*d));
        return st;
    }
    *out = d;
    return HV_OK;
}

void iommu_domain_destroy(struct iommu_domain *d)
{
    hv_mutex_lock(&iommu.mutex);
    for (const struct requester *r = requesters; r; r = r->next)
        HV_ASSERT(r->domain != d);
    domain_exit(d);
    hv_mutex_unlock(&iommu.mutex);
    hv_host_free(d, sizeof(*d));
}

void iommu_flush(struct iommu_domain *d, hv_gpa_t gpa, uint64_t size)
{
    hv_mutex_lock(&iommu.mutex);
    if (iommu.is_on || iommu.backend->domain_create)
        iommu.backend->flush(d, gpa, size);
    hv_mutex_unlock(&iommu.mutex);
}
