/* SPDX-License-Identifier: MIT */
/*
 * A guest drives an NVMe disk that it was given (NVMe 1.4): the admin queues, and one pair of queues for reads of which
 * it never gets enough.
 */
#ifndef ATTACK_DISK_H
#define ATTACK_DISK_H

#include "forward.h"

#define DISK_CLASS 0x010802u

/* The guest's memory that it uses: queues, then what was read. */
#define DISK_QUEUES      0x40000u
#define DISK_COMPLETIONS (DISK_QUEUES + 0x3000u) /* of queue 1 */
#define DISK_DATA        0x50000u
#define DISK_DATA_SIZE   0x20000u

struct disk {
    struct forward *d;
    uint32_t tail; /* of the admin queue */
};

/* Has the guest enable it; the device is mapped, and a bus master. False: the test has failed. */
bool disk_start(struct disk *n, struct forward *d);
bool disk_identify(struct disk *n, uint64_t to); /* 4096 bytes */
/* Queue 1, of 64 entries, filled with reads to all of DISK_DATA, whose completions interrupt by this MSI-X entry. */
bool disk_prepare_storm(struct disk *n, uint32_t interrupt);
void disk_storm(struct disk *n, const char *code); /* sets the VP up to run it: disk_storm or disk_fault */

#endif
