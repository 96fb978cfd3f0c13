/* SPDX-License-Identifier: MIT */
/* Notification ports: events that guests signal, by hypercalls and by stores. */
#include "runner.h"
#include "test.h"
#include "vm.h"
#include <kernel/clock.h>
#include <kernel/event.h>

#define FAST         (1ull << 16)
#define SIGNAL_EVENT 0x005dull
#define OS_ID        0x8100000000000000ull

#define STATUS_SUCCESS            0u
#define STATUS_INVALID_PARAMETER  5u
#define STATUS_INVALID_CONNECTION 0x12u

static HANDLE new_event(void)
{
    HANDLE event = event_create(EVENT_AUTO);

    EXPECT(event != NULL);
    return event;
}

static HRESULT connect(struct vm *vm, uint32_t id, HANDLE event, WHV_NOTIFICATION_PORT_HANDLE *port)
{
    WHV_NOTIFICATION_PORT_PARAMETERS parameters;

    memset(&parameters, 0, sizeof(parameters));
    parameters.NotificationPortType = WHvNotificationPortTypeEvent;
    parameters.Event.ConnectionId = id;
    return WHvCreateNotificationPort(vm->partition, &parameters, event, port);
}

/* ---------------------------------------------------------------------------------- hypercalls */

static void configure(struct vm *vm)
{
    const WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS banks = {
        .BanksCount = 1,
        .Bank0 = {.HypervisorPresent = 1, .Hv1 = 1, .AccessHypercallRegs = 1, .SignalEvents = 1},
    };

    vm_set_property(vm, WHvPartitionPropertyCodeSyntheticProcessorFeaturesBanks, &banks, sizeof(banks));
}

static void prepare_call(struct vm *vm)
{
    static const uint8_t vmmcall[] = {0x0f, 0x01, 0xd9};

    if (vm_is_svm())
        memcpy(vm_at(vm, vm_mark(vm, 0)), vmmcall, sizeof(vmmcall));
    vm_set(vm, WHvRegisterGuestOsId, OS_ID);
    *vm_u64(vm, VM_DATA) = SIGNAL_EVENT | FAST;
}

/* What HvCallSignalEvent says to so many calls with this parameter, the last of them. */
static uint64_t signal(struct vm *vm, uint64_t parameter, uint32_t times)
{
    *vm_u64(vm, VM_DATA + 8) = parameter;
    *vm_u64(vm, VM_DATA + 16) = ~0ull;
    *vm_u64(vm, VM_DATA + 24) = times;
    vm_set(vm, WHvX64RegisterRip, VM_CODE);
    EXPECT_END(vm);
    return *vm_u64(vm, VM_DATA + 16);
}

TEST(ports_hypercall, "ports: HvCallSignalEvent signals the event of the connection")
{
    WHV_NOTIFICATION_PORT_HANDLE ports[2], again;
    HANDLE events[2] = {new_event(), new_event()};
    VM_GUEST(vm, VM_LONG, "port_call", configure);

    prepare_call(&vm);
    EXPECT_EQ(signal(&vm, 0x10001, 1), STATUS_INVALID_CONNECTION);
    EXPECT_OK(connect(&vm, 0x10001, events[0], &ports[0]));
    EXPECT_OK(connect(&vm, 0xffffff, events[1], &ports[1]));
    EXPECT_HR(connect(&vm, 0x10001, events[1], &again), ERROR_HV_INVALID_PARAMETER);
    EXPECT_EQ(signal(&vm, 0x10001, 1), STATUS_SUCCESS);
    EXPECT(event_wait(events[0], clock_ns() + NS_PER_S));
    EXPECT_EQ(signal(&vm, 0xffffff, 3), STATUS_SUCCESS);
    EXPECT_EQ(event_signals(events[1]), 3);
    EXPECT_EQ(signal(&vm, 0x10002, 1), STATUS_INVALID_CONNECTION);
    EXPECT_EQ(signal(&vm, 0x1010001, 1), STATUS_INVALID_CONNECTION);
    EXPECT_EQ(signal(&vm, 0x10001 | 1ull << 32, 1), STATUS_INVALID_PARAMETER); /* there is flag 0 only */
    EXPECT_EQ(signal(&vm, 0x10001 | 1ull << 48, 1), STATUS_INVALID_PARAMETER);
    EXPECT_EQ(event_signals(events[0]), 1);
    EXPECT_OK(WHvDeleteNotificationPort(vm.partition, ports[0]));
    EXPECT_EQ(signal(&vm, 0x10001, 1), STATUS_INVALID_CONNECTION);
    EXPECT_EQ(signal(&vm, 0xffffff, 1), STATUS_SUCCESS);
    EXPECT_EQ(event_signals(events[1]), 4);
    for (unsigned i = 0; i < 2; i++)
        EXPECT(event_close(events[i]));
    EXPECT_EQ(signal(&vm, 0xffffff, 1), STATUS_SUCCESS); /* the port has its event still */
}

