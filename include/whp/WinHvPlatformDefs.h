/* SPDX-License-Identifier: MIT */
/*
 * Types and numbers of the Windows Hypervisor Platform API: same names, sizes, offsets and values as on Windows x64
 * (make test-abi compares them one by one). The functions are in WinHvPlatform.h.
 *
 * Values are little-endian; addresses and sizes are in bytes unless said otherwise. Reserved members must be zero
 * on input.
 */
#ifndef WHP_WINHVPLATFORMDEFS_H
#define WHP_WINHVPLATFORMDEFS_H

#include "WinHvErrors.h"
#include "WinHvTypes.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Anonymous structs (C++) and enumerators above INT_MAX (C) are part of the API; everything else is standard. */
#ifdef __GNUC__
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wpedantic"
#endif

/* ----------------------------------------------------------------------------------------- handles and addresses */

typedef VOID *WHV_PARTITION_HANDLE;
typedef VOID *WHV_TRIGGER_HANDLE;
typedef VOID *WHV_NOTIFICATION_PORT_HANDLE;

typedef UINT64 WHV_GUEST_PHYSICAL_ADDRESS; /* what the guest's page tables yield */
typedef UINT64 WHV_GUEST_VIRTUAL_ADDRESS;  /* linear address */
typedef UINT64 WHV_NOTIFICATION_PORT_PROPERTY;
typedef UINT8 WHV_VTL; /* virtual trust level */

#define WHV_VTL_ALL 0xF

/* A 128-bit number; its alignment of 16 is inherited by all that holds one. */
typedef union DECLSPEC_ALIGN(16) WHV_UINT128 {
    struct {
        UINT64 Low64;
        UINT64 High64;
    };
    UINT32 Dword[4];
} WHV_UINT128;

/* -------------------------------------------------------------------------------------------------- capabilities */

/* Codes of WHvGetCapability. The comment gives the type of the value, which is also the number of bytes written. */
typedef enum WHV_CAPABILITY_CODE {
    WHvCapabilityCodeHypervisorPresent               = 0x0000, /* BOOL */
    WHvCapabilityCodeFeatures                        = 0x0001, /* WHV_CAPABILITY_FEATURES */
    WHvCapabilityCodeExtendedVmExits                 = 0x0002, /* WHV_EXTENDED_VM_EXITS that can be set */
    WHvCapabilityCodeExceptionExitBitmap             = 0x0003, /* UINT64, bit n: vector n can exit */
    WHvCapabilityCodeX64MsrExitBitmap                = 0x0004, /* WHV_X64_MSR_EXIT_BITMAP that can be set */
    WHvCapabilityCodeGpaRangePopulateFlags           = 0x0005, /* WHV_ADVISE_GPA_RANGE_POPULATE_FLAGS */
    WHvCapabilityCodeSchedulerFeatures               = 0x0006, /* WHV_SCHEDULER_FEATURES */
    WHvCapabilityCodeProcessorVendor                 = 0x1000, /* WHV_PROCESSOR_VENDOR */
    WHvCapabilityCodeProcessorFeatures               = 0x1001, /* WHV_PROCESSOR_FEATURES (bank 0) */
    WHvCapabilityCodeProcessorClFlushSize            = 0x1002, /* UINT8, log2 of the line size in bytes */
    WHvCapabilityCodeProcessorXsaveFeatures          = 0x1003, /* WHV_PROCESSOR_XSAVE_FEATURES */
    WHvCapabilityCodeProcessorClockFrequency         = 0x1004, /* UINT64, TSC in Hz */
    WHvCapabilityCodeInterruptClockFrequency         = 0x1005, /* UINT64, APIC timer in Hz */
    WHvCapabilityCodeProcessorFeaturesBanks          = 0x1006, /* WHV_PROCESSOR_FEATURES_BANKS */
    WHvCapabilityCodeProcessorFrequencyCap           = 0x1007, /* WHV_CAPABILITY_PROCESSOR_FREQUENCY_CAP */
    WHvCapabilityCodeSyntheticProcessorFeaturesBanks = 0x1008, /* WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS */
    WHvCapabilityCodeProcessorPerfmonFeatures        = 0x1009, /* WHV_PROCESSOR_PERFMON_FEATURES */
    WHvCapabilityCodePhysicalAddressWidth            = 0x100A, /* UINT32, bits */
    WHvCapabilityCodeVmxBasic             = 0x2000, /* UINT64: the nested VMX MSR of that name, and so on below */
    WHvCapabilityCodeVmxPinbasedCtls      = 0x2001,
    WHvCapabilityCodeVmxProcbasedCtls     = 0x2002,
    WHvCapabilityCodeVmxExitCtls          = 0x2003,
    WHvCapabilityCodeVmxEntryCtls         = 0x2004,
    WHvCapabilityCodeVmxMisc              = 0x2005,
    WHvCapabilityCodeVmxCr0Fixed0         = 0x2006,
    WHvCapabilityCodeVmxCr0Fixed1         = 0x2007,
    WHvCapabilityCodeVmxCr4Fixed0         = 0x2008,
    WHvCapabilityCodeVmxCr4Fixed1         = 0x2009,
    WHvCapabilityCodeVmxVmcsEnum          = 0x200A,
    WHvCapabilityCodeVmxProcbasedCtls2    = 0x200B,
    WHvCapabilityCodeVmxEptVpidCap        = 0x200C,
    WHvCapabilityCodeVmxTruePinbasedCtls  = 0x200D,
    WHvCapabilityCodeVmxTrueProcbasedCtls = 0x200E,
    WHvCapabilityCodeVmxTrueExitCtls      = 0x200F,
    WHvCapabilityCodeVmxTrueEntryCtls     = 0x2010,
} WHV_CAPABILITY_CODE;

typedef enum WHV_PROCESSOR_VENDOR {
    WHvProcessorVendorAmd   = 0,
    WHvProcessorVendorIntel = 1,
    WHvProcessorVendorHygon = 2,
    WHvProcessorVendorArm   = 0x10,
} WHV_PROCESSOR_VENDOR;

/* What this implementation can do beyond the basics. */
typedef union WHV_CAPABILITY_FEATURES {
    struct {
        UINT64 PartialUnmap            : 1;
        UINT64 LocalApicEmulation      : 1;
        UINT64 Xsave                   : 1;
        UINT64 DirtyPageTracking       : 1;
        UINT64 SpeculationControl      : 1;
        UINT64 ApicRemoteRead          : 1;
        UINT64 IdleSuspend             : 1;
        UINT64 VirtualPciDeviceSupport : 1;
        UINT64 IommuSupport            : 1;
        UINT64 VpHotAddRemove          : 1;
        UINT64 DeviceAccessTracking    : 1;
        UINT64 ReservedX640            : 1;
        UINT64 Reserved                : 52;
    };
    UINT64 AsUINT64;
} WHV_CAPABILITY_FEATURES;

/* Exits that a partition gets only when it asks for them; off, the hypervisor handles the event by itself. */
typedef union WHV_EXTENDED_VM_EXITS {
    struct {
        UINT64 X64CpuidExit              : 1;
        UINT64 X64MsrExit                : 1;
        UINT64 ExceptionExit             : 1;
        UINT64 X64RdtscExit              : 1;
        UINT64 X64ApicSmiExitTrap        : 1;
        UINT64 HypercallExit             : 1;
        UINT64 X64ApicInitSipiExitTrap   : 1;
        UINT64 X64ApicWriteLint0ExitTrap : 1;
        UINT64 X64ApicWriteLint1ExitTrap : 1;
        UINT64 X64ApicWriteSvrExitTrap   : 1;
        UINT64 UnknownSynicConnection    : 1;
        UINT64 RetargetUnknownVpciDevice : 1;
        UINT64 X64ApicWriteLdrExitTrap   : 1;
        UINT64 X64ApicWriteDfrExitTrap   : 1;
        UINT64 GpaAccessFaultExit        : 1;
        UINT64 Reserved                  : 49;
    };
    UINT64 AsUINT64;
} WHV_EXTENDED_VM_EXITS;

/* Bank 0 of the CPU features that a guest may see. A bit that is clear is hidden from the guest's CPUID. */
typedef union WHV_X64_PROCESSOR_FEATURES {
    struct {
        UINT64 Sse3Support               : 1;
        UINT64 LahfSahfSupport           : 1;
        UINT64 Ssse3Support              : 1;
        UINT64 Sse4_1Support             : 1;
        UINT64 Sse4_2Support             : 1;
        UINT64 Sse4aSupport              : 1;
        UINT64 XopSupport                : 1;
        UINT64 PopCntSupport             : 1;
        UINT64 Cmpxchg16bSupport         : 1;
        UINT64 Altmovcr8Support          : 1;
        UINT64 LzcntSupport              : 1;
        UINT64 MisAlignSseSupport        : 1;
        UINT64 MmxExtSupport             : 1;
        UINT64 Amd3DNowSupport           : 1;
        UINT64 ExtendedAmd3DNowSupport   : 1;
        UINT64 Page1GbSupport            : 1;
        UINT64 AesSupport                : 1;
        UINT64 PclmulqdqSupport          : 1;
        UINT64 PcidSupport               : 1;
        UINT64 Fma4Support               : 1;
        UINT64 F16CSupport               : 1;
        UINT64 RdRandSupport             : 1;
        UINT64 RdWrFsGsSupport           : 1;
        UINT64 SmepSupport               : 1;
        UINT64 EnhancedFastStringSupport : 1;
        UINT64 Bmi1Support               : 1;
        UINT64 Bmi2Support               : 1;
        UINT64 Reserved1                 : 2;
        UINT64 MovbeSupport              : 1;
        UINT64 Npiep1Support             : 1;
        UINT64 DepX87FPUSaveSupport      : 1;
        UINT64 RdSeedSupport             : 1;
        UINT64 AdxSupport                : 1;
        UINT64 IntelPrefetchSupport      : 1;
        UINT64 SmapSupport               : 1;
        UINT64 HleSupport                : 1;
        UINT64 RtmSupport                : 1;
        UINT64 RdtscpSupport             : 1;
        UINT64 ClflushoptSupport         : 1;
        UINT64 ClwbSupport               : 1;
        UINT64 ShaSupport                : 1;
        UINT64 X87PointersSavedSupport   : 1;
        UINT64 InvpcidSupport            : 1;
        UINT64 IbrsSupport               : 1;
        UINT64 StibpSupport              : 1;
        UINT64 IbpbSupport               : 1;
        UINT64 UnrestrictedGuestSupport  : 1;
        UINT64 SsbdSupport               : 1;
        UINT64 FastShortRepMovSupport    : 1;
        UINT64 Reserved3                 : 1;
        UINT64 RdclNo                    : 1;
        UINT64 IbrsAllSupport            : 1;
        UINT64 Reserved4                 : 1;
        UINT64 SsbNo                     : 1;
        UINT64 RsbANo                    : 1;
        UINT64 Reserved5                 : 1;
        UINT64 RdPidSupport              : 1;
        UINT64 UmipSupport               : 1;
        UINT64 MdsNoSupport              : 1;
        UINT64 MdClearSupport            : 1;
        UINT64 TaaNoSupport              : 1;
        UINT64 TsxCtrlSupport            : 1;
        UINT64 Reserved6                 : 1;
    };
    UINT64 AsUINT64;
} WHV_X64_PROCESSOR_FEATURES;

/* Bank 1 of the CPU features. */
typedef union WHV_X64_PROCESSOR_FEATURES1 {
    struct {
        UINT64 ACountMCountSupport       : 1;
        UINT64 TscInvariantSupport       : 1;
        UINT64 ClZeroSupport             : 1;
        UINT64 RdpruSupport              : 1;
        UINT64 La57Support               : 1;
        UINT64 MbecSupport               : 1;
        UINT64 NestedVirtSupport         : 1;
        UINT64 PsfdSupport               : 1;
        UINT64 CetSsSupport              : 1;
        UINT64 CetIbtSupport             : 1;
        UINT64 VmxExceptionInjectSupport : 1;
        UINT64 Reserved2                 : 1;
        UINT64 UmwaitTpauseSupport       : 1;
        UINT64 MovdiriSupport            : 1;
        UINT64 Movdir64bSupport          : 1;
        UINT64 CldemoteSupport           : 1;
        UINT64 SerializeSupport          : 1;
        UINT64 TscDeadlineTmrSupport     : 1;
        UINT64 TscAdjustSupport          : 1;
        UINT64 FZLRepMovsb               : 1;
        UINT64 FSRepStosb                : 1;
        UINT64 FSRepCmpsb                : 1;
        UINT64 TsxLdTrkSupport           : 1;
        UINT64 VmxInsOutsExitInfoSupport : 1;
        UINT64 Reserved3                 : 1;
        UINT64 SbdrSsdpNoSupport         : 1;
        UINT64 FbsdpNoSupport            : 1;
        UINT64 PsdpNoSupport             : 1;
        UINT64 FbClearSupport            : 1;
        UINT64 BtcNoSupport              : 1;
        UINT64 IbpbRsbFlushSupport       : 1;
        UINT64 StibpAlwaysOnSupport      : 1;
        UINT64 PerfGlobalCtrlSupport     : 1;
        UINT64 NptExecuteOnlySupport     : 1;
        UINT64 NptADFlagsSupport         : 1;
        UINT64 Npt1GbPageSupport         : 1;
        UINT64 Reserved4                 : 1;
        UINT64 Reserved5                 : 1;
        UINT64 Reserved6                 : 1;
        UINT64 Reserved7                 : 1;
        UINT64 CmpccxaddSupport          : 1;
        UINT64 Reserved8                 : 1;
        UINT64 Reserved9                 : 1;
        UINT64 Reserved10                : 1;
        UINT64 Reserved11                : 1;
        UINT64 PrefetchISupport          : 1;
        UINT64 Sha512Support             : 1;
        UINT64 Reserved12                : 1;
        UINT64 Reserved13                : 1;
        UINT64 Reserved14                : 1;
        UINT64 SM3Support                : 1;
        UINT64 SM4Support                : 1;
        UINT64 Reserved15                : 1;
        UINT64 Reserved16                : 1;
        UINT64 SbpbSupported             : 1;
        UINT64 IbpbBrTypeSupported       : 1;
        UINT64 SrsoNoSupported           : 1;
        UINT64 SrsoUserKernelNoSupported : 1;
        UINT64 Reserved17                : 1;
        UINT64 Reserved18                : 1;
        UINT64 Reserved19                : 1;
        UINT64 Reserved20                : 3;
    };
    UINT64 AsUINT64;
} WHV_X64_PROCESSOR_FEATURES1;

