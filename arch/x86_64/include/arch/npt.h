/* SPDX-License-Identifier: MIT */
/*
 * Second-level page tables: one radix walker for EPT, NPT and IOMMU tables. What differs between them is data (struct
 * npt_format).
 *
 * The tables are the only record of a partition's memory map: which host page backs a guest page, with which rights.
 *
 * Every change is made in two steps so that it either happens as a whole or not at all: first all table pages that it
 * can need are allocated (this may fail, and then nothing has changed), then the entries are written (this cannot
 * fail). Table pages that a change makes superfluous are kept in npt.retired: CPUs may still be walking them. The
 * caller makes every CPU forget the old translations and then calls npt_reap.
 *
 * Locking: changes to one npt are serialised by the caller (thread context). Walks (npt_lookup) may run at the same
 * time as a change, with interrupts off, on CPUs that the caller's shootdown waits for: entries are written and read
 * as single 64-bit words.
 */
#ifndef ARCH_NPT_H
#define ARCH_NPT_H

#include <hv/base/lock.h>
#include <hv/status.h>
#include <hv/types.h>

/* rights of a mapping; the same bits as WHV_MAP_GPA_RANGE_FLAGS */
#define NPT_READ    1u
#define NPT_WRITE   2u
#define NPT_EXECUTE 4u
#define NPT_RIGHTS  7u
#define NPT_TRACK   8u /* for npt_map: npt_take_dirty tells which pages of the range were written */

#define NPT_MAX_LEVELS 5

/*
 * The format of one kind of table. Level 1 maps 4K pages, 2 maps 2M, 3 maps 1G; the root is level `levels`.
 * Entries are 64 bits, 512 to a table. An entry is present when (entry & present) != 0.
 */
struct npt_format {
    const char *name;
    unsigned levels;
    unsigned max_leaf_level; /* 1, 2 or 3: the largest leaf that this CPU takes */
    uint64_t present;
    uint64_t address;                /* mask of the physical address in an entry */
    uint64_t table;                  /* bits set in every entry that points to a table */
    uint64_t leaf;                   /* bits set in every leaf (memory type and the like) */
    uint64_t large;                  /* bit that makes an entry above level 1 a leaf; 0: next_level tells */
    uint64_t next_level;             /* field for the level of the table that an entry leads to, 0 in leaves */
    uint64_t link;                   /* field that hardware ignores in every entry of any kind; 0: bits 56..52 */
    uint64_t rights[NPT_RIGHTS + 1]; /* bits for each combination of rights; 0: the format cannot express it */
    uint64_t rights_mask;            /* all bits used in rights[] */
    uint64_t accessed, dirty;        /* 0 when the format has none */
    /* a bit of leaves that hardware ignores: says that the page was mapped with NPT_TRACK */
    uint64_t tracked;
    /* The one page that npt_hold takes away, and the bit of its leaf without which CPUs allow no access; 0: no such bit
     */
    uint64_t gate;
    hv_gpa_t gated;
    /* NULL: what walks the tables sees what CPUs write. Else called after each write, before one that leads to it. */
    void (*written)(const volatile void *p, size_t size);
};

struct npt_counts {
    uint64_t pages[4]; /* leaves by level: [1] 4K, [2] 2M, [3] 1G */
    uint64_t tables;   /* table pages, the root among them */
};

/* A page that something else stands in front of: see npt_cover. */
struct npt_cover {
    hv_gpa_t gpa;
    uint64_t hidden; /* the leaf behind it, or 0 */
};

struct npt {
    const struct npt_format *format;
    uint64_t *root;
    hv_hpa_t root_pa;
    uint64_t tables;   /* table pages, the root among them */
    void *spare;       /* chain of table pages allocated for the change under way */
    void *retired;     /* chain of table pages that no entry points to any more, waiting for npt_reap */
    uint64_t reserved; /* pages among the spare ones that npt_reserve_* has taken for the next change */
    /* something was mapped with NPT_TRACK; stays set. While it is false, CPUs need not maintain dirty bits */
    bool tracks_dirty;
    volatile uint32_t missed_marks; /* npt_mark_dirty came too late: the page was not mapped there any more */
    /*
     * The first covered page at or above gpa, NULL: none. The caller keeps them, in a structure that this takes little
     * time in. NULL: nothing is covered.
     */
    struct npt_cover *(*next_cover)(void *arg, hv_gpa_t gpa);
    void *cover_arg;
    struct hv_spin gate_lock; /* for what follows, and every change to the leaf of the gated page */
    uint32_t gate_holders;
};

struct npt_leaf {
    hv_hpa_t pa;     /* host-physical address of the byte asked for */
    unsigned rights; /* NPT_READ | ... */
    unsigned level;  /* 1, 2 or 3 */
    uint64_t entry;  /* the entry as it was read, with accessed and dirty bits */
    uint64_t *at;    /* where it was read; for npt_mark_dirty */
};

/*
 * Where the pages of a mapping come from: the host-physical address of the page at `offset` into the range. *size is
 * what is left of the range, and becomes how much from this page on is physically contiguous: a page or more.
 */
typedef hv_hpa_t npt_source_fn(void *arg, uint64_t offset, uint64_t *size);

/* Allocates the root. HV_E_NO_MEMORY. */
enum hv_status npt_init(struct npt *npt, const struct npt_format *format);

