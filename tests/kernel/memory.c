/* SPDX-License-Identifier: MIT */
/* MemoryAccess: unmapped and forbidden guest-physical pages, every kind of access, in every mode; and running on when
 * the page is there. */
#include "test.h"
#include "vm.h"

#define HOLE 0xb000u
#define X    WHvMapGpaRangeFlagExecute

static const struct access_row {
    const char *name;
    uint32_t modes;
    const char *guest;
    WHV_MEMORY_ACCESS_TYPE type;
    uint32_t gpa;
    bool is_part; /* of a plain move's operand, whose linear address is another: none may be told */
} rows[] = {
    {"read 1", 0, "memory_read8", WHvMemoryAccessRead, HOLE + 0x123, false},
    {"read 4", 0, "memory_read32", WHvMemoryAccessRead, HOLE + 0x124, false},
    {"read 16", 0, "memory_sse", WHvMemoryAccessRead, HOLE + 0x130, false},
    {"write 1", 0, "memory_write8", WHvMemoryAccessWrite, HOLE + 0x123, false},
    {"write 4", 0, "memory_write32", WHvMemoryAccessWrite, HOLE + 0x124, false},
    {"pop", 0, "memory_pop", WHvMemoryAccessRead, HOLE + 0x200, false},
    {"movs from", 0, "memory_movs_from", WHvMemoryAccessRead, HOLE + 0x123, false},
    {"movs to", 0, "memory_movs_to", WHvMemoryAccessWrite, HOLE + 0x123, false},
    {"rep stos into", 0, "memory_rep_stos", WHvMemoryAccessWrite, HOLE, false},
    {"read across", 0, "memory_read_cross", WHvMemoryAccessRead, HOLE, true},
    {"write across", 0, "memory_write_cross", WHvMemoryAccessWrite, HOLE, true},
};

static void check_part(struct vm *vm, WHV_MEMORY_ACCESS_TYPE type, bool unmapped, uint64_t gpa, uint64_t gva)
{
    const WHV_MEMORY_ACCESS_CONTEXT *m = &vm->exit.MemoryAccess;

    EXPECT_EQ(m->AccessInfo.AccessType, type);
    EXPECT_EQ(m->AccessInfo.GpaUnmapped, unmapped);
    EXPECT_EQ(m->AccessInfo.Reserved, 0);
    EXPECT_EQ(m->Gpa, gpa);
    EXPECT_EQ(m->Gva, m->AccessInfo.GvaValid ? gva : 0);
    EXPECT_EQ(vm->exit.VpContext.ExecutionState.InterruptionPending, 0);
}

static void check_access(struct vm *vm, WHV_MEMORY_ACCESS_TYPE type, bool unmapped, uint64_t gpa, uint64_t gva)
{
    check_part(vm, type, unmapped, gpa, gva);
    EXPECT(vm->exit.MemoryAccess.AccessInfo.GvaValid || !vm_knows_gva()); /* else of plain moves */
}

static void check_at_mark(struct vm *vm)
{
    const WHV_MEMORY_ACCESS_CONTEXT *m = &vm->exit.MemoryAccess;

    EXPECT_EQ(vm->exit.VpContext.Rip, vm_mark(vm, 0));
    EXPECT_GE(m->InstructionByteCount, vm_mark(vm, 1) - vm_mark(vm, 0));
    vm_check_bytes(vm, m->InstructionByteCount, m->InstructionBytes, true);
}

TEST(memory_gva, "memory: exits tell the linear address")
{
    VM_GUEST(vm, VM_LONG, "memory_read8", NULL); /* a plain move: from every CPU */
    vm_protect(&vm, HOLE, 0x1000, 0);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    EXPECT_EQ(vm.exit.MemoryAccess.AccessInfo.GvaValid, 1);
    EXPECT_EQ(vm.exit.MemoryAccess.Gva, rows[0].gpa);
}

