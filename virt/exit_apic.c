/* SPDX-License-Identifier: MIT */
/* How a guest reaches its local APIC: by memory in xAPIC mode, by MSRs in x2APIC mode, and what the hardware leaves. */
#include "exit_apic.h"
#include "assist.h"
#include "exit.h"
#include "exit_emulate.h"
#include "exit_mov.h"
#include "gpa.h"
#include "gva.h"
#include "irq.h"
#include "time.h"
#include <hv/base/bits.h>
#include <hv/base/memory.h>

/* --------------------------------------------------------------------------------- registers */

/* The clock is read only where a register depends on it. */
static uint64_t now_for(const struct hv_vp *vp, uint32_t offset)
{
    return offset == APIC_TIMER_CUR || offset == APIC_TIMER_INIT || offset == APIC_TIMER_DIV || offset == APIC_LVT_TIMER
               ? time_ns(vp->partition)
               : 0;
}

static void count_access(struct hv_vp *vp, uint32_t offset)
{
    vp->counters.apic.eoi += offset == APIC_EOI;
    vp->counters.apic.tpr += offset == APIC_TPR;
}

static bool read_register(struct hv_vp *vp, uint32_t offset, uint64_t *value)
{
    struct lapic_effect effect = {0};
    bool done;

    assist_settle(vp);
    done = lapic_read(&vp->lapic, offset, now_for(vp, offset), value, &effect);
    count_access(vp, offset);
    if (effect.bits)
        irq_apply(vp, &effect);
    return done;
}

/* The cache of CR8 follows the task priority. */
static void follow(struct hv_vp *vp, uint32_t offset)
{
    if (offset != APIC_TPR)
        return;
    vp->vcpu->cr8 = lapic_get(&vp->lapic, APIC_TPR) >> 4 & 0xf;
    vp->vcpu->valid |= VCPU_CR8;
}

/* Writes that the client may want to hear of, after they were done. */
static uint64_t trap_bit(uint32_t offset)
{
    switch (offset) {
    case APIC_LDR:
        return HV_EXTENDED_APIC_LDR;
    case APIC_DFR:
        return HV_EXTENDED_APIC_DFR;
    case APIC_SVR:
        return HV_EXTENDED_APIC_SVR;
    case APIC_LVT_LINT0:
        return HV_EXTENDED_APIC_LINT0;
    case APIC_LVT_LINT1:
        return HV_EXTENDED_APIC_LINT1;
    default:
        return 0;
    }
}

static void written(struct hv_vp *vp, uint32_t offset, uint64_t value, const struct lapic_effect *effect)
{
    count_access(vp, offset);
    follow(vp, offset);
    irq_apply(vp, effect);
    if (trap_bit(offset) & vp->partition->properties.extended_exits)
        irq_trap(vp, HV_EXIT_APIC_WRITE_TRAP, (uint16_t)offset, (uint32_t)value);
}

/* ------------------------------------------------------------------ what guests write most */

/* False, of both: it is more than that, and nothing was done. */
static inline bool end_plain(struct hv_vp *vp)
{
    if (vp->assist_offered || !lapic_end_plain(&vp->lapic, vp->eoi_wanted))
        return false;
    vp->counters.apic.eoi++;
    vp->todo |= vp->lapic.irr_words ? VP_TODO_INTERRUPTS : 0;
    return true;
}

static inline bool send_plain(struct hv_vp *vp, uint64_t icr)
{
    if (vp->assist_offered || !lapic_send_plain(&vp->lapic, icr))
        return false;
    vp->counters.apic.self_ipis++;
    vp->todo |= VP_TODO_INTERRUPTS;
    return true;
}

#define ICR_TO_SELF FIELD_PUT(APIC_ICR_SHORTHAND, APIC_SHORTHAND_SELF)

bool exit_apic_write_plain(struct hv_vp *vp, uint32_t index, uint64_t value)
{
    if (index == MSR_IA32_TSC_DEADLINE)
        return irq_arm_plain(vp, value);
    if (vp->vcpu->controls.apic_mode != VCPU_APIC_X2APIC)
        return false;
    if (index == MSR_IA32_X2APIC_EOI)
        return !value && end_plain(vp);
    return index == MSR_IA32_X2APIC_SELF_IPI && value <= UINT8_MAX && send_plain(vp, ICR_TO_SELF | value);
}

