/* SPDX-License-Identifier: MIT */
/* virt/whp against a small fake of the native API: arguments, HRESULTs, what is passed down, exit contexts. */
#include "unit.h"
#include <hv/base/bits.h>
#include <hv/hv.h>
#include <string.h>
#include <whp/WinHvDiagnostics.h>

/* ------------------------------------------------------------------------ the fake native API */

struct hv_partition {
    char reserved[16];
};

struct hv_vp {
    unsigned references;
};

/* Every function of hv.h notes its arguments here and answers as told. */
static struct {
    enum hv_status answer;
    unsigned calls;     /* of all functions but hv_vp_ref and hv_vp_unref */
    const char *last;   /* the last one */
    const void *memory; /* its arguments */
    uint64_t args[4];
    uint8_t data[16];
    uint32_t written; /* what *written gets */
    bool few;         /* lists of registers are few plain ones */
    enum hv_translate_result translation;
    struct hv_exit_context exit;
    void (*during_run)(void);
    struct hv_interrupt interrupt;
    struct hv_partition *partition;
    struct hv_vp vps[2];
} core;

static enum hv_status called(const char *function, const void *memory, uint64_t a, uint64_t b, uint64_t c)
{
    core.calls++;
    core.last = function;
    core.memory = memory;
    core.args[0] = a;
    core.args[1] = b;
    core.args[2] = c;
    return core.answer;
}

static void assert_is_ours(const struct hv_partition *p)
{
    assert_ptr_equal(p, core.partition);
}

/* For functions that say themselves whether the VP is there. */
static void assert_is_found(const struct hv_vp *vp)
{
    assert_true(vp >= core.vps && vp < core.vps + ARRAY_COUNT(core.vps));
}

static void assert_is_held(const struct hv_vp *vp)
{
    assert_true(vp->references > 0);
}

enum hv_status hv_capability(uint32_t code, void *buffer, uint32_t size, uint32_t *written)
{
    *written = core.written;
    return called(__func__, buffer, code, size, 0);
}

enum hv_status hv_partition_create(struct hv_partition **out)
{
    enum hv_status st = called(__func__, NULL, 0, 0, 0);

    if (st != HV_OK)
        return st;
    *out = core.partition = hv_host_alloc(sizeof(**out));
    return core.partition ? HV_OK : HV_E_NO_MEMORY;
}

enum hv_status hv_partition_setup(struct hv_partition *p)
{
    assert_is_ours(p);
    return called(__func__, NULL, 0, 0, 0);
}

enum hv_status hv_partition_reset(struct hv_partition *p)
{
    assert_is_ours(p);
    return called(__func__, NULL, 0, 0, 0);
}

enum hv_status hv_partition_delete(struct hv_partition *p)
{
    enum hv_status st = called(__func__, NULL, 0, 0, 0);

    for (unsigned i = 0; i < ARRAY_COUNT(core.vps); i++)
        assert_int_equal(core.vps[i].references, 0);
    if (st == HV_OK)
        hv_host_free(p, sizeof(*p));
    return st;
}

enum hv_status hv_partition_set_property(struct hv_partition *p, uint32_t code, const void *buffer, uint32_t size)
{
    assert_is_ours(p);
    return called(__func__, buffer, code, size, 0);
}

enum hv_status hv_partition_get_property(struct hv_partition *p, uint32_t code, void *buffer, uint32_t size,
                                         uint32_t *written)
{
    assert_is_ours(p);
    *written = core.written;
    return called(__func__, buffer, code, size, 0);
}

enum hv_status hv_partition_map(struct hv_partition *p, const void *source, hv_gpa_t gpa, uint64_t size, uint32_t flags)
{
    assert_is_ours(p);
    return called(__func__, source, gpa, size, flags);
}

enum hv_status hv_partition_unmap(struct hv_partition *p, hv_gpa_t gpa, uint64_t size)
{
    assert_is_ours(p);
    return called(__func__, NULL, gpa, size, 0);
}

enum hv_status hv_partition_query_dirty(struct hv_partition *p, hv_gpa_t gpa, uint64_t size, uint64_t *bitmap,
                                        uint32_t bitmap_bytes)
{
    assert_is_ours(p);
    return called(__func__, bitmap, gpa, size, bitmap_bytes);
}

void hv_partition_memory_counters(struct hv_partition *p, struct hv_memory_counters *out)
{
    assert_is_ours(p);
    called(__func__, NULL, 0, 0, 0);
    *out = (struct hv_memory_counters){4, 2, 1};
}

enum hv_status hv_vp_read_gpa(struct hv_vp *vp, hv_gpa_t gpa, void *data, uint32_t size)
{
    assert_is_held(vp);
    for (unsigned i = 0; i < size; i++)
        ((uint8_t *)data)[i] = (uint8_t)(0xa0 + i);
    return called(__func__, NULL, gpa, size, 0);
}

enum hv_status hv_vp_write_gpa(struct hv_vp *vp, hv_gpa_t gpa, const void *data, uint32_t size)
{
    assert_is_held(vp);
    memcpy(core.data, data, size);
    return called(__func__, NULL, gpa, size, 0);
}

enum hv_status hv_vp_translate(struct hv_vp *vp, hv_gva_t gva, uint32_t flags, enum hv_translate_result *result,
                               hv_gpa_t *gpa)
{
    assert_is_held(vp);
    *result = core.translation;
    if (core.translation == HV_TRANSLATE_SUCCESS)
        *gpa = 0x123456789000;
    return called(__func__, NULL, gva, flags, 0);
}

enum hv_status hv_vp_create(struct hv_partition *p, uint32_t index)
{
    assert_is_ours(p);
    return called(__func__, NULL, index, 0, 0);
}

enum hv_status hv_vp_delete(struct hv_partition *p, uint32_t index)
{
    assert_is_ours(p);
    return called(__func__, NULL, index, 0, 0);
}

struct hv_vp *hv_vp_find(struct hv_partition *p, uint32_t index)
{
    assert_is_ours(p);
    return index < ARRAY_COUNT(core.vps) ? &core.vps[index] : NULL;
}

struct hv_vp *hv_vp_ref(struct hv_partition *p, uint32_t index)
{
    assert_is_ours(p);
    if (index >= ARRAY_COUNT(core.vps))
        return NULL;
    core.vps[index].references++;
    return &core.vps[index];
}

void hv_vp_unref(struct hv_vp *vp)
{
    assert_is_held(vp);
    vp->references--;
}

enum hv_status hv_vp_run(struct hv_vp *vp, struct hv_exit_context *exit)
{
    assert_is_found(vp);
    if (core.during_run)
        core.during_run();
    if (core.answer == HV_OK)
        *exit = core.exit;
    return called(__func__, NULL, (uint64_t)(vp - core.vps), 0, 0);
}

void hv_vp_cancel(struct hv_vp *vp)
{
    assert_is_held(vp);
    called(__func__, NULL, (uint64_t)(vp - core.vps), 0, 0);
}

/* Registers: as values their names are read, and the names of what is written are noted. */
enum hv_status hv_vp_get_registers(struct hv_vp *vp, const uint32_t *names, uint32_t count, union hv_reg_value *values)
{
    assert_is_found(vp);
    for (uint32_t i = 0; i < count; i++)
        values[i].u128.low = values[i].u128.high = names[i];
    return called(__func__, values, count, count ? names[count - 1] : 0, 0);
}

enum hv_status hv_vp_set_registers(struct hv_vp *vp, const uint32_t *names, uint32_t count,
                                   const union hv_reg_value *values)
{
    assert_is_found(vp);
    return called(__func__, values, count, count ? names[count - 1] : 0, count ? values[count - 1].u128.high : 0);
}

/* Nothing is few, unless a test says so; then no other function is called. */
bool hv_vp_get_few(struct hv_vp *vp, const uint32_t *names, uint32_t count, union hv_reg_value *values)
{
    assert_is_found(vp);
    return core.few && hv_vp_get_registers(vp, names, count, values) == HV_OK;
}

bool hv_vp_set_few(struct hv_vp *vp, const uint32_t *names, uint32_t count, const union hv_reg_value *values)
{
    assert_is_found(vp);
    return core.few && hv_vp_set_registers(vp, names, count, values) == HV_OK;
}

enum hv_status hv_vp_get_xsave(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written)
{
    assert_is_held(vp);
    *written = core.written;
    return called(__func__, buffer, size, 0, 0);
}

enum hv_status hv_vp_set_xsave(struct hv_vp *vp, const void *buffer, uint32_t size)
{
    assert_is_held(vp);
    return called(__func__, buffer, size, 0, 0);
}

enum hv_status hv_vp_get_apic(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written)
{
    assert_is_held(vp);
    *written = core.written;
    return called(__func__, buffer, size, 0, 0);
}

enum hv_status hv_vp_set_apic(struct hv_vp *vp, const void *buffer, uint32_t size)
{
    assert_is_held(vp);
    return called(__func__, buffer, size, 0, 0);
}

enum hv_status hv_vp_get_synic_messages(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written)
{
    assert_is_held(vp);
    *written = core.written;
    return called(__func__, buffer, size, 0, 0);
}

enum hv_status hv_vp_set_synic_messages(struct hv_vp *vp, const void *buffer, uint32_t size)
{
    assert_is_held(vp);
    return called(__func__, buffer, size, 0, 0);
}

