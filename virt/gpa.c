/* SPDX-License-Identifier: MIT */
/* Guest-physical memory: mapping it, and reaching it as the owner of a VP. */
#include "gpa.h"
#include "walk.h"
#include <hv/base/bits.h>
#include <hv/base/memory.h>

#define GPA_ACCESS_MAX 16u /* bytes of one hv_vp_read_gpa or hv_vp_write_gpa */

/* ------------------------------------------------------------------------------- the map */

/* What a client maps; but where the local APICs are, its memory does not show. */
struct source {
    const char *memory;
    uint64_t apic_offset; /* of the APICs' page in the range; beyond its end when it is not in it */
    hv_hpa_t apic_access_pa;
    const struct gpa_withdrawal *withdrawn;
};

static bool is_withdrawn(const struct gpa_withdrawal *w, hv_hpa_t pa, uint64_t size)
{
    for (; w; w = w->next)
        if (pa < w->pa + w->size && w->pa < pa + size)
            return true;
    return false;
}

static hv_hpa_t source_page(void *arg, uint64_t offset, uint64_t *size)
{
    const struct source *s = arg;
    hv_hpa_t pa;

    if (offset == s->apic_offset) {
        *size = HV_PAGE_SIZE;
        return s->apic_access_pa;
    }
    if (offset < s->apic_offset)
        *size = HV_MIN(*size, s->apic_offset - offset);
    pa = hv_host_virt_to_phys(s->memory + offset, size);
    return s->withdrawn && is_withdrawn(s->withdrawn, pa, *size) ? HV_HPA_NONE : pa;
}

/* ------------------------------------------------------------------- where local APICs are */

bool gpa_covers_apic(const struct hv_partition *p, hv_gpa_t gpa, uint64_t size)
{
    return p->properties.local_apic_mode != HV_LOCAL_APIC_NONE && gpa <= APIC_DEFAULT_BASE &&
           APIC_DEFAULT_BASE - gpa < size;
}

static enum hv_status map_apic_page(struct hv_partition *p)
{
    struct source source = {.apic_offset = 0, .apic_access_pa = p->apic_access_pa};

    return npt_map(&p->npt, APIC_DEFAULT_BASE, HV_PAGE_SIZE, source_page, &source, NPT_READ | NPT_WRITE);
}

enum hv_status gpa_map_apic(struct hv_partition *p)
{
    enum hv_status st;

    if (p->properties.local_apic_mode == HV_LOCAL_APIC_NONE ||
        !(backend()->apic_features(VCPU_APIC_XAPIC) & VCPU_APIC_ACCESS))
        return HV_OK;
    p->apic_access = hv_host_page_alloc();
    if (!p->apic_access)
        return HV_E_NO_MEMORY;
    p->apic_access_pa = hv_host_virt_to_phys(p->apic_access, NULL);
    st = map_apic_page(p);
    if (st != HV_OK) {
        hv_host_page_free(p->apic_access);
        p->apic_access = NULL;
        p->apic_access_pa = HV_HPA_NONE;
    }
    return st;
}

/* ------------------------------------------------------------------------- changes of the map */

bool gpa_is_guest_range(const struct hv_partition *p, hv_gpa_t gpa, uint64_t size)
{
    hv_gpa_t limit = HV_MIN(cpu_facts()->guest_physical_limit, BIT64(p->properties.physical_address_width));

    return size && IS_ALIGNED(gpa | size, HV_PAGE_SIZE) && gpa < limit && size <= limit - gpa;
}

static bool is_source_range(const void *source, uint64_t size)
{
    uintptr_t start = (uintptr_t)source;

    return start && IS_ALIGNED(start, HV_PAGE_SIZE) && start + (size - 1) > start;
}

void gpa_publish(struct hv_partition *p)
{
    __atomic_fetch_add(&p->npt_generation, 1, __ATOMIC_SEQ_CST);
    partition_flush(p);
    npt_reap(&p->npt);
}

/* The change to the tables that VPs use lies in between. */
static enum hv_status follow_begin(struct hv_partition *p, const struct gpa_change *change)
{
    return p->follower ? p->follower->prepare(p, change) : HV_OK;
}

static void follow_end(struct hv_partition *p, const struct gpa_change *change, enum hv_status st)
{
    if (!p->follower)
        return;
    if (st == HV_OK)
        p->follower->make(p, change);
    else
        p->follower->abandon(p);
}

