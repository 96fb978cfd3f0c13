/* SPDX-License-Identifier: MIT */
/*
 * The tree: each level is for LEVEL_BITS of the hash. A child is a node or, marked by its lowest bit, an object, which
 * stands as high up as it is alone. A node has something below it, or it is not there.
 */
#include "vpci_table.h"
#include <hv/base/bits.h>

#define LEVEL_BITS 6u
#define CHILDREN   (1u << LEVEL_BITS)
#define IS_OBJECT  1u

struct node {
    void *volatile children[CHILDREN];
    uint32_t used; /* children that are there; the writer's */
};

/* No two numbers have the same. */
static uint64_t hash(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

static void *volatile *child_of(struct node *node, uint64_t hash_of_id, unsigned level)
{
    return &node->children[hash_of_id >> level * LEVEL_BITS & (CHILDREN - 1)];
}

static bool is_object(const void *child)
{
    return (uintptr_t)child & IS_OBJECT;
}

static struct vpci_entry *object_of(void *child)
{
    return (struct vpci_entry *)((uintptr_t)child - IS_OBJECT);
}

static void *child_for(struct vpci_entry *e)
{
    return (void *)((uintptr_t)e + IS_OBJECT);
}

static void *load(void *const volatile *slot)
{
    return __atomic_load_n(slot, __ATOMIC_ACQUIRE);
}

/* --------------------------------------------------------------------------------------- readers */

struct vpci_entry *vpci_table_find(const struct vpci_table *t, uint64_t id)
{
    uint64_t h = hash(id);
    void *at = load(&t->root);

    for (unsigned level = 0; at && !is_object(at); level++)
        at = load(child_of(at, h, level));
    return at && object_of(at)->id == id ? object_of(at) : NULL;
}

static void nothing(void *arg)
{
    (void)arg;
}

/* A CPU that answers a call has interrupts on: no reader of before is left there. */
void vpci_wait_readers(void)
{
    for (uint32_t cpu = 0; cpu < hv_host_cpu_count(); cpu++)
        hv_host_cpu_call(cpu, nothing, NULL);
}

/* --------------------------------------------------------------------------------------- writers */

/* The nodes of a branch down to its last; not the objects. */
static void free_branch(void *branch)
{
    while (branch && !is_object(branch)) {
        struct node *node = branch;

        branch = NULL;
        for (unsigned i = 0; i < CHILDREN; i++)
            if (node->children[i] && !is_object(node->children[i]))
                branch = node->children[i];
        hv_host_free(node, sizeof(*node));
    }
}

/* The nodes from this level on that lead to both, of different hashes. NULL: no memory. */
static struct node *make_branch(struct vpci_entry *a, struct vpci_entry *b, unsigned level)
{
    uint64_t hash_a = hash(a->id), hash_b = hash(b->id);
    struct node *top = NULL, **link = &top, *node;

    for (;; level++) {
        node = hv_host_alloc(sizeof(*node));
        if (!node) {
            free_branch(top);
            return NULL;
        }
        *link = node;
        if (child_of(node, hash_a, level) != child_of(node, hash_b, level))
            break;
        node->used = 1;
        link = (struct node **)child_of(node, hash_a, level);
    }
    *child_of(node, hash_a, level) = child_for(a);
    *child_of(node, hash_b, level) = child_for(b);
    node->used = 2;
    return top;
}

enum hv_status vpci_table_insert(struct vpci_table *t, struct vpci_entry *e)
{
    void *volatile *slot = &t->root, *child;
    struct node *node = NULL;
    unsigned level = 0;

    for (; *slot && !is_object(*slot); level++) {
        node = *slot;
        slot = child_of(node, hash(e->id), level);
    }
    child = child_for(e);
    if (*slot) {
        if (object_of(*slot)->id == e->id)
            return HV_E_CONFLICT;
        child = make_branch(object_of(*slot), e, level);
        if (!child)
            return HV_E_NO_MEMORY;
    } else if (node) {
        node->used++;
    }
    __atomic_store_n(slot, child, __ATOMIC_RELEASE);
    return HV_OK;
}

/* Cuts off where the branch begins that leads to nothing else, and returns that. */
static void *cut_off(struct vpci_table *t, const struct vpci_entry *e)
{
    void *volatile *slot = &t->root, *volatile *cut = slot, *branch;
    struct node *fork = NULL;

    for (unsigned level = 0; !is_object(*slot); level++) {
        struct node *node = *slot;

        slot = child_of(node, hash(e->id), level);
        if (node->used > 1) {
            fork = node;
            cut = slot;
        }
    }
    branch = *cut;
    if (fork)
        fork->used--;
    __atomic_store_n(cut, NULL, __ATOMIC_SEQ_CST);
    return branch;
}

void vpci_table_remove(struct vpci_table *t, struct vpci_entry *e)
{
    void *branch = cut_off(t, e);

    vpci_wait_readers();
    free_branch(branch);
}

void vpci_table_drop(struct vpci_table *t, const struct vpci_entry *e)
{
    free_branch(cut_off(t, e));
}

struct vpci_entry *vpci_table_any(const struct vpci_table *t)
{
    void *at = t->root;

    while (at && !is_object(at)) {
        struct node *node = at;
        unsigned i = 0;

        while (!node->children[i])
            i++;
        at = node->children[i];
    }
    return at ? object_of(at) : NULL;
}

/* Levels of the tree: nodes that lead on, and where they have been left. */
#define LEVELS ((64 + LEVEL_BITS - 1) / LEVEL_BITS)

static void each_at(void *at, void (*fn)(struct vpci_entry *e))
{
    const struct node *way[LEVELS];
    unsigned next[LEVELS], level = 0;

    if (is_object(at)) {
        fn(object_of(at));
        return;
    }
    way[0] = at;
    next[0] = 0;
    for (;;) {
        if (next[level] == CHILDREN) {
            if (!level--)
                return;
            continue;
        }
        at = way[level]->children[next[level]++];
        if (is_object(at)) {
            fn(object_of(at));
        } else if (at) {
            way[++level] = at;
            next[level] = 0;
        }
    }
}

void vpci_table_each(const struct vpci_table *t, void (*fn)(struct vpci_entry *e))
{
    if (t->root)
        each_at(t->root, fn);
}
