/* SPDX-License-Identifier: MIT */
/* Virtual PCI without a device of the machine's: software devices, their interrupts, and triggers of these. */
#include "apic.h"
#include <kernel/clock.h>
#include <kernel/event.h>
#include <kernel/memory.h>
#include <whp/WinHvExtensions.h>

#define READY WORD(0)
#define GO    WORD(1)

#define NUMBER 0xfeedfacecafe0001ull

/* Raises its interrupts by WHvRequestVpciDeviceInterrupt. */
static bool add_device(struct vm *vm, uint64_t number)
{
    HANDLE resource;
    bool made;

    if (!EXPECT_OK(WHvAllocateVpciResource(NULL, WHvAllocateVpciResourceFlagNone, NULL, 0, &resource)))
        return false;
    made = EXPECT_OK(
        WHvCreateVpciDevice(vm->partition, number, resource, WHvCreateVpciDeviceFlagUseLogicalInterrupts, NULL));
    return EXPECT_OK(WHvxCloseVpciResource(resource)) && made;
}

struct msi {
    UINT64 address;
    UINT32 data;
};

struct target {
    WHV_VPCI_INTERRUPT_TARGET head;
    UINT32 more[3]; /* processors behind the first */
};

/* To VP 0, 1, ... by the bits of `vps`. */
static struct target target_to(uint8_t vector, uint32_t vps, bool multicast)
{
    struct target t = {.head.Vector = vector};
    UINT32 *list = t.head.Processors;

    t.head.Flags = multicast ? WHvVpciInterruptTargetFlagMulticast : WHvVpciInterruptTargetFlagNone;
    for (uint32_t i = 0; i < APIC_VPS; i++)
        if (vps >> i & 1)
            list[t.head.ProcessorCount++] = i;
    return t;
}

static bool map(struct vm *vm, uint32_t index, uint32_t count, struct target target, struct msi *msi)
{
    return EXPECT_OK(WHvMapVpciDeviceInterrupt(vm->partition, NUMBER, index, count, &target.head, &msi->address,
                                               &msi->data)) &&
           EXPECT(msi->address < 1ull << 32) && EXPECT((msi->address & 0xfff00010) == 0xfee00010);
}

static bool retarget(struct vm *vm, const struct msi *msi, struct target target)
{
    return EXPECT_OK(WHvRetargetVpciDeviceInterrupt(vm->partition, NUMBER, msi->address, msi->data, &target.head));
}

static HRESULT request(struct vm *vm, const struct msi *msi)
{
    return WHvRequestVpciDeviceInterrupt(vm->partition, NUMBER, msi->address, msi->data);
}

static uint32_t count_of(struct vm *vm, uint32_t vp, uint8_t vector)
{
    return *(volatile uint32_t *)&apic_area(vm, vp)->counts[vector];
}

static bool wait_count(struct vm *vm, uint32_t vp, uint8_t vector, uint32_t wanted)
{
    for (uint64_t end = clock_ns() + 5 * NS_PER_S; count_of(vm, vp, vector) < wanted && clock_ns() < end;)
        thread_sleep_ns(NS_PER_MS);
    return EXPECT_GE(count_of(vm, vp, vector), wanted);
}

/* ------------------------------------------------------------------------------------- messages */

TEST_ROWS(vpci_mapped, "vpci: mapped, raised, moved while the guest runs, unmapped", apic_modes)
{
    static struct runner runners[2];
    struct msi first, second;
    VM(vm);

    REQUIRE(apic_create(&vm, row, 2) && add_device(&vm, NUMBER));
    REQUIRE(map(&vm, 0, 1, target_to(0x51, 1, false), &first));
    REQUIRE(map(&vm, 65535, 1, target_to(0x52, 2, false), &second));
    EXPECT(first.address != second.address || first.data != second.data);
    for (uint32_t i = 0; i < 2; i++) {
        SCRIPT(&vm, i, STI, SET(WORD(2 + i), 1), WAIT(GO, 1), DELAY(100));
        REQUIRE(runner_start(&runners[i], &vm, i, CPU_ANY));
        apic_wait_word(&vm, WORD(2 + i), 1);
    }
    EXPECT_OK(request(&vm, &first));
    wait_count(&vm, 0, 0x51, 1);
    EXPECT_OK(request(&vm, &second));
    wait_count(&vm, 1, 0x52, 1);
    retarget(&vm, &first, target_to(0x61, 2, false));
    EXPECT_OK(request(&vm, &first));
    wait_count(&vm, 1, 0x61, 1);
    EXPECT_OK(WHvUnmapVpciDeviceInterrupt(vm.partition, NUMBER, 0));
    EXPECT_HR(request(&vm, &first), ERROR_HV_INVALID_PARAMETER);
    EXPECT_HR(WHvUnmapVpciDeviceInterrupt(vm.partition, NUMBER, 0), E_INVALIDARG);
    EXPECT_OK(request(&vm, &second));
    wait_count(&vm, 1, 0x52, 2);
    *vm_u32(&vm, GO) = 1;
    EXPECT_RUNNER_END(&runners[0]);
    EXPECT_RUNNER_END(&runners[1]);
    EXPECT_EQ(count_of(&vm, 0, 0x51), 1);
    EXPECT_EQ(count_of(&vm, 0, 0x61), 0);
    EXPECT_EQ(count_of(&vm, 1, 0x61), 1);
}

