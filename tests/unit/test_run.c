/* SPDX-License-Identifier: MIT */
/*
 * Runs of a VP, from the native API to the fake CPU: which exits the core answers by itself and at what cost in VMREADs
 * and VMWRITEs, what the client gets to see of the others, cancelling, events, notifications, triple faults.
 */
#include "run_vp.h"
#include "virt/irq.h"
#include <arch/bits/cpuid.h>

#define DATA           0x2000ull
#define UNMAPPED       (RAM_SIZE + 0x3000)
#define EXTENDED_EXITS 0x0001
#define EXCEPTIONS     0x0002
#define MSR_EXITS      0x0005

static int setup_with(void **state, uint64_t apic)
{
    return machine_setup(state) || !run_vp_create(apic, 1) ? -1 : 0;
}

static int setup(void **state)
{
    return setup_with(state, HV_LOCAL_APIC_NONE);
}

static int setup_apic(void **state)
{
    return setup_with(state, HV_LOCAL_APIC_X2APIC);
}

#define RUN_TEST(fn)  cmocka_unit_test_setup_teardown(fn, setup, run_vp_teardown)
#define APIC_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup_apic, run_vp_teardown)

/* Ends a run that is about something else. */
#define STOP                                    \
    {                                           \
        .reason = EXIT_REASON_HLT, .length = 1, \
    }

#define WITH_ERROR (uint32_t) INTR_INFO_ERROR_VALID

/* --------------------------------------------------------------- exits that the core answers */

static void start_counting(uint64_t gpr[16])
{
    (void)gpr;
    fake_vmx_forget();
}

static struct fake_vmx_counts counted;
static struct fake_event injected_then;
static uint64_t rflags_then;

static void stop_counting(uint64_t gpr[16])
{
    (void)gpr;
    counted = fake_vmx_counts;
    injected_then = fake_vmx_injected();
    rflags_then = fake_vmcs_get(VMCS_GUEST_RFLAGS);
}

/* From the exit to the next entry. */
static void answer(struct fake_step step)
{
    struct hv_exit_context exit;

    step.run = start_counting;
    FAKE_GUEST({.reason = EXIT_REASON_EXTERNAL_INTR}, step,
               {.run = stop_counting, .reason = EXIT_REASON_HLT, .length = 1});
    exit = run();
    assert_reason(&exit, HV_EXIT_HALT);
    assert_int_equal(counted.entries, 1);
}

static void print_cost(const char *name)
{
    printf("# %-34s %2u VMREAD %2u VMWRITE, entered again\n", name, (unsigned)counted.reads, (unsigned)counted.writes);
}

static void set_msr_operands(uint32_t index, uint64_t value)
{
    set(HV_REG_RCX, index);
    set(HV_REG_RAX, (uint32_t)value);
    set(HV_REG_RDX, value >> 32);
}

static void an_interrupt_costs_one_read(void **state)
{
    (void)state;
    answer((struct fake_step){.reason = EXIT_REASON_EXTERNAL_INTR});
    print_cost("external interrupt");
    assert_int_equal(counted.reads, 1);
    assert_int_equal(counted.writes, 0);
}

static void cpuid_is_answered(void **state)
{
    (void)state;
    set(HV_REG_RAX, 0xffffffff00000000);
    answer((struct fake_step){.reason = EXIT_REASON_CPUID, .length = 2});
    print_cost("CPUID");
    assert_true(counted.reads <= 5);
    assert_int_equal(counted.writes, 1);
    assert_int_equal(get(HV_REG_RBX), 0x756e6547);
    assert_int_equal(get(HV_REG_RIP), CODE + 2 + 1); /* behind the HLT, too */
    set(HV_REG_RAX, 1);
    answer((struct fake_step){.reason = EXIT_REASON_CPUID, .length = 2});
    print_cost("CPUID, leaf 1");
    assert_true(counted.reads <= 7);
    assert_int_equal(counted.writes, 1);
    assert_int_equal(get(HV_REG_RBX) >> 24, 0); /* the APIC id */
    assert_false(get(HV_REG_RCX) & CPUID_1_ECX_OSXSAVE);
}

static void msrs_are_answered(void **state)
{
    (void)state;
    set_msr_operands(MSR_IA32_MISC_ENABLE, 0);
    answer((struct fake_step){.reason = EXIT_REASON_RDMSR, .length = 2});
    print_cost("RDMSR");
    assert_int_equal(get(HV_REG_RAX), vp->misc_enable);
    assert_true(counted.reads <= 5);
    assert_int_equal(counted.writes, 1);
    set_msr_operands(MSR_IA32_LSTAR, 0x1234567890);
    answer((struct fake_step){.reason = EXIT_REASON_WRMSR, .length = 2});
    print_cost("WRMSR of LSTAR");
    assert_int_equal(get(HV_REG_LSTAR), 0x1234567890);
    assert_true(counted.reads <= 5);
    assert_int_equal(counted.writes, 1);
    set_msr_operands(MSR_IA32_EFER, EFER_SCE);
    answer((struct fake_step){.reason = EXIT_REASON_WRMSR, .length = 2});
    print_cost("WRMSR of EFER");
    assert_int_equal(get(HV_REG_EFER), EFER_SCE);
    set_msr_operands(0x12345, 0);
    answer((struct fake_step){.reason = EXIT_REASON_RDMSR, .length = 2});
    print_cost("RDMSR of no MSR: #GP");
    assert_int_equal(injected_then.info, INFO(INTR_TYPE_HW_EXCEPTION, VEC_GP) | WITH_ERROR);
}

static void control_registers_are_answered(void **state)
{
    (void)state;
    set(HV_REG_RBX, CR0_PE | CR0_ET | CR0_NE | CR0_CD);
    answer((struct fake_step){.reason = EXIT_REASON_CR_ACCESS, .length = 3, .qualification = GPR_RBX << 8 | 0});
    print_cost("MOV to CR0");
    assert_int_equal(get(HV_REG_CR0), CR0_PE | CR0_ET | CR0_NE | CR0_CD);
    set(HV_REG_RBX, CR4_VMXE);
    answer((struct fake_step){.reason = EXIT_REASON_CR_ACCESS, .length = 3, .qualification = GPR_RBX << 8 | 4});
    print_cost("MOV to CR4: #GP");
    assert_int_equal(injected_then.info, INFO(INTR_TYPE_HW_EXCEPTION, VEC_GP) | WITH_ERROR);
    assert_int_equal(get(HV_REG_CR4), 0);
}

static void xsetbv_is_answered(void **state)
{
    (void)state;
    set_msr_operands(0, XCR0_X87 | XCR0_SSE | XCR0_AVX);
    answer((struct fake_step){.reason = EXIT_REASON_XSETBV, .length = 3});
    print_cost("XSETBV");
    assert_int_equal(get(HV_REG_XCR0), XCR0_X87 | XCR0_SSE | XCR0_AVX);
    set_msr_operands(0, XCR0_AVX);
    answer((struct fake_step){.reason = EXIT_REASON_XSETBV, .length = 3});
    assert_int_equal(injected_then.info, INFO(INTR_TYPE_HW_EXCEPTION, VEC_GP) | WITH_ERROR);
    assert_int_equal(get(HV_REG_XCR0), XCR0_X87 | XCR0_SSE | XCR0_AVX);
}

