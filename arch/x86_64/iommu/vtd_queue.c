/* SPDX-License-Identifier: MIT */
/*
 * VT-d's invalidation queue (VT-d 6.5.2). A request is followed by a wait descriptor, whose data the unit writes to
 * memory when it has done all before it; the caller waits for that, so the queue is empty whenever the lock is free.
 */
#include "vtd.h"
#include <hv/base/log.h>

#define RING_WORDS   2ull
#define RING_ENTRIES 256u /* one page of 128-bit descriptors: the least that there is */
#define RING_OFFSET  BITS64(11, 4)
#define RING_STEP    16u

#define DRAIN(cap) (((cap)&VTD_CAP_DRD ? VTD_INV_DR : 0) | ((cap)&VTD_CAP_DWD ? VTD_INV_DW : 0))

enum outcome { DONE, REFUSED, STUCK };

static void put(struct vtd_queue *q, uint64_t low, uint64_t high)
{
    uint64_t *entry = &q->ring.words[q->tail * RING_WORDS];

    entry[0] = low;
    entry[1] = high;
    vtd_written(entry, RING_STEP);
    q->tail = (q->tail + 1) % RING_ENTRIES;
}

static uint64_t wait_low(uint32_t data)
{
    return VTD_INV_WAIT | VTD_INV_WAIT_SW | FIELD_PUT(VTD_INV_WAIT_DATA, data);
}

/*
 * The unit has stopped at a descriptor that it takes for an invalid one. It is exchanged for a harmless one, so that
 * the queue goes on (VT-d 6.5.2.11); the caller then asks for more in its place.
 */
static void step_over(struct vtd_unit *u)
{
    struct vtd_queue *q = &u->queue;
    uint64_t *entry = &q->ring.words[FIELD_GET(RING_OFFSET, vtd_read64(u, VTD_IQH)) * RING_WORDS];

    hv_log(HV_LOG_WARNING, "VT-d unit at 0x%llx: refuses the invalidation %llx %llx", (unsigned long long)u->acpi->base,
           (unsigned long long)entry[0], (unsigned long long)entry[1]);
    entry[0] = wait_low(0);
    entry[1] = q->status.pa;
    vtd_written(entry, RING_STEP);
    vtd_write32(u, VTD_FSTS, VTD_FSTS_IQE);
}

static enum outcome await(struct vtd_unit *u)
{
    const volatile uint32_t *status = (const volatile uint32_t *)u->queue.status.words;
    uint64_t deadline = hv_host_time_ns() + VTD_TIMEOUT_NS;
    enum outcome outcome = DONE;

    while (__atomic_load_n(status, __ATOMIC_ACQUIRE) != u->queue.ticket) {
        if (vtd_read32(u, VTD_FSTS) & VTD_FSTS_IQE) {
            outcome = REFUSED;
            step_over(u);
        }
        if (hv_host_time_ns() > deadline)
            return STUCK;
        __builtin_ia32_pause();
    }
    return outcome;
}

/* With the lock. */
static enum outcome run(struct vtd_unit *u, const struct vtd_request *requests, uint32_t count)
{
    struct vtd_queue *q = &u->queue;

    for (uint32_t i = 0; i < count; i++)
        put(q, requests[i].low, requests[i].high);
    if (++q->ticket == 0) /* what step_over's descriptor writes */
        q->ticket = 1;
    put(q, wait_low(q->ticket), q->status.pa);
    vtd_write64(u, VTD_IQT, FIELD_PUT(RING_OFFSET, q->tail));
    return await(u);
}

/* With the lock. */
static enum outcome run_all(struct vtd_unit *u)
{
    const struct vtd_request all[] = {
        {VTD_INV_CONTEXT | FIELD_PUT(VTD_INV_G, VTD_INV_G_GLOBAL), 0},
        {VTD_INV_IOTLB | FIELD_PUT(VTD_INV_G, VTD_INV_G_GLOBAL) | DRAIN(u->cap), 0},
        {VTD_INV_IEC, 0},
    };

    return run(u, all, u->ecap & VTD_ECAP_IR ? 3 : 2);
}

bool vtd_queue_run(struct vtd_unit *u, const struct vtd_request *requests, uint32_t count)
{
    uint64_t flags = hv_spin_lock(&u->lock);
    enum outcome outcome = run(u, requests, count);

    if (outcome == REFUSED)
        outcome = run_all(u);
    hv_spin_unlock(&u->lock, flags);
    if (outcome != DONE)
        hv_log(HV_LOG_ERROR, "VT-d unit at 0x%llx: does not complete invalidations", (unsigned long long)u->acpi->base);
    return outcome == DONE;
}

void vtd_invalidate(struct vtd_unit *u, const struct vtd_request *requests, uint32_t count)
{
    if (!vtd_queue_run(u, requests, count))
        hv_host_panic("VT-d: devices can not be kept off memory that was taken from them");
}

bool vtd_invalidate_all(struct vtd_unit *u)
{
    uint64_t flags = hv_spin_lock(&u->lock);
    enum outcome outcome = run_all(u);

    hv_spin_unlock(&u->lock, flags);
    return outcome == DONE;
}

/* --------------------------------------------------------------------------------- on and off */

/* Somebody may have left it on, with nothing in it. */
static bool stop(struct vtd_unit *u)
{
    return !(vtd_read32(u, VTD_GSTS) & VTD_GCMD_QIE) || vtd_command(u, VTD_GCMD_QIE, false);
}

enum hv_status vtd_queue_on(struct vtd_unit *u)
{
    struct vtd_queue *q = &u->queue;

    if (vtd_table_make(&q->ring, 1) != HV_OK || vtd_table_make(&q->status, 1) != HV_OK)
        return HV_E_NO_MEMORY;
    if (!stop(u))
        return HV_E_NOT_PRESENT;
    q->tail = q->ticket = 0;
    vtd_write32(u, VTD_FSTS, VTD_FSTS_QUEUE);
    vtd_write64(u, VTD_IQT, 0);
    vtd_write64(u, VTD_IQA, q->ring.pa | VTD_IQA_256);
    return vtd_command(u, VTD_GCMD_QIE, true) ? HV_OK : HV_E_NOT_PRESENT;
}

void vtd_queue_off(struct vtd_unit *u)
{
    if (u->queue.ring.words && u->regs)
        stop(u);
    vtd_table_free(&u->queue.ring, 1);
    vtd_table_free(&u->queue.status, 1);
}
