/* SPDX-License-Identifier: MIT */
/*
 * The SVM backend on a fake CPU: register state through the VMCB, clean bits, controls, exits in neutral words, events
 * and single steps. The fake judges every entry (fake_svm.h); what the core does with the exits is test_run.c's.
 */
#include "svm_vcpu.h"
#include <arch/bits/apic.h>
#include <stdlib.h>

/* What the backend makes of a state is accepted by the CPU. */
static void entry_in_every_mode(void **state)
{
    (void)state;
    for (enum mode mode = REAL; mode < MODES; mode++) {
        set_mode(mode);
        run_cpuid();
        assert_int_equal(fake_svm_counts.vmruns, mode + 1);
    }
}

/* Every combination of shadow, trap flag, interrupt flag and what is pending. */
static void entry_with_every_shadow(void **state)
{
    (void)state;
    for (unsigned bits = 0; bits < 64; bits++) {
        set_mode(PROTECTED);
        v->rflags |= (bits & 1 ? RFLAGS_IF : 0) | (bits & 2 ? RFLAGS_TF : 0);
        v->interrupt_shadow = bits & 4;
        v->shadow_by_mov_ss = bits & 8 && bits & 4;
        v->nmi_masked = bits & 16;
        v->pending_debug = bits & 32 ? BIT64(14) : 0;
        run_cpuid();
        assert_int_equal(seen()->interrupt_state, bits & 4 ? INTERRUPT_SHADOW : 0);
        assert_int_equal(saw_intercept(INTERCEPT_IRET), bits & 16 || (bits & 4 && bits & 32)); /* a single step */
    }
}

/* ------------------------------------------------------------------------ lengths of instructions */

static uint8_t code_page[HV_PAGE_SIZE] __attribute__((aligned(HV_PAGE_SIZE)));
static uint64_t tables[VCPU_CODE_ENTRIES];

static uint8_t length_told(uint64_t code)
{
    return exit_of((struct fake_svm_step){.code = code}).instruction_length;
}

static void forget(void)
{
    const struct vcpu_code none = {.page = NULL};

    pin();
    backend()->learn_code(v, &none, 0);
    assert_null(backend()->code(v));
    unpin();
}

static void put_code(unsigned offset, const char *bytes, size_t size)
{
    memset(code_page, 0x90, sizeof(code_page));
    memcpy(code_page + offset, bytes, size);
}

/* The guest is at that offset of a page that so many entries lead to; the backend is told so. */
static void learn(enum mode mode, unsigned entries, unsigned offset)
{
    struct vcpu_code code = {.page = code_page, .generation = generation, .count = entries};

    forget();
    set_mode(mode);
    v->seg[SEG_CS].base = 0x1800;
    v->rip = mode == LONG ? 0x7fff12345000 + offset : 0x12345800 + offset;
    assert_int_equal(length_told(CODE(CPUID)), HV_LENGTH_UNKNOWN);
    for (unsigned i = 0; i < entries; i++) {
        tables[i] = 0x1007 * (i + 1);
        code.entry[i] = (struct vcpu_code_entry){&tables[i], tables[i]};
    }
    pin();
    backend()->learn_code(v, &code, offset);
    assert_ptr_equal(backend()->code(v), code_page + offset);
    unpin();
}

static void lengths_are_told_where_the_code_is_known(void **state)
{
    (void)state;
    for (enum mode mode = REAL; mode < MODES; mode++)
        for (unsigned entries = 0; entries <= VCPU_CODE_ENTRIES; entries++) {
            put_code(0x345, "\x0f\xa2\x0f\x30", 4);
            learn(mode, entries, 0x345);
            assert_int_equal(length_told(CODE(CPUID)), 2);
            assert_int_equal(exit_of((struct fake_svm_step){.code = CODE(MSR), .info1 = 1}).instruction_length,
                             HV_LENGTH_UNKNOWN);
            pin();
            backend()->advance(v, 2);
            unpin();
            assert_int_equal(length_told(CODE(CPUID)), HV_LENGTH_UNKNOWN);
            assert_int_equal(exit_of((struct fake_svm_step){.code = CODE(MSR), .info1 = 1}).instruction_length, 2);
        }
}

static void other_instructions_are_not_taken_for_it(void **state)
{
    static const struct {
        const char *bytes;
        uint64_t code;
        uint8_t length;
    } rows[] = {
        {"\x0f\xa2", CODE(CPUID), 2},
        {"\x66\x0f\xa2", CODE(CPUID), HV_LENGTH_UNKNOWN},
        {"\x0f\x32", CODE(MSR), 2},
        {"\x0f\x30", CODE(MSR), HV_LENGTH_UNKNOWN},
        {"\xf4", CODE(HLT), 1},
        {"\x40\xf4", CODE(HLT), HV_LENGTH_UNKNOWN},
        {"\x0f\x01\xd9", CODE(VMMCALL), 3},
        {"\x0f\x01\xc1", CODE(VMMCALL), HV_LENGTH_UNKNOWN},
        {"\x0f\x01\xd1", CODE(XSETBV), 3},
        {"\x0f\x01\xd0", CODE(XSETBV), HV_LENGTH_UNKNOWN},
        {"\x0f\x09", CODE(WBINVD), HV_LENGTH_UNKNOWN},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        put_code(0xffc, rows[i].bytes, strlen(rows[i].bytes));
        learn(PROTECTED, 2, 0xffc);
        assert_int_equal(length_told(rows[i].code), rows[i].length);
    }
}

/* One thing after the other that decides about the translation. */
static void a_change_on_the_way_to_the_code_is_seen(void **state)
{
    (void)state;
    for (enum mode mode = REAL; mode < MODES; mode++)
        for (unsigned change = 0; change < 9; change++) {
            put_code(0x345, "\x0f\xa2", 2);
            learn(mode, 5, 0x345);
            assert_int_equal(length_told(CODE(CPUID)), 2);
            pin();
            vcpu_need(v, VCPU_ALL & ~VCPU_APIC);
            switch (change) {
            case 0 ... 4:
                tables[change] ^= BIT64(12);
                break;
            case 5:
                generation++;
                break;
            case 6:
                v->cr3 ^= 0x1000;
                vcpu_changed(v, VCPU_CR3);
                break;
            case 7:
                v->seg[SEG_CS].base += 0x10;
                vcpu_changed(v, VCPU_CS);
                break;
            case 8: /* and back, which does not make it known again */
                v->cr4 ^= CR4_PSE;
                vcpu_changed(v, VCPU_CR4);
                unpin();
                assert_int_equal(length_told(CODE(CPUID)), HV_LENGTH_UNKNOWN);
                pin();
                vcpu_need(v, VCPU_CR4);
                v->cr4 ^= CR4_PSE;
                vcpu_changed(v, VCPU_CR4);
            }
            unpin();
            assert_int_equal(length_told(CODE(CPUID)), HV_LENGTH_UNKNOWN);
        }
}

static void code_elsewhere_is_not_known(void **state)
{
    (void)state;
    put_code(0x345, "\x0f\xa2", 2);
    learn(LONG, 4, 0x345);
    v->rip += HV_PAGE_SIZE;
    vcpu_changed(v, VCPU_RIP);
    assert_int_equal(length_told(CODE(CPUID)), HV_LENGTH_UNKNOWN);
    put_code(0xffd, "\x0f\xa2", 2); /* too near the end */
    learn(LONG, 4, 0);
    v->rip += 0xffd;
    vcpu_changed(v, VCPU_RIP);
    assert_int_equal(length_told(CODE(CPUID)), HV_LENGTH_UNKNOWN);
    put_code(0x345, "\x0f\xa2", 2);
    learn(LONG, 4, 0x345);
    forget();
    assert_int_equal(length_told(CODE(CPUID)), HV_LENGTH_UNKNOWN);
}

#define PAGES (VCPU_CODE_PAGES + 1)

static uint8_t code_pages[PAGES][HV_PAGE_SIZE] __attribute__((aligned(HV_PAGE_SIZE)));
static uint64_t entries[PAGES];

/* What is told of the CPUID in the n-th of some pages of code that follow one another. */
static uint8_t length_in_page(unsigned n)
{
    v->rip = 0x7fff12345345 + n * HV_PAGE_SIZE;
    vcpu_changed(v, VCPU_RIP);
    return length_told(CODE(CPUID));
}

static void learn_page(unsigned n)
{
    struct vcpu_code code = {.page = code_pages[n], .generation = generation, .count = 1};

    memcpy(code_pages[n] + 0x345, "\x0f\xa2", 2);
    entries[n] = 0x1007 * (n + 1);
    code.entry[0] = (struct vcpu_code_entry){&entries[n], entries[n]};
    pin();
    backend()->learn_code(v, &code, 0x345);
    unpin();
}

static void several_pages_of_code_are_known(void **state)
{
    (void)state;
    forget();
    set_mode(LONG);
    for (unsigned n = 0; n < VCPU_CODE_PAGES; n++) {
        assert_int_equal(length_in_page(n), HV_LENGTH_UNKNOWN);
        learn_page(n);
    }
    for (unsigned i = 0; i < 4 * VCPU_CODE_PAGES; i++)
        assert_int_equal(length_in_page(i * 3 % VCPU_CODE_PAGES), 2);
    entries[1] ^= BIT64(12);
    for (unsigned n = 0; n < VCPU_CODE_PAGES; n++)
        assert_int_equal(length_in_page(n), n == 1 ? HV_LENGTH_UNKNOWN : 2);
    assert_int_equal(length_in_page(VCPU_CODE_PAGES), HV_LENGTH_UNKNOWN); /* takes the place of the first one */
    learn_page(VCPU_CODE_PAGES);
    assert_int_equal(length_in_page(VCPU_CODE_PAGES), 2);
    assert_int_equal(length_in_page(0), HV_LENGTH_UNKNOWN);
    assert_int_equal(length_in_page(2), 2);
    v->efer ^= EFER_NXE; /* for all of them */
    vcpu_changed(v, VCPU_EFER);
    assert_int_equal(length_in_page(2), HV_LENGTH_UNKNOWN);
    learn_page(2);
    assert_int_equal(length_in_page(2), 2);
    v->efer ^= EFER_NXE;
    vcpu_changed(v, VCPU_EFER);
    for (unsigned n = 0; n < PAGES; n++)
        assert_int_equal(length_in_page(n), HV_LENGTH_UNKNOWN);
}

/* clang-format off */
static const struct mov_cr {
    const char *bytes;
    uint64_t code;
    uint8_t length, length64, gpr; /* HV_LENGTH_UNKNOWN: it is not found */
} mov_crs[] = {
    {"\x0f\x22\xc0",     EXIT_CR_WRITE,         3, 3, GPR_RAX},
    {"\x0f\x22\xc3",     EXIT_CR_WRITE,         3, 3, GPR_RBX},
    {"\x0f\x22\x04",     EXIT_CR_WRITE,         3, 3, GPR_RSP}, /* a register, whatever "mod" says */
    {"\x0f\x22\xe6",     EXIT_CR_WRITE + 4,     3, 3, GPR_RSI},
    {"\x0f\x22\xe6",     EXIT_CR_WRITE,         HV_LENGTH_UNKNOWN, HV_LENGTH_UNKNOWN, 0},
    {"\x0f\x22\xc6",     EXIT_CR_READ,          HV_LENGTH_UNKNOWN, HV_LENGTH_UNKNOWN, 0},
    {"\x0f\x20\xc6",     EXIT_CR_READ,          3, 3, GPR_RSI},
    {"\x0f\x20\xe6",     EXIT_CR_WRITE + 4,     HV_LENGTH_UNKNOWN, HV_LENGTH_UNKNOWN, 0},
    {"\x41\x0f\x22\xc7", EXIT_CR_WRITE,         HV_LENGTH_UNKNOWN, 4, GPR_R15},
    {"\x44\x0f\x22\xc0", EXIT_CR_WRITE + 8,     HV_LENGTH_UNKNOWN, 4, GPR_RAX},
    {"\x44\x0f\x22\xc0", EXIT_CR_WRITE,         HV_LENGTH_UNKNOWN, HV_LENGTH_UNKNOWN, 0},
    {"\x66\x0f\x22\xc0", EXIT_CR_WRITE,         HV_LENGTH_UNKNOWN, HV_LENGTH_UNKNOWN, 0},
    {"\xf0\x0f\x22\xc0", EXIT_CR_WRITE,         HV_LENGTH_UNKNOWN, HV_LENGTH_UNKNOWN, 0},
    {"\x0f\x01\xf0",     CODE(CR0_SEL_WRITE),   HV_LENGTH_UNKNOWN, HV_LENGTH_UNKNOWN, 0}, /* LMSW AX */
    {"\x0f\x22\xc0",     CODE(CR0_SEL_WRITE),   3, 3, GPR_RAX},
};
/* clang-format on */

