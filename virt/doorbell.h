/* SPDX-License-Identifier: MIT */
/*
 * Doorbells: writes that signal an event. They are found by a hash of address and kind without a lock: tables are
 * replaced as a whole or by single words, and what nobody looks at any more is freed after a partition_flush.
 */
#ifndef VIRT_DOORBELL_H
#define VIRT_DOORBELL_H

#include "exit.h"

/* Are there any on ports, or on this page? One read; says nothing about what matches. */
bool doorbell_has_ports(const struct hv_partition *p);

/* Owner, pinned. True: it matched, and the event was signalled. */
bool doorbell_ring(struct hv_vp *vp, bool is_port, uint64_t address, uint32_t size, uint64_t value);

/*
 * A write that exited, to a page where doorbells are: emulated as far as that is possible without the client.
 * EXIT_TO_CLIENT: not a doorbell's.
 */
enum exit_outcome doorbell_memory(struct hv_vp *vp, struct hv_exit *exit);

void doorbell_free_all(struct hv_partition *p); /* the partition's end */

#endif
