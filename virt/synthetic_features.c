/* SPDX-License-Identifier: MIT */
/* What guests may be offered, and how CPUID's leaves of the hypervisor (TLFS 2.4) tell them of it. */
#include "cpuid_policy.h"
#include "synthetic.h"
#include <hv/base/memory.h>

/* ----------------------------------------------------------------------------------- features */

/* Distances of NUMA nodes and interrupts of passed-on devices are not offered. */
#define OFFERED                                                                                                       \
    (HV_SYNTH_HYPERVISOR_PRESENT | HV_SYNTH_HV1 | HV_SYNTH_VP_RUNTIME | HV_SYNTH_REFERENCE_COUNTER | HV_SYNTH_SYNIC | \
     HV_SYNTH_TIMERS | HV_SYNTH_APIC_REGS | HV_SYNTH_HYPERCALL_REGS | HV_SYNTH_VP_INDEX | HV_SYNTH_REFERENCE_TSC |    \
     HV_SYNTH_GUEST_IDLE | HV_SYNTH_FREQUENCY_REGS | HV_SYNTH_EXTENDED_FLUSH_LIST | HV_SYNTH_FAST_OUTPUT |            \
     HV_SYNTH_DIRECT_TIMERS | HV_SYNTH_PROCESSOR_MASKS | HV_SYNTH_FLUSH_CALLS | HV_SYNTH_CLUSTER_IPI |                \
     HV_SYNTH_SPIN_WAIT | HV_SYNTH_SIGNAL_EVENTS)

/* What nobody has without a local APIC: these interrupt, or are its registers. */
#define NEED_APIC                                                                                           \
    (HV_SYNTH_SYNIC | HV_SYNTH_TIMERS | HV_SYNTH_APIC_REGS | HV_SYNTH_GUEST_IDLE | HV_SYNTH_DIRECT_TIMERS | \
     HV_SYNTH_CLUSTER_IPI)

uint64_t synthetic_features_host(void)
{
    return OFFERED;
}

uint64_t synthetic_features_left(const struct hv_properties *props)
{
    return props->synthetic_features & ~(props->local_apic_mode == HV_LOCAL_APIC_NONE ? NEED_APIC : 0);
}

/* ------------------------------------------------------------------------------------- leaves */

enum { LEAF_MAX, LEAF_INTERFACE, LEAF_VERSION, LEAF_FEATURES, LEAF_HINTS, LEAF_LIMITS, LEAF_HARDWARE, LEAVES };
#define LEAF_FIRST 0x40000000u
#define LEAF_LAST  0x4000000bu /* those that have nothing to say of this hypervisor are zeros */

/* "Microsoft Hv", "Hv#1": names by which guests know the interface, not its maker */
#define VENDOR_EBX 0x7263694du
#define VENDOR_ECX 0x666f736fu
#define VENDOR_EDX 0x76482074u
#define INTERFACE  0x31237648u

/* The release that the specification of this interface describes. */
#define VERSION_BUILD 17763u
#define VERSION_MAJOR 10u

/* Leaf 3, EAX and EBX: privileges. EAX has features 2 to 8 as bits 0 to 6, and 9 to 11 as they are. */
#define FEATURES_LOW          BITS64(8, 2)
#define FEATURES_SAME         BITS64(11, 9)
#define PRIVILEGE_POST        BIT32(4)
#define PRIVILEGE_SIGNAL      BIT32(5)
/* EDX */
#define FEATURE_XMM_INPUT     BIT32(4)
#define FEATURE_IDLE          BIT32(5)
#define FEATURE_FREQUENCIES   BIT32(8)
#define FEATURE_FLUSH_RANGES  BIT32(14)
#define FEATURE_XMM_OUTPUT    BIT32(15)
#define FEATURE_LOCK          BIT32(18)
#define FEATURE_DIRECT_TIMERS BIT32(19)

/* Leaf 4, EAX */
#define HINT_FLUSH_CALLS     BIT32(2)
#define HINT_APIC_MSRS       BIT32(3)
#define HINT_RELAXED_TIMING  BIT32(5)
#define HINT_X2APIC          BIT32(8)
#define HINT_NO_AUTO_EOI     BIT32(9)
#define HINT_CLUSTER_IPI     BIT32(10)
#define HINT_PROCESSOR_MASKS BIT32(11)
#define SPINS_BEFORE_CALL    4095u
#define SPINS_FOR_EVER       0xffffffffu

/* Leaf 6, EAX: what of the hardware is in use */
#define HARDWARE_APIC BIT32(0)
#define HARDWARE_MSRS BIT32(1)
#define HARDWARE_SLAT BIT32(3)

/* Of the features, which bits does a register have? */
struct synthetic_bit {
    uint64_t feature;
    uint32_t mask;
};

static const struct synthetic_bit privileges[] = {
    {HV_SYNTH_SYNIC, PRIVILEGE_POST},
    {HV_SYNTH_SIGNAL_EVENTS, PRIVILEGE_SIGNAL},
};

