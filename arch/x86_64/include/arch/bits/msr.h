/* SPDX-License-Identifier: MIT */
/* Model-specific registers: indices and fields. Facts of the architecture, no code. Order and names as in SDM 4
 * chapter 2. */
#ifndef ARCH_BITS_MSR_H
#define ARCH_BITS_MSR_H

#include <hv/base/bits.h>

/* SDM 4 2.1: architectural MSRs */
#define MSR_IA32_P5_MC_ADDR           0x0000u
#define MSR_IA32_P5_MC_TYPE           0x0001u
#define MSR_IA32_MONITOR_FILTER_SIZE  0x0006u
#define MSR_IA32_TSC                  0x0010u
#define MSR_IA32_PLATFORM_ID          0x0017u
#define MSR_IA32_APIC_BASE            0x001bu
#define MSR_SMI_COUNT                 0x0034u
#define MSR_IA32_FEATURE_CONTROL      0x003au
#define MSR_IA32_TSC_ADJUST           0x003bu
#define MSR_IA32_SPEC_CTRL            0x0048u
#define MSR_IA32_PRED_CMD             0x0049u
#define MSR_IA32_BIOS_UPDT_TRIG       0x0079u
#define MSR_IA32_BIOS_SIGN_ID         0x008bu
#define MSR_IA32_SMM_MONITOR_CTL      0x009bu
#define MSR_IA32_SMBASE               0x009eu
#define MSR_IA32_PMC0                 0x00c1u
#define MSR_PLATFORM_INFO             0x00ceu
#define MSR_IA32_CORE_CAPABILITIES    0x00cfu
#define MSR_IA32_UMWAIT_CONTROL       0x00e1u
#define MSR_IA32_MPERF                0x00e7u
#define MSR_IA32_APERF                0x00e8u
#define MSR_IA32_MTRRCAP              0x00feu
#define MSR_IA32_ARCH_CAPABILITIES    0x010au
#define MSR_IA32_FLUSH_CMD            0x010bu
#define MSR_IA32_TSX_CTRL             0x0122u
#define MSR_MISC_FEATURES_ENABLES     0x0140u
#define MSR_IA32_SYSENTER_CS          0x0174u
#define MSR_IA32_SYSENTER_ESP         0x0175u
#define MSR_IA32_SYSENTER_EIP         0x0176u
#define MSR_IA32_MCG_CAP              0x0179u
#define MSR_IA32_MCG_STATUS           0x017au
#define MSR_IA32_MCG_CTL              0x017bu
#define MSR_IA32_PERFEVTSEL0          0x0186u
#define MSR_IA32_PERF_STATUS          0x0198u
#define MSR_IA32_PERF_CTL             0x0199u
#define MSR_IA32_CLOCK_MODULATION     0x019au
#define MSR_IA32_THERM_INTERRUPT      0x019bu
#define MSR_IA32_THERM_STATUS         0x019cu
#define MSR_IA32_MISC_ENABLE          0x01a0u
#define MSR_IA32_ENERGY_PERF_BIAS     0x01b0u
#define MSR_IA32_XFD                  0x01c4u
#define MSR_IA32_XFD_ERR              0x01c5u
#define MSR_IA32_DEBUGCTL             0x01d9u
#define MSR_LASTBRANCHFROMIP          0x01dbu
#define MSR_LASTBRANCHTOIP            0x01dcu
#define MSR_LASTINTFROMIP             0x01ddu
#define MSR_LASTINTTOIP               0x01deu
#define MSR_IA32_MTRR_PHYSBASE0       0x0200u /* + 2 n */
#define MSR_IA32_MTRR_PHYSMASK0       0x0201u /* + 2 n */
#define MSR_IA32_MTRR_FIX64K_00000    0x0250u
#define MSR_IA32_MTRR_FIX16K_80000    0x0258u
#define MSR_IA32_MTRR_FIX16K_A0000    0x0259u
#define MSR_IA32_MTRR_FIX4K_C0000     0x0268u
#define MSR_IA32_MTRR_FIX4K_C8000     0x0269u
#define MSR_IA32_MTRR_FIX4K_D0000     0x026au
#define MSR_IA32_MTRR_FIX4K_D8000     0x026bu
#define MSR_IA32_MTRR_FIX4K_E0000     0x026cu
#define MSR_IA32_MTRR_FIX4K_E8000     0x026du
#define MSR_IA32_MTRR_FIX4K_F0000     0x026eu
#define MSR_IA32_MTRR_FIX4K_F8000     0x026fu
#define MSR_IA32_PAT                  0x0277u
#define MSR_IA32_MTRR_DEF_TYPE        0x02ffu
#define MSR_IA32_FIXED_CTR0           0x0309u
#define MSR_IA32_PERF_CAPABILITIES    0x0345u
#define MSR_IA32_FIXED_CTR_CTRL       0x038du
#define MSR_IA32_PERF_GLOBAL_STATUS   0x038eu
#define MSR_IA32_PERF_GLOBAL_CTRL     0x038fu
#define MSR_IA32_PERF_GLOBAL_OVF_CTRL 0x0390u
#define MSR_IA32_PEBS_ENABLE          0x03f1u
#define MSR_IA32_MC0_CTL              0x0400u /* + 4 n */
#define MSR_IA32_MC0_STATUS           0x0401u /* + 4 n */
#define MSR_IA32_MC0_ADDR             0x0402u /* + 4 n */
#define MSR_IA32_MC0_MISC             0x0403u /* + 4 n */
#define MSR_IA32_DS_AREA              0x0600u
#define MSR_RAPL_POWER_UNIT           0x0606u
#define MSR_IA32_RTIT_CTL             0x0570u
#define MSR_IA32_U_CET                0x06a0u
#define MSR_IA32_S_CET                0x06a2u
#define MSR_IA32_PL0_SSP              0x06a4u
#define MSR_IA32_PL1_SSP              0x06a5u
#define MSR_IA32_PL2_SSP              0x06a6u
#define MSR_IA32_PL3_SSP              0x06a7u
#define MSR_IA32_INTERRUPT_SSP_TABLE  0x06a8u
#define MSR_IA32_TSC_DEADLINE         0x06e0u
#define MSR_IA32_PKRS                 0x06e1u
#define MSR_IA32_PM_ENABLE            0x0770u
#define MSR_IA32_X2APIC_BASE          0x0800u /* + xAPIC offset / 16 */
#define MSR_IA32_X2APIC_APICID        0x0802u
#define MSR_IA32_X2APIC_VERSION       0x0803u
#define MSR_IA32_X2APIC_TPR           0x0808u
#define MSR_IA32_X2APIC_PPR           0x080au
#define MSR_IA32_X2APIC_EOI           0x080bu
#define MSR_IA32_X2APIC_LDR           0x080du
#define MSR_IA32_X2APIC_SIVR          0x080fu
#define MSR_IA32_X2APIC_ISR0          0x0810u
#define MSR_IA32_X2APIC_TMR0          0x0818u
#define MSR_IA32_X2APIC_IRR0          0x0820u
#define MSR_IA32_X2APIC_ESR           0x0828u
#define MSR_IA32_X2APIC_LVT_CMCI      0x082fu
#define MSR_IA32_X2APIC_ICR           0x0830u
#define MSR_IA32_X2APIC_LVT_TIMER     0x0832u
#define MSR_IA32_X2APIC_LVT_THERMAL   0x0833u
#define MSR_IA32_X2APIC_LVT_PMI       0x0834u
#define MSR_IA32_X2APIC_LVT_LINT0     0x0835u
#define MSR_IA32_X2APIC_LVT_LINT1     0x0836u
#define MSR_IA32_X2APIC_LVT_ERROR     0x0837u
#define MSR_IA32_X2APIC_INIT_COUNT    0x0838u
#define MSR_IA32_X2APIC_CUR_COUNT     0x0839u
#define MSR_IA32_X2APIC_DIV_CONF      0x083eu
#define MSR_IA32_X2APIC_SELF_IPI      0x083fu
#define MSR_IA32_X2APIC_LAST          0x08ffu
#define MSR_IA32_DEBUG_INTERFACE      0x0c80u
#define MSR_IA32_BNDCFGS              0x0d90u
#define MSR_IA32_XSS                  0x0da0u
#define MSR_IA32_LBR_CTL              0x14ceu