static void check_mov_cr(enum mode mode, const struct mov_cr *row)
{
    uint8_t length = mode == LONG ? row->length64 : row->length;
    struct hv_exit exit;

    put_code(0xffc, row->bytes, strlen(row->bytes));
    learn(mode, 4, 0xffc);
    for (unsigned i = 0; i < GPR_COUNT; i++)
        v->gpr[i] = 0x1111111122222200 + i;
    v->cr0 |= CR0_CD;              /* hidden: all accesses to CR0 exit */
    v->controls.tpr_threshold = 1; /* and writes of CR8 */
    vcpu_changed(v, VCPU_RSP | VCPU_CR0 | VCPU_CONTROLS);
    exit = exit_of((struct fake_svm_step){.code = row->code});
    assert_int_equal(exit.reason, HV_EXIT_CR);
    assert_int_equal(exit.instruction_length, length);
    assert_int_equal(exit.cr.is_known, length != HV_LENGTH_UNKNOWN);
    if (!exit.cr.is_known)
        return;
    assert_int_equal(exit.cr.gpr, row->gpr);
    if (!exit.cr.is_read)
        assert_int_equal(exit.cr.value, mode == LONG ? v->gpr[row->gpr] : (uint32_t)v->gpr[row->gpr]);
}

/* The CPU tells nothing of it. */
static void mov_cr_where_the_code_is_known(void **state)
{
    static const enum mode modes[] = {REAL, PROTECTED, PAE, LONG, COMPAT};

    (void)state;
    for (size_t m = 0; m < ARRAY_COUNT(modes); m++)
        for (size_t i = 0; i < ARRAY_COUNT(mov_crs); i++)
            check_mov_cr(modes[m], &mov_crs[i]);
}

/* --------------------------------------------------------- control registers of a state that was entered */

/* Changes one of them as the core does. Returns whether that made the next entry one that might be refused. */
static bool is_proof_needed(uint64_t *reg, uint32_t group, uint64_t changed)
{
    pin();
    vcpu_need(v, group);
    *reg ^= changed;
    vcpu_changed(v, group);
    svm()->backup.interrupt_state = ~0ull; /* where a copy is made, it is not this any more */
    unpin();
    run_cpuid();
    pin();
    vcpu_need(v, group);
    unpin();
    return svm()->backup.interrupt_state != ~0ull;
}

/* Their new values are entered with all the same, and the CPU hears that it has to read them. */
static void control_bits_without_a_rule(void **state)
{
    static const uint64_t cr0_bits[] = {CR0_WP, CR0_AM, CR0_NE, CR0_TS, CR0_MP, CR0_EM, CR0_WP | CR0_TS};
    static const uint64_t cr4_bits[] = {CR4_PGE, CR4_DE, CR4_TSD, CR4_PGE | CR4_OSFXSR};

    (void)state;
    set_mode(LONG);
    v->cr0 |= CR0_ET | CR0_NE;
    run_cpuid();
    for (unsigned i = 0; i < 2 * ARRAY_COUNT(cr0_bits); i++) {
        assert_false(is_proof_needed(&v->cr0, VCPU_CR0, cr0_bits[i / 2]));
        assert_int_equal(seen()->cr0, v->cr0);
        assert_int_equal(seen()->clean & CLEAN_CR, 0);
    }
    for (unsigned i = 0; i < 2 * ARRAY_COUNT(cr4_bits); i++) {
        assert_false(is_proof_needed(&v->cr4, VCPU_CR4, cr4_bits[i / 2]));
        assert_int_equal(seen()->cr4 & ~CR4_MCE, v->cr4);
        assert_int_equal(seen()->clean & CLEAN_CR, 0);
    }
    run_cpuid();
    assert_int_equal(seen()->clean & CLEAN_CR, svm_has(CPUID_SVM_EDX_VMCB_CLEAN) ? CLEAN_CR : 0);
}

static void control_bits_with_a_rule(void **state)
{
    (void)state;
    set_mode(PAE);
    v->cr0 |= CR0_NE;
    run_cpuid();
    assert_true(is_proof_needed(&v->cr0, VCPU_CR0, CR0_CD));
    assert_int_equal(seen()->cr0 & CR0_CD, 0); /* hidden, and reads exit */
    assert_true(seen()->cr_reads & 1);
    assert_true(is_proof_needed(&v->cr0, VCPU_CR0, CR0_CD | CR0_WP));
    assert_int_equal(seen()->cr_reads & 1, 0);
    assert_true(is_proof_needed(&v->cr0, VCPU_CR0, CR0_PG));
    assert_true(is_proof_needed(&v->cr4, VCPU_CR4, CR4_PAE));
    assert_true(is_proof_needed(&v->cr4, VCPU_CR4, CR4_PSE));
}

/* ------------------------------------------------------------------ registers through the VMCB */

static uint64_t noise(void)
{
    return (uint64_t)rand() << 42 ^ (uint64_t)rand() << 21 ^ (uint64_t)rand();
}

/* Any values: nothing is entered. The core keeps the privilege level in SS. */
static void fill_registers(struct vcpu *to)
{
    to->rip = noise();
    to->rflags = noise() & ~RFLAGS_VM;
    to->gpr[GPR_RSP] = noise();
    to->cr0 = (noise() & CR0_DEFINED) | CR0_ET | CR0_PE;
    to->cr3 = noise();
    to->cr4 = noise();
    to->efer = noise() & (EFER_SCE | EFER_NXE);
    for (unsigned s = 0; s < SEG_COUNT; s++)
        to->seg[s] =
            (struct hv_segment){noise(), (uint32_t)noise(), (uint16_t)noise(), (uint16_t)(noise() & ~SEG_RESERVED)};
    to->seg[SEG_TR].attributes |= 2; /* a TSS in use is busy */
    to->idtr = (struct hv_table){.base = noise(), .limit = (uint16_t)noise()};
    to->gdtr = (struct hv_table){.base = noise(), .limit = (uint16_t)noise()};
    to->dr6 = noise();
    to->dr7 = noise();
    to->sysenter_cs = (uint32_t)noise();
    to->sysenter_esp = noise();
    to->sysenter_eip = noise();
    for (unsigned i = 0; i < VCPU_MSR_COUNT; i++)
        to->msr[i] = noise();
    to->pat = noise();
    to->cr8 = noise() & 15;
    to->interrupt_shadow = noise() & 1;
}

#define WORD(group, member)                                                      \
    {                                                                            \
        group, offsetof(struct vcpu, member), sizeof(((struct vcpu *)0)->member) \
    }
/* clang-format off */
static const struct {
    uint32_t group;
    size_t offset, size;
} members[] = {
    WORD(VCPU_RIP, rip), WORD(VCPU_RFLAGS, rflags), WORD(VCPU_RSP, gpr[GPR_RSP]), WORD(VCPU_CR0, cr0),
    WORD(VCPU_CR3, cr3), WORD(VCPU_CR4, cr4), WORD(VCPU_EFER, efer), WORD(VCPU_DR6, dr6), WORD(VCPU_DR7, dr7),
    WORD(VCPU_SYSENTER, sysenter_cs), WORD(VCPU_SYSENTER, sysenter_esp), WORD(VCPU_SYSENTER, sysenter_eip),
    WORD(VCPU_PAT, pat), WORD(VCPU_CR8, cr8), WORD(VCPU_INTR, interrupt_shadow),
    WORD(VCPU_TABLES, idtr.base), WORD(VCPU_TABLES, idtr.limit), WORD(VCPU_TABLES, gdtr.base),
    WORD(VCPU_TABLES, gdtr.limit),
    WORD(VCPU_SEG(SEG_ES), seg[SEG_ES]), WORD(VCPU_SEG(SEG_CS), seg[SEG_CS]), WORD(VCPU_SEG(SEG_SS), seg[SEG_SS]),
    WORD(VCPU_SEG(SEG_DS), seg[SEG_DS]), WORD(VCPU_SEG(SEG_FS), seg[SEG_FS]), WORD(VCPU_SEG(SEG_GS), seg[SEG_GS]),
    WORD(VCPU_SEG(SEG_LDTR), seg[SEG_LDTR]), WORD(VCPU_SEG(SEG_TR), seg[SEG_TR]),
    WORD(VCPU_MSRS, msr[VCPU_MSR_STAR]), WORD(VCPU_MSRS, msr[VCPU_MSR_LSTAR]), WORD(VCPU_MSRS, msr[VCPU_MSR_CSTAR]),
    WORD(VCPU_MSRS, msr[VCPU_MSR_SFMASK]), WORD(VCPU_MSRS, msr[VCPU_MSR_KERNEL_GS_BASE]),
};
/* clang-format on */
#define MOVING_GROUPS (VCPU_ALL & ~VCPU_STICKY & ~VCPU_PDPTE)

/* The groups of `changed` are as in `b`, the others as in `a`. */
static void assert_registers(const struct vcpu *a, const struct vcpu *b, uint32_t changed)
{
    for (size_t i = 0; i < ARRAY_COUNT(members); i++) {
        const struct vcpu *wanted = members[i].group & changed ? b : a;

        if (memcmp((const char *)v + members[i].offset, (const char *)wanted + members[i].offset, members[i].size))
            fail_msg("member %u of group 0x%x: group 0x%x was changed", (unsigned)i, members[i].group, changed);
    }
}

static void fetch_all(void)
{
    v->valid = VCPU_STICKY;
    fill_registers(v);
    vcpu_need(v, VCPU_ALL & ~VCPU_STICKY);
}

/* All groups go there and come back, and each of them goes alone. */
static void registers_round_trip(void **state)
{
    (void)state;
    pin();
    fill_registers(v);
    vcpu_changed(v, MOVING_GROUPS);
    svm_sync(svm());
    for (uint32_t group = 1; group; group <<= 1) {
        struct vcpu before, after;

        if (!(group & MOVING_GROUPS))
            continue;
        fetch_all();
        before = *v;
        fill_registers(v);
        after = *v;
        v->valid = VCPU_STICKY;
        vcpu_changed(v, group);
        svm_sync(svm());
        assert_int_equal(v->dirty, 0);
        fetch_all();
        assert_registers(&before, &after, group);
    }
    unpin();
}

/* APM 2 4.8: the attributes lie in 12 bits. TR's TSS is busy to the core, and available to these CPUs. */
static void attributes_of_segments(void **state)
{
    static const struct {
        uint16_t here, there;
    } attributes[] = {
        {SEG_ATTR_CODE64, 0xa9b},
        {SEG_ATTR_CODE32, 0xc9b},
        {SEG_ATTR_DATA32, 0xc93},
        {SEG_ATTR_REAL_CODE, 0x09b},
        {SEG_ATTR_TSS_BUSY, 0x08b},
        {SEG_ATTR_LDT, 0x082},
        {0x1000, 0x100},
        {SEG_ATTR_DATA32 & ~SEG_P, 0xc13},
    };

    (void)state;
    pin();
    for (size_t i = 0; i < ARRAY_COUNT(attributes); i++)
        for (unsigned s = 0; s < SEG_COUNT; s++) {
            const struct vmcb_segment *there[] = {&vmcb()->es, &vmcb()->cs, &vmcb()->ss,   &vmcb()->ds,
                                                  &vmcb()->fs, &vmcb()->gs, &vmcb()->ldtr, &vmcb()->tr};

            v->seg[s] = (struct hv_segment){0x123456789abc, 0xfedcba98, (uint16_t)(8 * s), attributes[i].here};
            vcpu_changed(v, VCPU_SEG(s));
            svm_sync(svm());
            assert_int_equal(there[s]->attributes, attributes[i].there & (s == SEG_TR ? ~2u : ~0u));
            assert_int_equal(there[s]->limit, 0xfedcba98);
            assert_int_equal(there[s]->base, 0x123456789abc);
            assert_int_equal(there[s]->selector, 8 * s);
        }
    unpin();
}

static unsigned cpl_in(enum mode mode, unsigned dpl)
{
    set_mode(mode);
    v->seg[SEG_SS].attributes = (uint16_t)((v->seg[SEG_SS].attributes & ~SEG_DPL) | FIELD_PUT(SEG_DPL, dpl));
    if (mode == LONG && dpl)
        v->seg[SEG_CS].attributes |= (uint16_t)FIELD_PUT(SEG_DPL, dpl);
    run_cpuid();
    return seen()->cpl;
}

