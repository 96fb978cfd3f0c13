/* SPDX-License-Identifier: MIT */
/* Guest-physical memory (virt/gpa.c), and walks of page tables that are built in it (virt/gva.c). */
#include "stub_vp.h"
#include "virt/gpa.h"
#include "virt/gva.h"

/* where the tests' page tables are: the table of level n at n pages, the root being the highest one */
#define TABLE(level) ((level)*HV_PAGE_SIZE)
#define DATA         0x234000ull /* the 4K page that they map */
#define GVA          0x00007f8123456789ull
#define GVA32        0x80856789ull

#define RW (HV_TRANSLATE_READ | HV_TRANSLATE_WRITE)

static void put64(hv_gpa_t gpa, uint64_t value)
{
    memcpy(stub_ram + gpa, &value, sizeof(value));
}

static void put32(hv_gpa_t gpa, uint32_t value)
{
    memcpy(stub_ram + gpa, &value, sizeof(value));
}

static uint64_t get64(hv_gpa_t gpa)
{
    uint64_t value;

    memcpy(&value, stub_ram + gpa, sizeof(value));
    return value;
}

static uint32_t get32(hv_gpa_t gpa)
{
    return (uint32_t)get64(gpa);
}

/* ----------------------------------------------------------------------- building tables */

enum mode { MODE_32, MODE_PAE, MODE_4, MODE_5 };

static enum mode mode; /* of the tables that were built */

static unsigned levels(void)
{
    return mode == MODE_32 || mode == MODE_PAE ? 2 : mode == MODE_4 ? 4 : 5;
}

static hv_gva_t gva(void)
{
    return mode == MODE_32 || mode == MODE_PAE ? GVA32 : GVA;
}

static hv_gpa_t slot(unsigned level)
{
    if (mode == MODE_32)
        return TABLE(level) + (gva() >> (12 + 10 * (level - 1)) & 1023) * 4;
    return TABLE(level) + (gva() >> (12 + 9 * (level - 1)) & 511) * 8;
}

static void set_entry(unsigned level, uint64_t value)
{
    if (mode == MODE_32)
        put32(slot(level), (uint32_t)value);
    else
        put64(slot(level), value);
}

static uint64_t entry(unsigned level)
{
    return mode == MODE_32 ? get32(slot(level)) : get64(slot(level));
}

/* Sets or clears bits that are in an entry now. */
static void flip(unsigned level, uint64_t bits)
{
    set_entry(level, entry(level) ^ bits);
}

static void set_pdptes(void)
{
    for (unsigned i = 0; i < 4; i++)
        stub_vcpu.pdpte[i] = i == GVA32 >> 30 ? TABLE(2) | PTE_P : 0;
}

/* A VP at CPL 0 whose tables map the page of gva() to DATA, present, writable and for users. */
static void build(enum mode m)
{
    mode = m;
    memset(stub_ram, 0, 6 * HV_PAGE_SIZE);
    for (unsigned level = levels(); level; level--)
        set_entry(level, (level > 1 ? TABLE(level - 1) : DATA) | PTE_P | PTE_RW | PTE_US);
    stub_vcpu.cr0 = CR0_PE | CR0_PG | CR0_ET | CR0_WP;
    stub_vcpu.cr3 = TABLE(levels());
    stub_vcpu.cr4 = (m == MODE_32 ? CR4_PSE : CR4_PAE) | (m == MODE_5 ? CR4_LA57 : 0);
    stub_vcpu.efer = EFER_NXE | (m >= MODE_4 ? EFER_LME | EFER_LMA : 0);
    stub_vcpu.seg[SEG_SS].attributes = SEG_ATTR_DATA32;
    stub_vcpu.rflags = RFLAGS_FIXED;
    if (m == MODE_PAE)
        set_pdptes();
}

static void set_cpl(unsigned cpl)
{
    stub_vcpu.seg[SEG_SS].attributes = (uint16_t)(SEG_ATTR_DATA32 | cpl << 5);
}

static enum hv_translate_result translate_at(hv_gva_t address, uint32_t flags, hv_gpa_t *gpa)
{
    enum hv_translate_result result = (enum hv_translate_result) - 1;

    assert_int_equal(hv_vp_translate(&stub_vp, address, flags, &result, gpa), HV_OK);
    return result;
}

static enum hv_translate_result translate(uint32_t flags)
{
    hv_gpa_t gpa;

    return translate_at(gva(), flags, &gpa);
}

static void assert_maps(hv_gva_t address, hv_gpa_t to)
{
    hv_gpa_t gpa = 0;

    assert_int_equal(translate_at(address, HV_TRANSLATE_READ, &gpa), HV_TRANSLATE_SUCCESS);
    assert_int_equal(gpa, to);
}

#define FOR_ALL_MODES(m) for (enum mode m = MODE_32; m <= MODE_5; m++)

/* ----------------------------------------------------------------------- modes of paging */

static void test_no_paging(void **state)
{
    (void)state;
    assert_maps(0x123456, 0x123456);
    assert_maps(0x100123456, 0x123456); /* 32 address lines */
}

static void test_4k_pages(void **state)
{
    (void)state;
    FOR_ALL_MODES(m)
    {
        build(m);
        assert_maps(gva(), DATA | (gva() & HV_PAGE_MASK));
    }
}

static void test_32bit_linear_addresses_wrap(void **state)
{
    (void)state;
    build(MODE_32);
    assert_maps(GVA32 | 1ull << 32, DATA | (GVA32 & HV_PAGE_MASK));
    build(MODE_PAE);
    assert_maps(GVA32 | 1ull << 32, DATA | (GVA32 & HV_PAGE_MASK));
}

