/* SPDX-License-Identifier: MIT */
/* The bits inside VMCS fields: controls, exit reasons, qualifications, event words. Facts only, in the manual's order.
 */
#ifndef VMX_BITS_H
#define VMX_BITS_H

#include <hv/base/bits.h>

/* SDM 3C 25.6.1: pin-based VM-execution controls */
#define PIN_EXTERNAL_INTR    BIT64(0)
#define PIN_NMI              BIT64(3)
#define PIN_VIRTUAL_NMIS     BIT64(5)
#define PIN_PREEMPTION_TIMER BIT64(6)
#define PIN_POSTED_INTR      BIT64(7)

/* SDM 3C 25.6.2: primary processor-based VM-execution controls */
#define CPU_INTR_WINDOW    BIT64(2)
#define CPU_TSC_OFFSETTING BIT64(3)
#define CPU_HLT            BIT64(7)
#define CPU_INVLPG         BIT64(9)
#define CPU_MWAIT          BIT64(10)
#define CPU_RDPMC          BIT64(11)
#define CPU_RDTSC          BIT64(12)
#define CPU_CR3_LOAD       BIT64(15)
#define CPU_CR3_STORE      BIT64(16)
#define CPU_ACTIVATE_CPU3  BIT64(17)
#define CPU_CR8_LOAD       BIT64(19)
#define CPU_CR8_STORE      BIT64(20)
#define CPU_TPR_SHADOW     BIT64(21)
#define CPU_NMI_WINDOW     BIT64(22)
#define CPU_MOV_DR         BIT64(23)
#define CPU_UNCOND_IO      BIT64(24)
#define CPU_IO_BITMAPS     BIT64(25)
#define CPU_MONITOR_TRAP   BIT64(27)
#define CPU_MSR_BITMAPS    BIT64(28)
#define CPU_MONITOR        BIT64(29)
#define CPU_PAUSE          BIT64(30)
#define CPU_ACTIVATE_CPU2  BIT64(31)

/* SDM 3C 25.6.2: secondary processor-based VM-execution controls */
#define CPU2_VIRT_APIC_ACCESSES BIT64(0)
#define CPU2_EPT                BIT64(1)
#define CPU2_DESCRIPTOR_TABLE   BIT64(2)
#define CPU2_RDTSCP             BIT64(3)
#define CPU2_VIRT_X2APIC        BIT64(4)
#define CPU2_VPID               BIT64(5)
#define CPU2_WBINVD             BIT64(6)
#define CPU2_UNRESTRICTED_GUEST BIT64(7)
#define CPU2_APIC_REGISTER_VIRT BIT64(8)
#define CPU2_VIRT_INTR_DELIVERY BIT64(9)
#define CPU2_PAUSE_LOOP         BIT64(10)
#define CPU2_RDRAND             BIT64(11)
#define CPU2_INVPCID            BIT64(12)
#define CPU2_VMFUNC             BIT64(13)
#define CPU2_VMCS_SHADOWING     BIT64(14)
#define CPU2_ENCLS              BIT64(15)
#define CPU2_RDSEED             BIT64(16)
#define CPU2_PML                BIT64(17)
#define CPU2_EPT_VIOLATION_VE   BIT64(18)
#define CPU2_PT_CONCEAL         BIT64(19)
#define CPU2_XSAVES             BIT64(20)
#define CPU2_PASID_TRANSLATION  BIT64(21)
#define CPU2_MODE_BASED_EXEC    BIT64(22)
#define CPU2_SUB_PAGE_WRITE     BIT64(23)
#define CPU2_PT_GUEST_PHYS      BIT64(24)
#define CPU2_TSC_SCALING        BIT64(25)
#define CPU2_USER_WAIT          BIT64(26)
#define CPU2_PCONFIG            BIT64(27)
#define CPU2_ENCLV              BIT64(28)
#define CPU2_VMM_BUS_LOCK       BIT64(30)
#define CPU2_INSTR_TIMEOUT      BIT64(31)

/* SDM 3C 25.6.2: tertiary processor-based VM-execution controls */
#define CPU3_LOADIWKEY           BIT64(0)
#define CPU3_HLAT                BIT64(1)
#define CPU3_EPT_PAGING_WRITE    BIT64(2)
#define CPU3_GUEST_PAGING_VERIFY BIT64(3)
#define CPU3_IPI_VIRT            BIT64(4)
#define CPU3_VIRT_SPEC_CTRL      BIT64(7)

