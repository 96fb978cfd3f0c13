/* SPDX-License-Identifier: MIT */
/*
 * The WinHvEmulation API: hv_emulate() with the client's callbacks around it. An emulation reads the registers that it
 * needs once, and writes those that changed once, at its end. All of its state is on the stack: the object behind a
 * handle only holds the callbacks.
 */
#include "call.h"
#include "emulator_mov.h"
#include <hv/base/bits.h>
#include <hv/base/memory.h>
#include <hv/emulate.h>
#include <whp/WinHvEmulation.h>

#define EMULATORS_MAX 1024

static struct whp_slot emulator_slots[EMULATORS_MAX] __attribute__((aligned(64)));
static struct whp_free emulator_rest;
static const struct whp_table emulators = {
    .tag = WHP_TAG_EMULATOR, .size = EMULATORS_MAX, .slots = emulator_slots, .rest = &emulator_rest};

_Static_assert(sizeof(WHV_EMULATOR_CALLBACKS) == 48, "WHV_EMULATOR_CALLBACKS");
_Static_assert(sizeof(WHV_X64_SEGMENT_REGISTER) == sizeof(struct hv_segment), "WHV_X64_SEGMENT_REGISTER");
_Static_assert((uint32_t)WHvTranslateGvaFlagValidateRead == HV_TRANSLATE_READ, "translate flags");
_Static_assert((uint32_t)WHvTranslateGvaFlagValidateExecute == HV_TRANSLATE_EXECUTE, "translate flags");
_Static_assert((uint32_t)WHvTranslateGvaFlagSetPageTableBits == HV_TRANSLATE_SET_BITS, "translate flags");
_Static_assert((uint32_t)WHvTranslateGvaResultPageNotPresent == HV_TRANSLATE_NOT_PRESENT, "translate results");
_Static_assert((uint32_t)WHvTranslateGvaResultIntercept == HV_TRANSLATE_INTERCEPT, "translate results");

/* --------------------------------------------------------------------------- registers */

/* What is asked for: general registers by their number, and the rest in this order. */
enum {
    GOT_ES = 16,
    GOT_SS,
    GOT_DS,
    GOT_FS,
    GOT_GS,
    GOT_CR0,
    GOT_CR4,
    GOT_EFER,
    GOT_ALWAYS,
    GOT_INTERRUPT_STATE = GOT_ALWAYS, /* only when the instruction stands in a shadow */
    GOT_MAX
};

static const WHV_REGISTER_NAME names_to_get[GOT_MAX] = {
    WHvX64RegisterRax,
    WHvX64RegisterRcx,
    WHvX64RegisterRdx,
    WHvX64RegisterRbx,
    WHvX64RegisterRsp,
    WHvX64RegisterRbp,
    WHvX64RegisterRsi,
    WHvX64RegisterRdi,
    WHvX64RegisterR8,
    WHvX64RegisterR9,
    WHvX64RegisterR10,
    WHvX64RegisterR11,
    WHvX64RegisterR12,
    WHvX64RegisterR13,
    WHvX64RegisterR14,
    WHvX64RegisterR15,
    [GOT_ES] = WHvX64RegisterEs,
    [GOT_SS] = WHvX64RegisterSs,
    [GOT_DS] = WHvX64RegisterDs,
    [GOT_FS] = WHvX64RegisterFs,
    [GOT_GS] = WHvX64RegisterGs,
    [GOT_CR0] = WHvX64RegisterCr0,
    [GOT_CR4] = WHvX64RegisterCr4,
    [GOT_EFER] = WHvX64RegisterEfer,
    [GOT_INTERRUPT_STATE] = WHvRegisterInterruptState,
};

/* Writes of an emulation: RIP, RFLAGS, 16 general registers, one XMM register, shadow, single step or exception. */
#define SET_MAX 21

/* One call of TryIo or TryMmio. */
struct session {
    const WHV_EMULATOR_CALLBACKS *callbacks;
    VOID *context; /* the client's */
    WHV_VP_EXIT_CONTEXT vp;
    WHV_EMULATOR_STATUS status;
    struct hv_emulate_state state;
    WHV_REGISTER_VALUE got[GOT_MAX];

    UINT32 count; /* writes */
    WHV_REGISTER_NAME names[SET_MAX];
    WHV_REGISTER_VALUE values[SET_MAX];
};

static bool in_shadow(const struct session *s)
{
    return s->vp.ExecutionState.InterruptShadow;
}

#define RFLAGS_TF BIT64(8)
#define RFLAGS_RF BIT64(16)

