/* SPDX-License-Identifier: MIT */
/* The instruction emulator (virt/emulate*.c) on a small machine: 64 KiB of RAM, one device page, 16 XMM registers. */
#include "unit.h"
#include <arch/bits/cr.h>
#include <arch/bits/msr.h>
#include <arch/bits/seg.h>
#include <hv/emulate.h>
#include <stdlib.h>
#include <string.h>

#define RAM_SIZE 0x10000
#define DEVICE   0xFEE00000ull
#define CODE_AT  0x1000ull
#define DATA     0x4000ull /* and the pages up to 0x8000 */
#define STACK    0x9000ull

enum { RAX, RCX, RDX, RBX, RSP, RBP, RSI, RDI, R8, R9 };

struct access {
    hv_gpa_t gpa;
    bool is_write;
    uint32_t size;
    uint64_t value;
};

static struct {
    struct hv_emulate_state s;
    struct hv_emulate_fault fault;
    struct hv_emulate_hint hint;
    uint8_t ram[RAM_SIZE];
    enum hv_translate_result pages[RAM_SIZE / 4096]; /* of RAM, for accesses in want */
    uint32_t want;
    enum hv_translate_result device; /* when asked with rights */
    hv_gpa_t skew;                   /* added to each translation */
    struct access log[64];           /* of the device, and ports with gpa 0 */
    unsigned accesses, translations;
    uint64_t device_value;
    uint32_t port_value;
    uint64_t xmm[16][2];
    bool memory_fails, translate_fails, io_fails, xmm_fails;
} m;

/* -------------------------------------------------------------------------------- callbacks */

static void note(hv_gpa_t gpa, bool is_write, uint32_t size, const void *data)
{
    struct access *a = &m.log[m.accesses++ % 64];

    *a = (struct access){.gpa = gpa, .is_write = is_write, .size = size};
    memcpy(&a->value, data, size);
}

static bool memory(void *context, hv_gpa_t gpa, bool is_write, uint32_t size, void *data)
{
    assert_ptr_equal(context, &m);
    assert_in_range(size, 1, 8);
    assert_true((gpa & 0xFFF) + size <= 0x1000);
    if (m.memory_fails)
        return false;
    if (gpa >= DEVICE) {
        if (!is_write)
            memcpy(data, &m.device_value, size);
        note(gpa, is_write, size, data);
        return true;
    }
    assert_true(gpa + size <= RAM_SIZE);
    if (is_write)
        memcpy(m.ram + gpa, data, size);
    else
        memcpy(data, m.ram + gpa, size);
    return true;
}

static bool translate(void *context, hv_gva_t page, uint32_t flags, enum hv_translate_result *result, hv_gpa_t *gpa)
{
    uint32_t rights = flags & (HV_TRANSLATE_READ | HV_TRANSLATE_WRITE | HV_TRANSLATE_EXECUTE);

    (void)context;
    m.translations++;
    assert_int_equal(page & 0xFFF, 0);
    if (m.translate_fails)
        return false;
    *result = HV_TRANSLATE_NOT_PRESENT;
    if (page < RAM_SIZE)
        *result = rights & m.want ? m.pages[page / 4096] : HV_TRANSLATE_SUCCESS;
    else if (page == DEVICE)
        *result = rights ? m.device : HV_TRANSLATE_SUCCESS;
    *gpa = *result == HV_TRANSLATE_SUCCESS ? page + m.skew : 0xDEAD;
    return true;
}

static bool io(void *context, uint16_t port, bool is_write, uint32_t size, uint32_t *data)
{
    (void)context;
    assert_true(size == 1 || size == 2 || size == 4);
    if (m.io_fails)
        return false;
    if (!is_write)
        *data = m.port_value;
    note(port, is_write, size, data);
    return true;
}

static bool xmm(void *context, unsigned n, bool is_write, uint64_t value[2])
{
    (void)context;
    assert_in_range(n, 0, 15);
    if (m.xmm_fails)
        return false;
    memcpy(is_write ? m.xmm[n] : value, is_write ? value : m.xmm[n], 16);
    return true;
}

static const struct hv_emulate_ops all_ops = {memory, translate, io, xmm, NULL};
static const struct hv_emulate_ops plain_ops = {memory, translate, NULL, NULL, NULL};

/* ------------------------------------------------------------------------------------ modes */

static int start(void **state)
{
    unit_setup(state);
    memset(&m, 0, sizeof(m));
    m.want = HV_TRANSLATE_READ | HV_TRANSLATE_WRITE | HV_TRANSLATE_EXECUTE;
    m.s.rip = CODE_AT;
    m.s.rflags = RFLAGS_FIXED | RFLAGS_RF;
    m.s.cr0 = CR0_PE | CR0_PG | CR0_ET;
    m.s.cr4 = CR4_PAE | CR4_OSFXSR;
    m.s.efer = EFER_LME | EFER_LMA | EFER_NXE;
    m.s.gpr[RSP] = STACK;
    m.s.gpr[RDI] = DEVICE;
    for (unsigned i = 0; i < HV_EMULATE_SEGS; i++)
        m.s.seg[i] = (struct hv_segment){.limit = 0xFFFFFFFF, .attributes = SEG_ATTR_DATA32};
    m.s.seg[HV_EMULATE_CS].attributes = SEG_ATTR_CODE64;
    return 0;
}

static void in_protected_mode(void)
{
    m.s.efer = 0;
    m.s.seg[HV_EMULATE_CS].attributes = SEG_ATTR_CODE32;
}

static void in_real_mode(void)
{
    m.s.efer = 0;
    m.s.cr0 = CR0_ET;
    for (unsigned i = 0; i < HV_EMULATE_SEGS; i++)
        m.s.seg[i] = (struct hv_segment){.limit = 0xFFFF, .attributes = SEG_ATTR_REAL_DATA};
}

static enum hv_emulate_result run_with(const struct hv_emulate_ops *ops, const char *code, size_t size)
{
    struct hv_instruction in = {.count = (uint8_t)size};

    memcpy(in.bytes, code, size);
    m.accesses = m.translations = 0;
    return hv_emulate(&m.s, &in, &m.hint, ops, &m, &m.fault);
}

#define RUN(code) run_with(&all_ops, code, sizeof(code) - 1)
#define OK(code)  assert_int_equal(RUN(code), HV_EMULATE_OK)

static void assert_moved(size_t length)
{
    assert_int_equal(m.s.rip, CODE_AT + length);
    assert_false(m.s.rflags & RFLAGS_RF);
}

static void assert_fault(enum hv_emulate_result result, unsigned vector, bool has_code, uint32_t code, uint64_t address)
{
    assert_int_equal(result, HV_EMULATE_FAULT);
    assert_int_equal(m.fault.vector, vector);
    assert_int_equal(m.fault.has_error_code, has_code);
    assert_int_equal(m.fault.error_code, code);
    assert_int_equal(m.fault.address, address);
    assert_int_equal(m.s.rip, CODE_AT);
}

static void assert_access(unsigned n, hv_gpa_t gpa, bool is_write, uint32_t size, uint64_t value)
{
    assert_true(n < m.accesses);
    assert_int_equal(m.log[n].gpa, gpa);
    assert_int_equal(m.log[n].is_write, is_write);
    assert_int_equal(m.log[n].size, size);
    assert_int_equal(m.log[n].value, value);
}

static uint64_t word(uint64_t at)
{
    uint64_t value;

    memcpy(&value, m.ram + at, 8);
    return value;
}

static void put(uint64_t at, uint64_t value)
{
    memcpy(m.ram + at, &value, 8);
}

/* ------------------------------------------------------------------------------------ moves */

static void a_register_is_written_to_a_device(void **state)
{
    (void)state;
    m.s.gpr[RAX] = 0x1122334455667788;
    OK("\x89\x47\x20"); /* mov [rdi+0x20], eax */
    assert_moved(3);
    assert_false(m.s.gpr_changed);
    assert_int_equal(m.accesses, 1);
    assert_access(0, DEVICE + 0x20, true, 4, 0x55667788);
}

