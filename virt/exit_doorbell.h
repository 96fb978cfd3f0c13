/* SPDX-License-Identifier: MIT */
/* Writes that ring doorbells (doorbell.h), for the handlers of memory and port exits. Pinned, the VP's owner. */
#ifndef VIRT_EXIT_DOORBELL_H
#define VIRT_EXIT_DOORBELL_H

#include "exit.h"

/*
 * EXIT_HANDLED: the access rang one, and the instruction is done; or a part of it, and the guest goes on with it.
 * EXIT_TO_CLIENT: it has to be handled as if there were no doorbells; nothing has changed. That is looked at after
 * this: doorbells come before their page leaves the mapping, and go after it has come back.
 */
exit_handler exit_doorbell_memory; /* a write */
exit_handler exit_doorbell_port;   /* a plain OUT; in a walk bracket */
/*
 * In a walk bracket: the first of them, for the usual store, which is then to be stepped over. False: it is not that,
 * and nothing was done.
 */
bool exit_doorbell_memory_plain(struct hv_vp *vp, struct hv_exit *exit);

#endif
