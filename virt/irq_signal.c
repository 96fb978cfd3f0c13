/* SPDX-License-Identifier: MIT */
/*
 * What reaches a VP's local APIC by other ways than as a vector: the inputs LINT0 and LINT1, which do what their
 * entries in the LVT say, with the external interrupts (ExtINT) that come through them; SMIs, which go to the client;
 * and the questions and answers of remote reads.
 */
#include "assist.h"
#include "irq_parts.h"
#include "time.h"
#include <hv/base/bits.h>

void irq_post_signal(struct hv_vp *vp, uint32_t signal)
{
    __atomic_or_fetch(&vp->inbox.signals, signal, __ATOMIC_RELEASE);
    vp_request(vp, VP_REQUEST_SIGNAL);
}

/* -------------------------------------------------------------------------------- the inputs */

static const uint16_t lvts[] = {APIC_LVT_LINT0, APIC_LVT_LINT1};

void irq_post_input(struct hv_vp *vp, unsigned input, uint32_t signal, uint8_t vector)
{
    __atomic_or_fetch(&vp->inbox.ext_ints[input][vector / 64], BIT64(vector % 64), __ATOMIC_RELAXED);
    irq_post_signal(vp, signal);
}

/* The vectors count only for an input that external interrupts come through. */
static void take_ext_ints(struct hv_vp *vp, unsigned input, bool are_accepted)
{
    for (unsigned i = 0; i < ARRAY_COUNT(vp->ext_ints); i++) {
        uint64_t vectors = __atomic_exchange_n(&vp->inbox.ext_ints[input][i], 0, __ATOMIC_RELAXED);

        vp->ext_ints[i] |= are_accepted ? vectors : 0;
        vp->has_ext_ints |= vp->ext_ints[i] != 0;
    }
    vp->todo |= VP_TODO_INTERRUPTS;
}

static void take_smi(struct hv_vp *vp)
{
    if (!(vp->partition->properties.extended_exits & HV_EXTENDED_SMI))
        return;
    vp->smi_pending = true;
    vp->todo |= VP_TODO_TRAP;
}

/* An input of an APIC that is on, by an entry that is not masked. Modes that no entry may have do nothing. */
static void take_input(struct hv_vp *vp, unsigned input, uint64_t mode)
{
    switch (mode) {
    case APIC_MODE_FIXED:
        irq_accept_input(vp, input);
        break;
    case APIC_MODE_SMI:
        take_smi(vp);
        break;
    case APIC_MODE_NMI:
        irq_take_nmis(vp, 1);
        break;
    case APIC_MODE_INIT:
        irq_post_init(vp);
        break;
    default:
        break;
    }
}

/* Without the APIC the inputs are the processor's own: INTR and NMI (SDM 3A 10.4.3). */
static uint32_t entry_of(const struct hv_vp *vp, unsigned input)
{
    if (!lapic_is_enabled(&vp->lapic))
        return (uint32_t)FIELD_PUT(APIC_LVT_MODE, input ? APIC_MODE_NMI : APIC_MODE_EXTINT);
    return lapic_get(&vp->lapic, lvts[input]);
}

static void take_inputs(struct hv_vp *vp, unsigned input, uint32_t signals)
{
    uint32_t entry = entry_of(vp, input);
    uint64_t mode = FIELD_GET(APIC_LVT_MODE, entry);
    bool is_masked = entry & APIC_LVT_MASKED;

    if (!(signals & (VP_SIGNAL_LINT(input) | (input ? 0 : VP_SIGNAL_EXT_INT))))
        return;
    take_ext_ints(vp, input, mode == APIC_MODE_EXTINT && !is_masked);
    if (signals & VP_SIGNAL_LINT(input) && !is_masked)
        take_input(vp, input, mode);
}

/* ------------------------------------------------------------------------------ remote reads */

/* What is asked: the register in 31:0, the tag above. The answer: the value in 31:0, the tag above, and ANSWER_VALID.
 */
#define READ_OFFSET  BITS64(31, 0)
#define READ_VALUE   BITS64(31, 0)
#define READ_TAG     BITS64(61, 32)
#define ANSWER_VALID BIT64(62)

static void set_status(struct hv_vp *vp, uint64_t status)
{
    uint32_t icr = lapic_get(&vp->lapic, APIC_ICR_LOW) & ~(uint32_t)APIC_ICR_REMOTE;

    lapic_put(&vp->lapic, APIC_ICR_LOW, icr | (uint32_t)FIELD_PUT(APIC_ICR_REMOTE, status));
}