#define SIGNALS 5000u
#define SPARES  100u

/* From a VP on another CPU, while other ports come and go beside it. */
TEST(ports_storm, "ports: signals by a VP that runs, while other connections come and go")
{
    static struct runner runner;
    WHV_NOTIFICATION_PORT_HANDLE port, other;
    HANDLE event = new_event(), spare = new_event();
    uint32_t rounds = 0;
    VM_GUEST(vm, VM_LONG, "port_call", configure);

    prepare_call(&vm);
    EXPECT_OK(connect(&vm, 0x40, event, &port));
    *vm_u64(&vm, VM_DATA + 8) = 0x40;
    *vm_u64(&vm, VM_DATA + 24) = SIGNALS;
    thread_set_cpu(thread_cpu(0));
    REQUIRE(runner_start(&runner, &vm, 0, other_cpu()));
    while (!runner.ended || rounds < SPARES) {
        if (!EXPECT_OK(connect(&vm, 0x41 + rounds++ % 100, spare, &other)) ||
            !EXPECT_OK(WHvDeleteNotificationPort(vm.partition, other)))
            break;
        thread_yield();
    }
    EXPECT_RUNNER_EXIT(&runner, X64Halt);
    thread_set_cpu(CPU_ANY);
    EXPECT_EQ(event_signals(event), SIGNALS);
    EXPECT_EQ(event_signals(spare), 0);
    EXPECT_EQ(*vm_u64(&vm, VM_DATA + 16), STATUS_SUCCESS);
    EXPECT(event_close(event));
    EXPECT(event_close(spare));
}

/* Deleted, the event is not signalled any more, whatever the guest was doing. */
TEST(ports_delete, "ports: deletion while a VP signals")
{
    static struct runner runner;
    WHV_NOTIFICATION_PORT_HANDLE port;
    HANDLE event = new_event();
    uint64_t signals;
    VM_GUEST(vm, VM_LONG, "port_call", configure);

    prepare_call(&vm);
    EXPECT_OK(connect(&vm, 7, event, &port));
    *vm_u64(&vm, VM_DATA + 8) = 7;
    *vm_u64(&vm, VM_DATA + 24) = 0xffffffff;
    thread_set_cpu(thread_cpu(0));
    REQUIRE(runner_start(&runner, &vm, 0, other_cpu()));
    EXPECT(event_wait(event, clock_ns() + 2 * NS_PER_S));
    EXPECT_OK(WHvDeleteNotificationPort(vm.partition, port));
    signals = event_signals(event);
    for (uint64_t end = clock_ns() + NS_PER_S; *vm_u64(&vm, VM_DATA + 16) == 0 && clock_ns() < end;)
        thread_sleep_ns(NS_PER_MS);
    EXPECT_EQ(*vm_u64(&vm, VM_DATA + 16), STATUS_INVALID_CONNECTION);
    EXPECT_EQ(event_signals(event), signals);
    EXPECT_CANCEL(&runner);
    thread_set_cpu(CPU_ANY);
    EXPECT(event_close(event));
}

