/* SPDX-License-Identifier: MIT */
/* The length of an instruction that exited, on CPUs that do not say it (virt/exit_length.c). */
#include "stub_vp.h"
#include "virt/exit_length.h"

#define TABLE(level) ((level)*HV_PAGE_SIZE) /* 1 to 5, and the PDPTEs at 6 */
#define DATA         0x234000ull            /* the page of code */
#define OTHER        0x345000ull
#define NEXT         0x456000ull /* the page behind */

enum mode { REAL, PROTECTED, PAGING_32, PAE_REGISTERS, PAE_MEMORY, LONG_4, LONG_5, MODES };

static const char *const names[MODES] = {"real mode",   "protected mode",        "32-bit paging", "PAE, registers",
                                         "PAE, memory", "4 levels, 64-bit code", "5 levels"};

static enum mode mode;
static hv_gva_t page; /* linear */

static bool is_pae(void)
{
    return mode == PAE_REGISTERS || mode == PAE_MEMORY;
}

static unsigned levels(void)
{
    return mode < PAGING_32 ? 0 : mode < LONG_4 ? 2 : mode == LONG_4 ? 4 : 5;
}

static hv_gpa_t slot(unsigned level, hv_gva_t gva)
{
    if (mode == PAGING_32)
        return TABLE(level) + (gva >> (12 + 10 * (level - 1)) & 1023) * 4;
    return TABLE(level) + (gva >> (12 + 9 * (level - 1)) & 511) * 8;
}

static void set_entry(unsigned level, hv_gva_t gva, uint64_t value)
{
    memcpy(stub_ram + slot(level, gva), &value, mode == PAGING_32 ? 4 : 8);
}

static void set_pdpte(hv_gpa_t table)
{
    uint64_t value = table | PTE_P;

    stub_vcpu.pdpte[page >> 30 & 3] = mode == PAE_REGISTERS ? value : 0;
    if (mode == PAE_MEMORY)
        memcpy(stub_ram + TABLE(6) + 8 * (page >> 30 & 3), &value, 8);
}

static void set_registers(void)
{
    bool is_long = mode >= LONG_4;

    stub_backend.has_pdptes = mode == PAE_REGISTERS;
    stub_vcpu.cr0 = CR0_ET | (mode == REAL ? 0 : CR0_PE) | (levels() ? CR0_PG : 0);
    stub_vcpu.cr3 = is_pae() ? TABLE(6) : TABLE(levels());
    stub_vcpu.cr4 = (is_pae() || is_long ? CR4_PAE : 0) | (mode == LONG_5 ? CR4_LA57 : 0);
    stub_vcpu.efer = is_long ? EFER_LME | EFER_LMA | EFER_NXE : 0;
    stub_vcpu.seg[SEG_CS] = (struct hv_segment){
        .base = mode == REAL ? 0xf0000 : 0,
        .limit = UINT32_MAX,
        .attributes = is_long        ? SEG_ATTR_CODE64
                      : mode == REAL ? SEG_ATTR_REAL_CODE
                                     : SEG_ATTR_CODE32,
    };
    stub_vcpu.seg[SEG_SS].attributes = SEG_ATTR_DATA32;
}

/* A page of code in tables of this mode, and another one behind it. */
static void build(enum mode m)
{
    mode = m;
    memset(stub_ram, 0, 8 * HV_PAGE_SIZE);
    memset(&stub_vp.length, 0, sizeof(stub_vp.length));
    vcpu_code_forget(&stub_vcpu);
    page = m == REAL ? 0xf5000 : m == PROTECTED ? DATA : m >= LONG_4 ? 0x7f8123456000 : 0x80856000;
    for (unsigned level = levels(); level; level--)
        set_entry(level, page, (level > 1 ? TABLE(level - 1) : DATA) | PTE_P | PTE_RW | PTE_US);
    if (levels())
        set_entry(1, page + HV_PAGE_SIZE, NEXT | PTE_P);
    if (is_pae())
        set_pdpte(TABLE(2));
    set_registers();
}