static void test_4m_page(void **state)
{
    (void)state;
    build(MODE_32);
    set_entry(2, 0x800000 | PTE_P | PTE_PS | BIT64(12) /* PAT */);
    assert_maps(GVA32, 0x800000 | (GVA32 & BITS64(21, 0)));
    stub_vcpu.cr4 &= ~CR4_PSE; /* then it points to a table */
    set_entry(2, TABLE(1) | PTE_P | PTE_PS);
    assert_maps(GVA32, DATA | (GVA32 & HV_PAGE_MASK));
}

static void test_pse36(void **state)
{
    hv_gpa_t gpa;

    (void)state;
    build(MODE_32);
    set_entry(2, 0x800000 | PTE_P | PTE_PS | 0xaaull << 13);
    assert_int_equal(translate_at(GVA32, 0, &gpa), HV_TRANSLATE_SUCCESS);
    assert_int_equal(gpa, 0xaa00800000 | (GVA32 & BITS64(21, 0)));
    stub_facts.physical_bits = 39;
    assert_int_equal(translate_at(GVA32, 0, &gpa), HV_TRANSLATE_INVALID_FLAGS);
    set_entry(2, 0x800000 | PTE_P | PTE_PS | BIT64(21));
    assert_int_equal(translate_at(GVA32, 0, &gpa), HV_TRANSLATE_INVALID_FLAGS);
}

static void test_2m_and_1g_pages(void **state)
{
    hv_gpa_t gpa;

    (void)state;
    for (enum mode m = MODE_PAE; m <= MODE_5; m++) {
        build(m);
        set_entry(2, 0x400000 | PTE_P | PTE_PS | BIT64(12));
        assert_maps(gva(), 0x400000 | (gva() & BITS64(20, 0)));
        flip(2, BIT64(13));
        assert_int_equal(translate(0), HV_TRANSLATE_INVALID_FLAGS);
    }
    for (enum mode m = MODE_4; m <= MODE_5; m++) {
        build(m);
        set_entry(3, 0x40000000 | PTE_P | PTE_PS | BIT64(12));
        assert_int_equal(translate_at(GVA, 0, &gpa), HV_TRANSLATE_SUCCESS);
        assert_int_equal(gpa, 0x40000000 | (GVA & BITS64(29, 0)));
        stub_has_1g = false;
        assert_int_equal(translate(0), HV_TRANSLATE_INVALID_FLAGS);
        stub_has_1g = true;
        flip(3, BIT64(29));
        assert_int_equal(translate(0), HV_TRANSLATE_INVALID_FLAGS);
    }
}

static void test_canonical(void **state)
{
    hv_gpa_t gpa;

    (void)state;
    build(MODE_4);
    assert_int_equal(translate_at(GVA | BIT64(48), HV_TRANSLATE_READ, &gpa), HV_TRANSLATE_NOT_PRESENT);
    assert_int_equal(translate_at(GVA | BIT64(63), HV_TRANSLATE_READ, &gpa), HV_TRANSLATE_NOT_PRESENT);
    build(MODE_5);
    assert_int_equal(translate_at(GVA | BIT64(57), HV_TRANSLATE_READ, &gpa), HV_TRANSLATE_NOT_PRESENT);
    put64(TABLE(5) + 8 * 511, TABLE(4) | PTE_P | PTE_RW | PTE_US);
    assert_maps(GVA | BITS64(63, 48), DATA | (GVA & HV_PAGE_MASK));
}

static void test_long_mode_without_lma(void **state)
{
    (void)state;
    build(MODE_4);
    stub_vcpu.efer &= ~EFER_LMA; /* the CPU sets it as it enters */
    assert_maps(GVA, DATA | (GVA & HV_PAGE_MASK));
}

/* ----------------------------------------------------------------------- what can be wrong */

static void test_not_present(void **state)
{
    (void)state;
    FOR_ALL_MODES(m)
    for (unsigned level = 1; build(m), level <= levels(); level++) {
        flip(level, PTE_P);
        assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_NOT_PRESENT);
        flip(level, m == MODE_32 ? PTE_G : BIT64(51)); /* nothing else counts then */
        assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_NOT_PRESENT);
    }
}

static void assert_reserved(unsigned level, uint64_t bits)
{
    flip(level, bits);
    assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_INVALID_FLAGS);
    flip(level, bits);
    assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_SUCCESS);
}

static void test_reserved_bits(void **state)
{
    (void)state;
    for (enum mode m = MODE_PAE; m <= MODE_5; m++) {
        build(m);
        for (unsigned level = 1; level <= levels(); level++) {
            assert_reserved(level, BIT64(46));
            assert_reserved(level, BIT64(51));
            if (m == MODE_PAE)
                assert_reserved(level, BIT64(52));
            if (level > 3)
                assert_reserved(level, PTE_PS);
            stub_vcpu.efer &= ~EFER_NXE;
            assert_reserved(level, PTE_XD);
            stub_vcpu.efer |= EFER_NXE;
        }
    }
    build(MODE_4);
    flip(1, BITS64(62, 52) | PTE_PS | PTE_G); /* ignored, PAT, global */
    assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_SUCCESS);
}