/* ------------------------------------------------------------------------------ all registers */

static bool write_register(struct hv_vp *vp, uint32_t offset, uint64_t value)
{
    struct lapic_effect effect = {0};

    assist_settle(vp);
    if (!lapic_write(&vp->lapic, offset, value, now_for(vp, offset), &effect)) {
        irq_apply(vp, &effect);
        return false;
    }
    written(vp, offset, value, &effect);
    return true;
}

/* ------------------------------------------------------------------------------- x2APIC mode */

static uint32_t offset_of_msr(uint32_t index)
{
    return (index - MSR_IA32_X2APIC_BASE) << 4;
}

bool exit_apic_read_msr(struct hv_vp *vp, uint32_t index, uint64_t *value)
{
    return vp->has_apic && lapic_is_x2apic(&vp->lapic) && read_register(vp, offset_of_msr(index), value);
}

bool exit_apic_write_msr(struct hv_vp *vp, uint32_t index, uint64_t value)
{
    return vp->has_apic && lapic_is_x2apic(&vp->lapic) && write_register(vp, offset_of_msr(index), value);
}

bool exit_apic_read_register(struct hv_vp *vp, uint32_t offset, uint64_t *value)
{
    return vp->has_apic && read_register(vp, offset, value);
}

bool exit_apic_write_register(struct hv_vp *vp, uint32_t offset, uint64_t value)
{
    return vp->has_apic && write_register(vp, offset, value);
}

bool exit_apic_read_deadline(struct hv_vp *vp, uint64_t *value)
{
    *value = vp->has_apic ? lapic_read_tsc_deadline(&vp->lapic) : 0;
    return vp->has_apic;
}

bool exit_apic_write_deadline(struct hv_vp *vp, uint64_t value)
{
    struct lapic_effect effect = {0};

    if (!vp->has_apic)
        return false;
    irq_poll_timer(vp); /* the deadline that is replaced may have passed */
    lapic_write_tsc_deadline(&vp->lapic, value, &effect);
    irq_apply(vp, &effect);
    return true;
}

bool exit_apic_write_base(struct hv_vp *vp, uint64_t value, uint64_t physical_mask)
{
    uint64_t before = vp->lapic.base;

    if (!lapic_write_base(&vp->lapic, value, physical_mask))
        return false;
    if (vp->lapic.base != before)
        irq_mode_changed(vp);
    return true;
}

/* -------------------------------------------------------------------------------- xAPIC mode */

static bool is_register_page(const struct hv_vp *vp, hv_gpa_t gpa)
{
    return lapic_is_enabled(&vp->lapic) && !lapic_is_x2apic(&vp->lapic) &&
           (gpa & ~HV_PAGE_MASK) == (vp->lapic.base & APIC_BASE_ADDR);
}

bool exit_apic_is_here(const struct hv_vp *vp, hv_gpa_t gpa)
{
    return vp->has_apic && is_register_page(vp, gpa);
}

/*
 * Registers are 32 bits wide, at multiples of 16; an access of another kind is not defined (SDM 3A 10.4.1). As on many
 * CPUs, narrower reads give that part of a register, and between registers there are zeros.
 */
static void read_page(struct hv_vp *vp, uint32_t offset, uint32_t size, void *data)
{
    uint64_t value = 0;

    if (offset % 16 < 4 && read_register(vp, offset & ~15u, &value))
        value = (uint32_t)value >> 8 * (offset % 4);
    memcpy(data, &value, size);
}

static void write_word(struct hv_vp *vp, uint32_t offset, uint32_t value)
{
    if (offset == APIC_EOI && end_plain(vp))
        return;
    if (offset == APIC_ICR_LOW && send_plain(vp, value))
        lapic_put(&vp->lapic, offset, value); /* of which nothing is read-only or reserved then */
    else
        (void)write_register(vp, offset, value);
}

static void write_page(struct hv_vp *vp, uint32_t offset, uint32_t size, const void *data)
{
    uint32_t value;

    if (offset % 16 || size < 4)
        return;
    __builtin_memcpy(&value, data, sizeof(value));
    write_word(vp, offset, value);
}