static enum hv_status map_locked(struct hv_partition *p, const void *source, hv_gpa_t gpa, uint64_t size,
                                 uint32_t flags)
{
    struct source from = {source, UINT64_MAX, p->apic_access_pa, p->withdrawn}, whole = from;
    const struct gpa_change change = {gpa, size, source_page, &whole, flags & NPT_RIGHTS};
    enum hv_status st;

    if (!p->is_set_up)
        return HV_E_STATE;
    if (!gpa_is_guest_range(p, gpa, size) || !is_source_range(source, size) || !flags ||
        flags & ~(NPT_RIGHTS | NPT_TRACK))
        return HV_E_INVALID;
    if (gpa_covers_apic(p, gpa, size)) {
        if (!p->apic_access) /* then the page has to stay a hole */
            return HV_E_INVALID;
        from.apic_offset = APIC_DEFAULT_BASE - gpa;
    }
    st = follow_begin(p, &change);
    if (st != HV_OK)
        return st;
    st = npt_map(&p->npt, gpa, size, source_page, &from, flags);
    follow_end(p, &change, st);
    if (st == HV_OK)
        gpa_publish(p);
    return st;
}

static enum hv_status unmap_locked(struct hv_partition *p, hv_gpa_t gpa, uint64_t size)
{
    const struct gpa_change change = {.gpa = gpa, .size = size};
    enum hv_status st;

    if (!p->is_set_up)
        return HV_E_STATE;
    if (!gpa_is_guest_range(p, gpa, size))
        return HV_E_INVALID;
    st = follow_begin(p, &change);
    if (st != HV_OK)
        return st;
    st = npt_unmap(&p->npt, gpa, size);
    follow_end(p, &change, st);
    if (st != HV_OK)
        return st;
    if (p->apic_access && gpa_covers_apic(p, gpa, size))
        (void)map_apic_page(p); /* without memory for it: its registers are reached by emulation, more slowly */
    gpa_publish(p);
    return HV_OK;
}

enum hv_status hv_partition_map(struct hv_partition *p, const void *source, hv_gpa_t gpa, uint64_t size, uint32_t flags)
{
    enum hv_status st;

    hv_mutex_lock(&p->mutex);
    st = map_locked(p, source, gpa, size, flags);
    hv_mutex_unlock(&p->mutex);
    return st;
}

enum hv_status hv_partition_unmap(struct hv_partition *p, hv_gpa_t gpa, uint64_t size)
{
    enum hv_status st;

    hv_mutex_lock(&p->mutex);
    st = unmap_locked(p, gpa, size);
    hv_mutex_unlock(&p->mutex);
    return st;
}

/* Pages of the host's, and the first range where some of them are mapped. */
struct search {
    hv_hpa_t pa;
    uint64_t size;
    hv_gpa_t gpa;
    uint64_t found;
};

static void look_at_leaf(void *arg, hv_gpa_t gpa, uint64_t size, hv_hpa_t pa, unsigned rights)
{
    struct search *s = arg;
    hv_hpa_t start = HV_MAX(pa, s->pa), end = HV_MIN(pa + size, s->pa + s->size);

    (void)rights;
    if (start >= end)
        return;
    if (!s->found)
        s->gpa = gpa + (start - pa);
    if (s->gpa + s->found == gpa + (start - pa))
        s->found += end - start;
}

enum hv_status gpa_withdraw(struct hv_partition *p, struct gpa_withdrawal *w)
{
    hv_hpa_t start = w->pa & ~HV_PAGE_MASK;
    struct search s = {.pa = start, .size = ALIGN_UP(w->pa + w->size, HV_PAGE_SIZE) - start};
    enum hv_status st;

    hv_mutex_lock(&p->mutex);
    do {
        s.found = 0;
        npt_each(&p->npt, look_at_leaf, &s);
        st = s.found ? unmap_locked(p, s.gpa, s.found) : HV_OK;
    } while (s.found && st == HV_OK);
    if (st == HV_OK) {
        w->pa = s.pa;
        w->size = s.size;
        w->next = p->withdrawn;
        p->withdrawn = w;
    }
    hv_mutex_unlock(&p->mutex);
    return st;
}

void gpa_give_back(struct hv_partition *p, struct gpa_withdrawal *w)
{
    struct gpa_withdrawal **at = &p->withdrawn;

    hv_mutex_lock(&p->mutex);
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    hv_mutex_unlock(&p->mutex);
}

/* 8-byte words that hold a bit for each page, or none at all. */
static bool is_bitmap(const uint64_t *bitmap, uint32_t bytes, uint64_t size)
{
    if (!bitmap)
        return bytes == 0;
    return IS_ALIGNED((uintptr_t)bitmap | bytes, 8) && bytes * 8ull >= size / HV_PAGE_SIZE;
}

