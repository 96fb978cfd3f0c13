/* SPDX-License-Identifier: MIT */
/*
 * Second-level page tables.
 *
 * One recursive walk over the entries that a range touches serves map, unmap, protect and questions. It runs twice: a
 * dry run that checks and counts the table pages to come, then the change itself. Both take the same decisions in the
 * same functions, so the count is exact. What a change does alike to neighbouring entries it does in one go.
 *
 * No table but the root is ever empty, unless there are covered pages in it: an unmap retires what it empties. For a
 * covered page the tables go down to level 1, where the walk takes the hidden leaf for the entry.
 */
#include <arch/npt.h>
#include <hv/base/assert.h>
#include <hv/base/bits.h>
#include <hv/host.h>

#define ENTRIES    512u
#define LEVEL_BITS 9

/*
 * A CPU may still be walking a retired table, so its entries have to stay as they are. The chain of retired pages is
 * kept in bits that hardware ignores. In an entry that is not present these are all of them: if the first one is not,
 * it holds the next page's address. Else it is a few bits in each of the first entries; bits 56..52 are such bits in
 * the entries of most formats (SDM 3 29.3.2, APM 2 5.3, VT-d 9.8).
 */
#define LINK_BITS  BITS64(56, 52)
#define LINK_TOTAL (64u - HV_PAGE_SHIFT)

/* An entry, and the part [gpa, end) of a change that falls into it. */
struct slot {
    uint64_t *p; /* NULL in a dry run, inside a table that does not exist yet */
    uint64_t entry;
    unsigned level;
    uint64_t size; /* what a leaf in it maps */
    hv_gpa_t gpa, end;
};

/* Entries of one table that a change concerns as a whole, none of them with a covered page or a gate of its own. */
struct stretch {
    uint64_t *p;    /* the first one; NULL in a dry run, inside a table that does not exist yet */
    uint64_t above; /* then each of them is taken to be this */
    unsigned level, count;
    uint64_t size; /* of one */
    hv_gpa_t gpa;
};

/* One change to a range, in either of its two passes. */
struct change {
    struct npt *npt;
    hv_gpa_t start, end;
    void (*visit)(struct change *c, const struct slot *s);
    /* NULL: each slot by itself. Else returns how many of the first ones it has seen to; 0: visit the next one. */
    unsigned (*pave)(struct change *c, const struct stretch *l);
    uint64_t rights; /* as entry bits; of a map, with `tracked` */
    unsigned max_leaf_level;
    bool dry;
    bool prunes;     /* takes away tables that it has emptied */
    bool found;      /* dry run: there is something in the range to change */
    bool bad_page;   /* dry run: the source yielded an address that no entry can hold */
    uint64_t needed; /* dry run: table pages that the change takes */

    /* map: the run of contiguous pages [run, run_end) that begins at run_pa, and what the source has behind it */
    npt_source_fn *source;
    void *arg;
    hv_gpa_t run, run_end;
    hv_hpa_t run_pa, next_pa;
    uint64_t next_size;

    /* take_dirty */
    bool untracked; /* dry run: there are pages whose writes nobody watches */
    uint64_t *bitmap;
    uint64_t dirty_pages;

    struct npt_cover *cover; /* the first one that the walk has not passed */

    npt_leaf_fn *each;

    /* cover, uncover: they concern what shows */
    bool is_shown;
    uint64_t new, old;
};

/* ------------------------------------------------------------------------------ entries */

static unsigned level_shift(unsigned level)
{
    return HV_PAGE_SHIFT + LEVEL_BITS * (level - 1);
}

static uint64_t level_size(unsigned level)
{
    return 1ull << level_shift(level);
}

static unsigned level_index(hv_gpa_t gpa, unsigned level)
{
    return gpa >> level_shift(level) & (ENTRIES - 1);
}

