/* SPDX-License-Identifier: MIT */
/*
 * Hypercalls, from the guest's instruction to the registers that it finds: who may call, where the input is in each
 * convention, every kind of input that is refused, and what each call does to VPs.
 */
#include "random.h"
#include "run_vp.h"
#include "virt/hypercall.h"
#include "virt/tlfs.h"
#include <stdlib.h>

#define EXTENDED_EXITS 0x0001
#define INPUT          0x3000ull /* in the guest's memory */
#define UNMAPPED       (RAM_SIZE + 0x3000)
#define FEATURES                                                                                       \
    (HV_SYNTH_HYPERVISOR_PRESENT | HV_SYNTH_HV1 | HV_SYNTH_HYPERCALL_REGS | HV_SYNTH_PROCESSOR_MASKS | \
     HV_SYNTH_FLUSH_CALLS | HV_SYNTH_CLUSTER_IPI | HV_SYNTH_SPIN_WAIT | HV_SYNTH_SIGNAL_EVENTS)

static struct hv_vp *other; /* VP 1 */

static void grant(uint64_t features)
{
    partition->properties.synthetic_features = features;
}

static int setup(void **state)
{
    if (machine_setup(state) || !run_vp_create(HV_LOCAL_APIC_X2APIC, 2))
        return -1;
    other = partition->vps[1];
    grant(FEATURES);
    partition->guest.guest_os_id = 0x8100000000000000;
    return 0;
}

#define CALL_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, run_vp_teardown)

static void start_64bit(void)
{
    const uint32_t names[] = {HV_REG_CR4, HV_REG_CR3, HV_REG_EFER, HV_REG_CR0, HV_REG_CS, HV_REG_TR};
    const union hv_reg_value values[] = {
        {.u64 = CR4_PAE},
        {.u64 = 0x10000},
        {.u64 = EFER_LME | EFER_LMA},
        {.u64 = CR0_PE | CR0_PG | CR0_ET},
        {.segment = {0, 0xffffffff, 8, SEG_ATTR_CODE64}},
        {.segment = {0, 0xffff, 0x20, SEG_ATTR_TSS_BUSY}},
    };

    assert_int_equal(hv_vp_set_registers(vp, names, ARRAY_COUNT(names), values), HV_OK);
}

/* ----------------------------------------------------------------------------- one call */

static struct {
    uint64_t rax, rcx, rdx, rip;
    struct fake_event event;
} after;

static void look(uint64_t gpr[16])
{
    after.rax = gpr[0];
    after.rcx = gpr[1];
    after.rdx = gpr[2];
    after.rip = fake_vmcs_get(VMCS_GUEST_RIP);
    after.event = fake_vmx_injected();
}

static uint64_t xmm[12];

static void put_xmm(uint64_t gpr[16])
{
    (void)gpr;
    memcpy(fake_x86_here()->fxsave + 160, xmm, sizeof(xmm));
    fake_x86_here()->xinuse |= XCR0_SSE;
}

#define CALL                                                      \
    {                                                             \
        .run = put_xmm, .reason = EXIT_REASON_VMCALL, .length = 3 \
    }
/* The guest goes on, and tells what it finds; an exit to the client ends the run. */
#define THEN                                               \
    {                                                      \
        .run = look, .reason = EXIT_REASON_IO, .length = 1 \
    }

static void set_input(uint64_t control, uint64_t input, uint64_t output)
{
    set(HV_REG_RIP, CODE);
    set(HV_REG_RAX, 0xa1a2a3a4a5a6a7a8);
    set(HV_REG_RCX, control);
    set(HV_REG_RDX, input);
    set(HV_REG_R8, output);
}

/* A call that is answered; returns the result value. The guest was 64-bit. */
static uint64_t call(uint64_t control, uint64_t input, uint64_t output)
{
    struct hv_exit_context exit;

    set_input(control, input, output);
    FAKE_GUEST(CALL, THEN);
    exit = run();
    assert_reason(&exit, HV_EXIT_IO);
    assert_int_equal(after.rip, CODE + 3);
    assert_int_equal(after.event.info, 0);
    assert_int_equal(after.rdx, input);
    return after.rax;
}

static void assert_to_client(uint64_t control, uint64_t input, uint64_t output)
{
    struct hv_exit_context exit;

    set_input(control, input, output);
    FAKE_GUEST(CALL);
    exit = run();
    assert_reason(&exit, HV_EXIT_HYPERCALL);
    assert_int_equal(exit.hypercall.rcx, control);
    assert_int_equal(exit.hypercall.rdx, input);
    assert_int_equal(exit.hypercall.r8, output);
    assert_int_equal(exit.vp.rip, CODE);
    assert_int_equal(get(HV_REG_RIP), CODE);
    assert_int_equal(get(HV_REG_RAX), 0xa1a2a3a4a5a6a7a8);
}

static void assert_ud(uint64_t control)
{
    struct hv_exit_context exit;

    set_input(control, 0, 0);
    FAKE_GUEST(CALL, THEN);
    exit = run();
    assert_reason(&exit, HV_EXIT_IO);
    assert_int_equal(after.event.info, INFO(INTR_TYPE_HW_EXCEPTION, VEC_UD));
    assert_int_equal(after.rip, CODE);
    assert_int_equal(after.rax, 0xa1a2a3a4a5a6a7a8);
}

