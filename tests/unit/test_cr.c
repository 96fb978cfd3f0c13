/* SPDX-License-Identifier: MIT */
/* MOV to CR and XSETBV by the guest (virt/exit_cr.c). */
#include "stub_vp.h"
#include "virt/exit.h"
#include "virt/exit_cr.h"

#define PDPT 0x7fe0ull /* in guest memory */

static enum { DONE, FAULT } last;

static void move_to(unsigned number, uint64_t value)
{
    struct hv_exit exit = {.reason = HV_EXIT_CR,
                           .instruction_length = 3,
                           .cr = {.number = (uint8_t)number, .is_known = true, .value = value}};

    stub_exit.skips = 0;
    stub_exit.vector = -1;
    stub_vcpu.flush_guest = false;
    stub_vcpu.dirty = 0;
    hv_host_preempt_disable();
    assert_int_equal(exit_cr(&stub_vp, &exit), EXIT_HANDLED);
    hv_host_preempt_enable();
    last = stub_exit.skips ? DONE : FAULT;
}

/* #GP(0), and nothing has changed. */
static void assert_fault(unsigned number, uint64_t value)
{
    struct vcpu before = stub_vcpu;

    move_to(number, value);
    assert_int_equal(stub_exit.skips, 0);
    assert_int_equal(stub_exit.vector, VEC_GP);
    assert_int_equal(stub_exit.error_code, 0);
    assert_int_equal(stub_vcpu.dirty, 0);
    assert_false(stub_vcpu.flush_guest);
    before.dirty = 0;
    before.flush_guest = false;
    assert_memory_equal(&before, &stub_vcpu, sizeof(before));
}

static void assert_done(unsigned number, uint64_t value)
{
    move_to(number, value);
    assert_int_equal(stub_exit.skips, 1);
    assert_int_equal(stub_exit.vector, -1);
}

/* A read whose register is known; memory for the rest. */
static void known_reads(void **state)
{
    struct hv_exit exit = {.reason = HV_EXIT_CR, .instruction_length = 3, .cr = {.is_read = true, .is_known = true}};

    (void)state;
    for (unsigned wide = 0; wide < 2; wide++) {
        stub_vcpu.efer = wide ? EFER_LME | EFER_LMA : 0;
        stub_vcpu.seg[SEG_CS].attributes = wide ? SEG_ATTR_CODE64 : SEG_ATTR_CODE32;
        stub_vcpu.cr0 = CR0_PE | CR0_CD | BIT64(40); /* no such bit, to tell the widths apart */
        stub_vcpu.cr4 = CR4_PAE;
        stub_vcpu.dirty = 0;
        stub_exit.skips = 0;
        exit.cr.number = 0;
        exit.cr.gpr = GPR_RSP;
        hv_host_preempt_disable();
        assert_int_equal(exit_cr(&stub_vp, &exit), EXIT_HANDLED);
        assert_int_equal(stub_vcpu.gpr[GPR_RSP], CR0_PE | CR0_CD | (wide ? BIT64(40) : 0));
        assert_true(stub_vcpu.dirty & VCPU_RSP);
        exit.cr.number = 4;
        exit.cr.gpr = GPR_R15;
        assert_int_equal(exit_cr(&stub_vp, &exit), EXIT_HANDLED);
        hv_host_preempt_enable();
        assert_int_equal(stub_vcpu.gpr[GPR_R15], CR4_PAE);
        assert_int_equal(stub_exit.skips, 2);
    }
}

static void put_pdpte(unsigned i, uint64_t value)
{
    memcpy(stub_ram + PDPT + 8 * i, &value, sizeof(value));
}

static void protected_mode(void)
{
    stub_vcpu.cr0 = CR0_PE | CR0_ET;
    stub_vcpu.seg[SEG_CS].attributes = SEG_ATTR_CODE32;
    stub_vcpu.seg[SEG_TR].attributes = SEG_ATTR_TSS_BUSY;
}