static hv_gpa_t code_gpa(void)
{
    return levels() ? DATA : page;
}

static void put(hv_gpa_t gpa, unsigned offset, const char *code, size_t size)
{
    memset(stub_ram + gpa, 0x90, HV_PAGE_SIZE);
    memcpy(stub_ram + gpa + offset, code, size);
    stub_vcpu.rip = page + offset - stub_vcpu.seg[SEG_CS].base;
}

#define PUT(offset, code) put(code_gpa(), offset, code, sizeof(code) - 1)

static void try_length(struct hv_exit *exit)
{
    uint64_t flags;

    exit->instruction_length = HV_LENGTH_UNKNOWN;
    hv_host_preempt_disable();
    flags = vp_walk_begin(&stub_vp);
    exit_length_try(&stub_vp, exit);
    vp_walk_end(&stub_vp, flags);
    hv_host_preempt_enable();
}

/* As the run loop does. -1: to be tried again. */
static int length_of(struct hv_exit exit, bool *fast)
{
    struct hv_exit *e = &exit;
    bool found = true;

    stub_vcpu.flush_guest = false;
    hv_host_preempt_disable();
    try_length(e);
    *fast = exit.instruction_length != HV_LENGTH_UNKNOWN;
    if (!*fast)
        found = exit_length_find(&stub_vp, e);
    hv_host_preempt_enable();
    assert_int_equal(stub_vcpu.flush_guest, !found);
    return found ? exit.instruction_length : -1;
}

static int find(struct hv_exit exit)
{
    bool fast;

    return length_of(exit, &fast);
}

static const struct hv_exit cpuid = {.reason = HV_EXIT_CPUID};

static bool is_fast(void)
{
    bool fast;

    assert_int_equal(length_of(cpuid, &fast), 2);
    return fast;
}

/* ------------------------------------------------------------------------------ instructions */

#define MSR(write)                                     \
    {                                                  \
        .reason = HV_EXIT_MSR, .msr.is_write = (write) \
    }
#define SOFTWARE(n)                                                                     \
    {                                                                                   \
        .reason = HV_EXIT_EXCEPTION, .exception = {.vector = (n), .is_software = true } \
    }
#define CR(n, read)                                                     \
    {                                                                   \
        .reason = HV_EXIT_CR, .cr = {.number = (n), .is_read = (read) } \
    }
#define IO(write, string)                                                                     \
    {                                                                                         \
        .reason = HV_EXIT_IO, .io = {.access = {.is_write = (write), .is_string = (string)} } \
    }
#define OTHERS(why)             \
    {                           \
        .reason = HV_EXIT_##why \
    }

