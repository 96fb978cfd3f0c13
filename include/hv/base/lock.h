/* SPDX-License-Identifier: MIT */
/*
 * Locks of the library.
 *
 * hv_mutex: for thread context; the holder may sleep and allocate. Built on hv_host_wait.
 * hv_spin:  for a few instructions, held with interrupts off; the holder must not sleep.
 */
#ifndef HV_BASE_LOCK_H
#define HV_BASE_LOCK_H

#include <hv/host.h>

struct hv_mutex {
    volatile uint32_t state; /* 0 free, 1 held, 2 held and someone sleeps on it */
};

void hv_mutex_lock(struct hv_mutex *m);
void hv_mutex_unlock(struct hv_mutex *m);

struct hv_spin {
    volatile uint32_t held;
};

static inline uint64_t hv_spin_lock(struct hv_spin *s)
{
    uint64_t flags = hv_host_irq_save();

    while (__atomic_exchange_n(&s->held, 1, __ATOMIC_ACQUIRE))
        while (__atomic_load_n(&s->held, __ATOMIC_RELAXED))
            __builtin_ia32_pause();
    return flags;
}

static inline void hv_spin_unlock(struct hv_spin *s, uint64_t flags)
{
    __atomic_store_n(&s->held, 0, __ATOMIC_RELEASE);
    hv_host_irq_restore(flags);
}

#endif