static void reads_fill_registers_by_size(void **state)
{
    static const struct {
        const char *code;
        size_t size;
        uint64_t rax, r8;
    } rows[] = {
        {"\x8b\x07", 2, 0x89abcdef, ~0ull},                         /* mov eax, [rdi] */
        {"\x66\x8b\x07", 3, 0xffffffffffffcdef, ~0ull},             /* mov ax */
        {"\x8a\x07", 2, 0xffffffffffffffef, ~0ull},                 /* mov al */
        {"\x8a\x27", 2, 0xffffffffffffefff, ~0ull},                 /* mov ah */
        {"\x48\x8b\x07", 3, 0x0123456789abcdef, ~0ull},             /* mov rax */
        {"\x44\x8a\x07", 3, ~0ull, 0xffffffffffffffef},             /* mov r8b */
        {"\x0f\xb6\x07", 3, 0xef, ~0ull},                           /* movzx eax, byte */
        {"\x0f\xbf\x07", 3, 0xffffcdef, ~0ull},                     /* movsx eax, word */
        {"\x4c\x0f\xbe\x07", 4, ~0ull, 0xffffffffffffffef},         /* movsx r8, byte */
        {"\x48\x63\x07", 3, 0xffffffff89abcdef, ~0ull},             /* movsxd rax */
        {"\x0f\x38\xf0\x07", 4, 0xefcdab89, ~0ull},                 /* movbe eax */
        {"\x66\x0f\x38\xf0\x07", 5, 0xffffffffffffefcd, ~0ull},     /* movbe ax */
        {"\xa1\x00\x00\xe0\xfe\0\0\0\0", 9, 0x89abcdef, ~0ull},     /* mov eax, moffs */
        {"\x67\xa0\x00\x00\xe0\xfe", 6, 0xffffffffffffffef, ~0ull}, /* mov al, moffs32 */
        {"\x0f\x44\x07", 3, 0xffffffff, ~0ull},                     /* cmovz eax: not taken, but written */
        {"\x0f\x45\x07", 3, 0x89abcdef, ~0ull},                     /* cmovnz eax */
    };

    (void)state;
    m.device_value = 0x0123456789abcdef;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        m.s.rip = CODE_AT;
        m.s.gpr[RAX] = m.s.gpr[R8] = ~0ull;
        assert_int_equal(run_with(&all_ops, rows[i].code, rows[i].size), HV_EMULATE_OK);
        assert_moved(rows[i].size);
        assert_int_equal(m.s.gpr[RAX], rows[i].rax);
        assert_int_equal(m.s.gpr[R8], rows[i].r8);
        assert_int_equal(m.accesses, 1);
    }
}

static void bits_are_searched(void **state)
{
    static const struct {
        const char *code;
        size_t size;
        uint64_t memory, rcx;
        bool zero;
    } rows[] = {
        {"\x66\x0f\xbc\x0f", 4, 0xffc000, 0xffffffffffff000e, false}, /* bsf cx, [rdi] */
        {"\x0f\xbc\x0f", 3, 0x1c0000000, 30, false},                  /* ecx */
        {"\x48\x0f\xbc\x0f", 4, 0xc00000000000, 46, false},           /* rcx */
        {"\x48\x0f\xbc\x0f", 4, 0, ~0ull, true},
        {"\x66\x0f\xbd\x0f", 4, 0xff4000, 0xffffffffffff000e, false}, /* bsr cx, [rdi] */
        {"\x0f\xbd\x0f", 3, 0x140000000, 30, false},                  /* ecx */
        {"\x48\x0f\xbd\x0f", 4, 0xc00000000000, 47, false},           /* rcx */
        {"\x48\x0f\xbd\x0f", 4, 0, ~0ull, true},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        m.device_value = rows[i].memory;
        m.s.rip = CODE_AT;
        m.s.gpr[RCX] = ~0ull;
        m.s.rflags = RFLAGS_FIXED | (rows[i].zero ? 0 : RFLAGS_ZF) | RFLAGS_CF | RFLAGS_OF;
        assert_int_equal(run_with(&all_ops, rows[i].code, rows[i].size), HV_EMULATE_OK);
        assert_moved(rows[i].size);
        assert_int_equal(m.s.gpr[RCX], rows[i].rcx);
        assert_int_equal(m.s.rflags, RFLAGS_FIXED | (rows[i].zero ? RFLAGS_ZF : 0) | RFLAGS_CF | RFLAGS_OF);
        assert_int_equal(m.accesses, 1);
    }
    m.s.rip = CODE_AT;
    assert_int_equal(RUN("\xf3\x0f\xbc\x0f"), HV_EMULATE_UNSUPPORTED); /* tzcnt, or bsf on older CPUs */
    assert_int_equal(RUN("\xf3\x0f\xbd\x0f"), HV_EMULATE_UNSUPPORTED);
}

static void the_machine_status_word(void **state)
{
    (void)state;
    OK("\x0f\x01\x27"); /* smsw [rdi] */
    assert_moved(3);
    assert_int_equal(m.accesses, 1);
    assert_access(0, DEVICE, true, 2, CR0_PE | CR0_ET);
    m.s.rip = CODE_AT;
    OK("\x48\x0f\x01\x27"); /* a word in any case */
    assert_access(0, DEVICE, true, 2, CR0_PE | CR0_ET);
    m.s.rip = CODE_AT;
    m.s.cr4 |= CR4_UMIP;
    OK("\x0f\x01\x27");
    m.s.rip = CODE_AT;
    m.s.cpl = 3;
    assert_fault(RUN("\x0f\x01\x27"), VEC_GP, true, 0, 0);
    assert_int_equal(m.accesses, 0);
    m.s.cpl = 0;
    m.s.cr0 = 0x8005003b;
    m.s.gpr[RAX] = 0xfedcba9876543210;
    OK("\x66\x0f\x01\xe0"); /* smsw ax: as much as the register takes */
    assert_int_equal(m.s.gpr[RAX], 0xfedcba987654003b);
    OK("\x0f\x01\xe0");
    assert_int_equal(m.s.gpr[RAX], 0x8005003b);
    m.s.gpr[R9] = ~0ull;
    OK("\x49\x0f\x01\xe1"); /* smsw r9 */
    assert_int_equal(m.s.gpr[R9], 0x8005003b);
}

/* ------------------------------------------------------------------------ control registers */

static struct {
    unsigned number, reads, writes;
    uint64_t value;
    bool refuse;
} cr;

static bool control(void *context, unsigned n, bool is_write, uint64_t *value)
{
    (void)context;
    cr.number = n;
    cr.reads += !is_write;
    cr.writes += is_write;
    if (is_write)
        cr.value = *value;
    else
        *value = cr.value;
    return !cr.refuse;
}

static const struct hv_emulate_ops control_ops = {.memory = memory, .translate = translate, .cr = control};

#define CONTROL(bytes) run_with(&control_ops, bytes, sizeof(bytes) - 1)

static void control_registers_are_the_callers(void **state)
{
    (void)state;
    memset(&cr, 0, sizeof(cr));
    m.s.gpr[RBX] = 0x1234567800000011;
    assert_int_equal(CONTROL("\x0f\x22\xdb"), HV_EMULATE_OK); /* mov cr3, rbx */
    assert_moved(3);
    assert_int_equal(cr.number, 3);
    assert_int_equal(cr.value, 0x1234567800000011);
    m.s.gpr[R9] = 5;
    assert_int_equal(CONTROL("\x45\x0f\x22\x01"), HV_EMULATE_OK); /* mov cr8, r9, with a ModRM.mod that is ignored */
    assert_int_equal(cr.number, 8);
    assert_int_equal(cr.value, 5);
    assert_int_equal(cr.writes, 2);
    cr.value = 0x80050033;
    assert_int_equal(CONTROL("\x66\x0f\x20\xc3"), HV_EMULATE_OK); /* mov rbx, cr0: no prefix makes it narrower */
    assert_int_equal(m.s.gpr[RBX], 0x80050033);
    assert_int_equal(cr.number, 0);
    assert_int_equal(CONTROL("\xf0\x0f\x20\xc3"), HV_EMULATE_OK); /* lock mov rbx, cr0 */
    assert_int_equal(cr.number, 8);
    m.s.rip = CODE_AT;
    assert_fault(CONTROL("\xf0\x0f\x20\xdb"), VEC_UD, false, 0, 0);
    assert_fault(CONTROL("\x0f\x20\xeb"), VEC_UD, false, 0, 0); /* there is no CR5 */
    assert_int_equal(cr.reads, 2);
    cr.refuse = true;
    assert_int_equal(CONTROL("\x0f\x20\xc3"), HV_EMULATE_UNSUPPORTED);
    assert_int_equal(RUN("\x0f\x20\xc3"), HV_EMULATE_UNSUPPORTED); /* who has none */
}