enum hv_status hv_vp_get_synic_flags(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written)
{
    assert_is_held(vp);
    *written = core.written;
    return called(__func__, buffer, size, 0, 0);
}

enum hv_status hv_vp_set_synic_flags(struct hv_vp *vp, const void *buffer, uint32_t size)
{
    assert_is_held(vp);
    return called(__func__, buffer, size, 0, 0);
}

enum hv_status hv_vp_post_message(struct hv_vp *vp, uint32_t sint, const void *message, uint32_t size)
{
    assert_is_held(vp);
    return called(__func__, message, sint, size, 0);
}

enum hv_status hv_vp_signal_event(struct hv_vp *vp, uint32_t sint, uint32_t flag, bool *newly)
{
    assert_is_held(vp);
    *newly = true;
    return called(__func__, NULL, sint, flag, 0);
}

enum hv_status hv_vp_get_synic_timers(struct hv_vp *vp, void *buffer, uint32_t size, uint32_t *written)
{
    assert_is_held(vp);
    *written = core.written;
    return called(__func__, buffer, size, 0, 0);
}

enum hv_status hv_vp_set_synic_timers(struct hv_vp *vp, const void *buffer, uint32_t size)
{
    assert_is_held(vp);
    return called(__func__, buffer, size, 0, 0);
}

enum hv_status hv_partition_suspend_time(struct hv_partition *p)
{
    assert_is_ours(p);
    return called(__func__, NULL, 0, 0, 0);
}

enum hv_status hv_partition_resume_time(struct hv_partition *p)
{
    assert_is_ours(p);
    return called(__func__, NULL, 0, 0, 0);
}

enum hv_status hv_partition_interrupt(struct hv_partition *p, const struct hv_interrupt *interrupt)
{
    assert_is_ours(p);
    core.interrupt = *interrupt;
    return called(__func__, interrupt, 0, 0, 0);
}

enum hv_status hv_partition_interrupt_targets(struct hv_partition *p, uint64_t destination, bool is_logical,
                                              uint32_t *vps, uint32_t room, uint32_t *count)
{
    assert_is_ours(p);
    vps[0] = 3;
    vps[1] = 5;
    *count = 2;
    return called(__func__, NULL, destination, is_logical, room);
}

enum hv_status hv_vp_cpuid(struct hv_vp *vp, uint32_t leaf, uint32_t subleaf, struct hv_cpuid_output *out)
{
    assert_is_held(vp);
    *out = (struct hv_cpuid_output){.eax = 1, .ebx = 2, .ecx = 3, .edx = 4};
    return called(__func__, NULL, leaf, subleaf, 0);
}

static struct hv_vp_counters vp_counters;

void hv_vp_counters(struct hv_vp *vp, struct hv_vp_counters *out)
{
    assert_is_held(vp);
    called(__func__, NULL, 0, 0, 0);
    *out = vp_counters;
}

const char *hv_exit_reason_name(enum hv_exit_reason reason)
{
    return reason == HV_EXIT_CPUID ? "cpuid" : "other";
}

/* ------------------------------------------------------------------- a partition for each test */

#define INVALID_STATE ((HRESULT)0x8007139F)
#define NOT_SUPPORTED ((HRESULT)0x80070032)
#define DENIED        ((HRESULT)0xC0350008)

static WHV_PARTITION_HANDLE part;

static int setup(void **state)
{
    int failed = unit_setup(state);

    memset(&core, 0, sizeof(core));
    assert_int_equal(WHvCreatePartition(&part), S_OK);
    core.calls = 0;
    return failed;
}

static int teardown(void **state)
{
    core.answer = HV_OK;
    assert_int_equal(WHvDeletePartition(part), S_OK);
    return unit_teardown(state);
}

#define WHP_TEST(fn) cmocka_unit_test_setup_teardown(fn, setup, teardown)

/* ------------------------------------------------------- every function with arguments that are good */

static uint8_t page[4096] __attribute__((aligned(4096)));
static WHV_RUN_VP_EXIT_CONTEXT context;
static WHV_REGISTER_VALUE values[3];
static const WHV_REGISTER_NAME names[3] = {WHvX64RegisterRax, WHvX64RegisterRip, WHvRegisterPendingInterruption};
static const WHV_ACCESS_GPA_CONTROLS write_back = {{.CacheType = WHvCacheTypeWriteBack}};

typedef HRESULT good_call(WHV_PARTITION_HANDLE p, UINT32 vp);

#define GOOD_CALL(name, ...)                                           \
    static HRESULT name(WHV_PARTITION_HANDLE p, UINT32 vp)             \
    {                                                                  \
        UINT32 written;                                                \
        WHV_TRANSLATE_GVA_RESULT result;                               \
        WHV_GUEST_PHYSICAL_ADDRESS gpa;                                \
        WHV_CPUID_OUTPUT cpuid;                                        \
                                                                       \
        (void)vp, (void)written, (void)result, (void)gpa, (void)cpuid; \
        return __VA_ARGS__;                                            \
    }

GOOD_CALL(good_setup, WHvSetupPartition(p))
GOOD_CALL(good_reset, WHvResetPartition(p))
GOOD_CALL(good_get_property,
          WHvGetPartitionProperty(p, WHvPartitionPropertyCodeProcessorCount, page, sizeof(page), &written))
GOOD_CALL(good_set_property, WHvSetPartitionProperty(p, WHvPartitionPropertyCodeProcessorCount, page, 4))
GOOD_CALL(good_counters, WHvGetPartitionCounters(p, WHvPartitionCounterSetMemory, page, 24, &written))
GOOD_CALL(good_vp_counters, WHvGetVirtualProcessorCounters(p, vp, WHvProcessorCounterSetRuntime, page, 16, &written))
GOOD_CALL(good_exit_counters, WHvxGetExitCounters(p, vp, (WHVX_EXIT_COUNTER *)page, WHVX_EXIT_COUNTERS_MAX, &written))
GOOD_CALL(good_map, WHvMapGpaRange(p, page, 0x1000, 4096, WHvMapGpaRangeFlagRead))
GOOD_CALL(good_map2, WHvMapGpaRange2(p, INVALID_HANDLE_VALUE, page, 0x1000, 4096, WHvMapGpaRangeFlagRead))
GOOD_CALL(good_unmap, WHvUnmapGpaRange(p, 0x1000, 4096))
GOOD_CALL(good_query_dirty, WHvQueryGpaRangeDirtyBitmap(p, 0x1000, 4096, (UINT64 *)page, 8))
GOOD_CALL(good_create_vp, WHvCreateVirtualProcessor(p, vp, 0))
GOOD_CALL(good_create_vp2, WHvCreateVirtualProcessor2(p, vp, NULL, 0))
GOOD_CALL(good_delete_vp, WHvDeleteVirtualProcessor(p, vp))
GOOD_CALL(good_translate, WHvTranslateGva(p, vp, 0x5000, WHvTranslateGvaFlagValidateRead, &result, &gpa))
GOOD_CALL(good_read, WHvReadGpaRange(p, vp, 0x1000, write_back, page, 8))
GOOD_CALL(good_write, WHvWriteGpaRange(p, vp, 0x1000, write_back, page, 8))
GOOD_CALL(good_run, WHvRunVirtualProcessor(p, vp, &context, sizeof(context)))
GOOD_CALL(good_cancel, WHvCancelRunVirtualProcessor(p, vp, 0))
GOOD_CALL(good_get_registers, WHvGetVirtualProcessorRegisters(p, vp, names, 3, values))
GOOD_CALL(good_set_registers, WHvSetVirtualProcessorRegisters(p, vp, names, 3, values))
GOOD_CALL(good_get_xsave, WHvGetVirtualProcessorXsaveState(p, vp, page, sizeof(page), &written))
GOOD_CALL(good_set_xsave, WHvSetVirtualProcessorXsaveState(p, vp, page, sizeof(page)))
GOOD_CALL(good_get_state,
          WHvGetVirtualProcessorState(p, vp, WHvVirtualProcessorStateTypeXsaveState, page, sizeof(page), &written))
GOOD_CALL(good_set_state,
          WHvSetVirtualProcessorState(p, vp, WHvVirtualProcessorStateTypeXsaveState, page, sizeof(page)))
GOOD_CALL(good_get_apic, WHvGetVirtualProcessorInterruptControllerState2(p, vp, page, sizeof(page), &written))
GOOD_CALL(good_set_apic, WHvSetVirtualProcessorInterruptControllerState2(p, vp, page, sizeof(page)))
GOOD_CALL(good_get_apic1, WHvGetVirtualProcessorInterruptControllerState(p, vp, page, sizeof(page), &written))
GOOD_CALL(good_set_apic1, WHvSetVirtualProcessorInterruptControllerState(p, vp, page, sizeof(page)))
GOOD_CALL(good_get_messages, WHvGetVirtualProcessorState(p, vp, WHvVirtualProcessorStateTypeSynicMessagePage, page,
                                                         sizeof(page), &written))
GOOD_CALL(good_set_messages,
          WHvSetVirtualProcessorState(p, vp, WHvVirtualProcessorStateTypeSynicMessagePage, page, sizeof(page)))
GOOD_CALL(good_get_flags, WHvGetVirtualProcessorState(p, vp, WHvVirtualProcessorStateTypeSynicEventFlagPage, page,
                                                      sizeof(page), &written))
