/* SPDX-License-Identifier: MIT */
/*
 * Plain moves, without the emulator: the exit has told where the operand is, and that the guest's tables and segments
 * allow the access. Read is a register that is stored, or written in part; written are those that change. What comes of
 * it is what comes of the emulator.
 */
#include "emulator_mov.h"
#include <hv/base/bits.h>
#include <hv/mov.h>

/* Into one function, which keeps what it knows in registers. */
#define ALWAYS_INLINE inline __attribute__((always_inline))

#define RFLAGS_TF BIT32(8)
#define RFLAGS_RF BIT64(16)

_Static_assert(WHvX64RegisterR15 == 15, "general registers by their number in instructions");
_Static_assert(sizeof(((WHV_MEMORY_ACCESS_CONTEXT *)0)->InstructionBytes) == HV_INSTRUCTION_BYTES_MAX, "bytes");

#define CS_LONG 0x2000u /* WHV_X64_SEGMENT_REGISTER.Long in Attributes */

/* In 64-bit code, not amid the delivery of an event, and with no more at its end: a single step's trap, the end of an
 * interrupt shadow. */
static inline bool is_usual(const WHV_VP_EXIT_CONTEXT *vp)
{
    const WHV_X64_VP_EXECUTION_STATE usual = {.EferLma = 1};
    const WHV_X64_VP_EXECUTION_STATE counts = {.EferLma = 1, .InterruptionPending = 1, .InterruptShadow = 1};

    return (vp->ExecutionState.AsUINT16 & counts.AsUINT16) == usual.AsUINT16 && vp->Cs.Attributes & CS_LONG &&
           !((uint32_t)vp->Rflags & RFLAGS_TF);
}

/* One move, and what is known of it. */
struct move {
    const WHV_EMULATOR_CALLBACKS *callbacks;
    VOID *context; /* the client's */
    const struct hv_mov *mov;
    hv_gpa_t gpa;
    uint64_t rip, rflags;
};

static const WHV_EMULATOR_STATUS other = {.AsUINT32 = 0};
static const WHV_EMULATOR_STATUS successful = {.EmulationSuccessful = 1};
static const WHV_EMULATOR_STATUS memory_failed = {.MemoryCallbackFailed = 1};
static const WHV_EMULATOR_STATUS get_failed = {.GetVirtualProcessorRegistersCallbackFailed = 1};
static const WHV_EMULATOR_STATUS set_failed = {.SetVirtualProcessorRegistersCallbackFailed = 1};

/* ---------------------------------------------------------------------------------- the callbacks */

static ALWAYS_INLINE bool access_memory(const struct move *m, uint64_t *value)
{
    WHV_EMULATOR_MEMORY_ACCESS_INFO access = {
        .GpaAddress = m->gpa,
        .Direction = m->mov->is_store,
        .AccessSize = m->mov->size,
    };

    __builtin_memcpy(access.Data, value, sizeof(*value));
    if (FAILED(m->callbacks->WHvEmulatorMemoryCallback(m->context, &access)))
        return false;
    __builtin_memcpy(value, access.Data, sizeof(*value));
    return true;
}

static inline bool get_register(const struct move *m, uint64_t *value)
{
    WHV_REGISTER_NAME name = (WHV_REGISTER_NAME)m->mov->reg;
    WHV_REGISTER_VALUE got = {.Reg128 = {{0}}}; /* for a callback that fills in nothing */

    if (FAILED(m->callbacks->WHvEmulatorGetVirtualProcessorRegisters(m->context, &name, 1, &got)))
        return false;
    *value = got.Reg64;
    return true;
}

struct register_list {
    UINT32 count;
    WHV_REGISTER_NAME names[3]; /* RIP, what is loaded, RFLAGS */
    WHV_REGISTER_VALUE values[3];
};

static inline void put(struct register_list *list, WHV_REGISTER_NAME name, uint64_t value)
{
    list->values[list->count].Reg128.Low64 = value;
    list->values[list->count].Reg128.High64 = 0;
    list->names[list->count++] = name;
}

/* loaded: NULL for stores. */
static ALWAYS_INLINE WHV_EMULATOR_STATUS set_registers(const struct move *m, const uint64_t *loaded)
{
    struct register_list list;

    list.count = 0;
    put(&list, WHvX64RegisterRip, m->rip + m->mov->length);
    if (loaded)
        put(&list, (WHV_REGISTER_NAME)m->mov->reg, *loaded);
    if (m->rflags & RFLAGS_RF)
        put(&list, WHvX64RegisterRflags, m->rflags & ~RFLAGS_RF);
    return FAILED(
               m->callbacks->WHvEmulatorSetVirtualProcessorRegisters(m->context, list.names, list.count, list.values))
               ? set_failed
               : successful;
}

/* ------------------------------------------------------------------------------------- the moves */

static ALWAYS_INLINE WHV_EMULATOR_STATUS load(const struct move *m)
{
    uint64_t before = 0, value = 0;

    if (m->mov->reg_size < 4 && !get_register(m, &before)) /* the rest of it stays */
        return get_failed;
    if (!access_memory(m, &value))
        return memory_failed;
    value = hv_mov_loaded(m->mov, before, value);
    return set_registers(m, &value);
}

static ALWAYS_INLINE WHV_EMULATOR_STATUS store(const struct move *m)
{
    uint64_t value = 0;

    if (!m->mov->is_immediate && !get_register(m, &value))
        return get_failed;
    value = hv_mov_stored_of(m->mov, value);
    return access_memory(m, &value) ? set_registers(m, NULL) : memory_failed;
}

/* Gva is where a plain move's operand begins (see exit_mmio.c), and so is Gpa, unless that is the part in the next page
 * of an operand that goes over a page's end. */
static inline bool is_whole(hv_gpa_t gpa, hv_gva_t gva, unsigned size)
{
    return !((gpa ^ gva) & HV_PAGE_MASK) && (gpa & HV_PAGE_MASK) + size <= HV_PAGE_SIZE;
}

static ALWAYS_INLINE bool decode(struct hv_mov *mov, const UINT8 *instruction, UINT8 count,
                                 const WHV_MEMORY_ACCESS_INFO *info)
{
    uint8_t bytes[HV_INSTRUCTION_BYTES_MAX];

    __builtin_memcpy(bytes, instruction, sizeof(bytes));
    return count <= sizeof(bytes) && hv_mov_decode(mov, bytes, count, 8) &&
           info->AccessType == (mov->is_store ? WHvMemoryAccessWrite : WHvMemoryAccessRead);
}

WHV_EMULATOR_STATUS emulator_mov(const WHV_EMULATOR_CALLBACKS *callbacks, VOID *context,
                                 const WHV_VP_EXIT_CONTEXT *from_vp, const WHV_MEMORY_ACCESS_CONTEXT *from_memory)
{
    WHV_MEMORY_ACCESS_CONTEXT memory;
    WHV_VP_EXIT_CONTEXT vp;
    struct hv_mov mov;
    struct move m;

    __builtin_memcpy(&vp, from_vp, sizeof(vp));
    __builtin_memcpy(&memory, from_memory, sizeof(memory));
    if (!memory.AccessInfo.GvaValid || !is_usual(&vp) ||
        !decode(&mov, from_memory->InstructionBytes, memory.InstructionByteCount, &memory.AccessInfo) ||
        !is_whole(memory.Gpa, memory.Gva, mov.size))
        return other;
    m = (struct move){callbacks, context, &mov, memory.Gpa, vp.Rip, vp.Rflags};
    return mov.is_store ? store(&m) : load(&m);
}