#define MSR_IA32_EFER           0xc0000080u
#define MSR_IA32_STAR           0xc0000081u
#define MSR_IA32_LSTAR          0xc0000082u
#define MSR_IA32_CSTAR          0xc0000083u
#define MSR_IA32_FMASK          0xc0000084u
#define MSR_IA32_FS_BASE        0xc0000100u
#define MSR_IA32_GS_BASE        0xc0000101u
#define MSR_IA32_KERNEL_GS_BASE 0xc0000102u
#define MSR_IA32_TSC_AUX        0xc0000103u

/* SDM 3D appendix A: VMX capability MSRs */
#define MSR_IA32_VMX_BASIC               0x0480u
#define MSR_IA32_VMX_PINBASED_CTLS       0x0481u
#define MSR_IA32_VMX_PROCBASED_CTLS      0x0482u
#define MSR_IA32_VMX_EXIT_CTLS           0x0483u
#define MSR_IA32_VMX_ENTRY_CTLS          0x0484u
#define MSR_IA32_VMX_MISC                0x0485u
#define MSR_IA32_VMX_CR0_FIXED0          0x0486u
#define MSR_IA32_VMX_CR0_FIXED1          0x0487u
#define MSR_IA32_VMX_CR4_FIXED0          0x0488u
#define MSR_IA32_VMX_CR4_FIXED1          0x0489u
#define MSR_IA32_VMX_VMCS_ENUM           0x048au
#define MSR_IA32_VMX_PROCBASED_CTLS2     0x048bu
#define MSR_IA32_VMX_EPT_VPID_CAP        0x048cu
#define MSR_IA32_VMX_TRUE_PINBASED_CTLS  0x048du
#define MSR_IA32_VMX_TRUE_PROCBASED_CTLS 0x048eu
#define MSR_IA32_VMX_TRUE_EXIT_CTLS      0x048fu
#define MSR_IA32_VMX_TRUE_ENTRY_CTLS     0x0490u
#define MSR_IA32_VMX_VMFUNC              0x0491u
#define MSR_IA32_VMX_PROCBASED_CTLS3     0x0492u
#define MSR_IA32_VMX_EXIT_CTLS2          0x0493u

