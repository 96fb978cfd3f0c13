/* SPDX-License-Identifier: MIT */
/*
 * AMD-Vi's event log (AMD-IOV 2.5): what a unit blocks, and what is wrong with itself, it writes into a ring in memory,
 * and tells by an interrupt of its own. A device that does nothing but fault must not keep a CPU busy: see
 * AMDVI_FAULTS_MAX.
 */
#include "amdvi.h"
#include <hv/base/log.h>

#define RING_PAGES 1u
#define TRIES      1000u           /* looks at an event that is announced and not written yet */
#define TAKE_MAX   AMDVI_RING_SIZE /* events in one interrupt */

/* AMD-IOV 2.5.2: what a page fault's bits mean, the first that is there */
static const char *page_fault_text(uint64_t low)
{
    if (low & AMDVI_EVT_RZ)
        return "reserved bits in an entry";
    if (low & AMDVI_EVT_PE)
        return "the entry there does not allow it";
    return low & AMDVI_EVT_PR ? "the device may not reach memory" : "nothing there that the device may reach";
}

static const char *text_of(uint32_t code, bool is_irq, uint64_t low)
{
    switch (code) {
    case AMDVI_EVT_BAD_DTE:
        return "reserved bits in the device's entry";
    case AMDVI_EVT_PAGE_FAULT:
        return is_irq ? "no remapping entry lets it pass" : page_fault_text(low);
    case AMDVI_EVT_DTE_ERROR:
        return "the device's entry can not be read";
    case AMDVI_EVT_PTE_ERROR:
        return "a table can not be read";
    case AMDVI_EVT_IOTLB_TIMEOUT:
        return "the device does not answer an invalidation";
    case AMDVI_EVT_BAD_REQUEST:
        return "request of a kind that is not allowed";
    case AMDVI_EVT_BAD_PPR:
        return "page request that is not allowed";
    default:
        return "an event that is not known here";
    }
}

/* Some units say of every fault that it was an interrupt: the address tells, too. */
static struct iommu_fault fault_of(const struct amdvi_unit *u, uint64_t low, uint64_t high)
{
    uint32_t code = (uint32_t)FIELD_GET(AMDVI_EVT_CODE, low);
    bool is_irq = low & AMDVI_EVT_I && high >= AMDVI_MSI_ADDRESS && high <= AMDVI_MSI_LAST;

    return (struct iommu_fault){
        .requester = {u->acpi->function.segment, (uint16_t)FIELD_GET(AMDVI_EVT_DEVICE, low)},
        .kind = is_irq               ? IOMMU_FAULT_INTERRUPT
                : low & AMDVI_EVT_RW ? IOMMU_FAULT_WRITE
                                     : IOMMU_FAULT_READ,
        .address = high,
        .code = (uint8_t)code,
        .text = text_of(code, is_irq, low),
    };
}

static void report(const struct amdvi_unit *u, uint64_t low, uint64_t high)
{
    uint32_t code = (uint32_t)FIELD_GET(AMDVI_EVT_CODE, low);
    struct iommu_fault fault;

    if (code == AMDVI_EVT_BAD_COMMAND || code == AMDVI_EVT_COMMAND_ERROR) {
        hv_log(HV_LOG_ERROR, "AMD-Vi unit at 0x%llx: %s, at 0x%llx", (unsigned long long)u->acpi->base,
               code == AMDVI_EVT_BAD_COMMAND ? "takes a command for an illegal one" : "can not read a command",
               (unsigned long long)high);
        return;
    }
    fault = fault_of(u, low, high);
    iommu_report(&fault);
}

/* ------------------------------------------------------------------------------------ events */

/* With the lock. The unit has moved its tail on; the event may follow a little later. */
static uint64_t await_event(const uint64_t *event)
{
    uint64_t low = 0;

    for (unsigned i = 0; i < TRIES && !FIELD_GET(AMDVI_EVT_CODE, low); i++)
        low = __atomic_load_n(&event[0], __ATOMIC_ACQUIRE);
    return low;
}

/* Takes one event, if there is one, so that the unit can use its place again. */
static bool take(struct amdvi_unit *u, uint64_t out[AMDVI_RING_WORDS])
{
    struct amdvi_faults *f = &u->faults;
    uint64_t flags = hv_spin_lock(&u->lock);
    bool found = FIELD_GET(AMDVI_RING_OFFSET, amdvi_read(u, AMDVI_EVT_TAIL)) % AMDVI_RING_SIZE != f->head;
    uint64_t *event = &f->ring.words[f->head * AMDVI_RING_WORDS];

    if (found) {
        out[0] = await_event(event);
        out[1] = event[1];
        event[0] = event[1] = 0;
        f->head = (f->head + 1) % AMDVI_RING_SIZE;
        amdvi_write(u, AMDVI_EVT_HEAD, FIELD_PUT(AMDVI_RING_OFFSET, f->head));
    }
    hv_spin_unlock(&u->lock, flags);
    return found;
}

static void say_lost(struct amdvi_unit *u)
{
    uint64_t now = hv_host_time_ns();

    if (u->faults.lost_at && now - u->faults.lost_at < AMDVI_FAULTS_TIME)
        return;
    u->faults.lost_at = now;
    hv_log(HV_LOG_WARNING, "AMD-Vi unit at 0x%llx: more faults than it could record",
           (unsigned long long)u->acpi->base);
}

