/* SPDX-License-Identifier: MIT */
/*
 * Overlays: see overlay.h.
 *
 * Those that show, one for each place, are a binary search tree by address, so that changes of the map find the next
 * one quickly. It is a treap: also a heap by a number made from the address, which keeps it flat.
 */
#include "overlay.h"
#include "gpa.h"
#include <hv/base/assert.h>
#include <hv/base/log.h>

/* ------------------------------------------------------------------------------------ the tree */

static uint64_t rank(const struct overlay *o)
{
    uint64_t x = o->cover.gpa / HV_PAGE_SIZE;

    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9ull;
    x = (x ^ x >> 27) * 0x94d049bb133111ebull;
    return x ^ x >> 31;
}

/* Where the one at this address hangs, or would. */
static struct overlay **tree_find(struct overlay **at, hv_gpa_t gpa)
{
    while (*at && (*at)->cover.gpa != gpa)
        at = gpa < (*at)->cover.gpa ? &(*at)->left : &(*at)->right;
    return at;
}

/* Distributes a tree to those below and above an address where there is none. */
static void tree_split(struct overlay *tree, hv_gpa_t gpa, struct overlay **below, struct overlay **above)
{
    while (tree) {
        if (tree->cover.gpa < gpa) {
            *below = tree;
            below = &tree->right;
            tree = tree->right;
        } else {
            *above = tree;
            above = &tree->left;
            tree = tree->left;
        }
    }
    *below = *above = NULL;
}

static void tree_insert(struct overlay **at, struct overlay *o)
{
    hv_gpa_t gpa = o->cover.gpa;

    while (*at && rank(*at) >= rank(o))
        at = gpa < (*at)->cover.gpa ? &(*at)->left : &(*at)->right;
    tree_split(*at, gpa, &o->left, &o->right);
    *at = o;
}

/* In place of the one that hangs there: what hangs below it. */
static void tree_remove(struct overlay **at)
{
    struct overlay *left = (*at)->left, *right = (*at)->right;

    while (left && right) {
        if (rank(left) >= rank(right)) {
            *at = left;
            at = &left->right;
            left = left->right;
        } else {
            *at = right;
            at = &right->left;
            right = right->left;
        }
    }
    *at = left ? left : right;
}

/* For npt.h. */
static struct npt_cover *next_cover(void *arg, hv_gpa_t gpa)
{
    const struct hv_partition *p = arg;
    struct overlay *found = NULL;

    for (struct overlay *o = p->overlays; o; o = o->cover.gpa < gpa ? o->right : o->left)
        if (o->cover.gpa >= gpa)
            found = o;
    return found ? &found->cover : NULL;
}

/* ---------------------------------------------------------------------- several at one place */

/* Takes the place of the one that hangs there, in the tree; and what is hidden is behind it now. */
static void tree_replace(struct overlay **at, struct overlay *o)
{
    o->cover.hidden = (*at)->cover.hidden;
    o->left = (*at)->left;
    o->right = (*at)->right;
    *at = o;
}

/* `hidden`: behind the first one. */
static void stack_push(struct hv_partition *p, struct overlay *o, uint64_t hidden)
{
    struct overlay **at = tree_find(&p->overlays, o->cover.gpa);

    o->below = *at;
    if (*at) {
        tree_replace(at, o);
    } else {
        o->cover.hidden = hidden;
        tree_insert(&p->overlays, o);
    }
    o->is_placed = true;
    p->npt.cover_arg = p;
    p->npt.next_cover = next_cover;
}

/* True: it was the one that showed. */
static bool stack_pull(struct hv_partition *p, struct overlay *o)
{
    struct overlay **at = tree_find(&p->overlays, o->cover.gpa);
    bool was_shown = *at == o;

    if (!was_shown) {
        struct overlay **below = at;

        while (*below != o) {
            HV_ASSERT(*below != NULL); /* it is one of those at its place */
            below = &(*below)->below;
        }
        *below = o->below;
    } else if (o->below) {
        tree_replace(at, o->below);
    } else {
        tree_remove(at);
    }
    o->is_placed = false;
    if (!p->overlays)
        p->npt.next_cover = NULL;
    return was_shown;
}

/* ---------------------------------------------------------------------------- in the tables */

/* The tables are there: nothing can fail. */
static void show_again(struct hv_partition *p, const struct overlay *o)
{
    uint64_t ignored;
    enum hv_status st = npt_cover(&p->npt, o->cover.gpa, o->pa, o->rights, &ignored);

    HV_ASSERT(st == HV_OK);
}

/* After stack_pull: `o` was the one that showed. */
static void show_behind(struct hv_partition *p, const struct overlay *o)
{
    if (o->below)
        show_again(p, o->below);
    else
        npt_uncover(&p->npt, o->cover.gpa, o->cover.hidden);
}