typedef WHV_X64_PROCESSOR_FEATURES WHV_PROCESSOR_FEATURES; /* names of older headers */
typedef WHV_X64_PROCESSOR_FEATURES1 WHV_PROCESSOR_FEATURES1;

#define WHV_PROCESSOR_FEATURES_BANKS_COUNT           2
#define WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS_COUNT 1

/* Both banks. For WHvGetPartitionProperty and WHvSetPartitionProperty the caller presets BanksCount. */
typedef struct WHV_PROCESSOR_FEATURES_BANKS {
    UINT32 BanksCount;
    UINT32 Reserved0;
    union {
        struct {
            WHV_PROCESSOR_FEATURES Bank0;
            WHV_PROCESSOR_FEATURES1 Bank1;
        };
        UINT64 AsUINT64[WHV_PROCESSOR_FEATURES_BANKS_COUNT];
    };
} WHV_PROCESSOR_FEATURES_BANKS;

/* Parts of the Hyper-V guest interface (TLFS), one bit each. */
typedef union WHV_SYNTHETIC_PROCESSOR_FEATURES {
    struct {
        UINT64 HypervisorPresent                                 : 1;
        UINT64 Hv1                                               : 1;
        UINT64 AccessVpRunTimeReg                                : 1;
        UINT64 AccessPartitionReferenceCounter                   : 1;
        UINT64 AccessSynicRegs                                   : 1;
        UINT64 AccessSyntheticTimerRegs                          : 1;
        UINT64 AccessIntrCtrlRegs                                : 1;
        UINT64 AccessHypercallRegs                               : 1;
        UINT64 AccessVpIndex                                     : 1;
        UINT64 AccessPartitionReferenceTsc                       : 1;
        UINT64 AccessGuestIdleReg                                : 1;
        UINT64 AccessFrequencyRegs                               : 1;
        UINT64 ReservedZ12                                       : 1;
        UINT64 ReservedZ13                                       : 1;
        UINT64 ReservedZ14                                       : 1;
        UINT64 EnableExtendedGvaRangesForFlushVirtualAddressList : 1;
        UINT64 ReservedZ16                                       : 1;
        UINT64 ReservedZ17                                       : 1;
        UINT64 FastHypercallOutput                               : 1;
        UINT64 ReservedZ19                                       : 1;
        UINT64 ReservedZ20                                       : 1;
        UINT64 ReservedZ21                                       : 1;
        UINT64 DirectSyntheticTimers                             : 1;
        UINT64 ReservedZ23                                       : 1;
        UINT64 ExtendedProcessorMasks                            : 1;
        UINT64 TbFlushHypercalls                                 : 1;
        UINT64 SyntheticClusterIpi                               : 1;
        UINT64 NotifyLongSpinWait                                : 1;
        UINT64 QueryNumaDistance                                 : 1;
        UINT64 SignalEvents                                      : 1;
        UINT64 RetargetDeviceInterrupt                           : 1;
        UINT64 RestoreTime                                       : 1;
        UINT64 EnlightenedVmcs                                   : 1;
        UINT64 NestedDebugCtl                                    : 1;
        UINT64 SyntheticTimeUnhaltedTimer                        : 1;
        UINT64 IdleSpecCtrl                                      : 1;
        UINT64 ReservedZ36                                       : 1;
        UINT64 WakeVps                                           : 1;
        UINT64 AccessVpRegs                                      : 1;
        UINT64 ReservedZ39                                       : 1;
        UINT64 ReservedZ40                                       : 1;
        UINT64 ReservedZ41                                       : 1;
        UINT64 ReservedZ42                                       : 1;
        UINT64 ReservedZ43                                       : 1;
        UINT64 ReservedZ44                                       : 1;
        UINT64 Reserved                                          : 19;
    };
    UINT64 AsUINT64;
} WHV_SYNTHETIC_PROCESSOR_FEATURES;

typedef struct WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS {
    UINT32 BanksCount;
    UINT32 Reserved0;
    union {
        struct {
            WHV_SYNTHETIC_PROCESSOR_FEATURES Bank0;
        };
        UINT64 AsUINT64[WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS_COUNT];
    };
} WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS;

/* CPU features that need XSAVE-managed state. */
typedef union WHV_PROCESSOR_XSAVE_FEATURES {
    struct {
        UINT64 XsaveSupport              : 1;
        UINT64 XsaveoptSupport           : 1;
        UINT64 AvxSupport                : 1;
        UINT64 Avx2Support               : 1;
        UINT64 FmaSupport                : 1;
        UINT64 MpxSupport                : 1;
        UINT64 Avx512Support             : 1;
        UINT64 Avx512DQSupport           : 1;
        UINT64 Avx512CDSupport           : 1;
        UINT64 Avx512BWSupport           : 1;
        UINT64 Avx512VLSupport           : 1;
        UINT64 XsaveCompSupport          : 1;
        UINT64 XsaveSupervisorSupport    : 1;
        UINT64 Xcr1Support               : 1;
        UINT64 Avx512BitalgSupport       : 1;
        UINT64 Avx512IfmaSupport         : 1;
        UINT64 Avx512VBmiSupport         : 1;
        UINT64 Avx512VBmi2Support        : 1;
        UINT64 Avx512VnniSupport         : 1;
        UINT64 GfniSupport               : 1;
        UINT64 VaesSupport               : 1;
        UINT64 Avx512VPopcntdqSupport    : 1;
        UINT64 VpclmulqdqSupport         : 1;
        UINT64 Avx512Bf16Support         : 1;
        UINT64 Avx512Vp2IntersectSupport : 1;
        UINT64 Avx512Fp16Support         : 1;
        UINT64 XfdSupport                : 1;
        UINT64 AmxTileSupport            : 1;
        UINT64 AmxBf16Support            : 1;
        UINT64 AmxInt8Support            : 1;
        UINT64 AvxVnniSupport            : 1;
        UINT64 AvxIfmaSupport            : 1;
        UINT64 AvxNeConvertSupport       : 1;
        UINT64 AvxVnniInt8Support        : 1;
        UINT64 AvxVnniInt16Support       : 1;
        UINT64 Avx10_1_256Support        : 1;
        UINT64 Avx10_1_512Support        : 1;
        UINT64 AmxFp16Support            : 1;
        UINT64 Reserved                  : 26;
    };
    UINT64 AsUINT64;
} WHV_PROCESSOR_XSAVE_FEATURES;

/* Performance monitoring. */
typedef union WHV_PROCESSOR_PERFMON_FEATURES {
    struct {
        UINT64 PmuSupport : 1;
        UINT64 LbrSupport : 1;
        UINT64 Reserved   : 62;
    };
    UINT64 AsUINT64;
} WHV_PROCESSOR_PERFMON_FEATURES;

/* MSR accesses that exit when ExtendedVmExits.X64MsrExit is set. */
typedef union WHV_X64_MSR_EXIT_BITMAP {
    struct {
        UINT64 UnhandledMsrs             : 1;
        UINT64 TscMsrWrite               : 1;
        UINT64 TscMsrRead                : 1;
        UINT64 ApicBaseMsrWrite          : 1;
        UINT64 MiscEnableMsrRead         : 1;
        UINT64 McUpdatePatchLevelMsrRead : 1;
        UINT64 Reserved                  : 58;
    };
    UINT64 AsUINT64;
} WHV_X64_MSR_EXIT_BITMAP;

/* Host frequency scaling, in MHz. */
typedef struct WHV_CAPABILITY_PROCESSOR_FREQUENCY_CAP {
    UINT32 IsSupported : 1;
    UINT32 Reserved    : 31;
    UINT32 HighestFrequencyMhz;
    UINT32 NominalFrequencyMhz;
    UINT32 LowestFrequencyMhz;
    UINT32 FrequencyStepMhz;
} WHV_CAPABILITY_PROCESSOR_FREQUENCY_CAP;

/* Scheduler properties that can be set; they are advice only. */
typedef union WHV_SCHEDULER_FEATURES {
    struct {
        UINT64 CpuReserve : 1;
        UINT64 CpuCap     : 1;
        UINT64 CpuWeight  : 1;
        UINT64 CpuGroupId : 1;
        UINT64 DisableSmt : 1;
        UINT64 Reserved   : 59;
    };
    UINT64 AsUINT64;
} WHV_SCHEDULER_FEATURES;

/* How hard to try to make pages resident. */
typedef union WHV_ADVISE_GPA_RANGE_POPULATE_FLAGS {
    struct {
        UINT32 Prefetch        : 1;
        UINT32 AvoidHardFaults : 1;
        UINT32 Reserved        : 30;
    };
    UINT32 AsUINT32;
} WHV_ADVISE_GPA_RANGE_POPULATE_FLAGS;

/*
 * Room for the value of any capability. A buffer of this size always suffices; the bytes written are those of
 * the value.
 */
typedef union WHV_CAPABILITY {
    BOOL HypervisorPresent;
    WHV_CAPABILITY_FEATURES Features;
    WHV_EXTENDED_VM_EXITS ExtendedVmExits;
    WHV_PROCESSOR_VENDOR ProcessorVendor;
    WHV_PROCESSOR_FEATURES ProcessorFeatures;
    WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS SyntheticProcessorFeaturesBanks;
    WHV_PROCESSOR_XSAVE_FEATURES ProcessorXsaveFeatures;
    UINT8 ProcessorClFlushSize;
    UINT64 ExceptionExitBitmap;
    WHV_X64_MSR_EXIT_BITMAP X64MsrExitBitmap;
    UINT64 ProcessorClockFrequency;
    UINT64 InterruptClockFrequency;
    WHV_PROCESSOR_FEATURES_BANKS ProcessorFeaturesBanks;
    WHV_ADVISE_GPA_RANGE_POPULATE_FLAGS GpaRangePopulateFlags;
    WHV_CAPABILITY_PROCESSOR_FREQUENCY_CAP ProcessorFrequencyCap;
    WHV_PROCESSOR_PERFMON_FEATURES ProcessorPerfmonFeatures;
    WHV_SCHEDULER_FEATURES SchedulerFeatures;
    UINT32 PhysicalAddressWidth;
    UINT64 NestedFeatureRegister;
} WHV_CAPABILITY;

/* ------------------------------------------------------------------------------------------ partition properties */

/*
 * Codes of WHvGetPartitionProperty and WHvSetPartitionProperty. All can be set before WHvSetupPartition, those
 * marked A also after it.
 */
typedef enum WHV_PARTITION_PROPERTY_CODE {
    WHvPartitionPropertyCodeExtendedVmExits        = 0x0001, /* A  WHV_EXTENDED_VM_EXITS */
    WHvPartitionPropertyCodeExceptionExitBitmap    = 0x0002, /* A  UINT64, bit n: vector n exits */
    WHvPartitionPropertyCodeSeparateSecurityDomain = 0x0003, /*    BOOL */
    WHvPartitionPropertyCodeNestedVirtualization   = 0x0004, /*    BOOL */
    WHvPartitionPropertyCodeX64MsrExitBitmap       = 0x0005, /* A  WHV_X64_MSR_EXIT_BITMAP */
    WHvPartitionPropertyCodePrimaryNumaNode        = 0x0006, /*    USHORT */
    WHvPartitionPropertyCodeCpuReserve             = 0x0007, /*    UINT32 */
    WHvPartitionPropertyCodeCpuCap                 = 0x0008, /*    UINT32 */
    WHvPartitionPropertyCodeCpuWeight              = 0x0009, /*    UINT32 */
    WHvPartitionPropertyCodeCpuGroupId             = 0x000A, /*    UINT64 */
    WHvPartitionPropertyCodeProcessorFrequencyCap  = 0x000B, /*    UINT32 */
    WHvPartitionPropertyCodeAllowDeviceAssignment  = 0x000C, /*    BOOL, needed for physical devices */
    WHvPartitionPropertyCodeDisableSmt             = 0x000D, /*    BOOL */
    WHvPartitionPropertyCodeProcessorFeatures      = 0x1001, /*    WHV_PROCESSOR_FEATURES (bank 0) */
    WHvPartitionPropertyCodeProcessorClFlushSize   = 0x1002, /*    UINT8 */
    WHvPartitionPropertyCodeCpuidExitList          = 0x1003, /* A  UINT32[], leaves that exit; never set: all of them */
    WHvPartitionPropertyCodeCpuidResultList        = 0x1004, /*    WHV_X64_CPUID_RESULT[] */
    WHvPartitionPropertyCodeLocalApicEmulationMode = 0x1005, /*    WHV_X64_LOCAL_APIC_EMULATION_MODE */
    WHvPartitionPropertyCodeProcessorXsaveFeatures = 0x1006, /*    WHV_PROCESSOR_XSAVE_FEATURES */
    WHvPartitionPropertyCodeProcessorClockFrequency         = 0x1007, /*    UINT64, Hz */
    WHvPartitionPropertyCodeInterruptClockFrequency         = 0x1008, /*    UINT64, Hz */
    WHvPartitionPropertyCodeApicRemoteReadSupport           = 0x1009, /*    BOOL */
    WHvPartitionPropertyCodeProcessorFeaturesBanks          = 0x100A, /*    WHV_PROCESSOR_FEATURES_BANKS */
    WHvPartitionPropertyCodeReferenceTime                   = 0x100B, /*    UINT64, units of 100 ns */
    WHvPartitionPropertyCodeSyntheticProcessorFeaturesBanks = 0x100C, /*    WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS */
    WHvPartitionPropertyCodeCpuidResultList2                = 0x100D, /*    WHV_X64_CPUID_RESULT2[] */
    WHvPartitionPropertyCodeProcessorPerfmonFeatures        = 0x100E, /*    WHV_PROCESSOR_PERFMON_FEATURES */
    WHvPartitionPropertyCodeMsrActionList                   = 0x100F, /*    WHV_MSR_ACTION_ENTRY[] */
    WHvPartitionPropertyCodeUnimplementedMsrAction          = 0x1010, /*    WHV_MSR_ACTION */
    WHvPartitionPropertyCodePhysicalAddressWidth            = 0x1011, /*    UINT32, bits */
    WHvPartitionPropertyCodeProcessorCount = 0x1FFF, /*    UINT32, must be set before WHvSetupPartition */
} WHV_PARTITION_PROPERTY_CODE;

