/* SPDX-License-Identifier: MIT */
/* Hypercalls by guests: who may call, both conventions, what each call does, and what the client gets of them. */
#include "apic.h"
#include "runner.h"
#include <kernel/clock.h>

/* ---------------------------------------------------------------------------------- machines */

#define FEATURE(n)              (1ull << (n)) /* of WHV_SYNTHETIC_PROCESSOR_FEATURES */
#define INTERFACE               (FEATURE(0) | FEATURE(1) | FEATURE(7))
#define MASKS                   FEATURE(24)
#define FLUSH_CALLS             FEATURE(25)
#define CLUSTER_IPI             FEATURE(26)
#define SPIN_WAIT               FEATURE(27)
#define SIGNAL_EVENTS           FEATURE(29)
#define ALL_CALLS               (INTERFACE | MASKS | FLUSH_CALLS | CLUSTER_IPI | SPIN_WAIT | SIGNAL_EVENTS)
#define EXIT_UNKNOWN_CONNECTION (1ull << 10)
#define OS_ID                   0x8100000000000000ull

static void set_features(struct vm *vm, uint64_t features)
{
    const WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS banks = {.BanksCount = 1, .AsUINT64 = {features}};

    vm_set_property(vm, WHvPartitionPropertyCodeSyntheticProcessorFeaturesBanks, &banks, sizeof(banks));
}

static void offer_all(struct vm *vm)
{
    set_features(vm, ALL_CALLS);
}

static void offer_nothing_more(struct vm *vm)
{
    set_features(vm, INTERFACE);
}

static void offer_and_exit(struct vm *vm)
{
    offer_all(vm);
    vm_set_exits(vm, VM_EXIT_HYPERCALL);
}

static void offer_and_exit_unknown(struct vm *vm)
{
    offer_all(vm);
    vm_set_exits(vm, EXIT_UNKNOWN_CONNECTION);
}

/* That of this kind of CPU in place of the VMCALL in the code there. */
static void put_instruction(struct vm *vm, uint64_t gpa)
{
    static const uint8_t vmcall[] = {0x0f, 0x01, 0xc1}, vmmcall[] = {0x0f, 0x01, 0xd9};
    uint8_t *code = vm_at(vm, gpa);

    while (memcmp(code, vmcall, sizeof(vmcall)) != 0)
        code++;
    memcpy(code, vm_is_svm() ? vmmcall : vmcall, sizeof(vmcall));
}

static bool load_caller(struct vm *vm, const char *guest)
{
    if (!vm_load(vm, guest))
        return false;
    put_instruction(vm, VM_CODE);
    vm_set(vm, WHvRegisterGuestOsId, OS_ID);
    return true;
}

/* ------------------------------------------------------------------------------------- calls */

struct call { /* see hypercall.asm */
    uint64_t control, input, output, result, rcx, rdx, is_last, rounds, xmm[12];
};
_Static_assert(sizeof(struct call) == 160, "C_SIZE");

#define CALLS(vp) (VM_FREE + 0x4000u * (vp))
#define INPUT     0x60000ull

static struct call *call_at(struct vm *vm, uint32_t vp, unsigned n)
{
    return (struct call *)vm_at(vm, CALLS(vp)) + n;
}

static void set_calls(struct vm *vm, uint32_t vp, const struct call *calls, unsigned count)
{
    memcpy(call_at(vm, vp, 0), calls, count * sizeof(*calls));
    call_at(vm, vp, count - 1)->is_last = 1;
    vm_set_vp(vm, vp, WHvX64RegisterRbp, CALLS(vp));
    vm_set_vp(vm, vp, WHvX64RegisterRip, VM_CODE);
}

#define SET_CALLS(vm, vp, ...)                    \
    do {                                          \
        const struct call calls_[] = __VA_ARGS__; \
        set_calls(vm, vp, calls_, COUNT(calls_)); \
    } while (0)

#define FAST      (1ull << 16)
#define HEADER(n) ((uint64_t)(n) << 17)
#define REPS(n)   ((uint64_t)(n) << 32)
#define START(n)  ((uint64_t)(n) << 48)

