/* SPDX-License-Identifier: MIT */
/* Port I/O: every port is the client's, but for doorbells. */
#include "exit.h"
#include "exit_doorbell.h"
#include "gva.h"
#include "partition.h"

/*
 * A plain IN or OUT is fully described by the registers. For string forms the client (or the emulator) also needs the
 * segments, and the instruction's bytes for the address size and segment override.
 */
enum exit_outcome exit_io(struct hv_vp *vp, struct hv_exit *exit)
{
    struct vcpu *v = vp->vcpu;

    if (exit_doorbell_port(vp, exit) == EXIT_HANDLED)
        return EXIT_HANDLED;
    exit->instruction.count = 0;
    vcpu_need(v, VCPU_SEG(SEG_DS) | VCPU_SEG(SEG_ES));
    exit->io.ds = v->seg[SEG_DS];
    exit->io.es = v->seg[SEG_ES];
    if (exit->io.is_string)
        gva_fetch_instruction(vp, &exit->instruction);
    return EXIT_TO_CLIENT;
}