/* The privilege level has a field of its own, which follows the mode, and SS follows it. */
static void the_privilege_level(void **state)
{
    (void)state;
    assert_int_equal(cpl_in(REAL, 3), 0);
    assert_int_equal(cpl_in(V86, 3), 3);
    assert_int_equal(cpl_in(PROTECTED, 0), 0);
    assert_int_equal(cpl_in(PROTECTED, 3), 3);
    assert_int_equal(cpl_in(LONG, 3), 3);
    pin();
    vmcb()->cpl = 3; /* SYSRET, say, which leaves SS's attributes alone */
    vmcb()->ss.attributes = 0xc93;
    v->valid = VCPU_STICKY;
    vcpu_need(v, VCPU_SS);
    assert_int_equal(FIELD_GET(SEG_DPL, v->seg[SEG_SS].attributes), 3);
    unpin();
    /* a client that changes RFLAGS.VM alone */
    set_mode(PROTECTED);
    run_cpuid();
    pin();
    vcpu_need(v, VCPU_RFLAGS);
    v->rflags |= RFLAGS_VM;
    vcpu_changed(v, VCPU_RFLAGS);
    unpin();
    run_cpuid();
    assert_int_equal(seen()->cpl, 3);
}

/* Guests turn caches off only as far as they can tell. */
static void cr0_hides_caching(void **state)
{
    (void)state;
    set_mode(PROTECTED);
    v->cr0 |= CR0_CD | CR0_NW;
    run_cpuid();
    assert_int_equal(seen()->cr0 & (CR0_CD | CR0_NW), 0);
    assert_true(seen()->cr_reads & 1 && seen()->cr_writes & 1);
    pin();
    vmcb()->cr0 |= CR0_TS;
    v->valid = VCPU_STICKY;
    vcpu_need(v, VCPU_CR0);
    assert_int_equal(v->cr0, CR0_PE | CR0_ET | CR0_CD | CR0_NW | CR0_TS);
    v->cr0 &= ~(CR0_CD | CR0_NW);
    vcpu_changed(v, VCPU_CR0);
    unpin();
    run_cpuid();
    assert_false(seen()->cr_reads & 1 || seen()->cr_writes & 1);
    assert_true(saw_intercept(INTERCEPT_CR0_SEL_WRITE));
    assert_int_equal(seen()->cr0, CR0_PE | CR0_ET | CR0_TS);
}

static void cr4_hides_machine_checks(void **state)
{
    (void)state;
    fake_x86(0)->cr4 |= CR4_MCE; /* the host takes them */
    set_mode(PAE);
    run_cpuid();
    assert_int_equal(seen()->cr4, CR4_PAE | CR4_MCE);
    assert_true(seen()->cr_reads & 1 << 4 && seen()->cr_writes & 1 << 4);
    pin();
    v->valid = VCPU_STICKY;
    vcpu_need(v, VCPU_CR4);
    assert_int_equal(v->cr4, CR4_PAE);
    v->cr4 |= CR4_MCE;
    vcpu_changed(v, VCPU_CR4);
    unpin();
    run_cpuid();
    assert_false(seen()->cr_reads & 1 << 4);
    pin();
    v->valid = VCPU_STICKY;
    vcpu_need(v, VCPU_CR4);
    assert_int_equal(v->cr4, CR4_PAE | CR4_MCE);
    fake_x86(0)->cr4 &= ~CR4_MCE;
    unpin();
}

static void efer_hides_svm(void **state)
{
    (void)state;
    set_mode(PROTECTED);
    v->efer = EFER_LME | EFER_SCE;
    v->cr4 = CR4_PAE;
    run_cpuid();
    assert_int_equal(seen()->efer, EFER_SCE | EFER_SVME); /* without paging LME does nothing */
    pin();
    vcpu_need(v, VCPU_CR0 | VCPU_EFER);
    assert_int_equal(v->efer, EFER_LME | EFER_SCE);
    v->cr0 |= CR0_PG; /* EFER itself is not marked */
    vcpu_changed(v, VCPU_CR0);
    unpin();
    run_cpuid();
    assert_int_equal(seen()->efer, EFER_LME | EFER_LMA | EFER_SCE | EFER_SVME);
    pin();
    vcpu_need(v, VCPU_EFER);
    assert_int_equal(v->efer, EFER_LME | EFER_LMA | EFER_SCE);
    unpin();
}

static void guest_lowers_its_priority(uint64_t gpr[16])
{
    (void)gpr;
    fake_vmcb()->v_intr = (fake_vmcb()->v_intr & ~V_TPR) | 4;
}

static void cr8_is_the_task_priority(void **state)
{
    volatile uint32_t *tpr = &v->apic_page[APIC_TPR / 4];

    (void)state;
    run_cpuid();
    *tpr = 0x97;
    run_cpuid();
    assert_int_equal(seen()->v_intr & V_TPR, 9);
    assert_int_equal(*tpr, 0x97); /* the guest sees what it has written */
    v->cr8 = 11;
    vcpu_changed(v, VCPU_CR8);
    run_cpuid();
    assert_int_equal(seen()->v_intr & V_TPR, 11);
    assert_int_equal(*tpr, 0xb0);
    FAKE_SVM_GUEST({.run = guest_lowers_its_priority, .code = CODE(CPUID), .length = 2});
    run_once();
    assert_int_equal(*tpr, 0x40);
    pin();
    vcpu_need(v, VCPU_CR8);
    assert_int_equal(v->cr8, 4);
    unpin();
    assert_false(seen()->cr_writes & 1 << 8);
    v->controls.tpr_threshold = 3; /* there is no threshold in hardware */
    vcpu_changed(v, VCPU_CONTROLS);
    run_cpuid();
    assert_true(seen()->cr_writes & 1 << 8);
}

static void guest_goes_on(uint64_t gpr[16])
{
    (void)gpr;
    fake_vmcb()->rip++;
}

/* Whatever the CPU says: no instruction, no end of the shadow. */
static void shadows(void **state)
{
    (void)state;
    set_mode(PROTECTED);
    exit_of((struct fake_svm_step){.code = CODE(INTR), .shadow = true});
    pin();
    vcpu_need(v, VCPU_INTR);
    assert_true(v->interrupt_shadow);
    unpin();
    run_cpuid(); /* nobody touches it */
    assert_int_equal(seen()->interrupt_state & INTERRUPT_SHADOW, INTERRUPT_SHADOW);
    pin();
    vcpu_need(v, VCPU_INTR);
    assert_true(v->interrupt_shadow);
    unpin();
    FAKE_SVM_GUEST({.run = guest_goes_on, .code = CODE(CPUID), .length = 2});
    run_once();
    pin();
    vcpu_need(v, VCPU_INTR);
    assert_false(v->interrupt_shadow);
    v->interrupt_shadow = true;
    vcpu_changed(v, VCPU_INTR);
    unpin();
    run_cpuid();
    assert_int_equal(seen()->interrupt_state, INTERRUPT_SHADOW);
}

static void raw_access(void **state)
{
    uint64_t value = 0;

    (void)state;
    pin();
    v->rip = 0x1234;
    vcpu_changed(v, VCPU_RIP);
    assert_int_equal(backend()->raw_get(v, offsetof(struct vmcb, rip), &value), HV_OK);
    assert_int_equal(value, 0x1234); /* not yet in the VMCB before the call */
    assert_int_equal(backend()->raw_set(v, offsetof(struct vmcb, rip), 0x5678), HV_OK);
    vcpu_need(v, VCPU_RIP);
    assert_int_equal(v->rip, 0x5678);
    assert_int_equal(backend()->raw_get(v, 0x1000, &value), HV_E_INVALID);
    assert_int_equal(backend()->raw_get(v, 0xfffffff8, &value), HV_E_INVALID);
    assert_int_equal(backend()->raw_get(v, offsetof(struct vmcb, rip) + 1, &value), HV_E_INVALID);
    assert_int_equal(backend()->raw_set(v, 0x1000, 0), HV_E_INVALID);
    for (uint32_t field = 0; field < 0x400; field += 8) /* intercepts, maps, ASID, nested CR3... */
        assert_int_equal(backend()->raw_set(v, field, 0), HV_E_INVALID);
    unpin();
    /* what was written raw reaches the CPU */
    run_cpuid();
    pin();
    assert_int_equal(backend()->raw_set(v, offsetof(struct vmcb, cr3), 0x77000), HV_OK);
    unpin();
    run_cpuid();
    assert_int_equal(seen()->cr3, 0x77000);
}

/* ----------------------------------------------------------------------------------- clean bits */

/* A run with nothing changed: the CPU need not read the VMCB's state again. */
static void reentry_is_clean(void **state)
{
    (void)state;
    FAKE_SVM_GUEST({.code = CODE(INTR)}, {.code = CODE(INTR)}, {.code = CODE(INTR)}, {.code = CODE(INTR)});
    load();
    enter();
    assert_int_equal(seen()->clean, 0);
    enter();
    assert_int_equal(seen()->clean, CLEAN_ALL);
    put();
    load(); /* neither is there anything new to the next run on the same CPU */
    enter();
    enter();
    put();
    assert_int_equal(seen()->clean, CLEAN_ALL);
    assert_int_equal(seen()->tlb_control, TLB_KEEP);
}

/* The entry that was to drop translations was refused: the next one does, if it has no new ASID. */
static void a_refused_flush(void **state)
{
    uint32_t asid;

    (void)state;
    run_cpuid();
    asid = seen()->asid;
    v->flush_guest = true;
    assert_int_equal(exit_of((struct fake_svm_step){.code = EXIT_INVALID}).reason, HV_EXIT_INVALID_REGISTER_VALUE);
    run_cpuid();
    assert_true(seen()->tlb_control != TLB_KEEP || seen()->asid != asid);
    run_cpuid();
    assert_int_equal(seen()->tlb_control, TLB_KEEP);
}

static const struct {
    uint32_t group, dirties;
} dirties[] = {
    {VCPU_RIP, 0},
    {VCPU_RSP, 0},
    {VCPU_CR0, CLEAN_CR},
    {VCPU_CR3, CLEAN_CR},
    {VCPU_CR4, CLEAN_CR},
    {VCPU_EFER, CLEAN_CR},
    {VCPU_TABLES, CLEAN_TABLES},
    {VCPU_DR6, CLEAN_DR},
    {VCPU_DR7, CLEAN_DR},
    {VCPU_SYSENTER, 0},
    {VCPU_MSRS, 0},
    {VCPU_PAT, CLEAN_NESTED},
    {VCPU_TSC, CLEAN_INTERCEPTS},
    {VCPU_SEG(SEG_ES), CLEAN_SEGMENTS},
    {VCPU_SEG(SEG_CS), CLEAN_SEGMENTS},
    {VCPU_SEG(SEG_SS), CLEAN_SEGMENTS},
    {VCPU_SEG(SEG_DS), CLEAN_SEGMENTS},
    {VCPU_SEG(SEG_FS), 0},
    {VCPU_SEG(SEG_GS), 0},
    {VCPU_SEG(SEG_LDTR), 0},
    {VCPU_SEG(SEG_TR), 0},
};

/* Each group tells the CPU to read what it has changed, and no more than that. */
static void groups_and_clean_bits(void **state)
{
    (void)state;
    set_mode(PROTECTED);
    run_cpuid();
    for (size_t i = 0; i < ARRAY_COUNT(dirties); i++) {
        pin();
        vcpu_need(v, VCPU_ALL & ~VCPU_STICKY);
        vcpu_changed(v, dirties[i].group);
        unpin();
        run_cpuid();
        if (seen()->clean != (CLEAN_ALL & ~dirties[i].dirties))
            fail_msg("group 0x%x: clean bits are 0x%x", dirties[i].group, seen()->clean);
    }
    v->cr2 = 0x1234;
    run_cpuid();
    assert_int_equal(seen()->clean, CLEAN_ALL & ~CLEAN_CR2);
    v->apic_page[APIC_TPR / 4] = 0x50;
    run_cpuid();
    assert_int_equal(seen()->clean, CLEAN_ALL & ~CLEAN_V_INTR);
}

/* Whatever a client sets to whatever values, the CPU does not go by what it has kept. */
static void random_changes_are_seen(void **state)
{
    (void)state;
    set_mode(LONG);
    run_cpuid();
    for (unsigned i = 0; i < 500; i++) {
        uint32_t groups = (uint32_t)noise() & MOVING_GROUPS;

        pin();
        vcpu_need(v, VCPU_ALL & ~VCPU_STICKY);
        v->cr0 = CR0_PE | CR0_PG | CR0_ET | (noise() & (CR0_TS | CR0_WP | CR0_CD));
        v->cr3 = noise() & BITS64(38, 12);
        v->cr4 = CR4_PAE | (noise() & (CR4_PGE | CR4_MCE | CR4_DE));
        v->efer = EFER_LME | EFER_LMA | (noise() & (EFER_NXE | EFER_SCE));
        v->dr6 = noise() & DR6_BP;
        v->dr7 = noise() & 0xff;
        v->pat = noise() & 0x0101010101010101; /* WC or UC */
        v->idtr.base = noise();
        v->gdtr.limit = (uint16_t)noise();
        v->rflags = RFLAGS_FIXED | (noise() & (RFLAGS_IF | RFLAGS_CF));
        v->cr8 = noise() & 15;
        for (unsigned s = 0; s < SEG_COUNT; s++)
            v->seg[s].base = noise();
        v->seg[SEG_SS].attributes = (uint16_t)((v->seg[SEG_SS].attributes & ~SEG_DPL) | (noise() & SEG_DPL));
        v->controls.exception_bitmap = (uint32_t)noise() & ~BIT32(VEC_DB);
        v->controls.hlt_exit = noise() & 1;
        vcpu_changed(v, groups | ((uint32_t)noise() & VCPU_CONTROLS));
        v->valid &= groups | VCPU_STICKY; /* the rest was not meant */
        v->cr2 = noise() & 1 ? noise() : v->cr2;
        unpin();
        run_cpuid();
    }
}

