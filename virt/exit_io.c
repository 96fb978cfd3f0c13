/* SPDX-License-Identifier: MIT */
/* Port I/O: every port is the client's, but for doorbells. */
#include "code.h"
#include "exit.h"
#include "exit_doorbell.h"

/*
 * A plain IN or OUT is fully described by the registers. For string forms the client (or the emulator) also needs the
 * instruction's bytes, for the address size and segment override.
 */
enum exit_outcome exit_io(struct hv_vp *vp, struct hv_exit *exit)
{
    if (exit->io.access.is_string)
        code_fetch(vp, &exit->instruction);
    else if (exit->io.access.is_write)
        return exit_doorbell_port(vp, exit);
    return EXIT_TO_CLIENT;
}
