; SPDX-License-Identifier: MIT
; The transition into the guest and back. Everything else is C.

%include "offsets.inc"

bits 64
default rel
section .text

; unsigned vmx_entry(struct vmx_vcpu *vmx)
;
; In:   rdi = vmx, whose VMCS is current here; interrupts off
; Out:  eax = 0 after a VM exit (which may be a failed entry that exits with reason 33, 34 or 41), 1 when VMLAUNCH itself failed (VMfail)
; The general registers and CR2 of the guest are loaded from and saved to vmx->v; RIP, RSP and RFLAGS are in the VMCS.
; Clobbers what a C function may. After an exit no general register holds a value of the guest's.
global vmx_entry
global vmx_exit_point
vmx_entry:
        push    rbp
        mov     rbp, rsp
        push    rbx
        push    r12
        push    r13
        push    r14
        push    r15
        push    rdi
        cmp     rsp, [rdi + VMX_HOST_RSP]
        je      .stack_known
        mov     eax, VMCS_HOST_RSP
        mov     [rdi + VMX_HOST_RSP], rsp
        vmwrite rax, rsp
.stack_known:
        mov     rcx, [rdi + VCPU_CR2]
        mov     rax, cr2
        cmp     rax, rcx
        je      .cr2_equal
        mov     cr2, rcx
.cr2_equal:
        mov     rax, [rdi + VCPU_RAX]
        mov     rcx, [rdi + VCPU_RCX]
        mov     rdx, [rdi + VCPU_RDX]
        mov     rbx, [rdi + VCPU_RBX]
        mov     rbp, [rdi + VCPU_RBP]
        mov     rsi, [rdi + VCPU_RSI]
        mov     r8, [rdi + VCPU_R8]
        mov     r9, [rdi + VCPU_R9]
        mov     r10, [rdi + VCPU_R10]
        mov     r11, [rdi + VCPU_R11]
        mov     r12, [rdi + VCPU_R12]
        mov     r13, [rdi + VCPU_R13]
        mov     r14, [rdi + VCPU_R14]
        mov     r15, [rdi + VCPU_R15]
        mov     rdi, [rdi + VCPU_RDI]
        vmresume                        ; fails when this VMCS was not launched since its VMCLEAR
        vmlaunch
        mov     eax, 1                  ; both failed: no guest instruction ran, no register changed
        jmp     vmx_exit_point.leave

vmx_exit_point:
        push    rdi
        mov     rdi, [rsp + 8]
        mov     [rdi + VCPU_RAX], rax
        mov     [rdi + VCPU_RCX], rcx
        mov     [rdi + VCPU_RDX], rdx
        mov     [rdi + VCPU_RBX], rbx
        mov     [rdi + VCPU_RBP], rbp
        mov     [rdi + VCPU_RSI], rsi
        mov     [rdi + VCPU_R8], r8
        mov     [rdi + VCPU_R9], r9
        mov     [rdi + VCPU_R10], r10
        mov     [rdi + VCPU_R11], r11
        mov     [rdi + VCPU_R12], r12
        mov     [rdi + VCPU_R13], r13
        mov     [rdi + VCPU_R14], r14
        mov     [rdi + VCPU_R15], r15
        pop     qword [rdi + VCPU_RDI]
        mov     rax, cr2
        mov     [rdi + VCPU_CR2], rax
        xor     eax, eax
.leave:
        xor     ecx, ecx
        xor     edx, edx
        xor     esi, esi
        xor     r8d, r8d
        xor     r9d, r9d
        xor     r10d, r10d
        xor     r11d, r11d
        pop     rdi
        pop     r15
        pop     r14
        pop     r13
        pop     r12
        pop     rbx
        pop     rbp
        ret
