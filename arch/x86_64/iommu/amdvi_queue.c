/* SPDX-License-Identifier: MIT */
/*
 * AMD-Vi's command buffer (AMD-IOV 2.4). Commands are followed by a completion wait, whose data the unit writes to
 * memory when it has done all before it; the caller waits for that, so the buffer is empty whenever the lock is free.
 */
#include "amdvi.h"
#include <hv/base/log.h>

#define RING_PAGES 1u
#define BATCH      64u /* commands before a wait, where there are many */

enum outcome { DONE, REFUSED, STUCK };

static void put(struct amdvi_queue *q, uint64_t low, uint64_t high)
{
    uint64_t *entry = &q->ring.words[q->tail * AMDVI_RING_WORDS];

    entry[0] = low;
    entry[1] = high;
    q->tail = (q->tail + 1) % AMDVI_RING_SIZE;
}

static void ring_doorbell(struct amdvi_unit *u)
{
    amdvi_write(u, AMDVI_CMD_TAIL, FIELD_PUT(AMDVI_RING_OFFSET, u->queue.tail));
}

/* A unit stops at a command that it takes for an illegal one, or can not read (AMD-IOV 2.5.6, 2.5.7). */
static enum outcome await(struct amdvi_unit *u)
{
    uint64_t deadline = hv_host_time_ns() + AMDVI_TIMEOUT_NS;

    while (__atomic_load_n(&u->queue.status.words[0], __ATOMIC_ACQUIRE) != u->queue.ticket) {
        if (!(amdvi_read(u, AMDVI_STATUS) & AMDVI_STATUS_COMMANDS))
            return REFUSED;
        if (hv_host_time_ns() > deadline)
            return STUCK;
        __builtin_ia32_pause();
    }
    return DONE;
}

/* With the lock. */
static enum outcome run(struct amdvi_unit *u, const struct amdvi_command *commands, uint32_t count)
{
    struct amdvi_queue *q = &u->queue;

    for (uint32_t i = 0; i < count; i++)
        put(q, commands[i].low, commands[i].high);
    put(q, FIELD_PUT(AMDVI_CMD_CODE, AMDVI_CMD_WAIT) | AMDVI_WAIT_STORE | q->status.pa, ++q->ticket);
    ring_doorbell(u);
    return await(u);
}

/* With the lock. Begins again with an empty buffer. */
static bool restart(struct amdvi_unit *u)
{
    uint64_t control = amdvi_read(u, AMDVI_CONTROL);

    hv_log(HV_LOG_WARNING, "AMD-Vi unit at 0x%llx: stopped at a command", (unsigned long long)u->acpi->base);
    amdvi_write(u, AMDVI_CONTROL, control & ~AMDVI_CTL_COMMANDS);
    if (!amdvi_await(u, AMDVI_STATUS_COMMANDS, false))
        return false;
    u->queue.tail = 0;
    amdvi_write(u, AMDVI_CMD_HEAD, 0);
    amdvi_write(u, AMDVI_CMD_TAIL, 0);
    amdvi_write(u, AMDVI_CONTROL, control);
    return amdvi_await(u, AMDVI_STATUS_COMMANDS, true);
}

/* With the lock. The command for each number below a limit. */
static enum outcome run_each(struct amdvi_unit *u, uint64_t low, uint64_t field, uint64_t high, uint32_t limit)
{
    struct amdvi_command batch[BATCH];
    enum outcome outcome = DONE;

    for (uint32_t n = 0; n < limit && outcome == DONE;) {
        uint32_t count = 0;

        for (; count < BATCH && n < limit; n++)
            batch[count++] = (struct amdvi_command){low | FIELD_PUT(field, n), high};
        outcome = run(u, batch, count);
    }
    return outcome;
}

/* With the lock. One by one, where a unit has no command for all at once. */
static enum outcome run_all(struct amdvi_unit *u)
{
    const struct amdvi_command all = {FIELD_PUT(AMDVI_CMD_CODE, AMDVI_INV_ALL), 0};
    enum outcome outcome;

    if (u->features & AMDVI_EFR_IA)
        return run(u, &all, 1);
    outcome =
        run_each(u, FIELD_PUT(AMDVI_CMD_CODE, AMDVI_INV_DEVICE), AMDVI_CMD_DEVICE, 0, (uint32_t)AMDVI_CMD_DEVICE + 1);
    if (outcome == DONE)
        outcome = run_each(u, FIELD_PUT(AMDVI_CMD_CODE, AMDVI_INV_INTERRUPTS), AMDVI_CMD_DEVICE, 0,
                           (uint32_t)AMDVI_CMD_DEVICE + 1);
    if (outcome == DONE)
        outcome = run_each(u, FIELD_PUT(AMDVI_CMD_CODE, AMDVI_INV_PAGES), AMDVI_CMD_DOMAIN, AMDVI_INV_EVERYTHING,
                           (uint32_t)AMDVI_DTE_DOMAIN + 1);
    return outcome;
}

static bool check(struct amdvi_unit *u, enum outcome outcome)
{
    if (outcome != DONE)
        hv_log(HV_LOG_ERROR, "AMD-Vi unit at 0x%llx: does not complete invalidations",
               (unsigned long long)u->acpi->base);
    return outcome == DONE;
}

bool amdvi_invalidate_all(struct amdvi_unit *u)
{
    uint64_t flags = hv_spin_lock(&u->lock);
    enum outcome outcome = run_all(u);

    hv_spin_unlock(&u->lock, flags);
    return check(u, outcome);
}

void amdvi_invalidate(struct amdvi_unit *u, const struct amdvi_command *commands, uint32_t count)
{
    uint64_t flags = hv_spin_lock(&u->lock);
    enum outcome outcome = run(u, commands, count);

    if (outcome == REFUSED && restart(u))
        outcome = run_all(u);
    hv_spin_unlock(&u->lock, flags);
    if (!check(u, outcome))
        hv_host_panic("AMD-Vi: devices can not be kept off memory that was taken from them");
}

/* --------------------------------------------------------------------------------- on and off */

enum hv_status amdvi_queue_on(struct amdvi_unit *u)
{
    struct amdvi_queue *q = &u->queue;

    if (amdvi_table_make(&q->ring, RING_PAGES) != HV_OK || amdvi_table_make(&q->status, RING_PAGES) != HV_OK)
        return HV_E_NO_MEMORY;
    q->tail = 0;
    q->ticket = 0;
    return HV_OK;
}

void amdvi_queue_off(struct amdvi_unit *u)
{
    amdvi_table_free(&u->queue.ring, RING_PAGES);
    amdvi_table_free(&u->queue.status, RING_PAGES);
}