/* clang-format off */
static const struct {
    const char *code;
    size_t size;
    struct hv_exit exit;
    int length, length64; /* in 32-bit and in 64-bit code; -1: not this instruction */
} instructions[] = {
#define ROW(code, length, length64, ...) {code, sizeof(code) - 1, __VA_ARGS__, length, length64}
    ROW("\x0f\xa2", 2, 2, OTHERS(CPUID)),
    ROW("\x0f\xa3", -1, -1, OTHERS(CPUID)),
    ROW("\x66\x67\x2e\x0f\xa2", 5, 5, OTHERS(CPUID)),
    ROW("\xf3\xf2\x0f\xa2", 4, 4, OTHERS(CPUID)),
    ROW("\x48\x0f\xa2", -1, 3, OTHERS(CPUID)),
    ROW("\x66\x41\x66\x4f\x0f\xa2", -1, 6, OTHERS(CPUID)),
    ROW("\xf0\x0f\xa2", -1, -1, OTHERS(CPUID)),
    ROW("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x0f\xa2", 15, 15, OTHERS(CPUID)),
    ROW("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x0f\xa2", -1, -1, OTHERS(CPUID)),
    ROW("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66", -1, -1, OTHERS(CPUID)),
    ROW("\x0f\x32", 2, 2, MSR(false)),
    ROW("\x0f\x30", 2, 2, MSR(true)),
    ROW("\x0f\x32", -1, -1, MSR(true)),
    ROW("\x0f\x30", -1, -1, MSR(false)),
    ROW("\xf4", 1, 1, OTHERS(HALT)),
    ROW("\xf3\xf4", 2, 2, OTHERS(HALT)),
    ROW("\x0f\x01\xd9", 3, 3, OTHERS(HYPERCALL)),
    ROW("\x0f\x01\xc1", 3, 3, OTHERS(HYPERCALL)),
    ROW("\x66\x0f\x01\xc1", 4, 4, OTHERS(HYPERCALL)),
    ROW("\x0f\x01\xd8", -1, -1, OTHERS(HYPERCALL)),
    ROW("\x0f\x01\xd1", 3, 3, OTHERS(XSETBV)),
    ROW("\x2e\x0f\x01\xd1", 4, 4, OTHERS(XSETBV)),
    ROW("\x66\x0f\x01\xd1", -1, -1, OTHERS(XSETBV)),
    ROW("\x0f\x08", 2, 2, OTHERS(NO_OP)),
    ROW("\x0f\x09", 2, 2, OTHERS(NO_OP)),
    ROW("\xf3\x0f\x09", 3, 3, OTHERS(NO_OP)),
    ROW("\x0f\x31", 2, 2, OTHERS(RDTSC)),
    ROW("\x0f\x01\xf9", 3, 3, OTHERS(RDTSC)),
    ROW("\x0f\x01\xf9", 3, 3, {.reason = HV_EXIT_RDTSC, .rdtsc.is_rdtscp = true}),
    ROW("\xf3\x90", 2, 2, OTHERS(PAUSE)),
    ROW("\x90", -1, -1, OTHERS(PAUSE)),
    ROW("\xf3\xf2\x90", -1, -1, OTHERS(PAUSE)),
    ROW("\xf3\x40\x90", -1, 3, OTHERS(PAUSE)),
    ROW("\xf3\x41\x90", -1, -1, OTHERS(PAUSE)),
    ROW("\xcc", 1, 1, SOFTWARE(VEC_BP)),
    ROW("\xce", 1, 1, SOFTWARE(VEC_OF)),
    ROW("\x66\xf1", 2, 2, SOFTWARE(VEC_DB)),
    ROW("\xcc", -1, -1, SOFTWARE(VEC_DB)),
    ROW("\xcd\x80", 2, 2, OTHERS(SOFTWARE_INT)),
    ROW("\xf1", -1, -1, OTHERS(SOFTWARE_INT)),
    ROW("\x0f\x22\xd8", 3, 3, CR(3, false)),
    ROW("\x44\x0f\x22\x07", -1, 4, CR(8, false)),
    ROW("\xf0\x0f\x22\xc7", 4, 4, CR(8, false)),
    ROW("\x0f\x22\xd8", -1, -1, CR(4, false)),
    ROW("\x0f\x22\xc0", -1, -1, CR(0, true)),
    ROW("\x0f\x20\xc0", 3, 3, CR(0, true)),
    ROW("\x0f\x20\xe0", 3, 3, CR(4, true)),
    ROW("\x0f\x06", 2, 2, CR(0, false)),
    ROW("\x0f\x06", -1, -1, CR(3, false)),
    ROW("\x0f\x01\xf0", 3, 3, CR(0, false)),
    ROW("\x0f\x01\xb4\x88\x44\x33\x22\x11", 8, 8, CR(0, false)),
    ROW("\x0f\x01\xe0", 3, 3, CR(0, true)),
    ROW("\x0f\x01\x66\x08", 4, 4, CR(0, true)),
    ROW("\xee", 1, 1, IO(true, false)),
    ROW("\x66\xe5\x10", 3, 3, IO(false, false)),
    ROW("\xf3\x6e", 2, 2, IO(true, true)),
    ROW("\x6c", 1, 1, IO(false, true)),
    ROW("\x6c", -1, -1, IO(true, true)),
    ROW("\xec", -1, -1, IO(false, true)),
};
/* clang-format on */