#define FLUSH_SPACE    0x0002ull
#define FLUSH_LIST     0x0003ull
#define LONG_SPIN      0x0008ull
#define SEND_IPI       0x000bull
#define FLUSH_SPACE_EX 0x0013ull
#define FLUSH_LIST_EX  0x0014ull
#define SEND_IPI_EX    0x0015ull
#define POST_MESSAGE   0x005cull
#define SIGNAL_EVENT   0x005dull
#define UNKNOWN        0x1234ull

enum {
    SUCCESS = 0,
    INVALID_CODE = 2,
    INVALID_INPUT = 3,
    INVALID_ALIGNMENT = 4,
    INVALID_PARAMETER = 5,
    DENIED = 6,
    INVALID_CONNECTION = 0x12
};

/* -------------------------------------------------------------------------------- who may call */

/* Only CPL 0 of protected mode, and only with a name. */
TEST_MODES(hypercall_modes, "hypercalls: by the modes that may", VM_ALL)
{
    bool may = vm_mode_in(mode, VM_CPL0) && mode != VM_REAL;
    VM_GUEST(vm, mode, vm_hypercall(), offer_all);

    EXPECT_VECTOR(&vm, 6);
    REQUIRE(vm_enter(&vm, mode));
    vm_set(&vm, WHvX64RegisterRdx, 0);
    vm_set(&vm, WHvX64RegisterRcx, vm_mode_bits(mode) == 64 ? LONG_SPIN | FAST : 0);
    vm_set(&vm, WHvX64RegisterRax, vm_mode_bits(mode) == 64 ? 0 : LONG_SPIN | FAST);
    vm_set(&vm, WHvRegisterGuestOsId, OS_ID);
    if (may) {
        EXPECT_END(&vm);
        EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax), SUCCESS);
    } else {
        EXPECT_VECTOR(&vm, 6);
    }
}

/* A client that asks for hypercalls has those too that the core would refuse with #UD. */
TEST_MODES(hypercall_modes_exit, "hypercalls: of other modes exit to a client that wants them",
           VM_CPL3 | VM_BIT(VM_REAL))
{
    VM_GUEST(vm, mode, vm_hypercall(), offer_and_exit);
    vm_set(&vm, WHvRegisterGuestOsId, OS_ID);
    REQUIRE(EXPECT_EXIT(&vm, Hypercall));
    vm_check_instruction(&vm, 0);
}

/* ---------------------------------------------------------------------------------- statuses */

static const struct {
    const char *name;
    struct call call;
    uint64_t result;
} statuses[] = {
    {"unknown", {.control = UNKNOWN}, INVALID_CODE},
    {"spin wait", {.control = LONG_SPIN | FAST, .input = 100}, SUCCESS},
    {"spin wait in memory", {.control = LONG_SPIN, .input = INPUT}, SUCCESS},
    {"reserved bit", {.control = LONG_SPIN | FAST | 1ull << 27}, INVALID_INPUT},
    {"reps of a simple call", {.control = LONG_SPIN | FAST | REPS(1)}, INVALID_INPUT},
    {"no reps", {.control = FLUSH_LIST, .input = INPUT}, INVALID_INPUT},
    {"header of a call without", {.control = FLUSH_SPACE | HEADER(1), .input = INPUT}, INVALID_INPUT},
    {"not aligned", {.control = FLUSH_SPACE, .input = INPUT + 4}, INVALID_ALIGNMENT},
    {"two pages", {.control = FLUSH_SPACE, .input = INPUT + 0xff0}, INVALID_ALIGNMENT},
    {"no address", {.control = FLUSH_SPACE, .input = 1ull << 63}, INVALID_ALIGNMENT},
    {"no memory", {.control = FLUSH_SPACE, .input = VM_MEMORY_SIZE}, INVALID_PARAMETER},
    {"flush", {.control = FLUSH_SPACE, .input = INPUT}, SUCCESS},
    {"flush list", {.control = FLUSH_LIST | REPS(5) | START(1), .input = INPUT}, REPS(5)},
    {"flush set", {.control = FLUSH_SPACE_EX | HEADER(1), .input = INPUT + 0x100}, SUCCESS},
    {"flush list of a set", {.control = FLUSH_LIST_EX | HEADER(1) | REPS(400), .input = INPUT + 0x100}, REPS(400)},
    {"IPI", {.control = SEND_IPI | FAST, .input = 0x41}, DENIED}, /* there are no APICs */
    {"message", {.control = POST_MESSAGE, .input = INPUT + 0x210}, INVALID_CONNECTION},
    {"bad message", {.control = POST_MESSAGE, .input = INPUT}, INVALID_PARAMETER},
    {"fast message", {.control = POST_MESSAGE | FAST, .input = 4, .output = 1}, INVALID_INPUT},
    {"event", {.control = SIGNAL_EVENT | FAST, .input = 4}, INVALID_CONNECTION},
    {"event in memory", {.control = SIGNAL_EVENT, .input = INPUT + 0x210}, INVALID_CONNECTION},
};