/* -------------------------------------------------------------------------------------- controls */

static void controls_follow_the_core(void **state)
{
    (void)state;
    run_cpuid();
    assert_true(saw_intercept(INTERCEPT_HLT));
    assert_false(saw_intercept(INTERCEPT_RDTSC) || saw_intercept(INTERCEPT_RDTSCP));
    assert_false(seen()->v_intr & V_IRQ || saw_intercept(INTERCEPT_ICEBP) || saw_intercept(INTERCEPT_PAUSE));
    assert_int_equal(seen()->exceptions, BIT32(VEC_MC));
    assert_int_equal(seen()->dr_reads, 0xffff);
    assert_int_equal(seen()->dr_writes, 0xffff);
    v->controls = (struct vcpu_controls){
        .exception_bitmap = BIT32(VEC_UD) | BIT32(VEC_DB), .rdtsc_exit = true, .pause_exit = true};
    vcpu_changed(v, VCPU_CONTROLS);
    run_cpuid();
    assert_false(saw_intercept(INTERCEPT_HLT));
    assert_true(saw_intercept(INTERCEPT_RDTSC) && saw_intercept(INTERCEPT_RDTSCP) && saw_intercept(INTERCEPT_ICEBP));
    assert_int_equal(seen()->exceptions, BIT32(VEC_UD) | BIT32(VEC_DB) | BIT32(VEC_MC));
    assert_int_equal(saw_intercept(INTERCEPT_PAUSE), svm_has(CPUID_SVM_EDX_PAUSE)); /* only loops of them */
    if (svm_has(CPUID_SVM_EDX_PAUSE))
        assert_true(seen()->pause_count > 1);
}

/* INT3 may be an INT n to a CPU without next-RIP save. */
static void breakpoints_that_exit(void **state)
{
    bool bare = !svm_has(CPUID_SVM_EDX_NRIPS);
    struct hv_exit exit;

    (void)state;
    run_cpuid();
    assert_false(saw_intercept(INTERCEPT_SWINT));
    v->controls.exception_bitmap = BIT32(VEC_OF);
    vcpu_changed(v, VCPU_CONTROLS);
    run_cpuid();
    assert_int_equal(saw_intercept(INTERCEPT_SWINT), bare);
    if (bare) {
        exit = exit_of((struct fake_svm_step){.code = CODE(SWINT)});
        assert_int_equal(exit.reason, HV_EXIT_SOFTWARE_INT);
        assert_int_equal(exit.instruction_length, HV_LENGTH_UNKNOWN);
        assert_false(exit.software.is_int_n);
        assert_int_equal(exit.software.vector, VEC_BP);
        /* a single step leaves it on */
        set_mode(PROTECTED);
        v->controls.exception_bitmap = BIT32(VEC_BP);
        v->controls.interrupt_window = v->interrupt_shadow = true;
        vcpu_changed(v, VCPU_CONTROLS | VCPU_INTR);
        run_cpuid();
        assert_true(vmcb_intercepts(svm()->vmcb, INTERCEPT_SWINT));
    }
}

static void the_interrupt_window(void **state)
{
    struct hv_exit exit;

    (void)state;
    set_mode(PROTECTED);
    v->rflags |= RFLAGS_IF;
    v->controls.interrupt_window = true;
    v->cr8 = 15; /* what the priority lets through is the core's matter */
    run_cpuid();
    assert_true(saw_intercept(INTERCEPT_VINTR));
    assert_true(seen()->v_intr & V_IRQ);
    assert_true(seen()->v_intr & V_IGN_TPR);
    exit = exit_of((struct fake_svm_step){.code = CODE(VINTR)});
    assert_int_equal(exit.reason, HV_EXIT_WINDOW);
    assert_false(exit.window.nmi);
    v->controls.interrupt_window = false;
    vcpu_changed(v, VCPU_CONTROLS);
    run_cpuid();
    assert_false(seen()->v_intr & V_IRQ);
}

/* In the map as APM 2 15.11 lays it out: is the access let through? */
static bool is_direct(uint32_t index, bool write)
{
    const uint8_t *map = svm()->msrpm;
    uint32_t at = (index & 0x1fff) * 2 + write;

    map += index >= 0xc0010000 ? 0x1000 : index >= 0xc0000000 ? 0x800 : 0;
    return !(map[at / 8] >> at % 8 & 1);
}

static void msr_permission_map(void **state)
{
    static const uint32_t both[] = {MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP,
                                    MSR_IA32_FS_BASE,     MSR_IA32_GS_BASE,      MSR_IA32_KERNEL_GS_BASE};
    static const uint32_t reads[] = {MSR_IA32_STAR, MSR_IA32_LSTAR, MSR_IA32_CSTAR, MSR_IA32_FMASK};
    const uint8_t *map = svm()->msrpm;
    unsigned direct = 0;

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(both); i++)
        assert_true(is_direct(both[i], false) && is_direct(both[i], true));
    for (size_t i = 0; i < ARRAY_COUNT(reads); i++)
        assert_true(is_direct(reads[i], false) && !is_direct(reads[i], true));
    for (uint32_t bit = 0; bit < MSRPM_PAGES * HV_PAGE_SIZE * 8; bit++)
        direct += !(map[bit / 8] >> bit % 8 & 1);
    assert_int_equal(direct, 2 * ARRAY_COUNT(both) + ARRAY_COUNT(reads));
    vmcb()->clean = CLEAN_ALL;
    backend()->exit_on_msr(v, MSR_IA32_STAR, true, false);
    assert_false(is_direct(MSR_IA32_STAR, false));
    assert_int_equal(vmcb()->clean, CLEAN_ALL & ~CLEAN_MAPS);
    backend()->exit_on_msr(v, MSR_IA32_STAR, false, false);
    assert_true(is_direct(MSR_IA32_STAR, false) && !is_direct(MSR_IA32_STAR, true));
    backend()->exit_on_msr(v, MSR_IA32_FS_BASE, false, true);
    assert_true(is_direct(MSR_IA32_FS_BASE, false) && !is_direct(MSR_IA32_FS_BASE, true));
    backend()->exit_on_msr(v, MSR_IA32_FS_BASE, false, false);
    assert_true(is_direct(MSR_IA32_FS_BASE, true));
    backend()->exit_on_msr(v, MSR_IA32_MISC_ENABLE, false, false);
    backend()->exit_on_msr(v, MSR_AMD_VM_CR, false, false);
    backend()->exit_on_msr(v, 0xffffffff, false, false);
    backend()->exit_on_msr(v, MSR_IA32_X2APIC_BASE + 8, false, false);
    direct = 0;
    for (uint32_t bit = 0; bit < MSRPM_PAGES * HV_PAGE_SIZE * 8; bit++)
        direct += !(map[bit / 8] >> bit % 8 & 1);
    assert_int_equal(direct, 2 * ARRAY_COUNT(both) + ARRAY_COUNT(reads));
}

/* All 65536 ports, and what accesses of 4 bytes reach behind the last. */
static void every_port_exits(void **state)
{
    const uint8_t *map = hv_host_phys_to_virt(vmcb()->iopm_pa);

    (void)state;
    for (uint32_t port = 0; port < 65536 + 3; port++)
        assert_true(map[port / 8] >> port % 8 & 1);
}

/* ------------------------------------------------------------------------------ exits described */

#define NOT_SAID (-1)
#define IS_FAULT 0
#define IO_OUT8  ((0x3f8u << 16) | 1u << 4)

/* clang-format off */
/* length: with next-RIP save. Without, an instruction's length is not known, but for IOIO. */
static const struct {
    const char *name;
    struct fake_svm_step step;
    enum hv_exit_reason reason;
    int length;
} exits[] = {
    {"interrupt",      {.code = CODE(INTR)}, HV_EXIT_HOST_EVENT, NOT_SAID},
    {"NMI",            {.code = CODE(NMI)}, HV_EXIT_HOST_EVENT, NOT_SAID},
    {"SMI",            {.code = CODE(SMI)}, HV_EXIT_HOST_EVENT, NOT_SAID},
    {"INIT",           {.code = CODE(INIT)}, HV_EXIT_HOST_EVENT, NOT_SAID},
    {"machine check",  {.code = EXIT_EXCEPTION + VEC_MC}, HV_EXIT_HOST_EVENT, NOT_SAID},
    {"exception",      {.code = EXIT_EXCEPTION + VEC_UD}, HV_EXIT_EXCEPTION, IS_FAULT},
    {"page fault",     {.code = EXIT_EXCEPTION + VEC_PF, .info1 = 2, .info2 = 0x1000}, HV_EXIT_EXCEPTION, IS_FAULT},
    {"INT3",           {.code = EXIT_EXCEPTION + VEC_BP, .length = 1}, HV_EXIT_EXCEPTION, 1},
    {"INTO",           {.code = EXIT_EXCEPTION + VEC_OF, .length = 1}, HV_EXIT_EXCEPTION, 1},
    {"INT1",           {.code = CODE(ICEBP), .length = 1}, HV_EXIT_EXCEPTION, 1},
    {"shutdown",       {.code = CODE(SHUTDOWN)}, HV_EXIT_UNRECOVERABLE_EXCEPTION, NOT_SAID},
    {"task switch",    {.code = CODE(TASK_SWITCH), .info1 = 0x28}, HV_EXIT_UNSUPPORTED_FEATURE, IS_FAULT},
    {"CPUID",          {.code = CODE(CPUID), .length = 2}, HV_EXIT_CPUID, 2},
    {"RDMSR",          {.code = CODE(MSR), .length = 2}, HV_EXIT_MSR, 2},
    {"WRMSR",          {.code = CODE(MSR), .info1 = 1, .length = 2}, HV_EXIT_MSR, 2},
    {"RDTSC",          {.code = CODE(RDTSC), .length = 2}, HV_EXIT_RDTSC, 2},
    {"RDTSCP",         {.code = CODE(RDTSCP), .length = 3}, HV_EXIT_RDTSC, 3},
    {"HLT",            {.code = CODE(HLT), .length = 1}, HV_EXIT_HALT, 1},
    {"VMMCALL",        {.code = CODE(VMMCALL), .length = 3}, HV_EXIT_HYPERCALL, 3},
    {"XSETBV",         {.code = CODE(XSETBV), .length = 3}, HV_EXIT_XSETBV, 3},
    {"INVD",           {.code = CODE(INVD), .length = 2}, HV_EXIT_NO_OP, 2},
    {"WBINVD",         {.code = CODE(WBINVD), .length = 2}, HV_EXIT_NO_OP, 2},
    {"RDPMC",          {.code = CODE(RDPMC), .length = 2}, HV_EXIT_RDPMC, IS_FAULT},
    {"MOV from DR0",   {.code = EXIT_DR_READ, .length = 3}, HV_EXIT_DR, NOT_SAID},
    {"MOV to DR7",     {.code = EXIT_DR_WRITE + 7, .length = 3}, HV_EXIT_DR, NOT_SAID},
    {"RSM",            {.code = CODE(RSM), .length = 2}, HV_EXIT_UNDEFINED, IS_FAULT},
    {"INVLPGA",        {.code = CODE(INVLPGA), .length = 3}, HV_EXIT_UNDEFINED, IS_FAULT},
    {"VMRUN",          {.code = CODE(VMRUN), .length = 3}, HV_EXIT_UNDEFINED, IS_FAULT},
    {"VMLOAD",         {.code = CODE(VMLOAD), .length = 3}, HV_EXIT_UNDEFINED, IS_FAULT},
    {"VMSAVE",         {.code = CODE(VMSAVE), .length = 3}, HV_EXIT_UNDEFINED, IS_FAULT},
    {"STGI",           {.code = CODE(STGI), .length = 3}, HV_EXIT_UNDEFINED, IS_FAULT},
    {"CLGI",           {.code = CODE(CLGI), .length = 3}, HV_EXIT_UNDEFINED, IS_FAULT},
    {"SKINIT",         {.code = CODE(SKINIT), .length = 3}, HV_EXIT_UNDEFINED, IS_FAULT},
    {"MONITOR",        {.code = CODE(MONITOR), .length = 3}, HV_EXIT_UNDEFINED, IS_FAULT},
    {"MWAIT",          {.code = CODE(MWAIT), .length = 3}, HV_EXIT_UNDEFINED, IS_FAULT},
    {"RDPRU",          {.code = CODE(RDPRU), .length = 3}, HV_EXIT_UNDEFINED, IS_FAULT},
    {"INVLPGB",        {.code = EXIT_INVLPGB, .length = 3}, HV_EXIT_UNDEFINED, IS_FAULT},
    {"TLBSYNC",        {.code = EXIT_TLBSYNC, .length = 3}, HV_EXIT_UNDEFINED, IS_FAULT},
    {"OUT",            {.code = CODE(IOIO), .info1 = IO_OUT8, .length = 2}, HV_EXIT_IO, 2},
    {"MOV to CR0",     {.code = CODE(CR0_SEL_WRITE), .info1 = CR_INFO_MOV, .length = 3}, HV_EXIT_CR, 3},
    {"MOV to CR4",     {.code = EXIT_CR_WRITE + 4, .info1 = CR_INFO_MOV, .length = 3}, HV_EXIT_CR, 3},
    {"nested fault",   {.code = EXIT_NPF, .info1 = NPF_WRITE | NPF_USER | NPF_FINAL, .info2 = 0x5008}, HV_EXIT_MEMORY, IS_FAULT},
};
/* clang-format on */