/* The page is not there; then it is, and the same instruction goes through. */
TEST_ROWS_MODES(memory_unmapped, "memory: unmapped", rows, VM_ALL)
{
    VM_GUEST(vm, mode, row->guest, NULL);
    vm_protect(&vm, HOLE, 0x1000, 0);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    (row->is_part ? check_part : check_access)(&vm, row->type, true, row->gpa, row->gpa);
    check_at_mark(&vm);
    vm_protect(&vm, HOLE, 0x1000, VM_RWX);
    EXPECT_END(&vm);
}

/* The same access where a mapping is, but not the right. */
TEST_ROWS_MODES(memory_forbidden, "memory: forbidden", rows, VM_ALL)
{
    unsigned rights = row->type == WHvMemoryAccessWrite ? VM_RX : X;
    HRESULT result;

    VM_GUEST(vm, mode, row->guest, NULL);
    result = WHvMapGpaRange(vm.partition, vm.memory + HOLE, HOLE, 0x1000, (WHV_MAP_GPA_RANGE_FLAGS)rights);
    if (result != S_OK && rights == X)
        SKIP("no execute-only pages on this CPU");
    EXPECT_OK(result);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    (row->is_part ? check_part : check_access)(&vm, row->type, false, row->gpa, row->gpa);
    check_at_mark(&vm);
    vm_protect(&vm, HOLE, 0x1000, VM_RW);
    EXPECT_END(&vm);
}

static const struct {
    const char *name;
    uint32_t modes;
    const char *guest;
    unsigned rights;
} write_rows[] = {
    {"inc", 0, "memory_rmw", VM_R},
    {"lock xadd", 0, "memory_lock", VM_R},
};

/* A read-modify-write where reading is allowed is a write. */
TEST_ROWS_MODES(memory_rmw, "memory: read-modify-write of a read-only page", write_rows, VM_ALL)
{
    VM_GUEST(vm, mode, row->guest, NULL);
    vm_protect(&vm, HOLE, 0x1000, row->rights);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    EXPECT_EQ(vm.exit.MemoryAccess.AccessInfo.AccessType, WHvMemoryAccessWrite);
    EXPECT_EQ(vm.exit.MemoryAccess.AccessInfo.GpaUnmapped, 0);
    check_at_mark(&vm);
    vm_protect(&vm, HOLE, 0x1000, VM_RW);
    EXPECT_END(&vm);
}

TEST_MODES(memory_push, "memory: push", VM_ALL)
{
    VM_GUEST(vm, mode, "memory_push", NULL);
    vm_protect(&vm, HOLE, 0x1000, 0);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    check_access(&vm, WHvMemoryAccessWrite, true, HOLE + 0x200 - vm_mode_bits(mode) / 8,
                 HOLE + 0x200 - vm_mode_bits(mode) / 8);
    check_at_mark(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRsp), HOLE + 0x200);
    vm_protect(&vm, HOLE, 0x1000, VM_RW);
    EXPECT_END(&vm);
}

/* ------------------------------------------------------------------------------------- content */

TEST_MODES(memory_rep, "memory: rep stos resumes where it stopped", VM_ALL)
{
    VM_GUEST(vm, mode, "memory_rep_stos", NULL);
    vm_protect(&vm, HOLE, 0x1000, 0);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRcx), 8);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRdi), HOLE);
    vm_protect(&vm, HOLE, 0x1000, VM_RW);
    EXPECT_END(&vm);
    for (uint32_t at = HOLE - 8; at < HOLE + 8; at++)
        EXPECT_EQ(vm.memory[at], 0x77);
    EXPECT_EQ(vm.memory[HOLE + 8], 0);
}

/* Nothing of the access happens before the page is there. */
TEST_MODES(memory_cross, "memory: a write across pages is whole or not at all", VM_ALL)
{
    VM_GUEST(vm, mode, "memory_write_cross", NULL);
    vm_protect(&vm, HOLE, 0x1000, 0);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    EXPECT_EQ(vm.memory[HOLE - 2] | vm.memory[HOLE - 1], 0);
    vm_protect(&vm, HOLE, 0x1000, VM_RW);
    EXPECT_END(&vm);
    EXPECT_EQ(vm.memory[HOLE - 2] | vm.memory[HOLE - 1] << 8 | vm.memory[HOLE] << 16 | vm.memory[HOLE + 1] << 24,
              0x44332211);
}