static bool steps(const struct session *s)
{
    return (s->vp.Rflags & RFLAGS_TF) != 0;
}

static void set_u128(struct session *s, WHV_REGISTER_NAME name, uint64_t low, uint64_t high)
{
    WHV_REGISTER_VALUE *value = &s->values[s->count];

    s->names[s->count++] = name;
    memset(value, 0, sizeof(*value));
    value->Reg128.Low64 = low;
    value->Reg128.High64 = high;
}

static void set_u64(struct session *s, WHV_REGISTER_NAME name, uint64_t to)
{
    set_u128(s, name, to, 0);
}

static void to_segment(struct hv_segment *to, const WHV_X64_SEGMENT_REGISTER *from)
{
    memcpy(to, from, sizeof(*to));
}

static bool get_registers(struct session *s)
{
    struct hv_emulate_state *state = &s->state;
    UINT32 count = in_shadow(s) ? GOT_MAX : GOT_ALWAYS;

    memset(s->got, 0, count * sizeof(*s->got)); /* for a callback that does not fill in all */
    if (FAILED(s->callbacks->WHvEmulatorGetVirtualProcessorRegisters(s->context, names_to_get, count, s->got))) {
        s->status.GetVirtualProcessorRegistersCallbackFailed = 1;
        return false;
    }
    for (unsigned i = 0; i < ARRAY_COUNT(state->gpr); i++)
        state->gpr[i] = s->got[i].Reg64;
    to_segment(&state->seg[HV_EMULATE_ES], &s->got[GOT_ES].Segment);
    to_segment(&state->seg[HV_EMULATE_CS], &s->vp.Cs);
    to_segment(&state->seg[HV_EMULATE_SS], &s->got[GOT_SS].Segment);
    to_segment(&state->seg[HV_EMULATE_DS], &s->got[GOT_DS].Segment);
    to_segment(&state->seg[HV_EMULATE_FS], &s->got[GOT_FS].Segment);
    to_segment(&state->seg[HV_EMULATE_GS], &s->got[GOT_GS].Segment);
    state->cr0 = s->got[GOT_CR0].Reg64;
    state->cr4 = s->got[GOT_CR4].Reg64;
    state->efer = s->got[GOT_EFER].Reg64;
    state->rip = s->vp.Rip;
    state->rflags = s->vp.Rflags;
    state->cpl = s->vp.ExecutionState.Cpl;
    return true;
}

static void set_registers(struct session *s)
{
    const WHV_EMULATOR_CALLBACKS *c = s->callbacks;

    if (FAILED(c->WHvEmulatorSetVirtualProcessorRegisters(s->context, s->names, s->count, s->values)))
        s->status.SetVirtualProcessorRegistersCallbackFailed = 1;
    else
        s->status.EmulationSuccessful = 1;
}

/* The registers that the emulator has changed. */
static void list_changes(struct session *s)
{
    set_u64(s, WHvX64RegisterRip, s->state.rip);
    if (s->state.rflags != s->vp.Rflags)
        set_u64(s, WHvX64RegisterRflags, s->state.rflags);
    for (unsigned i = 0; s->state.gpr_changed && i < ARRAY_COUNT(s->state.gpr); i++)
        if (s->state.gpr[i] != s->got[i].Reg64)
            set_u64(s, names_to_get[i], s->state.gpr[i]);
}

static void end_shadow(struct session *s)
{
    WHV_X64_INTERRUPT_STATE_REGISTER interrupts = s->got[GOT_INTERRUPT_STATE].InterruptState;

    interrupts.InterruptShadow = 0;
    set_u64(s, WHvRegisterInterruptState, interrupts.AsUINT64);
}

static void trap_step(struct session *s)
{
    WHV_X64_PENDING_DEBUG_EXCEPTION trap = {.SingleStep = 1};

    set_u64(s, WHvX64RegisterPendingDebugException, trap.AsUINT64);
}

/* What the end of an instruction brings besides: the shadow that it stood in is over, and a single step is done. */
static void list_end_of_instruction(struct session *s)
{
    if (in_shadow(s))
        end_shadow(s);
    if (steps(s))
        trap_step(s);
}

/* ------------------------------------------------- the emulator's callbacks, by the client's */