static void long_mode(uint16_t cs)
{
    protected_mode();
    stub_vcpu.cr0 |= CR0_PG;
    stub_vcpu.cr4 = CR4_PAE;
    stub_vcpu.efer = EFER_LME | EFER_LMA;
    stub_vcpu.seg[SEG_CS].attributes = cs;
}

static void pae_paging(void)
{
    protected_mode();
    stub_vcpu.cr0 |= CR0_PG;
    stub_vcpu.cr3 = PDPT;
    stub_vcpu.cr4 = CR4_PAE;
    for (unsigned i = 0; i < 4; i++)
        put_pdpte(i, 0x1000 * i | PTE_P);
}

/* ---------------------------------------------------------------------------------- CR0 */

static void test_cr0_values(void **state)
{
    (void)state;
    assert_fault(0, CR0_PE | 1ull << 32);
    assert_fault(0, CR0_PG);
    assert_fault(0, CR0_PE | CR0_NW);
    assert_done(0, CR0_PE | CR0_NW | CR0_CD);
    assert_done(0, 0xffffffff); /* undefined bits are ignored */
    assert_int_equal(stub_vcpu.cr0, 0xe005003f);
    assert_done(0, CR0_PE);
    assert_int_equal(stub_vcpu.cr0, CR0_PE | CR0_ET);
    assert_int_equal(stub_vcpu.dirty, VCPU_CR0);
}

static void test_cr0_flush(void **state)
{
    (void)state;
    protected_mode();
    assert_done(0, CR0_PE | CR0_TS);
    assert_false(stub_vcpu.flush_guest);
    assert_done(0, CR0_PE | CR0_PG);
    assert_true(stub_vcpu.flush_guest);
    assert_done(0, CR0_PE | CR0_PG | CR0_WP);
    assert_true(stub_vcpu.flush_guest);
    assert_done(0, CR0_PE);
    assert_true(stub_vcpu.flush_guest);
}

static void test_entering_long_mode(void **state)
{
    (void)state;
    protected_mode();
    stub_vcpu.efer = EFER_LME;
    assert_fault(0, CR0_PE | CR0_PG); /* without PAE */
    stub_vcpu.cr4 = CR4_PAE;
    stub_vcpu.seg[SEG_CS].attributes = SEG_ATTR_CODE64;
    assert_fault(0, CR0_PE | CR0_PG);
    stub_vcpu.seg[SEG_CS].attributes = SEG_ATTR_CODE32;
    stub_vcpu.seg[SEG_TR].attributes = SEG_P | SEG_TYPE_TSS16_BUSY;
    assert_fault(0, CR0_PE | CR0_PG);
    stub_vcpu.seg[SEG_TR].attributes = SEG_ATTR_TSS_BUSY;
    stub_vcpu.cr3 = STUB_RAM_SIZE; /* no PDPTEs in long mode: nothing is read there */
    assert_done(0, CR0_PE | CR0_PG);
    assert_int_equal(stub_vcpu.efer, EFER_LME | EFER_LMA);
    assert_int_equal(stub_vcpu.dirty, VCPU_CR0 | VCPU_EFER);
    assert_done(0, CR0_PE | CR0_PG | CR0_TS); /* CS.L does not matter any more */
    assert_int_equal(stub_vcpu.dirty, VCPU_CR0);
}

static void test_leaving_long_mode(void **state)
{
    (void)state;
    long_mode(SEG_ATTR_CODE64);
    assert_fault(0, CR0_PE);
    stub_vcpu.seg[SEG_CS].attributes = SEG_ATTR_CODE32;
    stub_vcpu.cr4 |= CR4_PCIDE;
    assert_fault(0, CR0_PE);
    stub_vcpu.cr4 &= ~CR4_PCIDE;
    assert_done(0, CR0_PE);
    assert_int_equal(stub_vcpu.efer, EFER_LME);
    assert_true(stub_vcpu.flush_guest);
}

