/* SPDX-License-Identifier: MIT */
/* Registers by name (virt/regs.c). */
#include "stub_irq.h"
#include "stub_synthetic.h"
#include "stub_vp.h"
#include "virt/exit_msr.h"

/* Of exit_msr.c, as the tests need it. */
bool pat_is_valid(uint64_t pat)
{
    return !(pat & 0xf8f8f8f8f8f8f8f8ull);
}

bool mtrr_type_is_valid(uint64_t type)
{
    return type == MEM_TYPE_UC || type == MEM_TYPE_WC || (type >= MEM_TYPE_WT && type <= MEM_TYPE_WB);
}

/* As the API does it. */
static enum hv_status set_list(const uint32_t *names, uint32_t count, const union hv_reg_value *values)
{
    return hv_vp_set_few(&stub_vp, names, count, values) ? HV_OK : hv_vp_set_registers(&stub_vp, names, count, values);
}

static enum hv_status get_list(const uint32_t *names, uint32_t count, union hv_reg_value *values)
{
    return hv_vp_get_few(&stub_vp, names, count, values) ? HV_OK : hv_vp_get_registers(&stub_vp, names, count, values);
}

static enum hv_status set_value(uint32_t name, union hv_reg_value value)
{
    return set_list(&name, 1, &value);
}

static enum hv_status set(uint32_t name, uint64_t value)
{
    return set_value(name, (union hv_reg_value){.u128 = {value, 0xdeadbeefdeadbeef}});
}

static union hv_reg_value get_value(uint32_t name)
{
    union hv_reg_value value;

    memset(&value, 0xee, sizeof(value));
    assert_int_equal(get_list(&name, 1, &value), HV_OK);
    return value;
}

/* The value of a register of 64 bits or less; the rest of it must be zero. */
static uint64_t get(uint32_t name)
{
    union hv_reg_value value = get_value(name);

    assert_int_equal(value.u128.high, 0);
    return value.u64;
}

#define ACCEPTED(name, value)                      \
    do {                                           \
        assert_int_equal(set(name, value), HV_OK); \
        assert_int_equal(get(name), value);        \
    } while (0)
#define REFUSED(name, value)                                     \
    do {                                                         \
        uint64_t before_ = get(name);                            \
        assert_int_equal(set(name, value), HV_E_REGISTER_VALUE); \
        assert_int_equal(get(name), before_);                    \
    } while (0)

/* ------------------------------------------------------------------------------ every name */

/* clang-format off */
static const struct word_case {
    uint32_t first, last;
    uint64_t value; /* accepted by all of them, and read back */
    uint32_t groups; /* marked as changed */
} word_cases[] = {
    {HV_REG_RAX,  HV_REG_RBX,                              0x1122334455667788, 0},
    {HV_REG_RSP,  HV_REG_RSP,                              0x1122334455667788, VCPU_RSP},
    {HV_REG_RBP,  HV_REG_R15,                              0x1122334455667788, 0},
    {HV_REG_RIP,  HV_REG_RIP,                              0xffff800000001234, VCPU_RIP},
    {HV_REG_RFLAGS, HV_REG_RFLAGS,                         0x10202,            VCPU_RFLAGS},
    {HV_REG_CR0,  HV_REG_CR0,                              0x80000001,         VCPU_CR0}, /* without ET, NE */
    {HV_REG_CR2,  HV_REG_CR2,                              0xffff800000001234, 0},
    {HV_REG_CR3,  HV_REG_CR3,                              0x12345018,         VCPU_CR3},
    {HV_REG_CR4,  HV_REG_CR4,                              0x6f8,              VCPU_CR4},
    {HV_REG_CR8,  HV_REG_CR8,                              15,                 VCPU_CR8},
    {HV_REG_DR0,  HV_REG_DR3,                              0xffff800000001234, 0},
    {HV_REG_DR6,  HV_REG_DR6,                              0xffff4ff1,         VCPU_DR6},
    {HV_REG_DR7,  HV_REG_DR7,                              0x55,               VCPU_DR7},
    {HV_REG_XCR0, HV_REG_XCR0,                             7,                  0},
    {HV_REG_TSC,  HV_REG_TSC,                              0x123456789,        VCPU_TSC},
    {HV_REG_EFER, HV_REG_EFER,                             0xd01,              VCPU_EFER},
    {HV_REG_KERNEL_GS_BASE, HV_REG_KERNEL_GS_BASE,         0xffff800000001234, VCPU_MSRS},
    {HV_REG_APIC_BASE, HV_REG_APIC_BASE,                   0xfee00900,         0},
    {HV_REG_PAT,  HV_REG_PAT,                              0x0007040600070406, VCPU_PAT},
    {HV_REG_SYSENTER_CS, HV_REG_SYSENTER_CS,               0x89abcdef,         VCPU_SYSENTER},
    {HV_REG_SYSENTER_EIP, HV_REG_SYSENTER_ESP,             0xffff800000001234, VCPU_SYSENTER},
    {HV_REG_STAR, HV_REG_STAR,                             0x0123456789abcdef, VCPU_MSRS},
    {HV_REG_LSTAR, HV_REG_CSTAR,                           0xffff800000001234, VCPU_MSRS},
    {HV_REG_SFMASK, HV_REG_SFMASK,                         0x47700,            VCPU_MSRS},
    {HV_REG_INITIAL_APIC_ID, HV_REG_INITIAL_APIC_ID,       5,                  0},
    {HV_REG_MTRR_CAP, HV_REG_MTRR_CAP,                     0x510,              0},
    {HV_REG_MTRR_DEF_TYPE, HV_REG_MTRR_DEF_TYPE,           0xc06,              0},
    {HV_REG_MTRR_PHYS_BASE0, HV_REG_MTRR_PHYS_BASEF,       0x3ffffffff006,     0},
    {HV_REG_MTRR_PHYS_MASK0, HV_REG_MTRR_PHYS_MASKF,       0x3ffffffff800,     0},
    {HV_REG_MTRR_FIX64K_00000, HV_REG_MTRR_FIX4K_F8000,    0x0605040100060606, 0},
    {HV_REG_TSC_AUX, HV_REG_TSC_AUX,                       0x89abcdef,         0},
    {HV_REG_TSC_VIRTUAL_OFFSET, HV_REG_TSC_VIRTUAL_OFFSET, 0xfffffffffffff000, VCPU_TSC},
    {HV_REG_XSS,  HV_REG_XSS,                              0,                  0},
    {HV_REG_TSC_ADJUST, HV_REG_TSC_ADJUST,                 0xfffffffffffff000, 0},
    {HV_REG_PENDING_INTERRUPTION, HV_REG_PENDING_INTERRUPTION, 0x12345678000d0017, 0},
    {HV_REG_INTERRUPT_STATE, HV_REG_INTERRUPT_STATE,       3,                  VCPU_INTR},
    {HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_REG_DELIVERABILITY_NOTIFICATIONS, 0x3f, 0},
    {HV_REG_INTERNAL_ACTIVITY_STATE, HV_REG_INTERNAL_ACTIVITY_STATE, 2,        0},
    {HV_REG_PENDING_DEBUG_EXCEPTION, HV_REG_PENDING_DEBUG_EXCEPTION, 0x15,     VCPU_INTR},
};
/* clang-format on */

