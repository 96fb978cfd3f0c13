/* SPDX-License-Identifier: MIT */
/*
 * What the library makes of a CPU: it is looked at only once, so each case is a process of its own. Without one of the
 * features that are needed the answer is "no", with the feature's name; without one of the others guests still run.
 */
#include "arch/x86_64/vmx/vmx_bits.h"
#include "unit.h"
#include <WinHvPlatform.h>
#include <arch/backend.h>
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <fake_svm.h>
#include <fake_vmx.h>
#include <hv/base/bits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

/* What the child found, in memory that the parent sees. */
static struct verdict {
    HRESULT present_result, features_result, create_result, run_result;
    BOOL present;
    WHV_RUN_VP_EXIT_REASON exit;
    bool is_logged;
    struct hv_platform platform;
    struct cpu_facts facts;
    struct fake_vmx_counts vmx;
    struct fake_svm_counts svm;
    char failure[256];
} * verdict;

static void tell_parent(const char *text)
{
    strncpy(verdict->failure, text, sizeof(verdict->failure) - 1);
    _exit(1);
}

static void ask(void)
{
    UINT64 features;
    UINT32 size;

    verdict->present_result =
        WHvGetCapability(WHvCapabilityCodeHypervisorPresent, &verdict->present, sizeof(verdict->present), &size);
    verdict->features_result = WHvGetCapability(WHvCapabilityCodeFeatures, &features, sizeof(features), &size);
    verdict->platform = *hv_platform();
    verdict->facts = *cpu_facts();
    verdict->is_logged = verdict->platform.reason[0] && fake_log_contains(verdict->platform.reason);
}

/* From the partition to the first exit and back to nothing. */
static void run_guest(void)
{
    WHV_RUN_VP_EXIT_CONTEXT context;
    WHV_PARTITION_HANDLE partition;
    const UINT32 count = 1;
    UINT8 *rom;

    verdict->create_result = WHvCreatePartition(&partition);
    if (FAILED(verdict->create_result))
        return;
    rom = fake_ram_alloc(HV_PAGE_SIZE, HV_SIZE_1G);
    memcpy(rom + 0xff0, (UINT8[]){0x0f, 0xa2, 0xf4}, 3); /* CPUID, HLT: not all CPUs say how long these are */
    WHvSetPartitionProperty(partition, WHvPartitionPropertyCodeProcessorCount, &count, sizeof(count));
    verdict->run_result = WHvSetupPartition(partition);
    if (SUCCEEDED(verdict->run_result)) {
        WHvMapGpaRange(partition, rom, 0xff000, HV_PAGE_SIZE, WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagExecute);
        WHvCreateVirtualProcessor(partition, 0, 0);
        FAKE_GUEST({.reason = EXIT_REASON_CPUID, .length = 2}, {.reason = EXIT_REASON_HLT, .length = 1});
        FAKE_SVM_GUEST({.code = EXIT_INTERCEPT_OF(INTERCEPT_CPUID), .length = 2},
                       {.code = EXIT_INTERCEPT_OF(INTERCEPT_HLT), .length = 1});
        verdict->run_result = WHvRunVirtualProcessor(partition, 0, &context, sizeof(context));
        verdict->exit = context.ExitReason;
    }
    WHvDeletePartition(partition);
    fake_ram_free(rom);
    verdict->vmx = fake_vmx_counts;
    verdict->svm = fake_svm_counts;
    fake_assert_clean();
}

static void child(void (*change)(const void *arg), const void *arg)
{
    fake_on_failure = tell_parent;
    change(arg);
    ask();
    run_guest();
    _exit(0);
}