/* ------------------------------------------------------------------------------------- doorbells */

#define BELL (VM_FREE + 0x1008)

TEST(ports_doorbell, "ports: a doorbell's store signals its event, and exits no more than other stores after its end")
{
    WHV_NOTIFICATION_PORT_PARAMETERS parameters;
    WHV_NOTIFICATION_PORT_HANDLE port, again;
    HANDLE event = new_event();
    VM_GUEST(vm, VM_LONG, "port_store", NULL);

    memset(&parameters, 0, sizeof(parameters));
    parameters.NotificationPortType = WHvNotificationPortTypeDoorbell;
    parameters.Doorbell.GuestAddress = BELL;
    parameters.Doorbell.Length = 4;
    parameters.Doorbell.MatchOnLength = 1;
    parameters.Doorbell.Value = 0x1234;
    parameters.Doorbell.MatchOnValue = 1;
    EXPECT_OK(WHvCreateNotificationPort(vm.partition, &parameters, event, &port));
    EXPECT_HR(WHvCreateNotificationPort(vm.partition, &parameters, event, &again), ERROR_HV_INVALID_PARAMETER);
    EXPECT_OK(WHvSetNotificationPortProperty(vm.partition, port, WHvNotificationPortPropertyPreferredTargetVp, 0));
    EXPECT_HR(WHvUnregisterPartitionDoorbellEvent(vm.partition, &parameters.Doorbell),
              HRESULT_FROM_WIN32(ERROR_NOT_FOUND)); /* it is the port's */
    EXPECT_HR(WHvRegisterPartitionDoorbellEvent(vm.partition, &parameters.Doorbell, event), ERROR_HV_INVALID_PARAMETER);
    vm_set(&vm, WHvX64RegisterRdi, BELL);
    vm_set(&vm, WHvX64RegisterRax, 0x1234);
    vm_set(&vm, WHvX64RegisterRcx, 10);
    EXPECT_END(&vm);
    EXPECT_EQ(event_signals(event), 10);
    EXPECT_EQ(*vm_u32(&vm, BELL), 0);
    vm_set(&vm, WHvX64RegisterRip, VM_CODE);
    vm_set(&vm, WHvX64RegisterRax, 0x1235);
    vm_set(&vm, WHvX64RegisterRcx, 1);
    EXPECT_EXIT(&vm, MemoryAccess);
    EXPECT_EQ(event_signals(event), 10);
    EXPECT_OK(WHvDeleteNotificationPort(vm.partition, port));
    EXPECT_END(&vm);
    EXPECT_EQ(*vm_u32(&vm, BELL), 0x1235);
    EXPECT_EQ(event_signals(event), 10);
    EXPECT(event_close(event));
}

TEST(ports_partitions, "ports: each belongs to one partition, and goes with it")
{
    WHV_NOTIFICATION_PORT_HANDLE mine, left;
    HANDLE event = new_event();
    VM_GUEST(other, VM_LONG, "port_call", configure);
    VM_GUEST(vm, VM_LONG, "port_call", configure);

    EXPECT_OK(connect(&vm, 1, event, &mine));
    EXPECT_OK(connect(&vm, 2, event, &left));
    EXPECT_HR(WHvDeleteNotificationPort(other.partition, mine), E_INVALIDARG);
    EXPECT_HR(WHvSetNotificationPortProperty(other.partition, mine, WHvNotificationPortPropertyPreferredTargetVp, 0),
              E_INVALIDARG);
    EXPECT_OK(WHvDeleteNotificationPort(vm.partition, mine));
    prepare_call(&other);
    EXPECT_EQ(signal(&other, 2, 1), STATUS_INVALID_CONNECTION);
    vm_delete(&vm);
    EXPECT_HR(WHvDeleteNotificationPort(other.partition, left), E_INVALIDARG);
    EXPECT_EQ(event_signals(event), 0);
    EXPECT(event_close(event));
}
