/* SPDX-License-Identifier: MIT */
/*
 * The VMX instructions as functions (SDM 3C chapter 31). Desk tests put a fake of this header before it in the
 * include path.
 */
#ifndef ARCH_VMX_INSN_H
#define ARCH_VMX_INSN_H

#include <stdbool.h>
#include <stdint.h>

/* Each returns false on VMfail (CF or ZF set). */

static inline bool vmx_vmxon(uint64_t pa)
{
    bool failed;

    __asm__ volatile("vmxon %1" : "=@ccbe"(failed) : "m"(pa) : "memory");
    return !failed;
}

static inline void vmx_vmxoff(void)
{
    __asm__ volatile("vmxoff" : : : "cc", "memory");
}

static inline bool vmx_vmclear(uint64_t pa)
{
    bool failed;

    __asm__ volatile("vmclear %1" : "=@ccbe"(failed) : "m"(pa) : "memory");
    return !failed;
}

static inline bool vmx_vmptrld(uint64_t pa)
{
    bool failed;

    __asm__ volatile("vmptrld %1" : "=@ccbe"(failed) : "m"(pa) : "memory");
    return !failed;
}

/* The backend accesses only fields that exist on this CPU: no error checks on the fast path. */
static inline uint64_t vmx_read(uint32_t field)
{
    uint64_t v;

    __asm__ volatile("vmread %1, %0" : "=r"(v) : "r"((uint64_t)field) : "cc");
    return v;
}

static inline void vmx_write(uint32_t field, uint64_t value)
{
    __asm__ volatile("vmwrite %1, %0" : : "r"((uint64_t)field), "r"(value) : "cc");
}

static inline bool vmx_try_read(uint32_t field, uint64_t *value)
{
    bool failed;

    __asm__ volatile("vmread %2, %1" : "=@ccbe"(failed), "=r"(*value) : "r"((uint64_t)field));
    return !failed;
}

static inline bool vmx_try_write(uint32_t field, uint64_t value)
{
    bool failed;

    __asm__ volatile("vmwrite %2, %1" : "=@ccbe"(failed) : "r"((uint64_t)field), "r"(value));
    return !failed;
}

static inline void vmx_invept(uint64_t type, uint64_t eptp)
{
    struct {
        uint64_t eptp, reserved;
    } operand = {eptp, 0};

    __asm__ volatile("invept %0, %1" : : "m"(operand), "r"(type) : "cc", "memory");
}

static inline void vmx_invvpid(uint64_t type, uint16_t vpid)
{
    struct {
        uint64_t vpid, address;
    } operand = {vpid, 0};

    __asm__ volatile("invvpid %0, %1" : : "m"(operand), "r"(type) : "cc", "memory");
}

/*
 * Into the guest and back: vmx_entry.asm. What is to live through it is on the stack: the caller enters again and
 * again, and the host's registers are not saved and restored each time. vmx: struct vmx_vcpu. Returns the exit reason,
 * or VMX_VMFAIL.
 */
static inline uint64_t vmx_run_guest(void *vmx)
{
    uint64_t reason;

    __asm__ volatile("call vmx_entry"
                     : "=a"(reason)
                     : "D"(vmx)
                     : "rbx", "rcx", "rdx", "rsi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "cc",
                       "memory");
    return reason;
}

#endif
