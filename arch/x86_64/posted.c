/* SPDX-License-Identifier: MIT */
/*
 * Posted interrupts: whom a descriptor's notifications go to, and when (SDM 3C 30.6, VT-d 5.2, 9.11).
 *
 * Whoever posts sets the vector's bit in `requests` and then, unless ON or SN is set, sets ON and sends the vector NV
 * to the APIC NDST; hardware does all of this in one atomic step. ON keeps it from sending again until somebody has
 * looked. A VP is in one of three states, which its owner changes:
 *
 * Stopped: SN. Nothing is sent; what is posted waits in `requests`. Whether the VP is preempted, its client handles an
 * exit, or nobody runs it, there is nobody to tell: who runs it next looks.
 *
 * Runs: NV is one vector for all VPs, NDST the CPU. A CPU that is inside the VP takes the notification by itself: it
 * clears ON, and moves the requests into the VP's local APIC, without an exit. One that is outside, between two
 * entries, holds it back until the next entry, which takes it in the same way; or, when interrupts are on, the host's
 * handler gets it, which is on_notification: it has the VP's owner take the requests before the next entry. So it is
 * also where the CPU does not deliver by itself, for the VP's APIC is off, or the core delivers: then the notification
 * ends the run as any interrupt of the host's does.
 *
 * Waits: NV is another vector, NDST a CPU with a list of VPs that wait. The handler wakes all in it that have ON.
 *
 * Why none is lost: the way into the latter two states clears SN and ON in one atomic step, and then reads `requests`.
 * What was posted before that step is seen there, though nobody was notified or the notification went to where the VP
 * was before. What is posted after it finds neither bit, and notifies by NV and NDST as they are now; the list was
 * joined, and `running` set, before the step. Whoever takes requests clears ON first and reads them then: a request
 * that it does not see any more finds ON clear, and notifies. And who leaves a state sets SN before it leaves the list.
 *
 * Notifications that come late, for a VP that has left the state or the CPU by then, are harmless: the handlers find
 * nobody, or somebody else, who looks in vain. Such a CPU inside another VP takes that one's requests.
 *
 * Why none comes twice: requests are exchanged for 0.
 *
 * URG, which notifies though SN is set, is never used: no interrupt of a guest's is worth one of the host's.
 */
#include <arch/backend.h>
#include <arch/bits/msr.h>
#include <arch/cpu.h>
#include <hv/base/assert.h>
#include <hv/base/log.h>

/* The host's vectors, while there is a descriptor. Changed under the mutex. */
static struct {
    struct hv_mutex mutex;
    uint32_t users;
    uint32_t running, waiting;
    bool is_x2apic;
} host;

/* ------------------------------------------------------------------------------- notifications */

/* This CPU runs a VP, outside of it at the moment. */
static void on_notification(void *arg)
{
    struct posted *p = backend_cpu()->posted.running;

    (void)arg;
    if (p)
        p->notify(p->arg);
}

static void on_wake_up(void *arg)
{
    struct posted_cpu *cpu = &backend_cpu()->posted;
    uint64_t flags = hv_spin_lock(&cpu->lock);

    (void)arg;
    for (struct posted *p = cpu->waiting; p; p = p->next)
        if (__atomic_load_n(&p->control, __ATOMIC_ACQUIRE) & POSTED_ON)
            p->notify(p->arg);
    hv_spin_unlock(&cpu->lock, flags);
}

static void free_vectors(void)
{
    if (host.running)
        hv_host_irq_free(host.running);
    if (host.waiting)
        hv_host_irq_free(host.waiting);
    host.running = host.waiting = 0;
}

static bool get_vectors(void)
{
    bool ok;

    hv_mutex_lock(&host.mutex);
    if (!host.users) {
        host.running = hv_host_irq_alloc(on_notification, NULL);
        host.waiting = hv_host_irq_alloc(on_wake_up, NULL);
        host.is_x2apic = cpu_read_msr(MSR_IA32_APIC_BASE) & APIC_BASE_EXTD;
    }
    ok = host.running && host.waiting && host.running <= UINT8_MAX && host.waiting <= UINT8_MAX;
    if (ok)
        host.users++;
    else
        free_vectors();
    hv_mutex_unlock(&host.mutex);
    return ok;
}