TEST_ROWS(vpci_several, "vpci: several targets: all with multicast, else the first", apic_modes)
{
    static struct runner runners[3];
    struct msi all, one;
    VM(vm);

    REQUIRE(apic_create(&vm, row, 3) && add_device(&vm, NUMBER));
    REQUIRE(map(&vm, 1, 1, target_to(0x51, 7, true), &all) && map(&vm, 2, 1, target_to(0x52, 6, false), &one));
    for (uint32_t i = 0; i < 3; i++) {
        SCRIPT(&vm, i, STI, SET(WORD(2 + i), 1), HALT(0x51, 2), WAIT(GO, 1), COUNT_IS(0x51, 2),
               COUNT_IS(0x52, i == 1 ? 1 : 0));
        REQUIRE(runner_start(&runners[i], &vm, i, CPU_ANY));
        apic_wait_word(&vm, WORD(2 + i), 1);
    }
    EXPECT_OK(request(&vm, &one));
    wait_count(&vm, 1, 0x52, 1);
    for (uint32_t n = 1; n <= 2; n++) {
        EXPECT_OK(request(&vm, &all));
        for (uint32_t i = 0; i < 3; i++)
            wait_count(&vm, i, 0x51, n);
    }
    *vm_u32(&vm, GO) = 1;
    for (uint32_t i = 0; i < 3; i++)
        EXPECT_RUNNER_END(&runners[i]);
}

#define MESSAGES 32u

TEST(vpci_messages, "vpci: 32 messages of one interrupt, each with a target of its own")
{
    struct target got, wanted;
    struct msi msi, each;
    UINT32 size;
    APIC_GUEST(vm, &apic_modes[1], 1, EXIT, STI, SPIN(0x60 + MESSAGES - 1, 1), DELAY(100), COUNT_IS(0x60, 1),
               COUNT_IS(0x60 + 17, 1), COUNT_IS(0x5f, 0));

    REQUIRE(add_device(&vm, NUMBER) && map(&vm, 0x8001, MESSAGES, target_to(0x5f, 1, false), &msi));
    EXPECT_SCRIPT_END(&vm);
    vm_step(&vm);
    for (uint32_t i = 0; i < MESSAGES; i++) {
        each = (struct msi){msi.address, msi.data + i};
        wanted = target_to((uint8_t)(0x60 + i), 1, false);
        retarget(&vm, &each, wanted);
        EXPECT_OK(WHvGetVpciDeviceInterruptTarget(vm.partition, NUMBER, 0x8001, i, &got.head, sizeof(got), &size));
        EXPECT_EQ(size, 16);
        EXPECT(memcmp(&got, &wanted, 16) == 0);
        EXPECT_OK(request(&vm, &each));
    }
    each.data++;
    EXPECT_HR(request(&vm, &each), ERROR_HV_INVALID_PARAMETER);
    EXPECT_HR(WHvGetVpciDeviceInterruptTarget(vm.partition, NUMBER, 0x8001, MESSAGES, &got.head, sizeof(got), &size),
              E_INVALIDARG);
    EXPECT_HR(WHvGetVpciDeviceInterruptTarget(vm.partition, NUMBER, 0x8001, 0, &got.head, 15, &size),
              WHV_E_INSUFFICIENT_BUFFER);
    EXPECT_EQ(size, 16);
    EXPECT_SCRIPT_END(&vm);
}

/* Bits 19:12 the destination, 3 one of several, 2 logical; data: 10:8 the mode. */
static const struct plain_row {
    const char *name;
    struct msi msi;
    uint8_t vector; /* that comes */
} plain[] = {
    {"fixed", {0xfee00000, 0x51}, 0x51},
    {"fixed, logical", {0xfee01004, 0x52}, 0x52},
    {"fixed, one of several", {0xfee0100c, 0x53}, 0x53},
    {"lowest priority", {0xfee01004, 0x154}, 0x54},
    {"everybody", {0xfeeff000, 0x55}, 0x55},
    {"level is an edge", {0xfee00000, 0xc056}, 0x56},
    {"NMI", {0xfee00000, 0x400}, 2},
};

