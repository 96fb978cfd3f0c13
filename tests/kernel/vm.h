/* SPDX-License-Identifier: MIT */
/*
 * A guest machine for tests: a partition with VP 0 (or more) and 1 MiB of memory at GPA 0, filled with all that a guest
 * needs in any CPU mode, and the calls that set a VP up in one.
 *
 * Guest memory, the same in all modes; all segments have base 0, so that linear = offset:
 *
 *   0x00000  IVT of real mode          0x05000  data for tests        0x10000  page tables (below)
 *   0x01000  GDT                       0x06000  stack, down from      0x20000  free: VM_FREE up to VM_MEMORY_SIZE
 *   0x02000  IDT                                VM_STACK; a CPL 3 guest's kernel stack down from VM_STACK0
 *   0x03000  TSS, TSS2, LDT            0x08000  code
 *   0x04000  stubs for the 256 vectors: HLT, then IRET. So delivering vector v ends in X64Halt with RIP VM_STUB(v) + 1,
 * and running on returns from it (after removing an error code: vm_pop_error_code).
 *
 * Paging maps [0, 1 GiB) to itself, user and writable: the first 2 MiB by 4 KiB pages, whose entries are at
 * VM_PTE(mode, address), the rest by large pages.
 */
#ifndef VM_H
#define VM_H

#include <hv/hv.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <whp/WinHvPlatform.h>

/* ------------------------------------------------------------------------------------- modes */

enum vm_mode {
    VM_REAL,
    VM_PROT16,   /* protected mode, 16-bit code */
    VM_PROT32,   /* protected mode, flat, no paging */
    VM_PAGED32,  /* with 32-bit paging */
    VM_PAE,      /* with PAE paging */
    VM_LONG,     /* 64-bit code, 4-level paging */
    VM_COMPAT,   /* 32-bit code in long mode */
    VM_PROT32_3, /* CPL 3, 32-bit paging */
    VM_LONG_3,   /* CPL 3, 64-bit code */
    VM_MODE_COUNT
};

#define VM_BIT(mode) (1u << (mode))
#define VM_ALL       (VM_BIT(VM_MODE_COUNT) - 1)
#define VM_CPL3      (VM_BIT(VM_PROT32_3) | VM_BIT(VM_LONG_3))
#define VM_CPL0      (VM_ALL & ~VM_CPL3)
#define VM_LEGACY                                                                                    \
    (VM_BIT(VM_REAL) | VM_BIT(VM_PROT16) | VM_BIT(VM_PROT32) | VM_BIT(VM_PAGED32) | VM_BIT(VM_PAE) | \
     VM_BIT(VM_PROT32_3))
#define VM_LONG_MODES (VM_ALL & ~VM_LEGACY)
#define VM_CODE64     (VM_BIT(VM_LONG) | VM_BIT(VM_LONG_3))
#define VM_PROTECTED  (VM_ALL & ~VM_BIT(VM_REAL))
#define VM_PAGED      (VM_BIT(VM_PAGED32) | VM_BIT(VM_PAE) | VM_LONG_MODES | VM_BIT(VM_PROT32_3))

const char *vm_mode_name(enum vm_mode mode);
unsigned vm_mode_bits(enum vm_mode mode); /* 16, 32, 64: of code */

static inline bool vm_mode_in(enum vm_mode mode, uint32_t set)
{
    return set >> mode & 1;
}

/*
 * Which kind of virtualization this CPU has. What it lacks is a SKIP with the reason in a test of its own: others take
 * it as it is.
 */
bool vm_is_svm(void);
bool vm_knows_gva(void);        /* all exits of nested page faults tell the linear address */
bool vm_has_other_msrs(void);   /* CPUID's vendor has the MSRs from C001_0000 on, and not FEATURE_CONTROL's like */
const char *vm_hypercall(void); /* the guest that does one */

/* ------------------------------------------------------------------------------------ layout */

