/* SPDX-License-Identifier: MIT */
/* Second-level page tables: each rule of arch/npt.h by an example. */
#include "npt_audit.h"
#include <pthread.h>

#define PA_1G (64 * HV_SIZE_1G) /* host memory aligned to any leaf */
#define LIMIT (1ull << 48)
#define RWX   NPT_RIGHTS
#define RW    (NPT_READ | NPT_WRITE)
#define K(n)  ((n)*HV_PAGE_SIZE)
#define M2(n) ((n)*HV_SIZE_2M)
#define G1(n) ((n)*HV_SIZE_1G)

static const struct npt_format *const formats[] = {&format_ept, &format_npt};

static struct npt npt;

/* -------------------------------------------------------------------------- sources */

struct source {
    hv_hpa_t base;
    uint64_t odd_offset; /* the page at this offset is at odd_pa; ~0: none */
    hv_hpa_t odd_pa;
    uint64_t calls;
    bool in_runs;
};

/* A page at a time, or in runs up to the odd page. */
static hv_hpa_t source_page(void *arg, uint64_t offset, uint64_t *size)
{
    struct source *s = arg;

    s->calls++;
    assert_true(*size >= HV_PAGE_SIZE && *size % HV_PAGE_SIZE == 0);
    if (!s->in_runs || offset == s->odd_offset)
        *size = HV_PAGE_SIZE;
    else if (s->odd_offset > offset)
        *size = HV_MIN(*size, s->odd_offset - offset);
    return offset == s->odd_offset ? s->odd_pa : s->base + offset;
}

static enum hv_status map(hv_gpa_t gpa, uint64_t size, hv_hpa_t pa, unsigned rights)
{
    struct source s = {.base = pa, .odd_offset = ~0ull};

    return npt_map(&npt, gpa, size, source_page, &s, rights);
}

static void start(const struct npt_format *format)
{
    assert_int_equal(npt_init(&npt, format), HV_OK);
}

/* The tables agree with their counts, and are gone afterwards. */
static void finish(void)
{
    npt_reap(&npt);
    audit_npt(&npt);
    assert_int_equal(fake_counts().pages, npt.tables);
    npt_destroy(&npt);
    assert_int_equal(fake_counts().pages, 0);
}

static void assert_counts(uint64_t pages_4k, uint64_t pages_2m, uint64_t pages_1g, uint64_t tables)
{
    struct npt_counts counts = npt_count(&npt);

    assert_int_equal(counts.pages[1], pages_4k);
    assert_int_equal(counts.pages[2], pages_2m);
    assert_int_equal(counts.pages[3], pages_1g);
    assert_int_equal(counts.tables, tables);
    audit_npt(&npt);
}

static void assert_mapped(hv_gpa_t gpa, hv_hpa_t pa, unsigned rights, unsigned level)
{
    struct npt_leaf leaf;

    assert_true(npt_lookup(&npt, gpa, &leaf));
    assert_int_equal(leaf.pa, pa);
    assert_int_equal(leaf.rights, rights);
    assert_int_equal(leaf.level, level);
}

static void assert_unmapped(hv_gpa_t gpa)
{
    struct npt_leaf leaf;

    assert_false(npt_lookup(&npt, gpa, &leaf));
}

static uint64_t raw_entry(hv_gpa_t gpa)
{
    unsigned level;
    uint64_t *entry = audit_entry(&npt, gpa, &level);

    assert_non_null(entry);
    return *entry;
}

/* ------------------------------------------------------------------------- the gated page */

#define GATED 0xfee00000ull

static bool is_open(void)
{
    return raw_entry(GATED) & NPT_U;
}

/* Rights come back as they were, and nothing else of the entry changes. */
static void a_page_is_held(void **state)
{
    (void)state;
    start(&format_npt);
    map(GATED - K(1), K(1), PA_1G, RW);
    map(GATED, K(1), PA_1G + K(8), RW);
    map(GATED + K(1), K(1), PA_1G + K(1), RW);
    npt_hold(&npt);
    npt_hold(&npt);
    assert_int_equal(raw_entry(GATED), (PA_1G + K(8)) | NPT_P | NPT_W | NPT_NX);
    assert_mapped(GATED, PA_1G + K(8), 0, 1);
    assert_mapped(GATED - K(1), PA_1G, RW, 1);
    assert_mapped(GATED + K(1), PA_1G + K(1), RW, 1);
    npt_release(&npt);
    assert_false(is_open());
    npt_release(&npt);
    assert_true(is_open());
    assert_mapped(GATED, PA_1G + K(8), RW, 1);
    assert_counts(3, 0, 0, 5);
    finish();
}

/* Whatever happens to the map meanwhile. */
static void a_held_page_stays_shut(void **state)
{
    (void)state;
    start(&format_npt);
    npt_hold(&npt);
    map(GATED, K(1), PA_1G, RW);
    assert_false(is_open());
    assert_int_equal(npt_protect(&npt, GATED, K(1), RWX), HV_OK);
    assert_false(is_open());
    assert_int_equal(npt_unmap(&npt, GATED - M2(1), M2(2)), HV_OK);
    assert_unmapped(GATED);
    map(GATED, K(1), PA_1G, NPT_READ);
    assert_false(is_open());
    npt_release(&npt);
    assert_mapped(GATED, PA_1G, NPT_READ, 1);
    assert_int_equal(npt_unmap(&npt, GATED, K(1)), HV_OK);
    npt_hold(&npt);
    npt_release(&npt);
    assert_unmapped(GATED);
    assert_counts(0, 0, 0, 1);
    finish();
}

/* ------------------------------------------------------------------------ life and limits */