static uint64_t *input_at(uint64_t gpa)
{
    return (uint64_t *)(ram + gpa);
}

#define FAST       HV_CALL_FAST
#define REPS(n)    FIELD_PUT(HV_CALL_REP_COUNT, n)
#define START(n)   FIELD_PUT(HV_CALL_REP_START, n)
#define HEADER(n)  FIELD_PUT(HV_CALL_HEADER, n)
#define DONE(n)    FIELD_PUT(HV_RESULT_REPS_DONE, n)
#define SPIN       (HV_CALL_NOTIFY_SPIN_WAIT | FAST)
#define IPI        (HV_CALL_SEND_IPI | FAST)
#define UNKNOWN    0x7777ull
#define FLUSH_LIST HV_CALL_FLUSH_LIST

/* -------------------------------------------------------------------------------- who calls */

static void without_the_interface(void **state)
{
    (void)state;
    start_64bit();
    grant(0);
    assert_ud(SPIN);
    grant(HV_SYNTH_HV1 | HV_SYNTH_SPIN_WAIT);
    assert_ud(SPIN);
    grant(HV_SYNTH_HYPERCALL_REGS | HV_SYNTH_SPIN_WAIT);
    assert_ud(SPIN);
    grant(0);
    set_property(EXTENDED_EXITS, HV_EXTENDED_HYPERCALL);
    assert_to_client(SPIN, 1, 2);
    assert_int_equal(vp->counters.synthetic.others + vp->counters.synthetic.spin_waits, 0);
}

static void a_guest_without_a_name(void **state)
{
    (void)state;
    start_64bit();
    partition->guest.guest_os_id = 0;
    assert_ud(SPIN);
    set_property(EXTENDED_EXITS, HV_EXTENDED_HYPERCALL);
    assert_to_client(SPIN, 1, 2);
}

static void set_cpl3(void)
{
    union hv_reg_value cs = {.segment = {0, 0xffffffff, 0x0b, SEG_ATTR_CODE32 | 0x60}};
    union hv_reg_value data = {.segment = {0, 0xffffffff, 0x13, SEG_ATTR_DATA32 | 0x60}};
    const uint32_t names[] = {HV_REG_CS, HV_REG_SS};

    assert_int_equal(hv_vp_set_registers(vp, names, 2, (const union hv_reg_value[]){cs, data}), HV_OK);
}

static void illegal_modes(void **state)
{
    (void)state;
    set_cpl3();
    assert_ud(SPIN);
    set_property(EXTENDED_EXITS, HV_EXTENDED_HYPERCALL);
    assert_to_client(SPIN, 1, 2);
    set_property(EXTENDED_EXITS, 0);
    set_segment(HV_REG_CS, SEG_ATTR_CODE32);
    set_segment(HV_REG_SS, SEG_ATTR_DATA32);
    set(HV_REG_CR0, CR0_ET);
    assert_ud(SPIN);
}

static void codes_that_nobody_knows(void **state)
{
    (void)state;
    start_64bit();
    assert_int_equal(call(UNKNOWN, 0, 0), HV_STATUS_INVALID_HYPERCALL_CODE);
    assert_int_equal(call(HV_CALL_RESERVED | UNKNOWN, 0, 0), HV_STATUS_INVALID_HYPERCALL_CODE);
    set_property(EXTENDED_EXITS, HV_EXTENDED_UNKNOWN_CONNECTION);
    assert_int_equal(call(UNKNOWN, 0, 0), HV_STATUS_INVALID_HYPERCALL_CODE);
    set_property(EXTENDED_EXITS, HV_EXTENDED_HYPERCALL);
    assert_to_client(UNKNOWN, 5, 6);
    assert_int_equal(call(SPIN, 5, 0), HV_STATUS_SUCCESS); /* the core's own are answered all the same */
    assert_int_equal(vp->counters.synthetic.others, 4);
    assert_int_equal(vp->counters.synthetic.spin_waits, 1);
}

static void calls_that_are_not_granted(void **state)
{
    static const struct {
        uint64_t control, feature;
    } calls[] = {
        {SPIN, HV_SYNTH_SPIN_WAIT},
        {HV_CALL_FLUSH_SPACE, HV_SYNTH_FLUSH_CALLS},
        {HV_CALL_FLUSH_LIST | REPS(1), HV_SYNTH_FLUSH_CALLS},
        {HV_CALL_FLUSH_SPACE_EX, HV_SYNTH_FLUSH_CALLS},
        {HV_CALL_FLUSH_SPACE_EX, HV_SYNTH_PROCESSOR_MASKS},
        {HV_CALL_FLUSH_LIST_EX | REPS(1), HV_SYNTH_FLUSH_CALLS},
        {HV_CALL_FLUSH_LIST_EX | REPS(1), HV_SYNTH_PROCESSOR_MASKS},
        {HV_CALL_SEND_IPI, HV_SYNTH_CLUSTER_IPI},
        {HV_CALL_SEND_IPI_EX, HV_SYNTH_CLUSTER_IPI},
        {HV_CALL_SEND_IPI_EX, HV_SYNTH_PROCESSOR_MASKS},
        {HV_CALL_POST_MESSAGE, HV_SYNTH_SIGNAL_EVENTS},
        {HV_CALL_SIGNAL_EVENT, HV_SYNTH_SIGNAL_EVENTS},
    };

    (void)state;
    start_64bit();
    for (unsigned i = 0; i < ARRAY_COUNT(calls); i++) {
        grant(FEATURES & ~calls[i].feature);
        set_property(EXTENDED_EXITS, 0);
        assert_int_equal(call(calls[i].control, INPUT, 0), HV_STATUS_ACCESS_DENIED);
        set_property(EXTENDED_EXITS, HV_EXTENDED_HYPERCALL);
        assert_to_client(calls[i].control, INPUT, 0);
    }
}