static void test_tables_in_the_memory_map(void **state)
{
    (void)state;
    FOR_ALL_MODES(m)
    for (unsigned level = 1; level <= (build(m), levels()); level++) {
        hv_gpa_t page = TABLE(level);

        assert_int_equal(hv_partition_unmap(&stub_partition, page, HV_PAGE_SIZE), HV_OK);
        assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_GPA_UNMAPPED);
        assert_int_equal(hv_partition_map(&stub_partition, stub_ram + page, page, HV_PAGE_SIZE, NPT_EXECUTE), HV_OK);
        assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_GPA_NO_READ);
        assert_int_equal(hv_partition_map(&stub_partition, stub_ram + page, page, HV_PAGE_SIZE, NPT_READ), HV_OK);
        assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_SUCCESS);
        assert_int_equal(translate(HV_TRANSLATE_READ | HV_TRANSLATE_SET_BITS), HV_TRANSLATE_GPA_NO_WRITE);
        assert_int_equal(hv_partition_map(&stub_partition, stub_ram + page, page, HV_PAGE_SIZE, NPT_RIGHTS), HV_OK);
        assert_int_equal(translate(HV_TRANSLATE_READ | HV_TRANSLATE_SET_BITS), HV_TRANSLATE_SUCCESS);
    }
}

static void map_data(uint32_t rights)
{
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram + DATA, DATA, HV_PAGE_SIZE, rights), HV_OK);
}

static void test_page_in_the_memory_map(void **state)
{
    hv_gpa_t gpa = 0;

    (void)state;
    build(MODE_4);
    map_data(NPT_READ);
    assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_SUCCESS);
    assert_int_equal(translate(RW), HV_TRANSLATE_GPA_NO_WRITE);
    assert_int_equal(translate(HV_TRANSLATE_EXECUTE), HV_TRANSLATE_GPA_NO_READ);
    map_data(NPT_EXECUTE);
    assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_GPA_NO_READ);
    assert_int_equal(translate(HV_TRANSLATE_EXECUTE), HV_TRANSLATE_SUCCESS);
    assert_int_equal(hv_partition_unmap(&stub_partition, DATA, HV_PAGE_SIZE), HV_OK);
    assert_int_equal(translate_at(GVA, HV_TRANSLATE_READ, &gpa), HV_TRANSLATE_GPA_UNMAPPED);
    assert_int_equal(gpa, DATA | (GVA & HV_PAGE_MASK)); /* told all the same: it may be a device's */
    assert_int_equal(translate(0), HV_TRANSLATE_SUCCESS);
}

/* ----------------------------------------------------------------------------- privilege */

#define READ    HV_TRANSLATE_READ
#define WRITE   HV_TRANSLATE_WRITE
#define EXECUTE HV_TRANSLATE_EXECUTE
#define EXEMPT  HV_TRANSLATE_PRIVILEGE_EXEMPT
#define ENFORCE HV_TRANSLATE_ENFORCE_SMAP
#define OVERRID HV_TRANSLATE_OVERRIDE_SMAP

/* clang-format off */
static const struct privilege_case {
    unsigned cpl;
    uint64_t page;    /* RW, US, XD of the entry at one level; the others allow all */
    uint64_t cr0, cr4, rflags;
    uint32_t flags;
    bool allowed;
} privilege_cases[] = {
    /* supervisor on supervisor pages */
    {0, PTE_RW,                    CR0_WP, 0,        0,         READ,             true},
    {0, PTE_RW,                    CR0_WP, 0,        0,         WRITE,            true},
    {0, PTE_RW,                    CR0_WP, CR4_SMEP, 0,         EXECUTE,          true},
    {2, PTE_RW,                    CR0_WP, 0,        0,         WRITE,            true},
    {0, 0,                         CR0_WP, 0,        0,         READ,             true},
    {0, 0,                         CR0_WP, 0,        0,         WRITE,            false},
    {0, 0,                         0,      0,        0,         WRITE,            true},
    {0, PTE_RW | PTE_XD,           CR0_WP, 0,        0,         EXECUTE,          false},
    {0, PTE_RW | PTE_XD,           CR0_WP, 0,        0,         READ | WRITE,     true},
    /* supervisor on user pages */
    {0, PTE_RW | PTE_US,           CR0_WP, 0,        0,         EXECUTE,          true},
    {0, PTE_RW | PTE_US,           CR0_WP, CR4_SMEP, 0,         EXECUTE,          false},
    {0, PTE_RW | PTE_US,           CR0_WP, CR4_SMEP, 0,         READ,             true},
    {0, PTE_RW | PTE_US,           CR0_WP, CR4_SMAP, 0,         READ,             false},
    {0, PTE_RW | PTE_US,           CR0_WP, CR4_SMAP, 0,         WRITE,            false},
    {0, PTE_RW | PTE_US,           CR0_WP, CR4_SMAP, 0,         EXECUTE,          true},
    {0, PTE_RW | PTE_US,           CR0_WP, CR4_SMAP, RFLAGS_AC, READ,             true},
    {0, PTE_RW | PTE_US,           CR0_WP, CR4_SMAP, RFLAGS_AC, READ | ENFORCE,   false},
    {0, PTE_RW | PTE_US,           CR0_WP, CR4_SMAP, 0,         READ | OVERRID,   true},
    {0, PTE_RW | PTE_US,           CR0_WP, 0,        0,         READ | ENFORCE,   true},
    {0, PTE_RW,                    CR0_WP, CR4_SMAP, 0,         READ | ENFORCE,   true},
    {0, PTE_US,                    CR0_WP, 0,        0,         WRITE,            false},
    /* user */
    {3, PTE_RW | PTE_US,           CR0_WP, CR4_SMAP, 0,         READ | WRITE,     true},
    {3, PTE_RW | PTE_US,           CR0_WP, CR4_SMEP, 0,         EXECUTE,          true},
    {3, PTE_RW | PTE_US | PTE_XD,  CR0_WP, 0,        0,         EXECUTE,          false},
    {3, PTE_RW,                    CR0_WP, 0,        0,         READ,             false},
    {3, PTE_RW,                    CR0_WP, 0,        0,         EXECUTE,          false},
    {3, PTE_US,                    0,      0,        0,         WRITE,            false},
    {3, PTE_US,                    0,      0,        0,         READ,             true},
    {0, PTE_RW,                    CR0_WP, 0,        RFLAGS_VM, READ,             false},
    /* exempt: as a supervisor, without SMEP and SMAP */
    {3, PTE_RW,                    CR0_WP, 0,        0,         READ | EXEMPT,    true},
    {3, PTE_RW,                    CR0_WP, 0,        0,         WRITE | EXEMPT,   true},
    {3, 0,                         CR0_WP, 0,        0,         WRITE | EXEMPT,   false},
    {0, PTE_RW | PTE_US,           CR0_WP, CR4_SMAP, 0,         READ | EXEMPT,    true},
    {0, PTE_RW | PTE_US,           CR0_WP, CR4_SMEP, 0,         EXECUTE | EXEMPT, true},
    {0, PTE_RW | PTE_XD,           CR0_WP, 0,        0,         EXECUTE | EXEMPT, false},
    /* nothing to validate */
    {3, 0,                         CR0_WP, CR4_SMAP, 0,         0,                true},
};
/* clang-format on */