GOOD_CALL(good_set_flags,
          WHvSetVirtualProcessorState(p, vp, WHvVirtualProcessorStateTypeSynicEventFlagPage, page, sizeof(page)))
GOOD_CALL(good_post, WHvPostVirtualProcessorSynicMessage(p, vp, 2, page, 256))
GOOD_CALL(good_signal, WHvSignalVirtualProcessorSynicEvent(p, (WHV_SYNIC_EVENT_PARAMETERS){.VpIndex = vp}, NULL))
GOOD_CALL(good_get_timers,
          WHvGetVirtualProcessorState(p, vp, WHvVirtualProcessorStateTypeSynicTimerState, page, sizeof(page), &written))
GOOD_CALL(good_set_timers,
          WHvSetVirtualProcessorState(p, vp, WHvVirtualProcessorStateTypeSynicTimerState, page, sizeof(page)))
GOOD_CALL(good_suspend, WHvSuspendPartitionTime(p))
GOOD_CALL(good_resume, WHvResumePartitionTime(p))
GOOD_CALL(good_targets,
          WHvGetInterruptTargetVpSet(p, 1, WHvX64InterruptDestinationModeLogical, (UINT32 *)page, 4, &written))
GOOD_CALL(good_interrupt, WHvRequestInterrupt(p, &(WHV_INTERRUPT_CONTROL){.Destination = vp, .Vector = 0x30}, 16))
GOOD_CALL(good_cpuid, WHvGetVirtualProcessorCpuidOutput(p, vp, 1, 0, &cpuid))

static const struct good {
    const char *core; /* what it calls */
    good_call *call;
    bool needs_vp; /* one that is there */
    bool can_fail; /* the native function returns a status */
} goods[] = {
    {"hv_partition_setup", good_setup, false, true},
    {"hv_partition_reset", good_reset, false, true},
    {"hv_partition_get_property", good_get_property, false, true},
    {"hv_partition_set_property", good_set_property, false, true},
    {"hv_partition_memory_counters", good_counters, false, false},
    {"hv_vp_counters", good_vp_counters, true, false},
    {"hv_vp_counters", good_exit_counters, true, false},
    {"hv_partition_map", good_map, false, true},
    {"hv_partition_map", good_map2, false, true},
    {"hv_partition_unmap", good_unmap, false, true},
    {"hv_partition_query_dirty", good_query_dirty, false, true},
    {"hv_vp_create", good_create_vp, false, true},
    {"hv_vp_create", good_create_vp2, false, true},
    {"hv_vp_delete", good_delete_vp, false, true},
    {"hv_vp_translate", good_translate, true, true},
    {"hv_vp_read_gpa", good_read, true, true},
    {"hv_vp_write_gpa", good_write, true, true},
    {"hv_vp_run", good_run, true, true},
    {"hv_vp_cancel", good_cancel, true, false},
    {"hv_vp_get_registers", good_get_registers, true, true},
    {"hv_vp_set_registers", good_set_registers, true, true},
    {"hv_vp_get_xsave", good_get_xsave, true, true},
    {"hv_vp_set_xsave", good_set_xsave, true, true},
    {"hv_vp_get_xsave", good_get_state, true, true},
    {"hv_vp_set_xsave", good_set_state, true, true},
    {"hv_vp_get_apic", good_get_apic, true, true},
    {"hv_vp_set_apic", good_set_apic, true, true},
    {"hv_vp_get_apic", good_get_apic1, true, true},
    {"hv_vp_set_apic", good_set_apic1, true, true},
    {"hv_vp_get_synic_messages", good_get_messages, true, true},
    {"hv_vp_set_synic_messages", good_set_messages, true, true},
    {"hv_vp_get_synic_flags", good_get_flags, true, true},
    {"hv_vp_set_synic_flags", good_set_flags, true, true},
    {"hv_vp_post_message", good_post, true, true},
    {"hv_vp_signal_event", good_signal, true, true},
    {"hv_vp_get_synic_timers", good_get_timers, true, true},
    {"hv_vp_set_synic_timers", good_set_timers, true, true},
    {"hv_partition_suspend_time", good_suspend, false, true},
    {"hv_partition_resume_time", good_resume, false, true},
    {"hv_partition_interrupt", good_interrupt, false, true},
    {"hv_partition_interrupt_targets", good_targets, false, true},
    {"hv_vp_cpuid", good_cpuid, true, true},
};

static void good_arguments_reach_the_core(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(goods); i++) {
        core.calls = 0;
        assert_int_equal(goods[i].call(part, 1), S_OK);
        assert_int_equal(core.calls, 1);
        assert_string_equal(core.last, goods[i].core);
        assert_int_equal(core.vps[1].references, 0);
    }
}

/* ---------------------------------------------------------------------------- handles and VPs */

static void assert_all_refuse(WHV_PARTITION_HANDLE handle)
{
    for (unsigned i = 0; i < ARRAY_COUNT(goods); i++)
        assert_int_equal(goods[i].call(handle, 0), E_INVALIDARG);
    assert_int_equal(WHvDeletePartition(handle), E_INVALIDARG);
    assert_int_equal(core.calls, 0);
}

static void bad_handles(void **state)
{
    static int object;
    const uintptr_t bad[] = {0,
                             UINTPTR_MAX,
                             1,
                             (uintptr_t)&object,
                             (uintptr_t)core.partition,
                             (uintptr_t)part + 1,
                             (uintptr_t)part ^ 1ull << 16,
                             (uintptr_t)part ^ 1ull << 63};

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++)
        assert_all_refuse((WHV_PARTITION_HANDLE)bad[i]);
}

static void deleted_handle(void **state)
{
    WHV_PARTITION_HANDLE old = part;

    (void)state;
    assert_int_equal(WHvDeletePartition(old), S_OK);
    core.calls = 0;
    assert_all_refuse(old);
    assert_int_equal(WHvCreatePartition(&part), S_OK);
    assert_ptr_not_equal(part, old);
    core.calls = 0;
    assert_all_refuse(old);
}

static void missing_vps(void **state)
{
    static const UINT32 missing[] = {2, 64, 0x7fffffff, 0xffffffff};

    (void)state;
    for (unsigned v = 0; v < ARRAY_COUNT(missing); v++)
        for (unsigned i = 0; i < ARRAY_COUNT(goods); i++)
            if (goods[i].needs_vp)
                assert_int_equal(goods[i].call(part, missing[v]), WHV_E_VP_DOES_NOT_EXIST);
    assert_int_equal(core.calls, 0);
}

static void no_references_are_left(void **state)
{
    static const enum hv_status answers[] = {HV_OK, HV_E_INVALID, HV_E_VP_BUSY};
    static uint8_t unaligned[256];

    (void)state;
    for (unsigned a = 0; a < ARRAY_COUNT(answers); a++)
        for (unsigned i = 0; i < ARRAY_COUNT(goods); i++) {
            core.answer = answers[a];
            goods[i].call(part, 0);
            goods[i].call(part, 99);
        }
    WHvGetVirtualProcessorRegisters(part, 0, names, 3, (void *)(unaligned + 1));
    assert_int_equal(core.vps[0].references, 0);
    /* teardown deletes the partition, which would wait for a call that never ended */
}

/* ------------------------------------------------------------------------------- result codes */

/* by number, as WHP documents them */
static const HRESULT documented[HV_E_STATUS_COUNT] = {
    [HV_OK] = 0,
    [HV_E_INVALID] = (HRESULT)0x80070057,
    [HV_E_NO_MEMORY] = (HRESULT)0x8007000E,
    [HV_E_NOT_PRESENT] = (HRESULT)0x80370303,
    [HV_E_UNSUPPORTED] = (HRESULT)0x80070032,
    [HV_E_STATE] = (HRESULT)0xC0350007,
    [HV_E_CONFIG] = (HRESULT)0x80370304,
    [HV_E_VP_NOT_FOUND] = (HRESULT)0x80370307,
    [HV_E_VP_EXISTS] = (HRESULT)0x80370306,
    [HV_E_VP_BUSY] = (HRESULT)0x80370308,
    [HV_E_REGISTER_NAME] = (HRESULT)0x80370309,
    [HV_E_REGISTER_VALUE] = (HRESULT)0xC0350005,
    [HV_E_GPA_NOT_FOUND] = (HRESULT)0x80370305,
    [HV_E_ACCESS_DENIED] = (HRESULT)0x80070005,
    [HV_E_BUFFER_TOO_SMALL] = (HRESULT)0x80370301,
    [HV_E_UNKNOWN_PROPERTY] = (HRESULT)0x80370302,
    [HV_E_IN_USE] = (HRESULT)0xC0350019,
    [HV_E_SYNIC_STATE] = (HRESULT)0xC0350018,
    [HV_E_CONFLICT] = (HRESULT)0xC0350005,
    [HV_E_NOT_FOUND] = (HRESULT)0x80070490,
    [HV_E_DEVICE] = (HRESULT)0xC0350057,
};