static void the_machine_status_word_is_loaded(void **state)
{
    (void)state;
    memset(&cr, 0, sizeof(cr));
    m.s.cr0 = CR0_PE | CR0_ET | CR0_WP | CR0_TS;
    m.s.gpr[RCX] = 0xfff6;                                        /* all but PE and TS of the four */
    assert_int_equal(CONTROL("\x48\x0f\x01\xf1"), HV_EMULATE_OK); /* lmsw cx */
    assert_int_equal(cr.value, CR0_PE | CR0_ET | CR0_WP | CR0_MP | CR0_EM);
    assert_int_equal(CONTROL("\x0f\x01\x37"), HV_EMULATE_OK); /* lmsw [rdi] */
    assert_int_equal(m.accesses, 1);
    assert_access(0, DEVICE, false, 2, 0);
    assert_int_equal(CONTROL("\x0f\x06"), HV_EMULATE_OK); /* clts */
    assert_int_equal(cr.value, CR0_PE | CR0_ET | CR0_WP);
    assert_int_equal(cr.number, 0);
    assert_int_equal(cr.writes, 3);
    m.s.rip = CODE_AT;
    m.s.cpl = 1;
    assert_fault(CONTROL("\x0f\x06"), VEC_GP, true, 0, 0);
    assert_fault(CONTROL("\x0f\x01\xf1"), VEC_GP, true, 0, 0);
    assert_int_equal(cr.writes, 3);
}

static void high_bytes_are_registers_without_rex(void **state)
{
    (void)state;
    m.s.gpr[RAX] = 0x1122;
    m.s.gpr[RSP] = 0x3344;
    OK("\x88\x27"); /* mov [rdi], ah */
    assert_access(0, DEVICE, true, 1, 0x11);
    OK("\x40\x88\x27"); /* mov [rdi], spl */
    assert_access(0, DEVICE, true, 1, 0x44);
}

static void addresses_have_base_index_and_displacement(void **state)
{
    (void)state;
    m.s.gpr[RBX] = DEVICE + 0x100;
    m.s.gpr[RCX] = -8ull;
    OK("\x83\x4c\x8b\xf0\x01"); /* or dword [rbx+rcx*4-0x10], 1 */
    assert_access(0, DEVICE + 0x100 - 0x30, false, 4, 0);
    m.s.gpr[R8 + 5] = DEVICE;
    OK("\x41\xc6\x45\x08\x77"); /* mov byte [r13+8], 0x77 */
    assert_access(0, DEVICE + 8, true, 1, 0x77);
    m.s.rip = DEVICE - 0x1000;
    OK("\xc6\x05\xf9\x0f\0\0\x66"); /* mov byte [rip+0xff9], 0x66: after 7 bytes */
    assert_access(0, DEVICE, true, 1, 0x66);
    m.s.gpr[RBX] = 0xffffffff00000000 + DEVICE;
    OK("\x67\xc6\x03\x55"); /* mov byte [ebx], 0x55 */
    assert_access(0, DEVICE, true, 1, 0x55);
}

static void read_modify_write_reads_once_and_writes_once(void **state)
{
    (void)state;
    m.device_value = 0xf0;
    m.s.gpr[RAX] = 0x0f;
    OK("\xf0\x09\x07"); /* lock or [rdi], eax */
    assert_int_equal(m.accesses, 2);
    assert_access(0, DEVICE, false, 4, 0xf0);
    assert_access(1, DEVICE, true, 4, 0xff);
    OK("\x87\x07"); /* xchg [rdi], eax */
    assert_int_equal(m.accesses, 2);
    assert_access(1, DEVICE, true, 4, 0x0f);
    assert_int_equal(m.s.gpr[RAX], 0xf0);
    OK("\x39\x07"); /* cmp */
    assert_int_equal(m.accesses, 1);
}

static void registers_stay_when_a_write_fails(void **state)
{
    struct hv_emulate_state before = m.s;

    (void)state;
    m.pages[DATA / 4096] = HV_TRANSLATE_PRIVILEGE_VIOLATION;
    m.want = HV_TRANSLATE_WRITE;
    before.gpr[RDI] = m.s.gpr[RDI] = DATA;
    before.gpr[RAX] = m.s.gpr[RAX] = 5;
    assert_fault(RUN("\x0f\xc1\x07"), VEC_PF, true, 3, DATA); /* xadd [rdi], eax */
    assert_memory_equal(&m.s, &before, sizeof(before));
    m.memory_fails = true;
    m.pages[DATA / 4096] = HV_TRANSLATE_SUCCESS;
    assert_int_equal(RUN("\x0f\xc1\x07"), HV_EMULATE_MEMORY_FAILED);
    assert_memory_equal(&m.s, &before, sizeof(before));
}

/* ----------------------------------------------------------------------- arithmetic and flags */

#define C RFLAGS_CF
#define P RFLAGS_PF
#define A RFLAGS_AF
#define Z RFLAGS_ZF
#define S RFLAGS_SF
#define O RFLAGS_OF

