/* SPDX-License-Identifier: MIT */
/* What the backends do alike with a vcpu. Pinned, after acquire. */
#ifndef ARCH_X86_64_VCPU_PARTS_H
#define ARCH_X86_64_VCPU_PARTS_H

#include <arch/backend.h>
#include <arch/bits/apic.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <hv/base/log.h>

/* ------------------------------------------------------------------- CR8, in the APIC page's TPR */

static inline volatile uint32_t *vcpu_tpr(const struct vcpu *v)
{
    return &v->apic_page[APIC_TPR / sizeof(*v->apic_page)];
}

static inline uint32_t vcpu_cr8_of_tpr(const struct vcpu *v)
{
    return *vcpu_tpr(v) >> 4 & 0xf;
}

/* The lower half of the TPR stays as it is, unless the upper one changes. */
static inline void vcpu_cr8_to_tpr(const struct vcpu *v, uint64_t cr8)
{
    if (vcpu_cr8_of_tpr(v) != cr8)
        *vcpu_tpr(v) = (uint32_t)(cr8 << 4);
}

/* -------------------------------------------------------------------------------------- code */

static inline bool vcpu_is_64bit_code(struct vcpu *v)
{
    vcpu_need(v, VCPU_EFER | VCPU_CS);
    return v->efer & EFER_LMA && v->seg[SEG_CS].attributes & SEG_L;
}

/* VCPU_MODE_*. In 64-bit mode the rest follows. */
static inline uint32_t vcpu_mode(uint64_t cpl, bool is_64bit, uint64_t cr0, uint64_t rflags)
{
    if (is_64bit)
        return (uint32_t)cpl | VCPU_MODE_64BIT | VCPU_MODE_PROTECTED;
    return cr0 & CR0_PE && !(rflags & RFLAGS_VM) ? (uint32_t)cpl | VCPU_MODE_PROTECTED : 0;
}

/* The value of a general register as MOV CR sees it: 64 bits in 64-bit mode, else 32. */
static inline uint64_t vcpu_mov_cr_operand(struct vcpu *v, uint64_t gpr)
{
    vcpu_need(v, gpr == GPR_RSP ? VCPU_RSP : 0);
    return vcpu_is_64bit_code(v) ? v->gpr[gpr] : (uint32_t)v->gpr[gpr];
}

/* ------------------------------------------------------------------------------------- exits */

static inline void vcpu_count_exit(struct vcpu *v, const struct hv_exit *exit)
{
    v->exits[exit->reason]++;
}

static inline bool vcpu_is_stopped(const struct vcpu *v)
{
    return __atomic_load_n(v->requests, __ATOMIC_SEQ_CST) | *v->due;
}

/* ------------------------------------------------------------------------------------ events */

/*
 * Clients ask for error codes where there are none, and the other way round: the vector and the mode alone decide, as
 * they do when the CPU raises the exception itself (VMX checks it: SDM 3C 27.2.1.3). Type: HV_INT_TYPE_*.
 */
static inline bool vcpu_pushes_error_code(struct vcpu *v, uint64_t type, uint64_t vector)
{
    if (type != HV_INT_TYPE_EXCEPTION || vector >= 32 || !(VEC_ERROR_CODE_MASK >> vector & 1))
        return false;
    vcpu_need(v, VCPU_CR0);
    return v->cr0 & CR0_PE;
}

/* ------------------------------------------------------------------------- what the client sees */

/* The word HV_EXEC_*. The bits of CR0 and EFER move to where they are there. */
static inline uint16_t vcpu_execution_state(uint64_t cpl, uint64_t cr0, uint64_t efer, uint64_t dr7, uint64_t event,
                                            bool shadow)
{
    uint64_t state = cpl | FIELD_PUT(HV_EXEC_CR0_PE, FIELD_GET(CR0_PE, cr0)) |
                     FIELD_PUT(HV_EXEC_CR0_AM, FIELD_GET(CR0_AM, cr0)) |
                     FIELD_PUT(HV_EXEC_EFER_LMA, FIELD_GET(EFER_LMA, efer)) |
                     FIELD_PUT(HV_EXEC_INTERRUPTION_PENDING, FIELD_GET(HV_PENDING_INT_VALID, event));

    if (dr7 & DR7_ENABLES)
        state |= HV_EXEC_DEBUG_ACTIVE;
    if (shadow)
        state |= HV_EXEC_INTERRUPT_SHADOW;
    return (uint16_t)state;
}

/* The first word of the context, written at once. */
static inline void vcpu_put_state(struct hv_exit_vp *to, uint8_t instruction_length, uint64_t cr8, uint16_t state)
{
    uint64_t word = state | (uint64_t)(instruction_length & 0xf) << 16 | (cr8 & 0xf) << 20;

    _Static_assert(offsetof(struct hv_exit_vp, cs) == sizeof(word), "all before CS");
    __builtin_memcpy(to, &word, sizeof(word));
}

/* ---------------------------------------------------------------------------- refused entries */

static inline void vcpu_log_refusal(const struct hv_audit_finding *finding)
{
    char line[256];

    hv_audit_format(line, sizeof(line), finding);
    hv_log(HV_LOG_WARNING, "VM entry refused: %s", line);
}

#endif