static const struct synthetic_bit features[] = {
    {HV_SYNTH_GUEST_IDLE, FEATURE_IDLE},
    {HV_SYNTH_FREQUENCY_REGS, FEATURE_FREQUENCIES},
    {HV_SYNTH_EXTENDED_FLUSH_LIST, FEATURE_FLUSH_RANGES},
    {HV_SYNTH_FAST_OUTPUT, FEATURE_XMM_OUTPUT},
    {HV_SYNTH_HYPERCALL_REGS, FEATURE_LOCK | FEATURE_XMM_INPUT},
    {HV_SYNTH_DIRECT_TIMERS, FEATURE_DIRECT_TIMERS},
};

static const struct synthetic_bit hints[] = {
    {HV_SYNTH_HV1, HINT_RELAXED_TIMING},
    {HV_SYNTH_FLUSH_CALLS, HINT_FLUSH_CALLS},
    {HV_SYNTH_SYNIC, HINT_NO_AUTO_EOI},
    {HV_SYNTH_CLUSTER_IPI, HINT_CLUSTER_IPI},
    {HV_SYNTH_PROCESSOR_MASKS, HINT_PROCESSOR_MASKS},
};

static uint32_t bits_of(const struct hv_properties *props, const struct synthetic_bit *table, size_t count)
{
    uint32_t bits = 0;

    for (size_t i = 0; i < count; i++)
        bits |= props->synthetic_features & table[i].feature ? table[i].mask : 0;
    return bits;
}

#define BITS_OF(props, table) bits_of(props, table, ARRAY_COUNT(table))

static void put_features(const struct hv_properties *props, uint32_t regs[CPUID_REGS])
{
    regs[CPUID_EAX] =
        (uint32_t)(FIELD_GET(FEATURES_LOW, props->synthetic_features) | (props->synthetic_features & FEATURES_SAME));
    regs[CPUID_EBX] = BITS_OF(props, privileges);
    regs[CPUID_EDX] = BITS_OF(props, features);
}

/* What the CPU does of the local APICs of this partition by itself. */
static uint32_t apic_in_hardware(const struct hv_properties *props)
{
    if (props->local_apic_mode == HV_LOCAL_APIC_NONE)
        return 0;
    return backend()->apic_features(props->local_apic_mode == HV_LOCAL_APIC_X2APIC ? VCPU_APIC_X2APIC
                                                                                   : VCPU_APIC_XAPIC);
}

/* Where the CPU does EOIs by itself, an MSR that exits is no help. */
static void put_hints(const struct hv_properties *props, uint32_t regs[CPUID_REGS])
{
    regs[CPUID_EAX] = BITS_OF(props, hints);
    if (props->synthetic_features & HV_SYNTH_APIC_REGS && !(apic_in_hardware(props) & VCPU_APIC_DELIVERY))
        regs[CPUID_EAX] |= HINT_APIC_MSRS;
    if (props->local_apic_mode == HV_LOCAL_APIC_X2APIC)
        regs[CPUID_EAX] |= HINT_X2APIC;
    regs[CPUID_EBX] = props->synthetic_features & HV_SYNTH_SPIN_WAIT ? SPINS_BEFORE_CALL : SPINS_FOR_EVER;
}

static void put_hardware(const struct hv_properties *props, uint32_t regs[CPUID_REGS])
{
    regs[CPUID_EAX] =
        HARDWARE_MSRS | HARDWARE_SLAT | (apic_in_hardware(props) & VCPU_APIC_REGISTERS ? HARDWARE_APIC : 0);
}

static void put_leaf(const struct hv_properties *props, uint32_t leaf, uint32_t regs[CPUID_REGS])
{
    switch (leaf - LEAF_FIRST) {
    case LEAF_MAX:
        regs[CPUID_EAX] = LEAF_LAST;
        regs[CPUID_EBX] = VENDOR_EBX;
        regs[CPUID_ECX] = VENDOR_ECX;
        regs[CPUID_EDX] = VENDOR_EDX;
        break;
    case LEAF_INTERFACE:
        regs[CPUID_EAX] = INTERFACE;
        break;
    case LEAF_VERSION:
        regs[CPUID_EAX] = VERSION_BUILD;
        regs[CPUID_EBX] = VERSION_MAJOR << 16;
        break;
    case LEAF_FEATURES:
        put_features(props, regs);
        break;
    case LEAF_HINTS:
        put_hints(props, regs);
        break;
    case LEAF_LIMITS:
        regs[CPUID_EAX] = HV_MAX_VPS;
        break;
    case LEAF_HARDWARE:
        put_hardware(props, regs);
        break;
    }
}

bool synthetic_cpuid(const struct hv_properties *props, uint32_t leaf, uint32_t regs[CPUID_REGS])
{
    memset(regs, 0, CPUID_REGS * sizeof(regs[0]));
    if (!(props->synthetic_features & HV_SYNTH_HV1) || leaf - LEAF_FIRST >= LEAVES)
        return false;
    put_leaf(props, leaf, regs);
    return true;
}
