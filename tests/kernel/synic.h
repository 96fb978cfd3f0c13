/* SPDX-License-Identifier: MIT */
/* Machines with synthetic interrupt controllers (synic_vm.c): scripts of apic.h that use them, and what the host does.
 */
#ifndef SYNIC_H
#define SYNIC_H

#include "apic.h"

#define MSR_SCONTROL 0x40000080ull
#define MSR_SVERSION 0x40000081ull
#define MSR_SIEFP    0x40000082ull
#define MSR_SIMP     0x40000083ull
#define MSR_EOM      0x40000084ull
#define MSR_SINT(n)  (0x40000090ull + (n))

#define SINT_MASKED   0x10000ull
#define SINT_AUTO_EOI 0x20000ull
#define SINT_POLLING  0x40000ull

/* where VP 0 has its pages, and what is there */
#define SIM_PAGE            0x60000ull
#define SIEF_PAGE           0x61000ull
#define SLOT(n)             (SIM_PAGE + 256ull * (n))
#define SLOT_FLAGS(n)       (SLOT(n) + 4) /* a word: payload size, flags */
#define SLOT_PENDING        0x100ull
#define EVENT_WORD(n, flag) (SIEF_PAGE + 256ull * (n) + (flag) / 32 * 4)

/* operations of scripts: see apic.h */
#define SYNIC_ON       WRMSR(MSR_SIMP, SIM_PAGE | 1), WRMSR(MSR_SIEFP, SIEF_PAGE | 1), WRMSR(MSR_SCONTROL, 1)
#define SINT(n, value) WRMSR(MSR_SINT(n), value)
#define EOM            WRMSR(MSR_EOM, 0)

extern const struct apic_mode synic_modes[2]; /* apic_modes, with SynICs */

#define SYNIC_GUEST(name, mode_, ...)      \
    VM(name);                              \
    REQUIRE(apic_create(&name, mode_, 1)); \
    SCRIPT(&name, 0, __VA_ARGS__)

/* A message of this type, all of whose payload is the type's low byte, to VP 0. */
HRESULT synic_post(struct vm *vm, uint32_t sint, uint32_t type);
HRESULT synic_signal(struct vm *vm, uint32_t sint, uint32_t flag, BOOL *newly);

/* Asks for SynicSintDeliverable: one bit a SINT. */
void synic_notify(struct vm *vm, uint16_t sints);
/* Expects that exit, with these. */
bool synic_check_deliverable(struct vm *vm, uint16_t sints, const char *file, int line);
#define EXPECT_DELIVERABLE(vm, sints) \
    (EXPECT_EXIT(vm, SynicSintDeliverable) && synic_check_deliverable(vm, sints, __FILE__, __LINE__))

/* The script's EXIT, and on behind it. */
#define EXPECT_SCRIPT_EXIT(vm) (EXPECT_SCRIPT_END(vm) && (vm_step(vm), true))

#endif
