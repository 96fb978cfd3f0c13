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
 * Of a plain move the linear address is where its operand begins, whatever the CPU says: so the client's emulator needs
 * neither registers nor the guest's tables to know where it is. What the CPU says may be the begin of a part.
 */
static void find_gva(struct hv_vp *vp, struct hv_exit *exit)
{
    if (exit_mov_find(vp, exit)) {
        exit->memory.gva_valid = true;
    } else if (exit->memory.gva_valid && exit_mov_is_elsewhere(vp, exit)) {
        exit->memory.gva_valid = false;
        exit->memory.gva = 0;
    }
}

/* With the instruction's bytes. */
static void describe(struct hv_vp *vp, struct hv_exit *exit)
{
    uint64_t flags = vp_walk_begin(vp);

    find_gva(vp, exit);
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
