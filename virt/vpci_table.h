/* SPDX-License-Identifier: MIT */
/*
 * Objects by a number, of any size: a tree over the bits of its hash, as deep as numbers' hashes begin alike.
 *
 * Readers take no lock and may be interrupt handlers: they have interrupts off from vpci_read_begin to vpci_read_end.
 * What a writer has taken out is freed after vpci_wait_readers. Writers exclude each other.
 */
#ifndef VIRT_VPCI_TABLE_H
#define VIRT_VPCI_TABLE_H

#include <hv/host.h>
#include <hv/status.h>

/* The first member of an object, which is aligned as hv_host_alloc does it. */
struct vpci_entry {
    uint64_t id;
};

struct vpci_table {
    void *volatile root; /* all zero: empty */
};

/* Nest. */
static inline uint64_t vpci_read_begin(void)
{
    return hv_host_irq_save();
}

static inline void vpci_read_end(uint64_t flags)
{
    hv_host_irq_restore(flags);
}

/* Returns when all readers that began before have ended. Thread context. */
void vpci_wait_readers(void);

static inline bool vpci_table_is_empty(const struct vpci_table *t)
{
    return !__atomic_load_n(&t->root, __ATOMIC_SEQ_CST);
}

/* NULL: none. Reader, or writer. */
struct vpci_entry *vpci_table_find(const struct vpci_table *t, uint64_t id);

/* Thread context. HV_E_CONFLICT: the number is taken. HV_E_NO_MEMORY. */
enum hv_status vpci_table_insert(struct vpci_table *t, struct vpci_entry *e);
/* Takes it out, and waits for the readers. Thread context. */
void vpci_table_remove(struct vpci_table *t, struct vpci_entry *e);
/* The same for the end, when nobody reads: waits for nobody. */
void vpci_table_drop(struct vpci_table *t, const struct vpci_entry *e);
/* All of them, in no order. Writer; fn changes nothing here. */
void vpci_table_each(const struct vpci_table *t, void (*fn)(struct vpci_entry *e));
/* One after the other, for the end, when nobody reads; NULL: it is empty. */
struct vpci_entry *vpci_table_any(const struct vpci_table *t);

#endif
