/* SPDX-License-Identifier: MIT */
/* What this CPU's VMX offers: the capability MSRs as read, and the widths of addresses. One struct for backend and
 * auditor. */
#ifndef VMX_CAPS_H
#define VMX_CAPS_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Raw values of the MSRs of SDM 3D appendix A. pin, cpu, exit and entry hold the TRUE variants where IA32_VMX_BASIC bit
 * 55 offers them, else the plain ones. An MSR that the CPU does not have is 0 (cpu2 and cpu3 too: no such control may
 * be set). Bits 31:0 of pin, cpu, cpu2, exit, entry: must be 1; bits 63:32: may be 1. cpu3, exit2 and vmfunc: all 64
 * bits may be 1.
 */
struct vmx_caps {
    uint64_t basic;
    uint64_t pin, cpu, cpu2, cpu3, exit, exit2, entry;
    uint64_t misc;
    uint64_t cr0_fixed0, cr0_fixed1; /* must be 1, may be 1 */
    uint64_t cr4_fixed0, cr4_fixed1;
    uint64_t ept_vpid;
    uint64_t vmfunc;
    uint64_t perf_global; /* bits that IA32_PERF_GLOBAL_CTRL may have; 0: no such MSR */
    uint8_t phys_bits;    /* MAXPHYADDR, CPUID 0x80000008 EAX 7:0 */
    uint8_t linear_bits;  /* 48 or 57, CPUID 0x80000008 EAX 15:8 */
    bool long_mode;       /* CPUID 0x80000001 EDX 29: the CPU has Intel 64 */
    bool sgx;             /* CPUID 7 EBX 2: bit 4 of the interruptibility state exists */
    bool rtm;             /* CPUID 7 EBX 11: bit 16 of the pending debug exceptions exists */
    bool bus_lock;        /* CPUID 7 ECX 24: bus-lock debug exceptions exist (IA32_DEBUGCTL bit 2) */
};

#endif