/* A unit whose ring was full has stopped: it begins again with an empty one (AMD-IOV 2.5.1). */
static void begin_again(struct amdvi_unit *u)
{
    uint64_t flags = hv_spin_lock(&u->lock), control = amdvi_read(u, AMDVI_CONTROL);

    amdvi_write(u, AMDVI_CONTROL, control & ~AMDVI_CTL_EVENTS);
    amdvi_await(u, AMDVI_STATUS_EVENTS, false);
    u->faults.head = 0;
    amdvi_write(u, AMDVI_EVT_HEAD, 0);
    amdvi_write(u, AMDVI_EVT_TAIL, 0);
    amdvi_write(u, AMDVI_STATUS, AMDVI_STATUS_OVERFLOW);
    amdvi_write(u, AMDVI_CONTROL, control);
    hv_spin_unlock(&u->lock, flags);
    say_lost(u);
}

/* Returns whether there are more already. */
static bool take_all(struct amdvi_unit *u)
{
    uint64_t event[AMDVI_RING_WORDS];
    unsigned taken = 0;

    amdvi_write(u, AMDVI_STATUS, AMDVI_STATUS_EVENT); /* before looking: what comes later is told anew */
    while (taken < TAKE_MAX && take(u, event)) {
        report(u, event[0], event[1]);
        taken++;
    }
    if (amdvi_read(u, AMDVI_STATUS) & AMDVI_STATUS_OVERFLOW)
        begin_again(u);
    return taken == TAKE_MAX;
}

/* -------------------------------------------------------------------------------- interrupts */

/* With the lock. */
static void set_silent(struct amdvi_unit *u, bool silent)
{
    uint64_t control = amdvi_read(u, AMDVI_CONTROL) & ~AMDVI_CTL_EVENT_INT;

    u->faults.is_silent = silent;
    u->faults.since = hv_host_time_ns();
    u->faults.count = 0;
    amdvi_write(u, AMDVI_CONTROL, control | (silent ? 0 : AMDVI_CTL_EVENT_INT));
}

/* Counts an interrupt, and ends them if there are too many. */
static void count_one(struct amdvi_unit *u, bool has_more)
{
    uint64_t flags = hv_spin_lock(&u->lock), now = hv_host_time_ns();
    struct amdvi_faults *f = &u->faults;

    if (now - f->since > AMDVI_FAULTS_TIME) {
        f->since = now;
        f->count = 0;
    }
    if (!f->is_silent && (++f->count > AMDVI_FAULTS_MAX || has_more))
        set_silent(u, true);
    hv_spin_unlock(&u->lock, flags);
}

static void interrupt(void *arg)
{
    struct amdvi_unit *u = arg;

    count_one(u, take_all(u));
}

void amdvi_faults_resume(struct amdvi_unit *u)
{
    bool was_silent;
    uint64_t flags;

    if (!__atomic_load_n(&u->faults.is_silent, __ATOMIC_RELAXED))
        return;
    flags = hv_spin_lock(&u->lock);
    was_silent = u->faults.is_silent && hv_host_time_ns() - u->faults.since > AMDVI_FAULTS_TIME;
    if (was_silent)
        set_silent(u, false);
    hv_spin_unlock(&u->lock, flags);
    if (was_silent)
        take_all(u); /* what came meanwhile has told nobody */
}

void amdvi_poll(void)
{
    for (struct amdvi_unit *u = amdvi.units; u < amdvi.units + amdvi.ivrs.count; u++) {
        if (!u->is_on)
            continue;
        take_all(u);
        amdvi_faults_resume(u);
    }
}

/* --------------------------------------------------------------------------------- on and off */

static bool set_target(struct amdvi_unit *u, uint32_t apic_id)
{
    struct amdvi_faults *f = &u->faults;

    if (!amdvi.remaps || !amdvi.is_x2apic)
        return amdvi_msi_on(&u->acpi->function, apic_id, f->vector, &f->saved);
    f->saved_xt = amdvi_read(u, AMDVI_XT_EVT);
    amdvi_write(u, AMDVI_XT_EVT,
                FIELD_PUT(AMDVI_XT_EVT_DEST, apic_id) | FIELD_PUT(AMDVI_XT_EVT_DEST_UPPER, apic_id >> 24) |
                    FIELD_PUT(AMDVI_XT_EVT_VECTOR, f->vector));
    u->control |= AMDVI_CTL_INT_XT;
    return true;
}

enum hv_status amdvi_faults_on(struct amdvi_unit *u)
{
    struct amdvi_faults *f = &u->faults;

    if (amdvi_table_make(&f->ring, RING_PAGES) != HV_OK)
        return HV_E_NO_MEMORY;
    u->control |= AMDVI_CTL_EVENTS;
    f->vector = hv_host_irq_alloc(interrupt, u);
    if (f->vector && set_target(u, hv_host_apic_id(0))) {
        u->control |= AMDVI_CTL_EVENT_INT;
        return HV_OK;
    }
    hv_log(HV_LOG_WARNING, "AMD-Vi unit at 0x%llx: it can send no interrupts for its faults, which are told late",
           (unsigned long long)u->acpi->base);
    return HV_OK;
}

void amdvi_faults_quiet(struct amdvi_unit *u)
{
    uint64_t flags = hv_spin_lock(&u->lock);

    amdvi_write(u, AMDVI_CONTROL, amdvi_read(u, AMDVI_CONTROL) & ~AMDVI_CTL_EVENT_INT);
    hv_spin_unlock(&u->lock, flags);
    if (u->faults.vector)
        hv_host_irq_free(u->faults.vector);
    u->faults.vector = 0;
}

void amdvi_faults_off(struct amdvi_unit *u)
{
    struct amdvi_faults *f = &u->faults;

    if (u->control & AMDVI_CTL_INT_XT)
        amdvi_write(u, AMDVI_XT_EVT, f->saved_xt);
    amdvi_msi_off(&u->acpi->function, &f->saved);
    amdvi_table_free(&f->ring, RING_PAGES);
    *f = (struct amdvi_faults){0};
}