/* The client emulates: it sets the register and steps over. */
TEST_MODES(memory_emulated, "memory: the client answers a read and steps", VM_ALL)
{
    VM_GUEST(vm, mode, "memory_read32", NULL);
    vm_protect(&vm, HOLE, 0x1000, 0);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    vm_set(&vm, WHvX64RegisterRax, 0xcafe);
    vm_set(&vm, WHvX64RegisterRip, vm_mark(&vm, 1));
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax), 0xcafe);
}

/* Another page under the same address is seen at once: no stale translation. */
TEST_MODES(memory_replaced, "memory: mapping again replaces", VM_ALL)
{
    VM_GUEST(vm, mode, "memory_read32", NULL);
    *vm_u32(&vm, HOLE + 0x124) = 0x11111111;
    *vm_u32(&vm, VM_FREE + 0x124) = 0x22222222;
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax), 0x11111111);
    EXPECT_OK(WHvMapGpaRange(vm.partition, vm.memory + VM_FREE, HOLE, 0x1000, WHvMapGpaRangeFlagRead));
    vm_enter(&vm, mode);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax), 0x22222222);
    vm_protect(&vm, HOLE, 0x1000, 0);
    vm_enter(&vm, mode);
    EXPECT_EXIT(&vm, MemoryAccess);
}

/* -------------------------------------------------------------------------------------- fetches */

TEST_MODES(memory_fetch_unmapped, "memory: fetch from an unmapped page", VM_ALL)
{
    VM_GUEST(vm, mode, "memory_jump", NULL);
    vm_protect(&vm, HOLE, 0x1000, 0);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    check_access(&vm, WHvMemoryAccessExecute, true, HOLE + 0x10, HOLE + 0x10);
    EXPECT_EQ(vm.exit.VpContext.Rip, HOLE + 0x10);
    EXPECT_EQ(vm.exit.MemoryAccess.InstructionByteCount, 0);
    vm_protect(&vm, HOLE, 0x1000, VM_RX);
    vm_load_at(&vm, "memory_nop", vm_mode_bits(mode), HOLE + 0x10);
    EXPECT_END(&vm);
}

TEST_MODES(memory_fetch_forbidden, "memory: fetch from a page without execution", VM_ALL)
{
    VM_GUEST(vm, mode, "memory_jump", NULL);
    vm_load_at(&vm, "memory_nop", vm_mode_bits(mode), HOLE + 0x10);
    vm_protect(&vm, HOLE, 0x1000, VM_RW);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    check_access(&vm, WHvMemoryAccessExecute, false, HOLE + 0x10, HOLE + 0x10);
    vm_protect(&vm, HOLE, 0x1000, VM_RX);
    EXPECT_END(&vm);
}

/* An instruction whose second half is missing: its first bytes are told. */
TEST_MODES(memory_fetch_cross, "memory: fetch across pages", VM_ALL)
{
    VM_GUEST(vm, mode, "memory_jump", NULL);
    vm_load_at(&vm, "memory_mov", vm_mode_bits(mode), HOLE - 2);
    vm_set(&vm, WHvX64RegisterRip, HOLE - 2);
    vm_protect(&vm, HOLE, 0x1000, 0);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    check_access(&vm, WHvMemoryAccessExecute, true, HOLE, HOLE);
    EXPECT_EQ(vm.exit.VpContext.Rip, HOLE - 2);
    EXPECT_EQ(vm.exit.MemoryAccess.InstructionByteCount, 2);
    vm_check_bytes(&vm, 2, vm.exit.MemoryAccess.InstructionBytes, true);
    vm_protect(&vm, HOLE, 0x1000, VM_RX);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax), 0x12345678);
}

/* -------------------------------------------------------------------------------- page walks */

static uint64_t table_of(const struct vm *vm, uint64_t address)
{
    return vm_pte_gpa(vm, address) & ~0xfffull;
}

