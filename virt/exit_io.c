/* SPDX-License-Identifier: MIT */
/* Port I/O: every port is the client's, but for doorbells. */
#include "code.h"
#include "doorbell.h"
#include "exit.h"
#include "exit_doorbell.h"
#include "walk.h"

/*
 * A plain IN or OUT is fully described by the registers. For string forms the client (or the emulator) also needs the
 * instruction's bytes, for the address size and segment override.
 */
static __attribute__((noinline)) void fetch_instruction(struct hv_vp *vp, struct hv_exit *exit)
{
    uint64_t flags = vp_walk_begin(vp);

    code_fetch(vp, &exit->instruction);
    vp_walk_end(vp, flags);
}

enum exit_outcome exit_io(struct hv_vp *vp, struct hv_exit *exit)
{
    exit->instruction.count = 0;
    if (exit->io.is_string)
        fetch_instruction(vp, exit);
    else if (exit->io.is_write && doorbell_has_ports(vp->partition))
        return exit_doorbell_port(vp, exit);
    return EXIT_TO_CLIENT;
}