static void init_and_destroy(void **state)
{
    (void)state;
    start(&format_ept);
    assert_counts(0, 0, 0, 1);
    assert_int_equal(npt.root_pa, hv_host_virt_to_phys(npt.root, NULL));
    assert_unmapped(0);
    finish();
    npt_destroy(&npt); /* once more does no harm */
}

static void init_without_memory(void **state)
{
    (void)state;
    fake_fail_after(1);
    assert_int_equal(npt_init(&npt, &format_ept), HV_E_NO_MEMORY);
    npt_destroy(&npt);
}

static void destroy_frees_everything(void **state)
{
    (void)state;
    start(&format_npt);
    assert_int_equal(map(K(1), M2(3), PA_1G, RWX), HV_OK);
    assert_int_equal(map(LIMIT - K(1), K(1), PA_1G, RWX), HV_OK);
    assert_int_equal(map(0, M2(1), PA_1G, RWX), HV_OK);
    assert_non_null(npt.retired);
    npt_destroy(&npt);
    assert_int_equal(fake_counts().pages, 0);
}

static void limit(void **state)
{
    struct npt_format format = format_ept;

    (void)state;
    for (unsigned levels = 3; levels <= NPT_MAX_LEVELS; levels++) {
        hv_gpa_t end = 1ull << (12 + 9 * levels);

        format.levels = levels;
        start(&format);
        assert_int_equal(npt_limit(&npt), end);
        assert_int_equal(map(end - K(1), K(1), PA_1G, RWX), HV_OK);
        assert_mapped(end - 1, PA_1G + K(1) - 1, RWX, 1);
        assert_unmapped(end - K(1) - 1);
        assert_unmapped(end);
        assert_unmapped(~0ull);
        assert_int_equal(npt.tables, levels);
        finish();
    }
}

/* ------------------------------------------------------------------------------ arguments */

static const struct {
    hv_gpa_t gpa;
    uint64_t size;
} bad_ranges[] = {
    {0, 0},
    {K(1), 0},
    {1, K(1)},
    {K(1) - 1, K(1)},
    {0, 1},
    {0, K(1) + 1},
    {LIMIT, K(1)},
    {LIMIT - K(1), K(2)},
    {0, LIMIT + K(1)},
    {K(1), LIMIT},
    {~0ull & ~HV_PAGE_MASK, K(1)},
    {~0ull & ~HV_PAGE_MASK, K(2)},
    {K(1), ~0ull & ~HV_PAGE_MASK},
    {K(2), ~0ull & ~HV_PAGE_MASK},
    {1ull << 63, 1ull << 63},
};

static void bad_range_arguments(void **state)
{
    uint64_t before;

    (void)state;
    start(&format_ept);
    assert_int_equal(map(0, M2(2), PA_1G, RWX), HV_OK);
    before = audit_npt(&npt).hash;
    for (size_t i = 0; i < ARRAY_COUNT(bad_ranges); i++) {
        struct source s = {.base = PA_1G, .odd_offset = ~0ull};

        assert_int_equal(npt_map(&npt, bad_ranges[i].gpa, bad_ranges[i].size, source_page, &s, RWX), HV_E_INVALID);
        assert_int_equal(s.calls, 0);
        assert_int_equal(npt_unmap(&npt, bad_ranges[i].gpa, bad_ranges[i].size), HV_E_INVALID);
        assert_int_equal(npt_protect(&npt, bad_ranges[i].gpa, bad_ranges[i].size, RWX), HV_E_INVALID);
    }
    assert_int_equal(audit_npt(&npt).hash, before);
    finish();
}

/* Of all combinations exactly those pass that the manuals know. */
static void rights_that_the_format_has(void **state)
{
    static const unsigned expressible[] = {1 << 1 | 1 << 3 | 1 << 4 | 1 << 5 | 1 << 7,
                                           1 << 1 | 1 << 3 | 1 << 5 | 1 << 7};

    (void)state;
    for (size_t f = 0; f < ARRAY_COUNT(formats); f++) {
        start(formats[f]);
        for (unsigned rights = 0; rights <= NPT_RIGHTS; rights++) {
            enum hv_status expected = expressible[f] >> rights & 1 ? HV_OK : HV_E_INVALID;

            assert_int_equal(map(0, M2(1), PA_1G, rights), expected);
            assert_int_equal(map(M2(1), M2(1), PA_1G, RWX), HV_OK);
            assert_int_equal(npt_protect(&npt, M2(1), K(1), rights), expected);
            if (expected != HV_OK)
                continue;
            assert_mapped(0, PA_1G, rights, 2);
            assert_mapped(M2(1), PA_1G, rights, rights == RWX ? 2 : 1);
            assert_mapped(M2(1) + K(1), PA_1G + K(1), RWX, rights == RWX ? 2 : 1);
        }
        assert_int_equal(map(0, K(1), PA_1G, 16 | RWX), HV_E_INVALID);
        assert_int_equal(map(0, K(1), PA_1G, ~0u), HV_E_INVALID);
        assert_int_equal(npt_protect(&npt, 0, K(1), ~0u), HV_E_INVALID);
        finish();
    }
}