/* -------------------------------------------------------------------------------- the input */

static void control_words_that_are_refused(void **state)
{
    static const uint64_t controls[] = {
        SPIN | 1ull << 27,
        SPIN | 1ull << 30,
        SPIN | HV_CALL_NESTED,
        SPIN | 1ull << 44,
        SPIN | 1ull << 47,
        SPIN | 1ull << 60,
        SPIN | 1ull << 63,
        SPIN | REPS(1),
        SPIN | START(1),
        SPIN | HEADER(1),
        IPI | HEADER(1),
        FLUSH_LIST,
        FLUSH_LIST | START(1),
        FLUSH_LIST | REPS(2) | START(2),
        FLUSH_LIST | REPS(2) | START(3),
        FLUSH_LIST | REPS(1) | HEADER(1),
        HV_CALL_FLUSH_LIST_EX,
        HV_CALL_FLUSH_SPACE_EX | REPS(1),
        HV_CALL_SEND_IPI_EX | REPS(1),
        HV_CALL_POST_MESSAGE | HEADER(1),
        HV_CALL_SIGNAL_EVENT | REPS(1),
    };

    (void)state;
    start_64bit();
    for (unsigned i = 0; i < ARRAY_COUNT(controls); i++) {
        uint64_t start = FIELD_GET(HV_CALL_REP_START, controls[i]);

        assert_int_equal(call(controls[i], INPUT, 0), HV_STATUS_INVALID_HYPERCALL_INPUT | DONE(start));
    }
    assert_int_equal(other->shared.requests, 0);
}

static void addresses_that_are_refused(void **state)
{
    const uint64_t end = INPUT + HV_PAGE_SIZE, limit = 1ull << partition->properties.physical_address_width;
    static const uint64_t whole = (4096 - 24) / 8; /* as many ranges as a page has place for */

    (void)state;
    start_64bit();
    for (unsigned i = 1; i < 8; i++)
        assert_int_equal(call(HV_CALL_FLUSH_SPACE, INPUT + i, 0), HV_STATUS_INVALID_ALIGNMENT);
    assert_int_equal(call(HV_CALL_FLUSH_SPACE, end - 16, 0), HV_STATUS_INVALID_ALIGNMENT);
    assert_int_equal(call(HV_CALL_FLUSH_SPACE, end - 24, 0), HV_STATUS_SUCCESS);
    assert_int_equal(call(FLUSH_LIST | REPS(2), end - 32, 0), HV_STATUS_INVALID_ALIGNMENT);
    assert_int_equal(call(FLUSH_LIST | REPS(1), end - 32, 0), HV_STATUS_SUCCESS | DONE(1));
    assert_int_equal(call(FLUSH_LIST | REPS(whole), INPUT, 0), HV_STATUS_SUCCESS | DONE(whole));
    assert_int_equal(call(FLUSH_LIST | REPS(whole + 1), INPUT, 0), HV_STATUS_INVALID_ALIGNMENT);
    assert_int_equal(call(FLUSH_LIST | REPS(4095), INPUT, 0), HV_STATUS_INVALID_ALIGNMENT);
    assert_int_equal(call(HV_CALL_FLUSH_SPACE_EX | HEADER(1023), INPUT, 0), HV_STATUS_INVALID_ALIGNMENT);
    assert_int_equal(call(HV_CALL_POST_MESSAGE, end - 248, 0), HV_STATUS_INVALID_ALIGNMENT);
    assert_int_equal(call(HV_CALL_FLUSH_SPACE, limit, 0), HV_STATUS_INVALID_ALIGNMENT);
    assert_int_equal(call(HV_CALL_FLUSH_SPACE, 0 - HV_PAGE_SIZE, 0), HV_STATUS_INVALID_ALIGNMENT);
    assert_int_equal(call(HV_CALL_FLUSH_SPACE, UNMAPPED, 0), HV_STATUS_INVALID_PARAMETER);
    assert_int_equal(call(HV_CALL_FLUSH_SPACE, limit - HV_PAGE_SIZE, 0), HV_STATUS_INVALID_PARAMETER);
    assert_int_equal(call(HV_CALL_FLUSH_SPACE, INPUT, 0x123), HV_STATUS_SUCCESS); /* no output, no output's address */
}

