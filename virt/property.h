/* SPDX-License-Identifier: MIT */
/*
 * Partition properties: their storage, and the lists that a client gives. Codes and layouts are WHP's
 * (WHV_PARTITION_PROPERTY_CODE).
 */
#ifndef VIRT_PROPERTY_H
#define VIRT_PROPERTY_H

#include <hv/base/bits.h>
#include <hv/status.h>
#include <hv/types.h>

/* HV_EXTENDED_*: bits of ExtendedVmExits */
#define HV_EXTENDED_CPUID              (1ull << 0)
#define HV_EXTENDED_MSR                (1ull << 1)
#define HV_EXTENDED_EXCEPTION          (1ull << 2)
#define HV_EXTENDED_RDTSC              (1ull << 3)
#define HV_EXTENDED_SMI                (1ull << 4) /* those of local APICs: see HV_EXIT_APIC_*_TRAP */
#define HV_EXTENDED_HYPERCALL          (1ull << 5)
#define HV_EXTENDED_INIT_SIPI          (1ull << 6)
#define HV_EXTENDED_APIC_LINT0         (1ull << 7)
#define HV_EXTENDED_APIC_LINT1         (1ull << 8)
#define HV_EXTENDED_APIC_SVR           (1ull << 9)
#define HV_EXTENDED_UNKNOWN_CONNECTION (1ull << 10) /* post message, signal event */
#define HV_EXTENDED_APIC_LDR           (1ull << 12)
#define HV_EXTENDED_APIC_DFR           (1ull << 13)
#define HV_EXTENDED_OFFERED            (BITS64(10, 0) | BITS64(13, 12))

/* The vectors of ExceptionExitBitmap. Not the NMI, and not the machine check: those are the host's. */
#define HV_EXCEPTIONS_OFFERED (BITS64(1, 0) | BITS64(8, 3) | BITS64(14, 10) | BITS64(17, 16) | BIT64(19))

/* HV_MSR_EXIT_*: bits of X64MsrExitBitmap */
#define HV_MSR_EXIT_UNHANDLED         (1ull << 0)
#define HV_MSR_EXIT_TSC_WRITE         (1ull << 1)
#define HV_MSR_EXIT_TSC_READ          (1ull << 2)
#define HV_MSR_EXIT_APIC_BASE_WRITE   (1ull << 3)
#define HV_MSR_EXIT_MISC_ENABLE_READ  (1ull << 4)
#define HV_MSR_EXIT_MCU_REVISION_READ (1ull << 5)
#define HV_MSR_EXITS_OFFERED          BITS64(5, 0)

/* Those bits of ProcessorFeatures (bank 0), its bank 1 and ProcessorXsaveFeatures that code asks for by name. All:
 * features.c. */
#define HV_FEATURE0_RDTSCP       BIT64(38)
#define HV_FEATURE0_RDPID        BIT64(57)
#define HV_FEATURE1_TSC_DEADLINE BIT64(17)
#define HV_FEATURE1_TSC_ADJUST   BIT64(18)
#define HV_XSAVE_XSAVE           BIT64(0)
#define HV_XSAVE_AVX             BIT64(2)
#define HV_XSAVE_AVX512          BIT64(6)
#define HV_XSAVE_XSAVEC          BIT64(11)
#define HV_XSAVE_XSAVES          BIT64(12)

/*
 * LocalApicEmulationMode. Without local APICs the client has the interrupts and hears of each HLT; with them the core
 * has both. Which mode a guest's APIC is in the guest says by IA32_APIC_BASE; X2APIC allows it that mode.
 */
enum { HV_LOCAL_APIC_NONE = 0, HV_LOCAL_APIC_XAPIC = 1, HV_LOCAL_APIC_X2APIC = 2 };

struct hv_cpuid_entry { /* WHV_X64_CPUID_RESULT */
    uint32_t function, reserved[3], eax, ebx, ecx, edx;
};

struct hv_cpuid_entry2 { /* WHV_X64_CPUID_RESULT2 */
    uint32_t function, index, vp_index, flags;
    uint32_t output[4], mask[4];
};
#define HV_CPUID_ENTRY2_SUBLEAF (1u << 0)
#define HV_CPUID_ENTRY2_VP      (1u << 1)

