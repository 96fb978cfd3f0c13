/* SPDX-License-Identifier: MIT */
/* Messages and events as fast as they can be posted, by threads and by other VPs' threads, to a VP that runs and halts:
 * counted on both sides. The guests are those of tests/guests/synic.asm. */
#include "synic.h"
#include <kernel/clock.h>

#define SINT_EVENTS     3 /* all others are for messages */
#define VECTOR_MESSAGES 0x52
#define VECTOR_EVENTS   0x53
#define HANDLER         0x2e000u
#define EVENT_HANDLER   0x2e800u
#define LIMIT_NS        ((test_storm(0) ? 10000 : 100) * NS_PER_S)
#define SENDERS         3
#define LANES           16u /* of a sender: one for each SINT, in which its messages are numbered */

/* what the guest counts, at VM_DATA */
struct counts {
    volatile uint64_t events, messages, wrong, wanted, eoms, next[LANES * SENDERS];
};

static struct counts *counts(struct vm *vm)
{
    return vm_at(vm, VM_DATA);
}

/* ------------------------------------------------------------------------------------ posting */

struct sender {
    struct vm *vm;
    uint32_t id;           /* also the VP that it runs, where it does so */
    uint32_t first, lanes; /* its messages go to these SINTs in turn */
    uint64_t count, refused;
    volatile uint64_t sent;
    volatile uint32_t stop;         /* the guest does not go on */
    const struct sender *companion; /* whom it is not to leave far behind; NULL: nobody */
    bool is_beside_vp;              /* on the same CPU */
    struct thread *thread;
};

/* Not by spinning for long: an emulator's CPUs may have to share one of the machine's. */
static void give_way(struct sender *s)
{
    s->refused++;
    if (s->is_beside_vp)
        thread_yield();
    else if (s->refused % 64)
        cpu_relax();
    else
        thread_sleep_ns(20000);
}

/* As often as it is refused because the slot is taken. */
static bool post(struct sender *s, uint32_t sint, uint64_t number)
{
    const uint64_t message[4] = {0x77 | 16ull << 32, 0, s->id * LANES + sint, number};
    HRESULT hr;

    for (;;) {
        hr = WHvPostVirtualProcessorSynicMessage(s->vm->partition, 0, sint, message, sizeof(message));
        if (hr != ERROR_HV_OBJECT_IN_USE || s->stop)
            break;
        give_way(s);
    }
    s->sent += hr == S_OK;
    return EXPECT_OK(hr);
}

#define FAR 600

static void wait_for_companion(struct sender *s)
{
    while (s->companion && s->sent > s->companion->sent + FAR && !s->stop)
        give_way(s);
}

static void send_messages(void *arg)
{
    struct sender *s = arg;

    for (uint64_t number = 0; s->sent < s->count; wait_for_companion(s), number++)
        for (uint32_t i = 0; i < s->lanes && s->sent < s->count; i++)
            if (s->stop || !post(s, s->first + i, number))
                return;
}

/* On behalf of a guest that asks for each message by OUT. */
static void send_for_vp(void *arg)
{
    struct sender *s = arg;
    WHV_RUN_VP_EXIT_CONTEXT exit;

    for (uint64_t i = 0; i < s->count && !s->stop; i++) {
        if (!EXPECT_OK(vm_run_vp(s->vm, s->id, &exit)) ||
            !EXPECT_EQ(exit.ExitReason, WHvRunVpExitReasonX64IoPortAccess) ||
            !EXPECT_EQ(exit.IoPortAccess.Rax & 0xffffffff, i) || !post(s, 0, i))
            return;
        vm_set_vp(s->vm, s->id, WHvX64RegisterRip, exit.VpContext.Rip + exit.VpContext.InstructionLength);
    }
}

/* Flags that are still set from the last time are waited for. */
static void send_events(void *arg)
{
    struct sender *s = arg;
    uint32_t flag = 0;

    while (s->sent < s->count && !s->stop) {
        BOOL newly = FALSE;

        if (!EXPECT_OK(synic_signal(s->vm, SINT_EVENTS, flag, &newly)))
            return;
        s->sent += newly != FALSE;
        flag = (flag + 1) % 64;
        if (!newly)
            give_way(s);
    }
}

static bool sender_start(struct sender *s, struct vm *vm, uint32_t id, uint64_t count, void (*entry)(void *))
{
    *s = (struct sender){.vm = vm, .id = id, .count = count, .lanes = 1, .is_beside_vp = thread_cpus() == 1};
    s->thread = thread_create("sender", entry, s, CPU_ANY);
    return EXPECT(s->thread != NULL);
}

/* ------------------------------------------------------------------------------------ machine */