/* One thing at a time for the client to hear of: the REP that has done it goes on after that. */
static bool emulate_memory(void *context, hv_gpa_t gpa, bool is_write, uint32_t size, void *data)
{
    struct hv_vp *vp = context;

    if (!is_register_page(vp, gpa))
        return (is_write ? gpa_write(vp, gpa, data, size) : gpa_read(vp, gpa, data, size)) == HV_OK;
    if (vp->todo & (VP_TODO_EOI | VP_TODO_TRAP))
        return false;
    vp->counters.apic.mmio++;
    if (is_write)
        write_page(vp, gpa & HV_PAGE_MASK, size, data);
    else
        read_page(vp, gpa & HV_PAGE_MASK, size, data);
    return true;
}

static bool emulate_translate(void *context, hv_gva_t page, uint32_t flags, enum hv_translate_result *result,
                              hv_gpa_t *gpa)
{
    *result = gva_translate(context, page, flags, gpa);
    return true;
}

static const struct hv_emulate_ops emulate_ops = {.memory = emulate_memory, .translate = emulate_translate};

bool exit_apic_memory_plain(struct hv_vp *vp, struct hv_exit *exit)
{
    uint32_t offset = exit->memory.gpa & HV_PAGE_MASK;
    const struct hv_mov *mov = exit_mov_find(vp, exit);
    uint64_t value = 0;

    if (!mov)
        return false;
    vp->counters.apic.mmio++;
    if (!mov->is_store) {
        read_page(vp, offset, mov->size, &value);
    } else {
        value = hv_mov_stored(mov, vp->vcpu->gpr);
        write_page(vp, offset, mov->size, &value);
    }
    exit_mov_done(vp, exit, mov, value);
    return true;
}

/* Accesses of a page walk, and instructions that nobody uses on these registers, are the client's to think about. */
enum exit_outcome exit_apic_memory(struct hv_vp *vp, struct hv_exit *exit)
{
    const struct hv_emulate_hint hint = {
        .valid = exit->memory.gva_valid,
        .is_write = exit->memory.access == HV_ACCESS_WRITE,
        .gva = exit->memory.gva,
        .gpa = exit->memory.gpa,
    };
    struct hv_emulate_state state;
    struct hv_emulate_fault fault;

    exit->memory.unmapped = true; /* as the client sees it, should it be told */
    gva_need_instruction(vp, &exit->instruction);
    if (exit->memory.page_walk || exit->memory.access == HV_ACCESS_EXECUTE)
        return EXIT_TO_CLIENT;
    exit_emulate_begin(vp, &state);
    switch (hv_emulate(&state, &exit->instruction, &hint, &emulate_ops, vp, &fault)) {
    case HV_EMULATE_OK:
        vp->counters.emulated++;
        exit_emulate_end(vp, &state);
        exit_retire_instruction(vp);
        return EXIT_HANDLED;
    case HV_EMULATE_MEMORY_FAILED:
        if (!(vp->todo & (VP_TODO_EOI | VP_TODO_TRAP)))
            return EXIT_TO_CLIENT;
        exit_emulate_end(vp, &state);
        return EXIT_HANDLED;
    case HV_EMULATE_AGAIN:
        exit_emulate_end(vp, &state);
        return EXIT_HANDLED;
    case HV_EMULATE_FAULT:
        exit_emulate_end(vp, &state); /* the iterations of a REP before the one that failed */
        exit_emulate_fault(vp, &fault);
        return EXIT_HANDLED;
    default:
        return EXIT_TO_CLIENT;
    }
}

/* ------------------------------------------------------------- what the hardware has done already */

enum exit_outcome exit_apic_write(struct hv_vp *vp, struct hv_exit *exit)
{
    struct lapic_effect effect = {0};
    uint32_t offset = exit->apic.offset, value = lapic_get(&vp->lapic, offset);

    assist_settle(vp);
    vp->counters.apic.mmio += !lapic_is_x2apic(&vp->lapic);
    lapic_written(&vp->lapic, offset, now_for(vp, offset), &effect);
    written(vp, offset, value, &effect);
    return EXIT_HANDLED;
}

/* More EOIs may exit than those of level-triggered interrupts. */
enum exit_outcome exit_apic_eoi_done(struct hv_vp *vp, struct hv_exit *exit)
{
    struct lapic_effect effect = {0};

    vp->counters.apic.mmio += !lapic_is_x2apic(&vp->lapic);
    vp->counters.apic.eoi++;
    lapic_ended(&vp->lapic, exit->apic.vector, &effect);
    irq_apply(vp, &effect);
    return EXIT_HANDLED;
}