/* APM 2 appendix A: what guests meet on CPUs of AMD's design. MSR_INT_PENDING and the *_CFG ones: the BKDGs and PPRs */
#define MSR_PERF_EVTSEL0   0xc0010000u
#define MSR_PERF_CTR3      0xc0010007u
#define MSR_SYSCFG         0xc0010010u
#define MSR_HWCR           0xc0010015u
#define MSR_NB_CFG         0xc001001fu
#define MSR_PATCH_LOADER   0xc0010020u
#define MSR_INT_PENDING    0xc0010055u
#define MSR_MMIO_CONF_BASE 0xc0010058u
#define MSR_SMM_ADDR       0xc0010112u
#define MSR_SMM_MASK       0xc0010113u
#define MSR_DC_CFG         0xc0011022u
#define MSR_DE_CFG         0xc0011029u
#define MSR_BU_CFG2        0xc001102au
#define MSR_EX_CFG         0xc001102cu

/* APM 2 appendix A: what the SVM backend meets */
#define MSR_AMD_VM_CR         0xc0010114u
#define MSR_AMD_IGNNE         0xc0010115u
#define MSR_AMD_SMM_CTL       0xc0010116u
#define MSR_AMD_VM_HSAVE_PA   0xc0010117u
#define MSR_AMD_SVM_KEY       0xc0010118u
#define MSR_AMD_VIRT_SPEC_CTL 0xc001011fu
#define MSR_AMD_SEV_STATUS    0xc0010131u
#define MSR_AMD_OSVW_LENGTH   0xc0010140u
#define MSR_AMD_OSVW_STATUS   0xc0010141u
#define MSR_AMD_TSC_RATIO     0xc0000104u
#define TSC_RATIO_ONE         BIT64(32) /* of MSR_AMD_TSC_RATIO: 8.32 fixed point */
#define VM_CR_LOCK            BIT64(3)
#define VM_CR_SVMDIS          BIT64(4)

