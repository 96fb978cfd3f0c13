/* SPDX-License-Identifier: MIT */
/* The partition's time: see time.h. */
#include "time.h"
#include <hv/base/memory.h>

typedef unsigned __int128 u128;

/* ------------------------------------------------------------------------------------ the clock */

/*
 * Readers of the clock do not lock: they read it again when its version shows that it was being changed. Resuming and
 * moving a TSC happen while other VPs read; all else with all VPs claimed.
 */
static struct clock look(const struct hv_partition *p)
{
    const uint64_t *from = (const uint64_t *)&p->time.clock;
    uint64_t to[sizeof(struct clock) / sizeof(uint64_t)];
    struct clock clock;
    uint32_t version;

    do {
        version = __atomic_load_n(&p->time.version, __ATOMIC_ACQUIRE);
        for (size_t i = 0; i < ARRAY_COUNT(to); i++)
            to[i] = __atomic_load_n(&from[i], __ATOMIC_RELAXED);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
    } while (version & 1 || version != __atomic_load_n(&p->time.version, __ATOMIC_RELAXED));
    memcpy(&clock, to, sizeof(clock));
    return clock;
}

static void change(struct hv_partition *p, const struct clock *clock)
{
    uint64_t from[sizeof(struct clock) / sizeof(uint64_t)], *to = (uint64_t *)&p->time.clock;

    memcpy(from, clock, sizeof(from));
    __atomic_store_n(&p->time.version, p->time.version + 1, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    for (size_t i = ARRAY_COUNT(from); i--;) /* is_suspended last: a run that does not see it set sees all the rest */
        __atomic_store_n(&to[i], from[i], __ATOMIC_RELEASE);
    __atomic_store_n(&p->time.version, p->time.version + 1, __ATOMIC_RELEASE);
}

/* The machine's TSC is read on a CPU. Also in runs that are not pinned: where a pin ends the host may schedule. */
static uint64_t machine_ticks(void)
{
    uint64_t flags = hv_host_irq_save(), ticks = tsc_now();

    hv_host_irq_restore(flags);
    return ticks;
}

static uint64_t ticks_of(const struct clock *c)
{
    return c->is_suspended ? c->stopped_ticks : machine_ticks() - c->tsc_zero;
}

static uint64_t ns_of(const struct clock *c)
{
    return c->is_suspended ? c->stopped_ns : hv_host_time_ns() - c->host_zero;
}

uint64_t time_ns(const struct hv_partition *p)
{
    struct clock c = look(p);

    return ns_of(&c);
}

/* ---------------------------------------------------------------------------- the reference time */

static uint64_t formula(const struct hv_partition *p, const struct clock *c, uint64_t guest_tsc)
{
    return (uint64_t)((u128)guest_tsc * p->time.scale >> 64) + c->reference_offset;
}

static uint64_t reference_of(const struct hv_partition *p, const struct clock *c)
{
    return formula(p, c, ticks_of(c) + c->tsc_shift);
}

uint64_t time_reference(const struct hv_partition *p)
{
    struct clock c = look(p);

    return reference_of(p, &c);
}

uint64_t time_elapsed(const struct hv_partition *p)
{
    struct clock c = look(p);

    return reference_of(p, &c) - c.reference_base;
}

static uint64_t guest_tsc_of(const struct hv_vp *vp, const struct clock *c)
{
    return ticks_of(c) + vp->tsc_zero_seen + vp->vcpu->tsc_offset;
}

uint64_t time_vp_reference(struct hv_vp *vp)
{
    struct clock c = look(vp->partition);

    return c.is_apart ? reference_of(vp->partition, &c) : formula(vp->partition, &c, guest_tsc_of(vp, &c));
}

/* ----------------------------------------------------------------------- the reference TSC page */

struct tsc_page { /* HV_REFERENCE_TSC_PAGE */
    volatile uint32_t sequence;
    uint32_t reserved;
    volatile uint64_t scale, offset;
};

#define TSC_PAGE_INVALID 0u

/* All ones once meant the same as 0. */
static uint32_t next_sequence(uint32_t sequence)
{
    return sequence >= UINT32_MAX - 1 ? 1 : sequence + 1;
}

/* Guests read the sequence before and after the rest. */
static void write_tsc_page(struct hv_partition *p, const struct clock *c)
{
    struct tsc_page *page = p->guest.tsc_page;

    if (!page)
        return;
    __atomic_store_n(&page->sequence, TSC_PAGE_INVALID, __ATOMIC_SEQ_CST);
    __atomic_store_n(&page->scale, p->time.scale, __ATOMIC_RELEASE);
    __atomic_store_n(&page->offset, c->reference_offset, __ATOMIC_RELEASE);
    if (c->is_apart)
        return;
    p->time.tsc_page_sequence = next_sequence(p->time.tsc_page_sequence);
    __atomic_store_n(&page->sequence, p->time.tsc_page_sequence, __ATOMIC_SEQ_CST);
}

/* ---------------------------------------------------------------------------------- VPs in step */

static bool is_there(const struct hv_vp *vp)
{
    uint32_t references = vp ? __atomic_load_n(&vp->shared.references, __ATOMIC_ACQUIRE) : 0;

    return references && !(references & VP_DYING);
}

/* Are all TSCs ahead of the partition's time by the same? */
static bool find_shift(const struct hv_partition *p, uint64_t *shift)
{
    bool found = false;

    for (uint32_t i = 0; i < p->properties.processor_count; i++) {
        const struct hv_vp *vp = __atomic_load_n(&p->vps[i], __ATOMIC_ACQUIRE);
        uint64_t own;

        if (!is_there(vp))
            continue;
        own = __atomic_load_n(&vp->tsc_shift, __ATOMIC_RELAXED);
        if (found && own != *shift)
            return false;
        *shift = own;
        found = true;
    }
    return true;
}

/*
 * Does the formula hold for guests? It goes on from where it is, with TSCs that are now ahead by another shift; but
 * not for one that is going to begin again with 0.
 */
static void find_formula(const struct hv_partition *p, struct clock *c)
{
    uint64_t shift = 0, now = ticks_of(c), reference = formula(p, c, now + c->tsc_shift);

    c->is_apart = !find_shift(p, &shift) || (now + shift) >> 63;
    if (c->is_apart || shift == c->tsc_shift)
        return;
    c->tsc_shift = shift;
    c->reference_offset += reference - formula(p, c, now + shift);
}

void time_vps_changed(struct hv_partition *p)
{
    uint64_t flags = hv_spin_lock(&p->time.lock);
    struct clock c = p->time.clock, old = c;

    find_formula(p, &c);
    if (c.is_apart != old.is_apart || c.tsc_shift != old.tsc_shift) {
        change(p, &c);
        write_tsc_page(p, &c);
    }
    hv_spin_unlock(&p->time.lock, flags);
}

/* -------------------------------------------------------------------------------- guests' TSCs */

void time_vp_reset(struct hv_vp *vp)
{
    vp->tsc_zero_seen = vp->partition->time.clock.tsc_zero;
    vp->vcpu->tsc_offset = 0 - vp->tsc_zero_seen;
    vp->time_stale = true; /* it may be suspended */
    __atomic_store_n(&vp->tsc_shift, 0, __ATOMIC_RELAXED);
}

uint64_t time_guest_tsc(const struct hv_vp *vp)
{
    struct clock c = look(vp->partition);

    return guest_tsc_of(vp, &c);
}

static void tsc_moved(struct hv_vp *vp, uint64_t shift)
{
    __atomic_store_n(&vp->tsc_shift, shift, __ATOMIC_RELAXED);
    vcpu_changed(vp->vcpu, VCPU_TSC);
    vp->todo |= VP_TODO_TIMER; /* a deadline of the local APIC's is one of this TSC */
    time_vps_changed(vp->partition);
}

void time_set_guest_tsc(struct hv_vp *vp, uint64_t tsc)
{
    struct clock c = look(vp->partition);
    uint64_t shift = tsc - ticks_of(&c);

    vp->vcpu->tsc_offset = shift - vp->tsc_zero_seen;
    tsc_moved(vp, shift);
}

uint64_t time_tsc_offset(const struct hv_vp *vp)
{
    return vp->vcpu->tsc_offset + vp->tsc_zero_seen - look(vp->partition).tsc_zero;
}

void time_move_guest_tsc(struct hv_vp *vp, uint64_t by)
{
    vp->vcpu->tsc_offset += by;
    tsc_moved(vp, vp->tsc_shift + by);
}

/* -------------------------------------------------------------------- suspending and resuming */

/* Both clocks at one moment, as nearly as can be. */
static void stop_at_now(struct clock *c)
{
    c->stopped_ticks = ticks_of(c);
    c->stopped_ns = ns_of(c);
    c->is_suspended = true;
}

/* All VPs claimed. Each of them has to see when it went on again. */
static void suspend(struct hv_partition *p)
{
    uint64_t flags = hv_spin_lock(&p->time.lock);
    struct clock c = p->time.clock;

    stop_at_now(&c);
    change(p, &c);
    hv_spin_unlock(&p->time.lock, flags);
    for (uint32_t i = 0; i < p->properties.processor_count; i++)
        if (p->vps[i])
            p->vps[i]->time_stale = true;
}

/* TSCs and the reference time go on together: the formula stays as it is. */
static void resume(struct hv_partition *p)
{
    uint64_t flags = hv_spin_lock(&p->time.lock);
    struct clock c = p->time.clock;

    c.tsc_zero = machine_ticks() - c.stopped_ticks;
    c.host_zero = hv_host_time_ns() - c.stopped_ns;
    c.is_suspended = false;
    change(p, &c);
    hv_spin_unlock(&p->time.lock, flags);
}

static enum hv_status suspend_locked(struct hv_partition *p)
{
    if (!p->is_set_up)
        return HV_E_STATE;
    if (p->time.clock.is_suspended) /* clients do it once for each VP */
        return HV_OK;
    if (!partition_claim_all(p))
        return HV_E_VP_BUSY;
    suspend(p);
    partition_release_all(p);
    return HV_OK;
}

enum hv_status hv_partition_suspend_time(struct hv_partition *p)
{
    enum hv_status st;

    hv_mutex_lock(&p->mutex);
    st = suspend_locked(p);
    hv_mutex_unlock(&p->mutex);
    return st;
}

enum hv_status hv_partition_resume_time(struct hv_partition *p)
{
    enum hv_status st = HV_E_STATE;

    hv_mutex_lock(&p->mutex);
    if (p->is_set_up && p->time.clock.is_suspended) {
        resume(p);
        st = HV_OK;
    }
    hv_mutex_unlock(&p->mutex);
    return st;
}

void time_enter(struct hv_vp *vp)
{
    struct hv_partition *p = vp->partition;
    uint64_t zero;

    hv_mutex_lock(&p->mutex); /* of several VPs the first one resumes */
    if (p->time.clock.is_suspended)
        resume(p);
    hv_mutex_unlock(&p->mutex);
    vp->time_stale = false;
    zero = look(p).tsc_zero;
    if (zero == vp->tsc_zero_seen)
        return;
    vp->vcpu->tsc_offset -= zero - vp->tsc_zero_seen;
    vp->tsc_zero_seen = zero;
    vcpu_changed(vp->vcpu, VCPU_TSC);
    vp->todo |= VP_TODO_TIMER;
}

/* ------------------------------------------------------------------------- the partition's life */

void time_set_reference(struct hv_partition *p, uint64_t reference)
{
    uint64_t flags = hv_spin_lock(&p->time.lock), by;
    struct clock c = p->time.clock;

    by = reference - reference_of(p, &c);
    c.reference_base += by;
    c.reference_offset += by;
    change(p, &c);
    write_tsc_page(p, &c);
    hv_spin_unlock(&p->time.lock, flags);
}

#define UNITS_PER_S 10000000u

/* 0.64, by long division. */
static uint64_t scale_of(uint64_t hz)
{
    uint64_t rest = UNITS_PER_S % hz, scale = 0;

    for (unsigned i = 0; i < 64; i++) {
        bool bit = rest >= hz - rest;

        rest = bit ? rest - (hz - rest) : rest * 2;
        scale = scale << 1 | bit;
    }
    return scale;
}

/* The client may have set the reference time before: then it begins with that. */
static void restart(struct hv_partition *p, uint64_t reference, bool is_suspended)
{
    uint64_t flags = hv_spin_lock(&p->time.lock);
    struct clock c = {.host_zero = hv_host_time_ns(),
                      .tsc_zero = machine_ticks(),
                      .is_suspended = is_suspended,
                      .reference_base = reference,
                      .reference_offset = reference};

    change(p, &c);
    write_tsc_page(p, &c);
    hv_spin_unlock(&p->time.lock, flags);
}

void time_init(struct hv_partition *p)
{
    p->time.clock.is_suspended = true;
}

enum hv_status time_start(struct hv_partition *p)
{
    if (cpu_facts()->tsc_hz <= UNITS_PER_S) /* the formula's scale is below 1 */
        return HV_E_UNSUPPORTED;
    if (p->properties.synthetic_features & HV_SYNTH_REFERENCE_TSC) {
        p->guest.tsc_page = hv_host_page_alloc();
        if (!p->guest.tsc_page)
            return HV_E_NO_MEMORY;
    }
    p->time.scale = scale_of(cpu_facts()->tsc_hz);
    restart(p, p->time.clock.reference_base, false);
    return HV_OK;
}

void time_reset(struct hv_partition *p)
{
    __atomic_store_n(&p->guest.reference_tsc, 0, __ATOMIC_RELAXED);
    restart(p, 0, true);
}

void time_end(struct hv_partition *p)
{
    if (p->guest.tsc_page)
        hv_host_page_free(p->guest.tsc_page);
    p->guest.tsc_page = NULL;
}

/* --------------------------------------------------------------------------------- MSRs, 12.6 */

bool time_read_count(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value)
{
    (void)index, (void)by;
    *value = time_vp_reference(vp);
    return true;
}

bool time_read_tsc_page(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value)
{
    (void)index, (void)by;
    *value = __atomic_load_n(&vp->partition->guest.reference_tsc, __ATOMIC_RELAXED);
    return true;
}

/* Reserved bits are kept. */
bool time_write_tsc_page(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t value)
{
    struct hv_partition *p = vp->partition;

    (void)index, (void)by;
    if (value & HV_PAGE_ENABLE && !synthetic_page_is_valid(p, value))
        return false;
    __atomic_store_n(&p->guest.reference_tsc, value, __ATOMIC_RELAXED);
    vp->overlays_stale = true;
    return true;
}

/* What the guest reads, unless it has written there itself. */
bool time_read_tsc_sequence(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value)
{
    struct hv_partition *p = vp->partition;
    uint64_t flags = hv_spin_lock(&p->time.lock);

    (void)index, (void)by;
    *value = p->time.clock.is_apart ? TSC_PAGE_INVALID : p->time.tsc_page_sequence;
    hv_spin_unlock(&p->time.lock, flags);
    return true;
}

/* For a guest that is brought here and has read another one's page: TSC_PAGE_INVALID is for the core to say. */
bool time_write_tsc_sequence(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t value)
{
    struct hv_partition *p = vp->partition;
    uint64_t flags;

    (void)index, (void)by;
    if (value >= UINT32_MAX)
        return false;
    if (value == TSC_PAGE_INVALID)
        return true;
    flags = hv_spin_lock(&p->time.lock);
    p->time.tsc_page_sequence = (uint32_t)value - 1;
    write_tsc_page(p, &p->time.clock);
    hv_spin_unlock(&p->time.lock, flags);
    return true;
}
