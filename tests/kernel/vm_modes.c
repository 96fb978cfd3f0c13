/* SPDX-License-Identifier: MIT */
/* What a guest finds in its memory and registers in each CPU mode, and how snippets get there. */
#include "test.h"
#include "vm.h"

/* --------------------------------------------------------------------------------- the modes */

#define CR0_COMMON (CR0_ET | CR0_NE | CR0_MP)
#define CR4_COMMON (CR4_OSFXSR | CR4_OSXMMEXCPT)

/* Attributes as in WHV_X64_SEGMENT_REGISTER; the accessed bit is set, as the CPU would have set it. */
static const struct mode {
    const char *name;
    unsigned bits, cpl;
    uint16_t cs, cs_attributes, ss, data_attributes;
    uint32_t limit;
    uint64_t cr0, cr3, cr4, efer;
} modes[VM_MODE_COUNT] = {
    [VM_REAL] = {"real", 16, 0, 0, 0x009b, 0, 0x0093, 0xffff, CR0_COMMON, 0, CR4_COMMON, 0},
    [VM_PROT16] = {"protected 16", 16, 0, VM_SEL_CODE16, 0x009b, VM_SEL_DATA16, 0x0093, 0xffff, CR0_COMMON | CR0_PE, 0,
                   CR4_COMMON, 0},
    [VM_PROT32] = {"protected", 32, 0, VM_SEL_CODE32, 0xc09b, VM_SEL_DATA, 0xc093, 0xffffffff, CR0_COMMON | CR0_PE, 0,
                   CR4_COMMON, 0},
    [VM_PAGED32] = {"paging", 32, 0, VM_SEL_CODE32, 0xc09b, VM_SEL_DATA, 0xc093, 0xffffffff,
                    CR0_COMMON | CR0_PE | CR0_PG | CR0_WP, VM_PD32, CR4_COMMON | CR4_PSE, 0},
    [VM_PAE] = {"PAE", 32, 0, VM_SEL_CODE32, 0xc09b, VM_SEL_DATA, 0xc093, 0xffffffff,
                CR0_COMMON | CR0_PE | CR0_PG | CR0_WP, VM_PAE_PDPT, CR4_COMMON | CR4_PAE, 0},
    [VM_LONG] = {"long", 64, 0, VM_SEL_CODE64, 0xa09b, VM_SEL_DATA, 0xc093, 0xffffffff,
                 CR0_COMMON | CR0_PE | CR0_PG | CR0_WP, VM_PML4, CR4_COMMON | CR4_PAE,
                 EFER_LME | EFER_LMA | EFER_NX | EFER_SCE},
    [VM_COMPAT] = {"compatibility", 32, 0, VM_SEL_CODE32, 0xc09b, VM_SEL_DATA, 0xc093, 0xffffffff,
                   CR0_COMMON | CR0_PE | CR0_PG | CR0_WP, VM_PML4, CR4_COMMON | CR4_PAE,
                   EFER_LME | EFER_LMA | EFER_NX | EFER_SCE},
    [VM_PROT32_3] = {"protected CPL 3", 32, 3, VM_SEL_CODE32_3, 0xc0fb, VM_SEL_DATA_3, 0xc0f3, 0xffffffff,
                     CR0_COMMON | CR0_PE | CR0_PG | CR0_WP, VM_PD32, CR4_COMMON | CR4_PSE, 0},
    [VM_LONG_3] = {"long CPL 3", 64, 3, VM_SEL_CODE64_3, 0xa0fb, VM_SEL_DATA_3, 0xc0f3, 0xffffffff,
                   CR0_COMMON | CR0_PE | CR0_PG | CR0_WP, VM_PML4, CR4_COMMON | CR4_PAE,
                   EFER_LME | EFER_LMA | EFER_NX | EFER_SCE},
};

const char *vm_mode_name(enum vm_mode mode)
{
    return modes[mode].name;
}

unsigned vm_mode_bits(enum vm_mode mode)
{
    return modes[mode].bits;
}

/* ------------------------------------------------------------------------- descriptor tables */