/* The page table itself is missing: no GVA, the entry's GPA. */
TEST_MODES(memory_walk_unmapped, "memory: page walk into an unmapped table", VM_PAGED)
{
    uint64_t table;

    VM_GUEST(vm, mode, "memory_read8", NULL);
    table = table_of(&vm, HOLE);
    vm_protect(&vm, table, 0x1000, 0);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    EXPECT_EQ(vm.exit.MemoryAccess.AccessInfo.GpaUnmapped, 1);
    EXPECT_EQ(vm.exit.MemoryAccess.AccessInfo.GvaValid, 0);
    EXPECT_EQ(vm.exit.MemoryAccess.Gpa & ~0xfffull, table);
    vm_protect(&vm, table, 0x1000, VM_RW);
    EXPECT_END(&vm);
}

static void set_accessed_and_dirty(struct vm *vm, unsigned except)
{
    for (unsigned page = 0; page < 16; page++)
        if (page != except)
            vm_pte_or(vm, page << 12, PTE_A | PTE_D);
}

static const struct {
    const char *name;
    uint32_t modes;
    unsigned tracked; /* flag for another page: EPT's own accessed and dirty bits are on with it */
} walks[] = {
    {"", 0, 0},
    {"where dirty pages are tracked", 0, WHvMapGpaRangeFlagTrackDirtyPages},
};

/*
 * Accessed and dirty bits have to be written: a table without that right is told so. Bochs 2.7 looks at that right only
 * with EPT's own bits on.
 */
TEST_ROWS_MODES(memory_walk_dirty, "memory: page walk that has to write accessed and dirty bits", walks, VM_PAGED)
{
    uint64_t table;

    VM_GUEST(vm, mode, "memory_write_data", NULL);
    table = table_of(&vm, 0xc000);
    set_accessed_and_dirty(&vm, 0xc);
    vm_protect(&vm, table, 0x1000, VM_R);
    if (row->tracked && WHvMapGpaRange(vm.partition, vm_at(&vm, VM_FREE), VM_FREE, 0x1000,
                                       (WHV_MAP_GPA_RANGE_FLAGS)(VM_RWX | row->tracked)) != S_OK)
        SKIP("no dirty bits on this CPU");
    vm_run(&vm);
    if (!row->tracked && vm.exit.ExitReason == WHvRunVpExitReasonX64Halt &&
        *vm_u32(&vm, vm_pte_gpa(&vm, 0xc000)) & PTE_D)
        SKIP("this CPU writes the bits into a table that may not be written");
    REQUIRE(vm_check_reason(&vm, WHvRunVpExitReasonMemoryAccess, __FILE__, __LINE__));
    EXPECT_EQ(vm.exit.MemoryAccess.AccessInfo.AccessType, WHvMemoryAccessWrite);
    EXPECT_EQ(vm.exit.MemoryAccess.AccessInfo.GpaUnmapped, 0);
    EXPECT_EQ(vm.exit.MemoryAccess.AccessInfo.GvaValid, 0);
    EXPECT_EQ(vm.exit.MemoryAccess.Gpa & ~0xfffull, table);
    vm_protect(&vm, table, 0x1000, VM_RW);
    EXPECT_END(&vm);
    EXPECT_EQ(*vm_u32(&vm, vm_pte_gpa(&vm, 0xc000)) & (PTE_A | PTE_D), PTE_A | PTE_D);
}

/* Firmware keeps its page tables in ROM, with the bits set: nothing has to be written there. */
TEST_MODES(memory_walk_rom, "memory: page tables in read-only memory", VM_PAGED)
{
    uint64_t table;

    if (vm_is_svm())
        SKIP("SVM: walks of the guest's tables count as writes, needed or not (APM 2 15.25.5)");
    VM_GUEST(vm, mode, "memory_write_data", NULL);
    table = table_of(&vm, 0xc000);
    set_accessed_and_dirty(&vm, ~0u);
    vm_protect(&vm, table, 0x1000, VM_R);
    EXPECT_END(&vm);
}