#define VM_MEMORY_SIZE 0x100000u
#define VM_GDT         0x1000u
#define VM_IDT         0x2000u
#define VM_TSS         0x3000u
#define VM_TSS2        0x3800u
#define VM_LDT         0x3c00u
#define VM_STUBS       0x4000u
#define VM_STUB(v)     (VM_STUBS + (v)*16u)
#define VM_DATA        0x5000u
#define VM_STACK       0x7f00u
#define VM_STACK0      0x7800u
#define VM_CODE        0x8000u
#define VM_FREE        0x20000u

#define VM_PML4     0x10000u /* long mode */
#define VM_PDPT     0x11000u
#define VM_PD       0x12000u
#define VM_PT       0x13000u /* PAE and long mode: 8-byte entries of [0, 2 MiB) */
#define VM_PD32     0x14000u
#define VM_PT32     0x15000u /* 4-byte entries of [0, 4 MiB) */
#define VM_PAE_PD   0x16000u
#define VM_PAE_PDPT 0x17000u

/* selectors */
#define VM_SEL_CODE32   0x08u
#define VM_SEL_DATA     0x10u
#define VM_SEL_CODE64   0x18u
#define VM_SEL_CODE16   0x20u
#define VM_SEL_DATA16   0x28u
#define VM_SEL_CODE32_3 0x33u
#define VM_SEL_DATA_3   0x3bu
#define VM_SEL_CODE64_3 0x43u
#define VM_SEL_TSS      0x48u /* 16 bytes in long mode */
#define VM_SEL_TSS2     0x58u
#define VM_SEL_LDT      0x60u /* 16 bytes in long mode */
#define VM_SEL_ABSENT   0x70u /* a data segment that is not present */
#define VM_GDT_LIMIT    0xffu

/* ------------------------------------------------------------------------------------ guests */

/* A snippet of tests/guests/, assembled for 16, 32 and 64-bit code (begin NULL where there is none). Lives in the
 * section `guests`. */
#define GUEST_MARKS 12

struct guest_code {
    const uint8_t *begin, *end;
    const uint8_t *marks[GUEST_MARKS];
};

struct guest {
    const char *name;
    struct guest_code code[3];
};

/* ---------------------------------------------------------------------------------------- vm */

struct vm {
    WHV_PARTITION_HANDLE partition; /* NULL: none, or native */
    struct hv_partition *native;    /* instead of partition: made by vm_create_native, for the calls that WHP lacks */
    struct hv_vp *native_vp;        /* VP 0 of it */
    uint8_t *memory;                /* guest memory from GPA 0, VM_MEMORY_SIZE bytes */
    uint32_t vp_count;
    enum vm_mode mode;             /* set by vm_enter; of VP 0 */
    const struct guest_code *code; /* loaded by vm_load */
    uint64_t code_gpa;
    WHV_RUN_VP_EXIT_CONTEXT exit; /* of the last vm_run */
    struct hv_exit_context native_exit;
    struct vm *next; /* of those that exist */
};

/*
 * Partition, memory mapped RWX, VPs. configure (may be NULL) sets further properties before set-up; it is given the
 * partition. Returns false with the test failed. vm_delete takes any state of a struct vm that was zeroed or created.
 */
bool vm_create(struct vm *vm, uint32_t vp_count, void (*configure)(struct vm *vm));
bool vm_create_native(struct vm *vm); /* one VP, no properties */
void vm_delete(struct vm *vm);
void vm_check_all_deleted(void); /* deletes what a test left behind, and fails it */

/* Declares a machine that is deleted at the end of the block. */
#define VM(name) struct vm name __attribute__((cleanup(vm_delete))) = {0}

/* A machine in that mode with the snippet loaded at VM_CODE, RIP there. */
#define VM_GUEST(name, mode_, guest_, configure_) \
    VM(name);                                     \
    REQUIRE(vm_create(&name, 1, configure_) && vm_enter(&name, mode_) && vm_load(&name, guest_))

/* Properties. */
void vm_set_property(struct vm *vm, WHV_PARTITION_PROPERTY_CODE code, const void *value, uint32_t size);
void vm_set_exits(struct vm *vm, uint64_t extended_vm_exits);
void vm_set_exceptions(struct vm *vm,
                       uint64_t bitmap); /* with ExtendedVmExits.ExceptionExit: other bits of those exits go */