static void test_words(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(word_cases); i++)
        for (uint32_t name = word_cases[i].first; name <= word_cases[i].last; name++) {
            stub_vcpu.dirty = 0;
            if (set(name, word_cases[i].value) != HV_OK || get(name) != word_cases[i].value ||
                stub_vcpu.dirty != word_cases[i].groups)
                fail_msg("register %#x", name);
        }
}

/* All of a range first, then all read: each has a place of its own. */
static void test_words_do_not_overlap(void **state)
{
    static const uint32_t ranges[][2] = {
        {HV_REG_RAX, HV_REG_RFLAGS},
        {HV_REG_DR0, HV_REG_DR3},
        {HV_REG_SYSENTER_CS, HV_REG_SFMASK},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(ranges); i++) {
        for (uint32_t name = ranges[i][0]; name <= ranges[i][1]; name++)
            assert_int_equal(set(name, name * 3 + 1), HV_OK);
        for (uint32_t name = ranges[i][0]; name <= ranges[i][1]; name++)
            assert_int_equal(get(name), name * 3 + 1);
    }
    for (uint32_t i = 0; i < 16; i++) {
        assert_int_equal(set(HV_REG_MTRR_PHYS_BASE0 + i, i << 12), HV_OK);
        assert_int_equal(set(HV_REG_MTRR_PHYS_MASK0 + i, i << 13), HV_OK);
    }
    for (uint32_t i = 0; i < 16; i++) {
        assert_int_equal(get(HV_REG_MTRR_PHYS_BASE0 + i), i << 12);
        assert_int_equal(get(HV_REG_MTRR_PHYS_MASK0 + i), i << 13);
    }
}

static void test_segments(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < SEG_COUNT; i++) {
        union hv_reg_value value = {.segment = {0x1000 + i, 0xffff, (uint16_t)(8 * i), 0x9b}};

        stub_vcpu.dirty = 0;
        assert_int_equal(set_value(HV_REG_ES + i, value), HV_OK);
        assert_int_equal(stub_vcpu.dirty, VCPU_SEG(i));
        assert_int_equal(stub_vcpu.seg[i].base, 0x1000 + i);
    }
    for (uint32_t i = 0; i < SEG_COUNT; i++) {
        union hv_reg_value value = get_value(HV_REG_ES + i);

        assert_int_equal(value.segment.base, 0x1000 + i);
        assert_int_equal(value.segment.limit, 0xffff);
        assert_int_equal(value.segment.selector, 8 * i);
        assert_int_equal(value.segment.attributes, 0x9b);
    }
}

