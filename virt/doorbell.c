/* SPDX-License-Identifier: MIT */
/*
 * Doorbells: registering them, and ringing. Each address has a bell; doorbells by value have one more each. And so has
 * every page of memory with doorbells, whose bell carries the hole that the page is for the guest.
 */
#include "doorbell.h"
#include "doorbell_table.h"
#include "gpa.h"
#include "overlay.h"
#include "walk.h"

struct page_bell {
    struct bell bell;
    struct overlay hole;
};

static struct page_bell *page_of(struct bell *bell)
{
    return (struct page_bell *)((char *)bell - offsetof(struct page_bell, bell));
}

static enum bell_kind address_kind(bool is_port)
{
    return is_port ? BELL_PORT : BELL_MEMORY;
}

static enum bell_kind value_kind(bool is_port)
{
    return is_port ? BELL_PORT_VALUE : BELL_MEMORY_VALUE;
}

/* --------------------------------------------------------------------------------------- rules */

#define PORTS 0x10000u

static bool is_length(uint32_t length, bool is_port)
{
    return length == 1 || length == 2 || length == 4 || (length == 8 && !is_port);
}

/* Fields that say nothing are 0. */
static bool is_match(const struct hv_doorbell *d)
{
    if (!d->match_value && d->value)
        return false;
    if (!d->match_length)
        return !d->match_value && !d->length;
    return is_length(d->length, d->is_port);
}

static bool is_place(const struct hv_partition *p, const struct hv_doorbell *d)
{
    uint32_t length = d->match_length ? d->length : 1;

    if (d->is_port)
        return d->address < PORTS && length <= PORTS - d->address;
    return gpa_is_guest_range(p, d->address & ~HV_PAGE_MASK, HV_PAGE_SIZE) &&
           length <= HV_PAGE_SIZE - (d->address & HV_PAGE_MASK);
}

/* At one address there are several only by different values of the same length. */
static bool is_conflict(const struct doorbells *ds, const struct hv_doorbell *d)
{
    const struct bell *there = bell_find(ds, address_kind(d->is_port), d->address, 0);

    if (!there)
        return false;
    return there->event || !d->match_value || there->length != d->length ||
           bell_find(ds, value_kind(d->is_port), d->address, d->value);
}

/* ---------------------------------------------------------------------------------- registering */

/* What registering one takes; NULL: is not needed. */
struct parts {
    struct bell *address, *value;
    struct page_bell *page;
};

static void free_bell(struct bell *bell)
{
    if (!bell)
        return;
    if (bell->event)
        hv_host_event_put(bell->event);
    if (bell->kind == BELL_PAGE)
        hv_host_free(page_of(bell), sizeof(struct page_bell));
    else
        hv_host_free(bell, sizeof(*bell));
}

static void free_parts(const struct parts *parts)
{
    free_bell(parts->address);
    free_bell(parts->value);
    free_bell(parts->page ? &parts->page->bell : NULL);
}

static bool make_bell(struct bell **out, enum bell_kind kind, uint64_t address)
{
    *out = hv_host_alloc(sizeof(**out));
    if (!*out)
        return false;
    (*out)->kind = (uint8_t)kind;
    (*out)->address = address;
    return true;
}

static bool make_page(struct page_bell **out, hv_gpa_t gpa)
{
    *out = hv_host_alloc(sizeof(**out));
    if (!*out)
        return false;
    (*out)->bell.kind = BELL_PAGE;
    (*out)->bell.address = gpa;
    return true;
}

/* HV_E_NO_MEMORY: what was made is to be freed. */
static enum hv_status make_parts(struct parts *parts, const struct doorbells *ds, const struct hv_doorbell *d)
{
    hv_gpa_t page = d->address & ~HV_PAGE_MASK;
    enum bell_kind kind = address_kind(d->is_port);

    if (!bell_find(ds, kind, d->address, 0) && !make_bell(&parts->address, kind, d->address))
        return HV_E_NO_MEMORY;
    if (d->match_value && !make_bell(&parts->value, value_kind(d->is_port), d->address))
        return HV_E_NO_MEMORY;
    if (!d->is_port && !bell_find(ds, BELL_PAGE, page, 0) && !make_page(&parts->page, page))
        return HV_E_NO_MEMORY;
    return HV_OK;
}