static const struct arithmetic {
    const char *name, *code;
    size_t size;
    uint64_t memory, rax, rcx, flags; /* before */
    uint64_t result, after;           /* 4 bytes of memory, flags */
} arithmetic[] = {
    {"add", "\x01\x07", 2, 0x7fffffff, 1, 0, 0, 0x80000000, O | S | A | P},
    {"add to zero", "\x01\x07", 2, 0xffffffff, 1, 0, 0, 0, C | Z | A | P},
    {"adc", "\x10\x07", 2, 0xff, 0xff, 0, C, 0xff, C | S | A | P},
    {"sub", "\x29\x07", 2, 0, 1, 0, 0, 0xffffffff, C | S | A | P},
    {"sbb", "\x18\x07", 2, 0x80, 0x7f, 0, C, 0, O | Z | A | P},
    {"sbb of all", "\x18\x07", 2, 0x12, 0xff, 0, C, 0x12, C | A | P},
    {"cmp", "\x3a\x07", 2, 0x80, 0x7f, 0, 0, 0x80, C | O | S | P},
    {"and", "\x21\x07", 2, 0xf0f0, 0x0f0f, 0, C | O | A, 0, Z | P},
    {"or imm8", "\x83\x0f\xff", 3, 1, 0, 0, C, 0xffffffff, S | P},
    {"test imm", "\xf7\x07\0\0\0\x80", 6, 0x80000000, 0, 0, C, 0x80000000, S | P},
    {"not", "\xf7\x17", 2, 0, 0, 0, C | Z, 0xffffffff, C | Z},
    {"neg", "\xf7\x1f", 2, 0x80000000, 0, 0, 0, 0x80000000, C | O | S | P},
    {"neg 0", "\xf7\x1f", 2, 0, 0, 0, C, 0, Z | P},
    {"inc keeps CF", "\xff\x07", 2, 0xffffffff, 0, 0, C, 0, C | Z | A | P},
    {"dec keeps CF", "\xff\x0f", 2, 0x80000000, 0, 0, 0, 0x7fffffff, O | A | P},
    {"shl 1", "\xd1\x27", 2, 0xc0000000, 0, 0, 0, 0x80000000, C | S | P},
    {"shl by 32 is nothing", "\xd3\x27", 2, 0xc0000000, 0, 32, C | Z | A, 0xc0000000, C | Z | A},
    {"shl byte by 8", "\xd2\x27", 2, 0x01, 0, 8, 0, 0, C | O | Z | P},
    {"shl byte by 9", "\xd2\x27", 2, 0x01, 0, 9, C, 0, Z | P},
    {"sal is shl", "\xd1\x37", 2, 1, 0, 0, 0, 2, 0},
    {"shr 1", "\xd1\x2f", 2, 0x80000001, 0, 0, 0, 0x40000000, C | O | P},
    {"sar byte", "\xc0\x3f\x1f", 3, 0x80, 0, 0, 0, 0xff, C | S | P},
    {"rol", "\xc1\x07\x04", 3, 0x10000000, 0, 0, Z, 1, C | O | Z},
    {"rol byte by 8", "\xc0\x07\x08", 3, 0x81, 0, 0, 0, 0x81, C},
    {"ror", "\xd1\x0f", 2, 1, 0, 0, S, 0x80000000, C | O | S},
    {"rcl byte by 9 is nothing", "\xc0\x17\x09", 3, 0x81, 0, 0, C | O, 0x81, C | O},
    {"rcl", "\xd1\x17", 2, 0x80000000, 0, 0, 0, 0, C | O},
    {"rcr", "\xd1\x1f", 2, 0, 0, 0, C, 0x80000000, O},
    {"rcr by 2", "\xc1\x1f\x02", 3, 2, 0, 0, C, 0x40000000, C},
    {"shld", "\x0f\xa4\x07\x08", 4, 0x12345678, 0xab000000, 0, 0, 0x345678ab, 0},
    {"shrd cl", "\x0f\xad\x07", 3, 0x12345678, 0xab, 8, 0, 0xab123456, O | S | P},
    {"bt", "\x0f\xba\x27\x21", 4, 2, 0, 0, Z, 2, C | Z},
    {"btc", "\x0f\xba\x3f\x00", 4, 2, 0, 0, C, 3, 0},
    {"setz", "\x0f\x94\x07", 3, 0x77, 0, 0, Z, 1, Z},
    {"setle", "\x0f\x9e\x07", 3, 0x77, 0, 0, S | O, 0, S | O},
    {"setl", "\x0f\x9c\x07", 3, 0x77, 0, 0, O, 1, O},
    {"setbe", "\x0f\x96\x07", 3, 0x77, 0, 0, C, 1, C},
    {"cmpxchg equal", "\x0f\xb1\x0f", 3, 7, 7, 9, 0, 9, Z | P},
    {"cmpxchg not equal", "\x0f\xb1\x0f", 3, 7, 6, 9, 0, 7, C | S | A | P},
    {"xadd", "\xf0\x0f\xc1\x07", 4, 1, 0xffffffff, 0, 0, 0, C | Z | A | P},
};

static void arithmetic_has_the_flags_of_the_manual(void **state)
{
    (void)state;
    m.s.gpr[RDI] = DATA;
    for (size_t i = 0; i < sizeof(arithmetic) / sizeof(arithmetic[0]); i++) {
        const struct arithmetic *row = &arithmetic[i];

        put(DATA, row->memory);
        m.s.rip = CODE_AT;
        m.s.gpr[RAX] = row->rax;
        m.s.gpr[RCX] = row->rcx;
        m.s.rflags = RFLAGS_FIXED | RFLAGS_IF | row->flags;
        assert_int_equal(run_with(&all_ops, row->code, row->size), HV_EMULATE_OK);
        if (word(DATA) != row->result || m.s.rflags != (RFLAGS_FIXED | RFLAGS_IF | row->after))
            fail_msg("%s: 0x%lx, flags 0x%lx, not 0x%lx", row->name, (unsigned long)word(DATA),
                     (unsigned long)m.s.rflags, (unsigned long)(row->after | RFLAGS_FIXED | RFLAGS_IF));
    }
}

static void exchanges_change_their_registers(void **state)
{
    (void)state;
    m.s.gpr[RDI] = DATA;
    put(DATA, 7);
    m.s.gpr[RAX] = 0xffffffff00000006;
    OK("\x0f\xb1\x0f"); /* cmpxchg [rdi], ecx */
    assert_int_equal(m.s.gpr[RAX], 7);
    m.s.gpr[RAX] = 0xffffffff00000007;
    OK("\x0f\xb1\x0f");
    assert_int_equal(m.s.gpr[RAX], 0xffffffff00000007); /* equal: not written */
    put(DATA, 0x80);
    m.s.gpr[RAX] = 0x1234;
    OK("\x0f\xc0\x27"); /* xadd [rdi], ah */
    assert_int_equal(m.s.gpr[RAX], 0x8034);
    assert_int_equal(word(DATA), 0x92);
}

static void cmpxchg8b_and_16b(void **state)
{
    (void)state;
    m.s.gpr[RDI] = DATA;
    m.s.gpr[RBX] = 0x11;
    m.s.gpr[RCX] = 0x22;
    put(DATA, 0x300000002);
    OK("\xf0\x0f\xc7\x0f"); /* not equal */
    assert_int_equal(m.s.gpr[RAX], 2);
    assert_int_equal(m.s.gpr[RDX], 3);
    assert_false(m.s.rflags & Z);
    OK("\xf0\x0f\xc7\x0f"); /* equal now */
    assert_true(m.s.rflags & Z);
    assert_int_equal(word(DATA), 0x2200000011);
    m.s.gpr[RAX] = 0x2200000011;
    m.s.gpr[RDX] = 5;
    put(DATA + 8, 5);
    OK("\x48\x0f\xc7\x0f");
    assert_true(m.s.rflags & Z);
    assert_int_equal(word(DATA), 0x11);
    assert_int_equal(word(DATA + 8), 0x22);
    m.s.gpr[RDI] = DATA + 8;
    m.s.rip = CODE_AT;
    assert_fault(RUN("\x48\x0f\xc7\x0f"), VEC_GP, true, 0, 0);
    OK("\x0f\xc7\x0f"); /* 8 bytes need no alignment */
}

static void bit_numbers_reach_beyond_the_operand(void **state)
{
    (void)state;
    m.s.gpr[RDI] = DATA;
    m.s.gpr[RAX] = 0xffffffff; /* -1 */
    OK("\x0f\xab\x07");        /* bts [rdi], eax */
    assert_int_equal(m.ram[DATA - 1], 0x80);
    m.s.gpr[RAX] = 64 + 5;
    OK("\x48\x0f\xab\x07");
    assert_int_equal(m.ram[DATA + 8], 0x20);
    OK("\x48\x0f\xbb\x07"); /* btc */
    assert_true(m.s.rflags & C);
    assert_int_equal(m.ram[DATA + 8], 0);
    m.s.gpr[RAX] = 0x8000; /* 16 bits: -32768 */
    m.s.gpr[RDI] = DATA + 4096;
    OK("\x66\x0f\xab\x07");
    assert_int_equal(m.ram[DATA], 1);
}

static void products_and_quotients(void **state)
{
    (void)state;
    m.s.gpr[RDI] = DATA;
    put(DATA, ~0ull);
    m.s.gpr[RAX] = ~0ull;
    OK("\x48\xf7\x27"); /* mul qword */
    assert_int_equal(m.s.gpr[RAX], 1);
    assert_int_equal(m.s.gpr[RDX], ~0ull - 1);
    assert_int_equal(m.s.rflags & (C | O), C | O);
    OK("\x48\xf7\x37"); /* div qword: 128 by 64 bits */
    assert_int_equal(m.s.gpr[RAX], ~0ull);
    assert_int_equal(m.s.gpr[RDX], 0);
    m.s.gpr[RAX] = 0x8000000000000000;
    m.s.gpr[RDX] = ~0ull;
    m.s.rip = CODE_AT;
    assert_fault(RUN("\x48\xf7\x3f"), VEC_DE, false, 0, 0); /* idiv: the most negative by -1 */
    m.s.gpr[RAX] = -7ull;
    put(DATA, 2);
    OK("\x48\xf7\x3f");
    assert_int_equal(m.s.gpr[RAX], -3ull);
    assert_int_equal(m.s.gpr[RDX], -1ull);
    m.s.gpr[RAX] = 0x1180; /* AX */
    put(DATA, 0x80);
    OK("\xf6\x37"); /* div byte */
    assert_int_equal(m.s.gpr[RAX], 0x0023);
    OK("\x6b\x07\x80"); /* imul eax, [rdi], -128: as dword 0x80 */
    assert_int_equal(m.s.gpr[RAX], 0xffffc000);
    assert_int_equal(m.s.rflags & (C | O), 0);
    m.s.gpr[RAX] = 2;
    OK("\xf6\x2f"); /* imul byte: 2 * -128 */
    assert_int_equal(m.s.gpr[RAX], 0xff00);
    assert_int_equal(m.s.rflags & (C | O), C | O);
}