static int wanted_length(size_t i)
{
    bool is_io = exits[i].step.code == CODE(IOIO);

    return exits[i].length > 0 && !is_io && !svm_has(CPUID_SVM_EDX_NRIPS) ? (int)HV_LENGTH_UNKNOWN : exits[i].length;
}

static void every_exit(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(exits); i++) {
        struct hv_exit exit;

        set_mode(PROTECTED);
        v->controls.exception_bitmap = BIT32(VEC_UD) | BIT32(VEC_PF) | BIT32(VEC_BP) | BIT32(VEC_OF) | BIT32(VEC_DB);
        v->controls.rdtsc_exit = true;
        exit = exit_of(exits[i].step);
        assert_int_equal(fake_svm_guest_left(), 0);
        if (exit.reason != exits[i].reason)
            fail_msg("%s: %s", exits[i].name, hv_exit_reason_name(exit.reason));
        if (exits[i].length != NOT_SAID && exit.instruction_length != wanted_length(i))
            fail_msg("%s: length %u", exits[i].name, exit.instruction_length);
    }
    assert_int_equal(fake_x86(0)->machine_checks, 1);
}

static void a_pause_exit(void **state)
{
    (void)state;
    v->controls.pause_exit = true;
    vcpu_changed(v, VCPU_CONTROLS);
    assert_int_equal(exit_of((struct fake_svm_step){.code = CODE(PAUSE), .length = 2}).reason, HV_EXIT_PAUSE);
}

static struct hv_exit exception(unsigned vector, uint64_t info1, uint64_t info2)
{
    v->controls.exception_bitmap = BIT32(vector);
    vcpu_changed(v, VCPU_CONTROLS);
    return exit_of((struct fake_svm_step){
        .code = EXIT_EXCEPTION + vector, .info1 = info1, .info2 = info2, .fetched = 3, .bytes = {0x8b, 0x04, 0x25}});
}

static void exception_contents(void **state)
{
    struct hv_exit exit;

    (void)state;
    exit = exception(VEC_PF, 7, 0xfeed000);
    assert_true(!exit.exception.has_error_code && exit.exception.error_code == 0); /* real mode has none */
    set_mode(PROTECTED);
    exit = exception(VEC_PF, 7, 0xfeed000);
    assert_int_equal(exit.exception.vector, VEC_PF);
    assert_true(exit.exception.has_error_code && !exit.exception.is_software);
    assert_int_equal(exit.exception.error_code, 7);
    assert_int_equal(exit.exception.parameter, 0xfeed000);
    assert_int_equal(exit.instruction.count, svm_has(CPUID_SVM_EDX_DECODE) ? 3 : 0);
    if (exit.instruction.count)
        assert_memory_equal(exit.instruction.bytes, ((uint8_t[]){0x8b, 0x04, 0x25}), 3);
    exit = exception(VEC_GP, 0x18, 0xbad);
    assert_int_equal(exit.exception.error_code, 0x18);
    assert_int_equal(exit.exception.parameter, 0);
    assert_int_equal(exit.instruction.count, 0);
    exit = exception(VEC_UD, 0xbad, 0xbad);
    assert_true(!exit.exception.has_error_code && exit.exception.error_code == 0);
    assert_true(exception(VEC_BP, 0, 0).exception.is_software);
}

static void guest_hits_breakpoint_1(uint64_t gpr[16])
{
    (void)gpr;
    fake_x86_here()->dr6 = (fake_x86_here()->dr6 & ~DR6_BP) | DR6_B1;
}

/* The CPU has written DR6 before the exit; the guest is not to see it of an exception that it may never get. */
static void debug_exceptions(void **state)
{
    struct hv_exit exit;

    (void)state;
    set_mode(PROTECTED);
    v->dr6 = DR6_RESET | DR6_BS;
    v->controls.exception_bitmap = BIT32(VEC_DB);
    exit = exit_of((struct fake_svm_step){.run = guest_hits_breakpoint_1, .code = EXIT_EXCEPTION + VEC_DB});
    assert_int_equal(exit.exception.vector, VEC_DB);
    assert_false(exit.exception.is_software);
    assert_int_equal(exit.exception.parameter & DR6_BP, DR6_B1);
    pin();
    vcpu_need(v, VCPU_DR6);
    assert_int_equal(v->dr6, DR6_RESET | DR6_BS);
    unpin();
    exit = exit_of((struct fake_svm_step){.code = CODE(ICEBP), .length = 1});
    assert_int_equal(exit.exception.vector, VEC_DB);
    assert_true(exit.exception.is_software);
    assert_int_equal(exit.exception.parameter, 0);
}

static struct hv_exit io(uint64_t info, uint8_t length)
{
    return exit_of((struct fake_svm_step){.code = CODE(IOIO), .info1 = info, .length = length});
}

static void io_contents(void **state)
{
    struct hv_exit exit;

    (void)state;
    v->gpr[GPR_RAX] = 0xabcd;
    exit = io(FIELD_PUT(IO_INFO_PORT, 0x3f8) | FIELD_PUT(IO_INFO_SIZE, 4), 1);
    assert_true(exit.io.access.is_write && !exit.io.access.is_string && !exit.io.access.has_rep);
    assert_int_equal(exit.io.access.size, 4);
    assert_int_equal(exit.io.port, 0x3f8);
    assert_int_equal(exit.io.rax, 0xabcd);
    assert_int_equal(exit.instruction_length, 1);
    exit = io(FIELD_PUT(IO_INFO_PORT, 0x60) | FIELD_PUT(IO_INFO_SIZE, 1) | IO_INFO_IN | IO_INFO_STR | IO_INFO_REP, 2);
    assert_true(!exit.io.access.is_write && exit.io.access.is_string && exit.io.access.has_rep);
    assert_int_equal(exit.io.access.size, 1);
    assert_int_equal(exit.io.port, 0x60);
    exit = io(FIELD_PUT(IO_INFO_PORT, 0xffff) | FIELD_PUT(IO_INFO_SIZE, 2) | IO_INFO_IN, 4);
    assert_int_equal(exit.io.access.size, 2);
    assert_int_equal(exit.io.port, 0xffff);
    assert_int_equal(exit.instruction_length, 4);
}

static struct hv_exit nested_fault(uint64_t info)
{
    return exit_of(
        (struct fake_svm_step){.code = EXIT_NPF, .info1 = info, .info2 = 0x5008, .fetched = 2, .bytes = {0x89, 0x07}});
}

static void memory_contents(void **state)
{
    struct hv_exit exit = nested_fault(NPF_WRITE | NPF_USER | NPF_FINAL);

    (void)state;
    assert_int_equal(exit.memory.access, HV_ACCESS_WRITE);
    assert_true(!exit.memory.gva_valid && !exit.memory.page_walk);
    assert_int_equal(exit.memory.gpa, 0x5008);
    assert_int_equal(exit.memory.gva, 0);
    assert_int_equal(exit.instruction.count, svm_has(CPUID_SVM_EDX_DECODE) ? 2 : 0);
    exit = nested_fault(NPF_PRESENT | NPF_USER | NPF_FETCH | NPF_FINAL);
    assert_int_equal(exit.memory.access, HV_ACCESS_EXECUTE);
    exit = nested_fault(NPF_USER | NPF_FINAL);
    assert_int_equal(exit.memory.access, HV_ACCESS_READ);
    exit = nested_fault(NPF_WRITE | NPF_USER | NPF_WALK);
    assert_true(exit.memory.page_walk);
}

static struct hv_exit cr_write(uint64_t code, uint64_t info)
{
    return exit_of((struct fake_svm_step){.code = code, .info1 = info, .length = 3});
}

/* What was written is known where the CPU decodes, for MOV. */
static void cr_contents(void **state)
{
    bool decodes = svm_has(CPUID_SVM_EDX_DECODE);
    struct hv_exit exit;

    (void)state;
    set_mode(PROTECTED);
    v->gpr[GPR_RBX] = 0x1111222233334444;
    exit = cr_write(EXIT_CR_WRITE + 4, CR_INFO_MOV | GPR_RBX);
    assert_int_equal(exit.cr.number, 4);
    assert_int_equal(exit.cr.is_known, decodes);
    assert_false(exit.cr.is_read);
    if (decodes)
        assert_int_equal(exit.cr.value, 0x33334444); /* 32 bits outside of 64-bit mode */
    exit = cr_write(CODE(CR0_SEL_WRITE), 0);
    assert_int_equal(exit.cr.number, 0);
    if (decodes)
        assert_false(exit.cr.is_known); /* LMSW */
    set_mode(LONG);
    v->gpr[GPR_RAX] = 0x9999aaaabbbbcccc;
    v->gpr[GPR_RSP] = 0x5555666677778888;
    vcpu_changed(v, VCPU_RSP);
    exit = cr_write(EXIT_CR_WRITE + 4, CR_INFO_MOV | GPR_RSP);
    if (decodes)
        assert_int_equal(exit.cr.value, 0x5555666677778888);
    exit = cr_write(EXIT_CR_WRITE + 4, CR_INFO_MOV | GPR_RAX);
    if (decodes)
        assert_int_equal(exit.cr.value, 0x9999aaaabbbbcccc);
    v->cr0 |= CR0_CD;
    vcpu_changed(v, VCPU_CR0);
    exit = cr_write(EXIT_CR_READ, CR_INFO_MOV | GPR_RBX);
    assert_true(exit.cr.is_read);
    assert_int_equal(exit.cr.is_known, decodes);
    assert_int_equal(exit.cr.number, 0);
    if (decodes)
        assert_int_equal(exit.cr.gpr, GPR_RBX);
}

static void task_switch_contents(void **state)
{
    static const struct {
        uint64_t info2, int_info, parameter;
    } cases[] = {
        {0, 0, 0x28},
        {TASK_INFO_IRET, 0, 0x28 | 1u << 30},
        {TASK_INFO_JUMP, 0, 0x28 | 2u << 30},
        {0, INFO(EVENT_TYPE_INTR, 0x40), 0x28 | 3u << 30},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        struct hv_exit exit = exit_of((struct fake_svm_step){
            .code = CODE(TASK_SWITCH), .info1 = 0x28, .info2 = cases[i].info2, .int_info = cases[i].int_info});

        assert_int_equal(exit.unsupported.code, 2);
        assert_int_equal(exit.unsupported.parameter, cases[i].parameter);
        v->event = 0;
    }
}

/* Nothing asked for it: the guest is stopped, the host goes on. */
static void unexpected_exits(void **state)
{
    static const uint64_t codes[] = {CODE(FERR_FREEZE), EXIT_AVIC_NOACCEL, 0x777, 0xfffffffful << 8};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(codes); i++)
        assert_int_equal(exit_of((struct fake_svm_step){.code = codes[i], .unasked = true}).reason,
                         HV_EXIT_INTERNAL_ERROR);
    assert_true(fake_log_contains("exit code 0x777"));
    run_cpuid();
}