static void check_privilege(enum mode m, const struct privilege_case *c, unsigned level)
{
    build(m);
    if (m == MODE_32 && (c->page & PTE_XD))
        return; /* no such bit */
    set_cpl(c->cpl);
    stub_vcpu.cr0 = (stub_vcpu.cr0 & ~CR0_WP) | c->cr0;
    stub_vcpu.cr4 |= c->cr4;
    stub_vcpu.rflags |= c->rflags;
    set_entry(level, (entry(level) & ~(PTE_RW | PTE_US)) | c->page);
    if (translate(c->flags) != (c->allowed ? HV_TRANSLATE_SUCCESS : HV_TRANSLATE_PRIVILEGE_VIOLATION))
        fail_msg("mode %d, level %u, case %d", m, level, (int)(c - privilege_cases));
}

static void test_privilege(void **state)
{
    (void)state;
    FOR_ALL_MODES(m)
    for (size_t i = 0; i < ARRAY_COUNT(privilege_cases); i++)
        for (unsigned level = 1; build(m), level <= levels(); level++)
            check_privilege(m, &privilege_cases[i], level);
}

/* ---------------------------------------------------------------- accessed and dirty bits */

static void test_no_side_effects(void **state)
{
    (void)state;
    FOR_ALL_MODES(m)
    {
        build(m);
        assert_int_equal(translate(RW), HV_TRANSLATE_SUCCESS);
        for (unsigned level = 1; level <= levels(); level++)
            assert_int_equal(entry(level) & (PTE_A | PTE_D), 0);
    }
}

static void test_set_bits(void **state)
{
    (void)state;
    FOR_ALL_MODES(m)
    {
        build(m);
        assert_int_equal(translate(HV_TRANSLATE_READ | HV_TRANSLATE_SET_BITS), HV_TRANSLATE_SUCCESS);
        for (unsigned level = 1; level <= levels(); level++)
            assert_int_equal(entry(level) & (PTE_A | PTE_D), PTE_A);
        assert_int_equal(translate(RW | HV_TRANSLATE_SET_BITS), HV_TRANSLATE_SUCCESS);
        for (unsigned level = 1; level <= levels(); level++)
            assert_int_equal(entry(level) & (PTE_A | PTE_D), level == 1 ? PTE_A | PTE_D : PTE_A);
    }
}

static void test_set_bits_of_a_large_page(void **state)
{
    (void)state;
    for (enum mode m = MODE_32; m <= MODE_5; m++) {
        build(m);
        set_entry(2, 0x800000 | PTE_P | PTE_RW | PTE_PS);
        assert_int_equal(translate(RW | HV_TRANSLATE_SET_BITS), HV_TRANSLATE_SUCCESS);
        assert_int_equal(entry(2) & (PTE_A | PTE_D), PTE_A | PTE_D);
    }
}

/* A root that maps itself: one entry is all of the levels', so each setting of a bit in it changes what was read
 * before. */
static void test_set_bits_in_recursive_tables(void **state)
{
    const hv_gva_t self = 0xffff800000000000ull | 0x1ffull << 39 | 0x1ffull << 30 | 0x1ffull << 21 | 0x1ffull << 12;
    hv_gpa_t gpa;

    (void)state;
    build(MODE_4);
    put64(TABLE(4) + 511 * 8, TABLE(4) | PTE_P | PTE_RW);
    assert_int_equal(translate_at(self, RW | HV_TRANSLATE_SET_BITS, &gpa), HV_TRANSLATE_SUCCESS);
    assert_int_equal(gpa, TABLE(4));
    assert_int_equal(get64(TABLE(4) + 511 * 8), TABLE(4) | PTE_P | PTE_RW | PTE_A | PTE_D);
}

static void test_no_bits_after_a_failure(void **state)
{
    (void)state;
    build(MODE_4);
    flip(1, PTE_RW);
    assert_int_equal(translate(RW | HV_TRANSLATE_SET_BITS), HV_TRANSLATE_PRIVILEGE_VIOLATION);
    for (unsigned level = 1; level <= 4; level++)
        assert_int_equal(entry(level) & (PTE_A | PTE_D), 0);
}

/* -------------------------------------------------------------------------------- PDPTEs */

static void test_pdptes(void **state)
{
    hv_gpa_t gpa;

    (void)state;
    build(MODE_PAE);
    assert_int_equal(translate_at(GVA32 ^ BIT64(31), HV_TRANSLATE_READ, &gpa), HV_TRANSLATE_NOT_PRESENT);
    stub_vcpu.pdpte[2] |= PTE_RW; /* reserved here */
    assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_INVALID_FLAGS);
}

