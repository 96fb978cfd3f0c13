/* SPDX-License-Identifier: MIT */
#ifndef VIRT_WHP_EXIT_H
#define VIRT_WHP_EXIT_H

#include <hv/exit.h>
#include <whp/WinHvPlatform.h>

/*
 * Clients pass the size of the structure that their header has, and the union's size has grown: the shortest context
 * that says anything is the reason and VpContext.
 */
#define WHP_EXIT_CONTEXT_MIN offsetof(WHV_RUN_VP_EXIT_CONTEXT, MemoryAccess)

/* A context that hv_vp_run has written becomes a WHV_RUN_VP_EXIT_CONTEXT. */
void whp_exit_number(struct hv_exit_context *context);

#endif