/* Who emulates the local APIC: the client (None) or the hypervisor. */
typedef enum WHV_X64_LOCAL_APIC_EMULATION_MODE {
    WHvX64LocalApicEmulationModeNone   = 0, /* no local APIC; HLT exits */
    WHvX64LocalApicEmulationModeXApic  = 1, /* memory-mapped */
    WHvX64LocalApicEmulationModeX2Apic = 2, /* memory-mapped at first; the guest may switch to x2APIC */
} WHV_X64_LOCAL_APIC_EMULATION_MODE;

/* Exception vectors, as bits of ExceptionExitBitmap and as WHV_VP_EXCEPTION_CONTEXT.ExceptionType. */
typedef enum WHV_EXCEPTION_TYPE {
    WHvX64ExceptionTypeDivideErrorFault             = 0,
    WHvX64ExceptionTypeDebugTrapOrFault             = 1,
    WHvX64ExceptionTypeBreakpointTrap               = 3,
    WHvX64ExceptionTypeOverflowTrap                 = 4,
    WHvX64ExceptionTypeBoundRangeFault              = 5,
    WHvX64ExceptionTypeInvalidOpcodeFault           = 6,
    WHvX64ExceptionTypeDeviceNotAvailableFault      = 7,
    WHvX64ExceptionTypeDoubleFaultAbort             = 8,
    WHvX64ExceptionTypeInvalidTaskStateSegmentFault = 0xA,
    WHvX64ExceptionTypeSegmentNotPresentFault       = 0xB,
    WHvX64ExceptionTypeStackFault                   = 0xC,
    WHvX64ExceptionTypeGeneralProtectionFault       = 0xD,
    WHvX64ExceptionTypePageFault                    = 0xE,
    WHvX64ExceptionTypeFloatingPointErrorFault      = 0x10,
    WHvX64ExceptionTypeAlignmentCheckFault          = 0x11,
    WHvX64ExceptionTypeMachineCheckAbort            = 0x12,
    WHvX64ExceptionTypeSimdFloatingPointFault       = 0x13,
    WHvX64ExceptionTypeControlProtectionFault       = 0x15,
} WHV_EXCEPTION_TYPE;

/* One fixed CPUID answer, for every subleaf (CpuidResultList). */
typedef struct WHV_X64_CPUID_RESULT {
    UINT32 Function;
    UINT32 Reserved[3];
    UINT32 Eax;
    UINT32 Ebx;
    UINT32 Ecx;
    UINT32 Edx;
} WHV_X64_CPUID_RESULT;

/* The four registers that CPUID writes. */
typedef struct WHV_CPUID_OUTPUT {
    UINT32 Eax;
    UINT32 Ebx;
    UINT32 Ecx;
    UINT32 Edx;
} WHV_CPUID_OUTPUT;

/* Which of Index and VpIndex a WHV_X64_CPUID_RESULT2 looks at. */
typedef enum WHV_X64_CPUID_RESULT2_FLAGS {
    WHvX64CpuidResult2FlagSubleafSpecific = 1,
    WHvX64CpuidResult2FlagVpSpecific      = 2,
} WHV_X64_CPUID_RESULT2_FLAGS;

/* One CPUID answer; only the bits set in Mask are replaced (CpuidResultList2). */
typedef struct WHV_X64_CPUID_RESULT2 {
    UINT32 Function;
    UINT32 Index;
    UINT32 VpIndex;
    WHV_X64_CPUID_RESULT2_FLAGS Flags;
    WHV_CPUID_OUTPUT Output;
    WHV_CPUID_OUTPUT Mask; /* 1: take the bit from Output */
} WHV_X64_CPUID_RESULT2;

/* What happens at a guest's access to an MSR. */
typedef enum WHV_MSR_ACTION {
    WHvMsrActionArchitectureDefault = 0, /* as the hypervisor would by itself */
    WHvMsrActionIgnoreWriteReadZero = 1, /* writes are dropped, reads give 0 */
    WHvMsrActionExit                = 2, /* X64MsrAccess exit */
} WHV_MSR_ACTION;

/* Actions for one MSR; ReadAction and WriteAction hold WHV_MSR_ACTION values. */
typedef struct WHV_MSR_ACTION_ENTRY {
    UINT32 Index;
    UINT8 ReadAction;
    UINT8 WriteAction;
    UINT16 Reserved;
} WHV_MSR_ACTION_ENTRY;

/* Room for the value of any property. The lists are arrays: their byte count is a multiple of the element's. */
typedef union WHV_PARTITION_PROPERTY {
    WHV_EXTENDED_VM_EXITS ExtendedVmExits;
    WHV_PROCESSOR_FEATURES ProcessorFeatures;
    WHV_SYNTHETIC_PROCESSOR_FEATURES_BANKS SyntheticProcessorFeaturesBanks;
    WHV_PROCESSOR_XSAVE_FEATURES ProcessorXsaveFeatures;
    UINT8 ProcessorClFlushSize;
    UINT32 ProcessorCount;
    UINT32 CpuidExitList[1];
    WHV_X64_CPUID_RESULT CpuidResultList[1];
    WHV_X64_CPUID_RESULT2 CpuidResultList2[1];
    WHV_MSR_ACTION_ENTRY MsrActionList[1];
    WHV_MSR_ACTION UnimplementedMsrAction;
    UINT64 ExceptionExitBitmap;
    WHV_X64_LOCAL_APIC_EMULATION_MODE LocalApicEmulationMode;
    BOOL SeparateSecurityDomain;
    BOOL NestedVirtualization;
    WHV_X64_MSR_EXIT_BITMAP X64MsrExitBitmap;
    UINT64 ProcessorClockFrequency;
    UINT64 InterruptClockFrequency;
    BOOL ApicRemoteRead;
    WHV_PROCESSOR_FEATURES_BANKS ProcessorFeaturesBanks;
    UINT64 ReferenceTime;
    USHORT PrimaryNumaNode;
    UINT32 CpuReserve;
    UINT32 CpuCap;
    UINT32 CpuWeight;
    UINT64 CpuGroupId;
    UINT32 ProcessorFrequencyCap;
    BOOL AllowDeviceAssignment;
    WHV_PROCESSOR_PERFMON_FEATURES ProcessorPerfmonFeatures;
    BOOL DisableSmt;
    UINT32 PhysicalAddressWidth;
} WHV_PARTITION_PROPERTY;

/* -------------------------------------------------------------------------------------------------------- memory */

/* Rights of a mapping; TrackDirtyPages makes WHvQueryGpaRangeDirtyBitmap work on it. */
typedef enum WHV_MAP_GPA_RANGE_FLAGS {
    WHvMapGpaRangeFlagNone            = 0x0,
    WHvMapGpaRangeFlagRead            = 0x1,
    WHvMapGpaRangeFlagWrite           = 0x2,
    WHvMapGpaRangeFlagExecute         = 0x4,
    WHvMapGpaRangeFlagTrackDirtyPages = 0x8,
} WHV_MAP_GPA_RANGE_FLAGS;

/* Kind of a guest's memory access. */
typedef enum WHV_MEMORY_ACCESS_TYPE {
    WHvMemoryAccessRead    = 0,
    WHvMemoryAccessWrite   = 1,
    WHvMemoryAccessExecute = 2,
} WHV_MEMORY_ACCESS_TYPE;

/* Access checks and side effects of WHvTranslateGva. */
typedef enum WHV_TRANSLATE_GVA_FLAGS {
    WHvTranslateGvaFlagNone             = 0x000,
    WHvTranslateGvaFlagValidateRead     = 0x001,
    WHvTranslateGvaFlagValidateWrite    = 0x002,
    WHvTranslateGvaFlagValidateExecute  = 0x004,
    WHvTranslateGvaFlagPrivilegeExempt  = 0x008, /* skip the user/supervisor check */
    WHvTranslateGvaFlagSetPageTableBits = 0x010, /* set accessed and dirty bits */
    WHvTranslateGvaFlagEnforceSmap      = 0x100, /* apply SMAP whatever CR4 says */
    WHvTranslateGvaFlagOverrideSmap     = 0x200, /* ignore SMAP */
} WHV_TRANSLATE_GVA_FLAGS;

typedef union WHV_TRANSLATE_GVA_2_FLAGS {
    struct {
        UINT64 ValidateRead     : 1;
        UINT64 ValidateWrite    : 1;
        UINT64 ValidateExecute  : 1;
        UINT64 PrivilegeExempt  : 1;
        UINT64 SetPageTableBits : 1;
        UINT64 Reserved1        : 3;
        UINT64 EnforceSmap      : 1;
        UINT64 OverrideSmap     : 1;
        UINT64 Reserved4        : 46;
        UINT64 InputVtl         : 8;
    };
    UINT64 AsUINT64;
} WHV_TRANSLATE_GVA_2_FLAGS;

/* How a translation ended. */
typedef enum WHV_TRANSLATE_GVA_RESULT_CODE {
    WHvTranslateGvaResultSuccess                 = 0,
    WHvTranslateGvaResultPageNotPresent          = 1,
    WHvTranslateGvaResultPrivilegeViolation      = 2,
    WHvTranslateGvaResultInvalidPageTableFlags   = 3,
    WHvTranslateGvaResultGpaUnmapped             = 4,
    WHvTranslateGvaResultGpaNoReadAccess         = 5,
    WHvTranslateGvaResultGpaNoWriteAccess        = 6,
    WHvTranslateGvaResultGpaIllegalOverlayAccess = 7,
    WHvTranslateGvaResultIntercept               = 8,
} WHV_TRANSLATE_GVA_RESULT_CODE;

typedef struct WHV_TRANSLATE_GVA_RESULT {
    WHV_TRANSLATE_GVA_RESULT_CODE ResultCode;
    UINT32 Reserved;
} WHV_TRANSLATE_GVA_RESULT;

/* A guest-physical range, in bytes. */
typedef struct WHV_MEMORY_RANGE_ENTRY {
    UINT64 GuestAddress;
    UINT64 SizeInBytes;
} WHV_MEMORY_RANGE_ENTRY;

/* Codes of WHvAdviseGpaRange. */
typedef enum WHV_ADVISE_GPA_RANGE_CODE {
    WHvAdviseGpaRangeCodePopulate = 0, /* WHV_ADVISE_GPA_RANGE_POPULATE */
    WHvAdviseGpaRangeCodePin      = 1, /* no advice buffer */
    WHvAdviseGpaRangeCodeUnpin    = 2, /* no advice buffer */
} WHV_ADVISE_GPA_RANGE_CODE;

typedef struct WHV_ADVISE_GPA_RANGE_POPULATE {
    WHV_ADVISE_GPA_RANGE_POPULATE_FLAGS Flags;
    WHV_MEMORY_ACCESS_TYPE AccessType;
} WHV_ADVISE_GPA_RANGE_POPULATE;

/* Room for the advice of any code. */
typedef union WHV_ADVISE_GPA_RANGE {
    WHV_ADVISE_GPA_RANGE_POPULATE Populate;
} WHV_ADVISE_GPA_RANGE;

/* Memory types, in the numbers of the x86 PAT. */
typedef enum WHV_CACHE_TYPE {
    WHvCacheTypeUncached       = 0,
    WHvCacheTypeWriteCombining = 1,
    WHvCacheTypeWriteThrough   = 4,
    WHvCacheTypeWriteProtected = 5,
    WHvCacheTypeWriteBack      = 6,
} WHV_CACHE_TYPE;

/* The virtual trust level that a call is about. BareWHP has level 0 only. */
typedef union WHV_INPUT_VTL {
    struct {
        UINT8 TargetVtl    : 4;
        UINT8 UseTargetVtl : 1;
        UINT8 Reserved     : 3;
    };
    UINT8 AsUINT8;
} WHV_INPUT_VTL;

/* How WHvReadGpaRange and WHvWriteGpaRange access the guest's memory. */
typedef union WHV_ACCESS_GPA_CONTROLS {
    struct {
        WHV_CACHE_TYPE CacheType;
        WHV_INPUT_VTL InputVtl;
        UINT8 Reserved;
        UINT16 Reserved1;
    };
    UINT64 AsUINT64;
} WHV_ACCESS_GPA_CONTROLS;

