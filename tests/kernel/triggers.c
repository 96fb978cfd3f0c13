/* SPDX-License-Identifier: MIT */
/* Triggers: signals of events that become interrupts and event flags of guests, whoever signals them and wherever. */
#include "apic.h"
#include <kernel/clock.h>
#include <kernel/event.h>

#define READY WORD(0)
#define GO    WORD(1)

static const WHV_TRIGGER_PARAMETERS nothing;

static WHV_TRIGGER_PARAMETERS to_vector(WHV_INTERRUPT_TYPE type, bool is_logical, uint32_t destination, uint8_t vector)
{
    WHV_TRIGGER_PARAMETERS parameters = nothing;

    parameters.TriggerType = WHvTriggerTypeInterrupt;
    parameters.Interrupt.Type = (UINT64)type & 0xff;
    parameters.Interrupt.DestinationMode = is_logical;
    parameters.Interrupt.Destination = destination;
    parameters.Interrupt.Vector = vector;
    return parameters;
}

struct trigger {
    WHV_TRIGGER_HANDLE handle;
    HANDLE event;
};

static bool create(struct vm *vm, const WHV_TRIGGER_PARAMETERS *parameters, struct trigger *trigger)
{
    return EXPECT_OK(WHvCreateTrigger(vm->partition, parameters, &trigger->handle, &trigger->event));
}

/* In the order of most clients: the event goes while the trigger is there. */
static void drop(struct vm *vm, const struct trigger *trigger)
{
    EXPECT(event_close(trigger->event));
    EXPECT_OK(WHvDeleteTrigger(vm->partition, trigger->handle));
}

/* ---------------------------------------------------------------------------------- interrupts */

static const struct kind_row {
    const char *name;
    WHV_INTERRUPT_TYPE type;
    bool is_logical;
    uint32_t destination;
    uint8_t vector;
    uint8_t counted; /* the vector that comes */
} kinds[] = {
    {"fixed", WHvX64InterruptTypeFixed, false, 0, 0x51, 0x51},
    {"fixed, logical", WHvX64InterruptTypeFixed, true, 1, 0x52, 0x52},
    {"lowest priority", WHvX64InterruptTypeLowestPriority, true, 1, 0x53, 0x53},
    {"NMI", WHvX64InterruptTypeNmi, false, 0, 0, 2},
};

static void signal_from_interrupt(void *event)
{
    event_signal(event);
}

/* To a VP on the other CPU: from a thread, and from interrupt handlers of both CPUs. Each signal is one interrupt. */
static void trigger_to(const struct apic_mode *mode, const struct kind_row *kind, bool halts)
{
    const WHV_TRIGGER_PARAMETERS parameters = to_vector(kind->type, kind->is_logical, kind->destination, kind->vector);
    const uint64_t ldr = mode->is_x2apic ? APIC_TPR : APIC_LDR, v = kind->counted;
    static struct runner runner;
    struct trigger trigger;
    VM(vm);

    REQUIRE(apic_create(&vm, mode, 1) && create(&vm, &parameters, &trigger));
    if (halts)
        SCRIPT(&vm, 0, WRITE(ldr, mode->is_x2apic ? 0 : 0x01000000), STI, SET(READY, 1), HALT(v, 1), SET(READY, 2),
               HALT(v, 2), SET(READY, 3), HALT(v, 3), DELAY(100), COUNT_IS(v, 3));
    else
        SCRIPT(&vm, 0, WRITE(ldr, mode->is_x2apic ? 0 : 0x01000000), STI, SET(READY, 1), SPIN(v, 1), SET(READY, 2),
               SPIN(v, 2), SET(READY, 3), SPIN(v, 3), DELAY(100), COUNT_IS(v, 3));
    thread_set_cpu(thread_cpu(0));
    REQUIRE(runner_start(&runner, &vm, 0, other_cpu()));
    for (uint32_t i = 1; i <= 3 && apic_wait_word(&vm, READY, i); i++) {
        thread_sleep_ns(NS_PER_MS);
        EXPECT_EQ(runner.ended, 0);
        if (i == 1)
            EXPECT(event_signal(trigger.event));
        else
            cpu_call(i == 2 ? 0 : other_cpu(), signal_from_interrupt, trigger.event);
    }
    EXPECT_RUNNER_END(&runner);
    thread_set_cpu(CPU_ANY);
    drop(&vm, &trigger);
}

