/* SPDX-License-Identifier: MIT */
/*
 * Overlays over a memory map that changes: random changes of both against a model that keeps one record for each page,
 * with memory that fails; and the pages that a VP's registers say the place of. SEED=n in the environment repeats or
 * varies a run.
 */
#include "npt_audit.h"
#include "random.h"
#include "stub_vp.h"
#include "virt/gpa.h"
#include "virt/overlay.h"
#include <stdio.h>

#define START      (2 * HV_SIZE_2M) /* of the window that is played in */
#define PAGES      1536u
#define STEPS      4000u
#define OVERLAYS   24u
#define READ_WRITE (NPT_READ | NPT_WRITE)
#define NO_PAGE    (~0ull)

static struct {
    struct page {
        hv_hpa_t pa; /* 0: not mapped */
        unsigned rights;
        bool tracked, dirty;
    } page[PAGES];
    struct overlay overlay[OVERLAYS];
    void *host_page[OVERLAYS];
    unsigned turn[OVERLAYS]; /* when it was placed; 0: it is not */
    unsigned turns;
} w;

static hv_gpa_t gpa_of(unsigned page)
{
    return START + page * HV_PAGE_SIZE;
}

static struct npt *npt(void)
{
    return &stub_partition.npt;
}

/* ------------------------------------------------------------------------------- the model */

/* The overlay that shows there; NULL: none. */
static struct overlay *model_shown(unsigned page)
{
    struct overlay *shown = NULL;
    unsigned latest = 0;

    for (unsigned i = 0; i < OVERLAYS; i++)
        if (w.turn[i] > latest && w.overlay[i].cover.gpa == gpa_of(page)) {
            latest = w.turn[i];
            shown = &w.overlay[i];
        }
    return shown;
}

static void check_page(unsigned page)
{
    const struct overlay *o = model_shown(page);
    const struct page *m = &w.page[page];
    struct npt_leaf leaf;
    bool is_there = npt_lookup(npt(), gpa_of(page), &leaf);

    if (o) {
        assert_int_equal(is_there, o->page != NULL);
        if (is_there) {
            assert_int_equal(leaf.pa, hv_host_virt_to_phys(o->page, NULL));
            assert_int_equal(leaf.rights, o->rights);
            assert_false(leaf.entry & npt()->format->tracked);
        }
        return;
    }
    assert_int_equal(is_there, m->pa != 0);
    if (!is_there)
        return;
    assert_int_equal(leaf.pa, m->pa);
    assert_int_equal(leaf.rights, m->rights);
    assert_int_equal((leaf.entry & npt()->format->tracked) != 0, m->tracked);
    assert_int_equal((leaf.entry & npt()->format->dirty) != 0, m->dirty);
}

static void check_all(void)
{
    struct npt_counts counts = npt_count(npt());
    uint64_t mapped = 0;

    for (unsigned i = 0; i < PAGES; i++) {
        check_page(i);
        mapped += w.page[i].pa != 0;
    }
    assert_int_equal(counts.pages[1] + 512 * counts.pages[2], mapped);
    assert_null(npt()->spare);
    assert_null(npt()->retired);
}

/* ------------------------------------------------------------------------------- the changes */

struct range {
    unsigned first, end;
};

static struct range random_range(void)
{
    unsigned first = (unsigned)rnd(PAGES), count = (unsigned)(rnd(4) ? rnd(8) + 1 : rnd(PAGES) + 1);

    if (!rnd(6)) { /* for large leaves */
        first &= ~511u;
        count = 512 * (1 + (unsigned)rnd(3));
    }
    return (struct range){first, HV_MIN(first + count, PAGES)};
}

static uint64_t bytes_of(struct range r)
{
    return (r.end - r.first) * HV_PAGE_SIZE;
}

static void expect_memory_or_ok(enum hv_status st)
{
    assert_int_equal(st, fake_has_failed() ? HV_E_NO_MEMORY : HV_OK);
}