static void set_handler(struct vm *vm, uint32_t vector, uint32_t at)
{
    *(uint16_t *)vm_at(vm, VM_IDT + 16 * vector) = (uint16_t)at;
    *(uint16_t *)vm_at(vm, VM_IDT + 16 * vector + 6) = (uint16_t)(at >> 16);
}

static void set_sints(struct vm *vm, uint64_t value)
{
    for (uint32_t i = 0; i < LANES; i++)
        vm_set(vm, WHvRegisterSint0 + i, i == SINT_EVENTS ? VECTOR_EVENTS : value);
}

/* VP 0, with its SynIC open, is about to begin. `sint`: how messages come. */
static bool create_storm(struct vm *vm, uint32_t vps, uint64_t sint, const char *handler, const char *guest)
{
    if (!apic_create(vm, &synic_modes[1], vps))
        return false;
    SCRIPT(vm, 0, SYNIC_ON);
    if (!EXPECT_SCRIPT_END(vm) || !vm_load_at(vm, handler, 64, HANDLER) ||
        !vm_load_at(vm, "synic_event_handler", 64, EVENT_HANDLER) || !vm_load_at(vm, guest, 64, VM_CODE))
        return false;
    set_sints(vm, sint);
    set_handler(vm, VECTOR_MESSAGES, HANDLER);
    set_handler(vm, VECTOR_EVENTS, EVENT_HANDLER);
    vm_set(vm, WHvX64RegisterRip, VM_CODE);
    memset(counts(vm), 0, sizeof(*counts(vm)));
    return true;
}

/* Runs VP 0 until it has all, or for too long: then it is told to give up. */
static void run_storm(struct vm *vm, uint64_t wanted, struct sender *senders, uint32_t count)
{
    uint64_t start = clock_ns(), deadline = start + LIMIT_NS;
    static struct runner runner;

    counts(vm)->wanted = wanted;
    if (!runner_start(&runner, vm, 0, CPU_ANY))
        return;
    while (!runner.ended && clock_ns() < deadline)
        thread_wait(&runner.ended, 0, deadline);
    for (uint32_t i = 0; i < count; i++)
        senders[i].stop = 1;
    if (!runner.ended)
        WHvCancelRunVirtualProcessor(vm->partition, 0, 0);
    EXPECT_RUNNER_EXIT(&runner, X64IoPortAccess);
    for (uint32_t i = 0; i < count; i++)
        thread_join(senders[i].thread);
    test_note("%llu ms, %lu times the guest was asked for EOM", (clock_ns() - start) / NS_PER_MS, counts(vm)->eoms);
}

static void check_sender(const struct sender *s)
{
    EXPECT_EQ(s->sent, s->count);
    test_note("sender %u: %lu times refused", s->id, s->refused);
}

/* -------------------------------------------------------------------------------------- tests */

static const struct {
    const char *name;
    uint64_t sint;
    const char *handler, *guest;
} ways[] = {
    {"interrupts", VECTOR_MESSAGES, "synic_handler", "synic_storm"},
    {"interrupts, AutoEOI", SINT_AUTO_EOI | VECTOR_MESSAGES, "synic_handler_auto", "synic_storm"},
    {"polling", SINT_POLLING | VECTOR_MESSAGES, "synic_handler", "synic_poll"},
};

#define FEW test_storm(2000)

TEST_ROWS(synic_storm_ways, "synic: storm of 2,000 messages, or storm=N", ways)
{
    static struct sender sender;
    VM(vm);

    if (row->sint & SINT_POLLING && thread_cpus() == 1)
        SKIP("one CPU: the guest would have it for whole time slices");
    REQUIRE(create_storm(&vm, 1, row->sint, row->handler, row->guest));
    REQUIRE(sender_start(&sender, &vm, 0, FEW, send_messages));
    run_storm(&vm, FEW, &sender, 1);
    check_sender(&sender);
    EXPECT_EQ(counts(&vm)->messages, FEW);
    EXPECT_EQ(counts(&vm)->wrong, 0);
}

TEST(synic_storm_events, "synic: storm of 2,000 events, or storm=N")
{
    static struct sender sender;
    VM(vm);

    REQUIRE(create_storm(&vm, 1, VECTOR_MESSAGES, "synic_handler", "synic_storm"));
    REQUIRE(sender_start(&sender, &vm, 0, FEW, send_events));
    run_storm(&vm, FEW, &sender, 1);
    check_sender(&sender);
    EXPECT_EQ(counts(&vm)->events, FEW);
}