static void check_instruction(size_t i, unsigned offset, int wanted)
{
    int length;

    put(DATA, offset, instructions[i].code, instructions[i].size);
    stub_vp.length.failures = 0;
    length = find(instructions[i].exit);
    if (length != wanted)
        fail_msg("row %zu, %s: %d bytes, wanted %d", i, names[mode], length, wanted);
}

static void test_instructions(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(instructions); i++) {
        build(PROTECTED);
        check_instruction(i, 0x123, instructions[i].length);
        build(LONG_4);
        check_instruction(i, 0x123, instructions[i].length64);
        check_instruction(i, 0x123, instructions[i].length64); /* by the way that is known now */
    }
}

/* MOV to and from control registers needs no more decoding, but for prefixes. */
static void test_mov_cr(void **state)
{
    static const struct {
        const char *code;
        unsigned size, number, length, gpr;
        enum mode mode;
        bool is_read, is_known;
    } rows[] = {
        {"\x0f\x22\xe3", 3, 4, 3, GPR_RBX, PROTECTED, false, true},
        {"\x0f\x20\xc3", 3, 0, 3, GPR_RBX, REAL, true, true},
        {"\x0f\x22\xe4", 3, 4, 3, GPR_RSP, LONG_4, false, true},
        {"\x41\x0f\x22\xe7", 4, 4, 4, GPR_R15, LONG_4, false, true},
        {"\x45\x0f\x22\xc0", 4, 8, 4, GPR_R8, LONG_5, false, true},
        {"\x44\x0f\x22\xc0", 4, 0, 0, 0, LONG_4, false, false}, /* it is CR8's */
        {"\x0f\x22\xc3", 3, 4, 0, 0, LONG_4, false, false},     /* CR0's */
        {"\x0f\x20\xe3", 3, 4, 0, 0, LONG_4, false, false},     /* a read */
        {"\x66\x0f\x22\xe3", 4, 4, 4, 0, LONG_4, false, false}, /* left to the decoder */
        {"\x0f\x06", 2, 0, 2, 0, LONG_4, false, false},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct hv_exit exit = {.reason = HV_EXIT_CR,
                               .cr = {.number = (uint8_t)rows[i].number, .is_read = rows[i].is_read}};

        build(rows[i].mode);
        put(code_gpa(), 0x123, rows[i].code, rows[i].size);
        for (unsigned r = 0; r < GPR_COUNT; r++)
            stub_vcpu.gpr[r] = 0x1111111122222200 + r;
        exit.instruction_length = HV_LENGTH_UNKNOWN;
        try_length(&exit);
        assert_int_equal(exit.cr.is_known, rows[i].is_known);
        assert_int_equal(exit.instruction_length != HV_LENGTH_UNKNOWN, rows[i].is_known);
        if (!rows[i].is_known)
            continue;
        assert_int_equal(exit.instruction_length, rows[i].length);
        assert_int_equal(exit.cr.gpr, rows[i].gpr);
        if (!rows[i].is_read)
            assert_int_equal(exit.cr.value,
                             rows[i].mode >= LONG_4 ? 0x1111111122222200 + rows[i].gpr : 0x22222200 + rows[i].gpr);
    }
}

/* Where INT3 and INTO exit as INT n do. */
static void test_software_interrupts_are_told(void **state)
{
    static const struct {
        const char *code;
        unsigned size, vector;
        bool is_int_n;
    } rows[] = {
        {"\xcc", 1, VEC_BP, false},   {"\x2e\xcc", 2, VEC_BP, false}, {"\xce", 1, VEC_OF, false},
        {"\xcd\x80", 2, 0x80, true},  {"\xcd\xcc", 2, 0xcc, true},    {"\xcd\xce", 2, 0xce, true},
        {"\x66\xcd\x03", 3, 3, true},
    };

    (void)state;
    build(PROTECTED);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct hv_exit exit = {.reason = HV_EXIT_SOFTWARE_INT, .software = {.vector = VEC_BP}};

        put(DATA, 0x123, rows[i].code, rows[i].size);
        try_length(&exit);
        hv_host_preempt_disable();
        if (exit.instruction_length == HV_LENGTH_UNKNOWN)
            assert_true(exit_length_find(&stub_vp, &exit));
        hv_host_preempt_enable();
        assert_int_equal(exit.instruction_length, rows[i].size);
        assert_int_equal(exit.software.vector, rows[i].vector);
        assert_int_equal(exit.software.is_int_n, rows[i].is_int_n);
        assert_int_equal(exit.instruction.count, 0);
    }
}

