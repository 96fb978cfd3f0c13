/* SPDX-License-Identifier: MIT */
#include "synic.h"

static void set_synic(struct vm *vm)
{
    const WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS banks = {
        .BanksCount = 1,
        .Bank0 = {.HypervisorPresent = 1, .Hv1 = 1, .AccessSynicRegs = 1},
    };

    vm_set_property(vm, WHvPartitionPropertyCodeSyntheticProcessorFeaturesBanks, &banks, sizeof(banks));
}

static void configure_xapic(struct vm *vm)
{
    apic_modes[0].configure(vm);
    set_synic(vm);
}

static void configure_x2apic(struct vm *vm)
{
    apic_modes[1].configure(vm);
    set_synic(vm);
}

const struct apic_mode synic_modes[2] = {
    {"xAPIC", configure_xapic, false},
    {"x2APIC", configure_x2apic, true},
};

HRESULT synic_post(struct vm *vm, uint32_t sint, uint32_t type)
{
    uint8_t message[WHV_SYNIC_MESSAGE_SIZE];

    memset(message, (int)(type & 0xff), sizeof(message));
    memset(message, 0, 16);
    memcpy(message, &type, sizeof(type));
    message[4] = sizeof(message) - 16;
    return WHvPostVirtualProcessorSynicMessage(vm->partition, 0, sint, message, sizeof(message));
}

HRESULT synic_signal(struct vm *vm, uint32_t sint, uint32_t flag, BOOL *newly)
{
    const WHV_SYNIC_EVENT_PARAMETERS event = {.TargetSint = (UINT8)sint, .FlagNumber = (UINT16)flag};

    return WHvSignalVirtualProcessorSynicEvent(vm->partition, event, newly);
}

void synic_notify(struct vm *vm, uint16_t sints)
{
    vm_set(vm, WHvX64RegisterDeliverabilityNotifications, (uint64_t)sints << 48);
    EXPECT_EQ(vm_get(vm, WHvX64RegisterDeliverabilityNotifications), (uint64_t)sints << 48);
}

bool synic_check_deliverable(struct vm *vm, uint16_t sints, const char *file, int line)
{
    return test_check(vm->exit.SynicSintDeliverable.DeliverableSints == sints, file, line, "DeliverableSints",
                      vm->exit.SynicSintDeliverable.DeliverableSints, sints) &&
           test_check(vm->exit.VpContext.InstructionLength == 0, file, line, "InstructionLength",
                      vm->exit.VpContext.InstructionLength, 0);
}