static void quotients_that_do_not_fit_are_faults(void **state)
{
    (void)state;
    m.s.gpr[RDI] = DATA;
    assert_fault(RUN("\xf7\x37"), VEC_DE, false, 0, 0); /* by 0 */
    assert_fault(RUN("\x48\xf7\x3f"), VEC_DE, false, 0, 0);
    put(DATA, 1);
    m.s.gpr[RAX] = 0x100;
    assert_fault(RUN("\xf6\x37"), VEC_DE, false, 0, 0);
    m.s.gpr[RAX] = 0x80;
    assert_fault(RUN("\xf6\x3f"), VEC_DE, false, 0, 0); /* idiv: 128 is no signed byte */
    assert_int_equal(m.s.gpr[RAX], 0x80);
    m.s.gpr[RAX] = 0xff80;
    OK("\xf6\x3f"); /* -128 is */
    assert_int_equal(m.s.gpr[RAX], 0x80);
}

/* ------------------------------------------------------------------------- paging and segments */

static void a_missing_second_page_leaves_nothing_written(void **state)
{
    (void)state;
    m.s.gpr[RDI] = DATA + 0xffe;
    m.s.gpr[RAX] = ~0ull;
    m.pages[DATA / 4096 + 1] = HV_TRANSLATE_NOT_PRESENT;
    assert_fault(RUN("\x89\x07"), VEC_PF, true, PFEC_WRITE, DATA + 0x1000);
    assert_int_equal(word(DATA + 0xff8), 0);
    m.pages[DATA / 4096 + 1] = HV_TRANSLATE_SUCCESS;
    OK("\x89\x07");
    assert_int_equal(word(DATA + 0xffc), 0xffffffff0000);
    OK("\x48\x8b\x17"); /* mov rdx, [rdi] */
    assert_int_equal(m.s.gpr[RDX], 0xffffffff);
}

static void page_faults_tell_what_happened(void **state)
{
    static const struct {
        enum hv_translate_result result;
        bool write, user;
        uint32_t code;
    } rows[] = {
        {HV_TRANSLATE_NOT_PRESENT, false, false, 0},
        {HV_TRANSLATE_NOT_PRESENT, true, true, PFEC_WRITE | PFEC_USER},
        {HV_TRANSLATE_PRIVILEGE_VIOLATION, false, true, PFEC_PRESENT | PFEC_USER},
        {HV_TRANSLATE_PRIVILEGE_VIOLATION, true, false, PFEC_PRESENT | PFEC_WRITE},
        {HV_TRANSLATE_INVALID_FLAGS, false, false, PFEC_PRESENT | PFEC_RSVD},
    };

    (void)state;
    m.s.gpr[RDI] = DATA + 0x123;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        m.pages[DATA / 4096] = rows[i].result;
        m.s.cpl = rows[i].user ? 3 : 0;
        assert_fault(rows[i].write ? RUN("\x88\x07") : RUN("\x8a\x07"), VEC_PF, true, rows[i].code, DATA + 0x123);
    }
    m.pages[DATA / 4096] = HV_TRANSLATE_INTERCEPT;
    assert_int_equal(RUN("\x8a\x07"), HV_EMULATE_TRANSLATE_FAILED);
}

static void the_hint_saves_the_translation(void **state)
{
    (void)state;
    m.hint = (struct hv_emulate_hint){.valid = true, .gva = 0x7f0000123, .gpa = DEVICE + 0x123};
    m.s.gpr[RDI] = 0x7f0000800;
    OK("\x8b\x07");
    assert_int_equal(m.translations, 0);
    assert_access(0, DEVICE + 0x800, false, 4, 0);
    m.s.rip = CODE_AT;
    assert_fault(RUN("\x89\x07"), VEC_PF, true, PFEC_WRITE, 0x7f0000800); /* a read says nothing of writes */
    m.hint.is_write = true;
    OK("\x09\x07");
    assert_int_equal(m.translations, 0);
    assert_int_equal(m.accesses, 2);
}

/* Page walks of the core end with "unmapped" for a device: its address is had by another question. */
static void devices_may_have_no_memory_behind_them(void **state)
{
    (void)state;
    m.device = HV_TRANSLATE_GPA_UNMAPPED;
    OK("\x89\x07");
    assert_int_equal(m.translations, 2);
    assert_int_equal(m.accesses, 1);
    m.pages[DATA / 4096] = HV_TRANSLATE_GPA_UNMAPPED;
    m.skew = 8;
    assert_int_equal(RUN("\x89\x07"), HV_EMULATE_UNALIGNED_GPA);
}

static void addresses_have_to_be_canonical(void **state)
{
    (void)state;
    m.s.gpr[RDI] = 0x800000000000;
    assert_fault(RUN("\x8b\x07"), VEC_GP, true, 0, 0);
    m.s.gpr[RDI] = 0x7ffffffffffd;
    assert_fault(RUN("\x8b\x07"), VEC_GP, true, 0, 0); /* its last byte */
    m.s.gpr[RBP] = 0x800000000000;
    assert_fault(RUN("\x8b\x45\x00"), VEC_SS, true, 0, 0);
    assert_fault(RUN("\x64\x8b\x45\x00"), VEC_GP, true, 0, 0);
    m.s.seg[HV_EMULATE_FS].base = 0xffff800000000000 + DATA - 0x800000000000;
    put(DATA, 0x77);
    m.s.seg[HV_EMULATE_FS].base = DATA - 0x800000000000;
    OK("\x64\x8b\x45\x00"); /* base and offset together are */
    assert_int_equal(m.s.gpr[RAX], 0x77);
    m.s.seg[HV_EMULATE_DS].base = 0x1000; /* no base, no limit in 64-bit code */
    m.s.seg[HV_EMULATE_DS].limit = 0;
    m.s.gpr[RDI] = DATA;
    OK("\x3e\x8b\x07");
    assert_int_equal(m.s.gpr[RAX], 0x77);
    m.s.rip = CODE_AT;
    m.s.cr4 |= CR4_LA57;
    m.s.gpr[RDI] = 0x800000000000;
    assert_fault(RUN("\x8b\x07"), VEC_PF, true, 0, 0x800000000000);
}

static void segments_have_limits_and_types(void **state)
{
    struct hv_segment *ds = &m.s.seg[HV_EMULATE_DS];

    (void)state;
    in_protected_mode();
    ds->base = 0x1000;
    ds->limit = DATA + 3 - 0x1000;
    m.s.gpr[RDI] = DATA - 0x1000;
    put(DATA, 0x1234567890);
    OK("\x8b\x07");
    assert_int_equal(m.s.gpr[RAX], 0x34567890);
    m.s.rip = CODE_AT;
    ds->limit--;
    assert_fault(RUN("\x8b\x07"), VEC_GP, true, 0, 0);
    ds->limit = 0xffffffff;
    ds->attributes &= (uint16_t)~SEG_TYPE_WRITE;
    assert_fault(RUN("\x89\x07"), VEC_GP, true, 0, 0);
    OK("\x8b\x07");
    m.s.rip = CODE_AT;
    ds->attributes = SEG_P | SEG_S | SEG_TYPE_CODE; /* execute only */
    assert_fault(RUN("\x8b\x07"), VEC_GP, true, 0, 0);
    ds->attributes = 0;
    assert_fault(RUN("\x8b\x07"), VEC_GP, true, 0, 0);
    assert_fault(RUN("\x2e\x89\x07"), VEC_GP, true, 0, 0); /* CS is not for writing */
    m.s.seg[HV_EMULATE_SS].limit = 0x10;
    m.s.gpr[RBP] = DATA;
    assert_fault(RUN("\x89\x45\x00"), VEC_SS, true, 0, 0);
}