static void test_segment_granularity(void **state)
{
    static const struct {
        uint32_t limit;
        uint16_t attributes, wanted;
    } cases[] = {
        {0xffff, 0xa0fb, 0xa0fb},     {0xffff, 0x009b, 0x009b},   {0xffffffff, 0x409b, 0xc09b},
        {0xffffffff, 0xc09b, 0xc09b}, {0x100fff, 0x0093, 0x8093}, {0xfffff, 0x0093, 0x0093},
        {0xfff00, 0xc093, 0x4093},    {0, 0xc093, 0x4093},        {0x100000, 0x4093, 0xc093},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        union hv_reg_value value = {.segment = {.limit = cases[i].limit, .attributes = cases[i].attributes}};

        assert_int_equal(set_value(HV_REG_DS, value), HV_OK);
        assert_int_equal(get_value(HV_REG_DS).segment.attributes, cases[i].wanted);
        assert_int_equal(get_value(HV_REG_DS).segment.limit, cases[i].limit);
    }
}

static void test_tables(void **state)
{
    union hv_reg_value idtr = {.table = {{1, 2, 3}, 0xfff, 0xffff800000001000}};
    union hv_reg_value gdtr = {.table = {{4, 5, 6}, 0x7f, 0x2000}};

    (void)state;
    assert_int_equal(set_value(HV_REG_IDTR, idtr), HV_OK);
    assert_int_equal(set_value(HV_REG_GDTR, gdtr), HV_OK);
    assert_int_equal(stub_vcpu.dirty, VCPU_TABLES);
    assert_int_equal(get_value(HV_REG_IDTR).table.limit, 0xfff);
    assert_int_equal(get_value(HV_REG_IDTR).table.base, 0xffff800000001000);
    assert_int_equal(get_value(HV_REG_IDTR).table.reserved[0], 0);
    assert_int_equal(get_value(HV_REG_GDTR).table.limit, 0x7f);
    assert_int_equal(get_value(HV_REG_GDTR).table.base, 0x2000);
}

static void test_xmm_and_x87(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 16; i++)
        assert_int_equal(get_value(HV_REG_XMM0 + i).u128.high, 0);
    for (uint32_t i = 0; i < 16; i++)
        assert_int_equal(set_value(HV_REG_XMM0 + i, (union hv_reg_value){.u128 = {i + 1, ~(uint64_t)i}}), HV_OK);
    for (uint32_t i = 0; i < 8; i++)
        assert_int_equal(set_value(HV_REG_FP_MMX0 + i, (union hv_reg_value){.u128 = {i + 99, 0xabcd3fff}}), HV_OK);
    for (uint32_t i = 0; i < 16; i++) {
        assert_int_equal(get_value(HV_REG_XMM0 + i).u128.low, i + 1);
        assert_int_equal(get_value(HV_REG_XMM0 + i).u128.high, ~(uint64_t)i);
    }
    for (uint32_t i = 0; i < 8; i++) {
        assert_int_equal(get_value(HV_REG_FP_MMX0 + i).u128.low, i + 99);
        assert_int_equal(get_value(HV_REG_FP_MMX0 + i).u128.high, 0x3fff); /* 80 bits */
    }
}

static void test_fp_control(void **state)
{
    union hv_reg_value fp = {.fp = {0x27f, 0x3800, 0xf0, 0xff, 0x5d9, 0x1234567890}};
    union hv_reg_value got = get_value(HV_REG_FP_CONTROL_STATUS);

    (void)state;
    assert_int_equal(got.fp.control, 0x37f); /* the image holds no x87 state */
    assert_int_equal(got.fp.tag, 0);
    assert_int_equal(set_value(HV_REG_FP_CONTROL_STATUS, fp), HV_OK);
    got = get_value(HV_REG_FP_CONTROL_STATUS);
    fp.fp.reserved = 0;
    assert_memory_equal(&got, &fp, sizeof(fp));
    assert_int_equal(get_value(HV_REG_FP_MMX0).u128.low, 0);
}

static void test_xmm_control(void **state)
{
    union hv_reg_value value = get_value(HV_REG_XMM_CONTROL_STATUS);

    (void)state;
    assert_int_equal(value.xmm.mxcsr, 0x1f80);
    assert_int_equal(value.xmm.mxcsr_mask, 0xffff);
    value.xmm.mxcsr = 0x9fc0;
    value.xmm.last_fp_rdp = 0x1234;
    value.xmm.mxcsr_mask = 0x55; /* ignored */
    assert_int_equal(set_value(HV_REG_XMM_CONTROL_STATUS, value), HV_OK);
    value = get_value(HV_REG_XMM_CONTROL_STATUS);
    assert_int_equal(value.xmm.mxcsr, 0x9fc0);
    assert_int_equal(value.xmm.last_fp_rdp, 0x1234);
    assert_int_equal(value.xmm.mxcsr_mask, 0xffff);
    value.xmm.mxcsr = 0x10000;
    assert_int_equal(set_value(HV_REG_XMM_CONTROL_STATUS, value), HV_E_REGISTER_VALUE);
    assert_int_equal(get_value(HV_REG_XMM_CONTROL_STATUS).xmm.mxcsr, 0x9fc0);
}