TEST_ROWS(vpci_plain, "vpci: plain messages", plain)
{
    APIC_GUEST(vm, &apic_modes[0], 1, WRITE(APIC_LDR, 0x01000000), EXIT, STI, SPIN(row->vector, 1), DELAY(100),
               COUNT_IS(row->vector, 1));

    REQUIRE(add_device(&vm, NUMBER));
    EXPECT_SCRIPT_END(&vm);
    vm_step(&vm);
    EXPECT_OK(request(&vm, &row->msi));
    EXPECT_SCRIPT_END(&vm);
}

/* ---------------------------------------------------------------------------------------- storms */

struct raiser {
    struct vm *vm;
    struct msi msi;
    struct thread *thread;
    volatile uint32_t stop, raised, refused;
};

static void raise_on(void *arg)
{
    struct raiser *r = arg;

    while (!r->stop) {
        if (request(r->vm, &r->msi) == S_OK)
            r->raised++;
        else
            r->refused++;
        if ((r->raised + r->refused) % 16 == 0)
            thread_yield();
    }
}

static bool start_raiser(struct raiser *r, struct vm *vm, struct msi msi)
{
    *r = (struct raiser){.vm = vm, .msi = msi};
    r->thread = thread_create("raises", raise_on, r, CPU_ANY);
    return r->thread;
}

static void stop_raiser(struct raiser *r)
{
    r->stop = 1;
    thread_join(r->thread);
}

/* Two VPs, with a vector each: neither ever gets the other's, whenever the target changes. */
TEST_ROWS(vpci_retarget, "vpci: targets change as a whole while another thread raises the interrupt", apic_modes)
{
    static struct runner runners[2];
    static struct raiser raiser;
    struct msi msi;
    VM(vm);

    REQUIRE(apic_create(&vm, row, 2) && add_device(&vm, NUMBER) && map(&vm, 7, 1, target_to(0x51, 1, false), &msi));
    SCRIPT(&vm, 0, STI, WAIT(GO, 1), COUNT_IS(0x52, 0));
    SCRIPT(&vm, 1, STI, WAIT(GO, 1), COUNT_IS(0x51, 0));
    for (uint32_t i = 0; i < 2; i++)
        REQUIRE(runner_start(&runners[i], &vm, i, CPU_ANY));
    REQUIRE(start_raiser(&raiser, &vm, msi));
    for (uint64_t end = clock_ns() + 200 * NS_PER_MS; clock_ns() < end || raiser.raised < 1000;) {
        for (uint32_t i = 0; i < 100; i++)
            retarget(&vm, &msi, i % 2 ? target_to(0x51, 1, false) : target_to(0x52, 2, false));
        thread_yield();
    }
    stop_raiser(&raiser);
    EXPECT_EQ(raiser.refused, 0);
    for (uint32_t i = 0; i < 2; i++) {
        uint8_t vector = (uint8_t)(0x51 + i);
        uint32_t before = count_of(&vm, i, vector);

        retarget(&vm, &msi, target_to(vector, 1u << i, false));
        thread_sleep_ns(5 * NS_PER_MS); /* what was raised has arrived */
        EXPECT_OK(request(&vm, &msi));
        wait_count(&vm, i, vector, before + 1);
    }
    *vm_u32(&vm, GO) = 1;
    EXPECT_RUNNER_END(&runners[0]);
    EXPECT_RUNNER_END(&runners[1]);
}

TEST(vpci_delete, "vpci: interrupts and devices go and come back while another thread raises an interrupt of theirs")
{
    static struct raiser raiser;
    struct msi msi;
    VM(vm);

    REQUIRE(apic_create(&vm, &apic_modes[1], 1) && add_device(&vm, NUMBER));
    REQUIRE(map(&vm, 7, 1, target_to(0x51, 1, false), &msi) && start_raiser(&raiser, &vm, msi));
    for (uint32_t i = 0; i < 200 || raiser.raised < 100 || raiser.refused < 100; i++) {
        EXPECT_OK(WHvUnmapVpciDeviceInterrupt(vm.partition, NUMBER, 7));
        if (i % 2)
            EXPECT_OK(WHvDeleteVpciDevice(vm.partition, NUMBER));
        thread_yield();
        REQUIRE((i % 2 == 0 || add_device(&vm, NUMBER)) && map(&vm, 7, 1, target_to(0x51, 1, false), &msi));
        thread_yield();
    }
    stop_raiser(&raiser);
}

/* -------------------------------------------------------------------------------------- triggers */

static WHV_TRIGGER_PARAMETERS to_device(uint64_t number, const struct msi *msi)
{
    WHV_TRIGGER_PARAMETERS parameters;

    memset(&parameters, 0, sizeof(parameters));
    parameters.TriggerType = WHvTriggerTypeDeviceInterrupt;
    parameters.DeviceInterrupt.LogicalDeviceId = number;
    parameters.DeviceInterrupt.MsiAddress = msi->address;
    parameters.DeviceInterrupt.MsiData = msi->data;
    return parameters;
}