/* Returns the one that has the event. */
static struct bell *insert_parts(struct hv_partition *p, const struct parts *parts, const struct hv_doorbell *d,
                                 struct hv_host_event *event)
{
    struct doorbells *ds = p->doorbells;

    if (parts->page)
        bell_insert(p, ds, &parts->page->bell);
    if (!d->is_port)
        bell_find(ds, BELL_PAGE, d->address & ~HV_PAGE_MASK, 0)->count++;
    if (parts->value) {
        parts->value->value = d->value;
        parts->value->event = event;
        bell_insert(p, ds, parts->value);
    }
    if (parts->address) {
        parts->address->length = (uint8_t)d->length;
        parts->address->event = d->match_value ? NULL : event;
        bell_insert(p, ds, parts->address);
    }
    if (d->match_value)
        bell_find(ds, address_kind(d->is_port), d->address, 0)->count++;
    if (d->is_port)
        __atomic_fetch_add(&ds->ports, 1, __ATOMIC_RELAXED);
    return parts->value ? parts->value : parts->address;
}

/* Takes a doorbell out of what it shares with others. Returns the bell if it was the last one, which is gone with it.
 */
static struct bell *take_out(struct doorbells *ds, struct bell *bell)
{
    if (--bell->count)
        return NULL;
    bell_remove(ds, bell);
    return bell;
}

static void remove_parts(struct hv_partition *p, const struct hv_doorbell *d, struct bell *bell)
{
    struct doorbells *ds = p->doorbells;
    struct bell *address = NULL, *page = NULL;

    if (d->is_port)
        __atomic_fetch_sub(&ds->ports, 1, __ATOMIC_RELAXED);
    else
        page = take_out(ds, bell_find(ds, BELL_PAGE, d->address & ~HV_PAGE_MASK, 0));
    if (page)
        overlay_remove(p, &page_of(page)->hole); /* before its doorbells: see exit_doorbell.h */
    bell_remove(ds, bell);
    if (d->match_value)
        address = take_out(ds, bell_find(ds, address_kind(d->is_port), d->address, 0));
    __atomic_fetch_add(&p->bells_gone, 1, __ATOMIC_SEQ_CST); /* who remembers them looks anew */
    partition_flush(p);                                      /* who has found them has signalled */
    free_bell(bell);
    free_bell(address);
    free_bell(page);
}

static enum hv_status have_table(struct hv_partition *p)
{
    struct doorbells *ds;

    if (p->doorbells)
        return HV_OK;
    ds = hv_host_alloc(sizeof(*ds));
    if (!ds)
        return HV_E_NO_MEMORY;
    if (bell_table_create(ds) != HV_OK) {
        hv_host_free(ds, sizeof(*ds));
        return HV_E_NO_MEMORY;
    }
    __atomic_store_n(&p->doorbells, ds, __ATOMIC_RELEASE);
    return HV_OK;
}

/* What can be refused. HV_OK: *parts is complete. */
static enum hv_status prepare(struct hv_partition *p, struct parts *parts, const struct hv_doorbell *d)
{
    enum hv_status st = have_table(p);

    if (st != HV_OK)
        return st;
    if (is_conflict(p->doorbells, d))
        return HV_E_CONFLICT;
    st = make_parts(parts, p->doorbells, d);
    if (st != HV_OK)
        free_parts(parts);
    return st;
}

static enum hv_status register_locked(struct hv_partition *p, const struct hv_doorbell *d, void *handle,
                                      const void *owner)
{
    struct hv_host_event *event;
    struct parts parts = {0};
    struct bell *bell;
    enum hv_status st;

    if (!p->is_set_up)
        return HV_E_STATE;
    if (!is_match(d) || !is_place(p, d))
        return HV_E_INVALID;
    event = hv_host_event_get(handle);
    if (!event)
        return HV_E_INVALID;
    st = prepare(p, &parts, d);
    if (st != HV_OK) {
        hv_host_event_put(event);
        return st;
    }
    bell = insert_parts(p, &parts, d, event);
    bell->owner = owner;
    if (parts.page)
        st = overlay_place(p, &parts.page->hole, parts.page->bell.address, NULL, 0);
    if (st != HV_OK)
        remove_parts(p, d, bell); /* with the event */
    return st;
}