TEST_ROWS(triggers_spin_xapic, "triggers: xAPIC: to a VP that spins", kinds)
{
    trigger_to(&apic_modes[0], row, false);
}

TEST_ROWS(triggers_spin_x2apic, "triggers: x2APIC: to a VP that spins", kinds)
{
    trigger_to(&apic_modes[1], row, false);
}

TEST_ROWS(triggers_halt_xapic, "triggers: xAPIC: to a VP that halts", kinds)
{
    trigger_to(&apic_modes[0], row, true);
}

TEST_ROWS(triggers_halt_x2apic, "triggers: x2APIC: to a VP that halts", kinds)
{
    trigger_to(&apic_modes[1], row, true);
}

TEST_ROWS(triggers_coalesce, "triggers: signals to a VP that does not run are one interrupt, and it is not lost",
          apic_modes)
{
    const WHV_TRIGGER_PARAMETERS parameters = to_vector(WHvX64InterruptTypeFixed, false, 0, 0x51);
    struct trigger trigger;
    APIC_GUEST(vm, row, 1, EXIT, SPIN(0x51, 1), DELAY(200), COUNT_IS(0x51, 1), EXIT, SPIN(0x51, 2), DELAY(200),
               COUNT_IS(0x51, 2));

    REQUIRE(create(&vm, &parameters, &trigger));
    for (unsigned round = 0; round < 2; round++) {
        EXPECT_SCRIPT_END(&vm);
        vm_step(&vm);
        for (unsigned i = 0; i < 5; i++)
            EXPECT(event_signal(trigger.event));
    }
    EXPECT_SCRIPT_END(&vm);
    EXPECT_EQ(event_signals(trigger.event), 10);
    drop(&vm, &trigger);
}

/* ----------------------------------------------------------------------- update and deletion */

struct signaller {
    HANDLE event;
    struct thread *thread;
    volatile uint32_t stop;
    volatile uint32_t signals;
};

static void signal_on(void *arg)
{
    struct signaller *s = arg;

    while (!s->stop) {
        event_signal(s->event);
        s->signals++;
        if (s->signals % 16 == 0)
            thread_yield();
    }
}

static bool start_signaller(struct signaller *s, HANDLE event, uint32_t cpu)
{
    *s = (struct signaller){.event = event};
    s->thread = thread_create("signals", signal_on, s, cpu);
    return s->thread;
}

static void stop_signaller(struct signaller *s)
{
    s->stop = 1;
    thread_join(s->thread);
}

