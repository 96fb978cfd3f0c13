/* SPDX-License-Identifier: MIT */
/* The length of the instruction that exited: from a table of instructions, or the decoder. */
#include "exit_length.h"
#include "code.h"
#include "decode.h"
#include "decode_tables.h"
#include "gpa.h"
#include "gva.h"
#include "partition.h"
#include "walk.h"
#include <hv/base/memory.h>

/* In a row, and nothing in between has changed: what another VP does to the guest's code does not take that long. */
#define FAILURES_MAX 1000u

/* ------------------------------------------------------------------------------ instructions */

#define REX_B 0x80u /* beside INSN_REP ... : REX.B counts */

/* An instruction without operands that count here: its opcode, and ModRM. */
struct form {
    uint8_t length; /* 0: no more */
    uint8_t needs, refuses;
    uint32_t mask, bytes; /* first byte lowest */
};

#define FORM1(a, ...)                              \
    {                                              \
        1, .mask = 0xff, .bytes = (a), __VA_ARGS__ \
    }
#define FORM2(a, b, ...)                                        \
    {                                                           \
        2, .mask = 0xffff, .bytes = (a) | (b) << 8, __VA_ARGS__ \
    }
#define FORM3(a, b, c, ...)                                                   \
    {                                                                         \
        3, .mask = 0xffffff, .bytes = (a) | (b) << 8 | (c) << 16, __VA_ARGS__ \
    }

/* clang-format off */
/* the usual one first */
static const struct form
    cpuid[] = {FORM2(0x0f, 0xa2), {0}},
    rdmsr[] = {FORM2(0x0f, 0x32), {0}},
    wrmsr[] = {FORM2(0x0f, 0x30), {0}},
    hlt[] = {FORM1(0xf4), {0}},
    rdtsc[] = {FORM2(0x0f, 0x31), FORM3(0x0f, 0x01, 0xf9), {0}}, /* RDTSCP: see tell_rdtscp */
    rdtscp[] = {FORM3(0x0f, 0x01, 0xf9), {0}},
    hypercall[] = {FORM3(0x0f, 0x01, 0xd9), FORM3(0x0f, 0x01, 0xc1), {0}},
    xsetbv[] = {FORM3(0x0f, 0x01, 0xd1, .refuses = INSN_OPERAND_SIZE | INSN_REP | INSN_REPNE), {0}},
    invd[] = {FORM2(0x0f, 0x09), FORM2(0x0f, 0x08), {0}}, /* WBINVD, WBNOINVD */
    pause[] = {FORM1(0x90, .needs = INSN_REP, .refuses = REX_B), {0}},
    int3[] = {FORM1(0xcc), {0}},
    into[] = {FORM1(0xce), {0}},
    int1[] = {FORM1(0xf1), {0}},
    software[] = {FORM1(0xcc), FORM1(0xce), {2, .mask = 0xff, .bytes = 0xcd}, {0}}; /* INT n with its operand */
/* clang-format on */

static const struct form *const exceptions[] = {[VEC_DB] = int1, [VEC_BP] = int3, [VEC_OF] = into};

static const struct form *forms_of_exception(const struct hv_exit *exit)
{
    bool known = exit->exception.is_software && exit->exception.vector < ARRAY_COUNT(exceptions);

    return known ? exceptions[exit->exception.vector] : NULL;
}

/* NULL: the instruction has operands, or there is none. */
static const struct form *forms_of(const struct hv_exit *exit)
{
    switch (exit->reason) {
    case HV_EXIT_CPUID:
        return cpuid;
    case HV_EXIT_MSR:
        return exit->msr.is_write ? wrmsr : rdmsr;
    case HV_EXIT_HALT:
        return hlt;
    case HV_EXIT_RDTSC:
        return exit->rdtsc.is_rdtscp ? rdtscp : rdtsc;
    case HV_EXIT_HYPERCALL:
        return hypercall;
    case HV_EXIT_XSETBV:
        return xsetbv;
    case HV_EXIT_NO_OP:
        return invd;
    case HV_EXIT_PAUSE:
        return pause;
    case HV_EXIT_SOFTWARE_INT:
        return software;
    case HV_EXIT_EXCEPTION:
        return forms_of_exception(exit);
    default:
        return NULL;
    }
}

/* ------------------------------------------------------------------------------ the usual case */