static void bad_source_pages(void **state)
{
    static const hv_hpa_t bad[] = {HV_HPA_NONE,      PA_1G + 1,  PA_1G + 0x800,
                                   FORMAT_PA + K(1), 1ull << 63, HV_HPA_NONE - 4095};
    static const uint64_t offsets[] = {0, K(1), K(511), M2(1), M2(2), M2(3) - K(1)};
    uint64_t before, requests;

    (void)state;
    start(&format_ept);
    assert_int_equal(map(M2(1), M2(1), PA_1G, RW), HV_OK);
    before = audit_npt(&npt).hash;
    requests = fake_counts().requests;
    for (size_t i = 0; i < ARRAY_COUNT(bad) * ARRAY_COUNT(offsets); i++) {
        struct source s = {
            .base = PA_1G,
            .odd_offset = offsets[i / ARRAY_COUNT(bad)],
            .odd_pa = bad[i % ARRAY_COUNT(bad)],
        };

        assert_int_equal(npt_map(&npt, 0, M2(3), source_page, &s, RWX), HV_E_INVALID);
        s.in_runs = true;
        assert_int_equal(npt_map(&npt, 0, M2(3), source_page, &s, RWX), HV_E_INVALID);
        assert_int_equal(audit_npt(&npt).hash, before);
    }
    assert_int_equal(fake_counts().requests, requests);
    finish();
}

static void highest_source_page(void **state)
{
    struct source runs = {.base = FORMAT_PA, .odd_offset = ~0ull, .in_runs = true};

    (void)state;
    start(&format_ept);
    assert_int_equal(map(0, K(1), FORMAT_PA, RWX), HV_OK);
    assert_int_equal(map(K(1), K(2), FORMAT_PA, RWX), HV_E_INVALID); /* its second page is beyond */
    assert_int_equal(npt_map(&npt, K(1), K(2), source_page, &runs, RWX), HV_E_INVALID);
    assert_mapped(0xfff, FORMAT_PA + 0xfff, RWX, 1);
    assert_unmapped(K(1));
    finish();
}

/* -------------------------------------------------------------------------- what is written */

static void ept_entries(void **state)
{
    (void)state;
    start(&format_ept);
    assert_int_equal(map(0, K(1), PA_1G, NPT_READ), HV_OK);
    assert_int_equal(map(M2(1), M2(1), PA_1G, NPT_EXECUTE), HV_OK);
    assert_int_equal(map(G1(1), G1(1), PA_1G, RW), HV_OK);
    assert_int_equal(raw_entry(0), PA_1G | 0x31);
    assert_int_equal(raw_entry(M2(1)), PA_1G | 0xb4);
    assert_int_equal(raw_entry(G1(1)), PA_1G | 0xb3);
    assert_int_equal(npt.root[0] & 0xfff, 7);
    finish();
}

static void npt_entries(void **state)
{
    (void)state;
    start(&format_npt);
    assert_int_equal(map(0, K(1), PA_1G, NPT_READ), HV_OK);
    assert_int_equal(map(M2(1), M2(1), PA_1G, NPT_READ | NPT_EXECUTE), HV_OK);
    assert_int_equal(map(G1(1), G1(1), PA_1G, RWX), HV_OK);
    assert_int_equal(raw_entry(0), PA_1G | BIT64(63) | 5);
    assert_int_equal(raw_entry(M2(1)), PA_1G | 0x85);
    assert_int_equal(raw_entry(G1(1)), PA_1G | 0x87);
    assert_int_equal(npt.root[0] & (BIT64(63) | 0xfff), 7);
    finish();
}

/* Entries say which level they lead to, large leaves that they lead to none. */
static void amdvi_entries(void **state)
{
    uint64_t *table;

    (void)state;
    start(&format_amdvi);
    assert_int_equal(map(0, K(1), PA_1G, NPT_READ), HV_OK);
    assert_int_equal(map(M2(1), M2(1), PA_1G, NPT_WRITE), HV_OK);
    assert_int_equal(map(G1(1), G1(1), PA_1G, RW), HV_OK);
    assert_int_equal(raw_entry(0), PA_1G | 3ull << 60 | 1);
    assert_int_equal(raw_entry(M2(1)), PA_1G | 5ull << 60 | 1);
    assert_int_equal(raw_entry(G1(1)), PA_1G | 7ull << 60 | 1);
    assert_int_equal(npt.root[0] & ~FORMAT_PA, 3ull << 61 | 3 << 9 | 1);
    table = hv_host_phys_to_virt(npt.root[0] & FORMAT_PA);
    assert_int_equal(table[0] & ~FORMAT_PA, 3ull << 61 | 2 << 9 | 1);
    table = hv_host_phys_to_virt(table[0] & FORMAT_PA);
    assert_int_equal(table[0] & ~FORMAT_PA, 3ull << 61 | 1 << 9 | 1);
    assert_int_equal(npt_unmap(&npt, G1(1) + M2(1), K(1)), HV_OK);
    table = hv_host_phys_to_virt(npt.root[0] & FORMAT_PA);
    assert_int_equal(table[1] & ~FORMAT_PA, 3ull << 61 | 2 << 9 | 1); /* that leaf was split */
    assert_mapped(G1(1) + M2(1) + K(1), PA_1G + M2(1) + K(1), RW, 1);
    assert_mapped(G1(2) - 1, PA_1G + G1(1) - 1, RW, 2);
    assert_unmapped(G1(1) + M2(1));
    finish();
}

/* 2 GiB and a bit: 3 pages and 2M before them, 2M and 5 pages after them. */
static void largest_leaves(void **state)
{
    static const struct npt_counts wanted[] = {
        [1] = {{[1] = 8 + 1026 * 512}, 1 + 1 + 4 + 1028},
        [2] = {{[1] = 8, [2] = 1026}, 1 + 1 + 4 + 2},
        [3] = {{[1] = 8, [2] = 2, [3] = 2}, 1 + 1 + 2 + 2},
    };
    struct npt_format format = format_ept;

    (void)state;
    for (unsigned level = 1; level <= 3; level++) {
        const struct npt_counts *c = &wanted[level];

        format.max_leaf_level = level;
        start(&format);
        assert_int_equal(map(G1(1) - M2(1) - K(3), G1(2) + M2(2) + K(8), PA_1G - M2(1) - K(3), RWX), HV_OK);
        assert_counts(c->pages[1], c->pages[2], c->pages[3], c->tables);
        assert_mapped(G1(1) - M2(1) - K(3), PA_1G - M2(1) - K(3), RWX, 1);
        assert_mapped(G1(1) - 1, PA_1G - 1, RWX, HV_MIN(level, 2));
        assert_mapped(G1(3) - 1, PA_1G + G1(2) - 1, RWX, level);
        finish();
    }
}