/* Frees every table page. No CPU uses the tables any more. Also right after a failed npt_init. */
void npt_destroy(struct npt *npt);

/* One past the highest address that the tables can translate. */
hv_gpa_t npt_limit(const struct npt *npt);

/*
 * Maps [gpa, gpa + size) to the pages that `source` yields, with these rights, and replaces what was mapped there.
 * Uses the largest leaves that alignment, size and contiguity of the pages allow, and splits larger leaves at the
 * ends of the range. `source` is asked for every page, by runs, twice.
 * HV_E_INVALID: unaligned, empty, wraps, beyond npt_limit, rights that the format cannot express, or the source
 * yields HV_HPA_NONE, an unaligned or too wide address. HV_E_NO_MEMORY. In both cases nothing has changed.
 * A memory range mapped again keeps no accessed or dirty bits.
 * NPT_TRACK among the rights: leaves are 4K pages, which npt_protect and later splits leave marked. HV_E_INVALID: the
 * format has no dirty bits.
 */
enum hv_status npt_map(struct npt *npt, hv_gpa_t gpa, uint64_t size, npt_source_fn *source, void *arg, unsigned rights);

/*
 * Removes all mappings in the range, splitting leaves at its ends.
 * HV_E_GPA_NOT_FOUND: nothing at all is mapped in the range. HV_E_INVALID, HV_E_NO_MEMORY as above.
 */
enum hv_status npt_unmap(struct npt *npt, hv_gpa_t gpa, uint64_t size);

/*
 * Take the table pages that the next change is going to need, which has to be this very one: then it can not fail. Or
 * give them back, when there is no such change after all. Errors as there.
 */
enum hv_status npt_reserve_map(struct npt *npt, hv_gpa_t gpa, uint64_t size, npt_source_fn *source, void *arg,
                               unsigned rights);
enum hv_status npt_reserve_unmap(struct npt *npt, hv_gpa_t gpa, uint64_t size);
void npt_unreserve(struct npt *npt);

/*
 * Tells of everything that is mapped, leaf by leaf in ascending order: of what is hidden in place of what covers it.
 * Serialised with changes by the caller.
 */
typedef void npt_leaf_fn(void *arg, hv_gpa_t gpa, uint64_t size, hv_hpa_t pa, unsigned rights);
void npt_each(struct npt *npt, npt_leaf_fn *fn, void *arg);

/* What is mapped, and by how many tables; takes its time. Of covered pages, what is hidden. Serialised with changes. */
struct npt_counts npt_count(struct npt *npt);

/*
 * Changes the rights of all that is mapped in the range (holes stay holes). Errors as npt_unmap. Accessed and dirty
 * bits stay.
 */
enum hv_status npt_protect(struct npt *npt, hv_gpa_t gpa, uint64_t size, unsigned rights);

/* Looks one address up. False when nothing is mapped there. Takes no lock, allocates nothing. */
bool npt_lookup(const struct npt *npt, hv_gpa_t gpa, struct npt_leaf *leaf);

/*
 * Tells which pages of the range were written since they were mapped or last asked for, and clears their dirty bits:
 * bit n of `bitmap` (zeroed by the caller; NULL: only clear) is that of page n, *count says how many there are. Until
 * the caller has made every CPU forget the old translations, further writes to these pages may go unnoticed; where
 * *count is 0 there is nothing to forget.
 * HV_E_GPA_NOT_FOUND: a page of the range is not mapped with NPT_TRACK, and nothing has changed. HV_E_INVALID: the
 * range, as above.
 */
enum hv_status npt_take_dirty(struct npt *npt, hv_gpa_t gpa, uint64_t size, uint64_t *bitmap, uint64_t *count);

/*
 * The page that was looked up, before any shootdown since then, is being written by somebody other than the guest.
 * Takes no lock.
 */
void npt_mark_dirty(struct npt *npt, const struct npt_leaf *leaf);

/*
 * Makes `pa` show at one page, with these rights; HV_HPA_NONE: a hole. *hidden becomes the 4K leaf that was there, or
 * 0: the first time it is what the cover hides. From then on npt.next_cover has to know of it, and changes to a range
 * concern what is hidden in place of what shows; so do counts. What CPUs write to the hidden page before the caller's
 * shootdown is in its dirty bit; npt.missed_marks says, after the shootdown, whether others have written as well.
 * HV_E_INVALID: the page, its address, or rights that the format cannot express. HV_E_NO_MEMORY; never for a page that
 * is covered already.
 */
enum hv_status npt_cover(struct npt *npt, hv_gpa_t gpa, hv_hpa_t pa, unsigned rights, uint64_t *hidden);
/* The other way round: `hidden` shows again; npt.next_cover does not know of it any more. */
void npt_uncover(struct npt *npt, hv_gpa_t gpa, uint64_t hidden);

/*
 * From npt_hold to as many npt_release the page at format->gated, which has a leaf of its own if it is mapped at all,
 * is there without rights, whoever maps it; nobody covers it. CPUs may go on with translations that they have until
 * they drop them: the holder sees to its own, and for others the page has to do no harm. No lock needed, but the tables
 * may not be freed: with interrupts off on a CPU that shootdowns wait for, or while there are no changes.
 */
void npt_hold(struct npt *npt);
void npt_release(struct npt *npt);

/* Frees the retired table pages. Every CPU has forgotten the translations from before the last change. */
void npt_reap(struct npt *npt);

#endif