/* Most bytes that one WHvReadGpaRange or WHvWriteGpaRange moves. */
#define WHV_READ_WRITE_GPA_RANGE_MAX_SIZE 16

/* ----------------------------------------------------------------------------------------------------- registers */

/* Register names. Negative as int on Windows above 0x7FFFFFFF: compare for equality only. */
typedef enum WHV_REGISTER_NAME {
    WHvX64RegisterRax                         = 0x00000000,
    WHvX64RegisterRcx                         = 0x00000001,
    WHvX64RegisterRdx                         = 0x00000002,
    WHvX64RegisterRbx                         = 0x00000003,
    WHvX64RegisterRsp                         = 0x00000004,
    WHvX64RegisterRbp                         = 0x00000005,
    WHvX64RegisterRsi                         = 0x00000006,
    WHvX64RegisterRdi                         = 0x00000007,
    WHvX64RegisterR8                          = 0x00000008,
    WHvX64RegisterR9                          = 0x00000009,
    WHvX64RegisterR10                         = 0x0000000A,
    WHvX64RegisterR11                         = 0x0000000B,
    WHvX64RegisterR12                         = 0x0000000C,
    WHvX64RegisterR13                         = 0x0000000D,
    WHvX64RegisterR14                         = 0x0000000E,
    WHvX64RegisterR15                         = 0x0000000F,
    WHvX64RegisterRip                         = 0x00000010,
    WHvX64RegisterRflags                      = 0x00000011,
    WHvX64RegisterEs                          = 0x00000012,
    WHvX64RegisterCs                          = 0x00000013,
    WHvX64RegisterSs                          = 0x00000014,
    WHvX64RegisterDs                          = 0x00000015,
    WHvX64RegisterFs                          = 0x00000016,
    WHvX64RegisterGs                          = 0x00000017,
    WHvX64RegisterLdtr                        = 0x00000018,
    WHvX64RegisterTr                          = 0x00000019,
    WHvX64RegisterIdtr                        = 0x0000001A,
    WHvX64RegisterGdtr                        = 0x0000001B,
    WHvX64RegisterCr0                         = 0x0000001C,
    WHvX64RegisterCr2                         = 0x0000001D,
    WHvX64RegisterCr3                         = 0x0000001E,
    WHvX64RegisterCr4                         = 0x0000001F,
    WHvX64RegisterCr8                         = 0x00000020,
    WHvX64RegisterDr0                         = 0x00000021,
    WHvX64RegisterDr1                         = 0x00000022,
    WHvX64RegisterDr2                         = 0x00000023,
    WHvX64RegisterDr3                         = 0x00000024,
    WHvX64RegisterDr6                         = 0x00000025,
    WHvX64RegisterDr7                         = 0x00000026,
    WHvX64RegisterXCr0                        = 0x00000027,
    WHvX64RegisterVirtualCr0                  = 0x00000028,
    WHvX64RegisterVirtualCr3                  = 0x00000029,
    WHvX64RegisterVirtualCr4                  = 0x0000002A,
    WHvX64RegisterVirtualCr8                  = 0x0000002B,
    WHvX64RegisterXmm0                        = 0x00001000,
    WHvX64RegisterXmm1                        = 0x00001001,
    WHvX64RegisterXmm2                        = 0x00001002,
    WHvX64RegisterXmm3                        = 0x00001003,
    WHvX64RegisterXmm4                        = 0x00001004,
    WHvX64RegisterXmm5                        = 0x00001005,
    WHvX64RegisterXmm6                        = 0x00001006,
    WHvX64RegisterXmm7                        = 0x00001007,
    WHvX64RegisterXmm8                        = 0x00001008,
    WHvX64RegisterXmm9                        = 0x00001009,
    WHvX64RegisterXmm10                       = 0x0000100A,
    WHvX64RegisterXmm11                       = 0x0000100B,
    WHvX64RegisterXmm12                       = 0x0000100C,
    WHvX64RegisterXmm13                       = 0x0000100D,
    WHvX64RegisterXmm14                       = 0x0000100E,
    WHvX64RegisterXmm15                       = 0x0000100F,
    WHvX64RegisterFpMmx0                      = 0x00001010,
    WHvX64RegisterFpMmx1                      = 0x00001011,
    WHvX64RegisterFpMmx2                      = 0x00001012,
    WHvX64RegisterFpMmx3                      = 0x00001013,
    WHvX64RegisterFpMmx4                      = 0x00001014,
    WHvX64RegisterFpMmx5                      = 0x00001015,
    WHvX64RegisterFpMmx6                      = 0x00001016,
    WHvX64RegisterFpMmx7                      = 0x00001017,
    WHvX64RegisterFpControlStatus             = 0x00001018,
    WHvX64RegisterXmmControlStatus            = 0x00001019,
    WHvX64RegisterTsc                         = 0x00002000,
    WHvX64RegisterEfer                        = 0x00002001,
    WHvX64RegisterKernelGsBase                = 0x00002002,
    WHvX64RegisterApicBase                    = 0x00002003,
    WHvX64RegisterPat                         = 0x00002004,
    WHvX64RegisterSysenterCs                  = 0x00002005,
    WHvX64RegisterSysenterEip                 = 0x00002006,
    WHvX64RegisterSysenterEsp                 = 0x00002007,
    WHvX64RegisterStar                        = 0x00002008,
    WHvX64RegisterLstar                       = 0x00002009,
    WHvX64RegisterCstar                       = 0x0000200A,
    WHvX64RegisterSfmask                      = 0x0000200B,
    WHvX64RegisterInitialApicId               = 0x0000200C,
    WHvX64RegisterMsrMtrrCap                  = 0x0000200D,
    WHvX64RegisterMsrMtrrDefType              = 0x0000200E,
    WHvX64RegisterMsrMtrrPhysBase0            = 0x00002010,
    WHvX64RegisterMsrMtrrPhysBase1            = 0x00002011,
    WHvX64RegisterMsrMtrrPhysBase2            = 0x00002012,
    WHvX64RegisterMsrMtrrPhysBase3            = 0x00002013,
    WHvX64RegisterMsrMtrrPhysBase4            = 0x00002014,
    WHvX64RegisterMsrMtrrPhysBase5            = 0x00002015,
    WHvX64RegisterMsrMtrrPhysBase6            = 0x00002016,
    WHvX64RegisterMsrMtrrPhysBase7            = 0x00002017,
    WHvX64RegisterMsrMtrrPhysBase8            = 0x00002018,
    WHvX64RegisterMsrMtrrPhysBase9            = 0x00002019,
    WHvX64RegisterMsrMtrrPhysBaseA            = 0x0000201A,
    WHvX64RegisterMsrMtrrPhysBaseB            = 0x0000201B,
    WHvX64RegisterMsrMtrrPhysBaseC            = 0x0000201C,
    WHvX64RegisterMsrMtrrPhysBaseD            = 0x0000201D,
    WHvX64RegisterMsrMtrrPhysBaseE            = 0x0000201E,
    WHvX64RegisterMsrMtrrPhysBaseF            = 0x0000201F,
    WHvX64RegisterMsrMtrrPhysMask0            = 0x00002040,
    WHvX64RegisterMsrMtrrPhysMask1            = 0x00002041,
    WHvX64RegisterMsrMtrrPhysMask2            = 0x00002042,
    WHvX64RegisterMsrMtrrPhysMask3            = 0x00002043,
    WHvX64RegisterMsrMtrrPhysMask4            = 0x00002044,
    WHvX64RegisterMsrMtrrPhysMask5            = 0x00002045,
    WHvX64RegisterMsrMtrrPhysMask6            = 0x00002046,
    WHvX64RegisterMsrMtrrPhysMask7            = 0x00002047,
    WHvX64RegisterMsrMtrrPhysMask8            = 0x00002048,
    WHvX64RegisterMsrMtrrPhysMask9            = 0x00002049,
    WHvX64RegisterMsrMtrrPhysMaskA            = 0x0000204A,
    WHvX64RegisterMsrMtrrPhysMaskB            = 0x0000204B,
    WHvX64RegisterMsrMtrrPhysMaskC            = 0x0000204C,
    WHvX64RegisterMsrMtrrPhysMaskD            = 0x0000204D,
    WHvX64RegisterMsrMtrrPhysMaskE            = 0x0000204E,
    WHvX64RegisterMsrMtrrPhysMaskF            = 0x0000204F,
    WHvX64RegisterMsrMtrrFix64k00000          = 0x00002070,
    WHvX64RegisterMsrMtrrFix16k80000          = 0x00002071,
    WHvX64RegisterMsrMtrrFix16kA0000          = 0x00002072,
    WHvX64RegisterMsrMtrrFix4kC0000           = 0x00002073,
    WHvX64RegisterMsrMtrrFix4kC8000           = 0x00002074,
    WHvX64RegisterMsrMtrrFix4kD0000           = 0x00002075,
    WHvX64RegisterMsrMtrrFix4kD8000           = 0x00002076,
    WHvX64RegisterMsrMtrrFix4kE0000           = 0x00002077,
    WHvX64RegisterMsrMtrrFix4kE8000           = 0x00002078,
    WHvX64RegisterMsrMtrrFix4kF0000           = 0x00002079,
    WHvX64RegisterMsrMtrrFix4kF8000           = 0x0000207A,
    WHvX64RegisterTscAux                      = 0x0000207B,
    WHvX64RegisterBndcfgs                     = 0x0000207C,
    WHvX64RegisterMCount                      = 0x0000207E,
    WHvX64RegisterACount                      = 0x0000207F,
    WHvX64RegisterSpecCtrl                    = 0x00002084,
    WHvX64RegisterPredCmd                     = 0x00002085,
    WHvX64RegisterTscVirtualOffset            = 0x00002087,
    WHvX64RegisterTsxCtrl                     = 0x00002088,
    WHvX64RegisterXss                         = 0x0000208B,
    WHvX64RegisterUCet                        = 0x0000208C,
    WHvX64RegisterSCet                        = 0x0000208D,
    WHvX64RegisterSsp                         = 0x0000208E,
    WHvX64RegisterPl0Ssp                      = 0x0000208F,
    WHvX64RegisterPl1Ssp                      = 0x00002090,
    WHvX64RegisterPl2Ssp                      = 0x00002091,
    WHvX64RegisterPl3Ssp                      = 0x00002092,
    WHvX64RegisterInterruptSspTableAddr       = 0x00002093,
    WHvX64RegisterTscDeadline                 = 0x00002095,
    WHvX64RegisterTscAdjust                   = 0x00002096,
    WHvX64RegisterUmwaitControl               = 0x00002098,
    WHvX64RegisterXfd                         = 0x00002099,
    WHvX64RegisterXfdErr                      = 0x0000209A,
    WHvX64RegisterMsrIa32MiscEnable           = 0x000020A0,
    WHvX64RegisterIa32FeatureControl          = 0x000020A1,
    WHvX64RegisterIa32VmxBasic                = 0x000020A2,
    WHvX64RegisterIa32VmxPinbasedCtls         = 0x000020A3,
    WHvX64RegisterIa32VmxProcbasedCtls        = 0x000020A4,
    WHvX64RegisterIa32VmxExitCtls             = 0x000020A5,
    WHvX64RegisterIa32VmxEntryCtls            = 0x000020A6,
    WHvX64RegisterIa32VmxMisc                 = 0x000020A7,
    WHvX64RegisterIa32VmxCr0Fixed0            = 0x000020A8,
    WHvX64RegisterIa32VmxCr0Fixed1            = 0x000020A9,
    WHvX64RegisterIa32VmxCr4Fixed0            = 0x000020AA,
    WHvX64RegisterIa32VmxCr4Fixed1            = 0x000020AB,
    WHvX64RegisterIa32VmxVmcsEnum             = 0x000020AC,
    WHvX64RegisterIa32VmxProcbasedCtls2       = 0x000020AD,
    WHvX64RegisterIa32VmxEptVpidCap           = 0x000020AE,
    WHvX64RegisterIa32VmxTruePinbasedCtls     = 0x000020AF,
    WHvX64RegisterIa32VmxTrueProcbasedCtls    = 0x000020B0,
    WHvX64RegisterIa32VmxTrueExitCtls         = 0x000020B1,
    WHvX64RegisterIa32VmxTrueEntryCtls        = 0x000020B2,
    WHvX64RegisterAmdVmHsavePa                = 0x000020B3,
    WHvX64RegisterAmdVmCr                     = 0x000020B4,
    WHvX64RegisterApicId                      = 0x00003002,
    WHvX64RegisterApicVersion                 = 0x00003003,
    WHvX64RegisterApicTpr                     = 0x00003008,
    WHvX64RegisterApicPpr                     = 0x0000300A,
    WHvX64RegisterApicEoi                     = 0x0000300B,
    WHvX64RegisterApicLdr                     = 0x0000300D,
    WHvX64RegisterApicSpurious                = 0x0000300F,
    WHvX64RegisterApicIsr0                    = 0x00003010,
    WHvX64RegisterApicIsr1                    = 0x00003011,
    WHvX64RegisterApicIsr2                    = 0x00003012,
    WHvX64RegisterApicIsr3                    = 0x00003013,
    WHvX64RegisterApicIsr4                    = 0x00003014,
    WHvX64RegisterApicIsr5                    = 0x00003015,
    WHvX64RegisterApicIsr6                    = 0x00003016,
    WHvX64RegisterApicIsr7                    = 0x00003017,
    WHvX64RegisterApicTmr0                    = 0x00003018,
    WHvX64RegisterApicTmr1                    = 0x00003019,
    WHvX64RegisterApicTmr2                    = 0x0000301A,
    WHvX64RegisterApicTmr3                    = 0x0000301B,
    WHvX64RegisterApicTmr4                    = 0x0000301C,
    WHvX64RegisterApicTmr5                    = 0x0000301D,
    WHvX64RegisterApicTmr6                    = 0x0000301E,
    WHvX64RegisterApicTmr7                    = 0x0000301F,
    WHvX64RegisterApicIrr0                    = 0x00003020,
    WHvX64RegisterApicIrr1                    = 0x00003021,
    WHvX64RegisterApicIrr2                    = 0x00003022,
    WHvX64RegisterApicIrr3                    = 0x00003023,
    WHvX64RegisterApicIrr4                    = 0x00003024,
    WHvX64RegisterApicIrr5                    = 0x00003025,
    WHvX64RegisterApicIrr6                    = 0x00003026,
    WHvX64RegisterApicIrr7                    = 0x00003027,
    WHvX64RegisterApicEse                     = 0x00003028,
    WHvX64RegisterApicIcr                     = 0x00003030,
    WHvX64RegisterApicLvtTimer                = 0x00003032,
    WHvX64RegisterApicLvtThermal              = 0x00003033,
    WHvX64RegisterApicLvtPerfmon              = 0x00003034,
    WHvX64RegisterApicLvtLint0                = 0x00003035,
    WHvX64RegisterApicLvtLint1                = 0x00003036,
    WHvX64RegisterApicLvtError                = 0x00003037,
    WHvX64RegisterApicInitCount               = 0x00003038,
    WHvX64RegisterApicCurrentCount            = 0x00003039,
    WHvX64RegisterApicDivide                  = 0x0000303E,
    WHvX64RegisterApicSelfIpi                 = 0x0000303F,
    WHvRegisterSint0                          = 0x00004000,
    WHvRegisterSint1                          = 0x00004001,
    WHvRegisterSint2                          = 0x00004002,
    WHvRegisterSint3                          = 0x00004003,
    WHvRegisterSint4                          = 0x00004004,
    WHvRegisterSint5                          = 0x00004005,
    WHvRegisterSint6                          = 0x00004006,
    WHvRegisterSint7                          = 0x00004007,
    WHvRegisterSint8                          = 0x00004008,
    WHvRegisterSint9                          = 0x00004009,
    WHvRegisterSint10                         = 0x0000400A,
    WHvRegisterSint11                         = 0x0000400B,
    WHvRegisterSint12                         = 0x0000400C,
    WHvRegisterSint13                         = 0x0000400D,
    WHvRegisterSint14                         = 0x0000400E,
    WHvRegisterSint15                         = 0x0000400F,
    WHvRegisterScontrol                       = 0x00004010,
    WHvRegisterSversion                       = 0x00004011,
    WHvRegisterSiefp                          = 0x00004012,
    WHvRegisterSimp                           = 0x00004013,
    WHvRegisterEom                            = 0x00004014,
    WHvRegisterVpRuntime                      = 0x00005000,
    WHvX64RegisterHypercall                   = 0x00005001,
    WHvRegisterGuestOsId                      = 0x00005002,
    WHvRegisterVpAssistPage                   = 0x00005013,
    WHvRegisterReferenceTsc                   = 0x00005017,
    WHvRegisterReferenceTscSequence           = 0x0000501A,
    WHvX64RegisterNestedGuestState            = 0x00005050,
    WHvX64RegisterNestedCurrentVmGpa          = 0x00005051,
    WHvX64RegisterNestedVmxInvEpt             = 0x00005052,
    WHvX64RegisterNestedVmxInvVpid            = 0x00005053,
    WHvRegisterPendingInterruption            = 0x80000000,
    WHvRegisterInterruptState                 = 0x80000001,
    WHvRegisterPendingEvent                   = 0x80000002,
    WHvRegisterPendingEvent1                  = 0x80000003,
    WHvX64RegisterDeliverabilityNotifications = 0x80000004,
    WHvRegisterDeliverabilityNotifications    = 0x80000004,
    WHvRegisterInternalActivityState          = 0x80000005,
    WHvX64RegisterPendingDebugException       = 0x80000006,
    WHvRegisterPendingEvent2                  = 0x80000007,
    WHvRegisterPendingEvent3                  = 0x80000008,
} WHV_REGISTER_NAME;