static HRESULT expected_result(const char *function, enum hv_status st)
{
    bool setup = !strcmp(function, "hv_partition_setup"), reset = !strcmp(function, "hv_partition_reset");

    bool state = strstr(function, "_apic") || strstr(function, "_xsave") || strstr(function, "_synic_");

    if ((setup || reset) && st == HV_E_STATE)
        return INVALID_STATE;
    if (!strcmp(function, "hv_partition_interrupt_targets") && st == HV_E_BUFFER_TOO_SMALL)
        return E_INVALIDARG;
    if ((state || !strncmp(function, "hv_partition_interrupt", 22)) && st == HV_E_STATE)
        return DENIED;
    if (setup && st == HV_E_UNSUPPORTED)
        return WHV_E_UNSUPPORTED_PROCESSOR_CONFIG;
    return documented[st];
}

static void statuses_become_hresults(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(goods); i++)
        for (int st = HV_OK; st < HV_E_STATUS_COUNT && goods[i].can_fail; st++) {
            core.answer = (enum hv_status)st;
            assert_int_equal(goods[i].call(part, 0), expected_result(goods[i].core, core.answer));
        }
    core.answer = HV_E_STATUS_COUNT;
    assert_int_equal(good_unmap(part, 0), E_UNEXPECTED);
}

/* ------------------------------------------------------------------------------- capabilities */

static void capability(void **state)
{
    UINT32 written = 77, small[2] = {77, 77};

    (void)state;
    core.written = 8;
    assert_int_equal(WHvGetCapability(WHvCapabilityCodeFeatures, page, sizeof(page), &written), S_OK);
    assert_string_equal(core.last, "hv_capability");
    assert_ptr_equal(core.memory, page);
    assert_int_equal(core.args[0], WHvCapabilityCodeFeatures);
    assert_int_equal(core.args[1], sizeof(page));
    assert_int_equal(written, 8);
    assert_int_equal(WHvGetCapability(WHvCapabilityCodeFeatures, page, sizeof(page), NULL), S_OK);
    /* a count that is not aligned */
    assert_int_equal(WHvGetCapability(WHvCapabilityCodeFeatures, page, 24, (void *)((char *)small + 1)), S_OK);
    assert_int_equal(small[0], 0x0000084d);
}

static void capability_failures(void **state)
{
    UINT32 written = 77;

    (void)state;
    core.written = 8;
    assert_int_equal(WHvGetCapability(0, NULL, 8, &written), E_INVALIDARG);
    assert_int_equal(core.calls, 0);
    assert_int_equal(written, 77);
    core.answer = HV_E_UNKNOWN_PROPERTY;
    assert_int_equal(WHvGetCapability(0x999, page, 8, &written), WHV_E_UNKNOWN_CAPABILITY);
    assert_int_equal(written, 77);
    core.answer = HV_E_BUFFER_TOO_SMALL;
    assert_int_equal(WHvGetCapability(0, page, 1, &written), WHV_E_INSUFFICIENT_BUFFER);
    assert_int_equal(written, 8);
    assert_int_equal(WHvGetCapability(0, NULL, 0, &written), WHV_E_INSUFFICIENT_BUFFER);
}

/* --------------------------------------------------------------------------------- partitions */

static void create_failures(void **state)
{
    WHV_PARTITION_HANDLE none = (WHV_PARTITION_HANDLE)0x55;

    (void)state;
    assert_int_equal(WHvCreatePartition(NULL), E_INVALIDARG);
    assert_int_equal(core.calls, 0);
    core.answer = HV_E_NOT_PRESENT;
    assert_int_equal(WHvCreatePartition(&none), WHV_E_UNSUPPORTED_HYPERVISOR_CONFIG);
    core.answer = HV_E_NO_MEMORY;
    assert_int_equal(WHvCreatePartition(&none), E_OUTOFMEMORY);
    assert_ptr_equal(none, (void *)0x55);
}

/* As many as there are handles; the one too many is given back, and all is well after one is deleted. */
static void as_many_as_possible(void **state)
{
    static WHV_PARTITION_HANDLE all[2000];
    WHV_PARTITION_HANDLE more = (WHV_PARTITION_HANDLE)0x55;
    struct hv_partition *first = core.partition;
    unsigned count = 0;

    (void)state;
    while (count < ARRAY_COUNT(all) && WHvCreatePartition(&all[count]) == S_OK)
        count++;
    assert_int_equal(count, 1023);
    assert_int_equal(WHvCreatePartition(&more), E_OUTOFMEMORY);
    assert_ptr_equal(more, (void *)0x55);
    assert_int_equal(fake_counts().allocations, 1024);
    assert_int_equal(WHvDeletePartition(all[0]), S_OK);
    assert_int_equal(WHvCreatePartition(&all[0]), S_OK);
    for (unsigned i = 0; i < count; i++)
        assert_int_equal(WHvDeletePartition(all[i]), S_OK);
    core.partition = first;
}

static unsigned runs;

/* From inside a run, as another thread would. */
static void delete_during_run(void)
{
    core.calls = 0;
    assert_int_equal(WHvDeletePartition(part), WHV_E_INVALID_VP_STATE);
    assert_int_equal(core.calls, 0);
    assert_int_equal(good_cancel(part, 0), S_OK);
    assert_int_equal(good_map(part, 0), S_OK);
    runs++;
}

static void running_partition_stays(void **state)
{
    (void)state;
    runs = 0;
    core.during_run = delete_during_run;
    assert_int_equal(good_run(part, 0), S_OK);
    assert_int_equal(runs, 1);
    core.during_run = NULL;
    assert_int_equal(good_run(part, 0), S_OK);
}

/* The core knows better: the partition can be used as before. */
static void refused_deletion(void **state)
{
    (void)state;
    core.answer = HV_E_VP_BUSY;
    assert_int_equal(WHvDeletePartition(part), WHV_E_INVALID_VP_STATE);
    core.answer = HV_OK;
    assert_int_equal(good_map(part, 0), S_OK);
    assert_int_equal(good_run(part, 1), S_OK);
}

static void properties(void **state)
{
    UINT32 written = 77;

    (void)state;
    core.written = 4;
    assert_int_equal(WHvGetPartitionProperty(part, WHvPartitionPropertyCodeProcessorCount, page, 48, &written), S_OK);
    assert_int_equal(written, 4);
    assert_ptr_equal(core.memory, page);
    assert_int_equal(core.args[0], 0x1fff);
    assert_int_equal(core.args[1], 48);
    assert_int_equal(WHvGetPartitionProperty(part, WHvPartitionPropertyCodeProcessorCount, page, 48, NULL), S_OK);
    assert_int_equal(WHvSetPartitionProperty(part, WHvPartitionPropertyCodeCpuidExitList, page, 12), S_OK);
    assert_ptr_equal(core.memory, page);
    assert_int_equal(core.args[0], 0x1003);
    assert_int_equal(core.args[1], 12);
    /* an empty list */
    assert_int_equal(WHvSetPartitionProperty(part, WHvPartitionPropertyCodeCpuidExitList, NULL, 0), S_OK);
    assert_int_equal(core.calls, 4);
    assert_int_equal(WHvSetPartitionProperty(part, WHvPartitionPropertyCodeCpuidExitList, NULL, 4), E_INVALIDARG);
    assert_int_equal(WHvGetPartitionProperty(part, WHvPartitionPropertyCodeProcessorCount, NULL, 4, NULL),
                     E_INVALIDARG);
    assert_int_equal(core.calls, 4);
}

static void property_sizes(void **state)
{
    UINT32 written = 77;

    (void)state;
    core.written = 4;
    core.answer = HV_E_BUFFER_TOO_SMALL;
    assert_int_equal(good_get_property(part, 0), WHV_E_INSUFFICIENT_BUFFER);
    assert_int_equal(WHvGetPartitionProperty(part, WHvPartitionPropertyCodeProcessorCount, NULL, 0, &written),
                     WHV_E_INSUFFICIENT_BUFFER);
    assert_int_equal(written, 4);
    written = 77;
    core.answer = HV_E_UNSUPPORTED;
    assert_int_equal(WHvGetPartitionProperty(part, WHvPartitionPropertyCodeCpuidExitList, page, 48, &written),
                     NOT_SUPPORTED);
    assert_int_equal(written, 77);
}

static void counters(void **state)
{
    WHV_PARTITION_MEMORY_COUNTERS out[2] = {{0}};
    UINT32 written = 77;

    (void)state;
    assert_int_equal(WHvGetPartitionCounters(part, WHvPartitionCounterSetMemory, out, sizeof(out), &written), S_OK);
    assert_int_equal(written, 24);
    assert_int_equal(out[0].Mapped4KPageCount, 4);
    assert_int_equal(out[0].Mapped2MPageCount, 2);
    assert_int_equal(out[0].Mapped1GPageCount, 1);
    assert_int_equal(out[1].Mapped4KPageCount, 0);
    core.calls = 0;
    written = 77;
    assert_int_equal(WHvGetPartitionCounters(part, 1, out, 24, &written), WHV_E_UNKNOWN_PROPERTY);
    assert_int_equal(WHvGetPartitionCounters(part, WHvPartitionCounterSetMemory, NULL, 24, &written), E_INVALIDARG);
    assert_int_equal(written, 77);
    assert_int_equal(WHvGetPartitionCounters(part, WHvPartitionCounterSetMemory, out, 23, &written),
                     WHV_E_INSUFFICIENT_BUFFER);
    assert_int_equal(written, 24);
    assert_int_equal(WHvGetPartitionCounters(part, WHvPartitionCounterSetMemory, NULL, 0, NULL),
                     WHV_E_INSUFFICIENT_BUFFER);
    assert_int_equal(core.calls, 0);
}