static void expand_down_segments_lie_above_their_limit(void **state)
{
    struct hv_segment *ds = &m.s.seg[HV_EMULATE_DS];

    (void)state;
    in_protected_mode();
    ds->attributes = SEG_P | SEG_S | SEG_TYPE_WRITE | SEG_TYPE_EXPAND;
    ds->limit = 0x3fff;
    m.s.gpr[RDI] = DATA;
    OK("\x8b\x07");
    m.s.rip = CODE_AT;
    ds->limit = 0x4000;
    assert_fault(RUN("\x8b\x07"), VEC_GP, true, 0, 0);
    m.s.gpr[RDI] = 0xfffd; /* 64 KiB end it without B */
    assert_fault(RUN("\x8b\x07"), VEC_GP, true, 0, 0);
}

static void real_mode_wraps_and_has_no_error_codes(void **state)
{
    (void)state;
    in_real_mode();
    m.s.seg[HV_EMULATE_DS].base = 0x2000;
    m.s.gpr[RBX] = 0x12340000 + 0xfff0;
    m.s.gpr[RSI] = 0x2010;
    m.ram[DATA] = 0x5a;
    OK("\x8a\x00"); /* mov al, [bx+si]: 0x2000 after the wrap */
    assert_int_equal(m.s.gpr[RAX], 0x5a);
    m.s.rip = CODE_AT;
    m.s.gpr[RBX] = 0xffff;
    m.s.gpr[RSI] = 0;
    assert_fault(RUN("\x8b\x00"), VEC_GP, false, 0, 0);
    m.s.gpr[RBP] = 0xffff;
    assert_fault(RUN("\x8b\x46\x00"), VEC_SS, false, 0, 0);
    m.s.rip = 0xffff;
    m.s.seg[HV_EMULATE_DS].base = DATA;
    m.s.gpr[RBX] = 0;
    OK("\x8a\x00");
    assert_int_equal(m.s.rip, 1);
}

static void user_accesses_can_have_to_be_aligned(void **state)
{
    (void)state;
    m.s.cr0 |= CR0_AM;
    m.s.rflags |= RFLAGS_AC;
    m.s.gpr[RDI] = DATA + 2;
    OK("\x8b\x07");
    m.s.rip = CODE_AT;
    m.s.cpl = 3;
    assert_fault(RUN("\x8b\x07"), VEC_AC, true, 0, 0);
    OK("\x66\x8b\x07");
}

/* ------------------------------------------------------------------------------------ stack */

static void push_and_pop_of_memory(void **state)
{
    (void)state;
    m.device_value = 0x1122334455667788;
    OK("\xff\x37"); /* push qword [rdi] */
    assert_int_equal(m.s.gpr[RSP], STACK - 8);
    assert_int_equal(word(STACK - 8), m.device_value);
    OK("\x8f\x47\x10"); /* pop [rdi+0x10] */
    assert_int_equal(m.s.gpr[RSP], STACK);
    assert_access(0, DEVICE + 0x10, true, 8, m.device_value);
    m.s.gpr[RSP] = STACK - 8;
    OK("\x8f\x04\x24"); /* pop [rsp]: the RSP after it */
    assert_int_equal(word(STACK), m.device_value);
    m.s.rip = CODE_AT;
    m.pages[STACK / 4096 - 1] = HV_TRANSLATE_NOT_PRESENT;
    assert_fault(RUN("\xff\x37"), VEC_PF, true, PFEC_WRITE, STACK - 8);
    assert_int_equal(m.accesses, 0); /* the device was not read in vain */
    assert_int_equal(m.s.gpr[RSP], STACK);
}

static void stacks_are_as_wide_as_ss_says(void **state)
{
    (void)state;
    in_protected_mode();
    m.s.seg[HV_EMULATE_SS].attributes &= (uint16_t)~SEG_DB;
    m.s.seg[HV_EMULATE_SS].base = DATA - 0xfffe;
    m.s.gpr[RSP] = 0xabcd0002;
    m.s.seg[HV_EMULATE_DS].selector = 0x2b;
    OK("\x1e"); /* push ds: 4 bytes */
    assert_int_equal(m.s.gpr[RSP], 0xabcdfffe);
}

/* ---------------------------------------------------------------------------------- strings */

static void movs_goes_between_device_and_memory(void **state)
{
    (void)state;
    m.device_value = 0xcafe;
    m.s.gpr[RSI] = DEVICE + 0x40;
    m.s.gpr[RDI] = DATA;
    m.s.gpr[RCX] = 3;
    OK("\xf3\xa5"); /* rep movsd */
    assert_moved(2);
    assert_int_equal(m.accesses, 3);
    assert_access(2, DEVICE + 0x48, false, 4, 0xcafe);
    assert_int_equal(word(DATA + 8), 0xcafe);
    assert_int_equal(m.s.gpr[RSI], DEVICE + 0x4c);
    assert_int_equal(m.s.gpr[RDI], DATA + 12);
    assert_int_equal(m.s.gpr[RCX], 0);
    m.s.rflags |= RFLAGS_DF;
    m.s.gpr[RSI] = DATA + 8;
    m.s.gpr[RDI] = DEVICE + 8;
    m.s.gpr[RCX] = 2;
    OK("\xf3\x48\xa5"); /* backward, 8 bytes each */
    assert_access(0, DEVICE + 8, true, 8, 0xcafe);
    assert_access(1, DEVICE, true, 8, 0x0000cafe0000cafe);
    assert_int_equal(m.s.gpr[RSI], DATA - 8);
}

static void a_fault_stops_a_repetition_where_it_is(void **state)
{
    (void)state;
    m.pages[DATA / 4096 + 1] = HV_TRANSLATE_NOT_PRESENT;
    m.device_value = 0x11;
    m.s.gpr[RSI] = DEVICE;
    m.s.gpr[RDI] = DATA + 0xffc;
    m.s.gpr[RCX] = 10;
    assert_fault(RUN("\xf3\xa5"), VEC_PF, true, PFEC_WRITE, DATA + 0x1000);
    assert_int_equal(m.s.gpr[RCX], 9);
    assert_int_equal(m.s.gpr[RDI], DATA + 0x1000);
    assert_int_equal(m.s.gpr[RSI], DEVICE + 4);
    assert_int_equal(m.accesses, 1); /* no read that nothing came of */
    assert_true(m.s.gpr_changed);
}

static void long_repetitions_come_in_rounds(void **state)
{
    (void)state;
    m.s.gpr[RCX] = 5000;
    m.s.rflags &= ~RFLAGS_RF;
    m.s.gpr[RDI] = DATA;
    m.s.gpr[RAX] = 0xee;
    assert_int_equal(RUN("\xf2\xaa"), HV_EMULATE_AGAIN); /* repne stosb: repne is rep */
    assert_int_equal(m.s.rip, CODE_AT);
    assert_int_equal(m.s.gpr[RCX], 5000 - 4096);
    assert_int_equal(m.s.gpr[RDI], DATA + 4096);
    assert_true(m.s.rflags & RFLAGS_RF);
    assert_int_equal(m.translations, 1);
    OK("\xf2\xaa");
    assert_moved(2);
    assert_int_equal(m.ram[DATA + 4999], 0xee);
    assert_int_equal(m.ram[DATA + 5000], 0);
    m.s.gpr[RCX] = 2;
    m.s.rflags |= RFLAGS_TF;
    m.s.rip = CODE_AT;
    assert_int_equal(RUN("\xf3\xaa"), HV_EMULATE_AGAIN); /* a single step is one iteration */
    assert_int_equal(m.s.gpr[RCX], 1);
    OK("\xf3\xaa");
}