static void put_descriptor(struct vm *vm, uint32_t selector, uint32_t base, uint32_t limit, uint16_t attributes)
{
    if (attributes & 0x8000)
        limit >>= 12;
    *vm_u64(vm, VM_GDT + (selector & ~7u)) = (uint64_t)(base >> 24) << 56 | (uint64_t)(attributes & 0xf000) << 40 |
                                             (uint64_t)(limit >> 16 & 0xf) << 48 | (uint64_t)(attributes & 0xff) << 40 |
                                             (uint64_t)(base & 0xffffff) << 16 | (limit & 0xffff);
}

static void build_gdt(struct vm *vm)
{
    put_descriptor(vm, VM_SEL_CODE32, 0, 0xffffffff, 0xc09b);
    put_descriptor(vm, VM_SEL_DATA, 0, 0xffffffff, 0xc093);
    put_descriptor(vm, VM_SEL_CODE64, 0, 0xffffffff, 0xa09b);
    put_descriptor(vm, VM_SEL_CODE16, 0, 0xffff, 0x009b);
    put_descriptor(vm, VM_SEL_DATA16, 0, 0xffff, 0x0093);
    put_descriptor(vm, VM_SEL_CODE32_3, 0, 0xffffffff, 0xc0fb);
    put_descriptor(vm, VM_SEL_DATA_3, 0, 0xffffffff, 0xc0f3);
    put_descriptor(vm, VM_SEL_CODE64_3, 0, 0xffffffff, 0xa0fb);
    put_descriptor(vm, VM_SEL_TSS, VM_TSS, 0x67, 0x008b);
    put_descriptor(vm, VM_SEL_TSS2, VM_TSS2, 0x67, 0x0089);
    put_descriptor(vm, VM_SEL_LDT, VM_LDT, 0xff, 0x0082);
    put_descriptor(vm, VM_SEL_ABSENT, 0, 0xffffffff, 0xc013);
}

static void build_gates(struct vm *vm, const struct mode *m)
{
    for (unsigned v = 0; v < 256; v++) {
        uint32_t offset = VM_STUB(v);

        if (m->efer & EFER_LMA) {
            vm_u64(vm, VM_IDT)[2 * v] = (uint64_t)0xee00 << 32 | VM_SEL_CODE64 << 16 | offset;
            vm_u64(vm, VM_IDT)[2 * v + 1] = 0;
        } else if (m->cr0 & CR0_PE) {
            uint64_t type = m->bits == 16 ? 0xe600 : 0xee00, selector = m->bits == 16 ? VM_SEL_CODE16 : VM_SEL_CODE32;

            vm_u64(vm, VM_IDT)[v] = type << 32 | selector << 16 | offset;
        } else {
            vm_u32(vm, 0)[v] = offset;
        }
    }
}

static void build_stubs(struct vm *vm, const struct mode *m)
{
    static const uint8_t legacy[] = {0xf4, 0xcf}, long_mode[] = {0xf4, 0x48, 0xcf}; /* HLT; IRET */

    for (unsigned v = 0; v < 256; v++)
        if (m->efer & EFER_LMA)
            memcpy(vm_at(vm, VM_STUB(v)), long_mode, sizeof(long_mode));
        else
            memcpy(vm_at(vm, VM_STUB(v)), legacy, sizeof(legacy));
}

static void build_tss(struct vm *vm, const struct mode *m)
{
    if (m->efer & EFER_LMA) {
        *vm_u64(vm, VM_TSS + 4) = VM_STACK0;
    } else {
        *vm_u32(vm, VM_TSS + 4) = VM_STACK0;
        *vm_u32(vm, VM_TSS + 8) = VM_SEL_DATA;
    }
    *vm_u32(vm, VM_TSS + 0x64) = 0x68u << 16; /* no I/O bitmap */
}

/* -------------------------------------------------------------------------------- page tables */

#define PTE_ALL   (PTE_P | PTE_W | PTE_U)
#define PTE_LARGE 0x80ull

static void build_paging32(struct vm *vm)
{
    for (unsigned i = 0; i < 1024; i++)
        vm_u32(vm, VM_PT32)[i] = (uint32_t)(i * 4096 | PTE_ALL);
    vm_u32(vm, VM_PD32)[0] = (uint32_t)(VM_PT32 | PTE_ALL);
    for (unsigned i = 1; i < 256; i++)
        vm_u32(vm, VM_PD32)[i] = (uint32_t)(i << 22 | PTE_ALL | PTE_LARGE);
}