static void test_cr0_loads_pdptes(void **state)
{
    (void)state;
    pae_paging();
    stub_vcpu.cr0 &= ~CR0_PG;
    put_pdpte(2, 0x2000 | PTE_P | PTE_RW); /* reserved */
    assert_fault(0, CR0_PE | CR0_PG);
    put_pdpte(2, PTE_RW); /* not present */
    assert_done(0, CR0_PE | CR0_PG);
    assert_int_equal(stub_vcpu.dirty, VCPU_CR0 | VCPU_PDPTE);
    assert_int_equal(stub_vcpu.pdpte[2], PTE_RW);
    assert_int_equal(stub_vcpu.pdpte[3], 0x3000 | PTE_P);
    put_pdpte(2, 0x2000 | PTE_P | PTE_RW);
    assert_done(0, CR0_PE | CR0_PG | CR0_TS | CR0_WP); /* these load nothing */
    assert_fault(0, CR0_PE | CR0_PG | CR0_CD);
}

/* ---------------------------------------------------------------------------------- CR3 */

static void test_cr3(void **state)
{
    (void)state;
    long_mode(SEG_ATTR_CODE64);
    assert_done(3, 0x12345018);
    assert_int_equal(stub_vcpu.cr3, 0x12345018);
    assert_int_equal(stub_vcpu.dirty, VCPU_CR3);
    assert_true(stub_vcpu.flush_guest);
    assert_fault(3, 1ull << 46);
    assert_fault(3, 1ull << 62);
    assert_fault(3, 1ull << 63);
    stub_vcpu.cr4 |= CR4_PCIDE;
    assert_done(3, 1ull << 63 | 0x2003);
    assert_int_equal(stub_vcpu.cr3, 0x2003);
    assert_false(stub_vcpu.flush_guest);
    assert_done(3, 0x3003);
    assert_true(stub_vcpu.flush_guest);
    assert_fault(3, 1ull << 63 | 1ull << 46);
}

static void test_cr3_loads_pdptes(void **state)
{
    (void)state;
    pae_paging();
    stub_vcpu.cr3 = 0;
    stub_vp.pdptes_stale = true;
    assert_done(3, PDPT | CR3_PWT);
    assert_int_equal(stub_vcpu.dirty, VCPU_CR3 | VCPU_PDPTE);
    assert_int_equal(stub_vcpu.pdpte[1], 0x1000 | PTE_P);
    assert_false(stub_vp.pdptes_stale);
    put_pdpte(0, PTE_P | 1ull << 46);
    assert_fault(3, PDPT);
    put_pdpte(0, PTE_P | PTE_XD);
    assert_fault(3, PDPT);
    assert_fault(3, STUB_RAM_SIZE); /* nothing there */
}

/* ---------------------------------------------------------------------------------- CR4 */

static void test_cr4_values(void **state)
{
    (void)state;
    assert_done(4, CR4_PSE | CR4_OSFXSR);
    assert_int_equal(stub_vcpu.cr4, CR4_PSE | CR4_OSFXSR);
    assert_int_equal(stub_vcpu.dirty, VCPU_CR4);
    assert_true(stub_vcpu.flush_guest);
    assert_done(4, CR4_PSE | CR4_TSD);
    assert_false(stub_vcpu.flush_guest);
    assert_fault(4, CR4_VMXE);
    assert_fault(4, CR4_PKE);
    assert_fault(4, 1ull << 15);
    assert_fault(4, 1ull << 32);
    assert_false(cr4_is_valid(CR4_VMXE));
    assert_true(cr4_is_valid(CR4_PAE));
}