/* An x87 or MMX register. */
typedef union WHV_X64_FP_REGISTER {
    struct {
        UINT64 Mantissa;
        UINT64 BiasedExponent : 15;
        UINT64 Sign           : 1;
        UINT64 Reserved       : 48;
    };
    WHV_UINT128 AsUINT128;
} WHV_X64_FP_REGISTER;

/* x87 control state. FpTag is the abridged tag byte of FXSAVE: one bit a register, set when in use. */
typedef union WHV_X64_FP_CONTROL_STATUS_REGISTER {
    struct {
        UINT16 FpControl;
        UINT16 FpStatus;
        UINT8 FpTag;
        UINT8 Reserved;
        UINT16 LastFpOp;
        union {
            UINT64 LastFpRip; /* in 64-bit mode */
            struct {          /* otherwise */
                UINT32 LastFpEip;
                UINT16 LastFpCs;
                UINT16 Reserved2;
            };
        };
    };
    WHV_UINT128 AsUINT128;
} WHV_X64_FP_CONTROL_STATUS_REGISTER;

/* The rest of the x87 pointers, MXCSR and its mask of settable bits. */
typedef union WHV_X64_XMM_CONTROL_STATUS_REGISTER {
    struct {
        union {
            UINT64 LastFpRdp; /* in 64-bit mode */
            struct {          /* otherwise */
                UINT32 LastFpDp;
                UINT16 LastFpDs;
                UINT16 Reserved;
            };
        };
        UINT32 XmmStatusControl; /* MXCSR */
        UINT32 XmmStatusControlMask;
    };
    WHV_UINT128 AsUINT128;
} WHV_X64_XMM_CONTROL_STATUS_REGISTER;

/*
 * A segment register with its hidden part. Attributes is the descriptor's access byte and flags; Limit is in
 * bytes.
 */
typedef struct WHV_X64_SEGMENT_REGISTER {
    UINT64 Base;
    UINT32 Limit;
    UINT16 Selector;
    union {
        struct {
            UINT16 SegmentType              : 4;
            UINT16 NonSystemSegment         : 1;
            UINT16 DescriptorPrivilegeLevel : 2;
            UINT16 Present                  : 1;
            UINT16 Reserved                 : 4;
            UINT16 Available                : 1;
            UINT16 Long                     : 1;
            UINT16 Default                  : 1;
            UINT16 Granularity              : 1;
        };
        UINT16 Attributes;
    };
} WHV_X64_SEGMENT_REGISTER;

/* GDTR or IDTR. */
typedef struct WHV_X64_TABLE_REGISTER {
    UINT16 Pad[3];
    UINT16 Limit;
    UINT64 Base;
} WHV_X64_TABLE_REGISTER;

typedef union WHV_X64_INTERRUPT_STATE_REGISTER {
    struct {
        UINT64 InterruptShadow : 1;
        UINT64 NmiMasked       : 1;
        UINT64 Reserved        : 62;
    };
    UINT64 AsUINT64;
} WHV_X64_INTERRUPT_STATE_REGISTER;

/*
 * InterruptionType of PendingInterruption, in the numbers of VMX. Reading back may show 4, 5 and 6: software
 * interrupt, privileged software exception, software exception.
 */
typedef enum WHV_X64_PENDING_INTERRUPTION_TYPE {
    WHvX64PendingInterrupt = 0,
    WHvX64PendingNmi       = 2,
    WHvX64PendingException = 3,
} WHV_X64_PENDING_INTERRUPTION_TYPE;

/* An event that the next entry into the guest delivers. */
typedef union WHV_X64_PENDING_INTERRUPTION_REGISTER {
    struct {
        UINT32 InterruptionPending : 1;
        UINT32 InterruptionType    : 3; /* WHV_X64_PENDING_INTERRUPTION_TYPE */
        UINT32 DeliverErrorCode    : 1;
        UINT32 InstructionLength   : 4;
        UINT32 NestedEvent         : 1;
        UINT32 Reserved            : 6;
        UINT32 InterruptionVector  : 16;
        UINT32 ErrorCode;
    };
    UINT64 AsUINT64;
} WHV_X64_PENDING_INTERRUPTION_REGISTER;

/* One-shot requests for an X64InterruptWindow exit. InterruptPriority 0 means any vector. */
typedef union WHV_DELIVERABILITY_NOTIFICATIONS_REGISTER {
    struct {
        UINT64 NmiNotification       : 1;
        UINT64 InterruptNotification : 1;
        UINT64 InterruptPriority     : 4;
        UINT64 Reserved              : 42;
        UINT64 Sint                  : 16;
    };
    UINT64 AsUINT64;
} WHV_DELIVERABILITY_NOTIFICATIONS_REGISTER;

/* name of older headers */
typedef WHV_DELIVERABILITY_NOTIFICATIONS_REGISTER WHV_X64_DELIVERABILITY_NOTIFICATIONS_REGISTER;

/* Why a virtual processor executes nothing; all clear means it does. */
typedef union WHV_INTERNAL_ACTIVITY_REGISTER {
    struct {
        UINT64 StartupSuspend : 1;
        UINT64 HaltSuspend    : 1;
        UINT64 IdleSuspend    : 1;
        UINT64 Reserved       : 61;
    };
    UINT64 AsUINT64;
} WHV_INTERNAL_ACTIVITY_REGISTER;

typedef union WHV_X64_PENDING_DEBUG_EXCEPTION {
    struct {
        UINT64 Breakpoint0 : 1;
        UINT64 Breakpoint1 : 1;
        UINT64 Breakpoint2 : 1;
        UINT64 Breakpoint3 : 1;
        UINT64 SingleStep  : 1;
        UINT64 Reserved0   : 59;
    };
    UINT64 AsUINT64;
} WHV_X64_PENDING_DEBUG_EXCEPTION;

/* EventType of the PendingEvent registers. */
typedef enum WHV_X64_PENDING_EVENT_TYPE {
    WHvX64PendingEventException     = 0,
    WHvX64PendingEventExtInt        = 5,
    WHvX64PendingEventSvmNestedExit = 7,
    WHvX64PendingEventVmxNestedExit = 8,
} WHV_X64_PENDING_EVENT_TYPE;

/* PendingEvent of type Exception; ExceptionParameter becomes CR2 of a page fault. */
typedef union WHV_X64_PENDING_EXCEPTION_EVENT {
    struct {
        UINT32 EventPending     : 1;
        UINT32 EventType        : 3; /* WHvX64PendingEventException */
        UINT32 Reserved0        : 4;
        UINT32 DeliverErrorCode : 1;
        UINT32 Reserved1        : 7;
        UINT32 Vector           : 16;
        UINT32 ErrorCode;
        UINT64 ExceptionParameter;
    };
    WHV_UINT128 AsUINT128;
} WHV_X64_PENDING_EXCEPTION_EVENT;

/* PendingEvent of type ExtInt: a vector from a legacy interrupt controller. */
typedef union WHV_X64_PENDING_EXT_INT_EVENT {
    struct {
        UINT64 EventPending : 1;
        UINT64 EventType    : 3; /* WHvX64PendingEventExtInt */
        UINT64 Reserved0    : 4;
        UINT64 Vector       : 8;
        UINT64 Reserved1    : 48;
        UINT64 Reserved2;
    };
    WHV_UINT128 AsUINT128;
} WHV_X64_PENDING_EXT_INT_EVENT;

/* ---------------------------------------------------------------------------- registers of nested virtualization */

typedef union WHV_X64_PENDING_SVM_NESTED_EXIT_EVENT0 {
    struct {
        UINT64 EventPending          : 1;
        UINT64 EventType             : 4; /* WHvX64PendingEventSvmNestedExit */
        UINT64 Reserved0             : 3;
        UINT64 InstructionBytesValid : 1;
        UINT64 Reserved1             : 55;
        UINT64 ExitCode;
    };
    WHV_UINT128 AsUINT128;
} WHV_X64_PENDING_SVM_NESTED_EXIT_EVENT0;

typedef union WHV_X64_PENDING_SVM_NESTED_EXIT_EVENT1 {
    struct {
        UINT64 ExitInfo1;
        UINT64 ExitInfo2;
    };
    WHV_UINT128 AsUINT128;
} WHV_X64_PENDING_SVM_NESTED_EXIT_EVENT1;

typedef union WHV_X64_PENDING_SVM_NESTED_EXIT_EVENT2 {
    struct {
        UINT64 NextRip;
        UINT8 InstructionBytesFetchedCount;
        UINT8 InstructionBytes[7];
    };
    WHV_UINT128 AsUINT128;
} WHV_X64_PENDING_SVM_NESTED_EXIT_EVENT2;

typedef union WHV_X64_PENDING_SVM_NESTED_EXIT_EVENT3 {
    struct {
        UINT8 InstructionBytes[8];
        UINT64 Reserved2;
    };
    WHV_UINT128 AsUINT128;
} WHV_X64_PENDING_SVM_NESTED_EXIT_EVENT3;

typedef union WHV_X64_PENDING_VMX_NESTED_EXIT_EVENT0 {
    struct {
        UINT32 EventPending : 1;
        UINT32 EventType    : 4; /* WHvX64PendingEventVmxNestedExit */
        UINT32 Reserved0    : 27;
        UINT32 ExitReason;
        UINT64 ExitQualification;
    };
    WHV_UINT128 AsUINT128;
} WHV_X64_PENDING_VMX_NESTED_EXIT_EVENT0;

typedef union WHV_X64_PENDING_VMX_NESTED_EXIT_EVENT1 {
    struct {
        UINT32 InstructionLength;
        UINT32 InstructionInfo;
        UINT32 ExitInterruptionInfo;
        UINT32 ExitExceptionErrorCode;
    };
    WHV_UINT128 AsUINT128;
} WHV_X64_PENDING_VMX_NESTED_EXIT_EVENT1;