/* Each exit has a place of its own in the set, or is among the others. */
static void intercept_counters(void **state)
{
    static const struct {
        enum hv_exit_reason reason;
        size_t offset;
    } members[] = {
#define MEMBER(reason, name) {HV_EXIT_##reason, offsetof(WHV_PROCESSOR_ACTIVITY_COUNTERS, name)}
        MEMBER(CR, ControlRegisterAccesses),
        MEMBER(IO, IoInstructions),
        MEMBER(HALT, HaltInstructions),
        MEMBER(CPUID, CpuidInstructions),
        MEMBER(MSR, MsrAccesses),
        MEMBER(WINDOW, PendingInterrupts),
        MEMBER(DR, DebugRegisterAccesses),
        MEMBER(MEMORY, NestedPageFaultIntercepts),
        MEMBER(HYPERCALL, Hypercalls),
        MEMBER(RDPMC, RdpmcInstructions),
#undef MEMBER
    };

    (void)state;
    for (unsigned reason = 0; reason < HV_EXIT_REASON_COUNT; reason++) {
        WHV_PROCESSOR_ACTIVITY_COUNTERS set, wanted = {.OtherIntercepts.Count = 0};
        size_t offset = offsetof(WHV_PROCESSOR_ACTIVITY_COUNTERS, OtherIntercepts);

        for (unsigned i = 0; i < ARRAY_COUNT(members); i++)
            if (members[i].reason == reason)
                offset = members[i].offset;
        *(UINT64 *)((char *)&wanted + offset) = 7;
        memset(&vp_counters, 0, sizeof(vp_counters));
        vp_counters.exits[reason] = 7;
        memset(&set, 0xaa, sizeof(set));
        assert_int_equal(
            WHvGetVirtualProcessorCounters(part, 0, WHvProcessorCounterSetIntercepts, &set, sizeof(set), NULL), S_OK);
        assert_memory_equal(&set, &wanted, sizeof(set));
    }
}

static void other_counter_sets(void **state)
{
    static const struct {
        WHV_PROCESSOR_COUNTER_SET set;
        UINT32 count; /* of words */
        UINT64 wanted[6];
    } sets[] = {
        {WHvProcessorCounterSetRuntime, 2, {11, 0}},
        {WHvProcessorCounterSetEvents, 3, {22, 21, 23}},
        {WHvProcessorCounterSetApic, 5, {31, 32, 33, 34, 35}},
        {WHvProcessorCounterSetSyntheticFeatures, 6, {41, 42, 43, 44, 45, 46}},
    };
    UINT64 out[7];

    (void)state;
    memset(&vp_counters, 0, sizeof(vp_counters));
    vp_counters.run_100ns = 11;
    vp_counters.events.exceptions = 21;
    vp_counters.events.page_faults = 22;
    vp_counters.events.interrupts = 23;
    vp_counters.apic.mmio = 31;
    vp_counters.apic.eoi = 32;
    vp_counters.apic.tpr = 33;
    vp_counters.apic.ipis = 34;
    vp_counters.apic.self_ipis = 35;
    vp_counters.synthetic.interrupts = 41;
    vp_counters.synthetic.spin_waits = 42;
    vp_counters.synthetic.others = 43;
    vp_counters.synthetic.synic = 44;
    vp_counters.synthetic.ipis = 45;
    vp_counters.synthetic.flushes = 46;
    for (unsigned i = 0; i < ARRAY_COUNT(sets); i++) {
        UINT32 written = 77, size = sets[i].count * 8;

        memset(out, 0xaa, sizeof(out));
        assert_int_equal(WHvGetVirtualProcessorCounters(part, 1, sets[i].set, out, size - 1, &written),
                         WHV_E_INSUFFICIENT_BUFFER);
        assert_int_equal(written, size);
        assert_int_equal(out[0], 0xaaaaaaaaaaaaaaaa);
        written = 77;
        assert_int_equal(WHvGetVirtualProcessorCounters(part, 1, sets[i].set, out, sizeof(out), &written), S_OK);
        assert_int_equal(written, size);
        assert_memory_equal(out, sets[i].wanted, size);
        assert_int_equal(out[sets[i].count], 0xaaaaaaaaaaaaaaaa);
    }
    memset(&vp_counters, 0, sizeof(vp_counters));
    vp_counters.exits[HV_EXIT_EXCEPTION] = 5;
    vp_counters.page_fault_exits = 3;
    vp_counters.emulated = 9;
    {
        WHV_PROCESSOR_ACTIVITY_COUNTERS set;

        assert_int_equal(
            WHvGetVirtualProcessorCounters(part, 0, WHvProcessorCounterSetIntercepts, &set, sizeof(set), NULL), S_OK);
        assert_int_equal(set.PageFaultIntercepts.Count, 3);
        assert_int_equal(set.OtherIntercepts.Count, 2);
        assert_int_equal(set.EmulatedInstructions.Count, 9);
    }
}

static void counter_arguments(void **state)
{
    UINT32 written = 77;
    UINT64 out[28];

    (void)state;
    for (int set = -1; set <= 6; set += set == -1 ? 6 : 1)
        assert_int_equal(
            WHvGetVirtualProcessorCounters(part, 0, (WHV_PROCESSOR_COUNTER_SET)set, out, sizeof(out), &written),
            WHV_E_UNKNOWN_PROPERTY);
    assert_int_equal(WHvGetVirtualProcessorCounters(part, 0, WHvProcessorCounterSetRuntime, NULL, 16, &written),
                     E_INVALIDARG);
    assert_int_equal(WHvGetVirtualProcessorCounters(part, 2, WHvProcessorCounterSetRuntime, out, 16, &written),
                     WHV_E_VP_DOES_NOT_EXIST);
    assert_int_equal(written, 77);
    assert_int_equal(WHvGetVirtualProcessorCounters(part, 0, WHvProcessorCounterSetRuntime, NULL, 0, NULL),
                     WHV_E_INSUFFICIENT_BUFFER);
    assert_int_equal(core.calls, 0);
}

static void exit_counters(void **state)
{
    WHVX_EXIT_COUNTER out[HV_EXIT_REASON_COUNT + 1];
    UINT32 written = 77;

    (void)state;
    memset(&vp_counters, 0, sizeof(vp_counters));
    vp_counters.exits[HV_EXIT_CPUID] = 8;
    vp_counters.to_client[HV_EXIT_CPUID] = 2;
    vp_counters.exits[HV_EXIT_REASON_COUNT - 1] = 1;
    memset(out, 0xaa, sizeof(out));
    assert_int_equal(WHvxGetExitCounters(part, 1, NULL, 0, &written), WHV_E_INSUFFICIENT_BUFFER);
    assert_int_equal(written, HV_EXIT_REASON_COUNT);
    assert_int_equal(WHvxGetExitCounters(part, 1, out, HV_EXIT_REASON_COUNT - 1, NULL), WHV_E_INSUFFICIENT_BUFFER);
    assert_int_equal(WHvxGetExitCounters(part, 1, NULL, HV_EXIT_REASON_COUNT, NULL), E_INVALIDARG);
    assert_int_equal(WHvxGetExitCounters(part, 2, out, ARRAY_COUNT(out), NULL), WHV_E_VP_DOES_NOT_EXIST);
    assert_int_equal(core.calls, 0);
    assert_int_equal(out[0].Exits, 0xaaaaaaaaaaaaaaaa);
    written = 77;
    assert_int_equal(WHvxGetExitCounters(part, 1, out, ARRAY_COUNT(out), &written), S_OK);
    assert_int_equal(written, HV_EXIT_REASON_COUNT);
    assert_string_equal(out[HV_EXIT_CPUID].Name, "cpuid");
    assert_int_equal(out[HV_EXIT_CPUID].Exits, 8);
    assert_int_equal(out[HV_EXIT_CPUID].Returns, 2);
    assert_string_equal(out[HV_EXIT_IO].Name, "other");
    assert_int_equal(out[HV_EXIT_IO].Exits, 0);
    assert_int_equal(out[HV_EXIT_REASON_COUNT - 1].Exits, 1);
    assert_int_equal(out[HV_EXIT_REASON_COUNT - 1].Returns, 0);
    assert_int_equal(out[HV_EXIT_REASON_COUNT].Exits, 0xaaaaaaaaaaaaaaaa);
}

/* ------------------------------------------------------------------------------------- memory */

static void mapping(void **state)
{
    int other_process;

    (void)state;
    assert_int_equal(WHvMapGpaRange(part, page, 0x5000, 0x3000, WHvMapGpaRangeFlagRead | WHvMapGpaRangeFlagExecute),
                     S_OK);
    assert_ptr_equal(core.memory, page);
    assert_int_equal(core.args[0], 0x5000);
    assert_int_equal(core.args[1], 0x3000);
    assert_int_equal(core.args[2], 5);
    assert_int_equal(WHvMapGpaRange2(part, NULL, page, 0x6000, 0x1000, WHvMapGpaRangeFlagWrite), S_OK);
    assert_int_equal(core.args[0], 0x6000);
    assert_int_equal(WHvUnmapGpaRange(part, 0x7000, 0x2000), S_OK);
    assert_int_equal(core.args[0], 0x7000);
    assert_int_equal(core.args[1], 0x2000);
    core.calls = 0;
    assert_int_equal(WHvMapGpaRange(part, NULL, 0, 0x1000, WHvMapGpaRangeFlagRead), E_INVALIDARG);
    assert_int_equal(WHvMapGpaRange2(part, &other_process, page, 0, 0x1000, WHvMapGpaRangeFlagRead), E_INVALIDARG);
    assert_int_equal(WHvMapGpaRange2(part, NULL, NULL, 0, 0x1000, WHvMapGpaRangeFlagRead), E_INVALIDARG);
    assert_int_equal(core.calls, 0);
}

