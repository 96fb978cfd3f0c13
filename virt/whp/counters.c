/* SPDX-License-Identifier: MIT */
/* Counters of a virtual processor: the API's sets, and the exits by reason. */
#include "call.h"
#include <hv/base/bits.h>
#include <whp/WinHvDiagnostics.h>

/* --------------------------------------------------------------------------------- the API's sets */

/* One set, of the size that clients expect of it. What is not measured, or can not happen, stays 0. */
union counter_set {
    WHV_PROCESSOR_RUNTIME_COUNTERS runtime;
    WHV_PROCESSOR_ACTIVITY_COUNTERS intercepts;
    WHV_PROCESSOR_GUEST_EVENT_COUNTERS events;
    WHV_PROCESSOR_APIC_COUNTERS apic;
    WHV_PROCESSOR_SYNTHETIC_FEATURES_COUNTERS synthetic;
};

static void fill_runtime(union counter_set *to, const struct hv_vp_counters *from)
{
    to->runtime.TotalRuntime100ns = from->run_100ns;
}

/* The exits that no other member of the set counts. */
static uint64_t other_exits(const struct hv_vp_counters *from)
{
    static const enum hv_exit_reason named[] = {
        HV_EXIT_CR,     HV_EXIT_IO, HV_EXIT_HALT,   HV_EXIT_CPUID,     HV_EXIT_MSR,
        HV_EXIT_WINDOW, HV_EXIT_DR, HV_EXIT_MEMORY, HV_EXIT_HYPERCALL, HV_EXIT_RDPMC,
    };
    uint64_t others = 0;

    for (unsigned i = 0; i < HV_EXIT_REASON_COUNT; i++)
        others += from->exits[i];
    for (unsigned i = 0; i < ARRAY_COUNT(named); i++)
        others -= from->exits[named[i]];
    return others - from->page_fault_exits;
}

static void fill_intercepts(union counter_set *to, const struct hv_vp_counters *from)
{
    WHV_PROCESSOR_ACTIVITY_COUNTERS *set = &to->intercepts;

    set->ControlRegisterAccesses.Count = from->exits[HV_EXIT_CR];
    set->IoInstructions.Count = from->exits[HV_EXIT_IO];
    set->HaltInstructions.Count = from->exits[HV_EXIT_HALT];
    set->CpuidInstructions.Count = from->exits[HV_EXIT_CPUID];
    set->MsrAccesses.Count = from->exits[HV_EXIT_MSR];
    set->OtherIntercepts.Count = other_exits(from);
    set->PendingInterrupts.Count = from->exits[HV_EXIT_WINDOW];
    set->EmulatedInstructions.Count = from->emulated;
    set->DebugRegisterAccesses.Count = from->exits[HV_EXIT_DR];
    set->PageFaultIntercepts.Count = from->page_fault_exits;
    set->NestedPageFaultIntercepts.Count = from->exits[HV_EXIT_MEMORY];
    set->Hypercalls.Count = from->exits[HV_EXIT_HYPERCALL];
    set->RdpmcInstructions.Count = from->exits[HV_EXIT_RDPMC];
}

static void fill_events(union counter_set *to, const struct hv_vp_counters *from)
{
    to->events.PageFaultCount = from->events.page_faults;
    to->events.ExceptionCount = from->events.exceptions;
    to->events.InterruptCount = from->events.interrupts;
}

static void fill_apic(union counter_set *to, const struct hv_vp_counters *from)
{
    to->apic.MmioAccessCount = from->apic.mmio;
    to->apic.EoiAccessCount = from->apic.eoi;
    to->apic.TprAccessCount = from->apic.tpr;
    to->apic.SentIpiCount = from->apic.ipis;
    to->apic.SelfIpiCount = from->apic.self_ipis;
}

static void fill_synthetic(union counter_set *to, const struct hv_vp_counters *from)
{
    WHV_PROCESSOR_SYNTHETIC_FEATURES_COUNTERS *set = &to->synthetic;

    set->SyntheticInterruptsCount = from->synthetic.interrupts;
    set->LongSpinWaitHypercallsCount = from->synthetic.spin_waits;
    set->OtherHypercallsCount = from->synthetic.others;
    set->SyntheticInterruptHypercallsCount = from->synthetic.synic;
    set->VirtualInterruptHypercallsCount = from->synthetic.ipis;
    set->VirtualMmuHypercallsCount = from->synthetic.flushes;
}