typedef union WHV_X64_PENDING_VMX_NESTED_EXIT_EVENT2 {
    struct {
        UINT64 GuestLinearAddress;
        UINT64 GuestPhysicalAddress;
    };
    WHV_UINT128 AsUINT128;
} WHV_X64_PENDING_VMX_NESTED_EXIT_EVENT2;

typedef union WHV_X64_NESTED_INVEPT_REGISTER {
    struct {
        UINT8 Type;
        UINT8 Reserved[7];
        UINT64 Eptp;
    };
    WHV_UINT128 AsUINT128;
} WHV_X64_NESTED_INVEPT_REGISTER;

typedef union WHV_X64_NESTED_INVVPID_REGISTER {
    struct {
        UINT8 Type;
        UINT8 Reserved[3];
        UINT32 Vpid;
        UINT64 LinearAddress;
    };
    WHV_UINT128 AsUINT128;
} WHV_X64_NESTED_INVVPID_REGISTER;

typedef union WHV_X64_NESTED_GUEST_STATE {
    struct {
        UINT64 NestedVirtActive : 1;
        UINT64 NestedGuestMode  : 1;
        UINT64 VmEntryPending   : 1;
        UINT64 Reserved0        : 61;
        UINT64 Reserved1;
    };
    WHV_UINT128 AsUINT128;
} WHV_X64_NESTED_GUEST_STATE;

/* The value of one register. Registers narrower than the union ignore what is above their size. */
typedef union WHV_REGISTER_VALUE {
    WHV_UINT128 Reg128;
    UINT64 Reg64;
    UINT32 Reg32;
    UINT16 Reg16;
    UINT8 Reg8;
    WHV_X64_FP_REGISTER Fp;
    WHV_X64_FP_CONTROL_STATUS_REGISTER FpControlStatus;
    WHV_X64_XMM_CONTROL_STATUS_REGISTER XmmControlStatus;
    WHV_X64_SEGMENT_REGISTER Segment;
    WHV_X64_TABLE_REGISTER Table;
    WHV_X64_INTERRUPT_STATE_REGISTER InterruptState;
    WHV_X64_PENDING_INTERRUPTION_REGISTER PendingInterruption;
    WHV_X64_DELIVERABILITY_NOTIFICATIONS_REGISTER DeliverabilityNotifications;
    WHV_X64_PENDING_EXCEPTION_EVENT ExceptionEvent;
    WHV_X64_PENDING_EXT_INT_EVENT ExtIntEvent;
    WHV_INTERNAL_ACTIVITY_REGISTER InternalActivity;
    WHV_X64_PENDING_DEBUG_EXCEPTION PendingDebugException;
    WHV_X64_NESTED_GUEST_STATE NestedState;
    WHV_X64_NESTED_INVEPT_REGISTER InvEpt;
    WHV_X64_NESTED_INVVPID_REGISTER InvVpid;
    WHV_X64_PENDING_SVM_NESTED_EXIT_EVENT0 SvmNestedExit0;
    WHV_X64_PENDING_SVM_NESTED_EXIT_EVENT1 SvmNestedExit1;
    WHV_X64_PENDING_SVM_NESTED_EXIT_EVENT2 SvmNestedExit2;
    WHV_X64_PENDING_SVM_NESTED_EXIT_EVENT3 SvmNestedExit3;
    WHV_X64_PENDING_VMX_NESTED_EXIT_EVENT0 VmxNestedExit0;
    WHV_X64_PENDING_VMX_NESTED_EXIT_EVENT1 VmxNestedExit1;
    WHV_X64_PENDING_VMX_NESTED_EXIT_EVENT2 VmxNestedExit2;
} WHV_REGISTER_VALUE;

/* --------------------------------------------------------------------------------------------------------- exits */

/* Why WHvRunVirtualProcessor returned; the comment names the member of WHV_RUN_VP_EXIT_CONTEXT that tells more. */
typedef enum WHV_RUN_VP_EXIT_REASON {
    WHvRunVpExitReasonNone                   = 0x0000, /* not seen */
    WHvRunVpExitReasonMemoryAccess           = 0x0001, /* MemoryAccess */
    WHvRunVpExitReasonX64IoPortAccess        = 0x0002, /* IoPortAccess */
    WHvRunVpExitReasonUnrecoverableException = 0x0004, /* (triple fault) */
    WHvRunVpExitReasonInvalidVpRegisterValue = 0x0005, /* (the CPU refused the register state) */
    WHvRunVpExitReasonUnsupportedFeature     = 0x0006, /* UnsupportedFeature */
    WHvRunVpExitReasonX64InterruptWindow     = 0x0007, /* InterruptWindow */
    WHvRunVpExitReasonX64Halt                = 0x0008, /* (only without APIC emulation) */
    WHvRunVpExitReasonX64ApicEoi             = 0x0009, /* ApicEoi; level-triggered vectors only */
    WHvRunVpExitReasonSynicSintDeliverable   = 0x000A, /* SynicSintDeliverable */
    WHvRunVpExitReasonX64MsrAccess           = 0x1000, /* MsrAccess */
    WHvRunVpExitReasonX64Cpuid               = 0x1001, /* CpuidAccess */
    WHvRunVpExitReasonException              = 0x1002, /* VpException */
    WHvRunVpExitReasonX64Rdtsc               = 0x1003, /* ReadTsc */
    WHvRunVpExitReasonX64ApicSmiTrap         = 0x1004, /* ApicSmi */
    WHvRunVpExitReasonHypercall              = 0x1005, /* Hypercall */
    WHvRunVpExitReasonX64ApicInitSipiTrap    = 0x1006, /* ApicInitSipi */
    WHvRunVpExitReasonX64ApicWriteTrap       = 0x1007, /* ApicWrite */
    WHvRunVpExitReasonCanceled               = 0x2001, /* CancelReason */
} WHV_RUN_VP_EXIT_REASON;

/* CPU mode at the exit. */
typedef union WHV_X64_VP_EXECUTION_STATE {
    struct {
        UINT16 Cpl                 : 2;
        UINT16 Cr0Pe               : 1;
        UINT16 Cr0Am               : 1;
        UINT16 EferLma             : 1;
        UINT16 DebugActive         : 1;
        UINT16 InterruptionPending : 1;
        UINT16 Reserved0           : 5;
        UINT16 InterruptShadow     : 1;
        UINT16 Reserved1           : 3;
    };
    UINT16 AsUINT16;
} WHV_X64_VP_EXECUTION_STATE;

/* What every exit tells. Rip points to the instruction that exited except after Halt, where it is past it. */
typedef struct WHV_X64_VP_EXIT_CONTEXT {
    WHV_X64_VP_EXECUTION_STATE ExecutionState;
    UINT8 InstructionLength : 4;
    UINT8 Cr8               : 4;
    UINT8 Reserved;
    UINT32 Reserved2;
    WHV_X64_SEGMENT_REGISTER Cs;
    UINT64 Rip;
    UINT64 Rflags;
} WHV_X64_VP_EXIT_CONTEXT;

typedef WHV_X64_VP_EXIT_CONTEXT WHV_VP_EXIT_CONTEXT; /* name of older headers */

/* AccessType holds a WHV_MEMORY_ACCESS_TYPE. GpaUnmapped is 0 when a mapping forbids the access. */
typedef union WHV_MEMORY_ACCESS_INFO {
    struct {
        UINT32 AccessType  : 2;
        UINT32 GpaUnmapped : 1;
        UINT32 GvaValid    : 1;
        UINT32 Reserved    : 28;
    };
    UINT32 AsUINT32;
} WHV_MEMORY_ACCESS_INFO;

/* InstructionByteCount may be 0: then read the code through WHvTranslateGva. */
typedef struct WHV_MEMORY_ACCESS_CONTEXT {
    UINT8 InstructionByteCount;
    UINT8 Reserved[3];
    UINT8 InstructionBytes[16];
    WHV_MEMORY_ACCESS_INFO AccessInfo;
    WHV_GUEST_PHYSICAL_ADDRESS Gpa;
    WHV_GUEST_VIRTUAL_ADDRESS Gva;
} WHV_MEMORY_ACCESS_CONTEXT;

/* AccessSize is 1, 2 or 4 bytes. */
typedef union WHV_X64_IO_PORT_ACCESS_INFO {
    struct {
        UINT32 IsWrite    : 1;
        UINT32 AccessSize : 3;
        UINT32 StringOp   : 1;
        UINT32 RepPrefix  : 1;
        UINT32 Reserved   : 26;
    };
    UINT32 AsUINT32;
} WHV_X64_IO_PORT_ACCESS_INFO;

typedef struct WHV_X64_IO_PORT_ACCESS_CONTEXT {
    UINT8 InstructionByteCount;
    UINT8 Reserved[3];
    UINT8 InstructionBytes[16];
    WHV_X64_IO_PORT_ACCESS_INFO AccessInfo;
    UINT16 PortNumber;
    UINT16 Reserved2[3];
    UINT64 Rax;
    UINT64 Rcx;
    UINT64 Rsi;
    UINT64 Rdi;
    WHV_X64_SEGMENT_REGISTER Ds;
    WHV_X64_SEGMENT_REGISTER Es;
} WHV_X64_IO_PORT_ACCESS_CONTEXT;

typedef union WHV_X64_MSR_ACCESS_INFO {
    struct {
        UINT32 IsWrite  : 1;
        UINT32 Reserved : 31;
    };
    UINT32 AsUINT32;
} WHV_X64_MSR_ACCESS_INFO;

typedef struct WHV_X64_MSR_ACCESS_CONTEXT {
    WHV_X64_MSR_ACCESS_INFO AccessInfo;
    UINT32 MsrNumber;
    UINT64 Rax;
    UINT64 Rdx;
} WHV_X64_MSR_ACCESS_CONTEXT;

/* Input registers, and the answer that the guest would get without the client. */
typedef struct WHV_X64_CPUID_ACCESS_CONTEXT {
    UINT64 Rax;
    UINT64 Rcx;
    UINT64 Rdx;
    UINT64 Rbx;
    UINT64 DefaultResultRax;
    UINT64 DefaultResultRcx;
    UINT64 DefaultResultRdx;
    UINT64 DefaultResultRbx;
} WHV_X64_CPUID_ACCESS_CONTEXT;

typedef union WHV_VP_EXCEPTION_INFO {
    struct {
        UINT32 ErrorCodeValid    : 1;
        UINT32 SoftwareException : 1;
        UINT32 Reserved          : 30;
    };
    UINT32 AsUINT32;
} WHV_VP_EXCEPTION_INFO;

typedef struct WHV_VP_EXCEPTION_CONTEXT {
    UINT8 InstructionByteCount;
    UINT8 Reserved[3];
    UINT8 InstructionBytes[16];
    WHV_VP_EXCEPTION_INFO ExceptionInfo;
    UINT8 ExceptionType; /* WHV_EXCEPTION_TYPE */
    UINT8 Reserved2[3];
    UINT32 ErrorCode;
    UINT64 ExceptionParameter; /* CR2 of a page fault, DR6-like bits of a debug exception */
} WHV_VP_EXCEPTION_CONTEXT;

/* Reasons of an UnsupportedFeature exit. */
typedef enum WHV_X64_UNSUPPORTED_FEATURE_CODE {
    WHvUnsupportedFeatureIntercept     = 1,
    WHvUnsupportedFeatureTaskSwitchTss = 2,
} WHV_X64_UNSUPPORTED_FEATURE_CODE;

typedef struct WHV_X64_UNSUPPORTED_FEATURE_CONTEXT {
    WHV_X64_UNSUPPORTED_FEATURE_CODE FeatureCode;
    UINT32 Reserved;
    UINT64 FeatureParameter;
} WHV_X64_UNSUPPORTED_FEATURE_CONTEXT;

/* Reasons of a Canceled exit. */
typedef enum WHV_RUN_VP_CANCEL_REASON {
    WHvRunVpCancelReasonUser = 0,
} WHV_RUN_VP_CANCEL_REASON;

#define WhvRunVpCancelReasonUser WHvRunVpCancelReasonUser /* spelling of older headers */

typedef struct WHV_RUN_VP_CANCELED_CONTEXT {
    WHV_RUN_VP_CANCEL_REASON CancelReason;
} WHV_RUN_VP_CANCELED_CONTEXT;

typedef struct WHV_X64_INTERRUPTION_DELIVERABLE_CONTEXT {
    WHV_X64_PENDING_INTERRUPTION_TYPE DeliverableType;
} WHV_X64_INTERRUPTION_DELIVERABLE_CONTEXT;

typedef struct WHV_X64_APIC_EOI_CONTEXT {
    UINT32 InterruptVector;
} WHV_X64_APIC_EOI_CONTEXT;

typedef union WHV_X64_RDTSC_INFO {
    struct {
        UINT64 IsRdtscp : 1;
        UINT64 Reserved : 63;
    };
    UINT64 AsUINT64;
} WHV_X64_RDTSC_INFO;

/* ReferenceTime is in units of 100 ns. */
typedef struct WHV_X64_RDTSC_CONTEXT {
    UINT64 TscAux;
    UINT64 VirtualOffset;
    UINT64 Tsc;
    UINT64 ReferenceTime;
    WHV_X64_RDTSC_INFO RdtscInfo;
} WHV_X64_RDTSC_CONTEXT;

typedef struct WHV_X64_APIC_SMI_CONTEXT {
    UINT64 ApicIcr;
} WHV_X64_APIC_SMI_CONTEXT;

#define WHV_HYPERCALL_CONTEXT_MAX_XMM_REGISTERS 6