/* SDM 3A 2.2.1: IA32_EFER (bits 12 to 15: AMD APM 2 3.1.7) */
#define EFER_SCE      BIT64(0)
#define EFER_LME      BIT64(8)
#define EFER_LMA      BIT64(10)
#define EFER_NXE      BIT64(11)
#define EFER_SVME     BIT64(12)
#define EFER_LMSLE    BIT64(13)
#define EFER_FFXSR    BIT64(14)
#define EFER_TCE      BIT64(15)
#define EFER_RESERVED (~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE)) /* on Intel */

/* SDM 3C 23.7: IA32_FEATURE_CONTROL */
#define FEATURE_CONTROL_LOCK       BIT64(0)
#define FEATURE_CONTROL_VMX_IN_SMX BIT64(1)
#define FEATURE_CONTROL_VMX        BIT64(2) /* outside SMX */
#define FEATURE_CONTROL_SENTER     BITS64(15, 8)
#define FEATURE_CONTROL_SGX_LC     BIT64(17)
#define FEATURE_CONTROL_SGX        BIT64(18)
#define FEATURE_CONTROL_LMCE       BIT64(20)

/* SDM 3A 10.4.4: IA32_APIC_BASE */
#define APIC_BASE_BSP  BIT64(8)
#define APIC_BASE_EXTD BIT64(10) /* x2APIC mode */
#define APIC_BASE_EN   BIT64(11)
#define APIC_BASE_ADDR BITS64(51, 12)

/* SDM 3B 18.4.1: IA32_DEBUGCTL */
#define DEBUGCTL_LBR             BIT64(0)
#define DEBUGCTL_BTF             BIT64(1)
#define DEBUGCTL_BUS_LOCK_DETECT BIT64(2)
#define DEBUGCTL_TR              BIT64(6)
#define DEBUGCTL_BTS             BIT64(7)
#define DEBUGCTL_BTINT           BIT64(8)
#define DEBUGCTL_BTS_OFF_OS      BIT64(9)
#define DEBUGCTL_BTS_OFF_USR     BIT64(10)
#define DEBUGCTL_FREEZE_LBRS     BIT64(11)
#define DEBUGCTL_FREEZE_PERFMON  BIT64(12)
#define DEBUGCTL_UNCORE_PMI      BIT64(13)
#define DEBUGCTL_FREEZE_IN_SMM   BIT64(14)
#define DEBUGCTL_RTM             BIT64(15)
#define DEBUGCTL_RESERVED        (BITS64(63, 16) | BITS64(5, 3))

/* SDM 4 2.1: IA32_MISC_ENABLE */
#define MISC_ENABLE_FAST_STRINGS    BIT64(0)
#define MISC_ENABLE_PERFMON         BIT64(7)
#define MISC_ENABLE_BTS_UNAVAILABLE BIT64(11)
#define MISC_ENABLE_PEBS_UNAVAIL    BIT64(12)
#define MISC_ENABLE_EIST            BIT64(16)
#define MISC_ENABLE_MONITOR         BIT64(18)
#define MISC_ENABLE_LIMIT_CPUID     BIT64(22)
#define MISC_ENABLE_XTPR_DISABLE    BIT64(23)
#define MISC_ENABLE_XD_DISABLE      BIT64(34)

/* SDM 4 2.1: IA32_SPEC_CTRL, IA32_PRED_CMD, IA32_FLUSH_CMD, IA32_ARCH_CAPABILITIES */
#define SPEC_CTRL_IBRS              BIT64(0)
#define SPEC_CTRL_STIBP             BIT64(1)
#define SPEC_CTRL_SSBD              BIT64(2)
#define PRED_CMD_IBPB               BIT64(0)
#define FLUSH_CMD_L1D               BIT64(0)
#define ARCH_CAP_RDCL_NO            BIT64(0)
#define ARCH_CAP_IBRS_ALL           BIT64(1)
#define ARCH_CAP_RSBA               BIT64(2)
#define ARCH_CAP_SKIP_L1DFL_VMENTRY BIT64(3)
#define ARCH_CAP_SSB_NO             BIT64(4)
#define ARCH_CAP_MDS_NO             BIT64(5)
#define ARCH_CAP_PSCHANGE_MC_NO     BIT64(6)
#define ARCH_CAP_TSX_CTRL           BIT64(7)
#define ARCH_CAP_TAA_NO             BIT64(8)