static const struct set {
    uint32_t size;
    void (*fill)(union counter_set *to, const struct hv_vp_counters *from);
} sets[] = {
    [WHvProcessorCounterSetRuntime] = {sizeof(WHV_PROCESSOR_RUNTIME_COUNTERS), fill_runtime},
    [WHvProcessorCounterSetIntercepts] = {sizeof(WHV_PROCESSOR_ACTIVITY_COUNTERS), fill_intercepts},
    [WHvProcessorCounterSetEvents] = {sizeof(WHV_PROCESSOR_GUEST_EVENT_COUNTERS), fill_events},
    [WHvProcessorCounterSetApic] = {sizeof(WHV_PROCESSOR_APIC_COUNTERS), fill_apic},
    [WHvProcessorCounterSetSyntheticFeatures] = {sizeof(WHV_PROCESSOR_SYNTHETIC_FEATURES_COUNTERS), fill_synthetic},
};

_Static_assert(sizeof(WHV_PROCESSOR_RUNTIME_COUNTERS) == 16, "WHV_PROCESSOR_RUNTIME_COUNTERS");
_Static_assert(sizeof(WHV_PROCESSOR_ACTIVITY_COUNTERS) == 224, "WHV_PROCESSOR_ACTIVITY_COUNTERS");
_Static_assert(sizeof(WHV_PROCESSOR_GUEST_EVENT_COUNTERS) == 24, "WHV_PROCESSOR_GUEST_EVENT_COUNTERS");
_Static_assert(sizeof(WHV_PROCESSOR_APIC_COUNTERS) == 40, "WHV_PROCESSOR_APIC_COUNTERS");
_Static_assert(sizeof(WHV_PROCESSOR_SYNTHETIC_FEATURES_COUNTERS) == 48, "WHV_PROCESSOR_SYNTHETIC_FEATURES_COUNTERS");

static void put_set(const struct set *set, struct hv_vp *vp, void *to)
{
    struct hv_vp_counters counters;
    union counter_set all;

    hv_vp_counters(vp, &counters);
    __builtin_memset(&all, 0, sizeof(all));
    set->fill(&all, &counters);
    __builtin_memcpy(to, &all, set->size);
}

HRESULT WHVAPI WHvGetVirtualProcessorCounters(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex,
                                              WHV_PROCESSOR_COUNTER_SET CounterSet, VOID *Buffer,
                                              UINT32 BufferSizeInBytes, UINT32 *BytesWritten)
{
    enum hv_status st = HV_E_BUFFER_TOO_SMALL;
    const struct set *set;
    struct vp_use in;
    HRESULT hr;

    if (!is_buffer(Buffer, BufferSizeInBytes))
        return E_INVALIDARG;
    if ((uint32_t)CounterSet >= ARRAY_COUNT(sets))
        return WHV_E_UNKNOWN_PROPERTY;
    hr = vp_enter(&in, Partition, VpIndex, WHP_USE_CALL);
    if (FAILED(hr))
        return hr;
    set = &sets[CounterSet];
    if (BufferSizeInBytes >= set->size) {
        put_set(set, in.vp, Buffer);
        st = HV_OK;
    }
    vp_leave(&in, WHP_USE_CALL);
    put_count(BytesWritten, st, set->size);
    return whp_result(st);
}

/* ------------------------------------------------------------------------------- exits by reason */

_Static_assert(HV_EXIT_REASON_COUNT <= WHVX_EXIT_COUNTERS_MAX, "as many as clients have place for");

static void put_exit_counters(struct hv_vp *vp, WHVX_EXIT_COUNTER *to)
{
    struct hv_vp_counters counters;

    hv_vp_counters(vp, &counters);
    for (unsigned i = 0; i < HV_EXIT_REASON_COUNT; i++) {
        const WHVX_EXIT_COUNTER counter = {
            .Name = hv_exit_reason_name((enum hv_exit_reason)i),
            .Exits = counters.exits[i],
            .Returns = i < HV_EXIT_INTERNAL ? counters.to_client[i] : 0,
        };

        __builtin_memcpy((char *)to + i * sizeof(counter), &counter, sizeof(counter));
    }
}

HRESULT WHVAPI WHvxGetExitCounters(WHV_PARTITION_HANDLE Partition, UINT32 VpIndex, WHVX_EXIT_COUNTER *Counters,
                                   UINT32 Count, UINT32 *Written)
{
    enum hv_status st = HV_E_BUFFER_TOO_SMALL;
    struct vp_use in;
    HRESULT hr;

    if (!is_buffer(Counters, Count))
        return E_INVALIDARG;
    hr = vp_enter(&in, Partition, VpIndex, WHP_USE_CALL);
    if (FAILED(hr))
        return hr;
    if (Count >= HV_EXIT_REASON_COUNT) {
        put_exit_counters(in.vp, Counters);
        st = HV_OK;
    }
    vp_leave(&in, WHP_USE_CALL);
    put_count(Written, st, HV_EXIT_REASON_COUNT);
    return whp_result(st);
}