static void translation(void **state)
{
    WHV_TRANSLATE_GVA_RESULT result = {77, 77};
    WHV_GUEST_PHYSICAL_ADDRESS gpa = 77;

    (void)state;
    assert_int_equal(WHvTranslateGva(part, 0, 0xffff8000deadb000, 0x213, &result, &gpa), S_OK);
    assert_int_equal(core.args[0], 0xffff8000deadb000);
    assert_int_equal(core.args[1], 0x213);
    assert_int_equal(result.ResultCode, WHvTranslateGvaResultSuccess);
    assert_int_equal(result.Reserved, 0);
    assert_int_equal(gpa, 0x123456789000);
    for (int r = HV_TRANSLATE_NOT_PRESENT; r <= HV_TRANSLATE_INTERCEPT; r++) {
        gpa = 77;
        core.translation = (enum hv_translate_result)r;
        assert_int_equal(WHvTranslateGva(part, 0, 0, 1, &result, &gpa), S_OK);
        assert_int_equal(result.ResultCode, r);
        assert_int_equal(gpa, 77);
    }
    result.ResultCode = 77;
    core.answer = HV_E_INVALID;
    assert_int_equal(WHvTranslateGva(part, 0, 0, 0x80, &result, &gpa), E_INVALIDARG);
    assert_int_equal(result.ResultCode, 77);
    core.calls = 0;
    assert_int_equal(WHvTranslateGva(part, 0, 0, 1, NULL, &gpa), E_INVALIDARG);
    assert_int_equal(WHvTranslateGva(part, 0, 0, 1, &result, NULL), E_INVALIDARG);
    assert_int_equal(core.calls, 0);
}

static void guest_memory(void **state)
{
    uint8_t data[18];

    (void)state;
    memset(data, 0x11, sizeof(data));
    assert_int_equal(WHvReadGpaRange(part, 0, 0x1234, write_back, data + 1, 16), S_OK);
    assert_int_equal(core.args[0], 0x1234);
    assert_int_equal(core.args[1], 16);
    assert_int_equal(data[0], 0x11);
    assert_int_equal(data[1], 0xa0);
    assert_int_equal(data[16], 0xaf);
    assert_int_equal(data[17], 0x11);
    assert_int_equal(WHvWriteGpaRange(part, 1, 0x4321, write_back, data + 1, 3), S_OK);
    assert_int_equal(core.args[0], 0x4321);
    assert_int_equal(core.args[1], 3);
    assert_memory_equal(core.data, data + 1, 3);
    core.answer = HV_E_ACCESS_DENIED;
    memset(data, 0x11, sizeof(data));
    assert_int_equal(WHvReadGpaRange(part, 0, 0, write_back, data, 8), E_ACCESSDENIED);
    assert_int_equal(data[0], 0x11);
}

static HRESULT both_accesses(WHV_ACCESS_GPA_CONTROLS controls, void *data, UINT32 size)
{
    HRESULT read = WHvReadGpaRange(part, 0, 0, controls, data, size);

    assert_int_equal(WHvWriteGpaRange(part, 0, 0, controls, data, size), read);
    return read;
}

static void guest_memory_controls(void **state)
{
    static const UINT64 good[] = {0, 1, 4, 5, 6, 6 | 0x10ull << 32};
    static const UINT64 bad[] = {2,
                                 3,
                                 7,
                                 32,
                                 38,
                                 0xffffffff,
                                 6 | 1ull << 32,    /* VTL 1 */
                                 6 | 0x11ull << 32, /* the same, asked for */
                                 6 | 0x20ull << 32, /* reserved bits of the byte */
                                 6 | 1ull << 40,    /* reserved fields */
                                 6 | 1ull << 48,
                                 6 | 1ull << 63};
    uint8_t data[32];

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(good); i++)
        assert_int_equal(both_accesses((WHV_ACCESS_GPA_CONTROLS){.AsUINT64 = good[i]}, data, 4), S_OK);
    core.calls = 0;
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++)
        assert_int_equal(both_accesses((WHV_ACCESS_GPA_CONTROLS){.AsUINT64 = bad[i]}, data, 4), E_INVALIDARG);
    assert_int_equal(both_accesses(write_back, data, 0), E_INVALIDARG);
    assert_int_equal(both_accesses(write_back, data, 17), E_INVALIDARG);
    assert_int_equal(both_accesses(write_back, data, 0xffffffff), E_INVALIDARG);
    assert_int_equal(both_accesses(write_back, NULL, 4), E_INVALIDARG);
    assert_int_equal(core.calls, 0);
}

/* ------------------------------------------------------------------------- virtual processors */

static void vp_life(void **state)
{
    (void)state;
    assert_int_equal(WHvCreateVirtualProcessor(part, 7, 0), S_OK);
    assert_int_equal(core.args[0], 7);
    assert_int_equal(WHvDeleteVirtualProcessor(part, 9), S_OK);
    assert_int_equal(core.args[0], 9);
    core.calls = 0;
    assert_int_equal(WHvCreateVirtualProcessor(part, 0, 1), E_INVALIDARG);
    assert_int_equal(WHvCreateVirtualProcessor(part, 0, 0x80000000), E_INVALIDARG);
    assert_int_equal(WHvCancelRunVirtualProcessor(part, 0, 1), E_INVALIDARG);
    assert_int_equal(core.calls, 0);
    assert_int_equal(WHvCancelRunVirtualProcessor(part, 1, 0), S_OK);
    assert_int_equal(core.args[0], 1);
}

static void vp_properties(void **state)
{
    const WHV_VIRTUAL_PROCESSOR_PROPERTY good[] = {{.PropertyCode = WHvVirtualProcessorPropertyCodeNumaNode},
                                                   {.PropertyCode = 0, .Padding = 0xdeadbeef0000}};
    const WHV_VIRTUAL_PROCESSOR_PROPERTY bad[] = {
        {.PropertyCode = 1}, {.PropertyCode = 0, .Reserved = 1}, {.PropertyCode = 0, .NumaNode = 1}};
    static WHV_VIRTUAL_PROCESSOR_PROPERTY many[257];
    uint8_t bytes[sizeof(good) + 1];

    (void)state;
    assert_int_equal(WHvCreateVirtualProcessor2(part, 3, good, 2), S_OK);
    assert_int_equal(core.args[0], 3);
    assert_int_equal(WHvCreateVirtualProcessor2(part, 4, good, 0), S_OK);
    memcpy(bytes + 1, good, sizeof(good));
    assert_int_equal(WHvCreateVirtualProcessor2(part, 5, (void *)(bytes + 1), 2), S_OK);
    assert_int_equal(WHvCreateVirtualProcessor2(part, 5, many, 256), S_OK);
    core.calls = 0;
    for (unsigned i = 0; i < ARRAY_COUNT(bad); i++) {
        WHV_VIRTUAL_PROCESSOR_PROPERTY last[2] = {good[0], bad[i]};

        assert_int_equal(WHvCreateVirtualProcessor2(part, 0, last, 2), E_INVALIDARG);
    }
    assert_int_equal(WHvCreateVirtualProcessor2(part, 0, NULL, 1), E_INVALIDARG);
    assert_int_equal(WHvCreateVirtualProcessor2(part, 0, many, 257), E_INVALIDARG);
    assert_int_equal(core.calls, 0);
}

static void run_failures(void **state)
{
    static const UINT32 short_sizes[] = {0, 1, 8, 40, 47};

    (void)state;
    assert_int_equal(WHvRunVirtualProcessor(part, 0, NULL, sizeof(context)), E_INVALIDARG);
    for (unsigned i = 0; i < ARRAY_COUNT(short_sizes); i++)
        assert_int_equal(WHvRunVirtualProcessor(part, 0, &context, short_sizes[i]), WHV_E_INSUFFICIENT_BUFFER);
    assert_int_equal(core.calls, 0);
    memset(&context, 0x5a, sizeof(context));
    core.answer = HV_E_VP_BUSY;
    assert_int_equal(good_run(part, 0), WHV_E_INVALID_VP_STATE);
    for (unsigned i = 0; i < sizeof(context); i++)
        assert_int_equal(((uint8_t *)&context)[i], 0x5a);
}

/* ---------------------------------------------------------------------------------- registers */