/* Read at once, and once: the guest may be changing it. */
struct __attribute__((packed)) unaligned32 {
    uint32_t value;
};

static inline uint32_t read_code(const uint8_t *code)
{
    return ((const volatile struct unaligned32 *)code)->value;
}

static inline bool is_in_page(const uint8_t *code)
{
    return ((uintptr_t)code & HV_PAGE_MASK) <= HV_PAGE_SIZE - sizeof(uint32_t);
}

/* A page that the backend does not know, but from now on. */
static __attribute__((noinline)) void try_mov_cr(struct hv_vp *vp, struct hv_exit *exit)
{
    const uint8_t *code = code_reach(vp);
    struct vcpu *v = vp->vcpu;

    if (!code || !is_in_page(code))
        return;
    vcpu_need(v, GVA_CODE_GROUPS);
    if (vcpu_find_mov_cr(v, exit, read_code(code), gva_code_size(v) == 8))
        vp->length.failures = 0;
}

void exit_length_try(struct hv_vp *vp, struct hv_exit *exit)
{
    const struct form *form = forms_of(exit);
    const uint8_t *code = form ? code_known(vp) : NULL;

    if (exit->reason == HV_EXIT_CR)
        try_mov_cr(vp, exit);
    if (!code || !is_in_page(code) || form->needs)
        return;
    if ((read_code(code) & form->mask) == form->bytes)
        exit->instruction_length = form->length;
}

/* --------------------------------------------------------------------------------- all others */

enum match { MATCH_NOT, MATCH_MORE, MATCH_FOUND };

static unsigned take_prefixes(const struct hv_instruction *insn, unsigned count, unsigned code_size, unsigned *prefixes)
{
    unsigned rex = 0, at = 0;

    *prefixes = 0;
    for (; at < count; at++) {
        const struct decode_row *row = &decode_one_byte[insn->bytes[at]];

        if (row->op == INSN_PREFIX) {
            if (row->dst & (INSN_REP | INSN_REPNE))
                *prefixes &= ~(INSN_REP | INSN_REPNE);
            *prefixes |= row->dst;
            rex = 0;
        } else if (row->op == INSN_REX && code_size == 8) {
            rex = insn->bytes[at];
        } else {
            break;
        }
    }
    *prefixes |= rex & INSN_REX_B ? REX_B : 0;
    return at;
}

static enum match match_form(const struct form *form, const struct hv_instruction *insn, unsigned count, unsigned at)
{
    uint32_t bytes = 0;
    unsigned known = HV_MIN(count - at, form->length);

    for (unsigned i = 0; i < known; i++)
        bytes |= (uint32_t)insn->bytes[at + i] << (8 * i);
    if ((bytes ^ form->bytes) & form->mask & ((1u << (8 * known)) - 1))
        return MATCH_NOT;
    return known < form->length ? MATCH_MORE : MATCH_FOUND;
}

static enum match match_forms(const struct form *form, const struct hv_instruction *insn, unsigned code_size,
                              uint8_t *length)
{
    unsigned count = HV_MIN(insn->count, DECODE_LENGTH_MAX), prefixes;
    unsigned at = take_prefixes(insn, count, code_size, &prefixes);
    enum match best = MATCH_NOT;

    if (prefixes & INSN_LOCK)
        return MATCH_NOT;
    for (; form->length && best != MATCH_FOUND; form++) {
        if ((prefixes & form->needs) != form->needs || prefixes & form->refuses)
            continue;
        best = HV_MAX(best, match_form(form, insn, count, at));
        *length = (uint8_t)(at + form->length);
    }
    return best;
}

static bool is_cr_access(const struct insn *insn, const struct hv_exit *exit)
{
    unsigned number = exit->cr.number;

    switch (insn->op) {
    case INSN_MOV_TO_CR:
        return !exit->cr.is_read && insn->reg == number;
    case INSN_MOV_FROM_CR:
        return exit->cr.is_read && insn->reg == number;
    case INSN_CLTS:
    case INSN_LMSW:
        return !exit->cr.is_read && number == 0;
    case INSN_SMSW:
        return exit->cr.is_read && number == 0;
    default:
        return false;
    }
}

static bool is_port_access(const struct insn *insn, const struct hv_exit *exit)
{
    bool is_string = insn->op == INSN_INS || insn->op == INSN_OUTS;

    if (is_string != exit->io.access.is_string)
        return false;
    return exit->io.access.is_write ? insn->op == INSN_OUT || insn->op == INSN_OUTS
                                    : insn->op == INSN_IN || insn->op == INSN_INS;
}