static void test_cr4_in_long_mode(void **state)
{
    (void)state;
    long_mode(SEG_ATTR_CODE64);
    assert_fault(4, 0);
    assert_fault(4, CR4_PAE | CR4_LA57);
    assert_done(4, CR4_PAE | CR4_PGE);
    stub_vcpu.cr4 = CR4_PAE | CR4_LA57;
    assert_fault(4, CR4_PAE);
    stub_vcpu.efer = 0;
    stub_vcpu.cr0 = CR0_PE | CR0_ET;
    assert_done(4, CR4_PAE);
    assert_done(4, CR4_PAE | CR4_LA57);
}

static void test_cr4_pcide(void **state)
{
    (void)state;
    protected_mode();
    assert_fault(4, CR4_PAE | CR4_PCIDE);
    long_mode(SEG_ATTR_CODE64);
    stub_vcpu.cr3 = 0x1008;
    assert_fault(4, CR4_PAE | CR4_PCIDE);
    stub_vcpu.cr3 = 0x1000;
    assert_done(4, CR4_PAE | CR4_PCIDE);
    assert_true(stub_vcpu.flush_guest);
    stub_vcpu.cr3 = 0x1008;
    assert_done(4, CR4_PAE | CR4_PCIDE | CR4_PGE); /* it is set already */
    assert_done(4, CR4_PAE);
}

static void test_cr4_loads_pdptes(void **state)
{
    (void)state;
    pae_paging();
    stub_vcpu.cr4 = 0;
    assert_done(4, CR4_PAE);
    assert_int_equal(stub_vcpu.dirty, VCPU_CR4 | VCPU_PDPTE);
    put_pdpte(1, PTE_P | PTE_US);
    assert_done(4, CR4_PAE | CR4_TSD);
    assert_fault(4, CR4_PAE | CR4_PGE);
    assert_fault(4, CR4_PAE | CR4_SMEP);
    assert_done(4, 0); /* 32-bit paging from now on */
}

/* ---------------------------------------------------------------------- CR8, and others */

static void test_cr8(void **state)
{
    (void)state;
    assert_done(8, 15);
    assert_int_equal(stub_vcpu.cr8, 15);
    assert_int_equal(stub_vcpu.dirty, VCPU_CR8);
    assert_fault(8, 16);
    assert_fault(8, 1ull << 63);
}

/* The local APIC chooses by its own register, at once. */
static void test_cr8_is_the_task_priority(void **state)
{
    static uint32_t regs[HV_PAGE_SIZE / sizeof(uint32_t)];

    (void)state;
    stub_vp.has_apic = true;
    stub_vp.lapic.regs = regs;
    regs[APIC_TPR / sizeof(uint32_t)] = 0x4f;
    assert_done(8, 3);
    assert_int_equal(regs[APIC_TPR / sizeof(uint32_t)], 0x30);
}

static void test_no_such_register(void **state)
{
    static const unsigned numbers[] = {1, 2, 5, 7, 9, 15, 255};

    (void)state;
    for (size_t i = 0; i < ARRAY_COUNT(numbers); i++) {
        move_to(numbers[i], 0);
        assert_int_equal(last, FAULT);
        assert_int_equal(stub_exit.vector, VEC_UD);
    }
}

/* Nothing is in the cache when an exit comes. */
static void test_registers_are_fetched(void **state)
{
    (void)state;
    long_mode(SEG_ATTR_CODE64);
    stub_hw = stub_vcpu;
    stub_vcpu.valid = 0;
    stub_vcpu.cr0 = stub_vcpu.cr4 = stub_vcpu.efer = 0;
    move_to(0, CR0_PE);
    assert_int_equal(last, FAULT);
    move_to(0, CR0_PE | CR0_PG | CR0_TS);
    assert_int_equal(last, DONE);
    assert_int_equal(stub_vcpu.efer, EFER_LME | EFER_LMA);
}

/* ------------------------------------------------------------------------------- XSETBV */