static void registers(void **state)
{
    (void)state;
    assert_int_equal(WHvGetVirtualProcessorRegisters(part, 1, names, 3, values), S_OK);
    assert_ptr_equal(core.memory, values);
    assert_int_equal(core.args[0], 3);
    assert_int_equal(core.args[1], WHvRegisterPendingInterruption);
    assert_int_equal(values[1].Reg64, WHvX64RegisterRip);
    assert_int_equal(WHvSetVirtualProcessorRegisters(part, 1, names, 2, values), S_OK);
    assert_ptr_equal(core.memory, values);
    assert_int_equal(core.args[0], 2);
    assert_int_equal(core.args[1], WHvX64RegisterRip);
    core.few = true;
    core.calls = 0;
    assert_int_equal(WHvGetVirtualProcessorRegisters(part, 1, names, 3, values), S_OK);
    assert_int_equal(WHvSetVirtualProcessorRegisters(part, 1, names, 2, values), S_OK);
    assert_int_equal(core.calls, 2);
    core.few = false;
    /* none at all: fine, if the processor is there */
    assert_int_equal(WHvGetVirtualProcessorRegisters(part, 1, NULL, 0, NULL), S_OK);
    assert_int_equal(WHvSetVirtualProcessorRegisters(part, 1, NULL, 0, NULL), S_OK);
    assert_int_equal(WHvSetVirtualProcessorRegisters(part, 5, NULL, 0, NULL), WHV_E_VP_DOES_NOT_EXIST);
    core.calls = 0;
    assert_int_equal(WHvGetVirtualProcessorRegisters(part, 1, NULL, 1, values), E_INVALIDARG);
    assert_int_equal(WHvGetVirtualProcessorRegisters(part, 1, names, 1, NULL), E_INVALIDARG);
    assert_int_equal(WHvSetVirtualProcessorRegisters(part, 1, NULL, 1, values), E_INVALIDARG);
    assert_int_equal(WHvSetVirtualProcessorRegisters(part, 1, names, 1, NULL), E_INVALIDARG);
    assert_int_equal(WHvGetVirtualProcessorRegisters(part, 1, names, 513, values), E_INVALIDARG);
    assert_int_equal(WHvSetVirtualProcessorRegisters(part, 1, names, 0xffffffff, values), E_INVALIDARG);
    assert_int_equal(core.calls, 0);
    assert_int_equal(fake_counts().requests, 1); /* the partition; aligned arrays need no copy */
}

#define BYTES_OF(count, size) ((count) * (size) + 16)

static void unaligned_registers(void **state)
{
    static uint8_t name_bytes[BYTES_OF(512, 4)] __attribute__((aligned(16)));
    static uint8_t value_bytes[BYTES_OF(512, 16)] __attribute__((aligned(16)));
    static const UINT32 counts[] = {1, 3, 512};

    (void)state;
    for (unsigned shift = 1; shift < 16; shift++)
        for (unsigned c = 0; c < ARRAY_COUNT(counts); c++) {
            UINT32 count = counts[c], last = 0x1000 + count - 1;
            void *unaligned_names = name_bytes + shift, *unaligned_values = value_bytes + shift;
            UINT64 value;

            for (UINT32 i = 0, name; i < count; i++) {
                name = 0x1000 + i;
                memcpy(name_bytes + shift + i * 4, &name, 4);
            }
            memset(value_bytes, 0x5a, sizeof(value_bytes));
            assert_int_equal(WHvGetVirtualProcessorRegisters(part, 0, unaligned_names, count, unaligned_values), S_OK);
            assert_int_equal(core.args[1], last);
            memcpy(&value, value_bytes + shift + (count - 1) * 16 + 8, 8);
            assert_int_equal(value, last);
            assert_int_equal(value_bytes[shift - 1], 0x5a);
            assert_int_equal(value_bytes[shift + count * 16], 0x5a);
            assert_int_equal(WHvSetVirtualProcessorRegisters(part, 0, unaligned_names, count, unaligned_values), S_OK);
            assert_int_equal(core.args[0], count);
            assert_int_equal(core.args[1], last);
            assert_int_equal(core.args[2], last);
        }
    memset(value_bytes, 0x5a, sizeof(value_bytes));
    core.answer = HV_E_REGISTER_NAME;
    assert_int_equal(WHvGetVirtualProcessorRegisters(part, 0, names, 1, (void *)(value_bytes + 1)),
                     WHV_E_INVALID_VP_REGISTER_NAME);
    assert_int_equal(value_bytes[1], 0x5a);
    fake_fail_after(1);
    assert_int_equal(WHvGetVirtualProcessorRegisters(part, 0, names, 1, (void *)(value_bytes + 1)), E_OUTOFMEMORY);
    fake_fail_after(1);
    assert_int_equal(WHvSetVirtualProcessorRegisters(part, 0, names, 1, (void *)(value_bytes + 1)), E_OUTOFMEMORY);
}

static void cpuid_output(void **state)
{
    WHV_CPUID_OUTPUT out[2];

    (void)state;
    assert_int_equal(WHvGetVirtualProcessorCpuidOutput(part, 0, 7, 1, (void *)((char *)out + 2)), S_OK);
    memmove(out, (char *)out + 2, sizeof(*out));
    assert_int_equal(core.args[0], 7);
    assert_int_equal(core.args[1], 1);
    assert_int_equal(out[0].Eax, 1);
    assert_int_equal(out[0].Ebx, 2);
    assert_int_equal(out[0].Ecx, 3);
    assert_int_equal(out[0].Edx, 4);
    core.calls = 0;
    assert_int_equal(WHvGetVirtualProcessorCpuidOutput(part, 0, 7, 1, NULL), E_POINTER);
    assert_int_equal(core.calls, 0);
}

static void xsave(void **state)
{
    UINT32 written = 77;

    (void)state;
    core.written = 2696;
    assert_int_equal(WHvGetVirtualProcessorXsaveState(part, 0, page, 4096, &written), S_OK);
    assert_ptr_equal(core.memory, page);
    assert_int_equal(core.args[0], 4096);
    assert_int_equal(written, 2696);
    assert_int_equal(WHvSetVirtualProcessorXsaveState(part, 0, page, 2696), S_OK);
    assert_ptr_equal(core.memory, page);
    assert_int_equal(core.args[0], 2696);
    core.answer = HV_E_BUFFER_TOO_SMALL;
    written = 77;
    assert_int_equal(WHvGetVirtualProcessorXsaveState(part, 0, NULL, 0, &written), WHV_E_INSUFFICIENT_BUFFER);
    assert_int_equal(written, 2696);
    assert_int_equal(WHvGetVirtualProcessorXsaveState(part, 0, NULL, 0, NULL), WHV_E_INSUFFICIENT_BUFFER);
    written = 77;
    core.answer = HV_E_VP_BUSY;
    assert_int_equal(WHvGetVirtualProcessorXsaveState(part, 0, page, 4096, &written), WHV_E_INVALID_VP_STATE);
    assert_int_equal(written, 77);
    core.calls = 0;
    assert_int_equal(WHvGetVirtualProcessorXsaveState(part, 0, NULL, 64, &written), E_INVALIDARG);
    assert_int_equal(WHvSetVirtualProcessorXsaveState(part, 0, NULL, 64), E_INVALIDARG);
    assert_int_equal(WHvSetVirtualProcessorXsaveState(part, 0, NULL, 0), E_INVALIDARG);
    assert_int_equal(core.calls, 0);
}

static void state_types(void **state)
{
    static const struct {
        UINT32 type;
        HRESULT result;
    } others[] = {
        {0x1002, DENIED}, /* nested */
        {3, E_INVALIDARG}, {0xfff, E_INVALIDARG}, {0x1003, E_INVALIDARG}, {0xffffffff, E_INVALIDARG},
    };
    UINT32 written = 77;

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(others); i++) {
        WHV_VIRTUAL_PROCESSOR_STATE_TYPE type = (WHV_VIRTUAL_PROCESSOR_STATE_TYPE)others[i].type;

        assert_int_equal(WHvGetVirtualProcessorState(part, 0, type, page, 4096, &written), others[i].result);
        assert_int_equal(WHvSetVirtualProcessorState(part, 0, type, page, 4096), others[i].result);
    }
    assert_int_equal(written, 77);
    assert_int_equal(core.calls, 0);
}

static void apic_state(void **state)
{
    UINT32 written = 0;

    (void)state;
    core.written = 4096;
    core.answer = HV_E_BUFFER_TOO_SMALL;
    assert_int_equal(WHvGetVirtualProcessorInterruptControllerState2(part, 0, page, 100, &written),
                     WHV_E_INSUFFICIENT_BUFFER);
    assert_int_equal(written, 4096);
    assert_int_equal(core.args[0], 100);
    core.answer = HV_OK;
    assert_int_equal(WHvGetVirtualProcessorState(part, 0, (WHV_VIRTUAL_PROCESSOR_STATE_TYPE)0x1000, page, 4096, NULL),
                     S_OK);
    assert_string_equal(core.last, "hv_vp_get_apic");
    assert_ptr_equal(core.memory, page);
    assert_int_equal(WHvSetVirtualProcessorState(part, 0, (WHV_VIRTUAL_PROCESSOR_STATE_TYPE)0x1000, page, 4096), S_OK);
    assert_string_equal(core.last, "hv_vp_set_apic");
    core.calls = 0;
    assert_int_equal(WHvGetVirtualProcessorInterruptControllerState2(part, 0, NULL, 4096, &written), E_INVALIDARG);
    assert_int_equal(WHvSetVirtualProcessorInterruptControllerState2(part, 0, NULL, 4096), E_POINTER);
    assert_int_equal(WHvSetVirtualProcessorInterruptControllerState2(part, 0, page, 4095), E_POINTER);
    assert_int_equal(WHvSetVirtualProcessorInterruptControllerState(part, 0, page, 1023), E_POINTER);
    assert_int_equal(core.calls, 0);
}