static void test_pending_event(void **state)
{
    union hv_reg_value value = {.u128 = {0x00000004000e0101, 0xdeadf000}};

    (void)state;
    assert_int_equal(set_value(HV_REG_PENDING_EVENT, value), HV_OK);
    assert_int_equal(get_value(HV_REG_PENDING_EVENT).u128.low, value.u128.low);
    assert_int_equal(get_value(HV_REG_PENDING_EVENT).u128.high, 0xdeadf000);
    value.u128.low = 0x200b; /* ExtInt, vector 0x20 */
    assert_int_equal(set_value(HV_REG_PENDING_EVENT, value), HV_OK);
    value.u128.low = 0x2007; /* type 3 */
    assert_int_equal(set_value(HV_REG_PENDING_EVENT, value), HV_E_REGISTER_VALUE);
    value.u128.low = 0x200001; /* exception 32 */
    assert_int_equal(set_value(HV_REG_PENDING_EVENT, value), HV_E_REGISTER_VALUE);
    assert_int_equal(get_value(HV_REG_PENDING_EVENT).u128.low, 0x200b);
    value.u128.low = 0x200000; /* none */
    assert_int_equal(set_value(HV_REG_PENDING_EVENT, value), HV_OK);
    assert_int_equal(get(HV_REG_PENDING_EVENT), 0);
}

/* ---------------------------------------------------------------------- what is no value */

static void test_values(void **state)
{
    (void)state;
    REFUSED(HV_REG_CR8, 16);
    REFUSED(HV_REG_DR6, 1ull << 32);
    REFUSED(HV_REG_DR7, 1ull << 32);
    REFUSED(HV_REG_XCR0, 0);
    REFUSED(HV_REG_XCR0, 2);                              /* x87 is always there */
    REFUSED(HV_REG_XCR0, 5);                              /* AVX without SSE */
    REFUSED(HV_REG_XCR0, 7 | XCR0_OPMASK);                /* a third of AVX-512 */
    REFUSED(HV_REG_XCR0, 7 | XCR0_BNDREGS | XCR0_BNDCSR); /* this CPU has none */
    ACCEPTED(HV_REG_XCR0, 7 | XCR0_AVX512);
    REFUSED(HV_REG_XSS, 1ull << 8);
    REFUSED(HV_REG_CR4, CR4_PKE);
    REFUSED(HV_REG_CR4, CR4_CET);
    ACCEPTED(HV_REG_CR4, CR4_PAE | 1ull << 63); /* for the auditor to find */
    REFUSED(HV_REG_EFER, 1ull << 12);
    ACCEPTED(HV_REG_EFER, EFER_LMA); /* for the auditor to find */
    REFUSED(HV_REG_PAT, 8);
    REFUSED(HV_REG_APIC_BASE, 0xfee00901);
    REFUSED(HV_REG_APIC_BASE, 1ull << 46);
    REFUSED(HV_REG_APIC_BASE, 0xfee00400); /* x2APIC mode without EN */
    ACCEPTED(HV_REG_APIC_BASE, 0xfee00c00);
    REFUSED(HV_REG_INITIAL_APIC_ID, 4);
    REFUSED(HV_REG_MTRR_CAP, 0x508);
    REFUSED(HV_REG_MTRR_DEF_TYPE, 2);
    REFUSED(HV_REG_MTRR_DEF_TYPE, 0x1006);
    REFUSED(HV_REG_MTRR_PHYS_BASE0, 0x1007);
    REFUSED(HV_REG_MTRR_PHYS_BASE0, 0x1106);
    REFUSED(HV_REG_MTRR_PHYS_BASEF, 1ull << 46);
    REFUSED(HV_REG_MTRR_PHYS_MASK0, 0x1001);
    REFUSED(HV_REG_MTRR_PHYS_MASKF, 1ull << 46);
    REFUSED(HV_REG_MTRR_FIX64K_00000, 0x0202020202020202);
    REFUSED(HV_REG_MTRR_FIX4K_F8000, 0x0200000000000000);
    REFUSED(HV_REG_DELIVERABILITY_NOTIFICATIONS, 0x40);
    REFUSED(HV_REG_DELIVERABILITY_NOTIFICATIONS, 1ull << 48);
    REFUSED(HV_REG_INTERNAL_ACTIVITY_STATE, 8);
}

static void test_canonical_values(void **state)
{
    static const uint32_t names[] = {
        HV_REG_KERNEL_GS_BASE, HV_REG_SYSENTER_EIP, HV_REG_SYSENTER_ESP, HV_REG_LSTAR, HV_REG_CSTAR,
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        stub_facts.linear_bits = 48;
        REFUSED(names[i], 0x0000800000000000ull);
        REFUSED(names[i], 0xffff000000000000ull);
        ACCEPTED(names[i], 0x00007fffffffffffull);
        stub_facts.linear_bits = 57;
        ACCEPTED(names[i], 0xff80000000000000ull);
    }
}