/* SDM 3C 25.6.14: VM-function controls */
#define VMFUNC_EPTP_SWITCHING BIT64(0)

/* SDM 3C 25.7.1: VM-exit controls */
#define EXIT_SAVE_DEBUG            BIT64(2)
#define EXIT_HOST_64BIT            BIT64(9) /* host address-space size */
#define EXIT_LOAD_PERF_GLOBAL      BIT64(12)
#define EXIT_ACK_INTR              BIT64(15)
#define EXIT_SAVE_PAT              BIT64(18)
#define EXIT_LOAD_PAT              BIT64(19)
#define EXIT_SAVE_EFER             BIT64(20)
#define EXIT_LOAD_EFER             BIT64(21)
#define EXIT_SAVE_PREEMPTION_TIMER BIT64(22)
#define EXIT_CLEAR_BNDCFGS         BIT64(23)
#define EXIT_PT_CONCEAL            BIT64(24)
#define EXIT_CLEAR_RTIT_CTL        BIT64(25)
#define EXIT_CLEAR_LBR_CTL         BIT64(26)
#define EXIT_CLEAR_UINV            BIT64(27)
#define EXIT_LOAD_CET              BIT64(28)
#define EXIT_LOAD_PKRS             BIT64(29)
#define EXIT_SAVE_PERF_GLOBAL      BIT64(30)
#define EXIT_ACTIVATE_EXIT2        BIT64(31)

/* SDM 3C 25.8.1: VM-entry controls */
#define ENTRY_LOAD_DEBUG       BIT64(2)
#define ENTRY_GUEST_64BIT      BIT64(9) /* IA-32e mode guest */
#define ENTRY_SMM              BIT64(10)
#define ENTRY_NO_DUAL_MONITOR  BIT64(11) /* deactivate dual-monitor treatment */
#define ENTRY_LOAD_PERF_GLOBAL BIT64(13)
#define ENTRY_LOAD_PAT         BIT64(14)
#define ENTRY_LOAD_EFER        BIT64(15)
#define ENTRY_LOAD_BNDCFGS     BIT64(16)
#define ENTRY_PT_CONCEAL       BIT64(17)
#define ENTRY_LOAD_RTIT_CTL    BIT64(18)
#define ENTRY_LOAD_UINV        BIT64(19)
#define ENTRY_LOAD_CET         BIT64(20)
#define ENTRY_LOAD_LBR_CTL     BIT64(21)
#define ENTRY_LOAD_PKRS        BIT64(22)

/* SDM 3C 25.9.1: the exit-reason word */
#define EXIT_REASON_BASIC         BITS64(15, 0)
#define EXIT_REASON_BUS_LOCK_FLAG BIT64(26)
#define EXIT_REASON_ENCLAVE       BIT64(27)
#define EXIT_REASON_PENDING_MTF   BIT64(28)
#define EXIT_REASON_FROM_ROOT     BIT64(29)
#define EXIT_REASON_ENTRY_FAILED  BIT64(31)