/* Where the exit of RDTSC is RDTSCP's too, the instruction says which one it was. */
static void test_rdtscp_is_told(void **state)
{
    static const struct {
        const char *code;
        unsigned size;
        bool is_rdtscp;
    } rows[] = {{"\x0f\x01\xf9", 3, true}, {"\x66\x0f\x01\xf9", 4, true}, {"\x0f\x31", 2, false}};

    (void)state;
    build(LONG_4);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++) {
        struct hv_exit exit = {.reason = HV_EXIT_RDTSC, .instruction_length = HV_LENGTH_UNKNOWN};

        put(DATA, 0x123, rows[i].code, rows[i].size);
        hv_host_preempt_disable();
        assert_true(exit_length_find(&stub_vp, &exit));
        hv_host_preempt_enable();
        assert_int_equal(exit.instruction_length, rows[i].size);
        assert_int_equal(exit.rdtsc.is_rdtscp, rows[i].is_rdtscp);
    }
}

/* Every byte of it may be the last one of the page. */
static void test_instructions_across_pages(void **state)
{
    (void)state;
    build(LONG_4);
    for (size_t i = 0; i < ARRAY_COUNT(instructions); i++) {
        for (unsigned first = 1; first < instructions[i].size; first++) {
            put(NEXT, 0, instructions[i].code + first, instructions[i].size - first);
            check_instruction(i, HV_PAGE_SIZE - first, instructions[i].length64);
        }
    }
}

static void test_code_of_compatibility_mode(void **state)
{
    (void)state;
    build(LONG_4);
    stub_vcpu.seg[SEG_CS].attributes = SEG_ATTR_CODE32;
    stub_vcpu.seg[SEG_CS].base = 0xfffff000; /* and RIP beyond 4 GiB wraps */
    page = 0x6000;
    for (unsigned level = 4; level; level--)
        set_entry(level, page, (level > 1 ? TABLE(level - 1) : DATA) | PTE_P);
    put(DATA, 0x10, "\x0f\xa2", 2);
    stub_vcpu.rip = 0x7010;
    assert_int_equal(find(cpuid), 2);
    put(DATA, 0x10, "\x48\x0f\xa2", 3);
    stub_vcpu.rip = 0x7010;
    assert_int_equal(find(cpuid), -1);
}

/* An exit that is no instruction's, with what an earlier one has left. */
static void test_other_exits(void **state)
{
    const struct hv_exit none = {.reason = HV_EXIT_HOST_EVENT};
    const struct hv_exit fault = {.reason = HV_EXIT_EXCEPTION, .exception.vector = VEC_BP};

    (void)state;
    build(REAL);
    assert_int_equal(find(none), 0);
    assert_int_equal(find(fault), 0);
}

/* ------------------------------------------------------------------------- the way to the code */

static void test_all_modes(void **state)
{
    (void)state;
    for (enum mode m = REAL; m < MODES; m++) {
        build(m);
        PUT(0x100, "\x0f\xa2");
        assert_false(is_fast());
        if (!is_fast())
            fail_msg("%s", names[m]);
        PUT(0x200, "\x0f\xa2"); /* elsewhere in the page */
        assert_true(is_fast());
        PUT(0xffc, "\x0f\xa2");
        assert_true(is_fast());
        PUT(0xffe, "\x0f\xa2"); /* the last bytes of the page are not worth the speed */
        assert_false(is_fast());
        PUT(0x200, "\x0f\xa2");
        stub_hw = stub_vcpu;
        stub_vcpu.valid = 0; /* fetches what it needs */
        stub_vcpu.rip = stub_vcpu.cr0 = stub_vcpu.cr3 = stub_vcpu.cr4 = stub_vcpu.efer = 0;
        memset(stub_vcpu.pdpte, 0, sizeof(stub_vcpu.pdpte));
        stub_vcpu.seg[SEG_CS] = (struct hv_segment){0};
        assert_true(is_fast());
        stub_vcpu.valid = VCPU_ALL;
    }
}