static void other_instructions_are_answered(void **state)
{
    static const struct {
        const char *name;
        uint32_t reason, length, injected;
    } cases[] = {
        {"WBINVD", EXIT_REASON_WBINVD, 2, 0},
        {"VMCALL without a client: #UD", EXIT_REASON_VMCALL, 3, INFO(INTR_TYPE_HW_EXCEPTION, VEC_UD)},
        {"VMXON: #UD", EXIT_REASON_VMXON, 4, INFO(INTR_TYPE_HW_EXCEPTION, VEC_UD)},
        {"RDPMC: #GP", EXIT_REASON_RDPMC, 2, INFO(INTR_TYPE_HW_EXCEPTION, VEC_GP) | WITH_ERROR},
        {"MOV DR", EXIT_REASON_MOV_DR, 3, 0},
        {"timer", EXIT_REASON_PREEMPTION_TIMER, 0, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(cases); i++) {
        set(HV_REG_RIP, CODE);
        set(HV_REG_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
        answer((struct fake_step){.reason = cases[i].reason, .length = cases[i].length});
        print_cost(cases[i].name);
        assert_int_equal(injected_then.info, cases[i].injected);
        if (cases[i].injected)
            assert_true(rflags_then & RFLAGS_RF); /* a fault restarts */
        if (cases[i].reason == EXIT_REASON_WBINVD)
            assert_int_equal(get(HV_REG_RIP), CODE + 2 + 1);
        else
            assert_int_equal(get(HV_REG_RIP), CODE + 1);
    }
}

static void set_shadow_and_trap(uint64_t gpr[16])
{
    (void)gpr;
    fake_vmcs_set(VMCS_GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_STI);
    fake_vmcs_set(VMCS_GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF | RFLAGS_TF);
}

static void check_trap(uint64_t gpr[16])
{
    (void)gpr;
    assert_int_equal(fake_vmcs_get(VMCS_GUEST_INTERRUPTIBILITY), 0);
    assert_int_equal(fake_vmcs_get(VMCS_GUEST_PENDING_DEBUG), PENDING_DEBUG_BS);
}

/* Stepping over an instruction ends the shadow, and with TF the single-step trap follows. */
static void stepping_over(void **state)
{
    (void)state;
    FAKE_GUEST({.run = set_shadow_and_trap, .reason = EXIT_REASON_CPUID, .length = 2},
               {.run = check_trap, .reason = EXIT_REASON_EXTERNAL_INTR}, STOP);
    run();
    set(HV_REG_RIP, 0xffffffff); /* 32 bits outside of 64-bit mode */
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    set(HV_REG_PENDING_DEBUG_EXCEPTION, 0);
    FAKE_GUEST({.reason = EXIT_REASON_CPUID, .length = 2}, STOP);
    run();
    assert_int_equal(get(HV_REG_RIP), 2);
    set(HV_REG_RFLAGS, RFLAGS_FIXED | RFLAGS_RF); /* for one instruction */
    answer((struct fake_step){.reason = EXIT_REASON_CPUID, .length = 2});
    assert_int_equal(rflags_then, RFLAGS_FIXED);
}

/* --------------------------------------------------------------------- exits to the client */

/* From the exit to the return of the run. */
static struct hv_exit_context to_client(const char *name, struct fake_step step)
{
    struct hv_exit_context exit;

    set(HV_REG_RIP, CODE);
    step.run = start_counting;
    FAKE_GUEST({.reason = EXIT_REASON_EXTERNAL_INTR}, step);
    exit = run();
    printf("# %-34s %2u VMREAD %2u VMWRITE, to the client\n", name, (unsigned)fake_vmx_counts.reads,
           (unsigned)fake_vmx_counts.writes);
    assert_int_equal(fake_vmx_counts.writes, exit.reason == HV_EXIT_HALT); /* RIP goes behind the HLT */
    assert_int_equal(exit.vp.rip, CODE + (exit.reason == HV_EXIT_HALT));
    assert_int_equal(exit.vp.rflags, RFLAGS_FIXED | RFLAGS_IF);
    assert_int_equal(exit.vp.execution_state, HV_EXEC_CR0_PE);
    assert_int_equal(exit.vp.cs.attributes, SEG_ATTR_CODE32);
    return exit;
}

static void port_io(void **state)
{
    struct hv_exit_context exit = to_client(
        "OUT",
        (struct fake_step){.reason = EXIT_REASON_IO, .length = 1, .qualification = FIELD_PUT(QUAL_IO_PORT, 0x3f8)});

    (void)state;
    assert_reason(&exit, HV_EXIT_IO);
    assert_true(exit.io.access.is_write);
    assert_int_equal(exit.io.port, 0x3f8);
    assert_int_equal(exit.io.access.size, 1);
    assert_int_equal(exit.vp.instruction_length, 1);
    assert_int_equal(exit.io.ds.attributes, SEG_ATTR_DATA32);
    /* the client steps over it: one write, that of RIP */
    set(HV_REG_RIP, CODE + 1);
    FAKE_GUEST({.run = stop_counting, .reason = EXIT_REASON_HLT, .length = 1});
    fake_vmx_forget();
    run();
    print_cost("after OUT: RIP set");
    assert_int_equal(counted.writes, 1);
}

static void string_io_shows_the_instruction(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    memcpy(ram + CODE, (uint8_t[]){0xf3, 0x6c}, 2); /* REP INSB */
    exit = to_client("REP INSB", (struct fake_step){.reason = EXIT_REASON_IO,
                                                    .length = 2,
                                                    .qualification = QUAL_IO_IN | QUAL_IO_STRING | QUAL_IO_REP |
                                                                     FIELD_PUT(QUAL_IO_PORT, 0x60)});
    assert_reason(&exit, HV_EXIT_IO);
    assert_true(exit.io.access.is_string && exit.io.access.has_rep && !exit.io.access.is_write);
    assert_int_equal(exit.instruction.count, 16);
    assert_memory_equal(exit.instruction.bytes, ram + CODE, 16);
}

static void unmapped_memory(void **state)
{
    struct hv_exit_context exit =
        to_client("EPT violation, unmapped",
                  (struct fake_step){.reason = EXIT_REASON_EPT_VIOLATION,
                                     .qualification = QUAL_EPT_WRITE | QUAL_EPT_LINEAR_VALID | QUAL_EPT_TRANSLATED,
                                     .gpa = UNMAPPED,
                                     .gva = UNMAPPED});

    (void)state;
    assert_reason(&exit, HV_EXIT_MEMORY);
    assert_int_equal(exit.memory.access, HV_ACCESS_WRITE);
    assert_true(exit.memory.unmapped && exit.memory.gva_valid);
    assert_int_equal(exit.memory.gpa, UNMAPPED);
    assert_int_equal(exit.instruction.count, 16);
}

static void forbidden_memory(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    assert_int_equal(hv_partition_map(partition, ram, 0x5000, HV_PAGE_SIZE, NPT_READ), HV_OK);
    exit = to_client(
        "EPT violation, forbidden",
        (struct fake_step){.reason = EXIT_REASON_EPT_VIOLATION, .qualification = QUAL_EPT_WRITE, .gpa = 0x5000});
    assert_reason(&exit, HV_EXIT_MEMORY);
    assert_false(exit.memory.unmapped);
    assert_false(exit.memory.gva_valid);
}

/* The CPU saw tables of before: by now they allow the access. */
static void a_violation_that_is_none_any_more(void **state)
{
    (void)state;
    answer((struct fake_step){
        .reason = EXIT_REASON_EPT_VIOLATION, .qualification = QUAL_EPT_WRITE, .gpa = DATA, .gva = DATA});
    print_cost("EPT violation, allowed by now");
    assert_int_equal(counted.writes, 0);
}

static void memory_mapped_between_runs(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    FAKE_GUEST({.reason = EXIT_REASON_EPT_VIOLATION, .qualification = 2, .gpa = UNMAPPED});
    exit = run();
    assert_reason(&exit, HV_EXIT_MEMORY);
    assert_int_equal(hv_partition_map(partition, ram, UNMAPPED, HV_PAGE_SIZE, NPT_RIGHTS), HV_OK);
    fake_vmx_forget();
    FAKE_GUEST({.reason = EXIT_REASON_EPT_VIOLATION, .qualification = 2, .gpa = UNMAPPED}, STOP);
    exit = run();
    assert_reason(&exit, HV_EXIT_HALT);
    assert_int_equal(fake_vmx_counts.invept_single, 1); /* once, for the new generation */
}

static void halt(void **state)
{
    struct hv_exit_context exit = to_client("HLT", (struct fake_step){.reason = EXIT_REASON_HLT, .length = 1});

    (void)state;
    assert_reason(&exit, HV_EXIT_HALT);
    assert_int_equal(exit.vp.instruction_length, 0);
    assert_int_equal(exit.vp.rip, CODE + 1); /* behind it */
    assert_int_equal(get(HV_REG_RIP), CODE + 1);
}

static void exits_that_the_client_asks_for(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    set_property(EXTENDED_EXITS, HV_EXTENDED_CPUID | HV_EXTENDED_RDTSC | HV_EXTENDED_HYPERCALL | HV_EXTENDED_EXCEPTION |
                                     HV_EXTENDED_MSR);
    set_property(EXCEPTIONS, BIT64(VEC_UD));
    set(HV_REG_RAX, 0);
    exit = to_client("CPUID, asked for", (struct fake_step){.reason = EXIT_REASON_CPUID, .length = 2});
    assert_reason(&exit, HV_EXIT_CPUID);
    assert_int_equal(exit.cpuid.default_rbx, 0x756e6547);
    assert_int_equal(exit.vp.instruction_length, 2);
    exit = to_client("RDTSC, asked for", (struct fake_step){.reason = EXIT_REASON_RDTSC, .length = 2});
    assert_reason(&exit, HV_EXIT_RDTSC);
    assert_false(exit.rdtsc.is_rdtscp);
    assert_true(fake_vmcs_get(VMCS_CPU_CONTROLS) & CPU_RDTSC);
    set(HV_REG_R8, 0x88);
    exit = to_client("VMCALL, asked for", (struct fake_step){.reason = EXIT_REASON_VMCALL, .length = 3});
    assert_reason(&exit, HV_EXIT_HYPERCALL);
    assert_int_equal(exit.hypercall.r8, 0x88);
    assert_int_equal(exit.vp.instruction_length, 3);
    exit = to_client("exception, asked for", (struct fake_step){.reason = EXIT_REASON_EXCEPTION_NMI,
                                                                .intr_info = INFO(INTR_TYPE_HW_EXCEPTION, VEC_UD)});
    assert_reason(&exit, HV_EXIT_EXCEPTION);
    assert_int_equal(exit.exception.vector, VEC_UD);
    assert_int_equal(exit.instruction.count, 16);
    assert_int_equal(fake_vmcs_get(VMCS_EXCEPTION_BITMAP), BIT64(VEC_UD) | BIT64(VEC_MC));
    set(HV_REG_RCX, 0x12345);
    exit = to_client("RDMSR of no MSR, asked for", (struct fake_step){.reason = EXIT_REASON_RDMSR, .length = 2});
    assert_reason(&exit, HV_EXIT_MSR);
    assert_int_equal(exit.msr.index, 0x12345);
    assert_int_equal(exit.vp.instruction_length, 2);
    set_property(EXTENDED_EXITS, 0); /* and no more */
    FAKE_GUEST({.reason = EXIT_REASON_CPUID, .length = 2}, STOP);
    run();
    assert_false(fake_vmcs_get(VMCS_CPU_CONTROLS) & CPU_RDTSC);
    assert_int_equal(fake_vmcs_get(VMCS_EXCEPTION_BITMAP), BIT64(VEC_MC));
}

/* What the VP remembers of an MSR ends when the client says something else of it. */
static void an_msr_that_the_client_then_asks_for(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    set(HV_REG_RCX, MSR_IA32_MISC_ENABLE);
    for (unsigned i = 0; i < 2; i++) {
        FAKE_GUEST({.reason = EXIT_REASON_RDMSR, .length = 2}, {.reason = EXIT_REASON_RDMSR, .length = 2}, STOP);
        exit = run();
        assert_reason(&exit, HV_EXIT_HALT);
        set_property(MSR_EXITS, HV_MSR_EXIT_MISC_ENABLE_READ);
        set_property(EXTENDED_EXITS, HV_EXTENDED_MSR);
        exit = to_client("RDMSR, asked for", (struct fake_step){.reason = EXIT_REASON_RDMSR, .length = 2});
        assert_reason(&exit, HV_EXIT_MSR);
        assert_int_equal(exit.msr.index, MSR_IA32_MISC_ENABLE);
        set_property(EXTENDED_EXITS, 0);
    }
}

static void use_xmm(uint64_t gpr[16])
{
    (void)gpr;
    memset(fake_x86_here()->fxsave + 160, 0x42, 16);
    fake_x86_here()->xinuse |= XCR0_SSE;
}

static void a_hypercall_shows_xmm_registers(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    set_property(EXTENDED_EXITS, HV_EXTENDED_HYPERCALL);
    FAKE_GUEST({.run = use_xmm, .reason = EXIT_REASON_VMCALL, .length = 3});
    exit = run();
    assert_int_equal(exit.hypercall.xmm[0][0], 0x4242424242424242);
    assert_int_equal(exit.hypercall.xmm[1][0], 0);
}

static void exits_that_cannot_be(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    FAKE_GUEST({.reason = EXIT_REASON_PML_FULL});
    exit = run();
    assert_reason(&exit, HV_EXIT_UNSUPPORTED_FEATURE);
    assert_int_equal(exit.unsupported.code, 1);
    FAKE_GUEST({.reason = EXIT_REASON_TASK_SWITCH, .qualification = 0x18});
    exit = run();
    assert_reason(&exit, HV_EXIT_UNSUPPORTED_FEATURE);
    assert_int_equal(exit.unsupported.code, 2);
    assert_int_equal(exit.unsupported.parameter, 0x18);
}

static void exits_are_counted(void **state)
{
    struct hv_vp_counters counters;

    (void)state;
    FAKE_GUEST({.reason = EXIT_REASON_CPUID}, {.reason = EXIT_REASON_CPUID}, {.reason = EXIT_REASON_EXTERNAL_INTR},
               STOP);
    run();
    hv_vp_counters(vp, &counters);
    assert_int_equal(counters.exits[HV_EXIT_CPUID], 2);
    assert_int_equal(counters.exits[HV_EXIT_HOST_EVENT], 1);
    assert_int_equal(counters.exits[HV_EXIT_HALT], 1);
    assert_int_equal(counters.to_client[HV_EXIT_CPUID], 0);
    assert_int_equal(counters.to_client[HV_EXIT_HALT], 1);
    assert_int_equal(counters.migrations, 0);
}

#define A_WHILE 1000000u /* ticks of the TSC */

static void take_a_while(uint64_t gpr[16])
{
    (void)gpr;
    fake_set_tsc(cpu_tsc() + A_WHILE);
}

static uint64_t to_100ns(uint64_t ticks)
{
    return (uint64_t)((unsigned __int128)ticks * 10000000 / cpu_facts()->tsc_hz);
}

static void runs_are_timed(void **state)
{
    const uint64_t begin = 1ull << 40;
    struct hv_vp_counters counters;

    (void)state;
    fake_set_tsc(begin);
    hv_vp_counters(vp, &counters);
    assert_int_equal(counters.run_100ns, 0);
    FAKE_GUEST({.run = take_a_while, .reason = EXIT_REASON_HLT, .length = 1});
    run();
    hv_vp_counters(vp, &counters);
    assert_true(counters.run_100ns >= to_100ns(A_WHILE));
    assert_true(counters.run_100ns <= to_100ns(cpu_tsc() - begin));
}

#define EVENT(type, vector) \
    HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_TYPE, type) | FIELD_PUT(HV_PENDING_INT_VECTOR, vector)

/* Each that begins, once, whoever wants it; INT n is none. */
static void events_are_counted(void **state)
{
    static const struct {
        uint64_t event;
        uint32_t info;
    } events[] = {
        {EVENT(HV_INT_TYPE_EXTERNAL, 0x41), INFO(INTR_TYPE_EXTERNAL, 0x41)},
        {EVENT(HV_INT_TYPE_NMI, VEC_NMI), INFO(INTR_TYPE_NMI, VEC_NMI)},
        {EVENT(HV_INT_TYPE_EXCEPTION, VEC_PF) | HV_PENDING_INT_ERROR_VALID,
         INFO(INTR_TYPE_HW_EXCEPTION, VEC_PF) | WITH_ERROR},
        {EVENT(HV_INT_TYPE_SOFTWARE, VEC_PF) | FIELD_PUT(HV_PENDING_INT_LENGTH, 2), INFO(INTR_TYPE_SW_INTR, VEC_PF)},
    };
    struct hv_vp_counters counters;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(events); i++) {
        set(HV_REG_PENDING_INTERRUPTION, events[i].event);
        /* its delivery is interrupted, and begins again */
        FAKE_GUEST({.reason = EXIT_REASON_EXTERNAL_INTR, .vectoring_info = events[i].info, .length = 2}, STOP);
        run();
    }
    set(HV_REG_PENDING_EVENT, HV_PENDING_EVENT_VALID | FIELD_PUT(HV_PENDING_EVENT_VECTOR, VEC_UD));
    FAKE_GUEST({.reason = EXIT_REASON_RDPMC, .length = 2}, STOP);
    run();
    hv_vp_counters(vp, &counters);
    assert_int_equal(counters.events.interrupts, 2);
    assert_int_equal(counters.events.exceptions, 3); /* #PF, #UD, #GP for RDPMC */
    assert_int_equal(counters.events.page_faults, 1);
}