void irq_read_remote(struct hv_vp *vp, struct hv_vp *from, uint32_t offset)
{
    vp->read_tag = (vp->read_tag + 1) & (uint32_t)(READ_TAG >> 32);
    set_status(vp, from ? APIC_REMOTE_PENDING : APIC_REMOTE_INVALID);
    if (!from)
        return;
    __atomic_store_n(&vp->inbox.read, FIELD_PUT(READ_TAG, vp->read_tag) | offset, __ATOMIC_RELAXED);
    __atomic_or_fetch(&from->inbox.readers, BIT64(vp->index), __ATOMIC_RELEASE);
    irq_post_signal(from, VP_SIGNAL_READ);
}

static void answer(struct hv_vp *vp, struct hv_vp *reader)
{
    uint64_t asked = __atomic_load_n(&reader->inbox.read, __ATOMIC_RELAXED), answer = asked & READ_TAG;
    uint32_t value;

    assist_settle(vp);
    if (lapic_peek(&vp->lapic, (uint32_t)FIELD_GET(READ_OFFSET, asked), time_ns(vp->partition), &value))
        answer |= ANSWER_VALID | value;
    __atomic_store_n(&reader->inbox.answer, answer, __ATOMIC_RELAXED);
    irq_post_signal(reader, VP_SIGNAL_ANSWER);
}

static void take_questions(struct hv_vp *vp)
{
    uint64_t readers = __atomic_exchange_n(&vp->inbox.readers, 0, __ATOMIC_ACQUIRE);

    for (; readers; readers &= readers - 1)
        answer(vp, __atomic_load_n(&vp->partition->vps[__builtin_ctzll(readers)], __ATOMIC_ACQUIRE));
}

/* One to an earlier question is of no use any more, nor one that comes after another write to ICR. */
static void take_answer(struct hv_vp *vp)
{
    uint64_t answer = __atomic_load_n(&vp->inbox.answer, __ATOMIC_RELAXED);
    uint32_t icr = lapic_get(&vp->lapic, APIC_ICR_LOW);

    if (FIELD_GET(READ_TAG, answer) != vp->read_tag || FIELD_GET(APIC_ICR_REMOTE, icr) != APIC_REMOTE_PENDING)
        return;
    if (answer & ANSWER_VALID)
        lapic_put(&vp->lapic, APIC_RRD, (uint32_t)FIELD_GET(READ_VALUE, answer));
    set_status(vp, answer & ANSWER_VALID ? APIC_REMOTE_VALID : APIC_REMOTE_INVALID);
}

/* ---------------------------------------------------------------------------------- all of it */

void irq_take_signals(struct hv_vp *vp)
{
    uint32_t signals = __atomic_exchange_n(&vp->inbox.signals, 0, __ATOMIC_ACQUIRE);

    take_inputs(vp, 0, signals);
    take_inputs(vp, 1, signals);
    if (signals & VP_SIGNAL_SMI)
        take_smi(vp);
    if (signals & VP_SIGNAL_READ)
        take_questions(vp);
    if (signals & VP_SIGNAL_ANSWER)
        take_answer(vp);
}

void irq_clear_signals(struct hv_vp *vp)
{
    __atomic_and_fetch(&vp->inbox.signals, VP_SIGNAL_READ | VP_SIGNAL_SMI, __ATOMIC_RELAXED);
    take_ext_ints(vp, 0, false);
    take_ext_ints(vp, 1, false);
}

/* ----------------------------------------------------------------------------- external interrupts */

/* The lowest vector first, as from a PIC. */
int irq_next_ext_int(const struct hv_vp *vp)
{
    for (unsigned i = 0; i < ARRAY_COUNT(vp->ext_ints); i++)
        if (vp->ext_ints[i])
            return (int)(64 * i) + __builtin_ctzll(vp->ext_ints[i]);
    return -1;
}

void irq_drop_ext_ints(struct hv_vp *vp, int vector)
{
    for (int i = 0; i < (int)ARRAY_COUNT(vp->ext_ints); i++)
        vp->ext_ints[i] &= vector < 0 ? 0 : vector / 64 == i ? ~BIT64(vector % 64) : ~0ull;
    vp->has_ext_ints = irq_next_ext_int(vp) >= 0;
    vp->todo |= VP_TODO_INTERRUPTS; /* maybe there is no window to wait for any more */
}
