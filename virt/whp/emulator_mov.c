/* SPDX-License-Identifier: MIT */
/*
 * Plain moves, without the emulator: the exit has told the address, and that the guest's tables and segments allow the
 * access. Registers that the operands name are all that is read, and those that change all that is written. What comes
 * of it is what comes of the emulator.
 */
#include "emulator_mov.h"
#include <hv/base/bits.h>
#include <hv/mov.h>

#define RFLAGS_TF BIT64(8)
#define RFLAGS_RF BIT64(16)

#define REGISTERS_MAX 3 /* base, index and source; RIP, RFLAGS and destination */

_Static_assert(WHvX64RegisterR15 == 15, "general registers by their number in instructions");
_Static_assert(sizeof(((WHV_MEMORY_ACCESS_CONTEXT *)0)->InstructionBytes) == HV_INSTRUCTION_BYTES_MAX, "bytes");

/* Amid the delivery of an event, or with more at its end: a single step's trap, the end of an interrupt shadow. */
static inline bool is_special(const WHV_VP_EXIT_CONTEXT *vp)
{
    return vp->ExecutionState.InterruptionPending || vp->ExecutionState.InterruptShadow || vp->Rflags & RFLAGS_TF;
}

static inline bool is_64bit(const WHV_VP_EXIT_CONTEXT *vp)
{
    return vp->ExecutionState.EferLma && vp->Cs.Long;
}

/* Of FS and GS the base counts. */
static bool decode(struct hv_mov *mov, const WHV_MEMORY_ACCESS_CONTEXT *memory)
{
    struct hv_instruction bytes = {.count = memory->InstructionByteCount};

    __builtin_memcpy(bytes.bytes, memory->InstructionBytes, sizeof(bytes.bytes));
    return hv_mov_decode(mov, &bytes, 8) && mov->segment < 4 &&
           memory->AccessInfo.AccessType == (mov->is_store ? WHvMemoryAccessWrite : WHvMemoryAccessRead);
}

/* ------------------------------------------------------------------------------------ registers */

/* Those that the address is made of, and the one that is stored, or written in part. */
static UINT32 list_registers(const struct hv_mov *mov, WHV_REGISTER_NAME *names)
{
    UINT32 count = 0;

    if (mov->base < HV_MOV_RIP)
        names[count++] = (WHV_REGISTER_NAME)mov->base;
    if (mov->index < HV_MOV_RIP)
        names[count++] = (WHV_REGISTER_NAME)mov->index;
    if (mov->is_store ? !mov->is_immediate : mov->reg_size < 4)
        names[count++] = (WHV_REGISTER_NAME)mov->reg;
    return count;
}

/* By their numbers; others are left as they are. */
static bool get_registers(const WHV_EMULATOR_CALLBACKS *callbacks, VOID *context, const struct hv_mov *mov,
                          uint64_t *gpr)
{
    WHV_REGISTER_NAME names[REGISTERS_MAX];
    WHV_REGISTER_VALUE values[REGISTERS_MAX];
    UINT32 count = list_registers(mov, names);

    if (count && FAILED(callbacks->WHvEmulatorGetVirtualProcessorRegisters(context, names, count, values)))
        return false;
    while (count--)
        gpr[names[count] % 16] = values[count].Reg64;
    return true;
}

struct register_list {
    UINT32 count;
    WHV_REGISTER_NAME names[REGISTERS_MAX];
    WHV_REGISTER_VALUE values[REGISTERS_MAX];
};

static inline void put(struct register_list *list, WHV_REGISTER_NAME name, uint64_t value)
{
    list->values[list->count] = (WHV_REGISTER_VALUE){.Reg128 = {.Low64 = value}};
    list->names[list->count++] = name;
}

static bool set_registers(const WHV_EMULATOR_CALLBACKS *callbacks, VOID *context, const WHV_VP_EXIT_CONTEXT *vp,
                          const struct hv_mov *mov, uint64_t loaded)
{
    struct register_list list;

    list.count = 0;
    put(&list, WHvX64RegisterRip, vp->Rip + mov->length);
    if (vp->Rflags & RFLAGS_RF)
        put(&list, WHvX64RegisterRflags, vp->Rflags & ~RFLAGS_RF);
    if (!mov->is_store)
        put(&list, (WHV_REGISTER_NAME)mov->reg, loaded);
    return !FAILED(callbacks->WHvEmulatorSetVirtualProcessorRegisters(context, list.names, list.count, list.values));
}

/* ----------------------------------------------------------------------------------- the access */

/* In the page that the exit has told of, as a whole. An exit may tell of the part behind a page's end. */
static bool find_gpa(const WHV_MEMORY_ACCESS_CONTEXT *memory, hv_gva_t gva, unsigned size, hv_gpa_t *gpa)
{
    *gpa = (memory->Gpa & ~HV_PAGE_MASK) | (gva & HV_PAGE_MASK);
    return !((gva ^ memory->Gva) & ~HV_PAGE_MASK) && (gva & HV_PAGE_MASK) + size <= HV_PAGE_SIZE;
}

static bool access_memory(const WHV_EMULATOR_CALLBACKS *callbacks, VOID *context, hv_gpa_t gpa,
                          const struct hv_mov *mov, uint64_t *value)
{
    WHV_EMULATOR_MEMORY_ACCESS_INFO access = {
        .GpaAddress = gpa,
        .Direction = mov->is_store,
        .AccessSize = mov->size,
    };

    __builtin_memcpy(access.Data, value, sizeof(*value));
    if (FAILED(callbacks->WHvEmulatorMemoryCallback(context, &access)))
        return false;
    __builtin_memcpy(value, access.Data, sizeof(*value));
    return true;
}

bool emulator_mov(const WHV_EMULATOR_CALLBACKS *callbacks, VOID *context, const WHV_VP_EXIT_CONTEXT *vp,
                  const WHV_MEMORY_ACCESS_CONTEXT *memory, WHV_EMULATOR_STATUS *status)
{
    uint64_t gpr[16], value = 0;
    struct hv_mov mov;
    hv_gpa_t gpa;

    if (!memory->AccessInfo.GvaValid || !is_64bit(vp) || is_special(vp) || !decode(&mov, memory))
        return false;
    if (!get_registers(callbacks, context, &mov, gpr)) {
        status->GetVirtualProcessorRegistersCallbackFailed = 1;
        return true;
    }
    if (!find_gpa(memory, hv_mov_offset(&mov, gpr, vp->Rip), mov.size, &gpa))
        return false;
    if (mov.is_store)
        value = hv_mov_stored(&mov, gpr);
    if (!access_memory(callbacks, context, gpa, &mov, &value)) {
        status->MemoryCallbackFailed = 1;
        return true;
    }
    if (!mov.is_store)
        value = hv_mov_loaded(&mov, mov.reg_size < 4 ? gpr[mov.reg] : 0, value);
    if (set_registers(callbacks, context, vp, &mov, value))
        status->EmulationSuccessful = 1;
    else
        status->SetVirtualProcessorRegistersCallbackFailed = 1;
    return true;
}