static void write_apic(uint32_t offset, uint64_t value)
{
    struct hv_exit_context exit;

    set_msr_operands(MSR_IA32_X2APIC_BASE + (offset >> 4), value);
    FAKE_GUEST({.reason = EXIT_REASON_WRMSR, .length = 2},
               {.reason = EXIT_REASON_EPT_VIOLATION, .qualification = QUAL_EPT_WRITE, .gpa = UNMAPPED});
    exit = run();
    assert_reason(&exit, HV_EXIT_MEMORY);
}

static void x2apic_accesses_are_counted(void **state)
{
    const uint64_t fixed = 0x41;
    struct hv_vp_counters counters;

    (void)state;
    set(HV_REG_APIC_BASE, APIC_DEFAULT_BASE | APIC_BASE_BSP | APIC_BASE_EXTD | APIC_BASE_EN);
    write_apic(APIC_SVR, APIC_SVR_ENABLE | 0xff);
    write_apic(APIC_TPR, 0x20);
    write_apic(APIC_EOI, 0);
    write_apic(APIC_ICR_LOW, FIELD_PUT(APIC_ICR_SHORTHAND, APIC_SHORTHAND_SELF) | fixed);
    write_apic(APIC_ICR_LOW, FIELD_PUT(APIC_ICR_SHORTHAND, APIC_SHORTHAND_OTHERS) | fixed);
    write_apic(APIC_ICR_LOW, FIELD_PUT(APIC_ICR_DEST_X2APIC, 1) | fixed);
    write_apic(APIC_ICR_LOW, FIELD_PUT(APIC_ICR_DEST_X2APIC, 0) | fixed);
    write_apic(APIC_SELF_IPI, fixed);
    hv_vp_counters(vp, &counters);
    assert_int_equal(counters.apic.mmio, 0);
    assert_int_equal(counters.apic.tpr, 1);
    assert_int_equal(counters.apic.eoi, 1);
    assert_int_equal(counters.apic.ipis, 2);
    assert_int_equal(counters.apic.self_ipis, 3);
    assert_int_equal(counters.events.interrupts, 1); /* the next one waits for this one's EOI */
    assert_int_equal(counters.emulated, 0);
}