#define VM_EXIT_CPUID     (1ull << 0) /* ExtendedVmExits */
#define VM_EXIT_MSR       (1ull << 1)
#define VM_EXIT_EXCEPTION (1ull << 2)
#define VM_EXIT_RDTSC     (1ull << 3)
#define VM_EXIT_HYPERCALL (1ull << 5)

/* Maps rights (WHvMapGpaRangeFlag*) of vm->memory's page range at its own GPA; 0 unmaps. */
bool vm_protect(struct vm *vm, uint64_t gpa, uint64_t size, unsigned rights);
#define VM_R   WHvMapGpaRangeFlagRead
#define VM_RW  (WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagWrite)
#define VM_RX  (WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagExecute)
#define VM_RWX (VM_RW | WHvMapGpaRangeFlagExecute)

/* Tables and registers of the mode, for one VP. Segments, CR0, CR3, CR4, EFER, TR, tables, RSP, RFLAGS 2, RIP VM_CODE.
 */
bool vm_enter(struct vm *vm, enum vm_mode mode);
bool vm_enter_vp(struct vm *vm, uint32_t index, enum vm_mode mode);

/* Writes GDT, IDT or IVT, TSS, stubs and page tables of the mode into guest memory (vm_enter does it). */
void vm_build(struct vm *vm, enum vm_mode mode);

/* Finds the snippet, copies that of the VM's mode to VM_CODE; RIP becomes VM_CODE. */
bool vm_load(struct vm *vm, const char *name);
bool vm_load_at(struct vm *vm, const char *name, unsigned bits, uint64_t gpa);
void vm_load_bytes(struct vm *vm, const void *bytes, size_t size); /* at VM_CODE; vm->code becomes NULL */
uint64_t vm_mark(const struct vm *vm, unsigned n);                 /* address of the snippet's n-th MARK */
uint64_t vm_end(const struct vm *vm);                              /* address behind the snippet */

/* ---------------------------------------------------------------------------------- registers */

WHV_REGISTER_VALUE vm_get_value(struct vm *vm, WHV_REGISTER_NAME name);
void vm_set_value(struct vm *vm, WHV_REGISTER_NAME name, WHV_REGISTER_VALUE value);
uint64_t vm_get(struct vm *vm, WHV_REGISTER_NAME name);
void vm_set(struct vm *vm, WHV_REGISTER_NAME name, uint64_t value);
void vm_set128(struct vm *vm, WHV_REGISTER_NAME name, uint64_t low, uint64_t high);
WHV_X64_SEGMENT_REGISTER vm_get_segment(struct vm *vm, WHV_REGISTER_NAME name);
void vm_set_segment(struct vm *vm, WHV_REGISTER_NAME name, uint16_t selector, uint64_t base, uint32_t limit,
                    uint16_t attributes);
void vm_set_table(struct vm *vm, WHV_REGISTER_NAME name, uint64_t base, uint16_t limit);
uint64_t vm_get_vp(struct vm *vm, uint32_t index, WHV_REGISTER_NAME name);
void vm_set_vp(struct vm *vm, uint32_t index, WHV_REGISTER_NAME name, uint64_t value);

/* WHvSet...: the HRESULT is the test's business (native: hv_status). */
HRESULT vm_try_set(struct vm *vm, WHV_REGISTER_NAME name, WHV_REGISTER_VALUE value);
HRESULT vm_try_get(struct vm *vm, WHV_REGISTER_NAME name, WHV_REGISTER_VALUE *value);

/* ------------------------------------------------------------------------------------- running */

/*
 * Runs VP 0 until it exits, into vm->exit. Each run checks that VpContext agrees with the registers. A run that lasts
 * longer than VM_RUN_LIMIT_MS is cancelled and fails the test.
 */
#define VM_RUN_LIMIT_MS 3000 /* an emulator on a busy machine may stand still for a while */