static void repetitions_count_by_address_size(void **state)
{
    (void)state;
    m.s.gpr[RCX] = 0xffffffff00000000;
    OK("\x67\xf3\xaa"); /* ECX is 0 */
    assert_int_equal(m.accesses, 0);
    assert_int_equal(m.s.gpr[RCX], 0xffffffff00000000);
    m.s.gpr[RCX] = 0xffffffff00000001;
    m.s.gpr[RDI] = 0xffffffff00000000 + DEVICE;
    OK("\x67\xf3\xaa");
    assert_int_equal(m.accesses, 1);
    assert_int_equal(m.s.gpr[RCX], 0);
    assert_int_equal(m.s.gpr[RDI], DEVICE + 1);
}

static void compares_stop_by_zf(void **state)
{
    (void)state;
    memcpy(m.ram + DATA, "abcdef", 6);
    memcpy(m.ram + DATA + 0x100, "abcxef", 6);
    m.s.gpr[RSI] = DATA;
    m.s.gpr[RDI] = DATA + 0x100;
    m.s.gpr[RCX] = 6;
    OK("\xf3\xa6"); /* repe cmpsb */
    assert_int_equal(m.s.gpr[RCX], 2);
    assert_int_equal(m.s.rflags & (C | Z | S), C | S); /* 'd' - 'x' */
    m.s.gpr[RAX] = 'e';
    m.s.gpr[RDI] = DATA;
    m.s.gpr[RCX] = 100;
    OK("\xf2\xae"); /* repne scasb */
    assert_int_equal(m.s.gpr[RDI], DATA + 5);
    assert_true(m.s.rflags & Z);
    OK("\xac"); /* lodsb */
    assert_int_equal(m.s.gpr[RAX], 'e');
    assert_int_equal(m.s.gpr[RSI], DATA + 5);
}

/* ------------------------------------------------------------------------------------ ports */

static void ports(void **state)
{
    (void)state;
    m.port_value = 0x89abcdef;
    m.s.gpr[RAX] = ~0ull;
    m.s.gpr[RDX] = 0x103f8;
    OK("\xe4\xf0"); /* in al, 0xf0 */
    assert_access(0, 0xf0, false, 1, 0xef);
    assert_int_equal(m.s.gpr[RAX], 0xffffffffffffffef);
    OK("\x66\xed"); /* in ax, dx */
    assert_access(0, 0x3f8, false, 2, 0xcdef);
    assert_int_equal(m.s.gpr[RAX], 0xffffffffffffcdef);
    OK("\x48\xed"); /* in eax, dx: REX.W is nothing here */
    assert_int_equal(m.s.gpr[RAX], 0x89abcdef);
    OK("\xe7\x80"); /* out 0x80, eax */
    assert_access(0, 0x80, true, 4, 0x89abcdef);
    m.s.gpr[RDI] = DATA;
    m.s.gpr[RCX] = 2;
    OK("\xf3\x66\x6d"); /* rep insw */
    assert_int_equal(m.accesses, 2);
    assert_int_equal(word(DATA), 0xcdefcdef);
    m.s.gpr[RSI] = DATA;
    OK("\x6e"); /* outsb */
    assert_access(0, 0x3f8, true, 1, 0xef);
    m.s.rip = CODE_AT;
    m.pages[DATA / 4096] = HV_TRANSLATE_NOT_PRESENT;
    m.s.gpr[RDI] = DATA;
    assert_fault(RUN("\x6c"), VEC_PF, true, PFEC_WRITE, DATA);
    assert_int_equal(m.accesses, 0); /* the port was not read in vain */
    m.io_fails = true;
    assert_int_equal(RUN("\xec"), HV_EMULATE_IO_FAILED);
    assert_int_equal(run_with(&plain_ops, "\xec", 1), HV_EMULATE_UNSUPPORTED);
    assert_int_equal(run_with(&plain_ops, "\xf3\x6c", 2), HV_EMULATE_UNSUPPORTED);
}

/* -------------------------------------------------------------------------------------- XMM */

static void xmm_moves(void **state)
{
    (void)state;
    m.s.gpr[RDI] = DATA;
    m.xmm[1][0] = 0x1111222233334444;
    m.xmm[1][1] = 0x5555666677778888;
    OK("\x0f\x29\x0f"); /* movaps [rdi], xmm1 */
    assert_int_equal(word(DATA), m.xmm[1][0]);
    assert_int_equal(word(DATA + 8), m.xmm[1][1]);
    m.xmm[9][1] = 77;
    OK("\xf3\x44\x0f\x10\x0f"); /* movss xmm9, [rdi] */
    assert_int_equal(m.xmm[9][0], 0x33334444);
    assert_int_equal(m.xmm[9][1], 0);
    OK("\x0f\x16\x07"); /* movhps xmm0, [rdi] */
    assert_int_equal(m.xmm[0][0], 0);
    assert_int_equal(m.xmm[0][1], m.xmm[1][0]);
    OK("\x66\x0f\x12\x07"); /* movlpd */
    assert_int_equal(m.xmm[0][0], m.xmm[1][0]);
    assert_int_equal(m.xmm[0][1], m.xmm[1][0]);
    OK("\x66\x48\x0f\x7e\x4f\x10"); /* movq [rdi+16], xmm1 */
    OK("\x0f\x17\x4f\x18");         /* movhps [rdi+24], xmm1 */
    assert_int_equal(word(DATA + 16), m.xmm[1][0]);
    assert_int_equal(word(DATA + 24), m.xmm[1][1]);
    OK("\x66\x0f\x6e\x17"); /* movd xmm2, [rdi] */
    assert_int_equal(m.xmm[2][0], 0x33334444);
    m.s.gpr[RDI] = DEVICE;
    OK("\x66\x0f\xe7\x0f"); /* movntdq */
    assert_access(0, DEVICE, true, 8, m.xmm[1][0]);
    assert_access(1, DEVICE + 8, true, 8, m.xmm[1][1]);
}

static void xmm_moves_are_aligned_or_cross_pages(void **state)
{
    (void)state;
    m.s.gpr[RDI] = DATA + 0xffd;
    m.xmm[0][0] = 0x0807060504030201;
    m.xmm[0][1] = 0x100f0e0d0c0b0a09;
    assert_fault(RUN("\x66\x0f\x7f\x07"), VEC_GP, true, 0, 0); /* movdqa */
    OK("\xf3\x0f\x7f\x07");                                    /* movdqu */
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(m.ram[DATA + 0xffd + i], i + 1);
    OK("\x0f\x10\x1f");
    assert_memory_equal(m.xmm[3], m.xmm[0], 16);
}

static void xmm_registers_can_be_off(void **state)
{
    (void)state;
    m.s.cr0 |= CR0_TS;
    assert_fault(RUN("\x0f\x10\x07"), VEC_NM, false, 0, 0);
    m.s.cr4 = CR4_PAE;
    assert_fault(RUN("\x0f\x10\x07"), VEC_UD, false, 0, 0);
    OK("\x0f\xc3\x07"); /* movnti is about general registers */
    m.s.rip = CODE_AT;
    m.s.cr4 = CR4_OSFXSR;
    m.s.cr0 = CR0_PE | CR0_PG | CR0_EM;
    assert_fault(RUN("\x0f\x10\x07"), VEC_UD, false, 0, 0);
    m.s.cr0 = CR0_PE | CR0_PG;
    m.xmm_fails = true;
    assert_int_equal(RUN("\x0f\x10\x07"), HV_EMULATE_XMM_FAILED);
    assert_int_equal(run_with(&plain_ops, "\x0f\x10\x07", 3), HV_EMULATE_UNSUPPORTED);
}

/* ------------------------------------------------------------------------------------- fetch */

static void missing_bytes_are_fetched(void **state)
{
    (void)state;
    memcpy(m.ram + 0x1ffd, "\xc7\x47\x04\x78\x56\x34\x12", 7); /* mov dword [rdi+4], 0x12345678 */
    m.s.rip = 0x1ffd;
    OK("");
    assert_access(0, DEVICE + 4, true, 4, 0x12345678);
    assert_int_equal(m.s.rip, 0x2004);
    m.s.rip = 0x1ffd;
    m.pages[2] = HV_TRANSLATE_NOT_PRESENT;
    assert_int_equal(RUN("\xc7\x47"), HV_EMULATE_FAULT);
    assert_int_equal(m.fault.vector, VEC_PF);
    assert_int_equal(m.fault.address, 0x2000);
    assert_int_equal(m.fault.error_code, PFEC_FETCH);
    m.s.efer &= ~EFER_NXE;
    assert_int_equal(RUN("\xc7\x47"), HV_EMULATE_FAULT);
    assert_int_equal(m.fault.error_code, 0);
    OK("\xc7\x47\x04\x78\x56\x34\x12"); /* all there: nothing to fetch */
}