static void test_upper_bits_are_ignored(void **state)
{
    (void)state;
    assert_int_equal(set(HV_REG_SYSENTER_CS, 0x1234567800000008), HV_OK);
    assert_int_equal(get(HV_REG_SYSENTER_CS), 8);
    assert_int_equal(set(HV_REG_TSC_AUX, 0x1234567800000003), HV_OK);
    assert_int_equal(get(HV_REG_TSC_AUX), 3);
    assert_int_equal(set(HV_REG_SFMASK, 0x1234567800000700), HV_OK);
    assert_int_equal(get(HV_REG_SFMASK), 0x700);
    assert_int_equal(set(HV_REG_INITIAL_APIC_ID, 0x1234567800000005), HV_OK);
}

static void test_interruption(void **state)
{
    (void)state;
    for (unsigned type = 0; type < 8; type++) {
        if (type == 1 || type == 7)
            REFUSED(HV_REG_PENDING_INTERRUPTION, 0x200001 | type << 1);
        else
            ACCEPTED(HV_REG_PENDING_INTERRUPTION, 0x200001 | type << 1);
    }
    REFUSED(HV_REG_PENDING_INTERRUPTION, 0x1000001);                     /* vector 0x100 */
    assert_int_equal(set(HV_REG_PENDING_INTERRUPTION, 0x200002), HV_OK); /* not pending: any type */
    assert_int_equal(get(HV_REG_PENDING_INTERRUPTION), 0);
    assert_int_equal(set(HV_REG_PENDING_INTERRUPTION, 0x20fe01), HV_OK); /* reserved bits, nested event */
    assert_int_equal(get(HV_REG_PENDING_INTERRUPTION), 0x200001);
}

static void test_debug_layout(void **state)
{
    (void)state;
    assert_int_equal(set(HV_REG_PENDING_DEBUG_EXCEPTION, 0x10), HV_OK);
    assert_int_equal(stub_vcpu.pending_debug, 1 << 14);
    assert_int_equal(set(HV_REG_PENDING_DEBUG_EXCEPTION, 0x05), HV_OK);
    assert_int_equal(stub_vcpu.pending_debug, 1 << 12 | 5);
    stub_vcpu.pending_debug = 1 << 14 | 1 << 12 | 2;
    assert_int_equal(get(HV_REG_PENDING_DEBUG_EXCEPTION), 0x12);
}

static void test_interrupt_shadow(void **state)
{
    (void)state;
    assert_int_equal(set(HV_REG_INTERRUPT_STATE, 1), HV_OK);
    assert_true(stub_vcpu.interrupt_shadow && stub_vcpu.shadow_by_mov_ss && !stub_vcpu.nmi_masked);
    stub_vcpu.shadow_by_mov_ss = false; /* the guest's own, by STI: written back as read */
    assert_int_equal(set(HV_REG_INTERRUPT_STATE, get(HV_REG_INTERRUPT_STATE)), HV_OK);
    assert_true(stub_vcpu.interrupt_shadow && !stub_vcpu.shadow_by_mov_ss);
    assert_int_equal(set(HV_REG_INTERRUPT_STATE, 2), HV_OK);
    assert_true(!stub_vcpu.interrupt_shadow && !stub_vcpu.shadow_by_mov_ss && stub_vcpu.nmi_masked);
}

/* --------------------------------------------------------------------------- consequences */

static void test_paging_registers_flush(void **state)
{
    static const uint32_t names[] = {HV_REG_CR0, HV_REG_CR3, HV_REG_CR4, HV_REG_EFER};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(names); i++) {
        stub_vcpu.flush_guest = stub_vp.pdptes_stale = false;
        assert_int_equal(set(names[i], 0), HV_OK);
        assert_true(stub_vcpu.flush_guest && stub_vp.pdptes_stale);
    }
}

static void test_debug_registers_are_wanted(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < 4; i++)
        assert_int_equal(set(HV_REG_DR0 + i, 0), HV_OK);
    assert_int_equal(set(HV_REG_DR7, 0x400), HV_OK);
    assert_int_equal(set(HV_REG_DR7, 0), HV_OK);
    assert_false(stub_vcpu.dr_wanted);
    assert_int_equal(set(HV_REG_DR7, 1), HV_OK);
    assert_true(stub_vcpu.dr_wanted);
    stub_vcpu.dr_wanted = false;
    assert_int_equal(set(HV_REG_DR2, 1), HV_OK);
    assert_true(stub_vcpu.dr_wanted);
}