/* When one entry leads elsewhere, so do we: each level's, to a copy of what it led to with other code at its end. */
static void test_entries_that_change(void **state)
{
    (void)state;
    for (enum mode m = PAGING_32; m < MODES; m++)
        for (unsigned level = 1; level <= levels(); level++) {
            build(m);
            PUT(0x100, "\x0f\xa2");
            (void)is_fast();
            assert_true(is_fast());
            put(OTHER, 0x100, "\x66\x0f\xa2", 3);
            for (unsigned l = 1; l < level; l++) /* tables at 16 and more pages */
                memset(stub_ram + TABLE(16 + l), 0, HV_PAGE_SIZE);
            for (unsigned l = 1; l < level; l++) {
                uint64_t value = (l > 1 ? TABLE(16 + l - 1) : OTHER) | PTE_P;

                memcpy(stub_ram + TABLE(16) + slot(l, page), &value, m == PAGING_32 ? 4 : 8);
            }
            set_entry(level, page, (level > 1 ? TABLE(16 + level - 1) : OTHER) | PTE_P);
            if (find(cpuid) != 3)
                fail_msg("%s, level %u: not noticed", names[m], level);
            set_entry(level, page, 0);
            assert_int_equal(find(cpuid), -1);
        }
}

static void test_pdptes_that_change(void **state)
{
    (void)state;
    for (enum mode m = PAE_REGISTERS; m <= PAE_MEMORY; m++) {
        build(m);
        PUT(0x100, "\x0f\xa2");
        (void)is_fast();
        assert_true(is_fast());
        set_pdpte(TABLE(20)); /* empty */
        assert_int_equal(find(cpuid), -1);
        set_pdpte(TABLE(2));
        assert_false(is_fast());
        assert_true(is_fast());
    }
}

static void test_registers_that_change(void **state)
{
    (void)state;
    build(LONG_4);
    PUT(0x100, "\x0f\xa2");
    (void)is_fast();
    assert_true(is_fast());
    stub_vcpu.cr4 |= CR4_PGE | CR4_OSFXSR; /* do not matter */
    assert_true(is_fast());
    stub_vcpu.cr3 = TABLE(20);
    assert_int_equal(find(cpuid), -1);
    stub_vcpu.cr3 = TABLE(4);
    assert_false(is_fast());
    stub_vcpu.efer &= ~EFER_NXE;
    assert_false(is_fast());
    stub_vcpu.rip += HV_PAGE_SIZE; /* another page, without it */
    memset(stub_ram + NEXT, 0x90, HV_PAGE_SIZE);
    assert_int_equal(find(cpuid), -1);
    build(PROTECTED);
    stub_vcpu.cr3 = TABLE(20);
    PUT(0x100, "\x0f\xa2");
    (void)is_fast();
    stub_vcpu.cr0 |= CR0_PG; /* by tables that are empty */
    assert_int_equal(find(cpuid), -1);
}

/* A page of guest-physical memory that is another one of the host's now, or none. */
static void test_memory_map_that_changes(void **state)
{
    (void)state;
    build(LONG_4);
    PUT(0x100, "\x0f\xa2");
    (void)is_fast();
    assert_true(is_fast());
    put(OTHER, 0x100, "\x66\x0f\xa2", 3);
    stub_vcpu.rip = page + 0x100;
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram + OTHER, DATA, HV_PAGE_SIZE, NPT_RIGHTS), HV_OK);
    assert_int_equal(find(cpuid), 3);
    assert_int_equal(hv_partition_unmap(&stub_partition, DATA, HV_PAGE_SIZE), HV_OK);
    assert_int_equal(find(cpuid), -1);
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram + DATA, DATA, HV_PAGE_SIZE, NPT_RIGHTS), HV_OK);
    assert_int_equal(find(cpuid), 2);
    assert_int_equal(hv_partition_unmap(&stub_partition, TABLE(3), HV_PAGE_SIZE), HV_OK);
    assert_int_equal(find(cpuid), -1);
}

