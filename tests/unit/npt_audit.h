/* SPDX-License-Identifier: MIT */
/* A second reader of the tables, which shares no code with npt.c: checks every entry and counts what there is. */
#ifndef NPT_AUDIT_H
#define NPT_AUDIT_H

#include "npt_formats.h"
#include "unit.h"
#include <string.h>

struct audit {
    struct npt_counts counts;
    uint64_t hash; /* of every word of every table and of the tables' places: same hash, same contents */
};

static inline uint64_t size_of_level(unsigned level)
{
    return 1ull << (12 + 9 * (level - 1));
}

static inline void audit_hash(struct audit *a, uint64_t word)
{
    a->hash = (a->hash ^ word) * 0x9e3779b97f4a7c15ull;
    a->hash ^= a->hash >> 29;
}

static inline bool audit_is_leaf(const struct npt_format *f, uint64_t entry, unsigned level)
{
    return level == 1 || (f->next_level ? !(entry & f->next_level) : (entry & f->large) != 0);
}

/* All bits of an entry that leads to a table of that level, but the address. */
static inline uint64_t audit_table_bits(const struct npt_format *f, unsigned level)
{
    return f->table | level * (f->next_level & -f->next_level);
}

static inline void audit_leaf(const struct npt_format *f, uint64_t entry, unsigned level)
{
    uint64_t bits = entry & ~(f->address | f->accessed | f->dirty | f->tracked);
    bool known = false;

    for (unsigned r = 0; r <= NPT_RIGHTS; r++)
        known |= f->rights[r] && f->rights[r] == (entry & f->rights_mask);
    assert_true(known);
    assert_true(level <= (entry & f->tracked ? 1 : f->max_leaf_level));
    assert_int_equal(bits & ~f->rights_mask, (f->leaf & ~f->rights_mask) | (level > 1 ? f->large : 0));
    assert_int_equal(entry & f->address & (size_of_level(level) - 1), 0);
}

/* Returns how many entries are present. */
static inline unsigned audit_table(const struct npt_format *f, hv_hpa_t pa, unsigned level, struct audit *a)
{
    const uint64_t *table = hv_host_phys_to_virt(pa);
    unsigned present = 0;

    assert_non_null(table);
    a->counts.tables++;
    audit_hash(a, pa);
    for (unsigned i = 0; i < 512; i++) {
        uint64_t entry = table[i];

        if (!entry)
            continue;
        audit_hash(a, i);
        audit_hash(a, entry);
        assert_true(entry & f->present);
        present++;
        if (audit_is_leaf(f, entry, level)) {
            audit_leaf(f, entry, level);
            a->counts.pages[level]++;
        } else {
            assert_int_equal(entry & ~f->address, audit_table_bits(f, level - 1));
            assert_int_not_equal(audit_table(f, entry & f->address, level - 1, a), 0);
        }
    }
    return present;
}

static inline struct audit audit_npt(struct npt *npt)
{
    struct npt_counts counts = npt_count(npt);
    struct audit a = {.hash = 1};

    assert_int_equal(hv_host_virt_to_phys(npt->root, NULL), npt->root_pa);
    assert_null(npt->spare);
    audit_table(npt->format, npt->root_pa, npt->format->levels, &a);
    assert_memory_equal(&a.counts, &counts, sizeof(a.counts));
    return a;
}

/* The entry itself, for tests that play the CPU or look at its bits; NULL when nothing is mapped. */
static inline uint64_t *audit_entry(const struct npt *npt, hv_gpa_t gpa, unsigned *level)
{
    uint64_t *table = npt->root;

    for (*level = npt->format->levels;; --*level) {
        uint64_t *entry = &table[gpa / size_of_level(*level) % 512];

        if (!(*entry & npt->format->present))
            return NULL;
        if (audit_is_leaf(npt->format, *entry, *level))
            return entry;
        table = hv_host_phys_to_virt(*entry & npt->format->address);
    }
}

#endif