/* An instruction that ends with its page does not need the next one. */
static void fetching_does_not_go_beyond_the_instruction(void **state)
{
    (void)state;
    memcpy(m.ram + 0x1ffe, "\x89\x07", 2);
    m.s.rip = 0x1ffe;
    m.pages[2] = HV_TRANSLATE_NOT_PRESENT;
    OK("");
    in_protected_mode();
    m.s.rip = 0x1ffe;
    m.s.seg[HV_EMULATE_CS].limit = 0x1fff;
    OK("");
    m.s.rip = 0x1ffe;
    m.s.seg[HV_EMULATE_CS].limit = 0x1ffe;
    assert_int_equal(RUN(""), HV_EMULATE_FAULT);
    assert_int_equal(m.fault.vector, VEC_GP);
}

static void what_is_not_known_changes_nothing(void **state)
{
    static const char *const unknown[] = {"\x0f\x05", "\xc5\xf8\x10\x07", "\x0f\x0b", "\x62\xf1\x7c\x48", "\xd9\x07",
                                          "\x8e\x07", "\x0f\x01\x17",     "\xcc\x90", "\x0f\x6f\x07",     "\xff\x27"};
    struct hv_emulate_state before = m.s;

    (void)state;
    for (size_t i = 0; i < sizeof(unknown) / sizeof(unknown[0]); i++) {
        assert_int_equal(run_with(&all_ops, unknown[i], strlen(unknown[i])), HV_EMULATE_UNSUPPORTED);
        assert_memory_equal(&m.s, &before, sizeof(before));
        assert_int_equal(m.accesses, 0);
    }
}

static void malformed_instructions_are_faults(void **state)
{
    (void)state;
    assert_fault(RUN("\xf0\x8b\x07"), VEC_UD, false, 0, 0); /* lock mov */
    assert_fault(RUN("\xf0\x01\xc0"), VEC_UD, false, 0, 0); /* lock add eax, eax */
    assert_fault(RUN("\xf0\x39\x07"), VEC_UD, false, 0, 0); /* lock cmp */
    assert_fault(RUN("\x8c\x3f"), VEC_UD, false, 0, 0);     /* mov [rdi], segment 7 */
    assert_fault(RUN("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x8b\x07"), VEC_GP, true, 0, 0);
    OK("\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x66\x8b\x07");
    assert_moved(15);
}

static void callbacks_that_fail_end_it(void **state)
{
    (void)state;
    m.translate_fails = true;
    assert_int_equal(RUN("\x8b\x07"), HV_EMULATE_TRANSLATE_FAILED);
    assert_int_equal(RUN(""), HV_EMULATE_TRANSLATE_FAILED);
    m.translate_fails = false;
    m.memory_fails = true;
    assert_int_equal(RUN("\x8b\x07"), HV_EMULATE_MEMORY_FAILED);
    assert_int_equal(RUN(""), HV_EMULATE_MEMORY_FAILED);
    assert_int_equal(m.s.rip, CODE_AT);
}

/* ------------------------------------------------------------------------------------ chance */

static uint64_t seed;

static uint64_t chance(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void random_state(void)
{
    static const uint64_t pages[] = {DATA, STACK, DEVICE, 0, 0xffff, 0x800000000000};

    start(NULL);
    for (unsigned i = 0; i < 16; i++)
        m.s.gpr[i] = chance() % 3 ? pages[chance() % 6] + chance() % 4096 : chance();
    m.s.rflags = (chance() & RFLAGS_ARITH) | RFLAGS_FIXED | (chance() & RFLAGS_DF);
    m.s.cpl = chance() & 3;
    m.s.seg[HV_EMULATE_CS].attributes = (uint16_t)(chance() & (SEG_L | SEG_DB)) | SEG_ATTR_REAL_CODE;
    m.device = chance() % 9;
    if (!(chance() % 4))
        in_real_mode();
    for (unsigned i = 0; i < RAM_SIZE / 4096; i++)
        m.pages[i] = chance() % 8 ? HV_TRANSLATE_SUCCESS : chance() % 9;
}

/* Whatever the bytes: no callback is asked for nonsense, and what is not done has changed nothing. */
static void random_bytes_do_no_harm(void **state)
{
    unsigned done = 0;

    (void)state;
    seed = 0x9e3779b97f4a7c15 ^ (getenv("SEED") ? strtoull(getenv("SEED"), NULL, 0) : 0);
    for (unsigned i = 0; i < 200000; i++) {
        struct hv_instruction in = {.count = (uint8_t)(chance() % 17)};
        struct hv_emulate_state before;
        enum hv_emulate_result result;

        if (i % 16 == 0)
            random_state();
        for (unsigned j = 0; j < 16; j++)
            in.bytes[j] = m.ram[m.s.rip % 0x8000 + j] = (uint8_t)chance();
        m.s.gpr_changed = false;
        before = m.s;
        result = hv_emulate(&m.s, &in, &m.hint, &all_ops, &m, &m.fault);
        done += result == HV_EMULATE_OK;
        assert_true(result <= HV_EMULATE_UNALIGNED_GPA);
        if (result > HV_EMULATE_AGAIN)
            assert_int_equal(m.s.rip, before.rip);
        if (result > HV_EMULATE_AGAIN && !m.s.gpr_changed)
            assert_memory_equal(&m.s, &before, sizeof(before));
    }
    assert_true(done > 1000);
}

#define TEST(fn) cmocka_unit_test_setup_teardown(fn, start, unit_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_register_is_written_to_a_device),
        TEST(reads_fill_registers_by_size),
        TEST(bits_are_searched),
        TEST(the_machine_status_word),
        TEST(control_registers_are_the_callers),
        TEST(the_machine_status_word_is_loaded),
        TEST(high_bytes_are_registers_without_rex),
        TEST(addresses_have_base_index_and_displacement),
        TEST(read_modify_write_reads_once_and_writes_once),
        TEST(registers_stay_when_a_write_fails),
        TEST(arithmetic_has_the_flags_of_the_manual),
        TEST(exchanges_change_their_registers),
        TEST(cmpxchg8b_and_16b),
        TEST(bit_numbers_reach_beyond_the_operand),
        TEST(products_and_quotients),
        TEST(quotients_that_do_not_fit_are_faults),
        TEST(a_missing_second_page_leaves_nothing_written),
        TEST(page_faults_tell_what_happened),
        TEST(the_hint_saves_the_translation),
        TEST(devices_may_have_no_memory_behind_them),
        TEST(addresses_have_to_be_canonical),
        TEST(segments_have_limits_and_types),
        TEST(expand_down_segments_lie_above_their_limit),
        TEST(real_mode_wraps_and_has_no_error_codes),
        TEST(user_accesses_can_have_to_be_aligned),
        TEST(push_and_pop_of_memory),
        TEST(stacks_are_as_wide_as_ss_says),
        TEST(movs_goes_between_device_and_memory),
        TEST(a_fault_stops_a_repetition_where_it_is),
        TEST(long_repetitions_come_in_rounds),
        TEST(repetitions_count_by_address_size),
        TEST(compares_stop_by_zf),
        TEST(ports),
        TEST(xmm_moves),
        TEST(xmm_moves_are_aligned_or_cross_pages),
        TEST(xmm_registers_can_be_off),
        TEST(missing_bytes_are_fetched),
        TEST(fetching_does_not_go_beyond_the_instruction),
        TEST(what_is_not_known_changes_nothing),
        TEST(malformed_instructions_are_faults),
        TEST(callbacks_that_fail_end_it),
        TEST(random_bytes_do_no_harm),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