static void fill_input(struct vm *vm)
{
    const uint64_t set[] = {0, 0, 0, 1, 1};

    memcpy(vm_at(vm, INPUT + 0x100), set, sizeof(set));
    *vm_u32(vm, INPUT + 0x210) = 4; /* connection */
    *vm_u32(vm, INPUT + 0x218) = 1; /* type */
    *vm_u32(vm, INPUT + 0x21c) = 16;
}

#define CALLERS (VM_BIT(VM_PROT32) | VM_BIT(VM_PAE) | VM_BIT(VM_LONG) | VM_BIT(VM_COMPAT))

TEST_MODES(hypercall_status, "hypercalls: statuses", CALLERS)
{
    VM(vm);

    REQUIRE(vm_create(&vm, 1, offer_all) && vm_enter(&vm, mode) && load_caller(&vm, "hypercall_calls"));
    fill_input(&vm);
    for (unsigned i = 0; i < COUNT(statuses); i++) {
        set_calls(&vm, 0, &statuses[i].call, 1);
        REQUIRE(EXPECT_EXIT(&vm, X64IoPortAccess));
        if (!EXPECT_EQ(call_at(&vm, 0, 0)->result, statuses[i].result))
            test_note("%s", statuses[i].name);
    }
}

TEST_MODES(hypercall_denied, "hypercalls: those that are not granted", CALLERS)
{
    const uint64_t codes[] = {FLUSH_SPACE,   FLUSH_LIST,  LONG_SPIN,    SEND_IPI,    FLUSH_SPACE_EX,
                              FLUSH_LIST_EX, SEND_IPI_EX, POST_MESSAGE, SIGNAL_EVENT};
    VM(vm);

    REQUIRE(vm_create(&vm, 1, offer_nothing_more) && vm_enter(&vm, mode) && load_caller(&vm, "hypercall_calls"));
    for (unsigned i = 0; i < COUNT(codes); i++) {
        SET_CALLS(&vm, 0, {{.control = codes[i], .input = INPUT}});
        REQUIRE(EXPECT_EXIT(&vm, X64IoPortAccess));
        EXPECT_EQ(call_at(&vm, 0, 0)->result, DENIED);
    }
}

/* RDX and the XMM registers stay as they are; of rep calls RCX has the new start. */
TEST(hypercall_xmm, "hypercalls: input in XMM registers")
{
    const struct call *calls;
    VM(vm);

    REQUIRE(vm_create(&vm, 1, offer_all) && vm_enter(&vm, VM_LONG) && load_caller(&vm, "hypercall_calls"));
    SET_CALLS(&vm, 0,
              {{.control = FLUSH_SPACE | FAST, .input = 0x7000, .output = 2, .xmm = {1, ~0ull}},
               {.control = FLUSH_SPACE_EX | FAST | HEADER(1), .xmm = {0, 1, 1}},
               {.control = FLUSH_SPACE_EX | FAST | HEADER(1), .xmm = {0, 3, 1}},
               {.control = FLUSH_SPACE_EX | FAST, .xmm = {2}},
               {.control = FLUSH_LIST | FAST | REPS(11), .xmm = {1, 0x5000}},
               {.control = FLUSH_LIST | FAST | REPS(12), .xmm = {1, 0x5000}}});
    REQUIRE(EXPECT_EXIT(&vm, X64IoPortAccess));
    calls = call_at(&vm, 0, 0);
    EXPECT_EQ(calls[0].result, SUCCESS);
    EXPECT_EQ(calls[0].rcx, FLUSH_SPACE | FAST);
    EXPECT_EQ(calls[0].rdx, 0x7000);
    EXPECT_EQ(calls[1].result, SUCCESS);
    EXPECT_EQ(calls[2].result, INVALID_INPUT);
    EXPECT_EQ(calls[3].result, INVALID_PARAMETER);
    EXPECT_EQ(calls[4].result, REPS(11));
    EXPECT_EQ(calls[4].rcx, FLUSH_LIST | FAST | REPS(11) | START(11));
    EXPECT_EQ(calls[5].result, INVALID_INPUT);
    EXPECT_EQ(vm_get_value(&vm, WHvX64RegisterXmm0).Reg128.Low64, 1);
    EXPECT_EQ(vm_get_value(&vm, WHvX64RegisterXmm0).Reg128.High64, 0x5000);
}

