/* SPDX-License-Identifier: MIT */
/* X64IoPortAccess: every form of IN, OUT, INS and OUTS, in every mode, each field of the context. */
#include "test.h"
#include "vm.h"

#define PORT_DX  0xfedcu
#define DATA_RAX 0x89abcdefu
#define DATA_RCX 3
#define DATA_RSI (VM_DATA + 0x100)
#define DATA_RDI (VM_DATA + 0x200)

enum { OUT = 1, STRING = 2, REP = 4 };

static const struct io_row {
    const char *name;
    uint32_t modes;
    const char *guest;
    uint16_t port;
    uint8_t size, kind;
} rows[] = {
    {"out dx, al", 0, "io_out8_dx", PORT_DX, 1, OUT},
    {"out dx, ax", 0, "io_out16_dx", PORT_DX, 2, OUT},
    {"out dx, eax", 0, "io_out32_dx", PORT_DX, 4, OUT},
    {"in al, dx", 0, "io_in8_dx", PORT_DX, 1, 0},
    {"in ax, dx", 0, "io_in16_dx", PORT_DX, 2, 0},
    {"in eax, dx", 0, "io_in32_dx", PORT_DX, 4, 0},
    {"out imm, al", 0, "io_out8_imm", 0xfe, 1, OUT},
    {"out imm, ax", 0, "io_out16_imm", 0x70, 2, OUT},
    {"out imm, eax", 0, "io_out32_imm", 0, 4, OUT},
    {"in al, imm", 0, "io_in8_imm", 0x71, 1, 0},
    {"in ax, imm", 0, "io_in16_imm", 0x20, 2, 0},
    {"in eax, imm", 0, "io_in32_imm", 0xff, 4, 0},
    {"outsb", 0, "io_outsb", PORT_DX, 1, OUT | STRING},
    {"outsw", 0, "io_outsw", PORT_DX, 2, OUT | STRING},
    {"outsd", 0, "io_outsd", PORT_DX, 4, OUT | STRING},
    {"insb", 0, "io_insb", PORT_DX, 1, STRING},
    {"insw", 0, "io_insw", PORT_DX, 2, STRING},
    {"insd", 0, "io_insd", PORT_DX, 4, STRING},
    {"rep outsb", 0, "io_rep_outsb", PORT_DX, 1, OUT | STRING | REP},
    {"rep outsw", 0, "io_rep_outsw", PORT_DX, 2, OUT | STRING | REP},
    {"rep outsd", 0, "io_rep_outsd", PORT_DX, 4, OUT | STRING | REP},
    {"rep insb", 0, "io_rep_insb", PORT_DX, 1, STRING | REP},
    {"rep insw", 0, "io_rep_insw", PORT_DX, 2, STRING | REP},
    {"rep insd", 0, "io_rep_insd", PORT_DX, 4, STRING | REP},
    {"fs outsb", 0, "io_fs_outsb", PORT_DX, 1, OUT | STRING},
    {"a32 outsb", 0, "io_a32_outsb", PORT_DX, 1, OUT | STRING},
    {"a16 insb", VM_ALL & ~VM_CODE64, "io_a16_insb", PORT_DX, 1, STRING},
};

static void prepare(struct vm *vm)
{
    vm_set(vm, WHvX64RegisterRax, DATA_RAX);
    vm_set(vm, WHvX64RegisterRcx, DATA_RCX);
    vm_set(vm, WHvX64RegisterRdx, PORT_DX);
    vm_set(vm, WHvX64RegisterRsi, DATA_RSI);
    vm_set(vm, WHvX64RegisterRdi, DATA_RDI);
    if (vm_mode_in(vm->mode, VM_CPL3))
        vm_set(vm, WHvX64RegisterRflags, FLAG_FIXED | FLAG_IOPL3);
}