/* Without registers the one that is used counts, as memory has it now; accessed or not is no matter. */
static void test_pdptes_in_memory(void **state)
{
    (void)state;
    build(MODE_PAE);
    stub_backend.has_pdptes = false;
    memset(stub_vcpu.pdpte, 0, sizeof(stub_vcpu.pdpte));
    stub_vcpu.cr3 = 0x7fe0;
    put64(0x7fe0 + 16, TABLE(2) | PTE_P | PTE_A);
    put64(0x7fe0 + 24, TABLE(2) | PTE_P | PTE_RW); /* reserved here */
    assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_SUCCESS);
    put64(0x7fe0 + 16, TABLE(2) | PTE_P | PTE_RW);
    assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_INVALID_FLAGS);
    put64(0x7fe0 + 16, 0);
    assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_NOT_PRESENT);
}

static void test_stale_pdptes(void **state)
{
    (void)state;
    build(MODE_PAE);
    memset(stub_vcpu.pdpte, 0, sizeof(stub_vcpu.pdpte));
    stub_vcpu.cr3 = 0x7fe0;
    put64(0x7fe0 + 16, TABLE(2) | PTE_P);
    assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_NOT_PRESENT);
    stub_vp.pdptes_stale = true;
    assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_SUCCESS);
    assert_int_equal(stub_vcpu.pdpte[2], 0); /* a translation changes no register */
    assert_true(stub_vp.pdptes_stale);
    stub_vcpu.cr3 = STUB_RAM_SIZE;
    assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_GPA_UNMAPPED);
}

static void test_load_pdptes(void **state)
{
    (void)state;
    build(MODE_4);
    assert_true(gva_load_pdptes(&stub_vp)); /* nothing to do */
    assert_int_equal(stub_vcpu.dirty, 0);
    build(MODE_PAE);
    stub_vcpu.cr3 = 0x7fe0 | CR3_PCD;
    for (unsigned i = 0; i < 4; i++)
        put64(0x7fe0 + 8 * i, 0x1000 * i | PTE_P);
    stub_vp.pdptes_stale = true;
    assert_true(gva_load_pdptes(&stub_vp));
    assert_int_equal(stub_vcpu.dirty, VCPU_PDPTE);
    assert_false(stub_vp.pdptes_stale);
    assert_int_equal(stub_vcpu.pdpte[3], 0x3000 | PTE_P);
    stub_vcpu.cr3 = STUB_RAM_SIZE;
    assert_false(gva_load_pdptes(&stub_vp));
    assert_int_equal(stub_vcpu.pdpte[3], 0x3000 | PTE_P);
}

/* ----------------------------------------------------------------------------- contracts */

static void test_translate_arguments(void **state)
{
    enum hv_translate_result result;
    hv_gpa_t gpa;

    (void)state;
    assert_int_equal(hv_vp_translate(&stub_vp, 0, 0x20, &result, &gpa), HV_E_INVALID);
    assert_int_equal(hv_vp_translate(&stub_vp, 0, 0x400, &result, &gpa), HV_E_INVALID);
    vp_claim(&stub_vp);
    assert_int_equal(hv_vp_translate(&stub_vp, 0, 0, &result, &gpa), HV_E_VP_BUSY);
    vp_release(&stub_vp);
}

static void test_translate_fetches_registers(void **state)
{
    (void)state;
    build(MODE_PAE);
    stub_hw = stub_vcpu;
    stub_vcpu.valid = 0;
    stub_vcpu.cr0 = stub_vcpu.cr3 = stub_vcpu.cr4 = stub_vcpu.efer = stub_vcpu.rflags = 0;
    memset(stub_vcpu.pdpte, 0, sizeof(stub_vcpu.pdpte));
    assert_int_equal(translate(HV_TRANSLATE_READ), HV_TRANSLATE_SUCCESS);
    assert_int_equal(stub_fetched, VCPU_CR0 | VCPU_CR3 | VCPU_CR4 | VCPU_EFER | VCPU_RFLAGS | VCPU_SS | VCPU_PDPTE);
}

/* --------------------------------------------------------------------- instruction fetch */

static void fetch(struct hv_instruction *out)
{
    hv_host_preempt_disable();
    gva_fetch_instruction(&stub_vp, out);
    hv_host_preempt_enable();
}

static void test_fetch_real_mode(void **state)
{
    struct hv_instruction i;

    (void)state;
    stub_vcpu.seg[SEG_CS].base = 0xf0000;
    stub_vcpu.rip = 0xfff0;
    for (unsigned n = 0; n < 32; n++)
        stub_ram[0xffff0 + n] = (uint8_t)(n + 1);
    fetch(&i);
    assert_int_equal(i.count, 16);
    assert_memory_equal(i.bytes, stub_ram + 0xffff0, 16);
    stub_vcpu.seg[SEG_CS].base = 0xffff0000; /* linear addresses wrap at 4 GiB */
    stub_vcpu.rip = 0x1fff0;
    fetch(&i);
    assert_int_equal(i.count, 16);
    assert_memory_equal(i.bytes, stub_ram + 0xfff0, 16);
    stub_vcpu.rip = 0xfff0; /* nothing is mapped there */
    fetch(&i);
    assert_int_equal(i.count, 0);
}