#define PAGE 0x80000u /* see hypercall.asm */

/* The page stands before what is mapped there, and a call by it is like any other. */
TEST_MODES(hypercall_page, "hypercalls: by the page", CALLERS)
{
    const uint64_t words[] = {FLUSH_LIST | REPS(3), INPUT, 0x123};
    VM_GUEST(vm, mode, "hypercall_page", offer_all);

    memcpy(vm_at(&vm, VM_DATA), words, sizeof(words));
    memset(vm_at(&vm, PAGE), 0xf4, 16);
    REQUIRE(EXPECT_EXIT(&vm, X64IoPortAccess));
    EXPECT_EQ(*vm_u64(&vm, VM_DATA + 24), REPS(3));
    EXPECT_EQ(*vm_u32(&vm, PAGE), 0xf4f4f4f4);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRsp), VM_STACK);
}

/* ------------------------------------------------------------------------------ to the client */

/* The guest finds what the client answers. */
static void expect_to_client(struct vm *vm, const struct call *call)
{
    const WHV_HYPERCALL_CONTEXT *c = &vm->exit.Hypercall;

    set_calls(vm, 0, call, 1);
    REQUIRE(EXPECT_EXIT(vm, Hypercall));
    EXPECT_EQ(vm->exit.VpContext.Rip, vm_mark(vm, 0));
    EXPECT_EQ(vm->exit.VpContext.InstructionLength, 3);
    EXPECT_EQ(c->Rcx, call->control);
    EXPECT_EQ(c->Rdx, call->input);
    EXPECT_EQ(c->R8, call->output);
    for (unsigned i = 0; i < 6; i++) {
        EXPECT_EQ(c->XmmRegisters[i].Low64, call->xmm[2 * i]);
        EXPECT_EQ(c->XmmRegisters[i].High64, call->xmm[2 * i + 1]);
    }
    vm_set(vm, WHvX64RegisterRax, 0x1d);
    vm_step(vm);
    REQUIRE(EXPECT_EXIT(vm, X64IoPortAccess));
    EXPECT_EQ(call_at(vm, 0, 0)->result, 0x1d);
}

static void expect_answer(struct vm *vm, const struct call *call, uint64_t result)
{
    set_calls(vm, 0, call, 1);
    REQUIRE(EXPECT_EXIT(vm, X64IoPortAccess));
    EXPECT_EQ(call_at(vm, 0, 0)->result, result);
}

#define LINUX_INPUT (INPUT + 0x210) /* aligned to 16 bytes, not more */

static const struct call message = {.control = POST_MESSAGE, .input = LINUX_INPUT, .output = 0x55, .xmm = {1, 2}};
static const struct call event = {.control = SIGNAL_EVENT | FAST, .input = 0x44};
static const struct call unknown = {
    .control = UNKNOWN | REPS(5) | FAST, .input = 7, .output = 8, .xmm = {9, 10, 11, 12}};
static const struct call spin = {.control = LONG_SPIN | FAST};

TEST(hypercall_client, "hypercalls: those that the core does not know are the client's, if it asks")
{
    VM(vm);

    REQUIRE(vm_create(&vm, 1, offer_and_exit) && vm_enter(&vm, VM_LONG) && load_caller(&vm, "hypercall_calls"));
    fill_input(&vm);
    expect_to_client(&vm, &unknown);
    expect_to_client(&vm, &message);
    expect_to_client(&vm, &event);
    expect_answer(&vm, &spin, SUCCESS);
    vm_set_exits(&vm, 0);
    expect_answer(&vm, &unknown, INVALID_CODE);
    expect_answer(&vm, &message, INVALID_CONNECTION);
    expect_answer(&vm, &event, INVALID_CONNECTION);
}

