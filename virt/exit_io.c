/* SPDX-License-Identifier: MIT */
/* Port I/O: every port is the client's, but for doorbells. */
#include "code.h"
#include "exit.h"
#include "exit_doorbell.h"

/*
 * A plain IN or OUT is fully described by the registers. For string forms the client (or the emulator) also needs the
 * instruction's bytes, for the address size and segment override.
 */
static __attribute__((noinline)) enum exit_outcome exit_string_io(struct hv_vp *vp, struct hv_exit *exit)
{
    code_fetch(vp, &exit->instruction);
    return EXIT_TO_CLIENT;
}

enum exit_outcome exit_io(struct hv_vp *vp, struct hv_exit *exit)
{
    if (exit->io.access.is_string)
        return exit_string_io(vp, exit);
    return exit->io.access.is_write ? exit_doorbell_port(vp, exit) : EXIT_TO_CLIENT;
}