static bool xsetbv(uint64_t rcx, uint64_t value)
{
    struct hv_exit exit = {.reason = HV_EXIT_XSETBV, .instruction_length = 3};

    stub_exit.skips = 0;
    stub_exit.vector = -1;
    stub_vcpu.gpr[GPR_RCX] = rcx;
    stub_vcpu.gpr[GPR_RAX] = 0xaaaaaaaa00000000 | (uint32_t)value;
    stub_vcpu.gpr[GPR_RDX] = 0xbbbbbbbb00000000 | value >> 32;
    assert_int_equal(exit_xsetbv(&stub_vp, &exit), EXIT_HANDLED);
    if (!stub_exit.skips)
        assert_true(stub_exit.vector == VEC_GP && stub_exit.error_code == 0);
    return stub_exit.skips == 1 && stub_exit.vector == -1;
}

static void test_xsetbv(void **state)
{
    (void)state;
    stub_vcpu.xcr0 = 1;
    assert_true(xsetbv(0, 7));
    assert_int_equal(stub_vcpu.xcr0, 7);
    assert_false(xsetbv(1, 7));
    assert_false(xsetbv(0, 0));
    assert_false(xsetbv(0, 6));
    assert_false(xsetbv(0, 5));
    assert_false(xsetbv(0, 7 | 1ull << 32));
    assert_false(xsetbv(0, 3 | XCR0_AVX512));
    assert_int_equal(stub_vcpu.xcr0, 7);
    assert_true(xsetbv(0xffffffff00000000, 7 | XCR0_AVX512)); /* ECX only */
    assert_true(xsetbv(0, 1));
}

static void test_xcr0_sets(void **state)
{
    (void)state;
    stub_facts.xcr0_allowed = ~0ull;
    assert_true(xcr0_is_valid(3));
    assert_false(xcr0_is_valid(7 | XCR0_OPMASK | XCR0_ZMM_HI256));
    assert_false(xcr0_is_valid(7 | XCR0_BNDREGS));
    assert_true(xcr0_is_valid(1 | XCR0_MPX));
    assert_false(xcr0_is_valid(7 | XCR0_TILEDATA));
    assert_true(xcr0_is_valid(7 | XCR0_AMX));
    stub_facts.xcr0_allowed = 0;
    assert_false(xcr0_is_valid(1));
}

/* ------------------------------------------------------------------------ decoded accesses */

#define CODE    0x9000ull
#define OPERAND 0xa000ull

/* As exit_length_find leaves it. */
static enum exit_outcome decoded(unsigned number, bool is_read, const char *code, size_t size, struct hv_exit *exit)
{
    enum exit_outcome outcome;

    *exit = (struct hv_exit){.reason = HV_EXIT_CR, .instruction_length = (uint8_t)size};
    exit->cr.number = (uint8_t)number;
    exit->cr.is_read = is_read;
    exit->instruction.count = (uint8_t)size;
    memcpy(exit->instruction.bytes, code, size);
    stub_exit.skips = stub_exit.tprs = 0;
    stub_exit.vector = -1;
    stub_vcpu.rip = CODE;
    hv_host_preempt_disable();
    outcome = exit_cr(&stub_vp, exit);
    hv_host_preempt_enable();
    return outcome;
}

static enum exit_outcome decoded_here(unsigned number, bool is_read, const char *code, size_t size)
{
    struct hv_exit exit;

    return decoded(number, is_read, code, size, &exit);
}

#define WRITE(number, code) assert_int_equal(decoded_here(number, false, code, sizeof(code) - 1), EXIT_HANDLED)
#define READ(number, code)  assert_int_equal(decoded_here(number, true, code, sizeof(code) - 1), EXIT_HANDLED)

static void flat_segments(void)
{
    for (unsigned s = SEG_ES; s <= SEG_GS; s++) {
        stub_vcpu.seg[s].limit = UINT32_MAX;
        if (s != SEG_CS)
            stub_vcpu.seg[s].attributes = SEG_ATTR_DATA32;
    }
}