TEST(hypercall_connection, "hypercalls: UnknownSynicConnection: connections that nobody has, and no other call")
{
    VM(vm);

    REQUIRE(vm_create(&vm, 1, offer_and_exit_unknown) && vm_enter(&vm, VM_LONG) && load_caller(&vm, "hypercall_calls"));
    fill_input(&vm);
    expect_to_client(&vm, &message);
    expect_to_client(&vm, &event);
    expect_answer(&vm, &unknown, INVALID_CODE);
    expect_answer(&vm, &(struct call){.control = POST_MESSAGE, .input = INPUT}, INVALID_PARAMETER);
}

/* ----------------------------------------------------------------------------------- counters */

static WHV_PROCESSOR_SYNTHETIC_FEATURES_COUNTERS counters_of(struct vm *vm, uint32_t vp)
{
    WHV_PROCESSOR_SYNTHETIC_FEATURES_COUNTERS counters;

    EXPECT_OK(WHvGetVirtualProcessorCounters(vm->partition, vp, WHvProcessorCounterSetSyntheticFeatures, &counters,
                                             sizeof(counters), NULL));
    return counters;
}

/* Exits: a call that takes too long is executed again. */
static uint64_t hypercalls_of(struct vm *vm, uint32_t vp)
{
    WHV_PROCESSOR_ACTIVITY_COUNTERS intercepts;

    EXPECT_OK(WHvGetVirtualProcessorCounters(vm->partition, vp, WHvProcessorCounterSetIntercepts, &intercepts,
                                             sizeof(intercepts), NULL));
    return intercepts.Hypercalls.Count;
}

TEST(hypercall_counters, "hypercalls: counters")
{
    WHV_PROCESSOR_SYNTHETIC_FEATURES_COUNTERS counters;
    VM(vm);

    REQUIRE(vm_create(&vm, 1, offer_all) && vm_enter(&vm, VM_LONG) && load_caller(&vm, "hypercall_calls"));
    SET_CALLS(&vm, 0,
              {{.control = LONG_SPIN | FAST},
               {.control = LONG_SPIN | FAST},
               {.control = LONG_SPIN | FAST},
               {.control = FLUSH_SPACE, .input = INPUT},
               {.control = FLUSH_LIST | REPS(2), .input = INPUT},
               {.control = SIGNAL_EVENT | FAST, .input = 1},
               {.control = UNKNOWN}});
    REQUIRE(EXPECT_EXIT(&vm, X64IoPortAccess));
    counters = counters_of(&vm, 0);
    EXPECT_EQ(counters.LongSpinWaitHypercallsCount, 3);
    EXPECT_EQ(counters.VirtualMmuHypercallsCount, 2);
    EXPECT_EQ(counters.SyntheticInterruptHypercallsCount, 1);
    EXPECT_EQ(counters.OtherHypercallsCount, 1);
    EXPECT_EQ(counters.VirtualInterruptHypercallsCount, 0);
    EXPECT_EQ(hypercalls_of(&vm, 0), 7);
}

/* ------------------------------------------------------------------------------------ flushes */

#define SEEN    (VM_DATA + 64)
#define WRONG   (VM_DATA + 128)
#define LAST    (VM_DATA + 192)
#define CONTROL (VM_DATA + 200)
#define ADDRESS (VM_DATA + 208)
#define STATUS  (VM_DATA + 216)
#define ENTRY   (VM_DATA + 224)
#define BITS    (VM_DATA + 232)
#define MOVED   0x40000u
#define WATCH   0x70000u
#define CR4_PGE 0x80ull
#define PTE_G   0x100ull

static const struct {
    const char *name;
    uint64_t control, input[5], entry_bits;
} flushes[] = {
    {"mask", FLUSH_SPACE, {VM_PML4, 0, 3}, 0},
    {"all, global pages", FLUSH_SPACE, {0, 3, 0}, PTE_G},
    {"list", FLUSH_LIST | REPS(1), {VM_PML4, 0, 3, MOVED}, 0},
    {"list, global page", FLUSH_LIST | REPS(1), {0, 2, 3, MOVED}, PTE_G},
    {"set", FLUSH_SPACE_EX | HEADER(1), {VM_PML4, 0, 0, 1, 3}, 0},
    {"set of all", FLUSH_SPACE_EX, {VM_PML4, 0, 1, 0}, PTE_G},
};

static struct runner runners[2];