/* SDM 3D appendix C: basic exit reasons */
#define EXIT_REASON_EXCEPTION_NMI     0u
#define EXIT_REASON_EXTERNAL_INTR     1u
#define EXIT_REASON_TRIPLE_FAULT      2u
#define EXIT_REASON_INIT              3u
#define EXIT_REASON_SIPI              4u
#define EXIT_REASON_IO_SMI            5u
#define EXIT_REASON_OTHER_SMI         6u
#define EXIT_REASON_INTR_WINDOW       7u
#define EXIT_REASON_NMI_WINDOW        8u
#define EXIT_REASON_TASK_SWITCH       9u
#define EXIT_REASON_CPUID             10u
#define EXIT_REASON_GETSEC            11u
#define EXIT_REASON_HLT               12u
#define EXIT_REASON_INVD              13u
#define EXIT_REASON_INVLPG            14u
#define EXIT_REASON_RDPMC             15u
#define EXIT_REASON_RDTSC             16u
#define EXIT_REASON_RSM               17u
#define EXIT_REASON_VMCALL            18u
#define EXIT_REASON_VMCLEAR           19u
#define EXIT_REASON_VMLAUNCH          20u
#define EXIT_REASON_VMPTRLD           21u
#define EXIT_REASON_VMPTRST           22u
#define EXIT_REASON_VMREAD            23u
#define EXIT_REASON_VMRESUME          24u
#define EXIT_REASON_VMWRITE           25u
#define EXIT_REASON_VMXOFF            26u
#define EXIT_REASON_VMXON             27u
#define EXIT_REASON_CR_ACCESS         28u
#define EXIT_REASON_MOV_DR            29u
#define EXIT_REASON_IO                30u
#define EXIT_REASON_RDMSR             31u
#define EXIT_REASON_WRMSR             32u
#define EXIT_REASON_ENTRY_GUEST_STATE 33u
#define EXIT_REASON_ENTRY_MSR_LOAD    34u
#define EXIT_REASON_MWAIT             36u
#define EXIT_REASON_MONITOR_TRAP      37u
#define EXIT_REASON_MONITOR           39u
#define EXIT_REASON_PAUSE             40u
#define EXIT_REASON_ENTRY_MCE         41u
#define EXIT_REASON_TPR_BELOW         43u
#define EXIT_REASON_APIC_ACCESS       44u
#define EXIT_REASON_VIRTUAL_EOI       45u
#define EXIT_REASON_GDTR_IDTR         46u
#define EXIT_REASON_LDTR_TR           47u
#define EXIT_REASON_EPT_VIOLATION     48u
#define EXIT_REASON_EPT_MISCONFIG     49u
#define EXIT_REASON_INVEPT            50u
#define EXIT_REASON_RDTSCP            51u
#define EXIT_REASON_PREEMPTION_TIMER  52u
#define EXIT_REASON_INVVPID           53u
#define EXIT_REASON_WBINVD            54u
#define EXIT_REASON_XSETBV            55u
#define EXIT_REASON_APIC_WRITE        56u
#define EXIT_REASON_RDRAND            57u
#define EXIT_REASON_INVPCID           58u
#define EXIT_REASON_VMFUNC            59u
#define EXIT_REASON_ENCLS             60u
#define EXIT_REASON_RDSEED            61u
#define EXIT_REASON_PML_FULL          62u
#define EXIT_REASON_XSAVES            63u
#define EXIT_REASON_XRSTORS           64u
#define EXIT_REASON_PCONFIG           65u
#define EXIT_REASON_SPP               66u
#define EXIT_REASON_UMWAIT            67u
#define EXIT_REASON_TPAUSE            68u
#define EXIT_REASON_LOADIWKEY         69u
#define EXIT_REASON_ENCLV             70u
#define EXIT_REASON_ENQCMD_PASID      72u
#define EXIT_REASON_ENQCMDS_PASID     73u
#define EXIT_REASON_BUS_LOCK          74u
#define EXIT_REASON_NOTIFY            75u /* instruction timeout */
#define EXIT_REASON_COUNT             76u

/* SDM 3C 25.8.3, 25.9.2, 25.9.3: interruption information of entry, exit and IDT vectoring */
#define INTR_INFO_VECTOR      BITS64(7, 0)
#define INTR_INFO_TYPE        BITS64(10, 8)
#define INTR_INFO_ERROR_VALID BIT64(11)
#define INTR_INFO_NMI_UNBLOCK BIT64(12) /* exits: NMI unblocking due to IRET */
#define INTR_INFO_VALID       BIT64(31)
#define INTR_INFO_RESERVED    BITS64(30, 12) /* of the entry's word */

#define INTR_TYPE_EXTERNAL     0u
#define INTR_TYPE_RESERVED     1u
#define INTR_TYPE_NMI          2u
#define INTR_TYPE_HW_EXCEPTION 3u
#define INTR_TYPE_SW_INTR      4u
#define INTR_TYPE_PRIV_SW_EXC  5u /* INT1 */
#define INTR_TYPE_SW_EXCEPTION 6u /* INT3, INTO */
#define INTR_TYPE_OTHER        7u /* entry: pending MTF exit */

