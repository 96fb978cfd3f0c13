/* SPDX-License-Identifier: MIT */
/* Accesses to guest-physical memory that the second-level tables did not allow. */
#include "exit.h"
#include "exit_apic.h"
#include "exit_doorbell.h"
#include "gpa.h"
#include "gva.h"
#include "partition.h"

static const unsigned right_of[] = {
    [HV_ACCESS_READ] = NPT_READ,
    [HV_ACCESS_WRITE] = NPT_WRITE,
    [HV_ACCESS_EXECUTE] = NPT_EXECUTE,
};

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
    rights = gpa_rights(vp, exit->memory.gpa);
    if (rights >= 0 && (unsigned)rights & right_of[exit->memory.access])
        return EXIT_HANDLED;
    exit->memory.unmapped = rights < 0;
    gva_need_instruction(vp, &exit->instruction);
    return EXIT_TO_CLIENT;
}