/* Half from the thread of VP 1, which asks for each, half from a thread of the host's; and events in between. */
TEST(synic_storm_all,
     "synic: storm of 3,000 messages and events, or storm=N and a half, from another VP's thread and the host's")
{
    static struct sender senders[SENDERS];
    VM(vm);

    REQUIRE(create_storm(&vm, 2, VECTOR_MESSAGES, "synic_handler", "synic_storm"));
    REQUIRE(vm_load_at(&vm, "synic_sender", 64, VM_CODE + 0x1000));
    vm_set_vp(&vm, 1, WHvX64RegisterRip, VM_CODE + 0x1000);
    REQUIRE(sender_start(&senders[0], &vm, 0, FEW / 2, send_messages) &&
            sender_start(&senders[1], &vm, 1, FEW / 2, send_for_vp) &&
            sender_start(&senders[2], &vm, 2, FEW / 2, send_events));
    run_storm(&vm, 3 * FEW / 2, senders, COUNT(senders));
    for (uint32_t i = 0; i < COUNT(senders); i++)
        check_sender(&senders[i]);
    EXPECT_EQ(counts(&vm)->messages, FEW);
    EXPECT_EQ(counts(&vm)->events, FEW / 2);
    EXPECT_EQ(counts(&vm)->wrong, 0);
    EXPECT_EQ(counts(&vm)->next[0], FEW / 2);
    EXPECT_EQ(counts(&vm)->next[LANES], FEW / 2);
}

/*
 * As many as it takes to be sure: half of them from the thread that runs the VP, whenever the guest has taken all, half
 * from another one as soon as there is room. Where few take long, many would take too long.
 */
static const struct {
    const char *name;
    uint32_t count;
} masses[] = {{"20,000", 20000}, {"1,000,000", 1000000}};

#define MASS_LIMIT_NS (60 * NS_PER_S)
#define MASS_MIN_HZ   500000000ull /* a clock slower than that is no CPU's, but an emulator's own */
#define MASS_LANES    6u
#define MASS_FIRST    4u /* behind the events' */

/* One to each lane that the guest has emptied, until there are enough. False: it went wrong, or is the end. */
static bool refill(struct sender *s, const WHV_RUN_VP_EXIT_CONTEXT *exit)
{
    uint64_t number = s->sent / s->lanes;

    if (!EXPECT_EQ(exit->ExitReason, WHvRunVpExitReasonX64IoPortAccess) || exit->IoPortAccess.PortNumber == 0xf4)
        return false;
    for (uint32_t i = 0; i < s->lanes && s->sent < s->count; i++)
        if (!post(s, s->first + i, number))
            return false;
    vm_set(s->vm, WHvX64RegisterRip, exit->VpContext.Rip + exit->VpContext.InstructionLength);
    thread_yield();
    return true;
}

static void run_and_refill(struct sender *s)
{
    uint64_t deadline = clock_ns() + LIMIT_NS;
    WHV_RUN_VP_EXIT_CONTEXT exit;

    do {
        if (clock_ns() > deadline) {
            FAIL("the guest has only taken %lu messages", counts(s->vm)->messages);
            return;
        }
    } while (EXPECT_OK(vm_run_vp(s->vm, 0, &exit)) && refill(s, &exit));
}

static void storm_mass(uint32_t count)
{
    static struct sender other;
    struct sender own = {.id = 1, .first = MASS_FIRST + MASS_LANES, .lanes = MASS_LANES, .count = count / 2};
    VM(vm);

    REQUIRE(create_storm(&vm, 1, SINT_AUTO_EOI | VECTOR_MESSAGES, "synic_handler_auto", "synic_ask"));
    own.vm = &vm;
    counts(&vm)->wanted = count;
    other = (struct sender){.vm = &vm, .first = MASS_FIRST, .lanes = MASS_LANES, .count = count / 2};
    other.companion = &own;
    other.is_beside_vp = true;
    other.thread = thread_create("sender", send_messages, &other, thread_cpu(0));
    REQUIRE(other.thread);
    run_and_refill(&own);
    other.stop = 1;
    thread_join(other.thread);
    check_sender(&own);
    check_sender(&other);
    EXPECT_EQ(counts(&vm)->messages, count);
    EXPECT_EQ(counts(&vm)->wrong, 0);
    test_note("%lu times the guest was asked for EOM", counts(&vm)->eoms);
}

TEST_ROWS(synic_storm_mass, "synic: storm of messages from two threads to 12 SINTs", masses)
{
    static uint64_t each_ns;
    uint64_t start = clock_ns();

    if (each_ns && apic_ticks(NS_PER_S) < MASS_MIN_HZ)
        SKIP("a clock of %lu MHz: would take too long", apic_ticks(NS_PER_S) / 1000000);
    if (each_ns * row->count > MASS_LIMIT_NS)
        SKIP("would take %llu s here", each_ns * row->count / NS_PER_S);
    thread_set_cpu(thread_cpu(0)); /* both threads: an exact division of labour, whatever else the machine does */
    storm_mass(row->count);
    thread_set_cpu(CPU_ANY);
    each_ns = (clock_ns() - start) / row->count;
}