/* What a CPU may still have of the last run is here before it is looked at, and before it is changed. */
static void test_switched_registers_are_taken_off(void **state)
{
    static const uint32_t switched[] = {
        HV_REG_DR0,
        HV_REG_DR3,
        HV_REG_DR6,
        HV_REG_DR7,
        HV_REG_XCR0,
        HV_REG_XMM0,
        HV_REG_XMM15,
        HV_REG_FP_MMX7,
        HV_REG_FP_CONTROL_STATUS,
        HV_REG_XMM_CONTROL_STATUS,
        HV_REG_KERNEL_GS_BASE,
        HV_REG_STAR,
        HV_REG_LSTAR,
        HV_REG_CSTAR,
        HV_REG_SFMASK,
        HV_REG_TSC_AUX,
    };
    static const uint32_t others[] = {HV_REG_RAX, HV_REG_RIP, HV_REG_CS, HV_REG_CR3, HV_REG_EFER, HV_REG_PAT};

    (void)state;
    for (size_t i = 0; i < 2 * ARRAY_COUNT(switched); i++) {
        union hv_reg_value value = get_value(switched[i / 2]);

        stub_vcpu.loaded = true;
        if (i % 2)
            set_value(switched[i / 2], value);
        else
            get_value(switched[i / 2]);
        if (stub_vcpu.loaded)
            fail_msg("register %#x was %s behind the CPU's back", switched[i / 2], i % 2 ? "set" : "read");
    }
    stub_vcpu.loaded = true;
    for (size_t i = 0; i < ARRAY_COUNT(others); i++)
        set_value(others[i], get_value(others[i]));
    assert_true(stub_vcpu.loaded);
    stub_vcpu.loaded = false;
}

static void test_tsc(void **state)
{
    (void)state;
    stub_vcpu.tsc_offset = 500;
    assert_int_equal(get(HV_REG_TSC), STUB_TSC + 500);
    assert_int_equal(set(HV_REG_TSC, 10), HV_OK);
    assert_int_equal(get(HV_REG_TSC_VIRTUAL_OFFSET), 10 - STUB_TSC);
}

/* --------------------------------------------------------------------------------- groups */

static void test_get_fetches(void **state)
{
    const uint32_t names[] = {HV_REG_RAX, HV_REG_RIP, HV_REG_CR3, HV_REG_CS, HV_REG_IDTR};
    union hv_reg_value values[ARRAY_COUNT(names)];

    (void)state;
    stub_vcpu.valid = VCPU_CR3;
    stub_vcpu.cr3 = 0x5000;
    stub_vcpu.gpr[GPR_RAX] = 0x77;
    stub_hw.rip = 0x1234;
    stub_hw.seg[SEG_CS].base = 0x4321;
    stub_hw.idtr.limit = 0x3ff;
    assert_int_equal(hv_vp_get_registers(&stub_vp, names, ARRAY_COUNT(names), values), HV_OK);
    assert_int_equal(stub_fetched, VCPU_RIP | VCPU_CS | VCPU_TABLES);
    assert_int_equal(values[0].u64, 0x77);
    assert_int_equal(values[1].u64, 0x1234);
    assert_int_equal(values[2].u64, 0x5000);
    assert_int_equal(values[3].segment.base, 0x4321);
    assert_int_equal(values[4].table.limit, 0x3ff);
    assert_int_equal(stub_vcpu.dirty, 0);
}

static void test_set_needs_no_hardware(void **state)
{
    (void)state;
    stub_vcpu.valid = 0;
    assert_int_equal(set(HV_REG_RSP, 1), HV_OK);
    assert_int_equal(set(HV_REG_RIP, 1), HV_OK);
    assert_int_equal(set(HV_REG_CR0, 1), HV_OK);
    assert_int_equal(set_value(HV_REG_CS, (union hv_reg_value){0}), HV_OK);
    assert_int_equal(stub_fetched, 0);
    assert_int_equal(stub_vcpu.valid, VCPU_RSP | VCPU_RIP | VCPU_CR0 | VCPU_CS);
}

/* One register of a group of several: the others are kept. */
static void test_set_part_of_a_group(void **state)
{
    (void)state;
    stub_vcpu.valid = 0;
    stub_hw.sysenter_esp = 0x99;
    stub_hw.nmi_masked = true;
    stub_hw.gdtr.base = 0x88;
    stub_hw.msr[VCPU_MSR_CSTAR] = 0x77;
    assert_int_equal(set(HV_REG_LSTAR, 0x66), HV_OK);
    assert_int_equal(set(HV_REG_SYSENTER_EIP, 0x11), HV_OK);
    assert_int_equal(set(HV_REG_PENDING_DEBUG_EXCEPTION, 0x10), HV_OK);
    assert_int_equal(set_value(HV_REG_IDTR, (union hv_reg_value){0}), HV_OK);
    assert_int_equal(stub_fetched, VCPU_MSRS | VCPU_SYSENTER | VCPU_INTR | VCPU_TABLES);
    assert_int_equal(get(HV_REG_CSTAR), 0x77);
    assert_int_equal(get(HV_REG_LSTAR), 0x66);
    assert_int_equal(get(HV_REG_SYSENTER_ESP), 0x99);
    assert_int_equal(get(HV_REG_INTERRUPT_STATE), 2);
    assert_int_equal(get_value(HV_REG_GDTR).table.base, 0x88);
}

