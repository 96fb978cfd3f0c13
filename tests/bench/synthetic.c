/* SPDX-License-Identifier: MIT */
/* The hypervisor's own interface. */
#include "bench.h"

#define COUNTER   0x5000u /* COUNT of loop.inc */
#define OS_ID     0x8100000000000000ull
#define FLUSH_ALL 3u /* all processors, all address spaces */
#define MESSAGE   1u
#define SINT      2u

/* All that there is. */
static void configure(struct vm *vm)
{
    WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS banks = {.BanksCount = 1};
    WHV_CAPABILITY all;

    EXPECT_OK(WHvGetCapability(WHvCapabilityCodeSyntheticProcessorFeaturesBanks, &all, sizeof(all), NULL));
    banks.AsUINT64[0] = all.SyntheticProcessorFeaturesBanks.AsUINT64[0];
    vm_set_property(vm, WHvPartitionPropertyCodeSyntheticProcessorFeaturesBanks, &banks, sizeof(banks));
}

static void configure_x2apic(struct vm *vm)
{
    apic_modes[1].configure(vm);
    configure(vm);
}

const struct apic_mode synthetic_mode = {"x2APIC", configure_x2apic, true};

static bool prepare(struct vm *vm)
{
    vm_set(vm, WHvRegisterGuestOsId, OS_ID);
    return true;
}

/* address space, flags, processors */
static bool prepare_flush(struct vm *vm)
{
    const uint64_t header[] = {0, FLUSH_ALL, 0};

    memcpy(vm_at(vm, VM_DATA), header, sizeof(header));
    return prepare(vm);
}

const struct guest_loop loop_clock_msr = {.guest = "bench_clock_msr", .configure = configure, .prepare = prepare};
const struct guest_loop loop_clock_page = {.guest = "bench_clock_page", .configure = configure, .prepare = prepare};
const struct guest_loop loop_flush = {.guest = "bench_flush_vmcall",
                                      .guest_svm = "bench_flush_vmmcall",
                                      .configure = configure,
                                      .prepare = prepare_flush};

/* ---------------------------------------------------------------------------------- messages */

static bool check(struct vm *vm, uint64_t rounds)
{
    return EXPECT_EQ(*vm_u32(vm, COUNTER), rounds);
}

HRESULT synthetic_post(struct vm *vm)
{
    static const uint32_t message[8] = {MESSAGE, 16};

    return WHvPostVirtualProcessorSynicMessage(vm->partition, 0, SINT, message, sizeof(message));
}

static void serve_message(struct vm *vm)
{
    while (client_run(vm)) {
        if (vm->exit.IoPortAccess.PortNumber != BENCH_TEST_PORT)
            synthetic_post(vm);
        client_set_rip(vm);
    }
}

const struct guest_loop loop_message = {.guest = "bench_message",
                                        .apic = &synthetic_mode,
                                        .handler = "bench_handler_message",
                                        .prepare = prepare,
                                        .serve = serve_message,
                                        .check = check};