static void check_segments(struct vm *vm)
{
    WHV_X64_SEGMENT_REGISTER ds = vm_get_segment(vm, WHvX64RegisterDs), es = vm_get_segment(vm, WHvX64RegisterEs);

    EXPECT_BYTES(&vm->exit.IoPortAccess.Ds, &ds, sizeof(ds));
    EXPECT_BYTES(&vm->exit.IoPortAccess.Es, &es, sizeof(es));
}

static void check_io(struct vm *vm, const struct io_row *row)
{
    const WHV_X64_IO_PORT_ACCESS_CONTEXT *io = &vm->exit.IoPortAccess;

    EXPECT_EQ(io->PortNumber, row->port);
    EXPECT_EQ(io->AccessInfo.IsWrite, (row->kind & OUT) != 0);
    EXPECT_EQ(io->AccessInfo.AccessSize, row->size);
    EXPECT_EQ(io->AccessInfo.StringOp, (row->kind & STRING) != 0);
    EXPECT_EQ(io->AccessInfo.RepPrefix, (row->kind & REP) != 0);
    EXPECT_EQ(io->AccessInfo.Reserved, 0);
    EXPECT_EQ(io->Rax, DATA_RAX);
    EXPECT_EQ(io->Rcx, DATA_RCX);
    EXPECT_EQ(io->Rsi, DATA_RSI);
    EXPECT_EQ(io->Rdi, DATA_RDI);
    check_segments(vm);
    vm_check_bytes(vm, io->InstructionByteCount, io->InstructionBytes, row->kind & STRING);
}

TEST_ROWS_MODES(exits_io, "exits: io", rows, VM_ALL)
{
    VM_GUEST(vm, mode, row->guest, NULL);
    prepare(&vm);
    REQUIRE(EXPECT_EXIT(&vm, X64IoPortAccess));
    vm_check_instruction(&vm, 0);
    check_io(&vm, row);
    vm_step(&vm);
    EXPECT_END(&vm);
}

/* What the client puts into RAX is what the guest has read; nothing of the instruction was done before. */
TEST_MODES(exits_io_answer, "exits: io: the client's answer to IN", VM_ALL)
{
    VM_GUEST(vm, mode, "io_in32_dx", NULL);
    prepare(&vm);
    REQUIRE(EXPECT_EXIT(&vm, X64IoPortAccess));
    vm_set(&vm, WHvX64RegisterRax, 0x12345678);
    vm_step(&vm);
    EXPECT_END(&vm);
    EXPECT_EQ(vm_get(&vm, WHvX64RegisterRax), 0x12345678);
}

/* Segments that differ from each other show which one goes where. */
TEST(exits_io_segments, "exits: io: DS and ES of string forms")
{
    VM_GUEST(vm, VM_REAL, "io_outsb", NULL);
    prepare(&vm);
    vm_set_segment(&vm, WHvX64RegisterDs, 0x0500, 0x5000, 0xffff, 0x93);
    vm_set_segment(&vm, WHvX64RegisterEs, 0x0600, 0x6000, 0xffff, 0x93);
    REQUIRE(EXPECT_EXIT(&vm, X64IoPortAccess));
    check_segments(&vm);
    EXPECT_EQ(vm.exit.IoPortAccess.Ds.Selector, 0x500);
    EXPECT_EQ(vm.exit.IoPortAccess.Ds.Base, 0x5000);
    EXPECT_EQ(vm.exit.IoPortAccess.Es.Base, 0x6000);
}

/* Without IOPL and without an I/O bitmap there is no exit, but #GP. */
TEST_MODES(exits_io_denied, "exits: io: #GP at CPL 3 without IOPL", VM_CPL3)
{
    VM_GUEST(vm, mode, "io_out8_dx", NULL);
    EXPECT_VECTOR(&vm, 13);
    EXPECT_EQ(vm_stack(&vm, 0), 0);
    EXPECT_EQ(vm_stack(&vm, 1), vm_mark(&vm, 0));
}
