/* SPDX-License-Identifier: MIT */
/* A client of the library in the foreign kernel: one guest (entry.asm), run to its HLT. */
#include "port.h"
#include <whp/WinHvPlatform.h>

static char text[64]; /* what the guest prints */

static bool on_port(WHV_PARTITION_HANDLE partition, const WHV_RUN_VP_EXIT_CONTEXT *exit)
{
    static const WHV_REGISTER_NAME rip = WHvX64RegisterRip;
    static size_t length;
    WHV_REGISTER_VALUE next = {.Reg64 = exit->VpContext.Rip + exit->VpContext.InstructionLength};

    if (length < sizeof(text) - 1)
        text[length++] = (char)exit->IoPortAccess.Rax;
    return SUCCEEDED(WHvSetVirtualProcessorRegisters(partition, 0, &rip, 1, &next));
}

static bool run(WHV_PARTITION_HANDLE partition)
{
    static WHV_RUN_VP_EXIT_CONTEXT exit;

    do {
        if (FAILED(WHvRunVirtualProcessor(partition, 0, &exit, sizeof(exit))))
            return false;
    } while (exit.ExitReason == WHvRunVpExitReasonX64IoPortAccess && on_port(partition, &exit));
    return exit.ExitReason == WHvRunVpExitReasonX64Halt;
}

static bool create(WHV_PARTITION_HANDLE *partition)
{
    const UINT32 processors = 1;

    return SUCCEEDED(WHvCreatePartition(partition)) &&
           SUCCEEDED(WHvSetPartitionProperty(*partition, WHvPartitionPropertyCodeProcessorCount, &processors, 4)) &&
           SUCCEEDED(WHvSetupPartition(*partition)) &&
           SUCCEEDED(WHvMapGpaRange(*partition, port_guest, 0xff000, 4096,
                                    WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagExecute)) &&
           SUCCEEDED(WHvCreateVirtualProcessor(*partition, 0, 0));
}

static bool is_text(const char *wanted)
{
    size_t i = 0;

    while (text[i] && text[i] == wanted[i])
        i++;
    return text[i] == wanted[i];
}

bool port_guest_run(void)
{
    WHV_PARTITION_HANDLE partition = NULL;
    bool well = port_check(create(&partition), "a partition with memory and a virtual processor");

    well &= port_check(run(partition), "the guest runs to its HLT");
    well &= port_check(is_text("hello from a guest"), "what the guest printed");
    return (partition && FAILED(WHvDeletePartition(partition))) ? false : well;
}