/* ---------------------------------------------------------------------------------- lists */

#define LIST 18

static void make_gpr_list(uint32_t names[LIST], union hv_reg_value values[LIST])
{
    for (uint32_t i = 0; i < LIST; i++) {
        names[i] = i;
        values[i].u128.low = 0x100 + i;
        values[i].u128.high = ~0ull;
    }
}

static void test_gpr_list(void **state)
{
    uint32_t names[LIST];
    union hv_reg_value values[LIST];

    (void)state;
    for (uint32_t count = 0; count <= LIST; count++) {
        make_gpr_list(names, values);
        stub_vcpu.valid = stub_vcpu.dirty = 0;
        memset(stub_vcpu.gpr, 0, sizeof(stub_vcpu.gpr));
        assert_int_equal(set_list(names, count, values), HV_OK);
        assert_int_equal(stub_vcpu.dirty,
                         (count > 4 ? VCPU_RSP : 0) | (count > 16 ? VCPU_RIP : 0) | (count > 17 ? VCPU_RFLAGS : 0));
        memset(values, 0xee, sizeof(values));
        assert_int_equal(get_list(names, count, values), HV_OK);
        for (uint32_t i = 0; i < count; i++) {
            assert_int_equal(values[i].u128.low, 0x100 + i);
            assert_int_equal(values[i].u128.high, 0);
        }
        if (count < LIST)
            assert_int_equal(values[count].u128.low, 0xeeeeeeeeeeeeeeee);
    }
}

/* What is few is done without the hardware; of all else nothing. */
static void test_a_few_plain_ones(void **state)
{
    uint32_t names[LIST];
    union hv_reg_value values[LIST];

    (void)state;
    for (uint32_t count = 0; count <= LIST; count++) {
        bool is_few = count > 0 && count < GPR_COUNT;

        make_gpr_list(names, values);
        stub_vcpu.gpr[0] = stub_vcpu.valid = stub_vcpu.dirty = 0;
        assert_int_equal(hv_vp_set_few(&stub_vp, names, count, values), is_few);
        assert_int_equal(stub_vcpu.gpr[0], is_few ? 0x100 : 0);
        assert_int_equal(hv_vp_get_few(&stub_vp, names, count, values), is_few);
        assert_int_equal(stub_vcpu.valid, is_few && count > GPR_RSP ? VCPU_RSP : 0);
        assert_int_equal(stub_fetched, 0);
    }
    make_gpr_list(names, values);
    for (uint32_t i = 0; i < 3; i++) {
        names[i] = HV_REG_CS;
        stub_vcpu.gpr[0] = stub_vcpu.gpr[1] = 0;
        assert_false(hv_vp_set_few(&stub_vp, names, 3, values));
        assert_int_equal(stub_vcpu.gpr[0] + stub_vcpu.gpr[1], 0);
        names[i] = i;
    }
    names[2] = HV_REG_RIP;
    stub_vcpu.valid = 0;
    assert_false(hv_vp_get_few(&stub_vp, names, 3, values));
    stub_vcpu.valid = VCPU_RIP;
    assert_true(hv_vp_get_few(&stub_vp, names, 3, values));
}

/* Also where names come twice, and the last value counts. An RSP that is known to be the same already is not marked. */
static void test_sixteen_gprs_in_any_order(void **state)
{
    uint32_t names[GPR_COUNT];
    union hv_reg_value values[GPR_COUNT];

    (void)state;
    for (uint32_t first = 0; first < GPR_COUNT; first++) {
        for (uint32_t i = 0; i < GPR_COUNT; i++) {
            names[i] = first ? (i * 7 + first) % GPR_COUNT : i / 2;
            values[i].u128.low = values[i].u128.high = 0xabc000 + names[i] + (i + 1) % 2 * !first;
        }
        for (unsigned again = 0; again < 2; again++) {
            stub_vcpu.valid = VCPU_ALL;
            stub_vcpu.gpr[GPR_RSP] = again ? 0xabc000 + GPR_RSP : 1;
            stub_vcpu.dirty = 0;
            assert_int_equal(hv_vp_set_registers(&stub_vp, names, GPR_COUNT, values), HV_OK);
            assert_int_equal(stub_vcpu.dirty, again ? 0 : VCPU_RSP);
        }
        assert_int_equal(hv_vp_get_registers(&stub_vp, names, GPR_COUNT, values), HV_OK);
        for (uint32_t i = 0; i < GPR_COUNT; i++) {
            assert_int_equal(values[i].u128.low, 0xabc000 + names[i]);
            assert_int_equal(values[i].u128.high, 0);
        }
    }
}