static void put_vectors(void)
{
    hv_mutex_lock(&host.mutex);
    if (--host.users == 0)
        free_vectors();
    hv_mutex_unlock(&host.mutex);
}

uint8_t posted_vector(void)
{
    return (uint8_t)host.running;
}

/* ---------------------------------------------------------------------------------------- life */

struct posted *posted_create(void (*notify)(void *arg), void *arg)
{
    struct posted *p;

    if (!get_vectors()) {
        hv_log(HV_LOG_WARNING,
               "no vectors of the host's are left for notifications: a VP goes without posted interrupts");
        return NULL;
    }
    p = hv_host_page_alloc();
    if (!p) {
        put_vectors();
        return NULL;
    }
    p->pa = hv_host_virt_to_phys(p, NULL);
    p->notify = notify;
    p->arg = arg;
    p->control = POSTED_SN;
    p->cpu = HV_CPU_NONE;
    return p;
}

void posted_destroy(struct posted *p)
{
    HV_ASSERT(p->cpu == HV_CPU_NONE && p->control & POSTED_SN);
    hv_host_page_free(p);
    put_vectors();
}

/* -------------------------------------------------------------------------------------- states */

static uint64_t destination(uint32_t cpu)
{
    uint32_t id = hv_host_apic_id(cpu);

    return host.is_x2apic ? FIELD_PUT(POSTED_NDST, id) : FIELD_PUT(POSTED_XAPIC, id);
}

/* True: something was posted before. */
static bool notify_here(struct posted *p, uint32_t vector, uint32_t cpu)
{
    __atomic_exchange_n(&p->control, FIELD_PUT(POSTED_NV, vector) | destination(cpu), __ATOMIC_SEQ_CST);
    return !posted_is_empty(p);
}

bool posted_run(struct posted *p)
{
    struct backend_cpu *cpu = backend_cpu();

    cpu->posted.running = p;
    return notify_here(p, host.running, cpu->id);
}

static void join(struct posted *p, struct backend_cpu *cpu)
{
    uint64_t flags = hv_spin_lock(&cpu->posted.lock);

    p->cpu = cpu->id;
    p->place = &cpu->posted.waiting;
    p->next = *p->place;
    if (p->next)
        p->next->place = &p->next;
    *p->place = p;
    hv_spin_unlock(&cpu->posted.lock, flags);
}

static void leave(struct posted *p)
{
    struct posted_cpu *cpu = &backend_cpu_of(p->cpu)->posted;
    uint64_t flags = hv_spin_lock(&cpu->lock);

    *p->place = p->next;
    if (p->next)
        p->next->place = p->place;
    p->cpu = HV_CPU_NONE;
    hv_spin_unlock(&cpu->lock, flags);
}

/* Any CPU may do the waking: this one has the VP's thread. */
bool posted_wait(struct posted *p)
{
    struct backend_cpu *cpu;
    bool was_posted;

    hv_host_preempt_disable();
    cpu = backend_cpu();
    join(p, cpu);
    was_posted = notify_here(p, host.waiting, cpu->id);
    hv_host_preempt_enable();
    return was_posted;
}

void posted_stop(struct posted *p)
{
    __atomic_fetch_or(&p->control, POSTED_SN, __ATOMIC_SEQ_CST);
    if (p->cpu != HV_CPU_NONE)
        leave(p);
    else
        backend_cpu()->posted.running = NULL;
}

/* ------------------------------------------------------------------------------------- requests */

bool posted_is_empty(const struct posted *p)
{
    uint64_t any = 0;

    for (unsigned i = 0; i < POSTED_WORDS; i++)
        any |= __atomic_load_n(&p->requests[i], __ATOMIC_SEQ_CST);
    return !any;
}

bool posted_take(struct posted *p, uint64_t vectors[POSTED_WORDS])
{
    uint64_t any = 0;

    __atomic_fetch_and(&p->control, ~POSTED_ON, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < POSTED_WORDS; i++) {
        vectors[i] = __atomic_load_n(&p->requests[i], __ATOMIC_RELAXED);
        if (vectors[i])
            vectors[i] = __atomic_exchange_n(&p->requests[i], 0, __ATOMIC_SEQ_CST);
        any |= vectors[i];
    }
    return any;
}