/* Guest and host address differ in their alignment: no large leaf fits. */
static void misaligned_source(void **state)
{
    (void)state;
    start(&format_ept);
    assert_int_equal(map(0, M2(2), PA_1G + K(1), RWX), HV_OK);
    assert_counts(1024, 0, 0, 5);
    assert_int_equal(map(G1(1), G1(1), PA_1G + M2(1), RWX), HV_OK);
    assert_counts(1024, 512, 0, 6);
    finish();
}

static void check_discontiguous_source(bool in_runs)
{
    struct source s = {.base = PA_1G, .odd_offset = M2(1) + K(7), .odd_pa = PA_1G, .in_runs = in_runs};

    start(&format_ept);
    assert_int_equal(npt_map(&npt, 0, M2(4), source_page, &s, RWX), HV_OK);
    assert_counts(512, 3, 0, 4);
    assert_mapped(M2(1) + K(6), PA_1G + M2(1) + K(6), RWX, 1);
    assert_mapped(M2(1) + K(7), PA_1G, RWX, 1);
    assert_mapped(M2(1) + K(8), PA_1G + M2(1) + K(8), RWX, 1);
    assert_true(s.calls <= (in_runs ? 2 * 3 : 2 * M2(4) / HV_PAGE_SIZE));
    finish();
}

static void discontiguous_source(void **state)
{
    (void)state;
    check_discontiguous_source(false);
    check_discontiguous_source(true);
}

/* 64 GiB take 64 entries; only the source may be asked for each page. */
static void check_huge_contiguous_map(bool in_runs)
{
    struct source s = {.base = PA_1G, .odd_offset = ~0ull, .in_runs = in_runs};

    start(&format_npt);
    assert_int_equal(npt_map(&npt, G1(512) - G1(32), G1(64), source_page, &s, RWX), HV_OK);
    assert_counts(0, 0, 64, 3);
    assert_true(s.calls <= (in_runs ? 2 : 2 * G1(64) / HV_PAGE_SIZE));
    assert_mapped(G1(512) + 12345, PA_1G + G1(32) + 12345, RWX, 3);
    assert_int_equal(npt_unmap(&npt, 0, LIMIT), HV_OK);
    assert_counts(0, 0, 0, 1);
    finish();
}

static void huge_contiguous_map(void **state)
{
    (void)state;
    check_huge_contiguous_map(false);
    check_huge_contiguous_map(true);
}

static void same_host_page_twice(void **state)
{
    (void)state;
    start(&format_ept);
    assert_int_equal(map(G1(4) - K(16), K(16), PA_1G, NPT_READ | NPT_EXECUTE), HV_OK);
    assert_int_equal(map(M2(1) / 2 - K(16), K(16), PA_1G, RWX), HV_OK);
    assert_mapped(G1(4) - 16, PA_1G + K(16) - 16, NPT_READ | NPT_EXECUTE, 1);
    assert_mapped(M2(1) / 2 - 16, PA_1G + K(16) - 16, RWX, 1);
    finish();
}

/* ----------------------------------------------------------------------------- splitting */

static void split_keeps_everything(void **state)
{
    (void)state;
    for (size_t f = 0; f < ARRAY_COUNT(formats); f++) {
        uint64_t ad = formats[f]->accessed | formats[f]->dirty, entry;
        unsigned level;

        start(formats[f]);
        assert_int_equal(map(G1(1), G1(1), PA_1G, RW), HV_OK);
        *audit_entry(&npt, G1(1), &level) |= ad;
        entry = raw_entry(G1(1));
        assert_int_equal(npt_protect(&npt, G1(1) + M2(5) + K(3), K(1), NPT_READ), HV_OK);
        assert_counts(512, 511, 0, 4);
        assert_mapped(G1(1) + M2(5) + K(2), PA_1G + M2(5) + K(2), RW, 1);
        assert_mapped(G1(1) + M2(5) + K(3), PA_1G + M2(5) + K(3), NPT_READ, 1);
        assert_mapped(G1(2) - 1, PA_1G + G1(1) - 1, RW, 2);
        assert_int_equal(raw_entry(G1(1) + M2(6)), entry + M2(6));
        assert_int_equal(raw_entry(G1(1) + M2(5) + K(4)), (entry + M2(5) + K(4)) & ~FORMAT_LARGE);
        assert_int_equal(raw_entry(G1(1) + M2(5) + K(3)) & ad, ad);
        finish();
    }
}

static void protect_with_the_same_rights(void **state)
{
    uint64_t requests;

    (void)state;
    start(&format_ept);
    assert_int_equal(map(0, G1(1), PA_1G, RW), HV_OK);
    requests = fake_counts().requests;
    assert_int_equal(npt_protect(&npt, K(5), K(1), RW), HV_OK);
    assert_counts(0, 0, 1, 2);
    assert_int_equal(fake_counts().requests, requests);
    finish();
}

