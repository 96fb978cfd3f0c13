/* SPDX-License-Identifier: MIT */
/* A lock for a few instructions, held with interrupts off: usable from threads and interrupt handlers alike. */
#ifndef KERNEL_LOCK_H
#define KERNEL_LOCK_H

#include <kernel/cpu.h>

struct spinlock {
    volatile uint32_t held; /* all zeroes is a free lock */
};

static inline uint64_t spin_lock(struct spinlock *s)
{
    uint64_t flags = irq_save();

    while (__atomic_exchange_n(&s->held, 1, __ATOMIC_ACQUIRE))
        while (__atomic_load_n(&s->held, __ATOMIC_RELAXED))
            cpu_relax();
    return flags;
}

static inline void spin_unlock(struct spinlock *s, uint64_t flags)
{
    __atomic_store_n(&s->held, 0, __ATOMIC_RELEASE);
    irq_restore(flags);
}

#endif
