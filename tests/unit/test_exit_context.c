/* SPDX-License-Identifier: MIT */
/* What the client sees of each exit, byte by byte: <WinHvPlatformDefs.h> says where. */
#include "unit.h"
#include "virt/exit.h"
#include <string.h>
#include <whp/WinHvPlatform.h>

static struct hv_exit exit_; /* what the backend has said */
static struct vcpu vcpu;
static struct hv_vp vp = {.vcpu = &vcpu};
static WHV_RUN_VP_EXIT_CONTEXT context; /* the client's */

static const struct hv_segment code = {.base = 0xfffff000, .limit = 0xffff, .selector = 0xf000, .attributes = 0xa09b};
static const struct hv_segment data_segment = {.base = 0x1000, .limit = 0x2000, .selector = 8, .attributes = 0xc093};
static const struct hv_segment extra = {.base = 0x3000, .limit = 0x4000, .selector = 16, .attributes = 0xc091};

/* ------------------------------------------------------------------------------------- the CPU */

static void stub_context(struct vcpu *v, const struct hv_exit *exit, struct hv_exit_context *to)
{
    assert_ptr_equal(v, &vcpu);
    to->vp = (struct hv_exit_vp){.execution_state = 0x1075,
                                 .instruction_length = exit->instruction_length & 0xf,
                                 .cr8 = 9,
                                 .cs = code,
                                 .rip = 0xfff0,
                                 .rflags = 0x10202};
    if (exit->reason == HV_EXIT_IO) {
        to->io.ds = data_segment;
        to->io.es = extra;
    }
}

const struct hv_backend *backend(void)
{
    static const struct hv_backend stub = {.context = stub_context};

    return &stub;
}

void vcpu_read_xmm(const struct vcpu *v, uint64_t xmm[VCPU_XMM_WORDS])
{
    assert_ptr_equal(v, &vcpu);
    for (unsigned i = 0; i < VCPU_XMM_WORDS; i++)
        xmm[i] = 100 + i;
}

/* ----------------------------------------------------------------------------------- the client */

static uint64_t union_word(unsigned byte)
{
    uint64_t word;

    memcpy(&word, (uint8_t *)&context + 48 + byte, sizeof(word));
    return word;
}

static uint32_t union_half(unsigned byte)
{
    return (uint32_t)(union_word(byte - byte % 8) >> byte % 8 * 8);
}

/* The union is 0 from this byte on. */
static void assert_zero_from(unsigned byte)
{
    for (unsigned i = 48 + byte; i < sizeof(context); i++)
        assert_int_equal(((uint8_t *)&context)[i], 0);
}

static void assert_segment(unsigned byte, const struct hv_segment *wanted)
{
    assert_memory_equal((uint8_t *)&context + 48 + byte, wanted, 16);
}

/* An exit of this reason whose every other byte is set: what does not belong to the reason must not show. */
static struct hv_exit *new_exit(enum hv_exit_reason reason)
{
    memset(&exit_, 0xee, sizeof(exit_));
    memset(vcpu.gpr, 0xee, sizeof(vcpu.gpr));
    exit_.reason = reason;
    exit_.instruction_length = 3;
    exit_.instruction.count = 0;
    return &exit_;
}

/* Tells the client, and checks what all exits have in common. */
static void take_exit(enum hv_exit_reason reason)
{
    memset(&context, 0x5a, sizeof(context));
    exit_fill_context(&vp, &exit_, (struct hv_exit_context *)&context);
    assert_int_equal(context.ExitReason, reason);
    assert_int_equal(context.Reserved, 0);
    assert_int_equal(context.VpContext.ExecutionState.AsUINT16, 0x1075);
    assert_int_equal(context.VpContext.ExecutionState.Cpl, 1);
    assert_int_equal(context.VpContext.ExecutionState.InterruptShadow, 1);
    assert_int_equal(context.VpContext.InstructionLength, 3);
    assert_int_equal(context.VpContext.Cr8, 9);
    assert_int_equal(((uint8_t *)&context)[10], 0x93);
    assert_int_equal(context.VpContext.Reserved, 0);
    assert_int_equal(context.VpContext.Reserved2, 0);
    assert_memory_equal(&context.VpContext.Cs, &code, sizeof(code));
    assert_int_equal(context.VpContext.Rip, 0xfff0);
    assert_int_equal(context.VpContext.Rflags, 0x10202);
}

static void give_instruction(struct hv_exit *e, uint8_t count)
{
    e->instruction.count = count;
    for (unsigned i = 0; i < HV_INSTRUCTION_BYTES_MAX; i++)
        e->instruction.bytes[i] = (uint8_t)(0x80 + i);
}

/* count, three zeros, 16 bytes of which those past count are 0 */
static void assert_instruction(unsigned count)
{
    const uint8_t *at = (uint8_t *)&context + 48;

    assert_int_equal(union_half(0), count);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(at[4 + i], i < count ? 0x80 + i : 0);
}