/* Does the same on a CPU that was changed. */
static void try(void (*change)(const void *arg), const void *arg)
{
    int status = 0;
    pid_t pid;

    memset(verdict, 0, sizeof(*verdict));
    pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        child(change, arg);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    if (verdict->failure[0])
        fail_msg("%s", verdict->failure);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void no_change(const void *arg)
{
    (void)arg;
}

static void assert_refused(const char *name)
{
    if (!strstr(verdict->platform.reason, name))
        fail_msg("the reason is \"%s\", without \"%s\"", verdict->platform.reason, name);
    assert_true(verdict->is_logged);
    assert_int_equal(verdict->present_result, S_OK);
    assert_int_equal(verdict->present, FALSE);
    assert_false(verdict->platform.present);
    assert_int_equal(verdict->features_result, WHV_E_UNSUPPORTED_HYPERVISOR_CONFIG);
    assert_int_equal(verdict->create_result, WHV_E_UNSUPPORTED_HYPERVISOR_CONFIG);
    assert_int_equal(verdict->vmx.vmxon + verdict->svm.vmruns, 0);
}

static void assert_runs(void)
{
    if (!verdict->present)
        fail_msg("refused: %s", verdict->platform.reason);
    assert_true(verdict->platform.present);
    assert_string_equal(verdict->platform.reason, "");
    assert_int_equal(verdict->features_result, S_OK);
    assert_int_equal(verdict->create_result, S_OK);
    assert_int_equal(verdict->run_result, S_OK);
    assert_int_equal(verdict->exit, WHvRunVpExitReasonX64Halt);
    assert_int_equal(verdict->vmx.entries + verdict->svm.vmruns, 2);
}

/* ------------------------------------------------------------------------- the usual machine */

static void the_usual_machine(void **state)
{
    static const char *const features[] = {
        "EPT 4 levels", "2M", "1G", "A/D", "VPID", "TPR shadow", "preemption timer", "unrestricted guest"};

    (void)state;
    try(no_change, NULL);
    assert_runs();
    assert_string_equal(verdict->platform.backend, "VMX");
    for (size_t i = 0; i < ARRAY_COUNT(features); i++)
        assert_non_null(strstr(verdict->platform.features, features[i]));
    assert_int_equal(verdict->facts.physical_bits, 39);
    assert_int_equal(verdict->facts.guest_physical_limit, 1ull << 39);
    assert_int_equal(verdict->facts.tsc_hz, FAKE_TSC_HZ);
    assert_int_equal(verdict->facts.xcr0_allowed, XCR0_X87 | XCR0_SSE | XCR0_AVX);
    assert_int_equal(verdict->facts.xsave_size, 832);
    assert_int_equal(verdict->facts.efer_allowed, EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE);
    assert_true(verdict->facts.cr4_allowed & CR4_OSXSAVE && verdict->facts.cr4_allowed & CR4_SMAP);
    assert_false(verdict->facts.cr4_allowed & (CR4_VMXE | CR4_LA57 | CR4_SMXE | CR4_CET));
    assert_true(verdict->facts.has_rdtscp);
}

/* -------------------------------------------------------------- bits of the capability MSRs */

struct bit {
    uint32_t msr;
    uint64_t bit; /* of the MSR as it is; of controls that is the upper half's */
    const char *name;
};

#define CONTROL(msr, bit, name)               \
    {                                         \
        MSR_IA32_VMX_##msr, (bit) << 32, name \
    }

static void take_bit_away(const void *arg)
{
    const struct bit *b = arg;

    fake_set_msr(b->msr, *fake_msr(0, b->msr) & ~b->bit);
}

static void what_is_needed(void **state)
{
    static const struct bit needed[] = {
        CONTROL(TRUE_PINBASED_CTLS, PIN_EXTERNAL_INTR, "external-interrupt exiting"),
        CONTROL(TRUE_PINBASED_CTLS, PIN_NMI, "NMI exiting"),
        CONTROL(TRUE_PINBASED_CTLS, PIN_VIRTUAL_NMIS, "virtual NMIs"),
        CONTROL(TRUE_PROCBASED_CTLS, CPU_TSC_OFFSETTING, "use TSC offsetting"),
        CONTROL(TRUE_PROCBASED_CTLS, CPU_HLT, "HLT exiting"),
        CONTROL(TRUE_PROCBASED_CTLS, CPU_MWAIT, "MWAIT exiting"),
        CONTROL(TRUE_PROCBASED_CTLS, CPU_MONITOR, "MONITOR exiting"),
        CONTROL(TRUE_PROCBASED_CTLS, CPU_RDPMC, "RDPMC exiting"),
        CONTROL(TRUE_PROCBASED_CTLS, CPU_TPR_SHADOW, "use TPR shadow"),
        CONTROL(TRUE_PROCBASED_CTLS, CPU_MOV_DR, "MOV-DR exiting"),
        CONTROL(TRUE_PROCBASED_CTLS, CPU_UNCOND_IO, "unconditional I/O exiting"),
        CONTROL(TRUE_PROCBASED_CTLS, CPU_MSR_BITMAPS, "use MSR bitmaps"),
        CONTROL(TRUE_PROCBASED_CTLS, CPU_ACTIVATE_CPU2, "activate secondary controls"),
        CONTROL(PROCBASED_CTLS2, CPU2_EPT, "enable EPT"),
        CONTROL(PROCBASED_CTLS2, CPU2_UNRESTRICTED_GUEST, "unrestricted guest"),
        CONTROL(PROCBASED_CTLS2, CPU2_RDTSCP, "enable RDTSCP"),
        CONTROL(PROCBASED_CTLS2, CPU2_INVPCID, "enable INVPCID"),
        CONTROL(TRUE_EXIT_CTLS, EXIT_SAVE_DEBUG, "save debug controls"),
        CONTROL(TRUE_EXIT_CTLS, EXIT_HOST_64BIT, "host address-space size"),
        CONTROL(TRUE_EXIT_CTLS, EXIT_SAVE_PAT, "save IA32_PAT"),
        CONTROL(TRUE_EXIT_CTLS, EXIT_LOAD_PAT, "load IA32_PAT"),
        CONTROL(TRUE_EXIT_CTLS, EXIT_SAVE_EFER, "save IA32_EFER"),
        CONTROL(TRUE_EXIT_CTLS, EXIT_LOAD_EFER, "load IA32_EFER"),
        CONTROL(TRUE_ENTRY_CTLS, ENTRY_LOAD_DEBUG, "load debug controls"),
        CONTROL(TRUE_ENTRY_CTLS, ENTRY_LOAD_PAT, "load IA32_PAT"),
        CONTROL(TRUE_ENTRY_CTLS, ENTRY_LOAD_EFER, "load IA32_EFER"),
        {MSR_IA32_VMX_EPT_VPID_CAP, EPT_CAP_WALK_4, "4-level walks"},
        {MSR_IA32_VMX_EPT_VPID_CAP, EPT_CAP_WB, "write-back memory type"},
        {MSR_IA32_VMX_EPT_VPID_CAP, EPT_CAP_INVEPT, "INVEPT"},
        {MSR_IA32_VMX_EPT_VPID_CAP, EPT_CAP_INVEPT_SINGLE, "single-context INVEPT"},
        {MSR_IA32_VMX_MISC, VMX_MISC_EXIT_SAVES_LMA, "EFER.LMA"},
        {MSR_IA32_VMX_BASIC, VMX_BASIC_TRUE_CTLS, "TRUE"}, /* without them CR3 accesses always exit */
        {MSR_IA32_FEATURE_CONTROL, FEATURE_CONTROL_VMX, "locked off in IA32_FEATURE_CONTROL"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(needed); i++) {
        try(take_bit_away, &needed[i]);
        assert_refused(needed[i].name);
    }
}

/* Guests run without these; the features line does not name them. */
static void what_is_not_needed(void **state)
{
    static const struct bit wanted[] = {
        CONTROL(PROCBASED_CTLS2, CPU2_VPID, "VPID"),
        CONTROL(TRUE_PINBASED_CTLS, PIN_PREEMPTION_TIMER, "preemption timer"),
        {MSR_IA32_VMX_EPT_VPID_CAP, EPT_CAP_1G, "1G"},
        {MSR_IA32_VMX_EPT_VPID_CAP, EPT_CAP_2M, "2M"},
        {MSR_IA32_VMX_EPT_VPID_CAP, EPT_CAP_AD, "A/D"},
        {MSR_IA32_VMX_EPT_VPID_CAP, EPT_CAP_EXEC_ONLY, NULL},
        {MSR_IA32_VMX_EPT_VPID_CAP, EPT_CAP_INVEPT_ALL, NULL},
        {MSR_IA32_VMX_EPT_VPID_CAP, VPID_CAP_INVVPID, "VPID"},
        {MSR_IA32_VMX_EPT_VPID_CAP, VPID_CAP_SINGLE, "VPID"},
        {MSR_IA32_VMX_EPT_VPID_CAP, VPID_CAP_ALL, "VPID"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(wanted); i++) {
        try(take_bit_away, &wanted[i]);
        assert_runs();
        if (wanted[i].name && strstr(verdict->platform.features, wanted[i].name))
            fail_msg("\"%s\" is said to be there: %s", wanted[i].name, verdict->platform.features);
    }
}

/* ---------------------------------------------------------------------------------- CPUID */

static void take_vmx_away(const void *arg)
{
    (void)arg;
    fake_set_cpuid(1, 0, 0x706e5, 0x10800, 0x7ffafbbf & ~BIT32(5), 0xbfebfbff);
}

static void a_cpu_without_vmx(void **state)
{
    (void)state;
    try(take_vmx_away, NULL);
    assert_refused("neither VMX nor SVM");
}

static void take_xsave_away(const void *arg)
{
    (void)arg;
    fake_set_cpuid(1, 0, 0x706e5, 0x10800, 0x7ffafbbf & ~(BIT32(26) | BIT32(27) | BIT32(28)), 0xbfebfbff);
    for (uint32_t cpu = 0; cpu < FAKE_MAX_CPUS; cpu++)
        fake_x86(cpu)->cr4 &= ~CR4_OSXSAVE;
}

static void a_cpu_without_xsave(void **state)
{
    (void)state;
    try(take_xsave_away, NULL);
    assert_runs();
    assert_int_equal(verdict->facts.xcr0_allowed, 0);
    assert_int_equal(verdict->facts.xsave_size, 576);
    assert_false(verdict->facts.cr4_allowed & CR4_OSXSAVE);
}

static void set_widths(const void *arg)
{
    fake_set_cpuid(0x80000008, 0, *(const uint32_t *)arg, 0, 0, 0);
}

static void widths_of_addresses(void **state)
{
    const uint32_t wide = 0x3034, narrow = 0x3026;

    (void)state;
    try(set_widths, &wide);
    assert_runs();
    assert_int_equal(verdict->facts.physical_bits, 52);
    assert_int_equal(verdict->facts.guest_physical_limit, 1ull << 48); /* what four levels translate */
    try(set_widths, &narrow);
    assert_runs();
    assert_int_equal(verdict->facts.guest_physical_limit, 1ull << 38);
}

static void take_rdtscp_away(const void *arg)
{
    (void)arg;
    fake_set_cpuid(0x80000001, 0, 0, 0, 0x121, 0x24100800);
}

static void a_cpu_without_rdtscp(void **state)
{
    (void)state;
    try(take_rdtscp_away, NULL);
    assert_runs();
    assert_false(verdict->facts.has_rdtscp);
}

static void take_frequency_away(const void *arg)
{
    (void)arg;
    fake_set_cpuid(0x15, 0, 0, 0, 0, 0);
}

/* The clock of the fake host stands still: that is found, and some rate is assumed. */
static void a_clock_that_stands_still(void **state)
{
    (void)state;
    try(take_frequency_away, NULL);
    assert_runs();
    assert_int_equal(verdict->facts.tsc_hz, 1000000000);
}

/* ------------------------------------------------------------------------ machines with SVM */

static void make_svm(const void *arg)
{
    fake_svm_make(*(const uint32_t *)arg);
}

static const uint32_t all_features = FAKE_SVM_FEATURES;

static void a_machine_with_svm(void **state)
{
    static const char *const features[] = {
        "NPT 4 levels", "2M", "1G", "A/D", "flush by ASID", "next-RIP save", "clean bits", "decode assists"};

    (void)state;
    try(make_svm, &all_features);
    assert_runs();
    assert_string_equal(verdict->platform.backend, "SVM");
    for (size_t i = 0; i < ARRAY_COUNT(features); i++)
        assert_non_null(strstr(verdict->platform.features, features[i]));
    assert_int_equal(verdict->svm.vmruns, 2);
    assert_int_equal(verdict->facts.guest_physical_limit, 1ull << 40);
    assert_false(verdict->facts.efer_allowed & EFER_SVME);
}

/* Guests run without each of the features that SVM may have; the features line does not name it. */
static void svm_without_a_feature(void **state)
{
    static const struct {
        uint32_t bit;
        const char *name;
    } optional[] = {
        {CPUID_SVM_EDX_NRIPS, "next-RIP save"},
        {CPUID_SVM_EDX_DECODE, "decode assists"},
        {CPUID_SVM_EDX_FLUSH_ASID, "flush by ASID"},
        {CPUID_SVM_EDX_VMCB_CLEAN, "clean bits"},
        {CPUID_SVM_EDX_PAUSE, "PAUSE"},
        {CPUID_SVM_EDX_TSC_RATE, NULL},
        {CPUID_SVM_EDX_VGIF, NULL},
        {CPUID_SVM_EDX_AVIC, "AVIC"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(optional); i++) {
        const uint32_t features = FAKE_SVM_FEATURES & ~optional[i].bit;

        try(make_svm, &features);
        assert_runs();
        if (optional[i].name && strstr(verdict->platform.features, optional[i].name))
            fail_msg("\"%s\" is said to be there: %s", optional[i].name, verdict->platform.features);
    }
}

static void take_svm_away(const void *arg)
{
    make_svm(arg);
    fake_set_cpuid(CPUID_LEAF_EXT1, 0, 0x00a20f12, 0, 0x121, 0x2c100800);
}

static void take_nested_paging_away(const void *arg)
{
    make_svm(arg);
    fake_set_cpuid(CPUID_LEAF_SVM, 0, 1, FAKE_SVM_ASIDS, 0, FAKE_SVM_FEATURES);
}

static void take_asids_away(const void *arg)
{
    make_svm(arg);
    fake_set_cpuid(CPUID_LEAF_SVM, 0, 1, 1, 0, FAKE_SVM_FEATURES | CPUID_SVM_EDX_NP);
}

static void lock_svm_off(const void *arg)
{
    make_svm(arg);
    fake_set_msr(MSR_AMD_VM_CR, VM_CR_SVMDIS | VM_CR_LOCK);
}

/* A hypervisor around us has shortened CPUID, and left the bit that says that there is SVM. */
static void take_the_leaf_away(const void *arg)
{
    make_svm(arg);
    fake_set_cpuid(CPUID_LEAF_MAX_EXTENDED, 0, 0x80000008, 0x68747541, 0x444d4163, 0x69746e65);
}

static void svm_that_is_refused(void **state)
{
    (void)state;
    try(take_svm_away, &all_features);
    assert_refused("neither VMX nor SVM");
    try(take_nested_paging_away, &all_features);
    assert_refused("SVM: nested paging is missing");
    try(take_asids_away, &all_features);
    assert_refused("ASID");
    try(lock_svm_off, &all_features);
    assert_refused("SVM is locked off in VM_CR");
    try(take_the_leaf_away, &all_features);
    assert_refused("SVM: nested paging is missing");
}

static int group_setup(void **state)
{
    (void)state;
    verdict = mmap(NULL, sizeof(*verdict), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return verdict == MAP_FAILED ? -1 : 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(the_usual_machine),    UNIT_TEST(what_is_needed),
        UNIT_TEST(what_is_not_needed),   UNIT_TEST(a_cpu_without_vmx),
        UNIT_TEST(a_cpu_without_xsave),  UNIT_TEST(widths_of_addresses),
        UNIT_TEST(a_cpu_without_rdtscp), UNIT_TEST(a_clock_that_stands_still),
        UNIT_TEST(a_machine_with_svm),   UNIT_TEST(svm_without_a_feature),
        UNIT_TEST(svm_that_is_refused),
    };

    return cmocka_run_group_tests(tests, group_setup, NULL);
}
