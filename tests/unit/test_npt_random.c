/* SPDX-License-Identifier: MIT */
/*
 * Random changes to second-level tables against a model that keeps one record for each 4K page: host address, rights,
 * size of its leaf, accessed and dirty bits. SEED=n in the environment repeats or varies a run.
 */
#include "npt_audit.h"
#include "random.h"
#include <stdio.h>
#include <stdlib.h>

#define STEPS       52000 /* for each format, in the small windows */
#define STEPS_HUGE  100   /* for each format, in the window where 1G leaves fit */
#define MAX_WINDOWS 6

#define AD_ACCESSED 1u
#define AD_DIRTY    2u

struct page {
    hv_hpa_t pa;
    uint8_t rights; /* 0: not mapped */
    uint8_t level, ad;
    bool tracked;
};

struct window {
    hv_gpa_t start, end;
    struct page *pages;
};

enum kind { MAP, UNMAP, PROTECT, KINDS };

/* Where a map's pages come from. */
struct pattern {
    hv_hpa_t base, second; /* runs at `second` from page `turn` on */
    uint64_t turn;
    uint64_t stride; /* in pages from one to the next; 1: contiguous */
    uint64_t bad;    /* this page is not there; ~0: all are */
    hv_hpa_t bad_pa;
    uint64_t calls;
};

struct op {
    enum kind kind;
    hv_gpa_t gpa, end;
    unsigned rights;
    bool track; /* map */
    struct pattern pattern;
};

static struct {
    struct npt npt;
    const struct npt_format *format;
    struct window windows[MAX_WINDOWS];
    unsigned window_count;
    uint64_t seed, step, steps;
} w;

/* ------------------------------------------------------------------------------ chance */

static bool chance(unsigned percent)
{
    return rnd(100) < percent;
}

/* ------------------------------------------------------------------------------- model */

static struct page *page_at(hv_gpa_t gpa)
{
    for (unsigned i = 0; i < w.window_count; i++)
        if (gpa >= w.windows[i].start && gpa < w.windows[i].end)
            return &w.windows[i].pages[(gpa - w.windows[i].start) / HV_PAGE_SIZE];
    return NULL;
}

/* Every page of the windows in [gpa, end), in order. */
static struct page *next_page(hv_gpa_t *gpa, hv_gpa_t end)
{
    for (unsigned i = 0; i < w.window_count; i++) {
        const struct window *v = &w.windows[i];

        if (*gpa >= v->end)
            continue;
        *gpa = HV_MAX(*gpa, v->start);
        return *gpa < end ? &v->pages[(*gpa - v->start) / HV_PAGE_SIZE] : NULL;
    }
    return NULL;
}

#define FOR_PAGES(p, at, gpa, end) \
    for (hv_gpa_t at = (gpa), stop_ = (end); (p = next_page(&at, stop_)) != NULL; at += HV_PAGE_SIZE)

static hv_hpa_t pattern_page(const struct pattern *p, uint64_t i)
{
    if (i == p->bad)
        return p->bad_pa;
    return i < p->turn ? p->base + i * p->stride * HV_PAGE_SIZE : p->second + (i - p->turn) * p->stride * HV_PAGE_SIZE;
}

/* Cuts the large leaf that has `gpa` in its middle, until none has. A protect leaves leaves alone that have its rights
 * already. */
static void model_cut(hv_gpa_t gpa, const struct op *op)
{
    struct page *p = page_at(gpa);

    while (p && p->rights && gpa % size_of_level(p->level) && !(op->kind == PROTECT && p->rights == op->rights)) {
        struct page *first = p - gpa % size_of_level(p->level) / HV_PAGE_SIZE;
        uint64_t count = size_of_level(p->level) / HV_PAGE_SIZE;

        for (uint64_t i = 0; i < count; i++)
            first[i].level--;
    }
}

/* The largest leaf that can begin at gpa. */
static unsigned model_level(const struct op *op, hv_gpa_t gpa)
{
    const uint64_t page = (gpa - op->gpa) / HV_PAGE_SIZE;
    const hv_hpa_t pa = pattern_page(&op->pattern, page);
    uint64_t run = 1;
    unsigned level = 1;

    for (; !op->track && level < w.format->max_leaf_level; level++) {
        uint64_t size = size_of_level(level + 1);

        if ((gpa | pa) % size || op->end - gpa < size)
            break;
        while (run < size / HV_PAGE_SIZE && pattern_page(&op->pattern, page + run) == pa + run * HV_PAGE_SIZE)
            run++;
        if (run < size / HV_PAGE_SIZE)
            break;
    }
    return level;
}