static void context_of_an_exit(void **state)
{
    const struct hv_exit exit = {.reason = HV_EXIT_CPUID, .instruction_length = 2};
    struct hv_exit_context to;

    (void)state;
    set_mode(LONG);
    v->cr0 |= CR0_AM;
    v->seg[SEG_SS].attributes |= (uint16_t)FIELD_PUT(SEG_DPL, 3);
    v->seg[SEG_CS].attributes |= (uint16_t)FIELD_PUT(SEG_DPL, 3);
    v->dr7 |= DR7_L1;
    v->cr8 = 5;
    v->rip = 0x401000;
    FAKE_SVM_GUEST({.code = CODE(CPUID), .length = 2});
    load();
    enter();
    backend()->context(v, &exit, &to);
    assert_int_equal(to.vp.execution_state,
                     3 | HV_EXEC_CR0_PE | HV_EXEC_CR0_AM | HV_EXEC_EFER_LMA | HV_EXEC_DEBUG_ACTIVE);
    assert_int_equal(to.vp.instruction_length, 2);
    assert_int_equal(to.vp.rip, 0x401000);
    assert_int_equal(to.vp.rflags, RFLAGS_FIXED);
    assert_int_equal(to.vp.cr8, 5);
    assert_memory_equal(&to.vp.cs, &v->seg[SEG_CS], sizeof(to.vp.cs));
    /* the same when all of it is in the cache */
    vcpu_need(v, VCPU_ALL & ~VCPU_STICKY);
    v->interrupt_shadow = true;
    vcpu_changed(v, VCPU_INTR);
    v->event = HV_PENDING_INT_VALID;
    backend()->context(v, &exit, &to);
    v->event = 0;
    put();
    assert_int_equal(to.vp.execution_state, 3 | HV_EXEC_CR0_PE | HV_EXEC_CR0_AM | HV_EXEC_EFER_LMA |
                                                HV_EXEC_DEBUG_ACTIVE | HV_EXEC_INTERRUPT_SHADOW |
                                                HV_EXEC_INTERRUPTION_PENDING);
}

static void step_over(uint8_t length)
{
    pin();
    backend()->advance(v, length);
    vcpu_need(v, VCPU_RIP | VCPU_RFLAGS | VCPU_INTR);
    unpin();
}

/* The usual end of an exit, after which the CPU has to read nothing again. */
static void stepping_over_an_instruction(void **state)
{
    (void)state;
    set_mode(PROTECTED);
    v->rip = 0x1000;
    run_cpuid();
    pin();
    vcpu_need(v, VCPU_RIP); /* what is cached follows */
    unpin();
    step_over(2);
    assert_int_equal(v->rip, 0x1002);
    run_cpuid();
    assert_int_equal(seen()->rip, 0x1002);
    assert_int_equal(seen()->clean, svm_has(CPUID_SVM_EDX_VMCB_CLEAN) ? CLEAN_ALL : 0);
}

/* And what else may end with it. */
static void stepping_over_more_than_an_instruction(void **state)
{
    (void)state;
    set_mode(PROTECTED);
    v->rip = 0xfffffffe;
    run_cpuid();
    step_over(2);
    assert_int_equal(v->rip, 0); /* EIP has 32 bits */
    exit_of((struct fake_svm_step){.code = CODE(CPUID), .length = 2, .shadow = true});
    step_over(2);
    assert_int_equal(v->rip, 2);
    assert_false(v->interrupt_shadow);
    v->rflags |= RFLAGS_TF | RFLAGS_RF;
    vcpu_changed(v, VCPU_RFLAGS);
    step_over(2);
    assert_int_equal(v->rflags & (RFLAGS_TF | RFLAGS_RF), RFLAGS_TF);
    assert_true(v->pending_debug & VCPU_DEBUG_TRAPS);
    set_mode(LONG);
    v->pending_debug = 0;
    v->rip = 0xfffffffe;
    run_cpuid();
    step_over(3);
    assert_int_equal(v->rip, 0x100000001);
    run_cpuid();
    assert_int_equal(seen()->rip, 0x100000001);
}

/* --------------------------------------------------------------------------------------- events */

/* clang-format off */
static const struct {
    uint64_t event, info;
    unsigned length; /* of the instruction whose event it is */
    bool moves;      /* RIP, even with next-RIP save */
} events[] = {
    {EVENT(HV_INT_TYPE_EXTERNAL, 0x31), INFO(EVENT_TYPE_INTR, 0x31), 0, false},
    {EVENT(HV_INT_TYPE_EXTERNAL, 0xff), INFO(EVENT_TYPE_INTR, 0xff), 0, false},
    {EVENT(HV_INT_TYPE_NMI, 2), INFO(EVENT_TYPE_NMI, 2), 0, false},
    {EVENT(HV_INT_TYPE_EXCEPTION, VEC_UD), INFO(EVENT_TYPE_EXCEPTION, VEC_UD), 0, false},
    {EVENT(HV_INT_TYPE_EXCEPTION, VEC_GP) | EVENT_ERROR(0x18), INFO(EVENT_TYPE_EXCEPTION, VEC_GP) | WITH_ERROR(0x18), 0, false},
    {EVENT(HV_INT_TYPE_EXCEPTION, VEC_PF) | EVENT_ERROR(2), INFO(EVENT_TYPE_EXCEPTION, VEC_PF) | WITH_ERROR(2), 0, false},
    {EVENT(HV_INT_TYPE_EXCEPTION, VEC_DF) | EVENT_ERROR(0), INFO(EVENT_TYPE_EXCEPTION, VEC_DF) | WITH_ERROR(0), 0, false},
    {EVENT(HV_INT_TYPE_SOFTWARE, 0x80) | FIELD_PUT(HV_PENDING_INT_LENGTH, 2), INFO(EVENT_TYPE_SOFTWARE, 0x80), 2, false},
    {EVENT(HV_INT_TYPE_SOFTWARE, 3) | FIELD_PUT(HV_PENDING_INT_LENGTH, 2), INFO(EVENT_TYPE_SOFTWARE, 3), 2, false},
    {EVENT(HV_INT_TYPE_SW_EXCEPTION, VEC_BP) | FIELD_PUT(HV_PENDING_INT_LENGTH, 1), INFO(EVENT_TYPE_EXCEPTION, VEC_BP), 1, false},
    {EVENT(HV_INT_TYPE_SW_EXCEPTION, VEC_OF) | FIELD_PUT(HV_PENDING_INT_LENGTH, 1), INFO(EVENT_TYPE_EXCEPTION, VEC_OF), 1, false},
    /* the CPU takes this one for a fault */
    {EVENT(HV_INT_TYPE_PRIV_SW_EXCEPTION, VEC_DB) | FIELD_PUT(HV_PENDING_INT_LENGTH, 1), INFO(EVENT_TYPE_EXCEPTION, VEC_DB), 1, true},
};
/* clang-format on */

#define SOFT_RIP 0x7000u

static void assert_injected(size_t i)
{
    bool moved = events[i].length && (events[i].moves || !svm_has(CPUID_SVM_EDX_NRIPS));

    assert_int_equal(seen()->event_inj, events[i].info);
    assert_int_equal(seen()->rip, SOFT_RIP + (moved ? events[i].length : 0));
    if (events[i].length && !moved)
        assert_int_equal(seen()->next_rip, SOFT_RIP + events[i].length);
}

static void set_interruptible(void)
{
    set_mode(PROTECTED);
    v->rflags |= RFLAGS_IF;
    v->rip = SOFT_RIP;
}

static void guest_enters_handler(uint64_t gpr[16])
{
    (void)gpr;
    fake_vmcb()->rip = 0x9000;
}

/* Each type goes in once; an exit in the midst of its delivery brings it back, and it goes in again. */
static void events_of_all_types(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(events); i++) {
        set_interruptible();
        v->event = events[i].event;
        FAKE_SVM_GUEST({.code = EXIT_NPF, .info1 = NPF_WRITE, .int_info = events[i].info},
                       {.run = guest_enters_handler, .code = CODE(CPUID), .length = 2}, {.code = CODE(CPUID)});
        load();
        enter();
        assert_injected(i);
        assert_int_equal(v->event, events[i].event);
        vcpu_need(v, VCPU_RIP);
        assert_int_equal(v->rip, SOFT_RIP);
        enter();
        assert_injected(i);
        assert_int_equal(v->event, 0);
        enter();
        assert_int_equal(seen()->event_inj, 0);
        assert_int_equal(seen()->rip, 0x9000);
        put();
    }
}

/* ------------------------------------------------- interrupts that go in as virtual interrupts */

static int setup_tcg(void **state)
{
    struct hv_cpuid_output one;

    if (machine_setup(state))
        return -1;
    fake_svm_make(0);
    cpu_cpuid(1, 0, &one);
    fake_set_cpuid(1, 0, one.eax, one.ebx, one.ecx | CPUID_1_ECX_HYPERVISOR, one.edx);
    fake_set_cpuid(CPUID_LEAF_HYPERVISOR, 0, 0x40000001, 0x54474354, 0x43544743, 0x47435447);
    look_again();
    return start();
}

#define TCG_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_tcg, teardown)

#define VIRTUAL (V_IRQ | V_IGN_TPR | V_INTR_PRIO)

static void assert_virtual(uint8_t vector)
{
    assert_int_equal(seen()->v_intr & VIRTUAL, VIRTUAL);
    assert_int_equal(seen()->v_intr_vector, vector);
    assert_int_equal(seen()->event_inj, 0);
    assert_false(saw_intercept(INTERCEPT_VINTR));
}

static void guest_takes_interrupt(uint64_t gpr[16])
{
    (void)gpr;
    fake_vmcb()->v_intr &= ~V_IRQ;
    fake_vmcb()->rip = 0x9000;
}

/* The exit came before it, in its midst, and after it. */
static void virtual_interrupts(void **state)
{
    const uint64_t event = EVENT(HV_INT_TYPE_EXTERNAL, 0x31);

    (void)state;
    set_interruptible();
    v->event = event;
    FAKE_SVM_GUEST({.code = CODE(INTR)},
                   {.run = guest_takes_interrupt, .code = EXIT_NPF, .int_info = INFO(EVENT_TYPE_EXCEPTION, 0x31)},
                   {.run = guest_takes_interrupt, .code = CODE(CPUID)}, {.code = CODE(CPUID)});
    load();
    enter();
    assert_virtual(0x31);
    assert_int_equal(v->event, event);
    enter();
    assert_virtual(0x31);
    assert_int_equal(v->event, event);
    enter();
    assert_virtual(0x31);
    assert_int_equal(v->event, 0);
    enter();
    assert_int_equal(seen()->v_intr & V_IRQ, 0);
    put();
}

static void enter_with_event(uint64_t event)
{
    v->event = event;
    FAKE_SVM_GUEST({.code = CODE(CPUID)});
    enter();
    assert_int_equal(seen()->event_inj, event == EVENT(HV_INT_TYPE_NMI, 2) ? INFO(EVENT_TYPE_NMI, 2)
                                                                           : INFO(EVENT_TYPE_INTR, event >> 16 & 0xff));
    assert_int_equal(seen()->v_intr & V_IRQ && !saw_intercept(INTERCEPT_VINTR), 0);
}

/* Where one would wait, or could be taken for something else. */
static void interrupts_that_are_not_virtual(void **state)
{
    const uint64_t event = EVENT(HV_INT_TYPE_EXTERNAL, 0x31);

    (void)state;
    set_interruptible();
    load();
    enter_with_event(EVENT(HV_INT_TYPE_EXTERNAL, 0x1f));
    enter_with_event(EVENT(HV_INT_TYPE_NMI, 2));
    v->controls.interrupt_window = true;
    vcpu_changed(v, VCPU_CONTROLS);
    enter_with_event(event);
    v->controls.interrupt_window = false;
    vcpu_changed(v, VCPU_CONTROLS);
    vcpu_need(v, VCPU_RFLAGS);
    v->rflags &= ~(uint64_t)RFLAGS_IF;
    vcpu_changed(v, VCPU_RFLAGS);
    enter_with_event(event);
    put();
}

/* As what the guest was doing itself: INT n and the like are executed again, anything else is delivered again. */
static void events_that_nobody_injected(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(events); i++) {
        bool again = !events[i].length || events[i].moves;
        const uint64_t hardware = EVENT(HV_INT_TYPE_EXCEPTION, VEC_DB);

        set_interruptible();
        exit_of((struct fake_svm_step){.code = EXIT_NPF, .info1 = NPF_WRITE, .int_info = events[i].info});
        assert_int_equal(v->event, !again ? 0 : events[i].moves ? hardware : events[i].event);
        pin();
        vcpu_need(v, VCPU_RIP);
        assert_int_equal(v->rip, SOFT_RIP);
        unpin();
        v->event = 0;
    }
}