static void map_again_clears_accessed_and_dirty(void **state)
{
    unsigned level;

    (void)state;
    start(&format_ept);
    assert_int_equal(map(0, M2(1), PA_1G, RW), HV_OK);
    *audit_entry(&npt, 0, &level) |= EPT_A | EPT_D;
    assert_int_equal(npt_protect(&npt, 0, M2(1), RWX), HV_OK);
    assert_int_equal(raw_entry(0) & (EPT_A | EPT_D), EPT_A | EPT_D);
    assert_int_equal(map(0, M2(1), PA_1G, RW), HV_OK);
    assert_int_equal(raw_entry(0) & (EPT_A | EPT_D), 0);
    finish();
}

static void unmap_in_the_middle(void **state)
{
    (void)state;
    start(&format_npt);
    assert_int_equal(map(0, G1(2), PA_1G, RWX), HV_OK);
    assert_int_equal(npt_unmap(&npt, G1(1) - K(1), K(2)), HV_OK);
    assert_counts(511 + 511, 511 + 511, 0, 6);
    assert_mapped(G1(1) - K(1) - 1, PA_1G + G1(1) - K(1) - 1, RWX, 1);
    assert_unmapped(G1(1) - K(1));
    assert_unmapped(G1(1));
    assert_mapped(G1(1) + K(1), PA_1G + G1(1) + K(1), RWX, 1);
    finish();
}

/* -------------------------------------------------------------------------------- unmapping */

static void nothing_there(void **state)
{
    (void)state;
    start(&format_ept);
    assert_int_equal(npt_unmap(&npt, 0, LIMIT), HV_E_GPA_NOT_FOUND);
    assert_int_equal(npt_protect(&npt, 0, LIMIT, RWX), HV_E_GPA_NOT_FOUND);
    assert_int_equal(map(K(8), K(1), PA_1G, RWX), HV_OK);
    assert_int_equal(npt_unmap(&npt, K(9), K(1)), HV_E_GPA_NOT_FOUND);
    assert_int_equal(npt_unmap(&npt, 0, K(8)), HV_E_GPA_NOT_FOUND);
    assert_int_equal(npt_protect(&npt, K(9), M2(4), NPT_READ), HV_E_GPA_NOT_FOUND);
    assert_int_equal(npt_protect(&npt, 0, LIMIT, NPT_READ), HV_OK);
    assert_mapped(K(8), PA_1G, NPT_READ, 1);
    assert_int_equal(npt_unmap(&npt, K(1), M2(1)), HV_OK);
    assert_counts(0, 0, 0, 1);
    finish();
}

/* Unmapping page by page gives the tables back one after the other. */
static void emptied_tables_go(void **state)
{
    (void)state;
    start(&format_ept);
    assert_int_equal(map(M2(1) - K(2), K(4), PA_1G + K(1), RWX), HV_OK);
    assert_counts(4, 0, 0, 5);
    assert_int_equal(npt_unmap(&npt, M2(1) - K(2), K(1)), HV_OK);
    assert_counts(3, 0, 0, 5);
    assert_int_equal(npt_unmap(&npt, M2(1) - K(1), K(1)), HV_OK);
    assert_counts(2, 0, 0, 4);
    assert_int_equal(npt_unmap(&npt, M2(1), K(2)), HV_OK);
    assert_counts(0, 0, 0, 1);
    finish();
}

static void map_and_unmap_in_a_loop(void **state)
{
    (void)state;
    start(&format_ept);
    for (hv_gpa_t gpa = 0; gpa < G1(3000); gpa += G1(7) + M2(3) + K(5)) {
        assert_int_equal(map(gpa, K(3), PA_1G, RWX), HV_OK);
        assert_int_equal(npt_unmap(&npt, gpa, K(3)), HV_OK);
        npt_reap(&npt);
        assert_int_equal(fake_counts().pages, 1);
    }
    finish();
}

/* --------------------------------------------------------------------------------- no memory */

/* A map that replaces, splits at both ends and needs new tables. */
static void failure_changes_nothing(void **state)
{
    (void)state;
    for (size_t f = 0; f < ARRAY_COUNT(formats); f++) {
        struct audit before;
        uint64_t needed = 0;
        enum hv_status st;

        start(formats[f]);
        assert_int_equal(map(G1(511), G1(1), PA_1G, RW), HV_OK);
        assert_int_equal(map(G1(514), G1(1), PA_1G, RW), HV_OK);
        before = audit_npt(&npt);
        do {
            uint64_t pages = fake_counts().pages;

            fake_fail_after(needed + 1);
            st = map(G1(512) - K(1), G1(2) + K(2), PA_1G - K(1), RWX);
            if (!fake_has_failed())
                break;
            assert_int_equal(st, HV_E_NO_MEMORY);
            assert_int_equal(audit_npt(&npt).hash, before.hash);
            assert_null(npt.retired);
            assert_int_equal(fake_counts().pages, pages);
            needed++;
        } while (needed < 100);
        assert_int_equal(st, HV_OK);
        assert_int_equal(needed, 4); /* at either end a 2M and a 4K table */
        assert_counts(2 * 512, 2 * 511, 2, before.counts.tables + needed);
        fake_fail_after(0);
        finish();
    }
}

/* To take away what is mapped needs memory only where a leaf must be split. */
static void whole_unmap_needs_no_memory(void **state)
{
    (void)state;
    start(&format_ept);
    assert_int_equal(map(K(3), M2(600), PA_1G, RW), HV_OK);
    fake_fail_after(1);
    assert_int_equal(npt_unmap(&npt, K(3), M2(600)), HV_OK);
    assert_false(fake_has_failed());
    fake_fail_after(0);
    assert_counts(0, 0, 0, 1);
    finish();
}

/* ------------------------------------------------------------------------------- dirty pages */