static void model_map(const struct op *op)
{
    for (hv_gpa_t gpa = op->gpa; gpa < op->end;) {
        unsigned level = model_level(op, gpa);
        struct page *p = page_at(gpa);

        for (hv_gpa_t leaf_end = gpa + size_of_level(level); gpa < leaf_end; gpa += HV_PAGE_SIZE)
            *p++ = (struct page){pattern_page(&op->pattern, (gpa - op->gpa) / HV_PAGE_SIZE), op->rights, level, 0,
                                 op->track};
    }
}

static void model_apply(const struct op *op)
{
    struct page *p;

    model_cut(op->gpa, op);
    model_cut(op->end, op);
    if (op->kind == MAP)
        model_map(op);
    else if (op->kind == UNMAP)
        FOR_PAGES(p, gpa, op->gpa, op->end)
    *p = (struct page){0};
    else FOR_PAGES(p, gpa, op->gpa, op->end) p->rights = p->rights ? op->rights : 0;
}

static enum hv_status model_expect(const struct op *op)
{
    struct page *p;

    if (op->kind == MAP)
        return op->pattern.bad < (op->end - op->gpa) / HV_PAGE_SIZE ? HV_E_INVALID : HV_OK;
    FOR_PAGES(p, gpa, op->gpa, op->end)
    if (p->rights)
        return HV_OK;
    return HV_E_GPA_NOT_FOUND;
}

/* Leaves as the pages say; a table wherever a leaf below its level is. */
static struct npt_counts model_counts(void)
{
    hv_gpa_t last[NPT_MAX_LEVELS + 1];
    struct npt_counts c = {.tables = 1};
    struct page *p;

    memset(last, 0xff, sizeof(last));
    FOR_PAGES(p, gpa, 0, npt_limit(&w.npt))
    {
        if (!p->rights)
            continue;
        c.pages[p->level]++;
        for (unsigned level = p->level; level < w.format->levels && last[level] != gpa / size_of_level(level + 1);
             level++) {
            last[level] = gpa / size_of_level(level + 1);
            c.tables++;
        }
        gpa += size_of_level(p->level) - HV_PAGE_SIZE; /* on to the next leaf */
    }
    return c;
}

/* ------------------------------------------------------------------------------ choices */

static hv_gpa_t near(hv_gpa_t gpa, uint64_t align)
{
    gpa = ALIGN_DOWN(gpa, align);
    return chance(70) ? gpa : gpa + (rnd(5) - 2) * HV_PAGE_SIZE;
}

static uint64_t choose_align(const struct window *v)
{
    bool is_huge = v->end - v->start > 2 * HV_SIZE_1G;

    return chance(40) ? HV_PAGE_SIZE : is_huge && chance(70) ? HV_SIZE_1G : HV_SIZE_2M;
}

static void choose_range(struct op *op)
{
    const struct window *v = &w.windows[rnd(w.window_count)];
    uint64_t align = choose_align(v), pages = (v->end - v->start) / HV_PAGE_SIZE;

    op->gpa = near(v->start + rnd(pages) * HV_PAGE_SIZE, align);
    if (op->gpa < v->start || op->gpa >= v->end)
        op->gpa = v->start;
    op->end = align == HV_PAGE_SIZE ? op->gpa + (1 + rnd(chance(50) ? 4 : 600)) * HV_PAGE_SIZE
                                    : near(op->gpa + (1 + rnd(2)) * align, align);
    if (op->end > v->end || op->end <= op->gpa)
        op->end = v->end;
    if (op->kind != MAP && chance(2)) { /* across windows, and all there is */
        op->gpa = chance(50) ? 0 : op->gpa;
        op->end = npt_limit(&w.npt);
    }
}

static hv_hpa_t choose_pa(hv_gpa_t gpa)
{
    hv_hpa_t base = (1 + rnd(1000)) * 16 * HV_SIZE_1G;

    switch (rnd(4)) {
    case 0:
        return base + rnd(1 << 20) * HV_PAGE_SIZE;
    case 1:
        return base + gpa % HV_SIZE_2M;
    default:
        return base + gpa % HV_SIZE_1G;
    }
}