/* One that came on top of what was injected: the client's exception of the delivery, say. */
static void another_event_than_the_injected_one(void **state)
{
    (void)state;
    set_interruptible();
    v->event = EVENT(HV_INT_TYPE_SOFTWARE, 0x80) | FIELD_PUT(HV_PENDING_INT_LENGTH, 2);
    exit_of(
        (struct fake_svm_step){.code = EXIT_NPF, .int_info = INFO(EVENT_TYPE_EXCEPTION, VEC_GP) | WITH_ERROR(0x402)});
    assert_int_equal(v->event, EVENT(HV_INT_TYPE_EXCEPTION, VEC_GP) | EVENT_ERROR(0x402));
    v->event = 0;
}

/* The exception that a client asked to see, while a software interrupt is delivered: RIP is where the interrupt was. */
static void an_exception_of_a_delivery(void **state)
{
    struct hv_exit exit;

    (void)state;
    set_interruptible();
    v->controls.exception_bitmap = BIT32(VEC_GP);
    v->event = EVENT(HV_INT_TYPE_SOFTWARE, 0x80) | FIELD_PUT(HV_PENDING_INT_LENGTH, 2);
    exit = exit_of((struct fake_svm_step){
        .code = EXIT_EXCEPTION + VEC_GP, .info1 = 0x402, .int_info = INFO(EVENT_TYPE_SOFTWARE, 0x80)});
    assert_int_equal(exit.reason, HV_EXIT_EXCEPTION);
    assert_int_equal(exit.exception.error_code, 0x402);
    pin();
    vcpu_need(v, VCPU_RIP);
    assert_int_equal(v->rip, SOFT_RIP);
    unpin();
    v->event = 0;
}

/* The end of a software interrupt's instruction is where EIP says. */
static void the_end_of_an_instruction_wraps(void **state)
{
    (void)state;
    for (enum mode mode = PROTECTED; mode <= LONG; mode += LONG - PROTECTED) {
        uint64_t next = mode == LONG ? BIT64(32) : 0;

        set_mode(mode);
        v->rip = 0xfffffffe;
        v->event = EVENT(HV_INT_TYPE_SOFTWARE, 0x80) | FIELD_PUT(HV_PENDING_INT_LENGTH, 2);
        run_cpuid();
        assert_int_equal(svm_has(CPUID_SVM_EDX_NRIPS) ? seen()->next_rip : seen()->rip, next);
    }
}

/* The vector and the mode say whether there is an error code, not the client. */
static void error_codes_where_they_belong(void **state)
{
    (void)state;
    for (unsigned vector = 0; vector < 31; vector++)
        for (unsigned bits = 0; bits < 4; bits++) {
            bool is_protected = bits & 1;
            bool pushes = is_protected && vector < 21 && VEC_ERROR_CODE_MASK >> vector & 1;

            if (vector == VEC_NMI || vector == 9 || vector == 15 || vector >= VEC_VE)
                continue; /* which are no exceptions here */
            set_mode(is_protected ? PROTECTED : REAL);
            v->event = EVENT(HV_INT_TYPE_EXCEPTION, vector) | (bits & 2 ? EVENT_ERROR(4) : 0);
            run_cpuid();
            assert_int_equal(seen()->event_inj,
                             INFO(EVENT_TYPE_EXCEPTION, vector) | (pushes ? WITH_ERROR(bits & 2 ? 4 : 0) : 0));
        }
}

/* A type that is none is the client's mistake, and is told as one. */
static void events_of_no_type(void **state)
{
    (void)state;
    fake_svm_expect_refusal(true);
    for (unsigned type = 1; type < 8; type += 6) {
        set_interruptible();
        v->event = EVENT(type, 0x20);
        assert_int_equal(run_once().reason, HV_EXIT_INVALID_REGISTER_VALUE);
        v->event = 0;
        run_cpuid();
        assert_int_equal(seen()->event_inj, 0);
    }
}

/* ----------------------------------------------------------------------------------------- NMIs */

static void inject_nmi(void)
{
    set_interruptible();
    v->event = EVENT(HV_INT_TYPE_NMI, 2);
    run_cpuid();
    pin();
    vcpu_need(v, VCPU_INTR);
    unpin();
}

static void assert_nmi_masked(bool masked)
{
    pin();
    vcpu_need(v, VCPU_INTR);
    unpin();
    assert_int_equal(v->nmi_masked, masked);
}

/* From the delivery of one to the end of the IRET. */
static void guest_executes_iret(uint64_t gpr[16])
{
    (void)gpr;
    assert_true(fake_vmcb()->rflags & RFLAGS_TF); /* ours */
    fake_vmcb()->rflags = RFLAGS_FIXED | RFLAGS_IF;
    fake_vmcb()->rip = 0xa000;
    fake_x86_here()->dr6 |= DR6_BS;
}

static void nmis_are_masked_until_iret(void **state)
{
    (void)state;
    inject_nmi();
    assert_nmi_masked(true);
    run_cpuid();
    assert_true(saw_intercept(INTERCEPT_IRET));
    FAKE_SVM_GUEST({.code = CODE(IRET)}, {.run = guest_executes_iret, .code = EXIT_EXCEPTION + VEC_DB},
                   {.code = CODE(CPUID), .length = 2});
    load();
    assert_int_equal(enter().reason, HV_EXIT_HOST_EVENT);
    vcpu_need(v, VCPU_INTR);
    assert_true(v->nmi_masked);
    assert_int_equal(enter().reason, HV_EXIT_HOST_EVENT);
    assert_false(saw_intercept(INTERCEPT_IRET));
    assert_int_equal(seen()->exceptions | BIT32(VEC_NMI), 0xffffffff);
    vcpu_need(v, VCPU_INTR | VCPU_RFLAGS | VCPU_DR6 | VCPU_RIP);
    assert_false(v->nmi_masked);
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_IF);
    assert_int_equal(v->dr6, DR6_RESET);
    assert_int_equal(v->rip, 0xa000);
    assert_int_equal(v->event, 0);
    enter();
    put();
    assert_false(saw_intercept(INTERCEPT_IRET));
    assert_int_equal(seen()->exceptions, BIT32(VEC_MC));
    assert_false(seen()->rflags & RFLAGS_TF);
}

/* The IRET faults: it will run again, and NMIs stay masked until then. */
static void an_iret_that_faults(void **state)
{
    struct hv_exit exit;

    (void)state;
    inject_nmi();
    FAKE_SVM_GUEST({.code = CODE(IRET)}, {.code = EXIT_NPF, .info1 = NPF_WRITE}, {.code = CODE(IRET)},
                   {.code = EXIT_EXCEPTION + VEC_GP, .info1 = 0x18}, {.code = CODE(CPUID), .length = 2});
    load();
    enter();
    exit = enter();
    assert_int_equal(exit.reason, HV_EXIT_MEMORY);
    vcpu_need(v, VCPU_INTR | VCPU_RFLAGS);
    assert_true(v->nmi_masked);
    assert_false(v->rflags & RFLAGS_TF);
    enter();
    assert_true(saw_intercept(INTERCEPT_IRET));
    enter();
    vcpu_need(v, VCPU_INTR);
    assert_true(v->nmi_masked);
    assert_int_equal(v->event, EVENT(HV_INT_TYPE_EXCEPTION, VEC_GP) | EVENT_ERROR(0x18));
    enter();
    assert_true(saw_intercept(INTERCEPT_IRET));
    assert_int_equal(seen()->event_inj, INFO(EVENT_TYPE_EXCEPTION, VEC_GP) | WITH_ERROR(0x18));
    put();
}

/* The client moves RIP before the IRET has run: it is another instruction that runs now. */
static void an_iret_that_is_left(void **state)
{
    (void)state;
    inject_nmi();
    exit_of((struct fake_svm_step){.code = CODE(IRET)});
    pin();
    vcpu_need(v, VCPU_RIP);
    v->rip += 0x100;
    vcpu_changed(v, VCPU_RIP);
    unpin();
    run_cpuid();
    assert_false(seen()->rflags & RFLAGS_TF);
    assert_true(saw_intercept(INTERCEPT_IRET));
    assert_nmi_masked(true);
}

/* The delivery of an NMI has masked them; to be delivered again it needs them unmasked. */
static void an_interrupted_nmi_is_unmasked(void **state)
{
    (void)state;
    set_interruptible();
    v->event = EVENT(HV_INT_TYPE_NMI, 2);
    exit_of((struct fake_svm_step){.code = EXIT_NPF, .int_info = INFO(EVENT_TYPE_NMI, 2)});
    assert_nmi_masked(false);
    run_cpuid();
    assert_nmi_masked(true);
}

static void the_nmi_window(void **state)
{
    struct hv_exit exit;

    (void)state;
    inject_nmi();
    v->controls.nmi_window = true;
    vcpu_changed(v, VCPU_CONTROLS);
    run_cpuid(); /* while they are masked, the guest runs */
    FAKE_SVM_GUEST({.code = CODE(IRET)}, {.run = guest_executes_iret, .code = EXIT_EXCEPTION + VEC_DB});
    load();
    enter();
    enter();
    exit = enter();
    assert_int_equal(exit.reason, HV_EXIT_WINDOW);
    assert_true(exit.window.nmi);
    v->controls.nmi_window = false;
    v->event = EVENT(HV_INT_TYPE_NMI, 2);
    vcpu_changed(v, VCPU_CONTROLS);
    FAKE_SVM_GUEST({.code = CODE(CPUID), .length = 2});
    enter();
    assert_int_equal(seen()->event_inj, INFO(EVENT_TYPE_NMI, 2));
    put();
}

/* ---------------------------------------------------------------------------------- single steps */

static void guest_finishes_instruction(uint64_t gpr[16])
{
    (void)gpr;
    assert_true(fake_vmcb()->rflags & RFLAGS_TF);
    fake_vmcb()->rip += 3;
    fake_x86_here()->dr6 |= DR6_BS;
}

/* Somebody waits for an NMI window, and a shadow is in the way. */
static void set_shadow(uint64_t rflags)
{
    set_interruptible();
    v->rflags |= rflags;
    v->interrupt_shadow = true;
    v->controls.nmi_window = true;
}

static void assert_step_is_over(uint64_t rflags)
{
    vcpu_need(v, VCPU_RFLAGS | VCPU_DR6 | VCPU_INTR | VCPU_RIP);
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_IF | rflags);
    assert_false(v->interrupt_shadow);
    assert_int_equal(v->rip, SOFT_RIP + 3);
}

static void a_shadow_is_stepped_over(void **state)
{
    struct hv_exit exit;

    (void)state;
    set_shadow(0);
    FAKE_SVM_GUEST({.run = guest_finishes_instruction, .code = EXIT_EXCEPTION + VEC_DB});
    load();
    exit = enter();
    assert_int_equal(exit.reason, HV_EXIT_HOST_EVENT);
    assert_step_is_over(0);
    assert_int_equal(v->dr6, DR6_RESET);
    assert_int_equal(v->event, 0);
    exit = enter();
    assert_int_equal(exit.reason, HV_EXIT_WINDOW);
    v->controls.nmi_window = false;
    vcpu_changed(v, VCPU_CONTROLS);
    put();
    run_cpuid();
    assert_int_equal(seen()->exceptions, BIT32(VEC_MC));
    assert_false(seen()->rflags & RFLAGS_TF);
    assert_false(saw_intercept(INTERCEPT_PUSHF) || saw_intercept(INTERCEPT_POPF) || saw_intercept(INTERCEPT_SWINT) ||
                 saw_intercept(INTERCEPT_IRET));
}

/* The window for interrupts opens behind the shadow too: no virtual interrupt during the step. */
static void an_interrupt_waits_for_a_shadow(void **state)
{
    (void)state;
    set_shadow(0);
    v->controls.nmi_window = false;
    v->controls.interrupt_window = true;
    FAKE_SVM_GUEST({.run = guest_finishes_instruction, .code = EXIT_EXCEPTION + VEC_DB}, {.code = CODE(VINTR)});
    load();
    assert_int_equal(enter().reason, HV_EXIT_HOST_EVENT);
    assert_false(seen()->v_intr & V_IRQ);
    assert_step_is_over(0);
    assert_int_equal(enter().reason, HV_EXIT_WINDOW);
    assert_true(seen()->v_intr & V_IRQ);
    assert_false(seen()->rflags & RFLAGS_TF);
    put();
}

/* Nobody waits: shadows come and go. */
static void a_shadow_that_nobody_minds(void **state)
{
    (void)state;
    set_shadow(0);
    v->controls.nmi_window = false;
    run_cpuid();
    assert_false(seen()->rflags & RFLAGS_TF);
    assert_int_equal(seen()->exceptions, BIT32(VEC_MC));
}

/* The guest single-steps itself: it gets its trap. */
static void the_guest_steps_too(void **state)
{
    (void)state;
    set_shadow(RFLAGS_TF);
    FAKE_SVM_GUEST({.run = guest_finishes_instruction, .code = EXIT_EXCEPTION + VEC_DB});
    load();
    enter();
    assert_step_is_over(RFLAGS_TF);
    assert_int_equal(v->dr6, DR6_RESET | DR6_BS);
    assert_int_equal(v->event, EVENT(HV_INT_TYPE_EXCEPTION, VEC_DB));
    v->event = 0;
    put();
}