/* mov [0fee00080h], eax; mov eax, [0fee000b0h] */
static void apic_memory_accesses_are_counted(void **state)
{
    static const uint8_t code[] = {0xa3, 0x80, 0, 0xe0, 0xfe, 0xa1, 0xb0, 0, 0xe0, 0xfe};
    struct hv_vp_counters counters;

    (void)state;
    memcpy(ram + CODE, code, sizeof(code));
    set(HV_REG_RAX, 0x30);
    FAKE_GUEST({.reason = EXIT_REASON_EPT_VIOLATION, .qualification = QUAL_EPT_WRITE, .gpa = 0xfee00080},
               {.reason = EXIT_REASON_EPT_VIOLATION, .qualification = QUAL_EPT_READ, .gpa = 0xfee000b0},
               {.reason = EXIT_REASON_EPT_VIOLATION, .qualification = QUAL_EPT_WRITE, .gpa = UNMAPPED});
    run();
    assert_int_equal(get(HV_REG_RIP), CODE + sizeof(code));
    assert_int_equal(get(HV_REG_CR8), 3);
    hv_vp_counters(vp, &counters);
    assert_int_equal(counters.apic.mmio, 2);
    assert_int_equal(counters.apic.tpr, 1);
    assert_int_equal(counters.apic.eoi, 1);
    assert_int_equal(counters.emulated, 2);
    assert_int_equal(counters.exits[HV_EXIT_MEMORY], 3);
    assert_int_equal(counters.to_client[HV_EXIT_MEMORY], 1);
}

/* ------------------------------------------------------------------------------ cancelling */

static void assert_cancelled(const struct hv_exit_context *exit, uint64_t rip)
{
    assert_reason(exit, HV_EXIT_CANCELED);
    assert_int_equal(exit->vp.instruction_length, 0);
    assert_int_equal(exit->vp.rip, rip);
}

static void cancelled_before_the_run(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    hv_vp_cancel(vp);
    hv_vp_cancel(vp);
    exit = run();
    assert_cancelled(&exit, CODE);
    assert_int_equal(fake_vmx_counts.entries, 0);
    assert_int_equal(fake_counts().kicks, 0);
    FAKE_GUEST(STOP); /* once */
    exit = run();
    assert_reason(&exit, HV_EXIT_HALT);
}

static void cancel_from_elsewhere(uint64_t gpr[16])
{
    (void)gpr;
    assert_int_not_equal(vp->shared.walking, 0);
    assert_int_equal(vp->shared.cpu, 1);
    hv_vp_cancel(vp);
}

