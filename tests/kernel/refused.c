/* SPDX-License-Identifier: MIT */
/*
 * The program `refused`: what the API says on a machine that cannot run virtual processors, as TAP.
 *   lock         locks SVM off in VM_CR on each CPU before the library is first used, as firmware does it
 *   says=TEXT    what the explanation has to contain, "." is any character
 */
#include "test.h"
#include <WinHvPlatform.h>
#include <hv/hv.h>
#include <kernel/cpu.h>
#include <kernel/module.h>
#include <kernel/program.h>

#define MSR_VM_CR    0xc0010114u /* APM 2 15.30.1 */
#define VM_CR_LOCK   (1u << 3)
#define VM_CR_SVMDIS (1u << 4)

static unsigned number, failed;

static void result(bool held, const char *name)
{
    kprintf("%s %u - refused: %s\n", held ? "ok" : "not ok", ++number, name);
    failed += !held;
}

/* --------------------------------------------------------------------------------- the firmware */

static bool is_locked_off(void)
{
    uint64_t value = 0;

    return rdmsr_safe(MSR_VM_CR, &value) && (value & (VM_CR_LOCK | VM_CR_SVMDIS)) == (VM_CR_LOCK | VM_CR_SVMDIS);
}

static void lock_off_here(void *arg)
{
    bool *done = arg;

    wrmsr_safe(MSR_VM_CR, VM_CR_LOCK | VM_CR_SVMDIS);
    *done = *done && is_locked_off();
}

/* False where the CPU has no such switch, or an emulator that forgets what is written to it. */
static bool lock_off_all(void)
{
    bool done = true;

    cpu_call_all(lock_off_here, &done);
    return done;
}

/* -------------------------------------------------------------------------------------- the API */

static void check_capability(const char *name)
{
    WHV_CAPABILITY value;
    UINT32 written = 0;
    HRESULT hr;

    memset(&value, 0xff, sizeof(value));
    hr = WHvGetCapability(WHvCapabilityCodeHypervisorPresent, &value, sizeof(value), &written);
    if (hr != S_OK || value.HypervisorPresent || written != sizeof(BOOL))
        kprintf("# 0x%x, HypervisorPresent %d, %u bytes written\n", (unsigned)hr, value.HypervisorPresent, written);
    result(hr == S_OK && value.HypervisorPresent == FALSE && written == sizeof(BOOL), name);
}

static void check_other_capability(void)
{
    WHV_CAPABILITY value = {0};
    HRESULT hr = WHvGetCapability(WHvCapabilityCodeFeatures, &value, sizeof(value), NULL);

    if (hr != WHV_E_UNSUPPORTED_HYPERVISOR_CONFIG)
        kprintf("# 0x%x\n", (unsigned)hr);
    result(hr == WHV_E_UNSUPPORTED_HYPERVISOR_CONFIG, "the other capabilities have no values");
}

static void check_partition(void)
{
    WHV_PARTITION_HANDLE partition = NULL;
    HRESULT hr = WHvCreatePartition(&partition);

    if (hr != WHV_E_UNSUPPORTED_HYPERVISOR_CONFIG || partition)
        kprintf("# 0x%x, handle %p\n", (unsigned)hr, partition);
    result(hr == WHV_E_UNSUPPORTED_HYPERVISOR_CONFIG && !partition,
           "WHvCreatePartition: WHV_E_UNSUPPORTED_HYPERVISOR_CONFIG, and no handle");
}

static bool contains(const char *text, const char *part)
{
    size_t length = strlen(part);

    for (; *text; text++) {
        size_t i = 0;

        while (i < length && text[i] && text[i] == (part[i] == '.' ? text[i] : part[i]))
            i++;
        if (i == length)
            return true;
    }
    return false;
}

static void check_reason(void)
{
    const struct hv_platform *platform = hv_platform();
    char says[96];

    kprintf("# reason: %s\n", platform->reason);
    result(!platform->present && strcmp(platform->backend, "none") == 0, "hv_platform: no backend");
    result(platform->reason[0] && !contains(platform->reason, "\n"), "hv_platform: the reason in one line");
    if (!option_find("says", says, sizeof(says)))
        says[0] = 0;
    result(contains(platform->reason, says), "hv_platform: the reason names what is missing, and what to do");
}

static int refused_main(const struct boot_info *info)
{
    (void)info;
    kprintf("TAP version 13\n");
    if (option_find("lock", NULL, 0) && !lock_off_all()) {
        kprintf("1..1\nok 1 - refused: SVM is locked off # SKIP this engine does not keep what is written to VM_CR\n");
        return 0;
    }
    kprintf("1..6\n");
    check_capability("WHvGetCapability: S_OK, HypervisorPresent is FALSE");
    check_other_capability();
    check_partition();
    check_reason();
    return failed ? 1 : 0;
}

KERNEL_PROGRAM(refused, "what the API says where no virtual processor can run, as TAP (lock, says=TEXT)", refused_main);