static struct pattern choose_pattern(const struct op *op)
{
    static const hv_hpa_t bad[] = {HV_HPA_NONE, 0x12345678, FORMAT_PA + HV_PAGE_SIZE, 1ull << 52, 1};
    uint64_t pages = (op->end - op->gpa) / HV_PAGE_SIZE;
    struct pattern p = {.turn = ~0ull, .stride = 1, .bad = ~0ull};

    p.base = choose_pa(op->gpa);
    if (chance(15))
        p.stride = rnd(5) * 3; /* also the same page over and over */
    if (chance(30)) {
        p.turn = rnd(pages);
        p.second = choose_pa(op->gpa + p.turn * HV_PAGE_SIZE);
    }
    if (chance(3)) {
        p.bad = rnd(pages);
        p.bad_pa = bad[rnd(ARRAY_COUNT(bad))];
    }
    return p;
}

static struct op choose_op(void)
{
    static const enum kind kinds[] = {MAP, MAP, MAP, UNMAP, UNMAP, PROTECT, PROTECT};
    struct op op = {.kind = kinds[rnd(ARRAY_COUNT(kinds))]};

    do
        op.rights = rnd(NPT_RIGHTS + 1);
    while (!w.format->rights[op.rights]);
    choose_range(&op);
    if (op.kind == MAP) {
        op.pattern = choose_pattern(&op);
        op.track = w.format->dirty && chance(20);
    }
    return op;
}

/* -------------------------------------------------------------------------------- steps */

/* Tells of the pages behind the one asked for as far as it feels like it. */
static hv_hpa_t source(void *arg, uint64_t offset, uint64_t *size)
{
    const struct op *op = arg;
    uint64_t left = *size, n = offset / HV_PAGE_SIZE, pages = 1;
    hv_hpa_t pa = pattern_page(&op->pattern, n);

    assert_true(offset % HV_PAGE_SIZE == 0 && left == op->end - op->gpa - offset);
    ((struct op *)arg)->pattern.calls++;
    while (pages < left / HV_PAGE_SIZE && pattern_page(&op->pattern, n + pages) == pa + pages * HV_PAGE_SIZE &&
           !chance(5))
        pages++;
    *size = chance(2) ? 0 : pages * HV_PAGE_SIZE; /* 0: as if it said nothing, which means one page */
    return pa;
}

static enum hv_status run(struct op *op)
{
    enum hv_status st;

    op->pattern.calls = 0;
    switch (op->kind) {
    case MAP:
        st = npt_map(&w.npt, op->gpa, op->end - op->gpa, source, op, op->rights | (op->track ? NPT_TRACK : 0));
        assert_true(op->pattern.calls <= 2 * (op->end - op->gpa) / HV_PAGE_SIZE);
        return st;
    case UNMAP:
        return npt_unmap(&w.npt, op->gpa, op->end - op->gpa);
    default:
        return npt_protect(&w.npt, op->gpa, op->end - op->gpa, op->rights);
    }
}

/* Fails each request for memory in turn, until the change no longer meets the failure. Each time nothing may have
 * changed. */
static enum hv_status run_with_failures(struct op *op)
{
    struct audit before = audit_npt(&w.npt);
    uint64_t pages = fake_counts().pages;
    enum hv_status st;

    for (uint64_t n = 1;; n += n < 16 ? 1 : n) {
        fake_fail_after(n);
        st = run(op);
        if (!fake_has_failed())
            break;
        assert_int_equal(st, HV_E_NO_MEMORY);
        assert_int_equal(audit_npt(&w.npt).hash, before.hash);
        assert_int_equal(fake_counts().pages, pages);
    }
    fake_fail_after(0);
    if (st != HV_OK)
        assert_int_equal(audit_npt(&w.npt).hash, before.hash);
    return st;
}

