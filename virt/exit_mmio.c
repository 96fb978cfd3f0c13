/* SPDX-License-Identifier: MIT */
/* Accesses to guest-physical memory that the second-level tables did not allow. */
#include "code.h"
#include "exit.h"
#include "exit_apic.h"
#include "exit_doorbell.h"
#include "exit_mov.h"
#include "gpa.h"
#include "walk.h"

static const unsigned right_of[] = {
    [HV_ACCESS_READ] = NPT_READ,
    [HV_ACCESS_WRITE] = NPT_WRITE,
    [HV_ACCESS_EXECUTE] = NPT_EXECUTE,
};

/*
 * The instruction's bytes; and, where the CPU does not say it, the linear address, if a plain move was it: saves the
 * client's emulator the guest's tables.
 */
static void describe(struct hv_vp *vp, struct hv_exit *exit)
{
    uint64_t flags = vp_walk_begin(vp);

    if (!exit->memory.gva_valid)
        exit->memory.gva_valid = exit_mov_find(vp, exit);
    if (exit->memory.access == HV_ACCESS_EXECUTE || exit->memory.page_walk)
        gva_need_instruction(vp, &exit->instruction); /* it may not have been executed yet */
    else
        code_need(vp, &exit->instruction);
    vp_walk_end(vp, flags);
}

/*
 * Our own tables say whether the page is missing or forbids the access: they may have changed since the CPU looked,
 * and not every CPU tells the two apart. Where they allow the access by now, the guest simply tries again.
 */
enum exit_outcome exit_memory(struct hv_vp *vp, struct hv_exit *exit)
{
    int rights;

    if (exit_apic_is_here(vp, exit->memory.gpa))
        return exit_apic_memory(vp, exit);
    if (exit->memory.access == HV_ACCESS_WRITE && exit_doorbell_memory(vp, exit) == EXIT_HANDLED)
        return EXIT_HANDLED;
    rights = gpa_is_hole(vp, exit->memory.gpa) ? -1 : gpa_rights(vp, exit->memory.gpa);
    if (rights >= 0 && (unsigned)rights & right_of[exit->memory.access])
        return EXIT_HANDLED;
    exit->memory.unmapped = rights < 0;
    describe(vp, exit);
    return EXIT_TO_CLIENT;
}