static void write_page(hv_gpa_t gpa)
{
    unsigned level;

    *audit_entry(&npt, gpa, &level) |= npt.format->accessed | npt.format->dirty;
    assert_int_equal(level, 1);
}

static void assert_dirty(hv_gpa_t gpa, uint64_t pages, uint64_t wanted)
{
    uint64_t bitmap[3] = {0}, count = ~0ull;

    assert_true(pages < 64);
    assert_int_equal(npt_take_dirty(&npt, gpa, K(pages), bitmap, &count), HV_OK);
    assert_int_equal(bitmap[0], wanted);
    assert_int_equal(count, __builtin_popcountll(wanted));
    assert_int_equal(bitmap[1] | bitmap[2], 0);
    audit_npt(&npt);
}

static void tracked_leaves(void **state)
{
    (void)state;
    for (size_t f = 0; f < ARRAY_COUNT(formats); f++) {
        start(formats[f]);
        assert_int_equal(map(M2(2), M2(1), PA_1G, RWX), HV_OK);
        assert_false(npt.tracks_dirty);
        assert_int_equal(map(0, M2(2), PA_1G, RW | NPT_TRACK), HV_OK);
        assert_true(npt.tracks_dirty);
        assert_counts(1024, 1, 0, 5);
        assert_mapped(K(5), PA_1G + K(5), RW, 1);
        assert_int_equal(raw_entry(K(5)) & formats[f]->tracked, formats[f]->tracked);
        assert_int_equal(raw_entry(M2(2)) & formats[f]->tracked, 0);
        assert_int_equal(npt_protect(&npt, 0, M2(3), NPT_READ), HV_OK);
        assert_int_equal(raw_entry(K(5)) & formats[f]->tracked, formats[f]->tracked);
        assert_int_equal(npt_protect(&npt, 0, M2(1), NPT_READ | NPT_TRACK), HV_E_INVALID);
        assert_int_equal(map(0, M2(2), PA_1G, RW), HV_OK);
        assert_counts(0, 3, 0, 3);
        assert_true(npt.tracks_dirty); /* it stays so */
        finish();
    }
}

static void what_cannot_be_tracked(void **state)
{
    struct npt_format format = format_ept;

    (void)state;
    start(&format);
    assert_int_equal(map(0, K(1), PA_1G, NPT_TRACK), HV_E_INVALID);
    assert_int_equal(map(0, K(1), PA_1G, NPT_WRITE | NPT_TRACK), HV_E_INVALID);
    assert_int_equal(map(0, K(1), PA_1G, RWX | NPT_TRACK | 16), HV_E_INVALID);
    format.dirty = 0;
    assert_int_equal(map(0, K(1), PA_1G, RWX | NPT_TRACK), HV_E_INVALID);
    assert_int_equal(map(0, K(1), PA_1G, RWX), HV_OK);
    assert_false(npt.tracks_dirty);
    finish();
}

static void dirty_pages_are_told_once(void **state)
{
    uint64_t bitmap[2] = {0}, count;

    (void)state;
    for (size_t f = 0; f < ARRAY_COUNT(formats); f++) {
        start(formats[f]);
        assert_int_equal(map(M2(1) - K(8), K(70), PA_1G, RWX | NPT_TRACK), HV_OK);
        assert_dirty(M2(1) - K(8), 16, 0);
        write_page(M2(1) - K(8));
        write_page(M2(1) - K(1)); /* the last entry of a table, and the first of the next one */
        write_page(M2(1));
        write_page(M2(1) + K(20));
        assert_dirty(M2(1) - K(2), 4, 6);
        assert_dirty(M2(1) - K(8), 16, 1); /* the others were outside of that question */
        assert_dirty(M2(1) - K(8), 40, BIT64(28));
        assert_dirty(M2(1) - K(8), 40, 0);
        assert_int_equal(raw_entry(M2(1)) & formats[f]->accessed, formats[f]->accessed);
        write_page(M2(1) + K(61));
        memset(bitmap, 0, sizeof(bitmap));
        assert_int_equal(npt_take_dirty(&npt, M2(1) - K(8), K(70), bitmap, &count), HV_OK);
        assert_int_equal(bitmap[0], 0);
        assert_int_equal(bitmap[1], BIT64(5));
        write_page(M2(1));
        assert_int_equal(npt_take_dirty(&npt, M2(1) - K(8), K(70), NULL, &count), HV_OK);
        assert_int_equal(count, 1);
        assert_dirty(M2(1), 1, 0);
        write_page(M2(1));
        assert_int_equal(npt_protect(&npt, M2(1), K(1), NPT_READ), HV_OK);
        assert_dirty(M2(1), 1, 1);
        write_page(M2(1));
        assert_int_equal(map(M2(1), K(1), PA_1G, RWX | NPT_TRACK), HV_OK);
        assert_dirty(M2(1), 1, 0); /* mapped again: clean */
        finish();
    }
}