static void signal_from_interrupt(void *event)
{
    event_signal(event);
}

TEST_ROWS(vpci_trigger, "vpci: a trigger raises a device's interrupt, from a thread and from interrupt handlers",
          apic_modes)
{
    static struct runner runner;
    WHV_TRIGGER_PARAMETERS parameters;
    WHV_TRIGGER_HANDLE trigger;
    struct msi msi;
    HANDLE event;
    APIC_GUEST(vm, row, 1, STI, SET(READY, 1), HALT(0x51, 1), SET(READY, 2), HALT(0x51, 2), SET(READY, 3),
               HALT(0x51, 3), DELAY(100), COUNT_IS(0x51, 3));

    REQUIRE(add_device(&vm, NUMBER) && map(&vm, 0, 1, target_to(0x51, 1, false), &msi));
    parameters = to_device(NUMBER, &msi);
    REQUIRE(EXPECT_OK(WHvCreateTrigger(vm.partition, &parameters, &trigger, &event)));
    thread_set_cpu(0);
    REQUIRE(runner_start(&runner, &vm, 0, other_cpu()));
    for (uint32_t i = 1; i <= 3 && apic_wait_word(&vm, READY, i); i++) {
        thread_sleep_ns(NS_PER_MS);
        if (i == 1)
            EXPECT(event_signal(event));
        else
            cpu_call(i == 2 ? 0 : other_cpu(), signal_from_interrupt, event);
    }
    EXPECT_RUNNER_END(&runner);
    thread_set_cpu(CPU_ANY);
    EXPECT_OK(WHvDeleteVpciDevice(vm.partition, NUMBER));
    EXPECT(event_signal(event)); /* for nobody */
    EXPECT_HR(WHvUpdateTriggerParameters(vm.partition, &parameters, trigger), ERROR_HV_INVALID_DEVICE_ID);
    EXPECT(event_close(event));
    EXPECT_OK(WHvDeleteTrigger(vm.partition, trigger));
    EXPECT_EQ(count_of(&vm, 0, 0x51), 3);
}

/* --------------------------------------------------------------------------------------- devices */

#define DEVICES 256u

static uint64_t number_of(uint32_t i)
{
    return i % 3 == 0 ? i : i % 3 == 1 ? ~(uint64_t)i << 32 : (uint64_t)i * 0x9e3779b97f4a7c15ull;
}

/* The VP is the one that has interrupts; each device tells by a vector of its own. */
TEST(vpci_devices, "vpci: many devices, with any numbers, that come and go; the partition takes them with it")
{
    WHV_VPCI_DEVICE_NOTIFICATION notice;
    size_t heap;
    VM(vm);

    REQUIRE(apic_create(&vm, &apic_modes[1], 1));
    heap = heap_used();
    for (uint32_t round = 0; round < 3; round++) {
        for (uint32_t i = 0; i < DEVICES; i++)
            REQUIRE(add_device(&vm, number_of(i)));
        for (uint32_t i = 0; i < DEVICES; i++) {
            EXPECT_OK(WHvGetVpciDeviceNotification(vm.partition, number_of(i), &notice, sizeof(notice)));
            EXPECT_EQ(notice.NotificationType, WHvVpciDeviceNotificationUndefined);
            EXPECT_HR(WHvDeleteVpciDevice(vm.partition, number_of(i) + 1000000), ERROR_HV_INVALID_DEVICE_ID);
        }
        for (uint32_t i = 0; i < DEVICES && round < 2; i++)
            EXPECT_OK(WHvDeleteVpciDevice(vm.partition, number_of((i * 37 + round) % DEVICES)));
        if (round < 2)
            EXPECT_EQ(heap_used(), heap);
    }
    vm_delete(&vm);
}

TEST(vpci_cycles, "vpci: 1,000 devices with interrupts, one after the other, leave nothing behind")
{
    struct msi msi;
    size_t heap;
    VM(vm);

    REQUIRE(apic_create(&vm, &apic_modes[1], 1));
    heap = heap_used();
    for (uint32_t i = 0; i < 1000; i++) {
        REQUIRE(add_device(&vm, NUMBER));
        for (uint32_t n = 0; n < 4; n++)
            REQUIRE(map(&vm, n * 997, 1u << n, target_to(0x51, 1, false), &msi));
        if (i % 2)
            EXPECT_OK(WHvUnmapVpciDeviceInterrupt(vm.partition, NUMBER, 997));
        EXPECT_OK(WHvDeleteVpciDevice(vm.partition, NUMBER));
    }
    EXPECT_EQ(heap_used(), heap);
}