/* SDM 3C 28.2.1, table 28-1: qualification of debug exceptions; also 25.4.2: pending debug exceptions */
#define QUAL_DB_BP         BITS64(3, 0)
#define QUAL_DB_BUS_LOCK   BIT64(11)
#define QUAL_DB_ENABLED_BP BIT64(12) /* pending debug exceptions only */
#define QUAL_DB_BD         BIT64(13)
#define QUAL_DB_BS         BIT64(14)
#define QUAL_DB_RTM        BIT64(16)

/* SDM 3C table 28-2: task switch */
#define QUAL_TASK_SELECTOR BITS64(15, 0)
#define QUAL_TASK_SOURCE   BITS64(31, 30)
#define TASK_SOURCE_CALL   0u
#define TASK_SOURCE_IRET   1u
#define TASK_SOURCE_JMP    2u
#define TASK_SOURCE_IDT    3u

/* SDM 3C table 28-3: control-register accesses */
#define QUAL_CR_NUMBER     BITS64(3, 0)
#define QUAL_CR_TYPE       BITS64(5, 4)
#define QUAL_CR_LMSW_MEM   BIT64(6)
#define QUAL_CR_GPR        BITS64(11, 8)
#define QUAL_CR_LMSW_VALUE BITS64(31, 16)
#define CR_TYPE_MOV_TO     0u
#define CR_TYPE_MOV_FROM   1u
#define CR_TYPE_CLTS       2u
#define CR_TYPE_LMSW       3u

/* SDM 3C table 28-4: MOV DR */
#define QUAL_DR_NUMBER BITS64(2, 0)
#define QUAL_DR_READ   BIT64(4) /* MOV from DR */
#define QUAL_DR_GPR    BITS64(11, 8)

/* SDM 3C table 28-5: I/O instructions */
#define QUAL_IO_SIZE      BITS64(2, 0) /* 0, 1, 3: one, two, four bytes */
#define QUAL_IO_IN        BIT64(3)
#define QUAL_IO_STRING    BIT64(4)
#define QUAL_IO_REP       BIT64(5)
#define QUAL_IO_IMMEDIATE BIT64(6)
#define QUAL_IO_PORT      BITS64(31, 16)

/* SDM 3C table 28-6: APIC access */
#define QUAL_APIC_OFFSET       BITS64(11, 0)
#define QUAL_APIC_TYPE         BITS64(15, 12)
#define QUAL_APIC_ASYNC        BIT64(16)
#define APIC_ACCESS_READ       0u
#define APIC_ACCESS_WRITE      1u
#define APIC_ACCESS_FETCH      2u
#define APIC_ACCESS_EVENT      3u
#define APIC_ACCESS_PHYS_EVENT 10u
#define APIC_ACCESS_PHYS       15u

/* SDM 3C table 28-7: EPT violation */
#define QUAL_EPT_READ          BIT64(0)
#define QUAL_EPT_WRITE         BIT64(1)
#define QUAL_EPT_FETCH         BIT64(2)
#define QUAL_EPT_WAS_READ      BIT64(3)
#define QUAL_EPT_WAS_WRITE     BIT64(4)
#define QUAL_EPT_WAS_EXEC      BIT64(5)
#define QUAL_EPT_WAS_USER_EXEC BIT64(6)
#define QUAL_EPT_PRESENT       (QUAL_EPT_WAS_READ | QUAL_EPT_WAS_WRITE | QUAL_EPT_WAS_EXEC)
#define QUAL_EPT_LINEAR_VALID  BIT64(7)
#define QUAL_EPT_TRANSLATED    BIT64(8) /* 1: the access itself, 0: a paging-structure access; if linear valid */
#define QUAL_EPT_LINEAR_USER   BIT64(9)
#define QUAL_EPT_LINEAR_WRITE  BIT64(10)
#define QUAL_EPT_LINEAR_NX     BIT64(11)
#define QUAL_EPT_NMI_UNBLOCK   BIT64(12)
#define QUAL_EPT_SHADOW_STACK  BIT64(13)
#define QUAL_EPT_ASYNC         BIT64(16)

/* SDM 3C 28.2.1: PML full, SPP, notify and others report NMI unblocking here */
#define QUAL_NMI_UNBLOCK BIT64(12)
#define QUAL_SIPI_VECTOR BITS64(7, 0)
#define QUAL_EOI_VECTOR  BITS64(7, 0)