static bool on_memory(void *context, hv_gpa_t gpa, bool is_write, uint32_t size, void *data)
{
    struct session *s = context;
    WHV_EMULATOR_MEMORY_ACCESS_INFO access = {
        .GpaAddress = gpa,
        .Direction = is_write,
        .AccessSize = (UINT8)size,
    };

    if (is_write)
        memcpy(access.Data, data, size);
    if (FAILED(s->callbacks->WHvEmulatorMemoryCallback(s->context, &access)))
        return false;
    if (!is_write)
        memcpy(data, access.Data, size);
    return true;
}

static bool on_io(void *context, uint16_t port, bool is_write, uint32_t size, uint32_t *data)
{
    struct session *s = context;
    WHV_EMULATOR_IO_ACCESS_INFO access = {
        .Direction = is_write,
        .Port = port,
        .AccessSize = (UINT16)size,
        .Data = is_write ? *data : 0,
    };

    if (FAILED(s->callbacks->WHvEmulatorIoPortCallback(s->context, &access)))
        return false;
    if (!is_write)
        *data = access.Data;
    return true;
}

static bool on_translate(void *context, hv_gva_t page, uint32_t flags, enum hv_translate_result *result, hv_gpa_t *gpa)
{
    struct session *s = context;
    WHV_TRANSLATE_GVA_RESULT_CODE code = WHvTranslateGvaResultIntercept;
    WHV_GUEST_PHYSICAL_ADDRESS address = 0;

    if (FAILED(s->callbacks->WHvEmulatorTranslateGvaPage(s->context, page, (WHV_TRANSLATE_GVA_FLAGS)flags, &code,
                                                         &address)))
        return false;
    *result = (enum hv_translate_result)code;
    *gpa = address;
    return true;
}

/* An instruction writes one XMM register at most, after it has read one. */
static bool on_xmm(void *context, unsigned n, bool is_write, uint64_t value[2])
{
    struct session *s = context;
    WHV_REGISTER_NAME name = (WHV_REGISTER_NAME)(WHvX64RegisterXmm0 + n);
    WHV_REGISTER_VALUE got = {.Reg128 = {{0}}};

    if (is_write) {
        set_u128(s, name, value[0], value[1]);
        return true;
    }
    if (FAILED(s->callbacks->WHvEmulatorGetVirtualProcessorRegisters(s->context, &name, 1, &got))) {
        s->status.GetVirtualProcessorRegistersCallbackFailed = 1;
        return false;
    }
    value[0] = got.Reg128.Low64;
    value[1] = got.Reg128.High64;
    return true;
}

static const struct hv_emulate_ops emulate_ops = {
    .memory = on_memory,
    .translate = on_translate,
    .io = on_io,
    .xmm = on_xmm,
};

/* --------------------------------------------------------------------------- results */

/* Together with the iterations of a REP that are done. */
static void raise(struct session *s, const struct hv_emulate_fault *fault)
{
    WHV_X64_PENDING_EXCEPTION_EVENT event = {
        .EventPending = 1,
        .EventType = WHvX64PendingEventException,
        .DeliverErrorCode = fault->has_error_code,
        .Vector = fault->vector,
        .ErrorCode = fault->error_code,
        .ExceptionParameter = fault->address,
    };

    s->count = 0;
    list_changes(s);
    set_u128(s, WHvRegisterPendingEvent, event.AsUINT128.Low64, event.AsUINT128.High64);
    set_registers(s);
    s->status.GuestCannotBeFaulted = !s->status.EmulationSuccessful;
}

static void conclude(struct session *s, enum hv_emulate_result result, const struct hv_emulate_fault *fault)
{
    switch (result) {
    case HV_EMULATE_OK:
    case HV_EMULATE_AGAIN:
        list_changes(s);
        list_end_of_instruction(s);
        set_registers(s);
        return;
    case HV_EMULATE_FAULT:
        raise(s, fault);
        return;
    case HV_EMULATE_MEMORY_FAILED:
        s->status.MemoryCallbackFailed = 1;
        return;
    case HV_EMULATE_TRANSLATE_FAILED:
        s->status.TranslateGvaPageCallbackFailed = 1;
        return;
    case HV_EMULATE_UNALIGNED_GPA:
        s->status.TranslateGvaPageCallbackGpaIsNotAligned = 1;
        return;
    case HV_EMULATE_IO_FAILED:
        s->status.IoPortCallbackFailed = 1;
        return;
    case HV_EMULATE_XMM_FAILED: /* the callback has said it */
        return;
    default:
        s->status.InternalEmulationFailure = 1;
        return;
    }
}

/* ----------------------------------------------------------------------------- calls */