/* What the CPU does when the guest reads or writes a page. */
static void touch(void)
{
    const struct window *v = &w.windows[rnd(w.window_count)];
    hv_gpa_t gpa = v->start + rnd((v->end - v->start) / HV_PAGE_SIZE) * HV_PAGE_SIZE;
    unsigned level, ad = chance(50) ? AD_ACCESSED : AD_ACCESSED | AD_DIRTY;
    struct page *p = page_at(gpa);
    uint64_t *entry = audit_entry(&w.npt, gpa, &level);

    assert_int_equal(entry != NULL, p->rights != 0);
    if (!entry)
        return;
    *entry |= w.format->accessed | (ad & AD_DIRTY ? w.format->dirty : 0);
    p -= gpa % size_of_level(level) / HV_PAGE_SIZE;
    for (uint64_t i = 0; i < size_of_level(level) / HV_PAGE_SIZE; i++)
        p[i].ad |= ad;
}

static void check_page(hv_gpa_t gpa, const struct page *p)
{
    struct npt_leaf leaf = {0};
    bool found = npt_lookup(&w.npt, gpa | (gpa >> 12 & 0xfff), &leaf);

    assert_int_equal(found, p && p->rights);
    if (!found)
        return;
    assert_int_equal(leaf.pa, p->pa | (gpa >> 12 & 0xfff));
    assert_int_equal(leaf.rights, p->rights);
    assert_int_equal(leaf.level, p->level);
    assert_int_equal(leaf.entry & w.format->tracked, p->tracked ? w.format->tracked : 0);
    assert_int_equal(leaf.entry & w.format->accessed, p->ad & AD_ACCESSED ? w.format->accessed : 0);
    assert_int_equal(leaf.entry & w.format->dirty, p->ad & AD_DIRTY ? w.format->dirty : 0);
}

static void check_around(const struct op *op)
{
    hv_gpa_t places[] = {op->gpa - HV_PAGE_SIZE, op->gpa, op->end - HV_PAGE_SIZE, op->end, 0, 0};
    const struct window *v = &w.windows[rnd(w.window_count)];

    for (unsigned i = 4; i < ARRAY_COUNT(places); i++)
        places[i] = v->start + rnd((v->end - v->start) / HV_PAGE_SIZE) * HV_PAGE_SIZE;
    for (unsigned i = 0; i < ARRAY_COUNT(places); i++)
        check_page(places[i], page_at(places[i]));
}

static void check_all(void)
{
    struct page *p;

    audit_npt(&w.npt);
    FOR_PAGES(p, gpa, 0, npt_limit(&w.npt))
    check_page(gpa, p);
}

/* Asks for the dirty pages of some range: told as the model has them, or refused as a whole. */
static void ask_dirty(void)
{
    static uint64_t bitmap[512];
    struct op op = {.kind = MAP};
    uint64_t count = 0, wanted = 0, pages;
    bool tracked = true;
    struct page *p;

    choose_range(&op);
    pages = 1 + rnd(chance(50) ? 8 : 4096);
    pages = HV_MIN(pages, (op.end - op.gpa) / HV_PAGE_SIZE);
    op.end = op.gpa + pages * HV_PAGE_SIZE;
    memset(bitmap, 0, sizeof(bitmap));
    FOR_PAGES(p, gpa, op.gpa, op.end)
    tracked &= p->rights && p->tracked;
    assert_int_equal(npt_take_dirty(&w.npt, op.gpa, op.end - op.gpa, bitmap, &count),
                     tracked ? HV_OK : HV_E_GPA_NOT_FOUND);
    if (!tracked)
        return;
    for (uint64_t i = 0; i < pages; i++) {
        p = page_at(op.gpa + i * HV_PAGE_SIZE);
        assert_int_equal(bitmap[i / 64] >> i % 64 & 1, (p->ad & AD_DIRTY) != 0);
        wanted += (p->ad & AD_DIRTY) != 0;
        p->ad &= ~AD_DIRTY;
    }
    assert_int_equal(count, wanted);
}

static void step(void)
{
    struct op op = choose_op();
    enum hv_status expected = model_expect(&op), st = w.step % 16 ? run(&op) : run_with_failures(&op);
    struct npt_counts counts, counted;

    assert_int_equal(st, expected);
    if (st == HV_OK)
        model_apply(&op);
    counts = model_counts();
    assert_int_equal(w.npt.tables, counts.tables);
    if (chance(5)) {
        counted = npt_count(&w.npt);
        assert_memory_equal(&counted, &counts, sizeof(counts));
    }
    check_around(&op);
    if (chance(70))
        npt_reap(&w.npt);
    if (!w.npt.retired)
        assert_int_equal(fake_counts().pages, counts.tables);
    if (chance(30))
        touch();
    if (chance(30))
        ask_dirty();
}