/*
 * Who was about to write to the page that is hidden now may have told nobody of it: it then counts as written. Who
 * began before has ended.
 */
static void publish(struct hv_partition *p, struct overlay *o, uint32_t missed_before)
{
    const struct npt_format *f = p->npt.format;

    gpa_publish(p);
    if (o->cover.hidden & f->tracked && __atomic_load_n(&p->npt.missed_marks, __ATOMIC_SEQ_CST) != missed_before)
        o->cover.hidden |= f->dirty;
}

static bool is_allowed(const struct hv_partition *p, hv_gpa_t gpa)
{
    return gpa_is_guest_range(p, gpa, HV_PAGE_SIZE) && !gpa_covers_apic(p, gpa, HV_PAGE_SIZE);
}

enum hv_status overlay_place(struct hv_partition *p, struct overlay *o, hv_gpa_t gpa, void *page, unsigned rights)
{
    hv_hpa_t pa = page ? hv_host_virt_to_phys(page, NULL) : HV_HPA_NONE;
    uint32_t missed_before = __atomic_load_n(&p->npt.missed_marks, __ATOMIC_SEQ_CST);
    struct overlay before = *o;
    bool was_shown;
    uint64_t hidden;
    enum hv_status st;

    if (!is_allowed(p, gpa))
        return HV_E_INVALID;
    st = npt_cover(&p->npt, gpa, pa, rights, &hidden);
    if (st != HV_OK)
        return st;
    if (o->is_placed && o->cover.gpa == gpa)
        hidden = (*tree_find(&p->overlays, gpa))->cover.hidden; /* not what has just been covered */
    was_shown = o->is_placed && stack_pull(p, o);
    *o = (struct overlay){.cover.gpa = gpa, .page = page, .pa = pa, .rights = rights};
    stack_push(p, o, hidden);
    if (was_shown && before.cover.gpa != gpa)
        show_behind(p, &before);
    publish(p, o, missed_before);
    return HV_OK;
}

void overlay_remove(struct hv_partition *p, struct overlay *o)
{
    if (!o->is_placed || !stack_pull(p, o))
        return;
    show_behind(p, o);
    gpa_publish(p);
}

void overlay_forget(struct hv_partition *p)
{
    p->overlays = NULL;
    p->npt.next_cover = NULL;
}

/* ------------------------------------------------------------------------------ by registers */

#define READ_WRITE   (NPT_READ | NPT_WRITE)
#define READ_EXECUTE (NPT_READ | NPT_EXECUTE)

/* A register that says where a page is. NULL: the guest is not offered this one. */
static void follow(struct hv_partition *p, struct overlay *o, uint64_t msr, void *page, unsigned rights)
{
    hv_gpa_t gpa = msr & HV_PAGE_ADDRESS;
    enum hv_status st;

    if (!page || !(msr & HV_PAGE_ENABLE)) {
        overlay_remove(p, o);
        return;
    }
    if (o->is_placed && o->cover.gpa == gpa)
        return;
    st = overlay_place(p, o, gpa, page, rights);
    if (st == HV_OK)
        return;
    overlay_remove(p, o);
    if (st == HV_E_NO_MEMORY)
        hv_log(HV_LOG_WARNING, "no memory to put a page in place that the guest has asked for");
}

void overlay_apply_locked(struct hv_vp *vp)
{
    struct hv_partition *p = vp->partition;
    uint64_t hypercall = __atomic_load_n(&p->guest.hypercall, __ATOMIC_RELAXED);
    uint64_t tsc = __atomic_load_n(&p->guest.reference_tsc, __ATOMIC_RELAXED);
    struct synic *s = &vp->synic;

    vp->overlays_stale = false;
    follow(p, &p->guest.hypercall_overlay, hypercall, p->guest.hypercall_page, READ_EXECUTE);
    follow(p, &p->guest.tsc_overlay, tsc, p->guest.tsc_page, NPT_READ);
    follow(p, &s->message_page, s->simp, s->messages, READ_WRITE);
    follow(p, &s->flag_page, s->siefp, (void *)s->flags, READ_WRITE);
    follow(p, &vp->assist, vp->assist_msr, vp->assist_page, READ_WRITE);
}

void overlay_apply(struct hv_vp *vp)
{
    hv_mutex_lock(&vp->partition->mutex);
    overlay_apply_locked(vp);
    hv_mutex_unlock(&vp->partition->mutex);
}

void overlay_drop_vp(struct hv_vp *vp)
{
    overlay_remove(vp->partition, &vp->synic.message_page);
    overlay_remove(vp->partition, &vp->synic.flag_page);
    overlay_remove(vp->partition, &vp->assist);
}
