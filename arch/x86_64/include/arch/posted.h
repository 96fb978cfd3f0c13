/* SPDX-License-Identifier: MIT */
/*
 * Posted interrupts: a descriptor in memory, one for each VP, that interrupts of devices are put into without the host
 * having to do anything: by remapping hardware (arch/iommu.h), and read by the CPU while it runs the VP, or by the
 * core. posted.c has the protocol.
 */
#ifndef ARCH_POSTED_H
#define ARCH_POSTED_H

#include <hv/base/bits.h>
#include <hv/base/lock.h>
#include <hv/types.h>

/* Of posted.control (SDM 3C table 30-1, VT-d 9.11) */
#define POSTED_ON     BIT64(0)       /* somebody has been notified, or is about to be, and has not looked yet */
#define POSTED_SN     BIT64(1)       /* nobody is notified */
#define POSTED_NV     BITS64(23, 16) /* the notification: a vector of the host's */
#define POSTED_NDST   BITS64(63, 32) /* and the local APIC that it goes to */
#define POSTED_XAPIC  BITS64(47, 40) /* the same, of APICs that are not in x2APIC mode */
#define POSTED_ALIGN  64u
#define POSTED_WORDS  4u
#define POSTED_VECTOR 16u /* the lowest that can be posted: what is below is an error of the sender's */

/*
 * A page. What hardware reads and writes is the first line of it, which only changes by atomic operations; the rest
 * belongs to whoever runs the VP.
 */
struct posted {
    volatile uint64_t requests[POSTED_WORDS]; /* bit n of word n / 64: vector n */
    volatile uint64_t control;                /* POSTED_* */
    uint64_t reserved[3];
    hv_hpa_t pa; /* constant */
    /* There may be requests to take. Interrupt context, interrupts off; also when there are none. */
    void (*notify)(void *arg);
    void *arg;
    uint32_t cpu;                 /* the owner's: whose list it is in; HV_CPU_NONE: in none */
    struct posted *next, **place; /* under that list's lock */
};
_Static_assert(sizeof(struct posted) <= HV_PAGE_SIZE && offsetof(struct posted, control) == 32, "VT-d 9.11");

/* What a CPU knows of them. */
struct posted_cpu {
    struct posted *volatile running; /* the CPU's own: whose VP it runs. NULL: none */
    struct hv_spin lock;
    struct posted *waiting; /* under `lock`: those whose VPs wait for an interrupt, and are woken by this CPU */
};

/*
 * One for a VP that nobody runs. NULL: there is no memory, or the host has no vectors for notifications (said in the
 * log); the VP then goes without. Thread context. Nobody posts any more when it is destroyed, and the VP neither runs
 * nor waits.
 */
struct posted *posted_create(void (*notify)(void *arg), void *arg);
void posted_destroy(struct posted *p);

uint8_t posted_vector(void); /* of notifications that running VPs get; while there is a descriptor */

/*
 * The VP's owner, pinned until posted_stop: it runs here from now on. And it waits for an interrupt, until posted_stop.
 * True: something was posted before, of which nobody is notified.
 */
bool posted_run(struct posted *p);
bool posted_wait(struct posted *p);
void posted_stop(struct posted *p);

/* The VP's owner: what has been posted, and is not from now on. False: nothing. */
bool posted_take(struct posted *p, uint64_t vectors[POSTED_WORDS]);
bool posted_is_empty(const struct posted *p);

#endif