static void guest_finishes_at_breakpoint(uint64_t gpr[16])
{
    guest_finishes_instruction(gpr);
    fake_x86_here()->dr6 |= DR6_B1;
}

static void a_breakpoint_behind_the_step(void **state)
{
    (void)state;
    set_shadow(0);
    FAKE_SVM_GUEST({.run = guest_finishes_at_breakpoint, .code = EXIT_EXCEPTION + VEC_DB});
    load();
    enter();
    assert_step_is_over(0);
    assert_int_equal(v->dr6, DR6_RESET | DR6_B1);
    assert_int_equal(v->event, EVENT(HV_INT_TYPE_EXCEPTION, VEC_DB));
    v->event = 0;
    put();
}

/* DR6 still says what was before. That neither ends the step nor hides what comes. */
static void guest_is_at_breakpoint(uint64_t gpr[16])
{
    (void)gpr;
    fake_x86_here()->dr6 |= DR6_B0;
}

static void a_breakpoint_before_the_step(void **state)
{
    (void)state;
    set_shadow(0);
    v->dr6 = DR6_RESET | DR6_BS | DR6_B1;
    FAKE_SVM_GUEST({.run = guest_is_at_breakpoint, .code = EXIT_EXCEPTION + VEC_DB, .shadow = true});
    load();
    assert_int_equal(enter().reason, HV_EXIT_HOST_EVENT);
    vcpu_need(v, VCPU_RFLAGS | VCPU_DR6 | VCPU_INTR | VCPU_RIP);
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_IF);
    assert_int_equal(v->rip, SOFT_RIP);
    assert_int_equal(v->dr6, DR6_RESET | DR6_BS | DR6_B1 | DR6_B0);
    assert_int_equal(v->event, EVENT(HV_INT_TYPE_EXCEPTION, VEC_DB));
    v->event = 0;
    put();
}

static void old_bits_of_dr6(void **state)
{
    (void)state;
    set_shadow(0);
    v->dr6 = DR6_RESET | DR6_BS | DR6_B1;
    FAKE_SVM_GUEST({.run = guest_finishes_at_breakpoint, .code = EXIT_EXCEPTION + VEC_DB});
    load();
    enter();
    assert_step_is_over(0);
    assert_int_equal(v->dr6, DR6_RESET | DR6_BS | DR6_B1);
    assert_int_equal(v->event, EVENT(HV_INT_TYPE_EXCEPTION, VEC_DB)); /* the same one again */
    v->event = 0;
    put();
    set_shadow(0);
    v->dr6 = DR6_RESET | DR6_BS | DR6_B1;
    FAKE_SVM_GUEST({.run = guest_finishes_instruction, .code = EXIT_EXCEPTION + VEC_DB});
    load();
    enter();
    assert_step_is_over(0);
    assert_int_equal(v->dr6, DR6_RESET | DR6_BS | DR6_B1);
    assert_int_equal(v->event, 0);
    put();
}

/* It is the client's, if it asked for these. */
static void the_client_sees_debug_exceptions(void **state)
{
    struct hv_exit exit;

    (void)state;
    set_shadow(RFLAGS_TF);
    v->controls.exception_bitmap = BIT32(VEC_DB);
    FAKE_SVM_GUEST({.run = guest_finishes_instruction, .code = EXIT_EXCEPTION + VEC_DB});
    load();
    exit = enter();
    assert_int_equal(exit.reason, HV_EXIT_EXCEPTION);
    assert_int_equal(exit.exception.vector, VEC_DB);
    assert_int_equal(exit.exception.parameter & (DR6_BS | DR6_BP), DR6_BS);
    assert_step_is_over(RFLAGS_TF);
    put();
    set_shadow(0); /* but not of ours */
    v->controls.exception_bitmap = BIT32(VEC_DB);
    FAKE_SVM_GUEST({.run = guest_finishes_instruction, .code = EXIT_EXCEPTION + VEC_DB});
    load();
    exit = enter();
    assert_int_equal(exit.reason, HV_EXIT_HOST_EVENT);
    put();
}

/* clang-format off */
/* What else can end a step: TF is the guest's again, and the shadow is still there. */
static const struct {
    struct fake_svm_step step;
    enum hv_exit_reason reason;
    uint64_t event;
} step_ends[] = {
    {{.code = CODE(INTR), .shadow = true}, HV_EXIT_HOST_EVENT, 0},
    {{.code = CODE(NMI), .shadow = true}, HV_EXIT_HOST_EVENT, 0},
    {{.code = CODE(CPUID), .length = 2, .shadow = true}, HV_EXIT_CPUID, 0},
    {{.code = CODE(HLT), .length = 1, .shadow = true}, HV_EXIT_HALT, 0},
    {{.code = EXIT_NPF, .info1 = NPF_WRITE, .info2 = 0x5000, .shadow = true}, HV_EXIT_MEMORY, 0},
    {{.code = EXIT_EXCEPTION + VEC_UD, .shadow = true}, HV_EXIT_HOST_EVENT, EVENT(HV_INT_TYPE_EXCEPTION, VEC_UD)},
    {{.code = EXIT_EXCEPTION + VEC_GP, .info1 = 0x10, .shadow = true}, HV_EXIT_HOST_EVENT,
     EVENT(HV_INT_TYPE_EXCEPTION, VEC_GP) | EVENT_ERROR(0x10)},
    {{.code = EXIT_EXCEPTION + VEC_PF, .info1 = 2, .info2 = 0xfe000, .shadow = true}, HV_EXIT_HOST_EVENT,
     EVENT(HV_INT_TYPE_EXCEPTION, VEC_PF) | EVENT_ERROR(2)},
    {{.code = EXIT_EXCEPTION + VEC_MC, .shadow = true}, HV_EXIT_HOST_EVENT, 0},
};
/* clang-format on */

static void other_ends_of_a_step(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(step_ends); i++) {
        struct hv_exit exit;

        set_shadow(0);
        v->dr6 = DR6_RESET | DR6_B3;
        fake_svm_guest(&step_ends[i].step, 1);
        load();
        exit = enter();
        assert_int_equal(exit.reason, step_ends[i].reason);
        assert_int_equal(v->event, step_ends[i].event);
        if (step_ends[i].step.code == EXIT_EXCEPTION + VEC_PF)
            assert_int_equal(v->cr2, 0xfe000);
        vcpu_need(v, VCPU_RFLAGS | VCPU_INTR | VCPU_DR6);
        assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_IF);
        assert_true(v->interrupt_shadow);
        assert_int_equal(v->dr6, DR6_RESET | DR6_B3);
        assert_int_equal(vmcb()->exceptions, BIT32(VEC_MC));
        put();
    }
}

/* The guest would see TF, or set it: such an instruction runs without us, and what waited comes before it. */
static void instructions_that_see_the_trap_flag(void **state)
{
    static const unsigned codes[] = {
        CODE(PUSHF), CODE(POPF), CODE(IRET), CODE(SWINT), EXIT_EXCEPTION + VEC_BP, EXIT_EXCEPTION + VEC_OF};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(codes); i++) {
        set_shadow(0);
        FAKE_SVM_GUEST({.code = codes[i], .length = 1, .shadow = true});
        load();
        assert_int_equal(enter().reason, HV_EXIT_HOST_EVENT);
        vcpu_need(v, VCPU_RFLAGS);
        assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_IF);
        assert_int_equal(enter().reason, HV_EXIT_WINDOW);
        put();
    }
}

/* A step that the CPU refuses was none. */
static void a_refused_step(void **state)
{
    (void)state;
    set_shadow(0);
    assert_int_equal(exit_of((struct fake_svm_step){.code = EXIT_INVALID}).reason, HV_EXIT_INVALID_REGISTER_VALUE);
    v->controls.nmi_window = false;
    vcpu_changed(v, VCPU_CONTROLS);
    pin();
    v->valid &= ~VCPU_RFLAGS;
    vcpu_need(v, VCPU_RFLAGS);
    assert_int_equal(v->rflags, RFLAGS_FIXED | RFLAGS_IF);
    unpin();
    run_cpuid();
    assert_false(seen()->rflags & RFLAGS_TF);
    assert_int_equal(seen()->exceptions, BIT32(VEC_MC));
}

/* Debug traps that wait for the end of a shadow, or do not. */
static void pending_debug_traps(void **state)
{
    (void)state;
    set_interruptible();
    v->pending_debug = BIT64(14);
    run_cpuid();
    assert_int_equal(seen()->event_inj, INFO(EVENT_TYPE_EXCEPTION, VEC_DB));
    assert_true(seen()->dr6 & DR6_BS);
    run_cpuid();
    assert_int_equal(seen()->event_inj, 0);
    v->pending_debug = BIT64(12) | 4; /* breakpoint 2, of a guest of which nothing else has changed */
    run_cpuid();
    assert_true(seen()->dr6 & DR6_B2);
    set_interruptible();
    v->pending_debug = BIT64(12) | 2;             /* breakpoint 1 */
    v->event = EVENT(HV_INT_TYPE_EXTERNAL, 0x40); /* goes first, as the core wants it */
    run_cpuid();
    assert_int_equal(seen()->event_inj, INFO(EVENT_TYPE_INTR, 0x40));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SVM_TEST(entry_in_every_mode),
        SVM_TEST(entry_with_every_shadow),
        BARE_TEST(lengths_are_told_where_the_code_is_known),
        BARE_TEST(other_instructions_are_not_taken_for_it),
        BARE_TEST(a_change_on_the_way_to_the_code_is_seen),
        BARE_TEST(code_elsewhere_is_not_known),
        BARE_TEST(several_pages_of_code_are_known),
        BARE_TEST(mov_cr_where_the_code_is_known),
        SVM_TEST(control_bits_without_a_rule),
        SVM_TEST(control_bits_with_a_rule),
        SVM_TEST(registers_round_trip),
        FULL_TEST(attributes_of_segments),
        SVM_TEST(the_privilege_level),
        SVM_TEST(cr0_hides_caching),
        SVM_TEST(cr4_hides_machine_checks),
        SVM_TEST(efer_hides_svm),
        SVM_TEST(cr8_is_the_task_priority),
        SVM_TEST(shadows),
        FULL_TEST(raw_access),
        FULL_TEST(reentry_is_clean),
        FULL_TEST(groups_and_clean_bits),
        FULL_TEST(random_changes_are_seen),
        SVM_TEST(controls_follow_the_core),
        SVM_TEST(breakpoints_that_exit),
        SVM_TEST(the_interrupt_window),
        FULL_TEST(msr_permission_map),
        FULL_TEST(every_port_exits),
        SVM_TEST(every_exit),
        FULL_TEST(a_pause_exit),
        SVM_TEST(exception_contents),
        SVM_TEST(debug_exceptions),
        SVM_TEST(io_contents),
        SVM_TEST(memory_contents),
        SVM_TEST(cr_contents),
        FULL_TEST(task_switch_contents),
        SVM_TEST(unexpected_exits),
        SVM_TEST(context_of_an_exit),
        SVM_TEST(stepping_over_an_instruction),
        SVM_TEST(stepping_over_more_than_an_instruction),
        SVM_TEST(events_of_all_types),
        TCG_TEST(virtual_interrupts),
        TCG_TEST(interrupts_that_are_not_virtual),
        SVM_TEST(events_that_nobody_injected),
        SVM_TEST(another_event_than_the_injected_one),
        SVM_TEST(an_exception_of_a_delivery),
        SVM_TEST(the_end_of_an_instruction_wraps),
        SVM_TEST(error_codes_where_they_belong),
        FULL_TEST(events_of_no_type),
        SVM_TEST(nmis_are_masked_until_iret),
        SVM_TEST(an_iret_that_faults),
        SVM_TEST(an_iret_that_is_left),
        SVM_TEST(an_interrupted_nmi_is_unmasked),
        SVM_TEST(the_nmi_window),
        SVM_TEST(a_shadow_is_stepped_over),
        SVM_TEST(an_interrupt_waits_for_a_shadow),
        SVM_TEST(a_shadow_that_nobody_minds),
        SVM_TEST(the_guest_steps_too),
        SVM_TEST(a_breakpoint_behind_the_step),
        SVM_TEST(a_breakpoint_before_the_step),
        SVM_TEST(old_bits_of_dr6),
        SVM_TEST(the_client_sees_debug_exceptions),
        SVM_TEST(other_ends_of_a_step),
        SVM_TEST(instructions_that_see_the_trap_flag),
        SVM_TEST(a_refused_flush),
        SVM_TEST(a_refused_step),
        SVM_TEST(pending_debug_traps),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