static void put_word(hv_gpa_t gpa, uint16_t word)
{
    memcpy(stub_ram + gpa, &word, sizeof(word));
}

static uint64_t word_at(hv_gpa_t gpa)
{
    uint64_t word;

    memcpy(&word, stub_ram + gpa, sizeof(word));
    return word;
}

static void test_decoded_writes(void **state)
{
    (void)state;
    protected_mode();
    flat_segments();
    stub_vcpu.gpr[GPR_RBX] = 0xffffffff00000000 | CR0_PE | CR0_NE | CR0_TS; /* 32 bits of it count */
    WRITE(0, "\x0f\x22\xc3");                                               /* mov cr0, ebx */
    assert_int_equal(stub_exit.skips, 1);
    assert_int_equal(stub_vcpu.cr0, CR0_PE | CR0_ET | CR0_NE | CR0_TS);
    WRITE(0, "\x0f\x06"); /* clts */
    assert_int_equal(stub_vcpu.cr0, CR0_PE | CR0_ET | CR0_NE);
    stub_vcpu.gpr[GPR_RCX] = CR0_MP;
    WRITE(0, "\x0f\x01\xf1"); /* lmsw cx */
    assert_int_equal(stub_vcpu.cr0, CR0_PE | CR0_ET | CR0_NE | CR0_MP);
    put_word(OPERAND, CR0_TS);
    stub_vcpu.gpr[GPR_RDI] = OPERAND;
    WRITE(0, "\x0f\x01\x37"); /* lmsw [edi] */
    assert_int_equal(stub_vcpu.cr0, CR0_PE | CR0_ET | CR0_NE | CR0_TS);
    assert_int_equal(stub_exit.skips, 1);
    assert_int_equal(stub_vcpu.rip, CODE); /* is left to exit_skip_instruction */
    long_mode(SEG_ATTR_CODE64);
    stub_vcpu.gpr[GPR_R15] = 1ull << 32;
    WRITE(4, "\x41\x0f\x22\xe7"); /* mov cr4, r15: 64 bits */
    assert_int_equal(stub_exit.vector, VEC_GP);
    assert_int_equal(stub_exit.error_code, 0);
    assert_int_equal(stub_exit.skips, 0);
}

static void test_decoded_writes_of_cr8(void **state)
{
    (void)state;
    long_mode(SEG_ATTR_CODE64);
    stub_vcpu.controls.tpr_threshold = 5;
    stub_vcpu.gpr[GPR_RBX] = 5;
    WRITE(8, "\x44\x0f\x22\xc3"); /* mov cr8, rbx */
    assert_int_equal(stub_vcpu.cr8, 5);
    assert_int_equal(stub_exit.tprs, 0);
    stub_vcpu.gpr[GPR_RBX] = 4;
    WRITE(8, "\xf0\x0f\x22\xc3"); /* lock mov cr0, rbx */
    assert_int_equal(stub_vcpu.cr8, 4);
    assert_int_equal(stub_exit.tprs, 1);
    stub_vcpu.gpr[GPR_RBX] = 16;
    WRITE(8, "\x44\x0f\x22\xc3");
    assert_int_equal(stub_exit.vector, VEC_GP);
    assert_int_equal(stub_exit.tprs, 0);
}