static void emulate(struct session *s, UINT8 count, const UINT8 *bytes, const struct hv_emulate_hint *hint)
{
    struct hv_instruction instruction = {.count = count};
    struct hv_emulate_fault fault = {0};

    if (!get_registers(s))
        return;
    memcpy(instruction.bytes, bytes, count);
    conclude(s, hv_emulate(&s->state, &instruction, hint, &emulate_ops, s, &fault), &fault);
}

/* An exit amid the delivery of an event is not about the instruction at RIP. */
static bool begin(struct session *s, const struct whp_slot *in, VOID *context, const WHV_VP_EXIT_CONTEXT *vp)
{
    s->callbacks = in->object;
    s->context = context;
    __builtin_memcpy(&s->vp, vp, sizeof(s->vp));
    s->status.AsUINT32 = 0;
    s->count = 0;
    s->status.InterruptCausedIntercept = s->vp.ExecutionState.InterruptionPending;
    return !s->status.InterruptCausedIntercept;
}

static uint64_t rip_mask(const WHV_VP_EXIT_CONTEXT *vp)
{
    if (vp->ExecutionState.EferLma && vp->Cs.Long)
        return ~0ull;
    return vp->Cs.Default ? UINT32_MAX : UINT16_MAX;
}

static uint64_t merged(uint64_t rax, uint32_t data, unsigned size)
{
    return size == 4 ? data : (rax & ~BITS64(8 * size - 1, 0)) | (data & BITS64(8 * size - 1, 0));
}

/* IN and OUT: the exit has told all that there is to know. */
static void simple_io(struct session *s, const WHV_X64_IO_PORT_ACCESS_CONTEXT *io)
{
    unsigned size = io->AccessInfo.AccessSize;
    uint32_t data = (uint32_t)io->Rax & BITS32(8 * size - 1, 0);

    if (!on_io(s, io->PortNumber, io->AccessInfo.IsWrite, size, &data)) {
        s->status.IoPortCallbackFailed = 1;
        return;
    }
    set_u64(s, WHvX64RegisterRip, (s->vp.Rip + s->vp.InstructionLength) & rip_mask(&s->vp));
    if (s->vp.Rflags & RFLAGS_RF)
        set_u64(s, WHvX64RegisterRflags, s->vp.Rflags & ~RFLAGS_RF);
    if (!io->AccessInfo.IsWrite)
        set_u64(s, WHvX64RegisterRax, merged(io->Rax, data, size));
    set_registers(s);
}

static bool is_simple(const struct session *s, const WHV_X64_IO_PORT_ACCESS_CONTEXT *io)
{
    return !io->AccessInfo.StringOp && s->vp.InstructionLength && !in_shadow(s) && !steps(s);
}

static void try_io(struct session *s, const WHV_X64_IO_PORT_ACCESS_CONTEXT *io)
{
    if (is_simple(s, io))
        simple_io(s, io);
    else
        emulate(s, io->InstructionByteCount, io->InstructionBytes, NULL);
}

static void try_mmio(struct session *s, const WHV_MEMORY_ACCESS_CONTEXT *memory)
{
    struct hv_emulate_hint hint = {
        .valid = memory->AccessInfo.GvaValid,
        .is_write = memory->AccessInfo.AccessType == WHvMemoryAccessWrite,
        .gva = memory->Gva,
        .gpa = memory->Gpa,
    };

    if (memory->AccessInfo.AccessType == WHvMemoryAccessExecute)
        s->status.InternalEmulationFailure = 1; /* code in a device: there is nothing to emulate */
    else
        emulate(s, memory->InstructionByteCount, memory->InstructionBytes, &hint);
}

/* ------------------------------------------------------------------------------- API */

static bool are_callbacks_valid(const WHV_EMULATOR_CALLBACKS *c)
{
    return c->Size == sizeof(*c) && c->WHvEmulatorIoPortCallback && c->WHvEmulatorMemoryCallback &&
           c->WHvEmulatorGetVirtualProcessorRegisters && c->WHvEmulatorSetVirtualProcessorRegisters &&
           c->WHvEmulatorTranslateGvaPage;
}

HRESULT WHVAPI WHvEmulatorCreateEmulator(const WHV_EMULATOR_CALLBACKS *Callbacks, WHV_EMULATOR_HANDLE *Emulator)
{
    WHV_EMULATOR_CALLBACKS *callbacks;
    WHV_EMULATOR_HANDLE handle;
    HRESULT hr = E_INVALIDARG;

    if (!Callbacks || !Emulator)
        return E_INVALIDARG;
    callbacks = hv_host_alloc(sizeof(*callbacks));
    if (!callbacks)
        return E_OUTOFMEMORY;
    memcpy(callbacks, Callbacks, sizeof(*callbacks));
    if (!are_callbacks_valid(callbacks))
        goto out_free;
    hr = E_OUTOFMEMORY;
    handle = whp_handle_open(&emulators, callbacks);
    if (!handle)
        goto out_free;
    PUT(Emulator, handle);
    return S_OK;

out_free:
    hv_host_free(callbacks, sizeof(*callbacks));
    return hr;
}