/* Registers at a VMCALL or VMMCALL; the client answers by setting registers and advancing Rip. */
typedef struct WHV_X64_HYPERCALL_CONTEXT {
    UINT64 Rax;
    UINT64 Rbx;
    UINT64 Rcx;
    UINT64 Rdx;
    UINT64 R8;
    UINT64 Rsi;
    UINT64 Rdi;
    UINT64 Reserved0;
    WHV_UINT128 XmmRegisters[6];
    UINT64 Reserved1[2];
} WHV_X64_HYPERCALL_CONTEXT;

typedef WHV_X64_HYPERCALL_CONTEXT WHV_HYPERCALL_CONTEXT; /* name of older headers */

typedef struct WHV_X64_APIC_INIT_SIPI_CONTEXT {
    UINT64 ApicIcr;
} WHV_X64_APIC_INIT_SIPI_CONTEXT;

/* APIC registers whose writes can exit, by their offset in the page. */
typedef enum WHV_X64_APIC_WRITE_TYPE {
    WHvX64ApicWriteTypeLdr   = 0x0D0,
    WHvX64ApicWriteTypeDfr   = 0x0E0,
    WHvX64ApicWriteTypeSvr   = 0x0F0,
    WHvX64ApicWriteTypeLint0 = 0x350,
    WHvX64ApicWriteTypeLint1 = 0x360,
} WHV_X64_APIC_WRITE_TYPE;

typedef struct WHV_X64_APIC_WRITE_CONTEXT {
    WHV_X64_APIC_WRITE_TYPE Type;
    UINT32 Reserved;
    UINT64 WriteValue;
} WHV_X64_APIC_WRITE_CONTEXT;

/* Bit n: SINT n can take a message again. */
typedef struct WHV_SYNIC_SINT_DELIVERABLE_CONTEXT {
    UINT16 DeliverableSints;
    UINT16 Reserved1;
    UINT32 Reserved2;
} WHV_SYNIC_SINT_DELIVERABLE_CONTEXT;

/* The exit context. Pass its full size to WHvRunVirtualProcessor. */
typedef struct WHV_RUN_VP_EXIT_CONTEXT {
    WHV_RUN_VP_EXIT_REASON ExitReason;
    UINT32 Reserved;
    WHV_VP_EXIT_CONTEXT VpContext;
    union {
        WHV_MEMORY_ACCESS_CONTEXT MemoryAccess;
        WHV_X64_IO_PORT_ACCESS_CONTEXT IoPortAccess;
        WHV_X64_MSR_ACCESS_CONTEXT MsrAccess;
        WHV_X64_CPUID_ACCESS_CONTEXT CpuidAccess;
        WHV_VP_EXCEPTION_CONTEXT VpException;
        WHV_X64_INTERRUPTION_DELIVERABLE_CONTEXT InterruptWindow;
        WHV_X64_UNSUPPORTED_FEATURE_CONTEXT UnsupportedFeature;
        WHV_RUN_VP_CANCELED_CONTEXT CancelReason;
        WHV_X64_APIC_EOI_CONTEXT ApicEoi;
        WHV_X64_RDTSC_CONTEXT ReadTsc;
        WHV_X64_APIC_SMI_CONTEXT ApicSmi;
        WHV_HYPERCALL_CONTEXT Hypercall;
        WHV_X64_APIC_INIT_SIPI_CONTEXT ApicInitSipi;
        WHV_X64_APIC_WRITE_CONTEXT ApicWrite;
        WHV_SYNIC_SINT_DELIVERABLE_CONTEXT SynicSintDeliverable;
        UINT64 AsUINT64[22];
    };
} WHV_RUN_VP_EXIT_CONTEXT;

/* --------------------------------------------------------------------------------------------- interrupts, SynIC */

/* Delivery modes of WHvRequestInterrupt, in the numbers of the local APIC. */
typedef enum WHV_INTERRUPT_TYPE {
    WHvX64InterruptTypeFixed          = 0,
    WHvX64InterruptTypeLowestPriority = 1,
    WHvX64InterruptTypeNmi            = 4,
    WHvX64InterruptTypeInit           = 5,
    WHvX64InterruptTypeSipi           = 6,
    WHvX64InterruptTypeLocalInt1      = 9,
} WHV_INTERRUPT_TYPE;

/* BareWHP's own: further delivery modes, see WHvRequestInterrupt. */
#define WHvxInterruptTypeSmi       ((WHV_INTERRUPT_TYPE)2)
#define WHvxInterruptTypeExtInt    ((WHV_INTERRUPT_TYPE)7)
#define WHvxInterruptTypeLocalInt0 ((WHV_INTERRUPT_TYPE)8)

typedef enum WHV_INTERRUPT_DESTINATION_MODE {
    WHvX64InterruptDestinationModePhysical = 0,
    WHvX64InterruptDestinationModeLogical  = 1,
} WHV_INTERRUPT_DESTINATION_MODE;

typedef enum WHV_INTERRUPT_TRIGGER_MODE {
    WHvX64InterruptTriggerModeEdge  = 0,
    WHvX64InterruptTriggerModeLevel = 1,
} WHV_INTERRUPT_TRIGGER_MODE;

/* An interrupt message. Destination is an APIC id or a logical destination, by DestinationMode. */
typedef struct WHV_INTERRUPT_CONTROL {
    UINT64 Type            : 8; /* WHV_INTERRUPT_TYPE */
    UINT64 DestinationMode : 4; /* WHV_INTERRUPT_DESTINATION_MODE */
    UINT64 TriggerMode     : 4; /* WHV_INTERRUPT_TRIGGER_MODE */
    UINT64 TargetVtl       : 8;
    UINT64 Reserved        : 40;
    UINT32 Destination;
    UINT32 Vector;
} WHV_INTERRUPT_CONTROL;

/* Event flag FlagNumber (0..2047) of SINT TargetSint (0..15). */
typedef struct WHV_SYNIC_EVENT_PARAMETERS {
    UINT32 VpIndex;
    UINT8 TargetSint;
    WHV_VTL TargetVtl;
    UINT16 FlagNumber;
} WHV_SYNIC_EVENT_PARAMETERS;

/* Most bytes of a message of WHvPostVirtualProcessorSynicMessage. */
#define WHV_SYNIC_MESSAGE_SIZE 256

/* ----------------------------------------------------------------------- doorbells, triggers, notification ports */

/* Which guest stores ring a doorbell. MatchOnValue needs MatchOnLength; Length is 1, 2, 4 or 8 with it. */
typedef struct WHV_DOORBELL_MATCH_DATA {
    WHV_GUEST_PHYSICAL_ADDRESS GuestAddress;
    UINT64 Value;
    UINT32 Length;
    UINT32 MatchOnValue  : 1;
    UINT32 MatchOnLength : 1;
    UINT32 Reserved      : 30;
} WHV_DOORBELL_MATCH_DATA;

/* What a trigger raises. */
typedef enum WHV_TRIGGER_TYPE {
    WHvTriggerTypeInterrupt       = 0, /* Interrupt */
    WHvTriggerTypeSynicEvent      = 1, /* SynicEvent */
    WHvTriggerTypeDeviceInterrupt = 2, /* DeviceInterrupt */
} WHV_TRIGGER_TYPE;

/* A trigger: the union member is chosen by TriggerType. */
typedef struct WHV_TRIGGER_PARAMETERS {
    WHV_TRIGGER_TYPE TriggerType;
    UINT32 Reserved;
    union {
        WHV_INTERRUPT_CONTROL Interrupt;
        WHV_SYNIC_EVENT_PARAMETERS SynicEvent;
        struct {
            UINT64 LogicalDeviceId;
            UINT64 MsiAddress;
            UINT32 MsiData;
            UINT32 Reserved;
        } DeviceInterrupt;
    };
} WHV_TRIGGER_PARAMETERS;

/* What a notification port listens to. */
typedef enum WHV_NOTIFICATION_PORT_TYPE {
    WHvNotificationPortTypeEvent    = 2, /* HvCallSignalEvent on Event.ConnectionId */
    WHvNotificationPortTypeDoorbell = 4, /* stores that match Doorbell */
} WHV_NOTIFICATION_PORT_TYPE;

/* A notification port: the union member is chosen by NotificationPortType. */
typedef struct WHV_NOTIFICATION_PORT_PARAMETERS {
    WHV_NOTIFICATION_PORT_TYPE NotificationPortType;
    UINT16 Reserved;
    UINT8 Reserved1;
    WHV_VTL ConnectionVtl;
    union {
        WHV_DOORBELL_MATCH_DATA Doorbell;
        struct {
            UINT32 ConnectionId;
        } Event;
    };
} WHV_NOTIFICATION_PORT_PARAMETERS;

/* PreferredTargetVp defaults to WHV_ANY_VP; PreferredTargetDuration is in units of 100 ns. */
typedef enum WHV_NOTIFICATION_PORT_PROPERTY_CODE {
    WHvNotificationPortPropertyPreferredTargetVp       = 1,
    WHvNotificationPortPropertyPreferredTargetDuration = 5,
} WHV_NOTIFICATION_PORT_PROPERTY_CODE;

#define WHV_ANY_VP                                   0xFFFFFFFF
#define WHV_NOTIFICATION_PORT_PREFERRED_DURATION_MAX 0xFFFFFFFFFFFFFFFFULL

/* -------------------------------------------------------------------------------------------- virtual processors */

typedef enum WHV_VIRTUAL_PROCESSOR_PROPERTY_CODE {
    WHvVirtualProcessorPropertyCodeNumaNode = 0,
} WHV_VIRTUAL_PROCESSOR_PROPERTY_CODE;

/* A property for WHvCreateVirtualProcessor2. */
typedef struct WHV_VIRTUAL_PROCESSOR_PROPERTY {
    WHV_VIRTUAL_PROCESSOR_PROPERTY_CODE PropertyCode;
    UINT32 Reserved;
    union {
        USHORT NumaNode;
        UINT64 Padding;
    };
} WHV_VIRTUAL_PROCESSOR_PROPERTY;

/* State blobs of WHvGetVirtualProcessorState, with their sizes in bytes. */
typedef enum WHV_VIRTUAL_PROCESSOR_STATE_TYPE {
    WHvVirtualProcessorStateTypeSynicMessagePage          = 0x0000, /* 4096 */
    WHvVirtualProcessorStateTypeSynicEventFlagPage        = 0x0001, /* 4096 */
    WHvVirtualProcessorStateTypeSynicTimerState           = 0x0002, /* 200 */
    WHvVirtualProcessorStateTypeInterruptControllerState2 = 0x1000, /* 4096 */
    WHvVirtualProcessorStateTypeXsaveState                = 0x1001, /* depends on the CPU: ask */
    WHvVirtualProcessorStateTypeNestedState               = 0x1002, /* 8192 */
} WHV_VIRTUAL_PROCESSOR_STATE_TYPE;

/* ------------------------------------------------------------------------------------------------------ counters */

/* Codes of WHvGetPartitionCounters. */
typedef enum WHV_PARTITION_COUNTER_SET {
    WHvPartitionCounterSetMemory = 0, /* WHV_PARTITION_MEMORY_COUNTERS */
} WHV_PARTITION_COUNTER_SET;

typedef struct WHV_PARTITION_MEMORY_COUNTERS {
    UINT64 Mapped4KPageCount;
    UINT64 Mapped2MPageCount;
    UINT64 Mapped1GPageCount;
} WHV_PARTITION_MEMORY_COUNTERS;

/* Codes of WHvGetVirtualProcessorCounters. Counters only grow; times are in units of 100 ns. */
typedef enum WHV_PROCESSOR_COUNTER_SET {
    WHvProcessorCounterSetRuntime           = 0, /* WHV_PROCESSOR_RUNTIME_COUNTERS */
    WHvProcessorCounterSetIntercepts        = 1, /* WHV_PROCESSOR_ACTIVITY_COUNTERS */
    WHvProcessorCounterSetEvents            = 2, /* WHV_PROCESSOR_GUEST_EVENT_COUNTERS */
    WHvProcessorCounterSetApic              = 3, /* WHV_PROCESSOR_APIC_COUNTERS */
    WHvProcessorCounterSetSyntheticFeatures = 4, /* WHV_PROCESSOR_SYNTHETIC_FEATURES_COUNTERS */
} WHV_PROCESSOR_COUNTER_SET;

typedef struct WHV_PROCESSOR_RUNTIME_COUNTERS {
    UINT64 TotalRuntime100ns;
    UINT64 HypervisorRuntime100ns;
} WHV_PROCESSOR_RUNTIME_COUNTERS;

typedef struct WHV_PROCESSOR_INTERCEPT_COUNTER {
    UINT64 Count;
    UINT64 Time100ns;
} WHV_PROCESSOR_INTERCEPT_COUNTER;

typedef struct WHV_PROCESSOR_ACTIVITY_COUNTERS {
    WHV_PROCESSOR_INTERCEPT_COUNTER PageInvalidations;
    WHV_PROCESSOR_INTERCEPT_COUNTER ControlRegisterAccesses;
    WHV_PROCESSOR_INTERCEPT_COUNTER IoInstructions;
    WHV_PROCESSOR_INTERCEPT_COUNTER HaltInstructions;
    WHV_PROCESSOR_INTERCEPT_COUNTER CpuidInstructions;
    WHV_PROCESSOR_INTERCEPT_COUNTER MsrAccesses;
    WHV_PROCESSOR_INTERCEPT_COUNTER OtherIntercepts;
    WHV_PROCESSOR_INTERCEPT_COUNTER PendingInterrupts;
    WHV_PROCESSOR_INTERCEPT_COUNTER EmulatedInstructions;
    WHV_PROCESSOR_INTERCEPT_COUNTER DebugRegisterAccesses;
    WHV_PROCESSOR_INTERCEPT_COUNTER PageFaultIntercepts;
    WHV_PROCESSOR_INTERCEPT_COUNTER NestedPageFaultIntercepts;
    WHV_PROCESSOR_INTERCEPT_COUNTER Hypercalls;
    WHV_PROCESSOR_INTERCEPT_COUNTER RdpmcInstructions;
} WHV_PROCESSOR_ACTIVITY_COUNTERS;