/* The CPU that runs the guest is kicked; the interrupt ends the guest's run, and the run is over. */
static void cancelled_in_the_run(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    fake_set_cpu(1);
    FAKE_GUEST({.run = cancel_from_elsewhere, .reason = EXIT_REASON_EXTERNAL_INTR});
    exit = run();
    assert_cancelled(&exit, CODE);
    assert_int_equal(fake_kicks(1), 1);
    assert_int_equal(vp->shared.requests, 0);
    /* an exit of the guest's own comes first, and the cancel stays for the next run */
    FAKE_GUEST({.run = cancel_from_elsewhere, .reason = EXIT_REASON_HLT, .length = 1});
    exit = run();
    assert_reason(&exit, HV_EXIT_HALT);
    exit = run();
    assert_cancelled(&exit, CODE + 1);
    /* exits that the core answers do not hide it */
    FAKE_GUEST({.run = cancel_from_elsewhere, .reason = EXIT_REASON_CPUID, .length = 2});
    exit = run();
    assert_cancelled(&exit, CODE + 3);
}

static void busy_in_the_run(uint64_t gpr[16])
{
    union hv_reg_value value;
    struct hv_exit_context exit;
    uint32_t name = HV_REG_RIP;

    (void)gpr;
    assert_int_equal(hv_vp_run(vp, &exit), HV_E_VP_BUSY);
    assert_int_equal(hv_vp_get_registers(vp, &name, 1, &value), HV_E_VP_BUSY);
    assert_int_equal(hv_vp_set_run_deadline(vp, 1), HV_E_VP_BUSY);
}

static void a_running_vp_is_busy(void **state)
{
    (void)state;
    FAKE_GUEST({.run = busy_in_the_run, .reason = EXIT_REASON_HLT, .length = 1});
    run();
}

static unsigned waits;

static void cancel_while_waiting(const volatile uint32_t *word, uint32_t expected)
{
    assert_ptr_equal(word, &vp->shared.wake);
    assert_int_equal(*word, expected);
    if (++waits == 3)
        hv_vp_cancel(vp);
}

static void a_suspended_vp_waits(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    set(HV_REG_INTERNAL_ACTIVITY_STATE, HV_ACTIVITY_HALT_SUSPEND);
    waits = 0;
    fake_on_wait(cancel_while_waiting);
    exit = run();
    fake_on_wait(NULL);
    assert_cancelled(&exit, CODE);
    assert_int_equal(waits, 3);
    assert_int_equal(fake_vmx_counts.entries, 0);
    set(HV_REG_INTERNAL_ACTIVITY_STATE, 0);
    FAKE_GUEST(STOP);
    exit = run();
    assert_reason(&exit, HV_EXIT_HALT);
}

static void time_passes(uint64_t gpr[16])
{
    (void)gpr;
    fake_set_tsc(5000000);
}

static void the_deadline_ends_the_run(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    fake_set_tsc(1000000);
    assert_int_equal(hv_vp_set_run_deadline(vp, 4000000), HV_OK);
    FAKE_GUEST({.reason = EXIT_REASON_PREEMPTION_TIMER}, /* too early: runs on */
               {.run = time_passes, .reason = EXIT_REASON_PREEMPTION_TIMER});
    exit = run();
    assert_cancelled(&exit, CODE);
    FAKE_GUEST({.reason = EXIT_REASON_PREEMPTION_TIMER}, STOP); /* there is none any more */
    exit = run();
    assert_reason(&exit, HV_EXIT_HALT);
}

static void pass_to_the_deadline(const volatile uint32_t *word, uint32_t expected)
{
    uint64_t now = hv_host_time_ns();

    (void)word, (void)expected;
    assert_true(waits < 2);
    assert_in_range(irq_wake_time(vp), now + 1, now + 1000000000);
    fake_set_tsc(waits++ ? 4000000 : 3999999);
}

/* Also where the guest does not run. */
static void the_deadline_ends_a_wait(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    fake_set_tsc(1000000);
    set(HV_REG_INTERNAL_ACTIVITY_STATE, HV_ACTIVITY_HALT_SUSPEND);
    assert_int_equal(hv_vp_set_run_deadline(vp, 4000000), HV_OK);
    waits = 0;
    fake_on_wait(pass_to_the_deadline);
    exit = run();
    fake_on_wait(NULL);
    assert_cancelled(&exit, CODE);
    assert_int_equal(waits, 2);
    assert_int_equal(fake_vmx_counts.entries, 0);
    set(HV_REG_INTERNAL_ACTIVITY_STATE, 0); /* it was for one run */
    FAKE_GUEST({.reason = EXIT_REASON_PREEMPTION_TIMER}, STOP);
    exit = run();
    assert_reason(&exit, HV_EXIT_HALT);
}

/* ----------------------------------------------------------------------- yielding and moving */

static void yield_and_move(uint64_t gpr[16])
{
    (void)gpr;
    fake_set_yield(true);
    fake_migrate_to(1);
}

static void stay(uint64_t gpr[16])
{
    (void)gpr;
    assert_int_equal(fake_cpu(), 1);
    assert_int_equal(vp->shared.cpu, 1);
}

/* The host takes the CPU away after an interrupt; the run goes on elsewhere, and the client does not notice. */
static void a_run_moves_between_cpus(void **state)
{
    static struct fake_x86 before[2];
    struct hv_vp_counters counters;
    struct hv_exit_context exit;

    (void)state;
    before[0] = *fake_x86(0);
    before[1] = *fake_x86(1);
    FAKE_GUEST({.run = yield_and_move, .reason = EXIT_REASON_EXTERNAL_INTR},
               {.run = stay, .reason = EXIT_REASON_CPUID, .length = 2}, STOP);
    exit = run();
    assert_reason(&exit, HV_EXIT_HALT);
    assert_int_equal(get(HV_REG_RIP), CODE + 3);
    assert_int_equal(fake_vmcs_cpu(to_vmx(vp->vcpu)->vmcs_pa), 1);
    hv_vp_counters(vp, &counters);
    assert_int_equal(counters.migrations, 1);
    assert_null(fake_x86_difference(&before[0], fake_x86(0)));
    assert_null(fake_x86_difference(&before[1], fake_x86(1)));
    fake_set_cpu(0);
}

#define MANY 3000u

/* Nothing but short exits, and no interrupt ends an entry: the host gets its turn all the same. */
static void a_run_of_short_exits_gives_way(void **state)
{
    static struct fake_step steps[MANY + 1];
    struct hv_exit_context exit;

    (void)state;
    for (unsigned i = 0; i < MANY; i++)
        steps[i] = (struct fake_step){.run = i ? NULL : yield_and_move, .reason = EXIT_REASON_CPUID, .length = 2};
    steps[MANY] = (struct fake_step){.run = stay, .reason = EXIT_REASON_HLT, .length = 1};
    fake_guest(steps, MANY + 1);
    exit = run();
    assert_reason(&exit, HV_EXIT_HALT);
    fake_set_cpu(0);
}

/* An interrupt that comes before the first entry will not end it. */
static void a_run_gives_way_before_it_begins(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    fake_set_yield(true);
    fake_migrate_to(1);
    FAKE_GUEST({.run = stay, .reason = EXIT_REASON_CPUID, .length = 2}, STOP);
    exit = run();
    assert_reason(&exit, HV_EXIT_HALT);
    fake_set_cpu(0);
}

/* What the host notes while interrupts are off for a whole run, which is not pinned otherwise, is heard at its end. */
static void a_short_run_gives_way_at_its_end(void **state)
{
    const struct fake_step out = {
        .reason = EXIT_REASON_IO, .length = 1, .qualification = FIELD_PUT(QUAL_IO_PORT, 0x80)};
    struct fake_step last = out;
    struct hv_exit_context exit;

    (void)state;
    fake_guest(&out, 1);
    run(); /* the first one is pinned: it makes the vcpu this CPU's */
    last.run = yield_and_move;
    fake_guest(&last, 1);
    exit = run();
    assert_reason(&exit, HV_EXIT_IO);
    assert_int_equal(fake_cpu(), 1);
    fake_set_cpu(0);
}