static void exits_without_more(void **state)
{
    static const enum hv_exit_reason plain[] = {HV_EXIT_NONE, HV_EXIT_UNRECOVERABLE_EXCEPTION,
                                                HV_EXIT_INVALID_REGISTER_VALUE, HV_EXIT_HALT, HV_EXIT_CANCELED};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(plain); i++) {
        new_exit(plain[i]);
        take_exit(plain[i]);
        assert_zero_from(0);
    }
}

static void context_memory(void **state)
{
    struct hv_exit *e = new_exit(HV_EXIT_MEMORY);

    (void)state;
    give_instruction(e, 5);
    e->memory.access = HV_ACCESS_EXECUTE;
    e->memory.unmapped = true;
    e->memory.gva_valid = e->memory.page_walk = false;
    e->memory.gpa = 0xfee000b0;
    e->memory.gva = 0xffffffffff5fb0b0;
    take_exit(HV_EXIT_MEMORY);
    assert_instruction(5);
    assert_int_equal(union_half(20), 0x6);
    assert_int_equal(context.MemoryAccess.Gpa, 0xfee000b0);
    assert_int_equal(union_word(24), 0xfee000b0);
    assert_int_equal(union_word(32), 0xffffffffff5fb0b0);
    assert_zero_from(40);

    give_instruction(e, 16);
    e->memory.access = HV_ACCESS_WRITE;
    e->memory.unmapped = false;
    e->memory.gva_valid = e->memory.page_walk = true;
    take_exit(HV_EXIT_MEMORY);
    assert_instruction(16);
    assert_int_equal(union_half(20), 0x9);

    give_instruction(e, 17); /* more than there can be */
    take_exit(HV_EXIT_MEMORY);
    assert_instruction(16);
}

static void context_io(void **state)
{
    struct hv_exit *e = new_exit(HV_EXIT_IO);

    (void)state;
    e->io.access = (struct hv_exit_io_access){.is_write = 1, .size = 4};
    e->io.port = 0xcf8;
    vcpu.gpr[GPR_RAX] = 1;
    vcpu.gpr[GPR_RCX] = 2;
    vcpu.gpr[GPR_RSI] = 3;
    vcpu.gpr[GPR_RDI] = 4;
    take_exit(HV_EXIT_IO);
    assert_instruction(0);
    assert_int_equal(union_half(20), 0x9);
    assert_int_equal(union_word(24), 0xcf8);
    assert_int_equal(union_word(32), 1);
    assert_int_equal(union_word(40), 2);
    assert_int_equal(union_word(48), 3);
    assert_int_equal(union_word(56), 4);
    assert_segment(64, &data_segment);
    assert_segment(80, &extra);
    assert_zero_from(96);

    give_instruction(e, 2);
    e->io.access.is_write = false;
    e->io.access.is_string = true;
    e->io.access.size = 1;
    take_exit(HV_EXIT_IO);
    assert_instruction(2);
    assert_int_equal(union_half(20), 0x12);
    assert_int_equal(union_word(24), 0xcf8);
    assert_int_equal(union_word(56), 4);
    assert_segment(64, &data_segment);
    assert_segment(80, &extra);
    assert_zero_from(96);
    e->io.access.has_rep = true;
    e->io.access.size = 2;
    take_exit(HV_EXIT_IO);
    assert_int_equal(union_half(20), 0x34);
}

static void context_unsupported(void **state)
{
    struct hv_exit *e = new_exit(HV_EXIT_UNSUPPORTED_FEATURE);

    (void)state;
    e->unsupported.code = WHvUnsupportedFeatureTaskSwitchTss;
    e->unsupported.parameter = 0x28;
    take_exit(HV_EXIT_UNSUPPORTED_FEATURE);
    assert_int_equal(union_word(0), 2);
    assert_int_equal(union_word(8), 0x28);
    assert_zero_from(16);
}

static void context_eoi(void **state)
{
    struct hv_exit *e = new_exit(HV_EXIT_APIC_EOI);

    (void)state;
    e->apic.vector = 0xfe;
    e->apic.offset = 0x380; /* not the client's */
    take_exit(HV_EXIT_APIC_EOI);
    assert_int_equal(union_word(0), 0xfe);
    assert_zero_from(4);
}

static void context_window(void **state)
{
    struct hv_exit *e = new_exit(HV_EXIT_WINDOW);

    (void)state;
    e->window.nmi = false;
    take_exit(HV_EXIT_WINDOW);
    assert_zero_from(0);
    e->window.nmi = true;
    take_exit(HV_EXIT_WINDOW);
    assert_int_equal(union_word(0), 2);
    assert_zero_from(4);
}

static void context_msr(void **state)
{
    struct hv_exit *e = new_exit(HV_EXIT_MSR);

    (void)state;
    e->msr.is_write = true;
    e->msr.index = 0xc0000080;
    e->msr.rax = 0xd01;
    e->msr.rdx = 5;
    take_exit(HV_EXIT_MSR);
    assert_int_equal(union_half(0), 1);
    assert_int_equal(union_half(4), 0xc0000080);
    assert_int_equal(union_word(8), 0xd01);
    assert_int_equal(union_word(16), 5);
    assert_zero_from(24);
    e->msr.is_write = false;
    take_exit(HV_EXIT_MSR);
    assert_int_equal(union_half(0), 0);
}

