/* SPDX-License-Identifier: MIT */
/* What happens after a VM exit: handlers, and the tools that they use. */
#ifndef VIRT_EXIT_H
#define VIRT_EXIT_H

#include "partition.h"

enum exit_outcome {
    EXIT_HANDLED,   /* run on */
    EXIT_SKIP,      /* the same, when the instruction has been stepped over: exit_skip_instruction. Of plain exits */
    EXIT_YIELD,     /* the same, when others have had the CPU that want it */
    EXIT_TO_CLIENT, /* exit describes it */
};
typedef enum exit_outcome exit_handler(struct hv_vp *vp, struct hv_exit *exit);

/* Of plain exits (run.c): called in a walk bracket, with interrupts off. */
exit_handler exit_cpuid, exit_msr, exit_cr, exit_io, exit_apic_write, exit_apic_eoi_done, exit_tpr, exit_no_op;
exit_handler exit_xsetbv, exit_memory, exit_exception, exit_software_int, exit_window, exit_triple_fault;

/* Tools for handlers. */
/* RIP += length, shadow ends, single-step trap pending if TF */
void exit_skip_instruction(struct hv_vp *vp, const struct hv_exit *exit);
/* the same when RIP has moved already */
void exit_retire_instruction(struct hv_vp *vp);
void exit_inject(struct hv_vp *vp, uint8_t vector); /* exception without error code */
void exit_inject_error(struct hv_vp *vp, uint8_t vector, uint32_t error_code);

exit_handler *exit_handler_of(enum hv_exit_reason reason);
/* exit_context.c. Pinned; of the guest's own exits before vcpu_put. */
void exit_fill_context(struct hv_vp *vp, const struct hv_exit *exit, struct hv_exit_context *to);

#endif