static void fast_input(void **state)
{
    (void)state;
    start_64bit();
    memset(xmm, 0, sizeof(xmm));
    xmm[0] = 2; /* the mask */
    assert_int_equal(call(HV_CALL_FLUSH_SPACE | FAST, 0, 0), HV_STATUS_SUCCESS);
    assert_int_equal(other->shared.requests, VP_REQUEST_FLUSH);
    assert_int_equal(call(HV_CALL_FLUSH_SPACE | FAST, 0, 0x100), HV_STATUS_INVALID_PARAMETER); /* flags */
    assert_int_equal(call(FLUSH_LIST | FAST | REPS(11), 0, 0), HV_STATUS_SUCCESS | DONE(11));
    assert_int_equal(call(FLUSH_LIST | FAST | REPS(12), 0, 0), HV_STATUS_INVALID_HYPERCALL_INPUT);
    assert_int_equal(call(HV_CALL_POST_MESSAGE | FAST, 1, 1), HV_STATUS_INVALID_HYPERCALL_INPUT);
    other->shared.requests = 0;
    xmm[0] = 0;             /* sparse */
    xmm[1] = 1ull << 5 | 1; /* banks 0 and 5 */
    xmm[2] = 2;
    assert_int_equal(call(HV_CALL_FLUSH_SPACE_EX | FAST | HEADER(2), 0, 0), HV_STATUS_SUCCESS);
    assert_int_equal(other->shared.requests, VP_REQUEST_FLUSH);
}

/* EDX:EAX, EBX:ECX and EDI:ESI, whatever the halves above them hold. */
static void calls_of_32_bits(void **state)
{
    const uint64_t high = 0xdead000000000000;
    struct hv_exit_context exit;

    (void)state;
    set(HV_REG_RDX, high);
    set(HV_REG_RAX, high | IPI);
    set(HV_REG_RBX, high);
    set(HV_REG_RCX, high | 0x45);
    set(HV_REG_RDI, high);
    set(HV_REG_RSI, high | 2);
    FAKE_GUEST(CALL, THEN);
    exit = run();
    assert_reason(&exit, HV_EXIT_IO);
    assert_int_equal(after.rax, HV_STATUS_SUCCESS);
    assert_int_equal(after.rdx, 0);
    assert_int_equal(other->inbox.vectors[1], 1ull << 5);
    set(HV_REG_RIP, CODE);
    set(HV_REG_RDX, 3); /* three reps */
    set(HV_REG_RAX, FLUSH_LIST);
    set(HV_REG_RBX, 0);
    set(HV_REG_RCX, INPUT);
    FAKE_GUEST(CALL, THEN);
    exit = run();
    assert_reason(&exit, HV_EXIT_IO);
    assert_int_equal(after.rax, HV_STATUS_SUCCESS);
    assert_int_equal(after.rdx, 3);
    assert_int_equal(after.rcx, INPUT);
}

/* ----------------------------------------------------------------------------------- flushes */

static bool is_asked(const struct hv_vp *to)
{
    return to->shared.requests & VP_REQUEST_FLUSH;
}

static void look_at_flush(uint64_t gpr[16])
{
    look(gpr);
    after.rcx = fake_vmx_counts.invvpid_single;
}

/* Did this call flush the caller's own VP, before its next instruction? */
static bool flushes_itself(uint64_t control)
{
    uint64_t before;
    struct hv_exit_context exit;

    set_input(control, INPUT, 0);
    FAKE_GUEST(THEN); /* nothing of earlier is left to flush */
    run();
    set(HV_REG_RIP, CODE);
    before = fake_vmx_counts.invvpid_single;
    FAKE_GUEST(CALL, {.run = look_at_flush, .reason = EXIT_REASON_IO, .length = 1});
    exit = run();
    assert_reason(&exit, HV_EXIT_IO);
    assert_int_equal(after.rax & 0xffff, HV_STATUS_SUCCESS);
    assert_in_range(after.rcx, before, before + 1);
    return after.rcx != before;
}