static enum match match_decoded(const struct hv_exit *exit, unsigned code_size, uint8_t *length)
{
    const struct hv_instruction *bytes = &exit->instruction;
    struct insn insn;
    enum decode_status status = decode_insn(&insn, bytes->bytes, HV_MIN(bytes->count, DECODE_LENGTH_MAX), code_size);

    if (status != DECODE_OK)
        return status == DECODE_MORE ? MATCH_MORE : MATCH_NOT;
    *length = insn.length;
    return (exit->reason == HV_EXIT_CR ? is_cr_access(&insn, exit) : is_port_access(&insn, exit)) ? MATCH_FOUND
                                                                                                  : MATCH_NOT;
}

static enum match match(const struct vcpu *v, const struct hv_exit *exit, uint8_t *length)
{
    const struct form *forms = forms_of(exit);
    unsigned code_size = gva_code_size(v);

    return forms ? match_forms(forms, &exit->instruction, code_size, length) : match_decoded(exit, code_size, length);
}

static bool is_of_an_instruction(const struct hv_exit *exit)
{
    return forms_of(exit) || exit->reason == HV_EXIT_CR || exit->reason == HV_EXIT_IO;
}

static enum match find(struct hv_vp *vp, struct hv_exit *exit, uint8_t *length)
{
    uint64_t flags = vp_walk_begin(vp);
    enum match result;

    code_fetch_in_page(vp, &exit->instruction);
    vp_walk_end(vp, flags);
    result = match(vp->vcpu, exit, length);
    if (result != MATCH_MORE)
        return result;
    gva_fetch_instruction(vp, &exit->instruction); /* the rest is in the next page */
    return match(vp->vcpu, exit, length);
}

/*
 * The next entry translates anew: should the CPU have the instruction by way of a translation that the tables do not
 * give any more, it now finds what we did. False: often enough.
 */
static bool try_again(struct hv_vp *vp)
{
    struct exit_length *l = &vp->length;
    struct vcpu *v = vp->vcpu;

    vcpu_need(v, VCPU_RIP);
    if (v->rip != l->failed_rip)
        l->failures = 0;
    l->failed_rip = v->rip;
    code_forget(vp); /* so that the next success counts: it comes by exit_length_find */
    v->flush_guest = true;
    return ++l->failures < FAILURES_MAX;
}

/* Not all emulators of CPUs have an exit of its own for it. */
static void tell_rdtscp(struct hv_exit *exit, uint8_t length)
{
    const uint8_t last = (uint8_t)(rdtscp[0].bytes >> 16);

    if (exit->reason == HV_EXIT_RDTSC)
        exit->rdtsc.is_rdtscp = exit->instruction.bytes[length - 1] == last;
}

static void tell_software_int(const struct vcpu *v, struct hv_exit *exit, uint8_t length)
{
    const uint8_t *bytes = exit->instruction.bytes;
    unsigned prefixes, at;

    if (exit->reason != HV_EXIT_SOFTWARE_INT)
        return;
    exit->instruction.count = length;
    at = take_prefixes(&exit->instruction, length, gva_code_size(v), &prefixes);
    exit->instruction.count = 0;
    exit->software.is_int_n = bytes[at] == 0xcd;
    exit->software.vector = bytes[at] == 0xcc ? VEC_BP : bytes[at] == 0xce ? VEC_OF : bytes[length - 1];
}

bool exit_length_find(struct hv_vp *vp, struct hv_exit *exit)
{
    uint8_t length = 0;
    enum match result;

    exit->instruction_length = 0;
    if (!is_of_an_instruction(exit))
        return true;
    result = find(vp, exit, &length);
    if (exit->reason != HV_EXIT_CR)
        exit->instruction.count = 0; /* not as many as the client gets */
    if (result == MATCH_FOUND) {
        vp->length.failures = 0;
        exit->instruction_length = length;
        tell_rdtscp(exit, length);
        tell_software_int(vp->vcpu, exit, length);
        return true;
    }
    if (try_again(vp))
        return false;
    vp->length.failures = 0;
    exit->reason = HV_EXIT_UNSUPPORTED_FEATURE;
    exit->unsupported.code = 1;
    exit->unsupported.parameter = 0;
    return true;
}