/* Two VPs, with a vector each: neither ever gets the other's, whichever of the parameters a signal finds. */
TEST_ROWS(triggers_update, "triggers: parameters change as a whole while another CPU signals", apic_modes)
{
    static struct runner runners[2];
    static struct signaller signaller;
    WHV_TRIGGER_PARAMETERS both[2] = {to_vector(WHvX64InterruptTypeFixed, false, 0, 0x51),
                                      to_vector(WHvX64InterruptTypeFixed, false, 1, 0x52)};
    struct trigger trigger;
    VM(vm);

    REQUIRE(apic_create(&vm, row, 2) && create(&vm, &both[0], &trigger));
    SCRIPT(&vm, 0, STI, WAIT(GO, 1), COUNT_IS(0x52, 0));
    SCRIPT(&vm, 1, STI, WAIT(GO, 1), COUNT_IS(0x51, 0));
    for (uint32_t i = 0; i < 2; i++)
        REQUIRE(runner_start(&runners[i], &vm, i, CPU_ANY));
    thread_set_cpu(thread_cpu(0));
    REQUIRE(start_signaller(&signaller, trigger.event, other_cpu()));
    for (uint64_t end = clock_ns() + 100 * NS_PER_MS; clock_ns() < end || signaller.signals < 1000;) {
        for (unsigned i = 0; i < 1000; i++)
            EXPECT_OK(WHvUpdateTriggerParameters(vm.partition, &both[i % 2], trigger.handle));
        thread_yield();
    }
    stop_signaller(&signaller);
    thread_set_cpu(CPU_ANY);
    EXPECT_OK(WHvUpdateTriggerParameters(vm.partition, &both[1], trigger.handle));
    EXPECT(event_signal(trigger.event));
    thread_sleep_ns(NS_PER_MS);
    *vm_u32(&vm, GO) = 1;
    EXPECT_RUNNER_END(&runners[0]);
    EXPECT_RUNNER_END(&runners[1]);
    EXPECT_GE(apic_area(&vm, 1)->counts[0x52], 1);
    both[0].TriggerType = WHvTriggerTypeSynicEvent; /* another type */
    EXPECT_HR(WHvUpdateTriggerParameters(vm.partition, &both[0], trigger.handle), E_INVALIDARG);
    drop(&vm, &trigger);
}

TEST_ROWS(triggers_delete, "triggers: deletion while another CPU signals is the end of its interrupts", apic_modes)
{
    const WHV_TRIGGER_PARAMETERS parameters = to_vector(WHvX64InterruptTypeFixed, false, 0, 0x51);
    static struct signaller signaller;
    static struct runner runner;
    struct trigger trigger;
    uint32_t signals, count;
    APIC_GUEST(vm, row, 1, SET(READY, 1), STI, WAIT(GO, 1)); /* under a storm it may come no further */

    REQUIRE(create(&vm, &parameters, &trigger) && runner_start(&runner, &vm, 0, CPU_ANY));
    REQUIRE(start_signaller(&signaller, trigger.event, CPU_ANY));
    apic_wait_word(&vm, READY, 1);
    for (uint64_t end = clock_ns() + NS_PER_S; !apic_area(&vm, 0)->counts[0x51] && clock_ns() < end;)
        thread_sleep_ns(NS_PER_MS);
    EXPECT_OK(WHvDeleteTrigger(vm.partition, trigger.handle));
    thread_sleep_ns(5 * NS_PER_MS); /* what was sent arrives */
    count = *(volatile uint32_t *)&apic_area(&vm, 0)->counts[0x51];
    EXPECT_GE(count, 1);
    signals = signaller.signals;
    for (uint64_t end = clock_ns() + NS_PER_S; signaller.signals < signals + 100 && clock_ns() < end;)
        thread_sleep_ns(NS_PER_MS);
    EXPECT_EQ(*(volatile uint32_t *)&apic_area(&vm, 0)->counts[0x51], count);
    stop_signaller(&signaller);
    EXPECT_HR(WHvDeleteTrigger(vm.partition, trigger.handle), E_INVALIDARG);
    EXPECT(event_close(trigger.event));
    *vm_u32(&vm, GO) = 1;
    EXPECT_RUNNER_END(&runner);
}

/* ------------------------------------------------------------------------------- event flags */

#define MSR_SCONTROL       0x40000080ull
#define MSR_SIEFP          0x40000082ull
#define MSR_SINT(n)        (0x40000090ull + (n))
#define FLAGS_PAGE         0x61000ull
#define FLAG_WORD(n, flag) (FLAGS_PAGE + 256ull * (n) + (flag) / 32 * 4)
#define SINT_VECTOR        0x61