/* SDM 3C 27.8: qualification of a VM entry that failed on guest state */
#define QUAL_ENTRY_PDPTE        2u
#define QUAL_ENTRY_NMI          3u
#define QUAL_ENTRY_LINK_POINTER 4u

/* SDM 3C 28.2.5: instruction information of the descriptor-table, VMX, INVPCID, XSAVES exits (memory operand) */
#define INFO_SCALING      BITS64(1, 0)
#define INFO_REG1         BITS64(6, 3)
#define INFO_ADDRESS_SIZE BITS64(9, 7)
#define INFO_IS_REGISTER  BIT64(10)
#define INFO_OPERAND_SIZE BIT64(11)
#define INFO_SEGMENT      BITS64(17, 15)
#define INFO_INDEX        BITS64(21, 18)
#define INFO_INDEX_NONE   BIT64(22)
#define INFO_BASE         BITS64(26, 23)
#define INFO_BASE_NONE    BIT64(27)
#define INFO_REG2         BITS64(31, 28)
#define INFO_DT_IDENTITY  BITS64(29, 28) /* 0 SGDT 1 SIDT 2 LGDT 3 LIDT; or SLDT STR LLDT LTR */

/* SDM 3C 25.4.2: activity states */
#define ACTIVITY_ACTIVE    0u
#define ACTIVITY_HLT       1u
#define ACTIVITY_SHUTDOWN  2u
#define ACTIVITY_WAIT_SIPI 3u

/* SDM 3C 25.4.2: interruptibility state */
#define INTERRUPTIBILITY_STI      BIT64(0)
#define INTERRUPTIBILITY_MOV_SS   BIT64(1)
#define INTERRUPTIBILITY_SMI      BIT64(2)
#define INTERRUPTIBILITY_NMI      BIT64(3)
#define INTERRUPTIBILITY_ENCLAVE  BIT64(4)
#define INTERRUPTIBILITY_RESERVED BITS64(31, 5)

/* SDM 3C 25.4.2: pending debug exceptions */
#define PENDING_DEBUG_BP         BITS64(3, 0)
#define PENDING_DEBUG_BUS_LOCK   BIT64(11)
#define PENDING_DEBUG_ENABLED_BP BIT64(12)
#define PENDING_DEBUG_BS         BIT64(14)
#define PENDING_DEBUG_RTM        BIT64(16)
#define PENDING_DEBUG_RESERVED   (BITS64(63, 17) | BIT64(15) | BIT64(13) | BITS64(10, 4))

/* SDM 3C 25.4.2: guest interrupt status */
#define INTR_STATUS_RVI BITS64(7, 0)
#define INTR_STATUS_SVI BITS64(15, 8)

/* SDM 3C 25.4.1, table 25-2: access rights; bits 15:0 are SEG_* of <arch/bits/seg.h> */
#define ACCESS_TYPE     BITS64(3, 0)
#define ACCESS_S        BIT64(4)
#define ACCESS_DPL      BITS64(6, 5)
#define ACCESS_P        BIT64(7)
#define ACCESS_AVL      BIT64(12)
#define ACCESS_L        BIT64(13)
#define ACCESS_DB       BIT64(14)
#define ACCESS_G        BIT64(15)
#define ACCESS_UNUSABLE BIT64(16)
#define ACCESS_RESERVED (BITS64(31, 17) | BITS64(11, 8))

/* SDM 3C 25.4.2: no linked VMCS */
#define VMCS_NO_LINK (~0ull)