static void targets_of_flushes(void **state)
{
    static const struct {
        const char *name;
        uint64_t control, flags, words[4];
        bool self, other;
    } rows[] = {
        {"mask", HV_CALL_FLUSH_SPACE, 0, {2}, false, true},
        {"mask of itself", HV_CALL_FLUSH_SPACE, 0, {1}, true, false},
        {"mask of both", HV_CALL_FLUSH_SPACE, HV_FLUSH_ALL_SPACES, {3}, true, true},
        {"none is all", HV_CALL_FLUSH_SPACE, 0, {0}, true, true},
        {"VPs that are not there", HV_CALL_FLUSH_SPACE, 0, {~3ull}, false, false},
        {"all", HV_CALL_FLUSH_SPACE, HV_FLUSH_ALL_PROCESSORS, {1}, true, true},
        {"not global ones", HV_CALL_FLUSH_SPACE, HV_FLUSH_NON_GLOBAL, {2}, false, true},
        {"list", FLUSH_LIST | REPS(1), HV_FLUSH_ALL_SPACES, {2, 0x5000}, false, true},
        {"list, all", FLUSH_LIST | REPS(1), HV_FLUSH_ALL_PROCESSORS, {0, 0x5fff}, true, true},
        {"set", HV_CALL_FLUSH_SPACE_EX | HEADER(1), 0, {HV_VP_SET_SPARSE, 1, 2}, false, true},
        {"set of two banks", HV_CALL_FLUSH_SPACE_EX | HEADER(2), 0, {HV_VP_SET_SPARSE, 9, 1, 2}, true, false},
        {"another bank", HV_CALL_FLUSH_SPACE_EX | HEADER(1), 0, {HV_VP_SET_SPARSE, 2, 3}, false, false},
        {"empty set", HV_CALL_FLUSH_SPACE_EX, 0, {HV_VP_SET_SPARSE, 0, 3}, false, false},
        {"all set", HV_CALL_FLUSH_SPACE_EX, 0, {HV_VP_SET_ALL, 0}, true, true},
        {"all by flag", HV_CALL_FLUSH_SPACE_EX, HV_FLUSH_ALL_PROCESSORS, {HV_VP_SET_SPARSE, 0}, true, true},
        {"list set", HV_CALL_FLUSH_LIST_EX | HEADER(1) | REPS(1), 0, {HV_VP_SET_SPARSE, 1, 2, 3}, false, true},
        {"list all set", HV_CALL_FLUSH_LIST_EX | REPS(1), 0, {HV_VP_SET_ALL, 1, 0x6000}, true, true},
    };

    (void)state;
    start_64bit();
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
        other->shared.requests = 0;
        memset(input_at(INPUT), 0xff, HV_PAGE_SIZE);
        input_at(INPUT)[1] = rows[i].flags;
        memcpy(&input_at(INPUT)[2], rows[i].words, sizeof(rows[i].words));
        if (flushes_itself(rows[i].control) != rows[i].self || is_asked(other) != rows[i].other)
            fail_msg("%s", rows[i].name);
    }
    assert_int_equal(vp->counters.synthetic.flushes, ARRAY_COUNT(rows));
}

static void flushes_that_are_refused(void **state)
{
    static const struct {
        uint64_t control, flags, words[3], status;
    } rows[] = {
        {HV_CALL_FLUSH_SPACE, HV_FLUSH_EXTENDED_RANGES, {3}, HV_STATUS_INVALID_PARAMETER},
        {HV_CALL_FLUSH_SPACE, 1ull << 63, {3}, HV_STATUS_INVALID_PARAMETER},
        {FLUSH_LIST | REPS(1), HV_FLUSH_NON_GLOBAL, {3}, HV_STATUS_INVALID_PARAMETER},
        {FLUSH_LIST | REPS(1), HV_FLUSH_EXTENDED_RANGES, {3}, HV_STATUS_INVALID_PARAMETER},
        {HV_CALL_FLUSH_SPACE_EX, 0x10, {HV_VP_SET_ALL}, HV_STATUS_INVALID_PARAMETER},
        {HV_CALL_FLUSH_SPACE_EX, 0, {2, 0}, HV_STATUS_INVALID_PARAMETER},
        {HV_CALL_FLUSH_SPACE_EX, 0, {1ull << 32, 0}, HV_STATUS_INVALID_PARAMETER},
        {HV_CALL_FLUSH_SPACE_EX, 0, {HV_VP_SET_SPARSE, 1, 3}, HV_STATUS_INVALID_HYPERCALL_INPUT},
        {HV_CALL_FLUSH_SPACE_EX | HEADER(2), 0, {HV_VP_SET_SPARSE, 1, 3}, HV_STATUS_INVALID_HYPERCALL_INPUT},
        {HV_CALL_FLUSH_SPACE_EX | HEADER(1), 0, {HV_VP_SET_SPARSE, 3, 3}, HV_STATUS_INVALID_HYPERCALL_INPUT},
        {HV_CALL_FLUSH_LIST_EX | REPS(1), HV_FLUSH_NON_GLOBAL, {HV_VP_SET_ALL}, HV_STATUS_INVALID_PARAMETER},
    };

    (void)state;
    start_64bit();
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
        input_at(INPUT)[1] = rows[i].flags;
        memcpy(&input_at(INPUT)[2], rows[i].words, sizeof(rows[i].words));
        assert_int_equal(call(rows[i].control, INPUT, 0), rows[i].status);
        assert_false(is_asked(other));
    }
    grant(FEATURES | HV_SYNTH_EXTENDED_FLUSH_LIST);
    input_at(INPUT)[1] = HV_FLUSH_EXTENDED_RANGES;
    input_at(INPUT)[2] = 2;
    assert_int_equal(call(FLUSH_LIST | REPS(1), INPUT, 0), HV_STATUS_SUCCESS | DONE(1));
    assert_true(is_asked(other));
}