static void test_fetch_across_pages(void **state)
{
    struct hv_instruction i;

    (void)state;
    build(MODE_4);
    stub_vcpu.seg[SEG_CS] = (struct hv_segment){.base = 0x1111, .attributes = SEG_ATTR_CODE64};
    stub_vcpu.rip = (GVA & ~HV_PAGE_MASK) + 0xffb; /* no base in 64-bit mode */
    memcpy(stub_ram + DATA + 0xffb, "\1\2\3\4\5", 5);
    memcpy(stub_ram + 0x300000, "\6\7\10", 3);
    fetch(&i);
    assert_int_equal(i.count, 5);
    put64(slot(1) + 8, 0x300000 | PTE_P);
    fetch(&i);
    assert_int_equal(i.count, 16);
    assert_memory_equal(i.bytes, "\1\2\3\4\5\6\7\10\0\0\0\0\0\0\0\0", 16);
    assert_int_equal(entry(1) & PTE_A, 0);
    flip(1, PTE_XD);
    fetch(&i);
    assert_int_equal(i.count, 0);
}

/* ------------------------------------------------------------------------ guest-physical memory */

static _Alignas(4096) char not_there[4096]; /* memory without a physical address */

static void test_map_arguments(void **state)
{
    struct hv_partition *p = &stub_partition;
    static const struct {
        uint64_t source, gpa, size;
        uint32_t flags;
    } bad[] = {
        {0x1001, 0, 0x1000, 7},     {0, 0x1001, 0x1000, 7},
        {0, 0, 0x1001, 7},          {0, 0, 0, 7},
        {0, 0, 0x1000, 0},          {0, 0, 0x1000, 8},
        {0, 0, 0x1000, 0x10},       {0, 0, 0x1000, NPT_WRITE},
        {0, 1ull << 46, 0x1000, 7}, {0, (1ull << 46) - 0x1000, 0x2000, 7},
        {0, ~0xfffull, 0x2000, 7},  {0, 0x1000, ~0xfffull, 7},
    };

    (void)state;
    stub_flushes = 0;
    for (size_t i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(hv_partition_map(p, stub_ram + bad[i].source, bad[i].gpa, bad[i].size, bad[i].flags),
                         HV_E_INVALID);
    assert_int_equal(hv_partition_map(p, NULL, 0, 0x1000, 7), HV_E_INVALID);
    assert_int_equal(hv_partition_map(p, not_there, 0, 0x1000, 7), HV_E_INVALID);
    assert_int_equal(hv_partition_map(p, (void *)~0xfffull, 0, 0x2000, 7), HV_E_INVALID);
    assert_int_equal(hv_partition_unmap(p, 0x800, 0x1000), HV_E_INVALID);
    assert_int_equal(hv_partition_unmap(p, 0, 0), HV_E_INVALID);
    assert_int_equal(hv_partition_unmap(p, 1ull << 46, 0x1000), HV_E_INVALID);
    assert_int_equal(hv_partition_unmap(p, STUB_RAM_SIZE, 0x1000), HV_E_GPA_NOT_FOUND);
    p->is_set_up = false;
    assert_int_equal(hv_partition_map(p, stub_ram, 0, 0x1000, 7), HV_E_STATE);
    assert_int_equal(hv_partition_unmap(p, 0, 0x1000), HV_E_STATE);
    assert_int_equal(stub_flushes, 0);
    assert_int_equal(p->mutex.state, 0);
}

static void test_map_takes_effect(void **state)
{
    struct hv_partition *p = &stub_partition;
    uint64_t generation = p->npt_generation;
    struct hv_memory_counters counters;

    (void)state;
    stub_flushes = 0;
    assert_int_equal(hv_partition_unmap(p, 0x1000, 0x1000), HV_OK);
    assert_int_equal(p->npt_generation, generation + 1);
    assert_int_equal(stub_flushes, 1);
    hv_partition_memory_counters(p, &counters);
    assert_int_equal(counters.mapped_4k, 511);
    assert_int_equal(counters.mapped_2m, 7);
    assert_int_equal(counters.mapped_1g, 0);
    assert_int_equal(hv_partition_map(p, stub_ram, 0x1000, 0x1000, NPT_READ), HV_OK);
    assert_int_equal(p->npt_generation, generation + 2);
    assert_int_equal(stub_flushes, 2);
    assert_null(p->npt.retired);
}

static void test_map_without_memory(void **state)
{
    (void)state;
    fake_fail_after(1);
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram, 1ull << 40, 0x1000, 7), HV_E_NO_MEMORY);
    assert_int_equal(gpa_rights(&stub_vp, 1ull << 40), -1);
    assert_int_equal(stub_partition.mutex.state, 0);
}

#define TRACKED (NPT_RIGHTS | NPT_TRACK)

static uint64_t dirty_pages(hv_gpa_t gpa, uint64_t size)
{
    uint64_t bitmap[2] = {~0ull, ~0ull};

    assert_int_equal(hv_partition_query_dirty(&stub_partition, gpa, size, bitmap, sizeof(bitmap)), HV_OK);
    assert_int_equal(bitmap[1], 0);
    return bitmap[0];
}

