/* SPDX-License-Identifier: MIT */
/*
 * Faults: a readable line for each, told to whoever listens. A device that goes wild makes thousands a second: of each
 * requester a few lines a second are shown, and how many were not. It may do so under many names: there is a bound for
 * all of them, too.
 */
#include "iommu_parts.h"
#include <hv/base/bits.h>
#include <hv/base/log.h>

#define LINES_MAX 5u   /* of one requester in a window */
#define LINES_ALL 128u /* of all of them */
#define WINDOW_NS 1000000000ull
#define TALKERS   16u

/* A requester that has lately made faults. */
struct talker {
    struct hv_pci_address requester;
    uint32_t shown, hidden;
    uint64_t since; /* 0: free */
};

static struct hv_spin lock; /* of talkers */
static struct talker talkers[TALKERS], everybody;

static struct {
    void (*fn)(const struct iommu_fault *fault, void *arg);
    void *arg;
} listener;

void iommu_on_fault(void (*fn)(const struct iommu_fault *fault, void *arg), void *arg)
{
    __atomic_store_n(&listener.fn, NULL, __ATOMIC_SEQ_CST);
    __atomic_store_n(&listener.arg, arg, __ATOMIC_SEQ_CST);
    __atomic_store_n(&listener.fn, fn, __ATOMIC_SEQ_CST);
}

static void tell(const struct iommu_fault *fault)
{
    void (*fn)(const struct iommu_fault *fault, void *arg) = __atomic_load_n(&listener.fn, __ATOMIC_SEQ_CST);

    if (fn)
        fn(fault, __atomic_load_n(&listener.arg, __ATOMIC_SEQ_CST));
}

/* The requester's, else the one that has been quiet for longest. */
static struct talker *talker_of(const struct hv_pci_address *a)
{
    struct talker *oldest = talkers;

    for (struct talker *t = talkers; t < talkers + TALKERS; t++) {
        if (t->since && t->requester.segment == a->segment && t->requester.bdf == a->bdf)
            return t;
        if (t->since < oldest->since)
            oldest = t;
    }
    *oldest = (struct talker){.requester = *a};
    return oldest;
}

/* Returns how many were not shown in the window that is over, if it is. */
static uint32_t next_window(struct talker *t, uint64_t now)
{
    uint32_t hidden = t->hidden;

    if (t->since && now - t->since < WINDOW_NS)
        return 0;
    t->shown = t->hidden = 0;
    t->since = now ? now : 1;
    return hidden;
}

/* *hidden: so many were not shown before this one. */
static bool may_show(const struct hv_pci_address *a, uint32_t *hidden)
{
    uint64_t flags = hv_spin_lock(&lock), now = hv_host_time_ns();
    struct talker *t = talker_of(a);
    bool may;

    next_window(&everybody, now);
    *hidden = next_window(t, now);
    may = t->shown < LINES_MAX && everybody.shown < LINES_ALL;
    t->shown += may;
    everybody.shown += may;
    t->hidden += !may;
    hv_spin_unlock(&lock, flags);
    return may;
}

static void show(const struct iommu_fault *f, const char *address)
{
    static const char *const kinds[] = {[IOMMU_FAULT_READ] = "DMA read of",
                                        [IOMMU_FAULT_WRITE] = "DMA write to",
                                        [IOMMU_FAULT_INTERRUPT] = "interrupt"};
    const char *kind = (unsigned)f->kind < ARRAY_COUNT(kinds) ? kinds[f->kind] : "access to";
    const char *text = f->text ? f->text : "no reason told";

    hv_log(HV_LOG_WARNING, "%s: %s 0x%llx blocked: %s (%u)", address, kind, (unsigned long long)f->address, text,
           f->code);
}

void iommu_report(const struct iommu_fault *fault)
{
    const struct hv_pci_address *a = &fault->requester;
    char address[16];
    uint32_t hidden;

    if (may_show(a, &hidden)) {
        hv_format(address, sizeof(address), "%04x:%02x:%02x.%u", a->segment, a->bdf >> 8, a->bdf >> 3 & 0x1f,
                  a->bdf & 7u);
        if (hidden)
            hv_log(HV_LOG_WARNING, "%s: %u more blocked accesses were not shown", address, hidden);
        show(fault, address);
    }
    tell(fault);
}