static void the_rep_start_moves_on(void **state)
{
    (void)state;
    start_64bit();
    memset(input_at(INPUT), 0, 64);
    assert_int_equal(call(FLUSH_LIST | REPS(7) | START(2), INPUT, 0), HV_STATUS_SUCCESS | DONE(7));
    assert_int_equal(after.rcx, FLUSH_LIST | REPS(7) | START(7));
    input_at(INPUT)[1] = 0x100;
    assert_int_equal(call(FLUSH_LIST | REPS(7) | START(2), INPUT, 0), HV_STATUS_INVALID_PARAMETER | DONE(2));
    assert_int_equal(after.rcx, FLUSH_LIST | REPS(7) | START(2));
}

/* A VP that works does not take the request in time: the guest calls again, and again, until it has. */
static unsigned tries;

static void count_tries(uint64_t gpr[16])
{
    assert_int_equal(gpr[0], 0xa1a2a3a4a5a6a7a8); /* nothing has happened that the guest could tell */
    assert_int_equal(gpr[1], HV_CALL_FLUSH_SPACE);
    assert_int_equal(fake_vmcs_get(VMCS_GUEST_RIP), CODE);
    assert_true(is_asked(other));
    if (++tries == 3)
        other->shared.working = 0;
}

#define TRY                                                           \
    {                                                                 \
        .run = count_tries, .reason = EXIT_REASON_VMCALL, .length = 3 \
    }

static void a_flush_waits_for_those_that_work(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    start_64bit();
    tries = 0;
    input_at(INPUT)[1] = 0;
    input_at(INPUT)[2] = 2;
    other->shared.working = 1;
    set_input(HV_CALL_FLUSH_SPACE, INPUT, 0);
    FAKE_GUEST(CALL, TRY, TRY, TRY, THEN);
    exit = run();
    assert_reason(&exit, HV_EXIT_IO);
    assert_int_equal(after.rax, HV_STATUS_SUCCESS);
    assert_int_equal(after.rip, CODE + 3);
    assert_int_equal(tries, 3);
    assert_int_equal(vp->counters.synthetic.flushes, 1);
}

/* What was asked of a VP that does not run is done before its first instruction. */
static void a_flush_comes_before_the_next_entry(void **state)
{
    uint64_t before;

    (void)state;
    FAKE_GUEST(THEN);
    run();
    before = fake_vmx_counts.invvpid_single;
    vp_request(vp, VP_REQUEST_FLUSH);
    FAKE_GUEST({.run = look_at_flush, .reason = EXIT_REASON_IO, .length = 1});
    run();
    assert_int_equal(after.rcx, before + 1);
    assert_int_equal(vp->shared.requests, 0);
    assert_int_equal(vp->shared.working, 0);
}

/* ------------------------------------------------------------------------------- interrupts */

static uint64_t ipi_input(uint64_t vector, uint64_t vtl)
{
    return vector | vtl << 32;
}

static void interrupts_are_sent(void **state)
{
    (void)state;
    start_64bit();
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    lapic_put(&vp->lapic, APIC_SVR, APIC_SVR_ENABLE);
    assert_int_equal(call(IPI, ipi_input(0x10, 0), 2), HV_STATUS_SUCCESS);
    assert_int_equal(other->inbox.vectors[0], 1ull << 0x10);
    assert_int_equal(call(IPI, ipi_input(0xff, HV_TARGET_VTL_USED), ~1ull), HV_STATUS_SUCCESS);
    assert_int_equal(other->inbox.vectors[3], 1ull << 63);
    assert_int_equal(call(IPI, ipi_input(0x45, 3), 0), HV_STATUS_SUCCESS); /* a level that is not used */
    assert_int_equal(other->inbox.vectors[1], 0);
    assert_int_equal(call(IPI, ipi_input(0x45, 0xffffff00), 3), HV_STATUS_SUCCESS); /* padding */
    assert_int_equal(other->inbox.vectors[1], 1ull << 5);
    assert_int_equal(lapic_highest_irr(&vp->lapic), 0x45);
    input_at(INPUT)[0] = 0x46;
    input_at(INPUT)[1] = 2;
    assert_int_equal(call(HV_CALL_SEND_IPI, INPUT, 0), HV_STATUS_SUCCESS);
    assert_int_equal(other->inbox.vectors[1], 3ull << 5);
    assert_int_equal(vp->counters.synthetic.ipis, 5);
}

static void interrupts_to_sets(void **state)
{
    static const uint64_t sparse[] = {0x51, HV_VP_SET_SPARSE, 5, 2, ~0ull}, all[] = {0x52, HV_VP_SET_ALL, 0};

    (void)state;
    start_64bit();
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    lapic_put(&vp->lapic, APIC_SVR, APIC_SVR_ENABLE);
    memcpy(input_at(INPUT), sparse, sizeof(sparse));
    assert_int_equal(call(HV_CALL_SEND_IPI_EX | HEADER(2), INPUT, 0), HV_STATUS_SUCCESS);
    assert_int_equal(other->inbox.vectors[1], 1ull << 0x11);
    assert_int_equal(lapic_highest_irr(&vp->lapic), -1);
    assert_int_equal(call(HV_CALL_SEND_IPI_EX | HEADER(1), INPUT, 0), HV_STATUS_INVALID_HYPERCALL_INPUT);
    memcpy(input_at(INPUT), all, sizeof(all));
    assert_int_equal(call(HV_CALL_SEND_IPI_EX, INPUT, 0), HV_STATUS_SUCCESS);
    assert_int_equal(other->inbox.vectors[1], 3ull << 0x11);
    assert_int_equal(lapic_highest_irr(&vp->lapic), 0x52);
    input_at(INPUT)[1] = 2;
    assert_int_equal(call(HV_CALL_SEND_IPI_EX, INPUT, 0), HV_STATUS_INVALID_PARAMETER);
    input_at(INPUT)[1] = HV_VP_SET_ALL;
    input_at(INPUT)[0] = 0xf;
    assert_int_equal(call(HV_CALL_SEND_IPI_EX, INPUT, 0), HV_STATUS_INVALID_PARAMETER);
}

