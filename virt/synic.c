/* SPDX-License-Identifier: MIT */
/*
 * The synthetic interrupt controller: see synic.h.
 *
 * The guest frees a slot by making its type 0, and then looks at the slot's MESSAGE_PENDING: only if that is set does
 * it say so, by EOM. Who finds the slot taken sets the flag and then looks at the type once more: one of the two sees
 * the other. That somebody waits is kept in `waiting` too, since the next message may be there before the guest has
 * looked at the flag, and has to have it in its turn.
 */
#include "synic.h"
#include "irq.h"
#include "stimer.h"
#include <hv/base/memory.h>

#define ALL_SINTS  BITS32(HV_SYNIC_SINTS - 1, 0)
#define SINT_BITS  (HV_SINT_VECTOR | HV_SINT_MASKED | HV_SINT_AUTO_EOI | HV_SINT_POLLING)
#define MIN_VECTOR 16u

static uint64_t load(const volatile uint64_t *word)
{
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static void store(volatile uint64_t *word, uint64_t value)
{
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

/* ------------------------------------------------------------------------------------ SINTs */

/* Polling unmasks a source, but for its interrupt (TLFS 11.8.4). What comes to a closed one is refused. */
static bool is_open(uint64_t sint)
{
    return !(sint & HV_SINT_MASKED) || sint & HV_SINT_POLLING;
}

static bool has_interrupt(uint64_t sint)
{
    return !(sint & (HV_SINT_MASKED | HV_SINT_POLLING));
}

/* One that the guest has closed in the meantime is lost. */
static void assert_sint(struct hv_vp *vp, uint32_t n)
{
    uint64_t sint = load(&vp->synic.sint[n]);

    if (vp->has_apic && has_interrupt(sint))
        irq_post_vector(vp, (uint8_t)FIELD_GET(HV_SINT_VECTOR, sint));
}

/* --------------------------------------------------------------------------------- messages */

static bool is_free(const struct hv_message *slot)
{
    return !__atomic_load_n(&slot->type, __ATOMIC_SEQ_CST);
}

static bool takes_messages(const struct synic *s, uint32_t n)
{
    return load(&s->control) & HV_SCONTROL_ENABLE && load(&s->simp) & HV_PAGE_ENABLE && is_open(load(&s->sint[n]));
}

/* Can a message be posted? If it is only the slot that is taken, the guest will say when it is free. Under the lock. */
static enum hv_status check_slot(struct synic *s, uint32_t n)
{
    struct hv_message *slot;

    if (!takes_messages(s, n))
        return HV_E_SYNIC_STATE;
    slot = &s->messages[n];
    if (is_free(slot))
        return HV_OK;
    s->waiting |= BIT32(n);
    __atomic_or_fetch(&slot->flags, (uint8_t)HV_MESSAGE_PENDING, __ATOMIC_SEQ_CST);
    return is_free(slot) ? HV_OK : HV_E_IN_USE;
}

/* Before the type is there, the guest does not look at the rest. Under the lock. */
static void fill_slot(struct synic *s, uint32_t n, struct hv_message *message)
{
    const size_t type = sizeof(message->type);
    struct hv_message *slot = &s->messages[n];

    message->flags &= (uint8_t)~HV_MESSAGE_PENDING;
    if (s->waiting & BIT32(n))
        message->flags |= HV_MESSAGE_PENDING;
    memcpy((char *)slot + type, (const char *)message + type, sizeof(*slot) - type);
    __atomic_store_n(&slot->type, message->type, __ATOMIC_RELEASE);
}

enum hv_status synic_post(struct hv_vp *vp, uint32_t sint, const void *message, uint32_t size)
{
    struct hv_message copy = {.type = 0};
    struct synic *s = &vp->synic;
    enum hv_status st;
    uint64_t flags;

    if (sint >= HV_SYNIC_SINTS || !size || size > sizeof(copy))
        return HV_E_INVALID;
    memcpy(&copy, message, size);
    if (!copy.type)
        return HV_E_INVALID;
    flags = hv_spin_lock(&s->lock);
    st = check_slot(s, sint);
    if (st == HV_OK)
        fill_slot(s, sint, &copy);
    hv_spin_unlock(&s->lock, flags);
    if (st == HV_OK)
        assert_sint(vp, sint);
    return st;
}

enum hv_status hv_vp_post_message(struct hv_vp *vp, uint32_t sint, const void *message, uint32_t size)
{
    return synic_post(vp, sint, message, size);
}

/* ------------------------------------------------------------------------------- event flags */

#define WORDS_A_SINT (HV_SYNIC_FLAGS / 64)

enum hv_status synic_signal(struct hv_vp *vp, uint32_t sint, uint32_t flag, bool *newly)
{
    struct synic *s = &vp->synic;
    uint64_t bit = BIT64(flag % 64);

    if (sint >= HV_SYNIC_SINTS || flag >= HV_SYNIC_FLAGS)
        return HV_E_INVALID;
    if (!(load(&s->control) & HV_SCONTROL_ENABLE && load(&s->siefp) & HV_PAGE_ENABLE && is_open(load(&s->sint[sint]))))
        return HV_E_SYNIC_STATE;
    *newly = !(__atomic_fetch_or(&s->flags[sint * WORDS_A_SINT + flag / 64], bit, __ATOMIC_SEQ_CST) & bit);
    if (*newly)
        assert_sint(vp, sint);
    return HV_OK;
}

enum hv_status hv_vp_signal_event(struct hv_vp *vp, uint32_t sint, uint32_t flag, bool *newly)
{
    return synic_signal(vp, sint, flag, newly);
}

/* ------------------------------------------------------------------------ who waits for a slot */

static void retry_timers(struct hv_vp *vp, uint32_t sints)
{
    for (; sints; sints &= sints - 1)
        stimer_retry(vp, (uint32_t)__builtin_ctz(sints));
}

/* Those that still wait find that out themselves, and say so again. */
static void look_again(struct hv_vp *vp, uint32_t sints)
{
    struct synic *s = &vp->synic;
    uint64_t flags = hv_spin_lock(&s->lock);

    s->waiting &= ~sints;
    hv_spin_unlock(&s->lock, flags);
    if (vp->stimers.blocked)
        retry_timers(vp, sints);
    if (vp->notifications & HV_NOTIFY_SINT)
        vp->todo |= VP_TODO_SINTS;
}

void synic_eoi(struct hv_vp *vp, uint8_t vector)
{
    uint32_t sints = 0;

    if (!(vp->eoi_wanted[vector / 64] >> vector % 64 & 1))
        return;
    for (uint32_t n = 0; n < HV_SYNIC_SINTS; n++) {
        uint64_t sint = load(&vp->synic.sint[n]);

        if (has_interrupt(sint) && FIELD_GET(HV_SINT_VECTOR, sint) == vector)
            sints |= BIT32(n);
    }
    if (sints)
        look_again(vp, sints);
}

/* Of these, under the lock. */
static uint32_t find_deliverable(struct synic *s, uint32_t sints)
{
    uint32_t found = 0;

    for (; sints; sints &= sints - 1) {
        uint32_t n = (uint32_t)__builtin_ctz(sints);

        if (check_slot(s, n) == HV_OK)
            found |= BIT32(n);
    }
    return found;
}

bool synic_notify(struct hv_vp *vp, struct hv_exit *exit)
{
    uint32_t wanted = (uint32_t)FIELD_GET(HV_NOTIFY_SINT, vp->notifications), found;
    uint64_t flags;

    if (!wanted)
        return false;
    flags = hv_spin_lock(&vp->synic.lock);
    found = find_deliverable(&vp->synic, wanted);
    hv_spin_unlock(&vp->synic.lock, flags);
    if (!found)
        return false;
    vp->notifications &= ~FIELD_PUT(HV_NOTIFY_SINT, found);
    exit->reason = HV_EXIT_SINT_DELIVERABLE;
    exit->instruction_length = 0;
    exit->sints = (uint16_t)found;
    return true;
}

/* --------------------------------------------------------------------------------- registers */

static void add_vector(uint64_t set[4], uint64_t vector)
{
    set[vector / 64] |= BIT64(vector % 64);
}

/* Vectors whose delivery is their end, if one of the sources that use them says so; those of others end by EOI. */
static void update_vectors(struct hv_vp *vp)
{
    uint64_t auto_eoi[4] = {0}, eoi[4] = {0};

    for (uint32_t n = 0; n < HV_SYNIC_SINTS; n++) {
        uint64_t sint = load(&vp->synic.sint[n]);

        if (has_interrupt(sint))
            add_vector(sint & HV_SINT_AUTO_EOI ? auto_eoi : eoi, FIELD_GET(HV_SINT_VECTOR, sint));
    }
    if (!memcmp(auto_eoi, vp->auto_eoi, sizeof(auto_eoi)) && !memcmp(eoi, vp->eoi_wanted, sizeof(eoi)))
        return;
    memcpy(vp->auto_eoi, auto_eoi, sizeof(auto_eoi));
    memcpy(vp->eoi_wanted, eoi, sizeof(eoi));
    irq_auto_eoi_changed(vp);
}

static bool write_sint(struct hv_vp *vp, uint32_t n, uint64_t value)
{
    if (value & ~SINT_BITS || (!(value & HV_SINT_MASKED) && FIELD_GET(HV_SINT_VECTOR, value) < MIN_VECTOR))
        return false;
    store(&vp->synic.sint[n], value);
    update_vectors(vp);
    look_again(vp, BIT32(n));
    return true;
}

static bool write_control(struct hv_vp *vp, uint64_t value)
{
    if (value & ~HV_SCONTROL_ENABLE)
        return false;
    store(&vp->synic.control, value);
    look_again(vp, ALL_SINTS);
    return true;
}

/*
 * A page that a guest enables is empty, and keeps its contents as it moves. A client that restores a state may give the
 * contents before the place, or after it.
 */
static bool write_page(struct hv_vp *vp, volatile uint64_t *place, void *page, enum synthetic_access by, uint64_t value)
{
    uint64_t width = vp->partition->properties.physical_address_width, flags;

    if (value & ~(HV_PAGE_ENABLE | (HV_PAGE_ADDRESS & BITS64(width - 1, 0))))
        return false;
    flags = hv_spin_lock(&vp->synic.lock);
    if (by == SYNTHETIC_GUEST && value & ~load(place) & HV_PAGE_ENABLE)
        memset(page, 0, HV_PAGE_SIZE);
    store(place, value);
    hv_spin_unlock(&vp->synic.lock, flags);
    vp->overlays_stale = true;
    look_again(vp, ALL_SINTS);
    return true;
}

static bool is_sint(uint32_t index)
{
    return index >= MSR_HV_SINT0 && index <= MSR_HV_SINT15;
}

bool synic_read(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t *value)
{
    const struct synic *s = &vp->synic;

    (void)by;
    if (is_sint(index))
        *value = load(&s->sint[index - MSR_HV_SINT0]);
    else if (index == MSR_HV_SCONTROL)
        *value = load(&s->control);
    else if (index == MSR_HV_SVERSION)
        *value = HV_SYNIC_VERSION;
    else if (index == MSR_HV_SIEFP)
        *value = load(&s->siefp);
    else if (index == MSR_HV_SIMP)
        *value = load(&s->simp);
    else
        *value = 0; /* EOM is only a trigger */
    return true;
}

bool synic_write(struct hv_vp *vp, uint32_t index, enum synthetic_access by, uint64_t value)
{
    struct synic *s = &vp->synic;

    if (is_sint(index))
        return write_sint(vp, index - MSR_HV_SINT0, value);
    switch (index) {
    case MSR_HV_SCONTROL:
        return write_control(vp, value);
    case MSR_HV_SIEFP:
        return write_page(vp, &s->siefp, (void *)s->flags, by, value);
    case MSR_HV_SIMP:
        return write_page(vp, &s->simp, s->messages, by, value);
    case MSR_HV_EOM:
        look_again(vp, ALL_SINTS);
        return true;
    default: /* SVERSION: a client may put back what it has read */
        return by == SYNTHETIC_CLIENT && index == MSR_HV_SVERSION && value == HV_SYNIC_VERSION;
    }
}

/* -------------------------------------------------------------------------------------- life */

enum hv_status synic_create(struct hv_vp *vp)
{
    struct synic *s = &vp->synic;

    if (s->messages || !(vp->partition->properties.synthetic_features & HV_SYNTH_SYNIC))
        return HV_OK;
    s->messages = hv_host_page_alloc();
    s->flags = hv_host_page_alloc();
    if (s->messages && s->flags)
        return HV_OK;
    synic_destroy(vp);
    return HV_E_NO_MEMORY;
}

void synic_destroy(struct hv_vp *vp)
{
    struct synic *s = &vp->synic;

    if (s->messages)
        hv_host_page_free(s->messages);
    if (s->flags)
        hv_host_page_free((void *)s->flags);
    s->messages = NULL;
    s->flags = NULL;
}

/* Those that post or signal right now do it before, or are refused. */
void synic_reset(struct hv_vp *vp)
{
    struct synic *s = &vp->synic;
    uint64_t flags = hv_spin_lock(&s->lock);

    store(&s->control, 0);
    store(&s->simp, 0);
    store(&s->siefp, 0);
    for (uint32_t n = 0; n < HV_SYNIC_SINTS; n++)
        store(&s->sint[n], HV_SINT_MASKED);
    s->waiting = 0;
    if (s->messages) {
        memset(s->messages, 0, HV_PAGE_SIZE);
        memset((void *)s->flags, 0, HV_PAGE_SIZE);
    }
    hv_spin_unlock(&s->lock, flags);
    vp->overlays_stale = true;
    update_vectors(vp);
}

/* ----------------------------------------------------------------------------- state, as pages */

static enum hv_status claim_synic(struct hv_vp *vp)
{
    if (!vp->synic.messages)
        return HV_E_STATE;
    return vp_claim(vp) ? HV_OK : HV_E_VP_BUSY;
}

static enum hv_status get_page(struct hv_vp *vp, const volatile void *page, void *buffer, uint32_t size,
                               uint32_t *written)
{
    enum hv_status st;

    if (!page)
        return HV_E_STATE;
    if (written)
        *written = HV_SYNIC_PAGE_SIZE;
    if (size < HV_SYNIC_PAGE_SIZE)
        return HV_E_BUFFER_TOO_SMALL;
    st = claim_synic(vp);
    if (st != HV_OK)
        return st;
    memcpy(buffer, (const void *)page, HV_SYNIC_PAGE_SIZE);
    vp_release(vp);
    return HV_OK;
}

/* Nothing in it is beyond a guest. No interrupts: those that there were are in the local APIC's state. */
static enum hv_status set_page(struct hv_vp *vp, volatile void *page, const void *buffer, uint32_t size)
{
    enum hv_status st;
    uint64_t flags;

    if (!page)
        return HV_E_STATE;
    if (size < HV_SYNIC_PAGE_SIZE)
        return HV_E_INVALID;
    st = claim_synic(vp);
    if (st != HV_OK)
        return st;
    flags = hv_spin_lock(&vp->synic.lock);
    memcpy((void *)page, buffer, HV_SYNIC_PAGE_SIZE);
    hv_spin_unlock(&vp->synic.lock, flags);
    vp_release(vp);
    return HV_OK;
}

enum hv_status hv_vp_get_synic_messages(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written)
{
    return get_page(vp, vp->synic.messages, buffer, size, written);
}

enum hv_status hv_vp_set_synic_messages(struct hv_vp *vp, const void *buffer, uint32_t size)
{
    return set_page(vp, vp->synic.messages, buffer, size);
}

enum hv_status hv_vp_get_synic_flags(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written)
{
    return get_page(vp, vp->synic.flags, buffer, size, written);
}

enum hv_status hv_vp_set_synic_flags(struct hv_vp *vp, const void *buffer, uint32_t size)
{
    return set_page(vp, vp->synic.flags, buffer, size);
}