/* While the emulator calls back it can not be destroyed. */
HRESULT WHVAPI WHvEmulatorDestroyEmulator(WHV_EMULATOR_HANDLE Emulator)
{
    struct whp_slot *slot;

    switch (whp_handle_close(&emulators, Emulator, &slot)) {
    case WHP_CLOSING:
        hv_host_free(slot->object, sizeof(WHV_EMULATOR_CALLBACKS));
        whp_slot_closed(&emulators, slot);
        return S_OK;
    case WHP_CLOSE_IN_RUN:
        return HRESULT_FROM_WIN32(ERROR_INVALID_STATE);
    default:
        return E_INVALIDARG;
    }
}

HRESULT WHVAPI WHvEmulatorTryIoEmulation(WHV_EMULATOR_HANDLE Emulator, VOID *Context,
                                         const WHV_VP_EXIT_CONTEXT *VpContext,
                                         const WHV_X64_IO_PORT_ACCESS_CONTEXT *IoInstructionContext,
                                         WHV_EMULATOR_STATUS *EmulatorReturnStatus)
{
    WHV_X64_IO_PORT_ACCESS_CONTEXT io;
    struct whp_slot *in;
    struct session s;
    unsigned size;

    if (!VpContext || !IoInstructionContext || !EmulatorReturnStatus)
        return E_INVALIDARG;
    memcpy(&io, IoInstructionContext, sizeof(io));
    size = io.AccessInfo.AccessSize;
    if ((size != 1 && size != 2 && size != 4) || io.InstructionByteCount > sizeof(io.InstructionBytes))
        return E_INVALIDARG;
    in = whp_handle_acquire(&emulators, Emulator, WHP_USE_RUN);
    if (!in)
        return E_INVALIDARG;
    if (begin(&s, in, Context, VpContext))
        try_io(&s, &io);
    whp_slot_release(in, WHP_USE_RUN);
    PUT(EmulatorReturnStatus, s.status);
    return S_OK;
}

/* Anything but a plain move: apart, with what it takes of the stack. Ends the use of the slot. */
static __attribute__((noinline)) HRESULT emulate_mmio(struct whp_slot *in, VOID *context, const WHV_VP_EXIT_CONTEXT *vp,
                                                      const WHV_MEMORY_ACCESS_CONTEXT *from,
                                                      WHV_EMULATOR_STATUS *status)
{
    WHV_MEMORY_ACCESS_CONTEXT memory;
    HRESULT hr = E_INVALIDARG;
    struct session s;

    __builtin_memcpy(&memory, from, sizeof(memory));
    if (memory.AccessInfo.AccessType <= WHvMemoryAccessExecute &&
        memory.InstructionByteCount <= sizeof(memory.InstructionBytes)) {
        if (begin(&s, in, context, vp))
            try_mmio(&s, &memory);
        PUT(status, s.status);
        hr = S_OK;
    }
    return slot_left(in, WHP_USE_RUN, hr);
}

HRESULT WHVAPI WHvEmulatorTryMmioEmulation(WHV_EMULATOR_HANDLE Emulator, VOID *Context,
                                           const WHV_VP_EXIT_CONTEXT *VpContext,
                                           const WHV_MEMORY_ACCESS_CONTEXT *MmioInstructionContext,
                                           WHV_EMULATOR_STATUS *EmulatorReturnStatus)
{
    WHV_EMULATOR_STATUS status;
    struct whp_slot *in;

    if (!VpContext || !MmioInstructionContext || !EmulatorReturnStatus)
        return E_INVALIDARG;
    in = whp_handle_acquire(&emulators, Emulator, WHP_USE_RUN);
    if (!in)
        return E_INVALIDARG;
    status = emulator_mov(in->object, Context, VpContext, MmioInstructionContext);
    if (!status.AsUINT32)
        return emulate_mmio(in, Context, VpContext, MmioInstructionContext, EmulatorReturnStatus);
    PUT(EmulatorReturnStatus, status);
    return slot_left(in, WHP_USE_RUN, S_OK);
}