static bool load_watcher(struct vm *vm)
{
    if (!vm_enter_vp(vm, 1, VM_LONG) || !vm_load_at(vm, "hypercall_watch", 64, WATCH))
        return false;
    for (uint32_t vp = 0; vp < 2; vp++)
        vm_set_vp(vm, vp, WHvX64RegisterCr4, vm_get_vp(vm, vp, WHvX64RegisterCr4) | CR4_PGE);
    return true;
}

static bool run_rounds(struct vm *vm, uint32_t last)
{
    bool ended;

    *vm_u32(vm, LAST) = last;
    vm_set_vp(vm, 0, WHvX64RegisterRip, VM_CODE);
    vm_set_vp(vm, 1, WHvX64RegisterRip, WATCH);
    for (uint32_t vp = 2; vp-- > 0;)
        if (!runner_start(&runners[vp], vm, vp, CPU_ANY))
            return false;
    ended = EXPECT_RUNNER_EXIT(&runners[0], X64IoPortAccess);
    return EXPECT_RUNNER_EXIT(&runners[1], X64IoPortAccess) && ended;
}

#define ROUNDS     10u /* at once: emulators of CPUs on a busy machine take their time when these wait for each other */
#define ROUNDS_MAX 200u

/* What a page is moved by on one VP is true on the other when the call returns, which has had the old place all along.
 */
TEST_ROWS(hypercall_flush, "hypercalls: flush: another VP sees the new place", flushes)
{
    const uint64_t limit = clock_ns() + 300 * NS_PER_MS;
    uint32_t rounds = 0;
    VM(vm);

    REQUIRE(vm_create(&vm, 2, offer_all) && vm_enter(&vm, VM_LONG) && load_caller(&vm, "hypercall_move"));
    memcpy(vm_at(&vm, INPUT), row->input, sizeof(row->input));
    *vm_u64(&vm, CONTROL) = row->control;
    *vm_u64(&vm, ADDRESS) = INPUT;
    *vm_u64(&vm, ENTRY) = vm_pte_gpa(&vm, MOVED);
    *vm_u64(&vm, BITS) = PTE_P | PTE_W | PTE_U | PTE_A | PTE_D | row->entry_bits;
    *vm_u64(&vm, *vm_u64(&vm, ENTRY)) |= row->entry_bits;
    REQUIRE(load_watcher(&vm));
    do {
        rounds += ROUNDS;
        REQUIRE(run_rounds(&vm, rounds));
    } while (rounds < ROUNDS_MAX && clock_ns() < limit && !test_failed());
    EXPECT_EQ(*vm_u32(&vm, WRONG + 4), 0);
    EXPECT_EQ(*vm_u32(&vm, STATUS), SUCCESS);
    EXPECT_EQ(*vm_u32(&vm, SEEN), rounds);
    EXPECT_EQ(counters_of(&vm, 0).VirtualMmuHypercallsCount, rounds);
}

/* Two that flush each other all the time wait for each other, and neither for ever. */
TEST(hypercall_flush_mutual, "hypercalls: flush: two VPs flush each other, 100 times")
{
    uint64_t tries = 0;
    VM(vm);

    REQUIRE(vm_create(&vm, 2, offer_all) && vm_enter(&vm, VM_LONG) && load_caller(&vm, "hypercall_calls") &&
            vm_enter_vp(&vm, 1, VM_LONG));
    vm_set_vp(&vm, 1, WHvX64RegisterRsp, VM_STACK - 0x100);
    for (uint32_t vp = 0; vp < 2; vp++) {
        SET_CALLS(&vm, vp, {{.control = FLUSH_SPACE | FAST, .output = 1, .rounds = 99}});
        REQUIRE(runner_start(&runners[vp], &vm, vp, CPU_ANY));
    }
    EXPECT_RUNNER_EXIT(&runners[0], X64IoPortAccess);
    EXPECT_RUNNER_EXIT(&runners[1], X64IoPortAccess);
    for (uint32_t vp = 0; vp < 2; vp++) {
        EXPECT_EQ(call_at(&vm, vp, 0)->result, SUCCESS);
        EXPECT_EQ(counters_of(&vm, vp).VirtualMmuHypercallsCount, 100);
        tries += hypercalls_of(&vm, vp);
    }
    test_note("%lu tries", tries);
}

/* -------------------------------------------------------------------------------- interrupts */