static void configure_synic(struct vm *vm)
{
    const WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS banks = {
        .BanksCount = 1,
        .Bank0 = {.HypervisorPresent = 1, .Hv1 = 1, .AccessSynicRegs = 1},
    };

    apic_modes[1].configure(vm);
    vm_set_property(vm, WHvPartitionPropertyCodeSyntheticProcessorFeaturesBanks, &banks, sizeof(banks));
}

static WHV_TRIGGER_PARAMETERS to_flag(uint32_t vp, uint8_t sint, uint16_t flag)
{
    WHV_TRIGGER_PARAMETERS parameters = nothing;

    parameters.TriggerType = WHvTriggerTypeSynicEvent;
    parameters.SynicEvent.VpIndex = vp;
    parameters.SynicEvent.TargetSint = sint;
    parameters.SynicEvent.FlagNumber = flag;
    return parameters;
}

TEST(triggers_synic, "triggers: SynIC events: flag and interrupt; set already: neither")
{
    const struct apic_mode mode = {"x2APIC", configure_synic, true};
    const WHV_TRIGGER_PARAMETERS first = to_flag(0, 2, 37), last = to_flag(0, 2, 2047);
    static struct runner runner;
    struct trigger triggers[2];
    VM(vm);

    REQUIRE(apic_create(&vm, &mode, 1));
    REQUIRE(create(&vm, &first, &triggers[0]) && create(&vm, &last, &triggers[1]));
    EXPECT(event_signal(triggers[0].event)); /* before the guest has a SynIC: it is lost */
    SCRIPT(&vm, 0, WRMSR(MSR_SIEFP, FLAGS_PAGE | 1), WRMSR(MSR_SINT(2), SINT_VECTOR), WRMSR(MSR_SCONTROL, 1), STI,
           LOAD(FLAG_WORD(2, 37)), EXPECT_LAST(~0ull, 0), SET(READY, 1), HALT(SINT_VECTOR, 1), LOAD(FLAG_WORD(2, 37)),
           EXPECT_LAST(~0ull, 1u << 5), SET(READY, 2), HALT(SINT_VECTOR, 2), LOAD(FLAG_WORD(2, 2047)),
           EXPECT_LAST(~0ull, 1u << 31), LOAD(FLAG_WORD(2, 37)), EXPECT_LAST(~0ull, 1u << 5), DELAY(100),
           COUNT_IS(SINT_VECTOR, 2));
    REQUIRE(runner_start(&runner, &vm, 0, CPU_ANY));
    if (apic_wait_word(&vm, READY, 1))
        EXPECT(event_signal(triggers[0].event));
    if (apic_wait_word(&vm, READY, 2)) {
        EXPECT(event_signal(triggers[0].event)); /* nothing new */
        cpu_call(0, signal_from_interrupt, triggers[1].event);
    }
    EXPECT_RUNNER_END(&runner);
    for (unsigned i = 0; i < 2; i++)
        drop(&vm, &triggers[i]);
}

/* ------------------------------------------------------------------------------------ handles */

TEST(triggers_partitions, "triggers: each belongs to one partition, and goes with it")
{
    const WHV_TRIGGER_PARAMETERS parameters = to_vector(WHvX64InterruptTypeFixed, false, 0, 0x51);
    struct trigger mine, left;
    VM(other);
    VM(vm);

    REQUIRE(apic_create(&vm, &apic_modes[1], 1) && apic_create(&other, &apic_modes[1], 1));
    REQUIRE(create(&vm, &parameters, &mine) && create(&vm, &parameters, &left));
    EXPECT_HR(WHvDeleteTrigger(other.partition, mine.handle), E_INVALIDARG);
    EXPECT_HR(WHvUpdateTriggerParameters(other.partition, &parameters, mine.handle), E_INVALIDARG);
    drop(&vm, &mine);
    vm_delete(&vm);
    EXPECT_HR(WHvDeleteTrigger(other.partition, left.handle), E_INVALIDARG);
    EXPECT(event_signal(left.event)); /* to nobody */
    EXPECT(event_close(left.event));
}