/* ----------------------------------------------------------------------------------- events */

static void pending_exceptions(void **state)
{
    const uint32_t name = HV_REG_PENDING_EVENT;
    union hv_reg_value value = {.u128 = {.high = 0xbad000}};

    (void)state;
    value.u128.low = HV_PENDING_EVENT_VALID | HV_PENDING_EVENT_ERROR_VALID |
                     FIELD_PUT(HV_PENDING_EVENT_VECTOR, VEC_PF) | FIELD_PUT(HV_PENDING_EVENT_ERROR_CODE, 6);
    assert_int_equal(hv_vp_set_registers(vp, &name, 1, &value), HV_OK);
    FAKE_GUEST({.run = stop_counting, .reason = EXIT_REASON_EXTERNAL_INTR}, STOP);
    run();
    assert_int_equal(injected_then.info, INFO(INTR_TYPE_HW_EXCEPTION, VEC_PF) | WITH_ERROR);
    assert_int_equal(injected_then.error_code, 6);
    assert_int_equal(fake_vmx_injected().info, 0); /* once */
    assert_int_equal(get(HV_REG_CR2), 0xbad000);
    assert_int_equal(get_value(HV_REG_PENDING_EVENT).u128.low, 0);
}

static void open_the_window(uint64_t gpr[16])
{
    (void)gpr;
    EXPECT_NO_WRITES(); /* it is waited for already */
    assert_true(fake_vmcs_get(VMCS_CPU_CONTROLS) & CPU_INTR_WINDOW);
    assert_int_equal(fake_vmx_injected().info, 0);
    fake_vmcs_set(VMCS_GUEST_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
}

static void expect_closed_window(uint64_t gpr[16])
{
    stop_counting(gpr);
    assert_false(fake_vmcs_get(VMCS_CPU_CONTROLS) & CPU_INTR_WINDOW);
}

/* An external interrupt waits for the guest, without the client. */
static void pending_external_interrupts(void **state)
{
    const uint64_t event = HV_PENDING_EVENT_VALID | FIELD_PUT(HV_PENDING_EVENT_TYPE, HV_EVENT_TYPE_EXT_INT) |
                           FIELD_PUT(HV_PENDING_EVENT_EXT_VECTOR, 0x31);

    (void)state;
    set(HV_REG_PENDING_EVENT, event);
    FAKE_GUEST({.run = stop_counting, .reason = EXIT_REASON_HLT, .length = 1});
    run();
    assert_int_equal(injected_then.info, INFO(INTR_TYPE_EXTERNAL, 0x31));
    set(HV_REG_PENDING_EVENT, event);
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    FAKE_GUEST({.run = start_counting, .reason = EXIT_REASON_EXTERNAL_INTR},
               {.run = open_the_window, .reason = EXIT_REASON_INTR_WINDOW},
               {.run = expect_closed_window, .reason = EXIT_REASON_HLT, .length = 1});
    run();
    assert_int_equal(injected_then.info, INFO(INTR_TYPE_EXTERNAL, 0x31));
}

static void an_interrupted_delivery_is_shown(void **state)
{
    struct hv_exit_context exit;
    uint64_t event;

    (void)state;
    FAKE_GUEST({.reason = EXIT_REASON_EPT_VIOLATION,
                .qualification = QUAL_EPT_WRITE,
                .gpa = UNMAPPED,
                .vectoring_info = INFO(INTR_TYPE_SW_INTR, 0x80),
                .length = 2});
    exit = run();
    assert_reason(&exit, HV_EXIT_MEMORY);
    assert_true(exit.vp.execution_state & HV_EXEC_INTERRUPTION_PENDING);
    event = get(HV_REG_PENDING_INTERRUPTION);
    assert_true(event & HV_PENDING_INT_VALID);
    assert_int_equal(FIELD_GET(HV_PENDING_INT_TYPE, event), HV_INT_TYPE_SOFTWARE);
    assert_int_equal(FIELD_GET(HV_PENDING_INT_VECTOR, event), 0x80);
    assert_int_equal(FIELD_GET(HV_PENDING_INT_LENGTH, event), 2);
    FAKE_GUEST({.run = stop_counting, .reason = EXIT_REASON_HLT, .length = 1});
    run();
    assert_int_equal(injected_then.info, INFO(INTR_TYPE_SW_INTR, 0x80));
    assert_int_equal(injected_then.length, 2);
    assert_int_equal(get(HV_REG_PENDING_INTERRUPTION), 0);
}

/* What is being delivered already goes first; the other waits. */
static void one_event_at_a_time(void **state)
{
    (void)state;
    set(HV_REG_PENDING_INTERRUPTION, HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_VECTOR, 0x41));
    set(HV_REG_PENDING_EVENT, HV_PENDING_EVENT_VALID | FIELD_PUT(HV_PENDING_EVENT_VECTOR, VEC_UD));
    FAKE_GUEST({.run = stop_counting, .reason = EXIT_REASON_EXTERNAL_INTR}, STOP);
    run();
    assert_int_equal(injected_then.info, INFO(INTR_TYPE_EXTERNAL, 0x41));
    assert_int_equal(fake_vmx_injected().info, INFO(INTR_TYPE_HW_EXCEPTION, VEC_UD));
}

/* ---------------------------------------------------------------------------- notifications */

static void expect_window(uint64_t gpr[16])
{
    (void)gpr;
    assert_true(fake_vmcs_get(VMCS_CPU_CONTROLS) & CPU_INTR_WINDOW);
}

static void the_interrupt_window(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT);
    FAKE_GUEST({.run = expect_window, .reason = EXIT_REASON_EXTERNAL_INTR},
               {.run = expect_window, .reason = EXIT_REASON_INTR_WINDOW});
    exit = run();
    assert_reason(&exit, HV_EXIT_WINDOW);
    assert_int_equal(exit.window.type, HV_INT_TYPE_EXTERNAL);
    assert_int_equal(get(HV_REG_DELIVERABILITY_NOTIFICATIONS), 0); /* one shot */
    FAKE_GUEST({.run = expect_closed_window, .reason = EXIT_REASON_HLT, .length = 1});
    run();
}

static void the_nmi_window(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_NMI | HV_NOTIFY_INTERRUPT);
    FAKE_GUEST({.reason = EXIT_REASON_NMI_WINDOW});
    exit = run();
    assert_reason(&exit, HV_EXIT_WINDOW);
    assert_int_equal(exit.window.type, HV_INT_TYPE_NMI);
    assert_int_equal(get(HV_REG_DELIVERABILITY_NOTIFICATIONS), HV_NOTIFY_INTERRUPT);
    FAKE_GUEST({.run = expect_window, .reason = EXIT_REASON_INTR_WINDOW});
    exit = run();
    assert_int_equal(exit.window.type, HV_INT_TYPE_EXTERNAL);
    assert_false(fake_vmcs_get(VMCS_CPU_CONTROLS) & CPU_NMI_WINDOW);
}

static void lower_the_priority(uint64_t gpr[16])
{
    volatile uint32_t *tpr = (uint32_t *)((char *)to_vmx(vp->vcpu)->virtual_apic + APIC_TPR);

    (void)gpr;
    assert_false(fake_vmcs_get(VMCS_CPU_CONTROLS) & CPU_INTR_WINDOW);
    assert_int_equal(fake_vmcs_get(VMCS_TPR_THRESHOLD), 5);
    *tpr = 0x40;
}