static void offer_all_xapic(struct vm *vm)
{
    apic_modes[0].configure(vm);
    offer_all(vm);
}

static void offer_all_x2apic(struct vm *vm)
{
    apic_modes[1].configure(vm);
    offer_all(vm);
}

static const struct apic_mode modes[] = {
    {"xAPIC", offer_all_xapic, false},
    {"x2APIC", offer_all_x2apic, true},
};

#define CALLER 0x70000u
#define READY  WORD(0)
#define FIRST  0x41u
#define EACH   24u /* vectors to the other one; then one to each, and one to both */

static void set_ipis(struct vm *vm)
{
    static struct call calls[EACH + 3];
    const uint64_t all[] = {0x71, 1, 0};

    for (unsigned i = 0; i < EACH; i++)
        calls[i] = (struct call){.control = SEND_IPI | FAST, .input = FIRST + i, .output = 2};
    calls[EACH] = (struct call){.control = SEND_IPI | FAST, .input = 0x70, .output = 3};
    calls[EACH + 1] = (struct call){.control = SEND_IPI_EX, .input = INPUT};
    calls[EACH + 2] = (struct call){.control = SEND_IPI_EX | HEADER(1) | FAST, .input = 0x72, .xmm = {1, 2}};
    memcpy(vm_at(vm, INPUT), all, sizeof(all));
    set_calls(vm, 0, calls, COUNT(calls));
    vm_set_vp(vm, 0, WHvX64RegisterRip, CALLER);
}

/* Each comes once to those it is for, halted or not. */
TEST_ROWS(hypercall_ipi, "hypercalls: interrupts", modes)
{
    VM(vm);

    REQUIRE(apic_create(&vm, row, 2) && vm_load_at(&vm, "hypercall_calls", 64, CALLER));
    put_instruction(&vm, CALLER);
    vm_set(&vm, WHvRegisterGuestOsId, OS_ID);
    SCRIPT(&vm, 0, STI);
    EXPECT_SCRIPT_END(&vm);
    SCRIPT(&vm, 1, STI, SET(READY, 1), HALT(FIRST, 1), HALT(FIRST + EACH - 1, 1), HALT(0x70, 1), HALT(0x71, 1),
           HALT(0x72, 1));
    REQUIRE(runner_start(&runners[1], &vm, 1, CPU_ANY));
    REQUIRE(apic_wait_word(&vm, READY, 1));
    set_ipis(&vm);
    EXPECT_EXIT(&vm, X64IoPortAccess);
    EXPECT_RUNNER_END(&runners[1]);
    for (unsigned i = 0; i < EACH + 3; i++)
        EXPECT_EQ(call_at(&vm, 0, i)->result, SUCCESS);
    for (unsigned vector = FIRST; vector < 0x80; vector++) {
        bool both = vector == 0x70 || vector == 0x71, other = both || vector < FIRST + EACH || vector == 0x72;

        EXPECT_EQ(apic_area(&vm, 1)->counts[vector], other);
        EXPECT_EQ(apic_area(&vm, 0)->counts[vector], both);
    }
    EXPECT_EQ(counters_of(&vm, 0).VirtualInterruptHypercallsCount, EACH + 3);
}

TEST_ROWS(hypercall_ipi_refused, "hypercalls: interrupts that are refused", modes)
{
    const uint64_t inputs[] = {0, 0xf, 0x100, 0x41 | 0x11ull << 32, 0x41 | 0x80ull << 32};
    VM(vm);

    REQUIRE(apic_create(&vm, row, 1) && vm_load_at(&vm, "hypercall_calls", 64, CALLER));
    put_instruction(&vm, CALLER);
    vm_set(&vm, WHvRegisterGuestOsId, OS_ID);
    SCRIPT(&vm, 0, STI);
    EXPECT_SCRIPT_END(&vm);
    for (unsigned i = 0; i < COUNT(inputs); i++) {
        SET_CALLS(&vm, 0, {{.control = SEND_IPI | FAST, .input = inputs[i], .output = 1}});
        vm_set_vp(&vm, 0, WHvX64RegisterRip, CALLER);
        REQUIRE(EXPECT_EXIT(&vm, X64IoPortAccess));
        EXPECT_EQ(call_at(&vm, 0, 0)->result, INVALID_PARAMETER);
    }
    EXPECT_EQ(apic_area(&vm, 0)->counts[0x41], 0);
}