static void build_directory(struct vm *vm, uint64_t directory)
{
    for (unsigned i = 0; i < 512; i++)
        vm_u64(vm, VM_PT)[i] = i * 4096 | PTE_ALL;
    vm_u64(vm, directory)[0] = VM_PT | PTE_ALL;
    for (uint64_t i = 1; i < 512; i++)
        vm_u64(vm, directory)[i] = i << 21 | PTE_ALL | PTE_LARGE;
}

static void build_page_tables(struct vm *vm)
{
    build_paging32(vm);
    build_directory(vm, VM_PAE_PD);
    *vm_u64(vm, VM_PAE_PDPT) = VM_PAE_PD | PTE_P;
    build_directory(vm, VM_PD);
    *vm_u64(vm, VM_PDPT) = VM_PD | PTE_ALL;
    *vm_u64(vm, VM_PML4) = VM_PDPT | PTE_ALL;
}

void vm_build(struct vm *vm, enum vm_mode mode)
{
    const struct mode *m = &modes[mode];

    build_gdt(vm);
    build_gates(vm, m);
    build_stubs(vm, m);
    build_tss(vm, m);
    build_page_tables(vm);
}

uint64_t vm_pte_gpa(const struct vm *vm, uint64_t address)
{
    return modes[vm->mode].cr3 == VM_PD32 ? VM_PT32 + address / 4096 * 4 : VM_PT + address / 4096 * 8;
}

void vm_pte_and(struct vm *vm, uint64_t address, uint64_t mask)
{
    uint64_t gpa = vm_pte_gpa(vm, address);

    if (modes[vm->mode].cr3 == VM_PD32)
        *vm_u32(vm, gpa) &= (uint32_t)mask;
    else
        *vm_u64(vm, gpa) &= mask;
}

void vm_pte_or(struct vm *vm, uint64_t address, uint64_t bits)
{
    uint64_t gpa = vm_pte_gpa(vm, address);

    if (modes[vm->mode].cr3 == VM_PD32)
        *vm_u32(vm, gpa) |= (uint32_t)bits;
    else
        *vm_u64(vm, gpa) |= bits;
}

/* ---------------------------------------------------------------------------------- registers */

#define ENTER_MAX 24

struct register_list {
    WHV_REGISTER_NAME names[ENTER_MAX];
    WHV_REGISTER_VALUE values[ENTER_MAX];
    uint32_t count;
};

static void add(struct register_list *l, WHV_REGISTER_NAME name, WHV_REGISTER_VALUE value)
{
    l->names[l->count] = name;
    l->values[l->count++] = value;
}

static void add64(struct register_list *l, WHV_REGISTER_NAME name, uint64_t value)
{
    add(l, name, (WHV_REGISTER_VALUE){.Reg64 = value});
}

static void add_segment(struct register_list *l, WHV_REGISTER_NAME name, uint16_t selector, uint64_t base,
                        uint32_t limit, uint16_t attributes)
{
    add(l, name, (WHV_REGISTER_VALUE){.Segment = {base, limit, selector, {.Attributes = attributes}}});
}

static void add_table(struct register_list *l, WHV_REGISTER_NAME name, uint64_t base, uint16_t limit)
{
    add(l, name, (WHV_REGISTER_VALUE){.Table = {.Limit = limit, .Base = base}});
}

static uint16_t idt_limit(const struct mode *m)
{
    return m->efer & EFER_LMA ? 0xfff : m->cr0 & CR0_PE ? 0x7ff : 0x3ff;
}