static void step_map(void)
{
    static const unsigned kinds[] = {NPT_RIGHTS, READ_WRITE, NPT_READ, READ_WRITE | NPT_TRACK, NPT_RIGHTS | NPT_TRACK};
    unsigned kind = kinds[rnd(ARRAY_COUNT(kinds))];
    struct range r = random_range();
    uint64_t offset = r.first * HV_PAGE_SIZE + (rnd(3) ? 0 : HV_PAGE_SIZE); /* or not as large leaves want it */
    enum hv_status st = hv_partition_map(&stub_partition, stub_ram + offset, gpa_of(r.first), bytes_of(r), kind);

    expect_memory_or_ok(st);
    for (unsigned i = r.first; st == HV_OK && i < r.end; i++, offset += HV_PAGE_SIZE)
        w.page[i] = (struct page){STUB_RAM_PA + offset, kind & NPT_RIGHTS, kind & NPT_TRACK, false};
}

static bool is_mapped(struct range r)
{
    for (unsigned i = r.first; i < r.end; i++)
        if (w.page[i].pa)
            return true;
    return false;
}

static void step_unmap(void)
{
    struct range r = random_range();
    enum hv_status st = hv_partition_unmap(&stub_partition, gpa_of(r.first), bytes_of(r));

    if (is_mapped(r))
        expect_memory_or_ok(st);
    else
        assert_int_equal(st, HV_E_GPA_NOT_FOUND);
    for (unsigned i = r.first; st == HV_OK && i < r.end; i++)
        w.page[i] = (struct page){0};
}

static void step_query(void)
{
    static uint64_t bitmap[PAGES / 64];
    struct range r = random_range();
    bool is_tracked = true;

    for (unsigned i = r.first; i < r.end; i++)
        is_tracked &= w.page[i].tracked;
    assert_int_equal(hv_partition_query_dirty(&stub_partition, gpa_of(r.first), bytes_of(r), bitmap, sizeof(bitmap)),
                     is_tracked ? HV_OK : HV_E_GPA_NOT_FOUND);
    for (unsigned i = r.first; is_tracked && i < r.end; i++) {
        unsigned n = i - r.first;

        assert_int_equal(bitmap[n / 64] >> n % 64 & 1, w.page[i].dirty);
        w.page[i].dirty = false;
    }
}

/* By the owner of a VP, as by the guest. */
static void step_write(void)
{
    unsigned page = (unsigned)rnd(PAGES);
    const struct overlay *o = model_shown(page);
    struct page *m = &w.page[page];
    uint64_t value = rnd(~0ull);
    bool can_write = o ? o->page && o->rights & NPT_WRITE : m->pa && m->rights & NPT_WRITE;

    assert_int_equal(gpa_write(&stub_vp, gpa_of(page) + 16, &value, 8), can_write ? HV_OK : HV_E_ACCESS_DENIED);
    if (!can_write)
        return;
    assert_memory_equal(o ? (char *)o->page + 16 : (char *)hv_host_phys_to_virt(m->pa) + 16, &value, 8);
    if (!o)
        m->dirty |= m->tracked;
}

static void step_place(void)
{
    static const unsigned rights[] = {READ_WRITE, NPT_READ, NPT_READ | NPT_EXECUTE, NPT_RIGHTS};
    unsigned n = (unsigned)rnd(OVERLAYS), page = (unsigned)(rnd(3) ? rnd(4) : rnd(PAGES));
    unsigned right = rights[rnd(ARRAY_COUNT(rights))];
    struct overlay before = w.overlay[n];
    enum hv_status st;

    hv_mutex_lock(&stub_partition.mutex);
    st = overlay_place(&stub_partition, &w.overlay[n], gpa_of(page), n % 3 ? w.host_page[n] : NULL, right);
    hv_mutex_unlock(&stub_partition.mutex);
    expect_memory_or_ok(st);
    if (st == HV_OK)
        w.turn[n] = ++w.turns;
    else
        assert_memory_equal(&before, &w.overlay[n], sizeof(before));
}

static void remove_overlay(unsigned n)
{
    hv_mutex_lock(&stub_partition.mutex);
    overlay_remove(&stub_partition, &w.overlay[n]);
    hv_mutex_unlock(&stub_partition.mutex);
    assert_false(w.overlay[n].is_placed);
    w.turn[n] = 0;
}

static void step_remove(void)
{
    remove_overlay((unsigned)rnd(OVERLAYS));
    assert_false(fake_has_failed()); /* it asks for none */
}

