/* SPDX-License-Identifier: MIT */
/* Exits that the core answers itself. */
#include "bench.h"

const struct guest_loop loop_cpuid = {.guest = "bench_cpuid"};
const struct guest_loop loop_cr0_wp = {.guest = "bench_cr0_wp"};
const struct guest_loop loop_cr4_pge = {.guest = "bench_cr4_pge"};

#define MSR_TSC_ADJUST 0x3bu
#define MSR_MTRR_BASE0 0x200u

/* TSC_ADJUST where the CPU has it, else one that is a guest's own too. */
static bool prepare_msr(struct vm *vm)
{
    WHV_PROCESSOR_FEATURES_BANKS features = {.BanksCount = 2};

    EXPECT_OK(WHvGetCapability(WHvCapabilityCodeProcessorFeaturesBanks, &features, sizeof(features), NULL));
    vm_set(vm, WHvX64RegisterRsi, features.Bank1.TscAdjustSupport ? MSR_TSC_ADJUST : MSR_MTRR_BASE0);
    return true;
}

const struct guest_loop loop_rdmsr = {.guest = "bench_rdmsr", .prepare = prepare_msr};
const struct guest_loop loop_wrmsr = {.guest = "bench_wrmsr", .prepare = prepare_msr};

/* Who may call, and calls what there is not, is told so. */
static void configure_calls(struct vm *vm)
{
    const WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS banks = {
        .BanksCount = 1,
        .Bank0 = {.HypervisorPresent = 1, .Hv1 = 1, .AccessHypercallRegs = 1},
    };

    vm_set_property(vm, WHvPartitionPropertyCodeSyntheticProcessorFeaturesBanks, &banks, sizeof(banks));
}

static bool prepare_calls(struct vm *vm)
{
    vm_set(vm, WHvRegisterGuestOsId, 1);
    return true;
}

const struct guest_loop loop_vmcall = {
    .guest = "bench_vmcall", .guest_svm = "bench_vmmcall", .configure = configure_calls, .prepare = prepare_calls};