static void expect_window_alone(uint64_t gpr[16])
{
    expect_window(gpr);
    assert_int_equal(fake_vmcs_get(VMCS_TPR_THRESHOLD), 0);
}

/* An interrupt of class 5 is deliverable only when CR8 is below 5: the CPU tells when. */
static void a_window_with_a_priority(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    set(HV_REG_CR8, 7);
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT | FIELD_PUT(HV_NOTIFY_PRIORITY, 5));
    FAKE_GUEST({.run = lower_the_priority, .reason = EXIT_REASON_TPR_BELOW},
               {.run = expect_window_alone, .reason = EXIT_REASON_INTR_WINDOW});
    exit = run();
    assert_reason(&exit, HV_EXIT_WINDOW);
    assert_int_equal(exit.vp.cr8, 4);
    assert_int_equal(get(HV_REG_DELIVERABILITY_NOTIFICATIONS), 0);
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT | FIELD_PUT(HV_NOTIFY_PRIORITY, 5));
    FAKE_GUEST({.run = expect_window_alone, .reason = EXIT_REASON_INTR_WINDOW}); /* low enough from the start */
    run();
}

/* -------------------------------------------------------------------- when nothing goes right */

static void a_refused_entry_is_repaired(void **state)
{
    struct hv_audit_finding finding;
    struct hv_exit_context exit;

    (void)state;
    assert_int_equal(hv_vp_audit_finding(vp, &finding), HV_E_STATE);
    fake_vmx_expect_refusal(true);
    set(HV_REG_RFLAGS, RFLAGS_FIXED);
    set(HV_REG_PENDING_INTERRUPTION, HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_VECTOR, 0x41));
    exit = run();
    assert_reason(&exit, HV_EXIT_INVALID_REGISTER_VALUE);
    assert_int_equal(exit.vp.rip, CODE);
    assert_true(exit.vp.execution_state & HV_EXEC_INTERRUPTION_PENDING);
    assert_int_equal(hv_vp_audit_finding(vp, &finding), HV_OK);
    assert_int_equal(finding.field_encoding, VMCS_GUEST_RFLAGS);
    assert_true(fake_log_contains(finding.rule));
    fake_vmx_expect_refusal(false);
    set(HV_REG_RFLAGS, RFLAGS_FIXED | RFLAGS_IF);
    FAKE_GUEST({.run = stop_counting, .reason = EXIT_REASON_HLT, .length = 1});
    exit = run();
    assert_reason(&exit, HV_EXIT_HALT);
    assert_int_equal(injected_then.info, INFO(INTR_TYPE_EXTERNAL, 0x41));
    assert_int_equal(hv_vp_audit_finding(vp, &finding), HV_E_STATE);
}

/* The state of a field that no register has. */
static void a_refused_raw_field(void **state)
{
    struct hv_audit_finding finding;
    struct hv_exit_context exit;

    (void)state;
    fake_vmx_expect_refusal(true);
    assert_int_equal(hv_vp_raw_set(vp, VMCS_GUEST_INTERRUPTIBILITY, INTERRUPTIBILITY_STI | INTERRUPTIBILITY_MOV_SS),
                     HV_OK);
    exit = run();
    assert_reason(&exit, HV_EXIT_INVALID_REGISTER_VALUE);
    assert_int_equal(hv_vp_audit_finding(vp, &finding), HV_OK);
    assert_int_equal(finding.field_encoding, VMCS_GUEST_INTERRUPTIBILITY);
    assert_int_equal(hv_vp_raw_set(vp, VMCS_GUEST_INTERRUPTIBILITY, 0), HV_OK);
    FAKE_GUEST(STOP);
    exit = run();
    assert_reason(&exit, HV_EXIT_HALT);
}

static void expect_all_exceptions(uint64_t gpr[16])
{
    (void)gpr;
    assert_int_equal(fake_vmcs_get(VMCS_EXCEPTION_BITMAP), 0xffffffff);
}

static void expect_first_again(uint64_t gpr[16])
{
    expect_all_exceptions(gpr);
    assert_int_equal(fake_vmx_injected().info, INFO(INTR_TYPE_HW_EXCEPTION, VEC_PF) | WITH_ERROR);
    assert_int_equal(fake_vmx_injected().error_code, 2);
}

static void expect_double_fault(uint64_t gpr[16])
{
    expect_all_exceptions(gpr);
    assert_int_equal(fake_vmx_injected().info, INFO(INTR_TYPE_HW_EXCEPTION, VEC_DF) | WITH_ERROR);
}

/* A page fault; #NP in its delivery; #GP in the delivery of the double fault. */
static void a_triple_fault_is_explained(void **state)
{
    struct hv_triple_fault t;
    struct hv_exit_context exit;

    (void)state;
    assert_int_equal(hv_vp_triple_fault(vp, &t), HV_E_STATE);
    FAKE_GUEST({.reason = EXIT_REASON_TRIPLE_FAULT}, {.reason = EXIT_REASON_EXTERNAL_INTR},
               {.run = expect_all_exceptions,
                .reason = EXIT_REASON_EXCEPTION_NMI,
                .intr_info = INFO(INTR_TYPE_HW_EXCEPTION, VEC_PF) | WITH_ERROR,
                .intr_error = 2},
               {.run = expect_first_again,
                .reason = EXIT_REASON_EXCEPTION_NMI,
                .intr_info = INFO(INTR_TYPE_HW_EXCEPTION, VEC_NP) | WITH_ERROR,
                .intr_error = 0x72,
                .vectoring_info = INFO(INTR_TYPE_HW_EXCEPTION, VEC_PF) | WITH_ERROR,
                .vectoring_error = 2},
               {.run = expect_double_fault,
                .reason = EXIT_REASON_EXCEPTION_NMI,
                .intr_info = INFO(INTR_TYPE_HW_EXCEPTION, VEC_GP) | WITH_ERROR,
                .intr_error = 0x42,
                .vectoring_info = INFO(INTR_TYPE_HW_EXCEPTION, VEC_DF) | WITH_ERROR});
    exit = run();
    assert_reason(&exit, HV_EXIT_UNRECOVERABLE_EXCEPTION);
    assert_int_equal(exit.vp.execution_state & HV_EXEC_INTERRUPTION_PENDING, 0);
    assert_int_equal(hv_vp_triple_fault(vp, &t), HV_OK);
    assert_int_equal(t.rip, CODE);
    assert_int_equal(t.idtr.limit, 0xffff);
    assert_true(t.idt_readable);
    assert_int_equal(t.vector_count, 3);
    assert_memory_equal(t.vectors, ((uint8_t[]){VEC_PF, VEC_NP, VEC_GP}), 3);
    assert_int_equal(t.error_codes[0], 2);
    assert_int_equal(t.error_codes[1], 0x72);
    assert_int_equal(t.error_codes[2], 0x42);
    assert_true(fake_log_contains("triple fault"));
    /* what the search changed is as before */
    start_protected();
    FAKE_GUEST({.run = stop_counting, .reason = EXIT_REASON_HLT, .length = 1});
    run();
    assert_int_equal(injected_then.info, 0);
    assert_int_equal(fake_vmcs_get(VMCS_EXCEPTION_BITMAP), BIT64(VEC_MC));
    assert_int_equal(hv_vp_triple_fault(vp, &t), HV_E_STATE);
}