enum hv_status doorbell_add(struct hv_partition *p, const struct hv_doorbell *doorbell, void *event, const void *owner)
{
    enum hv_status st;

    hv_mutex_lock(&p->mutex);
    st = register_locked(p, doorbell, event, owner);
    hv_mutex_unlock(&p->mutex);
    return st;
}

enum hv_status hv_partition_register_doorbell(struct hv_partition *p, const struct hv_doorbell *doorbell, void *event)
{
    return doorbell_add(p, doorbell, event, NULL);
}

/* -------------------------------------------------------------------------------- unregistering */

/* The bell that has the event. NULL: not registered with just these fields. */
static struct bell *find_exact(const struct doorbells *ds, const struct hv_doorbell *d)
{
    struct bell *there = ds ? bell_find(ds, address_kind(d->is_port), d->address, 0) : NULL;

    if (!there || there->length != d->length || !there->event != d->match_value)
        return NULL;
    return d->match_value ? bell_find(ds, value_kind(d->is_port), d->address, d->value) : there;
}

static enum hv_status unregister_locked(struct hv_partition *p, const struct hv_doorbell *d, const void *owner)
{
    struct bell *bell;

    if (!p->is_set_up)
        return HV_E_STATE;
    bell = is_match(d) ? find_exact(p->doorbells, d) : NULL;
    if (!bell || bell->owner != owner)
        return HV_E_NOT_FOUND;
    remove_parts(p, d, bell);
    return HV_OK;
}

enum hv_status doorbell_take_away(struct hv_partition *p, const struct hv_doorbell *doorbell, const void *owner)
{
    enum hv_status st;

    hv_mutex_lock(&p->mutex);
    st = unregister_locked(p, doorbell, owner);
    hv_mutex_unlock(&p->mutex);
    return st;
}

enum hv_status hv_partition_unregister_doorbell(struct hv_partition *p, const struct hv_doorbell *doorbell)
{
    return doorbell_take_away(p, doorbell, NULL);
}

void doorbell_free_all(struct hv_partition *p)
{
    struct doorbells *ds = p->doorbells;

    if (!ds)
        return;
    bell_table_destroy(ds, free_bell);
    hv_host_free(ds, sizeof(*ds));
    p->doorbells = NULL;
}

/* -------------------------------------------------------------------------------------- ringing */

const struct bell *doorbell_at(const struct hv_vp *vp, bool is_port, uint64_t address)
{
    const struct doorbells *ds = __atomic_load_n(&vp->partition->doorbells, __ATOMIC_ACQUIRE);

    if (!ds || (is_port && !__atomic_load_n(&ds->ports, __ATOMIC_RELAXED)))
        return NULL;
    return bell_find(ds, address_kind(is_port), address, 0);
}

/* What changes while we look is seen with the next count. */
const struct bell *doorbell_find_in_hole(struct hv_vp *vp, hv_gpa_t gpa)
{
    uint64_t generation = __atomic_load_n(&vp->partition->npt_generation, __ATOMIC_ACQUIRE);
    uint64_t gone = __atomic_load_n(&vp->partition->bells_gone, __ATOMIC_ACQUIRE);
    const struct bell *bell = doorbell_at(vp, false, gpa);

    if (!bell || !gpa_is_hole(vp, gpa))
        return NULL;
    vp->bell.bell = bell;
    vp->bell.gpa = gpa;
    vp->bell.generation = generation;
    vp->bell.gone = gone;
    return bell;
}

bool doorbell_ring_at(const struct hv_vp *vp, const struct bell *bell, uint32_t size, uint64_t value)
{
    if (bell->length && bell->length != size)
        return false;
    if (!bell->event)
        bell = bell_find(vp->partition->doorbells, value_kind(bell->kind == BELL_PORT), bell->address,
                         value & ~0ull >> (64 - 8 * size));
    if (bell)
        hv_host_event_signal(bell->event);
    return bell;
}

bool doorbell_ring(struct hv_vp *vp, bool is_port, uint64_t address, uint32_t size, uint64_t value)
{
    uint64_t flags = vp_walk_begin(vp);
    const struct bell *bell = doorbell_at(vp, is_port, address);
    bool has_rung = bell && doorbell_ring_at(vp, bell, size, value);

    vp_walk_end(vp, flags);
    return has_rung;
}
