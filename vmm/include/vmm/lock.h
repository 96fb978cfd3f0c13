/* SPDX-License-Identifier: MIT */
/* A lock for threads; not recursive. All zero is unlocked. */
#ifndef VMM_LOCK_H
#define VMM_LOCK_H

#include <stdint.h>
#include <vmm/system.h>

struct lock {
    volatile uint32_t word; /* 0 free, 1 held, 2 held and somebody waits */
};

static inline void lock_take(struct lock *l)
{
    uint32_t seen = 0;

    if (__atomic_compare_exchange_n(&l->word, &seen, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    while (__atomic_exchange_n(&l->word, 2, __ATOMIC_ACQUIRE))
        system_wait(&l->word, 2, SYSTEM_FOREVER);
}

static inline void lock_release(struct lock *l)
{
    if (__atomic_exchange_n(&l->word, 0, __ATOMIC_RELEASE) == 2)
        system_wake(&l->word);
}

#endif
