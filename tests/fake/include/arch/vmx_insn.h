/* SPDX-License-Identifier: MIT */
/* In place of arch/x86_64/include/arch/vmx_insn.h: the same functions, on the CPU of fake_vmx.c. */
#ifndef ARCH_VMX_INSN_H
#define ARCH_VMX_INSN_H

#include <stdbool.h>
#include <stdint.h>

bool vmx_vmxon(uint64_t pa);
void vmx_vmxoff(void);
bool vmx_vmclear(uint64_t pa);
bool vmx_vmptrld(uint64_t pa);
uint64_t vmx_read(uint32_t field);
void vmx_write(uint32_t field, uint64_t value);
bool vmx_try_read(uint32_t field, uint64_t *value);
bool vmx_try_write(uint32_t field, uint64_t value);
void vmx_invept(uint64_t type, uint64_t eptp);
void vmx_invvpid(uint64_t type, uint16_t vpid);
uint64_t vmx_run_guest(void *vmx);

#endif