static void interrupts_that_are_refused(void **state)
{
    static const uint64_t inputs[] = {
        0, 0xf, 0x100, 0x1000045, 0x80000045, 0x45 | 0x11ull << 32, 0x45 | 0x20ull << 32, 0x45 | 0x80ull << 32};

    (void)state;
    start_64bit();
    for (unsigned i = 0; i < ARRAY_COUNT(inputs); i++)
        assert_int_equal(call(IPI, inputs[i], 3), HV_STATUS_INVALID_PARAMETER);
    assert_int_equal(other->shared.requests, 0);
    assert_int_equal(lapic_highest_irr(&vp->lapic), -1);
}

/* ------------------------------------------------------------------------------ connections */

struct message {
    uint32_t connection, reserved, type, size;
    uint8_t payload[240];
};

static void messages(void **state)
{
    static const struct {
        struct message message;
        bool is_good;
    } rows[] = {
        {{4, 0, 1, 16, {0}}, true},   {{0xffffffff, 0, 0x7fffffff, 240, {0}}, true},
        {{4, 0, 0, 16, {0}}, false},  {{4, 0, 0x80000000, 16, {0}}, false},
        {{4, 0, 1, 241, {0}}, false}, {{4, 0, 1, 0xffffffff, {0}}, false},
        {{4, 1, 1, 16, {0}}, false},  {{4, 0, 1, 0, {0}}, true},
    };

    (void)state;
    start_64bit();
    for (unsigned i = 0; i < ARRAY_COUNT(rows); i++) {
        memcpy(input_at(INPUT), &rows[i].message, sizeof(rows[i].message));
        set_property(EXTENDED_EXITS, 0);
        assert_int_equal(call(HV_CALL_POST_MESSAGE, INPUT, 0),
                         rows[i].is_good ? HV_STATUS_INVALID_CONNECTION_ID : HV_STATUS_INVALID_PARAMETER);
        for (unsigned bit = 0; bit < 2; bit++) {
            set_property(EXTENDED_EXITS, bit ? HV_EXTENDED_UNKNOWN_CONNECTION : HV_EXTENDED_HYPERCALL);
            if (rows[i].is_good)
                assert_to_client(HV_CALL_POST_MESSAGE, INPUT, 0);
            else
                assert_int_equal(call(HV_CALL_POST_MESSAGE, INPUT, 0), HV_STATUS_INVALID_PARAMETER);
        }
    }
    assert_int_equal(vp->counters.synthetic.synic, 3 * ARRAY_COUNT(rows));
}

static void events(void **state)
{
    const uint64_t signal = HV_CALL_SIGNAL_EVENT | FAST;

    (void)state;
    start_64bit();
    assert_int_equal(call(signal, 7, 0), HV_STATUS_INVALID_CONNECTION_ID);
    assert_int_equal(call(signal, 7 | 1ull << 32, 0), HV_STATUS_INVALID_PARAMETER);
    assert_int_equal(call(signal, 7 | 1ull << 48, 0), HV_STATUS_INVALID_PARAMETER);
    set_property(EXTENDED_EXITS, HV_EXTENDED_UNKNOWN_CONNECTION);
    assert_to_client(signal, 7, 0);
    assert_to_client(signal, 7 | 1ull << 32, 0);
    assert_int_equal(call(signal, 7 | 1ull << 48, 0), HV_STATUS_INVALID_PARAMETER);
    input_at(INPUT)[0] = 7;
    assert_to_client(HV_CALL_SIGNAL_EVENT, INPUT, 0);
}

/* A connection that has a port is nobody else's. It has one flag. */
static void events_of_ports(void **state)
{
    const struct hv_port_parameters parameters = {.type = HV_PORT_EVENT, .connection_id = 7};
    const uint64_t signal = HV_CALL_SIGNAL_EVENT | FAST;
    void *handle = fake_event_create();
    struct hv_port *port;

    (void)state;
    start_64bit();
    assert_int_equal(hv_port_create(partition, &parameters, handle, &port), HV_OK);
    set_property(EXTENDED_EXITS, HV_EXTENDED_HYPERCALL);
    assert_int_equal(call(signal, 7, 0), HV_STATUS_SUCCESS);
    assert_true(fake_event_take(handle));
    input_at(INPUT)[0] = 7;
    assert_int_equal(call(HV_CALL_SIGNAL_EVENT, INPUT, 0), HV_STATUS_SUCCESS);
    assert_true(fake_event_take(handle));
    assert_int_equal(call(signal, 7 | 1ull << 32, 0), HV_STATUS_INVALID_PARAMETER);
    assert_to_client(signal, 8, 0);
    assert_false(fake_event_take(handle));
    hv_port_delete(port);
    assert_to_client(signal, 7, 0);
    fake_event_close(handle);
}