/* A page that is not tracked, or not there, at any place: nothing is cleared and nothing is told. */
static void dirty_of_untracked_pages(void **state)
{
    uint64_t bitmap[9] = {0}, count, before;

    (void)state;
    start(&format_ept);
    assert_int_equal(map(0, M2(1), PA_1G, RWX | NPT_TRACK), HV_OK);
    assert_int_equal(map(M2(1), M2(1), PA_1G, RWX), HV_OK);
    assert_int_equal(map(M2(3), K(3), PA_1G, RWX | NPT_TRACK), HV_OK);
    assert_int_equal(map(M2(3) + K(1), K(1), PA_1G, RWX), HV_OK);
    write_page(0);
    write_page(M2(1) - K(1));
    write_page(M2(3));
    before = audit_npt(&npt).hash;
    assert_int_equal(npt_take_dirty(&npt, M2(1) - K(1), K(2), bitmap, &count), HV_E_GPA_NOT_FOUND); /* a large leaf */
    assert_int_equal(npt_take_dirty(&npt, M2(3), K(3), bitmap, &count), HV_E_GPA_NOT_FOUND);
    assert_int_equal(npt_take_dirty(&npt, M2(3) + K(2), K(2), bitmap, &count), HV_E_GPA_NOT_FOUND);
    assert_int_equal(npt_take_dirty(&npt, M2(1), K(1), bitmap, &count), HV_E_GPA_NOT_FOUND);
    assert_int_equal(npt_take_dirty(&npt, G1(100), K(1), bitmap, &count), HV_E_GPA_NOT_FOUND);
    assert_int_equal(npt_take_dirty(&npt, 0, LIMIT, NULL, &count), HV_E_GPA_NOT_FOUND);
    for (size_t i = 0; i < ARRAY_COUNT(bad_ranges); i++)
        assert_int_equal(npt_take_dirty(&npt, bad_ranges[i].gpa, bad_ranges[i].size, NULL, &count), HV_E_INVALID);
    for (size_t i = 0; i < ARRAY_COUNT(bitmap); i++)
        assert_int_equal(bitmap[i], 0);
    assert_int_equal(audit_npt(&npt).hash, before);
    finish();
}

/* A tracked range into the middle of a large page: the neighbours stay large and untracked; without memory nothing
 * changes. */
static void tracking_splits(void **state)
{
    uint64_t needed = 0;
    struct audit before;
    enum hv_status st;

    (void)state;
    start(&format_npt);
    assert_int_equal(map(0, G1(1), PA_1G, RWX), HV_OK);
    before = audit_npt(&npt);
    for (; needed < 100; needed++) {
        fake_fail_after(needed + 1);
        st = map(M2(4) + K(6), M2(2), PA_1G, RWX | NPT_TRACK);
        if (!fake_has_failed())
            break;
        assert_int_equal(st, HV_E_NO_MEMORY);
        assert_int_equal(audit_npt(&npt).hash, before.hash);
        assert_false(npt.tracks_dirty);
    }
    fake_fail_after(0);
    assert_int_equal(st, HV_OK);
    assert_int_equal(needed, 4); /* a 2M table, three 4K tables */
    assert_counts(3 * 512, 509, 0, 2 + 4);
    assert_int_equal(raw_entry(M2(4) + K(5)) & npt.format->tracked, 0);
    assert_int_equal(raw_entry(M2(6) + K(5)) & npt.format->tracked, npt.format->tracked);
    assert_int_equal(raw_entry(M2(6) + K(6)) & npt.format->tracked, 0);
    assert_int_equal(npt_unmap(&npt, M2(5), K(1)), HV_OK);
    assert_int_equal(raw_entry(M2(5) + K(1)) & npt.format->tracked, npt.format->tracked);
    finish();
}

/* Who writes on the guest's behalf marks what it has looked up, if it still is there. */
static void marking_dirty(void **state)
{
    struct npt_leaf leaf, untracked;

    (void)state;
    start(&format_ept);
    assert_int_equal(map(0, K(3), PA_1G, RWX | NPT_TRACK), HV_OK);
    assert_int_equal(map(M2(1), M2(1), PA_1G, RWX), HV_OK);
    assert_true(npt_lookup(&npt, K(1) + 5, &leaf));
    npt_mark_dirty(&npt, &leaf);
    npt_mark_dirty(&npt, &leaf);
    assert_dirty(0, 3, 2);
    assert_true(npt_lookup(&npt, M2(1), &untracked));
    npt_mark_dirty(&npt, &untracked);
    assert_int_equal(raw_entry(M2(1)) & EPT_D, 0);
    assert_int_equal(npt_protect(&npt, K(1), K(1), NPT_READ), HV_OK);
    npt_mark_dirty(&npt, &leaf); /* the same page, with other rights */
    assert_dirty(0, 3, 2);
    assert_int_equal(map(K(1), K(1), PA_1G + K(9), RWX | NPT_TRACK), HV_OK);
    npt_mark_dirty(&npt, &leaf); /* another one */
    assert_dirty(0, 3, 0);
    assert_int_equal(npt_unmap(&npt, K(1), K(1)), HV_OK);
    npt_mark_dirty(&npt, &leaf); /* gone; and the entry is as empty as it was */
    finish();
}

/* ---------------------------------------------------------------------------------- walkers */

/* A CPU that read the way to a table before the change goes on reading the old entries until the reap. */
static void check_retired_tables(const struct npt_format *format, unsigned rights, uint64_t ignored)
{
    uint64_t *old[2], entries[2][512];

    start(format);
    assert_int_equal(map(0, M2(2), PA_1G + K(1), rights), HV_OK);
    for (unsigned i = 0; i < 2; i++) {
        unsigned level;

        old[i] = audit_entry(&npt, M2(i), &level);
        memcpy(entries[i], old[i], HV_PAGE_SIZE);
    }
    assert_int_equal(map(0, M2(2), PA_1G, rights), HV_OK);
    assert_counts(0, 2, 0, 3);
    assert_int_equal(fake_counts().pages, 3 + 2);
    for (unsigned i = 0; i < 2 * 512; i++) {
        uint64_t now = old[i / 512][i % 512];

        assert_int_equal(now & ~ignored, entries[i / 512][i % 512]);
    }
    npt_reap(&npt);
    assert_int_equal(fake_counts().pages, 3);
    npt_reap(&npt); /* nothing left */
    finish();
}

