/* SPDX-License-Identifier: MIT */
/*
 * Second-level page tables.
 *
 * One recursive walk over the entries that a range touches serves map, unmap, protect and questions. It runs twice: a
 * dry run that checks and counts the table pages to come, then the change itself. Both take the same decisions in the
 * same functions, so the count is exact.
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
 * kept in bits that hardware ignores, a few in each of the first entries. Bits 56..52 are such bits in the entries of
 * most formats (SDM 3 29.3.2, APM 2 5.3, VT-d 9.8).
 */
#define LINK_BITS  BITS64(56, 52)
#define LINK_TOTAL (64u - HV_PAGE_SHIFT)

/* An entry, and the part [gpa, end) of a change that falls into it. */
struct slot {
    uint64_t *p; /* NULL in a dry run, inside a table that does not exist yet */
    uint64_t entry;
    unsigned level;
    hv_gpa_t gpa, end;
};

/* One change to a range, in either of its two passes. */
struct change {
    struct npt *npt;
    hv_gpa_t start, end;
    void (*visit)(struct change *c, const struct slot *s);
    uint64_t rights; /* as entry bits; of a map, with `tracked` */
    unsigned max_leaf_level;
    bool dry;
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

static uint64_t level_size(unsigned level)
{
    return HV_PAGE_SIZE << (LEVEL_BITS * (level - 1));
}

static unsigned level_index(hv_gpa_t gpa, unsigned level)
{
    return gpa / level_size(level) % ENTRIES;
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

static bool is_empty(const struct npt *npt, const uint64_t *table)
{
    for (unsigned i = 0; i < ENTRIES; i++)
        if (is_present(npt, entry_read(&table[i])))
            return false;
    return true;
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
    npt->counts.tables++;
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
static void retired_push(struct npt *npt, uint64_t *table)
{
    uint64_t link = (uintptr_t)npt->retired / HV_PAGE_SIZE, bits = link_bits(npt->format);

    for (unsigned i = 0, width = link_width(bits); i * width < LINK_TOTAL; i++) {
        __atomic_fetch_or(&table[i], FIELD_PUT(bits, link), __ATOMIC_RELAXED);
        link >>= width;
    }
    npt->retired = table;
}

static uint64_t *retired_pop(struct npt *npt)
{
    uint64_t *table = npt->retired, link = 0, bits = link_bits(npt->format);
    unsigned width = link_width(bits);

    for (unsigned i = (LINK_TOTAL + width - 1) / width; i-- > 0;)
        link = link << width | FIELD_GET(bits, entry_read(&table[i]));
    npt->retired = (void *)(uintptr_t)(link * HV_PAGE_SIZE);
    return table;
}

/* Retires a table that no entry points to any more, and all tables below it. */
static void retire(struct npt *npt, uint64_t *table, unsigned level)
{
    for (unsigned i = 0; i < ENTRIES; i++) {
        uint64_t entry = entry_read(&table[i]);

        if (is_table(npt, entry, level))
            retire(npt, table_of(npt, entry), level - 1);
        else if (is_present(npt, entry))
            npt->counts.pages[level]--;
    }
    npt->counts.tables--;
    retired_push(npt, table);
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
    return s->end - s->gpa == level_size(s->level);
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
    if (entry)
        npt->counts.pages[s->level]++;
    if (is_table(npt, s->entry, s->level))
        retire(npt, table_of(npt, s->entry), s->level - 1);
    else if (is_present(npt, s->entry))
        npt->counts.pages[s->level]--;
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
    npt->counts.pages[s->level]--;
    npt->counts.pages[s->level - 1] += ENTRIES;
    return table;
}

/* The table below a slot; makes one when there is a leaf or nothing. NULL in a dry run that would have to make one. */
static uint64_t *slot_table(struct change *c, const struct slot *s)
{
    uint64_t *table;

    if (is_table(c->npt, s->entry, s->level))
        return table_of(c->npt, s->entry);
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

/*
 * Visits the entries of one table that [gpa, end) touches. A table that a dry run has to imagine is NULL, and each of
 * its entries is taken to be what `above` is: nothing, or a leaf.
 */
static void walk(struct change *c, uint64_t *table, uint64_t above, unsigned level, hv_gpa_t gpa, hv_gpa_t end)
{
    struct slot s = {.level = level};

    for (; gpa < end; gpa = s.end) {
        s.gpa = gpa;
        s.end = HV_MIN(end, ALIGN_DOWN(gpa, level_size(level)) + level_size(level));
        if (c->cover && c->cover->gpa < gpa)
            c->cover = next_cover(c->npt, gpa);
        s.p = table ? &table[level_index(gpa, level)] : NULL;
        if (is_covered(c, &s) && level == 1)
            s.p = &c->cover->hidden;
        s.entry = s.p ? entry_read(s.p) : above;
        c->visit(c, &s);
    }
}

static void descend(struct change *c, const struct slot *s)
{
    walk(c, slot_table(c, s), s->entry, s->level - 1, s->gpa, s->end);
}

static void pass(struct change *c, bool dry)
{
    c->dry = dry;
    c->cover = c->is_shown ? NULL : next_cover(c->npt, c->start);
    walk(c, c->npt->root, 0, c->npt->format->levels, c->start, c->end);
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

/* Goes on to the run in which gpa lies. Runs come in order, so the source is asked for each of them once. */
static void run_advance(struct change *c, hv_gpa_t gpa)
{
    if (gpa < c->run_end || c->bad_page)
        return;
    c->run = gpa;
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

static void map_visit(struct change *c, const struct slot *s)
{
    const struct npt_format *f = c->npt->format;
    hv_hpa_t pa;

    run_advance(c, s->gpa);
    if (c->bad_page)
        return;
    pa = c->run_pa + (s->gpa - c->run);
    if (s->level > c->max_leaf_level || !is_whole(s) || s->end > c->run_end || !IS_ALIGNED(pa, level_size(s->level)) ||
        (s->level > 1 && is_covered(c, s)))
        descend(c, s);
    else
        slot_replace(c, s, pa | c->rights | f->leaf | (s->level > 1 ? f->large : 0));
}

/* --------------------------------------------------------------------------------- unmap */

static bool has_covers(const struct npt *npt, const struct slot *s)
{
    hv_gpa_t start = ALIGN_DOWN(s->gpa, level_size(s->level));
    const struct npt_cover *first = next_cover(npt, start);

    return first && first->gpa - start < level_size(s->level);
}

/* Retires the table below a slot if nothing is left in it. */
static void prune(struct change *c, const struct slot *s)
{
    uint64_t *table = table_of(c->npt, s->entry);

    if (c->dry || !is_empty(c->npt, table) || has_covers(c->npt, s))
        return;
    entry_write(c->npt, s->p, 0);
    retire(c->npt, table, s->level - 1);
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

static void take_dirty(struct change *c, const struct slot *s)
{
    uint64_t dirty = c->npt->format->dirty, page = (s->gpa - c->start) / HV_PAGE_SIZE;

    if (!(s->entry & dirty))
        return;
    __atomic_fetch_and(s->p, ~dirty, __ATOMIC_SEQ_CST); /* the CPU may be setting it again */
    c->dirty_pages++;
    if (c->bitmap)
        c->bitmap[page / 64] |= BIT64(page % 64);
}

static void dirty_visit(struct change *c, const struct slot *s)
{
    if (is_table(c->npt, s->entry, s->level) && !c->untracked)
        descend(c, s);
    else if (!c->dry)
        take_dirty(c, s);
    else if (!is_present(c->npt, s->entry) || !(s->entry & c->npt->format->tracked))
        c->untracked = true;
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
    HV_ASSERT(!(
        (format->address | format->table | format->leaf | format->rights_mask | format->tracked | format->next_level) &
        link_bits(format)));
    *npt = (struct npt){.format = format, .root = hv_host_page_alloc(), .root_pa = HV_HPA_NONE};
    if (!npt->root)
        return HV_E_NO_MEMORY;
    npt->root_pa = hv_host_virt_to_phys(npt->root, NULL);
    written(npt, npt->root, HV_PAGE_SIZE);
    npt->counts.tables = 1;
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
    return c->bad_page ? HV_E_INVALID : HV_OK;
}

enum hv_status npt_map(struct npt *npt, hv_gpa_t gpa, uint64_t size, npt_source_fn *source, void *arg, unsigned rights)
{
    struct change c = {.npt = npt, .start = gpa, .end = gpa + size, .visit = map_visit, .source = source, .arg = arg};
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
    struct change c = {.npt = npt, .start = gpa, .end = gpa + size, .visit = unmap_visit};
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
    struct change c = {.npt = npt, .start = gpa, .end = gpa + size, .visit = map_visit, .source = source, .arg = arg};
    enum hv_status st = map_begin(&c, rights);

    return st == HV_OK ? reserve(&c) : st;
}

enum hv_status npt_reserve_unmap(struct npt *npt, hv_gpa_t gpa, uint64_t size)
{
    struct change c = {.npt = npt, .start = gpa, .end = gpa + size, .visit = unmap_visit};
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
    struct change c = {.npt = npt, .start = gpa, .end = gpa + size, .visit = dirty_visit, .bitmap = bitmap};

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
    uint64_t size = level_size(s->level);

    if (is_table(c->npt, s->entry, s->level))
        descend(c, s);
    else if (is_present(c->npt, s->entry))
        c->each(c->arg, s->gpa, size, ALIGN_DOWN(s->entry & f->address, size), entry_rights(f, s->entry));
}

void npt_each(struct npt *npt, npt_leaf_fn *fn, void *arg)
{
    struct change c = {.npt = npt, .end = npt_limit(npt), .visit = each_visit, .each = fn, .arg = arg};

    pass(&c, true);
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
    struct change c = {
        .npt = npt, .start = gpa, .end = gpa + HV_PAGE_SIZE, .visit = uncover_visit, .new = hidden, .is_shown = true};

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