static void test_decoded_reads(void **state)
{
    (void)state;
    protected_mode();
    flat_segments();
    stub_vcpu.cr0 |= CR0_CD | CR0_NW | CR0_NE;
    stub_vcpu.cr4 = CR4_OSFXSR;
    stub_vcpu.dirty = 0;
    stub_vcpu.gpr[GPR_RDX] = ~0ull;
    READ(0, "\x0f\x20\xc2"); /* mov edx, cr0 */
    assert_int_equal(stub_vcpu.gpr[GPR_RDX], CR0_PE | CR0_ET | CR0_CD | CR0_NW | CR0_NE);
    assert_int_equal(stub_vcpu.rip, CODE + 3);
    assert_int_equal(stub_exit.skips, 1); /* retired */
    assert_false(stub_vcpu.dirty & VCPU_CR0);
    READ(4, "\x0f\x20\xe4"); /* mov esp, cr4 */
    assert_int_equal(stub_vcpu.gpr[GPR_RSP], CR4_OSFXSR);
    assert_true(stub_vcpu.dirty & VCPU_RSP);
    stub_vcpu.gpr[GPR_RDX] = ~0ull;
    READ(0, "\x66\x0f\x01\xe2"); /* smsw dx */
    assert_int_equal(stub_vcpu.gpr[GPR_RDX], 0xffffffffffff0000 | CR0_PE | CR0_ET | CR0_NE);
    memset(stub_ram + OPERAND, 0xff, 8);
    stub_vcpu.gpr[GPR_RDI] = OPERAND;
    READ(0, "\x0f\x01\x27"); /* smsw [edi]: a word */
    assert_int_equal(word_at(OPERAND), 0xffffffffffff0000 | CR0_PE | CR0_ET | CR0_NE);
    stub_vcpu.cr4 |= CR4_UMIP;
    stub_vcpu.seg[SEG_SS].attributes |= SEG_DPL;
    READ(0, "\x0f\x01\xe2");
    assert_int_equal(stub_exit.vector, VEC_GP);
}

/* The operand's page is missing, beyond the segment, or no RAM. */
static void test_decoded_operands_that_fail(void **state)
{
    struct hv_exit exit;

    (void)state;
    protected_mode();
    flat_segments();
    stub_vcpu.gpr[GPR_RDI] = STUB_RAM_SIZE;
    assert_int_equal(decoded(0, false, "\x0f\x01\x37", 3, &exit), EXIT_TO_CLIENT);
    assert_int_equal(exit.reason, HV_EXIT_UNSUPPORTED_FEATURE);
    assert_int_equal(exit.unsupported.code, 1);
    assert_int_equal(exit.instruction_length, 0);
    stub_vcpu.seg[SEG_DS].limit = 0xfff;
    WRITE(0, "\x0f\x01\x37");
    assert_int_equal(stub_exit.vector, VEC_GP);
    stub_vcpu.seg[SEG_DS].limit = UINT32_MAX;
    stub_vcpu.cr0 |= CR0_PG;
    stub_vcpu.cr3 = OPERAND; /* empty tables */
    READ(0, "\x0f\x01\x27");
    assert_int_equal(stub_exit.vector, VEC_PF);
    assert_int_equal(stub_exit.error_code, PFEC_WRITE);
    assert_int_equal(stub_vcpu.cr2, STUB_RAM_SIZE);
    assert_int_equal(stub_vcpu.rip, CODE);
    assert_int_equal(stub_exit.skips, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        STUB_TEST(known_reads),
        STUB_TEST(test_cr0_values),
        STUB_TEST(test_cr0_flush),
        STUB_TEST(test_entering_long_mode),
        STUB_TEST(test_leaving_long_mode),
        STUB_TEST(test_cr0_loads_pdptes),
        STUB_TEST(test_cr3),
        STUB_TEST(test_cr3_loads_pdptes),
        STUB_TEST(test_cr4_values),
        STUB_TEST(test_cr4_in_long_mode),
        STUB_TEST(test_cr4_pcide),
        STUB_TEST(test_cr4_loads_pdptes),
        STUB_TEST(test_cr8),
        STUB_TEST(test_cr8_is_the_task_priority),
        STUB_TEST(test_no_such_register),
        STUB_TEST(test_registers_are_fetched),
        STUB_TEST(test_xsetbv),
        STUB_TEST(test_xcr0_sets),
        STUB_TEST(test_decoded_writes),
        STUB_TEST(test_decoded_writes_of_cr8),
        STUB_TEST(test_decoded_reads),
        STUB_TEST(test_decoded_operands_that_fail),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