/* ------------------------------------------------------------------------------ high addresses */

TEST_MODES(memory_high, "memory: a linear address that is not the physical one", VM_PAGED & ~VM_CODE64)
{
    VM_GUEST(vm, mode, "memory_esi", NULL);
    vm_set(&vm, WHvX64RegisterRsi, 0x3456789c);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    check_access(&vm, WHvMemoryAccessRead, true, 0x3456789c, 0x3456789c);
}

TEST(memory_above_4g, "memory: a GPA above 4 GiB, a GVA in the upper half")
{
    VM_GUEST(vm, VM_LONG, "memory_at_rsi", NULL);
    vm_u64(&vm, VM_PML4)[511] = VM_PDPT | 7;
    vm_u64(&vm, VM_PD)[511] = 0x1234e00000ull | 0x87;
    vm_set(&vm, WHvX64RegisterRsi, 0xffffff803fe56788ull);
    REQUIRE(EXPECT_EXIT(&vm, MemoryAccess));
    check_access(&vm, WHvMemoryAccessRead, true, 0x1234e56788ull, 0xffffff803fe56788ull);
    EXPECT_OK(WHvMapGpaRange(vm.partition, vm.memory + VM_FREE, 0x1234e56000ull, 0x1000, WHvMapGpaRangeFlagRead));
    *vm_u32(&vm, VM_FREE + 0x788) = 0xabcdef;
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax), 0xabcdef);
}

static void narrow_addresses(struct vm *vm)
{
    const UINT32 bits = 36;

    vm_set_property(vm, WHvPartitionPropertyCodePhysicalAddressWidth, &bits, sizeof(bits));
}

TEST(memory_narrow, "memory: nothing is mapped beyond the partition's address width")
{
    VM_GUEST(vm, VM_LONG, "smoke_halt", narrow_addresses);
    EXPECT_HR(WHvMapGpaRange(vm.partition, vm.memory, 1ull << 36, 0x1000, WHvMapGpaRangeFlagRead), E_INVALIDARG);
    EXPECT_HR(WHvMapGpaRange(vm.partition, vm.memory, (1ull << 36) - 0x1000, 0x2000, WHvMapGpaRangeFlagRead),
              E_INVALIDARG);
    EXPECT_OK(WHvMapGpaRange(vm.partition, vm.memory, (1ull << 36) - 0x1000, 0x1000, WHvMapGpaRangeFlagRead));
    EXPECT_END(&vm);
}

/* One page of the host at two addresses of the guest's. */
TEST(memory_alias, "memory: one page at two guest-physical addresses")
{
    VM_GUEST(vm, VM_REAL, "memory_write32", NULL);
    EXPECT_OK(WHvMapGpaRange(vm.partition, vm.memory + VM_FREE, HOLE, 0x1000,
                             WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagWrite));
    EXPECT_END(&vm);
    EXPECT_EQ(*vm_u32(&vm, VM_FREE + 0x124), 0x12345678);
    EXPECT_EQ(*vm_u32(&vm, HOLE + 0x124), 0);
}

/* No register is set by the client. */
TEST_MODES(memory_start, "memory: a VP just created starts at FFFF0 with 1 MiB mapped", VM_BIT(VM_REAL))
{
    WHV_X64_SEGMENT_REGISTER cs;

    (void)mode;
    VM(vm);
    REQUIRE(vm_create(&vm, 1, NULL));
    memcpy(vm_at(&vm, 0xffff0), "\xea\x00\x80\x00\x00", 5); /* jmp 0:8000 */
    REQUIRE(vm_load_at(&vm, "smoke_halt", 16, VM_CODE));
    cs = vm_get_segment(&vm, WHvX64RegisterCs);
    EXPECT_EQ(cs.Selector, 0xf000);
    EXPECT_EQ(cs.Base, 0xf0000);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRip), 0xfff0);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRflags), 2);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterCr0) & (CR0_PE | CR0_PG), 0);
    EXPECT_END(&vm);
}
