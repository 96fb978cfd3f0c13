/* SPDX-License-Identifier: MIT */
/* Sleeping on a word. Buckets only make the search short; the scheduler's lock guards them. */
#include "sched.h"
#include <hv/base/bits.h>
#include <kernel/clock.h>

#define BUCKETS 64

struct bucket {
    struct hv_list waiters;
    uint32_t count; /* atomic: threads that are in thread_wait with a word of this bucket */
};

static struct bucket buckets[BUCKETS];

static struct bucket *bucket_of(const volatile uint32_t *word)
{
    return &buckets[((uintptr_t)word / sizeof(*word) * 0x9e3779b97f4a7c15ull >> 32) % BUCKETS];
}

/* Registering in count comes before reading the word, and thread_wake reads count after the word was written: one of
 * the two sees the other. */
void thread_wait(const volatile uint32_t *word, uint32_t expected, uint64_t deadline_ns)
{
    struct bucket *b = bucket_of(word);
    struct thread *t;
    uint64_t flags;

    if (deadline_ns && clock_ns() >= deadline_ns)
        return;
    __atomic_fetch_add(&b->count, 1, __ATOMIC_SEQ_CST);
    flags = sched_lock();
    if (*word == expected) {
        t = this_cpu()->current;
        t->waiting_on = word;
        if (!b->waiters.next)
            hv_list_init(&b->waiters);
        hv_list_add_tail(&b->waiters, &t->link);
        sched_block(deadline_ns);
    }
    sched_unlock(flags);
    __atomic_fetch_sub(&b->count, 1, __ATOMIC_RELAXED);
}

void wait_wake_locked(const volatile uint32_t *word)
{
    struct hv_list *head = &bucket_of(word)->waiters, *next;

    for (struct hv_list *n = head->next; n && n != head; n = next) {
        struct thread *t = CONTAINER_OF(n, struct thread, link);

        next = n->next;
        if (t->waiting_on == word)
            sched_wake(t);
    }
}

static __attribute__((noinline)) void wake_waiters(const volatile uint32_t *word)
{
    uint64_t flags = sched_lock();

    wait_wake_locked(word);
    sched_unlock(flags);
    if ((flags & RFLAGS_IF) && !preempt_count() && this_cpu()->need_resched)
        sched_preempt();
}

/* Mostly nobody waits: that is seen before any register is saved. */
void thread_wake(const volatile uint32_t *word)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&bucket_of(word)->count, __ATOMIC_RELAXED))
        wake_waiters(word);
}