/* A large page of the guest's: fewer entries, and what is left of longer ways does not count. */
static void test_large_page(void **state)
{
    (void)state;
    build(LONG_5);
    PUT(0x100, "\x0f\xa2");
    (void)is_fast();
    set_entry(2, page, 0x200000 | PTE_P | PTE_PS);
    put(0x200000 + (page & 0x1ff000), 0x100, "\x66\x0f\xa2", 3);
    stub_vcpu.rip = page + 0x100;
    assert_int_equal(find(cpuid), 3);
    put(0x200000 + (page & 0x1ff000), 0x100, "\x0f\xa2", 2);
    stub_vcpu.rip = page + 0x100;
    assert_true(is_fast());
    set_entry(1, page, 0);
    assert_true(is_fast());
}

/* ------------------------------------------------------------------------------- trying again */

static enum hv_exit_reason try_in_vain(unsigned times)
{
    struct hv_exit exit = cpuid;

    hv_host_preempt_disable();
    for (unsigned i = 0; i < times; i++) {
        exit.instruction_length = HV_LENGTH_UNKNOWN;
        if (exit_length_find(&stub_vp, &exit))
            break;
        assert_int_equal(exit.instruction_length, 0);
        assert_int_equal(exit.reason, HV_EXIT_CPUID);
    }
    hv_host_preempt_enable();
    return exit.reason;
}

static void test_retries_are_bounded(void **state)
{
    (void)state;
    build(LONG_4);
    PUT(0x100, "\x0f\xa2");
    set_entry(1, page, STUB_RAM_SIZE | PTE_P); /* memory that is not there */
    assert_int_equal(try_in_vain(999), HV_EXIT_CPUID);
    assert_int_equal(try_in_vain(1), HV_EXIT_UNSUPPORTED_FEATURE);
    assert_int_equal(try_in_vain(999), HV_EXIT_CPUID); /* after that it counts anew */
    stub_vcpu.rip++;
    assert_int_equal(try_in_vain(999), HV_EXIT_CPUID); /* so it does elsewhere */
    set_entry(1, page, DATA | PTE_P);
    put(DATA, 0x100, "\x0f\xa2", 2);
    assert_false(is_fast());
    set_entry(1, page, STUB_RAM_SIZE | PTE_P);
    assert_int_equal(try_in_vain(999), HV_EXIT_CPUID); /* and after a success */
    set_entry(1, page, DATA | PTE_P);
    assert_false(is_fast());
    stub_ram[DATA + 0x100] = 0x90; /* another instruction, by a way that is known */
    assert_int_equal(try_in_vain(999), HV_EXIT_CPUID);
    stub_ram[DATA + 0x100] = 0x0f;
    (void)is_fast();
    stub_ram[DATA + 0x100] = 0x90;
    assert_int_equal(try_in_vain(999), HV_EXIT_CPUID);
    assert_int_equal(try_in_vain(1), HV_EXIT_UNSUPPORTED_FEATURE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STUB_TEST(test_instructions),
        STUB_TEST(test_instructions_across_pages),
        STUB_TEST(test_mov_cr),
        STUB_TEST(test_rdtscp_is_told),
        STUB_TEST(test_software_interrupts_are_told),
        STUB_TEST(test_code_of_compatibility_mode),
        STUB_TEST(test_other_exits),
        STUB_TEST(test_all_modes),
        STUB_TEST(test_entries_that_change),
        STUB_TEST(test_pdptes_that_change),
        STUB_TEST(test_registers_that_change),
        STUB_TEST(test_memory_map_that_changes),
        STUB_TEST(test_large_page),
        STUB_TEST(test_retries_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