static void test_rsp_of_a_list_is_fetched(void **state)
{
    const uint32_t names[] = {HV_REG_RSP, HV_REG_RAX, HV_REG_RBX, HV_REG_RCX};
    union hv_reg_value values[4];

    (void)state;
    stub_vcpu.valid = 0;
    stub_hw.gpr[GPR_RSP] = 0x8000;
    assert_int_equal(hv_vp_get_registers(&stub_vp, names, 4, values), HV_OK);
    assert_int_equal(values[0].u64, 0x8000);
}

static void test_bad_name_writes_nothing(void **state)
{
    static const uint32_t bad[] = {0x28,   0xfff,  0x101a, 0x1fff,     0x200f,     0x2020,     0x2050,    0x207c,
                                   0x2086, 0x208c, 0x2097, 0x7fffffff, 0x80000003, 0x80000007, 0xffffffff};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++) {
        uint32_t names[LIST];
        union hv_reg_value values[LIST];

        make_gpr_list(names, values);
        names[LIST - 1] = bad[i];
        stub_vcpu.dirty = 0;
        assert_int_equal(hv_vp_set_registers(&stub_vp, names, LIST, values), HV_E_REGISTER_NAME);
        assert_int_equal(stub_vcpu.gpr[0], 0);
        assert_int_equal(stub_vcpu.dirty, 0);
        assert_int_equal(hv_vp_get_registers(&stub_vp, names, LIST, values), HV_E_REGISTER_NAME);
    }
}

static void test_bad_value_ends_the_list(void **state)
{
    const uint32_t names[] = {HV_REG_RIP, HV_REG_CR8, HV_REG_RFLAGS};
    const union hv_reg_value values[] = {{.u64 = 0x1234}, {.u64 = 99}, {.u64 = 0x202}};

    (void)state;
    assert_int_equal(hv_vp_set_registers(&stub_vp, names, 3, values), HV_E_REGISTER_VALUE);
    assert_int_equal(stub_vcpu.dirty, VCPU_RIP);
    assert_int_equal(get(HV_REG_RIP), 0x1234);
    assert_int_equal(get(HV_REG_RFLAGS), RFLAGS_FIXED);
}

static void test_without_xsave(void **state)
{
    uint32_t name = HV_REG_XCR0;
    union hv_reg_value value = {.u64 = 1};

    (void)state;
    stub_facts.xcr0_allowed = 0;
    assert_int_equal(hv_vp_get_registers(&stub_vp, &name, 1, &value), HV_E_REGISTER_NAME);
    assert_int_equal(hv_vp_set_registers(&stub_vp, &name, 1, &value), HV_E_REGISTER_NAME);
    name = HV_REG_XSS;
    assert_int_equal(hv_vp_get_registers(&stub_vp, &name, 1, &value), HV_E_REGISTER_NAME);
}

static void test_busy(void **state)
{
    uint32_t name = HV_REG_RAX;
    union hv_reg_value value = {.u64 = 1};

    (void)state;
    vp_claim(&stub_vp);
    assert_int_equal(hv_vp_get_registers(&stub_vp, &name, 1, &value), HV_E_VP_BUSY);
    assert_int_equal(hv_vp_set_registers(&stub_vp, &name, 1, &value), HV_E_VP_BUSY);
    assert_false(hv_vp_get_few(&stub_vp, &name, 1, &value));
    assert_false(hv_vp_set_few(&stub_vp, &name, 1, &value));
    vp_release(&stub_vp);
    assert_true(hv_vp_set_few(&stub_vp, &name, 1, &value));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STUB_TEST(test_words),
        STUB_TEST(test_words_do_not_overlap),
        STUB_TEST(test_segments),
        STUB_TEST(test_segment_granularity),
        STUB_TEST(test_tables),
        STUB_TEST(test_xmm_and_x87),
        STUB_TEST(test_fp_control),
        STUB_TEST(test_xmm_control),
        STUB_TEST(test_pending_event),
        STUB_TEST(test_values),
        STUB_TEST(test_canonical_values),
        STUB_TEST(test_upper_bits_are_ignored),
        STUB_TEST(test_interruption),
        STUB_TEST(test_debug_layout),
        STUB_TEST(test_interrupt_shadow),
        STUB_TEST(test_paging_registers_flush),
        STUB_TEST(test_debug_registers_are_wanted),
        STUB_TEST(test_switched_registers_are_taken_off),
        STUB_TEST(test_tsc),
        STUB_TEST(test_get_fetches),
        STUB_TEST(test_set_needs_no_hardware),
        STUB_TEST(test_set_part_of_a_group),
        STUB_TEST(test_gpr_list),
        STUB_TEST(test_a_few_plain_ones),
        STUB_TEST(test_sixteen_gprs_in_any_order),
        STUB_TEST(test_rsp_of_a_list_is_fetched),
        STUB_TEST(test_bad_name_writes_nothing),
        STUB_TEST(test_bad_value_ends_the_list),
        STUB_TEST(test_without_xsave),
        STUB_TEST(test_busy),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