/* SDM 3A 11.11, 11.12: MTRRs, and the memory types that MTRRs, the PAT, EPT and IA32_VMX_BASIC share */
#define MEM_TYPE_UC         0u
#define MEM_TYPE_WC         1u
#define MEM_TYPE_WT         4u
#define MEM_TYPE_WP         5u
#define MEM_TYPE_WB         6u
#define MEM_TYPE_UC_MINUS   7u /* PAT only */
#define MTRRCAP_VCNT        BITS64(7, 0)
#define MTRRCAP_FIX         BIT64(8)
#define MTRRCAP_WC          BIT64(10)
#define MTRRCAP_SMRR        BIT64(11)
#define MTRR_DEF_TYPE_TYPE  BITS64(7, 0)
#define MTRR_DEF_TYPE_FE    BIT64(10)
#define MTRR_DEF_TYPE_E     BIT64(11)
#define MTRR_PHYSBASE_TYPE  BITS64(7, 0)
#define MTRR_PHYSMASK_VALID BIT64(11)
#define MTRR_PHYS_ADDR      BITS64(51, 12)
#define PAT_RESET           0x0007040600070406ull

/* SDM 3B 15.3.1: machine check */
#define MCG_CAP_COUNT   BITS64(7, 0)
#define MCG_CAP_CTL_P   BIT64(8)
#define MCG_CAP_EXT_P   BIT64(9)
#define MCG_CAP_CMCI_P  BIT64(10)
#define MCG_CAP_SER_P   BIT64(24)
#define MCG_STATUS_RIPV BIT64(0)
#define MCG_STATUS_EIPV BIT64(1)
#define MCG_STATUS_MCIP BIT64(2)

/* SDM 3D A.1: IA32_VMX_BASIC */
#define VMX_BASIC_REVISION        BITS64(30, 0)
#define VMX_BASIC_REGION_SIZE     BITS64(44, 32)
#define VMX_BASIC_32BIT_ADDRESSES BIT64(48)
#define VMX_BASIC_DUAL_MONITOR    BIT64(49)
#define VMX_BASIC_MEM_TYPE        BITS64(53, 50)
#define VMX_BASIC_INS_OUTS        BIT64(54) /* INS and OUTS exits fill the instruction-information field */
#define VMX_BASIC_TRUE_CTLS       BIT64(55)
#define VMX_BASIC_ANY_ERROR_CODE  BIT64(56) /* injected hardware exceptions may have an error code or not */

/* SDM 3D A.6: IA32_VMX_MISC */
#define VMX_MISC_TIMER_SHIFT       BITS64(4, 0)
#define VMX_MISC_EXIT_SAVES_LMA    BIT64(5)
#define VMX_MISC_ACTIVITY_HLT      BIT64(6)
#define VMX_MISC_ACTIVITY_SHUTDOWN BIT64(7)
#define VMX_MISC_ACTIVITY_SIPI     BIT64(8)
#define VMX_MISC_PT                BIT64(14)
#define VMX_MISC_SMBASE_IN_SMM     BIT64(15)
#define VMX_MISC_CR3_TARGETS       BITS64(24, 16)
#define VMX_MISC_MSR_LIST_MAX      BITS64(27, 25) /* recommended most: 512 * (N + 1) */
#define VMX_MISC_SMM_MONITOR_BIT2  BIT64(28)
#define VMX_MISC_VMWRITE_ANY       BIT64(29)
#define VMX_MISC_INJECT_LENGTH_0   BIT64(30)
#define VMX_MISC_MSEG_REVISION     BITS64(63, 32)

/* SDM 3D A.3 to A.5: bits 31:0 of a control's MSR must be 1, bits clear in 63:32 must be 0 */
#define VMX_CTLS_MUST_BE_1 BITS64(31, 0)
#define VMX_CTLS_MAY_BE_1  BITS64(63, 32)

#endif