/* The caller's buffers need no alignment, and nothing is written there on failure. */
static void interrupt_targets(void **state)
{
    const WHV_INTERRUPT_DESTINATION_MODE physical = WHvX64InterruptDestinationModePhysical;
    const UINT32 wanted[] = {3, 5};
    UINT32 count, vps[4];
    char odd[1 + sizeof(vps)], odd_count[1 + sizeof(count)];

    (void)state;
    assert_int_equal(WHvGetInterruptTargetVpSet(part, 0x123456789, physical, (UINT32 *)(void *)(odd + 1), 4,
                                                (UINT32 *)(void *)(odd_count + 1)),
                     S_OK);
    memcpy(&count, odd_count + 1, sizeof(count));
    assert_int_equal(count, 2);
    assert_memory_equal(odd + 1, wanted, sizeof(wanted));
    assert_int_equal(core.args[0], 0x123456789);
    assert_int_equal(core.args[1], false);
    assert_int_equal(core.args[2], 4);
    assert_int_equal(WHvGetInterruptTargetVpSet(part, 1, WHvX64InterruptDestinationModeLogical, vps, 4, &count), S_OK);
    assert_int_equal(core.args[1], true);
    vps[0] = count = 0x55;
    core.answer = HV_E_INVALID;
    assert_int_equal(WHvGetInterruptTargetVpSet(part, 1, physical, vps, 4, &count), E_INVALIDARG);
    assert_true(vps[0] == 0x55 && count == 0x55);
    core.answer = HV_OK;
    core.calls = 0;
    assert_int_equal(WHvGetInterruptTargetVpSet(part, 1, physical, NULL, 4, &count), E_INVALIDARG);
    assert_int_equal(WHvGetInterruptTargetVpSet(part, 1, physical, vps, 4, NULL), E_INVALIDARG);
    assert_int_equal(WHvGetInterruptTargetVpSet(part, 1, (WHV_INTERRUPT_DESTINATION_MODE)2, vps, 4, &count),
                     E_INVALIDARG);
    assert_int_equal(core.calls, 0);
}

/* Bit by bit, as the structure lies in memory. */
static HRESULT request(uint64_t word, uint32_t destination, uint32_t vector)
{
    struct {
        uint64_t word;
        uint32_t destination, vector;
    } control = {word, destination, vector};

    return WHvRequestInterrupt(part, (const WHV_INTERRUPT_CONTROL *)&control, sizeof(control));
}

static void interrupts(void **state)
{
    (void)state;
    assert_int_equal(request(0x1104, 0x12345678, 0xabcdef01), S_OK);
    assert_int_equal(core.interrupt.type, 4);
    assert_true(core.interrupt.is_logical);
    assert_true(core.interrupt.is_level);
    assert_int_equal(core.interrupt.destination, 0x12345678);
    assert_int_equal(core.interrupt.vector, 0xabcdef01);
    assert_int_equal(request(0x01ff, 0, 0), S_OK); /* types are the core's to judge */
    assert_int_equal(core.interrupt.type, 0xff);
    assert_true(core.interrupt.is_logical);
    assert_false(core.interrupt.is_level);
    assert_int_equal(request(0x1000, 0, 0), S_OK);
    assert_false(core.interrupt.is_logical);
    assert_true(core.interrupt.is_level);
}

static void interrupt_arguments(void **state)
{
    WHV_INTERRUPT_CONTROL control = {.Vector = 0x30};

    (void)state;
    for (unsigned bit = 9; bit < 64; bit++) /* modes 2, 4, 8, VTLs, reserved ones */
        if (bit != 12)
            assert_int_equal(request(BIT64(bit), 0, 0x30), E_INVALIDARG);
    assert_int_equal(WHvRequestInterrupt(part, NULL, sizeof(control)), E_INVALIDARG);
    assert_int_equal(WHvRequestInterrupt(part, &control, sizeof(control) - 1), E_INVALIDARG);
    assert_int_equal(WHvRequestInterrupt(part, &control, sizeof(control) + 1), E_INVALIDARG);
    assert_int_equal(WHvRequestInterrupt(part, &control, 0), E_INVALIDARG);
    assert_int_equal(core.calls, 0);
}

/* ------------------------------------------------------------------------------ exit contexts */

/* An exit of this reason that says something in each byte. */
static void new_exit(enum hv_exit_reason reason)
{
    for (unsigned i = 0; i < sizeof(core.exit); i++)
        ((uint8_t *)&core.exit)[i] = (uint8_t)(i * 3 + 1);
    core.exit.reason = reason;
}

/* Runs to that exit: all of it arrives, and the reason has WHP's number. */
static void take_exit(UINT32 reason)
{
    memset(&context, 0x5a, sizeof(context));
    assert_int_equal(good_run(part, 0), S_OK);
    assert_int_equal(context.ExitReason, reason);
    assert_memory_equal((uint8_t *)&context + 4, (uint8_t *)&core.exit + 4, sizeof(context) - 4);
}

static void exit_numbers(void **state)
{
    static const struct {
        enum hv_exit_reason reason;
        UINT32 whp;
    } all[] = {
        {HV_EXIT_NONE, 0},
        {HV_EXIT_MEMORY, 1},
        {HV_EXIT_IO, 2},
        {HV_EXIT_UNRECOVERABLE_EXCEPTION, 4},
        {HV_EXIT_INVALID_REGISTER_VALUE, 5},
        {HV_EXIT_UNSUPPORTED_FEATURE, 6},
        {HV_EXIT_WINDOW, 7},
        {HV_EXIT_HALT, 8},
        {HV_EXIT_MSR, 0x1000},
        {HV_EXIT_CPUID, 0x1001},
        {HV_EXIT_EXCEPTION, 0x1002},
        {HV_EXIT_RDTSC, 0x1003},
        {HV_EXIT_APIC_SMI_TRAP, 0x1004},
        {HV_EXIT_HYPERCALL, 0x1005},
        {HV_EXIT_APIC_INIT_SIPI_TRAP, 0x1006},
        {HV_EXIT_APIC_WRITE_TRAP, 0x1007},
        {HV_EXIT_APIC_EOI, 9},
        {HV_EXIT_SINT_DELIVERABLE, 0xa},
        {HV_EXIT_CANCELED, 0x2001},
        /* not a client's: whatever changes the number meanwhile */
        {HV_EXIT_INTERNAL, 0},
        {HV_EXIT_REASON_COUNT, 0},
        {(enum hv_exit_reason)0xffffffff, 0},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_COUNT(all); i++) {
        new_exit(all[i].reason);
        take_exit(all[i].whp);
    }
}

/* Any size from the shortest on, at any alignment: the same bytes, and not one more. */
static void exit_buffers(void **state)
{
    static const UINT32 sizes[] = {48, 49, 80, 144, 223, 224, 225, 256};
    static uint8_t bytes[300] __attribute__((aligned(16)));

    (void)state;
    new_exit(HV_EXIT_CPUID);
    take_exit(0x1001);
    for (unsigned s = 0; s < ARRAY_COUNT(sizes); s++)
        for (unsigned shift = 0; shift < 17; shift++) {
            UINT32 got = sizes[s] < sizeof(context) ? sizes[s] : sizeof(context);

            memset(bytes, 0x5a, sizeof(bytes));
            assert_int_equal(WHvRunVirtualProcessor(part, 0, bytes + shift, sizes[s]), S_OK);
            assert_memory_equal(bytes + shift, &context, got);
            for (unsigned i = 0; i < sizeof(bytes); i++)
                if (i < shift || i >= shift + got)
                    assert_int_equal(bytes[i], 0x5a);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        WHP_TEST(good_arguments_reach_the_core),
        WHP_TEST(bad_handles),
        WHP_TEST(deleted_handle),
        WHP_TEST(missing_vps),
        WHP_TEST(no_references_are_left),
        WHP_TEST(statuses_become_hresults),
        WHP_TEST(capability),
        WHP_TEST(capability_failures),
        WHP_TEST(create_failures),
        WHP_TEST(as_many_as_possible),
        WHP_TEST(running_partition_stays),
        WHP_TEST(refused_deletion),
        WHP_TEST(properties),
        WHP_TEST(property_sizes),
        WHP_TEST(counters),
        WHP_TEST(intercept_counters),
        WHP_TEST(other_counter_sets),
        WHP_TEST(counter_arguments),
        WHP_TEST(exit_counters),
        WHP_TEST(mapping),
        WHP_TEST(translation),
        WHP_TEST(guest_memory),
        WHP_TEST(guest_memory_controls),
        WHP_TEST(vp_life),
        WHP_TEST(vp_properties),
        WHP_TEST(run_failures),
        WHP_TEST(registers),
        WHP_TEST(unaligned_registers),
        WHP_TEST(cpuid_output),
        WHP_TEST(xsave),
        WHP_TEST(state_types),
        WHP_TEST(apic_state),
        WHP_TEST(interrupt_targets),
        WHP_TEST(interrupts),
        WHP_TEST(interrupt_arguments),
        WHP_TEST(exit_numbers),
        WHP_TEST(exit_buffers),
    };

    return cmocka_run_group_tests_name("whp", tests, NULL, NULL);
}
