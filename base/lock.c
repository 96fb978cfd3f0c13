/* SPDX-License-Identifier: MIT */
#include <hv/base/lock.h>

void hv_mutex_lock(struct hv_mutex *m)
{
    uint32_t seen = 0;

    if (__atomic_compare_exchange_n(&m->state, &seen, 1, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
        return;
    while (__atomic_exchange_n(&m->state, 2, __ATOMIC_ACQUIRE) != 0)
        hv_host_wait(&m->state, 2, 0);
}

void hv_mutex_unlock(struct hv_mutex *m)
{
    if (__atomic_exchange_n(&m->state, 0, __ATOMIC_RELEASE) == 2)
        hv_host_wake(&m->state);
}