/* What devices write is in no dirty bit: once there was one, each page may have been written. */
static void mark_all(uint64_t *bitmap, uint64_t pages)
{
    for (uint64_t i = 0; i < pages; i++)
        bitmap[i / 64] |= BIT64(i % 64);
}

static enum hv_status query_dirty_locked(struct hv_partition *p, hv_gpa_t gpa, uint64_t size, uint64_t *bitmap,
                                         uint32_t bytes)
{
    uint64_t count = 0;
    enum hv_status st;

    if (!p->is_set_up)
        return HV_E_STATE;
    if (!gpa_is_guest_range(p, gpa, size) || !is_bitmap(bitmap, bytes, size))
        return HV_E_INVALID;
    if (bitmap)
        memset(bitmap, 0, bytes);
    st = npt_take_dirty(&p->npt, gpa, size, bitmap, &count);
    if (st == HV_OK && bitmap && p->dma.has_been)
        mark_all(bitmap, size / HV_PAGE_SIZE);
    if (st == HV_OK && count) /* CPUs hold no dirty translation of a page whose bit was clear */
        gpa_publish(p);
    return st;
}

enum hv_status hv_partition_query_dirty(struct hv_partition *p, hv_gpa_t gpa, uint64_t size, uint64_t *bitmap,
                                        uint32_t bitmap_bytes)
{
    enum hv_status st;

    hv_mutex_lock(&p->mutex);
    st = query_dirty_locked(p, gpa, size, bitmap, bitmap_bytes);
    hv_mutex_unlock(&p->mutex);
    return st;
}

void hv_partition_memory_counters(struct hv_partition *p, struct hv_memory_counters *out)
{
    struct npt_counts counts = {.tables = 0};

    hv_mutex_lock(&p->mutex);
    if (p->is_set_up)
        counts = npt_count(&p->npt);
    hv_mutex_unlock(&p->mutex);
    *out = (struct hv_memory_counters){
        .mapped_4k = counts.pages[1],
        .mapped_2m = counts.pages[2],
        .mapped_1g = counts.pages[3],
    };
}

/* ---------------------------------------------------------------------- access by the owner */

void *gpa_reach(struct hv_vp *vp, hv_gpa_t gpa, unsigned rights, struct npt_leaf *leaf)
{
    char *page;

    if (!npt_lookup(&vp->partition->npt, gpa, leaf) || (leaf->rights & rights) != rights ||
        (leaf->pa & ~HV_PAGE_MASK) == vp->partition->apic_access_pa)
        return NULL;
    page = hv_host_phys_to_virt(leaf->pa & ~HV_PAGE_MASK);
    return page ? page + (leaf->pa & HV_PAGE_MASK) : NULL;
}

/*
 * Aligned words are copied as such: they may be page-table entries, which the guest changes as we look. `guest` is the
 * guest's side.
 */
static void copy_from_guest(void *to, const void *guest, size_t size)
{
    if (size == 8 && IS_ALIGNED((uintptr_t)guest, 8)) {
        uint64_t word = __atomic_load_n((const uint64_t *)guest, __ATOMIC_RELAXED);

        memcpy(to, &word, 8);
    } else if (size == 4 && IS_ALIGNED((uintptr_t)guest, 4)) {
        uint32_t word = __atomic_load_n((const uint32_t *)guest, __ATOMIC_RELAXED);

        memcpy(to, &word, 4);
    } else {
        memcpy(to, guest, size);
    }
}

static void copy_to_guest(void *guest, const void *from, size_t size)
{
    uint64_t word8;
    uint32_t word4;

    if (size == 8 && IS_ALIGNED((uintptr_t)guest, 8)) {
        memcpy(&word8, from, 8);
        __atomic_store_n((uint64_t *)guest, word8, __ATOMIC_RELAXED);
    } else if (size == 4 && IS_ALIGNED((uintptr_t)guest, 4)) {
        memcpy(&word4, from, 4);
        __atomic_store_n((uint32_t *)guest, word4, __ATOMIC_RELAXED);
    } else {
        memcpy(guest, from, size);
    }
}

/* How much of [gpa, gpa + size) lies in gpa's page. */
static size_t bytes_in_page(hv_gpa_t gpa, size_t size)
{
    return HV_MIN(size, HV_PAGE_SIZE - (gpa & HV_PAGE_MASK));
}