/* -------------------------------------------------------------------------- hostile guests */

/* A few small numbers, or any. */
static uint64_t random_word(void)
{
    uint64_t r = random_u64();

    return r & 1 ? r >> 1 & r >> 32 & 7 : r & 2 ? 1ull << (r >> 2 & 63) : r;
}

static uint64_t random_control(void)
{
    static const uint16_t codes[] = {HV_CALL_FLUSH_SPACE,      HV_CALL_FLUSH_LIST,
                                     HV_CALL_NOTIFY_SPIN_WAIT, HV_CALL_SEND_IPI,
                                     HV_CALL_FLUSH_SPACE_EX,   HV_CALL_FLUSH_LIST_EX,
                                     HV_CALL_SEND_IPI_EX,      HV_CALL_POST_MESSAGE,
                                     HV_CALL_SIGNAL_EVENT,     0x7777};
    uint64_t r = random_u64(), control = codes[r % ARRAY_COUNT(codes)];

    control |= r & 1 << 8 ? FAST : 0;
    control |= r & 3 << 9 ? 0 : HEADER(random_word());
    control |= r & 1 << 11 ? REPS(random_word()) : 0;
    control |= r & 7 << 12 ? 0 : START(random_word());
    return r & 31 << 15 ? control : control | random_u64();
}

static const uint64_t statuses = 1ull << HV_STATUS_SUCCESS | 1ull << HV_STATUS_INVALID_HYPERCALL_CODE |
                                 1ull << HV_STATUS_INVALID_HYPERCALL_INPUT | 1ull << HV_STATUS_INVALID_ALIGNMENT |
                                 1ull << HV_STATUS_INVALID_PARAMETER | 1ull << HV_STATUS_INVALID_CONNECTION_ID;

/* Whatever it is, it has an answer, and the sanitizers look on. Most of these succeed or fail deep inside. */
static void random_calls(void **state)
{
    static const uint64_t inputs[] = {INPUT, INPUT + HV_PAGE_SIZE - 24, INPUT + HV_PAGE_SIZE - 256, UNMAPPED, ~7ull};
    unsigned seen[64] = {0};

    (void)state;
    start_64bit();
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    random_start();
    for (unsigned n = 0; n < 4000; n++) {
        uint64_t r = random_u64(), control = random_control(), result;

        for (unsigned i = 0; i < 40; i++)
            input_at(INPUT)[i] = random_word();
        memcpy(input_at(INPUT + HV_PAGE_SIZE - 256), input_at(INPUT), 256);
        for (unsigned i = 0; i < ARRAY_COUNT(xmm); i++)
            xmm[i] = random_word();
        result = call(control, r & 1 ? INPUT : r & 2 ? inputs[r >> 2 & 3] : random_word(), random_word());
        assert_true((result & 0xffff) < 64 && statuses >> (result & 0xffff) & 1);
        assert_in_range(FIELD_GET(HV_RESULT_REPS_DONE, result), 0,
                        FIELD_GET(HV_CALL_REP_COUNT, control) | FIELD_GET(HV_CALL_REP_START, control));
        seen[result & 0xffff]++;
    }
    for (unsigned i = 0; i < 64; i++)
        assert_int_equal(seen[i] > 0, statuses >> i & 1);
}

/* ------------------------------------------------------------------------------------- page */

static void the_hypercall_page(void **state)
{
    static uint8_t page[HV_PAGE_SIZE];
    static const uint8_t code[] = {0x0f, 0x01, 0xc1, 0xc3};

    (void)state;
    hypercall_fill_page(page);
    assert_memory_equal(page, code, sizeof(code));
    for (unsigned i = sizeof(code); i < sizeof(page); i++)
        assert_int_equal(page[i], 0xcc);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CALL_TEST(without_the_interface),
        CALL_TEST(a_guest_without_a_name),
        CALL_TEST(illegal_modes),
        CALL_TEST(codes_that_nobody_knows),
        CALL_TEST(calls_that_are_not_granted),
        CALL_TEST(control_words_that_are_refused),
        CALL_TEST(addresses_that_are_refused),
        CALL_TEST(fast_input),
        CALL_TEST(calls_of_32_bits),
        CALL_TEST(targets_of_flushes),
        CALL_TEST(flushes_that_are_refused),
        CALL_TEST(the_rep_start_moves_on),
        CALL_TEST(a_flush_waits_for_those_that_work),
        CALL_TEST(a_flush_comes_before_the_next_entry),
        CALL_TEST(interrupts_are_sent),
        CALL_TEST(interrupts_to_sets),
        CALL_TEST(interrupts_that_are_refused),
        CALL_TEST(messages),
        CALL_TEST(events),
        CALL_TEST(events_of_ports),
        CALL_TEST(random_calls),
        CALL_TEST(the_hypercall_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