static void test_dirty_arguments(void **state)
{
    static const struct {
        hv_gpa_t gpa;
        uint64_t size;
        unsigned shift, bytes;
        enum hv_status wanted;
    } rows[] = {
        {0x1000, 0x40000, 0, 8, HV_OK},          {0x1000, 0x41000, 0, 8, HV_E_INVALID},
        {0x1000, 0x41000, 0, 16, HV_OK},         {0x1000, 0x1000, 0, 0, HV_E_INVALID},
        {0x1000, 0x1000, 0, 9, HV_E_INVALID},    {0x1000, 0x1000, 0, 4, HV_E_INVALID},
        {0x1000, 0x1000, 4, 8, HV_E_INVALID},    {0x1008, 0x1000, 0, 8, HV_E_INVALID},
        {0x1000, 0x1008, 0, 8, HV_E_INVALID},    {0x1000, 0, 0, 8, HV_E_INVALID},
        {~0xfffull, 0x2000, 0, 8, HV_E_INVALID}, {1ull << 46, 0x1000, 0, 8, HV_E_INVALID},
        {0, 0x2000, 0, 8, HV_E_GPA_NOT_FOUND},   {1ull << 40, 0x1000, 0, 8, HV_E_GPA_NOT_FOUND},
    };
    struct hv_partition *p = &stub_partition;
    uint64_t bitmap[3];

    (void)state;
    assert_int_equal(hv_partition_map(p, stub_ram + 0x1000, 0x1000, 0x100000, TRACKED), HV_OK);
    for (size_t i = 0; i < ARRAY_COUNT(rows); i++)
        assert_int_equal(hv_partition_query_dirty(p, rows[i].gpa, rows[i].size,
                                                  (uint64_t *)((char *)bitmap + rows[i].shift), rows[i].bytes),
                         rows[i].wanted);
    assert_int_equal(hv_partition_query_dirty(p, 0x1000, 0x41000, NULL, 0), HV_OK);
    assert_int_equal(hv_partition_query_dirty(p, 0x1000, 0x41000, NULL, 16), HV_E_INVALID);
    assert_int_equal(hv_partition_map(p, stub_ram, 0, 0x1000, NPT_TRACK), HV_E_INVALID);
    assert_int_equal(hv_partition_map(p, stub_ram, 0, 0x1000, TRACKED | 16), HV_E_INVALID);
    p->is_set_up = false;
    assert_int_equal(hv_partition_query_dirty(p, 0x1000, 0x1000, bitmap, 8), HV_E_STATE);
    p->is_set_up = true;
    assert_int_equal(p->mutex.state, 0);
}

/* What is written on the guest's behalf counts, what is read or cannot be written does not; CPUs are told when a bit
 * was cleared. */
static void test_dirty_by_the_host(void **state)
{
    struct hv_partition *p = &stub_partition;
    uint64_t generation, word = 1;

    (void)state;
    assert_int_equal(hv_partition_map(p, stub_ram + 0x1000, 0x1000, 0x8000, TRACKED), HV_OK);
    assert_int_equal(hv_partition_map(p, stub_ram + 0x4000, 0x4000, 0x1000, NPT_READ | NPT_TRACK), HV_OK);
    generation = p->npt_generation;
    stub_flushes = 0;
    assert_int_equal(dirty_pages(0x1000, 0x8000), 0);
    assert_int_equal(hv_vp_read_gpa(&stub_vp, 0x1000, &word, 8), HV_OK);
    assert_int_equal(hv_vp_write_gpa(&stub_vp, 0x4000, &word, 8), HV_E_ACCESS_DENIED);
    assert_int_equal(hv_vp_write_gpa(&stub_vp, 0x3ffc, &word, 8), HV_E_ACCESS_DENIED);
    assert_false(gpa_set_bits(&stub_vp, 0x1000, 8, ~0ull, 0x20));
    assert_int_equal(dirty_pages(0x1000, 0x8000), 0);
    assert_int_equal(p->npt_generation, generation);
    assert_int_equal(stub_flushes, 0);
    assert_int_equal(hv_vp_write_gpa(&stub_vp, 0x1ffc, &word, 8), HV_OK);
    assert_int_equal(hv_vp_write_gpa(&stub_vp, 0x0ffc, &word, 4), HV_OK); /* not tracked */
    put64(0x8000, 0x100000007);
    assert_true(gpa_set_bits(&stub_vp, 0x8000, 8, 0x100000007, 0x60));
    assert_int_equal(dirty_pages(0x1000, 0x8000), 1 << 0 | 1 << 1 | 1 << 7);
    assert_int_equal(p->npt_generation, generation + 1);
    assert_int_equal(stub_flushes, 1);
    assert_int_equal(dirty_pages(0x1000, 0x8000), 0);
    assert_int_equal(stub_flushes, 1);
}

static void test_read_and_write(void **state)
{
    uint8_t bytes[32], wanted[16];

    (void)state;
    for (unsigned i = 0; i < sizeof(wanted); i++)
        wanted[i] = (uint8_t)(0x10 + i);
    for (uint32_t size = 1; size <= 16; size++) {
        memset(stub_ram, 0, 0x3000);
        memset(bytes, 0xee, sizeof(bytes));
        assert_int_equal(hv_vp_write_gpa(&stub_vp, 0x2000 - size / 2, wanted, size), HV_OK);
        assert_memory_equal(stub_ram + 0x2000 - size / 2, wanted, size);
        assert_int_equal(stub_ram[0x2000 - size / 2 + size], 0);
        assert_int_equal(hv_vp_read_gpa(&stub_vp, 0x2000 - size / 2, bytes, size), HV_OK);
        assert_memory_equal(bytes, wanted, size);
        assert_int_equal(bytes[size], 0xee);
    }
    assert_int_equal(hv_vp_read_gpa(&stub_vp, 0, bytes, 0), HV_E_INVALID);
    assert_int_equal(hv_vp_read_gpa(&stub_vp, 0, bytes, 17), HV_E_INVALID);
    assert_int_equal(hv_vp_write_gpa(&stub_vp, 0, bytes, 0), HV_E_INVALID);
    assert_int_equal(hv_vp_write_gpa(&stub_vp, 0, bytes, 17), HV_E_INVALID);
    vp_claim(&stub_vp);
    assert_int_equal(hv_vp_read_gpa(&stub_vp, 0, bytes, 1), HV_E_VP_BUSY);
    assert_int_equal(hv_vp_write_gpa(&stub_vp, 0, bytes, 1), HV_E_VP_BUSY);
    vp_release(&stub_vp);
}

