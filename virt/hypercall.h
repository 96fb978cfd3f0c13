/* SPDX-License-Identifier: MIT */
/* Hypercalls (TLFS 3): which the core answers itself, and the page that guests call. */
#ifndef VIRT_HYPERCALL_H
#define VIRT_HYPERCALL_H

#include "exit.h"

exit_handler exit_hypercall;
/*
 * The owner, right after the exit: has the guest made a call that nobody knows? It is told so, and the instruction is
 * to be stepped over. False: it is another one, and nothing was done.
 */
bool hypercall_answer_unknown(struct hv_vp *vp);

/* The code of the hypercall page for this machine: the rest of the page is INT3. */
void hypercall_fill_page(void *page);

/* Owner, pinned, between two of the guest's instructions: VP_REQUEST_FLUSH. */
void hypercall_take_flush(struct hv_vp *vp);

/* Signals the connection by a notification port, if one has it. Any context in a walk bracket; false: nobody has it. */
bool port_signal(const struct hv_vp *vp, uint32_t connection_id);
bool port_is_connected(const struct hv_vp *vp, uint32_t connection_id); /* the same without a signal */

#endif