static uint64_t entry_read(const uint64_t *p)
{
    return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static void written(const struct npt *npt, const volatile void *p, size_t size)
{
    if (npt->format->written)
        npt->format->written(p, size);
}

static void entry_write(const struct npt *npt, uint64_t *p, uint64_t entry)
{
    __atomic_store_n(p, entry, __ATOMIC_RELEASE);
    written(npt, p, sizeof(*p));
}

static bool is_present(const struct npt *npt, uint64_t entry)
{
    return (entry & npt->format->present) != 0;
}

static bool is_table(const struct npt *npt, uint64_t entry, unsigned level)
{
    const struct npt_format *f = npt->format;

    return level > 1 && is_present(npt, entry) && !(entry & f->large) && (f->large || entry & f->next_level);
}

static uint64_t *table_of(const struct npt *npt, uint64_t entry)
{
    return hv_host_phys_to_virt(entry & npt->format->address);
}

/* Of that level. */
static uint64_t table_entry(const struct npt *npt, const uint64_t *table, unsigned level)
{
    const struct npt_format *f = npt->format;

    return hv_host_virt_to_phys(table, NULL) | f->table | (f->next_level ? FIELD_PUT(f->next_level, level) : 0);
}

#define STEP 64u /* entries that are looked at at once */

/* All bits of some entries; with or without what the CPU is setting just now. */
static uint64_t any_of_step(const uint64_t p[STEP])
{
    uint64_t any = 0;

#pragma clang loop unroll(full)
    for (unsigned i = 0; i < STEP; i++)
        any |= p[i];
    return any;
}

static uint64_t any_of(const uint64_t *p, unsigned count)
{
    uint64_t any = 0;

    if (count == STEP)
        return any_of_step(p);
    for (unsigned i = 0; i < count; i++)
        any |= p[i];
    return any;
}

/* The bits that all of them have. */
static uint64_t all_of(const uint64_t *p, unsigned count)
{
    uint64_t all = ~0ull;

#pragma clang loop unroll_count(16)
    for (unsigned i = 0; i < count; i++)
        all &= p[i];
    return all;
}

static bool has_present(const struct npt *npt, const uint64_t *p, unsigned count)
{
    uint64_t present = npt->format->present;

    for (; count >= STEP; p += STEP, count -= STEP)
        if (any_of_step(p) & present)
            return true;
    return any_of(p, count) & present;
}

/* ------------------------------------------------------------------------- pages of tables */

static void spare_free(struct npt *npt)
{
    while (npt->spare) {
        uint64_t *page = npt->spare;

        npt->spare = (void *)(uintptr_t)page[0];
        hv_host_page_free(page);
    }
    npt->reserved = 0;
}

/* Besides those that are reserved. */
static enum hv_status spare_fill(struct npt *npt, uint64_t count)
{
    for (count -= HV_MIN(count, npt->reserved); count; count--) {
        uint64_t *page = hv_host_page_alloc();

        if (!page) {
            spare_free(npt);
            return HV_E_NO_MEMORY;
        }
        page[0] = (uintptr_t)npt->spare;
        npt->spare = page;
    }
    return HV_OK;
}

static uint64_t *spare_take(struct npt *npt)
{
    uint64_t *page = npt->spare;

    HV_ASSERT(page != NULL);
    npt->spare = (void *)(uintptr_t)page[0];
    page[0] = 0;
    written(npt, page, HV_PAGE_SIZE);
    npt->tables++;
    return page;
}

static uint64_t link_bits(const struct npt_format *f)
{
    return f->link ? f->link : LINK_BITS;
}

static unsigned link_width(uint64_t bits)
{
    return 64 - (unsigned)__builtin_clzll(bits) - (unsigned)__builtin_ctzll(bits);
}

/* The CPU may be setting accessed and dirty bits in these entries, hence the locked OR. */
static void scatter_link(const struct npt *npt, uint64_t *table, uint64_t link)
{
    uint64_t bits = link_bits(npt->format);

    for (unsigned i = 0, width = link_width(bits); i * width < LINK_TOTAL; i++) {
        __atomic_fetch_or(&table[i], FIELD_PUT(bits, link), __ATOMIC_RELAXED);
        link >>= width;
    }
}

static uint64_t gather_link(const struct npt *npt, const uint64_t *table)
{
    uint64_t link = 0, bits = link_bits(npt->format);
    unsigned width = link_width(bits);

    for (unsigned i = (LINK_TOTAL + width - 1) / width; i-- > 0;)
        link = link << width | FIELD_GET(bits, entry_read(&table[i]));
    return link;
}

static void retired_push(struct npt *npt, uint64_t *table)
{
    if (is_present(npt, entry_read(table)))
        scatter_link(npt, table, (uintptr_t)npt->retired / HV_PAGE_SIZE);
    else
        __atomic_store_n(table, (uintptr_t)npt->retired, __ATOMIC_RELAXED);
    npt->retired = table;
}

/* Who was late to change the gate may have left its bit in the first entry. */
static uint64_t *retired_pop(struct npt *npt)
{
    uint64_t *table = npt->retired, first = entry_read(table);

    if (is_present(npt, first))
        npt->retired = (void *)(uintptr_t)(gather_link(npt, table) * HV_PAGE_SIZE);
    else
        npt->retired = (void *)(uintptr_t)ALIGN_DOWN(first, HV_PAGE_SIZE);
    return table;
}

/* Retires a table that no entry points to any more. */
static void retire_one(struct npt *npt, uint64_t *table)
{
    npt->tables--;
    retired_push(npt, table);
}

static void retire(struct npt *npt, uint64_t *table, unsigned level);

static void retire_below(struct npt *npt, const uint64_t entries[STEP], unsigned level)
{
    if (!is_present(npt, any_of_step(entries)))
        return;
    for (unsigned i = 0; i < STEP; i++) {
        uint64_t entry = entry_read(&entries[i]);

        if (is_table(npt, entry, level))
            retire(npt, table_of(npt, entry), level - 1);
    }
}

/* The same, and all tables below it. */
static void retire(struct npt *npt, uint64_t *table, unsigned level)
{
    for (unsigned i = 0; level > 1 && i < ENTRIES; i += STEP)
        retire_below(npt, &table[i], level);
    retire_one(npt, table);
}

/* -------------------------------------------------------------------------- covered pages */

static struct npt_cover *next_cover(const struct npt *npt, hv_gpa_t gpa)
{
    return npt->next_cover ? npt->next_cover(npt->cover_arg, gpa) : NULL;
}

/* Is one of the pages of a slot covered? Slots come in order. */
static bool is_covered(const struct change *c, const struct slot *s)
{
    return c->cover && c->cover->gpa < s->end;
}

/* ------------------------------------------------------------------- what a change does to a slot */

static bool is_whole(const struct slot *s)
{
    return s->end - s->gpa == s->size;
}

/* The leaf of a page that somebody holds stays shut. */
static void write_gated(struct npt *npt, uint64_t *p, uint64_t entry)
{
    uint64_t flags = hv_spin_lock(&npt->gate_lock);

    entry_write(npt, p, npt->gate_holders ? entry & ~npt->format->gate : entry);
    hv_spin_unlock(&npt->gate_lock, flags);
}

/* Puts a leaf, or 0, in the place of what is there. */
static void slot_replace(struct change *c, const struct slot *s, uint64_t entry)
{
    struct npt *npt = c->npt;

    if (c->dry)
        return;
    if (npt->format->gate && s->level == 1 && s->gpa == npt->format->gated)
        write_gated(npt, s->p, entry);
    else
        entry_write(npt, s->p, entry);
    if (is_table(npt, s->entry, s->level))
        retire(npt, table_of(npt, s->entry), s->level - 1);
}

/* Exchanges the rights in a leaf. The CPU may be setting its accessed and dirty bits. */
static void slot_protect(struct change *c, const struct slot *s)
{
    uint64_t old = s->entry, entry;

    if (c->dry)
        return;
    do
        entry = (old & ~c->npt->format->rights_mask) | c->rights;
    while (!__atomic_compare_exchange_n(s->p, &old, entry, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    written(c->npt, s->p, sizeof(*s->p));
}

/* Fills a table with the leaves that together are the large leaf `entry`. */
static void fill_split(const struct npt *npt, uint64_t *table, uint64_t entry, unsigned level)
{
    const struct npt_format *f = npt->format;
    uint64_t size = level_size(level - 1);
    uint64_t pa = ALIGN_DOWN(entry & f->address, level_size(level));
    uint64_t bits = entry & ~(f->address | f->large);

    if (level - 1 > 1)
        bits |= f->large;
    for (unsigned i = 0; i < ENTRIES; i++)
        table[i] = (pa + i * size) | bits;
}

/* Replaces a large leaf by a table of smaller ones; again when the CPU has just set an accessed or dirty bit in it. */
static uint64_t *slot_split(struct change *c, const struct slot *s)
{
    struct npt *npt = c->npt;
    uint64_t *table = spare_take(npt);
    uint64_t entry = table_entry(npt, table, s->level - 1), old = s->entry;

    do {
        fill_split(npt, table, old, s->level);
        written(npt, table, HV_PAGE_SIZE);
    } while (!__atomic_compare_exchange_n(s->p, &old, entry, false, __ATOMIC_RELEASE, __ATOMIC_RELAXED));
    written(npt, s->p, sizeof(*s->p));
    return table;
}

/* A new table below a slot that has a leaf or nothing. NULL in a dry run. */
static __attribute__((noinline)) uint64_t *slot_grow(struct change *c, const struct slot *s)
{
    uint64_t *table;

    if (c->dry) {
        c->needed++;
        return NULL;
    }
    if (is_present(c->npt, s->entry))
        return slot_split(c, s);
    table = spare_take(c->npt);
    entry_write(c->npt, s->p, table_entry(c->npt, table, s->level - 1));
    return table;
}

/* ------------------------------------------------------------------------------- the walk */

/* Brings c->cover up to gpa. */
static void cover_advance(struct change *c, hv_gpa_t gpa)
{
    if (c->cover && c->cover->gpa < gpa)
        c->cover = next_cover(c->npt, gpa);
}

/* Where, from gpa on, the entries of one table end that nobody covers and that have no gate. */
static hv_gpa_t plain_end(struct change *c, unsigned level, uint64_t size, hv_gpa_t gpa, hv_gpa_t end)
{
    const struct npt_format *f = c->npt->format;

    cover_advance(c, gpa);
    if (c->cover && c->cover->gpa < end)
        end = ALIGN_DOWN(c->cover->gpa, size);
    if (f->gate && level == 1 && gpa <= f->gated && f->gated < end)
        end = f->gated;
    return end;
}

/* Returns how many slots from gpa on are done; there is a whole one at least. */
static unsigned pave(struct change *c, uint64_t *p, uint64_t above, unsigned level, hv_gpa_t gpa, hv_gpa_t end)
{
    struct stretch t = {.p = p, .above = above, .level = level, .size = level_size(level), .gpa = gpa};

    end = plain_end(c, level, t.size, gpa, end);
    if (end <= gpa)
        return 0;
    t.count = (unsigned)((end - gpa) >> level_shift(level));
    return t.count ? c->pave(c, &t) : 0;
}

static void visit(struct change *c, uint64_t *p, uint64_t above, unsigned level, hv_gpa_t gpa, hv_gpa_t end)
{
    struct slot s = {p, above, level, level_size(level), gpa, end};

    cover_advance(c, gpa);
    if (level == 1 && is_covered(c, &s))
        s.p = &c->cover->hidden;
    if (s.p)
        s.entry = entry_read(s.p);
    c->visit(c, &s);
}

/*
 * Visits the entries of one table that [gpa, end) touches. A table that a dry run has to imagine is NULL, and each of
 * its entries is taken to be what `above` is: nothing, or a leaf.
 */
static void walk(struct change *c, uint64_t *table, uint64_t above, unsigned level, hv_gpa_t gpa, hv_gpa_t end)
{
    uint64_t *p = table ? &table[level_index(gpa, level)] : NULL, size = level_size(level);
    unsigned n;

    for (; gpa < end; gpa = ALIGN_DOWN(gpa, size) + n * size) {
        n = 0;
        if (c->pave && IS_ALIGNED(gpa, size) && end - gpa >= size)
            n = pave(c, p, above, level, gpa, end);
        if (!n) {
            visit(c, p, above, level, gpa, HV_MIN(end, ALIGN_DOWN(gpa, size) + size));
            n = 1;
        }
        if (p)
            p += n;
    }
}

static void descend(struct change *c, const struct slot *s)
{
    uint64_t *table = is_table(c->npt, s->entry, s->level) ? table_of(c->npt, s->entry) : slot_grow(c, s);

    walk(c, table, s->entry, s->level - 1, s->gpa, s->end);
}

/*
 * Past the tables that the range only leads through: nothing happens to their entries, but that an unmap may leave them
 * without a use.
 */
static void pass(struct change *c, bool dry)
{
    unsigned level = c->npt->format->levels;
    uint64_t *table = c->npt->root, entry;

    c->dry = dry;
    c->cover = c->is_shown ? NULL : next_cover(c->npt, c->start);
    for (; dry || !c->prunes; table = table_of(c->npt, entry), level--) {
        entry = entry_read(&table[level_index(c->start, level)]);
        if (!is_table(c->npt, entry, level) || c->end - c->start >= level_size(level) ||
            (c->start ^ (c->end - 1)) >> level_shift(level))
            break;
    }
    walk(c, table, 0, level, c->start, c->end);
}

/* ------------------------------------------------------------------------------------ map */

/* What the source has at gpa, and how far it goes on from there: whole pages, not beyond the range. */
static void next_run(struct change *c, hv_gpa_t gpa)
{
    uint64_t left = c->end - gpa, size = left, address = c->npt->format->address;
    hv_hpa_t pa = c->source(c->arg, gpa - c->start, &size);

    size = HV_MIN(ALIGN_DOWN(HV_MAX(size, HV_PAGE_SIZE), HV_PAGE_SIZE), left);
    /* the last page of the run has to be one that entries can hold */
    c->next_pa = (pa | (pa + (size - HV_PAGE_SIZE))) & ~address ? HV_HPA_NONE : pa;
    c->next_size = size;
}

static void run_reset(struct change *c)
{
    c->run_end = c->start;
    next_run(c, c->start);
}

static __attribute__((noinline)) void run_next(struct change *c)
{
    c->run = c->run_end;
    c->run_pa = c->next_pa;
    if (c->run_pa == HV_HPA_NONE)
        c->bad_page = true;
    do {
        c->run_end += c->next_size;
        c->next_pa = HV_HPA_NONE;
        if (c->run_end < c->end)
            next_run(c, c->run_end);
    } while (c->next_pa != HV_HPA_NONE && c->next_pa == c->run_pa + (c->run_end - c->run));
}

/* Goes on to the run in which gpa lies. Runs come in order, so the source is asked for each of them once. */
static void run_advance(struct change *c, hv_gpa_t gpa)
{
    while (gpa >= c->run_end && !c->bad_page)
        run_next(c);
}

/* Could a leaf of this size map the run's page at gpa? */
static bool fits(const struct change *c, unsigned level, uint64_t size, hv_gpa_t gpa)
{
    return level <= c->max_leaf_level && size <= c->run_end - gpa && IS_ALIGNED(c->run_pa + (gpa - c->run), size);
}

static uint64_t run_leaf(const struct change *c, unsigned level, hv_gpa_t gpa)
{
    const struct npt_format *f = c->npt->format;

    return (c->run_pa + (gpa - c->run)) | c->rights | f->leaf | (level > 1 ? f->large : 0);
}

static void map_visit(struct change *c, const struct slot *s)
{
    run_advance(c, s->gpa);
    if (c->bad_page)
        return;
    if (is_whole(s) && fits(c, s->level, s->size, s->gpa) && (s->level == 1 || !is_covered(c, s)))
        slot_replace(c, s, run_leaf(c, s->level, s->gpa));
    else
        descend(c, s);
}

static void put_pages(uint64_t *p, uint64_t first, unsigned count)
{
#pragma clang loop unroll_count(8)
    for (unsigned i = 0; i < count; i++)
        __atomic_store_n(&p[i], first + i * HV_PAGE_SIZE, __ATOMIC_RELEASE);
}

/* Puts `entry`, the next one larger by `step`, and so on, in the place of what is there. */
static void put_large(struct npt *npt, const struct stretch *t, unsigned count, uint64_t entry, uint64_t step)
{
    for (unsigned i = 0; i < count; i++, entry += step) {
        uint64_t old = entry_read(&t->p[i]);

        entry_write(npt, &t->p[i], entry);
        if (is_table(npt, old, t->level))
            retire(npt, table_of(npt, old), t->level - 1);
    }
}

static unsigned map_pave(struct change *c, const struct stretch *t)
{
    unsigned n;

    run_advance(c, t->gpa);
    if (c->bad_page)
        return t->count;
    if (!fits(c, t->level, t->size, t->gpa))
        return 0;
    n = (unsigned)HV_MIN(t->count, (c->run_end - t->gpa) >> level_shift(t->level));
    if (c->dry)
        return n;
    if (t->level > 1) {
        put_large(c->npt, t, n, run_leaf(c, t->level, t->gpa), t->size);
    } else {
        put_pages(t->p, run_leaf(c, 1, t->gpa), n);
        written(c->npt, t->p, n * sizeof(*t->p));
    }
    return n;
}

/* --------------------------------------------------------------------------------- unmap */

static bool has_covers(const struct npt *npt, const struct slot *s)
{
    hv_gpa_t start = ALIGN_DOWN(s->gpa, s->size);
    const struct npt_cover *first = next_cover(npt, start);

    return first && first->gpa - start < s->size;
}

/* Retires the table below a slot if nothing is left in it. */
static void prune(struct change *c, const struct slot *s)
{
    uint64_t *table;

    if (c->dry)
        return;
    table = table_of(c->npt, s->entry);
    if (has_present(c->npt, table, ENTRIES) || has_covers(c->npt, s))
        return;
    entry_write(c->npt, s->p, 0);
    retire_one(c->npt, table);
}

static void unmap_visit(struct change *c, const struct slot *s)
{
    if (!is_present(c->npt, s->entry))
        return;
    if (is_whole(s) && (s->level == 1 || !is_covered(c, s))) {
        c->found = true;
        slot_replace(c, s, 0);
    } else if (is_table(c->npt, s->entry, s->level)) {
        descend(c, s);
        prune(c, s);
    } else {
        descend(c, s);
    }
}

static bool finds(const struct change *c, const struct stretch *t)
{
    return t->p ? has_present(c->npt, t->p, t->count) : is_present(c->npt, t->above);
}

static void clear_pages(uint64_t *p, unsigned count)
{
#pragma clang loop unroll_count(8)
    for (unsigned i = 0; i < count; i++)
        __atomic_store_n(&p[i], 0, __ATOMIC_RELEASE);
}

static unsigned unmap_pave(struct change *c, const struct stretch *t)
{
    if (c->dry) {
        c->found = c->found || finds(c, t);
    } else if (t->level > 1) {
        put_large(c->npt, t, t->count, 0, 0);
    } else {
        clear_pages(t->p, t->count);
        written(c->npt, t->p, t->count * sizeof(*t->p));
    }
    return t->count;
}

/* -------------------------------------------------------------------------------- protect */

static void protect_visit(struct change *c, const struct slot *s)
{
    bool table = is_table(c->npt, s->entry, s->level);

    if (!is_present(c->npt, s->entry))
        return;
    if (is_whole(s) || !table)
        c->found = true;
    if (table ? c->dry && is_whole(s) : (s->entry & c->npt->format->rights_mask) == c->rights)
        return; /* no leaf to split below here, or none to change */
    if (is_whole(s) && !table)
        slot_protect(c, s);
    else
        descend(c, s);
}

/* -------------------------------------------------------------------------- cover, uncover */

static void show(struct change *c, const struct slot *s)
{
    if (c->dry)
        return;
    /* the CPU may be setting its accessed and dirty bits */
    c->old = __atomic_exchange_n(s->p, c->new, __ATOMIC_ACQ_REL);
    written(c->npt, s->p, sizeof(*s->p));
}

static void cover_visit(struct change *c, const struct slot *s)
{
    if (s->level > 1)
        descend(c, s);
    else
        show(c, s);
}

static void uncover_visit(struct change *c, const struct slot *s)
{
    if (s->level > 1) {
        descend(c, s);
        prune(c, s);
    } else {
        show(c, s);
    }
}

/* ------------------------------------------------------------------------------ dirty pages */

static void take_dirty(struct change *c, uint64_t *p, hv_gpa_t gpa)
{
    uint64_t page = (gpa - c->start) / HV_PAGE_SIZE;

    if (!(entry_read(p) & c->npt->format->dirty))
        return;
    __atomic_fetch_and(p, ~c->npt->format->dirty, __ATOMIC_SEQ_CST); /* the CPU may be setting it again */
    c->dirty_pages++;
    if (c->bitmap)
        c->bitmap[page / 64] |= BIT64(page % 64);
}

static void dirty_visit(struct change *c, const struct slot *s)
{
    if (is_table(c->npt, s->entry, s->level) && !c->untracked)
        descend(c, s);
    else if (!c->dry)
        take_dirty(c, s->p, s->gpa);
    else if (!is_present(c->npt, s->entry) || !(s->entry & c->npt->format->tracked))
        c->untracked = true;
}

static void take_all_dirty(struct change *c, const struct stretch *t)
{
    unsigned n;

    for (unsigned i = 0; i < t->count; i += n) {
        n = HV_MIN(t->count - i, STEP);
        if (!(any_of(&t->p[i], n) & c->npt->format->dirty))
            continue;
        for (unsigned k = i; k < i + n; k++)
            take_dirty(c, &t->p[k], t->gpa + k * HV_PAGE_SIZE);
    }
}

/* Only leaves have the mark that they are tracked. */
static unsigned dirty_pave(struct change *c, const struct stretch *t)
{
    if (t->level > 1 || !t->p)
        return 0;
    if (c->dry)
        c->untracked = c->untracked || !(all_of(t->p, t->count) & c->npt->format->tracked);
    else
        take_all_dirty(c, t);
    return t->count;
}

/* ------------------------------------------------------------------------------- counting */

static void count_visit(struct change *c, const struct slot *s)
{
    struct npt_counts *counts = c->arg;

    if (is_table(c->npt, s->entry, s->level))
        descend(c, s);
    else if (is_present(c->npt, s->entry))
        counts->pages[s->level]++;
}

static unsigned count_pave(struct change *c, const struct stretch *t)
{
    struct npt_counts *counts = c->arg;

    if (t->level > 1)
        return 0;
    for (unsigned i = 0; i < t->count; i++)
        counts->pages[1] += is_present(c->npt, entry_read(&t->p[i]));
    return t->count;
}

/* ------------------------------------------------------------------------------- contract */

static bool is_range(const struct npt *npt, hv_gpa_t gpa, uint64_t size)
{
    hv_gpa_t limit = npt_limit(npt);

    return size && IS_ALIGNED(gpa | size, HV_PAGE_SIZE) && gpa < limit && size <= limit - gpa;
}

static bool is_expressible(const struct npt *npt, unsigned rights)
{
    return rights <= NPT_RIGHTS && npt->format->rights[rights];
}

static bool can_track(const struct npt *npt)
{
    return npt->format->dirty && npt->format->tracked;
}

/* Takes the pages that the dry run asks for, then makes the change. */
static enum hv_status change_commit(struct change *c)
{
    enum hv_status st = spare_fill(c->npt, c->needed);

    if (st != HV_OK)
        return st;
    if (c->source)
        run_reset(c);
    pass(c, false);
    HV_ASSERT(!c->bad_page); /* the source has said the same twice */
    spare_free(c->npt);
    return HV_OK;
}

enum hv_status npt_init(struct npt *npt, const struct npt_format *format)
{
    HV_ASSERT(!(format->present & ~HV_PAGE_MASK));
    HV_ASSERT(!(
        (format->address | format->table | format->leaf | format->rights_mask | format->tracked | format->next_level) &
        link_bits(format)));
    *npt = (struct npt){.format = format, .root = hv_host_page_alloc(), .root_pa = HV_HPA_NONE};
    if (!npt->root)
        return HV_E_NO_MEMORY;
    npt->root_pa = hv_host_virt_to_phys(npt->root, NULL);
    written(npt, npt->root, HV_PAGE_SIZE);
    npt->tables = 1;
    return HV_OK;
}

void npt_destroy(struct npt *npt)
{
    if (npt->root)
        retire(npt, npt->root, npt->format->levels);
    npt->root = NULL;
    npt->root_pa = HV_HPA_NONE;
    npt_reap(npt);
}

hv_gpa_t npt_limit(const struct npt *npt)
{
    return level_size(npt->format->levels + 1);
}

/* The dry run. */
static enum hv_status map_begin(struct change *c, unsigned rights)
{
    struct npt *npt = c->npt;
    bool track = rights & NPT_TRACK;

    if (!is_range(npt, c->start, c->end - c->start) || !is_expressible(npt, rights & ~NPT_TRACK) ||
        (track && !can_track(npt)))
        return HV_E_INVALID;
    c->rights = npt->format->rights[rights & NPT_RIGHTS] | (track ? npt->format->tracked : 0);
    c->max_leaf_level = track ? 1 : npt->format->max_leaf_level;
    run_reset(c);
    pass(c, true);
    run_advance(c, c->end - 1); /* the walk looks at the last leaves only as it writes them */
    return c->bad_page ? HV_E_INVALID : HV_OK;
}

static struct change mapping(struct npt *npt, hv_gpa_t gpa, uint64_t size, npt_source_fn *source, void *arg)
{
    return (struct change){.npt = npt,
                           .start = gpa,
                           .end = gpa + size,
                           .visit = map_visit,
                           .pave = map_pave,
                           .source = source,
                           .arg = arg};
}

static struct change unmapping(struct npt *npt, hv_gpa_t gpa, uint64_t size)
{
    return (struct change){
        .npt = npt, .start = gpa, .end = gpa + size, .visit = unmap_visit, .pave = unmap_pave, .prunes = true};
}

enum hv_status npt_map(struct npt *npt, hv_gpa_t gpa, uint64_t size, npt_source_fn *source, void *arg, unsigned rights)
{
    struct change c = mapping(npt, gpa, size, source, arg);
    enum hv_status st = map_begin(&c, rights);

    if (st == HV_OK)
        st = change_commit(&c);
    if (st == HV_OK && rights & NPT_TRACK)
        __atomic_store_n(&npt->tracks_dirty, true, __ATOMIC_RELEASE);
    return st;
}

static enum hv_status unmap_begin(struct change *c)
{
    if (!is_range(c->npt, c->start, c->end - c->start))
        return HV_E_INVALID;
    pass(c, true);
    return c->found ? HV_OK : HV_E_GPA_NOT_FOUND;
}

enum hv_status npt_unmap(struct npt *npt, hv_gpa_t gpa, uint64_t size)
{
    struct change c = unmapping(npt, gpa, size);
    enum hv_status st = unmap_begin(&c);

    return st == HV_OK ? change_commit(&c) : st;
}

static enum hv_status reserve(struct change *c)
{
    enum hv_status st = spare_fill(c->npt, c->needed);

    if (st == HV_OK)
        c->npt->reserved = c->needed;
    return st;
}

enum hv_status npt_reserve_map(struct npt *npt, hv_gpa_t gpa, uint64_t size, npt_source_fn *source, void *arg,
                               unsigned rights)
{
    struct change c = mapping(npt, gpa, size, source, arg);
    enum hv_status st = map_begin(&c, rights);

    return st == HV_OK ? reserve(&c) : st;
}

enum hv_status npt_reserve_unmap(struct npt *npt, hv_gpa_t gpa, uint64_t size)
{
    struct change c = unmapping(npt, gpa, size);
    enum hv_status st = unmap_begin(&c);

    return st == HV_OK ? reserve(&c) : st;
}

void npt_unreserve(struct npt *npt)
{
    spare_free(npt);
}

enum hv_status npt_protect(struct npt *npt, hv_gpa_t gpa, uint64_t size, unsigned rights)
{
    struct change c = {.npt = npt, .start = gpa, .end = gpa + size, .visit = protect_visit};

    if (!is_range(npt, gpa, size) || !is_expressible(npt, rights))
        return HV_E_INVALID;
    c.rights = npt->format->rights[rights];
    pass(&c, true);
    return c.found ? change_commit(&c) : HV_E_GPA_NOT_FOUND;
}

enum hv_status npt_take_dirty(struct npt *npt, hv_gpa_t gpa, uint64_t size, uint64_t *bitmap, uint64_t *count)
{
    struct change c = {
        .npt = npt, .start = gpa, .end = gpa + size, .visit = dirty_visit, .pave = dirty_pave, .bitmap = bitmap};

    if (!is_range(npt, gpa, size))
        return HV_E_INVALID;
    pass(&c, true);
    if (c.untracked)
        return HV_E_GPA_NOT_FOUND;
    pass(&c, false);
    *count = c.dirty_pages;
    return HV_OK;
}

/* Which rights an entry grants; the bits of a leaf are always those of one of the combinations. */
static unsigned entry_rights(const struct npt_format *f, uint64_t entry)
{
    unsigned rights = NPT_RIGHTS;

    if (f->gate & ~entry)
        return 0;
    while (rights && (entry & f->rights_mask) != f->rights[rights])
        rights--;
    return rights;
}

static void each_visit(struct change *c, const struct slot *s)
{
    const struct npt_format *f = c->npt->format;

    if (is_table(c->npt, s->entry, s->level))
        descend(c, s);
    else if (is_present(c->npt, s->entry))
        c->each(c->arg, s->gpa, s->size, ALIGN_DOWN(s->entry & f->address, s->size), entry_rights(f, s->entry));
}

void npt_each(struct npt *npt, npt_leaf_fn *fn, void *arg)
{
    struct change c = {.npt = npt, .end = npt_limit(npt), .visit = each_visit, .each = fn, .arg = arg};

    pass(&c, true);
}

struct npt_counts npt_count(struct npt *npt)
{
    struct npt_counts counts = {.tables = npt->tables};
    struct change c = {.npt = npt, .end = npt_limit(npt), .visit = count_visit, .pave = count_pave, .arg = &counts};

    pass(&c, true);
    return counts;
}

bool npt_lookup(const struct npt *npt, hv_gpa_t gpa, struct npt_leaf *leaf)
{
    const struct npt_format *f = npt->format;
    uint64_t *table = npt->root;
    unsigned level = f->levels;
    uint64_t entry, offset;

    if (gpa >= npt_limit(npt))
        return false;
    while (is_table(npt, entry = entry_read(&table[level_index(gpa, level)]), level)) {
        table = table_of(npt, entry);
        level--;
    }
    if (!is_present(npt, entry))
        return false;
    offset = gpa & (level_size(level) - 1);
    *leaf = (struct npt_leaf){
        .pa = ALIGN_DOWN(entry & f->address, level_size(level)) | offset,
        .rights = entry_rights(f, entry),
        .level = level,
        .entry = entry,
        .at = &table[level_index(gpa, level)],
    };
    return true;
}

/* The entry may have been changed since: then the bit is set only if it still maps that page. */
void npt_mark_dirty(struct npt *npt, const struct npt_leaf *leaf)
{
    const struct npt_format *f = npt->format;
    uint64_t old = leaf->entry;

    if (!(old & f->tracked))
        return;
    do
        if (__atomic_compare_exchange_n(leaf->at, &old, old | f->dirty, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED))
            return;
    while ((old & f->tracked) && !((old ^ leaf->entry) & f->address));
    __atomic_fetch_add(&npt->missed_marks, 1, __ATOMIC_SEQ_CST);
}

enum hv_status npt_cover(struct npt *npt, hv_gpa_t gpa, hv_hpa_t pa, unsigned rights, uint64_t *hidden)
{
    struct change c = {.npt = npt, .start = gpa, .end = gpa + HV_PAGE_SIZE, .visit = cover_visit, .is_shown = true};
    enum hv_status st;

    if (!is_range(npt, gpa, HV_PAGE_SIZE))
        return HV_E_INVALID;
    if (pa != HV_HPA_NONE) {
        if (pa & ~npt->format->address || !is_expressible(npt, rights))
            return HV_E_INVALID;
        c.new = pa | npt->format->rights[rights] | npt->format->leaf;
    }
    pass(&c, true);
    st = change_commit(&c);
    if (st == HV_OK)
        *hidden = c.old;
    return st;
}

void npt_uncover(struct npt *npt, hv_gpa_t gpa, uint64_t hidden)
{
    struct change c = {.npt = npt,
                       .start = gpa,
                       .end = gpa + HV_PAGE_SIZE,
                       .visit = uncover_visit,
                       .new = hidden,
                       .is_shown = true,
                       .prunes = true};

    pass(&c, false);
}

/* With the lock. In a table that was retired meanwhile it does no harm. */
static void set_gate(const struct npt *npt, bool open)
{
    const struct npt_format *f = npt->format;
    struct npt_leaf leaf;

    if (!f->gate || !npt_lookup(npt, f->gated, &leaf) || leaf.level != 1)
        return;
    if (open)
        __atomic_fetch_or(leaf.at, f->gate, __ATOMIC_SEQ_CST);
    else
        __atomic_fetch_and(leaf.at, ~f->gate, __ATOMIC_SEQ_CST);
}

void npt_hold(struct npt *npt)
{
    uint64_t flags = hv_spin_lock(&npt->gate_lock);

    if (npt->gate_holders++ == 0)
        set_gate(npt, false);
    hv_spin_unlock(&npt->gate_lock, flags);
}

void npt_release(struct npt *npt)
{
    uint64_t flags = hv_spin_lock(&npt->gate_lock);

    HV_ASSERT(npt->gate_holders);
    if (--npt->gate_holders == 0)
        set_gate(npt, true);
    hv_spin_unlock(&npt->gate_lock, flags);
}

void npt_reap(struct npt *npt)
{
    while (npt->retired)
        hv_host_page_free(retired_pop(npt));
}