struct hv_msr_action { /* WHV_MSR_ACTION_ENTRY */
    uint32_t index;
    uint8_t read_action, write_action;
    uint16_t reserved;
};
enum { HV_MSR_ACTION_ARCHITECTURAL = 0, HV_MSR_ACTION_IGNORE = 1, HV_MSR_ACTION_EXIT = 2 };

_Static_assert(sizeof(struct hv_cpuid_entry) == 32, "WHV_X64_CPUID_RESULT");
_Static_assert(sizeof(struct hv_cpuid_entry2) == 48, "WHV_X64_CPUID_RESULT2");
_Static_assert(sizeof(struct hv_msr_action) == 8, "WHV_MSR_ACTION_ENTRY");

/* a list given by the client; `items` is the library's copy (hv_host_alloc), NULL when count is 0 */
struct hv_property_list {
    void *items;
    uint32_t count;
    bool is_set; /* an empty list differs from one never set */
};

/* A list's copy has at most so many bytes, the largest piece of memory that a host is asked for. */
#define HV_PROPERTY_LIST_BYTES 16384u

/* The local APIC's timer counts nanoseconds. */
#define HV_INTERRUPT_HZ 1000000000ull

struct cpuid_table; /* cpuid_policy.h */

struct hv_properties {
    uint32_t processor_count; /* 0: not set */
    uint64_t extended_exits, exception_exits, msr_exits;
    bool msr_exits_set;
    uint64_t features[2]; /* ProcessorFeatures banks: what the guest may see */
    uint64_t xsave_features;
    uint64_t perfmon_features;
    uint64_t synthetic_features; /* HV_SYNTH_*, of tlfs.h */
    uint8_t clflush_shift;       /* a cache line has 1 << this bytes */
    uint32_t local_apic_mode;    /* HV_LOCAL_APIC_* */
    uint64_t processor_hz, interrupt_hz;
    uint32_t physical_address_width;
    uint32_t unimplemented_msr_action;
    uint32_t separate_security_domain, nested_virtualization, allow_device_assignment, disable_smt, apic_remote_read;
    uint16_t primary_numa_node;
    uint32_t cpu_reserve, cpu_cap, cpu_weight, frequency_cap;
    uint64_t cpu_group_id;
    struct hv_property_list cpuid_exits;    /* uint32_t, sorted */
    struct hv_property_list cpuid_results;  /* struct hv_cpuid_entry */
    struct hv_property_list cpuid_results2; /* struct hv_cpuid_entry2 */
    struct hv_property_list msr_actions;    /* struct hv_msr_action, sorted by index */
    struct cpuid_table *cpuid; /* from properties_seal on: the answers to CPUID; NULL: work them out each time */
};

/* Defaults of a new partition: the host's features, no local APIC. */
void properties_init(struct hv_properties *props);

/*
 * The last part of set-up, when the properties (but for those that may change later) are final: makes the table that
 * answers CPUID. HV_E_CONFIG: no processor count. HV_E_NO_MEMORY.
 */
enum hv_status properties_seal(struct hv_properties *props);
void properties_unseal(struct hv_properties *props); /* as before properties_seal; also when it was never called */

/* Frees the lists and the table. */
void properties_free(struct hv_properties *props);

/* The element of a list sorted by its elements' first 32 bits, NULL when there is none; the last one of several. */
const void *property_list_find(const struct hv_property_list *list, uint32_t size, uint32_t key);

/*
 * features.c: which CPUID bits belong to which bit of the ProcessorFeatures banks; both directions come from the same
 * tables. host: what this machine can give a guest. mask: clears in one CPUID output the bits whose feature the
 * partition does not have, and those that need extended state which it does not have.
 */
void features_host(uint64_t banks[2]);
uint64_t features_host_xsave(void);
void features_give_all(struct hv_properties *props); /* features and xsave_features: the machine's */
void features_mask(const struct hv_properties *props, uint32_t leaf, uint32_t subleaf,
                   uint32_t regs[4] /* eax ebx ecx edx */);
/* Clears what needs state components that are not in xcr0. */
void features_mask_state(uint64_t xcr0, uint32_t leaf, uint32_t subleaf, uint32_t regs[4]);
/* The state components that the partition's guests are told of. */
uint64_t features_xcr0(const struct hv_properties *props);
/* Log2 of the machine's cache line size, and the width of guest-physical addresses. */
uint8_t features_host_clflush_shift(void);
uint32_t features_host_physical_width(void);

#endif