static void context_cpuid(void **state)
{
    struct hv_exit *e = new_exit(HV_EXIT_CPUID);

    (void)state;
    e->cpuid = (struct hv_exit_cpuid){
        .rax = 1, .rcx = 2, .rdx = 3, .rbx = 4, .default_rax = 5, .default_rcx = 6, .default_rdx = 7, .default_rbx = 8};
    take_exit(HV_EXIT_CPUID);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(union_word(i * 8), i + 1);
    assert_zero_from(64);
}

static void context_exception(void **state)
{
    struct hv_exit *e = new_exit(HV_EXIT_EXCEPTION);

    (void)state;
    give_instruction(e, 15);
    e->exception.vector = 14;
    e->exception.has_error_code = true;
    e->exception.is_software = false;
    e->exception.error_code = 0x12;
    e->exception.parameter = 0xdeadb000;
    take_exit(HV_EXIT_EXCEPTION);
    assert_instruction(15);
    assert_int_equal(union_half(20), 1);
    assert_int_equal(union_half(24), 14);
    assert_int_equal(union_half(28), 0x12);
    assert_int_equal(union_word(32), 0xdeadb000);
    assert_zero_from(40);
    e->exception.has_error_code = false;
    e->exception.is_software = true;
    take_exit(HV_EXIT_EXCEPTION);
    assert_int_equal(union_half(20), 2);
}

static void context_rdtsc(void **state)
{
    struct hv_exit *e = new_exit(HV_EXIT_RDTSC);

    (void)state;
    e->rdtsc.is_rdtscp = true;
    e->rdtsc.tsc_aux = 1;
    e->rdtsc.virtual_offset = 2;
    e->rdtsc.tsc = 3;
    e->rdtsc.reference_time = 4;
    take_exit(HV_EXIT_RDTSC);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(union_word(i * 8), i + 1);
    assert_int_equal(union_word(32), 1);
    assert_zero_from(40);
    e->rdtsc.is_rdtscp = false;
    take_exit(HV_EXIT_RDTSC);
    assert_int_equal(union_word(32), 0);
}

static void context_hypercall(void **state)
{
    (void)state;
    new_exit(HV_EXIT_HYPERCALL);
    vcpu.gpr[GPR_RAX] = 1;
    vcpu.gpr[GPR_RBX] = 2;
    vcpu.gpr[GPR_RCX] = 3;
    vcpu.gpr[GPR_RDX] = 4;
    vcpu.gpr[GPR_R8] = 5;
    vcpu.gpr[GPR_RSI] = 6;
    vcpu.gpr[GPR_RDI] = 7;
    take_exit(HV_EXIT_HYPERCALL);
    for (unsigned i = 0; i < 7; i++)
        assert_int_equal(union_word(i * 8), i + 1);
    assert_int_equal(union_word(56), 0);
    for (unsigned i = 0; i < 12; i++)
        assert_int_equal(union_word(64 + i * 8), 100 + i);
    assert_zero_from(160);
}

static void exits_by_the_apic(void **state)
{
    struct hv_exit *e = new_exit(HV_EXIT_APIC_WRITE_TRAP);

    (void)state;
    e->apic_write.offset = 0xd0;
    e->apic_write.value = 0x123456789;
    take_exit(HV_EXIT_APIC_WRITE_TRAP);
    assert_int_equal(union_word(0), 0xd0);
    assert_int_equal(union_word(8), 0x123456789);
    assert_zero_from(16);
    e = new_exit(HV_EXIT_APIC_SMI_TRAP);
    e->icr = 0x1000c0200;
    take_exit(HV_EXIT_APIC_SMI_TRAP);
    assert_int_equal(union_word(0), 0x1000c0200);
    assert_zero_from(8);
    e->reason = HV_EXIT_APIC_INIT_SIPI_TRAP;
    take_exit(HV_EXIT_APIC_INIT_SIPI_TRAP);
    assert_int_equal(union_word(0), 0x1000c0200);
    assert_zero_from(8);
}

static void context_sints(void **state)
{
    struct hv_exit *e = new_exit(HV_EXIT_SINT_DELIVERABLE);

    (void)state;
    e->sints = 0x8001;
    take_exit(HV_EXIT_SINT_DELIVERABLE);
    assert_int_equal(union_word(0), 0x8001);
    assert_zero_from(8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        UNIT_TEST(exits_without_more),  UNIT_TEST(context_memory),    UNIT_TEST(context_io),
        UNIT_TEST(context_unsupported), UNIT_TEST(context_window),    UNIT_TEST(context_eoi),
        UNIT_TEST(context_msr),         UNIT_TEST(context_cpuid),     UNIT_TEST(context_exception),
        UNIT_TEST(context_rdtsc),       UNIT_TEST(context_hypercall), UNIT_TEST(exits_by_the_apic),
        UNIT_TEST(context_sints),
    };

    return cmocka_run_group_tests_name("exit_context", tests, NULL, NULL);
}