typedef struct WHV_PROCESSOR_GUEST_EVENT_COUNTERS {
    UINT64 PageFaultCount;
    UINT64 ExceptionCount;
    UINT64 InterruptCount;
} WHV_PROCESSOR_GUEST_EVENT_COUNTERS;

typedef struct WHV_PROCESSOR_APIC_COUNTERS {
    UINT64 MmioAccessCount;
    UINT64 EoiAccessCount;
    UINT64 TprAccessCount;
    UINT64 SentIpiCount;
    UINT64 SelfIpiCount;
} WHV_PROCESSOR_APIC_COUNTERS;

typedef struct WHV_PROCESSOR_SYNTHETIC_FEATURES_COUNTERS {
    UINT64 SyntheticInterruptsCount;
    UINT64 LongSpinWaitHypercallsCount;
    UINT64 OtherHypercallsCount;
    UINT64 SyntheticInterruptHypercallsCount;
    UINT64 VirtualInterruptHypercallsCount;
    UINT64 VirtualMmuHypercallsCount;
} WHV_PROCESSOR_SYNTHETIC_FEATURES_COUNTERS;

/* --------------------------------------------------------------------------------------------------- virtual PCI */

#define WHV_MAX_DEVICE_ID_SIZE_IN_CHARS 200
#define WHV_VPCI_TYPE0_BAR_COUNT        6

/* Flags of WHvAllocateVpciResource. */
typedef enum WHV_ALLOCATE_VPCI_RESOURCE_FLAGS {
    WHvAllocateVpciResourceFlagNone           = 0,
    WHvAllocateVpciResourceFlagAllowDirectP2P = 1,
} WHV_ALLOCATE_VPCI_RESOURCE_FLAGS;

/* Names a virtual function of a host device. */
typedef struct WHV_SRIOV_RESOURCE_DESCRIPTOR {
    WCHAR PnpInstanceId[WHV_MAX_DEVICE_ID_SIZE_IN_CHARS];
    LUID VirtualFunctionId;
    UINT16 VirtualFunctionIndex;
    UINT16 Reserved;
} WHV_SRIOV_RESOURCE_DESCRIPTOR;

/* Flags of WHvCreateVpciDevice. */
typedef enum WHV_CREATE_VPCI_DEVICE_FLAGS {
    WHvCreateVpciDeviceFlagNone                 = 0,
    WHvCreateVpciDeviceFlagPhysicallyBacked     = 1, /* a passed-through device */
    WHvCreateVpciDeviceFlagUseLogicalInterrupts = 2, /* interrupts come by WHvRequestVpciDeviceInterrupt */
} WHV_CREATE_VPCI_DEVICE_FLAGS;

/* Undefined means that the queue is empty. */
typedef enum WHV_VPCI_DEVICE_NOTIFICATION_TYPE {
    WHvVpciDeviceNotificationUndefined       = 0,
    WHvVpciDeviceNotificationMmioRemapping   = 1,
    WHvVpciDeviceNotificationSurpriseRemoval = 2,
} WHV_VPCI_DEVICE_NOTIFICATION_TYPE;

typedef struct WHV_VPCI_DEVICE_NOTIFICATION {
    WHV_VPCI_DEVICE_NOTIFICATION_TYPE NotificationType;
    UINT32 Reserved1;
    UINT64 Reserved2;
} WHV_VPCI_DEVICE_NOTIFICATION;

/* Codes of WHvGetVpciDeviceProperty. */
typedef enum WHV_VPCI_DEVICE_PROPERTY_CODE {
    WHvVpciDevicePropertyCodeUndefined   = 0,
    WHvVpciDevicePropertyCodeHardwareIDs = 1, /* WHV_VPCI_HARDWARE_IDS */
    WHvVpciDevicePropertyCodeProbedBARs  = 2, /* WHV_VPCI_PROBED_BARS */
} WHV_VPCI_DEVICE_PROPERTY_CODE;

typedef struct WHV_VPCI_HARDWARE_IDS {
    UINT16 VendorID;
    UINT16 DeviceID;
    UINT8 RevisionID;
    UINT8 ProgIf;
    UINT8 SubClass;
    UINT8 BaseClass;
    UINT16 SubVendorID;
    UINT16 SubSystemID;
} WHV_VPCI_HARDWARE_IDS;

/* What each BAR reads after all ones were written to it. */
typedef struct WHV_VPCI_PROBED_BARS {
    UINT32 Value[6];
} WHV_VPCI_PROBED_BARS;

/* Configuration space or one of the BARs. */
typedef enum WHV_VPCI_DEVICE_REGISTER_SPACE {
    WHvVpciConfigSpace = -1,
    WHvVpciBar0        = 0,
    WHvVpciBar1        = 1,
    WHvVpciBar2        = 2,
    WHvVpciBar3        = 3,
    WHvVpciBar4        = 4,
    WHvVpciBar5        = 5,
} WHV_VPCI_DEVICE_REGISTER_SPACE;

/* SizeInBytes is 1, 2, 4 or 8. */
typedef struct WHV_VPCI_DEVICE_REGISTER {
    WHV_VPCI_DEVICE_REGISTER_SPACE Location;
    UINT32 SizeInBytes;
    UINT64 OffsetInBytes;
} WHV_VPCI_DEVICE_REGISTER;

/* Accesses that may be passed through to the range. */
typedef enum WHV_VPCI_MMIO_RANGE_FLAGS {
    WHvVpciMmioRangeFlagReadAccess  = 1,
    WHvVpciMmioRangeFlagWriteAccess = 2,
} WHV_VPCI_MMIO_RANGE_FLAGS;

/* One piece of a BAR, mapped at VirtualAddress. */
typedef struct WHV_VPCI_MMIO_MAPPING {
    WHV_VPCI_DEVICE_REGISTER_SPACE Location;
    WHV_VPCI_MMIO_RANGE_FLAGS Flags;
    UINT64 SizeInBytes;
    UINT64 OffsetInBytes;
    PVOID VirtualAddress;
} WHV_VPCI_MMIO_MAPPING;

typedef enum WHV_VPCI_INTERRUPT_TARGET_FLAGS {
    WHvVpciInterruptTargetFlagNone      = 0,
    WHvVpciInterruptTargetFlagMulticast = 1,
} WHV_VPCI_INTERRUPT_TARGET_FLAGS;

/* ProcessorCount virtual processor indexes follow in Processors: 12 + 4 * ProcessorCount bytes in all. */
typedef struct WHV_VPCI_INTERRUPT_TARGET {
    UINT32 Vector;
    WHV_VPCI_INTERRUPT_TARGET_FLAGS Flags;
    UINT32 ProcessorCount;
    UINT32 Processors[1];
} WHV_VPCI_INTERRUPT_TARGET;

/* ------------------------------------------------------------------ virtual trust levels; no function uses these */

typedef union WHV_VTL_PERMISSION_SET {
    UINT16 VtlPermissionFrom1[2];
    UINT32 AsUINT32;
} WHV_VTL_PERMISSION_SET;

typedef union WHV_ENABLE_PARTITION_VTL_FLAGS {
    struct {
        UINT8 EnableMbec                  : 1;
        UINT8 EnableSupervisorShadowStack : 1;
        UINT8 EnableHardwareHvpt          : 1;
        UINT8 Reserved                    : 5;
    };
    UINT8 AsUINT8;
} WHV_ENABLE_PARTITION_VTL_FLAGS;

typedef union WHV_DISABLE_PARTITION_VTL_FLAGS {
    struct {
        UINT8 ScrubOnly : 1;
        UINT8 Reserved  : 7;
    };
    UINT8 AsUINT8;
} WHV_DISABLE_PARTITION_VTL_FLAGS;

typedef union WHV_DISABLE_VP_VTL_FLAGS {
    struct {
        UINT8 ScrubOnly : 1;
        UINT8 Reserved  : 7;
    };
    UINT8 AsUINT8;
} WHV_DISABLE_VP_VTL_FLAGS;

typedef struct WHV_INITIAL_VP_CONTEXT {
    UINT64 Rip;
    UINT64 Rsp;
    UINT64 Rflags;
    WHV_X64_SEGMENT_REGISTER Cs;
    WHV_X64_SEGMENT_REGISTER Ds;
    WHV_X64_SEGMENT_REGISTER Es;
    WHV_X64_SEGMENT_REGISTER Fs;
    WHV_X64_SEGMENT_REGISTER Gs;
    WHV_X64_SEGMENT_REGISTER Ss;
    WHV_X64_SEGMENT_REGISTER Tr;
    WHV_X64_SEGMENT_REGISTER Ldtr;
    WHV_X64_TABLE_REGISTER Idtr;
    WHV_X64_TABLE_REGISTER Gdtr;
    UINT64 Efer;
    UINT64 Cr0;
    UINT64 Cr3;
    UINT64 Cr4;
    UINT64 MsrCrPat;
} WHV_INITIAL_VP_CONTEXT;

/* -------------------------------------------------------------------------------------------- nested state blobs */

/* Vendor of a nested state blob. */
typedef enum WHV_NESTED_STATE_TYPE {
    WHvNestedStateTypeVmx = 0,
    WHvNestedStateTypeSvm = 1,
} WHV_NESTED_STATE_TYPE;

typedef struct WHV_NESTED_ENLIGHTENMENTS_CONTROL {
    union {
        struct {
            UINT32 DirectHypercall         : 1;
            UINT32 VirtualizationException : 1;
            UINT32 Reserved                : 30;
        };
        UINT32 AsUINT32;
    } Features;
    union {
        struct {
            UINT32 InterPartitionCommunication : 1;
            UINT32 Reserved                    : 31;
        };
        UINT32 AsUINT32;
    } HypercallControls;
} WHV_NESTED_ENLIGHTENMENTS_CONTROL;

typedef struct DECLSPEC_ALIGN(4096) WHV_X64_VMX_NESTED_STATE {
    WHV_NESTED_STATE_TYPE Vendor;
    struct {
        UINT32 GuestMode          : 1;
        UINT32 Vmxon              : 1;
        UINT32 CurrentVmcsValid   : 1;
        UINT32 VmEntryPending     : 1;
        UINT32 VmcsEnlightened    : 1;
        UINT32 EnlightenedVmEntry : 1;
        UINT32 Reserved           : 26;
    } Flags;
    WHV_NESTED_ENLIGHTENMENTS_CONTROL NestedEnlightenmentsControl;
    UINT64 Pdpt[4];
    UINT64 VmxonRegionGpa;
    UINT64 VmcsGpa;
    UINT64 CurrentEnlightenedVmcs;
    struct {
        UINT32 Tpr;
        UINT32 Ppr;
        UINT32 Isr[8];
        UINT32 Irr[8];
        UINT32 IcrLow;
        UINT32 IcrHigh;
    } VirtualApicRegs;
    UINT8 Reserved[3944];
    UINT8 VmcsBytes[4096];
} WHV_X64_VMX_NESTED_STATE;

#pragma pack(push, 1)
typedef struct WHV_SVM_VMCB_SELECTOR {
    UINT16 Selector;
    UINT16 Attrib;
    UINT32 Limit;
    UINT64 Base;
} WHV_SVM_VMCB_SELECTOR;
#pragma pack(pop)

typedef struct WHV_SVM_NESTED_HOST_STATE {
    UINT64 Rip;
    UINT64 Rsp;
    UINT64 Rflags;
    UINT64 Rax;
    WHV_SVM_VMCB_SELECTOR Es;
    WHV_SVM_VMCB_SELECTOR Cs;
    WHV_SVM_VMCB_SELECTOR Ss;
    WHV_SVM_VMCB_SELECTOR Ds;
    WHV_SVM_VMCB_SELECTOR Gdtr;
    WHV_SVM_VMCB_SELECTOR Idtr;
    UINT64 Efer;
    UINT64 Cr0;
    UINT64 Cr3;
    UINT64 Cr4;
    UINT64 VirtualTpr;
    UINT64 Reserved[6];
} WHV_SVM_NESTED_HOST_STATE;

typedef struct DECLSPEC_ALIGN(4096) WHV_X64_SVM_NESTED_STATE {
    WHV_NESTED_STATE_TYPE Vendor;
    struct {
        UINT32 GuestMode        : 1;
        UINT32 VmEntryPending   : 1;
        UINT32 HostSaveGpaValid : 1;
        UINT32 CurrentVmcbValid : 1;
        UINT32 Reserved         : 28;
    } Flags;
    WHV_NESTED_ENLIGHTENMENTS_CONTROL NestedEnlightenmentsControl;
    UINT64 HostSaveGpa;
    UINT64 VmControlMsr;
    UINT64 VirtualTscRatioMsr;
    UINT64 VmcbGpa;
    WHV_SVM_NESTED_HOST_STATE HostState;
    UINT8 Reserved[3832];
    UINT8 VmcbBytes[4096];
} WHV_X64_SVM_NESTED_STATE;

typedef union WHV_X64_NESTED_STATE {
    WHV_X64_VMX_NESTED_STATE Vmx;
    WHV_X64_SVM_NESTED_STATE Svm;
} WHV_X64_NESTED_STATE;

#ifdef __GNUC__
#pragma GCC diagnostic pop
#endif

#ifdef __cplusplus
}
#endif

#endif