WHV_RUN_VP_EXIT_REASON vm_run(struct vm *vm);
HRESULT vm_run_vp(struct vm *vm, uint32_t index, WHV_RUN_VP_EXIT_CONTEXT *exit); /* another VP, on the calling thread */
const char *vm_reason_name(WHV_RUN_VP_EXIT_REASON reason);
bool vm_check_reason(struct vm *vm, WHV_RUN_VP_EXIT_REASON wanted, const char *file, int line);

/* Runs and expects that exit (short name: Halt, MemoryAccess...). Yields whether it came. */
#define EXPECT_EXIT(vm, reason) (vm_run(vm), vm_check_reason(vm, WHvRunVpExitReason##reason, __FILE__, __LINE__))

/* Runs and expects the HLT that ends the snippet: RIP at its end; at CPL 3 the #GP that it is there. */
#define EXPECT_END(vm) (vm_run(vm), vm_check_end(vm, __FILE__, __LINE__))
bool vm_check_end(struct vm *vm, const char *file, int line);

/* Runs and expects the stub of that vector. */
#define EXPECT_VECTOR(vm, v) (EXPECT_EXIT(vm, X64Halt) && EXPECT_EQ((vm)->exit.VpContext.Rip, VM_STUB(v) + 1))

/* The exit is at the snippet's n-th mark, with the length of the instruction up to the next one. */
void vm_check_instruction(struct vm *vm, unsigned n);
/* The context's instruction bytes are the guest's code at RIP; must: there have to be some. */
void vm_check_bytes(struct vm *vm, unsigned count, const uint8_t *bytes, bool must);

/* RIP += InstructionLength of the last exit. */
void vm_step(struct vm *vm);

/* In a stub: the words on the guest's stack as the mode pushes them (0: RIP, or the error code when there is one). */
uint64_t vm_stack(struct vm *vm, unsigned word);
void vm_pop_error_code(struct vm *vm);
unsigned vm_word_size(const struct vm *vm); /* of what an interrupt pushes: 2, 4 or 8 */

void vm_start_watchdog(void);
void vm_stop_watchdog(void);

/* Guest memory by GPA. */
static inline void *vm_at(struct vm *vm, uint64_t gpa)
{
    return vm->memory + gpa;
}

static inline uint32_t *vm_u32(struct vm *vm, uint64_t gpa)
{
    return vm_at(vm, gpa);
}

static inline uint64_t *vm_u64(struct vm *vm, uint64_t gpa)
{
    return vm_at(vm, gpa);
}

/* The page-table entry of a 4 KiB page below 2 MiB, in the VM's mode. */
uint64_t vm_pte_gpa(const struct vm *vm, uint64_t address);
void vm_pte_and(struct vm *vm, uint64_t address, uint64_t mask);
void vm_pte_or(struct vm *vm, uint64_t address, uint64_t bits);

#define PTE_P 1ull
#define PTE_W 2ull
#define PTE_U 4ull
#define PTE_A 0x20ull
#define PTE_D 0x40ull

/* ------------------------------------------------------------------- a few architectural bits */

#define FLAG_FIXED 0x00000002ull
#define FLAG_TF    0x00000100ull
#define FLAG_IF    0x00000200ull
#define FLAG_NT    0x00004000ull
#define FLAG_RF    0x00010000ull
#define FLAG_AC    0x00040000ull
#define FLAG_IOPL3 0x00003000ull

#define CR0_PE 0x1ull
#define CR0_MP 0x2ull
#define CR0_EM 0x4ull
#define CR0_TS 0x8ull
#define CR0_ET 0x10ull
#define CR0_NE 0x20ull
#define CR0_WP 0x10000ull
#define CR0_AM 0x40000ull
#define CR0_NW 0x20000000ull
#define CR0_CD 0x40000000ull
#define CR0_PG 0x80000000ull

#define CR4_PSE        0x10ull
#define CR4_PAE        0x20ull
#define CR4_OSFXSR     0x200ull
#define CR4_OSXMMEXCPT 0x400ull
#define CR4_VMXE       0x2000ull
#define CR4_OSXSAVE    0x40000ull

#define EFER_SCE 0x1ull
#define EFER_LME 0x100ull
#define EFER_LMA 0x400ull
#define EFER_NX  0x800ull

#endif