/* ------------------------------------------------------------------------------- worlds */

static int world_teardown(void **state)
{
    if (w.step < w.steps)
        print_message("# failed in step %llu, seed %llu\n", (unsigned long long)w.step, (unsigned long long)w.seed);
    for (unsigned i = 0; i < w.window_count; i++)
        free(w.windows[i].pages);
    memset(&w, 0, sizeof(w));
    return unit_teardown(state);
}

static void add_window(hv_gpa_t start, hv_gpa_t end)
{
    struct window *v = &w.windows[w.window_count++];

    *v = (struct window){start, end, calloc((end - start) / HV_PAGE_SIZE, sizeof(struct page))};
    assert_non_null(v->pages);
}

static void run_world(const struct npt_format *format, uint64_t steps, uint64_t check_every)
{
    w.format = format;
    w.seed = random_start();
    w.steps = steps;
    print_message("# seed %llu\n", (unsigned long long)w.seed);
    assert_int_equal(npt_init(&w.npt, format), HV_OK);
    for (; w.step < steps; w.step++) {
        step();
        if (w.step % check_every == 0)
            check_all();
    }
    check_all();
    npt_unmap(&w.npt, 0, npt_limit(&w.npt));
    npt_reap(&w.npt);
    assert_int_equal(w.npt.tables, 1);
    assert_int_equal(fake_counts().pages, 1);
    npt_destroy(&w.npt);
}

static void small_windows(hv_gpa_t limit)
{
    add_window(0, 3 * HV_SIZE_2M);
    add_window(HV_SIZE_1G - HV_SIZE_2M, HV_SIZE_1G + HV_SIZE_2M);
    add_window(512 * HV_SIZE_1G - HV_SIZE_2M, 512 * HV_SIZE_1G + HV_SIZE_2M);
    add_window(limit - 2 * HV_SIZE_2M, limit);
}

static void random_ept(void **state)
{
    (void)state;
    small_windows(1ull << 48);
    run_world(&format_ept, STEPS, 500);
}

static void random_npt(void **state)
{
    (void)state;
    small_windows(1ull << 48);
    run_world(&format_npt, STEPS, 500);
}

static void random_amdvi(void **state)
{
    (void)state;
    small_windows(1ull << 48);
    run_world(&format_amdvi, STEPS / 2, 500);
}

static void random_five_levels(void **state)
{
    struct npt_format format = format_ept;

    (void)state;
    format.levels = 5;
    format.max_leaf_level = 2;
    small_windows(1ull << 57);
    run_world(&format, STEPS / 10, 500);
}

static void random_small_leaves(void **state)
{
    struct npt_format format = format_npt;

    (void)state;
    format.levels = 3;
    format.max_leaf_level = 1;
    format.accessed = format.dirty = 0;
    add_window(0, HV_SIZE_2M);
    add_window(512 * HV_SIZE_1G - HV_SIZE_2M, 512 * HV_SIZE_1G);
    run_world(&format, STEPS / 10, 500);
}

static void random_huge_ept(void **state)
{
    (void)state;
    add_window(HV_SIZE_1G - HV_SIZE_2M, 3 * HV_SIZE_1G + HV_SIZE_2M);
    run_world(&format_ept, STEPS_HUGE, 25);
}

static void random_huge_npt(void **state)
{
    (void)state;
    add_window((1ull << 48) - 2 * HV_SIZE_1G - HV_SIZE_2M, 1ull << 48);
    run_world(&format_npt, STEPS_HUGE, 25);
}

#define WORLD_TEST(fn) cmocka_unit_test_setup_teardown(fn, unit_setup, world_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        WORLD_TEST(random_ept),         WORLD_TEST(random_npt),          WORLD_TEST(random_amdvi),
        WORLD_TEST(random_five_levels), WORLD_TEST(random_small_leaves), WORLD_TEST(random_huge_ept),
        WORLD_TEST(random_huge_npt),
    };

    return cmocka_run_group_tests_name("npt, random changes", tests, NULL, NULL);
}
