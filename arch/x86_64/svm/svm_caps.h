/* SPDX-License-Identifier: MIT */
/* What this CPU's SVM offers: one struct for backend and auditor. */
#ifndef SVM_CAPS_H
#define SVM_CAPS_H

#include <stdbool.h>
#include <stdint.h>

struct svm_caps {
    uint32_t features; /* CPUID 0x8000000A EDX: CPUID_SVM_EDX_* */
    uint32_t asids;    /* CPUID 0x8000000A EBX: ASIDs 0 to asids - 1 */
    uint64_t cr4;      /* bits that this CPU has in CR4 */
    uint64_t efer;     /* and in EFER */
    uint8_t phys_bits; /* CPUID 0x80000008 EAX 7:0 */
    bool long_mode;    /* CPUID 0x80000001 EDX 29 */
    /*
     * QEMU's TCG (7.2, and others): an interrupt injected by EVENTINJ stays noted as an exception that is about to be
     * delivered. Should the emulator leave the guest for reasons of its own, it is delivered once more. There it goes
     * in as a virtual interrupt.
     */
    bool injects_twice;
    uint32_t clean; /* what goes into the VMCB's clean bits after an exit: CLEAN_ALL, or 0 on CPUs that know none */
    bool cet;       /* CPUID 7 ECX 7: the VMCB has S_CET, SSP and ISST_ADDR */
};

#endif
