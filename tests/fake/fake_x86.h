/* SPDX-License-Identifier: MIT */
/*
 * The CPUs of the fake host, as far as the library's privileged instructions see them: registers, MSRs, CPUID, extended
 * state. An instruction that would fault fails the test, and so does one that changes a CPU to which the caller is not
 * pinned.
 *
 * The model is an Ice Lake such as Bochs has: VMX with EPT and unrestricted guest, XSAVE with AVX, 39 physical address
 * bits. After fake_reset all CPUs are as a host kernel may have left them; FEATURE_CONTROL is locked with VMX enabled.
 * fake_svm_make turns them into AMD's.
 */
#ifndef FAKE_X86_H
#define FAKE_X86_H

#include "fake.h"
#include <arch/cpu.h>

#define FAKE_MSRS      48
#define FAKE_GDT_WORDS 8

/* selectors of every CPU's GDT */
#define FAKE_SEL_CODE 0x08
#define FAKE_SEL_DATA 0x10
#define FAKE_SEL_TSS  0x18
#define FAKE_SEL_LDT  0x28

struct fake_x86 {
    uint64_t cr0, cr2, cr3, cr4, dr[4], dr6, dr7;
    uint64_t xcr0, xinuse;   /* xinuse: state components that are not in their initial state */
    uint64_t msr[FAKE_MSRS]; /* see fake_msr */
    struct cpu_table_register gdtr, idtr;
    uint16_t es, cs, ss, ds, fs, gs, tr, ldtr;
    uint32_t tr_limit; /* what the CPU has cached of the TSS descriptor */
    uint64_t tr_base;
    uint64_t gdt[FAKE_GDT_WORDS]; /* where gdtr points to */
    uint8_t fxsave[512];          /* x87, SSE and MXCSR as FXSAVE lays them out */
    uint8_t avx[256], pkru[8];
    unsigned nmis, machine_checks; /* calls of the host's handlers */
};

/* A CPU's registers, to look at and to change. */
struct fake_x86 *fake_x86(uint32_t cpu);
struct fake_x86 *fake_x86_here(void); /* of the CPU that the calling thread is on */
uint64_t *fake_msr(uint32_t cpu, uint32_t index);
void fake_set_msr(uint32_t index, uint64_t value); /* on all CPUs, also read-only ones */

/* NULL, or the name of the first register that differs. */
const char *fake_x86_difference(const struct fake_x86 *before, const struct fake_x86 *after);

/* Moves selectors, limits, debug and other state away from the defaults, to values that a VM exit does not leave. */
void fake_x86_make_unusual(uint32_t cpu);

/* The value that CPUID gives from now on. */
void fake_set_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t eax, uint32_t ebx, uint32_t ecx, uint32_t edx);

/* Moves on by 100 with each look at it. */
#define FAKE_TSC_HZ 2000000000ull
void fake_set_tsc(uint64_t tsc);
void fake_skew_tsc(uint32_t cpu, int64_t ahead); /* from now on, this CPU's */

/* Called for each line that is written back by CLFLUSH; NULL again after fake_reset. */
extern void (*fake_on_flush_line)(const volatile void *p);

/* instructions executed since fake_reset, on all CPUs */
struct fake_x86_counts {
    uint64_t msr_reads, msr_writes, xsaves, xrstors, xcr0_writes, dr_writes, cpuids, tscs;
};
extern struct fake_x86_counts fake_x86_counts;

void fake_x86_reset(void);
void fake_x86_make_amd(void);                      /* vendor, MSRs, features other than SVM; see fake_svm_make */
void fake_gp(bool fault, const char *instruction); /* fails the test: #GP in the host */

#endif