/* Nothing is changed in them but bits that hardware ignores. */
static void retired_tables_stay_readable(void **state)
{
    (void)state;
    check_retired_tables(&format_ept, RWX, BITS64(56, 52));
    check_retired_tables(&format_amdvi, RW, BITS64(4, 1));
}

/*
 * One thread walks while another changes large leaves to small ones and back. The writer waits for the walker before it
 * reaps, as the shootdown does.
 */
static struct {
    uint64_t walks, misses;
    bool stop;
} walker;

static void *walk_on(void *arg)
{
    (void)arg;
    while (!__atomic_load_n(&walker.stop, __ATOMIC_ACQUIRE)) {
        struct npt_leaf leaf;
        hv_gpa_t gpa = walker.walks % 1024 * HV_PAGE_SIZE;

        if (!npt_lookup(&npt, gpa, &leaf) || leaf.pa != PA_1G + gpa || !(leaf.rights & NPT_READ))
            walker.misses++;
        __atomic_store_n(&walker.walks, walker.walks + 1, __ATOMIC_RELEASE);
    }
    return NULL;
}

static void wait_for_walker(void)
{
    uint64_t seen = __atomic_load_n(&walker.walks, __ATOMIC_ACQUIRE);

    while (__atomic_load_n(&walker.walks, __ATOMIC_ACQUIRE) < seen + 2)
        sched_yield();
}

static void walk_during_changes(void **state)
{
    pthread_t thread;

    (void)state;
    memset(&walker, 0, sizeof(walker));
    start(&format_ept);
    assert_int_equal(map(0, M2(2), PA_1G, RWX), HV_OK);
    assert_int_equal(pthread_create(&thread, NULL, walk_on, NULL), 0);
    for (unsigned i = 0; i < 2000; i++) {
        npt_protect(&npt, K(i % 1024), K(1), NPT_READ);
        npt_map(&npt, K(i % 512), M2(1), source_page, &(struct source){PA_1G + K(i % 512), ~0ull, 0, 0, false}, RW);
        map(0, M2(2), PA_1G, RWX);
        wait_for_walker();
        npt_reap(&npt);
    }
    __atomic_store_n(&walker.stop, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    assert_int_equal(walker.misses, 0);
    finish();
}

/* The CPU sets dirty bits while rights change: none may get lost. */
static struct {
    uint64_t *entry, lost;
    bool stop;
} dirtier;

static void *dirty_on(void *arg)
{
    (void)arg;
    while (!__atomic_load_n(&dirtier.stop, __ATOMIC_ACQUIRE)) {
        __atomic_fetch_and(dirtier.entry, ~EPT_D, __ATOMIC_SEQ_CST);
        __atomic_fetch_or(dirtier.entry, EPT_D, __ATOMIC_SEQ_CST);
        for (volatile int i = 0; i < 50; i++)
            ;
        dirtier.lost += !(__atomic_load_n(dirtier.entry, __ATOMIC_SEQ_CST) & EPT_D);
    }
    return NULL;
}

static void dirty_bits_survive_protect(void **state)
{
    pthread_t thread;
    unsigned level;

    (void)state;
    memset(&dirtier, 0, sizeof(dirtier));
    start(&format_ept);
    assert_int_equal(map(0, K(1), PA_1G, RWX), HV_OK);
    dirtier.entry = audit_entry(&npt, 0, &level);
    assert_int_equal(pthread_create(&thread, NULL, dirty_on, NULL), 0);
    for (unsigned i = 0; i < 300000; i++)
        npt_protect(&npt, 0, K(1), i % 2 ? RWX : RW);
    __atomic_store_n(&dirtier.stop, true, __ATOMIC_RELEASE);
    pthread_join(thread, NULL);
    assert_int_equal(dirtier.lost, 0);
    finish();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(a_page_is_held),
        UNIT_TEST(a_held_page_stays_shut),
        UNIT_TEST(init_and_destroy),
        UNIT_TEST(init_without_memory),
        UNIT_TEST(destroy_frees_everything),
        UNIT_TEST(limit),
        UNIT_TEST(bad_range_arguments),
        UNIT_TEST(rights_that_the_format_has),
        UNIT_TEST(bad_source_pages),
        UNIT_TEST(highest_source_page),
        UNIT_TEST(ept_entries),
        UNIT_TEST(npt_entries),
        UNIT_TEST(amdvi_entries),
        UNIT_TEST(largest_leaves),
        UNIT_TEST(misaligned_source),
        UNIT_TEST(discontiguous_source),
        UNIT_TEST(huge_contiguous_map),
        UNIT_TEST(same_host_page_twice),
        UNIT_TEST(split_keeps_everything),
        UNIT_TEST(protect_with_the_same_rights),
        UNIT_TEST(map_again_clears_accessed_and_dirty),
        UNIT_TEST(unmap_in_the_middle),
        UNIT_TEST(nothing_there),
        UNIT_TEST(emptied_tables_go),
        UNIT_TEST(map_and_unmap_in_a_loop),
        UNIT_TEST(failure_changes_nothing),
        UNIT_TEST(whole_unmap_needs_no_memory),
        UNIT_TEST(tracked_leaves),
        UNIT_TEST(what_cannot_be_tracked),
        UNIT_TEST(dirty_pages_are_told_once),
        UNIT_TEST(dirty_of_untracked_pages),
        UNIT_TEST(tracking_splits),
        UNIT_TEST(marking_dirty),
        UNIT_TEST(retired_tables_stay_readable),
        UNIT_TEST(walk_during_changes),
        UNIT_TEST(dirty_bits_survive_protect),
    };

    return cmocka_run_group_tests_name("npt", tests, NULL, NULL);
}