static void list_registers(struct register_list *l, const struct mode *m)
{
    bool is_protected = m->cr0 & CR0_PE;

    add64(l, WHvX64RegisterEfer, m->efer);
    add64(l, WHvX64RegisterCr4, m->cr4);
    add64(l, WHvX64RegisterCr3, m->cr3);
    add64(l, WHvX64RegisterCr0, m->cr0);
    add_segment(l, WHvX64RegisterCs, m->cs, 0, m->limit, m->cs_attributes);
    for (WHV_REGISTER_NAME name = WHvX64RegisterEs; name <= WHvX64RegisterGs; name++)
        if (name != WHvX64RegisterCs)
            add_segment(l, name, m->ss, 0, m->limit, m->data_attributes);
    add_segment(l, WHvX64RegisterTr, is_protected ? VM_SEL_TSS : 0, is_protected ? VM_TSS : 0, 0x67, 0x008b);
    add_segment(l, WHvX64RegisterLdtr, 0, 0, 0, 0x0000);
    add_table(l, WHvX64RegisterGdtr, VM_GDT, VM_GDT_LIMIT);
    add_table(l, WHvX64RegisterIdtr, is_protected ? VM_IDT : 0, idt_limit(m));
    add64(l, WHvX64RegisterRip, VM_CODE);
    add64(l, WHvX64RegisterRsp, VM_STACK);
    add64(l, WHvX64RegisterRflags, FLAG_FIXED);
}

static bool set_list(struct vm *vm, uint32_t index, const struct register_list *l)
{
    if (vm->native)
        return EXPECT_EQ(hv_vp_set_registers(vm->native_vp, (const uint32_t *)l->names, l->count,
                                             (const union hv_reg_value *)l->values),
                         HV_OK);
    return EXPECT_OK(WHvSetVirtualProcessorRegisters(vm->partition, index, l->names, l->count, l->values));
}

bool vm_enter_vp(struct vm *vm, uint32_t index, enum vm_mode mode)
{
    struct register_list list = {.count = 0};

    list_registers(&list, &modes[mode]);
    return set_list(vm, index, &list);
}

bool vm_enter(struct vm *vm, enum vm_mode mode)
{
    vm->mode = mode;
    vm_build(vm, mode);
    return vm_enter_vp(vm, 0, mode);
}

/* ----------------------------------------------------------------------------------- snippets */

extern const struct guest guests_start[], guests_end[];

static const struct guest *find_guest(const char *name)
{
    for (const struct guest *g = guests_start; g < guests_end; g++)
        if (strcmp(g->name, name) == 0)
            return g;
    FAIL("no guest %s", name);
    return NULL;
}

bool vm_load_at(struct vm *vm, const char *name, unsigned bits, uint64_t gpa)
{
    const struct guest *g = find_guest(name);
    const struct guest_code *code = g ? &g->code[bits / 32] : NULL;

    if (!code)
        return false;
    if (!code->begin) {
        FAIL("guest %s has no %u-bit code", name, bits);
        return false;
    }
    memcpy(vm_at(vm, gpa), code->begin, (size_t)(code->end - code->begin));
    vm->code = code;
    vm->code_gpa = gpa;
    return true;
}

bool vm_load(struct vm *vm, const char *name)
{
    vm_set(vm, WHvX64RegisterRip, VM_CODE);
    return vm_load_at(vm, name, vm_mode_bits(vm->mode), VM_CODE);
}

void vm_load_bytes(struct vm *vm, const void *bytes, size_t size)
{
    memcpy(vm_at(vm, VM_CODE), bytes, size);
    vm->code = NULL;
    vm_set(vm, WHvX64RegisterRip, VM_CODE);
}

uint64_t vm_mark(const struct vm *vm, unsigned n)
{
    if (!vm->code || !vm->code->marks[n]) {
        FAIL("the snippet has no mark %u", n);
        return 0;
    }
    return vm->code_gpa + (uint64_t)(vm->code->marks[n] - vm->code->begin);
}

uint64_t vm_end(const struct vm *vm)
{
    return vm->code ? vm->code_gpa + (uint64_t)(vm->code->end - vm->code->begin) : 0;
}

/* -------------------------------------------------------------------------------------- stack */

unsigned vm_word_size(const struct vm *vm)
{
    return vm_mode_in(vm->mode, VM_LONG_MODES) ? 8 : modes[vm->mode].bits / 8;
}

uint64_t vm_stack(struct vm *vm, unsigned word)
{
    unsigned size = vm_word_size(vm);
    uint64_t at = vm_get(vm, WHvX64RegisterRsp) + word * size, value = 0;

    memcpy(&value, vm_at(vm, at & (VM_MEMORY_SIZE - 1)), size);
    return value;
}

void vm_pop_error_code(struct vm *vm)
{
    vm_set(vm, WHvX64RegisterRsp, vm_get(vm, WHvX64RegisterRsp) + vm_word_size(vm));
}