/* Something else happens instead: no vectors, and the guest ends all the same. */
static void a_triple_fault_that_does_not_repeat(void **state)
{
    struct hv_triple_fault t;
    struct hv_exit_context exit;

    (void)state;
    FAKE_GUEST({.reason = EXIT_REASON_TRIPLE_FAULT}, {.reason = EXIT_REASON_CPUID, .length = 2});
    exit = run();
    assert_reason(&exit, HV_EXIT_UNRECOVERABLE_EXCEPTION);
    assert_int_equal(hv_vp_triple_fault(vp, &t), HV_OK);
    assert_int_equal(t.vector_count, 0);
}

/* The search of a triple fault's vectors is cut short; the request is for the next run. */
static void a_triple_fault_while_being_cancelled(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    fake_set_cpu(1);
    FAKE_GUEST({.run = cancel_from_elsewhere, .reason = EXIT_REASON_TRIPLE_FAULT});
    exit = run();
    assert_reason(&exit, HV_EXIT_UNRECOVERABLE_EXCEPTION);
    exit = run();
    assert_cancelled(&exit, CODE);
}

static void interrupted_in_the_replay(uint64_t gpr[16])
{
    (void)gpr;
    assert_true(fake_timer(fake_cpu()) > hv_host_time_ns());
    fake_set_tsc(cpu_tsc() + 1000000000);
}

#define REPLAYS 20

/* Interrupts do not end the search, be it late, but so many do; without a timer for guests the host's ends each try. */
static void a_triple_fault_without_a_timer(void **state)
{
    struct fake_step steps[1 + REPLAYS] = {{.reason = EXIT_REASON_TRIPLE_FAULT}};
    struct hv_triple_fault t;
    struct hv_exit_context exit;

    (void)state;
    vp->vcpu->has_deadline = false;
    for (unsigned i = 1; i <= REPLAYS; i++)
        steps[i] = (struct fake_step){.run = interrupted_in_the_replay, .reason = EXIT_REASON_EXTERNAL_INTR};
    fake_guest(steps, ARRAY_COUNT(steps));
    exit = run();
    assert_reason(&exit, HV_EXIT_UNRECOVERABLE_EXCEPTION);
    assert_int_equal(hv_vp_triple_fault(vp, &t), HV_OK);
    assert_int_equal(t.vector_count, 0);
    assert_int_equal(fake_timer(fake_cpu()), 0);
    assert_int_equal(fake_guest_left(), 0);
    vp->vcpu->has_deadline = true;
}

/* -------------------------------------------------------------------------------- reset, delete */

static void reset_begins_anew(void **state)
{
    struct hv_exit_context exit;

    (void)state;
    set(HV_REG_PENDING_INTERRUPTION, HV_PENDING_INT_VALID | FIELD_PUT(HV_PENDING_INT_VECTOR, 0x41));
    set(HV_REG_DELIVERABILITY_NOTIFICATIONS, HV_NOTIFY_INTERRUPT);
    FAKE_GUEST({.reason = EXIT_REASON_INTR_WINDOW});
    run();
    hv_vp_cancel(vp);
    assert_int_equal(hv_partition_reset(partition), HV_OK);
    FAKE_GUEST({.run = expect_closed_window, .reason = EXIT_REASON_HLT, .length = 1});
    exit = run();
    assert_reason(&exit, HV_EXIT_HALT);
    assert_int_equal(injected_then.info, 0);
    assert_int_equal(exit.vp.rip, 0xfff1);
    assert_int_equal(exit.vp.cs.selector, 0xf000);
    assert_int_equal(exit.vp.execution_state, 0);
}

/* Who has found the VP without a reference is told, whatever it wants; the next life is another one. */
static void a_deleted_vp_can_not_be_claimed(void **state)
{
    const uint32_t name = HV_REG_RIP;
    union hv_reg_value value = {.u64 = 0x1234};
    struct hv_vp *found = hv_vp_find(partition, 0);
    struct hv_exit_context exit;

    (void)state;
    assert_ptr_equal(found, vp);
    assert_null(hv_vp_find(partition, 1)); /* never was */
    assert_null(hv_vp_find(partition, HV_MAX_VPS));
    hv_vp_unref(vp);
    assert_int_equal(hv_vp_delete(partition, 0), HV_OK);
    assert_int_equal(hv_vp_run(found, &exit), HV_E_VP_NOT_FOUND);
    assert_int_equal(hv_vp_get_registers(found, &name, 1, &value), HV_E_VP_NOT_FOUND);
    assert_int_equal(hv_vp_set_registers(found, &name, 1, &value), HV_E_VP_NOT_FOUND);
    /* all that are there can still be claimed together, and given back: there are none */
    hv_mutex_lock(&partition->mutex);
    assert_true(partition_claim_all(partition));
    partition_release_all(partition);
    hv_mutex_unlock(&partition->mutex);
    assert_int_equal(hv_vp_run(found, &exit), HV_E_VP_NOT_FOUND);
    assert_int_equal(hv_vp_create(partition, 0), HV_OK);
    assert_ptr_equal(hv_vp_find(partition, 0), found);
    assert_int_equal(hv_vp_set_registers(found, &name, 1, &value), HV_OK);
    vp = hv_vp_ref(partition, 0);
    assert_ptr_equal(vp, found);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        RUN_TEST(an_interrupt_costs_one_read),
        RUN_TEST(cpuid_is_answered),
        RUN_TEST(msrs_are_answered),
        RUN_TEST(control_registers_are_answered),
        RUN_TEST(xsetbv_is_answered),
        RUN_TEST(other_instructions_are_answered),
        RUN_TEST(stepping_over),
        RUN_TEST(port_io),
        RUN_TEST(string_io_shows_the_instruction),
        RUN_TEST(unmapped_memory),
        RUN_TEST(forbidden_memory),
        RUN_TEST(a_violation_that_is_none_any_more),
        RUN_TEST(memory_mapped_between_runs),
        RUN_TEST(halt),
        RUN_TEST(exits_that_the_client_asks_for),
        RUN_TEST(an_msr_that_the_client_then_asks_for),
        RUN_TEST(a_hypercall_shows_xmm_registers),
        RUN_TEST(exits_that_cannot_be),
        RUN_TEST(exits_are_counted),
        RUN_TEST(runs_are_timed),
        RUN_TEST(events_are_counted),
        APIC_TEST(x2apic_accesses_are_counted),
        APIC_TEST(apic_memory_accesses_are_counted),
        RUN_TEST(cancelled_before_the_run),
        RUN_TEST(cancelled_in_the_run),
        RUN_TEST(a_running_vp_is_busy),
        RUN_TEST(a_suspended_vp_waits),
        RUN_TEST(the_deadline_ends_the_run),
        RUN_TEST(the_deadline_ends_a_wait),
        RUN_TEST(a_run_moves_between_cpus),
        RUN_TEST(a_run_gives_way_before_it_begins),
        RUN_TEST(a_short_run_gives_way_at_its_end),
        RUN_TEST(a_run_of_short_exits_gives_way),
        RUN_TEST(pending_exceptions),
        RUN_TEST(pending_external_interrupts),
        RUN_TEST(an_interrupted_delivery_is_shown),
        RUN_TEST(one_event_at_a_time),
        RUN_TEST(the_interrupt_window),
        RUN_TEST(the_nmi_window),
        RUN_TEST(a_window_with_a_priority),
        RUN_TEST(a_refused_entry_is_repaired),
        RUN_TEST(a_refused_raw_field),
        RUN_TEST(a_triple_fault_is_explained),
        RUN_TEST(a_triple_fault_that_does_not_repeat),
        RUN_TEST(a_triple_fault_while_being_cancelled),
        RUN_TEST(a_triple_fault_without_a_timer),
        RUN_TEST(reset_begins_anew),
        RUN_TEST(a_deleted_vp_can_not_be_claimed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