/* SDM 3D A.10: IA32_VMX_EPT_VPID_CAP */
#define EPT_CAP_EXEC_ONLY           BIT64(0)
#define EPT_CAP_WALK_4              BIT64(6)
#define EPT_CAP_WALK_5              BIT64(7)
#define EPT_CAP_UC                  BIT64(8)
#define EPT_CAP_WB                  BIT64(14)
#define EPT_CAP_2M                  BIT64(16)
#define EPT_CAP_1G                  BIT64(17)
#define EPT_CAP_INVEPT              BIT64(20)
#define EPT_CAP_AD                  BIT64(21)
#define EPT_CAP_EXIT_INFO           BIT64(22) /* advanced exit information for EPT violations */
#define EPT_CAP_SHADOW_STACK        BIT64(23)
#define EPT_CAP_INVEPT_SINGLE       BIT64(25)
#define EPT_CAP_INVEPT_ALL          BIT64(26)
#define VPID_CAP_INVVPID            BIT64(32)
#define VPID_CAP_ADDRESS            BIT64(40)
#define VPID_CAP_SINGLE             BIT64(41)
#define VPID_CAP_ALL                BIT64(42)
#define VPID_CAP_SINGLE_KEEP_GLOBAL BIT64(43)
#define EPT_CAP_HLAT_PREFIX         BITS64(53, 48)

/* SDM 3C 25.6.11: EPTP */
#define EPTP_MEM_TYPE     BITS64(2, 0)
#define EPTP_WALK         BITS64(5, 3) /* levels minus 1 */
#define EPTP_AD           BIT64(6)
#define EPTP_SHADOW_STACK BIT64(7) /* enforce access rights of supervisor shadow-stack pages */
#define EPTP_ADDR         BITS64(51, 12)

/* SDM 3C 29.3.2: EPT entries */
#define EPT_READ         BIT64(0)
#define EPT_WRITE        BIT64(1)
#define EPT_EXEC         BIT64(2)
#define EPT_MEM_TYPE     BITS64(5, 3)
#define EPT_IGNORE_PAT   BIT64(6)
#define EPT_LEAF         BIT64(7)
#define EPT_ACCESSED     BIT64(8)
#define EPT_DIRTY        BIT64(9)
#define EPT_USER_EXEC    BIT64(10)
#define EPT_ADDR         BITS64(51, 12)
#define EPT_IGNORED_59   BIT64(59) /* in leaves of all sizes, whatever the controls */
#define EPT_SUPER_SHADOW BIT64(60)
#define EPT_SUPPRESS_VE  BIT64(63)

/* SDM 3C 31.3: INVEPT and INVVPID types */
#define INVEPT_SINGLE              1u
#define INVEPT_ALL                 2u
#define INVVPID_ADDRESS            0u
#define INVVPID_SINGLE             1u
#define INVVPID_ALL                2u
#define INVVPID_SINGLE_KEEP_GLOBAL 3u

/* SDM 3C 31.4: VM-instruction error numbers */
#define VMX_ERROR_VMCALL_IN_ROOT        1u
#define VMX_ERROR_VMCLEAR_ADDRESS       2u
#define VMX_ERROR_VMCLEAR_VMXON_POINTER 3u
#define VMX_ERROR_VMLAUNCH_NOT_CLEAR    4u
#define VMX_ERROR_VMRESUME_NOT_LAUNCHED 5u
#define VMX_ERROR_VMRESUME_AFTER_VMXOFF 6u
#define VMX_ERROR_ENTRY_CONTROLS        7u
#define VMX_ERROR_ENTRY_HOST_STATE      8u
#define VMX_ERROR_VMPTRLD_ADDRESS       9u
#define VMX_ERROR_VMPTRLD_VMXON_POINTER 10u
#define VMX_ERROR_VMPTRLD_REVISION      11u
#define VMX_ERROR_UNSUPPORTED_FIELD     12u
#define VMX_ERROR_READ_ONLY_FIELD       13u
#define VMX_ERROR_VMXON_IN_ROOT         15u
#define VMX_ERROR_ENTRY_EXEC_POINTER    16u
#define VMX_ERROR_ENTRY_EXEC_LAUNCH     17u
#define VMX_ERROR_ENTRY_EXEC_NOT_VMXON  18u
#define VMX_ERROR_VMCALL_NOT_CLEAR      19u
#define VMX_ERROR_VMCALL_EXIT_CONTROLS  20u
#define VMX_ERROR_VMCALL_MSEG_REVISION  22u
#define VMX_ERROR_VMXOFF_DUAL_MONITOR   23u
#define VMX_ERROR_VMCALL_SMM_FEATURES   24u
#define VMX_ERROR_ENTRY_EXEC_CONTROLS   25u
#define VMX_ERROR_ENTRY_MOV_SS          26u
#define VMX_ERROR_INVALIDATE_OPERAND    28u

#endif