enum hv_status gpa_read(struct hv_vp *vp, hv_gpa_t gpa, void *data, size_t size)
{
    for (size_t n; size; size -= n, gpa += n, data = (char *)data + n) {
        uint64_t flags = vp_walk_begin(vp);
        struct npt_leaf leaf;
        const void *guest = gpa_reach(vp, gpa, NPT_READ, &leaf);

        n = bytes_in_page(gpa, size);
        if (guest)
            copy_from_guest(data, guest, n);
        vp_walk_end(vp, flags);
        if (!guest)
            return HV_E_ACCESS_DENIED;
    }
    return HV_OK;
}

enum hv_status gpa_write(struct hv_vp *vp, hv_gpa_t gpa, const void *data, size_t size)
{
    for (size_t n; size; size -= n, gpa += n, data = (const char *)data + n) {
        uint64_t flags = vp_walk_begin(vp);
        struct npt_leaf leaf;
        void *guest = gpa_reach(vp, gpa, NPT_WRITE, &leaf);

        n = bytes_in_page(gpa, size);
        if (guest) {
            copy_to_guest(guest, data, n);
            npt_mark_dirty(&vp->partition->npt, &leaf);
        }
        vp_walk_end(vp, flags);
        if (!guest)
            return HV_E_ACCESS_DENIED;
    }
    return HV_OK;
}

int gpa_rights(struct hv_vp *vp, hv_gpa_t gpa)
{
    uint64_t flags = vp_walk_begin(vp);
    struct npt_leaf leaf;
    int rights = npt_lookup(&vp->partition->npt, gpa, &leaf) ? (int)leaf.rights : -1;

    vp_walk_end(vp, flags);
    return rights;
}

/* A change of the tables that is under way since before we look is not published yet: it is seen with the next count.
 */
bool gpa_find_hole(struct hv_vp *vp, hv_gpa_t gpa)
{
    uint64_t generation = __atomic_load_n(&vp->partition->npt_generation, __ATOMIC_ACQUIRE);

    if (gpa_rights(vp, gpa) >= 0)
        return false;
    vp->hole.page = GPA_HOLE(gpa);
    vp->hole.generation = generation;
    return true;
}

static bool set_bits(void *entry, unsigned size, uint64_t expected, uint64_t bits)
{
    uint32_t expected4 = (uint32_t)expected;

    if (size == 4)
        return __atomic_compare_exchange_n((uint32_t *)entry, &expected4, expected4 | (uint32_t)bits, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    return __atomic_compare_exchange_n((uint64_t *)entry, &expected, expected | bits, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED);
}

bool gpa_set_bits(struct hv_vp *vp, hv_gpa_t gpa, unsigned size, uint64_t expected, uint64_t bits)
{
    uint64_t flags = vp_walk_begin(vp);
    struct npt_leaf leaf;
    void *entry = IS_ALIGNED(gpa, size) ? gpa_reach(vp, gpa, NPT_READ | NPT_WRITE, &leaf) : NULL;
    bool done = entry && set_bits(entry, size, expected, bits);

    if (done)
        npt_mark_dirty(&vp->partition->npt, &leaf);
    vp_walk_end(vp, flags);
    return done;
}

/* ---------------------------------------------------------------------- access by the client */

/* Could this byte be written now? */
static bool is_writable(struct hv_vp *vp, hv_gpa_t gpa)
{
    uint64_t flags = vp_walk_begin(vp);
    struct npt_leaf leaf;
    bool yes = gpa_reach(vp, gpa, NPT_WRITE, &leaf) != NULL;

    vp_walk_end(vp, flags);
    return yes;
}

enum hv_status hv_vp_read_gpa(struct hv_vp *vp, hv_gpa_t gpa, void *data, uint32_t size)
{
    uint8_t bytes[GPA_ACCESS_MAX];
    enum hv_status st;

    if (size == 0 || size > sizeof(bytes))
        return HV_E_INVALID;
    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    st = gpa_read(vp, gpa, bytes, size);
    vp_release(vp);
    if (st == HV_OK)
        memcpy(data, bytes, size);
    return st;
}

/* Two pages at most: when the last byte can be written, and then the first ones were, the whole was. */
enum hv_status hv_vp_write_gpa(struct hv_vp *vp, hv_gpa_t gpa, const void *data, uint32_t size)
{
    enum hv_status st = HV_E_ACCESS_DENIED;

    if (size == 0 || size > GPA_ACCESS_MAX)
        return HV_E_INVALID;
    if (!vp_claim(vp))
        return HV_E_VP_BUSY;
    if (is_writable(vp, gpa + size - 1))
        st = gpa_write(vp, gpa, data, size);
    vp_release(vp);
    return st;
}