static void test_denied_access_changes_nothing(void **state)
{
    uint8_t bytes[16], before[16];

    (void)state;
    memset(bytes, 0x55, sizeof(bytes));
    memset(before, 0x55, sizeof(before));
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram + 0x2000, 0x2000, 0x1000, NPT_READ), HV_OK);
    assert_int_equal(hv_vp_write_gpa(&stub_vp, 0x1ff8, bytes, 16), HV_E_ACCESS_DENIED);
    assert_int_equal(get64(0x1ff8), 0);
    assert_int_equal(hv_vp_write_gpa(&stub_vp, 0x2ff8, bytes, 16), HV_E_ACCESS_DENIED);
    assert_int_equal(get64(0x3000), 0);
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram + 0x2000, 0x2000, 0x1000, NPT_EXECUTE), HV_OK);
    assert_int_equal(hv_vp_read_gpa(&stub_vp, 0x1ff8, bytes, 16), HV_E_ACCESS_DENIED);
    assert_memory_equal(bytes, before, 16);
    assert_int_equal(hv_vp_read_gpa(&stub_vp, ~0ull - 7, bytes, 16), HV_E_ACCESS_DENIED);
    assert_int_equal(hv_vp_write_gpa(&stub_vp, ~0ull - 7, bytes, 16), HV_E_ACCESS_DENIED);
}

/* A device's page: mapped, and not RAM of the host's. */
static hv_hpa_t device_page(void *arg, uint64_t offset, uint64_t *size)
{
    *size = HV_PAGE_SIZE;
    (void)arg;
    return 0xfe000000 + offset;
}

static void test_not_ram(void **state)
{
    uint64_t value = 1;

    (void)state;
    assert_int_equal(npt_map(&stub_partition.npt, 1ull << 32, 0x1000, device_page, NULL, NPT_RIGHTS), HV_OK);
    assert_int_equal(gpa_rights(&stub_vp, 1ull << 32), NPT_RIGHTS);
    assert_int_equal(gpa_read(&stub_vp, 1ull << 32, &value, 8), HV_E_ACCESS_DENIED);
    assert_int_equal(gpa_write(&stub_vp, 1ull << 32, &value, 8), HV_E_ACCESS_DENIED);
    assert_false(gpa_set_bits(&stub_vp, 1ull << 32, 8, 0, 1));
}

static void test_set_bits_of_an_entry(void **state)
{
    (void)state;
    put64(0x1000, 0x100000007);
    assert_true(gpa_set_bits(&stub_vp, 0x1000, 8, 0x100000007, 0x60));
    assert_int_equal(get64(0x1000), 0x100000067);
    assert_false(gpa_set_bits(&stub_vp, 0x1000, 8, 0x100000007, 0x80));
    assert_true(gpa_set_bits(&stub_vp, 0x1000, 4, 0x67, 0x80));
    assert_int_equal(get64(0x1000), 0x1000000e7);
    assert_false(gpa_set_bits(&stub_vp, 0x1000, 4, 0x67, 0x80));
    assert_false(gpa_set_bits(&stub_vp, 0x1004, 8, 1, 0x80)); /* not aligned */
}

/* ------------------------------------------------------------------------------ the bracket */

static void test_walk_bracket(void **state)
{
    uint64_t outer, inner;

    (void)state;
    fake_set_cpus(4);
    fake_set_cpu(3);
    outer = vp_walk_begin(&stub_vp);
    assert_false(fake_irqs_on());
    assert_int_equal(stub_vp.shared.cpu, 3);
    assert_int_not_equal(stub_vp.shared.walking, 0);
    inner = vp_walk_begin(&stub_vp);
    vp_walk_end(&stub_vp, inner);
    assert_int_not_equal(stub_vp.shared.walking, 0);
    vp_walk_end(&stub_vp, outer);
    assert_int_equal(stub_vp.shared.walking, 0);
    assert_true(fake_irqs_on());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STUB_TEST(test_no_paging),
        STUB_TEST(test_4k_pages),
        STUB_TEST(test_32bit_linear_addresses_wrap),
        STUB_TEST(test_4m_page),
        STUB_TEST(test_pse36),
        STUB_TEST(test_2m_and_1g_pages),
        STUB_TEST(test_canonical),
        STUB_TEST(test_long_mode_without_lma),
        STUB_TEST(test_not_present),
        STUB_TEST(test_reserved_bits),
        STUB_TEST(test_tables_in_the_memory_map),
        STUB_TEST(test_page_in_the_memory_map),
        STUB_TEST(test_privilege),
        STUB_TEST(test_no_side_effects),
        STUB_TEST(test_set_bits),
        STUB_TEST(test_set_bits_of_a_large_page),
        STUB_TEST(test_set_bits_in_recursive_tables),
        STUB_TEST(test_no_bits_after_a_failure),
        STUB_TEST(test_pdptes),
        STUB_TEST(test_pdptes_in_memory),
        STUB_TEST(test_stale_pdptes),
        STUB_TEST(test_load_pdptes),
        STUB_TEST(test_translate_arguments),
        STUB_TEST(test_translate_fetches_registers),
        STUB_TEST(test_fetch_real_mode),
        STUB_TEST(test_fetch_across_pages),
        STUB_TEST(test_map_arguments),
        STUB_TEST(test_map_takes_effect),
        STUB_TEST(test_map_without_memory),
        STUB_TEST(test_dirty_arguments),
        STUB_TEST(test_dirty_by_the_host),
        STUB_TEST(test_read_and_write),
        STUB_TEST(test_denied_access_changes_nothing),
        STUB_TEST(test_not_ram),
        STUB_TEST(test_set_bits_of_an_entry),
        STUB_TEST(test_walk_bracket),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