static void remove_all(void)
{
    for (unsigned i = 0; i < OVERLAYS; i++)
        remove_overlay(i);
    check_all();
    audit_npt(npt());
    assert_null(npt()->next_cover);
}

static void (*const steps[])(void) = {step_map,   step_map,   step_unmap, step_query, step_write,
                                      step_write, step_place, step_place, step_place, step_remove};

static void model_start(void)
{
    memset(&w, 0, sizeof(w));
    random_start();
    for (unsigned i = 0; i < OVERLAYS; i++)
        w.host_page[i] = hv_host_page_alloc();
    for (unsigned i = 0; i < PAGES; i++)
        w.page[i] = (struct page){STUB_RAM_PA + gpa_of(i), NPT_RIGHTS, false, false};
    /* the stub's map of all RAM, but for the window, goes */
    assert_int_equal(hv_partition_unmap(&stub_partition, 0, START), HV_OK);
    assert_int_equal(hv_partition_unmap(&stub_partition, gpa_of(PAGES), STUB_RAM_SIZE - gpa_of(PAGES)), HV_OK);
}

static void model_end(void)
{
    remove_all();
    for (unsigned i = 0; i < OVERLAYS; i++)
        hv_host_page_free(w.host_page[i]);
}

static void random_changes(void **state)
{
    (void)state;
    model_start();
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned step = (unsigned)rnd(ARRAY_COUNT(steps));

        fake_fail_after(rnd(5) ? 0 : 1 + rnd(4));
        steps[step]();
        fake_fail_after(0);
        check_all();
        if (!rnd(500))
            remove_all();
    }
    model_end();
}

/* ------------------------------------------------------------------------------- by hand */

static enum hv_status place(struct overlay *o, hv_gpa_t gpa, void *page)
{
    enum hv_status st;

    hv_mutex_lock(&stub_partition.mutex);
    st = overlay_place(&stub_partition, o, gpa, page, READ_WRITE);
    hv_mutex_unlock(&stub_partition.mutex);
    return st;
}

static void take_away(struct overlay *o)
{
    hv_mutex_lock(&stub_partition.mutex);
    overlay_remove(&stub_partition, o);
    hv_mutex_unlock(&stub_partition.mutex);
}

static uint64_t host_address(hv_gpa_t gpa)
{
    struct npt_leaf leaf;

    return npt_lookup(npt(), gpa, &leaf) ? leaf.pa : NO_PAGE;
}

static void where_none_can_be(void **state)
{
    void *page = hv_host_page_alloc();
    struct overlay o = {0};

    (void)state;
    assert_int_equal(place(&o, BIT64(46), page), HV_E_INVALID);
    assert_int_equal(place(&o, ~HV_PAGE_MASK, page), HV_E_INVALID);
    stub_partition.properties.local_apic_mode = HV_LOCAL_APIC_XAPIC;
    assert_int_equal(place(&o, APIC_DEFAULT_BASE, page), HV_E_INVALID);
    assert_int_equal(place(&o, APIC_DEFAULT_BASE + HV_PAGE_SIZE, page), HV_OK);
    take_away(&o);
    assert_false(o.is_placed);
    take_away(&o); /* once more is nothing */
    hv_host_page_free(page);
}

/* Tables for a place where nothing was are gone with the overlay. */
static void nothing_is_left(void **state)
{
    uint64_t tables = npt()->tables;
    struct overlay o = {0}, other = {0};

    (void)state;
    assert_int_equal(place(&o, 1ull << 40, NULL), HV_OK);
    assert_true(npt()->tables > tables);
    assert_int_equal(place(&other, (1ull << 40) + HV_PAGE_SIZE, NULL), HV_OK);
    assert_int_equal(place(&o, (1ull << 40) + 2 * HV_PAGE_SIZE, NULL), HV_OK); /* in the same empty table */
    take_away(&o);
    /* what is mapped behind a hole and unmapped again does not take its tables away */
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram, 1ull << 40, 4 * HV_PAGE_SIZE, NPT_READ), HV_OK);
    assert_int_equal(hv_partition_unmap(&stub_partition, 1ull << 40, 4 * HV_PAGE_SIZE), HV_OK);
    assert_int_equal(hv_partition_unmap(&stub_partition, 1ull << 40, 4 * HV_PAGE_SIZE), HV_E_GPA_NOT_FOUND);
    take_away(&other);
    assert_int_equal(npt()->tables, tables);
    assert_int_equal(audit_npt(npt()).counts.tables, tables);
}

/* A write that its writer tells of only after the page was hidden. */
static void a_late_mark_is_not_lost(void **state)
{
    uint64_t bitmap[1] = {0}, flags;
    struct npt_leaf leaf;
    struct overlay o = {0};

    (void)state;
    assert_int_equal(hv_partition_map(&stub_partition, stub_ram, 0, HV_PAGE_SIZE, READ_WRITE | NPT_TRACK), HV_OK);
    flags = vp_walk_begin(&stub_vp);
    assert_non_null(gpa_reach(&stub_vp, 8, NPT_WRITE, &leaf));
    vp_walk_end(&stub_vp, flags);
    assert_int_equal(npt()->missed_marks, 0);
    hv_mutex_lock(&stub_partition.mutex);
    stub_late_mark = &leaf;
    assert_int_equal(overlay_place(&stub_partition, &o, 0, NULL, 0), HV_OK);
    hv_mutex_unlock(&stub_partition.mutex);
    assert_int_equal(hv_partition_query_dirty(&stub_partition, 0, HV_PAGE_SIZE, bitmap, 8), HV_OK);
    assert_int_equal(bitmap[0], 1);
    take_away(&o);
}

/* ------------------------------------------------------------------------ by the VP's registers */

static void registers_place_pages(void **state)
{
    (void)state;
    stub_vp.synic.messages = hv_host_page_alloc();
    stub_vp.synic.flags = hv_host_page_alloc();
    stub_vp.synic.simp = 0x5000 | HV_PAGE_ENABLE;
    stub_vp.synic.siefp = 0x6000;                 /* not enabled */
    stub_vp.assist_msr = 0x7000 | HV_PAGE_ENABLE; /* not offered */
    stub_vp.overlays_stale = true;
    overlay_apply(&stub_vp);
    assert_false(stub_vp.overlays_stale);
    assert_int_equal(host_address(0x5000), hv_host_virt_to_phys(stub_vp.synic.messages, NULL));
    assert_int_equal(host_address(0x6000), STUB_RAM_PA + 0x6000);
    assert_int_equal(host_address(0x7000), STUB_RAM_PA + 0x7000);

    stub_vp.synic.simp = 0x8000 | HV_PAGE_ENABLE;
    stub_vp.synic.siefp = 0x8000 | HV_PAGE_ENABLE;
    overlay_apply(&stub_vp);
    assert_int_equal(host_address(0x5000), STUB_RAM_PA + 0x5000);
    assert_int_equal(host_address(0x8000), hv_host_virt_to_phys((void *)stub_vp.synic.flags, NULL));
    stub_vp.synic.siefp = BIT64(50) | HV_PAGE_ENABLE; /* nowhere */
    overlay_apply(&stub_vp);
    assert_int_equal(host_address(0x8000), hv_host_virt_to_phys(stub_vp.synic.messages, NULL));
    assert_int_equal(fake_log_count(HV_LOG_WARNING), 0);

    stub_vp.synic.simp = 1ull << 40 | HV_PAGE_ENABLE;
    fake_fail_after(1);
    overlay_apply(&stub_vp);
    assert_int_equal(host_address(0x8000), STUB_RAM_PA + 0x8000);
    assert_int_equal(host_address(1ull << 40), NO_PAGE);
    assert_int_equal(fake_log_count(HV_LOG_WARNING), 1);
    overlay_apply(&stub_vp); /* and now there is memory */
    assert_int_equal(host_address(1ull << 40), hv_host_virt_to_phys(stub_vp.synic.messages, NULL));

    hv_mutex_lock(&stub_partition.mutex);
    overlay_drop_vp(&stub_vp);
    hv_mutex_unlock(&stub_partition.mutex);
    assert_null(stub_partition.overlays);
    hv_host_page_free(stub_vp.synic.messages);
    hv_host_page_free((void *)stub_vp.synic.flags);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STUB_TEST(random_changes),          STUB_TEST(where_none_can_be),     STUB_TEST(nothing_is_left),
        STUB_TEST(a_late_mark_is_not_lost), STUB_TEST(registers_place_pages),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
